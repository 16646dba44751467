//! Postgres with the configuration of production, from `deploy/postgres`.

mod archive;
mod audit;
mod checks;
mod client_certificates;
mod configuration;
mod connections;
mod limits;
mod log;
mod migrations;
mod trip;

use haven_testkit::{Stack, database::Database, installation::Installation, template::TestCluster};
use tokio::sync::OnceCell;

use crate::packages;

/// Finds Postgres with pgaudit. `None` when its packages cannot be had: the test is then skipped.
fn installation() -> Option<Installation> {
    packages::or_skip(&["postgresql-15-pgaudit"], Installation::with_audit())
}

/// Starts both services on a cluster of its own with the files of production.
async fn start(installation: Installation) -> Stack {
    let started = Stack::builder().production_cluster(installation).start();
    started.await.unwrap()
}

/// Returns the stack that the tests of this folder share when they change no setting.
async fn shared() -> Option<&'static Stack> {
    static SHARED: OnceCell<Stack> = OnceCell::const_new();
    let installation = installation()?;
    Some(SHARED.get_or_init(|| start(installation)).await)
}

/// Returns the stack's cluster.
fn cluster(stack: &Stack) -> &TestCluster {
    stack.own_cluster().unwrap()
}

/// Returns the code and the message of the error with which `sql` fails.
async fn refusal(database: &Database, login: &str, sql: &str) -> (String, String) {
    let error = database.run(login, sql).await.unwrap_err();
    let error: sqlx::Error = error.downcast().unwrap();
    code_and_message(&error)
}

/// Returns the code and the message of an error of the server.
fn code_and_message(error: &sqlx::Error) -> (String, String) {
    let error = error
        .as_database_error()
        .unwrap_or_else(|| panic!("not an answer of the server: {error:?}"));
    (
        error.code().unwrap_or_default().into_owned(),
        error.message().to_owned(),
    )
}
