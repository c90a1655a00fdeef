//! A platform driven by hand: a virtual clock, seeded randomness, a task queue (native tests).

use super::{Log, Platform, Turn};
use crate::core::stamp::Stamp;
use futures_util::future::LocalBoxFuture;
use futures_util::task::{ArcWake, waker};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

/// Time, tasks and timers of one simulated world; clones share it.
#[derive(Clone, Default)]
pub struct World {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    now: Cell<i64>,
    random: Cell<u64>,
    tasks: RefCell<Vec<Task>>,
    timers: RefCell<BTreeMap<(i64, u64), Timer>>,
    next: Cell<u64>,
}

/// Who to wake, and the flag that says the time has come.
type Timer = (Waker, Rc<Cell<bool>>);

struct Task {
    owner: u64,
    future: Option<LocalBoxFuture<'static, ()>>,
    flag: Arc<Flag>,
}

struct Flag(AtomicBool);
impl ArcWake for Flag {
    fn wake_by_ref(flag: &Arc<Self>) {
        flag.0.store(true, Ordering::SeqCst);
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "World at {}", self.inner.now.get())
    }
}

impl World {
    /// A world that begins at `now` with that seed.
    #[must_use]
    pub fn new(now: i64, seed: u64) -> Self {
        let world = Self::default();
        world.inner.now.set(now);
        world.inner.random.set(seed ^ 0x9e37_79b9_7f4a_7c15);
        world
    }

    /// A device of this world, with its own clock error; its tasks die with [`World::kill`].
    #[must_use]
    pub fn device(&self, owner: u64) -> Manual {
        Manual { world: self.clone(), owner, skew: Rc::default(), notified: Rc::default(), lines: Rc::default(), turns: Rc::default() }
    }

    /// Real time of the world.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.inner.now.get()
    }

    /// A number in `[0, n)`.
    #[must_use]
    pub fn pick(&self, n: u64) -> u64 {
        // SplitMix64
        let mut z = self.inner.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.inner.random.set(z);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    /// Drops every task of one owner, wherever it is: a crash.
    pub fn kill(&self, owner: u64) {
        let dead: Vec<Task> = {
            let mut tasks = self.inner.tasks.borrow_mut();
            let (dead, rest) = tasks.drain(..).partition(|t| t.owner == owner);
            *tasks = rest;
            dead
        };
        drop(dead);
    }

    /// Runs one ready task for one turn; whether there was one.
    pub fn turn(&self) -> bool {
        let found = {
            let mut tasks = self.inner.tasks.borrow_mut();
            let ready: Vec<usize> =
                tasks.iter().enumerate().filter(|(_, t)| t.future.is_some() && t.flag.0.load(Ordering::SeqCst)).map(|(n, _)| n).collect();
            let Some(n) = ready.get(self.pick(ready.len() as u64) as usize) else { return false };
            tasks.get_mut(*n).and_then(|t| {
                t.flag.0.store(false, Ordering::SeqCst);
                Some((t.future.take()?, t.flag.clone()))
            })
        };
        let Some((mut future, flag)) = found else { return false };
        let done = future.as_mut().poll(&mut Context::from_waker(&waker(flag.clone()))).is_ready();
        let mut tasks = self.inner.tasks.borrow_mut();
        if done {
            tasks.retain(|t| !Arc::ptr_eq(&t.flag, &flag));
        } else if let Some(task) = tasks.iter_mut().find(|t| Arc::ptr_eq(&t.flag, &flag)) {
            task.future = Some(future);
        }
        true
    }

    /// Runs until no task can go on without time passing.
    pub fn settle(&self) {
        while self.turn() {}
    }

    /// Lets time pass; due timers fire in order.
    pub fn advance(&self, ms: i64) {
        let until = self.inner.now.get() + ms;
        loop {
            let due = self.inner.timers.borrow().keys().next().copied().filter(|(at, _)| *at <= until);
            let Some(key) = due else { break };
            let fired = self.inner.timers.borrow_mut().remove(&key);
            self.inner.now.set(self.inner.now.get().max(key.0));
            if let Some((waker, done)) = fired {
                done.set(true);
                waker.wake();
            }
            self.settle();
        }
        self.inner.now.set(until);
        self.settle();
    }

    /// Runs a future to its end, with the world's tasks; virtual time passes only as far as needed.
    ///
    /// # Panics
    /// When it waits for something that can never come.
    #[allow(clippy::panic, reason = "test support: a future that can never end is the test's failure")]
    pub fn run<T>(&self, mut future: impl Future<Output = T> + Unpin) -> T {
        loop {
            let flag = Arc::new(Flag(AtomicBool::new(false)));
            if let Poll::Ready(out) = std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(&waker(flag.clone()))) {
                return out;
            }
            while !flag.0.load(Ordering::SeqCst) {
                if self.turn() {
                    continue;
                }
                let next = self.inner.timers.borrow().keys().next().map(|k| k.0);
                match next {
                    Some(at) => self.advance((at - self.now()).max(0)),
                    None => panic!("a future waits for what can never come"),
                }
            }
        }
    }
}

