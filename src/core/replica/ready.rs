//! Who waits for whom: dependencies between queued mutations, what is blocked, what can be sent next (DESIGN §6.3).
//!
//! An edge leads from a mutation to an earlier one of another record (R2); what is neither queued nor a dead letter is
//! satisfied (rule *deps*). Not here: where the edges come from (`plan`), limits of time and network (`engine`).

use super::{HashMap, HashSet, Replica};
use crate::core::mutation::{Mutation, MutationId, Op};
use crate::core::record::{Key, OPTIMISTIC_PREFIX};
use std::sync::Arc;

/// How much one request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most mutations.
    pub mutations: usize,
    /// Most bytes of records.
    pub bytes: usize,
}

/// Creates that no server has confirmed, queued or refused: what other records can have to wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unconfirmed {
    creates: usize,
    /// Optimistic id → its record, and how many creates say so.
    ids: HashMap<Arc<str>, (Key, u32)>,
}

impl Unconfirmed {
    pub(crate) fn add(&mut self, m: &Mutation) {
        if m.op == Op::Create {
            self.creates += 1;
            if m.key.id.starts_with(OPTIMISTIC_PREFIX) {
                self.ids.entry(m.key.id.clone()).or_insert_with(|| (m.key.clone(), 0)).1 += 1;
            }
        }
    }

