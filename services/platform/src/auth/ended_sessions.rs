//! The sessions whose tokens are refused though they have not expired.

use std::{
    collections::HashSet,
    future::pending,
    mem,
    sync::{PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use crate::{deadline::Deadline, failure::Failure, reason::Reason};

/// How long a call waits for the first list.
const WAIT: Duration = Duration::from_secs(2);

/// The sessions of our own issuer that were ended.
///
/// Whoever fills it calls [`EndedSessions::replace`] again and again; what it holds stays, however long nobody does.
/// Until the first time nothing is known, and no token is believed.
#[derive(Debug)]
pub struct EndedSessions {
    sessions: RwLock<Sessions>,
    loaded: watch::Sender<bool>,
}

/// A session is in one of them or in several.
#[derive(Debug, Default)]
struct Sessions {
    listed: HashSet<Uuid>,
    /// Added since the last list came.
    added: HashSet<Uuid>,
    /// Added before that, and after the list before it: the last list may have been read before they were ended.
    added_before: HashSet<Uuid>,
}

impl EndedSessions {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sessions: RwLock::default(),
            loaded: watch::Sender::new(false),
        }
    }

    /// These sessions and no others; but what was added while the list was on its way stays until the next one.
    pub fn replace(&self, ids: impl IntoIterator<Item = Uuid>) {
        let listed = ids.into_iter().collect();
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        sessions.listed = listed;
        sessions.added_before = mem::take(&mut sessions.added);
        drop(sessions);
        self.loaded.send_replace(true);
    }

    /// This one, too: whoever ends a session need not wait for the next list.
    pub fn add(&self, id: Uuid) {
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        sessions.added.insert(id);
        drop(sessions);
        // Who waits for the end of a session looks again.
        self.loaded.send_modify(|_| {});
    }

    /// Whether `id` was ended.
    ///
    /// # Errors
    ///
    /// SESSION_REVOKED when it was; DEPENDENCY_UNAVAILABLE when it is not known, because there was no list yet.
    pub(super) async fn check(&self, id: Uuid, deadline: Deadline) -> Result<(), Failure> {
        let loaded = *self.loaded.borrow();
        if !loaded && !self.read().contains(id) {
            let until = (Instant::now() + WAIT).min(deadline.instant());
            let mut loading = self.loaded.subscribe();
            let loaded = timeout_at(until, loading.wait_for(|loaded| *loaded)).await;
            if !matches!(loaded, Ok(Ok(_))) {
                return Err(Failure::new(Reason::DependencyUnavailable));
            }
        }
        match self.read().contains(id) {
            true => Err(Failure::new(Reason::SessionRevoked)),
            false => Ok(()),
        }
    }

    /// Waits until `id` is known to have been ended, however long that takes.
    pub(super) async fn ended(&self, id: Uuid) {
        // From here on it is told of every change, so none falls between the look and the wait.
        let mut changes = self.loaded.subscribe();
        while !self.read().contains(id) {
            if changes.changed().await.is_err() {
                return pending().await;
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Sessions> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for EndedSessions {
    fn default() -> Self {
        Self::new()
    }
}

impl Sessions {
    fn contains(&self, id: Uuid) -> bool {
        [&self.listed, &self.added, &self.added_before]
            .iter()
            .any(|sessions| sessions.contains(&id))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    async fn refused(ended: &EndedSessions, id: Uuid) -> Option<Reason> {
        let soon = Deadline::after(Duration::from_millis(20));
        ended.check(id, soon).await.err().map(|failure| failure.reason())
    }

    #[tokio::test]
    async fn a_list_takes_the_place_of_the_one_before() {
        let ended = EndedSessions::new();
        ended.replace([A]);
        assert_eq!(refused(&ended, A).await, Some(Reason::SessionRevoked));
        assert_eq!(refused(&ended, B).await, None);
        ended.replace([B]);
        assert_eq!(refused(&ended, A).await, None);
        assert_eq!(refused(&ended, B).await, Some(Reason::SessionRevoked));
    }

    #[tokio::test]
    async fn what_was_added_while_a_list_was_on_its_way_is_not_forgotten() {
        let ended = EndedSessions::new();
        ended.replace([]);
        ended.add(A);
        // This list was read before A was ended; the next one was not.
        ended.replace([]);
        assert_eq!(refused(&ended, A).await, Some(Reason::SessionRevoked));
        ended.replace([]);
        assert_eq!(refused(&ended, A).await, None);
    }

    #[tokio::test]
    async fn who_waits_for_an_end_is_told_of_it_by_either_way() {
        let ended = Arc::new(EndedSessions::new());
        ended.replace([]);
        for by_list in [true, false] {
            let id = if by_list { A } else { B };
            let waiting = tokio::spawn({
                let ended = Arc::clone(&ended);
                async move { ended.ended(id).await }
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
            ended.replace([]);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!waiting.is_finished());
            match by_list {
                true => ended.replace([id]),
                false => ended.add(id),
            }
            let told = tokio::time::timeout(Duration::from_secs(30), waiting).await;
            told.expect("told").unwrap();
        }
    }

    #[tokio::test]
    async fn without_any_list_nobody_is_believed() {
        let ended = Arc::new(EndedSessions::new());
        assert_eq!(refused(&ended, A).await, Some(Reason::DependencyUnavailable));
        ended.add(A);
        assert_eq!(refused(&ended, A).await, Some(Reason::SessionRevoked));

        let filler = Arc::clone(&ended);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            filler.replace([]);
        });
        let patient = Deadline::after(Duration::from_secs(30));
        assert!(ended.check(B, patient).await.is_ok());
    }
}
