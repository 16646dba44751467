//! The configuration of identity, besides that of every service.

use std::path::PathBuf;

use chrono::TimeDelta;
use clap::Args;
use haven_platform::config::ConfigProblems;
use http::Uri;
use secrecy::SecretString;

use crate::{
    domain::{
        consent::RequiredConsents,
        consent_versions::ConsentVersions,
        provider::{AuthProvider, VerifiedEmail},
        quota::Quotas,
        rate_limit::{LimitKind, RateLimits},
        recovery::Lifetimes,
    },
    erasure_journal::ErasureJournal,
    hashing::{Bounds, Imported, ImportedSecrets, Peppers},
    signing_keys::{SigningKeys, SigningKeysError},
};

/// The kinds of limits on attempts to sign up or in.
const ATTEMPTS: &[LimitKind] = &[LimitKind::Network, LimitKind::Email, LimitKind::Service];

/// The command-line flags and variables of identity.
#[derive(Args, Debug)]
pub struct IdentityArgs {
    #[command(flatten)]
    delivery: DeliveryArgs,
    #[command(flatten)]
    recovery: RecoveryArgs,
    /// Peppers, secrets of at least 32 bytes: `id:base64,id:base64`. Each password is hashed with one of them: new ones
    /// with the first, and peppers of stored hashes must stay in the list
    #[arg(long, env = "PEPPERS", value_name = "LIST", hide_env_values = true)]
    pub peppers: Option<SecretString>,
    /// File with the value of PEPPERS
    #[arg(long, env = "PEPPERS_FILE", value_name = "FILE")]
    pub peppers_file: Option<PathBuf>,
    #[command(flatten)]
    imports: ImportArgs,
    /// Files with private keys that sign access tokens (P-256, PKCS#8, PEM), separated by commas; the first key signs,
    /// and the public halves of all are published
    #[arg(
        long,
        env = "SIGNING_KEY_FILES",
        value_name = "FILES",
        default_value = "",
        hide_default_value = true
    )]
    pub signing_key_files: String,
    /// Documents that a sign-up must consent to, each as `document=version`, separated by commas; empty for none
    #[arg(
        long,
        env = "REQUIRED_CONSENTS",
        value_name = "LIST",
        default_value = "terms=2026-01,privacy=2026-01"
    )]
    pub required_consents: String,
    /// Versions of documents that exist, each as `document=version`, separated by commas; the required ones always do.
    /// Consents to other versions are refused. Empty to accept every version
    #[arg(
        long,
        env = "CONSENT_VERSIONS",
        value_name = "LIST",
        default_value = "",
        hide_default_value = true
    )]
    pub consent_versions: String,
    /// Provider that signs people up and in: this service, or another provider, configured by TRUSTED_ISSUERS
    #[arg(long, env = "AUTH_PROVIDER", value_enum, default_value_t = AuthProvider::Haven)]
    pub auth_provider: AuthProvider,
    /// Rate limits of sign-ups per network, per email address and per calling service: `10/1m` admits ten at once and
    /// then one every six seconds; `off` disables a limit
    #[arg(
        long,
        env = "SIGN_UP_LIMITS",
        value_name = "LIMITS",
        default_value = "network=10/1m,email=5/1h,service=600/1m"
    )]
    pub sign_up_limits: String,
    /// Rate limits of sign-ins, in the format of SIGN_UP_LIMITS
    #[arg(
        long,
        env = "SIGN_IN_LIMITS",
        value_name = "LIMITS",
        default_value = "network=30/1m,email=10/1m,service=3000/1m"
    )]
    pub sign_in_limits: String,
    /// Rate limit of wrong passwords for one account over all networks, in the format of SIGN_UP_LIMITS. Beyond it, only
    /// devices that signed in before and people who are signed in can try a password
    #[arg(
        long,
        env = "WRONG_PASSWORD_LIMITS",
        value_name = "LIMITS",
        default_value = "account=100/1h"
    )]
    pub wrong_password_limits: String,
    /// Rate limits of CheckPassword, in the format of SIGN_UP_LIMITS
    #[arg(
        long,
        env = "CHECK_PASSWORD_LIMITS",
        value_name = "LIMITS",
        default_value = "network=300/1m,service=6000/1m"
    )]
    pub check_password_limits: String,
    /// Rate limits of RefreshSession, in the format of SIGN_UP_LIMITS. The one per session bounds the number of stored
    /// tokens
    #[arg(
        long,
        env = "REFRESH_LIMITS",
        value_name = "LIMITS",
        default_value = "network=600/1m,service=20000/1m,session=300/24h"
    )]
    pub refresh_limits: String,
    /// Rate limit of the changes that a person makes to their account and consents, and of exports, in the format of SIGN_UP_LIMITS
    #[arg(
        long,
        env = "MUTATION_LIMITS",
        value_name = "LIMITS",
        default_value = "person=60/1m"
    )]
    pub mutation_limits: String,
    /// Sessions of a person that have not ended. A further sign-in ends the one that was not refreshed for the longest time
    #[arg(long, env = "MAX_SESSIONS", value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub max_sessions: i32,
    /// Devices of a person with a device token. A further one replaces the one that signed in least recently
    #[arg(long, env = "MAX_DEVICES", value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub max_devices: i32,
    /// Entries of a person's ledger of consents, withdrawn ones included. Further ones are refused
    #[arg(long, env = "MAX_CONSENTS", value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(i32).range(20..=100_000))]
    pub max_consents: i32,
    /// Days for which the receipt of an erasure keeps the numbers of erased rows
    #[arg(long, env = "RECEIPT_RETENTION_DAYS", value_name = "DAYS", default_value_t = 42, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub receipt_retention_days: u32,
    /// Days for which the security audit log is kept
    #[arg(long, env = "AUDIT_RETENTION_DAYS", value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub audit_retention_days: u32,
}

