//! A server in the same process behind a network that can be told to misbehave (native tests, simulation).
//!
//! Faults are drawn from the world's seeded randomness. A duplicated request is delivered twice, a late one after its
//! sender gave up; a lost answer is evaluated and then never arrives; a slow one arrives after virtual time has passed,
//! and others with it out of order.

use super::{Transport, TransportError};
use crate::core::authority::{Committed, MemoryServer, Refusal};
use crate::core::protocol::{PullRequest, PushRequest, SyncResponse};
use crate::core::stamp::Stamp;
use crate::platform::Platform;
use crate::platform::manual::{Manual, World};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What can go wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request never arrives.
    LostRequest,
    /// The request arrives, but after its sender has given up.
    LateRequest,
    /// The server gets the request twice, the second time possibly much later.
    Duplicate,
    /// The server acts, the answer never arrives.
    LostAnswer,
    /// The answer takes up to a minute.
    SlowAnswer,
    /// The server answers 503.
    Unavailable,
    /// The server answers 429 and names a time.
    RateLimited,
    /// The server answers 413 to more than one mutation.
    TooLarge,
    /// The token has expired: 401.
    Unauthorized,
    /// The token may not do this: 403.
    Forbidden,
    /// Something else answers `200 OK`.
    Portal,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 11] = [
        Fault::LostRequest,
        Fault::LateRequest,
        Fault::Duplicate,
        Fault::LostAnswer,
        Fault::SlowAnswer,
        Fault::Unavailable,
        Fault::RateLimited,
        Fault::TooLarge,
        Fault::Unauthorized,
        Fault::Forbidden,
        Fault::Portal,
    ];
}

/// A number for every fault: how often in a thousand requests it happens, or how often it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerFault([u64; Fault::ALL.len()]);

impl PerFault {
    /// The number of one fault.
    #[must_use]
    pub fn get(&self, fault: Fault) -> u64 {
        self.0.get(fault as usize).copied().unwrap_or(0)
    }
    /// The same with another number for one fault.
    #[must_use]
    pub fn with(mut self, fault: Fault, n: u64) -> Self {
        if let Some(slot) = self.0.get_mut(fault as usize) {
            *slot = n;
        }
        self
    }
    /// All numbers added up.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// What the server did with a push: called after it committed, before anything is answered.
pub type Watch = Rc<dyn Fn(&PushRequest, &Committed, &MemoryServer)>;

/// The server and what travels towards it, shared by every client of a world.
#[derive(Clone)]
pub struct Network {
    /// The server.
    pub server: Rc<RefCell<MemoryServer>>,
    /// What goes wrong from now on, in a thousand requests.
    pub faults: Rc<Cell<PerFault>>,
    /// What went wrong so far.
    pub injected: Rc<Cell<PerFault>>,
    /// The error of the server's clock, in milliseconds.
    pub server_skew: Rc<Cell<i64>>,
    /// Which mutations a rule of the app's own refuses.
    pub rule: Rc<Cell<Rule>>,
    watch: Rc<RefCell<Option<Watch>>>,
    incarnation: Rc<Cell<u64>>,
    late: Rc<RefCell<Vec<(String, PushRequest)>>>,
    world: World,
}

/// Whether a server with rules of its own refuses a mutation for good.
pub type Rule = fn(&crate::core::protocol::WireMutation) -> Option<crate::core::error::Error>;

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
            server_skew: Rc::default(),
            rule: Rc::new(Cell::new(|_| None)),
            watch: Rc::default(),
            incarnation: Rc::default(),
            late: Rc::default(),
            world: world.clone(),
        }
    }

    /// Somebody looks at every push that the server commits.
    pub fn watch(&self, watch: Watch) {
        *self.watch.borrow_mut() = Some(watch);
    }

    /// Delivers every request that is still on its way.
    pub fn deliver_late(&self) {
        let late: Vec<_> = self.late.borrow_mut().drain(..).collect();
        for (scope, request) in late {
            let _ = self.commit(&request, &scope);
        }
    }

    /// The server process ends and starts again: what it has not answered yet is never answered.
    pub fn restart(&self) {
        self.incarnation.set(self.incarnation.get() + 1);
    }

    /// The server's clock.
    #[must_use]
    pub fn now(&self) -> Stamp {
        Stamp(self.world.now() + self.server_skew.get())
    }

    fn commit(&self, request: &PushRequest, scope: &str) -> Result<Committed, Refusal> {
        let mut server = self.server.borrow_mut();
        for m in &request.mutations {
            if let (Some(why), Ok(id)) = ((self.rule.get())(m), m.mutation_id()) {
                server.refuse(id, why);
            }
        }
        let committed = server.commit(request, scope, self.now())?;
        drop(server);
        let watch = self.watch.borrow().clone();
        if let Some(watch) = watch {
            watch(request, &committed, &self.server.borrow());
        }
        Ok(committed)
    }

    fn happens(&self, fault: Fault) -> bool {
        let per_mille = self.faults.get().get(fault);
        let yes = per_mille > 0 && self.world.pick(1000) < per_mille;
        if yes {
            let injected = self.injected.get();
            self.injected.set(injected.with(fault, injected.get(fault) + 1));
        }
        yes
    }

    /// What meets a request on its way to the server.
    fn refuse(&self, mutations: usize) -> Result<(), TransportError> {
        if self.happens(Fault::LostRequest) {
            return Err(TransportError::Network("lost".into()));
        }
        if self.happens(Fault::Portal) {
            return Err(TransportError::BadResponse("HTML instead of JSON".into()));
        }
        for (fault, status) in [(Fault::Unavailable, 503), (Fault::Unauthorized, 401), (Fault::Forbidden, 403)] {
            if self.happens(fault) {
                return Err(http(status, None));
            }
        }
        if self.happens(Fault::RateLimited) {
            return Err(http(429, Some(self.world.pick(5000))));
        }
        if mutations > 1 && self.happens(Fault::TooLarge) {
            return Err(http(413, None));
        }
        Ok(())
    }
}

