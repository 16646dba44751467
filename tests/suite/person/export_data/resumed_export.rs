//! An export that ends early is continued with the token of its last answer.

use haven_proto::data::v1::{AuditEventType, ExportDataResponse};
use haven_testkit::{Client, Stack};

use super::{
    begin, complete_export::create_everything, counted, export, exported, hundred_thousand_rows::messages,
    merge, rest, resume,
};
use crate::{status::reason, test_device::Device};

/// Removes what each call of ExportData adds or sets: its audit event, the end of the export and the tokens.
fn comparable(mut export: ExportDataResponse) -> ExportDataResponse {
    export
        .audit_events
        .retain(|event| event.event_type() != AuditEventType::DataExported);
    export.resume_token.clear();
    export.manifest = None;
    export
}

/// Reads `count` answers of an export, drops the stream, and continues it. `None` when the export has no more answers than
/// that.
async fn cut_after(client: &Client, count: usize) -> Option<ExportDataResponse> {
    let (mut answers, mut whole) = (begin(client).await.unwrap(), ExportDataResponse::default());
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
    let stack = Stack::start().await.unwrap();
    let ada = Device::invent(&stack).await.unwrap();
    create_everything(&stack, &ada).await;
    let expected = comparable(export(&ada.client).await.unwrap());
    let mut cuts = 0;
    while let Some(whole) = cut_after(&ada.client, cuts + 1).await {
        cuts += 1;
        assert_eq!(comparable(whole), expected, "{cuts}");
    }
    // One answer for each table.
    assert_eq!(cuts, 11);
}

#[tokio::test]
async fn an_export_is_continued_within_a_table() {
    let stack = Stack::start().await.unwrap();
    let ada = Device::invent(&stack).await.unwrap();
    messages(&stack, &ada.person, 1_200).await;
    let expected = comparable(export(&ada.client).await.unwrap());
    let numbers: Vec<_> = expected.messages.iter().map(|message| message.number).collect();
    assert_eq!(numbers, (1..=1_200).collect::<Vec<_>>());
    for count in [1, 2] {
        assert_eq!(comparable(cut_after(&ada.client, count).await.unwrap()), expected);
    }
}

#[tokio::test]
async fn a_token_of_another_person_is_invalid() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (
        Device::invent(stack).await.unwrap(),
        Device::invent(stack).await.unwrap(),
    );
    let answer = begin(&ada.client)
        .await
        .unwrap()
        .message()
        .await
        .unwrap()
        .unwrap();
    let token = answer.resume_token;
    for (client, token) in [
        (&bob.client, token.as_str()),
        (&ada.client, &token[1..]),
        (&ada.client, "x"),
    ] {
        let refused = resume(client, token).await.err().unwrap();
        assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
    }
    rest(resume(&ada.client, &token).await.unwrap()).await.unwrap();
}
