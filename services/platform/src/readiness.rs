//! Readiness: the status that the readiness probe reports, from the inspection of the database, a ping every second, and
//! what is needed to verify access tokens.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    application::Inspection,
    auth::TokenState,
    config::Environment,
    database::{Database, InspectionError},
    server::Health,
};

/// The interval between two checks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The interval between two checks at start whether access tokens can be verified.
const TOKEN_STATE_INTERVAL: Duration = Duration::from_millis(50);

/// The maximum time for the database to answer a check.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

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
            match timeout(PING_TIMEOUT, self.inspect()).await {
                Ok(Ok(())) => break,
                Ok(Err(InspectionError::Refused(problems))) => return problems,
                Ok(Err(InspectionError::Unavailable(error))) if !waiting => {
                    waiting = true;
                    tracing::warn!(%error, "waiting for the database");
                }
                Ok(Err(InspectionError::Unavailable(_))) | Err(_) => {}
            }
            sleep(INTERVAL).await;
        }
        self.wait_for_token_state(&stop).await;
        let mut ready = None;
        loop {
            if stop.is_cancelled() {
                // The server reports NOT_SERVING from here on; this task must not override it.
                std::future::pending::<()>().await;
            }
            self.database.record_pool_use();
            let answers = matches!(timeout(PING_TIMEOUT, self.database.ping()).await, Ok(Ok(())));
            if ready != Some(answers) && !stop.is_cancelled() {
                ready = Some(answers);
                self.health.ready(answers).await;
                if answers {
                    tracing::info!("ready");
                } else {
                    tracing::warn!("not ready: the database does not answer");
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
