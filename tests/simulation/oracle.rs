//! What must come of it all, known without asking the rules: every value an app wrote (an *atom*), who replaced it
//! knowingly, which mutation had how many effects, where every value is in the end.
//!
//! It reads journals (what a device made durable), requests and stored rows; it never asks merge, authority or plan.

use crate::groups::{Groups, Push};
use homing::core::authority::MemoryServer;
use homing::core::conflict::Conflict;
use homing::core::journal::Change;
use homing::core::mutation::{Mutation, MutationId, Op};
use homing::core::record::{ARCHIVE, Key, Record};
use homing::core::replica::Replica;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// One value an app wrote.
#[derive(Clone, Debug)]
pub(crate) struct Atom {
    pub(crate) what: String,
    pub(crate) durable: bool,
    replaced_by: HashSet<u64>,
}

#[derive(Default)]
pub(crate) struct Oracle {
    pub(crate) atoms: BTreeMap<u64, Atom>,
    /// Values that a person gave up knowingly: deleted, discarded, decided against.
    known: HashSet<u64>,
    /// A record saved whole from an older version: what that version had, and what was counted on it.
    puts: HashMap<u64, (HashSet<u64>, i64)>,
    /// What all writes together counted in the settings.
    pub(crate) visits: i64,
    /// Records deleted by somebody who knew a version of the server's, and those that somebody brought back or decided about.
    deleted: HashSet<Key>,
    revived: HashSet<Key>,
    /// What somebody deleted who knew of no version but those made there, and as which client: another device's record of that id is
    /// another record.
    deleted_own: HashMap<Key, HashSet<(u64, Arc<str>)>>,
    /// What a person sent once more after a refusal, and as which client: a copy of that profile may have deleted it (seed 3917).
    retried: HashMap<Key, HashSet<(u64, Arc<str>)>>,
    /// Dead letters that a person said to let go of, or to send with other content.
    given_away: HashSet<MutationId>,
    pub(crate) groups: Groups,
    pub(crate) server: Effects,
}

/// What was seen of the server; goes back with it to a backup.
#[derive(Clone, Default)]
pub(crate) struct Effects {
    times: HashMap<String, u32>,
    rev: u64,
}

/// The records an entry touches as they were before: shown, confirmed; and what leaves the queue: because a person says so, or not.
pub(crate) struct Before {
    shown: Vec<(Key, Option<Record>, Option<Record>)>,
    /// Those of them whose create was sent and waits, with the values it has.
    created: HashMap<Key, Vec<u64>>,
    given_up: Vec<Record>,
    dropped: Vec<Mutation>,
}

impl Before {
    /// The values of a record of which the server has no version that is known here.
    pub(crate) fn own(&self, key: &Key) -> HashSet<u64> {
        let unknown = self.shown.iter().find(|(k, _, confirmed)| k == key && confirmed.is_none());
        unknown.and_then(|(_, shown, _)| shown.as_ref()).map(|r| atoms(r.text()).into_iter().collect()).unwrap_or_default()
    }

    /// The values of a record that is deleted, without elements of sets that another device's record of that id lends to one whose create
    /// waits: who sees them in it does not see that record (seed 16043).
    fn without_lent(&self, key: &Key, shown: &BTreeMap<String, u64>, confirmed: Option<&Record>) -> BTreeMap<String, u64> {
        let theirs = confirmed.map(|r| atoms(r.text())).unwrap_or_default();
        let mine = self.created.get(key);
        let lent = |pointer: &str, atom: &u64| {
            mine.is_some_and(|mine| !mine.contains(atom)) && theirs.contains(atom) && pointer.ends_with(&format!("/v{atom}."))
        };
        shown.iter().filter(|(pointer, atom)| !lent(pointer, atom)).map(|(p, a)| (p.clone(), *a)).collect()
    }
}

impl Oracle {
    pub(crate) fn atom(&mut self, what: String) -> u64 {
        let id = self.atoms.len() as u64 + 1;
        self.atoms.insert(id, Atom { what, durable: false, replaced_by: HashSet::new() });
        id
    }

    /// `atom` is part of a record that was made from a version with these atoms.
    pub(crate) fn put(&mut self, atom: u64, seen: &Record, counted: i64) {
        self.puts.insert(atom, (atoms(seen.text()).into_iter().collect(), counted));
    }

    pub(crate) fn durable(&mut self, atoms: &[u64]) {
        for atom in atoms {
            self.atoms.get_mut(atom).unwrap().durable = true;
        }
    }

    /// The server forgot a tombstone: that delete had its effect.
    pub(crate) fn purged(&mut self, key: &Key, text: &str) {
        self.give_up(text);
        self.revived.insert(key.clone());
    }

