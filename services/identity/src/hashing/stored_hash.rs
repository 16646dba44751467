//! Stored hashes: PHC strings, or bcrypt's older format, which an import or an attacker may have written.
//!
//! A hash itself says how much work its check is, so it is accepted only within bounds on memory, on time, and on the
//! product of the two. A hash outside the bounds is refused after parsing, before any computation.
//!
//! [`import_format`](super::import_format) converts what other software exports into these forms. The forms beside those of
//! argon2, scrypt and bcrypt are:
//!
//! - `$pbkdf2-sha256$i=…$salt$output` and `$pbkdf2-sha512$…`
//! - `$firebase-scrypt$ln=…,r=…,keyid=…$salt$output`, where the salt ends with Firebase's salt separator, and the secret with
//!   the id is the signer key
//! - `$wp$2y$…`, `$django-bcrypt-sha256$2b$…` and `$devise$keyid$2a$…`: bcrypt of something that is made of the password

use argon2::{
    Algorithm, Params, Version,
    password_hash::phc::{self, Output, ParamsString, Salt},
};
use haven_platform::hashing::{MEMORY_KIB, PASSES, Recipe};

/// The maximum work for an imported hash, as a multiple of the work for a current hash. The bounds on scrypt, bcrypt and pbkdf2
/// are equivalent: the longest check takes about a third of a second.
const MAX_TIMES_TODAY: u64 = 8;

/// The maximum work for an argon2 hash: the KiB that all passes write.
const MAX_ARGON2_WORK: u64 = MAX_TIMES_TODAY * MEMORY_KIB as u64 * PASSES as u64;

/// The maximum number of passes over the memory of [`Bounds`], where that is more work: PHP's default, and the most that
/// libsodium names.
const MAX_LARGE_PASSES: u64 = 4;

/// The maximum number of passes of an argon2 hash, even with little memory. Common recommendations are 3 to 10.
const MAX_PASSES: u32 = 64;

/// The maximum number of lanes of an argon2 hash. Django has 8.
const MAX_LANES: u32 = 8;

/// The maximum work for a scrypt hash: N × r × p. The usual parameters in 16 MiB are N = 2^14, r = 8, p = 1.
const MAX_SCRYPT_WORK: u64 = MAX_TIMES_TODAY << 17;

/// The KiB that a scrypt hash may need beyond the bound: its blocks for the result and its working block, beside N blocks.
const SCRYPT_EXTRA_KIB: u32 = 64;

/// The maximum work for a pbkdf2 hash: the iterations of all blocks of its output. Django 6.0 has 1,200,000 iterations.
const MAX_PBKDF2_WORK: u64 = 2_000_000;

/// The minimum cost that bcrypt supports, and the maximum that is accepted, which is the default of most libraries and
/// takes about 300 ms.
const BCRYPT_COSTS: (u32, u32) = (4, 12);

/// The memory of a bcrypt or pbkdf2 hash in KiB: less than a page of a thread's stack, but a check is not free.
const SMALL_KIB: u32 = 64;

/// The minimum length of a hash's output, in bytes.
const MIN_OUTPUT: usize = 16;

/// The bound on imported hashes that is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most memory that the check of an imported hash may need, in KiB.
    pub memory_kib: u32,
}

/// A parsed hash within the bounds.
pub(super) enum StoredHash<'a> {
    /// argon2id or argon2i: this service's own, or imported.
    Argon2(Argon2Hash),
    /// scrypt: imported from another service.
    Scrypt(ScryptHash),
    /// bcrypt, imported.
    Bcrypt(BcryptHash<'a>),
    /// pbkdf2, imported.
    Pbkdf2(Pbkdf2Hash),
    /// Firebase's modified scrypt, imported: scrypt, and the id of the signer key that is encrypted under its output.
    Firebase(ScryptHash, String),
}

/// An argon2 hash: its parameters, salt and output.
pub(super) struct Argon2Hash {
    pub(super) recipe: Recipe,
    pub(super) salt: Salt,
    pub(super) output: Output,
}

