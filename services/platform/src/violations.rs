//! The collector of field violations, so that everything wrong with a request is reported at once.

use uuid::Uuid;

use crate::{
    failure::{Failure, Violation},
    reason::Reason,
};

/// The cause of an INTERNAL failure that is a parser's fault.
pub const NO_VALUE: &str = "a field has neither a value nor a violation";

/// The field violations found in one request so far.
///
/// ```
/// use haven_platform::violations::Violations;
///
/// let mut violations = Violations::new();
/// violations.uuid("list_id", "");
/// violations.uuid("item_id", "7");
/// assert_eq!(violations.check().unwrap_err().all_violations().len(), 2);
/// ```
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Creates an empty collector.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one violation to the collector.
    pub fn add(&mut self, violation: Violation) {
        self.0.push(violation);
    }

    /// Adds several violations to the collector.
    pub fn extend(&mut self, violations: impl IntoIterator<Item = Violation>) {
        self.0.extend(violations);
    }

    /// Adds REQUIRED: `field` has no value, or the enum's unspecified one.
    pub fn required(&mut self, field: impl Into<String>) {
        self.add(Violation::required(field));
    }

    /// Adds UNKNOWN_VALUE: `field` holds a number that is no value of its enum.
    pub fn unknown_value(&mut self, field: impl Into<String>) {
        self.add(Violation::unknown_value(field));
    }

    /// Parses a field that must hold a UUID in its canonical form (RFC 9562): 36 characters, of either case, and not
    /// nil. Otherwise adds the violation (REQUIRED or NOT_A_UUID) and returns the nil UUID.
    pub fn uuid(&mut self, field: impl Into<String>, value: &str) -> Uuid {
        let field = field.into();
        if value.is_empty() {
            self.required(field);
            return Uuid::nil();
        }
        match Uuid::try_parse(value) {
            Ok(id) if value.len() == 36 && !id.is_nil() => id,
            _ => {
                let description = format!("{field} must be a UUID");
                self.add(Violation::new(field, "NOT_A_UUID", description));
                Uuid::nil()
            }
        }
    }

    /// Parses a field that may be empty, and must otherwise hold a UUID.
    pub fn optional_uuid(&mut self, field: impl Into<String>, value: &str) -> Option<Uuid> {
        (!value.is_empty()).then(|| self.uuid(field, value))
    }

    /// Returns all violations, for an answer that has them beside other results.
    #[must_use]
    pub fn into_list(self) -> Vec<Violation> {
        self.0
    }

    /// Fails when there is any violation.
    ///
    /// # Errors
    ///
    /// INVALID_FIELD, with all violations.
    pub fn check(self) -> Result<(), Failure> {
        self.check_as(|_| Reason::InvalidField)
    }

    /// Fails like [`Violations::check`], with the reason that `reason` derives from the violations.
    ///
    /// # Errors
    ///
    /// The derived reason, with all violations.
    pub fn check_as(self, reason: impl FnOnce(&[Violation]) -> Reason) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Failure::violations(reason(&self.0), self.0))
    }

    /// Fails when there is any violation; otherwise returns the parsed `value`.
    ///
    /// # Errors
    ///
    /// INVALID_FIELD, with all violations; INTERNAL when there is neither a violation nor a value, which is a fault in
    /// the parser.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Failure> {
        self.finish_as(|_| Reason::InvalidField, value)
    }

    /// Fails like [`Violations::finish`], with the reason that `reason` derives from the violations.
    ///
    /// # Errors
    ///
    /// The derived reason, with all violations; INTERNAL as in [`Violations::finish`].
    pub fn finish_as<T>(
        self,
        reason: impl FnOnce(&[Violation]) -> Reason,
        value: Option<T>,
    ) -> Result<T, Failure> {
        self.check_as(reason)?;
        value.ok_or_else(|| Failure::internal(NO_VALUE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_violations_are_reported_at_once() {
        let mut violations = Violations::new();
        violations.uuid("a", "");
        violations.uuid("b", "00000000-0000-0000-0000-000000000000");
        violations.uuid("c", "{01890a5d-ac96-774b-bcce-b302099a8057}");
        assert_eq!(violations.optional_uuid("d", ""), None);
        let good = violations.uuid("e", "01890A5D-ac96-774b-bcce-b302099a8057");
        assert_eq!(good.to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
        let failure = violations.check().unwrap_err();
        let violations: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|v| (v.field.as_str(), v.name))
            .collect();
        assert_eq!(
            violations,
            [("a", "REQUIRED"), ("b", "NOT_A_UUID"), ("c", "NOT_A_UUID")]
        );
    }

    #[test]
    fn a_value_is_returned_only_without_violations() {
        assert_eq!(Violations::new().finish(Some(7)).unwrap(), 7);
        assert_eq!(
            Violations::new().finish(None::<u8>).unwrap_err().reason(),
            Reason::Internal
        );
        let mut violations = Violations::new();
        violations.required("mode");
        violations.unknown_value("order");
        let failure = violations.finish(Some(7)).unwrap_err();
        let descriptions: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|one| &*one.description)
            .collect();
        assert_eq!(
            descriptions,
            ["mode is required", "The value must be one of the enum's"]
        );
    }
}
