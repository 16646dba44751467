//! DeleteAnalysis: the analysis is deleted; its job and its messages stay.

use futures_util::future::join_all;
use haven_proto::data::v1::{DeleteAnalysisRequest, ListMessagesRequest};
use haven_testkit::{Client, Stack, random};
use tonic::Status;

use super::{ask, get, page, say, stored_result::store_result};
use crate::{
    retry::retry_call,
    status::{reason, violations},
    superuser_sql::{execute_with, scalar_with},
};

/// Returns a request to delete the analysis with `id`.
fn deletion(id: &str) -> DeleteAnalysisRequest {
    DeleteAnalysisRequest {
        analysis_id: id.to_owned(),
        request_id: random::uuid().to_string(),
    }
}

/// Deletes an analysis, with retries.
async fn delete(client: &Client, request: &DeleteAnalysisRequest) -> Result<(), Status> {
    let mut analyses = client.analysis();
    let answer = retry_call(request.clone(), async |request| {
        analyses.delete_analysis(request).await
    });
    answer.await.map(drop)
}

#[tokio::test]
async fn the_analysis_is_deleted_and_its_job_and_messages_stay() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (adas, bobs) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    say(&adas, 25).await;
    // Replace the job of the 25 messages by a done one with a result.
    let delete_jobs = "DELETE FROM data.analysis_jobs WHERE user_id = $1";
    execute_with(&stack.database, delete_jobs, ada.id).await;
    let id = store_result(stack, &ada, (1, 25), &["x"]).await.to_string();
    let other = store_result(stack, &ada, (26, 26), &["y"]).await.to_string();

    let status = delete(&bobs, &deletion(&id)).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    let request = deletion(&id);
    delete(&adas, &request).await.unwrap();
    assert_eq!(reason(&get(&adas, &id).await.unwrap_err()), "NOT_FOUND");
    delete(&adas, &request).await.unwrap();
    let status = delete(&adas, &deletion(&id)).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND", "with another request id");

    let left = page(&adas, 0, "").await.unwrap().analyses;
    assert_eq!(left.iter().map(|one| &one.id).collect::<Vec<_>>(), [&other]);
    let mut conversation = adas.conversation();
    let messages = conversation.list_messages(ListMessagesRequest::default()).await;
    assert_eq!(messages.unwrap().into_inner().messages.len(), 25);
    let jobs = "SELECT count(*) FROM data.analysis_jobs WHERE user_id = $1 AND state = 'done'";
    let jobs: i64 = scalar_with(&stack.database, jobs, ada.id).await;
    assert_eq!(jobs, 2);
    assert_eq!(reason(&ask(&adas).await.unwrap_err()), "NOTHING_TO_ANALYZE");
}

#[tokio::test]
async fn a_request_id_is_bound_to_one_analysis() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let one = store_result(stack, &ada, (1, 1), &[]).await.to_string();
    let other = store_result(stack, &ada, (2, 2), &[]).await.to_string();
    let request = deletion(&one);
    delete(&client, &request).await.unwrap();
    let reused = DeleteAnalysisRequest {
        analysis_id: other.clone(),
        ..request.clone()
    };
    let status = delete(&client, &reused).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert!(get(&client, &other).await.is_ok());

    let status = delete(&client, &DeleteAnalysisRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let fields: Vec<_> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["request_id", "analysis_id"]);
}

#[tokio::test]
async fn one_of_fifty_concurrent_requests_deletes() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    // Every answer to fifty copies of a request is success.
    let id = store_result(stack, &ada, (1, 1), &[]).await.to_string();
    let request = deletion(&id);
    for answer in join_all((0..50).map(|_| delete(&client, &request))).await {
        answer.unwrap();
    }
    // Exactly one of fifty different requests succeeds.
    let id = store_result(stack, &ada, (2, 2), &[]).await.to_string();
    let answers = join_all((0..50).map(async |_| delete(&client, &deletion(&id)).await)).await;
    let (deleted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(deleted.len(), 1);
    for status in refused {
        assert_eq!(reason(&status.unwrap_err()), "NOT_FOUND");
    }
}
