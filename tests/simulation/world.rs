//! One history: a world drawn from a seed and its steps.
//!
//! Not here: what users do (`acts`), the end of all faults (`ending`), what must come of it (`oracle`).

use crate::KEPT;
use crate::device::{Device, Fuse, Session, Tab, Watched};
use crate::groups::Push;
use crate::oracle::{Effects, Oracle};
use homing::core::authority::{MemoryServer, MemorySnapshot};
use homing::core::error::{Code, Error};
use homing::core::protocol::WireMutation;
use homing::core::replica::{Limits, Replica};
use homing::core::schema::Schema;
use homing::engine::{Engine, Options, State};
use homing::platform::Platform;
use homing::platform::manual::World;
use homing::transport::loopback::{Fault, Loopback, Network, PerFault};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

const SCHEMA: &str = r#"{"collections":{
    "flocks":{"title":"Flock","ordinal":{"field":"no"}},"settings":{"singleton":true,"fields":{"visits":"counter"}},"log":{"merge":"append-only"},
    "feed":{"merge":"fww","fields":{"tags":"set"},"ordinal":{"field":"no"}},"notes":{"merge":"manual"},"prices":{"merge":"server-wins"},
    "offers":{"merge":"client-wins","fields":{"a":"text"}},"houses":{"fields":{"tags":"set","eggs":"counter","a":"text"}}}}"#;
const T0: i64 = 1_700_000_000_000;
pub(crate) const SCOPE: &str = "farm";
/// A member that no device sends; the server does not know of it.
pub(crate) const LOCAL: &str = "pin";
/// Counted: events that the state table of a session had no place for.
pub(crate) const ILLEGAL: &str = "illegal state events";
/// Counted: how often the journal of a device, folded, was what a tab of it had in memory.
pub(crate) const COMPARED: &str = "folds compared with memory";
const SKEWS: [i64; 6] = [0, 0, -600_000, 86_400_000, 120_000, -86_400_000];

/// What a history is about, beside what all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    Tabs,
    Clock,
    Purge,
    Epoch,
    Clone,
    Auto,
}

const MODES: [Mode; 8] = [Mode::Plain, Mode::Tabs, Mode::Tabs, Mode::Clock, Mode::Purge, Mode::Epoch, Mode::Clone, Mode::Auto];

/// A session that was closed while it may have had something under way.
pub(crate) struct Closed {
    pub(crate) engine: Session,
    transport: Loopback,
    journal: Watched,
    sent: u64,
    writes: u64,
    pub(crate) illegal: u64,
    pub(crate) digest: String,
}

pub(crate) struct History {
    pub(crate) world: World,
    pub(crate) network: Network,
    pub(crate) devices: Vec<Device>,
    pub(crate) oracle: Rc<RefCell<Oracle>>,
    pub(crate) schema: Schema,
    pub(crate) mode: Mode,
    /// In a hundred writes, how many carry what the server refuses.
    pub(crate) bad: u64,
    /// Counts were discarded with a dead letter.
    pub(crate) given_up: bool,
    owners: u64,
    backup: Option<(MemorySnapshot, Effects)>,
    pub(crate) closed: Vec<Closed>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) told: bool,
}

/// A rule of the server's own.
fn refuse_bad(m: &WireMutation) -> Option<Error> {
    let bad = m.record.as_ref().is_some_and(|r| r.get().contains("\"bad\":true"));
    bad.then(|| Error::at(Code::InvalidRecord, "/record/bad", "this server has no such field"))
}