    pub(crate) fn remove(&mut self, m: &Mutation) {
        if m.op == Op::Create {
            self.creates = self.creates.saturating_sub(1);
            if let Some((_, n)) = self.ids.get_mut(&m.key.id) {
                *n -= 1;
                if *n == 0 {
                    self.ids.remove(&m.key.id);
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.creates == 0
    }

    /// The record of an optimistic id that has no server id yet.
    pub(crate) fn key_of(&self, id: &str) -> Option<&Key> {
        self.ids.get(id).map(|(key, _)| key)
    }

    pub(crate) fn has_optimistic(&self) -> bool {
        !self.ids.is_empty()
    }
}

impl Replica {
    /// The create of a record that no server has confirmed: queued, or refused.
    pub(crate) fn unconfirmed_create(&self, key: &Key) -> Option<&Mutation> {
        let dead = || self.dead_letter_of(key).map(|d| &d.mutation);
        self.pending_of(key).find(|m| m.op == Op::Create).or_else(|| dead().filter(|m| m.op == Op::Create))
    }

    /// The dead letter that a queued mutation waits for: through what it depends on, its record's earlier mutations or
    /// its group.
    #[must_use]
    pub fn blocked_by(&self, id: &MutationId) -> Option<MutationId> {
        if self.dead.is_empty() {
            return None;
        }
        let mut seen: HashSet<&MutationId> = HashSet::default();
        let mut open = vec![self.pending(id)?];
        while let Some(m) = open.pop() {
            if !seen.insert(&m.id) {
                continue;
            }
            if let Some(dead) = m.depends_on.iter().find(|id| self.dead.contains_key(*id)) {
                return Some(dead.clone());
            }
            open.extend(m.depends_on.iter().filter_map(|id| self.pending(id)));
            open.extend(self.pending_of(&m.key).take_while(|before| before.id != m.id));
            if m.group.is_some() {
                open.extend(self.queue().filter(|other| other.group == m.group));
            }
        }
        None
    }

    /// Every queued mutation that waits for a dead letter, and for which.
    #[must_use]
    pub fn blocked(&self) -> HashMap<MutationId, MutationId> {
        if self.dead.is_empty() { HashMap::default() } else { self.waiting(self.dead.keys()) }
    }

    /// What is to be refused now, with the rest of its group.
    #[must_use]
    pub fn doomed(&self) -> Vec<MutationId> {
        self.queue().filter(|m| m.doomed && self.is_first(m)).map(|m| m.id.clone()).collect()
    }

    /// Whether no earlier mutation of its record waits.
    pub(crate) fn is_first(&self, m: &Mutation) -> bool {
        self.pending_of(&m.key).next().is_some_and(|first| first.id == m.id)
    }

    /// Every queued mutation that waits for this one, directly or through others, in queue order.
    #[must_use]
    pub fn dependents(&self, id: &MutationId) -> Vec<MutationId> {
        let waiting = self.waiting([id]);
        self.queue().filter(|m| waiting.contains_key(&m.id)).map(|m| m.id.clone()).collect()
    }

    /// What waits for any of these, and for which of them.
    fn waiting<'a>(&'a self, roots: impl IntoIterator<Item = &'a MutationId>) -> HashMap<MutationId, MutationId> {
        let mut ids: HashMap<&MutationId, &MutationId> = HashMap::default();
        let mut records: HashMap<&Key, (u64, &MutationId)> = HashMap::default();
        let mut groups: HashMap<&Arc<str>, &MutationId> = HashMap::default();
        for root in roots {
            ids.insert(root, root);
            if let Some((place, m)) = self.places.get(root).and_then(|place| Some((*place, self.queue.get(place)?))) {
                records.insert(&m.key, (place, root));
                m.group.iter().for_each(|g| _ = groups.insert(g, root));
            }
        }
        loop {
            let before = ids.len();
            for (place, m) in &self.queue {
                if ids.contains_key(&m.id) {
                    continue;
                }
                let parent = m.depends_on.iter().find_map(|d| ids.get(d).copied());
                let record = || records.get(&m.key).filter(|(first, _)| first < place).map(|(_, root)| *root);
                let group = || m.group.as_ref().and_then(|g| groups.get(g).copied());
                if let Some(root) = parent.or_else(record).or_else(group) {
                    ids.insert(&m.id, root);
                    let known = records.get(&m.key).is_some_and(|(first, _)| first < place);
                    if !known {
                        records.insert(&m.key, (*place, root));
                    }
                    m.group.iter().for_each(|g| _ = groups.entry(g).or_insert(root));
                }
            }
            // Nearly always one pass: only a retried parent and a group make edges that lead to later mutations.
            if ids.len() == before {
                break;
            }
        }
        ids.into_iter().filter(|(id, root)| id != root).map(|(id, root)| (id.clone(), root.clone())).collect()
    }

    /// Whether no earlier mutation of its record waits, and no decision about the record. `place`: where it stands in the queue.
    fn is_next(&self, place: u64, m: &Mutation) -> bool {
        self.slot(&m.key).is_some_and(|slot| slot.pending.first() == Some(&place) && slot.hold.is_none())
    }

    /// The next request: oldest first, at most one mutation of each record, what others depend on before them, groups
    /// whole, nothing of a record that waits for the user, within the limits. `applied` took effect already, although it is in the queue
    /// still: what depends on it goes in its place, not after all others. `held` says what cannot go now for other reasons. With each:
    /// whether it was sent before.
    #[must_use]
    pub fn ready(&self, limits: Limits, applied: &[MutationId], held: impl Fn(&Mutation) -> bool) -> Vec<(MutationId, bool)> {
        let picked = applied.iter().filter_map(|id| self.pending(id)).map(|m| &m.id).collect();
        let mut pick = Pick { replica: self, held: &held, picked, out: Vec::new(), bytes: 0 };
        loop {
            let before = pick.out.len();
            let mut later = false;
            for (place, m) in &self.queue {
                if pick.picked.contains(&m.id) || !self.is_next(*place, m) {
                    continue;
                }
                let batch = match &m.group {
                    None if pick.free(m, None) => vec![m],
                    Some(group) => pick.whole(group),
                    None => Vec::new(),
                };
                if batch.is_empty() {
                    later |= m.depends_on.iter().any(|d| self.places.contains_key(d));
                    continue;
                }
                let size = batch.iter().map(|m| m.record.text().len()).sum::<usize>();
                if !pick.out.is_empty() && (pick.out.len() + batch.len() > limits.mutations || pick.bytes + size > limits.bytes) {
                    return pick.out;
                }
                pick.bytes += size;
                for m in batch {
                    pick.picked.insert(&m.id);
                    pick.out.push((m.id.clone(), m.attempted));
                }
            }
            // A retried parent stands behind what waits for it.
            if !later || pick.out.len() == before {
                return pick.out;
            }
        }
    }
}

struct Pick<'r, H> {
    replica: &'r Replica,
    held: &'r H,
    picked: HashSet<&'r MutationId>,
    out: Vec<(MutationId, bool)>,
    bytes: usize,
}

impl<'r, H: Fn(&Mutation) -> bool> Pick<'r, H> {
    /// Whether everything it depends on took effect or goes before it in this request.
    fn free(&self, m: &Mutation, group: Option<&Arc<str>>) -> bool {
        let waits = |id: &MutationId| {
            let inside = || group.is_some() && self.replica.pending(id).and_then(|d| d.group.as_ref()) == group;
            !self.picked.contains(id) && (self.replica.dead.contains_key(id) || self.replica.places.contains_key(id) && !inside())
        };
        !m.doomed && !(self.held)(m) && !m.depends_on.iter().any(waits)
    }

    /// Every member of a group, or none: a group is never split (R2).
    fn whole(&self, group: &Arc<str>) -> Vec<&'r Mutation> {
        // What is doomed is judged: it goes nowhere, and nobody waits for it.
        let members = self.replica.queue.iter().filter(|(_, m)| m.group.as_ref() == Some(group) && !m.doomed);
        let goes = |(place, m): (&u64, &'r Mutation)| {
            let free = self.replica.is_next(*place, m) && !self.picked.contains(&m.id) && self.free(m, Some(group));
            free.then_some(m)
        };
        members.map(goes).collect::<Option<_>>().unwrap_or_default()
    }
}
