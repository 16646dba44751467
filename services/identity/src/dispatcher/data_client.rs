//! The service data, as it is told of people.

use haven_platform::{
    client::outgoing,
    deadline::Deadline,
    reason::{self, Reason},
    time::Clock,
};
use haven_proto::data::v1::{
    EraseUserRequest, EraseUserResponse, ProvisionUserRequest, person_service_client::PersonServiceClient,
};
use tokio::time::timeout_at;
use tonic::{Code, Response, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::domain::{
    erasure::Receipt,
    outbox::{Message, MessageKind},
};

/// A connection to data. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Data {
    people: PersonServiceClient<Channel>,
    clock: Clock,
}

/// What data says to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The person is known; or was erased since, and never will be.
    Settled,
    /// The person was erased.
    Erased(Receipt),
}

// === impl Data ===

impl Data {
    pub(super) fn new(people: PersonServiceClient<Channel>, clock: Clock) -> Self {
        Self { people, clock }
    }

    /// Tells it `message`: one attempt.
    ///
    /// # Errors
    ///
    /// The reason why it was refused, or why there is no answer.
    pub(super) async fn tell(&self, message: &Message) -> Result<Answer, Reason> {
        let (user_id, request_id) = (message.user_id.to_string(), message.id.to_string());
        let deadline = Deadline::after(message.timeout());
        let mut people = self.people.clone();
        match message.kind {
            MessageKind::ProvisionUser => {
                let request = ProvisionUserRequest { user_id, request_id };
                let sent = people.provision_user(outgoing(request, deadline));
                match answered(sent, deadline).await {
                    // They were erased while this was under way.
                    Ok(_) | Err(Reason::AccountErased) => Ok(Answer::Settled),
                    Err(reason) => Err(reason),
                }
            }
            MessageKind::EraseUser => {
                let request = EraseUserRequest { user_id, request_id };
                let sent = people.erase_user(outgoing(request, deadline));
                let answer = answered(sent, deadline).await?;
                Ok(Answer::Erased(receipt(answer, &self.clock)))
            }
        }
    }
}

/// What data answers until `deadline`, or the reason why it does not.
async fn answered<A>(
    sent: impl Future<Output = Result<Response<A>, Status>>,
    deadline: Deadline,
) -> Result<A, Reason> {
    match timeout_at(deadline.instant(), sent).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(reason_of(&status)),
        Err(_) => Err(Reason::Deadline),
    }
}

/// The receipt that data's `answer` is, as of now.
fn receipt(answer: EraseUserResponse, clock: &Clock) -> Receipt {
    let erased = answer.erased.into_iter();
    Receipt {
        erased: erased.map(|table| (table.table, table.rows)).collect(),
        confirmed_at: clock.now(),
    }
}

/// The published reason of a failed call; for an answer that carries none, the nearest one to its code.
fn reason_of(status: &Status) -> Reason {
    let details = status.get_error_details();
    let published = details
        .error_info()
        .and_then(|info| reason::from_name(&info.reason));
    published.unwrap_or(match status.code() {
        // A connection that broke in the middle of a call is UNKNOWN or CANCELLED to tonic.
        Code::Unavailable | Code::Unknown | Code::Cancelled => Reason::DependencyUnavailable,
        Code::DeadlineExceeded => Reason::Deadline,
        Code::ResourceExhausted => Reason::Overloaded,
        Code::PermissionDenied | Code::Unauthenticated => Reason::AccessDenied,
        Code::Unimplemented => Reason::Unimplemented,
        _ => Reason::Internal,
    })
}

#[cfg(test)]
mod tests {
    use haven_platform::failure::Failure;

    use super::*;

    #[test]
    fn a_failure_keeps_its_published_reason() {
        for reason in [
            Reason::InvalidField,
            Reason::Draining,
            Reason::AccessDenied,
            Reason::Internal,
        ] {
            assert_eq!(reason_of(&Status::from(Failure::new(reason))), reason);
        }
        assert_eq!(
            reason_of(&Status::from_error("broken pipe".into())),
            Reason::DependencyUnavailable
        );
    }
}