/// The flags of imported password hashes.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// Memory that the check of one imported password hash may need, in MiB. Hashes that need more are refused
    #[arg(long, env = "IMPORTED_HASH_MAX_MIB", value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(19..=1024))]
    pub imported_hash_max_mib: u32,
    /// Memory that the checks of imported password hashes on this replica may need at once, in MiB
    #[arg(long, env = "IMPORTED_HASH_BUDGET_MIB", value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(19..=16384))]
    pub imported_hash_budget_mib: u32,
    /// Secrets that imported password hashes were made with, such as the signer key of a Firebase project or the pepper of
    /// Devise: `id:base64,id:base64`. They must stay in the list while there are hashes that name them
    #[arg(
        long,
        env = "IMPORTED_HASH_SECRETS",
        value_name = "LIST",
        hide_env_values = true
    )]
    pub imported_hash_secrets: Option<SecretString>,
    /// File with the value of IMPORTED_HASH_SECRETS
    #[arg(long, env = "IMPORTED_HASH_SECRETS_FILE", value_name = "FILE")]
    pub imported_hash_secrets_file: Option<PathBuf>,
}

/// The settings of imported password hashes.
#[derive(Debug)]
pub struct Imports {
    /// The bound of one check, and the secrets.
    pub imported: Imported,
    /// The memory of all checks at once, in KiB.
    pub budget_kib: u32,
}

impl ImportArgs {
    /// Checks the flags. Returns `None` when one is invalid; `problems` has every problem.
    fn check(&self, problems: &mut ConfigProblems) -> Option<Imports> {
        const NAME: &str = "IMPORTED_HASH_SECRETS";
        if self.imported_hash_budget_mib < self.imported_hash_max_mib {
            problems.add(
                "IMPORTED_HASH_BUDGET_MIB",
                "must be at least IMPORTED_HASH_MAX_MIB, or the largest hashes could not be checked",
            );
            return None;
        }
        let secrets = match (&self.imported_hash_secrets, &self.imported_hash_secrets_file) {
            (None, None) => ImportedSecrets::default(),
            (value, file) => {
                let list = problems.secret(NAME, value.as_ref(), file.as_ref())?;
                problems.take(NAME, ImportedSecrets::parse(&list))?
            }
        };
        Some(Imports {
            imported: Imported {
                bounds: Bounds {
                    memory_kib: self.imported_hash_max_mib * 1024,
                },
                secrets,
            },
            budget_kib: self.imported_hash_budget_mib * 1024,
        })
    }
}

