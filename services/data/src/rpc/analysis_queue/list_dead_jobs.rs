//! ListDeadJobs: reads the dead jobs of all people by pages, the longest dead first, for operators.

use chrono::DateTime;
use haven_platform::{
    call::Call, failure::Failure, handler::Handler, page::PageSize, reason::Reason, time::timestamp,
};
use haven_proto::data::v1::{self as proto, DeadJobCause, ListDeadJobsRequest, ListDeadJobsResponse};
use uuid::Uuid;

use super::AnalysisQueueRpc;
use crate::{
    domain::job::{DeadJob, DeathCause},
    rpc::{NO_USER, calling_service},
    store::analysis_queue::DeadJobCursor,
};

/// The size of a cursor in bytes: microseconds since 1970 (8, big-endian), the person's id (16), the job's id (16).
const CURSOR_BYTES: usize = 40;

impl Handler<ListDeadJobsRequest> for AnalysisQueueRpc {
    type Answer = ListDeadJobsResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ListDeadJobsRequest,
    ) -> Result<ListDeadJobsResponse, Failure> {
        let list = list_bytes(calling_service(call)?.as_str());
        let size = PageSize::parse_alone(request.page_size)?;
        let after = self.pages.cursor(NO_USER, &list, &request.page_token)?;
        let after = after.map(cursor_from_bytes).transpose()?;
        let page = self.queue.list_dead(after, size, call.deadline).await?;
        let next_page_token = self.pages.next(NO_USER, &list, &page, cursor_to_bytes);
        Ok(ListDeadJobsResponse {
            jobs: page.items.into_iter().map(dead_job_to_proto).collect(),
            next_page_token,
        })
    }
}

/// Returns the bytes that must be the same on each page. The service's name is last, because its length is not fixed.
fn list_bytes(service: &str) -> Vec<u8> {
    [b"ListDeadJobs", service.as_bytes()].concat()
}

/// Returns the cursor of `job`, for a page token.
fn cursor_to_bytes(job: &DeadJob) -> [u8; CURSOR_BYTES] {
    let mut bytes = [0; CURSOR_BYTES];
    bytes[..8].copy_from_slice(&job.died_at.timestamp_micros().to_be_bytes());
    bytes[8..24].copy_from_slice(job.person.as_uuid().as_bytes());
    bytes[24..].copy_from_slice(job.id.as_bytes());
    bytes
}

/// Returns the cursor that [`cursor_to_bytes`] wrote.
///
/// # Errors
///
/// PAGE_TOKEN_INVALID when the time cannot be represented.
fn cursor_from_bytes(bytes: [u8; CURSOR_BYTES]) -> Result<DeadJobCursor, Failure> {
    let cursor = bytes.split_first_chunk().and_then(|(micros, ids)| {
        let (person, id) = ids.split_at_checked(16)?;
        Some(DeadJobCursor {
            died_at: DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?,
            person: Uuid::from_slice(person).ok()?,
            id: Uuid::from_slice(id).ok()?,
        })
    });
    cursor.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

/// Converts a dead job to the response message.
fn dead_job_to_proto(job: DeadJob) -> proto::DeadJob {
    proto::DeadJob {
        user_id: job.person.to_string(),
        job_id: job.id.to_string(),
        first_number: job.range.first.get(),
        last_number: job.range.last.get(),
        attempts: job.attempts.into(),
        error_code: job.error,
        create_time: Some(timestamp(job.created_at)),
        dead_time: Some(timestamp(job.died_at)),
        cause: match job.cause {
            DeathCause::FailedAttempts => DeadJobCause::FailedAttempts,
            DeathCause::LostLeases => DeadJobCause::LostLeases,
        }
        .into(),
        lost_leases: job.lost_leases.into(),
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::call::UserId;

    use super::*;
    use crate::domain::message::{MessageNumber, MessageRange};

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let number = MessageNumber::new(1).unwrap();
        let job = DeadJob {
            person: UserId::new(Uuid::from_u128(1)),
            id: Uuid::from_u128(2),
            range: MessageRange {
                first: number,
                last: number,
            },
            attempts: 3,
            lost_leases: 0,
            cause: DeathCause::FailedAttempts,
            error: "MODEL_DOWN".into(),
            created_at: DateTime::UNIX_EPOCH,
            died_at: DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap(),
        };
        let expected = DeadJobCursor {
            died_at: job.died_at,
            person: *job.person.as_uuid(),
            id: job.id,
        };
        assert_eq!(cursor_from_bytes(cursor_to_bytes(&job)).unwrap(), expected);
        // A time out of range is rejected.
        assert!(cursor_from_bytes([0x7f; 40]).is_err());
        assert_ne!(list_bytes("backend"), list_bytes("data"));
    }
}
