//! Stored hashes: PHC strings, or bcrypt's older format, which an import or an attacker may have written.
//!
//! A hash itself says how much work its check is, so it is accepted only within bounds on memory, on time, and on the
//! product of the two. A hash outside the bounds is refused after parsing, before any computation.

use argon2::{
    Algorithm, Params, Version,
    password_hash::phc::{self, Output, ParamsString, Salt},
};
use haven_platform::hashing::{MEMORY_KIB, PASSES, Recipe};

/// The maximum work for an imported hash, as a multiple of the work for a current hash. The bounds on scrypt and bcrypt
/// are equivalent: the longest check takes about a third of a second.
const MAX_TIMES_TODAY: u64 = 8;

/// The maximum work for an argon2 hash: the KiB that all passes write.
const MAX_ARGON2_WORK: u64 = MAX_TIMES_TODAY * MEMORY_KIB as u64 * PASSES as u64;

/// The maximum number of passes of an argon2 hash, even with little memory. Common recommendations are 3 to 10.
const MAX_PASSES: u32 = 64;

/// The maximum number of lanes of an argon2 hash.
const MAX_LANES: u32 = 4;

/// The maximum work for a scrypt hash: N × r × p. The usual parameters in 16 MiB are N = 2^14, r = 8, p = 1.
const MAX_SCRYPT_WORK: u64 = MAX_TIMES_TODAY << 17;

/// The minimum cost that bcrypt supports, and the maximum that is accepted, which is the default of most libraries and
/// takes about 300 ms.
const BCRYPT_COSTS: (u32, u32) = (4, 12);

/// The minimum length of a hash's output, in bytes.
const MIN_OUTPUT: usize = 16;

/// A parsed hash within the bounds.
pub(super) enum StoredHash<'a> {
    /// argon2id or argon2i: this service's own, or imported.
    Argon2(Argon2Hash),
    /// scrypt: imported from another service.
    Scrypt(ScryptHash),
    /// bcrypt, imported, in its modular crypt format.
    Bcrypt(&'a str),
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
    pub(super) salt: Salt,
    pub(super) output: Output,
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
    /// The hash's pepper is not configured.
    #[error("the stored hash has a pepper that is not configured")]
    Pepper,
}

impl<'a> StoredHash<'a> {
    /// Parses a stored hash, in time proportional to its length.
    ///
    /// # Errors
    ///
    /// [`Unusable`], except [`Unusable::Pepper`], which the lookup of the pepper returns.
    pub(super) fn parse(stored: &'a str) -> Result<Self, Unusable> {
        if stored.starts_with("$2") {
            return bcrypt_hash(stored).map(Self::Bcrypt);
        }
        let hash = phc::PasswordHash::new(stored).map_err(|_| Unusable::Syntax)?;
        let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
            return Err(Unusable::Syntax);
        };
        let argon2 = |algorithm| {
            let recipe = argon2_recipe(algorithm, &hash)?;
            Ok(Self::Argon2(Argon2Hash { recipe, salt, output }))
        };
        let parsed = match hash.algorithm.as_str() {
            "argon2id" => argon2(Algorithm::Argon2id)?,
            "argon2i" => argon2(Algorithm::Argon2i)?,
            "scrypt" if hash.version.is_none() => Self::Scrypt(ScryptHash {
                params: scrypt_params(&hash.params)?,
                salt,
                output,
            }),
            // argon2d is among the others: it is not made for passwords.
            _ => return Err(Unusable::Algorithm),
        };
        match output.len() {
            ..MIN_OUTPUT => Err(Unusable::Bounds),
            _ => Ok(parsed),
        }
    }
}

fn argon2_recipe(algorithm: Algorithm, hash: &phc::PasswordHash) -> Result<Recipe, Unusable> {
    // Strings from before version 0x13 have no version.
    let version = hash.version.unwrap_or(Version::V0x10.into());
    let version = Version::try_from(version).map_err(|_| Unusable::Algorithm)?;
    let params = Params::try_from(hash).map_err(|_| Unusable::Syntax)?;
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    let within_bounds = params.m_cost() <= MEMORY_KIB
        && params.t_cost() <= MAX_PASSES
        && params.p_cost() <= MAX_LANES
        && work <= MAX_ARGON2_WORK
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

/// Parses the parameters of scrypt. The crate's own parser multiplies r by p in 32 bits before they can be checked.
fn scrypt_params(params: &ParamsString) -> Result<scrypt::Params, Unusable> {
    let (mut ln, mut r, mut p) = (None, None, None);
    for (name, value) in params.iter() {
        let value = value.decimal().map_err(|_| Unusable::Syntax)?;
        match name.as_str() {
            "ln" => ln = Some(value),
            "r" => r = Some(value),
            "p" => p = Some(value),
            _ => return Err(Unusable::Syntax),
        }
    }
    let (Some(ln @ 1..), Some(r @ 1..), Some(p @ 1..)) = (ln, r, p) else {
        return Err(Unusable::Syntax);
    };
    let n = 1_u64.checked_shl(ln).ok_or(Unusable::Bounds)?;
    let (r_wide, p_wide) = (u128::from(r), u128::from(p));
    let work = u128::from(n) * r_wide * p_wide;
    // N blocks of 128 r bytes, p blocks for the result, and one working block.
    let bytes = 128 * r_wide * (u128::from(n) + p_wide + 1);
    if work > MAX_SCRYPT_WORK.into() || bytes > 1024 * u128::from(MEMORY_KIB) {
        return Err(Unusable::Bounds);
    }
    let ln = u8::try_from(ln).map_err(|_| Unusable::Bounds)?;
    scrypt::Params::new(ln, r, p).map_err(|_| Unusable::Bounds)
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
            "m=19456,t=1,p=5",
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
        algorithm.extend(["$2x$06$", "$2$06$", "$2b"].map(|start| format!("{start}{BCRYPT}")));

        for (stored, expected) in [
            (bounds, Unusable::Bounds),
            (syntax, Unusable::Syntax),
            (algorithm, Unusable::Algorithm),
        ]
        .into_iter()
        .flat_map(|(list, expected)| list.into_iter().map(move |stored| (stored, expected)))
        {
            let error = StoredHash::parse(&stored).err();
            assert_eq!(error, Some(expected), "{}", &stored[..stored.len().min(99)]);
        }
    }

    /// Not a benchmark, which would depend on the machine, but a check that ten times the text does not take a hundred
    /// times as long.
    #[test]
    fn parsing_takes_at_most_linear_time() {
        let takes = |stored: &str| {
            let begin = Instant::now();
            assert_eq!(StoredHash::parse(stored).err(), Some(Unusable::Syntax));
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
