//! Rotation of the keys that sign access tokens, without a failing call.

use std::{
    cell::{Cell, RefCell},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use haven_proto::data::v1::ListMessagesRequest;
use haven_testkit::{Client, Person, Stack};
use jsonwebtoken::decode_header;
use rcgen::KeyPair;
use rustix::process::Signal;

use super::{another, read, refresh, sessions};
use crate::{
    eventually::eventually,
    status::{metadata, reason},
};

/// Generates a signing key, and writes it to a file.
fn new_key(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    path
}

/// Restarts identity with these keys. data keeps running.
async fn restart(stack: &mut Stack, keys: &[&Path]) {
    let files: Vec<_> = keys.iter().map(|path| path.display().to_string()).collect();
    let variables = &mut stack.identity.variables;
    variables.insert("SIGNING_KEY_FILES".to_owned(), files.join(","));
    // Waits without blocking the thread, on which the clients answer the pings of both services.
    stack.identity.signal(Signal::TERM);
    let identity = &mut stack.identity;
    eventually("identity has drained", async || identity.ended().is_some()).await;
    stack.identity.start().await.unwrap();
}

/// Returns the id of the key that signed the person's token.
fn key_of(person: &Person) -> String {
    decode_header(&person.token).unwrap().kid.unwrap()
}

/// Calls data in rounds with each token in `alive` until `done`. Panics when a token is refused.
async fn keep_reading(
    anonymous: Client,
    alive: &RefCell<Vec<String>>,
    rounds: &Cell<usize>,
    done: &Cell<bool>,
) {
    while !done.get() {
        let tokens = alive.borrow().clone();
        for token in tokens {
            let client = anonymous.with_token(&token).unwrap();
            let list = ListMessagesRequest::default();
            client.conversation().list_messages(list).await.unwrap();
        }
        rounds.set(rounds.get() + 1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn no_call_fails_while_a_signing_key_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (
        new_key(directory.path(), "old.pem"),
        new_key(directory.path(), "new.pem"),
    );
    let mut stack = Stack::builder()
        .variable("identity", "SIGNING_KEY_FILES", old.display().to_string())
        .start()
        .await
        .unwrap();
    let first = stack.person().await.unwrap();
    read(&stack, &first.token).await.unwrap();
    let alive = RefCell::new(vec![first.token.clone()]);
    let (rounds, done) = (Cell::new(0), Cell::new(false));
    let reader = stack.anonymous().unwrap();

    let rotate = async {
        // Step 1: the new key is published and does not sign yet.
        restart(&mut stack, &[&old, &new]).await;
        let second = another(&stack, &first).await;
        assert_eq!(key_of(&second), key_of(&first));
        sessions(&stack, &first.token).await.unwrap();
        alive.borrow_mut().push(second.token.clone());

        // Step 2: the new key signs, and tokens of the old key are still valid.
        restart(&mut stack, &[&new, &old]).await;
        let third = another(&stack, &first).await;
        assert_ne!(key_of(&third), key_of(&first));
        for person in [&first, &second, &third] {
            sessions(&stack, &person.token).await.unwrap();
        }
        alive.borrow_mut().push(third.token.clone());

        // Step 3: the old key is removed, once its tokens have expired. Here the reader stops using them, and ends its round.
        alive.borrow_mut().retain(|token| *token == third.token);
        let round = rounds.get();
        eventually("the reader starts another round", async || {
            rounds.get() > round + 1
        })
        .await;
        restart(&mut stack, &[&new]).await;
        sessions(&stack, &third.token).await.unwrap();
        let status = sessions(&stack, &first.token).await.unwrap_err();
        assert_eq!(metadata(&status, "problem"), "KEY_UNKNOWN");
        // A session outlives the key that signed its first token.
        let anonymous = stack.anonymous().unwrap();
        let refreshed = refresh(&anonymous, &first.refresh_token).await.unwrap();
        read(&stack, &refreshed.access_token).await.unwrap();

        // data fetches the keys again when a token names an unknown key, at the latest after five minutes. Then it drops the
        // old key.
        let unknown = unknown_key(&third.token);
        eventually("data has dropped the old key", async || {
            let _ = read(&stack, &unknown).await;
            match read(&stack, &first.token).await {
                Ok(()) => false,
                Err(status) => {
                    assert_eq!(
                        (reason(&status).as_str(), metadata(&status, "problem").as_str()),
                        ("TOKEN_INVALID", "KEY_UNKNOWN")
                    );
                    true
                }
            }
        })
        .await;
        read(&stack, &third.token).await.unwrap();
        done.set(true);
    };
    tokio::join!(keep_reading(reader, &alive, &rounds, &done), rotate);
    println!(
        "{} rounds of calls during three restarts, and none failed",
        rounds.get()
    );
    assert!(rounds.get() > 50, "{}", rounds.get());
}

/// Returns the token with the id of a key that does not exist.
fn unknown_key(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ES256","kid":"k9"}"#);
    let (_, rest) = token.split_once('.').unwrap();
    format!("{header}.{rest}")
}
