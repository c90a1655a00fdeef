//! Devices of one farm, a server in the same process, and a rule by which it refuses.

use futures_util::future::LocalBoxFuture;
use homing::core::authority::MemoryServer;
use homing::core::conflict::Conflict;
use homing::core::mutation::{MutationId, Op};
use homing::core::plan::Intent;
use homing::core::protocol::{Outcome, PullRequest, PushRequest, SyncResponse, WireMutation, WireResult};
use homing::core::record::Key;
use homing::core::replica::Replica;
use homing::core::schema::Schema;
use homing::engine::{Drained, Engine, Notice, Options, Request, Verdict, Waiting};
use homing::platform::manual::{Manual, World};
use homing::storage::memory::MemoryJournal;
use homing::storage::{Journal, Segments};
use homing::transport::loopback::{Loopback, Network};
use homing::transport::{Transport, TransportError};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

pub(crate) const SCOPE: &str = "farm";
const SCHEMA: &str = r#"{"collections":{
    "flocks":{"title":"Flock"}, "settings":{"singleton":true},
    "days":{"references":{"flockId":"flocks"}}, "eggs":{"references":{"dayId":"days"}}, "tags":{"references":{"flockIds":"flocks"}},
    "facts":{"merge":"append-only","references":{"flockId":"flocks"}},
    "orders":{"ids":"server"}, "lines":{"ids":"server","references":{"orderId":"orders"}}, "people":{"ids":"server"},
    "teams":{"fields":{"members":"set","wins":"counter"}},
    "bills":{"merge":"fww","ordinal":{"field":"no","parent":"flockId"}}, "rings":{"unique":[["ring"]]},
    "users":{"localFields":["pin","cache"]}, "profile":{"singleton":true,"localFields":["pin"]}, "visits":{"merge":"append-only","localFields":["pin"]},
    "locks":{"merge":"fww","localFields":["pin"]}, "cards":{"ids":"server","localFields":["pin"]},
    "first":{"merge":"fww"}, "theirs":{"merge":"server-wins"}, "mine":{"merge":"client-wins"}, "asked":{"merge":"manual"}}}"#;

/// Says why a mutation is refused, if it is.
type Rule = Rc<RefCell<Option<Box<dyn Fn(&WireMutation) -> Option<String>>>>>;

/// The way to a server that also refuses by a rule of its own, as an app's validation would.
#[derive(Clone)]
pub(crate) struct Ruled {
    inner: Loopback,
    pub(crate) rule: Rule,
    pub(crate) sent: Rc<RefCell<Vec<Vec<String>>>>,
    /// Every request as it leaves, whatever becomes of it.
    pub(crate) bodies: Rc<RefCell<Vec<String>>>,
    pub(crate) lose_answers: Rc<RefCell<u32>>,
    /// Mutations about which nothing is answered, once.
    pub(crate) swallow: Rc<RefCell<Vec<String>>>,
    /// What happens elsewhere while the next push is on its way to the server, or the answer to the next pull on its way back.
    pub(crate) meanwhile: Happening,
    /// What happens elsewhere while the answer to the next push is on its way back.
    pub(crate) before_answer: Happening,
}

type Happening = Rc<RefCell<Option<LocalBoxFuture<'static, ()>>>>;

impl std::fmt::Debug for Ruled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ruled")
    }
}

async fn happens(slot: &Happening) {
    let what = slot.borrow_mut().take();
    if let Some(what) = what {
        what.await;
    }
}

