//! Hashing of share passcodes with argon2id (RFC 9106), at the same cost as passwords.
//!
//! The input is a keyed hash of the passcode, under a key derived from a secret of the service. So a copy of the database
//! alone does not allow guessing passcodes, however few there are.

use argon2::{
    Algorithm, Params, Version,
    password_hash::phc::{PasswordHash, Salt},
};
use haven_platform::{
    call::UserId,
    deadline::Deadline,
    hashing::{
        HashPermit, HashQueue, Interrupted, LANES, MAX_WAITING, MEMORY_KIB, OUTPUT_BYTES, Overloaded, PASSES,
        Recipe, SALT_BYTES,
    },
    mac::{KeyId, MAC_BYTES, MacKey, MacKeys, SecretKeys},
    network::Network,
    permits::{NoPermit, Permit, Permits},
};
use secrecy::zeroize::Zeroizing;
use thiserror::Error;

use crate::domain::encrypted::passcode::{Passcode, PasscodeHash};

/// The places in the hash queue for anonymous callers who open shares, and for those of one network, so that a crowd in one
/// network leaves places for others.
const OPENERS: usize = MAX_WAITING / 4 * 3;
const OPENERS_PER_NETWORK: usize = MAX_WAITING / 4;

/// The places for people who make shares: the rest. One person makes a few at a time.
const MAKERS: usize = MAX_WAITING - OPENERS;
const MAKERS_PER_PERSON: usize = 4;

/// Hashes passcodes. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Passcodes {
    queue: HashQueue,
    openers: Permits<Network>,
    makers: Permits<UserId>,
    keys: MacKeys,
    /// The recipe of new hashes.
    recipe: Recipe,
}

/// The reason why a passcode was not hashed.
#[derive(Debug, Error)]
pub enum PasscodeError {
    /// The hash queue is full, or too long for the deadline.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The callers that wait are too many, in all or of this holder.
    #[error(transparent)]
    NoPermit(#[from] NoPermit),
    /// The computation did not finish.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The stored recipe is invalid, or costs more than new hashes do.
    #[error("the stored recipe of a passcode is invalid or too expensive")]
    Recipe,
    /// A defect, or a lack of memory. The text says which, and has no private data.
    #[error("{0}")]
    Internal(String),
}

// === impl Passcodes ===

impl Passcodes {
    /// Creates a hasher that computes in `queue`, under keys derived from `secrets`.
    ///
    /// # Errors
    ///
    /// Internal when argon2 rejects the parameters, which are constants.
    pub fn new(queue: HashQueue, secrets: &SecretKeys) -> Result<Self, PasscodeError> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT_BYTES)).map_err(internal)?;
        let recipe = Recipe {
            algorithm: Algorithm::Argon2id,
            version: Version::V0x13,
            params,
        };
        Ok(Self {
            queue,
            openers: Permits::new(OPENERS, OPENERS_PER_NETWORK, "network"),
            makers: Permits::new(MAKERS, MAKERS_PER_PERSON, "user"),
            keys: MacKeys::derive(secrets, "data share passcodes"),
            recipe,
        })
    }

    /// Returns the hash of a passcode for a share of `person`, under the key with the id `key`. The salt is derived from
    /// `of`, which is unique to the use, and from the key. The same passcode for the same use therefore has the same hash,
    /// and retries are recognized by this hash: a faster one would help to guess passcodes.
    ///
    /// # Errors
    ///
    /// See [`PasscodeError`].
    pub async fn hash(
        &self,
        person: UserId,
        key: KeyId,
        passcode: &Passcode,
        of: &[&[u8]],
        deadline: Deadline,
    ) -> Result<PasscodeHash, PasscodeError> {
        let key = self.keys.get(key);
        let (salt, input) = (salt(key, of), input(key, passcode));
        let permit = self.makers.acquire(Some(person))?;
        let slot = self.queue.acquire(deadline).await?;
        drop(permit);
        self.compute(slot, input, self.recipe.clone(), salt).await
    }

    /// Returns a permit for an anonymous caller from `network` to try a passcode. Acquire it before any other work for
    /// the caller.
    ///
    /// # Errors
    ///
    /// Immediately, when no permit is left.
    pub fn anonymous_permit(&self, network: Option<Network>) -> Result<Permit<Network>, NoPermit> {
        self.openers.acquire(network)
    }

    /// Returns the hash of a passcode that an anonymous caller tries, by `recipe`, a stored hash without its output and the
    /// id of its key. Without a recipe, a decoy of the same cost is used, so that the time does not show whether there is
    /// one.
    ///
    /// # Errors
    ///
    /// See [`PasscodeError`].
    pub async fn hash_attempt(
        &self,
        permit: Permit<Network>,
        passcode: &Passcode,
        recipe: Option<(KeyId, &str)>,
        deadline: Deadline,
    ) -> Result<PasscodeHash, PasscodeError> {
        let (key, recipe, salt) = match recipe {
            Some((key, recipe)) => {
                let (recipe, salt) = read(recipe).ok_or(PasscodeError::Recipe)?;
                (self.keys.get(key), recipe, salt.to_vec())
            }
            None => {
                let key = self.keys.get(self.keys.first_id());
                (key, self.recipe.clone(), salt(key, &[b"decoy"]))
            }
        };
        let input = input(key, passcode);
        let slot = self.queue.acquire(deadline).await?;
        drop(permit);
        self.compute(slot, input, recipe, salt).await
    }

    async fn compute(
        &self,
        slot: HashPermit,
        input: Zeroizing<[u8; MAC_BYTES]>,
        recipe: Recipe,
        salt: Vec<u8>,
    ) -> Result<PasscodeHash, PasscodeError> {
        slot.run(move |memory| {
            let mut output = [0; OUTPUT_BYTES];
            recipe
                .compute(&[], input.as_slice(), &salt, &mut output, memory)
                .map_err(internal)?;
            let hash = recipe.phc_string(&salt, &output).map_err(internal)?;
            Ok(PasscodeHash::new(hash))
        })
        .await?
    }
}

