//! Computes and checks password hashes.

use argon2::{Algorithm, ParamsBuilder, Version};
use haven_platform::{
    entropy::Entropy,
    hashing::{LANES, MEMORY_KIB, Memory, OUTPUT_BYTES, PASSES, Recipe, SALT_BYTES},
};

use super::{
    error::HashingError,
    imported::{self, BCRYPT_BYTES},
    pepper::Peppers,
    stored_hash::{StoredHash, Unusable},
};
use crate::domain::{account::PasswordHash, password::Password};

/// Hashes passwords, and checks them against hashes.
#[derive(Debug)]
pub struct Hasher {
    peppers: Peppers,
    /// How today's hashes are computed.
    recipe: Recipe,
    entropy: Entropy,
    /// No password's hash: what is checked when there is no account, at the same cost.
    decoy: PasswordHash,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not the password, or there is none.
    Wrong,
    /// It is the password, and its hash is as good as can be made of what was sent.
    ///
    /// So is a bcrypt hash when more than its 72 bytes were sent: it has proved no more than those, and what nobody has
    /// proved is not made anybody's password. Changing the password replaces it.
    Right,
    /// It is the password, hashed with an algorithm, parameters or a pepper that are not today's.
    RightButOutdated,
}

// === impl Hasher ===

impl Hasher {
    /// Hashes under the first of `peppers`, with salts out of `entropy`.
    ///
    /// # Errors
    ///
    /// None that these parameters can have.
    pub fn new(peppers: Peppers, entropy: Entropy) -> Result<Self, HashingError> {
        let params = ParamsBuilder::new()
            .m_cost(MEMORY_KIB)
            .t_cost(PASSES)
            .p_cost(LANES)
            .keyid(peppers.current().id())
            .output_len(OUTPUT_BYTES)
            .build()
            .map_err(HashingError::internal)?;
        let recipe = Recipe {
            algorithm: Algorithm::Argon2id,
            version: Version::V0x13,
            params,
        };
        let (mut salt, mut output) = ([0; SALT_BYTES], [0; OUTPUT_BYTES]);
        entropy.fill(&mut salt);
        entropy.fill(&mut output);
        let decoy = phc_string(&recipe, &salt, &output)?;
        Ok(Self {
            peppers,
            recipe,
            entropy,
            decoy,
        })
    }

    /// The hash of `password`, with a fresh salt.
    ///
    /// # Errors
    ///
    /// [`HashingError::Internal`] when there is no memory.
    pub fn hash(&self, password: &Password, memory: &mut Memory) -> Result<PasswordHash, HashingError> {
        let (mut salt, mut output) = ([0; SALT_BYTES], [0; OUTPUT_BYTES]);
        self.entropy.fill(&mut salt);
        let pepper = self.peppers.current().expose();
        self.recipe
            .compute(pepper, password.expose(), &salt, &mut output, memory)
            .map_err(HashingError::internal)?;
        phc_string(&self.recipe, &salt, &output)
    }

    /// Checks `password` against `stored`. Without one it does the same work as for one of today's hashes, and the answer
    /// is [`Verdict::Wrong`].
    ///
    /// # Errors
    ///
    /// [`HashingError::Unusable`] when `stored` is not to be checked, [`HashingError::Internal`] when there is no memory.
    pub fn verify(
        &self,
        password: &Password,
        stored: Option<&PasswordHash>,
        memory: &mut Memory,
    ) -> Result<Verdict, HashingError> {
        let hash = StoredHash::parse(stored.unwrap_or(&self.decoy).expose())?;
        let right = match &hash {
            StoredHash::Argon2(hash) => match hash.recipe.params.keyid() {
                [] => imported::argon2(hash, password, memory)?,
                id => {
                    let pepper = self.peppers.get(id).ok_or(Unusable::Pepper)?.expose();
                    imported::same(&hash.output, |output| {
                        hash.recipe
                            .compute(pepper, password.expose(), &hash.salt, output, memory)
                            .map_err(HashingError::internal)
                    })?
                }
            },
            StoredHash::Scrypt(hash) => imported::scrypt(hash, password, memory)?,
            StoredHash::Bcrypt(hash) => imported::bcrypt(hash, password)?,
        };
        let current = match &hash {
            StoredHash::Argon2(hash) => hash.recipe == self.recipe,
            StoredHash::Scrypt(_) => false,
            StoredHash::Bcrypt(_) => password.expose().len() > BCRYPT_BYTES,
        };
        Ok(match (right && stored.is_some(), current) {
            (false, _) => Verdict::Wrong,
            (true, true) => Verdict::Right,
            (true, false) => Verdict::RightButOutdated,
        })
    }
}

