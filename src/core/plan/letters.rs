//! Dead letters and queued mutations the user takes in hand (R15, rule *dlorder*).

use super::depends::{self, Siblings};
use super::{Context, Plan, check_room, enqueue, first, hidden_state, own_fields};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Change, Range};
use crate::core::merge;
use crate::core::mutation::{Mutation, MutationId, Op, add_pointers, add_texts};
use crate::core::record::{Envelope, Fields, Record, check, check_whole};
use crate::core::replica::{DeadLetter, Replica};
use crate::core::schema::Policy;
use crate::core::stamp::Stamp;

fn letter<'r>(replica: &'r Replica, id: &MutationId) -> Result<&'r DeadLetter> {
    replica.dead_letter(id).ok_or_else(|| Error::new(Code::NotFound, format!("no dead letter '{id}'")))
}

/// What waited for a refused mutation waits for this one; the letter ends.
pub(super) fn retried(replica: &Replica, dead: &MutationId, now: &MutationId) -> Vec<Change> {
    let waited_for = replica.queue().any(|m| m.depends_on.contains(dead));
    let redepend = waited_for.then(|| Change::Redepend { from: dead.clone(), to: Some(now.clone()) });
    redepend.into_iter().chain([Change::Undead { id: dead.clone() }]).collect()
}

/// Whether what waits was made on the refused version; else it was saved whole by somebody who had not seen that.
pub(super) fn is_below(replica: &Replica, dead: &MutationId, waiting: &Mutation) -> bool {
    let below = |m: &&Mutation| m.on.as_ref().and_then(|on| replica.pending(on));
    std::iter::successors(Some(waiting), below)
        .take(replica.pending_of(&waiting.key).count())
        .any(|m| m.on.as_ref() == Some(dead) || m.retry_of.as_ref() == Some(dead))
}

/// A refused mutation that nobody retries: what waited for it waits no longer.
pub(super) fn gone(replica: &Replica, dead: &MutationId) -> Vec<Change> {
    let waited_for = replica.queue().any(|m| m.depends_on.contains(dead));
    let redepend = waited_for.then(|| Change::Redepend { from: dead.clone(), to: None });
    redepend.into_iter().chain([Change::Undead { id: dead.clone() }]).collect()
}

/// A retry is a new mutation with a new id; without an edit it keeps its stamp. A refused group is retried whole. A
/// refused update joins the edit that waits on top of it.
pub(super) fn retry(replica: &Replica, id: &MutationId, edited: Option<&str>, context: &Context) -> Result<Plan> {
    let old = &letter(replica, id)?.mutation;
    let mut plan = Plan { ids: vec![old.key.id.clone()], ..Plan::default() };
    if let Some(waiting) = replica.pending_of(&old.key).next_back() {
        let Some(text) = edited else { return join(replica, old, waiting, context, plan) };
        check(text)?;
        let view = &waiting.record;
        let record = rebuilt(old, text, Stamp::next(context.now, Some(view.updated_at())))?;
        let types = replica.rules(&old.key).types;
        let mut record = merge::types_onto(view, record, &hidden_state(old.record.text())?.unwrap_or_default(), types)?;
        if replica.policy(&old.key) == Policy::Fields {
            // What it lacks was not removed (seed 16614).
            record = enqueue::on_top(Some(&old.record), &record, view)?;
        }
        let replaces = !record.same_content(view);
        let mut plan = enqueue::enqueue(replica, Op::Update, &old.key, record, view, context)?;
        if replaces {
            // Whoever edits what was refused has not seen what waits on top of it (seed 15372).
            plan.changes.push(enqueue::replaced(replica, &old.key, view, context)?);
        }
        return Ok(plan);
    }
    let group = |l: &&DeadLetter| old.group.is_some() && l.mutation.group == old.group;
    let together: Vec<&Mutation> = replica.dead_letters().filter(|l| l.mutation.id == *id || group(l)).map(|l| &l.mutation).collect();
    check_room(replica, together.len(), context)?;
    for (dead, n) in together.into_iter().zip(1u64..) {
        let new = MutationId::new(replica.client().clone(), replica.seq() + n);
        let (record, changed, texts) = match edited.filter(|_| dead.id == *id) {
            None => (dead.record.clone(), dead.changed.clone(), dead.texts.clone()),
            Some(text) => {
                let (record, mut changed) = edit(replica, dead, text, context)?;
                add_pointers(&mut changed, &dead.changed);
                let mut texts = dead.texts.clone();
                add_texts(&mut texts, merge::seen_texts(&dead.record, &record, replica.rules(&dead.key).types));
                (record, changed, texts)
            }
        };
        // What was written since and names this record waits for it already.
        let waiting = replica.dependents(&dead.id);
        let mut depends_on = dead.depends_on.clone();
        depends_on.extend(depends::derived(replica, &dead.key, &record, context, &Siblings::new()));
        depends_on.retain(|d| !waiting.contains(d));
        depends_on.sort_unstable();
        depends_on.dedup();
        if dead.id == *id {
            plan.mutations = Some(Range { first: new.clone(), count: 1 });
        }
        plan.changes.extend(retried(replica, &dead.id, &new));
        let mut m = Mutation {
            id: new,
            record,
            changed,
            texts,
            depends_on,
            attempted: false,
            sent: None,
            on: None,
            retry_of: Some(dead.id.clone()),
            ..dead.clone()
        };
        m.raw = replica.raw_after(dead, &m);
        m.stamped = !m.raw;
        plan.changes.push(Change::Add(m));
    }
    Ok(plan)
}

