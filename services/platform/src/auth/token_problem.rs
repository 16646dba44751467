//! The problems for which an access token is refused.

use crate::{failure::Failure, reason::Reason};

/// The problem of a refused token. Its name is sent to the caller as `problem` in the metadata of TOKEN_INVALID,
/// because each problem is fixed in a different place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenProblem {
    /// The call has no token.
    Missing,
    /// The token is not a JSON Web Token, or requires an unsupported extension.
    Malformed,
    /// The token is longer than any valid one.
    TooLong,
    /// The token's algorithm is `none`, unknown, or not that of its key.
    Algorithm,
    /// The token names a key that its issuer does not have; or it names none, and its issuer does not have exactly one
    /// for the token's algorithm.
    KeyUnknown,
    /// The signature is not by the token's key.
    Signature,
    /// The issuer is not trusted.
    Issuer,
    /// The token is for another audience.
    Audience(ClaimProblem),
    /// The token is not valid yet.
    NotYetValid(ClaimProblem),
    /// A claim is missing, malformed or not accepted.
    Claims(ClaimProblem),
}

/// The claim for which a token is refused, and the rule that its value breaks. The value itself is never named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimProblem {
    /// The name of the claim; of a nested one the names on its path, with dots between them.
    pub(crate) claim: String,
    /// The rule, such as `must be a UUID`.
    pub(crate) rule: &'static str,
}

impl ClaimProblem {
    /// Creates the problem that the claim `claim` breaks `rule`.
    pub(crate) fn new(claim: impl Into<String>, rule: &'static str) -> Self {
        Self {
            claim: claim.into(),
            rule,
        }
    }
}

impl TokenProblem {
    /// Returns the stable name, for programs.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "MISSING",
            Self::Malformed => "MALFORMED",
            Self::TooLong => "TOO_LONG",
            Self::Algorithm => "ALGORITHM",
            Self::KeyUnknown => "KEY_UNKNOWN",
            Self::Signature => "SIGNATURE",
            Self::Issuer => "ISSUER",
            Self::Audience(_) => "AUDIENCE",
            Self::NotYetValid(_) => "NOT_YET_VALID",
            Self::Claims(_) => "CLAIMS",
        }
    }
}

impl From<TokenProblem> for Failure {
    fn from(problem: TokenProblem) -> Self {
        let failure = Self::new(Reason::TokenInvalid).metadata("problem", problem.name());
        match problem {
            TokenProblem::Audience(ClaimProblem { claim, rule })
            | TokenProblem::NotYetValid(ClaimProblem { claim, rule })
            | TokenProblem::Claims(ClaimProblem { claim, rule }) => {
                failure.metadata("claim", claim).metadata("rule", rule)
            }
            _ => failure,
        }
    }
}