fn phc_string(recipe: &Recipe, salt: &[u8], output: &[u8]) -> Result<PasswordHash, HashingError> {
    let hash = recipe.phc_string(salt, output).map_err(HashingError::internal)?;
    Ok(PasswordHash::new(hash))
}

#[cfg(test)]
mod tests {
    use argon2::{Argon2, Params, PasswordVerifier};
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    fn peppers(list: &[(&str, u8)]) -> Peppers {
        let items: Vec<_> = list
            .iter()
            .map(|(id, byte)| format!("{id}:{}", STANDARD.encode([*byte; 32])))
            .collect();
        Peppers::parse(&items.join(",").into()).unwrap()
    }

    fn hasher(list: &[(&str, u8)]) -> Hasher {
        Hasher::new(peppers(list), Entropy::seeded(1)).unwrap()
    }

    fn password(text: &str) -> Password {
        Password::present(text.into()).unwrap()
    }

    #[test]
    fn only_the_same_password_is_right() {
        let (hasher, memory) = (hasher(&[("k1", 1)]), &mut Memory::default());
        let hash = hasher.hash(&password("pass word"), memory).unwrap();
        let phc = hash.expose();
        assert!(
            phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1,keyid=azE$"),
            "{phc}"
        );
        let mut verdict = |text| hasher.verify(&password(text), Some(&hash), memory).unwrap();
        assert_eq!(verdict("pass word"), Verdict::Right);
        for wrong in ["pass word ", "Pass word", "", "pass\u{a0}word"] {
            assert_eq!(verdict(wrong), Verdict::Wrong);
        }
        let other = hasher.hash(&password("pass word"), memory).unwrap();
        assert_ne!(phc, other.expose(), "the salt is fresh");
        assert_eq!(format!("{hash:?}"), "PasswordHash([redacted])");
    }

    #[test]
    fn the_hash_is_what_the_argon2_crate_says_it_is() {
        let (hasher, memory) = (hasher(&[("k1", 1)]), &mut Memory::default());
        let hash = hasher.hash(&password("x"), memory).unwrap();
        let theirs =
            Argon2::new_with_secret(&[1; 32], Algorithm::Argon2id, Version::V0x13, Params::default())
                .unwrap();
        assert!(theirs.verify_password(b"x", hash.expose()).is_ok());
        assert!(
            Argon2::default().verify_password(b"x", hash.expose()).is_err(),
            "without the pepper"
        );
    }

    #[test]
    fn a_pepper_can_be_changed() {
        let memory = &mut Memory::default();
        let hash = hasher(&[("k1", 1)]).hash(&password("x"), memory).unwrap();
        let mut verdict = |list: &[(&str, u8)]| hasher(list).verify(&password("x"), Some(&hash), memory);
        assert_eq!(verdict(&[("k1", 1), ("k2", 2)]), Ok(Verdict::Right));
        assert_eq!(verdict(&[("k2", 2), ("k1", 1)]), Ok(Verdict::RightButOutdated));
        assert_eq!(verdict(&[("k1", 2)]), Ok(Verdict::Wrong));
        assert_eq!(verdict(&[("k2", 2)]), Err(Unusable::Pepper.into()));
    }

    #[test]
    fn without_an_account_the_work_is_the_same_and_every_password_is_wrong() {
        let (hasher, memory) = (hasher(&[("k1", 1)]), &mut Memory::default());
        assert_eq!(hasher.verify(&password("x"), None, memory), Ok(Verdict::Wrong));
        let decoy = StoredHash::parse(hasher.decoy.expose()).unwrap();
        assert!(matches!(decoy, StoredHash::Argon2(decoy) if decoy.recipe == hasher.recipe));
    }
}
