//! CompleteJob: stores the analysis that a worker made of a leased job.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    handler::Handler,
    mac::MacKeys,
    reason::Reason,
    request_key::RequestKey,
    time::timestamp,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, CompleteJobRequest, CompleteJobResponse};
use uuid::Uuid;

use super::{AnalysisQueueRpc, lease::parse_lease};
use crate::domain::{
    analysis::{self, AnalysisType, ChatScore, NewAnalysis},
    analysis_details::AnalysisDetails,
    completion::{Completion, CompletionRefusal},
    key_ring::KeyRing,
    lease::Lease,
    milestone::Milestone,
};

/// The parsed [`CompleteJobRequest`].
#[derive(Debug)]
pub(super) struct CompleteJob {
    lease: Lease,
    analysis_type: AnalysisType,
    chat_score: ChatScore,
    details: AnalysisDetails,
    triggered_milestone: Option<Milestone>,
    request: RequestKey,
}

impl Handler<CompleteJobRequest> for AnalysisQueueRpc {
    type Answer = CompleteJobResponse;

    async fn handle(&self, call: &Call, request: CompleteJobRequest) -> Result<CompleteJobResponse, Failure> {
        let now = self.clock.now();
        let completion = CompleteJob::parse(request, &self.requests)?.seal(&self.keys, now)?;
        let job = completion.lease.job;
        let outcomes = self.queue.complete(&[completion], now, call.deadline).await?;
        let outcome = outcomes
            .first()
            .ok_or_else(|| Failure::internal("a completion without an outcome"))?;
        let stored_at = outcome.map_err(|refusal| Failure::new(reason(refusal)))?;
        Ok(completed(job, stored_at))
    }
}

/// Returns the response for a job that is completed.
pub(super) fn completed(job: Uuid, stored_at: DateTime<Utc>) -> CompleteJobResponse {
    CompleteJobResponse {
        analysis_id: job.to_string(),
        create_time: Some(timestamp(stored_at)),
    }
}

/// Returns the published reason of `refusal`.
pub(super) fn reason(refusal: CompletionRefusal) -> Reason {
    match refusal {
        CompletionRefusal::LeaseLost => Reason::LeaseLost,
        CompletionRefusal::RequestIdReused => Reason::RequestIdReused,
        CompletionRefusal::Busy => Reason::DependencyUnavailable,
    }
}

impl CompleteJob {
    /// Parses `request`, also one that is part of CompleteJobs: both have the same key, so that either retries the other.
    pub(super) fn parse(mut request: CompleteJobRequest, requests: &MacKeys) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let key = RequestKey::take(
            "CompleteJob",
            &mut request,
            |request| &mut request.request_id,
            requests,
            &mut violations,
        );
        let lease = parse_lease(request.lease.as_ref(), &mut violations);
        let analysis_type = parse_analysis_type(request.analysis_type)
            .map_err(|violation| violations.add(violation))
            .ok();
        let chat_score = i16::try_from(request.chat_score_tenths)
            .ok()
            .and_then(ChatScore::new);
        if chat_score.is_none() {
            let description = "chat_score_tenths must be 0 to 140";
            violations.add(Violation::new("chat_score_tenths", "OUT_OF_RANGE", description));
        }
        let details = AnalysisDetails::parse(request.insights, request.strengths, request.improvement_areas)
            .map_err(|broken| {
                violations.extend(
                    broken
                        .into_iter()
                        .map(|one| Violation::new(one.field, one.problem.name(), one.problem.description())),
                );
            })
            .ok();
        let milestone =
            (!request.triggered_milestone.is_empty()).then(|| Milestone::parse(request.triggered_milestone));
        if milestone == Some(None) {
            let description = "triggered_milestone must be a lower-case letter, followed by at most 62 lower-case letters, \
                digits and underscores";
            violations.add(Violation::new("triggered_milestone", "NOT_A_NAME", description));
        }
        let parsed = lease.zip(analysis_type).zip(chat_score).zip(details);
        let (((lease, analysis_type), chat_score), details) = violations.finish(parsed)?;
        Ok(Self {
            lease,
            analysis_type,
            chat_score,
            details,
            triggered_milestone: milestone.flatten(),
            request: key,
        })
    }

    /// Seals the details of the analysis.
    pub(super) fn seal(self, keys: &KeyRing, at: DateTime<Utc>) -> Result<Completion, Failure> {
        let cell = analysis::cell(self.lease.person, self.lease.job);
        let details = self.details.seal(keys, cell, at).map_err(Failure::internal)?;
        Ok(Completion {
            lease: self.lease,
            analysis: NewAnalysis {
                analysis_type: self.analysis_type,
                chat_score: self.chat_score,
                details,
                triggered_milestone: self.triggered_milestone,
            },
            request: self.request,
        })
    }
}

