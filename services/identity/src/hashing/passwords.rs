//! Hashing and checking passwords in the hashing queue.

use std::sync::Arc;

use haven_platform::{
    deadline::Deadline,
    hashing::{HashLane, HashQueue, Memory},
};

use super::{
    error::HashingError,
    hasher::{Hasher, Verdict},
};
use crate::domain::{account::PasswordHash, password::Password};

/// Hashes and checks passwords. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Passwords {
    queue: HashQueue,
    /// The lane of imported hashes, which may need more memory and more time than those of the queue.
    lane: HashLane,
    hasher: Arc<Hasher>,
}

/// The result of a check that also replaces an outdated hash.
#[derive(Clone, Debug)]
pub enum Checked {
    /// The password is wrong, or there is no account.
    Wrong,
    /// The password is right.
    Right {
        /// The password's hash with current parameters, to store instead of the checked one. `None` when that one is
        /// current.
        upgraded: Option<PasswordHash>,
    },
}

// === impl Passwords ===

impl Passwords {
    /// Computes with `hasher`, in turns of `queue`; checks of imported hashes are in turns of `lane`.
    #[must_use]
    pub fn new(queue: HashQueue, lane: HashLane, hasher: Arc<Hasher>) -> Self {
        Self { queue, lane, hasher }
    }

    /// The hasher, for what needs no turn.
    #[must_use]
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// Checks `password` against `stored`. When `stored` is `None`, does the same work and returns [`Verdict::Wrong`],
    /// so that the time does not reveal which addresses have accounts.
    ///
    /// # Errors
    ///
    /// [`HashingError`].
    pub async fn verify(
        &self,
        password: Password,
        stored: Option<PasswordHash>,
        deadline: Deadline,
    ) -> Result<Verdict, HashingError> {
        match self.imported_kib(stored.as_ref()) {
            Some(kib) => self.verify_imported(password, stored, kib, deadline).await,
            None => {
                self.run(deadline, move |hasher, memory| {
                    hasher.verify(&password, stored.as_ref(), memory)
                })
                .await?
            }
        }
    }

    /// Checks like [`verify`](Self::verify), and hashes the password again when it is right but its hash is outdated: in the
    /// same turn, or for an imported hash in a turn of the queue.
    ///
    /// # Errors
    ///
    /// [`HashingError`].
    pub async fn verify_and_upgrade(
        &self,
        password: Password,
        stored: Option<PasswordHash>,
        deadline: Deadline,
    ) -> Result<Checked, HashingError> {
        if let Some(kib) = self.imported_kib(stored.as_ref()) {
            return match self
                .verify_imported(password.clone(), stored, kib, deadline)
                .await
            {
                Ok(Verdict::Wrong) => Ok(Checked::Wrong),
                Ok(Verdict::Right) => Ok(Checked::Right { upgraded: None }),
                Ok(Verdict::RightButOutdated) => {
                    metrics::counter!("haven_hash_outdated_total").increment(1);
                    let hashed = self.run(deadline, move |hasher, memory| hasher.hash(&password, memory));
                    Ok(Checked::Right {
                        upgraded: Some(hashed.await??),
                    })
                }
                Err(error @ HashingError::Unusable(_)) => {
                    self.verify(password, None, deadline).await?;
                    Err(error)
                }
                Err(error) => Err(error),
            };
        }
        self.run(deadline, move |hasher, memory| {
            let checked = hasher.verify(&password, stored.as_ref(), memory);
            if checked.is_err() {
                // A hash that cannot be checked takes as long as a wrong password.
                hasher.verify(&password, None, memory)?;
            }
            let upgraded = match checked? {
                Verdict::Wrong => return Ok(Checked::Wrong),
                Verdict::Right => None,
                Verdict::RightButOutdated => {
                    metrics::counter!("haven_hash_outdated_total").increment(1);
                    Some(hasher.hash(&password, memory)?)
                }
            };
            Ok(Checked::Right { upgraded })
        })
        .await?
    }

