//! The configuration that identity has beside what every service has.

use std::path::PathBuf;

use chrono::TimeDelta;
use clap::Args;
use haven_platform::config::Problems;
use http::Uri;
use secrecy::SecretString;

use crate::{
    domain::{consent::RequiredConsents, provider::AuthProvider, rate_limit::RateLimits},
    hashing::Peppers,
    access_token::{SigningKeys, SigningKeysError},
};

/// The flags.
#[derive(Args, Debug)]
pub struct IdentityArgs {
    /// Where the data service is
    #[arg(
        long,
        env = "DATA_URL",
        value_name = "URL",
        default_value = "https://localhost:50052"
    )]
    pub data_url: String,
    /// The secrets that are hashed with every password: `id:base64,id:base64`, each of at least 32 bytes; the first one
    /// hashes, and those that stored hashes name must stay
    #[arg(long, env = "PEPPERS", value_name = "LIST", hide_env_values = true)]
    pub peppers: Option<SecretString>,
    /// A file that holds PEPPERS
    #[arg(long, env = "PEPPERS_FILE", value_name = "FILE")]
    pub peppers_file: Option<PathBuf>,
    /// Files with the private keys that sign access tokens (P-256, PKCS#8, PEM), separated by commas; the first one signs,
    /// and all are published
    #[arg(
        long,
        env = "SIGNING_KEY_FILES",
        value_name = "FILES",
        default_value = "",
        hide_default_value = true
    )]
    pub signing_key_files: String,
    /// The documents that a sign-up has to agree to, each in its version, separated by commas; empty: none
    #[arg(
        long,
        env = "REQUIRED_CONSENTS",
        value_name = "LIST",
        default_value = "terms=2026-01,privacy=2026-01"
    )]
    pub required_consents: String,
    /// Who signs people up and in: this service, or another provider whose tokens TRUSTED_ISSUERS accepts
    #[arg(long, env = "AUTH_PROVIDER", value_enum, default_value_t = AuthProvider::Haven)]
    pub auth_provider: AuthProvider,
    /// How often somebody may try to sign up, from one network, with one email address, and through one calling service: `10/1m`
    /// lets ten through at once and then one every six seconds
    #[arg(
        long,
        env = "SIGN_UP_LIMITS",
        value_name = "LIMITS",
        default_value = "network=10/1m,email=5/1h,service=600/1m"
    )]
    pub sign_up_limits: String,
    /// How often somebody may try to sign in, as SIGN_UP_LIMITS
    #[arg(
        long,
        env = "SIGN_IN_LIMITS",
        value_name = "LIMITS",
        default_value = "network=30/1m,email=10/1m,service=3000/1m"
    )]
    pub sign_in_limits: String,
    /// For how many days the security audit log is kept
    #[arg(long, env = "AUDIT_RETENTION_DAYS", value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub audit_retention_days: u32,
}

/// The configuration, checked.
#[derive(Debug)]
pub struct IdentityConfig {
    /// Where the data service is.
    pub data_url: Uri,
    /// What is hashed with every password.
    pub peppers: Peppers,
    /// What signs access tokens.
    pub signing_keys: SigningKeys,
    /// What a sign-up has to agree to.
    pub required_consents: RequiredConsents,
    /// Who signs people up and in.
    pub provider: AuthProvider,
    /// How often somebody may sign up.
    pub sign_up_limits: RateLimits,
    /// How often somebody may sign in.
    pub sign_in_limits: RateLimits,
    /// For how long the security audit log is kept.
    pub audit_retention: TimeDelta,
}

impl IdentityArgs {
    /// Checks the flags.
    pub fn check(&self, problems: &mut Problems) -> Option<IdentityConfig> {
        let data_url = problems.service_url("DATA_URL", &self.data_url);
        let peppers = problems
            .secret("PEPPERS", self.peppers.as_ref(), self.peppers_file.as_ref())
            .and_then(|list| problems.take("PEPPERS", Peppers::parse(&list)));
        let signing_keys = signing_keys(&self.signing_key_files, problems);
        let required_consents = problems.take("REQUIRED_CONSENTS", self.required_consents.parse());
        let sign_up_limits = problems.take("SIGN_UP_LIMITS", self.sign_up_limits.parse());
        let sign_in_limits = problems.take("SIGN_IN_LIMITS", self.sign_in_limits.parse());
        Some(IdentityConfig {
            data_url: data_url?,
            peppers: peppers?,
            signing_keys: signing_keys?,
            required_consents: required_consents?,
            provider: self.auth_provider,
            sign_up_limits: sign_up_limits?,
            sign_in_limits: sign_in_limits?,
            audit_retention: TimeDelta::days(i64::from(self.audit_retention_days)),
        })
    }
}

fn signing_keys(files: &str, problems: &mut Problems) -> Option<SigningKeys> {
    const NAME: &str = "SIGNING_KEY_FILES";
    let paths: Vec<PathBuf> = files
        .split(',')
        .map(str::trim)
        .filter(|path| !path.is_empty())
        .map(Into::into)
        .collect();
    let mut pems = Vec::new();
    for path in &paths {
        match std::fs::read_to_string(path) {
            Ok(pem) => pems.push(SecretString::from(pem)),
            Err(error) => problems.add(NAME, format_args!("cannot read {}: {error}", path.display())),
        }
    }
    if pems.len() < paths.len() {
        return None;
    }
    SigningKeys::parse(&pems)
        .map_err(|(position, error)| match paths.get(position) {
            Some(path) => problems.add(NAME, format_args!("{}: {error}", path.display())),
            None => problems.add(NAME, SigningKeysError::Empty),
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: IdentityArgs,
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let flags = [
            "identity",
            "--data-url=",
            "--peppers=a:b",
            "--signing-key-files=/nowhere/a.pem,/nowhere/b.pem",
            "--required-consents=terms",
            "--sign-up-limits=network=5",
            "--sign-in-limits=network=5/1m",
        ];
        let mut problems = Problems::new();
        let config = Cli::parse_from(flags).args.check(&mut problems);
        let report = problems.finish(config).unwrap_err().to_string();
        for expected in [
            "DATA_URL: is missing",
            "PEPPERS: has a secret",
            "/nowhere/a.pem",
            "/nowhere/b.pem",
            "REQUIRED_CONSENTS: each",
            "SIGN_UP_LIMITS: each",
            "SIGN_IN_LIMITS: has to say all three",
        ] {
            assert!(report.contains(expected), "{expected}: {report}");
        }
        let mut problems = Problems::new();
        let config = Cli::parse_from(["identity"]).args.check(&mut problems);
        let report = problems.finish(config).unwrap_err().to_string();
        assert!(
            report.contains("PEPPERS: is missing") && report.contains("SIGNING_KEY_FILES: at least one"),
            "{report}"
        );
    }
}