/// Parses the value of an analysis_type field.
fn parse_analysis_type(value: i32) -> Result<AnalysisType, Violation> {
    match proto::AnalysisType::try_from(value) {
        Ok(proto::AnalysisType::ChatScoring) => Ok(AnalysisType::ChatScoring),
        Ok(proto::AnalysisType::MilestoneCheck) => Ok(AnalysisType::MilestoneCheck),
        Ok(proto::AnalysisType::GraduationAssessment) => Ok(AnalysisType::GraduationAssessment),
        Ok(proto::AnalysisType::CrisisReview) => Ok(AnalysisType::CrisisReview),
        Ok(proto::AnalysisType::Unspecified) => Err(Violation::required("analysis_type")),
        Err(_) => Err(Violation::unknown_value("analysis_type")),
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKeys;
    use haven_proto::data::v1::{FailJobRequest, JobLease};

    use super::*;
    use crate::rpc::analysis_queue::fail_job::FailJob;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn key() -> MacKeys {
        MacKeys::derive(&SecretKeys::one([7; 32]), "requests")
    }

    fn lease() -> JobLease {
        JobLease {
            user_id: ID.into(),
            job_id: ID.into(),
            lease_token: ID.into(),
            attempt: 1,
        }
    }

    fn completion() -> CompleteJobRequest {
        CompleteJobRequest {
            lease: Some(lease()),
            analysis_type: proto::AnalysisType::ChatScoring.into(),
            request_id: ID.into(),
            ..Default::default()
        }
    }

    fn violations(failure: &Failure) -> Vec<(&str, &str)> {
        let all = failure.all_violations().iter();
        all.map(|one| (one.field.as_str(), one.name)).collect()
    }

    #[test]
    fn all_violations_are_reported_at_once() {
        let sent = CompleteJobRequest {
            lease: None,
            analysis_type: 99,
            chat_score_tenths: 141,
            insights: vec!["a".into(), String::new()],
            strengths: vec!["a".into(); 11],
            improvement_areas: vec!["a".repeat(501)],
            triggered_milestone: "First party".into(),
            request_id: String::new(),
        };
        let expected = [
            ("request_id", "REQUIRED"),
            ("lease", "REQUIRED"),
            ("analysis_type", "UNKNOWN_VALUE"),
            ("chat_score_tenths", "OUT_OF_RANGE"),
            ("insights[1]", "ITEM_EMPTY"),
            ("strengths", "TOO_MANY"),
            ("improvement_areas[0]", "ITEM_TOO_LONG"),
            ("triggered_milestone", "NOT_A_NAME"),
        ];
        assert_eq!(
            violations(&CompleteJob::parse(sent, &key()).unwrap_err()),
            expected
        );
        let failure = CompleteJob::parse(CompleteJobRequest::default(), &key()).unwrap_err();
        let expected = [
            ("request_id", "REQUIRED"),
            ("lease", "REQUIRED"),
            ("analysis_type", "REQUIRED"),
        ];
        assert_eq!(violations(&failure), expected);
    }

    #[test]
    fn details_and_milestone_are_optional() {
        let result = CompleteJob::parse(completion(), &key()).unwrap();
        assert_eq!(
            (result.chat_score.tenths(), result.triggered_milestone),
            (0, None)
        );
        let sent = CompleteJobRequest {
            chat_score_tenths: 140,
            triggered_milestone: "first_party".into(),
            ..completion()
        };
        let result = CompleteJob::parse(sent, &key()).unwrap();
        assert_eq!(result.chat_score.tenths(), 140);
        assert_eq!(result.triggered_milestone.unwrap().as_str(), "first_party");
    }

    #[test]
    fn a_score_out_of_range_is_rejected() {
        for tenths in [i32::MIN, -1, 141, 65_536, i32::MAX] {
            let sent = CompleteJobRequest {
                chat_score_tenths: tenths,
                ..completion()
            };
            let failure = CompleteJob::parse(sent, &key()).unwrap_err();
            assert_eq!(violations(&failure), [("chat_score_tenths", "OUT_OF_RANGE")]);
        }
    }

    #[test]
    fn a_payload_hash_covers_the_method_and_all_fields_but_the_request_id() {
        let mac = |sent| CompleteJob::parse(sent, &key()).unwrap().request.payload_macs;
        let first = mac(completion());
        let with_another_id = CompleteJobRequest {
            request_id: OTHER_ID.into(),
            ..completion()
        };
        assert_eq!(first, mac(with_another_id));
        let others = [
            CompleteJobRequest {
                chat_score_tenths: 1,
                ..completion()
            },
            CompleteJobRequest {
                insights: vec!["a".into()],
                ..completion()
            },
            CompleteJobRequest {
                strengths: vec!["a".into()],
                ..completion()
            },
            CompleteJobRequest {
                lease: Some(JobLease {
                    attempt: 2,
                    ..lease()
                }),
                ..completion()
            },
        ];
        for other in others {
            assert_ne!(first, mac(other.clone()), "{other:?}");
        }
        let failure = FailJobRequest {
            lease: Some(lease()),
            error_code: "MODEL_DOWN".into(),
            request_id: ID.into(),
        };
        let failed = FailJob::parse(failure, &key()).unwrap();
        assert_eq!((failed.error.as_str(), failed.lease.attempt), ("MODEL_DOWN", 1));
        assert_ne!(first, failed.request.payload_macs);
    }
}
