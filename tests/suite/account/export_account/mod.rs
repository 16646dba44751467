//! ExportAccount: the export has every row of the person in identity, of every kind and in any number. `exports` compares
//! each column.

mod complete_export;
mod many_events;
mod resumed_export;
mod unknown_people;

use std::{collections::BTreeMap, time::Duration};

use haven_proto::identity::v1::{AccountExportManifest, ExportAccountRequest, ExportAccountResponse};
use haven_testkit::Client;
use prost::Message;
use tokio::time::timeout;
use tonic::{Status, Streaming};

/// A time limit that no export here reaches, also on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(120);

/// The size limit of an answer in bytes.
const MAX_ANSWER_BYTES: usize = 200 * 1024;

/// Starts an export, or continues one with its token.
async fn resume(client: &Client, resume_token: &str) -> Result<Streaming<ExportAccountResponse>, Status> {
    let request = ExportAccountRequest {
        resume_token: resume_token.to_owned(),
    };
    Ok(client.account().export_account(request).await?.into_inner())
}

/// Reads a whole export, as one answer.
pub(crate) async fn export(client: &Client) -> Result<ExportAccountResponse, Status> {
    rest(resume(client, "").await?).await
}

/// Reads the rest of an export, as one answer. The manifest has to be the only content of the last answer.
async fn rest(mut answers: Streaming<ExportAccountResponse>) -> Result<ExportAccountResponse, Status> {
    let reading = async {
        let mut whole = ExportAccountResponse::default();
        while let Some(answer) = answers.message().await? {
            assert!(whole.manifest.is_none(), "an answer follows the manifest");
            assert!(
                answer.encoded_len() <= MAX_ANSWER_BYTES,
                "{} bytes",
                answer.encoded_len()
            );
            assert_eq!(
                answer.resume_token.is_empty(),
                answer.manifest.is_some(),
                "every answer but the last has a token"
            );
            merge(&mut whole, answer);
        }
        assert!(whole.manifest.is_some(), "the last answer has the manifest");
        Ok(whole)
    };
    timeout(LIMIT, reading).await.expect("the export ends in time")
}

/// Adds an answer to the answers before it.
fn merge(whole: &mut ExportAccountResponse, answer: ExportAccountResponse) {
    if answer.account.is_some() {
        assert!(whole.account.is_none(), "the account is exported once");
        whole.account = answer.account;
    }
    whole.consents.extend(answer.consents);
    whole.sessions.extend(answer.sessions);
    whole.refresh_tokens.extend(answer.refresh_tokens);
    whole.device_tokens.extend(answer.device_tokens);
    whole.recovery_tokens.extend(answer.recovery_tokens);
    whole.audit_events.extend(answer.audit_events);
    whole.manifest = answer.manifest;
}

/// Returns the number of exported rows of each table, from the manifest.
fn exported(manifest: &AccountExportManifest) -> BTreeMap<String, i64> {
    let rows = manifest.exported.iter();
    rows.map(|exported| (exported.table.clone(), exported.rows))
        .collect()
}

/// Returns the number of rows of each table in the export.
fn counted(export: &ExportAccountResponse) -> BTreeMap<String, i64> {
    [
        ("identity.users", export.account.iter().len()),
        ("identity.consents", export.consents.len()),
        ("identity.sessions", export.sessions.len()),
        ("identity.refresh_tokens", export.refresh_tokens.len()),
        ("identity.device_tokens", export.device_tokens.len()),
        ("identity.recovery_tokens", export.recovery_tokens.len()),
        ("identity.security_audit_log", export.audit_events.len()),
    ]
    .map(|(table, rows)| (table.to_owned(), rows as i64))
    .into()
}
