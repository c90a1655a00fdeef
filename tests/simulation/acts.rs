//! What users do: write, save old forms, import, batch, delete, decide conflicts, take dead letters in hand.
//!
//! Not here: when (`world`), what must come of it (`oracle`).

use crate::device::Form;
use crate::oracle::{needle, number};
use crate::world::{History, LOCAL, Mode};
use homing::core::conflict::Conflict;
use homing::core::error::Code;
use homing::core::mutation::Mutation;
use homing::core::plan::{Choice, Intent, Seen};
use homing::core::record::{ARCHIVE, Key, Record};
use homing::core::replica::Replica;
use homing::engine::Request;
use homing::platform::Platform;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

const FIELDS: [&str; 4] = ["a", "b", "c", "n"];

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// What an app has of a row: everything that is not Homing's.
fn own(record: &Record) -> Map<String, Value> {
    record.value().unwrap().into_iter().filter(|(name, _)| !name.starts_with('_') && name != "id").collect()
}

fn edit(key: &Key, set: Vec<(String, Value)>, atoms: Vec<u64>) -> (Intent, Vec<u64>) {
    let set = set.into_iter().map(|(name, value)| (name, raw(&value.to_string()))).collect();
    (Intent::Update { key: key.clone(), set, unset: vec![] }, atoms)
}

impl History {
    /// Asks for the rows of a collection; whether they are there (the tab may die over it).
    fn sees(&mut self, d: usize, t: usize, collection: &str) -> bool {
        let engine = self.tab(d, t);
        if !engine.shows(collection) {
            let (platform, name) = (self.opened(d, t).platform.clone(), collection.to_owned());
            self.say(|| format!("d{d}.{t} asks for {collection}"));
            self.count("lazy collections");
            platform.spawn(Box::pin(async move { _ = engine.load(&name).await }));
            self.world.settle();
        }
        self.tab(d, t).shows(collection)
    }

    fn pick_key(&mut self) -> Key {
        let n = self.oracle.borrow().atoms.len();
        let (collection, id) = match self.world.pick(20) {
            0..=2 => ("settings", "$singleton".to_owned()),
            3 => ("log", format!("l{n}")),
            4..=5 => ("feed", format!("e{}", self.world.pick(2))),
            6..=7 => ("notes", format!("n{}", self.world.pick(2))),
            8 => ("prices", format!("p{}", self.world.pick(2))),
            9..=10 => ("offers", format!("o{}", self.world.pick(2))),
            11..=13 => ("houses", format!("h{}", self.world.pick(2))),
            _ => ("flocks", format!("f{}", self.world.pick(4))),
        };
        Key::new(collection, id)
    }

    /// A change of one field: a new value, sometimes inside an object or a set, sometimes one that the server will refuse; now
    /// and then one more is counted.
    fn change(&mut self, key: &Key, atom: u64, shown: Option<&Record>) -> Vec<(String, Value)> {
        let value = Value::String(format!("v{atom}."));
        let (set, counter) = match key.collection.as_ref() {
            "houses" => (Some("tags"), Some("eggs")),
            "feed" => (Some("tags"), None),
            "settings" => (None, Some("visits")),
            _ => (None, None),
        };
        // What a first version says is where counting begins: of two beginnings one stays.
        let counts =
            counter.filter(|_| self.world.pick(2) == 0 && shown.is_some()).map(|name| (name.to_owned(), json!(number(shown, name) + 1)));
        if let Some(set) = set.filter(|_| self.world.pick(3) == 0) {
            let mut elements = match shown.and_then(|r| r.value().unwrap().remove(set)) {
                Some(Value::Array(elements)) => elements,
                _ => vec![],
            };
            elements.push(value);
            return [(set.to_owned(), elements.into())].into_iter().chain(counts).collect();
        }
        let field = FIELDS[self.world.pick(4) as usize];
        let mut set = vec![];
        if field == "n" && self.world.pick(4) > 0 {
            let mut object = match shown.and_then(|r| r.value().unwrap().remove("n")) {
                Some(Value::Object(object)) => object,
                _ => Map::new(),
            };
            object.insert(["x", "y"][self.world.pick(2) as usize].into(), value);
            set.push((field.to_owned(), Value::Object(object)));
        } else {
            set.push((field.to_owned(), value));
        }
        set.extend(counts);
        if self.bad > 0 && self.world.pick(100) < self.bad {
            set.push(("bad".into(), json!(true)));
        }
        set
    }

