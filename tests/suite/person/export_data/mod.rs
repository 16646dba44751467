//! ExportData: the export has every row of the person, of every kind and in any number.

pub(crate) mod complete_export;
pub(crate) mod hundred_thousand_rows;
mod resumed_export;
mod size_limits;
mod slow_readers;
mod table_catalog;
mod unknown_people;
mod unreadable_rows;

use std::{collections::BTreeMap, time::Duration};

use haven_proto::data::v1::{ExportDataRequest, ExportDataResponse, ExportManifest};
use haven_testkit::Client;
use prost::Message;
use tokio::time::timeout;
use tonic::{Status, Streaming};

/// A time limit that no export here reaches, also on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(240);

/// The size limit of an answer in bytes: a page of one mebibyte, and its last row, which may exceed that.
const MAX_ANSWER_BYTES: usize = 3 << 19;

/// Starts an export of the client's data.
async fn begin(client: &Client) -> Result<Streaming<ExportDataResponse>, Status> {
    resume(client, "").await
}

/// Continues an export of the client's data.
async fn resume(client: &Client, resume_token: &str) -> Result<Streaming<ExportDataResponse>, Status> {
    let request = ExportDataRequest {
        resume_token: resume_token.to_owned(),
    };
    Ok(client.person().export_data(request).await?.into_inner())
}

/// Reads a whole export, as one answer.
pub(crate) async fn export(client: &Client) -> Result<ExportDataResponse, Status> {
    rest(begin(client).await?).await
}

/// Reads the rest of an export, as one answer. The manifest has to be the only content of the last answer.
async fn rest(mut answers: Streaming<ExportDataResponse>) -> Result<ExportDataResponse, Status> {
    let reading = async {
        let mut whole = ExportDataResponse::default();
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
        Ok(whole)
    };
    timeout(LIMIT, reading).await.expect("the export ends in time")
}

/// Adds an answer to the answers before it.
fn merge(whole: &mut ExportDataResponse, answer: ExportDataResponse) {
    whole.messages.extend(answer.messages);
    whole.analyses.extend(answer.analyses);
    whole.analysis_jobs.extend(answer.analysis_jobs);
    whole.crisis_events.extend(answer.crisis_events);
    whole.devices.extend(answer.devices);
    whole.records.extend(answer.records);
    whole.conflicts.extend(answer.conflicts);
    whole.shares.extend(answer.shares);
    whole.share_accesses.extend(answer.share_accesses);
    whole.audit_events.extend(answer.audit_events);
    whole.unreadable.extend(answer.unreadable);
    if answer.preferences.is_some() {
        assert!(whole.preferences.is_none(), "preferences are exported once");
        whole.preferences = answer.preferences;
    }
    whole.manifest = answer.manifest;
}

/// Returns the number of exported rows of each table, from the manifest.
fn exported(manifest: &ExportManifest) -> BTreeMap<String, i64> {
    let rows = manifest.exported.iter();
    rows.map(|exported| (exported.table.clone(), exported.rows))
        .collect()
}

/// Returns the number of rows of each table in the export, including those that are named as unreadable.
fn counted(export: &ExportDataResponse) -> BTreeMap<String, i64> {
    let unreadable = |table: &str| export.unreadable.iter().filter(|row| row.table == table).count();
    [
        ("data.conversations", export.messages.len()),
        ("data.analysis_results", export.analyses.len()),
        ("data.analysis_jobs", export.analysis_jobs.len()),
        ("data.crisis_events", export.crisis_events.len()),
        ("data.device_key", export.devices.len()),
        ("data.encrypted_cycle_data", export.records.len()),
        ("data.cycle_data_conflicts", export.conflicts.len()),
        ("data.encrypted_user_prefs", export.preferences.iter().len()),
        ("data.healthcare_share", export.shares.len()),
        ("data.healthcare_share_audit", export.share_accesses.len()),
        ("data.security_audit_log", export.audit_events.len()),
    ]
    .map(|(table, rows)| (table.to_owned(), (rows + unreadable(table)) as i64))
    .into()
}
