//! GrantConsent, WithdrawConsent and ListConsents: only the withdrawal of an entry of the ledger ever changes it.

use std::slice::from_ref;

use haven_proto::identity::v1::{ConsentGrant, DeleteAccountRequest, GrantConsentRequest};
use haven_testkit::{Stack, random};
use sqlx::AssertSqlSafe;

use super::{grant, grant_of, ledger, page, withdraw, withdrawal_of};
use crate::status::{reason, violations};

#[tokio::test]
async fn a_sign_up_writes_the_first_entries_of_the_ledger() {
    let stack = Stack::builder()
        .variable("identity", "REQUIRED_CONSENTS", "terms=2026-01,news=7")
        .without("data")
        .start()
        .await
        .unwrap();
    let anonymous = stack.anonymous().unwrap();
    let mut request = haven_testkit::client::sign_up_request("ada@example.org", "Correct-Horse-7-Battery");
    request.consents.push(ConsentGrant {
        document: "news".into(),
        document_version: "7".into(),
    });
    let (email, password) = (request.email.clone(), request.password.clone());
    anonymous.account().sign_up(request).await.unwrap();
    let ada = stack
        .user(&anonymous.sign_in(&email, &password).await.unwrap())
        .unwrap();
    let answer = page(&ada, 0, "").await.unwrap();
    let mut found: Vec<_> = answer
        .consents
        .iter()
        .map(|consent| (consent.document.as_str(), consent.document_version.as_str()))
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [("news", "7"), ("privacy", "2026-01"), ("terms", "2026-01")]
    );
    assert!(
        answer
            .consents
            .iter()
            .all(|consent| consent.withdraw_time.is_none())
    );
    let required: Vec<_> = answer
        .required
        .iter()
        .map(|grant| (grant.document.as_str(), grant.document_version.as_str()))
        .collect();
    assert_eq!(required, [("terms", "2026-01"), ("news", "7")]);
}

#[tokio::test]
async fn granting_again_after_a_withdrawal_is_another_entry() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let first = grant(&ada, &grant_of("news", "1")).await.unwrap();
    assert_eq!(
        (first.document.as_str(), first.document_version.as_str()),
        ("news", "1")
    );
    assert_eq!(first.withdraw_time, None);
    let standing = grant(&ada, &grant_of("news", "1")).await.unwrap();
    assert_eq!(standing, first, "the consent is already granted");
    let other = grant(&ada, &grant_of("news", "2")).await.unwrap();
    assert_ne!(other.id, first.id, "another version is another consent");

    let withdrawn = withdraw(&ada, &withdrawal_of(&first)).await.unwrap();
    assert!(withdrawn.withdraw_time.is_some());
    let again = grant(&ada, &grant_of("news", "1")).await.unwrap();
    assert_ne!(again.id, first.id);
    assert_eq!(
        ledger(&ada).await,
        [again.clone(), other.clone(), withdrawn.clone()]
    );

    // A second withdrawal changes nothing.
    let unchanged = withdraw(&ada, &withdrawal_of(&first)).await.unwrap();
    assert_eq!(unchanged, withdrawn);
    assert_eq!(ledger(&ada).await, [again, other, withdrawn]);
}

#[tokio::test]
async fn no_role_can_change_or_delete_an_entry() {
    let stack = Stack::shared().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let entry = grant(&ada, &grant_of("news", "1")).await.unwrap();
    let withdrawn = withdraw(&ada, &withdrawal_of(&entry)).await.unwrap();
    for (login, role) in [
        ("identity_app", "identity_anon"),
        ("identity_app", "identity_user"),
        ("identity_worker", "identity_service"),
    ] {
        for statement in [
            "UPDATE identity.consents SET withdrawn_at = NULL",
            "UPDATE identity.consents SET granted_at = now()",
            "UPDATE identity.consents SET document_version = '2'",
            "DELETE FROM identity.consents",
        ] {
            let mut connection = stack.database.connect(login).await.unwrap();
            let sql = format!(
                r#"BEGIN; SELECT set_config('request.jwt.claims', '{{"sub":"{}"}}', true);
                   SET LOCAL ROLE {role}; {statement}"#,
                person.id
            );
            let error = sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await
                .unwrap_err();
            let code = error.as_database_error().and_then(|error| error.code());
            assert_eq!(code.as_deref(), Some("42501"), "{role}: {statement}: {error}");
        }
    }
    // The only function that changes entries ignores those withdrawn before.
    let again = format!(
        r#"BEGIN; SELECT set_config('request.jwt.claims', '{{"sub":"{}"}}', true); SET LOCAL ROLE identity_user;
           SELECT identity.withdraw_consent('{}', now() + interval '1 day'); COMMIT"#,
        person.id, entry.id
    );
    stack.database.run("identity_app", &again).await.unwrap();
    assert_eq!(ledger(&ada).await, [withdrawn]);
}

