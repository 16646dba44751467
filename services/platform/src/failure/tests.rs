//! The size of what leaves the server.

use proptest::prelude::*;
use tonic::Status;
use uuid::Uuid;

use super::*;

/// Returns the status as it leaves the server, and checks that all of its headers pass.
fn sent(failure: Failure) -> Status {
    let status = Status::from(failure);
    let mut details: ErrorDetails = status.get_error_details();
    details.set_request_info(Uuid::nil().to_string(), "");
    let status = Status::with_error_details(status.code(), status.message().to_owned(), details);
    let size = status.details().len();
    assert!(size <= 2_096, "{size} bytes of {status:?}");
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers).unwrap();
    let encoded = headers["grpc-status-details-bin"].len();
    assert!(encoded < 2_800, "{encoded} bytes in Base64");
    let all: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum();
    // The rest of 4 KiB is for the headers that the server adds to every answer.
    assert!(all < 3_500, "{all} bytes of headers");
    status
}

fn named(status: &Status) -> (Vec<String>, Option<usize>) {
    let details = status.get_error_details();
    let fields = details.bad_request().map(|bad| {
        let fields = bad.field_violations.iter();
        fields.map(|violation| violation.field.clone()).collect()
    });
    let omitted = details
        .error_info()
        .and_then(|info| info.metadata.get("violations_omitted").cloned());
    (
        fields.unwrap_or_default(),
        omitted.map(|number| number.parse().unwrap()),
    )
}

#[test]
fn the_largest_failure_of_every_reason_fits() {
    for number in 1..1000 {
        let Ok(reason) = Reason::try_from(number) else {
            continue;
        };
        let violations = (0..50).map(|n| {
            let field = format!("changes[{n}].crypto_envelope.additional_data_version");
            Violation::new(field, "LONGER_THAN_ANY_OTHER_NAME", "x".repeat(120))
        });
        let documents: Vec<_> = (0..20).map(|n| format!("{}={n}", "d".repeat(120))).collect();
        let failure = Failure::violations(reason, violations.collect())
            .metadata("device_id", "i".repeat(5_000))
            .metadata("current_version", u64::MAX.to_string())
            .metadata_list("missing_consents", documents.iter().map(String::as_str))
            .quota(
                "a-quota-of-a-person",
                "At most 18446744073709551615, of which 18446744073709551615 are used",
            );
        let status = sent(failure);
        let (fields, omitted) = named(&status);
        assert!(fields.len() >= 2, "{fields:?}");
        assert_eq!(fields.len() + omitted.unwrap(), 50, "{}", reason::name(reason));
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["device_id"].len(), 256);
        assert_eq!(info.metadata["missing_consents"].split(',').count(), 4);
        assert_eq!(info.metadata["missing_consents_omitted"], "16");
    }
}

#[test]
fn a_value_is_cut_between_characters() {
    assert_eq!(details::bounded("é".repeat(200)).len(), 256);
    assert_eq!(details::bounded(format!("a{}", "é".repeat(200))).len(), 255);
}

proptest! {
    /// A number of violations is left out if and only if they do not all fit, and those that stay are the first ones.
    #[test]
    fn violations_are_whole_and_in_order(lengths in proptest::collection::vec(0_usize..400, 0..60)) {
        let fields: Vec<_> = lengths.iter().enumerate().map(|(n, length)| format!("f{n}{}", "x".repeat(*length))).collect();
        let violations: Vec<_> = fields.iter().map(|field| Violation::new(field.clone(), "A_RULE", "A rule")).collect();
        let total: usize = fields.iter().map(|field| field.len() + 20).sum();
        let status = sent(Failure::violations(Reason::InvalidField, violations));
        let (kept, omitted) = named(&status);
        prop_assert_eq!(&kept[..], &fields[..kept.len()]);
        prop_assert_eq!(kept.len() + omitted.unwrap_or_default(), fields.len());
        prop_assert!(omitted.is_none() || total > 1_500, "{} of {} bytes", omitted.unwrap_or_default(), total);
        prop_assert!(omitted != Some(0));
    }
}
