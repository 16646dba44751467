//! Email addresses.
//!
//! Two spellings of one mailbox must not become two accounts, so an address has a canonical form besides the form that
//! the person typed. Mail is sent to the typed form; addresses are compared by the canonical form.

mod canonical;
mod invisible;
mod profile;
mod violation;

use std::fmt;

pub use self::{canonical::MAX_LOCAL_BYTES, violation::EmailViolation};

/// The maximum length of an address, in bytes: what fits between the angle brackets of a `RCPT TO` (RFC 5321, section
/// 4.5.3.1.3).
pub const MAX_BYTES: usize = 254;

/// The separators of the two parts: the commercial at, and the compatibility characters that NFKC maps to it.
const AT_SIGNS: [char; 3] = ['@', '\u{ff20}', '\u{fe6b}'];

/// A well-formed email address. `Debug` does not show it.
///
/// ```
/// use haven_identity::domain::email::{EmailAddress, EmailViolation};
///
/// let address = EmailAddress::parse("Ada@Example.org").unwrap();
/// assert_eq!(address.entered(), "Ada@Example.org");
/// assert_eq!(address.canonical(), "ada@example.org");
/// assert_eq!(EmailAddress::parse(" ada@example.org\n").unwrap().entered(), "ada@example.org");
/// assert_eq!(EmailAddress::parse("ada"), Err(vec![EmailViolation::NoAtSign]));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EmailAddress {
    entered: String,
    canonical: String,
}

// === impl EmailAddress ===

impl EmailAddress {
    /// Parses an address as a person typed it. White space of ASCII before and after the address does not belong to it: it comes
    /// with pasted text.
    ///
    /// # Errors
    ///
    /// Every rule that it breaks.
    pub fn parse(entered: &str) -> Result<Self, Vec<EmailViolation>> {
        use EmailViolation as V;
        let entered = entered.trim_ascii();
        if entered.is_empty() {
            return Err(vec![V::Required]);
        }
        if entered.len() > MAX_BYTES {
            return Err(vec![V::TooLong]);
        }
        let mut violations = Vec::new();
        let Some((local, domain)) = entered.rsplit_once(AT_SIGNS) else {
            invisible::visible(entered, false, &mut violations);
            violations.push(V::NoAtSign);
            return Err(violations);
        };
        let local = invisible::visible(local, false, &mut violations);
        let domain = invisible::visible(domain, true, &mut violations);
        match (
            canonical::local_part(&local, &mut violations),
            canonical::domain(&domain, &mut violations),
        ) {
            (Some(local), Some(domain)) if violations.is_empty() => {
                let canonical = format!("{local}@{domain}");
                if canonical.len() > MAX_BYTES {
                    return Err(vec![V::TooLong]);
                }
                Ok(Self {
                    entered: entered.to_owned(),
                    canonical,
                })
            }
            _ => Err(violations),
        }
    }

    /// Returns the address as the person typed it, without white space around it.
    #[must_use]
    pub fn entered(&self) -> &str {
        &self.entered
    }

    /// Returns the form that all spellings of the address share.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// Words that would make a password of this person easy to guess.
    pub(crate) fn words(&self) -> Vec<&str> {
        let mut words = vec![self.entered.as_str(), self.canonical.as_str()];
        words.extend(
            self.canonical
                .split(['@', '.'])
                .filter(|word| word.chars().count() > 2),
        );
        words
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress([redacted])")
    }
}

#[cfg(test)]
mod tests;
