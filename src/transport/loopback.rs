//! A server in the same process behind a network that can be told to misbehave (native tests, simulation).
//!
//! Faults are drawn from the world's seeded randomness. A duplicated request is delivered twice; a lost
//! answer is evaluated and then never arrives; a delayed one arrives after virtual time has passed.

use super::{Transport, TransportError};
use crate::core::authority::{MemoryServer, Refusal};
use crate::core::protocol::{PullRequest, PushRequest, SyncResponse};
use crate::core::stamp::Stamp;
use crate::platform::Platform;
use crate::platform::manual::{Manual, World};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// How often, in a thousand requests, what goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The request never arrives.
    pub lose_request: u64,
    /// The server acts, the answer never arrives.
    pub lose_answer: u64,
    /// The server gets the request twice, the second time possibly much later.
    pub duplicate: u64,
    /// The answer takes up to a minute.
    pub delay: u64,
    /// The server answers 503.
    pub refuse: u64,
}

/// How often each fault was injected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Injected {
    pub lost_requests: u64,
    pub lost_answers: u64,
    pub duplicates: u64,
    pub delays: u64,
    pub refusals: u64,
}

/// The server and what travels towards it, shared by every client of a world.
#[derive(Clone)]
pub struct Network {
    /// The server.
    pub server: Rc<RefCell<MemoryServer>>,
    /// What goes wrong from now on.
    pub faults: Rc<Cell<Faults>>,
    /// What went wrong so far.
    pub injected: Rc<Cell<Injected>>,
    late: Rc<RefCell<Vec<(String, PushRequest)>>>,
    world: World,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

impl Network {
    /// A network in front of `server`.
    #[must_use]
    pub fn new(world: &World, server: MemoryServer) -> Self {
        Self {
            server: Rc::new(RefCell::new(server)),
            faults: Rc::default(),
            injected: Rc::default(),
            late: Rc::default(),
            world: world.clone(),
        }
    }

    /// Delivers every request that is still on its way a second time.
    pub fn deliver_late(&self) {
        let late: Vec<_> = self.late.borrow_mut().drain(..).collect();
        for (scope, request) in late {
            let _ = self.server.borrow_mut().push(&request, &scope, Stamp(self.world.now()));
        }
    }

    fn happens(&self, per_mille: u64, count: impl FnOnce(&mut Injected)) -> bool {
        let yes = per_mille > 0 && self.world.pick(1000) < per_mille;
        if yes {
            let mut injected = self.injected.get();
            count(&mut injected);
            self.injected.set(injected);
        }
        yes
    }
}

/// One client's way to the server.
#[derive(Clone, Debug)]
pub struct Loopback {
    network: Network,
    platform: Manual,
    scope: String,
    bytes: Rc<Cell<(u64, u64)>>,
    offline: Rc<Cell<bool>>,
}

impl Loopback {
    /// A way for one device, as that scope.
    #[must_use]
    pub fn new(network: &Network, platform: &Manual, scope: &str) -> Self {
        Self { network: network.clone(), platform: platform.clone(), scope: scope.to_owned(), bytes: Rc::default(), offline: Rc::default() }
    }

    /// Cuts or restores this device's connection.
    pub fn set_offline(&self, offline: bool) {
        self.offline.set(offline);
    }

    async fn carry<R>(&self, evaluate: impl Fn(Stamp) -> Result<R, Refusal>) -> Result<R, TransportError> {
        let (n, faults) = (&self.network, self.network.faults.get());
        self.platform.sleep(1 + n.world.pick(40)).await;
        if self.offline.get() {
            return Err(TransportError::Network("offline".into()));
        }
        if n.happens(faults.lose_request, |i| i.lost_requests += 1) {
            return Err(TransportError::Network("lost".into()));
        }
        if n.happens(faults.refuse, |i| i.refusals += 1) {
            return Err(http(503, "busy"));
        }
        let answer = evaluate(Stamp(n.world.now())).map_err(|refusal| http(refusal.status(), &refusal.detail("push", "").message))?;
        if n.happens(faults.lose_answer, |i| i.lost_answers += 1) {
            return Err(TransportError::Timeout);
        }
        let wait = if n.happens(faults.delay, |i| i.delays += 1) { 60_000 } else { 40 };
        self.platform.sleep(n.world.pick(wait)).await;
        Ok(answer)
    }
}

fn http(status: u16, message: &str) -> TransportError {
    TransportError::Http { status, code: None, message: message.to_owned(), retry_after_ms: None, request_id: None }
}

impl Transport for Loopback {
    async fn push(&self, request: &PushRequest) -> Result<SyncResponse, TransportError> {
        let n = &self.network;
        if n.happens(n.faults.get().duplicate, |i| i.duplicates += 1) {
            n.late.borrow_mut().push((self.scope.clone(), request.clone()));
            if n.world.pick(2) == 0 {
                n.deliver_late();
            }
        }
        self.carry(|now| n.server.borrow_mut().push(request, &self.scope, now)).await
    }
    async fn pull(&self, request: &PullRequest) -> Result<SyncResponse, TransportError> {
        self.carry(|now| self.network.server.borrow_mut().pull(request, &self.scope, now)).await
    }
    async fn refresh_token(&self) -> bool {
        false
    }
    fn abort(&self) {}
    fn bytes(&self) -> (u64, u64) {
        self.bytes.get()
    }
}
