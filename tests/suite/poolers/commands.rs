//! The services' commands behind the pooler, while calls run.

use std::process::{Command, Output};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use futures_util::future::join_all;
use haven_testkit::{
    Stack, binaries::Binaries, database::Database, environment::Variables, template::TestCluster,
};

use super::{POOL_SIZE, load::operate, package};
use crate::superuser_sql::scalar;

/// Runs a command with the variables, and asserts that it succeeds. Returns its output.
pub(super) async fn run(program: &'static str, arguments: &str, variables: &Variables) -> String {
    let output = output(program, arguments, variables).await;
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(
        output.status.success(),
        "{program} {arguments}: {}\n{stdout}{stderr}",
        output.status
    );
    stdout
}

/// Runs a command with the variables, to its end.
pub(super) async fn output(program: &'static str, arguments: &str, variables: &Variables) -> Output {
    let mut command = Command::new(Binaries::build().unwrap().of(program));
    command.args(arguments.split(' ')).env_clear().envs(variables);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    output.await.unwrap()
}

/// Returns the variables for `migrate` as the owner of the schema.
pub(super) fn as_owner(database: &Database, schema: &str) -> Variables {
    let url = database.url(&format!("{schema}_owner"));
    Variables::from([("MIGRATION_DATABASE_URL".to_owned(), url)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_work_while_calls_run() {
    let Some(package) = package() else { return };
    let mut stack = Stack::builder().pooled(package, POOL_SIZE).start().await.unwrap();
    operate(&stack, 200, async {}).await;
    // From here on the service seals under another key, and the rotation has rows to seal again.
    let old = stack.data.variables["MESSAGE_KEYS"].clone();
    let new = URL_SAFE.encode(rand::random::<[u8; 32]>());
    let keys = ("MESSAGE_KEYS".to_owned(), format!("new:{new},{old}"));
    stack.data.stop();
    stack.data.variables.extend([keys]);
    stack.data.start().await.unwrap();

    let other = TestCluster::shared().await.unwrap().database().await.unwrap();
    let pooler = stack.pooler.as_ref().unwrap();
    let (reached, reached_other) = (pooler.database(&stack.database), pooler.database(&other));
    operate(&stack, 400, async {
        let rotated = run("data", "keys rotate", &stack.data.variables).await;
        assert!(rotated.contains("every row is sealed under `new`"), "{rotated}");
        let status = run("data", "keys status", &stack.data.variables).await;
        assert!(status.contains("conversations.message_text new"), "{status}");
        let verified = run("identity", "audit verify", &stack.identity.variables).await;
        assert!(verified.contains(" 0 broken chains"), "{verified}");
        let reconciled = run("identity", "reconcile --apply", &stack.identity.variables).await;
        assert!(reconciled.contains("after mending:"), "{reconciled}");
        for schema in ["identity", "data"] {
            run(schema, "migrate", &as_owner(&reached, schema)).await;
            let owner = as_owner(&reached_other, schema);
            run(schema, "migrate --undo-to 0", &owner).await;
            // Concurrent runs apply each migration once.
            join_all((0..3).map(|_| run(schema, "migrate", &owner))).await;
        }
    })
    .await;
    for (migrated, original) in [
        (
            scalar::<i64>(&other, "SELECT data.schema_version()").await,
            scalar::<i64>(&stack.database, "SELECT data.schema_version()").await,
        ),
        (
            scalar(&other, "SELECT identity.schema_version()").await,
            scalar(&stack.database, "SELECT identity.schema_version()").await,
        ),
    ] {
        assert_eq!(migrated, original);
    }
}
