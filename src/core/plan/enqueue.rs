//! Joining the queue: coalescing with what was never sent, or a new mutation (DESIGN §6.2, R1, R13, R15, R16).

use super::depends::{self, Siblings};
use super::{Context, Plan, Seen, check_room, letters};
use crate::core::conflict::{Conflict, Kind, Status};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Change, Range};
use crate::core::merge;
use crate::core::mutation::{Mutation, MutationId, Op, Texts, add_pointers, add_texts};
use crate::core::record::{ARCHIVE, Key, Record, check_whole};
use crate::core::replica::Replica;
use crate::core::schema::Policy;
use serde_json::Value;
use std::sync::Arc;

/// A run of plain creates.
pub(super) fn creates(replica: &Replica, collection: &Arc<str>, records: Vec<Record>, imported: bool, context: &Context, plan: &mut Plan) {
    if !replica.schema().syncs(collection) {
        plan.changes.extend(records.into_iter().map(|record| Change::Local { collection: collection.clone(), record }));
        return;
    }
    let first = MutationId::new(replica.client().clone(), replica.seq() + 1);
    plan.mutations = Some(Range { first: first.clone(), count: records.len() as u64 });
    let mut siblings = Siblings::new();
    let named = depends::among(replica, collection, &records);
    for (record, n) in records.into_iter().zip(0u64..) {
        let id = MutationId::new(first.client.clone(), first.seq + n);
        let key = Key { collection: collection.clone(), id: record.id().clone() };
        let depends_on = waits_for(replica, &key, &record, context, &siblings);
        if named {
            siblings.insert(key.id.clone(), id.clone());
        }
        match plan.changes.last_mut() {
            _ if context.group.is_some() || context.once.is_some() => {
                let once = context.once.iter().cloned().collect();
                let m = Mutation { group: context.group.clone(), depends_on, imported, once, ..Mutation::new(id, Op::Create, key, record) };
                plan.changes.push(Change::Add(m));
            }
            Some(Change::Creates { records, depends_on: same, .. }) if *same == depends_on => records.push(record),
            _ => {
                let records = vec![record];
                plan.changes.push(Change::Creates { collection: collection.clone(), first: id, records, imported, depends_on });
            }
        }
    }
}

/// Everything a new version waits for.
fn waits_for(replica: &Replica, key: &Key, record: &Record, context: &Context, siblings: &Siblings) -> Vec<MutationId> {
    let mut out = depends::explicit(replica, key, context);
    for id in depends::derived(replica, key, record, context, siblings) {
        if !out.contains(&id) {
            out.push(id);
        }
    }
    out
}

/// What waits for the user joins what he decides on, alone: all or nothing with others cannot be promised.
fn whole(context: &Context, key: &Key, why: &str) -> Result<()> {
    match context.group {
        None => Ok(()),
        Some(_) => Err(Error::at(Code::Blocked, "", format!("{key} {why} first, or write it outside of an atomic batch"))),
    }
}

/// A new version made on what the app sees now.
pub(super) fn enqueue(replica: &Replica, op: Op, key: &Key, record: Record, view: &Record, context: &Context) -> Result<Plan> {
    queued(replica, op, key, stamped(replica, key, record, view)?, view, context)
}

/// The same where the version says what was counted and added in it.
pub(super) fn counted(replica: &Replica, op: Op, key: &Key, record: Record, view: &Record, context: &Context) -> Result<Plan> {
    queued(replica, op, key, by_field(replica, key, record, view)?, view, context)
}