    /// Something to do with one record, and its atoms.
    fn intent(&mut self, d: usize, t: usize, key: &Key) -> Option<(Intent, Vec<u64>)> {
        if !self.sees(d, t, &key.collection) {
            return None;
        }
        let engine = self.tab(d, t);
        let shown = engine.read(|r| r.view(key));
        let facts = key.collection.as_ref() == "log";
        let what = self.world.pick(20);
        let name = format!("d{d}.{t} {key}");
        match &shown {
            None => {
                let atom = self.atom(format!("insert {name}"));
                let mut members = self.change(key, atom, None);
                members.extend(self.local(d, atom));
                let text = Value::Object(members.into_iter().collect()).to_string();
                Some((Intent::Insert { collection: key.collection.clone(), records: vec![(key.id.clone(), text.into())] }, vec![atom]))
            }
            Some(_) if facts => self.local(d, self.oracle.borrow().atoms.len() as u64).map(|own| edit(key, vec![own], vec![])),
            Some(row) if row.is_deleted() && what < 6 => None,
            Some(row) if row.is_deleted() => Some((Intent::Undelete { key: key.clone() }, vec![])),
            Some(_) if what < if self.mode == Mode::Purge { 6 } else { 2 } && key.collection.as_ref() != "settings" => {
                Some((Intent::Delete { key: key.clone() }, vec![]))
            }
            Some(row) => {
                let atom = self.atom(format!("update {name}"));
                let (set, local) = (self.change(key, atom, Some(row)), self.local(d, atom));
                match local.filter(|_| atom.is_multiple_of(4)) {
                    Some(own) => {
                        self.count("local edits");
                        Some(edit(key, vec![own], vec![]))
                    }
                    None => Some(edit(key, set.into_iter().chain(self.local(d, atom)).collect(), vec![atom])),
                }
            }
        }
    }

    /// What only this device may know of a record, now and then. Drawn without the world's randomness.
    fn local(&self, d: usize, n: u64) -> Option<(String, Value)> {
        let declared = self.devices[d].schema.collections.values().any(|declared| !declared.local_fields.is_empty());
        (declared && !n.is_multiple_of(3)).then(|| (LOCAL.to_owned(), format!("{}#{n}", self.devices[d].owner).into()))
    }

    fn atom(&mut self, what: String) -> u64 {
        self.oracle.borrow_mut().atom(what)
    }

    /// Hands it to the engine. A refusal at once is fine where the state may have moved under the user.
    pub(crate) fn send(&mut self, d: usize, t: usize, request: Request, atoms: Vec<u64>, lenient: bool) {
        let engine = self.tab(d, t);
        self.say(|| format!("d{d}.{t} writes {:?} {atoms:?}", request.intents));
        // All or nothing is not to be had where one of the records waits for the user.
        let atomic = request.atomic;
        match engine.write(request) {
            Ok(receipt) => {
                self.opened(d, t).open.insert(receipt.ticket, atoms);
            }
            Err(e) if atomic && e.code == Code::Blocked => {}
            Err(e) if lenient && matches!(e.code, Code::NotFound | Code::DuplicateId | Code::Blocked) => {}
            Err(e) => panic!("refused: {e}"),
        }
    }

    pub(crate) fn write(&mut self, d: usize, t: usize) {
        let key = self.pick_key();
        let Some((intent, atoms)) = self.intent(d, t, &key) else { return };
        self.send(d, t, Request { intents: vec![intent], ..Request::default() }, atoms, false);
    }

    /// Several records at once; on the server together or each for itself.
    pub(crate) fn batch(&mut self, d: usize, t: usize) {
        let mut keys: Vec<Key> = (0..2 + self.world.pick(2)).map(|_| self.pick_key()).collect();
        keys.sort();
        keys.dedup();
        // All of them first: asking takes time, in which what was decided about one may change.
        let mut seen = true;
        for key in &keys {
            seen &= self.sees(d, t, &key.collection);
        }
        if !seen || keys.iter().any(|key| !self.tab(d, t).shows(&key.collection)) {
            return;
        }
        let (mut intents, mut all) = (vec![], vec![]);
        for key in keys {
            if let Some((intent, atoms)) = self.intent(d, t, &key) {
                intents.push(intent);
                all.extend(atoms);
            }
        }
        let atomic = self.world.pick(2) == 0;
        if !intents.is_empty() {
            self.send(d, t, Request { intents, atomic, ..Request::default() }, all, false);
        }
    }

    /// A form is opened: its version may be old when it is saved.
    pub(crate) fn open_form(&mut self, d: usize, t: usize) {
        let key = self.pick_key();
        if !self.sees(d, t, &key.collection) {
            return;
        }
        let engine = self.tab(d, t);
        let row = engine.read(|r| r.view(&key)).filter(|r| !r.is_deleted());
        if let Some(row) = row.filter(|_| key.collection.as_ref() != "log") {
            self.opened(d, t).forms.push(Form { key, row });
        }
    }

