//! A job with very many messages of the coach and the system in its range: only the newest are read and sent.

use haven_proto::data::v1::SenderType;
use haven_testkit::Stack;

use super::{coach_of, insert_job, lease, lease_request, say};
use crate::superuser_sql::execute;

/// The number of coach messages that are too old to be sent.
const OLD: i64 = 2_500;

/// The maximum number of messages of other senders that are sent.
const NEWEST: i64 = 200;

#[tokio::test]
async fn the_newest_coach_messages_are_sent_and_the_others_counted() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let (ada, coach) = (stack.user(&person).unwrap(), coach_of(&stack, &person));
    say(&ada, SenderType::User, "first").await;
    // All of them would fit; but they are copies that do not open, so reading one fails the job.
    let many = format!(
        "INSERT INTO data.conversations
             (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
         SELECT user_id, gen_random_uuid(), number + old, 'coach', message_text, key_id, now(), now()
         FROM data.conversations, generate_series(1, {OLD}) AS old;
         UPDATE data.conversation_counters SET last_number = last_number + {OLD}"
    );
    execute(&stack.database, &many).await;
    for number in 0..NEWEST {
        let sender = match number % 2 {
            0 => SenderType::Coach,
            _ => SenderType::System,
        };
        say(&coach, sender, "new").await;
    }
    let last = say(&ada, SenderType::User, "last").await.number;
    assert_eq!(last, OLD + NEWEST + 2);
    insert_job(&stack, &person, last).await;
    execute(&stack.database, "UPDATE data.analysis_jobs SET first_number = 1").await;

    let worker = stack.service("worker").unwrap();
    let jobs = lease(&worker, &lease_request()).await.unwrap();
    assert_eq!(jobs.len(), 1, "a message that does not open was read");
    let numbers: Vec<_> = jobs[0].messages.iter().map(|message| message.number).collect();
    let expected: Vec<_> = [1].into_iter().chain(OLD + 2..=last).collect();
    assert_eq!(numbers, expected);
    assert_eq!(i64::from(jobs[0].omitted_messages), OLD);
}
