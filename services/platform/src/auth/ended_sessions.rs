//! The ended sessions. Their tokens are refused although they have not expired.

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

use super::session_digest::SessionDigest;
use crate::{call::UserId, deadline::Deadline, failure::Failure, reason::Reason};

/// The maximum time for which a call waits for the first list.
const WAIT: Duration = Duration::from_secs(2);

/// The ended sessions of Haven's own issuer.
///
/// The service that uses the set calls [`EndedSessions::replace`] at an interval, and [`EndedSessions::extend`] in between;
/// until then the contents stay, however long that takes. Before the first call no session is known, and no token is accepted.
#[derive(Debug)]
pub struct EndedSessions {
    sessions: RwLock<Sessions>,
    loaded: watch::Sender<bool>,
}

/// The ended sessions by the way in which they became known. A session can be in several sets.
#[derive(Debug, Default)]
struct Sessions {
    listed: HashSet<SessionDigest>,
    /// Sessions added since the last list arrived.
    added: HashSet<SessionDigest>,
    /// Sessions added between the last list and the one before it. The last list may have been read before they ended.
    added_before: HashSet<SessionDigest>,
}

impl EndedSessions {
    /// Creates a set that has not received its first list.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sessions: RwLock::default(),
            loaded: watch::Sender::new(false),
        }
    }

    /// Replaces the list. Sessions added while the list was being read stay until the next list.
    pub fn replace(&self, digests: impl IntoIterator<Item = SessionDigest>) {
        let listed = digests.into_iter().collect();
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        sessions.listed = listed;
        sessions.added_before = mem::take(&mut sessions.added);
        drop(sessions);
        self.loaded.send_replace(true);
    }

    /// Adds sessions to the list, which stay in it until the next list.
    pub fn extend(&self, digests: impl IntoIterator<Item = SessionDigest>) {
        let mut digests = digests.into_iter().peekable();
        if digests.peek().is_none() {
            return;
        }
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        sessions.listed.extend(digests);
        drop(sessions);
        // Wakes the streams that wait for the end of a session.
        self.loaded.send_modify(|_| {});
    }

    /// Adds one session of `user`, which is then refused without waiting for the next list.
    pub fn add(&self, user: UserId, session: Uuid) {
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        sessions.added.insert(SessionDigest::of(user, session));
        drop(sessions);
        // Wakes the streams that wait for the end of a session.
        self.loaded.send_modify(|_| {});
    }

    /// Returns whether the first list has arrived.
    pub(super) fn has_list(&self) -> bool {
        *self.loaded.borrow()
    }

    /// Checks that `session` of `user` has not ended. Waits for the first list if necessary.
    ///
    /// # Errors
    ///
    /// SESSION_REVOKED when it has ended; DEPENDENCY_UNAVAILABLE when no list arrived in time.
    pub(super) async fn check(&self, user: UserId, session: Uuid, deadline: Deadline) -> Result<(), Failure> {
        let names = names(user, session);
        let loaded = *self.loaded.borrow();
        if !loaded && !self.read().contains(&names) {
            let until = (Instant::now() + WAIT).min(deadline.instant());
            let mut loading = self.loaded.subscribe();
            let loaded = timeout_at(until, loading.wait_for(|loaded| *loaded)).await;
            if !matches!(loaded, Ok(Ok(_))) {
                return Err(Failure::new(Reason::DependencyUnavailable));
            }
        }
        match self.read().contains(&names) {
            true => Err(Failure::new(Reason::SessionRevoked)),
            false => Ok(()),
        }
    }

    /// Waits until `session` of `user` is known to have ended, for an unlimited time.
    pub(super) async fn ended(&self, user: UserId, session: Uuid) {
        let names = names(user, session);
        // Subscribed before the check, so that a change between check and wait is not missed.
        let mut changes = self.loaded.subscribe();
        while !self.read().contains(&names) {
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
    fn contains(&self, names: &[SessionDigest; 2]) -> bool {
        let sets = [&self.listed, &self.added, &self.added_before];
        names.iter().any(|name| sets.iter().any(|set| set.contains(name)))
    }
}

/// Returns the digests under which a session can be listed. The second one is that of a session that identity listed before
/// it knew users with the list.
fn names(user: UserId, session: Uuid) -> [SessionDigest; 2] {
    [
        SessionDigest::of(user, session),
        SessionDigest::without_user(session),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);
    const USER: UserId = UserId::new(Uuid::from_u128(3));

    fn of(session: Uuid) -> SessionDigest {
        SessionDigest::of(USER, session)
    }
    const C: Uuid = Uuid::from_u128(3);

    async fn refused(ended: &EndedSessions, id: Uuid) -> Option<Reason> {
        let soon = Deadline::after(Duration::from_millis(20));
        ended
            .check(USER, id, soon)
            .await
            .err()
            .map(|failure| failure.reason())
    }

    #[tokio::test]
    async fn a_list_replaces_the_one_before() {
        let ended = EndedSessions::new();
        ended.replace([of(A)]);
        assert_eq!(refused(&ended, A).await, Some(Reason::SessionRevoked));
        assert_eq!(refused(&ended, B).await, None);
        ended.replace([of(B)]);
        assert_eq!(refused(&ended, A).await, None);
        assert_eq!(refused(&ended, B).await, Some(Reason::SessionRevoked));
    }

    #[tokio::test]
    async fn a_session_of_another_user_with_the_same_id_is_accepted() {
        let ended = EndedSessions::new();
        let other = UserId::new(Uuid::from_u128(4));
        ended.replace([SessionDigest::of(other, A)]);
        assert_eq!(refused(&ended, A).await, None);
        ended.add(other, A);
        assert_eq!(refused(&ended, A).await, None);
        ended.replace([SessionDigest::without_user(A)]);
        assert_eq!(refused(&ended, A).await, Some(Reason::SessionRevoked));
    }

    #[tokio::test]
    async fn a_session_added_while_a_list_is_being_read_stays() {
        let ended = EndedSessions::new();
        ended.replace([]);
        ended.add(USER, A);
        // This list was read before A ended; the next one was not.
        ended.replace([]);
        assert_eq!(refused(&ended, A).await, Some(Reason::SessionRevoked));
        ended.replace([]);
        assert_eq!(refused(&ended, A).await, None);
    }

    #[tokio::test]
    async fn a_session_that_extends_the_list_stays_until_the_next_list() {
        let ended = EndedSessions::new();
        ended.replace([of(A)]);
        ended.extend([of(B)]);
        ended.extend([]);
        assert_eq!(refused(&ended, A).await, Some(Reason::SessionRevoked));
        assert_eq!(refused(&ended, B).await, Some(Reason::SessionRevoked));
        ended.replace([of(A)]);
        assert_eq!(refused(&ended, B).await, None);
    }

    #[tokio::test]
    async fn a_waiter_is_notified_by_a_list_and_by_an_addition() {
        let ended = Arc::new(EndedSessions::new());
        ended.replace([]);
        for (way, id) in [("list", A), ("extension", C), ("addition", B)] {
            let waiting = tokio::spawn({
                let ended = Arc::clone(&ended);
                async move { ended.ended(USER, id).await }
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
            ended.replace([]);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!waiting.is_finished());
            match way {
                "list" => ended.replace([of(id)]),
                "extension" => ended.extend([of(id)]),
                _ => ended.add(USER, id),
            }
            let notified = tokio::time::timeout(Duration::from_secs(30), waiting).await;
            notified.expect("notified in time").unwrap();
        }
    }

    #[tokio::test]
    async fn without_a_list_no_session_is_accepted() {
        let ended = Arc::new(EndedSessions::new());
        assert_eq!(refused(&ended, A).await, Some(Reason::DependencyUnavailable));
        ended.add(USER, A);
        assert_eq!(refused(&ended, A).await, Some(Reason::SessionRevoked));

        let filler = Arc::clone(&ended);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            filler.replace([]);
        });
        let patient = Deadline::after(Duration::from_secs(30));
        assert!(ended.check(USER, B, patient).await.is_ok());
    }
}