/// Returns the input of the slow hash.
fn input(key: &MacKey, passcode: &Passcode) -> Zeroizing<[u8; MAC_BYTES]> {
    Zeroizing::new(key.mac(&[b"passcode", passcode.expose()]))
}

fn salt(key: &MacKey, of: &[&[u8]]) -> Vec<u8> {
    let parts = [[b"salt".as_slice()].as_slice(), of].concat();
    key.mac(&parts)[..SALT_BYTES].to_vec()
}

/// Parses a stored hash without its output into the recipe and the salt. `None` when it is invalid, or costs more than
/// new hashes do.
fn read(stored: &str) -> Option<(Recipe, Salt)> {
    let stored = PasswordHash::new(stored).ok()?;
    let params = Params::try_from(&stored).ok()?;
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    let within_bounds = stored.algorithm.as_str() == Algorithm::Argon2id.as_str()
        && stored.version == Some(Version::V0x13.into())
        && stored.hash.is_none()
        && params.m_cost() <= MEMORY_KIB
        && work <= u64::from(MEMORY_KIB) * u64::from(PASSES)
        && params.p_cost() <= LANES
        && params.keyid().is_empty()
        && params.data().is_empty();
    let recipe = Recipe {
        algorithm: Algorithm::Argon2id,
        version: Version::V0x13,
        params,
    };
    stored.salt.filter(|_| within_bounds).map(|salt| (recipe, salt))
}

