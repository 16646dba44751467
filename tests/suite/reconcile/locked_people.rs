//! Locked people: their rows are kept, and nothing reaches them.

use std::process::Command;

use haven_platform::access::{Access, AccessTable};
use haven_proto::data::v1::{
    AppendMessageRequest, LeaseJobsRequest, LockUserRequest, ProvisionUserRequest, SenderType,
};
use haven_testkit::{Stack, binaries::Binaries, random, secrets::SUPERUSER, template::TestCluster};
use sqlx::{AssertSqlSafe, error::DatabaseError};
use uuid::Uuid;

use super::{messages, person_with_message, state};
use crate::{
    analysis_jobs::{completion, leased, requested},
    crisis_message::saying,
    every_rpc::{self, call, rpcs},
    permissions::fixture::Fixture,
    raw_call::headers,
    rls,
    status::reason,
    superuser_sql::scalar,
};

/// Calls LockUser.
async fn lock(stack: &Stack, person: Uuid) {
    let request = LockUserRequest {
        user_id: person.to_string(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    identity.person().lock_user(request).await.unwrap();
}

/// Calls ProvisionUser, which unlocks.
async fn unlock(stack: &Stack, person: Uuid) {
    let request = ProvisionUserRequest {
        user_id: person.to_string(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    identity.person().provision_user(request).await.unwrap();
}

/// Returns the RPCs of data that act as a user.
fn rpcs_of_users() -> Vec<String> {
    let rpcs: Vec<String> = rpcs()
        .into_iter()
        .filter(|rpc| rpc.starts_with("haven.data."))
        .collect();
    let services: Vec<&str> = rpcs.iter().map(|rpc| rpc.split_once('/').unwrap().0).collect();
    let table = AccessTable::read([haven_proto::FILE_DESCRIPTOR_SET], &services).unwrap();
    let is_of_users = |rpc: &String| table.find(&format!("/{rpc}")).unwrap().access == Access::User;
    rpcs.iter().filter(|rpc| is_of_users(rpc)).cloned().collect()
}

/// A call that would reach a row of the person fails. The others answer that there is nothing, as for any person without rows.
#[tokio::test]
async fn no_call_as_a_locked_person_reaches_a_row() {
    let stack = Stack::start().await.unwrap();
    let rpcs = rpcs_of_users();
    assert!(rpcs.len() > 30, "{rpcs:?}");
    let mut empty = Vec::new();
    for rpc in rpcs {
        let fixture = Fixture::of_new_person(&stack, &rpc).await;
        let client = stack.user(&fixture.person).unwrap();
        lock(&stack, fixture.person.id).await;
        let body = || every_rpc::request(&rpc, &fixture.subject(false)).unwrap();
        let path = format!("/{rpc}");
        match call(&client, "data", &path, headers(&[]), body()).await {
            Ok(answer) => {
                assert!(answer.get_ref().is_empty(), "{rpc}: {answer:?}");
                empty.push(rpc.clone());
            }
            Err(status) => assert_eq!(reason(&status), "ACCOUNT_LOCKED", "{rpc}"),
        }
        unlock(&stack, fixture.person.id).await;
        let answered = call(&client, "data", &path, headers(&[]), body()).await;
        assert!(answered.is_ok(), "{rpc}: {answered:?}");
    }
    // The fixture has no row for these.
    let expected = [
        "haven.data.v1.AnalysisService/ListAnalyses",
        "haven.data.v1.CycleService/ListConflicts",
        "haven.data.v1.ShareService/ListShareAccess",
    ];
    assert!(
        empty.iter().all(|rpc| expected.contains(&rpc.as_str())),
        "{empty:?}"
    );
}

#[tokio::test]
async fn a_service_cannot_act_for_a_locked_person() {
    let stack = Stack::shared().await.unwrap();
    let ada = person_with_message(stack).await;
    let coach = stack.service("backend").unwrap().with_token(&ada.token).unwrap();
    let message = || AppendMessageRequest {
        sender_type: SenderType::Coach.into(),
        ..saying("How did it go?")
    };
    coach.conversation().append_message(message()).await.unwrap();
    lock(stack, ada.id).await;
    let refused = coach.conversation().append_message(message()).await.unwrap_err();
    assert_eq!(reason(&refused), "ACCOUNT_LOCKED");
    assert_eq!(messages(stack, ada.id).await, 2);
}

#[tokio::test]
async fn a_locked_persons_shares_cannot_be_opened() {
    let stack = Stack::shared().await.unwrap();
    let rpc = "haven.data.v1.ShareService/OpenShare";
    let fixture = Fixture::of_new_person(stack, rpc).await;
    let anyone = stack.anonymous().unwrap();
    let open = async || {
        let body = every_rpc::request(rpc, &fixture.subject(false)).unwrap();
        call(&anyone, "data", &format!("/{rpc}"), headers(&[]), body).await
    };
    open().await.unwrap();
    lock(stack, fixture.person.id).await;
    assert_eq!(reason(&open().await.unwrap_err()), "SHARE_UNAVAILABLE");
    unlock(stack, fixture.person.id).await;
    open().await.unwrap();
}

#[tokio::test]
async fn a_locked_persons_jobs_are_not_leased_and_their_leases_end() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let lease = leased(&stack, &client).await;
    lock(&stack, ada.id).await;
    let worker = stack.service("worker").unwrap();
    let lost = worker.queue().complete_job(completion(lease.clone())).await;
    assert_eq!(reason(&lost.unwrap_err()), "LEASE_LOST");
    unlock(&stack, ada.id).await;
    worker.queue().complete_job(completion(lease)).await.unwrap();

    requested(&client).await;
    lock(&stack, ada.id).await;
    let jobs = async || {
        let request = LeaseJobsRequest {
            max_jobs: 10,
            request_id: random::uuid().to_string(),
            ..LeaseJobsRequest::default()
        };
        worker
            .queue()
            .lease_jobs(request)
            .await
            .unwrap()
            .into_inner()
            .jobs
    };
    assert_eq!(jobs().await.len(), 0);
    unlock(&stack, ada.id).await;
    assert_eq!(jobs().await.len(), 1);
}

/// The wall is in Postgres: a statement of a locked person fails on every table, whichever program sends it.
#[tokio::test]
async fn every_table_refuses_a_locked_person_in_postgres() {
    let database = TestCluster::shared().await.unwrap().database().await.unwrap();
    rls::seed_people(&database).await.unwrap();
    let mut superuser = database.connect(SUPERUSER).await.unwrap();
    let locked = "UPDATE data.users SET locked_at = now() WHERE id = (SELECT min(id::text)::uuid FROM data.users) RETURNING id";
    let locked: Uuid = sqlx::query_scalar(locked)
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    let other = "SELECT id FROM data.users WHERE locked_at IS NULL";
    let other: Uuid = sqlx::query_scalar(other).fetch_one(&mut superuser).await.unwrap();
    // The tables that say why a person is unknown answer everyone.
    let tables = "SELECT c.oid::regclass::text, bool_or(p.polcmd = 'r'),
            (SELECT count(*) FROM pg_policy AS gate WHERE gate.polrelid = c.oid AND NOT gate.polpermissive
                AND gate.polroles = ARRAY['data_user'::regrole::oid])
        FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid
        WHERE 'data_user'::regrole = ANY (p.polroles) AND p.polpermissive
            AND c.oid NOT IN ('data.tombstones'::regclass, 'data.erasures'::regclass)
        GROUP BY c.oid";
    let tables: Vec<(String, bool, i64)> = sqlx::query_as(tables).fetch_all(&mut superuser).await.unwrap();
    assert!(tables.len() >= 17, "{tables:?}");
    for (table, is_read, gates) in tables {
        assert_eq!(gates, 4, "{table}: a gate for each command");
        if !is_read {
            continue;
        }
        let column = if table == "data.users" { "id" } else { "user_id" };
        let select = async |person: Uuid| {
            let mut app = database.connect("data_app").await.unwrap();
            let sql = format!(
                "BEGIN; SET LOCAL ROLE data_user;
                 SELECT set_config('request.jwt.claims', '{{\"sub\":\"{person}\"}}', true);
                 SELECT {column} FROM {table}"
            );
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut app).await
        };
        let refused = select(locked).await.unwrap_err();
        let code = refused.as_database_error().and_then(DatabaseError::code);
        assert_eq!(code.as_deref(), Some("UL001"), "{table}: {refused}");
        // One row is from set_config.
        assert!(select(other).await.unwrap().rows_affected() > 1, "{table}");
    }
}

#[tokio::test]
async fn the_rows_of_locked_people_are_resealed_with_the_others() {
    let stack = Stack::start().await.unwrap();
    let ada = person_with_message(&stack).await;
    lock(&stack, ada.id).await;
    let mut variables = stack.data.variables.clone();
    let keys = variables.get_mut("MESSAGE_KEYS").unwrap();
    *keys = format!("new:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,{keys}");
    let rotate = move || {
        let mut data = Command::new(Binaries::build().unwrap().of("data"));
        data.args(["keys", "rotate"]).env_clear().envs(variables).output()
    };
    let output = tokio::task::spawn_blocking(rotate).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    let others: i64 = scalar(
        &stack.database,
        "SELECT count(*) FROM data.conversations WHERE key_id <> 'new'",
    )
    .await;
    assert_eq!((others, messages(&stack, ada.id).await), (0, 1));
    assert_eq!(state(&stack, ada.id).await, "account locked");
}
