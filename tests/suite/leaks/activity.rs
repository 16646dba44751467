//! What Postgres shows of running statements, and logs of them, has no person's id and no token, because a transaction's context
//! is bound as every other value is. The server logs all statements here, and their parameters are not logged.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use haven_proto::data::v1::{LeaseJobsRequest, ListMessagesRequest};
use haven_testkit::{Stack, database::Database, random, secrets::SUPERUSER};

use crate::{analysis_jobs, crisis_message::saying, superuser_sql::execute};

const LOG_STATEMENTS: &str = "
    ALTER SYSTEM SET log_statement = 'all'; ALTER SYSTEM SET log_min_duration_statement = 0;
    ALTER SYSTEM SET log_parameter_max_length = 0; ALTER SYSTEM SET log_parameter_max_length_on_error = 0;
    SELECT pg_reload_conf()";

/// The calls of each person and of the worker.
const ROUNDS: usize = 30;

/// Reads the statements that Postgres shows, until `stop`.
async fn watch(database: Database, stop: Arc<AtomicBool>) -> BTreeSet<String> {
    let mut connection = database.connect(SUPERUSER).await.unwrap();
    let mut seen = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let shown: Vec<String> = sqlx::query_scalar(
            "SELECT query FROM pg_stat_activity WHERE usename ~ '_(app|worker)$' AND datname = current_database()",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        seen.extend(shown);
    }
    seen
}

#[tokio::test]
async fn running_and_logged_statements_name_no_person_and_no_token() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let log = stack.cluster().unwrap().log();
    for statement in LOG_STATEMENTS.split(';') {
        execute(&stack.database, statement).await;
    }
    let people = [stack.person().await.unwrap(), stack.person().await.unwrap()];
    let mut secrets: Vec<(&str, String)> = people
        .iter()
        .flat_map(|person| {
            [
                ("a person", person.id.to_string()),
                ("a session", person.session_id.to_string()),
            ]
        })
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch(stack.database.clone(), Arc::clone(&stop)));
    let clients = [stack.user(&people[0]).unwrap(), stack.user(&people[1]).unwrap()];
    for _ in 0..ROUNDS {
        for client in &clients {
            client
                .conversation()
                .append_message(saying("hello"))
                .await
                .unwrap();
            client
                .conversation()
                .list_messages(ListMessagesRequest::default())
                .await
                .unwrap();
        }
    }
    let worker = stack.service("worker").unwrap();
    for client in &clients {
        analysis_jobs::requested(client).await;
        let request = LeaseJobsRequest {
            max_jobs: 1,
            request_id: random::uuid().to_string(),
            ..LeaseJobsRequest::default()
        };
        let leased = worker.queue().lease_jobs(request).await.unwrap().into_inner();
        let lease = leased.jobs[0].lease.clone().unwrap();
        secrets.push(("a lease", lease.lease_token.clone()));
        worker
            .queue()
            .complete_job(analysis_jobs::completion(lease))
            .await
            .unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let shown = watching.await.unwrap();
    let logged = fs::read_to_string(log).unwrap();

    // The search is of something: calls of a person and of the worker, the batch that begins a transaction, and the statement after
    // it.
    for control in [
        "data.append_message_1($1",
        "data.lease_jobs_1($1",
        "data.complete_jobs_1($1",
        "SET LOCAL ROLE data_user",
        "/* Context */",
    ] {
        assert!(logged.contains(control), "{control} is not in the log");
    }
    assert!(
        shown
            .iter()
            .any(|query| query.contains("LOCAL ROLE data_user") || query.contains("/* ")),
        "{shown:?}"
    );
    let shown = shown.into_iter().collect::<Vec<_>>().join("\n");
    for (what, secret) in secrets {
        assert!(
            !logged.contains(&secret),
            "the id or token of {what} is in the log"
        );
        assert!(
            !shown.contains(&secret),
            "the id or token of {what} is in pg_stat_activity"
        );
    }
}
