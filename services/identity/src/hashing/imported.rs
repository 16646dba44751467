//! Checks of imported hashes, by the crates of their own algorithms. Imported hashes have no pepper of this service.
//!
//! Checks that allocate their own memory first release the memory of the argon2 kernel, so that a check never uses more
//! than the memory that its hash says.

use aes::{
    Aes256,
    cipher::{KeyIvInit, StreamCipher},
};
use argon2::{Argon2, Block, password_hash::phc::Output};
use base64::{Engine, engine::general_purpose::STANDARD};
use haven_platform::hashing::Memory;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{
    error::HashingError,
    stored_hash::{Argon2Hash, Pbkdf2Digest, Pbkdf2Hash, ScryptHash},
};

/// The number of argon2 blocks to reserve: over 32 MiB, more than a smaller hash uses. glibc maps an allocation of that size
/// separately and returns it to the system when it is freed, while threads may keep smaller ones. Only pages that are
/// written to use memory.
const RESERVED_BLOCKS: usize = 33 * 1024;

/// The number of bytes of a password that bcrypt hashes. It ignores the rest.
pub(super) const BCRYPT_BYTES: usize = 72;

/// The key of the HMAC by which WordPress makes a long password short enough for bcrypt.
const WORDPRESS_KEY: &[u8] = b"wp-sha384";

/// The white space that PHP's `trim` removes, with which WordPress treats what a person typed.
const WORDPRESS_TRIMMED: [u8; 6] = [b' ', b'\t', b'\n', b'\r', 0, 0x0b];

/// Returns whether `password` matches an argon2 hash without a pepper.
pub(super) fn argon2(hash: &Argon2Hash, password: &[u8], memory: &mut Memory) -> Result<bool, HashingError> {
    memory.release();
    let recipe = &hash.recipe;
    if recipe.params.block_count() > RESERVED_BLOCKS {
        // The faster kernel. glibc returns so large an allocation without being told.
        return output_is(&hash.output, |output| {
            let mut own = Memory::default();
            recipe
                .compute(&[], password, &hash.salt, output, &mut own)
                .map_err(HashingError::internal)
        });
    }
    let mut blocks = Vec::new();
    blocks
        .try_reserve_exact(RESERVED_BLOCKS)
        .map_err(HashingError::internal)?;
    blocks.resize(recipe.params.block_count(), Block::new());
    output_is(&hash.output, |output| {
        Argon2::new(recipe.algorithm, recipe.version, recipe.params.clone())
            .hash_password_into_with_memory(password, &hash.salt, output, &mut blocks)
            .map_err(HashingError::internal)
    })
}

/// Returns whether `password` matches a scrypt hash.
///
/// The crate allocates and frees the memory itself. After the first allocation of up to 32 MiB, glibc keeps the memory
/// for the thread, unless the environment sets `MALLOC_MMAP_THRESHOLD_` (1 MiB is enough): then it is returned to the
/// system.
pub(super) fn scrypt(hash: &ScryptHash, password: &[u8], memory: &mut Memory) -> Result<bool, HashingError> {
    memory.release();
    output_is(&hash.output, |output| {
        scrypt::scrypt(password, &hash.salt, &hash.params, output).map_err(HashingError::internal)
    })
}

/// Returns whether `password` matches a hash of Firebase: its signer key, encrypted with AES-256 in counter mode under the output
/// of scrypt.
pub(super) fn firebase(
    hash: &ScryptHash,
    password: &[u8],
    signer_key: &[u8],
    memory: &mut Memory,
) -> Result<bool, HashingError> {
    memory.release();
    if signer_key.len() != hash.output.len() {
        return Ok(false);
    }
    output_is(&hash.output, |output| {
        let mut key = Zeroizing::new([0; 32]);
        scrypt::scrypt(password, &hash.salt, &hash.params, key.as_mut_slice())
            .map_err(HashingError::internal)?;
        output.copy_from_slice(signer_key);
        ctr::Ctr128BE::<Aes256>::new((&*key).into(), &[0; 16].into()).apply_keystream(output);
        Ok(())
    })
}