#[tokio::test]
async fn a_person_lists_their_own_consents_page_by_page() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    for number in 1..=5 {
        grant(&ada, &grant_of("news", &number.to_string())).await.unwrap();
    }
    let all = page(&ada, 0, "").await.unwrap().consents;
    assert_eq!(all.len(), 7);
    let (mut paged, mut token) = (Vec::new(), String::new());
    for expected in [3, 3, 1] {
        let page = page(&ada, 3, &token).await.unwrap();
        assert_eq!(page.consents.len(), expected);
        paged.extend(page.consents);
        token = page.next_page_token;
    }
    assert_eq!((paged, token.as_str()), (all, ""));
    assert_eq!(page(&ada, 7, "").await.unwrap().next_page_token, "");

    let bob = stack.user(&stack.person().await.unwrap()).unwrap();
    assert_eq!(
        page(&bob, 0, "").await.unwrap().consents.len(),
        2,
        "Bob sees his own consents only"
    );
    let token = page(&ada, 3, "").await.unwrap().next_page_token;
    for (client, size, token, expected) in [
        (&bob, 3, token.as_str(), "PAGE_TOKEN_INVALID"),
        (&ada, 3, "nonsense", "PAGE_TOKEN_INVALID"),
        (&ada, -1, "", "INVALID_FIELD"),
    ] {
        let status = page(client, size, token).await.unwrap_err();
        assert_eq!(reason(&status), expected);
    }
    let of_another_list = ada
        .account()
        .list_audit_events(haven_proto::identity::v1::ListAuditEventsRequest {
            page_size: 1,
            page_token: String::new(),
        })
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    let status = page(&ada, 3, &of_another_list).await.unwrap_err();
    assert_eq!(reason(&status), "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn invalid_requests_and_consents_of_others_are_refused() {
    let stack = Stack::shared().await.unwrap();
    let (person, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&person).unwrap(), stack.user(&bob).unwrap());
    let status = grant(&ada, &GrantConsentRequest::default()).await.unwrap_err();
    let violation = |field: &str, name: &str| (field.to_owned(), name.to_owned());
    assert_eq!(
        violations(&status),
        [
            violation("request_id", "REQUIRED"),
            violation("consent", "REQUIRED")
        ]
    );
    let status = grant(&ada, &grant_of("News!", "")).await.unwrap_err();
    assert_eq!(
        violations(&status),
        [
            violation("consent.document", "DOCUMENT_INVALID"),
            violation("consent.document_version", "VERSION_INVALID")
        ]
    );

    let her_consent = grant(&ada, &grant_of("news", "1")).await.unwrap();
    let status = withdraw(&bob, &withdrawal_of(&her_consent)).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    assert_eq!(ledger(&ada).await, from_ref(&her_consent));
    let mut unknown = withdrawal_of(&her_consent);
    unknown.consent_id = random::uuid().to_string();
    assert_eq!(reason(&withdraw(&ada, &unknown).await.unwrap_err()), "NOT_FOUND");

    // The access token of the session that deleted the account is still valid.
    let delete = DeleteAccountRequest {
        password: person.password.clone(),
        request_id: random::uuid().to_string(),
        ..DeleteAccountRequest::default()
    };
    ada.account().delete_account(delete).await.unwrap();
    let status = grant(&ada, &grant_of("news", "2")).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
    let status = withdraw(&ada, &withdrawal_of(&her_consent)).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
    assert!(page(&ada, 0, "").await.unwrap().consents.is_empty());
}
