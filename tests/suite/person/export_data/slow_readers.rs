//! Somebody who reads slowly: nothing is read ahead for them, and nothing waits for them.

use haven_testkit::Stack;

use super::{
    begin,
    hundred_thousand_rows::{high_water, high_water_mark, messages, text},
    rest,
};
use crate::{crisis_message::saying, eventually::eventually, superuser_sql::scalar};

/// How many messages there are: much more than the sockets between take in.
const MESSAGES: i64 = 16_000;

/// How many read at once.
const READERS: usize = 4;

/// By how much the service's memory may grow: by a few pages for each, and not by what there is.
const GROWTH_KIB: u64 = 16 * 1024;

#[tokio::test]
async fn nothing_is_read_for_a_reader_before_they_take_it() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    messages(&stack, &ada, MESSAGES).await;
    let before = high_water(&stack.data);
    let mut readers = Vec::new();
    for _ in 0..READERS {
        // Each on a connection of its own: what one leaves lying there takes no room from the others.
        let own = stack.user(&ada).unwrap();
        let mut answers = begin(&own).await.unwrap();
        let first = answers.message().await.unwrap().unwrap();
        assert_eq!(first.messages[0].text, text(1));
        readers.push((own, answers, first.messages.len()));
    }
    // What is said now is the last message of each: nobody has read that far.
    let said = client.conversation().append_message(saying("later")).await;
    assert_eq!(said.unwrap().into_inner().message.unwrap().number, MESSAGES + 1);
    // They hold no transaction, so they keep nothing from being cleaned up.
    let idle = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'data_app' AND state <> 'idle')";
    eventually("nobody reads", async || scalar(&stack.database, idle).await).await;
    let grown = high_water_mark(&stack.data).saturating_sub(before);
    eprintln!("{READERS} readers who wait: {grown} KiB more");
    assert!(grown < GROWTH_KIB, "{grown} KiB more");
    for (_own, answers, seen) in readers {
        let rest = rest(answers).await.unwrap();
        assert_eq!((seen + rest.messages.len()) as i64, MESSAGES + 1);
        assert_eq!(rest.messages.last().unwrap().text, "later");
    }
}
