//! Passwords, hashed and checked in turn.

use std::sync::Arc;

use haven_platform::{
    deadline::Deadline,
    hashing::{HashQueue, Memory},
};

use super::{
    error::HashingError,
    hasher::{Hasher, Verdict},
};
use crate::domain::{account::PasswordHash, password::Password};

/// What every call that has to do with a password uses. Cloning shares the queue.
#[derive(Clone, Debug)]
pub struct Passwords {
    admission: HashQueue,
    hasher: Arc<Hasher>,
}

/// What a check found that replaces an outdated hash.
#[derive(Clone, Debug)]
pub enum Checked {
    /// It is not the password, or there is none.
    Wrong,
    /// It is the password.
    Right {
        /// Its hash as it is made today, to be stored in the place of the one that was checked; none when that is as good.
        upgraded: Option<PasswordHash>,
    },
}

// === impl Passwords ===

impl Passwords {
    /// Computes by `hasher`, whenever `admission` lets it.
    #[must_use]
    pub fn new(admission: HashQueue, hasher: Arc<Hasher>) -> Self {
        Self { admission, hasher }
    }

    /// Checks `password` against `stored`. Without one it does the same work and the answer is [`Verdict::Wrong`], so that
    /// the time tells nobody who has an account.
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
        self.run(deadline, move |hasher, memory| {
            hasher.verify(&password, stored.as_ref(), memory)
        })
        .await?
    }

    /// Checks like [`verify`](Self::verify), and in the same turn hashes the password again when it is right and its hash
    /// is outdated.
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
        self.run(deadline, move |hasher, memory| {
            let checked = hasher.verify(&password, stored.as_ref(), memory);
            if checked.is_err() {
                // What cannot be checked takes as long as what is wrong.
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

    /// Computes whatever else needs a turn, on a thread for that: a sign-up has its password checked against the policy and
    /// hashed in one.
    ///
    /// # Errors
    ///
    /// [`HashingError::Overloaded`] when there is no turn before `deadline`; [`HashingError::Internal`] when `compute`
    /// panics or the runtime is shutting down.
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Deadline,
        compute: impl FnOnce(&Hasher, &mut Memory) -> T + Send + 'static,
    ) -> Result<T, HashingError> {
        let hasher = Arc::clone(&self.hasher);
        let slot = self.admission.acquire(deadline).await?;
        slot.run(move |memory| compute(&hasher, memory))
            .await
            .map_err(HashingError::internal)
    }
}

/// Says what the metrics of this file mean, for whoever scrapes them.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "haven_hash_outdated_total",
        metrics::Unit::Count,
        "Sign-ins with a hash whose parameters or pepper are not today's"
    );
}

#[cfg(test)]
mod tests {
    use std::{
        num::NonZeroUsize,
        time::{Duration, Instant},
    };

    use base64::{Engine, engine::general_purpose::STANDARD};
    use haven_platform::entropy::Entropy;

    use super::{super::pepper::Peppers, *};
    use crate::hashing::Unusable;

    fn passwords(peppers: &[(&str, u8)]) -> Passwords {
        let list: Vec<_> = peppers
            .iter()
            .map(|(id, byte)| format!("{id}:{}", STANDARD.encode([*byte; 32])))
            .collect();
        let peppers = Peppers::parse(&list.join(",").into()).unwrap();
        let hasher = Hasher::new(peppers, Entropy::seeded(1)).unwrap();
        Passwords::new(HashQueue::new(NonZeroUsize::MIN), Arc::new(hasher))
    }

    fn password(text: &str) -> Password {
        Password::present(text.into()).unwrap()
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(30))
    }

    #[tokio::test]
    async fn an_outdated_hash_is_replaced_when_it_proves_right_and_only_then() {
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
                panic!("is outdated");
            };
            assert!(upgraded.expose().contains("keyid=azI"), "k2, in base64");
            let again = check(text, upgraded).await.unwrap();
            assert!(matches!(again, Checked::Right { upgraded: None }), "{again:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_checked_takes_as_long_as_what_is_wrong() {
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
        // The shortest of several, by turns: another test's work makes one longer, and none shorter, whichever it meets.
        let (mut wrong, mut unusable) = (Duration::MAX, Duration::MAX);
        for _ in 0..20 {
            wrong = wrong.min(takes(None).await);
            unusable = unusable.min(takes(Some(stored.clone())).await);
        }
        // Without the hash it would be a thousandth, and no machine is busy enough for that.
        assert!(
            unusable > wrong / 10,
            "{unusable:?}, and {wrong:?} without an account"
        );
    }

    #[tokio::test]
    async fn what_goes_wrong_has_its_name() {
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