/// A scrypt hash: its parameters, salt and output.
pub(super) struct ScryptHash {
    pub(super) params: scrypt::Params,
    pub(super) kib: u32,
    pub(super) salt: Salt,
    pub(super) output: Output,
}

/// A pbkdf2 hash: its parameters, salt and output.
pub(super) struct Pbkdf2Hash {
    pub(super) digest: Pbkdf2Digest,
    pub(super) iterations: u32,
    pub(super) salt: Salt,
    pub(super) output: Output,
}

/// The hash function of a pbkdf2 hash. SHA-1 is not supported: what used it had few iterations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pbkdf2Digest {
    Sha256,
    Sha512,
}

/// A bcrypt hash in its modular crypt format, and what of the password it hashes.
pub(super) struct BcryptHash<'a> {
    pub(super) hash: &'a str,
    pub(super) input: BcryptInput<'a>,
}

/// What a bcrypt hash is a hash of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BcryptInput<'a> {
    /// The password.
    Password,
    /// The password, followed by the secret with this id (Devise).
    Peppered(&'a str),
    /// An HMAC of the trimmed password, in base64 (WordPress 6.8).
    WordPress,
    /// The SHA-256 of the password, in hexadecimal (Django).
    Sha256,
}

/// The reason for which a stored hash is not checked: a bug or an attack. No sign-in can succeed with such a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The text is not a hash, or not a complete one.
    #[error("the stored hash is not a PHC string")]
    Syntax,
    /// The algorithm or its version is not supported.
    #[error("the stored hash has an unsupported algorithm")]
    Algorithm,
    /// The check would exceed the bounds.
    #[error("the stored hash needs more work than is allowed")]
    Bounds,
    /// The hash's pepper is not configured, or the secret of an imported hash.
    #[error("the stored hash has a pepper or secret that is not configured")]
    Pepper,
}

// === impl Bounds ===

impl Default for Bounds {
    /// The memory of a current hash.
    fn default() -> Self {
        Self {
            memory_kib: MEMORY_KIB,
        }
    }
}

// === impl StoredHash ===

impl<'a> StoredHash<'a> {
    /// Parses a stored hash, in time proportional to its length.
    ///
    /// # Errors
    ///
    /// [`Unusable`], except [`Unusable::Pepper`], which the lookup of the pepper returns.
    pub(super) fn parse(stored: &'a str, bounds: Bounds) -> Result<Self, Unusable> {
        if let Some((hash, input)) = bcrypt_form(stored) {
            let hash = bcrypt_hash(hash)?;
            return Ok(Self::Bcrypt(BcryptHash { hash, input }));
        }
        let hash = phc::PasswordHash::new(stored).map_err(|_| Unusable::Syntax)?;
        let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
            return Err(Unusable::Syntax);
        };
        let argon2 = |algorithm| {
            let recipe = argon2_recipe(algorithm, &hash, bounds)?;
            Ok(Self::Argon2(Argon2Hash { recipe, salt, output }))
        };
        let pbkdf2 = |digest| {
            let iterations = pbkdf2_iterations(&hash.params, digest, output.len())?;
            Ok(Self::Pbkdf2(Pbkdf2Hash {
                digest,
                iterations,
                salt,
                output,
            }))
        };
        let scrypt = || {
            let (params, kib, key_id) = scrypt_params(&hash.params, bounds)?;
            let hash = ScryptHash {
                params,
                kib,
                salt,
                output,
            };
            Ok((hash, key_id))
        };
        let parsed = match (hash.algorithm.as_str(), hash.version) {
            ("argon2id", _) => argon2(Algorithm::Argon2id)?,
            ("argon2i", _) => argon2(Algorithm::Argon2i)?,
            ("scrypt", None) => match scrypt()? {
                (hash, None) => Self::Scrypt(hash),
                (_, Some(_)) => return Err(Unusable::Syntax),
            },
            ("firebase-scrypt", None) => match scrypt()? {
                (hash, Some(key_id)) => Self::Firebase(hash, key_id),
                (_, None) => return Err(Unusable::Syntax),
            },
            ("pbkdf2-sha256", None) => pbkdf2(Pbkdf2Digest::Sha256)?,
            ("pbkdf2-sha512", None) => pbkdf2(Pbkdf2Digest::Sha512)?,
            // argon2d is among the others: it is not made for passwords.
            _ => return Err(Unusable::Algorithm),
        };
        match output.len() {
            ..MIN_OUTPUT => Err(Unusable::Bounds),
            _ => Ok(parsed),
        }
    }

    /// Returns the memory that a check needs in KiB, or `None` for a hash that this service made: those are of one size.
    pub(super) fn imported_kib(&self) -> Option<u32> {
        match self {
            Self::Argon2(hash) if !hash.recipe.params.keyid().is_empty() => None,
            Self::Argon2(hash) => Some(hash.recipe.params.m_cost()),
            Self::Scrypt(hash) | Self::Firebase(hash, _) => Some(hash.kib),
            Self::Bcrypt(_) | Self::Pbkdf2(_) => Some(SMALL_KIB),
        }
    }

    /// Returns the id of the secret that an imported hash needs beside the password.
    pub(super) fn secret_id(&self) -> Option<&str> {
        match self {
            Self::Firebase(_, id) => Some(id),
            Self::Bcrypt(BcryptHash {
                input: BcryptInput::Peppered(id),
                ..
            }) => Some(id),
            _ => None,
        }
    }
}

