//! The accepted token issuers, and the secret for keyed hashes.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use super::{ConfigProblems, secret_key, trusted_issuers};
use crate::{auth::TrustedIssuer, mac::SecretKey};

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
    /// Further trusted token issuers, each with its key file: `jwks` for a JSON Web Key Set with keys for
    /// ES256 or RS256, `hs256` for a shared secret
    #[arg(
        long,
        env = "TRUSTED_ISSUERS",
        value_name = "ISSUER=KIND:FILE,…",
        default_value = "",
        hide_default_value = true
    )]
    pub trusted_issuers: String,
    /// The secret for page tokens and keyed hashes: 32 bytes in base64, the same for every replica of a service
    #[arg(long, env = "SECRET_KEY", value_name = "BASE64", hide_env_values = true)]
    pub secret_key: Option<SecretString>,
    /// A file that contains SECRET_KEY
    #[arg(long, env = "SECRET_KEY_FILE", value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
}

/// The accepted token issuers, and the secret for keyed hashes.
#[derive(Debug)]
pub struct Tokens {
    /// The issuer of Haven's own access tokens (`iss`).
    pub issuer: String,
    /// The audience of access tokens (`aud`).
    pub audience: String,
    /// The further trusted issuers of tokens for the same audience.
    pub trusted: Vec<TrustedIssuer>,
    /// The secret for page tokens and keyed hashes.
    pub secret_key: SecretKey,
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
        let trusted = trusted_issuers::issuers(&self.trusted_issuers, &self.token_issuer, problems);
        let text = problems.secret(
            "SECRET_KEY",
            self.secret_key.as_ref(),
            self.secret_key_file.as_ref(),
        );
        let secret_key = text.and_then(|text| problems.take("SECRET_KEY", secret_key(&text)));
        Some(Tokens {
            issuer: self.token_issuer.clone(),
            audience: self.token_audience.clone(),
            trusted: trusted?,
            secret_key: secret_key?,
        })
    }
}
