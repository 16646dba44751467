//! `--as` and `--service`.

use std::{fs, os::unix::fs::PermissionsExt};

use haven_testkit::{Stack, random};
use serde_json::{Value, json};

use super::announced::Announced;

const PASSWORD: &str = "Kite-over-7-harbours";

/// Signs a person up with the command, and returns the email address.
fn sign_up(announced: &Announced) -> String {
    let email = format!("{}@example.org", random::uuid());
    let consent = |document| json!({"document": document, "document_version": "2026-01"});
    let request = json!({
        "email": email, "password": PASSWORD, "goals": ["GOAL_MAKE_FRIENDS"],
        "consents": [consent("terms"), consent("privacy")],
    });
    announced.call(&["SignUp", &request.to_string()]).value();
    email
}

/// Returns what the program has stored about a person.
fn stored(announced: &Announced, email: &str) -> Value {
    let text = fs::read(announced.people()).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()[email.to_lowercase()].take()
}

/// Changes a field of the stored session of a person.
fn edit(announced: &Announced, email: &str, field: &str, value: Value) {
    let text = fs::read(announced.people()).unwrap();
    let mut people: Value = serde_json::from_slice(&text).unwrap();
    people[email]["session"][field] = value;
    fs::write(announced.people(), people.to_string()).unwrap();
}

/// Returns the number of open sessions of a person, with the access token that the program has then.
fn sessions(announced: &Announced, email: &str) -> (usize, String) {
    let listed = announced.call(&["ListSessions", "--as", email]).value();
    let token = stored(announced, email)["session"]["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    (listed["sessions"].as_array().unwrap().len(), token)
}

#[tokio::test]
async fn a_person_is_signed_in_once_and_the_session_is_renewed() {
    let stack = Stack::shared().await.unwrap();
    let announced = Announced::new(stack);
    let email = sign_up(&announced);
    let mode = fs::metadata(announced.people()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let (count, first) = sessions(&announced, &email);
    assert_eq!(count, 1);
    assert_eq!(
        sessions(
            &announced,
            &email.to_uppercase().replace("EXAMPLE.ORG", "example.org")
        )
        .0,
        1
    );
    assert_eq!(
        sessions(&announced, &email),
        (1, first.clone()),
        "the session was not kept"
    );

    // An expired token is exchanged, in the same session.
    edit(&announced, &email, "expires", json!(1));
    edit(&announced, &email, "access_token", json!("expired"));
    let (count, second) = sessions(&announced, &email);
    assert_eq!(count, 1);
    assert!(second != "expired" && stored(&announced, &email)["session"]["expires"].as_i64().unwrap() > 1);

    // A session that cannot be renewed is replaced.
    edit(&announced, &email, "expires", json!(1));
    edit(&announced, &email, "refresh_token", json!("invalid"));
    assert_eq!(sessions(&announced, &email).0, 2);

    // So is one with a token that is refused before its time.
    edit(&announced, &email, "access_token", json!("refused"));
    let listed = announced.call(&["ListSessions", "--as", &email]);
    assert_eq!(listed.value()["sessions"].as_array().unwrap().len(), 3);
    assert!(listed.error.contains("signed in again"), "{}", listed.error);
}

#[tokio::test]
async fn a_person_that_is_not_known_needs_a_password_once() {
    let stack = Stack::shared().await.unwrap();
    let announced = Announced::new(stack);
    let ada = stack.person().await.unwrap();
    announced
        .call(&["GetAccount", "--as", &ada.email])
        .failed(2, &["the password of", "--password", "HAVEN_PASSWORD"]);
    announced
        .call(&["GetAccount", "--as", &ada.email, "--password", "wrong"])
        .failed(
            80,
            &["SessionService/SignIn: UNAUTHENTICATED", "CREDENTIALS_INVALID"],
        );
    let account = announced.call(&["GetAccount", "--as", &ada.email, "--password", &ada.password]);
    assert_eq!(account.value()["account"]["email"], ada.email.as_str());
    announced.call(&["GetAccount", "--as", &ada.email]).value();
    announced
        .call(&["GetAccount", "--as", &ada.email, "-H", "authorization: Bearer x"])
        .failed(2, &["--as sends the header authorization"]);
}

#[tokio::test]
async fn changed_passwords_and_erased_people_are_noticed() {
    let stack = Stack::shared().await.unwrap();
    let announced = Announced::new(stack);
    let email = sign_up(&announced);
    let change = json!({"current_password": PASSWORD, "new_password": "Lantern-8-on-the-pier"});
    announced
        .call(&["ChangePassword", "--as", &email, &change.to_string()])
        .value();
    announced.call(&["SignOut", "--as", &email]).value();
    assert!(stored(&announced, &email)["session"].is_null());
    announced.call(&["GetAccount", "--as", &email]).value();

    let delete = json!({"password": "Lantern-8-on-the-pier"});
    announced
        .call(&["DeleteAccount", "--as", &email, &delete.to_string()])
        .value();
    assert!(stored(&announced, &email).is_null());
}

#[tokio::test]
async fn a_service_calls_for_itself_and_for_a_person() {
    let stack = Stack::shared().await.unwrap();
    let announced = Announced::new(stack);
    let email = sign_up(&announced);
    let coach = r#"{"sender_type": "SENDER_TYPE_COACH", "text": "How did that feel?"}"#;
    announced
        .call(&["AppendMessage", "--as", &email, coach])
        .failed(71, &["ACCESS_DENIED"]);
    let answer = announced.call(&["AppendMessage", "--as", &email, "--service", "backend", coach]);
    assert_eq!(answer.value()["message"]["senderType"], "SENDER_TYPE_COACH");
    let accounts = announced.call(&["ListAccounts", "--service", "backend", r#"{"page_size": 1}"#]);
    assert_eq!(accounts.value()["accounts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_id_is_filled_unless_the_json_has_one() {
    let stack = Stack::shared().await.unwrap();
    let announced = Announced::new(stack);
    let email = sign_up(&announced);
    let append = |request: Value| {
        let printed = announced.call(&["AppendMessage", "--as", &email, &request.to_string()]);
        printed.value()["message"]["id"].clone()
    };
    let message = json!({"sender_type": "SENDER_TYPE_USER", "text": "hello"});
    assert_ne!(append(message.clone()), append(message.clone()));
    let mut once = message;
    once["requestId"] = json!(random::uuid().to_string());
    assert_eq!(append(once.clone()), append(once));
}