    pub(crate) fn save_form(&mut self, d: usize, t: usize) {
        _ = self.tab(d, t);
        let forms = self.opened(d, t).forms.len() as u64;
        if forms == 0 {
            return;
        }
        let at = self.world.pick(forms) as usize;
        let Form { key, row } = self.opened(d, t).forms.remove(at);
        let atom = self.atom(format!("put d{d}.{t} {key}"));
        let mut fields = own(&row);
        fields.remove("bad");
        fields.extend(row.value().unwrap().remove_entry("_crdt"));
        fields.extend(self.change(&key, atom, Some(&row)));
        fields.extend(self.local(d, atom));
        let counted = fields.get("visits").and_then(Value::as_i64).unwrap_or(0) - number(Some(&row), "visits");
        self.oracle.borrow_mut().put(atom, &row, counted);
        let text = Value::Object(fields).to_string();
        let seen = Seen { stamp: Some(row.updated_at()), rev: row.rev() };
        self.send(
            d,
            t,
            Request { intents: vec![Intent::Put { key, text: text.into(), seen, own: None }], ..Request::default() },
            vec![atom],
            false,
        );
    }

    /// Rows of a document: with ids that may be there already, or without.
    pub(crate) fn import(&mut self, d: usize, t: usize) {
        _ = self.tab(d, t);
        let collection = if self.world.pick(3) == 0 { "log" } else { "flocks" };
        if !self.sees(d, t, collection) {
            return;
        }
        let (mut records, mut all) = (vec![], vec![]);
        for _ in 0..1 + self.world.pick(2) {
            let atom = self.atom(format!("import d{d}.{t} {collection}"));
            let id = match self.world.pick(3) {
                0 => String::new(),
                _ if collection == "log" => format!("\"id\":\"i{}\",", self.world.pick(3)),
                _ => format!("\"id\":\"f{}\",", self.world.pick(4)),
            };
            let own = self.local(d, atom).map_or_else(String::new, |(name, value)| format!(",\"{name}\":{value}"));
            records.push(format!("{{{id}\"a\":{}{own}}}", needle(atom)).into());
            all.push(atom);
        }
        self.send(
            d,
            t,
            Request { intents: vec![Intent::Import { collection: collection.into(), records }], ..Request::default() },
            all,
            false,
        );
    }

    /// The user decides a conflict; whether there was one.
    pub(crate) fn resolve(&mut self, d: usize, t: usize) -> bool {
        let engine = self.tab(d, t);
        let open = engine.unresolved();
        if open.is_empty() {
            return false;
        }
        let id = open[self.world.pick(open.len() as u64) as usize].clone();
        let row = engine.read(|r| r.view(&Key::new(ARCHIVE, id.clone()))).unwrap();
        let conflict = Conflict::from_record(&row).unwrap();
        let key = conflict.about();
        engine.read(|r| r.require(&key.collection)).unwrap();
        let mine = engine.read(|r| r.hold(&key).map(|h| h.mine.clone())).or(conflict.mine);
        let theirs = engine.read(|r| r.confirmed(&key).cloned());
        let mut atoms = vec![];
        let choice = match self.world.pick(6) {
            0..=1 => Choice::Mine,
            2 if mine.as_ref().is_some_and(|m| !m.is_deleted()) && theirs.is_some() && key.collection.as_ref() != "settings" => {
                let n = self.oracle.borrow().atoms.len();
                let _ = self.atom("a copy".into());
                Choice::Both(format!("both{n}").into())
            }
            3 if theirs.as_ref().or(mine.as_ref()).is_some_and(|r| !r.is_deleted()) => {
                let atom = self.atom(format!("patch d{d}.{t} {key}"));
                atoms.push(atom);
                Choice::Patch { set: vec![("a".into(), raw(&needle(atom)))], unset: vec![] }
            }
            _ => Choice::Theirs,
        };
        self.count("decisions");
        self.send(d, t, Request { intents: vec![Intent::Resolve { conflict: id, choice }], ..Request::default() }, atoms, true);
        true
    }

    /// The user takes a dead letter in hand; whether there was one. `heals`: so that it does not come back.
    pub(crate) fn take_letter(&mut self, d: usize, t: usize, heals: bool) -> bool {
        let engine = self.tab(d, t);
        let letters: Vec<_> = engine.read(|r: &Replica| r.dead_letters().cloned().collect());
        if letters.is_empty() {
            return false;
        }
        let letter = &letters[self.world.pick(letters.len() as u64) as usize];
        let id = letter.mutation.id.clone();
        let intent = match self.world.pick(10) {
            0..=1 => {
                self.oracle.borrow_mut().gives_away(&id);
                // A group may have been refused for another record's sake, and with it what counts (seed 3211).
                let counts = |m: &Mutation| m.key.collection.as_ref() == "settings";
                let behind = |r: &Replica| r.dependents(&id).iter().any(|id| r.pending(id).is_some_and(counts));
                self.given_up |= counts(&letter.mutation) || engine.read(behind);
                Intent::DiscardDead { id, cascade: self.world.pick(2) == 0 }
            }
            2..=3 if !heals => Intent::Retry { id, edited: None },
            _ => {
                let mut fields = own(&letter.mutation.record);
                fields.remove("bad");
                self.oracle.borrow_mut().gives_away(&id);
                Intent::Retry { id, edited: Some(Value::Object(fields).to_string().into()) }
            }
        };
        self.count("letters");
        self.send(d, t, Request { intents: vec![intent], ..Request::default() }, vec![], true);
        true
    }
}
