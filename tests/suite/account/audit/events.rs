//! Events of the audit log, and ListAuditEvents.

use futures_util::future::join_all;
use haven_proto::identity::v1::{
    Account, AuditEvent, AuditEventType as E, AuditOutcome as O, ChangePasswordRequest, DeleteAccountRequest,
    ListAuditEventsRequest, ListConsentsRequest, RefreshSessionRequest, SignInRequest, SignOutRequest,
    UpdateAccountRequest, WithdrawConsentRequest,
};
use haven_testkit::{Client, Stack, random};
use prost_types::FieldMask;

use super::{events, make_event, page, person_with_events, verify};
use crate::{status::reason, superuser_sql::execute};

fn id() -> String {
    random::uuid().to_string()
}

fn change(current: &str, new: &str) -> ChangePasswordRequest {
    ChangePasswordRequest {
        current_password: current.into(),
        new_password: new.into(),
        request_id: id(),
    }
}

fn sign_in(email: &str, password: &str) -> SignInRequest {
    SignInRequest {
        email: email.into(),
        password: password.into(),
        request_id: id(),
        ..SignInRequest::default()
    }
}

/// Returns the type and the outcome of the newest event.
fn newest(events: &[AuditEvent]) -> (E, O) {
    (events[0].event_type(), events[0].outcome())
}

#[tokio::test]
async fn every_event_is_written_to_the_log() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let log = events(&ada).await;
    assert_eq!(newest(&log), (E::SignIn, O::Success));
    assert_eq!(log[0].session_id, person.session_id.to_string());
    assert_eq!((log[1].event_type(), log[1].outcome()), (E::SignUp, O::Success));
    assert_eq!(log.len(), 2);
    let assert_newest = async |client: &Client, event, outcome| {
        let log = events(client).await;
        assert_eq!(newest(&log), (event, outcome));
        log[0].clone()
    };

    let wrong = sign_in(&person.email, "Not-the-password-1");
    let refused = anonymous.session().sign_in(wrong).await.unwrap_err();
    assert_eq!(reason(&refused), "CREDENTIALS_INVALID");
    let event = assert_newest(&ada, E::SignIn, O::Refused).await;
    assert_eq!((event.session_id.as_str(), event.service.as_str()), ("", ""));

    make_event(&ada).await;
    assert_newest(&ada, E::ConsentGrant, O::Success).await;
    let consents = ada
        .account()
        .list_consents(ListConsentsRequest::default())
        .await
        .unwrap();
    let withdraw = WithdrawConsentRequest {
        consent_id: consents.into_inner().consents[0].id.clone(),
        request_id: id(),
    };
    ada.account().withdraw_consent(withdraw).await.unwrap();
    let event = assert_newest(&ada, E::ConsentWithdraw, O::Success).await;
    assert_eq!(event.session_id, person.session_id.to_string());

    let stage = UpdateAccountRequest {
        account: Some(Account {
            id: person.id.to_string(),
            stage: 2,
            ..Account::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["stage".into()],
        }),
        expected_version: 1,
        request_id: id(),
    };
    let backend = stack.service("backend").unwrap();
    backend.account().update_account(stage).await.unwrap();
    let event = assert_newest(&ada, E::Stage, O::Success).await;
    assert_eq!(
        (event.service.as_str(), event.session_id.as_str()),
        ("backend", "")
    );

    let new_password = format!("Bb2-{:x}", rand::random::<u128>());
    let refused = ada
        .account()
        .change_password(change("Not-the-password-1", &new_password))
        .await;
    assert_eq!(reason(&refused.unwrap_err()), "CREDENTIALS_INVALID");
    assert_newest(&ada, E::PasswordChange, O::Refused).await;
    let done = ada
        .account()
        .change_password(change(&person.password, &new_password))
        .await;
    done.unwrap();
    assert_newest(&ada, E::PasswordChange, O::Success).await;

    let second = anonymous.sign_in(&person.email, &new_password).await.unwrap();
    let refresh = RefreshSessionRequest {
        refresh_token: second.refresh_token.clone(),
    };
    anonymous
        .session()
        .refresh_session(refresh.clone())
        .await
        .unwrap();
    // Lets the grace period for a client that lost the response expire.
    let age_tokens = "UPDATE identity.refresh_tokens SET issued_at = issued_at - interval '1 minute',
        used_at = used_at - interval '1 minute' WHERE used_at IS NOT NULL";
    execute(&stack.database, age_tokens).await;
    let reused = anonymous.session().refresh_session(refresh).await.unwrap_err();
    assert_eq!(reason(&reused), "SESSION_REVOKED");
    let event = assert_newest(&ada, E::TokenReuse, O::Refused).await;
    assert_eq!(event.session_id, second.session_id.to_string());

    let third = anonymous.sign_in(&person.email, &new_password).await.unwrap();
    let third_session = stack.user(&third).unwrap();
    third_session.session().sign_out(SignOutRequest {}).await.unwrap();
    let event = assert_newest(&ada, E::SignOut, O::Success).await;
    assert_eq!(event.session_id, third.session_id.to_string());

    let delete = DeleteAccountRequest {
        password: "Not-the-password-1".into(),
        request_id: id(),
        ..DeleteAccountRequest::default()
    };
    let refused = ada.account().delete_account(delete).await.unwrap_err();
    assert_eq!(reason(&refused), "CREDENTIALS_INVALID");
    assert_newest(&ada, E::Deletion, O::Refused).await;

    let log = events(&ada).await;
    let numbers: Vec<_> = log.iter().rev().map(|event| event.number).collect();
    assert_eq!(numbers, (1..=log.len() as i64).collect::<Vec<_>>());
    let verdict = verify(&stack);
    assert_eq!(
        (verdict.code, verdict.broken.len()),
        (0, 0),
        "{:?}",
        verdict.broken
    );
}

