//! When something happened by a person's own clock, as devices send it.

use chrono::{DateTime, Datelike, SubsecRound, Utc};
use haven_platform::{failure::Violation, violations::Violations};
use prost_types::Timestamp;

/// A time that has to be there. None: it is among what is wrong.
pub(super) fn required(
    field: impl Into<String>,
    sent: Option<&Timestamp>,
    violations: &mut Violations,
) -> Option<DateTime<Utc>> {
    if sent.is_none() {
        violations.add(Violation::new(field, "REQUIRED", "A time is required here"));
        return None;
    }
    optional(field, sent, violations)
}

/// A time that may be left out: in whole microseconds, as it is kept. None: it is left out, or among what is wrong.
pub(super) fn optional(
    field: impl Into<String>,
    sent: Option<&Timestamp>,
    violations: &mut Violations,
) -> Option<DateTime<Utc>> {
    let sent = sent?;
    let nanos = u32::try_from(sent.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000);
    let time = nanos
        .and_then(|nanos| DateTime::from_timestamp(sent.seconds, nanos))
        // What a `google.protobuf.Timestamp` can be.
        .filter(|time| (1..=9999).contains(&time.year()));
    if time.is_none() {
        violations.add(Violation::new(field, "NOT_A_TIME", "This has to be a time"));
    }
    time.map(|time| time.trunc_subsecs(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_kept_to_the_microsecond() {
        let parsed = |seconds, nanos| {
            let mut violations = Violations::new();
            let time = required("local_time", Some(&Timestamp { seconds, nanos }), &mut violations);
            violations.check().map(|()| time.unwrap().to_rfc3339()).ok()
        };
        let expected = |text: &str| Some(text.to_owned());
        assert_eq!(parsed(0, 0), expected("1970-01-01T00:00:00+00:00"));
        assert_eq!(
            parsed(1, 123_456_789),
            expected("1970-01-01T00:00:01.123456+00:00")
        );
        // Downwards, also before 1970.
        assert_eq!(
            parsed(-1, 999_999_999),
            expected("1969-12-31T23:59:59.999999+00:00")
        );
        assert_eq!(parsed(-62_135_596_800, 0), expected("0001-01-01T00:00:00+00:00"));
        assert_eq!(parsed(-62_135_596_801, 0), None);
        assert_eq!(parsed(253_402_300_799, 0), expected("9999-12-31T23:59:59+00:00"));
        assert_eq!(parsed(253_402_300_800, 0), None);
        for (seconds, nanos) in [(0, -1), (0, 1_000_000_000), (i64::MAX, 0), (i64::MIN, 0)] {
            assert_eq!(parsed(seconds, nanos), None, "{seconds} {nanos}");
        }
        let mut violations = Violations::new();
        assert_eq!(optional("local_time", None, &mut violations), None);
        assert!(violations.check().is_ok());
        let mut violations = Violations::new();
        assert_eq!(required("local_time", None, &mut violations), None);
        assert!(violations.check().is_err());
    }
}
