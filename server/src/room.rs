//! How many bytes of request bodies are in memory at once, of all requests together, unpacked.
//!
//! Counted in bytes and not in requests: whoever sends a little and stops keeps only that little from others. Not here: how long one body may
//! be (`body`), how often a client may ask (`rate`).

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies of the greatest length that there is room for.
const LONGEST: usize = 64;

/// How long a request waits for others to be answered, each time it needs more.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one permit stands for, in bytes.
const UNIT: usize = 1024;

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Room for bodies.
#[derive(Clone, Debug)]
pub struct Room {
    free: Arc<Semaphore>,
}

impl Room {
    /// Room for 64 bodies of the greatest length.
    #[must_use]
    pub fn new(max_body: usize) -> Self {
        let units = max_body.div_ceil(UNIT).max(1).saturating_mul(LONGEST);
        Self { free: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))) }
    }

    /// Nothing yet of it, for one request.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { free: self.free.clone(), held: None, bytes: 0 }
    }
}

/// What one request keeps of it; free again when it is dropped.
#[derive(Debug)]
pub struct Share {
    free: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Share {
    /// Takes room for so many bytes more.
    ///
    /// # Errors
    /// When there is none for a while: who holds some and waits for more may be what others wait for.
    pub async fn grow(&mut self, by: usize) -> Result<(), Full> {
        self.grow_within(by, PATIENCE).await
    }

    async fn grow_within(&mut self, by: usize, patience: Duration) -> Result<(), Full> {
        self.bytes = self.bytes.saturating_add(by);
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(self.bytes.div_ceil(UNIT).saturating_sub(held)).map_err(|_| Full)?;
        if more == 0 {
            return Ok(());
        }
        let taken = tokio::time::timeout(patience, self.free.clone().acquire_many_owned(more)).await;
        let Ok(Ok(taken)) = taken else { return Err(Full) };
        match &mut self.held {
            Some(held) => held.merge(taken),
            None => self.held = Some(taken),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_one_lets_go_another_gets_and_who_waits_too_long_is_told() {
        let room = Room::new(UNIT);
        let (mut one, mut two) = (room.share(), room.share());
        one.grow(UNIT * (LONGEST - 1)).await.unwrap();
        for _ in 0..UNIT {
            two.grow(1).await.unwrap();
        }
        let soon = Duration::from_millis(20);
        assert_eq!(two.grow_within(1, soon).await, Err(Full));
        drop(one);
        assert_eq!(room.share().grow_within(UNIT * (LONGEST - 1), soon).await, Ok(()));
        let mut three = room.share();
        assert_eq!(three.grow_within(UNIT * LONGEST, soon).await, Err(Full), "the second still holds what it has");
        drop(two);
        assert_eq!(three.grow_within(0, soon).await, Ok(()));
    }
}