fn argon2_recipe(algorithm: Algorithm, hash: &phc::PasswordHash, bounds: Bounds) -> Result<Recipe, Unusable> {
    // Strings from before version 0x13 have no version.
    let version = hash.version.unwrap_or(Version::V0x10.into());
    let version = Version::try_from(version).map_err(|_| Unusable::Algorithm)?;
    let params = Params::try_from(hash).map_err(|_| Unusable::Syntax)?;
    // The hashes of this service are checked in the queue, where each check has the memory of a current hash.
    let memory_kib = match params.keyid() {
        [] => bounds.memory_kib.max(MEMORY_KIB),
        _ => MEMORY_KIB,
    };
    let max_work = MAX_ARGON2_WORK.max(MAX_LARGE_PASSES * u64::from(memory_kib));
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    let within_bounds = params.m_cost() <= memory_kib
        && params.t_cost() <= MAX_PASSES
        && params.p_cost() <= MAX_LANES
        && work <= max_work
        && params.data().is_empty();
    match within_bounds {
        true => Ok(Recipe {
            algorithm,
            version,
            params,
        }),
        false => Err(Unusable::Bounds),
    }
}

/// Parses the parameters of scrypt, with the memory in KiB, and the id of a key if there is one. The crate's own parser multiplies
/// r by p in 32 bits before they can be checked.
fn scrypt_params(
    params: &ParamsString,
    bounds: Bounds,
) -> Result<(scrypt::Params, u32, Option<String>), Unusable> {
    let (mut ln, mut r, mut p, mut key_id) = (None, None, None, None);
    for (name, value) in params.iter() {
        if name.as_str() == "keyid" {
            key_id = Some(value.as_str().to_owned());
            continue;
        }
        let value = value.decimal().map_err(|_| Unusable::Syntax)?;
        match name.as_str() {
            "ln" => ln = Some(value),
            "r" => r = Some(value),
            "p" => p = Some(value),
            _ => return Err(Unusable::Syntax),
        }
    }
    // Firebase always has p = 1, and does not export it.
    let p = p.or(key_id.as_ref().map(|_| 1));
    let (Some(ln @ 1..), Some(r @ 1..), Some(p @ 1..)) = (ln, r, p) else {
        return Err(Unusable::Syntax);
    };
    let n = 1_u64.checked_shl(ln).ok_or(Unusable::Bounds)?;
    let (r_wide, p_wide) = (u128::from(r), u128::from(p));
    let work = u128::from(n) * r_wide * p_wide;
    // N blocks of 128 r bytes, p blocks for the result, and one working block.
    let bytes = 128 * r_wide * (u128::from(n) + p_wide + 1);
    let kib = bounds.memory_kib.max(MEMORY_KIB).saturating_add(SCRYPT_EXTRA_KIB);
    if work > MAX_SCRYPT_WORK.into() || bytes > 1024 * u128::from(kib) {
        return Err(Unusable::Bounds);
    }
    let ln = u8::try_from(ln).map_err(|_| Unusable::Bounds)?;
    let params = scrypt::Params::new(ln, r, p).map_err(|_| Unusable::Bounds)?;
    let kib = u32::try_from(bytes.div_ceil(1024)).map_err(|_| Unusable::Bounds)?;
    Ok((params, kib, key_id))
}