/// The flags of the recovery of accounts.
#[derive(Args, Clone, Debug)]
pub struct RecoveryArgs {
    /// Whether SignIn requires that the account's email address is verified
    #[arg(long, env = "REQUIRE_VERIFIED_EMAIL", value_enum, default_value_t = VerifiedEmail::Off)]
    pub require_verified_email: VerifiedEmail,
    /// Rate limits of CreatePasswordReset, CreateEmailVerification and CreateEmailChange together, in the format of
    /// SIGN_UP_LIMITS: per network of the person, per email address that a mail goes to, per account and per calling service
    #[arg(
        long,
        env = "RECOVERY_LIMITS",
        value_name = "LIMITS",
        default_value = "network=20/1h,email=5/1h,person=10/1h,service=600/1m"
    )]
    pub recovery_limits: String,
    /// Rate limits of ResetPassword, VerifyEmail, ConfirmEmailChange and UndoEmailChange together, in the format of
    /// SIGN_UP_LIMITS
    #[arg(
        long,
        env = "RECOVERY_TOKEN_LIMITS",
        value_name = "LIMITS",
        default_value = "network=60/1m,service=3000/1m"
    )]
    pub recovery_token_limits: String,
    /// Minutes for which a token for a password reset is accepted
    #[arg(long, env = "PASSWORD_RESET_MINUTES", value_name = "MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub password_reset_minutes: u32,
    /// Hours for which a token for the verification of an address is accepted
    #[arg(long, env = "EMAIL_VERIFICATION_HOURS", value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=720))]
    pub email_verification_hours: u32,
    /// Minutes for which a token for a change of address is accepted
    #[arg(long, env = "EMAIL_CHANGE_MINUTES", value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub email_change_minutes: u32,
    /// Days for which a change of address can be undone. No other account can have the old address in this time
    #[arg(long, env = "EMAIL_UNDO_DAYS", value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=90))]
    pub email_undo_days: u32,
}

/// The settings of the recovery of accounts.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryConfig {
    /// `true` when SignIn requires a verified address.
    pub requires_verified_email: bool,
    /// The rate limits of the RPCs that create tokens.
    pub creation_limits: RateLimits,
    /// The rate limits of the RPCs that use tokens.
    pub use_limits: RateLimits,
    /// The lifetimes of tokens.
    pub lifetimes: Lifetimes,
}

impl RecoveryArgs {
    /// Checks the flags. Returns `None` when one is invalid; `problems` has every problem.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<RecoveryConfig> {
        let creations: &[LimitKind] = &[
            LimitKind::Network,
            LimitKind::Email,
            LimitKind::Person,
            LimitKind::Service,
        ];
        let uses: &[LimitKind] = &[LimitKind::Network, LimitKind::Service];
        let mut limits = |name, text, kinds| problems.take(name, RateLimits::parse(text, kinds));
        let creation_limits = limits("RECOVERY_LIMITS", &self.recovery_limits, creations);
        let use_limits = limits("RECOVERY_TOKEN_LIMITS", &self.recovery_token_limits, uses);
        Some(RecoveryConfig {
            requires_verified_email: self.require_verified_email == VerifiedEmail::On,
            creation_limits: creation_limits?,
            use_limits: use_limits?,
            lifetimes: Lifetimes {
                password_reset: TimeDelta::minutes(self.password_reset_minutes.into()),
                email_verification: TimeDelta::hours(self.email_verification_hours.into()),
                email_change: TimeDelta::minutes(self.email_change_minutes.into()),
                email_undo: TimeDelta::days(self.email_undo_days.into()),
            },
        })
    }
}

/// The flags of the delivery of messages to data.
#[derive(Args, Clone, Debug)]
pub struct DeliveryArgs {
    /// URL of the data service
    #[arg(
        long,
        env = "DATA_URL",
        value_name = "URL",
        default_value = "https://localhost:50052"
    )]
    pub data_url: String,
    /// File to which each completed erasure is appended, so that a restore of the database can be told which erasures it took
    /// back; archive the file with the backups
    #[arg(long, env = "ERASURE_JOURNAL", value_name = "FILE")]
    pub erasure_journal: Option<PathBuf>,
}

/// The settings of the delivery of messages to data.
#[derive(Debug)]
pub struct Delivery {
    /// The URL of the data service.
    pub data_url: Uri,
    /// The journal of completed erasures. `None` when they are not written down.
    pub journal: Option<ErasureJournal>,
}

