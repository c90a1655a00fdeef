//! A clock for waiting: the wall clock without its jumps back.
//!
//! A user who sets the clock back an hour must not wait an hour longer; a jump forward only ends waits early. Stamps of
//! records are another matter (DESIGN §3): they are read from the platform.

use crate::core::stamp::Stamp;
use std::cell::Cell;

/// Counts how far the wall clock was set back.
#[derive(Debug, Default)]
pub(super) struct Steady {
    last: Cell<Option<i64>>,
    back: Cell<i64>,
}

impl Steady {
    /// The steady time at a reading of the wall clock.
    pub(super) fn at(&self, wall: Stamp) -> Stamp {
        if let Some(last) = self.last.replace(Some(wall.0)).filter(|last| *last > wall.0) {
            self.back.set(self.back.get().saturating_add(last - wall.0));
        }
        Stamp(wall.0.saturating_add(self.back.get()))
    }

    /// What the wall clock will show then.
    pub(super) fn wall(&self, steady: Stamp) -> Stamp {
        Stamp(steady.0.saturating_sub(self.back.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_only_goes_forward_and_a_wait_is_not_lengthened() {
        let clock = Steady::default();
        assert_eq!(clock.at(Stamp(1_000)), Stamp(1_000));
        let due = Stamp(6_000);
        assert_eq!(clock.at(Stamp(-3_599_000)), Stamp(1_000), "an hour back");
        assert_eq!(clock.wall(due), Stamp(-3_594_000));
        assert_eq!(clock.at(Stamp(-3_594_000)), due);
        assert_eq!(clock.at(Stamp(86_400_000)), Stamp(90_000_000), "a day ahead ends the wait");
    }
}
