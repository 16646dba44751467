//! The computation and the checks of password hashes.

use argon2::{Algorithm, ParamsBuilder, Version};
use haven_platform::{
    entropy::Entropy,
    hashing::{LANES, MEMORY_KIB, Memory, OUTPUT_BYTES, PASSES, Recipe, SALT_BYTES},
};

use super::{
    error::HashingError,
    imported::{self, BCRYPT_BYTES},
    imported_secrets::Imported,
    pepper::Peppers,
    stored_hash::{BcryptHash, BcryptInput, StoredHash, Unusable},
};
use crate::domain::{account::PasswordHash, password::Password};

/// Hashes passwords, and checks them against hashes.
#[derive(Debug)]
pub struct Hasher {
    peppers: Peppers,
    imported: Imported,
    /// The parameters of current hashes.
    recipe: Recipe,
    entropy: Entropy,
    /// A hash that no password matches. It is checked when there is no account, at the same cost.
    decoy: PasswordHash,
}

/// The result of checking a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is wrong, or there is no account.
    Wrong,
    /// The password is right, and its hash is not to be replaced.
    ///
    /// A bcrypt hash is not replaced when more than its 72 bytes were sent: it confirms only those, and a new hash
    /// would make the unconfirmed rest part of the password. The same holds for the white space around a password of
    /// WordPress. Changing the password replaces the hash.
    Right,
    /// The password is right, but its hash has an outdated algorithm, outdated parameters or an outdated pepper.
    RightButOutdated,
}

// === impl Hasher ===