impl DeliveryArgs {
    /// Checks the flags. Returns `None` when one is invalid; `problems` has every problem.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<Delivery> {
        let data_url = problems.service_url("DATA_URL", &self.data_url);
        let journal = self.journal(problems);
        Some(Delivery {
            data_url: data_url?,
            journal: journal?,
        })
    }

    /// Checks the path of the journal. The file itself is created by the first append.
    fn journal(&self, problems: &mut ConfigProblems) -> Option<Option<ErasureJournal>> {
        const NAME: &str = "ERASURE_JOURNAL";
        let Some(path) = self.erasure_journal.as_ref() else {
            return Some(None);
        };
        // After a start in another directory a relative path would name another file.
        let directory = path.parent().filter(|_| path.is_absolute());
        let problem = match directory {
            None => "must be an absolute path of a file",
            Some(_) if path.is_dir() => "is a directory, but must be a file in it",
            Some(directory) if !directory.is_dir() => "must be in a directory that exists",
            Some(_) => return Some(Some(ErasureJournal::new(path.clone()))),
        };
        problems.add(NAME, format_args!("{} {problem}", path.display()));
        None
    }
}

/// The configuration, checked and parsed.
#[derive(Debug)]
pub struct IdentityConfig {
    /// The delivery of messages to data.
    pub delivery: Delivery,
    /// The recovery of accounts.
    pub recovery: RecoveryConfig,
    /// The secrets that are hashed with every password.
    pub peppers: Peppers,
    /// Imported password hashes.
    pub imports: Imports,
    /// The keys that sign access tokens.
    pub signing_keys: SigningKeys,
    /// The consents that a sign-up requires.
    pub required_consents: RequiredConsents,
    /// The versions of documents that people can consent to.
    pub consent_versions: ConsentVersions,
    /// The provider that signs people up and in.
    pub provider: AuthProvider,
    /// The rate limits of sign-ups.
    pub sign_up_limits: RateLimits,
    /// The rate limits of sign-ins.
    pub sign_in_limits: RateLimits,
    /// The cap on wrong passwords for an account.
    pub wrong_password_limits: RateLimits,
    /// The rate limits of CheckPassword.
    pub check_password_limits: RateLimits,
    /// The rate limits of RefreshSession.
    pub refresh_limits: RateLimits,
    /// The rate limits of a person's changes.
    pub mutation_limits: RateLimits,
    /// How much a person may have.
    pub quotas: Quotas,
    /// The time for which receipts keep their counts.
    pub receipt_retention: TimeDelta,
    /// The time for which audit events are kept.
    pub audit_retention: TimeDelta,
}

impl IdentityArgs {
    /// Checks the flags. Returns `None` when one is invalid; `problems` has every problem.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<IdentityConfig> {
        let delivery = self.delivery.check(problems);
        let recovery = self.recovery.check(problems);
        let peppers = problems
            .secret("PEPPERS", self.peppers.as_ref(), self.peppers_file.as_ref())
            .and_then(|list| problems.take("PEPPERS", Peppers::parse(&list)));
        let imports = self.imports.check(problems);
        let signing_keys = signing_keys(&self.signing_key_files, problems);
        let required_consents = problems.take("REQUIRED_CONSENTS", self.required_consents.parse());
        let consent_versions = required_consents.as_ref().and_then(|required| {
            let versions = ConsentVersions::parse(&self.consent_versions, required);
            problems.take("CONSENT_VERSIONS", versions)
        });
        let mut limits = |name, text, kinds| problems.take(name, RateLimits::parse(text, kinds));
        let sign_up_limits = limits("SIGN_UP_LIMITS", &self.sign_up_limits, ATTEMPTS);
        let sign_in_limits = limits("SIGN_IN_LIMITS", &self.sign_in_limits, ATTEMPTS);
        let account: &[LimitKind] = &[LimitKind::Account];
        let wrong_password_limits = limits("WRONG_PASSWORD_LIMITS", &self.wrong_password_limits, account);
        let callers: &[LimitKind] = &[LimitKind::Network, LimitKind::Service];
        let check_password_limits = limits("CHECK_PASSWORD_LIMITS", &self.check_password_limits, callers);
        let refreshes: &[LimitKind] = &[LimitKind::Network, LimitKind::Service, LimitKind::Session];
        let refresh_limits = limits("REFRESH_LIMITS", &self.refresh_limits, refreshes);
        let mutation_limits = limits("MUTATION_LIMITS", &self.mutation_limits, &[LimitKind::Person]);
        Some(IdentityConfig {
            delivery: delivery?,
            recovery: recovery?,
            peppers: peppers?,
            imports: imports?,
            signing_keys: signing_keys?,
            consent_versions: consent_versions?,
            required_consents: required_consents?,
            provider: self.auth_provider,
            sign_up_limits: sign_up_limits?,
            sign_in_limits: sign_in_limits?,
            wrong_password_limits: wrong_password_limits?,
            check_password_limits: check_password_limits?,
            refresh_limits: refresh_limits?,
            mutation_limits: mutation_limits?,
            quotas: Quotas {
                consents: self.max_consents,
                devices: self.max_devices,
                sessions: self.max_sessions,
            },
            receipt_retention: TimeDelta::days(i64::from(self.receipt_retention_days)),
            audit_retention: TimeDelta::days(i64::from(self.audit_retention_days)),
        })
    }
}

