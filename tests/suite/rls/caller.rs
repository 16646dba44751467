//! The callers' contexts that every attack is tried in.

/// The first person. Has one row in every table.
pub(crate) const A: &str = "018f0000-0000-7000-8000-00000000000a";
/// The second person. Has two rows in every table that can hold more than one of a person's.
pub(crate) const B: &str = "018f0000-0000-7000-8000-00000000000b";

/// The lease on B's second job, which covers their second message: see `seed.sql`.
pub(crate) const LEASE: &str = "018f0000-0000-7000-8000-0000000000ee";

/// What `request.jwt.claims` says about the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The setting has never been touched on this connection.
    Unset,
    PersonA,
    PersonB,
    /// What the setting is after a transaction that carried a caller.
    Empty,
    NoClaims,
    NullSub,
    MalformedJson,
    MalformedSub,
    /// A worker's: the lease on one of B's jobs, which covers one of B's two messages.
    Leaseholder,
    /// A lease that nobody gave.
    StrangeLease,
}

impl Caller {
    /// In the order in which they have to be tried: what was set once can never be unset again.
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
        Self::StrangeLease,
    ];

    /// The setting's value; `None` for leaving it alone.
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
            Self::StrangeLease => Some(format!(r#"{{"lease":"{A}"}}"#)),
        }
    }

    /// Whether the claims can be read at all. Where they cannot, a policy that asks for the caller is an
    /// error.
    pub(crate) fn is_malformed(self) -> bool {
        matches!(self, Self::MalformedJson | Self::MalformedSub)
    }

    /// Whom the caller is.
    pub(crate) fn person(self) -> Option<&'static str> {
        match self {
            Self::PersonA => Some(A),
            Self::PersonB => Some(B),
            _ => None,
        }
    }

    /// The person who plays the caller in an attack: where there is none, one that the caller is not either.
    pub(crate) fn oneself(self) -> &'static str {
        self.person().unwrap_or(B)
    }

    /// The person who plays the victim.
    pub(crate) fn other(self) -> &'static str {
        if self.oneself() == A { B } else { A }
    }
}
