//! The changes between a request and its retry.

use std::fs;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, Engine};
use haven_data::domain::quota::Quota;
use haven_proto::{
    data::v1::EraseUserRequest,
    identity::v1::{ConsentGrant, DeleteAccountRequest, GrantConsentRequest, RefreshSessionRequest},
};
use haven_testkit::{Stack, package::Package, random, service::Service};
use rcgen::KeyPair;

use super::mutation::Mutation;
use crate::{crisis_message::saying, status::reason, superuser_sql::execute};

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// Rate limits and quotas are lowered to the least, and used up.
    Limits,
    /// The passwords of SignUp, ChangePassword and ResetPassword no longer meet the policy.
    Policy,
    /// Other consents are required, and the versions that were consented to are not known. Services enforce them.
    Consents,
    /// All keys are rotated: those of tokens, of keyed hashes, of sealed texts and of passwords.
    Keys,
    /// Six hours pass. Callers have new tokens.
    Clock,
    /// Consents are enforced, and the tokens state the missing ones.
    Enforcement,
    /// The person is erased.
    Erasure,
}

/// A password that does not meet the policy.
const WEAK: &str = "weak";

/// Its hash, as other systems make it: bcrypt with cost 4.
const HASH_OF_WEAK: &str = "$2b$04$r8lgBm8mpSLbqamBjuUw6.4FgWcdelIzl8kPvOhxGBkfOGZFxx34i";

/// The limit of one call a day.
const ONE: &str = "1/24h";

impl Change {
    /// All changes, in the order in which they are made.
    pub(super) const ALL: [Self; 7] = [
        Self::Limits,
        Self::Policy,
        Self::Consents,
        Self::Keys,
        Self::Clock,
        Self::Enforcement,
        Self::Erasure,
    ];

    /// Makes the change.
    pub(super) async fn make(self, stack: &mut Stack, faketime: &Package, made: &mut [Mutation]) {
        match self {
            Self::Limits => {
                lower_limits(stack).await;
                use_up_limits(stack, made).await;
            }
            Self::Policy => weaken_passwords(stack, made).await,
            Self::Consents => require_other_consents(stack).await,
            Self::Keys => rotate_keys(stack).await,
            Self::Clock => {
                set(&mut stack.identity, &[("CONSENT_ENFORCEMENT", "off".to_owned())]);
                set(&mut stack.data, &[("CONSENT_ENFORCEMENT", "off".to_owned())]);
                pass_minutes(stack, faketime).await;
                refresh_tokens(stack, made).await;
            }
            Self::Enforcement => {
                let on = [("CONSENT_ENFORCEMENT", "on".to_owned())];
                restart(stack, &on, &on).await;
            }
            Self::Erasure => {
                let off = ("CONSENT_ENFORCEMENT", "off".to_owned());
                // The person confirms the erasure, and the retries are not refused before the person is looked for.
                let identity = [
                    off.clone(),
                    ("SIGN_UP_LIMITS", "network=off,email=off,service=off".to_owned()),
                    ("SIGN_IN_LIMITS", "network=off,email=off,service=off".to_owned()),
                    ("MUTATION_LIMITS", "person=off".to_owned()),
                    (
                        "RECOVERY_LIMITS",
                        "network=off,email=off,person=off,service=off".to_owned(),
                    ),
                    ("RECOVERY_TOKEN_LIMITS", "network=off,service=off".to_owned()),
                ];
                restart(stack, &identity, &[off]).await;
                erase(stack, made).await;
            }
        }
    }
}

fn set(service: &mut Service, variables: &[(&str, String)]) {
    for (name, value) in variables {
        service.variables.insert((*name).to_owned(), value.clone());
    }
}

/// Restarts both services with these variables.
async fn restart(stack: &mut Stack, identity: &[(&str, String)], data: &[(&str, String)]) {
    for (service, variables) in [(&mut stack.identity, identity), (&mut stack.data, data)] {
        service.stop();
        set(service, variables);
        service.launch().unwrap();
    }
    stack.identity.ready().await.unwrap();
    stack.data.ready().await.unwrap();
}

