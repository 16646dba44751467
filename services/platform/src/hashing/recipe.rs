//! The computation of one argon2 hash.

use argon2::{
    Algorithm, Params, Version,
    password_hash::{
        self,
        phc::{Output, ParamsString, PasswordHash, Salt},
    },
};
use argon2_rust::params::{Memory as MemorySize, TagLen};

use super::memory::Memory;

/// The memory of a new hash in KiB: 19 MiB, for which OWASP's Password Storage Cheat Sheet recommends two passes.
pub const MEMORY_KIB: u32 = 19_456;

/// The number of passes of a new hash.
pub const PASSES: u32 = 2;

/// The number of lanes of a new hash.
pub const LANES: u32 = 1;

/// The length of a new salt, in bytes.
pub const SALT_BYTES: usize = 16;

/// The length of a new hash's output, in bytes.
pub const OUTPUT_BYTES: usize = 32;

/// The parameters of a hash beside the password, the pepper and the salt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The argon2 variant: Argon2d, Argon2i or Argon2id.
    pub algorithm: Algorithm,
    /// The version of the variant.
    pub version: Version,
    /// The costs, and the id of the pepper.
    pub params: Params,
}

impl Recipe {
    /// Computes a hash in `memory`, on the current thread only: lanes are computed one after the other.
    ///
    /// # Errors
    ///
    /// An error when the memory cannot be allocated, or when a parameter, the salt or the output is outside of the
    /// limits of RFC 9106.
    pub fn compute(
        &self,
        pepper: &[u8],
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
        memory: &mut Memory,
    ) -> Result<(), argon2_rust::Error> {
        let params = argon2_rust::Params::builder()
            .memory(MemorySize::kib(self.params.m_cost().into()))
            .passes(self.params.t_cost())
            .lanes(self.params.p_cost())
            .threads(1)
            .tag_len(TagLen::bytes(output.len() as u64))
            .build()?;
        let algorithm = match self.algorithm {
            Algorithm::Argon2d => argon2_rust::Algorithm::Argon2d,
            Algorithm::Argon2i => argon2_rust::Algorithm::Argon2i,
            Algorithm::Argon2id => argon2_rust::Algorithm::Argon2id,
        };
        let version = match self.version {
            Version::V0x10 => argon2_rust::Version::V0x10,
            Version::V0x13 => argon2_rust::Version::V0x13,
        };
        memory
            .kernel(argon2_rust::Argon2::new(algorithm, version, params))
            .hash_into_with_ad(password, salt, pepper, &[], output)
    }

    /// Formats the `output` of this recipe and `salt` as a PHC string.
    ///
    /// # Errors
    ///
    /// An error when the salt or the output is outside of the limits of the format.
    pub fn phc_string(&self, salt: &[u8], output: &[u8]) -> Result<String, password_hash::Error> {
        let hash = PasswordHash {
            algorithm: self.algorithm.ident(),
            version: Some(self.version.into()),
            params: ParamsString::try_from(&self.params)?,
            salt: Some(Salt::new(salt)?),
            hash: Some(Output::new(output)?),
        };
        Ok(hash.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use argon2::{Argon2, ParamsBuilder};
    use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestRunner};

    use super::*;

    fn recipes() -> impl Strategy<Value = Recipe> {
        const ALGORITHMS: &[Algorithm] = &[Algorithm::Argon2d, Algorithm::Argon2i, Algorithm::Argon2id];
        let costs = (1_u32..=4).prop_flat_map(|p| (8 * p..=256, 1_u32..=4, Just(p)));
        const VERSIONS: &[Version] = &[Version::V0x10, Version::V0x13];
        (select(ALGORITHMS), select(VERSIONS), costs).prop_map(|(algorithm, version, (m, t, p))| {
            let params = ParamsBuilder::new().m_cost(m).t_cost(t).p_cost(p).build();
            Recipe {
                algorithm,
                version,
                params: params.unwrap(),
            }
        })
    }

    /// Compares two independent implementations over all configurable parameters. All cases share one memory: the
    /// contents left by one must not change the next.
    #[test]
    fn both_argon2_crates_compute_the_same_hash() {
        let memory = RefCell::new(Memory::default());
        let bytes = |length| vec(any::<u8>(), length);
        let inputs = (bytes(0..=64), bytes(0..=512), bytes(8..=64), 16_usize..=64);
        let checked = TestRunner::default().run(
            &(recipes(), inputs),
            |(recipe, (pepper, password, salt, length))| {
                let (mut ours, mut theirs) = (vec![0; length], vec![1; length]);
                let memory = &mut memory.borrow_mut();
                recipe
                    .compute(&pepper, &password, &salt, &mut ours, memory)
                    .unwrap();
                let Recipe {
                    algorithm,
                    version,
                    params,
                } = recipe;
                Argon2::new_with_secret(&pepper, algorithm, version, params)
                    .unwrap()
                    .hash_password_into(&password, &salt, &mut theirs)
                    .unwrap();
                prop_assert_eq!(ours, theirs);
                Ok(())
            },
        );
        checked.unwrap();
    }

    /// RFC 9106, section 5. These vectors have associated data, which Haven's hashes do not use.
    #[test]
    fn the_test_vectors_of_the_rfc_are_computed() {
        let params = argon2_rust::Params::builder()
            .memory(MemorySize::kib(32))
            .passes(3)
            .lanes(4)
            .threads(1)
            .build()
            .unwrap();
        let memory = &mut Memory::default();
        for (algorithm, expected) in [
            (
                argon2_rust::Algorithm::Argon2d,
                "512b391b6f1162975371d30919734294f868e3be3984f3c1a13a4db9fabe4acb",
            ),
            (
                argon2_rust::Algorithm::Argon2i,
                "c814d9d1dc7f37aa13f0d77f2494bda1c8de6b016dd388d29952a4c4672b6ce8",
            ),
            (
                argon2_rust::Algorithm::Argon2id,
                "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659",
            ),
        ] {
            let config = argon2_rust::Argon2::new(algorithm, argon2_rust::Version::V0x13, params);
            let mut tag = [0; 32];
            memory
                .kernel(config)
                .hash_into_with_ad(&[1; 32], &[2; 16], &[3; 8], &[4; 12], &mut tag)
                .unwrap();
            let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected, "{algorithm:?}");
        }
    }
}