impl Hasher {
    /// A hasher that uses the first of `peppers`, and salts from `entropy`, and checks imported hashes as `imported` says.
    ///
    /// # Errors
    ///
    /// [`HashingError::Internal`] when argon2 refuses the parameters, which are constant and valid.
    pub fn new(peppers: Peppers, imported: Imported, entropy: Entropy) -> Result<Self, HashingError> {
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
            imported,
            recipe,
            entropy,
            decoy,
        })
    }

    /// Hashes `password` with a new salt.
    ///
    /// # Errors
    ///
    /// [`HashingError::Internal`] when memory cannot be allocated.
    pub fn hash(&self, password: &Password, memory: &mut Memory) -> Result<PasswordHash, HashingError> {
        let (mut salt, mut output) = ([0; SALT_BYTES], [0; OUTPUT_BYTES]);
        self.entropy.fill(&mut salt);
        let pepper = self.peppers.current().expose();
        self.recipe
            .compute(pepper, password.expose(), &salt, &mut output, memory)
            .map_err(HashingError::internal)?;
        phc_string(&self.recipe, &salt, &output)
    }

    /// Returns a new hash that no known password matches, in the form of a current one: 256 random bits instead of an output.
    ///
    /// # Errors
    ///
    /// [`HashingError::Internal`] when the recipe cannot be written as text.
    pub fn unmatched(&self) -> Result<PasswordHash, HashingError> {
        let (mut salt, mut output) = ([0; SALT_BYTES], [0; OUTPUT_BYTES]);
        self.entropy.fill(&mut salt);
        self.entropy.fill(&mut output);
        phc_string(&self.recipe, &salt, &output)
    }

    /// Returns the memory in KiB that a check of `stored` needs, if it is an imported hash. `None` for a hash of this service,
    /// and for one that must not be checked.
    pub(super) fn imported_kib(&self, stored: &PasswordHash) -> Option<u32> {
        let hash = StoredHash::parse(stored.expose(), self.imported.bounds).ok()?;
        hash.imported_kib()
    }

    /// Refuses a hash that [`verify`](Self::verify) would refuse.
    ///
    /// # Errors
    ///
    /// [`Unusable`].
    pub fn check_usable(&self, stored: &PasswordHash) -> Result<(), Unusable> {
        let hash = StoredHash::parse(stored.expose(), self.imported.bounds)?;
        let own = match &hash {
            StoredHash::Argon2(hash) => Some(hash.recipe.params.keyid()).filter(|id| !id.is_empty()),
            _ => None,
        };
        let known = own.is_none_or(|id| self.peppers.get(id).is_some())
            && hash
                .secret_id()
                .is_none_or(|id| self.imported.secrets.get(id).is_some());
        match known {
            true => Ok(()),
            false => Err(Unusable::Pepper),
        }
    }

    /// Checks `password` against `stored`. When `stored` is `None`, does the same work as for a current hash and returns
    /// [`Verdict::Wrong`].
    ///
    /// A password that was sent in another form than the normal one is checked in both: hashes that were made before there was
    /// a normal form, and imported ones, are of what was typed.
    ///
    /// # Errors
    ///
    /// [`HashingError::Unusable`] when `stored` must not be checked, [`HashingError::Internal`] when memory cannot be
    /// allocated.
    pub fn verify(
        &self,
        password: &Password,
        stored: Option<&PasswordHash>,
        memory: &mut Memory,
    ) -> Result<Verdict, HashingError> {
        let hash = StoredHash::parse(stored.unwrap_or(&self.decoy).expose(), self.imported.bounds)?;
        for (position, form) in password.forms().enumerate() {
            if self.matches(&hash, form, memory)? && stored.is_some() {
                let is_current = match &hash {
                    StoredHash::Argon2(hash) => hash.recipe == self.recipe && position == 0,
                    StoredHash::Bcrypt(hash) => !hash.confirms(form),
                    StoredHash::Scrypt(_) | StoredHash::Firebase(..) | StoredHash::Pbkdf2(_) => false,
                };
                return Ok(match is_current {
                    true => Verdict::Right,
                    false => Verdict::RightButOutdated,
                });
            }
        }
        Ok(Verdict::Wrong)
    }

    /// Returns whether the password with the bytes `form` matches `hash`.
    fn matches(&self, hash: &StoredHash<'_>, form: &[u8], memory: &mut Memory) -> Result<bool, HashingError> {
        let secret = |id: &str| self.imported.secrets.get(id).ok_or(Unusable::Pepper);
        match hash {
            StoredHash::Argon2(hash) => match hash.recipe.params.keyid() {
                [] => imported::argon2(hash, form, memory),
                id => {
                    let pepper = self.peppers.get(id).ok_or(Unusable::Pepper)?.expose();
                    imported::output_is(&hash.output, |output| {
                        hash.recipe
                            .compute(pepper, form, &hash.salt, output, memory)
                            .map_err(HashingError::internal)
                    })
                }
            },
            StoredHash::Scrypt(hash) => imported::scrypt(hash, form, memory),
            StoredHash::Firebase(hash, id) => imported::firebase(hash, form, secret(id)?, memory),
            StoredHash::Pbkdf2(hash) => imported::pbkdf2(hash, form),
            StoredHash::Bcrypt(BcryptHash { hash, input }) => match input {
                BcryptInput::Password => imported::bcrypt(hash, form),
                BcryptInput::Peppered(id) => imported::peppered_bcrypt(hash, form, secret(id)?),
                BcryptInput::WordPress => imported::wordpress(hash, form),
                BcryptInput::Sha256 => imported::bcrypt_of_sha256(hash, form),
            },
        }
    }
}

impl BcryptHash<'_> {
    /// Returns whether a match confirms all of `password`, and not only a part of it.
    fn confirms(&self, password: &[u8]) -> bool {
        match self.input {
            BcryptInput::Password | BcryptInput::Peppered(_) => password.len() <= BCRYPT_BYTES,
            BcryptInput::WordPress => imported::wordpress_trimmed(password) == password,
            BcryptInput::Sha256 => true,
        }
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
        Hasher::new(peppers(list), Imported::default(), Entropy::seeded(1)).unwrap()
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
        for wrong in ["pass word ", "Pass word", "", "pass\tword"] {
            assert_eq!(verdict(wrong), Verdict::Wrong);
        }
        let other = hasher.hash(&password("pass word"), memory).unwrap();
        assert_ne!(phc, other.expose(), "each hash has its own salt");
        assert_eq!(format!("{hash:?}"), "PasswordHash([redacted])");
    }

    #[test]
    fn the_argon2_crate_verifies_our_hashes() {
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
        let decoy = StoredHash::parse(hasher.decoy.expose(), hasher.imported.bounds).unwrap();
        assert!(matches!(decoy, StoredHash::Argon2(decoy) if decoy.recipe == hasher.recipe));
    }
}
