//! What must hold for every input whatever: one function per target, which panics if it does not.
//!
//! The fuzzer makes the inputs and watches which branches they take. What is checked beside "nothing
//! panics" is in each file's card; the commonest is that it does not matter how bytes are cut into
//! pieces, because a parser that reads pieces otherwise than the whole has a hole in it.
//!
//! Knows: the public rooms of the house. Never learns which input was sensible.

mod answers;
mod body;
mod config;
mod connection;
mod frames;
mod head;
mod json;
mod names;
mod pieces;
mod text;
/// The simulation's: one kernel that does not exist is enough.
#[allow(dead_code, reason = "a fuzzer needs less of it")]
#[path = "../../tests/simulation/wire.rs"]
mod wire;

/// What a browser makes of an event stream.
#[allow(dead_code, reason = "a fuzzer needs less of it")]
#[path = "../../tests/common/event_source.rs"]
mod event_source;

pub use body::body;
pub use config::config;
pub use connection::connection;
pub use frames::frames;
pub use head::head;
pub use json::json;
pub use names::names;
pub use text::text;

use std::cell::RefCell;

use encke::dialect::pages::{Embedded, Found, Shelf};
use encke::wire::refusal::Refusal;

/// What holds for every refusal: a status of an error, and one printable sentence for a person.
fn check_refusal(refusal: &Refusal) {
    assert!((400..=599).contains(&refusal.status), "{refusal:?}");
    assert!(!refusal.detail.is_empty() && refusal.detail.len() <= 600, "{refusal:?}");
    assert!(!refusal.detail.contains(char::is_control), "{refusal:?}");
}

thread_local! {
    /// Made once: whoever makes them computes a tag for each page, which takes longer than most inputs.
    static PAGES: RefCell<Embedded> = RefCell::new(Embedded::new());
}

/// The pages that every server has.
struct Pages;

impl Shelf for Pages {
    fn find(&mut self, path: &str) -> Result<Option<Found>, Refusal> {
        PAGES.with_borrow_mut(|pages| pages.find(path))
    }
}