async fn lower_limits(stack: &mut Stack) {
    let attempts = format!("network={ONE},email={ONE},service={ONE}");
    let identity = [
        ("SIGN_UP_LIMITS", attempts.clone()),
        ("SIGN_IN_LIMITS", attempts),
        ("MUTATION_LIMITS", format!("person={ONE}")),
        ("WRONG_PASSWORD_LIMITS", format!("account={ONE}")),
        (
            "RECOVERY_LIMITS",
            format!("network={ONE},email={ONE},person={ONE},service={ONE}"),
        ),
        ("RECOVERY_TOKEN_LIMITS", format!("network={ONE},service={ONE}")),
        ("MAX_SESSIONS", "1".to_owned()),
        ("MAX_DEVICES", "1".to_owned()),
        ("MAX_CONSENTS", "20".to_owned()),
    ];
    let limited = Quota::ALL
        .into_iter()
        .filter(|quota| quota.default_limit().is_some());
    let quotas: Vec<_> = limited.map(|quota| format!("{}=1", quota.name())).collect();
    let data = [("MUTATION_LIMIT", ONE.to_owned()), ("QUOTAS", quotas.join(","))];
    restart(stack, &identity, &data).await;
}

/// Returns a consent to this version of the news.
fn grant(version: &str) -> GrantConsentRequest {
    GrantConsentRequest {
        consent: Some(ConsentGrant {
            document: "news".to_owned(),
            document_version: version.to_owned(),
        }),
        request_id: random::uuid().to_string(),
    }
}

/// Makes further calls until they are refused: of each kind without a person, and for each person one of both services.
async fn use_up_limits(stack: &Stack, made: &[Mutation]) {
    let refusals = ["RATE_LIMITED", "QUOTA_EXCEEDED"];
    for kind in [
        "SignUp",
        "SignIn",
        "GrantConsent",
        "AppendMessage",
        "CreatePasswordReset",
        "ResetPassword",
    ] {
        let mutation = made.iter().find(|mutation| mutation.rpc.ends_with(kind)).unwrap();
        let first = mutation.another(stack).await;
        let second = mutation.another(stack).await.unwrap();
        assert!(refusals.contains(&second.as_str()), "{kind}: {first:?}, {second}");
    }
    for mutation in made.iter().filter(|mutation| mutation.is_by_person()) {
        let client = stack.anonymous().unwrap().with_token(&mutation.token).unwrap();
        for _ in 0..2 {
            let consent = grant("2");
            let _ = client.account().grant_consent(consent).await;
        }
        let consent = grant("3");
        let status = client.account().grant_consent(consent).await.unwrap_err();
        let message = saying("one more");
        let other = client.conversation().append_message(message).await.unwrap_err();
        if mutation.name() != "AccountService/DeleteAccount" {
            assert_eq!(reason(&status), "RATE_LIMITED", "{}", mutation.name());
            assert!(
                refusals.contains(&reason(&other).as_str()),
                "{}: {other:?}",
                mutation.name()
            );
        }
    }
}

/// Stores the hash of a weak password where a request set a password, as if an earlier policy had accepted it.
async fn weaken_passwords(stack: &Stack, made: &mut [Mutation]) {
    for mutation in made {
        if mutation.set_password(WEAK) {
            let person = mutation.written_for();
            let sql =
                format!("UPDATE identity.users SET password_hash = '{HASH_OF_WEAK}' WHERE id = '{person}'");
            execute(&stack.database, &sql).await;
        }
    }
}

async fn require_other_consents(stack: &mut Stack) {
    let on = ("CONSENT_ENFORCEMENT", "on".to_owned());
    let other = "terms=2027-01,cookies=1".to_owned();
    let identity = [
        ("REQUIRED_CONSENTS", other.clone()),
        ("CONSENT_VERSIONS", other),
        on.clone(),
    ];
    restart(stack, &identity, &[on]).await;
}

