//! Tokens of ended sessions are refused by every replica of identity, and after a restart; those of other people are not.

use std::time::Duration;

use haven_proto::identity::v1::{DeleteAccountRequest, SignOutRequest};
use haven_testkit::{Person, Stack, random, secrets::SUPERUSER};
use sqlx::{AssertSqlSafe, raw_sql};

use super::{another, refused, sessions};
use crate::{eventually::eventually, superuser_sql::execute, tokens::append};

#[tokio::test]
async fn a_session_ended_by_another_replica_is_refused_within_seconds() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let other = another(stack, &ada).await;
    // Another replica ends the session in the database alone.
    let sql = format!(
        "BEGIN; SELECT set_config('request.jwt.claims', '{{\"sub\":\"{}\"}}', true);
        SELECT identity.end_sessions('{}', NULL, 'signed_out', now()); COMMIT",
        ada.id, ada.session_id
    );
    execute(&stack.database, &sql).await;
    eventually("the token is refused", async || {
        let answer = sessions(stack, &ada.token).await;
        answer.is_err_and(|status| crate::status::reason(&status) == "SESSION_REVOKED")
    })
    .await;
    assert_eq!(sessions(stack, &other.token).await.unwrap().len(), 1);
}

/// A replica reads what was added since it read last. A transaction that began before other ends were read, and is committed after
/// them, must not be passed over.
#[tokio::test]
async fn a_session_whose_end_is_committed_late_is_refused_too() {
    let stack = Stack::shared().await.unwrap();
    let (ada, ben) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let end = |person: &Person| {
        format!(
            "BEGIN; SELECT set_config('request.jwt.claims', '{{\"sub\":\"{}\"}}', true);
            SELECT identity.end_sessions('{}', NULL, 'signed_out', now())",
            person.id, person.session_id
        )
    };
    let mut late = stack.database.connect(SUPERUSER).await.unwrap();
    raw_sql(AssertSqlSafe(end(&ada)))
        .execute(&mut late)
        .await
        .unwrap();
    execute(&stack.database, &format!("{}; COMMIT", end(&ben))).await;
    let is_refused = async |person: &Person| {
        let answer = sessions(stack, &person.token).await;
        answer.is_err_and(|status| crate::status::reason(&status) == "SESSION_REVOKED")
    };
    eventually("the later end is read", async || is_refused(&ben).await).await;
    // A round that begins after the later end, and still does not see the earlier one.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!is_refused(&ada).await, "it has not ended yet");
    raw_sql("COMMIT").execute(&mut late).await.unwrap();
    eventually("the earlier end is read", async || is_refused(&ada).await).await;
}

#[tokio::test]
async fn an_ended_session_stays_ended_after_a_restart() {
    let mut stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let other = another(&stack, &ada).await;
    let client = stack.user(&ada).unwrap();
    client.session().sign_out(SignOutRequest {}).await.unwrap();
    stack.identity.kill();
    stack.identity.start().await.unwrap();
    assert_eq!(
        refused(sessions(&stack, &ada.token).await),
        "SESSION_REVOKED",
        "already at the first call"
    );
    assert_eq!(sessions(&stack, &other.token).await.unwrap().len(), 1);
}

/// Ids are unique among the sessions of one person. By SQL, a person can have a session with the id of another one's.
#[tokio::test]
async fn a_person_who_ends_a_session_with_another_persons_id_ends_it_for_themselves_only() {
    let stack = Stack::shared().await.unwrap();
    let (ada, eve) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let own = another(stack, &eve).await;
    let copies = format!(
        "INSERT INTO identity.sessions (user_id, id, issued_at, expires_at, refresh_expires_at)
            VALUES ('{eve}', '{id}', now(), now() + interval '15 minutes', now() + interval '1 day')",
        eve = eve.id,
        id = ada.session_id
    );
    let ends = format!(
        "SELECT identity.end_sessions(chosen, NULL, 'signed_out', now())
            FROM unnest(ARRAY['{}', '{}']::uuid[]) AS chosen",
        ada.session_id, own.session_id
    );
    let attack = format!(
        "BEGIN; SET LOCAL ROLE identity_user; SELECT set_config('request.jwt.claims', '{{\"sub\":\"{}\"}}', true);
        {copies}; {ends}; COMMIT",
        eve.id
    );
    stack.database.run("identity_app", &attack).await.unwrap();
    // The list that refuses Eve's own session has Eve's copy of Ada's too.
    eventually("the own token is refused", async || {
        sessions(stack, &own.token).await.is_err()
    })
    .await;
    assert_eq!(sessions(stack, &ada.token).await.unwrap().len(), 1);
    eventually("data refuses the own token", async || {
        append(stack, &own.token).await.is_err()
    })
    .await;
    append(stack, &ada.token).await.unwrap();

    // Ada's own session ends as always, and so does Ada's account.
    let client = stack.user(&ada).unwrap();
    client.session().sign_out(SignOutRequest {}).await.unwrap();
    assert_eq!(refused(sessions(stack, &ada.token).await), "SESSION_REVOKED");
    let again = another(stack, &ada).await;
    let deletion = DeleteAccountRequest {
        password: ada.password.clone(),
        request_id: random::uuid().to_string(),
        ..Default::default()
    };
    stack
        .user(&again)
        .unwrap()
        .account()
        .delete_account(deletion)
        .await
        .unwrap();
}
