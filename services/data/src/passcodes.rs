//! Passcodes of shares, hashed in turn: argon2id (RFC 9106), at the costs that passwords have.
//!
//! What is hashed is a keyed hash of the passcode, under a key that comes of the service's secret: who has the database
//! alone has nothing to try passcodes against, however few there are.

mod anonymous_permits;

use std::time::Duration;

use argon2::{
    Algorithm, Params, Version,
    password_hash::phc::{PasswordHash, Salt},
};
use haven_platform::{
    deadline::Deadline,
    hashing::{
        HashPermit, HashQueue, Interrupted, LANES, MEMORY_KIB, OUTPUT_BYTES, Overloaded, PASSES, Recipe,
        SALT_BYTES,
    },
    mac::{MacKey, SecretKey},
    network::Network,
};
use secrecy::zeroize::Zeroizing;
use thiserror::Error;

pub use self::anonymous_permits::Stranger;
use self::anonymous_permits::Strangers;
use crate::domain::encrypted::passcode::{Passcode, PasscodeHash};

/// After which a stranger may try again who found no place: longer than it takes to hash for all of one network.
const PLACES_AGAIN: Duration = Duration::from_secs(1);

/// What hashes passcodes. Cloning shares the queue.
#[derive(Clone, Debug)]
pub struct Passcodes {
    admission: HashQueue,
    strangers: Strangers,
    key: MacKey,
    /// How today's hashes are computed.
    recipe: Recipe,
}

/// Why a passcode was not hashed.
#[derive(Debug, Error)]
pub enum PasscodeError {
    /// There is no turn before the deadline, or no place to wait for one.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The turn did not come to its end.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// What is stored is no recipe, or one that asks for more than today's costs.
    #[error("the stored recipe of a passcode is not one to hash by")]
    Recipe,
    /// A defect, or no memory left. The text says which and holds nothing private.
    #[error("{0}")]
    Internal(String),
}

// === impl Passcodes ===

