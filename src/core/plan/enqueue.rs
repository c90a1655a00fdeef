//! Joining the queue: coalescing with what was never sent, or a new mutation (DESIGN §6.2, R1, R13, R15, R16).

use super::{Context, Plan, Seen, check_room};
use crate::core::conflict::{Conflict, Kind, Status};
use crate::core::error::Result;
use crate::core::journal::{Change, Range};
use crate::core::merge;
use crate::core::mutation::{Mutation, MutationId, Op};
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::replica::Replica;
use crate::core::schema::Policy;
use std::sync::Arc;

/// A run of plain creates.
pub(super) fn creates(replica: &Replica, collection: &Arc<str>, records: Vec<Record>, imported: bool, context: &Context, plan: &mut Plan) {
    if !replica.schema().syncs(collection) {
        plan.changes.extend(records.into_iter().map(|record| Change::Local { collection: collection.clone(), record }));
        return;
    }
    let first = MutationId::new(replica.client().clone(), replica.seq() + 1);
    plan.mutations = Some(Range { first: first.clone(), count: records.len() as u64 });
    if context.group.is_none() && context.depends_on.is_empty() {
        plan.changes.push(Change::Creates { collection: collection.clone(), first, records, imported });
        return;
    }
    for (record, n) in records.into_iter().zip(0u64..) {
        let id = MutationId::new(first.client.clone(), first.seq + n);
        let key = Key { collection: collection.clone(), id: record.id().clone() };
        let mut m = Mutation::new(id, Op::Create, key, record);
        (m.group, m.depends_on, m.imported) = (context.group.clone(), context.depends_on.clone(), imported);
        plan.changes.push(Change::Add(m));
    }
}

/// A new version made on what the app sees now.
pub(super) fn enqueue(replica: &Replica, op: Op, key: &Key, record: Record, view: &Record, context: &Context) -> Result<Plan> {
    let (record, changed) = stamped(replica, key, record, view)?;
    let mut plan = Plan { ids: vec![key.id.clone()], ..Plan::default() };
    if !replica.schema().syncs(&key.collection) {
        plan.changes.push(Change::Local { collection: key.collection.clone(), record });
        return Ok(plan);
    }
    if replica.hold(key).is_some() {
        plan.changes.push(Change::Mine { key: key.clone(), record });
        return Ok(plan);
    }
    let letter = replica.dead_letter_of(key);
    if let Some(letter) = letter.filter(|l| l.mutation.op == Op::Create) {
        plan.changes.push(Change::DeadEdit(Mutation { record, ..letter.mutation.clone() }));
        return Ok(plan);
    }
    let last = replica.pending_of(key).next_back();
    if let Some(last) = last.filter(|l| coalesces(l, context)) {
        return Ok(coalesce(replica, last, op, record, changed, plan));
    }
    check_room(replica, 1, context)?;
    let mut m = Mutation::new(MutationId::new(replica.client().clone(), replica.seq() + 1), op, key.clone(), record);
    match last {
        // Made on pending content: that content's base is its base, until the pending one is acknowledged.
        Some(last) => (m.base_rev, m.base, m.on) = (last.base_rev, last.base.clone(), Some(last.id.clone())),
        None => (m.base_rev, m.base) = (replica.confirmed(key).and_then(Record::rev), replica.confirmed(key).cloned()),
    }
    (m.changed, m.group, m.depends_on) = (changed, context.group.clone(), context.depends_on.clone());
    if let Some(letter) = letter {
        // Its content is made on the refused one: that one's base, and what that one changed.
        if last.is_none() {
            (m.base_rev, m.base) = (letter.mutation.base_rev, letter.mutation.base.clone());
        }
        add_pointers(&mut m.changed, &letter.mutation.changed);
        m.retry_of = Some(letter.mutation.id.clone());
        plan.changes.push(Change::Undead { id: letter.mutation.id.clone() });
    }
    plan.mutations = Some(Range { first: m.id.clone(), count: 1 });
    plan.changes.push(Change::Add(m));
    Ok(plan)
}

/// A whole record made from an older version than the one shown now: based on that one, so that the
/// server sees the two as concurrent; an unsent version it replaces here goes to the archive.
pub(super) fn stale(replica: &Replica, op: Op, key: &Key, record: Record, view: &Record, seen: Seen, context: &Context) -> Result<Plan> {
    let mut plan = enqueue(replica, op, key, record, view, context)?;
    let unseen = replica.pending_of(key).next_back().filter(|m| m.record.updated_at() == view.updated_at() && !m.attempted).cloned();
    for change in &mut plan.changes {
        if let Change::Add(m) | Change::Swap(m) = change {
            (m.base_rev, m.base, m.on) = (seen.rev, None, None);
        }
    }
    if let Some(lost) = unseen.filter(|_| plan.changes.iter().any(|c| matches!(c, Change::Swap(_)))) {
        let conflict = Conflict::local(replica.schema(), key, Kind::EditEdit, Some(&lost.record), None, Status::Automatic, context.now);
        plan.changes.push(Change::Local { collection: ARCHIVE.into(), record: conflict.to_record(context.now)? });
    }
    Ok(plan)
}

/// Field stamps and changed pointers, where the policy wants them.
pub(super) fn stamped(replica: &Replica, key: &Key, record: Record, view: &Record) -> Result<(Record, Vec<String>)> {
    if replica.policy(key) != Policy::Fields {
        return Ok((record, Vec::new()));
    }
    let changed = merge::changed_pointers(Some(view), &record);
    Ok((merge::stamp_fields(Some(view), record, &changed)?, changed))
}

pub(super) fn add_pointers(to: &mut Vec<String>, more: &[String]) {
    for pointer in more {
        if !to.contains(pointer) {
            to.push(pointer.clone());
        }
    }
}

fn coalesces(last: &Mutation, context: &Context) -> bool {
    // An unsent import must reach the server as what it is (R13); a group keeps to itself (R2).
    !last.attempted
        && !last.imported
        && last.resolves.is_none()
        && last.depends_on.is_empty()
        && context.depends_on.is_empty()
        && last.group == context.group
}

fn coalesce(replica: &Replica, last: &Mutation, op: Op, record: Record, changed: Vec<String>, mut plan: Plan) -> Plan {
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
        (Op::Delete, _) => Op::Update,
        (first, _) => first,
    };
    let mut m = Mutation { op: merged, record, ..last.clone() };
    add_pointers(&mut m.changed, &changed);
    plan.mutations = Some(Range { first: m.id.clone(), count: 1 });
    plan.changes.push(Change::Swap(m));
    plan
}
