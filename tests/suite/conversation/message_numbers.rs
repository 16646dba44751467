//! Message numbers: consecutive from 1, with concurrent writers and with requests that fail.

use std::time::Duration;

use futures_util::future::join_all;
use haven_proto::data::v1::{AppendMessageRequest, SenderType};
use haven_testkit::Stack;
use tonic::Request;

use super::{message, numbers, say, try_append};
use crate::{status::reason, superuser_sql::scalar};

#[tokio::test]
async fn a_hundred_concurrent_messages_take_a_hundred_consecutive_numbers() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let appended = join_all((0..100).map(|_| say(&ada, "all at once"))).await;
    let mut taken: Vec<_> = appended.iter().map(|message| message.number).collect();
    taken.sort_unstable();
    assert_eq!(taken, (1..=100).collect::<Vec<_>>());
    assert_eq!(numbers(&ada).await, taken);
}

#[tokio::test]
async fn failed_requests_take_no_number() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    // The cancelled calls have their own connection, because a server ends a connection with too many of them.
    let impatient = stack.user(&person).unwrap();
    let first = message(SenderType::User, "the first");
    let stored = try_append(&ada, first.clone()).await.unwrap();
    let attempts = (0..100_u64).map(async |i| {
        let fresh = message(SenderType::User, "one of many");
        let (request, refusal) = match i % 4 {
            // A request with the id of an existing message.
            0 => {
                let message_id = stored.id.clone();
                (
                    AppendMessageRequest { message_id, ..fresh },
                    Some("RECORD_EXISTS"),
                )
            }
            // A request with the id of an earlier request.
            1 => {
                let request_id = first.request_id.clone();
                (
                    AppendMessageRequest { request_id, ..fresh },
                    Some("REQUEST_ID_REUSED"),
                )
            }
            // A request with a short deadline; the outcome does not matter.
            2 => {
                let mut request = Request::new(fresh);
                request.set_timeout(Duration::from_millis(i));
                let _ = impatient.conversation().append_message(request).await;
                return;
            }
            _ => (fresh, None),
        };
        let appended = try_append(&ada, request).await;
        let refused = appended.err().map(|status| reason(&status));
        assert_eq!(refused.as_deref(), refusal);
    });
    join_all(attempts).await;
    let last = say(&ada, "the last").await.number;
    assert!((27..=52).contains(&last), "{last}");
    assert_eq!(numbers(&ada).await, (1..=last).collect::<Vec<_>>());
    let counted: i64 = scalar(
        &stack.database,
        "SELECT last_number FROM data.conversation_counters",
    )
    .await;
    assert_eq!(counted, last);
}
