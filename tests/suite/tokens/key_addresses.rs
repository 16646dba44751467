//! The HTTPS addresses with an issuer's keys, served by the HTTP server of Python.

use std::{fs, path::PathBuf, time::Duration};

use futures_util::future::join_all;
use haven_testkit::{
    Stack,
    certificates::Certificates,
    port::{self, Port},
    process::{OnDeath, Process, command},
    random, workspace,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Status;

use super::{
    append,
    issuers::{Issuers, PUBLIC, claims},
};
use crate::{
    eventually::within,
    metrics::Metrics,
    status::{metadata, reason},
};

/// Longer than data waits between two requests after a few failures.
const PATIENCE: Duration = Duration::from_secs(90);

/// The address of an issuer's keys, and the directory that its server serves. The authority of its certificate is not one of
/// those that Haven's services trust.
struct Address {
    directory: TempDir,
    certificates: Certificates,
    port: Port,
}

impl Address {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            certificates: Certificates::keep(&directory.path().join("certificates")).unwrap(),
            directory,
            port: Port::reserve().unwrap(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port.number())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Publishes `key` alone.
    fn publish(&self, key: &Value) {
        let draft = self.path("draft");
        fs::write(&draft, json!({"keys": [key]}).to_string()).unwrap();
        fs::rename(draft, self.path("keys.json")).unwrap();
    }

    /// Starts the server.
    async fn serve(&self) -> Process {
        let leaf = self.certificates.leaf("backend");
        let mut python = command("python3", None, OnDeath::Kill);
        python
            .arg(workspace::root().join("tests/suite/tokens/key_server.py"))
            .arg(self.directory.path())
            .args([leaf.certificate, leaf.key])
            .arg(self.port.number().to_string());
        let server = Process::start("key server", python, &self.path("requests.log")).unwrap();
        within(PATIENCE, "the server listens", async || {
            !port::free(self.port.number())
        })
        .await;
        server
    }

    /// Returns the number of requests so far.
    fn requests(&self) -> usize {
        let log = fs::read_to_string(self.path("requests.log")).unwrap_or_default();
        assert!(log.lines().all(|line| line.ends_with(" haven")), "{log}");
        log.lines().count()
    }

    /// Writes settings with the address and, where it is set, a fallback. Returns the entry of TRUSTED_ISSUERS.
    fn trust(&self, issuer: &str, url: &str, fallback: Option<PathBuf>) -> String {
        let mut settings = json!({
            "jwks_uri": url, "jwks_uri_ca_file": self.certificates.authority(), "role_claim": "role", "roles": ["authenticated"],
        });
        if let Some(file) = fallback {
            settings["jwks_file"] = json!(file);
        }
        let file = self.path(&format!("settings-{}.json", random::uuid().simple()));
        fs::write(&file, settings.to_string()).unwrap();
        format!("{issuer}=config:{}", file.display())
    }
}

/// Returns what a refusal says: the problem of the token, or another reason.
fn problem(status: &Status) -> String {
    match reason(status).as_str() {
        "TOKEN_INVALID" => metadata(status, "problem"),
        other => other.to_owned(),
    }
}

/// Returns what data answers to a token. It does not know the person: ACCOUNT_NOT_READY means that the token is valid.
async fn answer(stack: &Stack, token: &str) -> String {
    problem(&append(stack, token).await.unwrap_err())
}

async fn accepted(stack: &Stack, token: &str) {
    let accepts = async || answer(stack, token).await == "ACCOUNT_NOT_READY";
    within(PATIENCE, "the token is accepted", accepts).await;
}

async fn is_stale(stack: &Stack) -> Option<bool> {
    let page = Metrics::read(stack.data.listeners.metrics).await;
    let labels = [("issuer", PUBLIC), ("source", "uri")];
    page.sum("haven_issuer_keys_stale", &labels)
        .map(|stale| stale == 1.0)
}

#[tokio::test]
async fn keys_are_fetched_and_stay_in_use_while_the_address_is_down() {
    let (old, new) = (Issuers::new(), Issuers::new());
    let address = Address::new();
    address.publish(&old.key("old"));
    let trusted = address.trust(PUBLIC, &address.url("keys.json"), None);
    let stack = Stack::builder().variable("data", "TRUSTED_ISSUERS", trusted);
    let stack = stack.start().await.unwrap();
    let person = random::uuid();
    let old_token = old.es256(Some("old"), &claims(PUBLIC, person));
    let new_token = new.es256(Some("new"), &claims(PUBLIC, person));

    // The service is ready without the keys of another issuer, and repeats the request.
    assert_eq!(answer(&stack, &old_token).await, "DEPENDENCY_UNAVAILABLE");
    assert_eq!(is_stale(&stack).await, Some(true));
    let server = address.serve().await;
    accepted(&stack, &old_token).await;
    assert_eq!(is_stale(&stack).await, Some(false));
    assert_eq!(answer(&stack, &new_token).await, "KEY_UNKNOWN");

    // A token with a new key id makes data ask again before the keys are due.
    address.publish(&new.key("new"));
    accepted(&stack, &new_token).await;
    assert_eq!(
        answer(&stack, &old_token).await,
        "KEY_UNKNOWN",
        "the old key is withdrawn"
    );

    // Tokens with invented key ids cause few requests.
    let before = address.requests();
    let invented: Vec<_> = (0..40)
        .map(|number| new.es256(Some(&format!("invented-{number}")), &claims(PUBLIC, person)))
        .collect();
    let answers = join_all(invented.iter().map(|token| answer(&stack, token))).await;
    assert!(
        answers.iter().all(|answer| answer == "KEY_UNKNOWN"),
        "{answers:?}"
    );
    assert!(
        address.requests() <= before + 2,
        "{before} {}",
        address.requests()
    );

    drop(server);
    assert_eq!(answer(&stack, &new_token).await, "ACCOUNT_NOT_READY");
}

#[tokio::test]
async fn a_file_is_the_fallback_of_an_address() {
    let (file, published) = (Issuers::new(), Issuers::new());
    let address = Address::new();
    address.publish(&published.key("published"));
    let fallback = address.path("fallback.json");
    fs::write(&fallback, json!([file.key("file")]).to_string()).unwrap();
    let trusted = address.trust(PUBLIC, &address.url("keys.json"), Some(fallback));
    let stack = Stack::builder().variable("data", "TRUSTED_ISSUERS", trusted);
    let mut stack = stack.start().await.unwrap();
    let person = random::uuid();
    let of_file = file.es256(Some("file"), &claims(PUBLIC, person));
    let of_address = published.es256(Some("published"), &claims(PUBLIC, person));
    assert_eq!(answer(&stack, &of_file).await, "ACCOUNT_NOT_READY");

    let server = address.serve().await;
    accepted(&stack, &of_address).await;
    assert_eq!(
        answer(&stack, &of_file).await,
        "KEY_UNKNOWN",
        "the address decides"
    );

    drop(server);
    stack.data.kill();
    stack.data.start().await.unwrap();
    assert_eq!(answer(&stack, &of_file).await, "ACCOUNT_NOT_READY");
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_named_in_the_log_with_the_cause() {
    let address = Address::new();
    address.publish(&json!({"kty": "RSA", "kid": "small", "n": "AQAB", "e": "AQAB"}));
    fs::write(address.path("text"), "canary").unwrap();
    let _server = address.serve().await;
    let closed = Port::reserve().unwrap();
    let elsewhere = Address::new();
    let entries = [
        address.trust("https://a.example", &address.url("redirect"), None),
        address.trust("https://b.example", &address.url("large"), None),
        address.trust("https://c.example", &address.url("slow"), None),
        address.trust("https://d.example", &address.url("no-such-file"), None),
        address.trust("https://e.example", &address.url("keys.json"), None),
        address.trust("https://f.example", &address.url("text"), None),
        address.trust(
            "https://g.example",
            &format!("https://127.0.0.2:{}/", address.port.number()),
            None,
        ),
        // Another authority, and no server.
        elsewhere.trust("https://h.example", &address.url("keys.json"), None),
        address.trust(
            "https://i.example",
            &format!("https://localhost:{}/", closed.number()),
            None,
        ),
    ];
    let stack = Stack::builder().variable("data", "TRUSTED_ISSUERS", entries.join(","));
    let stack = stack.start().await.unwrap();
    for (issuer, cause) in [
        (
            "a",
            "the answer has the status 302, which is a redirect: write the address that it leads to",
        ),
        ("b", "the answer is larger than 256 KiB"),
        ("c", "no complete answer within 5 s"),
        ("d", "the answer has the status 404"),
        (
            "e",
            r#"the answer: it has no usable key; key \"small\": its modulus must have 2048 to 4096 bits"#,
        ),
        ("f", "the answer: it is not a JSON Web Key Set (line 1, column 1)"),
        (
            "g",
            "TLS: invalid peer certificate: certificate not valid for name",
        ),
        ("h", "TLS: invalid peer certificate: "),
        ("i", "cannot connect: Connection refused"),
    ] {
        let issuer = format!("https://{issuer}.example");
        within(PATIENCE, cause, async || {
            let log = fs::read_to_string(stack.data.log()).unwrap();
            log.lines()
                .any(|line| line.contains(&issuer) && line.contains(cause))
        })
        .await;
    }
}