fn queued(
    replica: &Replica,
    op: Op,
    key: &Key,
    (record, changed): (Record, Vec<String>),
    view: &Record,
    context: &Context,
) -> Result<Plan> {
    let texts = merge::seen_texts(view, &record, replica.rules(key).types);
    let mut plan = Plan { ids: vec![key.id.clone()], ..Plan::default() };
    if !replica.schema().syncs(&key.collection) {
        plan.changes.push(Change::Local { collection: key.collection.clone(), record });
        return Ok(plan);
    }
    check_whole(&record, Some(view))?;
    if let Some(hold) = replica.hold(key) {
        whole(context, key, "waits for a decision: resolve its conflict")?;
        plan.mutations = hold.mutation.clone().map(|first| Range { first, count: 1 });
        plan.held = Some(hold.conflict.clone());
        plan.changes.push(Change::Mine { key: key.clone(), record });
        return Ok(plan);
    }
    let letter = replica.dead_letter_of(key).map(|l| &l.mutation);
    let last = replica.pending_of(key).next_back();
    // With a decision queued behind the refused create, what comes now is made on the decision (seed 10757).
    if let Some(dead) = letter.filter(|l| l.op == Op::Create && last.is_none()) {
        if op != Op::Delete {
            whole(context, key, "was refused: retry or discard its dead letter")?;
            plan.mutations = Some(Range { first: dead.id.clone(), count: 1 });
            let once = dead.once.iter().chain(&context.once).cloned().collect();
            plan.changes.push(Change::DeadEdit(Mutation { record, once, ..dead.clone() }));
            return Ok(plan);
        }
        if replica.confirmed(key).is_none_or(Record::is_deleted) {
            // What no server has and nobody wants any more.
            plan.changes.extend(letters::gone(replica, &dead.id));
            return Ok(plan);
        }
    }
    let (mut changed, mut texts) = (changed, texts);
    if let Some(dead) = letter {
        add_pointers(&mut changed, &dead.changed);
        let mut first = dead.texts.clone();
        add_texts(&mut first, texts);
        texts = first;
    }
    let waits = waits_for(replica, key, &record, context, &Siblings::new());
    let mut plan = match last.filter(|l| coalesces(l, &waits, context)) {
        Some(last) => coalesce(replica, last, op, (record, changed, texts), waits, context, plan),
        None => {
            check_room(replica, 1, context)?;
            let mut m = Mutation::new(MutationId::new(replica.client().clone(), replica.seq() + 1), op, key.clone(), record);
            match last {
                // Made on pending content: that content's base is its base, until the pending one is acknowledged.
                Some(last) => (m.base_rev, m.base, m.on) = (last.base_rev, last.base.clone(), Some(last.id.clone())),
                None => (m.base_rev, m.base) = (replica.confirmed(key).and_then(Record::rev), replica.confirmed(key).cloned()),
            }
            (m.changed, m.texts, m.group, m.depends_on) = (changed, texts, context.group.clone(), waits);
            if let Some(dead) = letter {
                // Its content is made on the refused one.
                if last.is_none() {
                    (m.base_rev, m.base) = (dead.base_rev, dead.base.clone());
                }
            }
            m.once = context.once.iter().cloned().collect();
            m.retry_of = letter.map(|l| l.id.clone());
            plan.mutations = Some(Range { first: m.id.clone(), count: 1 });
            plan.changes.push(Change::Add(m));
            plan
        }
    };
    if let (Some(dead), Some(now)) = (letter, &plan.mutations) {
        let retried = letters::retried(replica, &dead.id, &now.first);
        plan.changes.extend(retried);
        if last.is_some_and(|last| !letters::is_below(replica, &dead.id, last)) {
            plan.changes.push(replaced(replica, key, &dead.record, context)?);
        }
    }
    Ok(plan)
}

/// A whole record made from an older version than the one shown now: based on that one, so that the
/// server sees the two as concurrent; a version it replaces here that no server has goes to the archive.
pub(super) fn stale(replica: &Replica, op: Op, key: &Key, record: Record, view: &Record, seen: Seen, context: &Context) -> Result<Plan> {
    let record = match replica.policy(key) {
        Policy::Fields if op == Op::Update => on_top(seen_version(replica, key, seen), &record, view)?,
        _ => record,
    };
    if record.same_content(view) {
        return Ok(Plan { ids: vec![key.id.clone()], ..Plan::default() });
    }
    let mut plan = enqueue(replica, op, key, record, view, context)?;
    let base_rev = seen.rev.filter(|rev| Some(*rev) <= latest(replica, key));
    let (mut lost, types) = (None, replica.rules(key).types);
    let nothing_waits = replica.pending_of(key).next().is_none();
    for change in &mut plan.changes {
        if let Change::Add(m) | Change::Swap(m) = change {
            (m.base_rev, m.base, m.on) = (base_rev, None, None);
            m.texts = seen_version(replica, key, seen).and_then(|was| merge::seen_texts(was, &m.record, types));
        }
        lost = match change {
            Change::Swap(m) => replica.pending(&m.id).map(|m| m.record.clone()),
            Change::DeadEdit(m) => replica.dead_letter(&m.id).map(|letter| letter.mutation.record.clone()),
            Change::Mine { key, .. } => replica.hold(key).map(|hold| hold.mine.clone()),
            // Where something waits, that is what is shown.
            Change::Undead { id } if nothing_waits => replica.dead_letter(id).map(|letter| letter.mutation.record.clone()),
            _ => lost,
        };
    }
    if let Some(lost) = lost {
        plan.changes.push(replaced(replica, key, &lost, context)?);
    }
    Ok(plan)
}

/// The highest `_rev` that this device knows of a record. A row that says a higher one is of another server's data, or of what was read
/// elsewhere: to the server such a base would be news of a history that it has lost (R7).
fn latest(replica: &Replica, key: &Key) -> Option<u64> {
    let bases = replica.pending_of(key).map(|m| m.base_rev);
    bases.chain([replica.confirmed(key).and_then(Record::rev)]).max().flatten()
}