    fn give_up(&mut self, text: &str) {
        self.known.extend(atoms(text));
    }

    /// A person lets go of what is in a dead letter, whatever that is by then: also of what another tab wrote into it meanwhile (seed 4948).
    pub(crate) fn gives_away(&mut self, letter: &MutationId) {
        self.given_away.insert(letter.clone());
    }

    pub(crate) fn before(&self, replica: &Replica, changes: &[Change]) -> Before {
        let mut before = Before { shown: Vec::new(), created: HashMap::new(), given_up: Vec::new(), dropped: Vec::new() };
        let mut key = |key: &Key| {
            if key.collection.as_ref() != ARCHIVE && !before.shown.iter().any(|(k, ..)| k == key) {
                before.shown.push((key.clone(), replica.view(key), replica.confirmed(key).cloned()));
                let sent = replica.pending_of(key).filter(|m| m.op == Op::Create && m.attempted);
                before.created.extend(sent.map(|m| (m.key.clone(), atoms(m.record.text()))));
            }
        };
        for change in changes {
            match change {
                Change::Creates { collection, records, .. } => {
                    records.iter().for_each(|r| key(&Key { collection: collection.clone(), id: r.id().clone() }));
                }
                Change::Add(m) | Change::Swap(m) | Change::DeadEdit(m) => key(&m.key),
                Change::Mine { key: k, .. } | Change::Unhold { key: k } => key(k),
                Change::Drop { id, .. } => {
                    if let Some(m) = replica.pending(id) {
                        key(&m.key);
                    }
                }
                Change::Undead { id } => {
                    if let Some(letter) = replica.dead_letter(id) {
                        key(&letter.mutation.key);
                    }
                }
                Change::Redepend { .. } | Change::Local { .. } => {}
            }
        }
        for change in changes {
            match change {
                Change::Drop { id, discarded: true } => before.given_up.extend(replica.pending(id).map(|m| m.record.clone())),
                Change::Drop { id, discarded: false } => before.dropped.extend(replica.pending(id).cloned()),
                // Retried, it goes on in what is entered, or in what waits on top of it.
                Change::Undead { id } if self.given_away.contains(id) => {
                    before.given_up.extend(replica.dead_letter(id).map(|l| l.mutation.record.clone()));
                }
                _ => {}
            }
        }
        before
    }

    /// A device made a local write durable: what it replaces, it replaces knowingly, except what the maker of a
    /// whole record had not seen.
    pub(crate) fn wrote(&mut self, replica: &Replica, changes: &[Change], before: &Before) {
        self.groups.wrote(changes, before);
        goes_on(replica, changes, before);
        let entered: HashSet<u64> = changes.iter().flat_map(carried).flat_map(|r| atoms(r.text())).collect();
        let decides = changes.iter().any(|c| matches!(c, Change::Add(m) if m.resolves.is_some()));
        let me = replica.client();
        let with_me = |record: &Record| atoms(record.text()).into_iter().map(|a| (a, me.clone())).collect::<Vec<_>>();
        for m in changes.iter().filter_map(|c| if let Change::Add(m) = c { Some(m) } else { None }).filter(|m| m.retry_of.is_some()) {
            self.retried.entry(m.key.clone()).or_default().extend(with_me(&m.record));
        }
        for record in &before.given_up {
            self.known.extend(atoms(record.text()).into_iter().filter(|a| !entered.contains(a)));
        }
        for (key, shown, confirmed) in &before.shown {
            let now = replica.view(key);
            let (old, new) = (fields(shown.as_ref()), fields(now.as_ref()));
            let gone = |r: &Option<Record>| r.as_ref().is_some_and(Record::is_deleted);
            if gone(shown) && !gone(&now) || decides {
                self.revived.insert(key.clone());
            }
            if decides || (gone(&now) && !gone(shown)) || shown.is_some() && now.is_none() {
                let own = before.without_lent(key, &old, confirmed.as_ref());
                if gone(&now) && confirmed.as_ref().is_some_and(|c| self.led_to(c, &own)) {
                    self.deleted.insert(key.clone());
                } else if gone(&now) {
                    self.deleted_own.entry(key.clone()).or_default().extend(own.values().map(|a| (*a, me.clone())));
                }
                let confirmed = confirmed.iter().filter(|_| decides).flat_map(|r| atoms(r.text()));
                let kept: HashSet<u64> = if gone(&now) { HashSet::new() } else { new.values().copied().collect() };
                self.known.extend(old.values().copied().chain(confirmed).filter(|a| !kept.contains(a)));
                continue;
            }
            // Saved from an older version: what that one did not have is not replaced knowingly.
            let fresh = |a: &&u64| entered.contains(*a) && !old.values().any(|o| o == *a);
            let seen = new.values().filter(fresh).find_map(|a| self.puts.get(a));
            if key.collection.as_ref() == "settings" {
                self.visits +=
                    seen.map_or_else(|| number(now.as_ref(), "visits") - number(shown.as_ref(), "visits"), |(_, counted)| *counted);
            }
            for (pointer, was) in &old {
                if seen.is_some_and(|(seen, _)| !seen.contains(was)) {
                    continue;
                }
                if new.get(pointer) == Some(was) {
                    continue;
                }
                // Apps write whole top-level fields.
                let by = new.iter().filter(|(p, a)| top(p) == top(pointer) && fresh(a));
                let by: Vec<u64> = by.map(|(_, a)| *a).collect();
                if let Some(atom) = self.atoms.get_mut(was) {
                    atom.replaced_by.extend(by);
                }
            }
        }
    }