impl Transport for Ruled {
    async fn push(&self, request: &PushRequest) -> Result<SyncResponse, TransportError> {
        self.sent.borrow_mut().push(request.mutations.iter().map(|m| format!("{:?} {}", m.op, m.record_id).to_lowercase()).collect());
        self.bodies.borrow_mut().push(serde_json::to_string(request).unwrap());
        let mut passed = request.clone();
        let mut refused = Vec::new();
        let rule = |m: &WireMutation| self.rule.borrow().as_ref().and_then(|rule| rule(m));
        passed.mutations.retain(|m| match rule(m) {
            None => true,
            Some(code) => {
                let message = Some(format!("refused: {code}"));
                refused.push(WireResult {
                    code: Some(code),
                    message,
                    path: Some("/record/n".into()),
                    ..WireResult::new(&m.id, Outcome::Rejected)
                });
                false
            }
        });
        happens(&self.meanwhile).await;
        let mut answer = self.inner.push(&passed).await?;
        happens(&self.before_answer).await;
        answer.results.extend(refused);
        let mute: Vec<String> = self.swallow.borrow_mut().drain(..).collect();
        answer.results.retain(|r| !mute.contains(&r.id));
        let mut lose = self.lose_answers.borrow_mut();
        if *lose > 0 {
            *lose -= 1;
            return Err(TransportError::Timeout);
        }
        Ok(answer)
    }
    async fn pull(&self, request: &PullRequest) -> Result<SyncResponse, TransportError> {
        self.bodies.borrow_mut().push(serde_json::to_string(request).unwrap());
        let answer = self.inner.pull(request).await;
        happens(&self.meanwhile).await;
        answer
    }
    async fn refresh_token(&self) -> bool {
        false
    }
    fn abort(&self) {}
    fn bytes(&self) -> (u64, u64) {
        self.inner.bytes()
    }
}

type Tab = Engine<MemoryJournal, Ruled, Manual>;

/// One device: what it stored, and the tab that is open.
pub(crate) struct Device {
    pub(crate) tab: Tab,
    pub(crate) journal: MemoryJournal,
    pub(crate) way: Ruled,
    options: Options,
}

/// A server and its devices.
pub(crate) struct Farm {
    pub(crate) world: World,
    pub(crate) network: Network,
    pub(crate) devices: Vec<Device>,
    owners: u64,
}

impl Farm {
    pub(crate) fn new(seed: u64, devices: usize) -> Self {
        Self::with(seed, devices, Options::default())
    }

    pub(crate) fn with(seed: u64, devices: usize, options: Options) -> Self {
        let world = World::new(1_700_000_000_000, seed);
        let network = Network::new(&world, MemoryServer::new(schema()));
        let mut farm = Self { world, network, devices: vec![], owners: 0 };
        for _ in 0..devices {
            let journal = MemoryJournal::new();
            let options = Options { auto: false, compact_rows: 20, ..options.clone() };
            let device = farm.open(journal, Rc::default(), options, schema());
            farm.devices.push(device);
        }
        farm
    }

    fn open(&mut self, journal: MemoryJournal, rule: Rule, options: Options, schema: Schema) -> Device {
        self.owners += 1;
        let platform = self.world.device(self.owners);
        let loopback = Loopback::new(&self.network, &platform, SCOPE);
        let way = Ruled {
            inner: loopback,
            rule,
            sent: Rc::default(),
            bodies: Rc::default(),
            lose_answers: Rc::default(),
            swallow: Rc::default(),
            meanwhile: Rc::default(),
            before_answer: Rc::default(),
        };
        let opened = Engine::open(journal.clone(), way.clone(), platform, schema, options.clone());
        let tab = self.world.run(Box::pin(opened)).unwrap();
        Device { tab, journal, way, options }
    }

    /// Closes a device's tab and opens it again: only what is stored is left.
    pub(crate) fn reload(&mut self, d: usize) {
        self.reload_as(d, schema());
    }

    /// The same with another version of the app.
    pub(crate) fn reload_as(&mut self, d: usize, schema: Schema) {
        let world = self.world.clone();
        world.run(Box::pin(self.devices[d].tab.close()));
        let (journal, rule) = (self.devices[d].journal.clone(), self.devices[d].way.rule.clone());
        let options = self.devices[d].options.clone();
        self.devices[d] = self.open(journal, rule, options, schema);
    }

