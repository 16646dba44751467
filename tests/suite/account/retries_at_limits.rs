//! Limits of identity do not refuse a retry of a request that was applied, and a failure of the service uses nothing up.

use haven_proto::identity::v1::{
    Account, ConsentGrant, Goal, GrantConsentRequest, GrantConsentResponse, SignUpRequest,
    WithdrawConsentRequest,
};
use haven_testkit::{Client, Stack, client::sign_up_request, random};
use tonic::Status;

use super::{PASSWORD, update_of};
use crate::{status::reason, superuser_sql::execute};

/// Grants a consent once, without retries: RATE_LIMITED would be retried.
async fn grant(client: &Client, request: &GrantConsentRequest) -> Result<GrantConsentResponse, Status> {
    Ok(client
        .account()
        .grant_consent(request.clone())
        .await?
        .into_inner())
}

async fn sign_up(client: &Client, request: SignUpRequest) -> Result<Account, Status> {
    let answer = client.account().sign_up(request).await?;
    Ok(answer.into_inner().account.unwrap())
}

/// Returns a grant of a new document, under a new request id.
fn new_grant() -> GrantConsentRequest {
    GrantConsentRequest {
        consent: Some(ConsentGrant {
            document: random::uuid().to_string(),
            document_version: "1".to_owned(),
        }),
        request_id: random::uuid().to_string(),
    }
}

#[tokio::test]
async fn a_retry_of_an_applied_change_is_answered_at_the_limit() {
    let stack = Stack::builder()
        .variable("identity", "MUTATION_LIMITS", "person=3/24h")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let mut account = client.account();

    let grant_request = new_grant();
    let granted = grant(&client, &grant_request).await.unwrap();
    let withdrawal = || WithdrawConsentRequest {
        consent_id: granted.consent.clone().unwrap().id,
        request_id: random::uuid().to_string(),
    };
    let withdrawal_request = withdrawal();
    let withdrawn = account.withdraw_consent(withdrawal_request.clone()).await;
    let withdrawn = withdrawn.unwrap().into_inner();
    let goals = Account {
        goals: vec![Goal::MakeFriends.into()],
        ..Account::default()
    };
    let update_request = update_of(goals.clone(), &["goals"], 1);
    let updated = account.update_account(update_request.clone()).await;
    let updated = updated.unwrap().into_inner();

    // All three are used up: what is new is refused, and what was applied gets its first answer.
    let refused = [
        grant(&client, &new_grant()).await.map(drop),
        account.withdraw_consent(withdrawal()).await.map(drop),
        account
            .update_account(update_of(goals, &["goals"], 2))
            .await
            .map(drop),
    ];
    for refused in refused {
        assert_eq!(reason(&refused.unwrap_err()), "RATE_LIMITED");
    }
    for _ in 0..2 {
        assert_eq!(grant(&client, &grant_request).await.unwrap(), granted);
        let again = account.withdraw_consent(withdrawal_request.clone()).await;
        assert_eq!(again.unwrap().into_inner(), withdrawn);
        let again = account.update_account(update_request.clone()).await;
        assert_eq!(again.unwrap().into_inner(), updated);
    }
}

#[tokio::test]
async fn a_sign_up_that_fails_for_the_services_reason_does_not_use_its_address_up() {
    let stack = Stack::builder()
        .variable(
            "identity",
            "SIGN_UP_LIMITS",
            "network=off,email=1/24h,service=off",
        )
        .start()
        .await
        .unwrap();
    let anonymous = stack.anonymous().unwrap();
    let rename = |from: &str, to: &str| format!("ALTER TABLE identity.{from} RENAME TO {to}");
    execute(&stack.database, &rename("consents", "elsewhere")).await;
    let request = sign_up_request("ada@example.org", PASSWORD);
    for _ in 0..2 {
        let status = sign_up(&anonymous, request.clone()).await.unwrap_err();
        assert_eq!(reason(&status), "INTERNAL");
    }
    execute(&stack.database, &rename("elsewhere", "consents")).await;
    let first = sign_up(&anonymous, request.clone()).await.unwrap();
    // The address is used up now. A retry is answered, and another sign-up is not.
    assert_eq!(sign_up(&anonymous, request).await.unwrap(), first);
    let another = sign_up_request("ada@example.org", PASSWORD);
    let status = sign_up(&anonymous, another).await.unwrap_err();
    assert_eq!(reason(&status), "RATE_LIMITED");
}
