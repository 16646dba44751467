//! What is really in the tables, seen as a superuser, whom no policy holds.

use haven_testkit::database::Database;
use sqlx::{Decode, Postgres, Type};

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

const SUPERUSER: &str = "postgres";