impl History {
    pub(crate) fn new(seed: u64, told: bool) -> Self {
        let world = World::new(T0, seed);
        let schema = Schema::parse(SCHEMA).unwrap();
        // Drawn without the world's randomness, as below: a server at which little fits into a request, so that it puts off the rest.
        let budget = if !KEPT.contains(&seed) && seed % 3 == 1 { 6_000 + seed % 7 * 1_500 } else { 1 << 25 };
        let network = Network::new(&world, MemoryServer::new(schema.clone()).with_budget(budget as usize));
        network.rule.set(refuse_bad);
        let oracle = Rc::new(RefCell::new(Oracle::default()));
        let watching = oracle.clone();
        network.watch(Rc::new(move |request, committed, server| {
            if told {
                committed.results.iter().for_each(|r| println!("      server says {} {:?} {:?} {:?}", r.id, r.status, r.code, r.rev));
                request.mutations.iter().for_each(|m| {
                    println!(
                        "      server gets {} {:?} {}/{} base {:?} {}",
                        m.id,
                        m.op,
                        m.collection,
                        m.record_id,
                        m.base_rev,
                        m.record.as_ref().map_or("", |r| r.get())
                    )
                });
            }
            let sent = serde_json::to_string(request).unwrap();
            assert!(!sent.contains(LOCAL), "told: {sent}");
            watching.borrow_mut().committed(&Push { request, results: &committed.results, server, scope: SCOPE }, told);
        }));
        let mode = MODES[world.pick(MODES.len() as u64) as usize];
        let mut history = Self {
            bad: [0, 0, 6][world.pick(3) as usize],
            given_up: false,
            network,
            devices: vec![],
            oracle,
            schema,
            mode,
            owners: 0,
            backup: None,
            closed: vec![],
            counts: BTreeMap::new(),
            told,
            world,
        };
        for _ in 0..3 + history.world.pick(3) {
            let tabs = if mode == Mode::Tabs { 3 } else { 2 };
            let skew = SKEWS[history.world.pick(if mode == Mode::Clock { 6 } else { 3 }) as usize];
            let mut schema = history.schema.clone();
            // Drawn without the world's randomness: what once failed stays the history it was.
            let lazy = !KEPT.contains(&seed) && (seed + history.devices.len() as u64).is_multiple_of(2);
            schema.collections.values_mut().for_each(|declared| {
                declared.lazy = lazy;
                declared.local_fields = if KEPT.contains(&seed) { vec![] } else { vec![LOCAL.into()] };
            });
            let owner = history.devices.len();
            history.devices.push(Device::new(&schema, &history.oracle, tabs, skew, owner));
        }
        let rough = 30 + history.world.pick(4) * 40;
        let faults = Fault::ALL.iter().fold(PerFault::default(), |all, fault| {
            let often = matches!(fault, Fault::LostRequest | Fault::LostAnswer | Fault::Duplicate | Fault::LateRequest | Fault::SlowAnswer);
            all.with(*fault, if often { rough } else { rough / 4 })
        });
        history.network.faults.set(faults);
        history
    }