fn pbkdf2_iterations(params: &ParamsString, digest: Pbkdf2Digest, output: usize) -> Result<u32, Unusable> {
    let mut iterations = None;
    for (name, value) in params.iter() {
        match name.as_str() {
            "i" => iterations = Some(value.decimal().map_err(|_| Unusable::Syntax)?),
            _ => return Err(Unusable::Syntax),
        }
    }
    let Some(iterations @ 1..) = iterations else {
        return Err(Unusable::Syntax);
    };
    let block = match digest {
        Pbkdf2Digest::Sha256 => 32,
        Pbkdf2Digest::Sha512 => 64,
    };
    let blocks = u64::try_from(output.div_ceil(block)).map_err(|_| Unusable::Bounds)?;
    match u64::from(iterations) * blocks {
        0..=MAX_PBKDF2_WORK => Ok(iterations),
        _ => Err(Unusable::Bounds),
    }
}

/// Returns the bcrypt hash in `stored` and what it is a hash of; `None` for other algorithms.
fn bcrypt_form(stored: &str) -> Option<(&str, BcryptInput<'_>)> {
    // The separator before the version of bcrypt is also the first character of the hash.
    let rest_after = |prefix: &str| Some(&stored[stored.strip_prefix(prefix).map(|_| prefix.len() - 1)?..]);
    if let Some(rest) = stored.strip_prefix("$devise$") {
        let (key_id, _) = rest.split_once('$')?;
        return Some((&rest[key_id.len()..], BcryptInput::Peppered(key_id)));
    }
    if let Some(hash) = rest_after("$wp$") {
        return Some((hash, BcryptInput::WordPress));
    }
    if let Some(hash) = rest_after("$django-bcrypt-sha256$") {
        return Some((hash, BcryptInput::Sha256));
    }
    stored
        .starts_with("$2")
        .then_some((stored, BcryptInput::Password))
}

