//! The budget of failure details: a proxy or a client that limits headers must pass every failure on.
//!
//! The details are sent in one header, `grpc-status-details-bin`, in Base64. nginx gives all headers of an answer 4 KiB by
//! default, and answers 502 instead of a failure that needs more: clients take it for UNAVAILABLE. grpc-java and grpcio take 8 KiB.

use std::collections::HashMap;

use prost::Message;
use tonic_types::{FieldViolation, pb};

/// The maximum size of the details, in bytes. In Base64, as they are sent, they have at most 2,795.
pub(crate) const MAX_DETAILS_BYTES: usize = 2_096;

/// The maximum size of one value of `ErrorInfo.metadata`, in bytes.
const MAX_VALUE_BYTES: usize = 256;

/// The maximum size of a list in `ErrorInfo.metadata`, in bytes.
const MAX_LIST_BYTES: usize = 512;

/// The key of the number of violations that were left out, in `ErrorInfo.metadata`.
pub(crate) const VIOLATIONS_OMITTED: &str = "violations_omitted";

/// The space for the number of violations that were left out: a map entry, its key and up to ten digits.
const OMITTED_BYTES: usize = VIOLATIONS_OMITTED.len() + 24;

/// The space for a `BadRequest` without violations: its type URL, and the prefixes of its fields.
const BAD_REQUEST_BYTES: usize = "type.googleapis.com/google.rpc.BadRequest".len() + 16;

/// The space for the `RequestInfo` that the server adds: its type URL, the id, and the prefixes of its fields.
const REQUEST_INFO_BYTES: usize =
    "type.googleapis.com/google.rpc.RequestInfo".len() + uuid::fmt::Hyphenated::LENGTH + 16;

/// Takes as many of `violations` as fit beside details of `used` bytes, whole and in their order, and returns them with the
/// number of those that were left out.
pub(crate) fn fitting(
    violations: impl ExactSizeIterator<Item = FieldViolation>,
    used: usize,
) -> (Vec<FieldViolation>, usize) {
    let room = MAX_DETAILS_BYTES.saturating_sub(used + REQUEST_INFO_BYTES + BAD_REQUEST_BYTES);
    let all = violations.len();
    let mut taken = 0;
    let mut fitting = Vec::new();
    // The number that fits if the number of the others has to fit too.
    let mut fitting_with_number = 0;
    for violation in violations {
        taken += size(&violation);
        if taken > room {
            fitting.truncate(fitting_with_number);
            break;
        }
        fitting.push(violation);
        if taken + OMITTED_BYTES <= room {
            fitting_with_number = fitting.len();
        }
    }
    let omitted = all - fitting.len();
    (fitting, omitted)
}

/// Returns the size of `violation` in a `BadRequest`, in bytes.
fn size(violation: &FieldViolation) -> usize {
    let length = pb::bad_request::FieldViolation::from(violation.clone()).encoded_len();
    1 + prost::length_delimiter_len(length) + length
}

/// Returns `value`, cut to the maximum size of a value.
pub(crate) fn bounded(mut value: String) -> String {
    value.truncate(value.floor_char_boundary(MAX_VALUE_BYTES));
    value
}

/// Adds the list `values` under `key`: as many as fit, separated by commas, and the number of the others under `<key>_omitted`.
pub(crate) fn add_list<'a>(
    metadata: &mut HashMap<String, String>,
    key: &str,
    values: impl IntoIterator<Item = &'a str>,
) {
    let mut list = String::new();
    let mut omitted = 0_usize;
    for value in values {
        let separator = usize::from(!list.is_empty());
        if omitted > 0 || list.len() + separator + value.len() > MAX_LIST_BYTES {
            omitted += 1;
            continue;
        }
        if separator > 0 {
            list.push(',');
        }
        list.push_str(value);
    }
    metadata.insert(key.to_owned(), list);
    if omitted > 0 {
        metadata.insert(format!("{key}_omitted"), omitted.to_string());
    }
}
