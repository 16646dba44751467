//! SQL as the superuser, who bypasses Row Level Security.

use haven_testkit::database::Database;
use sqlx::{Decode, Encode, Postgres, Type};

/// Returns the single value that `sql` selects.
pub(crate) async fn scalar<T>(database: &Database, sql: &'static str) -> T
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
{
    let mut connection = database.connect(SUPERUSER).await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
}

/// Returns the single value that `sql` selects with `argument` as `$1`. A test on the shared stack passes its own people here.
pub(crate) async fn scalar_with<T, A>(database: &Database, sql: &'static str, argument: A) -> T
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
    A: for<'q> Encode<'q, Postgres> + Type<Postgres> + Send + 'static,
{
    let mut connection = database.connect(SUPERUSER).await.unwrap();
    sqlx::query_scalar(sql)
        .bind(argument)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

/// Runs one statement with `argument` as `$1`. A test on the shared stack passes its own person here.
pub(crate) async fn execute_with<A>(database: &Database, sql: &'static str, argument: A)
where
    A: for<'q> Encode<'q, Postgres> + Type<Postgres> + Send + 'static,
{
    let mut connection = database.connect(SUPERUSER).await.unwrap();
    let query = sqlx::query(sql).bind(argument);
    query.execute(&mut connection).await.unwrap();
}

/// Runs one or more statements.
pub(crate) async fn execute(database: &Database, sql: &str) {
    database.run(SUPERUSER, sql).await.unwrap();
}

/// Login of the superuser.
const SUPERUSER: &str = "postgres";
