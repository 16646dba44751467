//! Analyses, as the person sees them whose messages they are about.

mod concurrent_requests;
mod delete_analysis;
mod erased_people;
mod get_analysis;
mod request_analysis;
mod stored_result;

use haven_proto::data::v1::{
    Analysis, AnalysisJob, AnalysisJobState, AppendMessageRequest, GetAnalysisRequest, ListAnalysesRequest,
    ListAnalysesResponse, Message, RequestAnalysisRequest, SenderType,
};
use haven_testkit::{Client, Stack, random};
use tonic::Status;

use crate::{retry::retry_call, superuser_sql::execute};

/// Says something, as `sender`.
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

/// Says so many things, one after the other. Answers the last.
async fn say(client: &Client, times: usize) -> Option<Message> {
    let mut last = None;
    for _ in 0..times {
        last = Some(say_as(client, SenderType::User).await.unwrap());
    }
    last
}

fn wish() -> RequestAnalysisRequest {
    RequestAnalysisRequest {
        request_id: random::uuid().to_string(),
    }
}

async fn ask_with(client: &Client, wish: &RequestAnalysisRequest) -> Result<AnalysisJob, Status> {
    let mut analyses = client.analysis();
    let answer = retry_call(wish.clone(), async |wish| analyses.request_analysis(wish).await);
    Ok(answer.await?.job.unwrap())
}

/// Asks for an analysis, under a new request id.
async fn ask(client: &Client) -> Result<AnalysisJob, Status> {
    ask_with(client, &wish()).await
}

async fn get(client: &Client, id: &str) -> Result<Analysis, Status> {
    let request = GetAnalysisRequest {
        analysis_id: id.to_owned(),
    };
    let answer = client.analysis().get_analysis(request).await?;
    Ok(answer.into_inner().analysis.unwrap())
}

async fn page(client: &Client, size: i32, token: &str) -> Result<ListAnalysesResponse, Status> {
    let request = ListAnalysesRequest {
        page_size: size,
        page_token: token.to_owned(),
    };
    Ok(client.analysis().list_analyses(request).await?.into_inner())
}

fn range(job: &AnalysisJob) -> (i64, i64) {
    (job.first_number, job.last_number)
}

/// Puts a job into a state, as workers do.
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
        _ => panic!("{state:?} is not what workers make of a job"),
    };
    let update = format!("UPDATE data.analysis_jobs SET {change} WHERE id = '{}'", job.id);
    execute(&stack.database, &update).await;
}
