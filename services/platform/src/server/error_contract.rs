//! The error contract: every failure has exactly one published reason, the id of its request in the log, and, where callers
//! retry its code, the time after which they may.
//!
//! Handlers and layers create complete statuses from a [`Failure`]. tonic creates its own for unknown RPCs, malformed
//! messages and messages that are too large; this layer adds their reasons.

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http::HeaderMap;
use http_body::Frame;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{
    layer::{Chain, Next},
    protocol,
    pushback::{PUSHBACK, pushback},
    request_log::RequestId,
    response_body::MappedBody,
    status,
};
use crate::{
    deadline::{Deadline, parse_grpc_timeout},
    failure::{Failure, Violation},
    reason::{self, Reason},
};

/// The beginning of tonic's text about a request that cannot be decompressed, or not within the limit of its size.
const DECOMPRESSION: &str = "Error decompressing";

/// The layer: refuses requests that are not gRPC, and completes failed statuses in headers and trailers.
pub(super) async fn complete_errors<C: Chain>(_: (), request: Request, next: Next<C>) -> Response {
    let id = request.extensions().get::<RequestId>().copied();
    let deadline = deadline(request.headers());
    let mut response = match protocol::check(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            drop(request);
            *refusal
        }
    };
    complete_headers(response.headers_mut(), id, deadline);
    response.map(|body| {
        Body::new(MappedBody::new(body, move |frame: Frame<Bytes>| {
            match frame.into_trailers() {
                Ok(mut trailers) => {
                    complete_headers(&mut trailers, id, deadline);
                    Frame::trailers(trailers)
                }
                Err(data) => data,
            }
        }))
    })
}

/// Returns the deadline of the caller. One that is malformed or missing is that of no caller.
fn deadline(headers: &HeaderMap) -> Option<Deadline> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    parse_grpc_timeout(value).map(Deadline::after)
}

/// Completes a failed status. It is in the headers of a response without a body, and in the trailers of every other.
pub(super) fn complete_headers(
    headers: &mut HeaderMap,
    request_id: Option<RequestId>,
    deadline: Option<Deadline>,
) {
    let Some(status) = status::failed(headers) else {
        return;
    };
    let status = with_request_id(with_reason(status), request_id);
    // Overwrites code, message and details.
    if let Err(error) = status.add_header(headers) {
        tracing::error!(%error, "cannot send a status");
    }
    if let Some(value) = pushback(&status, deadline) {
        headers.insert(PUSHBACK, value);
    }
}

/// Returns the status as it is if it has a published reason; otherwise one with a reason derived from its code.
fn with_reason(status: Status) -> Status {
    let has_reason = status
        .get_details_error_info()
        .is_some_and(|info| info.domain == reason::DOMAIN);
    if has_reason {
        return status;
    }
    tracing::debug!(code = ?status.code(), "status without a reason");
    failure_for(&status).into()
}

fn failure_for(status: &Status) -> Failure {
    // The message is tonic's own, which contains sizes and positions, but no content.
    let message = status.message();
    match status.code() {
        Code::Unimplemented => Failure::new(Reason::Unimplemented),
        Code::OutOfRange | Code::ResourceExhausted => too_large(message),
        Code::Internal if message.starts_with(DECOMPRESSION) => {
            malformed("The request is not compressed as its header grpc-encoding says")
        }
        Code::Internal if message.starts_with("Error ") => Failure::internal("a response cannot be encoded"),
        // The remaining ones report malformed request bytes.
        Code::Internal | Code::InvalidArgument | Code::DataLoss => {
            malformed("The request must be a message of this RPC's request type")
        }
        Code::Cancelled => Failure::new(Reason::Cancelled),
        Code::DeadlineExceeded => Failure::new(Reason::Deadline),
        Code::Unavailable => Failure::new(Reason::DependencyUnavailable),
        Code::NotFound => Failure::new(Reason::NotFound),
        _ => Failure::internal(format!(
            "a response with {:?} and without a reason",
            status.code()
        )),
    }
}

fn malformed(description: &'static str) -> Failure {
    Failure::violations(
        Reason::InvalidField,
        vec![Violation::new("", "MALFORMED", description)],
    )
}

/// Returns MESSAGE_TOO_LARGE, with the message that is too large and the limit, both from tonic's text: they are not
/// available otherwise.
fn too_large(message: &str) -> Failure {
    let is_request = message.starts_with("Error, decoded") || message.starts_with(DECOMPRESSION);
    let which = if is_request { "REQUEST" } else { "ANSWER" };
    let failure = Failure::new(Reason::MessageTooLarge).metadata("message", which);
    // The limit is the first number behind that word.
    let limit = message.split("limit").nth(1).and_then(|text| {
        let digits = |c: char| !c.is_ascii_digit();
        text.split(digits).find(|number| !number.is_empty())
    });
    match limit {
        Some(limit) => failure.metadata("limit_bytes", limit),
        None => failure,
    }
}

fn with_request_id(status: Status, request_id: Option<RequestId>) -> Status {
    let request_id = request_id.map(|id| id.0.to_string()).unwrap_or_default();
    let mut details: ErrorDetails = status.get_error_details();
    details.set_request_info(request_id, "");
    Status::with_error_details_and_metadata(
        status.code(),
        status.message().to_owned(),
        details,
        status.metadata().clone(),
    )
}