/// One client's way to the server.
#[derive(Clone, Debug)]
pub struct Loopback {
    network: Network,
    platform: Manual,
    scope: String,
    sent: Rc<Cell<u64>>,
    offline: Rc<Cell<bool>>,
    aborted: Rc<Cell<bool>>,
}

impl Loopback {
    /// A way for one device, as that scope.
    #[must_use]
    pub fn new(network: &Network, platform: &Manual, scope: &str) -> Self {
        Self {
            network: network.clone(),
            platform: platform.clone(),
            scope: scope.to_owned(),
            sent: Rc::default(),
            offline: Rc::default(),
            aborted: Rc::default(),
        }
    }

    /// Cuts or restores this device's connection.
    pub fn set_offline(&self, offline: bool) {
        self.offline.set(offline);
    }

    /// Requests that left this device.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// The way there; afterwards the server may act.
    async fn leave(&self, mutations: usize) -> Result<u64, TransportError> {
        if self.aborted.get() {
            return Err(TransportError::Aborted);
        }
        self.sent.set(self.sent.get() + 1);
        self.platform.sleep(1 + self.network.world.pick(40)).await;
        if self.offline.get() {
            return Err(TransportError::Network("offline".into()));
        }
        self.network.refuse(mutations)?;
        Ok(self.network.incarnation.get())
    }

    /// The way back; `left` as [`Loopback::leave`] said.
    async fn arrive(&self, left: u64) -> Result<(), TransportError> {
        let n = &self.network;
        if n.incarnation.get() != left {
            return Err(TransportError::Network("the server went away".into()));
        }
        if n.happens(Fault::LostAnswer) {
            return Err(TransportError::Timeout);
        }
        let wait = if n.happens(Fault::SlowAnswer) { 60_000 } else { 40 };
        self.platform.sleep(n.world.pick(wait)).await;
        Ok(())
    }
}

fn http(status: u16, retry_after_ms: Option<u64>) -> TransportError {
    TransportError::Http { status, code: None, message: format!("injected {status}"), retry_after_ms, request_id: None }
}

fn refused(refusal: &Refusal) -> TransportError {
    let detail = refusal.detail("push", "");
    TransportError::Http {
        status: refusal.status(),
        code: Some(detail.code),
        message: detail.message,
        retry_after_ms: None,
        request_id: None,
    }
}

impl Transport for Loopback {
    async fn push(&self, request: &PushRequest) -> Result<SyncResponse, TransportError> {
        let n = &self.network;
        if n.happens(Fault::Duplicate) {
            n.late.borrow_mut().push((self.scope.clone(), request.clone()));
            if n.world.pick(2) == 0 {
                n.deliver_late();
            }
        }
        let left = self.leave(request.mutations.len()).await?;
        if n.happens(Fault::LateRequest) {
            n.late.borrow_mut().push((self.scope.clone(), request.clone()));
            return Err(TransportError::Timeout);
        }
        let committed = n.commit(request, &self.scope).map_err(|r| refused(&r))?;
        // Others may be served between the two halves.
        self.platform.sleep(n.world.pick(3)).await;
        if n.incarnation.get() != left {
            return Err(TransportError::Network("the server went away".into()));
        }
        let answer = n.server.borrow_mut().finish(committed, n.now());
        self.arrive(left).await?;
        Ok(answer)
    }
    async fn pull(&self, request: &PullRequest) -> Result<SyncResponse, TransportError> {
        let left = self.leave(0).await?;
        let answer = self.network.server.borrow_mut().pull(request, &self.scope, self.network.now()).map_err(|r| refused(&r))?;
        self.arrive(left).await?;
        Ok(answer)
    }
    async fn refresh_token(&self) -> bool {
        self.network.world.pick(3) > 0
    }
    fn abort(&self) {
        self.aborted.set(true);
    }
    fn bytes(&self) -> (u64, u64) {
        (0, 0)
    }
}
