//! The browser: its clock and timers, and the functions the page hands in ([`Hooks`]).

use super::{Log, Platform, Turn};
use crate::core::stamp::Stamp;
use futures_channel::oneshot;
use futures_util::future::LocalBoxFuture;
use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{MessageChannel, MessagePort};

#[wasm_bindgen]
extern "C" {
    /// The object the page handed in. Declared, because what is declared is given a view of bytes, and no copy.
    type Hooked;
    #[wasm_bindgen(method, catch)]
    fn blob(this: &Hooked, bytes: &[u8]) -> Result<JsValue, JsValue>;
}

/// Functions the page may hand in; a missing one means the ordinary way.
#[derive(Clone, Debug)]
pub struct Hooks {
    object: JsValue,
    // Called with every write: looked up once, because a name that crosses is decoded each time.
    now: Option<Function>,
    notify: Option<Function>,
    appended: Option<Function>,
}

impl Hooks {
    /// Wraps the object the page handed in.
    #[must_use]
    pub fn new(object: JsValue) -> Self {
        let get = |name: &str| Reflect::get(&object, &name.into()).ok()?.dyn_into().ok();
        Self { now: get("now"), notify: get("notify"), appended: get("appended"), object }
    }
    /// One of them.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Function> {
        Reflect::get(&self.object, &name.into()).ok()?.dyn_into().ok()
    }
    /// A request body that `fetch` need not copy. None where `fetch` is the app's, or somebody between would lose it.
    pub(crate) fn blob(&self, bytes: &[u8]) -> Option<JsValue> {
        self.get("blob")?;
        self.object.unchecked_ref::<Hooked>().blob(bytes).ok().filter(|blob| !blob.is_null())
    }
    fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.call0(&JsValue::NULL).ok()?.as_string()
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

    /// The pen of a database in `localStorage`, from whoever writes there: until it is dropped nobody else does. None where there are no locks.
    pub async fn pen(&self, stored: &str) -> Option<Turn> {
        let asked = self.hooks.get("pen")?.call1(&JsValue::NULL, &stored.into()).ok()?;
        let over = JsFuture::from(Promise::resolve(&asked)).await.ok()?.dyn_into::<Function>().ok()?;
        Some(Turn(Box::new(Ending(over))))
    }
}

/// What a hook of the page says, where it says a number.
fn number(hook: Option<&Function>) -> Option<f64> {
    hook?.call0(&JsValue::NULL).ok()?.as_f64().filter(|n| n.is_finite())
}

/// A hook that throws is the page's bug, never ours: it must not stop the engine.
fn call(hook: Option<&Function>, argument: &JsValue) {
    if let Some(hook) = hook {
        let _ = hook.call1(&JsValue::NULL, argument);
    }
}

/// Where a message arrives; nothing does once it is dropped.
struct Ear(MessagePort);

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.set_onmessage(None);
        self.0.close();
    }
}

/// Calls a function of the page when it is dropped.
struct Ending(Function);

impl Drop for Ending {
    fn drop(&mut self) {
        call(Some(&self.0), &JsValue::UNDEFINED);
    }
}

/// The next task of this thread, after what waits already. By a message: a timer waits 4 ms here, and a second in a
/// hidden page.
async fn next_task() {
    let Ok(channel) = MessageChannel::new() else { return };
    let (tell, told) = oneshot::channel::<()>();
    let heard = Closure::once(move || _ = tell.send(()));
    let ear = Ear(channel.port1());
    ear.0.set_onmessage(Some(heard.as_ref().unchecked_ref()));
    if channel.port2().post_message(&JsValue::NULL).is_ok() {
        let _ = told.await;
    }
}

impl Platform for Web {
    #[allow(clippy::disallowed_methods, reason = "this is the place the clock comes from")]
    fn now(&self) -> Stamp {
        Stamp(number(self.hooks.now.as_ref()).unwrap_or_else(js_sys::Date::now) as i64)
    }
    fn random(&self) -> f64 {
        number(self.hooks.get("random").as_ref()).filter(|n| (0.0..1.0).contains(n)).unwrap_or_else(js_sys::Math::random)
    }
    fn uuid(&self) -> String {
        self.hooks.text("uuid").unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
    }
    fn sleep(&self, ms: u64) -> LocalBoxFuture<'static, ()> {
        if let Some(sleep) = self.hooks.get("sleep")
            && let Ok(time) = sleep.call1(&JsValue::NULL, &JsValue::from_f64(ms as f64))
        {
            return Box::pin(async move { _ = JsFuture::from(Promise::resolve(&time)).await });
        }
        if ms == 0 {
            return Box::pin(next_task());
        }
        // Longer timers overflow and fire at once; whoever waits longer looks again.
        let ms = u32::try_from(ms).unwrap_or(u32::MAX).min(i32::MAX as u32);
        Box::pin(gloo_timers::future::TimeoutFuture::new(ms))
    }
    #[allow(clippy::disallowed_methods, reason = "this is the place tasks come from")]
    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(task);
    }
    fn notify(&self) {
        call(self.hooks.notify.as_ref(), &JsValue::UNDEFINED);
    }
    fn appended(&self, head: u64) {
        call(self.hooks.appended.as_ref(), &JsValue::from_f64(head as f64));
    }
    fn turn(&self) -> LocalBoxFuture<'static, Option<Turn>> {
        let asked = self.hooks.get("turn").and_then(|ask| ask.call0(&JsValue::NULL).ok());
        Box::pin(async move {
            let over = JsFuture::from(Promise::resolve(&asked?)).await.ok()?.dyn_into::<Function>().ok()?;
            Some(Turn(Box::new(Ending(over))))
        })
    }
    fn turn_lasts(&self) -> LocalBoxFuture<'static, bool> {
        let said = self.hooks.get("turnLasts").and_then(|ask| ask.call0(&JsValue::NULL).ok());
        Box::pin(async move {
            match said {
                // A page's engine is told at once, a worker's after a message.
                Some(said) if said.as_bool().is_none() => JsFuture::from(Promise::resolve(&said)).await.is_ok_and(|said| said.is_truthy()),
                said => said.is_none_or(|said| said.is_truthy()),
            }
        })
    }
    fn log(&self, entry: &Log<'_>) {
        if self.hooks.get("log").is_some() {
            let line = serde_json::json!({
                "level": entry.level, "message": entry.message, "phase": entry.phase, "requestId": entry.request_id, "data": entry.data,
            });
            call(self.hooks.get("log").as_ref(), &line.to_string().into());
        }
    }
}
