//! ImportAccounts: accounts of another system are created once, and their people sign in with the passwords that they had there.

use futures_util::stream;
use haven_proto::{
    data::v1::ListMessagesRequest,
    identity::v1::{
        ConsentGrant, CreatePasswordResetRequest, DeleteAccountRequest, ImportAccountsRequest,
        ImportAccountsResponse, ImportOutcome, ImportedConsent, ListAuditEventsRequest, ListConsentsRequest,
        ResetPasswordRequest,
    },
};
use haven_testkit::{Client, Stack, client::sign_up_request, random};
use prost_types::Timestamp;
use tonic::Status;
use uuid::Uuid;

use super::PASSWORD;
use crate::{
    eventually::eventually,
    status::{reason, violations},
    superuser_sql::scalar_with,
};

/// The password of the hashes below.
const IMPORTED: &str = "Grüße an Köln 7";

/// The same, decomposed (NFD), as another keyboard may send it.
const DECOMPOSED: &str = "Gru\u{308}ße an Ko\u{308}ln 7";

/// The defaults of argon2-cffi 25.1.0, which need 64 MiB.
const ARGON2_CFFI: &str =
    "$argon2id$v=19$m=65536,t=3,p=4$E/XDhqU5n89a2l2M6kj5vQ$flfEj3FsVQLuNXmGhg4mQNwaM4/VWxCxPVYQpJCuvGA";

/// Django 5.2.19, PBKDF2PasswordHasher.
const DJANGO: &str =
    "pbkdf2_sha256$1000000$7mgyPUHJbteZVyu1g4uJ17$xqEM6ga/LARMlkv/unyGIB3fU/0dDq/2RvhdO+0b/kc=";

/// The functions of PHP 8.2.36 that WordPress 6.8 calls.
const WORDPRESS: &str = "$wp$2y$10$UOer4/fQoYwNQ6BC6e5ROOn.EhBIZkNF.rVpaLNnA1s6RC8L09Oyy";

/// Devise 4.8.1 with the pepper `pepper-of-the-application`.
const DEVISE: &str = "$devise$dev$2a$10$y8i3Plxi7p2cA3808ZafQ.NDfQmEg6PL5aQX/cCD3KBKJzgUoHU9G";

/// Returns a request for a new account with `password_hash`.
fn account(password_hash: &str) -> ImportAccountsRequest {
    let user_id = random::uuid();
    ImportAccountsRequest {
        user_id: user_id.to_string(),
        email: format!("{user_id}@example.org"),
        password_hash: password_hash.to_owned(),
        goals: vec![2],
        ..ImportAccountsRequest::default()
    }
}

async fn import(
    client: &Client,
    accounts: &[ImportAccountsRequest],
) -> Result<ImportAccountsResponse, Status> {
    let requests = stream::iter(accounts.to_vec());
    Ok(client.account().import_accounts(requests).await?.into_inner())
}

/// Returns the outcome of each account, and the reason of a refusal.
fn outcomes(response: &ImportAccountsResponse) -> Vec<(ImportOutcome, &str)> {
    let accounts = response.accounts.iter();
    accounts
        .map(|account| (account.outcome(), account.reason.as_str()))
        .collect()
}

/// Returns the stored hash of an account.
async fn stored_hash(stack: &Stack, request: &ImportAccountsRequest) -> String {
    let id: Uuid = request.user_id.parse().unwrap();
    scalar_with(
        &stack.database,
        "SELECT password_hash FROM identity.users WHERE id = $1",
        id,
    )
    .await
}

