//! A background task that reads the ended sessions from the database, so that this replica refuses the access tokens of
//! sessions that another replica ended within seconds.
//!
//! The whole list is read at the start and every few minutes, which forgets sessions with expired tokens. In between each round
//! reads what was added since the last one, so that its cost follows what happened and not the length of the list.

use std::{sync::Arc, time::Duration};

use haven_platform::{
    auth::EndedSessions, database::DbError, periodic::limited, task_rounds::TaskRounds, time::Clock,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::store::session::{Place, Sessions};

/// The interval at which the ended sessions are read.
const TICK: Duration = Duration::from_secs(2);

/// The number of rounds after which the whole list is read again: five minutes.
const ROUNDS_PER_LIST: u32 = 150;

/// The maximum time of a round: longer than its statements may take.
const ROUND_LIMIT: Duration = Duration::from_secs(15);

/// What a round begins with.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// Where the last successful round ended.
    place: Place,
    /// The number of rounds since the whole list was read.
    rounds: u32,
}

/// Reads the ended sessions of the database into `ended` at each tick, until `stop` is cancelled. While the database cannot be
/// reached, `ended` does not change.
pub async fn reload(ended: Arc<EndedSessions>, sessions: Sessions, clock: Clock, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let rounds = TaskRounds::of("ended sessions");
    let (mut outage, mut last) = (false, None);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let read = limited(ROUND_LIMIT, round(&ended, &sessions, &clock, last)).await;
        rounds.count(read.is_ok());
        outage = report(outage, &read);
        if let Ok(read) = read {
            last = Some(read);
        }
    }
}

/// Reads what was added since `last`; or all, when there was no round before, when it is time, or when the database is not
/// the one of `last`.
async fn round(
    ended: &EndedSessions,
    sessions: &Sessions,
    clock: &Clock,
    last: Option<Last>,
) -> Result<Last, DbError> {
    if let Some(Last { place, rounds }) = last
        && rounds < ROUNDS_PER_LIST
        && let Some(read) = sessions.ended_after(place, clock.now()).await?
    {
        ended.extend(read.digests);
        return Ok(Last {
            place: read.place,
            rounds: rounds + 1,
        });
    }
    let read = sessions.all_ended(clock.now()).await?;
    ended.replace(read.digests);
    Ok(Last {
        place: read.place,
        rounds: 0,
    })
}

/// Logs an outage once when it begins, and once when it ends. Returns whether there is one now.
fn report<T>(outage: bool, read: &Result<T, DbError>) -> bool {
    match read {
        Err(error) if !outage => {
            tracing::warn!(%error, "cannot load the ended sessions: those loaded before stay in effect");
        }
        Ok(_) if outage => tracing::info!("loading the ended sessions again"),
        Ok(_) | Err(_) => {}
    }
    read.is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_until_the_sessions_are_loaded() {
        let failed = || Err::<(), _>(DbError::unexpected("x"));
        assert!(!report(false, &Ok(())));
        assert!(report(false, &failed()));
        assert!(report(true, &failed()));
        assert!(!report(true, &Ok(())));
    }
}
