//! RequestAnalysis: one open job at most that somebody asked for, and every message in one job.

use futures_util::future::join_all;
use haven_proto::data::v1::{
    AnalysisJobState, AppendMessageRequest, DeleteAnalysisRequest, DeleteMessageRequest,
    RequestAnalysisRequest, SenderType,
};
use haven_testkit::{Client, Stack, random};

use super::{ask, ask_with, put, range, say, say_as, wish};
use crate::{
    status::{reason, violations},
    superuser_sql::scalar,
};

async fn jobs(stack: &Stack) -> i64 {
    scalar(&stack.database, "SELECT count(*) FROM data.analysis_jobs").await
}

async fn start() -> (Stack, Client) {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    (stack, ada)
}

#[tokio::test]
async fn who_said_nothing_has_nothing_to_analyse() {
    let (stack, ada) = start().await;
    assert_eq!(reason(&ask(&ada).await.unwrap_err()), "NOTHING_TO_ANALYZE");
    assert_eq!(jobs(&stack).await, 0);
}

#[tokio::test]
async fn what_others_said_alone_is_nothing_to_analyse() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap().with_token(&ada.token).unwrap();
    say_as(&backend, SenderType::Coach).await.unwrap();
    let ada = stack.user(&ada).unwrap();
    assert_eq!(reason(&ask(&ada).await.unwrap_err()), "NOTHING_TO_ANALYZE");
    // It belongs to the job when it is said after what the person says.
    say(&ada, 1).await;
    say_as(&backend, SenderType::System).await.unwrap();
    assert_eq!(range(&ask(&ada).await.unwrap()), (2, 3));
}

#[tokio::test]
async fn what_is_pending_makes_a_job_and_those_after_it_count_anew() {
    let (stack, ada) = start().await;
    say(&ada, 10).await;
    let job = ask(&ada).await.unwrap();
    assert_eq!((range(&job), job.state()), ((1, 10), AnalysisJobState::Queued));
    assert!(job.create_time.is_some());
    let urgent: bool = scalar(
        &stack.database,
        "SELECT requested AND priority = 1 AND start_after <= now() AND attempts = 0 FROM data.analysis_jobs",
    )
    .await;
    assert!(urgent);

    say(&ada, 24).await;
    assert_eq!(jobs(&stack).await, 1);
    // The same again, while it is open: what was said meanwhile waits.
    assert_eq!(ask(&ada).await.unwrap(), job);
    say(&ada, 1).await;
    let automatic: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', first_number, last_number, priority) FROM data.analysis_jobs WHERE NOT requested",
    )
    .await;
    assert_eq!(automatic, "11 35 0");
    // The one that was asked for comes first, although another covers newer messages.
    assert_eq!(ask(&ada).await.unwrap(), job);
    assert_eq!(jobs(&stack).await, 2);
}

#[tokio::test]
async fn when_everything_is_covered_the_newest_open_job_is_the_answer() {
    let (stack, ada) = start().await;
    say(&ada, 50).await;
    let newest = ask(&ada).await.unwrap();
    assert_eq!(range(&newest), (26, 50));
    put(&stack, &newest, AnalysisJobState::Leased).await;
    let leased = ask(&ada).await.unwrap();
    assert_eq!(
        (&leased.id, leased.state()),
        (&newest.id, AnalysisJobState::Leased)
    );
    put(&stack, &newest, AnalysisJobState::Done).await;
    let older = ask(&ada).await.unwrap();
    assert_eq!(
        (range(&older), older.state()),
        ((1, 25), AnalysisJobState::Queued)
    );
    put(&stack, &older, AnalysisJobState::Dead).await;
    assert_eq!(reason(&ask(&ada).await.unwrap_err()), "NOTHING_TO_ANALYZE");
    assert_eq!(jobs(&stack).await, 2);
}

#[tokio::test]
async fn one_that_was_asked_for_makes_room_for_the_next_when_it_is_over() {
    let (stack, ada) = start().await;
    let mut expected = Vec::new();
    for (round, over) in [
        AnalysisJobState::Done,
        AnalysisJobState::Dead,
        AnalysisJobState::Done,
    ]
    .into_iter()
    .enumerate()
    {
        let first = round as i64 * 2 + 1;
        say(&ada, 1).await;
        let job = ask(&ada).await.unwrap();
        say(&ada, 1).await;
        put(&stack, &job, AnalysisJobState::Leased).await;
        let leased = ask(&ada).await.unwrap();
        assert_eq!((&leased.id, leased.state()), (&job.id, AnalysisJobState::Leased));
        put(&stack, &job, over).await;
        let next = ask(&ada).await.unwrap();
        put(&stack, &next, over).await;
        assert_eq!(reason(&ask(&ada).await.unwrap_err()), "NOTHING_TO_ANALYZE");
        expected.extend([(first, first), (first + 1, first + 1)]);
        assert_eq!([range(&job), range(&next)], expected[round * 2..]);
    }
}

