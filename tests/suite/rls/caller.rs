//! The caller contexts that every attack is tried in.

/// The first person, with one row in every table.
pub(crate) const A: &str = "018f0000-0000-7000-8000-00000000000a";
/// The second person, with two rows in every table that permits more than one row of a person.
pub(crate) const B: &str = "018f0000-0000-7000-8000-00000000000b";

/// The lease on B's second job, which covers B's second message: see `seed.sql`.
pub(crate) const LEASE: &str = "018f0000-0000-7000-8000-0000000000ee";

/// A value of `request.jwt.claims`, which carries the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The setting was never set on this connection.
    Unset,
    PersonA,
    PersonB,
    /// The empty string, as after a transaction that carried a caller.
    Empty,
    NoClaims,
    NullSub,
    MalformedJson,
    MalformedSub,
    /// A worker with the lease on one of B's jobs, which covers one of B's two messages.
    Leaseholder,
    /// A lease token that no job has.
    UnknownLease,
}

impl Caller {
    /// All callers, in the order in which they have to be tried: a setting cannot be unset on its connection.
    pub(crate) const ALL: [Self; 10] = [
        Self::Unset,
        Self::PersonA,
        Self::PersonB,
        Self::Empty,
        Self::NoClaims,
        Self::NullSub,
        Self::MalformedJson,
        Self::MalformedSub,
        Self::Leaseholder,
        Self::UnknownLease,
    ];

    /// The callers that are tried in a part of a transaction, where the setting may have been set before.
    pub(crate) const NESTED: [Self; 4] = [Self::PersonA, Self::PersonB, Self::NoClaims, Self::Leaseholder];

    /// Returns the setting's value; `None` when it is not set.
    pub(crate) fn claims(self) -> Option<String> {
        match self {
            Self::Unset => None,
            Self::PersonA => Some(format!(r#"{{"sub":"{A}"}}"#)),
            Self::PersonB => Some(format!(r#"{{"sub":"{B}"}}"#)),
            Self::Empty => Some(String::new()),
            Self::NoClaims => Some("{}".to_owned()),
            Self::NullSub => Some(r#"{"sub":null}"#.to_owned()),
            Self::MalformedJson => Some(r#"{"sub":"#.to_owned()),
            Self::MalformedSub => Some(r#"{"sub":"' OR true --"}"#.to_owned()),
            Self::Leaseholder => Some(format!(r#"{{"lease":"{LEASE}"}}"#)),
            Self::UnknownLease => Some(format!(r#"{{"lease":"{A}"}}"#)),
        }
    }

    /// Returns `true` when the claims cannot be parsed: a policy that reads the caller is an error then.
    pub(crate) fn is_malformed(self) -> bool {
        matches!(self, Self::MalformedJson | Self::MalformedSub)
    }

    /// Returns the caller's person.
    pub(crate) fn person(self) -> Option<&'static str> {
        match self {
            Self::PersonA => Some(A),
            Self::PersonB => Some(B),
            _ => None,
        }
    }

    /// Returns the owner of the rows that count as the caller's own in an attack; B when the caller is not a person.
    pub(crate) fn oneself(self) -> &'static str {
        self.person().unwrap_or(B)
    }

    /// Returns the person that is attacked.
    pub(crate) fn other(self) -> &'static str {
        if self.oneself() == A { B } else { A }
    }
}
