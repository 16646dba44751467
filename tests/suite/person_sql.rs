//! SQL on the rows of one person, as a superuser: what tests on the shared stack use, where tables hold other tests'
//! rows.

use haven_testkit::{Stack, secrets::SUPERUSER};
use sqlx::{Decode, Postgres, Type};
use uuid::Uuid;

/// Returns the one value that `sql` selects. `$1` is the person's id.
pub(crate) async fn scalar_of<T>(stack: &Stack, person: Uuid, sql: &'static str) -> T
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
{
    let mut connection = stack.database.connect(SUPERUSER).await.unwrap();
    let query = sqlx::query_scalar(sql).bind(person);
    query.fetch_one(&mut connection).await.unwrap()
}

/// Executes the one statement `sql`. `$1` is the person's id.
pub(crate) async fn execute_of(stack: &Stack, person: Uuid, sql: &'static str) {
    let mut connection = stack.database.connect(SUPERUSER).await.unwrap();
    let query = sqlx::query(sql).bind(person);
    query.execute(&mut connection).await.unwrap();
}
