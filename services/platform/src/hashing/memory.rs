//! The memory that a hash is computed in.

/// Room for one hash, 19 MiB; nothing until there is the first one. It is used again and never cleared in between: what a
/// hash leaves behind is the same kind of secret as the pepper, which the process holds anyway.
#[derive(Debug, Default)]
pub struct Memory(Option<argon2_rust::Hasher>);

impl Memory {
    /// The kernel, set to `config`, in the room. It grows to what `config` needs, which whoever believes a stored hash has
    /// to bound.
    pub(super) fn kernel(&mut self, config: argon2_rust::Argon2) -> &mut argon2_rust::Hasher {
        let kernel = self.0.get_or_insert_with(|| config.hasher());
        kernel.set_argon2(config);
        kernel
    }

    /// Gives the room back to the operating system, for a computation that brings as much of its own: the two together
    /// would be twice what one turn may have.
    pub fn release(&mut self) {
        self.0 = None;
    }

    /// How much there is, in KiB.
    #[must_use]
    pub fn kib(&self) -> usize {
        // The kernel's blocks are of 1 KiB.
        self.0.as_ref().map_or(0, argon2_rust::Hasher::reserved_blocks)
    }
}
