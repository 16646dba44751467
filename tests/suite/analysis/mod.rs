//! `haven.data.v1.AnalysisService`: people request, read and delete analyses of their messages.

mod concurrent_requests;
mod delete_analysis;
mod erased_people;
mod get_analysis;
mod list_analyses;
mod request_analysis;
mod stored_result;

use haven_proto::data::v1::{
    Analysis, AnalysisJob, AnalysisJobState, AppendMessageRequest, GetAnalysisRequest, ListAnalysesRequest,
    ListAnalysesResponse, Message, RequestAnalysisRequest, SenderType,
};
use haven_testkit::{Client, Stack, random};
use tonic::Status;

use crate::{retry::retry_call, superuser_sql::execute};

/// Appends a message of `sender`.
async fn say_as(client: &Client, sender: SenderType) -> Result<Message, Status> {
    let request = AppendMessageRequest {
        sender_type: sender.into(),
        text: "something".into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    let mut conversation = client.conversation();
    let answer = retry_call(request, async |request| {
        conversation.append_message(request).await
    });
    Ok(answer.await?.message.unwrap())
}

/// Appends `times` messages of the person, one after the other. Returns the last.
async fn say(client: &Client, times: usize) -> Option<Message> {
    let mut last = None;
    for _ in 0..times {
        last = Some(say_as(client, SenderType::User).await.unwrap());
    }
    last
}

/// Returns a request for an analysis, with a new request id.
fn new_request() -> RequestAnalysisRequest {
    RequestAnalysisRequest {
        request_id: random::uuid().to_string(),
    }
}

/// Sends a request for an analysis, with retries.
async fn ask_with(client: &Client, request: &RequestAnalysisRequest) -> Result<AnalysisJob, Status> {
    let mut analyses = client.analysis();
    let answer = retry_call(request.clone(), async |request| {
        analyses.request_analysis(request).await
    });
    Ok(answer.await?.job.unwrap())
}

/// Requests an analysis with a new request id.
async fn ask(client: &Client) -> Result<AnalysisJob, Status> {
    ask_with(client, &new_request()).await
}

/// Returns the analysis with `id`.
async fn get(client: &Client, id: &str) -> Result<Analysis, Status> {
    let request = GetAnalysisRequest {
        analysis_id: id.to_owned(),
    };
    let answer = client.analysis().get_analysis(request).await?;
    Ok(answer.into_inner().analysis.unwrap())
}

/// Returns a page of the client's analyses.
async fn page(client: &Client, size: i32, token: &str) -> Result<ListAnalysesResponse, Status> {
    let request = ListAnalysesRequest {
        page_size: size,
        page_token: token.to_owned(),
    };
    Ok(client.analysis().list_analyses(request).await?.into_inner())
}

/// Returns the numbers of the first and the last message that the job covers.
fn range(job: &AnalysisJob) -> (i64, i64) {
    (job.first_number, job.last_number)
}

/// Puts a job into the state that a worker would put it into, by SQL.
async fn put(stack: &Stack, job: &AnalysisJob, state: AnalysisJobState) {
    let change = match state {
        AnalysisJobState::Leased => {
            "state = 'leased', attempts = 1, lease_token = gen_random_uuid(), lease_holder = 'worker',
             lease_expires_at = now() + interval '1 hour'"
        }
        AnalysisJobState::Done => {
            "state = 'done', finished_at = now(), lease_token = NULL, lease_holder = NULL,
             lease_expires_at = NULL"
        }
        AnalysisJobState::Dead => {
            "state = 'dead', finished_at = now(), lease_token = NULL, lease_holder = NULL,
             lease_expires_at = NULL"
        }
        _ => panic!("workers do not put jobs into {state:?}"),
    };
    let update = format!("UPDATE data.analysis_jobs SET {change} WHERE id = '{}'", job.id);
    execute(&stack.database, &update).await;
}
