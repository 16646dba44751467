//! The status of a call in headers or trailers, without the work of reading one that is OK: almost all are.

use http::{HeaderMap, HeaderName};
use tonic::Status;

/// The header or trailer with the code of a status.
pub(super) const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Returns how the call ended; `None` when it has not ended with these headers.
pub(super) fn of(headers: &HeaderMap) -> Option<Result<(), Status>> {
    if headers.get(&STATUS)? == "0" {
        return Some(Ok(()));
    }
    failed(headers).map(Err)
}

/// Returns the status of a call that failed.
pub(super) fn failed(headers: &HeaderMap) -> Option<Status> {
    if headers.get(&STATUS)? == "0" {
        return None;
    }
    Status::from_header_map(headers).filter(|status| status.code() != tonic::Code::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{failure::Failure, reason::Reason};

    #[test]
    fn only_a_failure_is_read() {
        let mut headers = HeaderMap::new();
        assert!(of(&headers).is_none() && failed(&headers).is_none());
        Status::ok("").add_header(&mut headers).unwrap();
        assert!(matches!(of(&headers), Some(Ok(()))) && failed(&headers).is_none());
        Status::from(Failure::new(Reason::NotFound))
            .add_header(&mut headers)
            .unwrap();
        let found = of(&headers).unwrap().unwrap_err();
        assert_eq!(found.code(), tonic::Code::NotFound);
        assert_eq!(failed(&headers).unwrap().details(), found.details());
        headers.insert(STATUS, "nonsense".parse().unwrap());
        assert_eq!(failed(&headers).unwrap().code(), tonic::Code::Unknown);
    }
}
