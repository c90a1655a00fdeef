//! A way to the in-process server on which a test decides what happens to each request, and devices that use it.
//! Not here: random faults (`tests/simulation`), HTTP itself (`tests/faults/*.mjs`).

use homing::core::authority::MemoryServer;
use homing::core::plan::Intent;
use homing::core::protocol::{Outcome, PullRequest, PushRequest, SyncResponse, WireResult};
use homing::core::record::Key;
use homing::core::schema::Schema;
use homing::engine::{Engine, Options, Receipt, Request};
use homing::platform::Platform;
use homing::platform::manual::{Manual, World};
use homing::storage::memory::MemoryJournal;
use homing::transport::loopback::{Loopback, Network};
use homing::transport::{Transport, TransportError};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

pub const T0: i64 = 1_700_000_000_000;
pub type Tab = Engine<MemoryJournal, Wire, Manual>;

/// What happens to a request.
#[derive(Clone)]
pub enum Act {
    Pass,
    Fail(TransportError),
    /// Nothing ever comes back.
    Hang,
    /// The server acts; its answer is lost.
    LoseAnswer,
    /// The server refuses the mutations of this record for good, the others pass.
    Reject(&'static str),
    /// The answer takes that long.
    Slow(u64),
    /// Another server than this database's answers.
    Scope(&'static str),
    /// The answer takes that long, and brings no rows.
    Terse(u64),
    /// The answer says something else.
    Twisted(fn(&mut SyncResponse)),
}

pub fn http(status: u16) -> Act {
    told(status, None)
}

pub fn told(status: u16, retry_after_ms: Option<u64>) -> Act {
    Act::Fail(TransportError::Http { status, code: None, message: "no".into(), retry_after_ms, request_id: None })
}

/// A request as the network saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: i64,
    /// Ids of the records it carried; none for a pull.
    pub records: Vec<String>,
    pub bytes: usize,
    pub push: bool,
    pub cursor: Option<String>,
    pub token: u32,
}

type Script = Rc<RefCell<Box<dyn FnMut(&Seen) -> Act>>>;

#[derive(Clone)]
pub struct Wire {
    inner: Loopback,
    platform: Manual,
    world: World,
    script: Script,
    pub seen: Rc<RefCell<Vec<Seen>>>,
    /// The token the server takes; 0: any.
    pub valid: Rc<Cell<u32>>,
    /// The token this device has.
    pub token: Rc<Cell<u32>>,
    /// What a refresh gives, and how long it takes.
    pub fresh: Rc<Cell<Option<(u32, u64)>>>,
    pub refreshes: Rc<Cell<u32>>,
    refused: Rc<Cell<Option<u32>>>,
    pub aborted: Rc<Cell<bool>>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    pub fn does(&self, script: impl FnMut(&Seen) -> Act + 'static) {
        *self.script.borrow_mut() = Box::new(script);
    }
    pub fn requests(&self) -> usize {
        self.seen.borrow().len()
    }
    /// Forgets what was seen.
    pub fn take(&self) -> Vec<Seen> {
        self.seen.take()
    }

    fn decide(&self, records: Vec<String>, bytes: usize, push: bool, cursor: &Option<String>) -> Act {
        let seen = Seen { at: self.world.now(), records, bytes, push, cursor: cursor.clone(), token: self.token.get() };
        self.seen.borrow_mut().push(seen.clone());
        if ![0, self.token.get()].contains(&self.valid.get()) {
            self.refused.set(Some(self.token.get()));
            return http(401);
        }
        (self.script.borrow_mut())(&seen)
    }

