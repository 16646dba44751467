//! From requests that end a lease to domain types. Everything that is wrong with a request is reported at once.

use haven_platform::{
    failure::{Failure, Violation},
    mac::MacKey,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, CompleteJobRequest, FailJobRequest};

use super::lease::lease;
use crate::{
    domain::{
        analysis::{AnalysisType, ChatScore},
        analysis_details::AnalysisDetails,
        error_code::ErrorCode,
        lease::Lease,
        milestone::Milestone,
    },
    store::request::RequestKey,
};

/// What a worker found.
#[derive(Debug)]
pub(in crate::rpc) struct CompleteJob {
    pub(in crate::rpc) lease: Lease,
    pub(in crate::rpc) analysis_type: AnalysisType,
    pub(in crate::rpc) chat_score: ChatScore,
    pub(in crate::rpc) details: AnalysisDetails,
    pub(in crate::rpc) triggered_milestone: Option<Milestone>,
    pub(in crate::rpc) request: RequestKey,
}

/// Why a worker found nothing.
#[derive(Debug)]
pub(in crate::rpc) struct FailJob {
    pub(in crate::rpc) lease: Lease,
    pub(in crate::rpc) error: ErrorCode,
    pub(in crate::rpc) request: RequestKey,
}

pub(in crate::rpc) fn complete_job(
    mut sent: CompleteJobRequest,
    requests: &MacKey,
) -> Result<CompleteJob, Failure> {
    let mut violations = Violations::new();
    let request = RequestKey::take(
        "CompleteJob",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut violations,
    );
    let lease = lease(sent.lease.as_ref(), &mut violations);
    let analysis_type = analysis_type(sent.analysis_type, &mut violations);
    let chat_score = i16::try_from(sent.chat_score_tenths)
        .ok()
        .and_then(ChatScore::new);
    if chat_score.is_none() {
        let description = "This has to be 0 to 140";
        violations.add(Violation::new("chat_score_tenths", "OUT_OF_RANGE", description));
    }
    let details = AnalysisDetails::parse(sent.insights, sent.strengths, sent.improvement_areas)
        .map_err(|broken| {
            violations.extend(
                broken
                    .into_iter()
                    .map(|one| Violation::new(one.field, one.problem.name(), one.problem.description())),
            );
        })
        .ok();
    let milestone =
        (!sent.triggered_milestone.is_empty()).then(|| Milestone::parse(sent.triggered_milestone));
    if milestone == Some(None) {
        let description = "A lower-case letter, then at most 62 lower-case letters, digits and underscores";
        violations.add(Violation::new("triggered_milestone", "NOT_A_NAME", description));
    }
    let known = lease.zip(analysis_type).zip(chat_score).zip(details);
    let (((lease, analysis_type), chat_score), details) = violations.finish(known)?;
    Ok(CompleteJob {
        lease,
        analysis_type,
        chat_score,
        details,
        triggered_milestone: milestone.flatten(),
        request,
    })
}

pub(in crate::rpc) fn fail_job(mut sent: FailJobRequest, requests: &MacKey) -> Result<FailJob, Failure> {
    let mut violations = Violations::new();
    let request = RequestKey::take(
        "FailJob",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut violations,
    );
    let lease = lease(sent.lease.as_ref(), &mut violations);
    let error = ErrorCode::parse(sent.error_code);
    if error.is_none() {
        let description = "An upper-case letter, then at most 62 upper-case letters, digits and underscores";
        violations.add(Violation::new("error_code", "NOT_A_NAME", description));
    }
    let (lease, error) = violations.finish(lease.zip(error))?;
    Ok(FailJob {
        lease,
        error,
        request,
    })
}

fn analysis_type(sent: i32, violations: &mut Violations) -> Option<AnalysisType> {
    match proto::AnalysisType::try_from(sent) {
        Ok(proto::AnalysisType::ChatScoring) => Some(AnalysisType::ChatScoring),
        Ok(proto::AnalysisType::MilestoneCheck) => Some(AnalysisType::MilestoneCheck),
        Ok(proto::AnalysisType::GraduationAssessment) => Some(AnalysisType::GraduationAssessment),
        Ok(proto::AnalysisType::CrisisReview) => Some(AnalysisType::CrisisReview),
        Ok(proto::AnalysisType::Unspecified) => {
            let description = "What it was for is required here";
            violations.add(Violation::new("analysis_type", "REQUIRED", description));
            None
        }
        Err(_) => {
            let description = "This has to be one of the enum's values";
            violations.add(Violation::new("analysis_type", "UNKNOWN_VALUE", description));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKey;
    use haven_proto::data::v1::JobLease;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn key() -> MacKey {
        MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests")
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
    fn everything_wrong_with_a_result_is_reported_at_once() {
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
        assert_eq!(violations(&complete_job(sent, &key()).unwrap_err()), expected);
        let failure = complete_job(CompleteJobRequest::default(), &key()).unwrap_err();
        let expected = [
            ("request_id", "REQUIRED"),
            ("lease", "REQUIRED"),
            ("analysis_type", "REQUIRED"),
        ];
        assert_eq!(violations(&failure), expected);
    }

    #[test]
    fn a_result_needs_no_words_and_no_milestone() {
        let result = complete_job(completion(), &key()).unwrap();
        assert_eq!(
            (result.chat_score.tenths(), result.triggered_milestone),
            (0, None)
        );
        let sent = CompleteJobRequest {
            chat_score_tenths: 140,
            triggered_milestone: "first_party".into(),
            ..completion()
        };
        let result = complete_job(sent, &key()).unwrap();
        assert_eq!(result.chat_score.tenths(), 140);
        assert_eq!(result.triggered_milestone.unwrap().as_str(), "first_party");
    }

    #[test]
    fn a_score_is_no_other_number() {
        for tenths in [i32::MIN, -1, 141, 65_536, i32::MAX] {
            let sent = CompleteJobRequest {
                chat_score_tenths: tenths,
                ..completion()
            };
            let failure = complete_job(sent, &key()).unwrap_err();
            assert_eq!(violations(&failure), [("chat_score_tenths", "OUT_OF_RANGE")]);
        }
    }

    #[test]
    fn everything_wrong_with_a_failure_is_reported_at_once() {
        let sent = FailJobRequest {
            lease: Some(JobLease::default()),
            error_code: "she said".into(),
            request_id: "x".into(),
        };
        let expected = [
            ("request_id", "NOT_A_UUID"),
            ("lease.user_id", "REQUIRED"),
            ("lease.job_id", "REQUIRED"),
            ("lease.lease_token", "REQUIRED"),
            ("lease.attempt", "OUT_OF_RANGE"),
            ("error_code", "NOT_A_NAME"),
        ];
        assert_eq!(violations(&fail_job(sent, &key()).unwrap_err()), expected);
    }

    #[test]
    fn a_request_is_known_by_all_of_its_content_but_its_id() {
        let mac = |sent| complete_job(sent, &key()).unwrap().request.payload_mac;
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
        let failed = fail_job(failure, &key()).unwrap();
        assert_eq!((failed.error.as_str(), failed.lease.attempt), ("MODEL_DOWN", 1));
        assert_ne!(first, failed.request.payload_mac);
    }
}
