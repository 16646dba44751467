//! Consents: an append-only ledger.

mod enforcement;
mod external_provider;
mod ledger;
mod requirements;
mod retries;

use haven_proto::identity::v1::{
    Consent, ConsentGrant, GrantConsentRequest, ListConsentsRequest, ListConsentsResponse,
    WithdrawConsentRequest,
};
use haven_testkit::{Client, random};
use tonic::Status;

use crate::retry::retry_call;

/// Returns a GrantConsent request under a new request id.
fn grant_of(document: &str, version: &str) -> GrantConsentRequest {
    GrantConsentRequest {
        consent: Some(ConsentGrant {
            document: document.into(),
            document_version: version.into(),
        }),
        request_id: random::uuid().to_string(),
    }
}

/// Returns a WithdrawConsent request under a new request id.
fn withdrawal_of(consent: &Consent) -> WithdrawConsentRequest {
    WithdrawConsentRequest {
        consent_id: consent.id.clone(),
        request_id: random::uuid().to_string(),
    }
}

/// Calls GrantConsent with retries.
async fn grant(client: &Client, request: &GrantConsentRequest) -> Result<Consent, Status> {
    let mut accounts = client.account();
    let answer = retry_call(request.clone(), async |request| {
        accounts.grant_consent(request).await
    });
    Ok(answer.await?.consent.unwrap())
}

/// Calls WithdrawConsent with retries.
async fn withdraw(client: &Client, request: &WithdrawConsentRequest) -> Result<Consent, Status> {
    let mut accounts = client.account();
    let answer = retry_call(request.clone(), async |request| {
        accounts.withdraw_consent(request).await
    });
    Ok(answer.await?.consent.unwrap())
}

/// Calls ListConsents once, without retries.
async fn page(client: &Client, size: i32, token: &str) -> Result<ListConsentsResponse, Status> {
    let request = ListConsentsRequest {
        page_size: size,
        page_token: token.to_owned(),
    };
    Ok(client.account().list_consents(request).await?.into_inner())
}

/// Returns all entries of the client but those of the sign-up, newest first.
async fn ledger(client: &Client) -> Vec<Consent> {
    let page = page(client, 200, "").await.unwrap();
    let of_sign_up = |consent: &Consent| ["terms", "privacy"].contains(&consent.document.as_str());
    page.consents
        .into_iter()
        .filter(|consent| !of_sign_up(consent))
        .collect()
}
