//! Resolving a conflict: a mutation of the record, based on the server's version (R8, R9). And taking the loser back.

use super::{Choice, Context, Intent, Plan, Seen, check_key, enqueue, patched, plan, put};
use crate::core::conflict::{Conflict, Status};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Change, Range};
use crate::core::merge;
use crate::core::mutation::{Mutation, MutationId, Op};
use crate::core::record::{ARCHIVE, Envelope, Key, Record, check_whole};
use crate::core::remap::refer;
use crate::core::replica::Replica;
use crate::core::schema::Policy;
use crate::core::stamp::Stamp;
use std::sync::Arc;

fn entry(replica: &Replica, id: &Arc<str>) -> Result<Conflict> {
    let row = replica.view(&Key::new(ARCHIVE, id.clone())).ok_or_else(|| Error::new(Code::NotFound, format!("no conflict '{id}'")))?;
    let conflict = Conflict::from_record(&row)?;
    replica.require(&conflict.collection)?;
    Ok(conflict)
}

/// An ordinary write of the version that lost: a new version on what is there now, whatever happened since.
pub(super) fn reinstate(replica: &Replica, id: &Arc<str>, context: &Context) -> Result<Plan> {
    let conflict = entry(replica, id)?;
    if conflict.status == Status::Unresolved {
        return Err(Error::new(Code::Blocked, format!("conflict '{id}' waits for a decision; resolve it")));
    }
    let key = conflict.about();
    let key = Key { id: replica.current_id(&key.id).clone(), ..key };
    let lost = conflict.loser().ok_or_else(|| Error::new(Code::NotFound, format!("conflict '{id}' holds no version that lost")))?;
    if !lost.is_deleted() {
        return counted(replica, &key, lost, context);
    }
    match replica.shared_view(&key).filter(|r| !r.is_deleted()) {
        Some(_) => plan(replica, &Intent::Delete { key }, context),
        None => Ok(Plan { ids: vec![key.id], ..Plan::default() }),
    }
}

/// A version that lost on top of what is there now, with what it counted and added as it says itself: taken back twice, it is in once.
fn counted(replica: &Replica, key: &Key, lost: &Record, context: &Context) -> Result<Plan> {
    let Some(view) = replica.shared_view(key).filter(|_| replica.policy(key) != Policy::AppendOnly) else {
        return put(replica, key, &Arc::from(lost.text()), Seen::default(), context);
    };
    let both = merge::preferred(lost, &view, replica.client(), replica.rules(key).types)?;
    let at = Stamp::next(context.now, Some(view.updated_at()));
    let record = Record::build(Envelope { id: &key.id, updated_at: at, deleted_at: None, rev: None }, &both.fields()?);
    if record.same_content(&view) {
        return Ok(Plan { ids: vec![key.id.clone()], ..Plan::default() });
    }
    let op = if view.is_deleted() { Op::Undelete } else { Op::Update };
    enqueue::counted(replica, op, key, record, &view, context)
}

pub(super) fn resolve(replica: &Replica, id: &Arc<str>, choice: &Choice, context: &Context) -> Result<Plan> {
    let conflict = entry(replica, id)?;
    // Also where the decision has not reached the server yet: the first one counts.
    if !replica.unresolved().any(|(open, _)| open == id) {
        return Err(Error::new(Code::NotFound, format!("conflict '{id}' is already settled")));
    }
    let key = conflict.about();
    let held = replica.hold(&key).filter(|h| h.conflict == *id);
    let mine = held.map(|h| h.mine.clone()).or_else(|| conflict.mine.clone());
    let theirs = replica.confirmed(&key).cloned();
    let mut plan = Plan { ids: vec![key.id.clone()], ..Plan::default() };
    if held.is_some() {
        plan.changes.push(Change::Unhold { key: key.clone() });
    }
    let next = MutationId::new(replica.client().clone(), replica.seq() + 1);
    plan.mutations = Some(Range { first: next.clone(), count: 1 });
    if let Choice::Both(new_id) = choice {
        check_key(&key.collection, new_id)?;
        let copy = content(&mine)?;
        let at = Stamp::next(context.now, Some(copy.updated_at()));
        let copy = Record::build(Envelope { id: new_id, updated_at: at, deleted_at: None, rev: None }, &copy.fields()?);
        let copy = referring(replica, &key, new_id, copy)?;
        check_whole(&copy, None)?;
        let copy_key = Key { collection: key.collection, id: new_id.clone() };
        // Theirs stays as it is; what was written for mine the server knows, and lets it follow (R11).
        let m = Mutation { resolves: Some(id.clone()), ..Mutation::new(next, Op::Create, copy_key, copy) };
        plan.ids = vec![new_id.clone()];
        plan.changes.push(Change::Add(m));
        return Ok(plan);
    }
    let at = Stamp::next(context.now, [&mine, &theirs].into_iter().flatten().map(Record::updated_at).max());
    let record = match choice {
        Choice::Mine => {
            // What others counted and added since is no part of the dispute.
            let (mine, types) = (content(&mine)?, replica.rules(&key).types);
            let mine = theirs.as_ref().map_or_else(|| Ok(mine.clone()), |t| merge::preferred(&mine, t, replica.client(), types))?;
            mine.with(at, mine.is_deleted().then_some(at), None)?
        }
        // What is accepted is not a new version; only the conflict's status changes.
        Choice::Theirs | Choice::Both(_) => match &theirs {
            Some(theirs) => theirs.with(theirs.updated_at(), theirs.deleted_at(), None)?,
            None => content(&mine)?.with(at, Some(at), None)?,
        },
        Choice::Patch { set, unset } => {
            let below = theirs.clone().filter(|t| !t.is_deleted()).map_or_else(|| content(&mine), Ok)?;
            match patched(&below, set, unset, at)? {
                Some(record) => record,
                None => below.with(at, None, None)?,
            }
        }
    };
    let op = match (&theirs, record.is_deleted()) {
        (_, true) => Op::Delete,
        (None, false) => Op::Create,
        (Some(t), false) if t.is_deleted() => Op::Undelete,
        _ => Op::Update,
    };
    let (record, changed) = match (&theirs, choice) {
        (Some(t), Choice::Mine) => enqueue::by_field(replica, &key, record, t)?,
        (Some(t), Choice::Patch { .. }) => enqueue::stamped(replica, &key, record, t)?,
        _ => (record, Vec::new()),
    };
    if let Choice::Patch { .. } = choice {
        check_whole(&record, theirs.as_ref())?;
    }
    let texts = theirs.as_ref().and_then(|t| merge::seen_texts(t, &record, replica.rules(&key).types));
    let mut m = Mutation::new(next, op, key, record);
    m.base_rev = theirs.as_ref().and_then(Record::rev);
    (m.base, m.changed, m.texts, m.resolves) = (theirs, changed, texts, Some(id.clone()));
    plan.changes.push(Change::Add(m));
    Ok(plan)
}

/// What names itself names its new id.
fn referring(replica: &Replica, key: &Key, id: &str, record: Record) -> Result<Record> {
    let Some(declared) = replica.schema().collection(&key.collection) else { return Ok(record) };
    Ok(refer(&record, &declared.references, key, id)?.unwrap_or(record))
}

fn content(mine: &Option<Record>) -> Result<Record> {
    mine.clone().ok_or_else(|| Error::new(Code::NotFound, "this conflict has no version of mine"))
}
