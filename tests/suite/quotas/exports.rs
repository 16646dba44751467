//! Exports count as mutations, because each writes an audit event that stays for a long time.

use haven_proto::data::v1::{ExportDataRequest, ExportDataResponse};
use haven_testkit::{Client, Stack};
use tonic::Status;

use super::say;
use crate::{
    status::reason,
    superuser_sql::{execute, scalar_with},
};

/// Reads an export, or the rest of one.
async fn export(client: &Client, resume_token: &str) -> Result<Vec<ExportDataResponse>, Status> {
    let request = ExportDataRequest {
        resume_token: resume_token.to_owned(),
    };
    let mut answers = client.person().export_data(request).await?.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await? {
        all.push(answer);
    }
    Ok(all)
}

#[tokio::test]
async fn an_export_counts_as_ten_mutations_and_a_resumed_one_has_no_event_of_its_own() {
    let stack = Stack::builder()
        .variable("data", "MUTATION_LIMIT", "24/24h")
        .start()
        .await
        .unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    say(&ada, "hello").await.unwrap();
    let first = export(&ada, "").await.unwrap();
    let token = &first[0].resume_token;
    assert!(!token.is_empty());
    let events =
        "SELECT count(*) FROM data.security_audit_log WHERE user_id = $1 AND event = 'data_exported'";
    let events = async || scalar_with::<i64, _>(&stack.database, events, person.id).await;
    export(&ada, token).await.unwrap();
    export(&ada, token).await.unwrap();
    assert_eq!(events().await, 1);
    // One message, one export and two continued ones: thirteen mutations. The second export takes ten of the last eleven, and
    // the third one the rest.
    export(&ada, "").await.unwrap();
    export(&ada, "").await.unwrap();
    for token in ["", token] {
        let refused = export(&ada, token).await.unwrap_err();
        assert_eq!(reason(&refused), "RATE_LIMITED");
    }
    assert_eq!(events().await, 3);
    execute(
        &stack.database,
        "UPDATE data.usage_counters SET mutations_until = NULL",
    )
    .await;
    export(&ada, "").await.unwrap();
}