#[tokio::test]
async fn people_sign_in_with_their_passwords_and_the_hashes_are_replaced() {
    let stack = Stack::builder()
        .variable(
            "identity",
            "IMPORTED_HASH_SECRETS",
            "dev:cGVwcGVyLW9mLXRoZS1hcHBsaWNhdGlvbg==",
        )
        .start()
        .await
        .unwrap();
    let (backend, anonymous) = (stack.service("backend").unwrap(), stack.anonymous().unwrap());
    let accounts = [ARGON2_CFFI, DJANGO, WORDPRESS, DEVISE].map(account);
    let response = import(&backend, &accounts).await.unwrap();
    assert_eq!(
        outcomes(&response),
        [(ImportOutcome::Created, ""); 4],
        "{response:?}"
    );
    for request in &accounts {
        let wrong = anonymous.sign_in(&request.email, "Grüße an Köln 8").await;
        assert!(wrong.is_err(), "{}", request.password_hash);
        let person = anonymous.sign_in(&request.email, IMPORTED).await.unwrap();
        assert_eq!(person.id.to_string(), request.user_id);
        let replaced = stored_hash(&stack, request).await;
        assert!(
            replaced.starts_with("$argon2id$v=19$m=19456,t=2,p=1,keyid="),
            "{replaced}"
        );
        // The new hash is of the normal form, and the old one of what was typed.
        anonymous.sign_in(&request.email, DECOMPOSED).await.unwrap();
        let user = stack.user(&person).unwrap();
        eventually("data knows the person", async || {
            let listed = user
                .conversation()
                .list_messages(ListMessagesRequest::default())
                .await;
            listed.is_ok()
        })
        .await;
        let events = user
            .account()
            .list_audit_events(ListAuditEventsRequest::default())
            .await;
        let events = events.unwrap().into_inner().events;
        assert_eq!(
            events.last().unwrap().event_type().as_str_name(),
            "AUDIT_EVENT_TYPE_ACCOUNT_IMPORT"
        );
    }
}

/// The peak of the memory with eight sign-ins at once is not that of one and seven times 64 MiB more.
#[tokio::test]
async fn checks_of_large_hashes_have_the_memory_of_one_at_a_time() {
    let stack = Stack::start().await.unwrap();
    let (backend, anonymous) = (stack.service("backend").unwrap(), stack.anonymous().unwrap());
    let accounts: Vec<_> = (0..9).map(|_| account(ARGON2_CFFI)).collect();
    import(&backend, &accounts).await.unwrap();
    let pid = stack.identity.pid().unwrap();
    let peak_mib = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    anonymous.sign_in(&accounts[0].email, IMPORTED).await.unwrap();
    let one = peak_mib();
    // One after the other: on a busy machine some are refused with OVERLOADED, and try again.
    let crowd = accounts[1..].iter().map(async |request| {
        eventually("the person signs in", async || {
            anonymous.sign_in(&request.email, IMPORTED).await.is_ok()
        })
        .await;
    });
    futures_util::future::join_all(crowd).await;
    let eight = peak_mib();
    eprintln!("{one} MiB for one, {eight} MiB for eight at once");
    assert!(one > 64, "{one} MiB: the hash needs 64");
    // Two kernels of 19 MiB for the new hashes.
    assert!(
        eight < one + 60,
        "{one} MiB for one, {eight} MiB for eight at once"
    );
}

#[tokio::test]
async fn an_import_that_is_repeated_creates_nothing_twice() {
    let stack = Stack::shared().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let accounts: Vec<_> = (0..40).map(|_| account(WORDPRESS)).collect();
    // The connection is lost in the middle of the call.
    let cut = {
        let half = accounts[..20].to_vec();
        let requests = futures_util::StreamExt::chain(stream::iter(half), stream::pending());
        let call = async { backend.account().import_accounts(requests).await.map(drop) };
        tokio::time::timeout(std::time::Duration::from_secs(2), call).await
    };
    assert!(cut.is_err(), "the call was to be cut off");
    let whole = import(&backend, &accounts).await.unwrap();
    assert_eq!(whole.accounts.len(), 40);
    assert_eq!(whole.refused_count, 0, "{whole:?}");
    assert!(whole.existing_count > 0, "the first call stored nothing");
    let again = import(&backend, &accounts).await.unwrap();
    assert_eq!((again.created_count, again.existing_count), (0, 40));
    let ids = again.accounts.iter().map(|account| account.user_id.clone());
    let sent: Vec<_> = accounts.iter().map(|account| account.user_id.clone()).collect();
    assert_eq!(ids.collect::<Vec<_>>(), sent, "in the order of the requests");
    let ids: Vec<Uuid> = sent.iter().map(|id| id.parse().unwrap()).collect();
    let stored: i64 = scalar_with(
        &stack.database,
        "SELECT count(*) FROM identity.security_audit_log WHERE user_id = ANY ($1) AND event = 'account_import'",
        ids,
    )
    .await;
    assert_eq!(stored, 40);
}

