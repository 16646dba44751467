//! ChangePassword: needs the current password, and ends every other session of the person.

use futures_util::future::join_all;
use haven_proto::identity::v1::{
    ChangePasswordRequest, ChangePasswordResponse, DeleteAccountRequest, GetAccountRequest, SignInRequest,
};
use haven_testkit::{Client, Person, Stack, random};
use sqlx::Connection;
use tonic::{Response, Status};

use crate::{
    eventually::eventually,
    retry::{retry_call, with_long_timeout},
    status::{reason, violations},
    superuser_sql::{execute, scalar, scalar_with},
};

/// Selects the version of a person's password.
const PASSWORD_VERSION: &str = "SELECT password_version FROM identity.users WHERE id = $1";

/// New password that meets the policy.
const NEW_PASSWORD: &str = "Another-Horse-8-Battery";

/// Returns a change from the person's password to `new`, under a new request id.
fn change_of(person: &Person, new: &str) -> ChangePasswordRequest {
    ChangePasswordRequest {
        current_password: person.password.clone(),
        new_password: new.to_owned(),
        request_id: random::uuid().to_string(),
    }
}

/// Calls ChangePassword with retries.
async fn change(client: &Client, request: &ChangePasswordRequest) -> Result<ChangePasswordResponse, Status> {
    let mut accounts = client.account();
    retry_call(request.clone(), async |request| {
        accounts.change_password(request).await
    })
    .await
}

/// Returns the reason for which a sign-in fails.
async fn sign_in_refused(client: &Client, email: &str, password: &str) -> String {
    let error = client.sign_in(email, password).await.err().unwrap();
    reason(&error.downcast().unwrap())
}

/// Returns the reason for which identity refuses an access token, or `None` when it accepts the token.
async fn token_refused(stack: &Stack, token: &str) -> Option<String> {
    let client = stack.anonymous().unwrap().with_token(token).unwrap();
    let answer = client.account().get_account(GetAccountRequest::default()).await;
    answer.err().map(|status| reason(&status))
}

/// A stolen access token can be used to guess the password: SIGN_IN_LIMITS apply to every check of a password.
#[tokio::test]
async fn password_checks_of_other_rpcs_count_against_the_sign_in_limits() {
    let stack = Stack::builder()
        .variable(
            "identity",
            "SIGN_IN_LIMITS",
            "network=1000/1h,email=3/1h,service=1000/1h",
        )
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let bob = stack.person().await.unwrap();
    let mut reasons = Vec::new();
    for _ in 0..5 {
        let wrong = ChangePasswordRequest {
            current_password: "Wrong-Horse-9-Battery".into(),
            ..change_of(&ada, NEW_PASSWORD)
        };
        reasons.push(reason(&change(&client, &wrong).await.unwrap_err()));
    }
    let expected = [
        "CREDENTIALS_INVALID",
        "CREDENTIALS_INVALID",
        "CREDENTIALS_INVALID",
        "RATE_LIMITED",
        "RATE_LIMITED",
    ];
    assert_eq!(reasons, expected);
    let deletion = DeleteAccountRequest {
        user_id: String::new(),
        password: ada.password.clone(),
        request_id: random::uuid().to_string(),
    };
    let status = client.account().delete_account(deletion).await.unwrap_err();
    assert_eq!(reason(&status), "RATE_LIMITED", "DeleteAccount shares the limit");
    // Other people are not limited.
    change(&stack.user(&bob).unwrap(), &change_of(&bob, NEW_PASSWORD))
        .await
        .unwrap();
}

#[tokio::test]
async fn every_session_ends_but_the_one_that_changed_the_password() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let second = anonymous.sign_in(&ada.email, &ada.password).await.unwrap();
    let third = anonymous.sign_in(&ada.email, &ada.password).await.unwrap();
    let bob = stack.person().await.unwrap();
    let client = stack.user(&second).unwrap();
    let account = async || {
        let answer = client.account().get_account(GetAccountRequest::default()).await;
        answer.unwrap().into_inner().account.unwrap()
    };
    let before = account().await;

    let changed = change(&client, &change_of(&ada, NEW_PASSWORD)).await.unwrap();
    assert_eq!(changed.ended_sessions, 2);
    let after = account().await;
    assert_eq!(
        (after.version, after.update_time),
        (before.version + 1, changed.change_time)
    );
    for ended in [&ada, &third] {
        assert_eq!(
            token_refused(stack, &ended.token).await.as_deref(),
            Some("SESSION_REVOKED")
        );
    }
    assert_eq!(
        token_refused(stack, &bob.token).await,
        None,
        "sessions of others go on"
    );

    assert_eq!(
        sign_in_refused(&anonymous, &ada.email, &ada.password).await,
        "CREDENTIALS_INVALID"
    );
    anonymous.sign_in(&ada.email, NEW_PASSWORD).await.unwrap();
    let logged: bool = scalar_with(
        &stack.database,
        "SELECT NOT refused AND session_id IS NOT NULL FROM identity.security_audit_log
         WHERE user_id = $1 AND event = 'password_change'",
        ada.id,
    )
    .await;
    assert!(logged);
}

