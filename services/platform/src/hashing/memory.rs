//! The reusable memory of a hash computation.

/// Memory for one hash computation, 19 MiB, allocated on first use. It is reused without being cleared: its contents
/// are as secret as the pepper, which the process holds anyway.
#[derive(Debug, Default)]
pub struct Memory(Option<argon2_rust::Hasher>);

impl Memory {
    /// Returns the hasher for `config` in this memory, which grows as needed. The caller must limit the parameters that
    /// it takes from a stored hash.
    pub(super) fn kernel(&mut self, config: argon2_rust::Argon2) -> &mut argon2_rust::Hasher {
        let kernel = self.0.get_or_insert_with(|| config.hasher());
        kernel.set_argon2(config);
        kernel
    }

    /// Frees the memory, for a computation that allocates as much itself: both together would be twice the amount per
    /// permit.
    pub fn release(&mut self) {
        self.0 = None;
    }

    /// Returns the allocated size in KiB.
    #[must_use]
    pub fn kib(&self) -> usize {
        // A block has 1 KiB.
        self.0.as_ref().map_or(0, argon2_rust::Hasher::reserved_blocks)
    }
}