#[tokio::test]
async fn an_account_with_other_content_or_a_taken_address_is_refused_and_the_others_are_created() {
    let stack = Stack::shared().await.unwrap();
    let (backend, anonymous) = (stack.service("backend").unwrap(), stack.anonymous().unwrap());
    let (first, erased) = (account(WORDPRESS), account(""));
    import(&backend, &[first.clone(), erased.clone()]).await.unwrap();
    let deletion = DeleteAccountRequest {
        user_id: erased.user_id.clone(),
        password: String::new(),
        request_id: random::uuid().to_string(),
    };
    backend.account().delete_account(deletion).await.unwrap();
    let signed_up = format!("{}@example.org", random::uuid());
    anonymous
        .account()
        .sign_up(sign_up_request(&signed_up, PASSWORD))
        .await
        .unwrap();
    let accounts = [
        ImportAccountsRequest {
            goals: vec![3],
            ..first.clone()
        },
        ImportAccountsRequest {
            email: first.email.to_uppercase(),
            ..account(WORDPRESS)
        },
        ImportAccountsRequest {
            email: signed_up,
            ..account(WORDPRESS)
        },
        erased,
        account(WORDPRESS),
        first,
    ];
    let response = import(&backend, &accounts).await.unwrap();
    assert_eq!(
        outcomes(&response),
        [
            (ImportOutcome::Refused, "RECORD_EXISTS"),
            (ImportOutcome::Refused, "EMAIL_TAKEN"),
            (ImportOutcome::Refused, "EMAIL_TAKEN"),
            (ImportOutcome::Refused, "ACCOUNT_ERASED"),
            (ImportOutcome::Created, ""),
            (ImportOutcome::Exists, ""),
        ]
    );
    assert_eq!(
        (
            response.created_count,
            response.existing_count,
            response.refused_count
        ),
        (1, 1, 4)
    );
}

/// Requests are kept for a week. Later the account is recognized by its id and address, although its person changed the rest.
#[tokio::test]
async fn an_import_is_recognized_after_its_request_is_forgotten() {
    let stack = Stack::shared().await.unwrap();
    let (backend, anonymous) = (stack.service("backend").unwrap(), stack.anonymous().unwrap());
    let request = account(WORDPRESS);
    import(&backend, std::slice::from_ref(&request)).await.unwrap();
    anonymous.sign_in(&request.email, IMPORTED).await.unwrap();
    let id: Uuid = request.user_id.parse().unwrap();
    let forget = "DELETE FROM identity.requests WHERE user_id = $1 AND method = 'ImportAccounts'";
    crate::superuser_sql::execute_with(&stack.database, forget, id).await;
    let replaced = stored_hash(stack, &request).await;
    let other_address = ImportAccountsRequest {
        email: format!("{}@example.org", random::uuid()),
        ..request.clone()
    };
    let response = import(&backend, &[request.clone(), other_address]).await.unwrap();
    assert_eq!(
        outcomes(&response),
        [
            (ImportOutcome::Exists, ""),
            (ImportOutcome::Refused, "RECORD_EXISTS")
        ]
    );
    assert_eq!(
        stored_hash(stack, &request).await,
        replaced,
        "the replaced hash stays"
    );
}