#[tokio::test]
async fn a_wrong_password_changes_nothing_and_is_counted() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let other = anonymous.sign_in(&ada.email, &ada.password).await.unwrap();
    let client = stack.user(&ada).unwrap();
    let wrong = ChangePasswordRequest {
        current_password: "Wrong-Horse-7-Battery".into(),
        ..change_of(&ada, NEW_PASSWORD)
    };
    for _ in 0..5 {
        let status = change(&client, &wrong).await.unwrap_err();
        assert_eq!(reason(&status), "CREDENTIALS_INVALID");
    }
    let status = change(&client, &wrong).await.unwrap_err();
    assert_eq!(reason(&status), "RATE_LIMITED");
    let logged: i64 = scalar_with(
        &stack.database,
        "SELECT count(*) FROM identity.security_audit_log
         WHERE user_id = $1 AND event = 'password_change' AND refused",
        ada.id,
    )
    .await;
    assert_eq!(logged, 5);
    let version: i64 = scalar_with(&stack.database, PASSWORD_VERSION, ada.id).await;
    assert_eq!(version, 1);
    assert_eq!(token_refused(stack, &other.token).await, None);
}

#[tokio::test]
async fn every_violation_of_the_new_password_is_reported_at_once() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let status = change(&client, &change_of(&ada, "short")).await.unwrap_err();
    assert_eq!(reason(&status), "PASSWORD_POLICY");
    let names = ["TOO_SHORT", "NO_UPPERCASE", "NO_DIGIT"];
    assert_eq!(
        violations(&status),
        names.map(|name| ("new_password".to_owned(), name.to_owned()))
    );
    let status = change(&client, &change_of(&ada, &ada.email.to_uppercase()))
        .await
        .unwrap_err();
    assert!(
        violations(&status).iter().any(|(_, name)| name == "IS_EMAIL"),
        "{status:?}"
    );
    let status = change(&client, &change_of(&ada, &ada.password))
        .await
        .unwrap_err();
    assert_eq!(
        (reason(&status), violations(&status)),
        (
            "PASSWORD_POLICY".to_owned(),
            vec![("new_password".to_owned(), "SAME_AS_CURRENT".to_owned())]
        )
    );
    let wrong = ChangePasswordRequest {
        request_id: String::new(),
        ..change_of(&ada, "short")
    };
    let status = change(&client, &wrong).await.unwrap_err();
    assert_eq!(
        (reason(&status), violations(&status).len()),
        ("INVALID_FIELD".to_owned(), 4)
    );
}

#[tokio::test]
async fn a_retry_gets_the_first_response_and_other_content_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let client = stack.user(&ada).unwrap();
    anonymous.sign_in(&ada.email, &ada.password).await.unwrap();
    let request = change_of(&ada, NEW_PASSWORD);
    let first = change(&client, &request).await.unwrap();
    assert_eq!(first.ended_sessions, 1);
    let later = anonymous.sign_in(&ada.email, NEW_PASSWORD).await.unwrap();
    assert_eq!(change(&client, &request).await.unwrap(), first);
    assert_eq!(
        token_refused(stack, &later.token).await,
        None,
        "a retry ends no session"
    );

    let used: uuid::Uuid = scalar_with(
        &stack.database,
        "SELECT id FROM identity.requests WHERE user_id = $1 AND method = 'SignIn' LIMIT 1",
        ada.id,
    )
    .await;
    for other in [
        ChangePasswordRequest {
            new_password: "A-Third-Horse-9-Battery".into(),
            ..request.clone()
        },
        ChangePasswordRequest {
            request_id: used.to_string(),
            ..change_of(&ada, "A-Third-Horse-9-Battery")
        },
    ] {
        let status = change(&client, &other).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    }
    anonymous.sign_in(&ada.email, NEW_PASSWORD).await.unwrap();
}