/// Returns whether `password` matches a pbkdf2 hash.
pub(super) fn pbkdf2(hash: &Pbkdf2Hash, password: &[u8]) -> Result<bool, HashingError> {
    output_is(&hash.output, |output| {
        match hash.digest {
            Pbkdf2Digest::Sha256 => {
                pbkdf2::pbkdf2_hmac::<Sha256>(password, &hash.salt, hash.iterations, output);
            }
            Pbkdf2Digest::Sha512 => {
                pbkdf2::pbkdf2_hmac::<Sha512>(password, &hash.salt, hash.iterations, output);
            }
        }
        Ok(())
    })
}

/// Returns whether `password` matches a bcrypt hash in its first [`BCRYPT_BYTES`] bytes.
pub(super) fn bcrypt(hash: &str, password: &[u8]) -> Result<bool, HashingError> {
    let same = bcrypt::verify(password, hash).map_err(HashingError::internal)?;
    // bcrypt repeats the password with a NUL in between, so it does not distinguish "a" and "a\0a". No imported
    // password has a NUL: in C, the password would have ended there.
    Ok(same && !password.contains(&0))
}

/// Returns whether `password`, followed by `pepper`, matches a bcrypt hash in its first [`BCRYPT_BYTES`] bytes (Devise).
pub(super) fn peppered_bcrypt(hash: &str, password: &[u8], pepper: &[u8]) -> Result<bool, HashingError> {
    let both = Zeroizing::new([password, pepper].concat());
    bcrypt(hash, &both)
}

/// Returns whether `password` matches a bcrypt hash of WordPress 6.8 or later.
pub(super) fn wordpress(hash: &str, password: &[u8]) -> Result<bool, HashingError> {
    let mut mac = Hmac::<Sha384>::new_from_slice(WORDPRESS_KEY).map_err(HashingError::internal)?;
    mac.update(wordpress_trimmed(password));
    let short = Zeroizing::new(STANDARD.encode(mac.finalize().into_bytes()));
    bcrypt(hash, short.as_bytes())
}

/// Returns what WordPress hashes of `password`.
pub(super) fn wordpress_trimmed(password: &[u8]) -> &[u8] {
    let kept = |byte: &u8| !WORDPRESS_TRIMMED.contains(byte);
    let begin = password.iter().position(kept).unwrap_or(password.len());
    let end = password.iter().rposition(kept).map_or(begin, |last| last + 1);
    &password[begin..end]
}

/// Returns whether `password` matches a bcrypt hash of its SHA-256 in hexadecimal (Django's `bcrypt_sha256`).
pub(super) fn bcrypt_of_sha256(hash: &str, password: &[u8]) -> Result<bool, HashingError> {
    let digest = Sha256::digest(password);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    bcrypt(hash, Zeroizing::new(hex).as_bytes())
}