    fn imported_kib(&self, stored: Option<&PasswordHash>) -> Option<u32> {
        stored.and_then(|stored| self.hasher.imported_kib(stored))
    }

    /// Checks `password` against an imported hash that needs `kib` KiB, in a turn of the lane.
    async fn verify_imported(
        &self,
        password: Password,
        stored: Option<PasswordHash>,
        kib: u32,
        deadline: Deadline,
    ) -> Result<Verdict, HashingError> {
        let hasher = Arc::clone(&self.hasher);
        let permit = self.lane.acquire(kib, deadline).await?;
        permit
            .run(move |memory| hasher.verify(&password, stored.as_ref(), memory))
            .await
            .map_err(HashingError::internal)?
    }

    /// Returns a new hash that no known password matches. Computes next to nothing, so it takes no turn.
    ///
    /// # Errors
    ///
    /// See [`Hasher::unmatched`].
    pub fn unmatched(&self) -> Result<PasswordHash, HashingError> {
        self.hasher.unmatched()
    }

    /// Runs `compute` in one turn of the queue, on a thread for blocking work. SignUp checks its password against the
    /// policy and hashes it in one turn.
    ///
    /// # Errors
    ///
    /// [`HashingError::Overloaded`] when the queue has no turn before `deadline`; [`HashingError::Internal`] when
    /// `compute` panics or the runtime is shutting down.
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Deadline,
        compute: impl FnOnce(&Hasher, &mut Memory) -> T + Send + 'static,
    ) -> Result<T, HashingError> {
        let hasher = Arc::clone(&self.hasher);
        let permit = self.queue.acquire(deadline).await?;
        permit
            .run(move |memory| compute(&hasher, memory))
            .await
            .map_err(HashingError::internal)
    }
}

/// Describes the metrics of this file for scrapers.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "haven_hash_outdated_total",
        metrics::Unit::Count,
        "Sign-ins with a stored hash that has outdated parameters or an outdated pepper"
    );
    metrics::counter!("haven_hash_outdated_total").absolute(0);
}

#[cfg(test)]
mod tests {
    use std::{
        num::NonZeroUsize,
        time::{Duration, Instant},
    };

    use base64::{Engine, engine::general_purpose::STANDARD};
    use haven_platform::entropy::Entropy;

    use super::{
        super::{imported_secrets::Imported, pepper::Peppers, stored_hash::Bounds},
        *,
    };
    use crate::hashing::Unusable;

    fn passwords(peppers: &[(&str, u8)]) -> Passwords {
        let list: Vec<_> = peppers
            .iter()
            .map(|(id, byte)| format!("{id}:{}", STANDARD.encode([*byte; 32])))
            .collect();
        let peppers = Peppers::parse(&list.join(",").into()).unwrap();
        let imported = Imported {
            bounds: Bounds { memory_kib: 65_536 },
            ..Imported::default()
        };
        let hasher = Hasher::new(peppers, imported, Entropy::seeded(1)).unwrap();
        let one = NonZeroUsize::MIN;
        Passwords::new(HashQueue::new(one), HashLane::new(one, 65_536), Arc::new(hasher))
    }

