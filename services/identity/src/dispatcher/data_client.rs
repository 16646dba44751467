//! The client of data's `PersonService`.

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

/// A client of data. Clones share the connection.
#[derive(Clone, Debug)]
pub(super) struct DataClient {
    people: PersonServiceClient<Channel>,
    clock: Clock,
}

/// Data's answer to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Data knows the person, or erased them in the meantime and will never know them again.
    Settled,
    /// The person was erased.
    Erased(Receipt),
}

// === impl DataClient ===

impl DataClient {
    pub(super) fn new(people: PersonServiceClient<Channel>, clock: Clock) -> Self {
        Self { people, clock }
    }

    /// Makes one attempt to deliver `message`.
    ///
    /// # Errors
    ///
    /// The reason for which data refused the message or did not answer.
    pub(super) async fn deliver(&self, message: &Message) -> Result<Answer, Reason> {
        let (user_id, request_id) = (message.user_id.to_string(), message.id.to_string());
        let deadline = Deadline::after(message.timeout());
        let mut people = self.people.clone();
        match message.kind {
            MessageKind::ProvisionUser => {
                let request = ProvisionUserRequest { user_id, request_id };
                let response = people.provision_user(outgoing(request, deadline));
                match answer(response, deadline).await {
                    // The person was erased while the message was being delivered.
                    Ok(_) | Err(Reason::AccountErased) => Ok(Answer::Settled),
                    Err(reason) => Err(reason),
                }
            }
            MessageKind::EraseUser => {
                let request = EraseUserRequest { user_id, request_id };
                let response = people.erase_user(outgoing(request, deadline));
                let answer = answer(response, deadline).await?;
                Ok(Answer::Erased(receipt(answer, &self.clock)))
            }
        }
    }
}

/// Awaits data's response until `deadline`. Fails with the reason of the failed call.
pub(crate) async fn answer<A>(
    response: impl Future<Output = Result<Response<A>, Status>>,
    deadline: Deadline,
) -> Result<A, Reason> {
    match timeout_at(deadline.instant(), response).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(reason_of(&status)),
        Err(_) => Err(Reason::Deadline),
    }
}

/// Converts data's `answer` into the receipt, with the current time.
fn receipt(answer: EraseUserResponse, clock: &Clock) -> Receipt {
    let erased = answer.erased.into_iter();
    Receipt {
        erased: erased.map(|table| (table.table, table.rows)).collect(),
        confirmed_at: clock.now(),
    }
}

/// The published reason of a failed call, or the closest reason to its code when the status has none.
fn reason_of(status: &Status) -> Reason {
    let details = status.get_error_details();
    let published = details
        .error_info()
        .and_then(|info| reason::from_name(&info.reason));
    published.unwrap_or(match status.code() {
        // tonic reports a connection that broke during a call as UNKNOWN or CANCELLED.
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
