//! DeleteAccount by a person who signs in with an external provider: the token is the only proof.

use haven_proto::identity::v1::{
    ChangePasswordRequest, DeleteAccountRequest, DeletionState, GetAccountRequest,
};
use haven_testkit::random;

use super::delete;
use crate::{
    account::external_provider::{external_person, stack},
    status::reason,
    superuser_sql::scalar,
};

#[tokio::test]
async fn an_external_token_is_enough_to_delete_the_account() {
    // The case `haven`: Haven is the provider of other people.
    for provider in ["external", "haven"] {
        let (stack, _directory) = stack(provider).await;
        let person = random::uuid();
        let client = external_person(&stack, person);
        let request = DeleteAccountRequest {
            request_id: random::uuid().to_string(),
            ..DeleteAccountRequest::default()
        };
        let status = delete(&client, &request).await.unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND", "a deletion creates no account");
        let account = client.account().get_account(GetAccountRequest::default()).await;
        if provider == "haven" {
            // An external token creates no account here, so there is no account to delete.
            assert_eq!(reason(&account.unwrap_err()), "NOT_FOUND");
            continue;
        }
        account.unwrap();
        let change = ChangePasswordRequest::default();
        let status = client.account().change_password(change).await.unwrap_err();
        assert_eq!(reason(&status), "AUTH_PROVIDER_EXTERNAL");

        let deleted = delete(&client, &request).await.unwrap();
        assert_eq!(
            (deleted.state(), deleted.user_id.as_str()),
            (DeletionState::Done, person.to_string().as_str())
        );
        assert_eq!(delete(&client, &request).await.unwrap(), deleted);
        let account = client.account().get_account(GetAccountRequest::default()).await;
        assert_eq!(reason(&account.unwrap_err()), "ACCOUNT_ERASED");
        let rows: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.users").await;
        assert_eq!(rows, 0);
    }
}
