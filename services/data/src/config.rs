//! The data service's own configuration, beside that of every service.

use std::{path::PathBuf, sync::Arc};

use chrono::TimeDelta;
use clap::Args;
use haven_platform::{
    config::{ConfigProblems, keyed_secrets},
    database::DatabaseUrl,
    rate_limit::RateLimit,
};
use secrecy::SecretString;
use tonic::transport::Uri;

use crate::{
    domain::{key_ring::KeyRing, quota::Quotas},
    store::retention::RetentionPeriods,
};

/// The flags of the data service.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// The URL of identity, which publishes the keys that verify access tokens
    #[arg(
        long,
        env = "IDENTITY_URL",
        value_name = "URL",
        default_value = "https://localhost:50051"
    )]
    pub identity_url: String,
    /// What each person may store at most: `messages=100000,share_bytes=off,…`. A quota that is left out keeps its default
    #[arg(long, env = "QUOTAS", value_name = "QUOTA=NUMBER,…")]
    pub quotas: Option<String>,
    /// The rate limit of each person's mutations: `600/1m` admits 600 at once and then one every 100 ms; `off` disables it
    #[arg(
        long,
        env = "MUTATION_LIMIT",
        value_name = "COUNT/PERIOD",
        default_value = "600/1m"
    )]
    pub mutation_limit: String,
    /// The URL of Postgres itself, past any pooler, for the worker login: replicas tell each other of new analysis jobs there. Without it workers find jobs of other replicas within a second
    #[arg(long, env = "LISTEN_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub listen_database_url: Option<SecretString>,
    /// A file that contains LISTEN_DATABASE_URL
    #[arg(long, env = "LISTEN_DATABASE_URL_FILE", value_name = "FILE")]
    pub listen_database_url_file: Option<PathBuf>,
    #[command(flatten)]
    /// What is kept for how long.
    pub retention: RetentionArgs,
    #[command(flatten)]
    message_keys: MessageKeysArgs,
}

/// The flags of what is kept for how long.
#[derive(Args, Clone, Copy, Debug)]
pub struct RetentionArgs {
    /// Days for which the audit log is kept
    #[arg(long, env = "AUDIT_RETENTION_DAYS", value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub audit_retention_days: u32,
    /// Days for which the times and the counts of a share, and the attempts to open it, are kept after its end
    #[arg(long, env = "SHARE_METADATA_DAYS", value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub share_metadata_days: u32,
    /// Days for which the receipt of an erasure keeps the numbers of erased rows
    #[arg(long, env = "RECEIPT_RETENTION_DAYS", value_name = "DAYS", default_value_t = 42, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub receipt_retention_days: u32,
}

/// The flags of the sealing keys.
#[derive(Args, Clone, Debug)]
pub struct MessageKeysArgs {
    /// The keys for messages and analyses: `id:fernet-key,…`. The first seals; all open, so keep the old ones
    #[arg(long, env = "MESSAGE_KEYS", value_name = "ID:KEY,…", hide_env_values = true)]
    pub message_keys: Option<SecretString>,
    /// A file with the value of MESSAGE_KEYS
    #[arg(long, env = "MESSAGE_KEYS_FILE", value_name = "FILE")]
    pub message_keys_file: Option<PathBuf>,
}

/// The data service's own configuration, checked.
#[derive(Debug)]
pub struct DataConfig {
    /// The URL of identity.
    pub identity_url: Uri,
    /// The keys that seal and open messages and analyses.
    pub message_keys: Arc<KeyRing>,
    /// The URL at which replicas tell each other of new jobs, if there is one.
    pub listen_url: Option<DatabaseUrl>,
    /// What each person may store.
    pub quotas: Quotas,
    /// The rate limit of each person's mutations. `None` is no limit.
    pub mutation_limit: Option<RateLimit>,
    /// What is kept for how long.
    pub retention: RetentionPeriods,
}

impl DataArgs {
    /// Checks the flags. `None` when any is invalid, which adds a problem.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<DataConfig> {
        let identity_url = problems.service_url("IDENTITY_URL", &self.identity_url);
        let message_keys = self.message_keys.check(problems);
        let quotas = problems.take("QUOTAS", self.quotas.as_deref().unwrap_or_default().parse());
        let mutation_limit = match self.mutation_limit.as_str() {
            "off" => Some(None),
            limit => problems.take("MUTATION_LIMIT", limit.parse()).map(Some),
        };
        let listen_url = problems.optional_database_url(
            "LISTEN_DATABASE_URL",
            self.listen_database_url.as_ref(),
            self.listen_database_url_file.as_ref(),
        );
        Some(DataConfig {
            identity_url: identity_url?,
            listen_url: listen_url?,
            message_keys: Arc::new(message_keys?),
            quotas: quotas?,
            mutation_limit: mutation_limit?,
            retention: self.retention.periods(),
        })
    }
}

impl RetentionArgs {
    /// Returns the periods.
    fn periods(self) -> RetentionPeriods {
        let days = |days: u32| TimeDelta::days(days.into());
        RetentionPeriods {
            audit: days(self.audit_retention_days),
            share_metadata: days(self.share_metadata_days),
            receipts: days(self.receipt_retention_days),
        }
    }
}

impl MessageKeysArgs {
    /// Reads and checks the keys. `None` when they are missing or invalid, which adds a problem.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<KeyRing> {
        const NAME: &str = "MESSAGE_KEYS";
        let keys = problems.secret(NAME, self.message_keys.as_ref(), self.message_keys_file.as_ref())?;
        let keys = problems.take(NAME, keyed_secrets(&keys))?;
        problems.take(NAME, KeyRing::new(&keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(identity_url: &str, message_keys: Option<&str>) -> Result<DataConfig, String> {
        let args = DataArgs {
            identity_url: identity_url.into(),
            quotas: None,
            mutation_limit: "600/1m".into(),
            listen_database_url: None,
            listen_database_url_file: None,
            retention: RetentionArgs {
                audit_retention_days: 365,
                share_metadata_days: 90,
                receipt_retention_days: 42,
            },
            message_keys: MessageKeysArgs {
                message_keys: message_keys.map(Into::into),
                message_keys_file: None,
            },
        };
        let mut problems = ConfigProblems::new();
        let config = args.check(&mut problems);
        problems.finish(config).map_err(|error| error.to_string())
    }

    #[test]
    fn all_problems_are_reported_at_once_without_keys() {
        let problems = check("no url", Some("k1:canary")).unwrap_err();
        assert!(problems.contains("IDENTITY_URL"), "{problems}");
        assert!(problems.contains("MESSAGE_KEYS"), "{problems}");
        assert!(!problems.contains("canary"), "{problems}");
    }

    #[test]
    fn keys_are_required() {
        assert!(
            check("https://localhost:1", None)
                .unwrap_err()
                .contains("MESSAGE_KEYS: is missing")
        );
        let key = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert!(check("https://localhost:1", Some(key)).is_ok());
    }
}