async fn rotate_keys(stack: &mut Stack) {
    let random = || BASE64_STANDARD.encode(rand::random::<[u8; 32]>());
    let before = |service: &Service, name: &str, new: String| format!("{new},{}", service.variables[name]);
    let directory = stack.identity.log().parent().unwrap();
    let signing_key = directory.join("another-signing-key.pem");
    fs::write(&signing_key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let identity = [
        (
            "SECRET_KEY",
            before(&stack.identity, "SECRET_KEY", format!("k2:{}", random())),
        ),
        (
            "PEPPERS",
            before(&stack.identity, "PEPPERS", format!("p2:{}", random())),
        ),
        (
            "SIGNING_KEY_FILES",
            before(
                &stack.identity,
                "SIGNING_KEY_FILES",
                signing_key.display().to_string(),
            ),
        ),
    ];
    let message_key = BASE64_URL_SAFE.encode(rand::random::<[u8; 32]>());
    let data = [
        (
            "SECRET_KEY",
            before(&stack.data, "SECRET_KEY", format!("k2:{}", random())),
        ),
        (
            "MESSAGE_KEYS",
            before(&stack.data, "MESSAGE_KEYS", format!("m2:{message_key}")),
        ),
    ];
    restart(stack, &identity, &data).await;
}

/// Moves the clocks of both services, by more than the skew that is borne of clients, and by less than an access token lives: a
/// refresh goes by the clock of Postgres, which stays.
async fn pass_minutes(stack: &mut Stack, faketime: &Package) {
    let libraries = faketime.libraries().unwrap();
    let library = std::env::split_paths(&libraries).find_map(|directory| {
        let file = directory.join("faketime/libfaketime.so.1");
        file.exists().then_some(file)
    });
    let later = [
        ("LD_PRELOAD", library.unwrap().display().to_string()),
        ("FAKETIME", "+7m".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    restart(stack, &later, &later).await;
}

/// Gets new tokens, unless the person is erased or their session has ended.
async fn refresh_tokens(stack: &Stack, made: &mut [Mutation]) {
    for mutation in made {
        let request = RefreshSessionRequest {
            refresh_token: mutation.person().refresh_token.clone(),
        };
        let refreshed = stack
            .anonymous()
            .unwrap()
            .session()
            .refresh_session(request)
            .await;
        match refreshed {
            Ok(answer) => mutation.token = answer.into_inner().access_token,
            Err(status) => assert!(
                // With MAX_SESSIONS=1, a further sign-in ended the session.
                mutation.name().starts_with("AccountService/DeleteAccount")
                    || mutation.name() == "SessionService/SignIn"
                    || mutation.ends_sessions(),
                "{}: {status:?}",
                mutation.name()
            ),
        }
    }
}

/// Erases each person: by themselves where they can, so that their session goes on.
async fn erase(stack: &Stack, made: &[Mutation]) {
    for mutation in made {
        let request_id = random::uuid().to_string();
        let user_id = mutation.written_for().to_string();
        let erased = match mutation.name() {
            "AccountService/DeleteAccount" | "AccountService/DeleteAccount, by a service" => Ok(()),
            "PersonService/ProvisionUser" => {
                let request = EraseUserRequest { user_id, request_id };
                let identity = stack.service("identity").unwrap();
                identity.person().erase_user(request).await.map(drop)
            }
            "AccountService/SignUp"
            | "SessionService/SignIn"
            | "RecoveryService/ResetPassword"
            | "RecoveryService/UndoEmailChange" => {
                let request = DeleteAccountRequest {
                    user_id,
                    request_id,
                    ..DeleteAccountRequest::default()
                };
                let backend = stack.service("backend").unwrap();
                backend.account().delete_account(request).await.map(drop)
            }
            _ => {
                let request = DeleteAccountRequest {
                    user_id,
                    password: mutation.person().password.clone(),
                    request_id,
                };
                let client = stack.anonymous().unwrap().with_token(&mutation.token).unwrap();
                client.account().delete_account(request).await.map(drop)
            }
        };
        erased.unwrap_or_else(|status| panic!("{}: {status:?}", mutation.name()));
    }
}
