//! The accepted token issuers, and the secrets for keyed hashes.

use clap::Args;

use super::{ConfigProblems, SecretKeysArgs, trusted_issuers};
use crate::{auth::TrustedIssuer, mac::SecretKeys};

/// The flags of token issuers and keyed hashes.
#[derive(Args, Clone, Debug)]
pub struct TokenArgs {
    /// The issuer of the access tokens: their `iss`
    #[arg(long, env = "TOKEN_ISSUER", value_name = "NAME", default_value = "haven")]
    pub token_issuer: String,
    /// The audience of the access tokens: their `aud`
    #[arg(
        long,
        env = "TOKEN_AUDIENCE",
        value_name = "NAME",
        default_value = "authenticated"
    )]
    pub token_audience: String,
    /// Further trusted token issuers, each with a file: `jwks` for their public keys (ES256, ES384, RS256, EdDSA), `hs256`
    /// for a shared secret, `config` for settings in JSON
    #[arg(
        long,
        env = "TRUSTED_ISSUERS",
        value_name = "ISSUER=KIND:FILE,…",
        default_value = "",
        hide_default_value = true
    )]
    pub trusted_issuers: String,
    #[command(flatten)]
    secret_keys: SecretKeysArgs,
}

/// The accepted token issuers, and the secrets for keyed hashes.
#[derive(Debug)]
pub struct Tokens {
    /// The issuer of Haven's own access tokens (`iss`).
    pub issuer: String,
    /// The audience of access tokens (`aud`).
    pub audience: String,
    /// The further trusted issuers of tokens.
    pub trusted: Vec<TrustedIssuer>,
    /// The secrets for page tokens and keyed hashes.
    pub secret_keys: SecretKeys,
}

impl TokenArgs {
    /// Checks the flags and reads the key files.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<Tokens> {
        for (name, value) in [
            ("TOKEN_ISSUER", &self.token_issuer),
            ("TOKEN_AUDIENCE", &self.token_audience),
        ] {
            if value.is_empty() {
                problems.add(name, "is empty");
            }
        }
        let trusted = trusted_issuers::issuers(
            &self.trusted_issuers,
            &self.token_issuer,
            &self.token_audience,
            problems,
        );
        let secret_keys = self.secret_keys.check(problems);
        Some(Tokens {
            issuer: self.token_issuer.clone(),
            audience: self.token_audience.clone(),
            trusted: trusted?,
            secret_keys: secret_keys?,
        })
    }
}
