//! An export has what a person did: withdrawn consents, ended sessions, used tokens and the log of it.

use haven_proto::identity::v1::{
    AuditEventType, ChangePasswordRequest, ExportAccountResponse, ListConsentsRequest, RefreshSessionRequest,
    SessionEndReason, WithdrawConsentRequest,
};
use haven_testkit::{Client, Person, Stack, random};
use prost_types::Timestamp;

use super::{counted, export, exported, resume};
use crate::{account::deletion::rows::owned, status::reason};

/// Another password that meets the policy.
const NEW_PASSWORD: &str = "Another-Horse-8-Battery";

/// Returns a time as a number that can be compared.
fn micros(time: Option<Timestamp>) -> i64 {
    let time = time.unwrap();
    time.seconds * 1_000_000 + i64::from(time.nanos / 1_000)
}

/// Withdraws a consent, refreshes the session, and changes the password, which ends another session.
async fn live(stack: &Stack, person: &Person, client: &Client) -> i64 {
    let mut accounts = client.account();
    let consents = accounts
        .list_consents(ListConsentsRequest::default())
        .await
        .unwrap();
    let withdraw = WithdrawConsentRequest {
        consent_id: consents.into_inner().consents[0].id.clone(),
        request_id: random::uuid().to_string(),
    };
    accounts.withdraw_consent(withdraw).await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    anonymous.sign_in(&person.email, &person.password).await.unwrap();
    let refresh = RefreshSessionRequest {
        refresh_token: person.refresh_token.clone(),
    };
    anonymous.session().refresh_session(refresh).await.unwrap();
    let change = ChangePasswordRequest {
        current_password: person.password.clone(),
        new_password: NEW_PASSWORD.to_owned(),
        request_id: random::uuid().to_string(),
    };
    let changed = accounts.change_password(change).await.unwrap();
    micros(changed.into_inner().change_time)
}

#[tokio::test]
async fn everything_is_exported_and_nothing_of_others() {
    let stack = Stack::shared().await.unwrap();
    let other = stack.person().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let changed_at = live(stack, &ada, &client).await;
    let export = export(&client).await.unwrap();

    let manifest = export.manifest.as_ref().unwrap();
    assert_eq!(
        (manifest.format_version, &manifest.user_id),
        (1, &ada.id.to_string())
    );
    assert!(micros(manifest.start_time) < micros(manifest.end_time));
    let counted = counted(&export);
    assert_eq!(exported(manifest), counted);
    let owned = owned(stack, &ada).await;
    for (table, rows) in &counted {
        assert_eq!(owned[table], *rows, "{table}");
    }

    let exported = export.account.as_ref().unwrap();
    let account = exported.account.as_ref().unwrap();
    assert_eq!((&account.id, &account.email), (&ada.id.to_string(), &ada.email));
    assert_eq!(micros(exported.password_set_time), changed_at);
    let withdrawn = export
        .consents
        .iter()
        .filter(|consent| consent.withdraw_time.is_some());
    assert_eq!((export.consents.len(), withdrawn.count()), (2, 1));
    sessions(&export, &ada);
    log(&export);
    let text = format!("{export:?}");
    assert!(!text.contains(&other.id.to_string()) && !text.contains("$argon2"));
}

/// Asserts that the sessions have their states, and their tokens the times of use.
fn sessions(export: &ExportAccountResponse, ada: &Person) {
    let [kept, ended] = &export.sessions[..] else {
        panic!("{:?}", export.sessions)
    };
    assert_eq!(kept.id, ada.session_id.to_string());
    assert!(kept.refresh_time.is_some() && kept.end_time.is_none());
    assert_eq!(kept.end_reason(), SessionEndReason::Unspecified);
    assert!(ended.refresh_time.is_none() && ended.end_time.is_some());
    assert_eq!(ended.end_reason(), SessionEndReason::PasswordChanged);
    let used: Vec<_> = export
        .refresh_tokens
        .iter()
        .map(|token| (token.session_id == kept.id, token.use_time.is_some()))
        .collect();
    assert_eq!(used, [(true, true), (false, false), (true, false)]);
    // The change of the password has forgotten the devices.
    assert!(export.device_tokens.is_empty());
}

/// Asserts that the log has the person's actions, and the export as the last one.
fn log(export: &ExportAccountResponse) {
    let events: Vec<_> = export
        .audit_events
        .iter()
        .map(|event| event.event_type())
        .collect();
    let expected = [
        AuditEventType::SignUp,
        AuditEventType::SignIn,
        AuditEventType::ConsentWithdraw,
        AuditEventType::SignIn,
        AuditEventType::PasswordChange,
        AuditEventType::AccountExport,
    ];
    assert_eq!(events, expected);
    let numbers: Vec<_> = export.audit_events.iter().map(|event| event.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_password_that_was_never_changed_was_set_with_the_account() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let export = export(&stack.user(&ada).unwrap()).await.unwrap();
    let exported = export.account.unwrap();
    let created_at = exported.account.unwrap().create_time;
    assert_eq!(exported.password_set_time, created_at);
    assert_eq!(export.device_tokens.len(), 1, "the device that signed in");
}

/// Each export is an entry in a log that is kept for a year.
#[tokio::test]
async fn exports_count_towards_the_rate_limit_of_changes() {
    let stack = Stack::builder().variable("identity", "MUTATION_LIMITS", "person=2/1h");
    let stack = stack.start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    for _ in 0..2 {
        export(&client).await.unwrap();
    }
    let status = resume(&client, "").await.err().unwrap();
    assert_eq!(reason(&status), "RATE_LIMITED");
    // A refused export is not in the log.
    let bob = stack.person().await.unwrap();
    export(&stack.user(&bob).unwrap()).await.unwrap();
    let events: i64 = crate::superuser_sql::scalar(
        &stack.database,
        "SELECT count(*) FROM identity.security_audit_log WHERE event = 'account_export'",
    )
    .await;
    assert_eq!(events, 3);
}