    /// Whether a version with these values was made from `from`, by edits that replaced knowingly.
    fn led_to(&self, from: &Record, values: &BTreeMap<String, u64>) -> bool {
        let reached = reached(&self.atoms, atoms(from.text()));
        from.is_deleted() || values.values().any(|a| reached.contains(a))
    }

    /// The server committed a push: which of its mutations had an effect.
    pub(crate) fn committed(&mut self, push: &Push<'_>, told: bool) {
        self.groups.committed(push, self.server.rev, &self.atoms);
        let Push { request, server, scope, .. } = push;
        for m in request.mutations.iter().filter(|m| m.op == Op::Delete) {
            // Deleting what is not there (any more) has no effect to look for.
            let key = Key::new(m.collection.as_str(), m.record_id.as_str());
            if server.row(scope, &key).is_none() {
                self.revived.insert(key);
            }
        }
        let mut rev = self.server.rev;
        for (key, row) in server.rows_after(scope, self.server.rev) {
            rev = rev.max(row.record.rev().unwrap_or(0));
            if told {
                println!("      server has {key} {}", row.record.text());
            }
            if key.collection.as_ref() == ARCHIVE {
                continue;
            }
            let by: Vec<&str> = request
                .mutations
                .iter()
                .filter(|m| m.collection == *key.collection && m.record_id == *key.id)
                .map(|m| m.id.as_str())
                .collect();
            assert!(by.len() <= 1, "two mutations of {key} in one request: {by:?}");
            for id in by {
                let times = self.server.times.entry(id.to_owned()).or_default();
                *times += 1;
                assert!(*times == 1, "{id} took effect {times} times on {key}");
            }
        }
        self.server.rev = rev;
    }

    /// The server went back to a backup: what it does from now on counts from there.
    pub(crate) fn restored(&mut self, backup: Effects, head: u64, server: &MemoryServer, scope: &str) {
        // Where the backup has nothing, there is nothing left to delete.
        let without = self.deleted.iter().filter(|key| server.row(scope, key).is_none());
        self.revived.extend(without.cloned());
        self.server = Effects { rev: head, ..backup };
    }

    /// Winner + archive = both inputs, over the whole history.
    pub(crate) fn settle(&self, rows: &BTreeMap<Key, Record>, archives: &[Record]) {
        let mut good = self.known.clone();
        good.extend(rows.iter().filter(|(k, _)| k.collection.as_ref() != ARCHIVE).flat_map(|(_, r)| atoms(r.text())));
        let mut about_deleted = HashSet::new();
        for conflict in archives.iter().filter_map(|r| Conflict::from_record(r).ok()) {
            for side in [&conflict.mine, &conflict.theirs].into_iter().flatten() {
                good.extend(atoms(side.text()));
                if side.is_deleted() {
                    about_deleted.insert(conflict.about());
                }
            }
        }
        loop {
            let more = self.atoms.iter().filter(|(n, a)| !good.contains(n) && a.replaced_by.iter().any(|by| good.contains(by)));
            let more: Vec<u64> = more.map(|(n, _)| *n).collect();
            if more.is_empty() {
                break;
            }
            good.extend(more);
        }
        for (n, atom) in &self.atoms {
            assert!(
                !atom.durable || good.contains(n),
                "lost: v{n} ({}) was durable and is nowhere; replaced by {:?}",
                atom.what,
                atom.replaced_by
            );
        }
        for key in self.deleted.difference(&self.revived) {
            let gone = rows.get(key).is_none_or(Record::is_deleted);
            assert!(gone || about_deleted.contains(key), "the delete of {key} is nowhere");
        }
        for (key, own) in self.deleted_own.iter().filter(|(key, _)| !self.revived.contains(key)) {
            let row = rows.get(key).filter(|row| !row.is_deleted() && !about_deleted.contains(key));
            let again = |a: u64, by: &Arc<str>| self.retried.get(key).is_some_and(|all| all.iter().any(|(b, who)| *b == a && who != by));
            let gone = |a: &u64| own.iter().any(|(b, by)| b == a && !again(*a, by));
            let left: Vec<u64> = row.map(|row| atoms(row.text())).unwrap_or_default().into_iter().filter(gone).collect();
            assert!(left.is_empty(), "the delete of {key} is nowhere: {left:?} is still there");
        }
        let facts = rows.iter().filter(|(k, _)| k.collection.as_ref() == "log").flat_map(|(_, r)| atoms(r.text()));
        let mut times: HashMap<u64, u32> = HashMap::new();
        facts.for_each(|a| *times.entry(a).or_default() += 1);
        assert!(times.values().all(|n| *n == 1), "one fact, several rows: {times:?}");
    }
}

