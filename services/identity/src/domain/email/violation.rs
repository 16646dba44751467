//! The rules that a text can break as an email address.

/// A rule that a text breaks as an email address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailViolation {
    /// The text is empty.
    Required,
    /// The text is longer than [`super::MAX_BYTES`].
    TooLong,
    /// The text has a character that is invisible, or that changes how other characters are displayed. A joiner is allowed
    /// where the domain name needs it.
    InvisibleCharacter,
    /// The text has no @.
    NoAtSign,
    /// The part before the @ is empty.
    LocalPartEmpty,
    /// The part before the @ is longer than [`super::MAX_LOCAL_BYTES`].
    LocalPartTooLong,
    /// The part before the @ has a character that is not allowed there.
    LocalPartCharacter,
    /// A dot begins or ends the part before the @, or follows another.
    LocalPartDots,
    /// The part after the @ is not a domain name.
    DomainInvalid,
    /// The part after the @ has no dot.
    DomainWithoutDot,
}

impl EmailViolation {
    /// The violation's stable name.
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

    /// The rule, for a person to read.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Required => "email is required",
            Self::TooLong => "email must have at most 254 bytes",
            Self::InvisibleCharacter => "email must have no spaces inside, control or invisible characters",
            Self::NoAtSign => "email must have an @",
            Self::LocalPartEmpty => "email must have a part before the @",
            Self::LocalPartTooLong => "email must have at most 64 bytes before the @",
            Self::LocalPartCharacter => "email has a character before the @ that is not allowed there",
            Self::LocalPartDots => "Before the @ of email, each dot must be between other characters",
            Self::DomainInvalid => "email must have a domain name after the @",
            Self::DomainWithoutDot => "email must have a dot after the @",
        }
    }
}