    /// Another tab of a device, or a copy of its profile; its number.
    fn beside(&mut self, d: usize, journal: MemoryJournal) -> usize {
        let (rule, options) = (self.devices[d].way.rule.clone(), self.devices[d].options.clone());
        let device = self.open(journal, rule, options, schema());
        self.devices.push(device);
        self.devices.len() - 1
    }

    pub(crate) fn another_tab(&mut self, d: usize) -> usize {
        self.beside(d, self.devices[d].journal.clone())
    }

    pub(crate) fn copied_profile(&mut self, d: usize) -> usize {
        self.durable(d);
        self.beside(d, self.devices[d].journal.fork())
    }

    pub(crate) fn client(&self, d: usize) -> Arc<str> {
        self.tab(d).read(|r| r.client().clone())
    }

    /// What can go on goes on, then time passes.
    pub(crate) fn pass(&self, ms: i64) {
        self.world.settle();
        self.world.advance(ms);
    }

    /// From now on the device syncs by itself.
    pub(crate) fn auto(&mut self, d: usize) {
        self.devices[d].options.auto = true;
        self.reload(d);
    }

    pub(crate) fn refuse(&self, d: usize, rule: impl Fn(&WireMutation) -> Option<String> + 'static) {
        *self.devices[d].way.rule.borrow_mut() = Some(Box::new(rule));
    }

    pub(crate) fn tab(&self, d: usize) -> &Tab {
        &self.devices[d].tab
    }

    pub(crate) fn write(&self, d: usize, request: Request) -> u64 {
        self.tab(d).write(request).unwrap().ticket
    }

    pub(crate) fn insert(&self, d: usize, collection: &str, id: &str, body: &Value) {
        self.write(d, insert(collection, id, body));
    }

    pub(crate) fn update(&self, d: usize, collection: &str, id: &str, change: &Value) {
        self.write(d, update(collection, id, change));
    }

    pub(crate) fn delete(&self, d: usize, collection: &str, id: &str) {
        self.write(d, one(Intent::Delete { key: Key::new(collection, id) }));
    }

    pub(crate) fn durable(&self, d: usize) {
        self.world.run(Box::pin(self.tab(d).durable()));
    }

    /// A cycle that has to succeed; what happened in it and before.
    pub(crate) fn sync(&self, d: usize) -> Drained {
        self.world.run(Box::pin(self.tab(d).sync(false))).unwrap();
        self.tab(d).drain()
    }

    pub(crate) fn fails_to_sync(&self, d: usize) {
        self.world.run(Box::pin(self.tab(d).sync(false))).unwrap_err();
    }

    /// What each device has sent since the last call, request by request.
    pub(crate) fn sent(&self, d: usize) -> Vec<Vec<String>> {
        self.devices[d].way.sent.borrow_mut().drain(..).filter(|r| !r.is_empty()).collect()
    }

    /// The bytes of every request of a device since it was opened.
    pub(crate) fn bodies(&self, d: usize) -> Vec<String> {
        self.devices[d].way.bodies.borrow().clone()
    }

    pub(crate) fn queue(&self, d: usize) -> Vec<String> {
        self.tab(d).read(|r| r.queue().map(|m| format!("{:?} {}", m.op, m.key).to_lowercase()).collect())
    }

    pub(crate) fn id_of(&self, d: usize, op: Op, id: &str) -> MutationId {
        self.tab(d).read(|r| r.queue().find(|m| m.op == op && m.key.id.as_ref() == id).unwrap().id.clone())
    }

    pub(crate) fn explain(&self, d: usize) -> HashMap<String, Waiting> {
        self.tab(d).explain().into_iter().map(|w| (self.tab(d).read(|r| r.pending(&w.id).unwrap().key.to_string()), w)).collect()
    }

