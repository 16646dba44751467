//! What a failed call carries.

use tonic::Status;
use tonic_types::StatusExt;

/// The published reason; panics when there is not exactly one, or the contract is broken in another way.
pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "haven", "{status:?}");
    let request = details
        .request_info()
        .unwrap_or_else(|| panic!("no RequestInfo in {status:?}"));
    assert!(uuid::Uuid::try_parse(&request.request_id).is_ok(), "{status:?}");
    let known =
        haven_platform::reason::from_name(&info.reason).unwrap_or_else(|| panic!("unpublished: {status:?}"));
    assert_eq!(haven_platform::reason::code(known), status.code(), "{status:?}");
    assert_eq!(
        haven_platform::reason::message(known),
        status.message(),
        "{status:?}"
    );
    info.reason.clone()
}

/// A value out of `ErrorInfo.metadata`.
pub(crate) fn metadata(status: &Status, key: &str) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .and_then(|info| info.metadata.get(key).cloned())
        .unwrap_or_default()
}

/// Every violation: the field and the name of what is wrong with it.
pub(crate) fn violations(status: &Status) -> Vec<(String, String)> {
    let details = status.get_error_details();
    let Some(bad) = details.bad_request() else {
        return Vec::new();
    };
    bad.field_violations
        .iter()
        .map(|v| (v.field.clone(), v.reason.clone()))
        .collect()
}
