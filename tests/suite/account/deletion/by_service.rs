//! DeleteAccount by a service, which needs no password.

use haven_proto::identity::v1::{DeleteAccountRequest, DeletionState, GetAccountRequest};
use haven_testkit::{Stack, random};

use super::{delete, deletion, deletion_by, deletion_of, rows::traces};
use crate::{
    status::{reason, violations},
    superuser_sql::scalar_with,
};

#[tokio::test]
async fn a_service_deletes_the_person_it_names() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let request = deletion_of(&ada);
    let deleted = delete(&backend, &request).await.unwrap();
    assert_eq!(
        (deleted.state(), &deleted.user_id),
        (DeletionState::Done, &ada.id.to_string())
    );
    assert_eq!(delete(&backend, &request).await.unwrap(), deleted);
    let status = delete(&backend, &deletion_of(&ada)).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
    assert_eq!(deletion(stack, &ada).await.unwrap(), deleted);
    assert_eq!(
        traces(stack, &ada).await,
        ["data.tombstones", "identity.erasures"]
    );
    let sql = "SELECT service FROM identity.erasures WHERE user_id = $1";
    let service: String = scalar_with(&stack.database, sql, ada.id).await;
    assert_eq!(service, "backend");

    // Every session ends.
    let client = stack.user(&ada).unwrap();
    let account = client.account().get_account(GetAccountRequest::default()).await;
    assert_eq!(reason(&account.unwrap_err()), "SESSION_REVOKED");
}

/// An erasure by mistake could not be undone.
#[tokio::test]
async fn one_request_id_erases_one_person() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let backend = stack.service("backend").unwrap();
    let request = deletion_of(&ada);
    delete(&backend, &request).await.unwrap();
    let same_id = DeleteAccountRequest {
        user_id: bob.id.to_string(),
        ..request
    };
    let status = delete(&backend, &same_id).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    let client = stack.user(&bob).unwrap();
    let account = client.account().get_account(GetAccountRequest::default()).await;
    assert_eq!(account.unwrap().into_inner().account.unwrap().email, bob.email);
    delete(&backend, &deletion_of(&bob)).await.unwrap();
}

#[tokio::test]
async fn a_service_names_the_person_and_sends_no_password() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let wrong = DeleteAccountRequest {
        user_id: String::new(),
        password: ada.password.clone(),
        request_id: String::new(),
    };
    let status = delete(&backend, &wrong).await.unwrap_err();
    let expected = [
        ("request_id", "REQUIRED"),
        ("user_id", "REQUIRED"),
        ("password", "NOT_FOR_SERVICES"),
    ];
    assert_eq!(
        violations(&status),
        expected.map(|(field, name)| (field.to_owned(), name.to_owned()))
    );
    let unknown = DeleteAccountRequest {
        user_id: random::uuid().to_string(),
        password: String::new(),
        request_id: random::uuid().to_string(),
    };
    assert_eq!(
        reason(&delete(&backend, &unknown).await.unwrap_err()),
        "NOT_FOUND"
    );
    // A service that sends a person's token acts as that person.
    let for_ada = backend.with_token(&ada.token).unwrap();
    let status = delete(&for_ada, &deletion_of(&ada)).await.unwrap_err();
    assert_eq!(
        violations(&status),
        [("password".to_owned(), "REQUIRED".to_owned())]
    );
    delete(&for_ada, &deletion_by(&ada)).await.unwrap();
}
