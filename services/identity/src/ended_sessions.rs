//! The sessions that have ended, kept as the database has them: those that another replica ended are refused here within
//! seconds, too.

use std::{sync::Arc, time::Duration};

use haven_platform::{auth::EndedSessions, database::DbError, time::Clock};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::session::Sessions;

/// How often they are loaded.
const TICK: Duration = Duration::from_secs(2);

/// Keeps `ended` as `sessions` has them, from now on and until `stop` says so. What it holds stays while the database
/// cannot be reached.
pub async fn keep(ended: Arc<EndedSessions>, sessions: Sessions, clock: Clock, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut outage = false;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let loaded = sessions.all_ended(clock.now()).await;
        outage = report(outage, &loaded);
        if let Ok(ids) = loaded {
            ended.replace(ids);
        }
    }
}

/// Says an outage once when it begins, and once when it ends. Answers whether there is one now.
fn report(outage: bool, loaded: &Result<Vec<Uuid>, DbError>) -> bool {
    match loaded {
        Err(error) if !outage => {
            tracing::warn!(%error, "ended sessions cannot be loaded: those that are known stay");
        }
        Ok(_) if outage => tracing::info!("ended sessions are loaded again"),
        Ok(_) | Err(_) => {}
    }
    loaded.is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_until_something_is_loaded() {
        let failed = || Err(DbError::unexpected("x"));
        assert!(!report(false, &Ok(vec![])));
        assert!(report(false, &failed()));
        assert!(report(true, &failed()));
        assert!(!report(true, &Ok(vec![])));
    }
}
