//! The pace: how much is done for one before the others get their turn.
//!
//! Not a setting. An operator has no use for it, and the defaults are measured. It is a value
//! because a test has: what can go wrong in the middle of a sweep can only go wrong where a sweep
//! has a middle, and with slices of 32 that takes a hundred subscribers. The simulation plays with
//! slices of one, in which two are enough.
//!
//! Knows: counts and sizes. Never learns what is counted.

/// Where work is cut off and goes on in its next turn. Whatever it says, nothing is delivered
/// differently: only in other pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Deliveries to one channel before the next one gets its turn. A `send` takes up to 10 us, now and
    /// then ten times that, and what is published during a slice waits for its end: that must stay well below the
    /// 2 ms that a small chat may wait for a large one.
    pub deliveries_per_slice: usize,
    /// Deliveries before the reactor looks at its sockets again, for the same reason. More than those of a slice.
    pub deliveries_per_turn: usize,
    /// The most that one sweep carries, in bytes of one framing: a batch is memory.
    pub batch_bytes_max: usize,
    /// What is sent at a time to one who catches up, in bytes.
    pub piece_bytes: usize,
    /// Pieces sent to one who catches up before others get their turn.
    pub pieces_per_turn: usize,
    /// The most that one answer to a poll carries, in bytes: what is left comes with the next.
    pub answer_bytes_max: usize,
    /// The fewest holes that are worth closing in a row of members.
    pub holes_min: usize,
    /// The one buffer that everything is read into, in bytes. Larger than what clients send at a time.
    pub scratch_bytes: usize,
    /// Reads per connection and turn, of as many bytes each: one that sends without end does not starve the others.
    pub reads_per_turn: usize,
    /// Timers fired before the reactor looks at its sockets again.
    pub fired_per_turn: usize,
    /// Connections looked at again before the reactor looks at its sockets.
    pub again_per_turn: usize,
    /// Things that a debug build looks at after each door, on average, to see whether what must hold holds. 0: none,
    /// for tests that count what the engine itself does.
    pub inspected_per_door: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            deliveries_per_slice: 32,
            deliveries_per_turn: 256,
            batch_bytes_max: 256 << 10,
            piece_bytes: 32 << 10,
            pieces_per_turn: 4,
            answer_bytes_max: 256 << 10,
            holes_min: 32,
            scratch_bytes: 16 << 10,
            reads_per_turn: 4,
            fired_per_turn: 1_024,
            again_per_turn: 256,
            inspected_per_door: 256,
        }
    }
}
