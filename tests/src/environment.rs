//! The environment variables of both services in a development or test installation.

use std::{collections::BTreeMap, path::Path};

use crate::{certificates::Certificates, database::Database, secrets::Secrets};

/// Rate limits that a local installation does not reach.
const HIGH_LIMITS: &str = "network=100000/1m,email=100000/1m,service=100000/1m";

/// The services that identity admits: data verifies tokens, and `backend` serves people.
const IDENTITY_ADMITS: &str = "data=keys;backend=accounts,forward";

/// The services that data admits: identity keeps the list of people, `backend` serves them, and `worker` analyzes.
const DATA_ADMITS: &str = "identity=provisioning;backend=accounts,crisis,author,forward;worker=analysis";

/// Environment variables by name.
pub type Variables = BTreeMap<String, String>;

/// The ports of one service, all on loopback.
#[derive(Clone, Copy, Debug)]
pub struct Listeners {
    /// The port of the API: gRPC over TLS.
    pub api: u16,
    /// The port of `grpc.health.v1` without TLS.
    pub health: u16,
    /// The port of the Prometheus metrics: HTTP without TLS.
    pub metrics: u16,
}

/// The parts of the configuration of both services.
pub struct Environment<'a> {
    /// The database of both services.
    pub database: &'a Database,
    /// The certificates of both services.
    pub certificates: &'a Certificates,
    /// The secrets of both services.
    pub secrets: &'a Secrets,
    /// The file of the key that signs tokens.
    pub signing_key: &'a Path,
    /// The file of completed erasures, in a directory that exists.
    pub erasure_journal: &'a Path,
    /// The ports of identity.
    pub identity: Listeners,
    /// The ports of data.
    pub data: Listeners,
}

impl Environment<'_> {
    /// Returns the variables of the service `name`, which is `identity` or `data`.
    pub fn of(&self, name: &str) -> Variables {
        if name == "identity" {
            self.identity()
        } else {
            self.data()
        }
    }

    fn identity(&self) -> Variables {
        let own = [
            ("ALLOWED_SERVICES", IDENTITY_ADMITS.to_owned()),
            ("SECRET_KEY", self.secrets.identity_secret_key.clone()),
            ("DATA_URL", format!("https://localhost:{}", self.data.api)),
            ("PEPPERS", self.secrets.peppers.clone()),
            ("SIGNING_KEY_FILES", self.signing_key.display().to_string()),
            ("ERASURE_JOURNAL", self.erasure_journal.display().to_string()),
            // All callers are in one network. With the default limits, ten of them could sign up in a minute.
            ("SIGN_UP_LIMITS", HIGH_LIMITS.to_owned()),
            ("SIGN_IN_LIMITS", HIGH_LIMITS.to_owned()),
            ("MUTATION_LIMITS", "person=100000/1m".to_owned()),
            (
                "RECOVERY_LIMITS",
                "network=100000/1m,email=100000/1m,person=100000/1m,service=100000/1m".to_owned(),
            ),
            (
                "RECOVERY_TOKEN_LIMITS",
                "network=100000/1m,service=100000/1m".to_owned(),
            ),
            (
                "REFRESH_LIMITS",
                "network=100000/1m,service=100000/1m,session=100000/1m".to_owned(),
            ),
            (
                "CHECK_PASSWORD_LIMITS",
                "network=100000/1m,service=100000/1m".to_owned(),
            ),
        ];
        self.service("identity", self.identity, own)
    }

    fn data(&self) -> Variables {
        let own = [
            ("ALLOWED_SERVICES", DATA_ADMITS.to_owned()),
            ("SECRET_KEY", self.secrets.data_secret_key.clone()),
            ("IDENTITY_URL", format!("https://localhost:{}", self.identity.api)),
            ("MESSAGE_KEYS", self.secrets.message_keys.clone()),
            // Some tests write as fast as they can.
            ("MUTATION_LIMIT", "1000000/1m".to_owned()),
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
