//! Dead letters and queued mutations the user takes in hand (R15).

use super::{Context, Plan, check_room, enqueue, own_fields};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Change, Range};
use crate::core::mutation::{Mutation, MutationId, Op};
use crate::core::record::{Envelope, Record, check};
use crate::core::replica::{DeadLetter, Replica};
use crate::core::stamp::Stamp;

fn letter<'r>(replica: &'r Replica, id: &MutationId) -> Result<&'r DeadLetter> {
    replica.dead_letter(id).ok_or_else(|| Error::new(Code::NotFound, format!("no dead letter '{id}'")))
}

/// A retry is a new mutation with a new id; without an edit it keeps its stamp.
pub(super) fn retry(replica: &Replica, id: &MutationId, edited: Option<&str>, context: &Context) -> Result<Plan> {
    let old = &letter(replica, id)?.mutation;
    check_room(replica, 1, context)?;
    let (record, mut changed) = match edited {
        None => (old.record.clone(), Vec::new()),
        Some(text) => {
            check(text)?;
            let at = Stamp::next(context.now, Some(old.record.updated_at()));
            let deleted_at = (old.op == Op::Delete).then_some(at);
            let record = Record::build(Envelope { id: &old.key.id, updated_at: at, deleted_at, rev: None }, &own_fields(text)?);
            enqueue::stamped(replica, &old.key, record, &old.record)?
        }
    };
    let new = MutationId::new(replica.client().clone(), replica.seq() + 1);
    let mut plan = Plan { ids: vec![old.key.id.clone()], mutations: Some(Range { first: new.clone(), count: 1 }), ..Plan::default() };
    plan.changes.push(Change::Undead { id: id.clone() });
    enqueue::add_pointers(&mut changed, &old.changed);
    plan.changes.push(Change::Add(Mutation {
        id: new.clone(),
        record,
        changed,
        attempted: false,
        on: None,
        retry_of: Some(id.clone()),
        ..old.clone()
    }));
    plan.changes.push(Change::Redepend { from: id.clone(), to: new });
    Ok(plan)
}

pub(super) fn discard(replica: &Replica, id: &MutationId, cascade: bool) -> Result<Plan> {
    let dead = letter(replica, id)?;
    let mut plan = Plan { ids: vec![dead.mutation.key.id.clone()], ..Plan::default() };
    plan.changes.push(Change::Undead { id: id.clone() });
    if cascade {
        let mut gone = vec![id.clone()];
        for m in replica.queue().filter(|m| !m.attempted) {
            if m.depends_on.iter().any(|d| gone.contains(d)) {
                gone.push(m.id.clone());
                plan.changes.push(Change::Drop { id: m.id.clone(), discarded: true });
            }
        }
    }
    Ok(plan)
}

pub(super) fn discard_queued(replica: &Replica, id: &MutationId) -> Result<Plan> {
    let m = replica.pending(id).ok_or_else(|| Error::new(Code::NotFound, format!("no queued mutation '{id}'")))?;
    if m.attempted {
        return Err(Error::new(Code::Blocked, "this mutation was sent; whether it took effect is not known yet"));
    }
    Ok(Plan { ids: vec![m.key.id.clone()], changes: vec![Change::Drop { id: id.clone(), discarded: true }], ..Plan::default() })
}