/// These values and all that replaced them knowingly.
pub(crate) fn reached(all: &BTreeMap<u64, Atom>, mut from: Vec<u64>) -> Vec<u64> {
    for n in 0.. {
        let Some(at) = from.get(n) else { break };
        let later: Vec<u64> = all.get(at).map(|a| a.replaced_by.iter().copied().collect()).unwrap_or_default();
        from.extend(later.into_iter().filter(|a| !from.contains(a)).collect::<Vec<_>>());
    }
    from
}

/// What leaves the queue though nobody gave it up is there again under another number, or was deleted before it was sent.
fn goes_on(replica: &Replica, changes: &[Change], before: &Before) {
    let mut again: Vec<&Mutation> = changes.iter().filter_map(|c| if let Change::Add(m) = c { Some(m) } else { None }).collect();
    for m in &before.dropped {
        let text = |m: &Mutation| fields(Some(&m.record));
        let same = again.iter().position(|other| (other.op, &other.key) == (m.op, &m.key) && text(other) == text(m));
        let deleted = m.op == Op::Create && replica.view(&m.key).is_none();
        assert!(same.is_some() || deleted, "{} of {} left the queue, and nobody gave it up: {:?}", m.id, m.key, m.record);
        same.map(|at| again.remove(at));
    }
}

/// The records a change carries.
fn carried(change: &Change) -> Vec<&Record> {
    match change {
        Change::Creates { records, .. } => records.iter().collect(),
        Change::Add(m) | Change::Swap(m) | Change::DeadEdit(m) => vec![&m.record],
        Change::Mine { record, .. } | Change::Local { record, .. } => vec![record],
        Change::Drop { .. } | Change::Unhold { .. } | Change::Undead { .. } | Change::Redepend { .. } => vec![],
    }
}

/// The top-level field a pointer leads into.
fn top(pointer: &str) -> Option<&str> {
    pointer.split('/').nth(1)
}

/// A number in a record; 0 where there is none.
pub(crate) fn number(record: Option<&Record>, name: &str) -> i64 {
    record.and_then(|r| r.value().unwrap().get(name)?.as_i64()).unwrap_or(0)
}

/// The text of an atom.
pub(crate) fn needle(atom: u64) -> String {
    format!("\"v{atom}.\"")
}

/// Every atom in a text, wherever it stands.
pub(crate) fn atoms(text: &str) -> Vec<u64> {
    text.split("\"v").skip(1).filter_map(|t| t.split_once('.')?.0.parse().ok()).collect()
}

/// Pointer → atom of a version; `_fieldTimes` and the like have none.
pub(crate) fn fields(record: Option<&Record>) -> BTreeMap<String, u64> {
    fn walk(at: String, value: &Value, out: &mut BTreeMap<String, u64>) {
        match value {
            Value::String(text) => {
                if let Some(n) = text.strip_prefix('v').and_then(|t| t.strip_suffix('.')).and_then(|n| n.parse().ok()) {
                    out.insert(at, n);
                }
            }
            Value::Object(members) => {
                members.iter().filter(|(name, _)| *name != "_crdt").for_each(|(name, v)| walk(format!("{at}/{name}"), v, out))
            }
            // The elements of a set have no place.
            Value::Array(elements) => elements.iter().for_each(|v| walk(format!("{at}/{}", v.as_str().unwrap_or_default()), v, out)),
            _ => {}
        }
    }
    let mut out = BTreeMap::new();
    if let Some(record) = record {
        walk(String::new(), &Value::Object(record.value().unwrap()), &mut out);
    }
    out
}
