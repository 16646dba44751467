//! ListDeadJobs and RequeueJob: what operators do about jobs that were given up.

use chrono::DateTime;
use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    mac::MacKey,
    page::PageSize,
    reason::Reason,
    time::timestamp,
    violations::Violations,
};
use haven_proto::data::v1::{
    self as proto, ListDeadJobsRequest, ListDeadJobsResponse, RequeueJobRequest, RequeueJobResponse,
};
use uuid::Uuid;

use super::super::{DataRpc, NOBODY, analysis, caller_service};
use crate::store::{
    analysis_queue::list_dead_jobs::{DeadJob, DeadPlace, RequeueError},
    request::RequestKey,
};

/// Which job somebody wants to be tried again.
#[derive(Debug)]
struct Requeue {
    person: UserId,
    job: Uuid,
    request: RequestKey,
}

impl DataRpc {
    pub(in crate::rpc) async fn list_dead_jobs_of(
        &self,
        call: &Call,
        request: ListDeadJobsRequest,
    ) -> Result<ListDeadJobsResponse, Failure> {
        let list = list_of(caller_service(call)?.as_str());
        let size = PageSize::parse_alone(request.page_size)?;
        let after = self.pages.cursor(NOBODY, &list, &request.page_token)?;
        let after = after.map(place).transpose()?;
        let page = self.queue.dead(after, size, call.deadline).await?;
        let last = page.jobs.last().filter(|_| page.more);
        let next_page_token = last.map(|last| self.pages.seal(NOBODY, &list, &cursor(last)));
        Ok(ListDeadJobsResponse {
            jobs: page.jobs.into_iter().map(answer).collect(),
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }

    pub(in crate::rpc) async fn requeue_job_of(
        &self,
        call: &Call,
        request: RequeueJobRequest,
    ) -> Result<RequeueJobResponse, Failure> {
        let Requeue { person, job, request } = parse(request, &self.requests)?;
        let job = self
            .queue
            .requeue(person, job, request, self.clock.now(), call.deadline)
            .await?;
        self.new_jobs.notify();
        Ok(RequeueJobResponse {
            job: Some(analysis::job(&job)),
        })
    }
}

impl From<RequeueError> for Failure {
    fn from(error: RequeueError) -> Self {
        match error {
            RequeueError::NotFound => Self::new(Reason::NotFound),
            RequeueError::RequestIdReused => Self::new(Reason::RequestIdReused),
            RequeueError::Database(error) => error.into(),
        }
    }
}

fn parse(mut sent: RequeueJobRequest, requests: &MacKey) -> Result<Requeue, Failure> {
    let mut violations = Violations::new();
    let request = RequestKey::take(
        "RequeueJob",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut violations,
    );
    let person = violations.uuid("user_id", &sent.user_id);
    let job = violations.uuid("job_id", &sent.job_id);
    violations.check()?;
    Ok(Requeue {
        person: UserId::new(person),
        job,
        request,
    })
}

/// What has to be the same from page to page. The service's name, which is as long as it likes, is last.
fn list_of(service: &str) -> Vec<u8> {
    [b"ListDeadJobs", service.as_bytes()].concat()
}

fn cursor(job: &DeadJob) -> Vec<u8> {
    let micros = job.died_at.timestamp_micros().to_be_bytes();
    [
        micros.as_slice(),
        job.person.as_uuid().as_bytes(),
        job.id.as_bytes(),
    ]
    .concat()
}

/// The place that a page token holds.
fn place(cursor: [u8; 40]) -> Result<DeadPlace, Failure> {
    let place = cursor.split_first_chunk().and_then(|(micros, ids)| {
        let (person, id) = ids.split_at_checked(16)?;
        Some(DeadPlace {
            died_at: DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?,
            person: Uuid::from_slice(person).ok()?,
            id: Uuid::from_slice(id).ok()?,
        })
    });
    place.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

fn answer(job: DeadJob) -> proto::DeadJob {
    proto::DeadJob {
        user_id: job.person.to_string(),
        job_id: job.id.to_string(),
        first_number: job.range.first.get(),
        last_number: job.range.last.get(),
        attempts: job.attempts.into(),
        error_code: job.error,
        create_time: Some(timestamp(job.created_at)),
        dead_time: Some(timestamp(job.died_at)),
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKey;

    use super::*;
    use crate::domain::{analysis::MessageRange, message::MessageNumber};

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn key() -> MacKey {
        MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests")
    }

    #[test]
    fn all_three_ids_are_needed() {
        let failure = parse(RequeueJobRequest::default(), &key()).unwrap_err();
        let found: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|one| (one.field.as_str(), one.name))
            .collect();
        let expected = ["request_id", "user_id", "job_id"].map(|field| (field, "REQUIRED"));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_request_is_known_by_its_content() {
        let mac = |job: u128, request: u128| {
            let sent = RequeueJobRequest {
                user_id: ID.into(),
                job_id: Uuid::from_u128(job).to_string(),
                request_id: Uuid::from_u128(request).to_string(),
            };
            parse(sent, &key()).unwrap().request.payload_mac
        };
        assert_eq!(mac(1, 1), mac(1, 2));
        assert_ne!(mac(1, 1), mac(2, 1));
    }

    #[test]
    fn a_page_token_leads_behind_its_job() {
        let number = MessageNumber::new(1).unwrap();
        let job = DeadJob {
            person: UserId::new(Uuid::from_u128(1)),
            id: Uuid::from_u128(2),
            range: MessageRange {
                first: number,
                last: number,
            },
            attempts: 3,
            error: "MODEL_DOWN".into(),
            created_at: DateTime::UNIX_EPOCH,
            died_at: DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap(),
        };
        let expected = DeadPlace {
            died_at: job.died_at,
            person: *job.person.as_uuid(),
            id: job.id,
        };
        assert_eq!(place(cursor(&job).try_into().unwrap()).unwrap(), expected);
        // A time that cannot be is left to refuse.
        assert!(place([0x7f; 40]).is_err());
        assert_ne!(list_of("backend"), list_of("data"));
    }
}
