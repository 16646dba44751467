//! Somebody who says that they are in danger, until they are heard.

use haven_proto::data::v1::{
    AppendMessageRequest, AppendMessageResponse, CrisisFinding, Message, SenderType,
};
use haven_testkit::{Client, random};

/// What the default detector hears.
pub(crate) const ALARMING: &str = "I want to kill myself";

/// A person's message under a new request id.
pub(crate) fn saying(text: &str) -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: text.to_owned(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

/// Has `client` say `text`, which is alarming, until that is found: detection does not wait long for a core that other
/// tests take. Answers the request that was heard, its message, and what was found.
pub(crate) async fn say_until_heard(
    client: &Client,
    text: &str,
) -> (AppendMessageRequest, Message, CrisisFinding) {
    for _ in 0..100 {
        let request = saying(text);
        let answer = client.conversation().append_message(request.clone()).await;
        let AppendMessageResponse { message, crisis } = answer.unwrap().into_inner();
        if let Some(found) = crisis {
            return (request, message.unwrap(), found);
        }
    }
    panic!("nothing was found in a hundred messages");
}