/// Returns whether the output of `compute` is `expected`, compared in constant time.
pub(super) fn output_is(
    expected: &Output,
    compute: impl FnOnce(&mut [u8]) -> Result<(), HashingError>,
) -> Result<bool, HashingError> {
    let mut output = [0; Output::MAX_LENGTH];
    let output = &mut output[..expected.len()];
    compute(output)?;
    Ok(Output::new(output).is_ok_and(|output| output == *expected))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use haven_platform::entropy::Entropy;

    use super::*;
    use crate::{
        domain::{account::PasswordHash, password::Password},
        hashing::{Hasher, Imported, Peppers, Verdict},
    };

    fn hasher() -> Hasher {
        let peppers = Peppers::parse(&format!("k1:{}", STANDARD.encode([1; 32])).into()).unwrap();
        Hasher::new(peppers, Imported::default(), Entropy::seeded(1)).unwrap()
    }

    fn verdict(password: &str, stored: &str, memory: &mut Memory) -> Result<Verdict, HashingError> {
        let stored = PasswordHash::new(stored.into());
        hasher().verify(
            &Password::present(password.into()).unwrap(),
            Some(&stored),
            memory,
        )
    }

    /// Test vectors from the test suites of the reference implementations, and from RFC 7914, section 12.
    #[test]
    fn known_hashes_of_other_algorithms_are_checked_and_are_outdated() {
        let memory = &mut Memory::default();
        for (password, stored) in [
            (
                "password",
                "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
            ),
            (
                "password",
                "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
            ),
            (
                "password",
                "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            ),
            (
                "password",
                "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
            ),
            (
                "pleaseletmein",
                "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw",
            ),
            ("", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
            (
                "a",
                "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
            ),
            (
                "abcdefghijklmnopqrstuvwxyz",
                "$2y$08$aTsUwsyowQuzRrDqFflhgekJ8d9/7Z3GV3UcgvzQW3J5zMyrTvlz.",
            ),
            (
                "correctbatteryhorsestapler",
                "$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie",
            ),
        ] {
            assert_eq!(
                verdict(password, stored, memory),
                Ok(Verdict::RightButOutdated),
                "{stored}"
            );
            let wrong = format!("{password} ");
            assert_eq!(verdict(&wrong, stored, memory), Ok(Verdict::Wrong), "{stored}");
        }
    }

    #[test]
    fn bcrypt_checks_72_bytes_and_a_longer_password_does_not_replace_the_hash() {
        const STORED: &str = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";
        const FIRST: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let memory = &mut Memory::default();
        assert_eq!(FIRST.len(), BCRYPT_BYTES);
        assert_eq!(verdict(FIRST, STORED, memory), Ok(Verdict::RightButOutdated));
        let longer = format!("{FIRST}chars after 72 are ignored");
        assert_eq!(verdict(&longer, STORED, memory), Ok(Verdict::Right));
        assert_eq!(verdict(&FIRST[..71], STORED, memory), Ok(Verdict::Wrong));
        let repeated = "a\0a";
        let of_a = "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe";
        assert!(
            bcrypt::verify(repeated, of_a).unwrap(),
            "bcrypt does not distinguish them"
        );
        assert_eq!(verdict(repeated, of_a, memory), Ok(Verdict::Wrong));
    }

    #[test]
    fn the_memory_of_the_kernel_is_released_for_imported_hashes() {
        let (hasher, memory) = (hasher(), &mut Memory::default());
        let password = Password::present("x".into()).unwrap();
        let bcrypt = "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe";
        for (stored, left) in [
            (
                "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA",
                0,
            ),
            ("$scrypt$ln=1,r=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA", 0),
            (bcrypt, 19_456),
        ] {
            hasher.hash(&password, memory).unwrap();
            assert_eq!(memory.kib(), 19_456);
            assert_eq!(verdict("x", stored, memory), Ok(Verdict::Wrong), "{stored}");
            assert_eq!(memory.kib(), left, "{stored}");
        }
    }

    /// Not a benchmark, which would depend on the machine, but a check that the bounds cover every parameter.
    #[test]
    fn the_most_expensive_hashes_within_bounds_take_as_long_as_a_few_current_hashes() {
        let memory = &mut Memory::default();
        let (hasher, password) = (hasher(), Password::present("x".into()).unwrap());
        for stored in [
            "$argon2id$v=19$m=19456,t=16,p=4$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2i$v=19$m=4864,t=64,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA",
            "$scrypt$ln=14,r=8,p=8$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA",
            "$scrypt$ln=14,r=9,p=7$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA",
            "$2b$12$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
        ] {
            // The minimum of alternating measurements: other programs only make a measurement longer. A busy machine needs more.
            let (mut min, mut current) = (Duration::MAX, Duration::MAX);
            for round in 0..30 {
                if round >= 3 && min < current * 60 {
                    break;
                }
                let begin = Instant::now();
                assert_eq!(verdict("x", stored, memory), Ok(Verdict::Wrong), "{stored}");
                min = min.min(begin.elapsed());
                let begin = Instant::now();
                hasher.hash(&password, memory).unwrap();
                current = current.min(begin.elapsed());
            }
            eprintln!("{stored}: {min:?}, {current:?}");
            assert!(
                min < current * 60,
                "{stored}: {min:?}, and {current:?} for a current hash"
            );
        }
    }
}
