//! What a retry gets that does not get its first answer, and why.
//!
//! The one field of a first answer that a retry does not return is `Account.email` of UpdateAccount: it is the address at the time
//! of the retry, as a request does not keep the address.

use std::fmt;

use haven_platform::access::AccessTable;

use super::{change::Change, mutation::Mutation};

/// What a retry gets, and why it is not the first answer.
pub(super) enum Expected {
    /// The first answer.
    First,
    /// A failure with this reason.
    Refused(&'static str, &'static str),
    /// Another answer.
    Another(&'static str),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("the first answer"),
            Self::Refused(reason, why) => write!(f, "{reason}: {why}"),
            Self::Another(why) => write!(f, "another answer: {why}"),
        }
    }
}

/// Returns what a retry of `mutation` gets after `change`.
pub(super) fn expected(mutation: &Mutation, change: Change) -> Expected {
    match change {
        Change::Limits | Change::Policy | Change::Consents | Change::Keys | Change::Clock => Expected::First,
        Change::Enforcement => while_enforced(mutation),
        Change::Erasure => after_erasure(mutation),
    }
}

/// The retries are made with tokens that state the missing consents.
fn while_enforced(mutation: &Mutation) -> Expected {
    let (service, _) = mutation.rpc.split_once('/').unwrap();
    let table = AccessTable::read([haven_proto::FILE_DESCRIPTOR_SET], &[service]).unwrap();
    let exempt = table.find(&format!("/{}", mutation.rpc)).unwrap().despite_unmet;
    match mutation.is_by_person() && !exempt {
        true => Expected::Refused(
            "CONSENT_OUTDATED",
            "the token is refused, whatever the request is. After GrantConsent and RefreshSession the retry gets its first \
             answer",
        ),
        false => Expected::First,
    }
}

fn after_erasure(mutation: &Mutation) -> Expected {
    match mutation.name() {
        "AccountService/DeleteAccount"
        | "AccountService/DeleteAccount, by a service"
        | "PersonService/EraseUser" => Expected::First,
        "SessionService/SignIn" => Expected::Refused(
            "CREDENTIALS_INVALID",
            "the error does not tell whether the address ever had an account",
        ),
        "RecoveryService/CreatePasswordReset" => Expected::Another(
            "the address has no account any more, which the answer does not tell: the token is one that never works",
        ),
        "RecoveryService/ResetPassword"
        | "RecoveryService/VerifyEmail"
        | "RecoveryService/ConfirmEmailChange"
        | "RecoveryService/UndoEmailChange" => Expected::Refused(
            "RECOVERY_TOKEN_INVALID",
            "the token, and the request, are gone with their person",
        ),
        "AnalysisService/DeleteAnalysis"
        | "ConversationService/DeleteMessage"
        | "ConversationService/UpdateMessage" => {
            Expected::Refused("NOT_FOUND", "nothing of the person is left to change")
        }
        "PersonService/LockUser" => Expected::Refused("NOT_FOUND", "nothing is left to lock"),
        "AnalysisQueueService/LeaseJobs" => Expected::Another("the jobs are gone with their person"),
        "AnalysisQueueService/CompleteJob" | "AnalysisQueueService/FailJob" => Expected::Refused(
            "LEASE_LOST",
            "the job, and the request, are gone with their person",
        ),
        "AnalysisQueueService/CompleteJobs" => Expected::Another(
            "its result is LEASE_LOST: the job, and the request, are gone with their person",
        ),
        "AnalysisQueueService/RequeueJob" => Expected::Refused(
            "NOT_FOUND",
            "the job, and the request, are gone with their person",
        ),
        _ => Expected::Refused("ACCOUNT_ERASED", "the answers are gone with the person"),
    }
}
