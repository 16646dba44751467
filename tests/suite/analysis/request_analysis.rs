//! RequestAnalysis: a person has at most one open requested job, and every message is in one job.

use futures_util::future::join_all;
use haven_proto::data::v1::{
    AnalysisJobState, AppendMessageRequest, DeleteAnalysisRequest, DeleteMessageRequest,
    RequestAnalysisRequest, SenderType,
};
use haven_testkit::{Client, Person, Stack, random};

use super::{ask, ask_with, new_request, put, range, say, say_as};
use crate::{
    status::{reason, violations},
    superuser_sql::scalar_with,
};

/// Returns the number of the person's jobs.
async fn jobs(stack: &Stack, person: &Person) -> i64 {
    let count = "SELECT count(*) FROM data.analysis_jobs WHERE user_id = $1";
    scalar_with(&stack.database, count, person.id).await
}

/// Signs a person up on the shared stack.
async fn start() -> (&'static Stack, Person, Client) {
    let stack = Stack::shared().await.unwrap();
    let person = stack.person().await.unwrap();
    let client = stack.user(&person).unwrap();
    (stack, person, client)
}

#[tokio::test]
async fn a_person_without_messages_has_nothing_to_analyze() {
    let (stack, person, ada) = start().await;
    assert_eq!(reason(&ask(&ada).await.unwrap_err()), "NOTHING_TO_ANALYZE");
    assert_eq!(jobs(stack, &person).await, 0);
}

#[tokio::test]
async fn messages_of_other_senders_alone_are_nothing_to_analyze() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap().with_token(&ada.token).unwrap();
    say_as(&backend, SenderType::Coach).await.unwrap();
    let ada = stack.user(&ada).unwrap();
    assert_eq!(reason(&ask(&ada).await.unwrap_err()), "NOTHING_TO_ANALYZE");
    // Messages of other senders belong to the job when they follow a message of the person.
    say(&ada, 1).await;
    say_as(&backend, SenderType::System).await.unwrap();
    assert_eq!(range(&ask(&ada).await.unwrap()), (2, 3));
}

#[tokio::test]
async fn pending_messages_make_a_job_and_later_ones_are_counted_from_zero() {
    let (stack, person, ada) = start().await;
    say(&ada, 10).await;
    let job = ask(&ada).await.unwrap();
    assert_eq!((range(&job), job.state()), ((1, 10), AnalysisJobState::Queued));
    assert!(job.create_time.is_some());
    let urgent: bool = scalar_with(
        &stack.database,
        "SELECT requested AND priority = 1 AND start_after <= now() AND attempts = 0
         FROM data.analysis_jobs WHERE user_id = $1",
        person.id,
    )
    .await;
    assert!(urgent);

    say(&ada, 24).await;
    assert_eq!(jobs(stack, &person).await, 1);
    // While the job is open it is the answer again, and later messages wait.
    assert_eq!(ask(&ada).await.unwrap(), job);
    say(&ada, 1).await;
    let automatic: String = scalar_with(
        &stack.database,
        "SELECT concat_ws(' ', first_number, last_number, priority)
         FROM data.analysis_jobs WHERE user_id = $1 AND NOT requested",
        person.id,
    )
    .await;
    assert_eq!(automatic, "11 35 0");
    // A requested job is preferred, although another one covers newer messages.
    assert_eq!(ask(&ada).await.unwrap(), job);
    assert_eq!(jobs(stack, &person).await, 2);
}

#[tokio::test]
async fn with_nothing_pending_the_answer_is_the_newest_open_job() {
    let (stack, person, ada) = start().await;
    say(&ada, 50).await;
    let newest = ask(&ada).await.unwrap();
    assert_eq!(range(&newest), (26, 50));
    put(stack, &newest, AnalysisJobState::Leased).await;
    let leased = ask(&ada).await.unwrap();
    assert_eq!(
        (&leased.id, leased.state()),
        (&newest.id, AnalysisJobState::Leased)
    );
    put(stack, &newest, AnalysisJobState::Done).await;
    let older = ask(&ada).await.unwrap();
    assert_eq!(
        (range(&older), older.state()),
        ((1, 25), AnalysisJobState::Queued)
    );
    put(stack, &older, AnalysisJobState::Dead).await;
    assert_eq!(reason(&ask(&ada).await.unwrap_err()), "NOTHING_TO_ANALYZE");
    assert_eq!(jobs(stack, &person).await, 2);
}

#[tokio::test]
async fn a_finished_requested_job_makes_room_for_the_next() {
    let (stack, _, ada) = start().await;
    let mut expected = Vec::new();
    for (round, last_state) in [
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
        put(stack, &job, AnalysisJobState::Leased).await;
        let leased = ask(&ada).await.unwrap();
        assert_eq!((&leased.id, leased.state()), (&job.id, AnalysisJobState::Leased));
        put(stack, &job, last_state).await;
        let next = ask(&ada).await.unwrap();
        put(stack, &next, last_state).await;
        assert_eq!(reason(&ask(&ada).await.unwrap_err()), "NOTHING_TO_ANALYZE");
        expected.extend([(first, first), (first + 1, first + 1)]);
        assert_eq!([range(&job), range(&next)], expected[round * 2..]);
    }
}