    async fn carry(
        &self,
        act: Act,
        ask: impl AsyncFnOnce() -> Result<SyncResponse, TransportError>,
    ) -> Result<SyncResponse, TransportError> {
        match act {
            Act::Fail(why) => {
                self.platform.sleep(20).await;
                Err(why)
            }
            Act::Hang => std::future::pending().await,
            Act::LoseAnswer => {
                ask().await?;
                Err(TransportError::Network("the connection broke".into()))
            }
            Act::Slow(ms) => {
                let answer = ask().await;
                self.platform.sleep(ms).await;
                answer
            }
            Act::Terse(ms) => {
                let answer = ask().await;
                self.platform.sleep(ms).await;
                answer.map(|answer| SyncResponse { changes: Vec::new(), ..answer })
            }
            Act::Scope(scope) => ask().await.map(|answer| SyncResponse { scope: scope.into(), ..answer }),
            Act::Twisted(twist) => {
                let mut answer = ask().await?;
                twist(&mut answer);
                Ok(answer)
            }
            Act::Pass | Act::Reject(_) => ask().await,
        }
    }
}

impl Transport for Wire {
    async fn push(&self, request: &PushRequest) -> Result<SyncResponse, TransportError> {
        let records = request.mutations.iter().map(|m| m.record_id.clone()).collect();
        let act = self.decide(records, serde_json::to_string(request).unwrap().len(), true, &request.cursor);
        let mut sent = request.clone();
        let mut refused = vec![];
        if let Act::Reject(id) = act {
            refused = sent.mutations.extract_if(.., |m| m.record_id == id).collect();
        }
        let mut answer = self.carry(act, async || self.inner.push(&sent).await.map_err(named)).await?;
        for m in refused {
            let code = Some("validation".to_owned());
            answer.results.push(WireResult { code, message: Some("price is missing".into()), ..WireResult::new(m.id, Outcome::Rejected) });
        }
        Ok(answer)
    }
    async fn pull(&self, request: &PullRequest) -> Result<SyncResponse, TransportError> {
        let act = self.decide(vec![], 0, false, &request.cursor);
        self.carry(act, async || self.inner.pull(request).await.map_err(named)).await
    }
    async fn refresh_token(&self) -> bool {
        self.refreshes.set(self.refreshes.get() + 1);
        let Some((token, ms)) = self.fresh.get() else { return false };
        self.platform.sleep(ms).await;
        self.token.set(token);
        true
    }
    async fn has_new_token(&self) -> bool {
        self.refused.get() != Some(self.token.get())
    }
    fn abort(&self) {
        self.aborted.set(true);
    }
    fn bytes(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// The loopback has no error bodies; the server names this one.
fn named(failure: TransportError) -> TransportError {
    match failure {
        TransportError::Http { status: 409, message, .. } => {
            TransportError::Http { status: 409, code: Some("scope-changed".into()), message, retry_after_ms: None, request_id: None }
        }
        other => other,
    }
}

pub fn schema() -> Schema {
    Schema::parse(r#"{"collections":{"flocks":{"title":"Flock"},"log":{"merge":"append-only"}}}"#).unwrap()
}

/// A world with one server.
pub struct Farm {
    pub world: World,
    pub network: Network,
    owners: Cell<u64>,
}

pub struct Device {
    pub engine: Tab,
    pub wire: Wire,
    pub platform: Manual,
    pub journal: MemoryJournal,
}

impl Farm {
    pub fn new(seed: u64) -> Self {
        let world = World::new(T0, seed);
        Self { network: Network::new(&world, MemoryServer::new(schema())), world, owners: Cell::new(0) }
    }

    pub fn device(&self, options: Options) -> Device {
        self.open(&MemoryJournal::new(), options, "farm", 0)
    }

    pub fn open(&self, journal: &MemoryJournal, options: Options, scope: &str, skew: i64) -> Device {
        self.owners.set(self.owners.get() + 1);
        let owner = self.owners.get();
        let platform = self.world.device(owner);
        platform.set_skew(skew);
        let wire = Wire {
            inner: Loopback::new(&self.network, &platform, scope),
            platform: platform.clone(),
            world: self.world.clone(),
            script: Rc::new(RefCell::new(Box::new(|_| Act::Pass))),
            seen: Rc::default(),
            valid: Rc::default(),
            token: Rc::new(Cell::new(1)),
            fresh: Rc::default(),
            refreshes: Rc::default(),
            refused: Rc::default(),
            aborted: Rc::default(),
        };
        let open = Engine::open(journal.clone(), wire.clone(), platform.clone(), schema(), options);
        let engine = self.world.run(Box::pin(open)).unwrap();
        self.world.settle();
        Device { engine, wire, platform, journal: journal.clone() }
    }

    /// Lets time pass; what is under way goes on first.
    pub fn pass(&self, ms: i64) {
        self.world.settle();
        self.world.advance(ms);
    }

    pub fn server_rows(&self) -> usize {
        self.network
            .server
            .borrow()
            .rows("farm")
            .iter()
            .filter(|(key, row)| key.collection.as_ref() == "flocks" && !row.record.is_deleted())
            .count()
    }

    /// No mutation took effect more than once.
    pub fn check_once(&self) {
        assert!(self.network.server.borrow().effects().values().all(|n| *n == 1));
    }
}

impl Device {
    pub fn insert(&self, ids: impl IntoIterator<Item = String>) -> Receipt {
        let records = ids.into_iter().map(|id| (Arc::from(id.as_str()), format!(r#"{{"name":"{id}","count":1}}"#).into())).collect();
        self.engine.write(Request { intents: vec![Intent::Insert { collection: "flocks".into(), records }], ..Request::default() }).unwrap()
    }
    pub fn update(&self, id: &str, value: &str) {
        let set = vec![("name".to_owned(), serde_json::value::RawValue::from_string(format!("\"{value}\"")).unwrap())];
        let intent = Intent::Update { key: Key::new("flocks", id), set, unset: vec![] };
        self.engine.write(Request { intents: vec![intent], ..Request::default() }).unwrap();
    }
    pub fn rows(&self) -> usize {
        self.engine.read(|r| r.list("flocks").count())
    }
    pub fn pending(&self) -> usize {
        self.engine.status().pending
    }
    pub fn state(&self) -> &'static str {
        self.engine.status().state.as_str()
    }
    pub fn sync(&self, farm: &Farm) -> homing::core::error::Result<homing::engine::SyncReport> {
        farm.world.run(Box::pin(self.engine.sync(false)))
    }
    /// Starts a sync without waiting for it; its outcome appears in the cell.
    pub fn start(&self) -> Rc<RefCell<Option<homing::core::error::Result<homing::engine::SyncReport>>>> {
        let (engine, out) = (self.engine.clone(), Rc::new(RefCell::new(None)));
        let there = out.clone();
        self.platform.spawn(Box::pin(async move { *there.borrow_mut() = Some(engine.sync(false).await) }));
        out
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.engine.figures().illegal_events, 0, "{:?}", self.platform.take_log());
        }
    }
}

/// An engine that syncs only when asked to.
pub fn manual() -> Options {
    Options { auto: false, ..Options::default() }
}

pub fn names(n: usize) -> impl Iterator<Item = String> {
    (0..n).map(|n| format!("f{n}"))
}

/// The most requests within any minute.
pub fn most_per_minute(seen: &[Seen]) -> usize {
    seen.iter().map(|first| seen.iter().filter(|s| (first.at..first.at + 60_000).contains(&s.at)).count()).max().unwrap_or(0)
}