/// Reads and parses the files of SIGNING_KEY_FILES.
fn signing_keys(files: &str, problems: &mut ConfigProblems) -> Option<SigningKeys> {
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
    fn the_journal_is_a_file_in_a_directory_that_exists() {
        let check = |path: &str| {
            let args = Cli::parse_from(["identity", &format!("--erasure-journal={path}")]).args;
            let mut problems = ConfigProblems::new();
            let delivery = args.delivery.check(&mut problems);
            problems.finish(delivery).map_err(|error| error.to_string())
        };
        assert!(check("/tmp/erasures.jsonl").unwrap().journal.is_some());
        for (path, problem) in [
            ("erasures.jsonl", "must be an absolute path"),
            ("/tmp", "is a directory"),
            ("/nowhere/erasures.jsonl", "in a directory that exists"),
        ] {
            let report = check(path).unwrap_err();
            assert!(report.contains(problem), "{path}: {report}");
        }
    }

    #[test]
    fn the_budget_of_imported_hashes_is_enough_for_the_largest() {
        let check = |flags: &[&str]| {
            let args = Cli::parse_from([&["identity"], flags].concat()).args;
            let mut problems = ConfigProblems::new();
            let imports = args.imports.check(&mut problems);
            problems.finish(imports).map_err(|error| error.to_string())
        };
        let imports = check(&["--imported-hash-secrets=fire:AAEC"]).unwrap();
        assert_eq!(
            (imports.imported.bounds.memory_kib, imports.budget_kib),
            (65_536, 65_536)
        );
        for (flag, problem) in [
            (
                "--imported-hash-max-mib=100",
                "IMPORTED_HASH_BUDGET_MIB: must be at least",
            ),
            (
                "--imported-hash-secrets=fire:?",
                "IMPORTED_HASH_SECRETS: has a secret",
            ),
            ("--imported-hash-secrets-file=/nowhere/x", "IMPORTED_HASH_SECRETS"),
        ] {
            let report = check(&[flag]).unwrap_err();
            assert!(report.contains(problem), "{flag}: {report}");
        }
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let flags = [
            "identity",
            "--data-url=",
            "--erasure-journal=erasures.jsonl",
            "--peppers=a:b",
            "--signing-key-files=/nowhere/a.pem,/nowhere/b.pem",
            "--required-consents=terms",
            "--sign-up-limits=network=5",
            "--sign-in-limits=network=5/1m",
        ];
        let mut problems = ConfigProblems::new();
        let config = Cli::parse_from(flags).args.check(&mut problems);
        let report = problems.finish(config).unwrap_err().to_string();
        for expected in [
            "DATA_URL: is missing",
            "ERASURE_JOURNAL: erasures.jsonl must be an absolute path",
            "PEPPERS: has a secret",
            "/nowhere/a.pem",
            "/nowhere/b.pem",
            "REQUIRED_CONSENTS: each",
            "SIGN_UP_LIMITS: each",
            "SIGN_IN_LIMITS: must list each limit: `network`, `email` and `service`",
        ] {
            assert!(report.contains(expected), "{expected}: {report}");
        }
        let mut problems = ConfigProblems::new();
        let config = Cli::parse_from(["identity"]).args.check(&mut problems);
        let report = problems.finish(config).unwrap_err().to_string();
        assert!(
            report.contains("PEPPERS: is missing") && report.contains("SIGNING_KEY_FILES: at least one"),
            "{report}"
        );
    }
}
