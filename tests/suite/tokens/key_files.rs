//! The files with an issuer's keys: keys that cannot be used, and files that change.

use std::{fs, os::unix::fs::symlink, path::Path};

use haven_testkit::{Stack, random};
use serde_json::{Value, json};
use tonic::Status;

use super::{
    append,
    issuers::{Issuers, PUBLIC, SHARED, claims, hs256},
};
use crate::{
    eventually::eventually,
    metrics::Metrics,
    status::{metadata, reason},
};

/// Returns what a refusal says: the problem of the token, or another reason.
fn problem(status: &Status) -> String {
    match reason(status).as_str() {
        "TOKEN_INVALID" => metadata(status, "problem"),
        other => other.to_owned(),
    }
}

/// Returns whether data accepts a token: it does not know the person, who was not provisioned.
async fn accepts(stack: &Stack, token: &str) -> bool {
    problem(&append(stack, token).await.unwrap_err()) == "ACCOUNT_NOT_READY"
}

async fn gauge(stack: &Stack, name: &str, issuer: &str) -> Option<f64> {
    let page = Metrics::read(stack.data.listeners.metrics).await;
    page.sum(name, &[("issuer", issuer)])
}

/// Points the link `..data` in `directory` to `version` in one step, as a kubelet does.
fn swap(directory: &Path, version: &str) {
    let link = directory.join("..data_tmp");
    symlink(version, &link).unwrap();
    fs::rename(link, directory.join("..data")).unwrap();
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_left_out_and_named_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let issuers = Issuers::new();
    let good = issuers.key("k1");
    let with = |name: &str, value: Value| {
        let mut key = issuers.key(name);
        key[value[0].as_str().unwrap()] = value[1].clone();
        key
    };
    let mut nameless = issuers.key("x");
    nameless.as_object_mut().unwrap().remove("kid");
    let keys = json!({"keys": [
        with("curve", json!(["crv", "secp256k1"])),
        with("point", json!(["x", good["y"]])),
        with("algorithm", json!(["alg", "RS256"])),
        with("number", json!(["kid", 7])),
        with("purpose", json!(["use", "enc"])),
        {"kty": "RSA", "kid": "small", "n": "0".repeat(171), "e": "AQAB"},
        {"kty": "oct", "kid": "secret", "k": "Y2FuYXJ5"},
        {"kty": "new", "kid": "new"},
        "canary",
        nameless,
        good,
        good,
    ]});
    let file = directory.path().join("keys.json");
    fs::write(&file, format!("\u{feff}{keys}")).unwrap();
    let trusted = format!("{PUBLIC}=jwks:{}", file.display());
    let stack = Stack::builder().variable("data", "TRUSTED_ISSUERS", trusted);
    let stack = stack.start().await.unwrap();

    let token = |kid| issuers.es256(kid, &claims(PUBLIC, random::uuid()));
    assert!(accepts(&stack, &token(Some("k1"))).await);
    for kid in ["curve", "point", "algorithm", "7", "purpose", "x"] {
        let status = append(&stack, &token(Some(kid))).await.unwrap_err();
        assert_eq!(problem(&status), "KEY_UNKNOWN", "{kid}");
    }
    // Three keys could have signed a token that names none.
    let status = append(&stack, &token(None)).await.unwrap_err();
    assert_eq!(problem(&status), "KEY_UNKNOWN");

    let log = fs::read_to_string(stack.data.log()).unwrap();
    for expected in [
        r#"key \"curve\": its curve, secp256k1, is not supported"#,
        r#"key \"point\": its point is not on its curve"#,
        r#"key \"algorithm\": its `alg` must be ES256, the one of P-256"#,
        "key 4: its `kid` is not a string",
        r#"key \"small\": its modulus must have 2048 to 4096 bits"#,
        r#"key \"secret\": its `kty` is oct"#,
        r#"key \"new\": its `kty` must be EC, RSA or OKP"#,
        "key 9: it is not an object",
    ] {
        assert!(log.contains(expected), "{expected} is not in {log}");
    }
    // A key for another purpose is nothing to warn of.
    assert!(
        !log.contains("purpose") && !log.contains("canary") && !log.contains("Y2FuYXJ5"),
        "{log}"
    );
    assert_eq!(gauge(&stack, "haven_issuer_keys", PUBLIC).await, Some(3.0));
    assert_eq!(
        gauge(&stack, "haven_issuer_keys_skipped", PUBLIC).await,
        Some(8.0)
    );
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes_and_a_broken_one_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (Issuers::new(), Issuers::new());
    // As Kubernetes mounts a ConfigMap.
    let root = directory.path();
    for (version, keys) in [("..1", old.key("old")), ("..2", new.key("new"))] {
        fs::create_dir(root.join(version)).unwrap();
        fs::write(
            root.join(version).join("keys.json"),
            json!({"keys": [keys]}).to_string(),
        )
        .unwrap();
    }
    swap(root, "..1");
    symlink("..data/keys.json", root.join("keys.json")).unwrap();
    let secret = root.join("secret");
    let secrets = [
        "a secret of thirty-two bytes ...",
        "another secret of 32 bytes .....",
    ];
    fs::write(&secret, secrets[0]).unwrap();
    let trusted = format!(
        "{PUBLIC}=jwks:{},{SHARED}=hs256:{}",
        root.join("keys.json").display(),
        secret.display()
    );
    let stack = Stack::builder().variable("data", "TRUSTED_ISSUERS", trusted);
    let stack = stack.start().await.unwrap();
    let person = random::uuid();
    let old_token = old.es256(Some("old"), &claims(PUBLIC, person));
    let new_token = new.es256(Some("new"), &claims(PUBLIC, person));
    assert!(accepts(&stack, &old_token).await && !accepts(&stack, &new_token).await);

    swap(root, "..2");
    eventually("the new key is in use", async || {
        accepts(&stack, &new_token).await
    })
    .await;
    let status = append(&stack, &old_token).await.unwrap_err();
    assert_eq!(problem(&status), "KEY_UNKNOWN", "the old key is withdrawn");

    // Half a file, and a private key by mistake: the keys before them stay in use.
    let mut private = new.key("new");
    private["d"] = json!("canary");
    for broken in [
        r#"{"keys": [{"kty": "#.to_owned(),
        json!({"keys": [private]}).to_string(),
    ] {
        fs::write(root.join("..2/keys.json"), &broken).unwrap();
        let stale = async || gauge(&stack, "haven_issuer_keys_stale", PUBLIC).await == Some(1.0);
        eventually("the broken file is noticed", stale).await;
        assert!(accepts(&stack, &new_token).await);
        fs::write(root.join("..2/keys.json"), json!([new.key("new")]).to_string()).unwrap();
        let fresh = async || gauge(&stack, "haven_issuer_keys_stale", PUBLIC).await == Some(0.0);
        eventually("the mended file is in use", fresh).await;
    }
    let log = fs::read_to_string(stack.data.log()).unwrap();
    assert!(
        log.contains(r#"key \"new\" is a private key: only public keys may be here"#),
        "{log}"
    );
    assert!(!log.contains("canary"), "{log}");

    // A shared secret is replaced in the same way.
    let [first, second] = secrets.map(|secret| hs256(None, secret.as_bytes(), &claims(SHARED, person)));
    assert!(accepts(&stack, &first).await);
    fs::write(&secret, format!("{}\n", secrets[1])).unwrap();
    eventually("the new secret is in use", async || {
        accepts(&stack, &second).await
    })
    .await;
    let status = append(&stack, &first).await.unwrap_err();
    assert_eq!(problem(&status), "SIGNATURE", "the old secret is withdrawn");
}
