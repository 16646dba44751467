//! Clients that read slowly: the service does not read ahead for them, and holds no transaction for them.

use haven_testkit::Stack;

use super::{
    begin,
    hundred_thousand_rows::{messages, peak, reset_peak, text},
    rest,
};
use crate::{crisis_message::saying, eventually::eventually, superuser_sql::scalar};

/// The number of messages: far more than the socket buffers hold.
const MESSAGES: i64 = 16_000;

/// The number of concurrent readers.
const READERS: usize = 4;

/// The permitted growth of the service's memory: a few pages for each reader, independent of the size of the export.
const GROWTH_KIB: u64 = 16 * 1024;

#[tokio::test]
async fn the_service_does_not_read_ahead_for_slow_readers() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    messages(&stack, &ada, MESSAGES).await;
    let before = reset_peak(&stack.data);
    let mut readers = Vec::new();
    for _ in 0..READERS {
        // Each on a connection of its own, so that they do not share a flow-control window.
        let own = stack.user(&ada).unwrap();
        let mut answers = begin(&own).await.unwrap();
        let first = answers.message().await.unwrap().unwrap();
        assert_eq!(first.messages[0].text, text(1));
        readers.push((own, answers, first.messages.len()));
    }
    // A message that is appended now is the last one for each reader, because none has read that far.
    let appended = client.conversation().append_message(saying("later")).await;
    assert_eq!(
        appended.unwrap().into_inner().message.unwrap().number,
        MESSAGES + 1
    );
    // The exports hold no transaction, which would keep Postgres from removing old row versions.
    let idle = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'data_app' AND state <> 'idle')";
    eventually("no transaction is open", async || {
        scalar(&stack.database, idle).await
    })
    .await;
    let grown = peak(&stack.data).saturating_sub(before);
    eprintln!("{READERS} waiting readers: {grown} KiB more");
    assert!(grown < GROWTH_KIB, "{grown} KiB more");
    for (_own, answers, seen) in readers {
        let rest = rest(answers).await.unwrap();
        assert_eq!((seen + rest.messages.len()) as i64, MESSAGES + 1);
        assert_eq!(rest.messages.last().unwrap().text, "later");
    }
}
