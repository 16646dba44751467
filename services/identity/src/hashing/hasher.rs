//! Computes and checks password hashes.

use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Params, ParamsBuilder, Version,
    password_hash::{
        Error,
        phc::{self, Output, ParamsString, Salt},
    },
};
use haven_platform::entropy::Entropy;

use super::{
    memory::Memory,
    pepper::Peppers,
    stored::{StoredHash, Unusable},
};
use crate::domain::{account::PasswordHash, password::Password};

/// The memory of a hash, in KiB: 19 MiB, with which OWASP's Password Storage Cheat Sheet asks for two passes.
pub(super) const MEMORY_KIB: u32 = 19_456;
/// The passes over it.
pub(super) const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_OCTETS: usize = 16;
const OUTPUT_OCTETS: usize = 32;

/// Hashes passwords, and checks them against hashes.
#[derive(Debug)]
pub struct Hasher {
    peppers: Peppers,
    params: Params,
    entropy: Entropy,
    /// No password's hash: what is checked when there is no account, at the same cost.
    decoy: PasswordHash,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not the password, or there is none.
    Wrong,
    /// It is the password.
    Right,
    /// It is the password, hashed with parameters or a pepper that are not today's.
    RightButOutdated,
}

// === impl Hasher ===

impl Hasher {
    /// Hashes under the first of `peppers`, with salts out of `entropy`.
    ///
    /// # Errors
    ///
    /// None that these parameters can have.
    pub fn new(peppers: Peppers, entropy: Entropy) -> Result<Self, Error> {
        let params = ParamsBuilder::new()
            .m_cost(MEMORY_KIB)
            .t_cost(PASSES)
            .p_cost(LANES)
            .keyid(peppers.current().id())
            .output_len(OUTPUT_OCTETS)
            .build()?;
        let (mut salt, mut output) = ([0; SALT_OCTETS], [0; OUTPUT_OCTETS]);
        entropy.fill(&mut salt);
        entropy.fill(&mut output);
        let decoy = phc_string(&params, &salt, &output)?;
        Ok(Self {
            peppers,
            params,
            entropy,
            decoy,
        })
    }

    /// The hash of `password`, with a fresh salt.
    ///
    /// # Errors
    ///
    /// None that these parameters can have.
    pub fn hash(&self, password: &Password, memory: &mut Memory) -> Result<PasswordHash, Error> {
        let (mut salt, mut output) = ([0; SALT_OCTETS], [0; OUTPUT_OCTETS]);
        self.entropy.fill(&mut salt);
        let pepper = self.peppers.current().expose();
        compute(&self.params, pepper, password, &salt, &mut output, memory)?;
        phc_string(&self.params, &salt, &output)
    }

    /// Checks `password` against `stored`. Without one it does the same work, and the answer is [`Verdict::Wrong`].
    ///
    /// # Errors
    ///
    /// [`Unusable`] when `stored` is not to be checked.
    pub fn verify(
        &self,
        password: &Password,
        stored: Option<&PasswordHash>,
        memory: &mut Memory,
    ) -> Result<Verdict, Unusable> {
        let hash = StoredHash::parse(stored.unwrap_or(&self.decoy).expose())?;
        let pepper = match hash.params.keyid() {
            // Imported, from where there was no pepper: argon2 takes no secret and an empty one for the same.
            [] => &[],
            id => self.peppers.get(id).ok_or(Unusable::Pepper)?.expose(),
        };
        let mut output = [0; Output::MAX_LENGTH];
        let output = &mut output[..hash.output.len()];
        compute(&hash.params, pepper, password, &hash.salt, output, memory).map_err(|_| Unusable::Bounds)?;
        // `Output` compares in constant time.
        let right = Output::new(output).is_ok_and(|output| output == hash.output);
        Ok(match right && stored.is_some() {
            false => Verdict::Wrong,
            true if hash.params == self.params => Verdict::Right,
            true => Verdict::RightButOutdated,
        })
    }
}

fn compute(
    params: &Params,
    pepper: &[u8],
    password: &Password,
    salt: &[u8],
    output: &mut [u8],
    memory: &mut Memory,
) -> Result<(), argon2::Error> {
    Argon2::new_with_secret(pepper, Algorithm::Argon2id, Version::V0x13, params.clone())?
        .hash_password_into_with_memory(password.expose(), salt, output, memory.blocks())
}

fn phc_string(params: &Params, salt: &[u8], output: &[u8]) -> Result<PasswordHash, Error> {
    let hash = phc::PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params)?,
        salt: Some(Salt::new(salt)?),
        hash: Some(Output::new(output)?),
    };
    Ok(PasswordHash::new(hash.to_string()))
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    fn peppers(list: &[(&str, u8)]) -> Peppers {
        let items: Vec<_> = list
            .iter()
            .map(|(id, octet)| format!("{id}:{}", STANDARD.encode([*octet; 32])))
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
        assert_eq!(verdict(&[("k2", 2)]), Err(Unusable::Pepper));
    }

    #[test]
    fn without_an_account_the_work_is_the_same_and_every_password_is_wrong() {
        let (hasher, memory) = (hasher(&[("k1", 1)]), &mut Memory::default());
        assert_eq!(hasher.verify(&password("x"), None, memory), Ok(Verdict::Wrong));
        let decoy = StoredHash::parse(hasher.decoy.expose()).unwrap();
        assert_eq!(decoy.params, hasher.params);
    }

    #[test]
    fn foreign_hashes_run_within_bounds_and_hostile_ones_not_at_all() {
        const SALT: &str = "c2FsdHNhbHRzYWx0";
        const HASH: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let (hasher, memory) = (hasher(&[("k1", 1)]), &mut Memory::default());
        let mut verdict = |phc: String| hasher.verify(&password("x"), Some(&PasswordHash::new(phc)), memory);
        let plain = |params: &str| format!("$argon2id$v=19${params}${SALT}${HASH}");
        assert_eq!(verdict(plain("m=64,t=1,p=1")), Ok(Verdict::Wrong));
        for params in [
            "m=4194304,t=1,p=1",
            "m=64,t=1000000,p=1",
            "m=19456,t=1,p=2000",
            "m=64,t=1,p=1,data=AAAA",
            "m=19457,t=2,p=1",
        ] {
            assert_eq!(verdict(plain(params)), Err(Unusable::Bounds), "{params}");
        }
        for params in [
            "m=99999999999,t=1,p=1",
            "m=1,t=1,p=1",
            "m=64,t=0,p=1",
            "m=64,t=1,p=0",
            "m=64,t=1,p=1,x=1",
            "x",
        ] {
            assert_eq!(verdict(plain(params)), Err(Unusable::Syntax), "{params}");
        }
        for phc in [
            "$argon2i$v=19$m=64,t=1,p=1$",
            "$argon2id$v=16$m=64,t=1,p=1$",
            "$argon2id$m=64,t=1,p=1$",
        ] {
            assert_eq!(
                verdict(format!("{phc}{SALT}${HASH}")),
                Err(Unusable::Algorithm),
                "{phc}"
            );
        }
        for phc in [
            "",
            "$2b$12$abcdefghijklmnopqrstuv",
            "x",
            "$argon2id$v=19$m=64,t=1,p=1",
            "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0",
        ] {
            assert!(
                matches!(verdict(phc.into()), Err(Unusable::Syntax | Unusable::Algorithm)),
                "{phc}"
            );
        }
        assert_eq!(
            verdict(format!("$argon2id$v=19$m=64,t=1,p=1${SALT}$AAAAAAAAAAAAAAAAAAAA")),
            Err(Unusable::Bounds)
        );
    }
}
