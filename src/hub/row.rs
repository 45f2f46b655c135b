//! Subscribers in a row.
//!
//! A dense array of connection slots in the order they came: walking sockets in accept
//! order is measurably cheaper than in any other. A place in the row is a number that
//! keeps its meaning while others come and go: places are counted from the first there ever
//! was, and who leaves from the middle leaves a hole. Holes close when they are the majority.
//!
//! Most rows there are hold one subscriber (a private channel for each user), and such a row
//! allocates nothing.
//!
//! Knows: slots and places. Never learns what is sent to them.

use std::collections::VecDeque;

/// Nobody sits here any more.
const HOLE: u32 = u32::MAX;

/// A row of connection slots, four bytes each.
#[derive(Debug, Default)]
pub struct Row {
    seats: Seats,
    /// The place of the row's first entry. Wraps after four billion joins.
    first: u32,
    /// Invariant: how many entries are holes.
    holes: u32,
}

/// Who sits in a row.
#[derive(Debug, Default)]
enum Seats {
    #[default]
    Empty,
    One(u32),
    // Boxed, so that the many rows of one are small.
    #[allow(clippy::box_collection)]
    Many(Box<VecDeque<u32>>),
}

/// A channel has a row for each framing, and channels may be as many as connections.
const _: () = assert!(size_of::<Row>() == 24);

impl Row {
    /// A row in which nobody ever sat.
    pub const EMPTY: Row = Row { seats: Seats::Empty, first: 0, holes: 0 };

    /// Takes a seat at the end. Returns the place, by which to leave.
    pub fn join(&mut self, member: u32) -> u32 {
        debug_assert_ne!(member, HOLE);
        match &mut self.seats {
            Seats::Empty => self.seats = Seats::One(member),
            Seats::One(first) => self.seats = Seats::Many(Box::new(VecDeque::from([*first, member]))),
            Seats::Many(row) => row.push_back(member),
        }
        self.end().wrapping_sub(1)
    }

    /// Gives the seat back, leaving a hole.
    pub fn leave(&mut self, place: u32) {
        match &mut self.seats {
            Seats::Empty => unreachable!("whoever leaves has a place"),
            Seats::One(member) => {
                debug_assert_eq!(place, self.first);
                *member = HOLE;
            }
            Seats::Many(row) => row[place.wrapping_sub(self.first) as usize] = HOLE,
        }
        self.holes += 1;
    }

    /// Closes the holes if they are the majority and at least `holes_min`, so that those who come and go cost no memory in
    /// a channel where nothing is ever said. `moved(member, place)` hears of every new place.
    ///
    /// Not while a sweep is under way: it remembers the place where it has to stop.
    pub fn close_holes(&mut self, holes_min: usize, mut moved: impl FnMut(u32, u32)) {
        let Seats::Many(row) = &mut self.seats else { return };
        let holes = self.holes as usize;
        if holes < holes_min || holes * 2 < row.len() {
            return;
        }
        row.retain(|&member| member != HOLE);
        row.shrink_to(row.len() * 2);
        self.holes = 0;
        for (offset, &member) in row.iter().enumerate() {
            moved(member, self.first.wrapping_add(offset as u32));
        }
    }

    /// Who sits at a place, if anybody still does.
    ///
    /// Hot: runs once per delivery.
    pub fn at(&self, place: u32) -> Option<u32> {
        let offset = place.wrapping_sub(self.first) as usize;
        match &self.seats {
            Seats::Empty => None,
            Seats::One(member) => (offset == 0).then_some(*member),
            Seats::Many(row) => row.get(offset).copied(),
        }
        .filter(|&member| member != HOLE)
    }

    /// The first place there is.
    pub fn start(&self) -> u32 {
        self.first
    }

    /// The place that the next to join will have.
    pub fn end(&self) -> u32 {
        self.first.wrapping_add(self.entries() as u32)
    }

    /// Takes the first member off the row, as long as there are any before the place `end`.
    ///
    /// Hot: runs once per answered poll.
    pub fn pop_before(&mut self, end: u32) -> Option<u32> {
        while self.first != end {
            let member = match &mut self.seats {
                Seats::Empty => return None,
                Seats::One(member) => {
                    let member = *member;
                    self.seats = Seats::Empty;
                    member
                }
                Seats::Many(row) => row.pop_front()?,
            };
            self.first = self.first.wrapping_add(1);
            if member != HOLE {
                return Some(member);
            }
            self.holes -= 1;
        }
        None
    }

    /// How many are seated.
    pub fn len(&self) -> usize {
        self.entries() - self.holes as usize
    }

    /// Whether the holes are as many as it says.
    #[cfg(debug_assertions)]
    pub fn check_invariants(&self) {
        let holes = match &self.seats {
            Seats::Empty => 0,
            Seats::One(member) => usize::from(*member == HOLE),
            Seats::Many(row) => row.iter().filter(|&&member| member == HOLE).count(),
        };
        assert_eq!(holes, self.holes as usize, "holes were counted wrong");
    }

    /// Members and holes.
    fn entries(&self) -> usize {
        match &self.seats {
            Seats::Empty => 0,
            Seats::One(_) => 1,
            Seats::Many(row) => row.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(row: &mut Row, end: u32) -> Vec<u32> {
        std::iter::from_fn(|| row.pop_before(end)).collect()
    }

    #[test]
    fn members_come_off_in_the_order_they_came() {
        let mut row = Row::default();
        let places: Vec<u32> = [7, 8, 9].map(|member| row.join(member)).into();
        row.leave(places[1]);
        assert_eq!(row.len(), 2);
        let end = row.end();
        row.join(10);
        assert_eq!(drain(&mut row, end), [7, 9], "who came after the end waits for the next time");
        assert_eq!(row.len(), 1);
    }

    #[test]
    fn a_place_keeps_its_meaning_while_others_come_and_go() {
        let mut row = Row::default();
        row.join(1);
        let end = row.end();
        let place = row.join(2);
        assert_eq!(drain(&mut row, end), [1]);
        row.join(3);
        row.leave(place);
        let end = row.end();
        assert_eq!(drain(&mut row, end), [3]);
    }

    #[test]
    fn coming_and_going_does_not_let_the_row_grow() {
        let mut row = Row::default();
        let mut stays = row.join(0);
        for member in 1..10_000 {
            let place = row.join(member);
            row.leave(place);
            row.close_holes(32, |member, place| {
                assert_eq!(member, 0);
                stays = place;
            });
        }
        assert!(row.entries() <= 2 * 32);
        assert_eq!(row.len(), 1);
        row.leave(stays);
        assert_eq!(row.len(), 0);
    }

    #[test]
    fn a_row_ends_where_it_did_when_its_only_member_leaves() {
        let mut row = Row::default();
        let place = row.join(7);
        let end = row.end();
        row.leave(place);
        assert_eq!((row.end(), row.len()), (end, 0));
        assert_eq!(row.at(place), None);
        let next = row.join(8);
        assert_eq!(
            (next, row.pop_before(end)),
            (end, None),
            "who came after the end waits for the next time"
        );
        assert_eq!(row.at(next), Some(8));
    }
}
