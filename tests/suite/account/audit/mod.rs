//! Security audit log: its events, that it is append-only, its retention, and `identity audit verify`, which detects changes.

mod append_only;
mod events;
mod retention;
mod verify;

use std::process::Command;

use haven_proto::identity::v1::{
    AuditEvent, ConsentGrant, GrantConsentRequest, ListAuditEventsRequest, ListAuditEventsResponse,
};
use haven_testkit::{Client, Person, Stack, binaries::Binaries, database::Database, random};

use crate::retry::retry_call;

/// Output of `identity audit verify`.
struct Verdict {
    /// Exit code of the command.
    code: i32,
    /// Lines about broken chains, one for each chain.
    broken: Vec<String>,
    /// Line with the numbers of chains and events checked.
    summary: String,
    /// Digest over the ends of all chains, in hexadecimal.
    heads: String,
}

/// Runs `identity audit verify` on the stack's database, with the environment of the service.
fn verify(stack: &Stack) -> Verdict {
    let output = Command::new(Binaries::build().unwrap().of("identity"))
        .args(["audit", "verify"])
        .env_clear()
        .envs(&stack.identity.variables)
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = stdout.lines().map(str::to_owned).collect();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(lines.len() >= 2, "{stdout}{stderr}");
    let heads = lines.pop().unwrap();
    let summary = lines.pop().unwrap();
    let heads = heads.strip_prefix("digest of all ends: ").unwrap().to_owned();
    assert_eq!(heads.len(), 64, "{stdout}");
    assert_eq!(stderr.is_empty(), lines.is_empty(), "{stderr}");
    Verdict {
        code: output.status.code().unwrap(),
        broken: lines,
        summary,
        heads,
    }
}

/// Calls ListAuditEvents once. Fails when the call is refused.
async fn page(client: &Client, size: i32, token: &str) -> ListAuditEventsResponse {
    let request = ListAuditEventsRequest {
        page_size: size,
        page_token: token.to_owned(),
    };
    let answer = client.account().list_audit_events(request).await;
    answer.unwrap().into_inner()
}

/// Returns all events of the client, newest first.
async fn events(client: &Client) -> Vec<AuditEvent> {
    let first = page(client, 200, "").await;
    assert_eq!(first.next_page_token, "", "the events do not fit on one page");
    first.events
}

/// Appends an event to the client's log, by granting a consent.
async fn make_event(client: &Client) {
    let request = GrantConsentRequest {
        consent: Some(ConsentGrant {
            document: random::uuid().to_string(),
            document_version: "1".into(),
        }),
        request_id: random::uuid().to_string(),
    };
    let mut accounts = client.account();
    let granted = retry_call(request, async |request| accounts.grant_consent(request).await);
    granted.await.unwrap();
}

/// Signs up a person with five events in the log.
async fn person_with_events(stack: &Stack) -> Person {
    let person = stack.person().await.unwrap();
    let client = stack.user(&person).unwrap();
    for _ in 0..3 {
        make_event(&client).await;
    }
    person
}

/// Selects `calls` as the role of the service, which may call the functions of the log.
async fn as_service(database: &Database, calls: &str) {
    let sql = format!("SET ROLE identity_service; SELECT {calls}");
    database.run("identity_worker", &sql).await.unwrap();
}