#[tokio::test]
async fn the_consents_and_the_verification_of_the_other_system_are_kept() {
    let stack = Stack::shared().await.unwrap();
    let (backend, anonymous) = (stack.service("backend").unwrap(), stack.anonymous().unwrap());
    let granted = Some(Timestamp {
        seconds: 1_600_000_000,
        nanos: 0,
    });
    let request = ImportAccountsRequest {
        email_verified_time: Some(Timestamp {
            seconds: 1_500_000_000,
            nanos: 999,
        }),
        consents: vec![ImportedConsent {
            consent: Some(ConsentGrant {
                document: "terms".into(),
                document_version: "2020-09".into(),
            }),
            grant_time: granted,
        }],
        ..account(WORDPRESS)
    };
    import(&backend, std::slice::from_ref(&request)).await.unwrap();
    let person = anonymous.sign_in(&request.email, IMPORTED).await.unwrap();
    let user = stack.user(&person).unwrap();
    let consents = user
        .account()
        .list_consents(ListConsentsRequest::default())
        .await
        .unwrap();
    let consents = consents.into_inner().consents;
    assert_eq!(consents.len(), 1);
    assert_eq!(consents[0].grant_time, granted);
    let account = super::get(&user, "").await.unwrap();
    assert_eq!(account.email_verified_time.unwrap().seconds, 1_500_000_000);
}

