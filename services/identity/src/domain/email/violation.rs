//! What can be wrong with an email address.

/// Why a text cannot be an email address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailViolation {
    /// Nothing was entered.
    Required,
    /// It is longer than [`super::MAX_BYTES`].
    TooLong,
    /// There is a character in it that cannot be seen, or that changes how others are seen.
    InvisibleCharacter,
    /// There is no @.
    NoAtSign,
    /// There is nothing before the @.
    LocalPartEmpty,
    /// What is before the @ is longer than [`super::MAX_LOCAL_BYTES`].
    LocalPartTooLong,
    /// There is a character before the @ that an address cannot have there.
    LocalPartCharacter,
    /// A dot begins or ends the part before the @, or follows another.
    LocalPartDots,
    /// What is after the @ cannot be the name of a domain.
    DomainInvalid,
    /// What is after the @ has no dot in it.
    DomainWithoutDot,
}

impl EmailViolation {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "REQUIRED",
            Self::TooLong => "TOO_LONG",
            Self::InvisibleCharacter => "INVISIBLE_CHARACTER",
            Self::NoAtSign => "NO_AT_SIGN",
            Self::LocalPartEmpty => "LOCAL_PART_EMPTY",
            Self::LocalPartTooLong => "LOCAL_PART_TOO_LONG",
            Self::LocalPartCharacter => "LOCAL_PART_CHARACTER",
            Self::LocalPartDots => "LOCAL_PART_DOTS",
            Self::DomainInvalid => "DOMAIN_INVALID",
            Self::DomainWithoutDot => "DOMAIN_WITHOUT_DOT",
        }
    }

    /// The same for a person.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Required => "An email address is required",
            Self::TooLong => "An email address has at most 254 bytes",
            Self::InvisibleCharacter => "An email address has no spaces, controls or invisible characters",
            Self::NoAtSign => "An email address has an @",
            Self::LocalPartEmpty => "Something has to stand before the @",
            Self::LocalPartTooLong => "What stands before the @ has at most 64 bytes",
            Self::LocalPartCharacter => "There is a character before the @ that cannot stand there",
            Self::LocalPartDots => "Before the @, a dot stands between other characters",
            Self::DomainInvalid => "What stands after the @ has to be the name of a domain",
            Self::DomainWithoutDot => "What stands after the @ has to have a dot in it",
        }
    }
}