/// One device's platform.
#[derive(Clone)]
pub struct Manual {
    world: World,
    owner: u64,
    skew: Rc<Cell<i64>>,
    notified: Rc<Cell<u32>>,
    lines: Rc<RefCell<Vec<String>>>,
    turns: Rc<Turns>,
}

/// What a device knows of turns to send. Without other tabs there are none.
#[derive(Default)]
struct Turns {
    arranged: Cell<bool>,
    given: Cell<u32>,
    lasts: Cell<bool>,
    /// When the next one can be given.
    free: Cell<i64>,
}

impl std::fmt::Debug for Manual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Manual {}", self.owner)
    }
}

impl Manual {
    /// Sets this device's clock error, in milliseconds.
    pub fn set_skew(&self, ms: i64) {
        self.skew.set(ms);
    }
    /// From now on the device needs its turn to send.
    pub fn arrange_turns(&self) {
        self.turns.arranged.set(true);
    }
    /// Somebody else took the turn that it has, and has it for so many milliseconds.
    pub fn lose_turn(&self, ms: i64) {
        self.turns.lasts.set(false);
        self.turns.free.set(self.world.now() + ms);
    }
    /// How many turns it was given.
    #[must_use]
    pub fn turns_given(&self) -> u32 {
        self.turns.given.get()
    }
    /// Takes what was logged, one text per line.
    #[must_use]
    pub fn take_log(&self) -> Vec<String> {
        self.lines.take()
    }
    /// How often the engine asked to be drained.
    #[must_use]
    pub fn notified(&self) -> u32 {
        self.notified.get()
    }
}

struct Sleep {
    world: World,
    at: i64,
    key: Option<(i64, u64)>,
    done: Rc<Cell<bool>>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.done.get() {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or_else(|| {
            let n = self.world.inner.next.get();
            self.world.inner.next.set(n + 1);
            (self.at, n)
        });
        self.key = Some(key);
        self.world.inner.timers.borrow_mut().insert(key, (cx.waker().clone(), self.done.clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.world.inner.timers.borrow_mut().remove(&key);
        }
    }
}

impl Platform for Manual {
    fn now(&self) -> Stamp {
        Stamp(self.world.now() + self.skew.get())
    }
    fn random(&self) -> f64 {
        self.world.pick(1 << 52) as f64 / (1u64 << 52) as f64
    }
    fn uuid(&self) -> String {
        format!("{:08x}-0000-4000-8000-{:012x}", self.world.pick(1 << 32), self.world.pick(1 << 48))
    }
    fn sleep(&self, ms: u64) -> LocalBoxFuture<'static, ()> {
        let at = self.world.now() + i64::try_from(ms).unwrap_or(i64::MAX / 4);
        Box::pin(Sleep { world: self.world.clone(), at, key: None, done: Rc::default() })
    }
    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        self.world.inner.tasks.borrow_mut().push(Task { owner: self.owner, future: Some(task), flag });
    }
    fn notify(&self) {
        self.notified.set(self.notified.get() + 1);
    }
    fn appended(&self, _: u64) {}
    fn turn(&self) -> LocalBoxFuture<'static, Option<Turn>> {
        if !self.turns.arranged.get() {
            return Box::pin(std::future::ready(None));
        }
        let (turns, waited) =
            (self.turns.clone(), self.sleep(self.turns.free.get().saturating_sub(self.world.now()).max(0).unsigned_abs()));
        Box::pin(async move {
            waited.await;
            turns.given.set(turns.given.get() + 1);
            turns.lasts.set(true);
            Some(Turn(Box::new(())))
        })
    }
    fn turn_lasts(&self) -> LocalBoxFuture<'static, bool> {
        Box::pin(std::future::ready(self.turns.lasts.get()))
    }
    fn log(&self, entry: &Log<'_>) {
        self.lines.borrow_mut().push(format!("{entry:?}"));
    }
}
