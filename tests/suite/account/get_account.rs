//! GetAccount: people read their own account, services any account.

use haven_proto::identity::v1::Goal;
use haven_testkit::{Stack, random};

use super::get;
use crate::{
    status::{reason, violations},
    superuser_sql::execute,
};

#[tokio::test]
async fn a_person_reads_only_their_own_account() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let client = stack.user(&ada).unwrap();
    let own = get(&client, "").await.unwrap();
    assert_eq!(
        (own.id.as_str(), own.email.as_str()),
        (ada.id.to_string().as_str(), ada.email.as_str())
    );
    assert_eq!(own.goals, [Goal::BuildConfidence as i32]);
    assert_eq!((own.stage, own.version, own.graduated), (1, 1, false));
    assert!(own.graduate_time.is_none());
    assert!(own.last_active_time.is_some(), "set by the sign-in");
    assert_eq!(
        get(&client, &ada.id.to_string().to_uppercase()).await.unwrap(),
        own
    );

    // An account of another person looks like one that does not exist.
    let unknown = random::uuid().to_string();
    for other in [bob.id.to_string(), unknown] {
        let status = get(&client, &other).await.unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND");
    }
    let status = get(&client, "ada").await.unwrap_err();
    assert_eq!(
        violations(&status),
        [("user_id".to_owned(), "NOT_A_UUID".to_owned())]
    );
    // A service that sends a person's token acts as that person.
    let for_ada = stack.service("backend").unwrap().with_token(&ada.token).unwrap();
    assert_eq!(get(&for_ada, "").await.unwrap(), own);
    let status = get(&for_ada, &bob.id.to_string()).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
}

#[tokio::test]
async fn a_service_reads_any_account() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let own = get(&stack.user(&ada).unwrap(), "").await.unwrap();
    assert_eq!(get(&backend, &ada.id.to_string()).await.unwrap(), own);
    let status = get(&backend, "").await.unwrap_err();
    assert_eq!(
        violations(&status),
        [("user_id".to_owned(), "REQUIRED".to_owned())]
    );
    let status = get(&backend, &random::uuid().to_string()).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    for caller in [stack.anonymous().unwrap(), stack.service("stranger").unwrap()] {
        let status = get(&caller, &ada.id.to_string()).await.unwrap_err();
        assert_eq!(reason(&status), "TOKEN_INVALID");
    }
}

#[tokio::test]
async fn an_erased_account_is_reported_as_erased() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    execute(
        &stack.database,
        &format!(
            "WITH deleted AS (DELETE FROM identity.users WHERE id = '{id}' RETURNING id)
            INSERT INTO identity.erasures (user_id, request_id, requested_at, erased, audit_digest)
            SELECT id, id, now(), '{{}}', sha256('') FROM deleted",
            id = ada.id
        ),
    )
    .await;
    let status = get(&stack.service("backend").unwrap(), &ada.id.to_string())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
    let status = get(&stack.user(&ada).unwrap(), "").await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
}
