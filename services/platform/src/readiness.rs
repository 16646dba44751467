//! Whether a service can serve: what its readiness probe is told.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    application::Inspection,
    config::Environment,
    database::{Database, InspectionError},
    server::Health,
};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the database may take to say that it is there.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the service can serve: its database was inspected, and answers.
pub(crate) struct Readiness {
    pub(crate) database: Arc<Database>,
    pub(crate) newest: i64,
    pub(crate) environment: Environment,
    pub(crate) inspection: Inspection,
    pub(crate) health: Health,
}

impl Readiness {
    /// Keeps health up to date. Returns only when the database is one that must not be served from, and says why.
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
        let mut ready = None;
        loop {
            if stop.is_cancelled() {
                // The server tells health that it is stopping; it must not be told otherwise.
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

    /// Whether the database may be served from, and what is stored in it can be.
    async fn inspect(&self) -> Result<(), InspectionError> {
        self.database.inspect(self.newest, self.environment).await?;
        (self.inspection)().await
    }
}