fn bcrypt_hash(stored: &str) -> Result<&str, Unusable> {
    // `$2x$` is refused: it marks hashes of a version with a bug for characters outside ASCII.
    if !["$2a$", "$2b$", "$2y$"]
        .iter()
        .any(|prefix| stored.starts_with(prefix))
    {
        return Err(Unusable::Algorithm);
    }
    let parts: bcrypt::HashParts = stored.parse().map_err(|_| Unusable::Syntax)?;
    let (min, max) = BCRYPT_COSTS;
    match parts.get_cost() {
        cost if cost < min => Err(Unusable::Syntax),
        cost if cost > max => Err(Unusable::Bounds),
        _ => Ok(stored),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn hostile_hashes_are_refused_by_the_parser() {
        const REST: &str = "c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        const BCRYPT: &str = "m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe";
        let (mut bounds, mut syntax, mut algorithm) = (Vec::new(), Vec::new(), Vec::new());
        for params in [
            "m=4194304,t=1,p=1",
            "m=4294967295,t=4294967295,p=4",
            "m=64,t=1000000,p=1",
            "m=64,t=65,p=1",
            "m=19456,t=17,p=1",
            "m=19457,t=2,p=1",
            "m=19456,t=1,p=2000",
            "m=19456,t=1,p=9",
            "m=64,t=1,p=1,data=AAAA",
        ] {
            bounds.extend(
                ["argon2id$v=19", "argon2i$v=19", "argon2id"].map(|id| format!("${id}${params}${REST}")),
            );
        }
        for params in [
            "ln=40,r=8,p=1",
            "ln=63,r=4294967295,p=4294967295",
            "ln=64,r=1,p=1",
            "ln=4294967295,r=8,p=1",
            "ln=15,r=8,p=1",
            "ln=14,r=10,p=1",
            "ln=14,r=8,p=9",
            "ln=1,r=65536,p=65536",
            "ln=1,r=1,p=4294967295",
            "ln=1,r=4294967295,p=1",
        ] {
            bounds.push(format!("$scrypt${params}${REST}"));
        }
        bounds.extend(["13", "31", "99"].map(|cost| format!("$2b${cost}${BCRYPT}")));
        for params in ["sha256$i=2000001", "sha512$i=4294967295"] {
            bounds.push(format!("$pbkdf2-{params}${REST}"));
        }
        // 64 bytes are two blocks of SHA-256.
        let long = format!("c2FsdHNhbHRzYWx0${}", "A".repeat(86));
        bounds.push(format!("$pbkdf2-sha256$i=1000001${long}"));
        bounds.push(format!("$firebase-scrypt$ln=15,r=8,keyid=k1${REST}"));
        bounds.extend(
            ["$wp", "$devise$k1", "$django-bcrypt-sha256"].map(|form| format!("{form}$2b$13${BCRYPT}")),
        );
        bounds.push("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAA".into());
        bounds.push("$scrypt$ln=1,r=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAA".into());

        for params in [
            "m=99999999999,t=1,p=1",
            "m=1,t=1,p=1",
            "m=64,t=0,p=1",
            "m=64,t=1,p=0",
            "m=64,t=1,p=9",
            "m=64,t=1,p=1,x=1",
            "x",
        ] {
            syntax.push(format!("$argon2id$v=19${params}${REST}"));
        }
        for params in [
            "ln=0,r=8,p=1",
            "ln=14,r=0,p=1",
            "ln=14,r=8,p=0",
            "ln=14,r=8",
            "ln=14,r=8,p=1,x=1",
            "ln=99999999999,r=8,p=1",
            "n=14,r=8,p=1",
        ] {
            syntax.push(format!("$scrypt${params}${REST}"));
        }
        for params in [
            "pbkdf2-sha256$i=0",
            "pbkdf2-sha256$i=x",
            "pbkdf2-sha256$l=32",
            "pbkdf2-sha256$i=1,l=32",
            "firebase-scrypt$ln=14,r=8",
            "scrypt$ln=14,r=8,p=1,keyid=k1",
        ] {
            syntax.push(format!("${params}${REST}"));
        }
        syntax.extend(["$devise$", "$devise$k1", "$wp$2y$10$x"].map(String::from));
        syntax.extend(["03", "-1", "xx"].map(|cost| format!("$2b${cost}${BCRYPT}")));
        syntax.extend(
            [
                "",
                "x",
                "$",
                "$2b$12$abcdefghijklmnopqrstuv",
                "$2b$06$\u{e4}\u{e4}CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVf",
                "$argon2id$v=19$m=64,t=1,p=1",
                "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0",
            ]
            .map(String::from),
        );
        syntax.push(format!("$scrypt$ln=14,r=8,p=1${}", "A".repeat(1 << 20)));

        algorithm.extend(
            [
                "argon2d$v=19$m=64,t=1,p=1",
                "argon2id$v=18$m=64,t=1,p=1",
                "scrypt$v=1$ln=14,r=8,p=1",
                "pbkdf2$i=1",
            ]
            .map(|start| format!("${start}${REST}")),
        );
        algorithm.extend(["$wp$", "$wp$P$B", "$devise$k1$P$B", "$django-bcrypt-sha256$x"].map(String::from));
        algorithm.push(format!("$pbkdf2-sha1$i=1${REST}"));
        algorithm.push(format!("$pbkdf2-sha256$v=1$i=1${REST}"));
        algorithm.extend(["$2x$06$", "$2$06$", "$2b"].map(|start| format!("{start}{BCRYPT}")));

        for (stored, expected) in [
            (bounds, Unusable::Bounds),
            (syntax, Unusable::Syntax),
            (algorithm, Unusable::Algorithm),
        ]
        .into_iter()
        .flat_map(|(list, expected)| list.into_iter().map(move |stored| (stored, expected)))
        {
            let error = StoredHash::parse(&stored, Bounds::default()).err();
            assert_eq!(error, Some(expected), "{}", &stored[..stored.len().min(99)]);
        }
    }

    #[test]
    fn the_configured_memory_is_for_imported_hashes_alone() {
        const REST: &str = "c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let bounds = Bounds { memory_kib: 65_536 };
        for (params, kib) in [
            // The defaults of argon2-cffi and npm's argon2; of PHP and Laravel; of libsodium's INTERACTIVE.
            ("argon2id$v=19$m=65536,t=3,p=4", 65_536),
            ("argon2id$v=19$m=65536,t=4,p=1", 65_536),
            ("argon2id$v=19$m=65536,t=2,p=1", 65_536),
            // That of passlib.
            ("scrypt$ln=16,r=8,p=1", 65_538),
            ("argon2id$v=19$m=7168,t=5,p=1", 7_168),
        ] {
            let stored = format!("${params}${REST}");
            let hash = StoredHash::parse(&stored, bounds).ok().unwrap();
            assert_eq!(hash.imported_kib(), Some(kib), "{stored}");
        }
        for params in [
            "argon2id$v=19$m=65537,t=1,p=1",
            "argon2id$v=19$m=65536,t=5,p=1",
            "argon2id$v=19$m=65536,t=1,p=9",
            "argon2id$v=19$m=65536,t=1,p=1,keyid=azE",
            "argon2id$v=19$m=262144,t=3,p=1",
            "scrypt$ln=17,r=8,p=1",
        ] {
            let stored = format!("${params}${REST}");
            assert_eq!(
                StoredHash::parse(&stored, bounds).err(),
                Some(Unusable::Bounds),
                "{stored}"
            );
        }
        let moderate = format!("$argon2id$v=19$m=262144,t=3,p=1${REST}");
        let larger = Bounds { memory_kib: 262_144 };
        assert!(
            StoredHash::parse(&moderate, larger).is_ok(),
            "libsodium's MODERATE"
        );
        let own = format!("$argon2id$v=19$m=19456,t=2,p=1,keyid=azE${REST}");
        assert_eq!(StoredHash::parse(&own, bounds).ok().unwrap().imported_kib(), None);
    }

    /// Not a benchmark, which would depend on the machine, but a check that ten times the text does not take a hundred
    /// times as long.
    #[test]
    fn parsing_takes_at_most_linear_time() {
        let takes = |stored: &str| {
            let begin = Instant::now();
            assert_eq!(
                StoredHash::parse(stored, Bounds::default()).err(),
                Some(Unusable::Syntax)
            );
            begin.elapsed()
        };
        for start in ["$scrypt$ln=14,r=8,p=1$", "$scrypt$", "$", "$2b$12$", ""] {
            let text = |letters| format!("{start}{}", "A".repeat(letters));
            let (short, long) = (text(100_000), text(1_000_000));
            // The minimum of several alternating measurements: other tests only make a measurement longer.
            let (mut min_short, mut min_long) = (Duration::MAX, Duration::MAX);
            for _ in 0..5 {
                min_short = min_short.min(takes(&short));
                min_long = min_long.min(takes(&long));
            }
            // The resolution of the clock, for texts that are refused immediately.
            let resolution = Duration::from_millis(1);
            assert!(
                min_long < (min_short * 40).max(resolution),
                "{start}: {min_short:?}, {min_long:?}"
            );
        }
    }
}