    /// A line of the trace, when one history is looked at alone.
    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.told {
            println!("{:>9} {}", self.world.now() - T0, what());
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn opened(&mut self, d: usize, t: usize) -> &mut Tab {
        self.devices[d].tabs[t].as_mut().unwrap()
    }

    /// The engine of a tab, opened if it is not.
    pub(crate) fn tab(&mut self, d: usize, t: usize) -> Session {
        self.bury();
        if let Some(tab) = &self.devices[d].tabs[t] {
            return tab.engine.clone();
        }
        self.owners += 1;
        let platform = self.world.device(self.owners);
        platform.set_skew(self.devices[d].skew);
        let transport = Loopback::new(&self.network, &platform, SCOPE);
        let page = 3 + self.world.pick(20) as usize;
        let (few, many) = [(1, 1), (3, 5), (500, 1_000)][self.world.pick(3) as usize];
        let (batch, bulk) = (Limits { mutations: few, ..Options::default().batch }, Limits { mutations: many, ..Options::default().bulk });
        let options = Options { auto: self.mode == Mode::Auto, compact_rows: 12, page, batch, bulk, ..Options::default() };
        let engine = loop {
            let journal = Watched {
                inner: Rc::new(self.devices[d].journal.clone()),
                reference: self.devices[d].reference.clone(),
                world: self.world.clone(),
                owner: self.owners,
                fuse: Rc::default(),
                dead: Rc::default(),
                writes: Rc::default(),
            };
            let open = Engine::open(journal.clone(), transport.clone(), platform.clone(), self.devices[d].schema.clone(), options.clone());
            match self.world.run(Box::pin(open)) {
                Ok(engine) => break (engine, journal),
                Err(e) => assert_eq!(e.code, Code::StorageFull),
            }
        };
        let (engine, journal) = engine;
        let tab = Tab { engine: engine.clone(), journal, platform, transport, open: HashMap::new(), forms: vec![], checked: 0, illegal: 0 };
        self.devices[d].tabs[t] = Some(tab);
        self.check_tab(d, t);
        engine
    }

    /// Tabs that died are gone.
    pub(crate) fn bury(&mut self) {
        let (mut crashes, mut illegal) = (0, 0);
        for place in self.devices.iter_mut().flat_map(|d| d.tabs.iter_mut()) {
            if let Some(tab) = place.as_mut().filter(|tab| tab.is_dead()) {
                illegal += tab.take_illegal();
                *place = None;
                crashes += 1;
            }
        }
        *self.counts.entry("crashes").or_default() += crashes;
        *self.counts.entry(ILLEGAL).or_default() += illegal;
    }

    /// Notes which writes were reported durable, and compares memory with the journal.
    fn check_tab(&mut self, d: usize, t: usize) {
        let Some(tab) = &mut self.devices[d].tabs[t] else { return };
        if tab.is_dead() {
            return;
        }
        let drained = tab.engine.drain();
        for done in drained.durable {
            if let Some(atoms) = tab.open.remove(&done.ticket) {
                self.oracle.borrow_mut().durable(&atoms);
            }
        }
        for failed in drained.failed {
            tab.open.remove(&failed.ticket);
        }
        let compared = tab.check(&format!("device {d} tab {t}"));
        *self.counts.entry(ILLEGAL).or_default() += tab.take_illegal();
        *self.counts.entry(COMPARED).or_default() += u64::from(compared);
    }

    pub(crate) fn check_all(&mut self) {
        self.bury();
        for d in 0..self.devices.len() {
            for t in 0..self.devices[d].tabs.len() {
                self.check_tab(d, t);
            }
        }
        for closed in &self.closed {
            assert_eq!(closed.engine.state().0, State::Closed);
            assert_eq!(closed.transport.sent(), closed.sent, "a closed session sends");
            assert_eq!(closed.journal.writes.get(), closed.writes, "a closed session writes");
        }
    }

    fn start_sync(&mut self, d: usize, t: usize) {
        let engine = self.tab(d, t);
        let full = self.world.pick(30) == 0;
        self.say(|| format!("d{d}.{t} syncs{}", if full { " everything" } else { "" }));
        let platform = self.opened(d, t).platform.clone();
        platform.spawn(Box::pin(async move { _ = engine.sync(full).await }));
    }

    /// The tab dies now, or at one of its next appends.
    fn crash(&mut self, d: usize, t: usize) {
        let Some(tab) = &self.devices[d].tabs[t] else { return };
        let (calls, lands) = (self.world.pick(4), self.world.pick(2) == 0);
        if calls == 3 {
            tab.journal.die(lands);
        } else {
            tab.journal.fuse.set(Some(Fuse { calls, lands }));
        }
        self.say(|| format!("d{d}.{t} dies in {calls} appends, its write {}", if lands { "lands" } else { "is lost" }));
    }

    /// The session ends in good order; requests may be under way.
    pub(crate) fn close(&mut self, d: usize, t: usize) {
        self.bury();
        let Some(mut tab) = self.devices[d].tabs[t].take() else { return };
        tab.journal.fuse.set(None);
        self.say(|| format!("d{d}.{t} closes"));
        self.world.run(Box::pin(tab.engine.close()));
        let drained = tab.engine.drain();
        for done in drained.durable {
            self.oracle.borrow_mut().durable(tab.open.get(&done.ticket).map_or(&[][..], Vec::as_slice));
        }
        let digest = tab.engine.read(Replica::digest);
        // What comes late is counted at the end.
        *self.counts.entry(ILLEGAL).or_default() += tab.take_illegal();
        self.closed.push(Closed {
            illegal: tab.illegal,
            sent: tab.transport.sent(),
            writes: tab.journal.writes.get(),
            engine: tab.engine,
            transport: tab.transport,
            journal: tab.journal,
            digest,
        });
        self.count("closes");
    }

    pub(crate) fn step(&mut self) {
        let d = self.world.pick(self.devices.len() as u64) as usize;
        let tabs = self.devices[d].tabs.len() as u64;
        let other = self.world.pick(10) < if self.mode == Mode::Tabs { 6 } else { 2 };
        let t = if other { self.world.pick(tabs) as usize } else { 0 };
        match self.world.pick(40) {
            0..=11 => self.write(d, t),
            12 => self.batch(d, t),
            13 => self.open_form(d, t),
            14 => self.save_form(d, t),
            15 if self.world.pick(2) == 0 => self.import(d, t),
            16..=24 => self.start_sync(d, t),
            25..=28 => {
                let wait = [5, 60, 400, 3000, 70_000][self.world.pick(5) as usize];
                self.world.advance(wait);
            }
            29..=30 => self.crash(d, t),
            31 if self.world.pick(2) == 0 => self.close(d, t),
            32 => _ = self.resolve(d, t),
            33 => _ = self.take_letter(d, t, false),
            34 => self.network.deliver_late(),
            35 => self.nudge(d, t),
            36 if self.world.pick(2) == 0 => {
                self.say(|| format!("d{d}: the next append fails"));
                self.devices[d].fail_next();
                self.count("full disks");
            }
            37 => {
                for _ in 0..self.world.pick(6) {
                    self.world.turn();
                }
                return;
            }
            _ => self.special(d),
        }
        if self.world.pick(3) > 0 {
            self.world.settle();
            self.check_all();
        }
    }

    /// Hints and chores: another tab has written, compact now.
    fn nudge(&mut self, d: usize, t: usize) {
        let engine = self.tab(d, t);
        let compact = self.world.pick(3) == 0;
        let platform = self.opened(d, t).platform.clone();
        platform.spawn(Box::pin(async move { _ = if compact { engine.compact().await } else { engine.catch_up().await } }));
    }

    /// What this history is about.
    fn special(&mut self, d: usize) {
        match self.mode {
            Mode::Plain | Mode::Tabs | Mode::Auto => {
                self.network.restart();
                self.count("server restarts");
            }
            Mode::Clock if self.world.pick(4) == 0 => {
                self.network.server_skew.set([0, 0, -3_600_000][self.world.pick(3) as usize]);
                self.count("clock jumps");
            }
            Mode::Clock => {
                self.devices[d].skew = SKEWS[self.world.pick(6) as usize];
                self.say(|| format!("d{d}: its clock is off by {}", self.devices[d].skew));
                for tab in self.devices[d].tabs.iter().flatten() {
                    tab.platform.set_skew(self.devices[d].skew);
                }
                self.count("clock jumps");
            }
            Mode::Purge => self.purge(),
            Mode::Epoch if self.backup.is_none() || self.world.pick(2) == 0 => {
                self.say(|| "backup".into());
                self.backup = Some((self.network.server.borrow().snapshot(), self.oracle.borrow().server.clone()));
            }
            Mode::Epoch => self.restore(),
            Mode::Clone if self.world.pick(4) > 0 || self.devices.len() > 5 => {}
            Mode::Clone => {
                self.say(|| format!("d{} is a copy of d{d}", self.devices.len()));
                let copy = self.devices[d].fork();
                self.devices.push(copy);
                self.count("copied profiles");
            }
        }
    }

    fn purge(&mut self) {
        let server = self.network.server.clone();
        let rows = |server: &MemoryServer| server.rows(SCOPE).into_iter().collect::<HashMap<_, _>>();
        let before = rows(&server.borrow());
        server.borrow_mut().purge(SCOPE, 1 + self.world.pick(3) as usize);
        let after = rows(&server.borrow());
        for (key, row) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
            self.say(|| format!("purged {key}"));
            self.oracle.borrow_mut().purged(key, row.record.text());
            *self.counts.entry("purges").or_default() += 1;
        }
    }

    fn restore(&mut self) {
        let Some((snapshot, effects)) = self.backup.clone() else { return };
        self.say(|| "the server goes back to its backup".into());
        self.network.restart();
        self.network.server.borrow_mut().restore(&snapshot, self.network.now());
        let head = self.network.server.borrow().head(SCOPE).map_or(0, |h| h.rev);
        self.oracle.borrow_mut().restored(effects, head, &self.network.server.borrow(), SCOPE);
        self.count("epochs");
    }
}

/// Everything counted in one history.
pub(crate) fn run(seed: u64, told: bool) -> Outcome {
    let mut history = History::new(seed, told);
    history.say(|| format!("{:?}, {} devices", history.mode, history.devices.len()));
    for _ in 0..50 + history.world.pick(60) {
        history.step();
    }
    history.heal();
    history.check();
    let groups =
        [("groups in effect", history.oracle.borrow().groups.in_effect), ("groups refused", history.oracle.borrow().groups.refused)];
    history.counts.extend(groups);
    let trace = history.trace();
    Outcome { faults: history.network.injected.get(), counts: history.counts, trace }
}

pub(crate) struct Outcome {
    pub(crate) faults: PerFault,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) trace: u64,
}
