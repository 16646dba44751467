//! What goes with a job when others said a great deal in its range: the newest of it, and no more is read.

use haven_proto::data::v1::SenderType;
use haven_testkit::Stack;

use super::{coach_of, lease, put_job, say, wish};
use crate::superuser_sql::execute;

/// How much a coach said that is too old to be sent.
const OLD: i64 = 2_500;

/// How much of what others said is sent at most.
const NEWEST: i64 = 200;

#[tokio::test]
async fn of_what_a_coach_said_the_newest_is_read_and_the_rest_counted() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let (ada, coach) = (stack.user(&person).unwrap(), coach_of(&stack, &person));
    say(&ada, SenderType::User, "first").await;
    // Small enough to fit, all of them; and none would open.
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
    put_job(&stack, &person, last).await;
    execute(&stack.database, "UPDATE data.analysis_jobs SET first_number = 1").await;

    let worker = stack.service("backend").unwrap();
    let jobs = lease(&worker, &wish()).await.unwrap();
    assert_eq!(jobs.len(), 1, "what does not open was read");
    let numbers: Vec<_> = jobs[0].messages.iter().map(|message| message.number).collect();
    let expected: Vec<_> = [1].into_iter().chain(OLD + 2..=last).collect();
    assert_eq!(numbers, expected);
    assert_eq!(i64::from(jobs[0].omitted_messages), OLD);
}
