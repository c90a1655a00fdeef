//! Groups: what was written together takes effect together or not at all (R2).
//!
//! A part of the oracle: it reads changes, requests, answers and stored rows. Not here: what an app groups (`acts`).

use crate::oracle::{Atom, Before, atoms, reached};
use homing::core::authority::{MemoryServer, StoredRow};
use homing::core::journal::Change;
use homing::core::mutation::Mutation;
use homing::core::protocol::{Outcome, PushRequest, WireResult};
use homing::core::record::Key;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// One of a group: its record, whether that was deleted, with it or after it, and if nobody but its maker knew it then, its values.
#[derive(Debug)]
struct Member {
    key: Key,
    deletes: bool,
    own: HashSet<u64>,
}

/// A push that the server committed.
pub(crate) struct Push<'a> {
    pub(crate) request: &'a PushRequest,
    pub(crate) results: &'a [WireResult],
    pub(crate) server: &'a MemoryServer,
    pub(crate) scope: &'a str,
}

impl Push<'_> {
    pub(crate) fn row_rev(&self, key: &Key) -> u64 {
        self.server.row(self.scope, key).and_then(|row| row.record.rev()).unwrap_or(0)
    }
}

#[derive(Default)]
pub(crate) struct Groups {
    /// The mutations of each group as they were written; nothing where they got new numbers.
    written: HashMap<Arc<str>, HashMap<String, Member>>,
    pub(crate) in_effect: u64,
    pub(crate) refused: u64,
}

impl Groups {
    /// Notes who is in a group. What a person takes back leaves it.
    pub(crate) fn wrote(&mut self, changes: &[Change], before: &Before) {
        let renumbered = changes.iter().any(|c| matches!(c, Change::Drop { .. })) && changes.iter().any(|c| matches!(c, Change::Add(_)));
        for change in changes {
            if let Change::Add(m) | Change::Swap(m) = change
                && m.record.is_deleted()
            {
                self.deleted(m, before);
            }
            match change {
                Change::Add(m) if m.retry_of.is_none() => {
                    let Some(group) = m.group.clone() else { continue };
                    let members = self.written.entry(group).or_default();
                    let deletes = m.record.is_deleted();
                    let own = if deletes { before.own(&m.key) } else { HashSet::new() };
                    members.insert(m.id.to_string(), Member { key: m.key.clone(), deletes, own });
                    if renumbered {
                        members.clear();
                    }
                }
                Change::Drop { id, .. } => self.written.values_mut().for_each(|members| _ = members.remove(&id.to_string())),
                _ => {}
            }
        }
    }

    /// What a group wrote on a record is taken back by whoever deletes it there later, in whatever group (seed 19000).
    fn deleted(&mut self, m: &Mutation, before: &Before) {
        let here = format!("{}:", m.id.client);
        for (_, member) in self.written.values_mut().flatten().filter(|(id, member)| member.key == m.key && id.starts_with(&here)) {
            member.deletes = true;
            member.own = before.own(&m.key);
        }
    }

    /// The server committed a push; before it, it stood at `before`.
    pub(crate) fn committed(&mut self, push: &Push<'_>, before: u64, all: &BTreeMap<u64, Atom>) {
        self.nobody_is_missing(push, all);
        self.nobody_stands_alone(push, before);
    }

    /// Where one of a group took effect, all of them were there; one that a rule sends again has another number.
    fn nobody_is_missing(&self, Push { request, server, scope, .. }: &Push<'_>, all: &BTreeMap<u64, Atom>) {
        for m in request.mutations.iter().filter(|m| m.retry_of.is_none()) {
            let Some(members) = m.group.as_deref().and_then(|group| self.written.get(group)).filter(|all| all.contains_key(&m.id)) else {
                continue;
            };
            let took_effect = m.id.parse().is_ok_and(|id| server.effects().get(&id).is_some_and(|n| *n > 0));
            let with = |key: &Key| {
                request.mutations.iter().any(|o| o.group == m.group && o.collection == *key.collection && o.record_id == *key.id)
            };
            // What was refused when it was created and is deleted here was never anywhere: that its deletion is not sent is its effect
            // (seed 7427), also where another device has made another record of that id since (seed 8290).
            let another = |row: &StoredRow, own: &HashSet<u64>| {
                let grown = reached(all, own.iter().copied().collect());
                !own.is_empty() && !atoms(row.record.text()).iter().any(|a| grown.contains(a))
            };
            let gone = |m: &Member| m.deletes && server.row(scope, &m.key).is_none_or(|row| another(row, &m.own));
            let missing: Vec<_> = members.values().filter(|member| !with(&member.key) && !gone(member)).map(|member| &member.key).collect();
            assert!(!took_effect || missing.is_empty(), "{} took effect without {missing:?} of its group", m.id);
        }
    }

    /// Of those that came together all took effect or none, under whatever numbers. That one deletes what is not there, or says
    /// what is there already, is no row, but an effect; what is answered again took effect before, if at all.
    fn nobody_stands_alone(&mut self, push: &Push<'_>, before: u64) {
        let mut groups: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
        for (m, result) in push.request.mutations.iter().zip(push.results) {
            let Some(group) = m.group.as_deref() else { continue };
            let (did, did_not) = groups.entry(group).or_default();
            let says = matches!(result.status, Outcome::Applied | Outcome::Merged | Outcome::Superseded);
            let key = Key::new(m.collection.as_str(), m.record_id.as_str());
            if push.row_rev(&key) > before || says && !result.replayed {
                did.push(&m.id);
            }
            if !says {
                did_not.push(&m.id);
            }
        }
        for (did, did_not) in groups.values().filter(|(did, did_not)| did.len() + did_not.len() > 1) {
            assert!(did.is_empty() || did_not.is_empty(), "a group was torn: {did:?} took effect, {did_not:?} did not");
            self.in_effect += u64::from(!did.is_empty());
            self.refused += u64::from(!did_not.is_empty());
        }
    }
}
