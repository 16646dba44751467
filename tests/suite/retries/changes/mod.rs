//! The ratchet of retries: every mutation with a `request_id` is retried, byte for byte, after each kind of change that can
//! happen in between, and gets its first answer. The exceptions are in [`expected`](mod@expected), with what a client sees and
//! why.
//!
//! The changes add up: what is retried last is retried after all of them.

mod change;
mod expected;
mod mutation;

use haven_testkit::Stack;

use self::{
    change::Change,
    expected::{Expected, expected},
    mutation::{Mutation, Outcome, mutations},
};
use crate::packages;

#[tokio::test]
async fn a_retry_gets_the_first_answer_whatever_changed_in_between() {
    let Some(faketime) = packages::require(&["libfaketime"]) else {
        return;
    };
    let mut stack = Stack::start().await.unwrap();
    let mut made = Vec::new();
    for (rpc, as_service) in mutations() {
        made.push(Mutation::make(&stack, rpc, as_service).await);
    }
    let mut failures = Vec::new();
    for change in Change::ALL {
        change.make(&mut stack, &faketime, &mut made).await;
        let (mut first, mut others) = (0, Vec::new());
        for mutation in &made {
            let (found, expected) = (mutation.retry(&stack).await, expected(mutation, change));
            if !expected.admits(&found) {
                let failure = format!(
                    "{} after {change:?}: {found:?}, expected {expected}",
                    mutation.name()
                );
                eprintln!("{failure}");
                failures.push(failure);
            }
            match found {
                Outcome::First => first += 1,
                _ => others.push(format!("  {}: {expected}", mutation.name())),
            }
        }
        println!("{change:?}: {} retries, {first} first answers", made.len());
        println!("{}", others.join("\n"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

impl Expected {
    /// Returns whether a retry may have this outcome.
    fn admits(&self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::First, Outcome::First) | (Self::Another(_), Outcome::Another) => true,
            (Self::Refused(reason, _), Outcome::Refused(found)) => reason == found,
            _ => false,
        }
    }
}