#[tokio::test]
async fn the_receipt_of_a_deletion_holds_the_last_digest_of_the_log() {
    let stack = Stack::start().await.unwrap();
    let person = person_with_events(&stack).await;
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let (number, digest, network): (i64, Vec<u8>, Vec<u8>) = sqlx::query_as(
        "SELECT last_number, last_digest, network_mac FROM identity.audit_chains JOIN identity.security_audit_log
             USING (user_id) WHERE user_id = $1 AND number = last_number",
    )
    .bind(person.id)
    .fetch_one(&mut superuser)
    .await
    .unwrap();
    let delete = DeleteAccountRequest {
        password: person.password.clone(),
        request_id: id(),
        ..DeleteAccountRequest::default()
    };
    let ada = stack.user(&person).unwrap();
    ada.account().delete_account(delete).await.unwrap();
    // The digest in the receipt follows from the log as it was before the deletion.
    let digest_matches: bool = sqlx::query_scalar(
        "SELECT audit_digest = identity.audit_digest($2, user_id, $3, 'deletion', false, NULL, $4, $5, requested_at)
         FROM identity.erasures WHERE user_id = $1",
    )
    .bind(person.id)
    .bind(digest)
    .bind(number + 1)
    .bind(person.session_id)
    .bind(network)
    .fetch_one(&mut superuser)
    .await
    .unwrap();
    assert!(digest_matches);
    let verdict = verify(&stack);
    assert_eq!((verdict.code, verdict.broken.len()), (0, 0));
}

#[tokio::test]
async fn concurrent_events_are_numbered_without_gaps() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    join_all((0..50).flat_map(|_| [make_event(&ada), make_event(&bob)])).await;
    for client in [&ada, &bob] {
        let numbers: Vec<_> = events(client).await.iter().map(|event| event.number).collect();
        assert_eq!(numbers, (1..=52).rev().collect::<Vec<_>>());
    }
    assert_eq!(verify(&stack).code, 0);
}

#[tokio::test]
async fn a_person_lists_their_own_events_page_by_page() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&person_with_events(stack).await).unwrap();
    let bob = stack.user(&stack.person().await.unwrap()).unwrap();
    let all = events(&ada).await;
    assert_eq!(all.len(), 5);
    let (mut paged, mut token) = (Vec::new(), String::new());
    for expected in [2, 2, 1] {
        let page = page(&ada, 2, &token).await;
        assert_eq!(page.events.len(), expected);
        paged.extend(page.events);
        token = page.next_page_token;
        // An event appended meanwhile is newer than all pages, so it appears on none of them.
        make_event(&ada).await;
    }
    assert_eq!((paged, token.as_str()), (all, ""));
    assert_eq!(events(&bob).await.len(), 2, "Bob sees his own events only");

    let token = page(&ada, 2, "").await.next_page_token;
    for (client, size, token, expected) in [
        (&bob, 2, token.as_str(), "PAGE_TOKEN_INVALID"),
        (&ada, 2, "nonsense", "PAGE_TOKEN_INVALID"),
        (&ada, -1, "", "INVALID_FIELD"),
    ] {
        let request = ListAuditEventsRequest {
            page_size: size,
            page_token: token.to_owned(),
        };
        let status = client.account().list_audit_events(request).await.unwrap_err();
        assert_eq!(reason(&status), expected);
    }
}
