//! Parsing of times that clients send, such as the local time of a record.

use chrono::{DateTime, Utc};
use haven_platform::{failure::Violation, time::stored_time, violations::Violations};
use prost_types::Timestamp;

/// Parses a required time. `None` when it is missing or invalid, which adds a violation.
pub(super) fn required(
    field: impl Into<String>,
    time: Option<&Timestamp>,
    violations: &mut Violations,
) -> Option<DateTime<Utc>> {
    if time.is_none() {
        violations.required(field);
        return None;
    }
    optional(field, time, violations)
}

/// Parses an optional time, and rounds it down to the microsecond, as it is stored. `None` when the time is missing;
/// also when it is invalid, which adds a violation.
pub(super) fn optional(
    field: impl Into<String>,
    time: Option<&Timestamp>,
    violations: &mut Violations,
) -> Option<DateTime<Utc>> {
    let parsed = stored_time(time?);
    if parsed.is_none() {
        let field = field.into();
        let description = format!("{field} must be a time between the years 1 and 9999");
        violations.add(Violation::new(field, "NOT_A_TIME", description));
    }
    parsed
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
        // Rounded down, also before 1970.
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
