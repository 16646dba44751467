//! Collects everything that is wrong with a request, so that it is reported at once.

use uuid::Uuid;

use crate::{
    failure::{Failure, Violation},
    reason::Reason,
};

/// The violations found so far.
#[derive(Debug, Default)]
pub struct Fields(Vec<Violation>);

impl Fields {
    /// None so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn violate(&mut self, violation: Violation) {
        self.0.push(violation);
    }

    /// Adds several.
    pub fn violate_all(&mut self, violations: impl IntoIterator<Item = Violation>) {
        self.0.extend(violations);
    }

    /// A field that has to hold a UUID in its canonical form (RFC 9562): 36 characters, of either case. Where it does
    /// not, the answer is the nil UUID, and [`Fields::check`] fails.
    pub fn uuid(&mut self, field: impl Into<String>, value: &str) -> Uuid {
        if value.is_empty() {
            self.violate(Violation::new(field, "REQUIRED", "A UUID is required here"));
            return Uuid::nil();
        }
        match Uuid::try_parse(value) {
            Ok(id) if value.len() == 36 && !id.is_nil() => id,
            _ => {
                self.violate(Violation::new(field, "NOT_A_UUID", "This has to be a UUID"));
                Uuid::nil()
            }
        }
    }

    /// A field that may be empty, and otherwise has to hold a UUID.
    pub fn optional_uuid(&mut self, field: impl Into<String>, value: &str) -> Option<Uuid> {
        (!value.is_empty()).then(|| self.uuid(field, value))
    }

    /// Fails with INVALID_FIELD and everything that was found, if anything was.
    ///
    /// # Errors
    ///
    /// INVALID_FIELD.
    pub fn check(self) -> Result<(), Failure> {
        self.check_as(|_| Reason::InvalidField)
    }

    /// As [`Fields::check`], with the reason that `reason` makes of what was found.
    ///
    /// # Errors
    ///
    /// What `reason` says.
    pub fn check_as(self, reason: impl FnOnce(&[Violation]) -> Reason) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Failure::violations(reason(&self.0), self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let mut fields = Fields::new();
        fields.uuid("a", "");
        fields.uuid("b", "00000000-0000-0000-0000-000000000000");
        fields.uuid("c", "{01890a5d-ac96-774b-bcce-b302099a8057}");
        assert_eq!(fields.optional_uuid("d", ""), None);
        let good = fields.uuid("e", "01890A5D-ac96-774b-bcce-b302099a8057");
        assert_eq!(good.to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
        let failure = fields.check().unwrap_err();
        let found: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|v| (v.field.as_str(), v.name))
            .collect();
        assert_eq!(
            found,
            [("a", "REQUIRED"), ("b", "NOT_A_UUID"), ("c", "NOT_A_UUID")]
        );
    }
}
