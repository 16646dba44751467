//! Each quota is reached, refuses more, and is named by the failure.

use futures_util::future::join_all;
use haven_data::domain::quota::{Quota, Quotas};
use haven_proto::data::v1::RequestAnalysisRequest;
use haven_testkit::{Stack, random};
use tonic::Status;
use tonic_types::StatusExt;
use uuid::Uuid;

use super::{SMALL, change, push, say, share_request, small_stack, update, usage};
use crate::{
    retry::retry_call,
    status::{metadata, reason},
    superuser_sql::{execute, execute_with},
    test_device::Device,
};

/// More calls than any of the small limits admits.
const MANY: usize = 40;

#[tokio::test]
async fn each_quota_refuses_more_than_its_limit_and_is_named() {
    let stack = small_stack().await;
    let limits: Quotas = SMALL.parse().unwrap();
    let limited = Quota::ALL
        .into_iter()
        .filter(|quota| quota.default_limit().is_some());
    let reached = join_all(limited.map(async |quota| {
        let device = Device::invent(&stack).await.unwrap();
        (
            quota,
            reach(&stack, &device, quota).await,
            usage(&device.client).await,
        )
    }));
    for (quota, refused, usage) in reached.await {
        let limit = limits.limit(quota).unwrap();
        assert_eq!(reason(&refused), "QUOTA_EXCEEDED", "{quota:?}: {refused:?}");
        assert_eq!(metadata(&refused, "quota"), quota.name());
        assert_eq!(metadata(&refused, "limit"), limit.to_string());
        let used: u64 = metadata(&refused, "used").parse().unwrap();
        assert_eq!(usage[quota.name()], (used, limit), "{quota:?}");
        let details = refused.get_error_details();
        let violations = &details.quota_failure().unwrap().violations;
        assert_eq!(violations[0].subject, quota.name());
        assert_eq!(
            violations[0].description,
            format!("At most {limit}, of which {used} are used")
        );
        // Bytes are used up in larger steps, and a full store of analyses or deleted ids is exceeded by other means.
        let is_exact = !quota.name().ends_with("_bytes") && quota != Quota::DeletedRecords;
        assert!(!is_exact || used == limit, "{quota:?}: {used} of {limit}");
    }
}

/// Calls as the person of `device` until `quota` refuses a call, and returns the failure. A new quota needs an arm.
async fn reach(stack: &Stack, device: &Device, quota: Quota) -> Status {
    let client = &device.client;
    let mut record = None;
    let mut text = None;
    let same: Vec<_> = (0..4)
        .map(|_| device.put(random::uuid(), 0, "content").unwrap())
        .collect();
    for number in 0..MANY {
        let outcome = match quota {
            Quota::Messages => say(client, "hello").await.map(drop),
            Quota::MessageBytes => say(client, &"hello ".repeat(200)).await.map(drop),
            Quota::CrisisEvents => panic!("crisis events have no limit"),
            Quota::AnalysisJobs | Quota::AnalysisBytes => {
                say(client, "hello").await.unwrap();
                let requested = request_analysis(device).await;
                let length = if quota == Quota::AnalysisBytes { 3995 } else { 95 };
                finish_jobs(stack, device, length).await;
                requested
            }
            Quota::Records => create(device, "content").await.map(drop),
            Quota::RecordBytes => create(device, &"content ".repeat(200)).await.map(drop),
            Quota::DeletedRecords => {
                let purged = "INSERT INTO data.purged_records (user_id, id) VALUES ($1, gen_random_uuid())";
                execute_with(&stack.database, purged, device.person.id).await;
                create(device, "content").await.map(drop)
            }
            Quota::Conflicts | Quota::ConflictBytes => {
                let id = match record {
                    Some(id) => id,
                    None => create(device, "content").await.unwrap(),
                };
                record = Some(id);
                let content = if quota == Quota::Conflicts {
                    "lost".into()
                } else {
                    "lost ".repeat(600)
                };
                push(device, vec![device.put(id, 0, &content).unwrap()])
                    .await
                    .map(drop)
            }
            Quota::Nonces => {
                let id = match record {
                    Some(id) => id,
                    None => create(device, "content").await.unwrap(),
                };
                record = Some(id);
                let request = device.update(id, number as i64 + 1, "content").unwrap();
                retry_call(request, async |request| {
                    client.cycle().update_record(request).await
                })
                .await
                .map(drop)
            }
            Quota::Shares | Quota::ShareBytes => {
                let content = if quota == Quota::Shares {
                    "shared".into()
                } else {
                    "shared ".repeat(250)
                };
                client
                    .share()
                    .create_share(share_request(device, &content))
                    .await
                    .map(drop)
            }
            Quota::Requests => {
                let seen = match text.take() {
                    Some(seen) => seen,
                    None => say(client, "hello").await.unwrap(),
                };
                update(client, change(&seen, "hello"))
                    .await
                    .map(|seen| text = Some(seen))
            }
            // The same changes again under another request id: they are applied already, and the answer names each.
            Quota::RequestBytes => push(device, same.clone()).await.map(drop),
        };
        if let Err(refused) = outcome {
            return refused;
        }
    }
    panic!("{quota:?} is not reached");
}

/// Stores a record, and returns its id.
async fn create(device: &Device, content: &str) -> Result<Uuid, Status> {
    let id = random::uuid();
    let request = device.create(id, content).unwrap();
    retry_call(request, async |request| {
        device.client.cycle().create_record(request).await
    })
    .await?;
    Ok(id)
}

async fn request_analysis(device: &Device) -> Result<(), Status> {
    let request = RequestAnalysisRequest {
        request_id: random::uuid().to_string(),
    };
    let requested = retry_call(request, async |request| {
        device.client.analysis().request_analysis(request).await
    });
    requested.await.map(drop)
}

/// Finishes all open jobs of the person, each with a result of about `length` bytes.
async fn finish_jobs(stack: &Stack, device: &Device, length: i32) {
    let open = "INSERT INTO data.analysis_results (user_id, id, analysis_type, chat_score, first_number, last_number,
            details, key_id, created_at)
        SELECT user_id, id, 'chat_scoring', 1, first_number, last_number, 'gAAAA' || repeat('A', LENGTH), 'test-1', now()
        FROM data.analysis_jobs WHERE user_id = 'PERSON' AND state = 'queued';
        UPDATE data.analysis_jobs SET state = 'done', finished_at = now() WHERE user_id = 'PERSON' AND state = 'queued'"
        .replace("LENGTH", &length.to_string())
        .replace("PERSON", &device.person.id.to_string());
    execute(&stack.database, &open).await;
}
