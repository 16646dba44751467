//! The security audit log: everything is in it, nobody can change it, and what is changed all the same is found.

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

/// What `identity audit verify` said.
struct Verdict {
    code: i32,
    /// A line for each broken chain.
    broken: Vec<String>,
    /// How much was looked at.
    summary: String,
    /// The digest over the ends of all chains.
    heads: String,
}

/// Runs `identity audit verify` on the stack's database, with nothing in its environment but what the service has.
fn verify(stack: &Stack) -> Verdict {
    let output = Command::new(Binaries::build().unwrap().of("identity"))
        .args(["audit", "verify"])
        .env_clear()
        .envs(&stack.identity.variables)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = said.lines().map(str::to_owned).collect();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(lines.len() >= 2, "{said}{complaint}");
    let heads = lines.pop().unwrap();
    let summary = lines.pop().unwrap();
    let heads = heads.strip_prefix("digest of all ends: ").unwrap().to_owned();
    assert_eq!(heads.len(), 64, "{said}");
    assert_eq!(complaint.is_empty(), lines.is_empty(), "{complaint}");
    Verdict {
        code: output.status.code().unwrap(),
        broken: lines,
        summary,
        heads,
    }
}

async fn page(client: &Client, size: i32, token: &str) -> ListAuditEventsResponse {
    let request = ListAuditEventsRequest {
        page_size: size,
        page_token: token.to_owned(),
    };
    let answer = client.account().list_audit_events(request).await;
    answer.unwrap().into_inner()
}

/// All of the client's events, the newest first.
async fn events(client: &Client) -> Vec<AuditEvent> {
    let first = page(client, 200, "").await;
    assert_eq!(
        first.next_page_token, "",
        "a test with more than a page of events"
    );
    first.events
}

/// Makes an event: consent to some document.
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

/// A person with five events.
async fn person_with_events(stack: &Stack) -> Person {
    let person = stack.person().await.unwrap();
    let client = stack.user(&person).unwrap();
    for _ in 0..3 {
        make_event(&client).await;
    }
    person
}

/// Calls the database's functions as the service does: `calls` is what is selected.
async fn as_service(database: &Database, calls: &str) {
    let sql = format!("SET ROLE identity_service; SELECT {calls}");
    database.run("identity_worker", &sql).await.unwrap();
}
