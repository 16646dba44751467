//! The problems for which an access token is refused.

use crate::{failure::Failure, reason::Reason};

/// The problem of a refused token. Its name is sent to the caller as `problem` in the metadata of TOKEN_INVALID,
/// because each problem is fixed in a different place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenProblem {
    /// The call has no token.
    Missing,
    /// The token is not a JSON Web Token, or requires an unsupported extension.
    Malformed,
    /// The token is longer than any valid one.
    TooLong,
    /// The token's algorithm is `none`, unknown, or not that of its key.
    Algorithm,
    /// The token names no key, or one that its issuer does not have.
    KeyUnknown,
    /// The signature is not by the token's key.
    Signature,
    /// The issuer is not trusted.
    Issuer,
    /// The token is for another audience.
    Audience,
    /// The token is not valid yet.
    NotYetValid,
    /// A claim is missing or malformed.
    Claims,
}

impl TokenProblem {
    /// Returns the stable name, for programs.
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