    pub(crate) fn state(&self, d: usize, collection: &str, id: &str) -> &'static str {
        self.tab(d).record_state(&Key::new(collection, id)).as_str()
    }

    pub(crate) fn letters(&self, d: usize) -> Vec<MutationId> {
        self.tab(d).read(|r| r.dead_letters().map(|l| l.mutation.id.clone()).collect())
    }

    pub(crate) fn get(&self, d: usize, collection: &str, id: &str) -> Option<Value> {
        self.tab(d).read(|r| r.view(&Key::new(collection, id))).filter(|r| !r.is_deleted()).map(|r| body(r.text()))
    }

    /// The live rows a device shows, by `collection/id`.
    pub(crate) fn local(&self, d: usize) -> BTreeMap<String, Value> {
        let mut out = BTreeMap::new();
        for name in self.tab(d).read(|r| r.collections().cloned().collect::<Vec<_>>()) {
            for row in self.tab(d).read(|r| r.list(&name).collect::<Vec<_>>()) {
                out.insert(format!("{name}/{}", row.id()), body(row.text()));
            }
        }
        out
    }

    /// The live rows the server has.
    pub(crate) fn server(&self) -> BTreeMap<String, Value> {
        let rows = self.network.server.borrow().rows(SCOPE);
        rows.into_iter().filter(|(_, r)| !r.record.is_deleted()).map(|(k, r)| (k.to_string(), body(r.record.text()))).collect()
    }

    /// The server has exactly these rows, every device shows them after a cycle of each, all queues are empty, what is
    /// stored is what is in memory, and every mutation took effect once at most.
    pub(crate) fn agrees(&mut self, rows: &[(&str, Value)]) {
        for _ in 0..2 {
            for d in 0..self.devices.len() {
                self.sync(d);
            }
        }
        let want: BTreeMap<String, Value> = rows.iter().map(|(key, body)| ((*key).to_owned(), body.clone())).collect();
        assert_eq!(self.server(), want, "on the server");
        for d in 0..self.devices.len() {
            self.check_fold(d);
            assert_eq!(self.queue(d), Vec::<String>::new(), "queue of device {d}");
            assert_eq!(self.letters(d), [], "dead letters of device {d}");
            assert_eq!(self.local(d), want, "on device {d}");
            self.reload(d);
            assert_eq!(self.local(d), want, "on device {d} after a reload");
        }
        let twice: Vec<_> = self.network.server.borrow().effects().iter().filter(|(_, n)| **n > 1).map(|(id, _)| id.clone()).collect();
        assert_eq!(twice, [], "took effect more than once");
    }

    /// After a cycle of each, every device shows what the server has, archive and all, and nothing waits.
    pub(crate) fn alike(&mut self) {
        for _ in 0..2 {
            for d in 0..self.devices.len() {
                self.sync(d);
            }
        }
        for d in 0..self.devices.len() {
            self.check_fold(d);
            assert_eq!((self.queue(d), self.letters(d)), (vec![], vec![]), "waiting on device {d}");
            assert_eq!(self.local(d), self.server(), "on device {d}");
        }
    }

    /// The conflicts and archive entries that a device knows.
    pub(crate) fn archive(&self, d: usize) -> Vec<Conflict> {
        self.tab(d).read(|r| r.archive().map(|row| Conflict::from_record(&row).unwrap()).collect())
    }

    /// [`Farm::agrees`], with records named by the ids they had on device `d`.
    pub(crate) fn agrees_remapped(&mut self, d: usize, rows: &[(&str, Value)]) {
        self.sync(d);
        self.sync(d);
        let rows: Vec<(String, Value)> = rows.iter().map(|(key, body)| (self.key_now(d, key), self.now(d, body.clone()))).collect();
        let rows: Vec<(&str, Value)> = rows.iter().map(|(key, body)| (key.as_str(), body.clone())).collect();
        self.agrees(&rows);
    }

    fn key_now(&self, d: usize, key: &str) -> String {
        let (collection, id) = key.split_once('/').unwrap();
        format!("{collection}/{}", self.id_now(d, id))
    }

    /// The id the server gave a record of this device.
    pub(crate) fn id_now(&self, d: usize, id: &str) -> String {
        self.tab(d).read(|r| r.current_id(&id.into()).to_string())
    }

    fn now(&self, d: usize, value: Value) -> Value {
        match value {
            Value::String(text) => self.id_now(d, &text).into(),
            Value::Array(items) => items.into_iter().map(|v| self.now(d, v)).collect(),
            Value::Object(members) => members.into_iter().map(|(name, v)| (name, self.now(d, v))).collect(),
            other => other,
        }
    }

    /// What is stored, folded anew, is what is in memory.
    pub(crate) fn check_fold(&self, d: usize) {
        let (world, tab, journal) = (&self.world, self.tab(d), &self.devices[d].journal);
        world.run(Box::pin(tab.durable()));
        let loaded = world.run(Box::pin(journal.load())).unwrap();
        let names = Replica::stored(&loaded.index).unwrap();
        let Segments::Read(segments) = world.run(Box::pin(journal.segments(loaded.compacted, &names))).unwrap() else { return };
        let (mut replica, _) = Replica::restore(Arc::new(schema()), &loaded.index, &segments).unwrap();
        for entry in loaded.tail.iter().flat_map(|row| homing::core::journal::decode(row.bytes.clone()).unwrap()) {
            replica.fold(&entry).unwrap();
        }
        assert_eq!(replica.digest(), tab.read(Replica::digest), "fold(journal) != memory on device {d}");
    }
}

