//! CompleteJobs: stores the analyses of several leased jobs, each as CompleteJob does.

use std::ops::RangeInclusive;

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    handler::Handler,
    reason::Reason,
    violations::Violations,
};
use haven_proto::data::v1::{
    CompleteJobResponse, CompleteJobsRequest, CompleteJobsResponse, CompletionResult, CompletionViolation,
};

use super::{
    AnalysisQueueRpc,
    complete_job::{CompleteJob, completed, reason},
};

/// The numbers of jobs that one call may complete.
const COMPLETIONS: RangeInclusive<usize> = 1..=10;

/// The most violations of one completion that are in its result.
const MAX_VIOLATIONS: usize = 10;

impl Handler<CompleteJobsRequest> for AnalysisQueueRpc {
    type Answer = CompleteJobsResponse;

    async fn handle(
        &self,
        call: &Call,
        request: CompleteJobsRequest,
    ) -> Result<CompleteJobsResponse, Failure> {
        check_number(request.completions.len())?;
        let now = self.clock.now();
        let mut results = vec![CompletionResult::default(); request.completions.len()];
        // The valid ones, with their places.
        let (mut places, mut completions) = (Vec::new(), Vec::new());
        for (place, completion) in request.completions.into_iter().enumerate() {
            match CompleteJob::parse(completion, &self.requests) {
                Ok(parsed) => {
                    completions.push(parsed.seal(&self.keys, now)?);
                    places.push(place);
                }
                Err(failure) if failure.reason() == Reason::InvalidField => {
                    results[place] = invalid(failure.all_violations());
                }
                Err(failure) => return Err(failure),
            }
        }
        if !completions.is_empty() {
            let outcomes = self.queue.complete(&completions, now, call.deadline).await?;
            for ((place, completion), outcome) in places.into_iter().zip(&completions).zip(outcomes) {
                results[place] = match outcome {
                    Ok(stored_at) => done(completed(completion.lease.job, stored_at)),
                    Err(refusal) => refused(reason(refusal)),
                };
            }
        }
        Ok(CompleteJobsResponse { results })
    }
}

fn check_number(completions: usize) -> Result<(), Failure> {
    let mut violations = Violations::new();
    if completions == 0 {
        violations.required("completions");
    } else if !COMPLETIONS.contains(&completions) {
        let description = "completions must be 1 to 10";
        violations.add(Violation::new("completions", "TOO_MANY", description));
    }
    violations.check()
}

fn done(completed: CompleteJobResponse) -> CompletionResult {
    CompletionResult {
        completed: Some(completed),
        ..CompletionResult::default()
    }
}

fn refused(reason: Reason) -> CompletionResult {
    CompletionResult {
        reason: reason.into(),
        ..CompletionResult::default()
    }
}

fn invalid(violations: &[Violation]) -> CompletionResult {
    let violations = violations.iter().take(MAX_VIOLATIONS);
    CompletionResult {
        violations: violations
            .map(|violation| CompletionViolation {
                field: violation.field.clone(),
                name: violation.name.to_owned(),
                description: violation.description.to_string(),
            })
            .collect(),
        ..refused(Reason::InvalidField)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_one_to_ten_completions() {
        for (number, name) in [(0, "REQUIRED"), (11, "TOO_MANY")] {
            let failure = check_number(number).unwrap_err();
            let [violation] = failure.all_violations() else {
                panic!("{failure:?}");
            };
            assert_eq!((violation.field.as_str(), violation.name), ("completions", name));
        }
        assert!(check_number(1).is_ok() && check_number(10).is_ok());
    }

    #[test]
    fn a_result_has_ten_violations_at_most() {
        let violations: Vec<_> = (0..12)
            .map(|number| Violation::required(format!("insights[{number}]")))
            .collect();
        let result = invalid(&violations);
        assert_eq!(result.reason(), Reason::InvalidField);
        assert_eq!(result.violations.len(), MAX_VIOLATIONS);
        assert_eq!(result.violations[9].field, "insights[9]");
    }
}