#[tokio::test]
async fn fifty_concurrent_requests_get_one_job() {
    let (stack, person, ada) = start().await;
    say(&ada, 7).await;
    let answers = join_all((0..50).map(|_| ask(&ada))).await;
    let job = answers[0].as_ref().unwrap();
    assert_eq!(range(job), (1, 7));
    for answer in &answers {
        assert_eq!(answer.as_ref().unwrap(), job);
    }
    // Concurrent repeats of one request also get equal answers.
    put(stack, job, AnalysisJobState::Done).await;
    say(&ada, 3).await;
    let request = new_request();
    let answers = join_all((0..50).map(|_| ask_with(&ada, &request))).await;
    for answer in &answers {
        assert_eq!(answer.as_ref().unwrap(), answers[0].as_ref().unwrap());
        assert_eq!(range(answer.as_ref().unwrap()), (8, 10));
    }
    assert_eq!(jobs(stack, &person).await, 2);
}

#[tokio::test]
async fn a_retry_returns_its_job_in_its_current_state() {
    let (stack, person, ada) = start().await;
    say(&ada, 1).await;
    let first = new_request();
    let job = ask_with(&ada, &first).await.unwrap();
    put(stack, &job, AnalysisJobState::Leased).await;
    let retried = ask_with(&ada, &first).await.unwrap();
    assert_eq!(
        (&retried.id, retried.state()),
        (&job.id, AnalysisJobState::Leased)
    );
    put(stack, &job, AnalysisJobState::Done).await;
    say(&ada, 1).await;
    let second = new_request();
    let next = ask_with(&ada, &second).await.unwrap();
    assert_eq!(range(&next), (2, 2));
    // The first request keeps its job, although there is a newer one.
    let retried = ask_with(&ada, &first).await.unwrap();
    assert_eq!((&retried.id, retried.state()), (&job.id, AnalysisJobState::Done));
    assert_eq!(ask_with(&ada, &second).await.unwrap(), next);
    assert_eq!(jobs(stack, &person).await, 2);
}

#[tokio::test]
async fn a_request_id_is_bound_to_one_method_and_one_person() {
    let stack = Stack::shared().await.unwrap();
    let (person, other) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&person).unwrap(), stack.user(&other).unwrap());
    let written = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "something".into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    let message = ada.conversation().append_message(written.clone()).await;
    say(&bob, 1).await;
    let of_a_message = RequestAnalysisRequest {
        request_id: written.request_id,
    };
    let status = ask_with(&ada, &of_a_message).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert_eq!(jobs(stack, &person).await, 0);
    ask_with(&bob, &of_a_message).await.unwrap();

    let request = new_request();
    let job = ask_with(&ada, &request).await.unwrap();
    let deletion = DeleteAnalysisRequest {
        analysis_id: job.id.clone(),
        request_id: request.request_id.clone(),
    };
    let status = ada.analysis().delete_analysis(deletion).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    let message = message.unwrap().into_inner().message.unwrap();
    let deletion = DeleteMessageRequest {
        message_id: message.id,
        request_id: request.request_id.clone(),
    };
    let status = ada.conversation().delete_message(deletion).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert_eq!(ask_with(&ada, &request).await.unwrap(), job);
}

#[tokio::test]
async fn a_refused_request_may_be_repeated_with_its_request_id() {
    let (_, _, ada) = start().await;
    let request = new_request();
    assert_eq!(
        reason(&ask_with(&ada, &request).await.unwrap_err()),
        "NOTHING_TO_ANALYZE"
    );
    say(&ada, 1).await;
    assert_eq!(range(&ask_with(&ada, &request).await.unwrap()), (1, 1));
}

#[tokio::test]
async fn a_deleted_message_changes_no_range() {
    let (stack, person, ada) = start().await;
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
    // Deleted messages count: the next job needs 25 more messages.
    put(stack, &job, AnalysisJobState::Done).await;
    say(&ada, 24).await;
    assert_eq!(jobs(stack, &person).await, 1);
    say(&ada, 1).await;
    assert_eq!(jobs(stack, &person).await, 2);
}

#[tokio::test]
async fn the_request_id_has_to_be_a_uuid() {
    let (_, _, ada) = start().await;
    for (request_id, name) in [("", "REQUIRED"), ("x", "NOT_A_UUID")] {
        let request = RequestAnalysisRequest {
            request_id: request_id.into(),
        };
        let status = ask_with(&ada, &request).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD");
        assert_eq!(violations(&status), [("request_id".to_owned(), name.to_owned())]);
    }
}
