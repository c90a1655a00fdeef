//! The browser: its clock and timers, and the functions the page hands in ([`Hooks`]).

use super::{Log, Platform};
use crate::core::stamp::Stamp;
use futures_util::future::LocalBoxFuture;
use js_sys::{Function, Reflect};
use wasm_bindgen::prelude::*;

/// Functions the page may hand in; a missing one means the ordinary way.
#[derive(Clone, Debug)]
pub struct Hooks(JsValue);

impl Hooks {
    /// Wraps the object the page handed in.
    #[must_use]
    pub fn new(object: JsValue) -> Self {
        Self(object)
    }
    /// One of them.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Function> {
        Reflect::get(&self.0, &name.into()).ok()?.dyn_into().ok()
    }
}

/// The browser as a [`Platform`].
#[derive(Clone, Debug)]
pub struct Web {
    hooks: Hooks,
}

impl Web {
    /// The browser, with the page's functions.
    #[must_use]
    pub fn new(hooks: Hooks) -> Self {
        Self { hooks }
    }
    fn number(&self, name: &str) -> Option<f64> {
        self.hooks.get(name)?.call0(&JsValue::NULL).ok()?.as_f64().filter(|n| n.is_finite())
    }
}

impl Platform for Web {
    #[allow(clippy::disallowed_methods, reason = "this is the place the clock comes from")]
    fn now(&self) -> Stamp {
        Stamp(self.number("now").unwrap_or_else(js_sys::Date::now) as i64)
    }
    fn random(&self) -> f64 {
        self.number("random").filter(|n| (0.0..1.0).contains(n)).unwrap_or_else(js_sys::Math::random)
    }
    fn uuid(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }
    fn sleep(&self, ms: u64) -> LocalBoxFuture<'static, ()> {
        // Longer timers overflow and fire at once; whoever waits longer looks again.
        let ms = u32::try_from(ms).unwrap_or(u32::MAX).min(i32::MAX as u32);
        Box::pin(gloo_timers::future::TimeoutFuture::new(ms))
    }
    #[allow(clippy::disallowed_methods, reason = "this is the place tasks come from")]
    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(task);
    }
    fn notify(&self) {
        self.call("notify", &JsValue::UNDEFINED);
    }
    fn appended(&self, head: u64) {
        self.call("appended", &JsValue::from_f64(head as f64));
    }
    fn log(&self, entry: &Log<'_>) {
        if self.hooks.get("log").is_some() {
            let line = serde_json::json!({
                "level": entry.level, "message": entry.message, "phase": entry.phase, "requestId": entry.request_id, "data": entry.data,
            });
            self.call("log", &line.to_string().into());
        }
    }
}

impl Web {
    /// A hook that throws is the page's bug, never ours: it must not stop the engine.
    fn call(&self, name: &str, argument: &JsValue) {
        if let Some(hook) = self.hooks.get(name) {
            let _ = hook.call1(&JsValue::NULL, argument);
        }
    }
}
