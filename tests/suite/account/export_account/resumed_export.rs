//! An export that ends early is continued with the token of its last answer.

use haven_proto::{
    data::v1::ExportDataRequest,
    identity::v1::{AuditEventType, ExportAccountResponse},
};
use haven_testkit::{Client, Stack};

use super::{counted, export, exported, merge, rest, resume};
use crate::status::reason;

/// Removes what each call of ExportAccount adds or sets: its audit event, the end of the export and the tokens.
fn comparable(mut export: ExportAccountResponse) -> ExportAccountResponse {
    export
        .audit_events
        .retain(|event| event.event_type() != AuditEventType::AccountExport);
    export.resume_token.clear();
    export.manifest = None;
    export
}

/// Reads `count` answers of an export, drops the stream, and continues it. `None` when the export has no more answers than
/// that.
async fn cut_after(client: &Client, count: usize) -> Option<ExportAccountResponse> {
    let (mut answers, mut whole) = (
        resume(client, "").await.unwrap(),
        ExportAccountResponse::default(),
    );
    let mut token = String::new();
    for _ in 0..count {
        let answer = answers.message().await.unwrap().unwrap();
        token.clone_from(&answer.resume_token);
        merge(&mut whole, answer);
        if whole.manifest.is_some() {
            return None;
        }
    }
    drop(answers);
    merge(
        &mut whole,
        rest(resume(client, &token).await.unwrap()).await.unwrap(),
    );
    // The manifest counts the rows of both calls.
    assert_eq!(exported(whole.manifest.as_ref().unwrap()), counted(&whole));
    Some(whole)
}

#[tokio::test]
async fn an_export_that_is_cut_after_any_answer_is_continued() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let expected = comparable(export(&client).await.unwrap());
    let mut cuts = 0;
    while let Some(whole) = cut_after(&client, cuts + 1).await {
        cuts += 1;
        assert_eq!(comparable(whole), expected, "{cuts}");
    }
    // One answer for each table.
    assert_eq!(cuts, 6);
}

#[tokio::test]
async fn a_token_of_another_person_or_another_export_is_invalid() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    let answer = resume(&ada, "").await.unwrap().message().await.unwrap().unwrap();
    let token = answer.resume_token;
    let data = ada.person().export_data(ExportDataRequest::default()).await;
    let of_data = data.unwrap().into_inner().message().await.unwrap().unwrap();
    for (client, token) in [
        (&bob, token.as_str()),
        (&ada, &token[1..]),
        (&ada, "x"),
        (&ada, &of_data.resume_token),
    ] {
        let refused = resume(client, token).await.err().unwrap();
        assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
    }
    rest(resume(&ada, &token).await.unwrap()).await.unwrap();
}
