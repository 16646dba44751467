//! The memory that a hash is computed in.

use argon2::Block;

use super::hasher::MEMORY_KIB;

/// Room for one hash, 19 MiB; nothing until there is the first one. It is used again and never cleared in between: what a
/// hash leaves behind is the same kind of secret as the pepper, which the process holds anyway.
#[derive(Debug, Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    /// The room.
    pub(super) fn blocks(&mut self) -> &mut [Block] {
        // argon2's blocks are of 1 KiB.
        self.0.resize(MEMORY_KIB as usize, Block::new());
        &mut self.0
    }

    /// Whether there was no hash in it yet.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