#[tokio::test]
async fn one_of_several_concurrent_changes_succeeds() {
    let stack = Stack::start().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let client = stack.user(&ada).unwrap();
    let requests: Vec<_> = (0..20)
        .map(|number| change_of(&ada, &format!("Horse-{number}-Battery-Staple")))
        .collect();
    let answers = join_all(requests.iter().map(|request| change(&client, request))).await;
    let mut succeeded = Vec::new();
    for (request, answer) in requests.iter().zip(answers) {
        match answer {
            Ok(_) => succeeded.push(request),
            // After the first change the current password of the others is wrong, and they soon have to wait.
            Err(status) => assert!(
                ["CREDENTIALS_INVALID", "RATE_LIMITED"].contains(&reason(&status).as_str()),
                "{status:?}"
            ),
        }
    }
    assert_eq!(succeeded.len(), 1);
    delete_failures(&stack).await;
    anonymous
        .sign_in(&ada.email, &succeeded[0].new_password)
        .await
        .unwrap();
}

#[tokio::test]
async fn concurrent_retries_of_one_request_are_one_change() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let request = change_of(&ada, NEW_PASSWORD);
    let answers = join_all((0..20).map(|_| change(&client, &request))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let version: i64 = scalar_with(&stack.database, PASSWORD_VERSION, ada.id).await;
    assert_eq!(version, 2);
}

#[tokio::test]
async fn a_session_begun_by_the_old_password_during_the_change_ends() {
    let mut stack = Stack::builder()
        .variable("identity", "DATABASE_POOL_SIZE", "24")
        .without("identity")
        .without("data")
        .start()
        .await
        .unwrap();
    // The first calls wait for the account until the last ones have hashed their password. On a busy machine that takes longer
    // than the five seconds for which identity's login waits for a lock.
    let url = format!("{}&options[lock_timeout]=60s", stack.database.url("identity_app"));
    stack.identity.variables.insert("DATABASE_URL".to_owned(), url);
    stack.identity.start().await.unwrap();
    // When the account is free, the change may come before all sign-ins that waited longer.
    for _ in 0..10 {
        if sessions_begun_during_a_change(&stack).await > 0 {
            return;
        }
    }
    panic!("no session began during a change");
}

/// Signs in with the old password before and after a change of it begins, checks that every session that began has ended, and
/// returns how many there were.
async fn sessions_begun_during_a_change(stack: &Stack) -> usize {
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    // All calls have checked the old password and wait for the account, in this order.
    let mut holder = stack.database.connect("postgres").await.unwrap();
    let lock = "BEGIN; SELECT FROM identity.users FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let sign_ins = || -> Vec<_> {
        let sign_in = |_| {
            let mut sessions = anonymous.session();
            let request = SignInRequest {
                email: ada.email.clone(),
                password: ada.password.clone(),
                request_id: random::uuid().to_string(),
                ..SignInRequest::default()
            };
            tokio::spawn(async move { sessions.sign_in(with_long_timeout(request)).await.ok() })
        };
        (0..5).map(sign_in).collect()
    };
    let before = sign_ins();
    calls_wait(stack, 5).await;
    let (client, request) = (stack.user(&ada).unwrap(), change_of(&ada, NEW_PASSWORD));
    let changed =
        tokio::spawn(async move { client.account().change_password(with_long_timeout(request)).await });
    calls_wait(stack, 6).await;
    let after = sign_ins();
    calls_wait(stack, 11).await;
    holder.close().await.unwrap();

    let changed = changed.await.unwrap().unwrap().into_inner();
    let mut sessions = Vec::new();
    for sign_in in before.into_iter().chain(after) {
        sessions.extend(sign_in.await.unwrap().map(Response::into_inner));
    }
    assert_eq!(changed.ended_sessions as usize, sessions.len());
    for session in &sessions {
        assert_eq!(
            token_refused(stack, &session.access_token).await.as_deref(),
            Some("SESSION_REVOKED")
        );
    }
    let living: Vec<uuid::Uuid> = scalar(
        &stack.database,
        "SELECT array_agg(id) FROM identity.sessions
            WHERE ended_at IS NULL AND user_id = (SELECT id FROM identity.users ORDER BY id DESC LIMIT 1)",
    )
    .await;
    assert_eq!(living, [ada.session_id]);
    sessions.len()
}

/// Waits until `calls` statements wait for a lock.
async fn calls_wait(stack: &Stack, calls: i64) {
    eventually("all calls wait for the account", async || {
        let waiting: i64 = scalar(
            &stack.database,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .await;
        waiting == calls
    })
    .await;
}

/// Deletes the counts of wrong passwords, and with them the wait.
async fn delete_failures(stack: &Stack) {
    execute(&stack.database, "TRUNCATE identity.failures").await;
}
