//! How many bytes of request bodies are in memory at once, of all requests together, unpacked.
//!
//! Counted in bytes and not in requests: whoever sends a little and stops keeps only that little from others. Not here: how long one body may
//! be (`body`), how often a client may ask (`rate`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies of the greatest length that there is room for.
const LONGEST: usize = 64;

/// How many of those the requests of one scope may have: who stops half-way keeps nobody else out.
const OF_ONE_SCOPE: usize = LONGEST / 4;

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
    longest: usize,
    scopes: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

impl Room {
    /// Room for 64 bodies of the greatest length.
    #[must_use]
    pub fn new(max_body: usize) -> Self {
        let longest = max_body.div_ceil(UNIT).max(1);
        Self { free: room(longest, LONGEST), longest, scopes: Arc::default() }
    }

    /// Nothing yet of it, for one request of this scope.
    #[must_use]
    pub fn share(&self, scope: &str) -> Share {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.retain(|_, room| room.strong_count() > 0);
        let own = scopes.get(scope).and_then(Weak::upgrade).unwrap_or_else(|| room(self.longest, OF_ONE_SCOPE));
        scopes.insert(scope.to_owned(), Arc::downgrade(&own));
        Share { rooms: [own, self.free.clone()], held: [None, None], bytes: 0 }
    }
}

fn room(longest: usize, bodies: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(longest.saturating_mul(bodies).min(Semaphore::MAX_PERMITS)))
}

/// What one request keeps of it; free again when it is dropped.
#[derive(Debug)]
pub struct Share {
    /// Its scope's, then everybody's.
    rooms: [Arc<Semaphore>; 2],
    held: [Option<OwnedSemaphorePermit>; 2],
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
        tokio::time::timeout(patience, self.take()).await.unwrap_or(Err(Full))
    }

    async fn take(&mut self) -> Result<(), Full> {
        let needed = self.bytes.div_ceil(UNIT);
        for (room, held) in self.rooms.iter().zip(&mut self.held) {
            let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let more = u32::try_from(needed.saturating_sub(has)).map_err(|_| Full)?;
            if more == 0 {
                continue;
            }
            let taken = room.clone().acquire_many_owned(more).await.map_err(|_| Full)?;
            match held {
                Some(held) => held.merge(taken),
                None => *held = Some(taken),
            }
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
        let soon = Duration::from_millis(20);
        let (mut one, mut two) = (room.share("a"), room.share("a"));
        one.grow(UNIT * (OF_ONE_SCOPE - 1)).await.unwrap();
        for _ in 0..UNIT {
            two.grow(1).await.unwrap();
        }
        assert_eq!(two.grow_within(1, soon).await, Err(Full));
        // Another scope has room, until there is none.
        let mut others: Vec<Share> = ["b", "c", "d"].map(|scope| room.share(scope)).into();
        for other in &mut others {
            other.grow_within(UNIT * OF_ONE_SCOPE, soon).await.unwrap();
        }
        assert_eq!(room.share("e").grow_within(1, soon).await, Err(Full));
        drop(one);
        assert_eq!(room.share("e").grow_within(UNIT * (OF_ONE_SCOPE - 1), soon).await, Ok(()));
        drop((two, others));
        assert_eq!(room.share("a").grow_within(UNIT * OF_ONE_SCOPE, soon).await, Ok(()));
        assert_eq!(room.scopes.lock().unwrap().len(), 1);
    }
}
