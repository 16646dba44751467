//! Statistics of statements, for `cargo dev queries`, psql and Prometheus: `deploy/postgres/queries.sql` and
//! `exporter-queries.yaml`, read as `haven_monitor`.

mod exporter;
mod statements;

use haven_proto::data::v1::{GetMessageRequest, ListMessagesRequest};
use haven_testkit::{Stack, queries};

use crate::{crisis_message::saying, leaks::canary::Flock};

/// The executions that [`calls`] causes, by the name of the statement.
const CALLS: [(&str, i64); 4] = [
    ("AppendMessage", 7),
    ("GetMessage", 5),
    ("ListMessages", 3),
    ("SignUp", 1),
];

/// Starts a stack with a cluster of its own: the statistics of a cluster are reset by some tests.
async fn start() -> Stack {
    let stack = Stack::builder().own_cluster().start().await.unwrap();
    queries::enable(&stack.database).await.unwrap();
    stack
}

/// Calls RPCs as often as [`CALLS`] says, with canaries as their private values.
async fn calls(stack: &Stack, flock: &Flock) {
    let (email, password) = (flock.canary("an email"), flock.canary("a password"));
    let anonymous = stack.anonymous().unwrap();
    let ada = anonymous
        .sign_up_and_in(&email.email(), &password.password())
        .await
        .unwrap();
    flock.given(
        "the person's id",
        crate::leaks::canary::Allowed::Nowhere,
        &ada.id.to_string(),
    );
    let mut conversation = stack.user(&ada).unwrap().conversation();
    let mut message_id = String::new();
    for _ in 0..7 {
        let text = flock.canary("a message").text();
        let appended = conversation
            .append_message(saying(&text))
            .await
            .unwrap()
            .into_inner();
        message_id = appended.message.unwrap().id;
    }
    for _ in 0..5 {
        let get = GetMessageRequest {
            message_id: message_id.clone(),
        };
        conversation.get_message(get).await.unwrap();
    }
    for _ in 0..3 {
        conversation
            .list_messages(ListMessagesRequest::default())
            .await
            .unwrap();
    }
}
