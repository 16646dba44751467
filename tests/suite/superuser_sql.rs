//! What is really in the tables, seen as a superuser, whom no policy holds.

use haven_testkit::database::Database;
use sqlx::{Decode, Postgres, Type};
use uuid::Uuid;

/// The one value that `sql` selects.
pub(crate) async fn scalar<T>(database: &Database, sql: &'static str) -> T
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
{
    let mut connection = database.connect(SUPERUSER).await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
}

/// Runs `sql`.
pub(crate) async fn execute(database: &Database, sql: &str) {
    database.run(SUPERUSER, sql).await.unwrap();
}

/// Returns the one value that `sql` selects. `$1` in it is `id`, the id of a person or of a device: on a shared stack other
/// people have rows too.
pub(crate) async fn scalar_by_id<T>(database: &Database, id: Uuid, sql: &'static str) -> T
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
{
    let mut connection = database.connect(SUPERUSER).await.unwrap();
    let value = sqlx::query_scalar(sql).bind(id).fetch_one(&mut connection);
    value.await.unwrap()
}

const SUPERUSER: &str = "postgres";