/// The edit that waits on top of a refused one has its content, but a field merge takes only what it says it changed: that
/// is added, or where it was sent already a mutation of its own follows.
fn join(replica: &Replica, dead: &Mutation, waiting: &Mutation, context: &Context, mut plan: Plan) -> Result<Plan> {
    let mut changed = waiting.changed.clone();
    add_pointers(&mut changed, &dead.changed);
    let added = changed.len() > waiting.changed.len();
    let now = if added && waiting.attempted {
        check_room(replica, 1, context)?;
        let id = MutationId::new(replica.client().clone(), replica.seq() + 1);
        let mut m = Mutation::new(id.clone(), Op::Update, dead.key.clone(), waiting.record.clone());
        (m.base_rev, m.base, m.on) = (waiting.base_rev, waiting.base.clone(), Some(waiting.id.clone()));
        (m.changed, m.texts, m.retry_of) = (dead.changed.clone(), dead.texts.clone(), Some(dead.id.clone()));
        plan.changes.push(Change::Add(m));
        id
    } else {
        if added {
            let mut texts = dead.texts.clone();
            add_texts(&mut texts, waiting.texts.clone());
            plan.changes.push(Change::Swap(Mutation { changed, texts, ..waiting.clone() }));
        }
        waiting.id.clone()
    };
    plan.changes.extend(retried(replica, &dead.id, &now));
    if !is_below(replica, &dead.id, waiting) {
        plan.changes.push(enqueue::replaced(replica, &dead.key, &dead.record, context)?);
    }
    plan.mutations = Some(Range { first: now, count: 1 });
    Ok(plan)
}

/// New content of a refused version; it can itself refuse.
fn edit(replica: &Replica, dead: &Mutation, text: &str, context: &Context) -> Result<(Record, Vec<String>)> {
    let at = Stamp::next(context.now, Some(dead.record.updated_at()));
    if dead.op == Op::Create {
        // What was counted on it before it was refused is not where counting begins.
        let record = first(replica, &dead.key, text, at)?;
        let record = merge::written(&dead.record, &record, replica.client(), replica.rules(&dead.key).types)?;
        check_whole(&record, None)?;
        return Ok((record, Vec::new()));
    }
    check(text)?;
    let below = dead.base.as_ref().unwrap_or(&dead.record);
    let (record, changed) = enqueue::stamped(replica, &dead.key, rebuilt(dead, text, at)?, below)?;
    check_whole(&record, Some(below))?;
    Ok((record, changed))
}

fn rebuilt(dead: &Mutation, text: &str, at: Stamp) -> Result<Record> {
    let deleted_at = (dead.op == Op::Delete).then_some(at);
    Ok(Record::build(Envelope { id: &dead.key.id, updated_at: at, deleted_at, rev: None }, &own_fields(Fields::split(text)?)))
}

/// Lets go of a dead letter: the view is confirmed ⊕ what remains. With `cascade` what waits for it goes too, else it goes on
/// without it.
pub(super) fn discard(replica: &Replica, id: &MutationId, cascade: bool) -> Result<Plan> {
    let dead = letter(replica, id)?;
    let mut plan = Plan { ids: vec![dead.mutation.key.id.clone()], ..Plan::default() };
    if cascade {
        let waiting = replica.dependents(id).into_iter().map(|id| Change::Drop { id, discarded: true });
        plan.changes.extend(waiting);
        plan.changes.push(Change::Undead { id: id.clone() });
    } else {
        plan.changes = gone(replica, id);
    }
    Ok(plan)
}

/// Takes a mutation back that was never sent: with a create what was written on the record since, with a member its group.
pub(super) fn discard_queued(replica: &Replica, id: &MutationId) -> Result<Plan> {
    let m = replica.pending(id).ok_or_else(|| Error::new(Code::NotFound, format!("no queued mutation '{id}'")))?;
    let mut going: Vec<&Mutation> = vec![m];
    if m.group.is_some() {
        going = replica.queue().filter(|other| other.group == m.group).collect();
    }
    let later: Vec<&Mutation> = going.iter().filter(|m| m.op == Op::Create).flat_map(|m| replica.pending_of(&m.key)).collect();
    going.extend(later.into_iter().filter(|l| !going.iter().any(|m| m.id == l.id)).collect::<Vec<_>>());
    if going.iter().any(|m| m.attempted) {
        return Err(Error::new(Code::Blocked, "this mutation may have been sent; whether it took effect is not known yet"));
    }
    let stays = |id: &MutationId| !going.iter().any(|m| m.id == *id);
    let needs = |other: &&Mutation| stays(&other.id) && other.depends_on.iter().any(|d| !stays(d));
    if let Some(child) = replica.queue().find(needs) {
        return Err(Error::new(Code::Blocked, format!("{} waits for it (mutation '{}'); discard that first", child.key, child.id)));
    }
    let changes = going.iter().map(|m| Change::Drop { id: m.id.clone(), discarded: true }).collect();
    Ok(Plan { ids: vec![m.key.id.clone()], changes, ..Plan::default() })
}
