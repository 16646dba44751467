//! What is wrong with an access token.

use crate::{failure::Failure, reason::Reason};

/// Why a token is refused. Whoever sent it learns which, under `problem` in the metadata of TOKEN_INVALID: each of them is
/// mended in another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenProblem {
    /// There is none.
    Missing,
    /// It is no JSON Web Token, or needs an extension that is not known here.
    Malformed,
    /// It is longer than any token has to be.
    TooLong,
    /// Its algorithm is none, unknown, or not that of the key that it names.
    Algorithm,
    /// It names no key, or one that its issuer does not have.
    KeyUnknown,
    /// Its key did not sign it.
    Signature,
    /// It is from somebody who is not trusted.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// It is not valid yet.
    NotYetValid,
    /// It does not say what it has to, or not in the form that it has to have.
    Claims,
}

impl TokenProblem {
    /// The stable name, for programs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Missing => "MISSING",
            Self::Malformed => "MALFORMED",
            Self::TooLong => "TOO_LONG",
            Self::Algorithm => "ALGORITHM",
            Self::KeyUnknown => "KEY_UNKNOWN",
            Self::Signature => "SIGNATURE",
            Self::Issuer => "ISSUER",
            Self::Audience => "AUDIENCE",
            Self::NotYetValid => "NOT_YET_VALID",
            Self::Claims => "CLAIMS",
        }
    }
}

impl From<TokenProblem> for Failure {
    fn from(problem: TokenProblem) -> Self {
        Self::new(Reason::TokenInvalid).metadata("problem", problem.name())
    }
}