impl Passcodes {
    /// Hashes under a key that comes of `secret`, whenever `admission` lets it.
    ///
    /// # Errors
    ///
    /// None that these parameters can have.
    pub fn new(admission: HashQueue, secret: &SecretKey) -> Result<Self, PasscodeError> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT_BYTES)).map_err(internal)?;
        let recipe = Recipe {
            algorithm: Algorithm::Argon2id,
            version: Version::V0x13,
            params,
        };
        Ok(Self {
            admission,
            strangers: Strangers::default(),
            key: MacKey::derive(secret, "data share passcodes"),
            recipe,
        })
    }

    /// The hash of the passcode for what `of` names, and names once: its salt comes of it, and of the key. So the same
    /// passcode for the same has the same hash, which is how a retry is known without anything that is tried faster.
    ///
    /// # Errors
    ///
    /// [`PasscodeError`].
    pub async fn hash(
        &self,
        passcode: Passcode,
        of: &[&[u8]],
        deadline: Deadline,
    ) -> Result<PasscodeHash, PasscodeError> {
        let salt = self.salt(of);
        let slot = self.admission.acquire(deadline).await?;
        self.compute(slot, passcode, self.recipe.clone(), salt).await
    }

    /// Lets somebody from `network` try a passcode whom nobody knows: to be asked before anything else is done for them.
    ///
    /// # Errors
    ///
    /// At once, when as many of them wait as may.
    pub fn stranger(&self, network: Option<Network>) -> Result<Stranger, Overloaded> {
        self.strangers.enter(network).ok_or(Overloaded {
            retry_after: PLACES_AGAIN,
        })
    }

    /// The hash of a passcode that `stranger` tries: by `recipe`, which is a stored hash without its output, or, where
    /// there is nothing stored, by one of the same cost that nobody's hash was made by. So the time tells nobody which it
    /// was.
    ///
    /// # Errors
    ///
    /// [`PasscodeError`].
    pub async fn try_by(
        &self,
        stranger: Stranger,
        passcode: Passcode,
        recipe: Option<&str>,
        deadline: Deadline,
    ) -> Result<PasscodeHash, PasscodeError> {
        let (recipe, salt) = match recipe {
            Some(recipe) => {
                let (recipe, salt) = read(recipe).ok_or(PasscodeError::Recipe)?;
                (recipe, salt.to_vec())
            }
            None => (self.recipe.clone(), self.salt(&[b"decoy"])),
        };
        let slot = self.admission.acquire(deadline).await?;
        drop(stranger);
        self.compute(slot, passcode, recipe, salt).await
    }

    fn salt(&self, of: &[&[u8]]) -> Vec<u8> {
        let parts = [[b"salt".as_slice()].as_slice(), of].concat();
        self.key.mac(&parts)[..SALT_BYTES].to_vec()
    }

    async fn compute(
        &self,
        slot: HashPermit,
        passcode: Passcode,
        recipe: Recipe,
        salt: Vec<u8>,
    ) -> Result<PasscodeHash, PasscodeError> {
        let input = Zeroizing::new(self.key.mac(&[b"passcode", passcode.expose()]));
        drop(passcode);
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

/// A recipe out of a stored hash without its output, and the salt; none when it is not one, or would cost more than today's
/// hashes do.
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

    fn passcodes(byte: u8) -> Passcodes {
        let secret = SecretKey::new(Box::new([byte; 32]));
        Passcodes::new(HashQueue::new(NonZeroUsize::MIN), &secret).unwrap()
    }

    fn passcode(text: &str) -> Passcode {
        Passcode::parse(text.into()).unwrap().unwrap()
    }

    fn nobody(passcodes: &Passcodes) -> Stranger {
        passcodes.stranger(None).unwrap()
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(30))
    }

    /// What the database answers of a stored hash.
    fn recipe(hash: &PasscodeHash) -> String {
        hash.expose().rsplit_once('$').unwrap().0.to_owned()
    }

    #[tokio::test]
    async fn only_the_same_passcode_under_the_same_key_has_the_same_hash() {
        let mine = passcodes(1);
        let hash = mine.hash(passcode("1234"), &[b"a"], soon()).await.unwrap();
        let phc = hash.expose();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        let again = mine.hash(passcode("1234"), &[b"a"], soon()).await.unwrap();
        assert_eq!(again.expose(), phc);
        let other = mine.hash(passcode("1234"), &[b"b"], soon()).await.unwrap();
        assert_ne!(recipe(&other), recipe(&hash), "another salt");

        let stored = recipe(&hash);
        let tried = async |by: &Passcodes, text, recipe| {
            let tried = by
                .try_by(nobody(by), passcode(text), recipe, soon())
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
            .hash(passcode("1234"), &[b"a"], soon())
            .await
            .unwrap();
        let guessed = Argon2::default().verify_password(b"1234", hash.expose());
        assert!(guessed.is_err(), "it takes the key");
        assert!(!format!("{hash:?}").contains("argon2id"));
    }

    #[tokio::test]
    async fn a_stored_recipe_is_believed_within_bounds() {
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
                .try_by(nobody(&mine), passcode("1234"), Some(stored), soon())
                .await;
            assert!(matches!(tried, Err(PasscodeError::Recipe)), "{stored}");
        }
        let cheaper = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0";
        let tried = mine
            .try_by(nobody(&mine), passcode("1234"), Some(cheaper), soon())
            .await;
        assert!(tried.unwrap().expose().starts_with(cheaper));
    }

    #[tokio::test]
    async fn whoever_has_no_time_is_turned_away() {
        let late = Deadline::after(Duration::ZERO);
        let mine = passcodes(1);
        let refused = mine.try_by(nobody(&mine), passcode("1234"), None, late).await;
        assert!(matches!(refused, Err(PasscodeError::Overloaded(_))));
    }

    #[tokio::test]
    async fn a_crowd_of_strangers_is_turned_away_and_neither_others_nor_people_are() {
        let mine = passcodes(1);
        let turn = mine.admission.acquire(soon()).await.unwrap();
        let of = |last: u8| Some(Network::of([192, 0, 2, last].into()));
        let stranger = |network| {
            let (mine, stranger) = (mine.clone(), mine.stranger(network).unwrap());
            tokio::spawn(async move {
                let tried = mine.try_by(stranger, passcode("1234"), None, soon());
                tried.await.map(drop)
            })
        };
        let crowd: Vec<_> = (0..32).map(|_| stranger(of(1))).collect();
        assert!(mine.stranger(of(1)).is_err());
        let (other, person) = (stranger(of(2)), mine.hash(passcode("1234"), &[b"a"], soon()));
        drop(turn);
        person.await.unwrap();
        for waiting in crowd.into_iter().chain([other]) {
            waiting.await.unwrap().unwrap();
        }
        assert!(mine.stranger(of(1)).is_ok());
    }
}