/// The archive entry of a version that no server has and that a later one was not made on.
pub(super) fn replaced(replica: &Replica, key: &Key, lost: &Record, context: &Context) -> Result<Change> {
    let conflict = Conflict::local(replica.schema(), key, Kind::EditEdit, Some(lost), None, Status::Automatic, context.now);
    Ok(Change::Local { collection: ARCHIVE.into(), record: conflict.to_record(context.now)? })
}

/// What the maker of `record` changed in the version that was seen, on top of what is shown now. Without that version, what
/// the record lacks counts as never seen, not as removed.
pub(super) fn on_top(seen: Option<&Record>, record: &Record, view: &Record) -> Result<Record> {
    let changed = match seen {
        Some(seen) => merge::changed_pointers(Some(seen), record),
        None => {
            let there = Value::Object(record.value()?);
            let mut changed = merge::changed_pointers(Some(view), record);
            changed.retain(|pointer| there.pointer(pointer).is_some());
            changed
        }
    };
    merge::overlay(Some(view), Op::Update, record, &changed, Policy::Fields)
}

/// The version its editor saw, where it is still here.
fn seen_version<'r>(replica: &'r Replica, key: &'r Key, seen: Seen) -> Option<&'r Record> {
    let is_seen = |r: &&Record| seen.rev.is_some() && seen.rev == r.rev() && seen.stamp == Some(r.updated_at());
    let bases = replica.pending_of(key).filter_map(|m| m.base.as_ref());
    replica.confirmed(key).into_iter().chain(bases).find(is_seen)
}

/// What the write does to typed fields; field stamps and changed pointers, where the policy wants them.
pub(super) fn stamped(replica: &Replica, key: &Key, record: Record, view: &Record) -> Result<(Record, Vec<String>)> {
    let rules = replica.rules(key);
    merge::check_types(&record, rules.types)?;
    let record = merge::written(view, &record, replica.client(), rules.types)?;
    by_field(replica, key, record, view)
}

/// Field stamps and changed pointers, where the policy wants them.
pub(super) fn by_field(replica: &Replica, key: &Key, record: Record, view: &Record) -> Result<(Record, Vec<String>)> {
    if replica.policy(key) != Policy::Fields {
        return Ok((record, Vec::new()));
    }
    let changed = merge::changed_pointers(Some(view), &record);
    Ok((merge::stamp_fields(Some(view), record, &changed)?, changed))
}

fn coalesces(last: &Mutation, waits: &[MutationId], context: &Context) -> bool {
    // An unsent import must reach the server as what it is (R13); a group keeps to itself and sends no record twice;
    // coalescing adds no dependency, so that none ever leads to a later mutation (R2).
    let own_group = last.group.is_some() && last.group == context.group;
    let adds = waits.iter().any(|id| !last.depends_on.contains(id));
    !last.attempted && !last.imported && last.resolves.is_none() && last.group == context.group && (own_group || !adds)
}

fn coalesce(
    replica: &Replica,
    last: &Mutation,
    op: Op,
    (record, changed, texts): (Record, Vec<String>, Option<Texts>),
    waits: Vec<MutationId>,
    context: &Context,
    mut plan: Plan,
) -> Plan {
    let merged = match (last.op, op) {
        (Op::Create, Op::Delete) => {
            let needed = replica.confirmed(&last.key).is_some() || replica.queue().any(|m| m.depends_on.contains(&last.id));
            if !needed {
                plan.changes.push(Change::Drop { id: last.id.clone(), discarded: false });
                return plan;
            }
            Op::Delete
        }
        (Op::Create, _) => Op::Create,
        (_, Op::Delete) => Op::Delete,
        // Deleted before it was ever sent, and wanted again.
        (Op::Delete, _) if last.base_rev.is_none() && replica.confirmed(&last.key).is_none() && replica.is_first(last) => Op::Create,
        (Op::Delete, _) => Op::Update,
        (first, _) => first,
    };
    // What the old content named and the new one does not is waited for no longer.
    let named = depends::derived(replica, &last.key, &last.record, context, &Siblings::new());
    let mut depends_on: Vec<MutationId> = last.depends_on.iter().filter(|id| !named.contains(id) || waits.contains(id)).cloned().collect();
    depends_on.extend(waits.into_iter().filter(|id| !last.depends_on.contains(id)));
    let once = last.once.iter().chain(&context.once).cloned().collect();
    let mut m = Mutation { op: merged, record, depends_on, once, ..last.clone() };
    add_pointers(&mut m.changed, &changed);
    add_texts(&mut m.texts, texts);
    plan.mutations = Some(Range { first: m.id.clone(), count: 1 });
    plan.changes.push(Change::Swap(m));
    plan
}