    fn password(text: &str) -> Password {
        Password::present(text.into()).unwrap()
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(30))
    }

    #[tokio::test]
    async fn an_outdated_hash_is_replaced_only_when_the_password_is_right() {
        let hash = |passwords: Passwords| async move {
            let hashed = passwords.run(soon(), |hasher, memory| hasher.hash(&password("x"), memory));
            hashed.await.unwrap().unwrap()
        };
        let (before, now) = (passwords(&[("k1", 1)]), passwords(&[("k2", 2), ("k1", 1)]));
        let bcrypt = "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe";
        for (stored, text) in [(hash(before).await, "x"), (PasswordHash::new(bcrypt.into()), "a")] {
            let check = |text, stored| now.verify_and_upgrade(password(text), Some(stored), soon());
            let wrong = check("wrong", stored.clone()).await.unwrap();
            assert!(matches!(wrong, Checked::Wrong), "{wrong:?}");
            let verdict = now.verify(password(text), Some(stored.clone()), soon());
            assert_eq!(verdict.await.unwrap(), Verdict::RightButOutdated);
            let Checked::Right {
                upgraded: Some(upgraded),
            } = check(text, stored).await.unwrap()
            else {
                panic!("the hash is outdated");
            };
            assert!(upgraded.expose().contains("keyid=azI"), "k2, in base64");
            let again = check(text, upgraded).await.unwrap();
            assert!(matches!(again, Checked::Right { upgraded: None }), "{again:?}");
        }
    }

    #[tokio::test]
    async fn imported_hashes_wait_for_each_other_and_not_for_the_queue() {
        let passwords = passwords(&[("k1", 1)]);
        // argon2-cffi 25.1.0, password_hash("x") with its defaults.
        let large = PasswordHash::new(super::super::import_format::tests::ARGON2_CFFI.into());
        let turn = passwords.queue.acquire(soon()).await.unwrap();
        let checked = passwords.verify(password("Grüße an Köln 7"), Some(large.clone()), soon());
        assert_eq!(
            checked.await,
            Ok(Verdict::RightButOutdated),
            "while the queue is full"
        );
        drop(turn);
        let turn = passwords.lane.acquire(65_536, soon()).await.unwrap();
        let own = passwords.run(soon(), |hasher, memory| hasher.hash(&password("x"), memory));
        let own = own.await.unwrap().unwrap();
        let checked = passwords.verify(password("x"), Some(own), soon());
        assert_eq!(checked.await, Ok(Verdict::Right), "while the lane is full");
        let late = Deadline::after(Duration::from_millis(300));
        let refused = passwords.verify(password("x"), Some(large), late).await;
        assert!(matches!(refused, Err(HashingError::Overloaded(_))), "{refused:?}");
        drop(turn);
    }

    #[tokio::test]
    async fn an_unusable_hash_takes_as_long_as_a_wrong_password() {
        let (mine, theirs) = (passwords(&[("k1", 1)]), passwords(&[("k2", 2)]));
        let stored = theirs.run(soon(), |hasher, memory| hasher.hash(&password("x"), memory));
        let stored = stored.await.unwrap().unwrap();
        let takes = async |stored: Option<PasswordHash>| {
            let expected = stored.is_some();
            let begin = Instant::now();
            let checked = mine.verify_and_upgrade(password("x"), stored, soon()).await;
            let took = begin.elapsed();
            match checked {
                Ok(Checked::Wrong) => assert!(!expected),
                Err(HashingError::Unusable(Unusable::Pepper)) => assert!(expected),
                other => panic!("{other:?}"),
            }
            took
        };
        // The minimum of several alternating measurements: other tests only make a measurement longer.
        let (mut wrong, mut unusable) = (Duration::MAX, Duration::MAX);
        for _ in 0..20 {
            wrong = wrong.min(takes(None).await);
            unusable = unusable.min(takes(Some(stored.clone())).await);
        }
        // Without hashing it would take a thousandth of the time, a difference that no load hides.
        assert!(
            unusable > wrong / 10,
            "{unusable:?}, and {wrong:?} without an account"
        );
    }

    #[tokio::test]
    async fn errors_are_distinguished() {
        let passwords = passwords(&[("k1", 1)]);
        let none = passwords.verify_and_upgrade(password("x"), None, soon());
        assert!(matches!(none.await.unwrap(), Checked::Wrong));
        let hostile =
            PasswordHash::new("$2b$31$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe".into());
        let refused = passwords.verify(password("x"), Some(hostile), soon()).await;
        assert_eq!(refused, Err(HashingError::Unusable(Unusable::Bounds)));
        let late = passwords
            .verify(password("x"), None, Deadline::after(Duration::ZERO))
            .await;
        assert!(matches!(late, Err(HashingError::Overloaded(_))), "{late:?}");
        let panicked = passwords.run(soon(), |_, _| panic!("kX9vQ2wZ")).await;
        assert!(
            matches!(&panicked, Err(HashingError::Internal(text)) if !text.contains("kX9vQ2wZ")),
            "{panicked:?}"
        );
    }
}
