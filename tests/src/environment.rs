//! What each service is told: the one place where a development or test installation is configured.

use std::{collections::BTreeMap, path::Path};

use crate::{certificates::Certificates, database::Database, secrets::Secrets};

/// Limits that nobody meets on their own machine.
const WIDE: &str = "network=100000/1m,email=100000/1m,service=100000/1m";

/// Environment variables by name.
pub type Variables = BTreeMap<String, String>;

/// The ports of one service, all on loopback.
#[derive(Clone, Copy, Debug)]
pub struct Listeners {
    /// gRPC over TLS.
    pub api: u16,
    /// `grpc.health.v1`, plaintext.
    pub health: u16,
    /// Prometheus metrics over HTTP.
    pub metrics: u16,
}

/// Everything that the configuration of both services is made of.
pub struct Environment<'a> {
    /// The database of both.
    pub database: &'a Database,
    /// The certificates of both.
    pub certificates: &'a Certificates,
    /// The keys of both.
    pub secrets: &'a Secrets,
    /// The file of the key that signs tokens.
    pub signing_key: &'a Path,
    /// Where identity listens.
    pub identity: Listeners,
    /// Where data listens.
    pub data: Listeners,
}

impl Environment<'_> {
    /// The variables of the service called `name`, `identity` or `data`.
    pub fn of(&self, name: &str) -> Variables {
        if name == "identity" {
            self.identity()
        } else {
            self.data()
        }
    }

    fn identity(&self) -> Variables {
        let own = [
            ("ALLOWED_SERVICES", "data,backend".to_owned()),
            ("SECRET_KEY", self.secrets.identity_secret_key.clone()),
            ("DATA_URL", format!("https://localhost:{}", self.data.api)),
            ("PEPPERS", self.secrets.peppers.clone()),
            ("SIGNING_KEY_FILES", self.signing_key.display().to_string()),
            // Everybody here comes from one network: with the defaults, ten could sign up in a minute.
            ("SIGN_UP_LIMITS", WIDE.to_owned()),
            ("SIGN_IN_LIMITS", WIDE.to_owned()),
        ];
        self.service("identity", self.identity, own)
    }

    fn data(&self) -> Variables {
        let own = [
            ("ALLOWED_SERVICES", "identity,backend".to_owned()),
            ("SECRET_KEY", self.secrets.data_secret_key.clone()),
            ("IDENTITY_URL", format!("https://localhost:{}", self.identity.api)),
            ("MESSAGE_KEYS", self.secrets.message_keys.clone()),
        ];
        self.service("data", self.data, own)
    }

    fn service<const N: usize>(
        &self,
        name: &str,
        listeners: Listeners,
        own: [(&'static str, String); N],
    ) -> Variables {
        let leaf = self.certificates.leaf(name);
        let loopback = |port| format!("127.0.0.1:{port}");
        let common = [
            ("ENVIRONMENT", "development".to_owned()),
            ("API_ADDR", loopback(listeners.api)),
            ("HEALTH_ADDR", loopback(listeners.health)),
            ("METRICS_ADDR", loopback(listeners.metrics)),
            ("TLS_CERT_FILE", leaf.certificate.display().to_string()),
            ("TLS_KEY_FILE", leaf.key.display().to_string()),
            ("TLS_CA_FILE", self.certificates.authority().display().to_string()),
            ("DATABASE_URL", self.database.url(&format!("{name}_app"))),
            (
                "WORKER_DATABASE_URL",
                self.database.url(&format!("{name}_worker")),
            ),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        common
            .into_iter()
            .chain(own)
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}
