//! Round trips to Postgres: a call that is made most takes one, for one function. Others of a user take four, for BEGIN, the
//! caller's context, one statement, and COMMIT.

use haven_proto::data::v1::{
    AppendMessageRequest, DeleteMessageRequest, GetMessageRequest, ListMessagesRequest, Message, SenderType,
    UpdateMessageRequest,
};
use haven_testkit::{Stack, client::sign_up_request, random};

use crate::{eventually::eventually, status::reason, superuser_sql::scalar};

/// Rounds before the measurement. A connection prepares each statement at its first use, which takes one more round trip.
const WARM: usize = 24;

#[tokio::test]
async fn a_call_that_is_made_most_takes_one_round_trip() {
    let stack = Stack::builder()
        .counted()
        .variable("data", "DATABASE_POOL_SIZE", "1")
        .variable("identity", "DATABASE_POOL_SIZE", "1")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    let mut conversation = stack.user(&ada).unwrap().conversation();
    let append = || AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "hello".into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    let stored = conversation
        .append_message(append())
        .await
        .unwrap()
        .into_inner()
        .message
        .unwrap();
    let get = GetMessageRequest {
        message_id: stored.id.clone(),
    };
    let update = |message: &Message| UpdateMessageRequest {
        message_id: message.id.clone(),
        text: "goodbye".into(),
        expected_version: message.version,
        request_id: random::uuid().to_string(),
    };
    let delete = |message: &Message| DeleteMessageRequest {
        message_id: message.id.clone(),
        request_id: random::uuid().to_string(),
    };
    let mut trips = Vec::new();
    for _ in 0..WARM + 5 {
        let mut so_far = vec![stack.round_trips("data")];
        let appended = conversation.append_message(append()).await.unwrap();
        let appended = appended.into_inner().message.unwrap();
        so_far.push(stack.round_trips("data"));
        conversation.get_message(get.clone()).await.unwrap();
        so_far.push(stack.round_trips("data"));
        conversation
            .list_messages(ListMessagesRequest::default())
            .await
            .unwrap();
        so_far.push(stack.round_trips("data"));
        conversation.update_message(update(&appended)).await.unwrap();
        so_far.push(stack.round_trips("data"));
        conversation.delete_message(delete(&appended)).await.unwrap();
        so_far.push(stack.round_trips("data"));
        trips.push([0, 1, 2, 3, 4].map(|i| so_far[i + 1] - so_far[i]));
    }
    // The readiness check uses the same pool once a second, so some counts are one higher.
    let least = trips
        .iter()
        .skip(WARM)
        .copied()
        .reduce(|a, b| std::array::from_fn(|i| a[i].min(b[i])))
        .unwrap();
    assert_eq!(
        least,
        [1, 1, 1, 4, 4],
        "append, get, list, update, delete: {trips:?}"
    );

    let anonymous = stack.anonymous().unwrap();
    let mut sign_ups = Vec::new();
    for i in 0..8 {
        let before = stack.round_trips("identity");
        let request = sign_up_request(&format!("person-{i}@example.org"), "Correct-Horse-7-Battery");
        anonymous.account().sign_up(request).await.unwrap();
        sign_ups.push(stack.round_trips("identity") - before);
    }
    // A call before the hash checks the limits of the network and the service, and whether the request is a retry. Another one after it
    // checks the limit of the address, and stores the account and its audit event.
    assert_eq!(sign_ups.iter().min(), Some(&2), "{sign_ups:?}");
}

#[tokio::test]
async fn checking_all_rate_limits_takes_one_round_trip() {
    let stack = Stack::builder()
        .counted()
        .variable("identity", "DATABASE_POOL_SIZE", "1")
        .variable(
            "identity",
            "SIGN_UP_LIMITS",
            "network=1000/1h,email=1000/1h,service=1/1h",
        )
        .start()
        .await
        .unwrap();
    let backend = stack.service("backend").unwrap();
    let sign_up = async || {
        let request = sign_up_request("ada@example.org", "Correct-Horse-7-Battery");
        backend.account().sign_up(request).await
    };
    sign_up().await.unwrap();
    let mut refusals = Vec::new();
    for _ in 0..4 {
        let before = stack.round_trips("identity");
        assert_eq!(reason(&sign_up().await.unwrap_err()), "RATE_LIMITED");
        // pg_stat_activity shows when the connection is done.
        let idle = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'identity_app' AND state <> 'idle'
                    AND datname = current_database()";
        eventually("the transaction is over", async || {
            scalar::<i64>(&stack.database, idle).await == 0
        })
        .await;
        refusals.push(stack.round_trips("identity") - before);
    }
    // The call that looks for an earlier try checks the limits of the network and the service, and undoes what it counted.
    assert_eq!(refusals.iter().min(), Some(&1), "{refusals:?}");
}

/// Behind a pooler in transaction mode the next transaction may use another connection, so statements must not be prepared
/// under a name. Each is parsed every time, which takes one more round trip.
#[tokio::test]
async fn no_statement_is_prepared_behind_a_transaction_pooler() {
    let stack = Stack::builder()
        .counted()
        .variable("data", "DATABASE_POOL_SIZE", "1")
        .variable("data", "DATABASE_POOLER", "transaction")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    let mut conversation = stack.user(&ada).unwrap().conversation();
    let mut trips = Vec::new();
    for _ in 0..8 {
        let before = stack.round_trips("data");
        conversation
            .list_messages(ListMessagesRequest::default())
            .await
            .unwrap();
        trips.push(stack.round_trips("data") - before);
    }
    // BEGIN, the statement, which is parsed in a message of its own, and COMMIT.
    assert_eq!(trips.iter().min(), Some(&4), "{trips:?}");
}
