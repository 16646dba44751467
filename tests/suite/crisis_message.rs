//! Messages in which a person says that they are in danger.

use haven_proto::data::v1::{
    AppendMessageRequest, AppendMessageResponse, CrisisFinding, Message, SenderType,
};
use haven_testkit::{Client, random};

/// A text with a finding of the default detector.
pub(crate) const ALARMING: &str = "I want to kill myself";

/// Returns a request to append a message of the person, with a new request id.
pub(crate) fn saying(text: &str) -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: text.to_owned(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

/// Appends the alarming `text` until an answer has a finding: detection does not wait long for a core, and other tests
/// may be using it. Returns the request, its message and the finding.
pub(crate) async fn say_until_heard(
    client: &Client,
    text: &str,
) -> (AppendMessageRequest, Message, CrisisFinding) {
    for _ in 0..100 {
        let request = saying(text);
        let answer = client.conversation().append_message(request.clone()).await;
        let AppendMessageResponse { message, crisis } = answer.unwrap().into_inner();
        if let Some(finding) = crisis {
            return (request, message.unwrap(), finding);
        }
    }
    panic!("no finding in a hundred messages");
}