fn internal(cause: impl std::fmt::Display) -> PasscodeError {
    PasscodeError::Internal(cause.to_string())
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroUsize, time::Duration};

    use argon2::{Argon2, PasswordVerifier};

    use super::*;

    const MAKER: UserId = UserId::new(uuid::Uuid::from_u128(1));

    fn passcodes(byte: u8) -> Passcodes {
        let secret = SecretKeys::one([byte; 32]);
        Passcodes::new(HashQueue::new(NonZeroUsize::MIN), &secret).unwrap()
    }

    fn passcode(text: &str) -> Passcode {
        Passcode::parse(text.into()).unwrap().unwrap()
    }

    fn permit(passcodes: &Passcodes) -> Permit<Network> {
        passcodes.anonymous_permit(None).unwrap()
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(30))
    }

    /// The part of a stored hash that the database returns.
    fn recipe(hash: &PasscodeHash) -> String {
        hash.expose().rsplit_once('$').unwrap().0.to_owned()
    }

    #[tokio::test]
    async fn only_the_same_passcode_under_the_same_key_has_the_same_hash() {
        let mine = passcodes(1);
        let hash = mine
            .hash(MAKER, KeyId::FIRST, &passcode("1234"), &[b"a"], soon())
            .await
            .unwrap();
        let phc = hash.expose();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        let same = mine
            .hash(MAKER, KeyId::FIRST, &passcode("1234"), &[b"a"], soon())
            .await
            .unwrap();
        assert_eq!(same.expose(), phc);
        let other = mine
            .hash(MAKER, KeyId::FIRST, &passcode("1234"), &[b"b"], soon())
            .await
            .unwrap();
        assert_ne!(recipe(&other), recipe(&hash), "another salt");

        let stored = recipe(&hash);
        let tried = async |by: &Passcodes, text, recipe: Option<&str>| {
            let tried = by
                .hash_attempt(
                    permit(by),
                    &passcode(text),
                    recipe.map(|recipe| (KeyId::FIRST, recipe)),
                    soon(),
                )
                .await
                .unwrap();
            tried.expose().to_owned()
        };
        assert_eq!(tried(&mine, "1234", Some(&stored)).await, phc);
        assert_ne!(tried(&mine, "1235", Some(&stored)).await, phc);
        assert_ne!(tried(&passcodes(2), "1234", Some(&stored)).await, phc);
        let decoy = tried(&mine, "1234", None).await;
        assert_eq!(decoy.len(), phc.len(), "of the same cost");
        assert_ne!(decoy, phc);
    }

    #[tokio::test]
    async fn a_hash_alone_cannot_be_guessed_against() {
        let hash = passcodes(1)
            .hash(MAKER, KeyId::FIRST, &passcode("1234"), &[b"a"], soon())
            .await
            .unwrap();
        let guessed = Argon2::default().verify_password(b"1234", hash.expose());
        assert!(guessed.is_err(), "guessing needs the key");
        assert!(!format!("{hash:?}").contains("argon2id"));
    }

    #[tokio::test]
    async fn a_stored_recipe_is_accepted_within_bounds() {
        let mine = passcodes(1);
        for stored in [
            "",
            "$argon2id$v=19$m=19457,t=2,p=1$c2FsdHNhbHRzYWx0",
            "$argon2id$v=19$m=19456,t=3,p=1$c2FsdHNhbHRzYWx0",
            "$argon2id$v=19$m=8,t=4865,p=1$c2FsdHNhbHRzYWx0",
            "$argon2id$v=19$m=19456,t=2,p=2$c2FsdHNhbHRzYWx0",
            "$argon2id$v=19$m=19456,t=2,p=1,keyid=azE$c2FsdHNhbHRzYWx0",
            "$argon2id$v=16$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0",
            "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0",
            "$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA",
        ] {
            let tried = mine
                .hash_attempt(
                    permit(&mine),
                    &passcode("1234"),
                    Some((KeyId::FIRST, stored)),
                    soon(),
                )
                .await;
            assert!(matches!(tried, Err(PasscodeError::Recipe)), "{stored}");
        }
        let cheaper = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0";
        let tried = mine
            .hash_attempt(
                permit(&mine),
                &passcode("1234"),
                Some((KeyId::FIRST, cheaper)),
                soon(),
            )
            .await;
        assert!(tried.unwrap().expose().starts_with(cheaper));
    }

    #[tokio::test]
    async fn a_call_without_time_left_is_rejected() {
        let late = Deadline::after(Duration::ZERO);
        let mine = passcodes(1);
        let refused = mine
            .hash_attempt(permit(&mine), &passcode("1234"), None, late)
            .await;
        assert!(matches!(refused, Err(PasscodeError::Overloaded(_))));
    }

    #[tokio::test]
    async fn a_crowd_from_one_network_is_limited_and_does_not_block_others() {
        let mine = passcodes(1);
        let slot = mine.queue.acquire(soon()).await.unwrap();
        let of = |last: u8| Some(Network::of([192, 0, 2, last].into()));
        let attempt = |network| {
            let (mine, permit) = (mine.clone(), mine.anonymous_permit(network).unwrap());
            tokio::spawn(async move {
                let passcode = passcode("1234");
                let tried = mine.hash_attempt(permit, &passcode, None, soon());
                tried.await.map(drop)
            })
        };
        let crowd: Vec<_> = (0..32).map(|_| attempt(of(1))).collect();
        assert!(mine.anonymous_permit(of(1)).is_err());
        let own = passcode("1234");
        let (other, person) = (
            attempt(of(2)),
            mine.hash(MAKER, KeyId::FIRST, &own, &[b"a"], soon()),
        );
        drop(slot);
        person.await.unwrap();
        for waiting in crowd.into_iter().chain([other]) {
            waiting.await.unwrap().unwrap();
        }
        assert!(mine.anonymous_permit(of(1)).is_ok());
    }

    #[tokio::test]
    async fn a_person_who_makes_many_shares_leaves_places_for_others() {
        let mine = passcodes(1);
        let slot = mine.queue.acquire(soon()).await.unwrap();
        let make = |person| {
            let mine = mine.clone();
            tokio::spawn(async move {
                let passcode = passcode("1234");
                let made = mine.hash(person, KeyId::FIRST, &passcode, &[b"a"], soon());
                made.await.map(drop)
            })
        };
        let many: Vec<_> = (0..128).map(|_| make(MAKER)).collect();
        let other = make(UserId::new(uuid::Uuid::from_u128(2)));
        tokio::task::yield_now().await;
        let opener = permit(&mine);
        drop(slot);
        mine.hash_attempt(opener, &passcode("1234"), None, soon())
            .await
            .unwrap();
        other.await.unwrap().unwrap();
        let mut made = 0;
        for one in many {
            made += usize::from(one.await.unwrap().is_ok());
        }
        assert_eq!(made, MAKERS_PER_PERSON);
    }
}
