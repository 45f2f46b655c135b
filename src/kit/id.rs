//! Names for connections.
//!
//! A connection lives in a slot of a slab, and slots are used again. A name therefore says
//! two things: which slot, and which of the slot's tenants. An event for a tenant that has
//! moved out finds nobody, instead of the next one.
//!
//! Knows: two numbers. Never learns what they name.

/// Which connection: its slot, and which tenant of that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// The slot in the slab, dense from zero.
    pub index: u32,
    /// Differs between two tenants of one slot (for four billion connections in a row).
    pub generation: u32,
}

impl ConnId {
    /// Both halves in one word, for a kernel that carries a word per event.
    pub fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The reverse of [`ConnId::to_u64`].
    pub fn from_u64(word: u64) -> Self {
        ConnId { index: word as u32, generation: (word >> 32) as u32 }
    }
}

impl std::fmt::Display for ConnId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}
