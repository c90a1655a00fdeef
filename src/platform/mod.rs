//! Time, randomness, waiting and the network's state, as arguments.
//!
//! Lives here: the [`Platform`] trait and its implementations. Not here: what is done with them.

use crate::core::stamp::Stamp;
use futures_util::future::LocalBoxFuture;

#[cfg(not(target_arch = "wasm32"))]
pub mod manual;
#[cfg(target_arch = "wasm32")]
pub(crate) mod memory;
#[cfg(target_arch = "wasm32")]
pub mod web;

/// What the engine needs of its surroundings.
pub trait Platform: 'static {
    /// The local wall clock; may jump.
    fn now(&self) -> Stamp;
    /// A number in `[0, 1)`.
    fn random(&self) -> f64;
    /// A random UUID v4.
    fn uuid(&self) -> String;
    /// Resolves after that many milliseconds; 0: in the next task. Dropping it cancels the timer.
    fn sleep(&self, ms: u64) -> LocalBoxFuture<'static, ()>;
    /// Runs a task on this thread; never at once, always in a later turn.
    fn spawn(&self, task: LocalBoxFuture<'static, ()>);
    /// Something is there to be drained: tell whoever shows it. Called outside every borrow.
    fn notify(&self);
    /// The journal grew to this head: tell other tabs.
    fn appended(&self, head: u64);
    /// One sender at a time among the tabs of a database, where that can be arranged: resolves when it is this one's turn, or
    /// when whoever has it gives no sign of life. Dropping the turn ends it. A hint: nothing breaks where two send.
    fn turn(&self) -> LocalBoxFuture<'static, Option<Turn>> {
        Box::pin(std::future::ready(None))
    }
    /// Whether the turn that was given last is still this one's; if so, others hear that it is alive.
    fn turn_lasts(&self) -> LocalBoxFuture<'static, bool> {
        Box::pin(std::future::ready(true))
    }
    /// A line for the app's logger.
    fn log(&self, entry: &Log<'_>);
}

/// The turn to send, until it is dropped.
#[derive(Debug)]
pub struct Turn(#[allow(dead_code, reason = "dropping it is its use")] pub(crate) Box<dyn std::any::Any>);

/// A line for the app's logger. Never holds record contents or tokens.
#[derive(Clone, Debug)]
pub struct Log<'a> {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// What happened.
    pub message: &'a str,
    /// What was being done.
    pub phase: Option<&'static str>,
    /// Of which request.
    pub request_id: Option<&'a str>,
    /// More, as a JSON object.
    pub data: serde_json::Value,
}
