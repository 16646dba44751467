//! ChangePassword: whoever knows the password sets another, and is the only one who stays signed in.

use futures_util::future::join_all;
use haven_proto::identity::v1::{
    ChangePasswordRequest, ChangePasswordResponse, DeleteAccountRequest, GetAccountRequest,
};
use haven_testkit::{Client, Person, Stack, random};
use sqlx::Connection;
use tonic::Status;

use crate::{
    eventually::eventually,
    retry::{retry_call, with_long_timeout},
    status::{reason, violations},
    superuser_sql::{execute, scalar},
};

const NEW: &str = "Another-Horse-8-Battery";

fn change_of(person: &Person, new: &str) -> ChangePasswordRequest {
    ChangePasswordRequest {
        current_password: person.password.clone(),
        new_password: new.to_owned(),
        request_id: random::uuid().to_string(),
    }
}

async fn change(client: &Client, request: &ChangePasswordRequest) -> Result<ChangePasswordResponse, Status> {
    let mut accounts = client.account();
    retry_call(request.clone(), async |request| {
        accounts.change_password(request).await
    })
    .await
}

/// Why somebody cannot sign in.
async fn sign_in_refused(client: &Client, email: &str, password: &str) -> String {
    let error = client.sign_in(email, password).await.err().unwrap();
    reason(&error.downcast().unwrap())
}

/// The reason why an access token is refused; none when it is not.
async fn token_refused(stack: &Stack, person: &Person) -> Option<String> {
    let client = stack.user(person).unwrap();
    let answer = client.account().get_account(GetAccountRequest::default()).await;
    answer.err().map(|status| reason(&status))
}

/// Whoever took an access token can try passwords with it, also the right one: as often as somebody may sign in, and no
/// more.
#[tokio::test]
async fn passwords_are_proved_no_more_often_than_people_sign_in() {
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
    let mut tries = Vec::new();
    for _ in 0..5 {
        let wrong = ChangePasswordRequest {
            current_password: "Wrong-Horse-9-Battery".into(),
            ..change_of(&ada, NEW)
        };
        tries.push(reason(&change(&client, &wrong).await.unwrap_err()));
    }
    let expected = [
        "CREDENTIALS_INVALID",
        "CREDENTIALS_INVALID",
        "CREDENTIALS_INVALID",
        "RATE_LIMITED",
        "RATE_LIMITED",
    ];
    assert_eq!(tries, expected);
    let deletion = DeleteAccountRequest {
        user_id: String::new(),
        password: ada.password.clone(),
        request_id: random::uuid().to_string(),
    };
    let status = client.account().delete_account(deletion).await.unwrap_err();
    assert_eq!(reason(&status), "RATE_LIMITED", "one limit for all of it");
    // Nobody else is held up.
    change(&stack.user(&bob).unwrap(), &change_of(&bob, NEW))
        .await
        .unwrap();
}

#[tokio::test]
async fn every_session_ends_but_the_one_that_asked() {
    let stack = Stack::start().await.unwrap();
    let (nobody, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let second = nobody.sign_in(&ada.email, &ada.password).await.unwrap();
    let third = nobody.sign_in(&ada.email, &ada.password).await.unwrap();
    let bob = stack.person().await.unwrap();
    let client = stack.user(&second).unwrap();
    let account = async || {
        let answer = client.account().get_account(GetAccountRequest::default()).await;
        answer.unwrap().into_inner().account.unwrap()
    };
    let before = account().await;

    let changed = change(&client, &change_of(&ada, NEW)).await.unwrap();
    assert_eq!(changed.ended_sessions, 2);
    let after = account().await;
    assert_eq!(
        (after.version, after.update_time),
        (before.version + 1, changed.change_time)
    );
    for ended in [&ada, &third] {
        assert_eq!(
            token_refused(&stack, ended).await.as_deref(),
            Some("SESSION_REVOKED")
        );
    }
    assert_eq!(token_refused(&stack, &bob).await, None, "of nobody else");

    assert_eq!(
        sign_in_refused(&nobody, &ada.email, &ada.password).await,
        "CREDENTIALS_INVALID"
    );
    nobody.sign_in(&ada.email, NEW).await.unwrap();
    let logged: bool = scalar(
        &stack.database,
        "SELECT NOT refused AND session_id IS NOT NULL FROM identity.security_audit_log
         WHERE event = 'password_change'",
    )
    .await;
    assert!(logged);
}

#[tokio::test]
async fn who_does_not_know_the_password_changes_nothing() {
    let stack = Stack::start().await.unwrap();
    let (nobody, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let other = nobody.sign_in(&ada.email, &ada.password).await.unwrap();
    let client = stack.user(&ada).unwrap();
    let wrong = ChangePasswordRequest {
        current_password: "Wrong-Horse-7-Battery".into(),
        ..change_of(&ada, NEW)
    };
    for _ in 0..5 {
        let status = change(&client, &wrong).await.unwrap_err();
        assert_eq!(reason(&status), "CREDENTIALS_INVALID");
    }
    let status = change(&client, &wrong).await.unwrap_err();
    assert_eq!(reason(&status), "RATE_LIMITED");
    let logged: i64 = scalar(
        &stack.database,
        "SELECT count(*) FROM identity.security_audit_log WHERE event = 'password_change' AND refused",
    )
    .await;
    assert_eq!(logged, 5);
    let versions: i64 = scalar(
        &stack.database,
        "SELECT max(password_version) FROM identity.users",
    )
    .await;
    assert_eq!(versions, 1);
    assert_eq!(token_refused(&stack, &other).await, None);
}

#[tokio::test]
async fn everything_wrong_with_the_new_one_is_said_at_once() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let status = change(&client, &change_of(&ada, "short")).await.unwrap_err();
    assert_eq!(reason(&status), "PASSWORD_POLICY");
    let names = ["TOO_SHORT", "NO_UPPERCASE", "NO_DIGIT", "GUESSABLE"];
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
        ("INVALID_FIELD".to_owned(), 5)
    );
}

