//! Readiness: the status that the readiness probe reports, from the inspection of the database, a ping every second, and
//! what is needed to verify access tokens.
//!
//! A single ping without an answer changes nothing: a database that is slow for a moment would take all replicas out of
//! service at once. A standby does: calls must go to a replica that reaches the primary.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    application::Inspection,
    auth::TokenState,
    config::Environment,
    database::{Database, DbError, InspectionError},
    server::Health,
};

/// The interval between two checks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The interval between two checks at start whether access tokens can be verified.
const TOKEN_STATE_INTERVAL: Duration = Duration::from_millis(50);

/// The maximum time of the inspection at the start: longer than its looks for a pooler and for missing keys may take.
const INSPECTION_TIMEOUT: Duration = Duration::from_secs(20);

/// The maximum time for the database to answer a check.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The number of pings without an answer, one after the other, after which the service is not ready.
const MAX_FAILURES: u32 = 3;

/// Checks whether the service can serve: the database passed its inspection, and answers; and access tokens can be
/// verified.
pub(crate) struct Readiness {
    pub(crate) database: Arc<Database>,
    pub(crate) newest: i64,
    pub(crate) environment: Environment,
    pub(crate) inspection: Inspection,
    /// What is needed to verify access tokens. `None` when no token is verified.
    pub(crate) tokens: Option<TokenState>,
    pub(crate) health: Health,
}

impl Readiness {
    /// Keeps the health status up to date. Returns only when the database must not be served from, with the reasons.
    pub(crate) async fn monitor(self, stop: CancellationToken) -> String {
        self.health.alive().await;
        let mut waiting = false;
        loop {
            let inspected = timeout(INSPECTION_TIMEOUT, self.inspect()).await;
            match inspected.unwrap_or_else(|_| Err(DbError::deadline().into())) {
                Ok(()) => break,
                Err(InspectionError::Refused(problems)) => return problems,
                Err(InspectionError::Unavailable(error)) if !waiting => {
                    waiting = true;
                    tracing::warn!(%error, "waiting for the database");
                }
                Err(InspectionError::Unavailable(_)) => {}
            }
            sleep(INTERVAL).await;
        }
        self.wait_for_token_state(&stop).await;
        let mut ready = None;
        let mut pings = Pings::default();
        loop {
            if stop.is_cancelled() {
                // The server reports NOT_SERVING from here on; this task must not override it.
                std::future::pending::<()>().await;
            }
            self.database.record_pool_use();
            let answers = pings.is_ready(&self.database.ping(PING_TIMEOUT).await);
            if ready != Some(answers) && !stop.is_cancelled() {
                ready = Some(answers);
                self.health.ready(answers).await;
                if answers {
                    tracing::info!("ready");
                } else {
                    tracing::warn!(reason = pings.reason, "not ready");
                }
            }
            sleep(INTERVAL).await;
        }
    }

    /// Waits until access tokens can be verified. What has arrived once stays, so this happens only at start: a service
    /// that goes on with what it has is ready while the issuer is down.
    async fn wait_for_token_state(&self, stop: &CancellationToken) {
        let Some(tokens) = &self.tokens else { return };
        let mut waiting = false;
        while let Some(missing) = tokens.missing() {
            if stop.is_cancelled() {
                return;
            }
            if !waiting {
                waiting = true;
                tracing::warn!("not ready: waiting for {missing}");
            }
            sleep(TOKEN_STATE_INTERVAL).await;
        }
    }

    /// Inspects the database, and then the stored data.
    async fn inspect(&self) -> Result<(), InspectionError> {
        self.database.inspect(self.newest, self.environment).await?;
        (self.inspection)().await
    }
}

/// The outcomes of the last pings.
#[derive(Debug, Default)]
struct Pings {
    /// The number of pings without an answer since the last one with an answer.
    failures: u32,
    /// Why the last ping failed, for the log.
    reason: &'static str,
}

impl Pings {
    /// Returns whether the service is ready after `ping`.
    fn is_ready(&mut self, ping: &Result<(), DbError>) -> bool {
        match ping {
            Ok(()) => self.failures = 0,
            Err(error) if error.is_standby() => {
                self.failures = MAX_FAILURES;
                self.reason = "the database server is a standby";
            }
            Err(_) => {
                self.failures = MAX_FAILURES.min(self.failures + 1);
                self.reason = "the database does not answer";
            }
        }
        self.failures < MAX_FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_ping_changes_nothing_and_a_standby_does() {
        let slow = || Err(DbError::deadline());
        let mut pings = Pings::default();
        for (ping, expected) in [
            (Ok(()), true),
            (slow(), true),
            (slow(), true),
            (Ok(()), true),
            (slow(), true),
            (slow(), true),
            (slow(), false),
            (slow(), false),
            (Ok(()), true),
            (Err(DbError::standby()), false),
            (slow(), false),
            (Ok(()), true),
        ] {
            assert_eq!(pings.is_ready(&ping), expected, "{ping:?} {pings:?}");
        }
    }
}