#[tokio::test]
async fn fifty_who_ask_at_once_get_one_job() {
    let (stack, ada) = start().await;
    say(&ada, 7).await;
    let answers = join_all((0..50).map(|_| ask(&ada))).await;
    let job = answers[0].as_ref().unwrap();
    assert_eq!(range(job), (1, 7));
    for answer in &answers {
        assert_eq!(answer.as_ref().unwrap(), job);
    }
    // Of one request, too.
    put(&stack, job, AnalysisJobState::Done).await;
    say(&ada, 3).await;
    let wish = wish();
    let answers = join_all((0..50).map(|_| ask_with(&ada, &wish))).await;
    for answer in &answers {
        assert_eq!(answer.as_ref().unwrap(), answers[0].as_ref().unwrap());
        assert_eq!(range(answer.as_ref().unwrap()), (8, 10));
    }
    assert_eq!(jobs(&stack).await, 2);
}

#[tokio::test]
async fn a_retry_answers_its_job_as_it_is_now() {
    let (stack, ada) = start().await;
    say(&ada, 1).await;
    let first = wish();
    let job = ask_with(&ada, &first).await.unwrap();
    put(&stack, &job, AnalysisJobState::Leased).await;
    let retried = ask_with(&ada, &first).await.unwrap();
    assert_eq!(
        (&retried.id, retried.state()),
        (&job.id, AnalysisJobState::Leased)
    );
    put(&stack, &job, AnalysisJobState::Done).await;
    say(&ada, 1).await;
    let second = wish();
    let next = ask_with(&ada, &second).await.unwrap();
    assert_eq!(range(&next), (2, 2));
    // The first one stays the first one's, whatever there is by now.
    let retried = ask_with(&ada, &first).await.unwrap();
    assert_eq!((&retried.id, retried.state()), (&job.id, AnalysisJobState::Done));
    assert_eq!(ask_with(&ada, &second).await.unwrap(), next);
    assert_eq!(jobs(&stack).await, 2);
}

#[tokio::test]
async fn a_request_id_is_for_one_method_of_one_person() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    let said = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "something".into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    let message = ada.conversation().append_message(said.clone()).await;
    say(&bob, 1).await;
    let of_a_message = RequestAnalysisRequest {
        request_id: said.request_id,
    };
    let status = ask_with(&ada, &of_a_message).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert_eq!(jobs(&stack).await, 0);
    ask_with(&bob, &of_a_message).await.unwrap();

    let wish = wish();
    let job = ask_with(&ada, &wish).await.unwrap();
    let deletion = DeleteAnalysisRequest {
        analysis_id: job.id.clone(),
        request_id: wish.request_id.clone(),
    };
    let status = ada.analysis().delete_analysis(deletion).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    let message = message.unwrap().into_inner().message.unwrap();
    let deletion = DeleteMessageRequest {
        message_id: message.id,
        request_id: wish.request_id.clone(),
    };
    let status = ada.conversation().delete_message(deletion).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert_eq!(ask_with(&ada, &wish).await.unwrap(), job);
}

#[tokio::test]
async fn what_was_refused_can_be_asked_again() {
    let (_stack, ada) = start().await;
    let wish = wish();
    assert_eq!(
        reason(&ask_with(&ada, &wish).await.unwrap_err()),
        "NOTHING_TO_ANALYZE"
    );
    say(&ada, 1).await;
    assert_eq!(range(&ask_with(&ada, &wish).await.unwrap()), (1, 1));
}

#[tokio::test]
async fn a_message_that_is_deleted_changes_no_range() {
    let (stack, ada) = start().await;
    let first = say_as(&ada, SenderType::User).await.unwrap();
    say(&ada, 1).await;
    let last = say_as(&ada, SenderType::User).await.unwrap();
    for message in [first, last] {
        let deletion = DeleteMessageRequest {
            message_id: message.id,
            request_id: random::uuid().to_string(),
        };
        ada.conversation().delete_message(deletion).await.unwrap();
    }
    let job = ask(&ada).await.unwrap();
    assert_eq!(range(&job), (1, 3));
    // And they count: 22 more make no 25.
    put(&stack, &job, AnalysisJobState::Done).await;
    say(&ada, 24).await;
    assert_eq!(jobs(&stack).await, 1);
    say(&ada, 1).await;
    assert_eq!(jobs(&stack).await, 2);
}

#[tokio::test]
async fn a_request_id_has_to_be_a_uuid() {
    let (_stack, ada) = start().await;
    for (request_id, name) in [("", "REQUIRED"), ("x", "NOT_A_UUID")] {
        let request = RequestAnalysisRequest {
            request_id: request_id.into(),
        };
        let status = ask_with(&ada, &request).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD");
        assert_eq!(violations(&status), [("request_id".to_owned(), name.to_owned())]);
    }
}