#[tokio::test]
async fn a_retry_gets_the_first_answer_and_other_content_does_not() {
    let stack = Stack::start().await.unwrap();
    let (nobody, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let client = stack.user(&ada).unwrap();
    nobody.sign_in(&ada.email, &ada.password).await.unwrap();
    let request = change_of(&ada, NEW);
    let first = change(&client, &request).await.unwrap();
    assert_eq!(first.ended_sessions, 1);
    let later = nobody.sign_in(&ada.email, NEW).await.unwrap();
    assert_eq!(change(&client, &request).await.unwrap(), first);
    assert_eq!(token_refused(&stack, &later).await, None, "it ends nothing again");

    let used: uuid::Uuid = scalar(
        &stack.database,
        "SELECT id FROM identity.requests WHERE method = 'SignIn' LIMIT 1",
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
    nobody.sign_in(&ada.email, NEW).await.unwrap();
}

#[tokio::test]
async fn of_twenty_changes_at_once_one_is_made() {
    let stack = Stack::start().await.unwrap();
    let (nobody, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let client = stack.user(&ada).unwrap();
    let requests: Vec<_> = (0..20)
        .map(|number| change_of(&ada, &format!("Horse-{number}-Battery-Staple")))
        .collect();
    let answers = join_all(requests.iter().map(|request| change(&client, request))).await;
    let mut made = Vec::new();
    for (request, answer) in requests.iter().zip(answers) {
        match answer {
            Ok(_) => made.push(request),
            // Those who came after it brought a wrong password, and so often that they have to wait.
            Err(status) => assert!(
                ["CREDENTIALS_INVALID", "RATE_LIMITED"].contains(&reason(&status).as_str()),
                "{status:?}"
            ),
        }
    }
    assert_eq!(made.len(), 1);
    forget_failures(&stack).await;
    nobody.sign_in(&ada.email, &made[0].new_password).await.unwrap();
}

#[tokio::test]
async fn twenty_of_one_request_are_one_change() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let request = change_of(&ada, NEW);
    let answers = join_all((0..20).map(|_| change(&client, &request))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let versions: i64 = scalar(
        &stack.database,
        "SELECT max(password_version) FROM identity.users",
    )
    .await;
    assert_eq!(versions, 2);
}

#[tokio::test]
async fn no_session_that_began_by_the_old_password_outlives_it() {
    let stack = Stack::builder()
        .variable("identity", "DATABASE_POOL_SIZE", "24")
        .start()
        .await
        .unwrap();
    let (nobody, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    // Everybody has proved the old password, and waits for the account: in this order, and at once.
    let mut holder = stack.database.connect("postgres").await.unwrap();
    let lock = "BEGIN; SELECT FROM identity.users FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let sign_ins = || -> Vec<_> {
        let sign_in = |_| {
            let (nobody, ada) = (nobody.clone(), ada.clone());
            tokio::spawn(async move { nobody.sign_in(&ada.email, &ada.password).await.ok() })
        };
        (0..5).map(sign_in).collect()
    };
    let before = sign_ins();
    all_wait(&stack, 5).await;
    let (client, request) = (stack.user(&ada).unwrap(), change_of(&ada, NEW));
    let changed =
        tokio::spawn(async move { client.account().change_password(with_long_timeout(request)).await });
    all_wait(&stack, 6).await;
    let after = sign_ins();
    all_wait(&stack, 11).await;
    holder.close().await.unwrap();

    let changed = changed.await.unwrap().unwrap().into_inner();
    let mut begun = Vec::new();
    for sign_in in before.into_iter().chain(after) {
        begun.extend(sign_in.await.unwrap());
    }
    assert!(!begun.is_empty(), "none began meanwhile");
    assert_eq!(changed.ended_sessions as usize, begun.len());
    for session in &begun {
        assert_eq!(
            token_refused(&stack, session).await.as_deref(),
            Some("SESSION_REVOKED")
        );
    }
    let living: Vec<uuid::Uuid> = scalar(
        &stack.database,
        "SELECT array_agg(id) FROM identity.sessions WHERE ended_at IS NULL",
    )
    .await;
    assert_eq!(living, [ada.session_id]);
}

/// Waits until as many statements wait for a lock.
async fn all_wait(stack: &Stack, calls: i64) {
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

/// Ends the wait after wrong passwords.
async fn forget_failures(stack: &Stack) {
    execute(&stack.database, "TRUNCATE identity.failures").await;
}
