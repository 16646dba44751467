//! Quotas: what each person may store, the rate limit of their mutations, and GetUsage.

mod analyses;
mod cost;
mod counters;
mod each_quota;
mod early_refusals;
mod exports;
mod full_person;
mod get_usage;
mod mutation_limit;
mod nonces;
mod owners_means;

use std::collections::BTreeMap;

use chrono::{TimeDelta, Utc};
use haven_proto::data::v1::{
    AppendMessageRequest, Change, CreateShareRequest, EncryptionAlgorithm, GetUsageRequest, Message,
    PushChangesRequest, PushMode, SenderType, UpdateMessageRequest,
};
use haven_testkit::{
    Client, Stack,
    encryption::{ContentBinding, Kind},
    random,
};
use tonic::Status;

use crate::{
    retry::retry_call,
    test_device::{Device, at},
};

/// Limits that a test reaches with few calls, of which each is reached without reaching another one first.
const SMALL: &str = "messages=6,message_bytes=4000,analysis_jobs=3,analysis_bytes=4000,records=4,\
    record_bytes=4000,deleted_records=1,conflicts=2,conflict_bytes=4000,nonces=12,shares=3,share_bytes=4000,requests=30,\
    request_bytes=7000";

/// Starts both services with small limits.
async fn small_stack() -> Stack {
    Stack::builder()
        .variable("data", "QUOTAS", SMALL)
        .start()
        .await
        .unwrap()
}

fn message(sender: SenderType, text: &str) -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: sender.into(),
        text: text.into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

async fn append(client: &Client, request: AppendMessageRequest) -> Result<Message, Status> {
    let mut conversation = client.conversation();
    let answer = retry_call(request, async |request| {
        conversation.append_message(request).await
    })
    .await?;
    Ok(answer.message.unwrap())
}

async fn say(client: &Client, text: &str) -> Result<Message, Status> {
    append(client, message(SenderType::User, text)).await
}

fn change(message: &Message, text: &str) -> UpdateMessageRequest {
    UpdateMessageRequest {
        message_id: message.id.clone(),
        text: text.into(),
        expected_version: message.version,
        request_id: random::uuid().to_string(),
    }
}

async fn update(client: &Client, request: UpdateMessageRequest) -> Result<Message, Status> {
    let mut conversation = client.conversation();
    let answer = retry_call(request, async |request| {
        conversation.update_message(request).await
    })
    .await?;
    Ok(answer.message.unwrap())
}

async fn push(device: &Device, changes: Vec<Change>) -> Result<Vec<i32>, Status> {
    let request = PushChangesRequest {
        device_id: device.id.to_string(),
        changes,
        mode: PushMode::Independent.into(),
        request_id: random::uuid().to_string(),
    };
    let mut cycle = device.client.cycle();
    let answer = retry_call(request, async |request| cycle.push_changes(request).await).await?;
    Ok(answer.results.iter().map(|result| result.outcome).collect())
}

fn share_request(device: &Device, content: &str) -> CreateShareRequest {
    let share = random::uuid();
    let binding = ContentBinding {
        kind: Kind::Share,
        user_id: device.person.id,
        record_id: share,
        version: 1,
    };
    let algorithm = EncryptionAlgorithm::Xchacha20Poly1305;
    let sealed = device
        .secret
        .seal(content.as_bytes(), binding, algorithm, random::uuid(), 1);
    let (encrypted_share_data, envelope) = sealed.unwrap();
    CreateShareRequest {
        share_id: share.to_string(),
        encrypted_share_data,
        crypto_envelope: Some(envelope),
        expire_time: Some(at(Utc::now() + TimeDelta::hours(1))),
        max_access_count: 1,
        passcode: String::new(),
        request_id: random::uuid().to_string(),
    }
}

/// Returns what the person of `client` uses, and the limit, for each quota.
async fn usage(client: &Client) -> BTreeMap<String, (u64, u64)> {
    let answer = client.person().get_usage(GetUsageRequest::default()).await;
    let quotas = answer.unwrap().into_inner().quotas;
    quotas
        .into_iter()
        .map(|one| (one.quota, (one.used, one.limit)))
        .collect()
}
