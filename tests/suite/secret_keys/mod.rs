//! The ring of secrets for keyed hashes: rotation with everything alive, replicas with rings of another order, missing
//! keys.

mod everything_stored;
mod replicas;
mod rotation;

use std::process::Command;

use anyhow::Result;
use base64::prelude::{BASE64_STANDARD, Engine};
use haven_testkit::{Stack, binaries::Binaries, service::Service};

/// A new key of a ring, with the id `k2`.
fn new_key() -> String {
    format!("k2:{}", BASE64_STANDARD.encode(rand::random::<[u8; 32]>()))
}

/// The rings of one service while its key is rotated.
struct Rings {
    old: String,
    new: String,
}

impl Rings {
    /// Returns rings from the service's own key to a new one.
    fn of(service: &Service) -> Self {
        Self {
            old: service.variables["SECRET_KEY"].clone(),
            new: new_key(),
        }
    }

    /// Returns the ring in which the new key only accepts.
    fn new_last(&self) -> String {
        format!("{},{}", self.old, self.new)
    }

    /// Returns the ring in which the old key only accepts.
    fn new_first(&self) -> String {
        format!("{},{}", self.new, self.old)
    }
}

/// Restarts a service with this ring.
async fn restart(service: &mut Service, ring: &str) -> Result<()> {
    service.stop();
    service.variables.insert("SECRET_KEY".to_owned(), ring.to_owned());
    service.start().await
}

/// Runs `secret-keys status` of a service with this ring. Returns the exit code, and what it printed.
async fn status(stack: &Stack, service: &str, ring: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(Binaries::build().unwrap().of(service));
    command
        .args(["secret-keys", "status"])
        .env_clear()
        .env("ENVIRONMENT", "development")
        .env(
            "WORKER_DATABASE_URL",
            stack.database.url(&format!("{service}_worker")),
        )
        .env("SECRET_KEY", ring);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}
