//! Shrinking: the shortest part of a script that still goes wrong.
//!
//! Knows: scripts, whether they fail. Never learns why.

use super::script::Script;

/// Leaves out as much as it can: halves first, then ever smaller pieces, as long as what is left `fails`.
pub fn shrink(script: &Script, fails: impl Fn(&Script) -> bool) -> Script {
    let mut best = script.clone();
    let mut piece = best.acts.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < best.acts.len() {
            let mut shorter = best.clone();
            shorter.acts.drain(at..(at + piece).min(best.acts.len()));
            if fails(&shorter) {
                best = shorter;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    best
}
