//! A background task that reloads the ended sessions from the database, so that this replica refuses the access tokens of
//! sessions that another replica ended within seconds.

use std::{sync::Arc, time::Duration};

use haven_platform::{
    auth::{EndedSessions, SessionDigest},
    database::DbError,
    periodic::limited,
    task_rounds::TaskRounds,
    time::Clock,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::store::session::Sessions;

/// The interval at which the ended sessions are loaded.
const TICK: Duration = Duration::from_secs(2);

/// The maximum time of a round: longer than the statement may take.
const ROUND_LIMIT: Duration = Duration::from_secs(15);

/// Replaces `ended` with the ended sessions of the database at each tick, until `stop` is cancelled. While the database
/// cannot be reached, `ended` does not change.
pub async fn reload(ended: Arc<EndedSessions>, sessions: Sessions, clock: Clock, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let rounds = TaskRounds::of("ended sessions");
    let mut outage = false;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let loaded = limited(ROUND_LIMIT, sessions.all_ended(clock.now())).await;
        rounds.count(loaded.is_ok());
        outage = report(outage, &loaded);
        if let Ok(digests) = loaded {
            ended.replace(digests);
        }
    }
}

/// Logs an outage once when it begins, and once when it ends. Returns whether there is one now.
fn report(outage: bool, loaded: &Result<Vec<SessionDigest>, DbError>) -> bool {
    match loaded {
        Err(error) if !outage => {
            tracing::warn!(%error, "cannot load the ended sessions: those loaded before stay in effect");
        }
        Ok(_) if outage => tracing::info!("loading the ended sessions again"),
        Ok(_) | Err(_) => {}
    }
    loaded.is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_until_the_sessions_are_loaded() {
        let failed = || Err(DbError::unexpected("x"));
        assert!(!report(false, &Ok(vec![])));
        assert!(report(false, &failed()));
        assert!(report(true, &failed()));
        assert!(!report(true, &Ok(vec![])));
    }
}