#[tokio::test]
async fn without_a_hash_no_password_matches_until_it_is_reset() {
    let stack = Stack::shared().await.unwrap();
    let (backend, anonymous) = (stack.service("backend").unwrap(), stack.anonymous().unwrap());
    let request = account("");
    import(&backend, std::slice::from_ref(&request)).await.unwrap();
    assert!(anonymous.sign_in(&request.email, IMPORTED).await.is_err());
    let reset = CreatePasswordResetRequest {
        email: request.email.clone(),
        request_id: random::uuid().to_string(),
    };
    let token = backend
        .recovery()
        .create_password_reset(reset)
        .await
        .unwrap()
        .into_inner()
        .token;
    let reset = ResetPasswordRequest {
        token,
        new_password: PASSWORD.into(),
        request_id: random::uuid().to_string(),
    };
    anonymous.recovery().reset_password(reset).await.unwrap();
    anonymous.sign_in(&request.email, PASSWORD).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_an_account_is_named_and_nothing_is_stored() {
    let stack = Stack::shared().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let tomorrow = Some(Timestamp {
        seconds: 4_000_000_000,
        nanos: 0,
    });
    let consent = |document: &str, grant_time| ImportedConsent {
        consent: Some(ConsentGrant {
            document: document.into(),
            document_version: "1".into(),
        }),
        grant_time,
    };
    let hash = |hash: &str| account(hash);
    for (request, expected_reason, field, name) in [
        (
            hash("$P$B12345678abcdefghijklmnopqrstuv"),
            "INVALID_FIELD",
            "password_hash",
            "HASH_UNSUPPORTED",
        ),
        (
            hash("5f4dcc3b5aa765d61d8327deb882cf99"),
            "INVALID_FIELD",
            "password_hash",
            "HASH_UNSUPPORTED",
        ),
        (
            hash("$2b$13$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
            "INVALID_FIELD",
            "password_hash",
            "HASH_TOO_COSTLY",
        ),
        (
            hash(
                "argon2$argon2id$v=19$m=102400,t=2,p=8$MXB5TTdrTDRhTmJ5MG5BMXloTjZseg$d3GREEUgpMgCgsBKuMbQMcSPsCu9veeLWEJZL1Uar7w",
            ),
            "INVALID_FIELD",
            "password_hash",
            "HASH_TOO_COSTLY",
        ),
        (
            hash("$devise$none$2a$10$y8i3Plxi7p2cA3808ZafQ.NDfQmEg6PL5aQX/cCD3KBKJzgUoHU9G"),
            "INVALID_FIELD",
            "password_hash",
            "HASH_SECRET_UNKNOWN",
        ),
        (
            ImportAccountsRequest {
                user_id: "7".into(),
                ..hash("")
            },
            "INVALID_FIELD",
            "user_id",
            "NOT_A_UUID",
        ),
        (
            ImportAccountsRequest {
                email: "ada".into(),
                ..hash("")
            },
            "EMAIL_INVALID",
            "email",
            "NO_AT_SIGN",
        ),
        (
            ImportAccountsRequest {
                goals: vec![],
                ..hash("")
            },
            "INVALID_FIELD",
            "goals",
            "REQUIRED",
        ),
        (
            ImportAccountsRequest {
                email_verified_time: tomorrow,
                ..hash("")
            },
            "INVALID_FIELD",
            "email_verified_time",
            "IN_FUTURE",
        ),
        (
            ImportAccountsRequest {
                consents: vec![consent("terms", None)],
                ..hash("")
            },
            "INVALID_FIELD",
            "consents[0].grant_time",
            "REQUIRED",
        ),
        (
            ImportAccountsRequest {
                consents: vec![ImportedConsent::default()],
                ..hash("")
            },
            "INVALID_FIELD",
            "consents[0].consent",
            "REQUIRED",
        ),
        (
            ImportAccountsRequest {
                consents: vec![consent("terms", Some(Timestamp::default())); 2],
                ..hash("")
            },
            "INVALID_FIELD",
            "consents[1].consent.document",
            "DUPLICATE",
        ),
    ] {
        let response = import(&backend, &[request.clone(), account("")]).await.unwrap();
        assert_eq!(
            outcomes(&response),
            [
                (ImportOutcome::Refused, expected_reason),
                (ImportOutcome::Created, "")
            ],
            "{field} {name}: {response:?}"
        );
        let found = response.accounts[0].violations.iter();
        assert!(
            found
                .clone()
                .any(|violation| violation.field == field && violation.name == name),
            "{field} {name}: {response:?}"
        );
        let stored: i64 = scalar_with(
            &stack.database,
            "SELECT count(*) FROM identity.users WHERE email = $1",
            request.email,
        )
        .await;
        assert_eq!(stored, 0, "{field} {name}");
    }
}

#[tokio::test]
async fn a_call_has_at_most_5000_accounts() {
    let stack = Stack::shared().await.unwrap();
    let backend = stack.service("backend").unwrap();
    // Refused for their id, so nothing is stored.
    let wrong = vec![ImportAccountsRequest::default(); 5_000];
    let response = import(&backend, &wrong).await.unwrap();
    assert_eq!((response.accounts.len(), response.refused_count), (5_000, 5_000));
    let status = import(
        &backend,
        &[wrong, vec![ImportAccountsRequest::default()]].concat(),
    )
    .await
    .unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    assert_eq!(
        violations(&status),
        [("accounts".to_owned(), "TOO_MANY".to_owned())]
    );
}

/// Prints how long an import takes, and the same import again.
#[tokio::test]
#[ignore = "measures"]
async fn the_time_of_an_import() {
    let stack = Stack::start().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let accounts: Vec<_> = (0..5_000).map(|_| account(WORDPRESS)).collect();
    for _ in 0..2 {
        let began = std::time::Instant::now();
        let response = import(&backend, &accounts).await.unwrap();
        eprintln!(
            "{} created, {} existing: {:?}",
            response.created_count,
            response.existing_count,
            began.elapsed()
        );
    }
    let began = std::time::Instant::now();
    eventually("data knows everyone", async || {
        let left: i64 =
            crate::superuser_sql::scalar(&stack.database, "SELECT count(*) FROM identity.outbox").await;
        left == 0
    })
    .await;
    eprintln!(
        "the outbox was empty {:?} after the second import",
        began.elapsed()
    );
}