pub(crate) fn schema() -> Schema {
    Schema::parse(SCHEMA).unwrap()
}

pub(crate) fn one(intent: Intent) -> Request {
    Request { intents: vec![intent], ..Request::default() }
}

pub(crate) fn insert(collection: &str, id: &str, body: &Value) -> Request {
    one(Intent::Insert { collection: collection.into(), records: vec![(id.into(), body.to_string().into())] })
}

pub(crate) fn update(collection: &str, id: &str, change: &Value) -> Request {
    let set = change.as_object().unwrap().iter().map(|(name, value)| (name.clone(), RawValue::from_string(value.to_string()).unwrap()));
    one(Intent::Update { key: Key::new(collection, id), set: set.collect(), unset: vec![] })
}

/// The app's members of a record.
pub(crate) fn body(text: &str) -> Value {
    let mut members: Map<String, Value> = serde_json::from_str(text).unwrap();
    for name in homing::core::record::RESERVED {
        members.shift_remove(name);
    }
    Value::Object(members)
}

pub(crate) fn verdicts(drained: &Drained) -> HashMap<MutationId, Verdict> {
    drained.settled.iter().cloned().collect()
}

pub(crate) fn renamed(drained: &Drained) -> Vec<(String, String)> {
    drained
        .notices
        .iter()
        .filter_map(|n| if let Notice::Renamed { from, to } = n { Some((from.to_string(), to.to_string())) } else { None })
        .collect()
}

pub(crate) fn stalled(drained: &Drained) -> Vec<MutationId> {
    drained.notices.iter().filter_map(|n| if let Notice::Stalled { id, .. } = n { Some(id.clone()) } else { None }).collect()
}

/// A create that was refused: what depends on it waits, while rows of others arrive.
pub(crate) fn held_back(farm: &Farm) -> MutationId {
    farm.refuse(0, |m| (m.record_id == "refused").then(|| "validation".to_owned()));
    farm.insert(0, "flocks", "refused", &Value::Object(Map::new()));
    let id = farm.id_of(0, Op::Create, "refused");
    farm.sync(0);
    id
}

/// What the archive of a device says of versions that lost.
pub(crate) fn archived(farm: &Farm, d: usize) -> String {
    farm.tab(d).read(|r| r.archive().map(|row| row.text().to_string()).collect())
}
