//! Details of a failed call.

use tonic::Status;
use tonic_types::StatusExt;

/// The maximum size of the details of a failure as they are sent, in Base64.
const MAX_DETAILS: usize = 2_800;

/// Returns the reason. Panics when the status breaks the error contract: no ErrorInfo or RequestInfo, an unpublished reason,
/// a code or message that does not belong to the reason, or more bytes than every proxy and client passes on.
pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "haven", "{status:?}");
    let sent = status.details().len().div_ceil(3) * 4;
    assert!(sent < MAX_DETAILS, "{sent} bytes of details in {status:?}");
    let metadata = status.metadata().clone().into_headers();
    let metadata: usize = metadata
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum();
    // nginx reads all headers of an answer into a buffer of 4 KiB.
    let all = sent + status.message().len() + metadata;
    assert!(all < 3_800, "{all} bytes of headers in {status:?}");
    let request = details
        .request_info()
        .unwrap_or_else(|| panic!("no RequestInfo in {status:?}"));
    assert!(uuid::Uuid::try_parse(&request.request_id).is_ok(), "{status:?}");
    let published = haven_platform::reason::from_name(&info.reason)
        .unwrap_or_else(|| panic!("unpublished reason: {status:?}"));
    assert_eq!(
        haven_platform::reason::code(published),
        status.code(),
        "{status:?}"
    );
    assert_eq!(
        haven_platform::reason::message(published),
        status.message(),
        "{status:?}"
    );
    info.reason.clone()
}

/// Returns a value of `ErrorInfo.metadata`, or an empty string when the key is absent.
pub(crate) fn metadata(status: &Status, key: &str) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .and_then(|info| info.metadata.get(key).cloned())
        .unwrap_or_default()
}

/// Returns every field violation: the path of the field, and the violation's reason.
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
