//! Groups: mutations applied or refused together.
//!
//! Lives here: what the others get when one member fails. Not here: the verdict on a member (`judge`).

use crate::core::authority::budget::{size, too_large, within};
use crate::core::authority::judge::{Arrival, Mismatches, judge, keep};
use crate::core::authority::stage::Stage;
use crate::core::conflict::{Conflict, Status, Winner};
use crate::core::protocol::{Outcome, WireResult};
use crate::core::record::Record;

fn refused(result: &WireResult) -> bool {
    matches!(result.status, Outcome::Rejected | Outcome::Conflict)
}

fn waits(result: &WireResult) -> bool {
    matches!(result.status, Outcome::Blocked | Outcome::Retry)
}

/// Whether the client sends this member again by itself: under another id, or above the version it met (`client-wins`).
fn comes_again(result: &WireResult) -> bool {
    let entry = || Conflict::from_record(&Record::parse(result.archived.as_ref()?.get()).ok()?).ok();
    match result.status {
        Outcome::Rejected => result.code.as_deref() == Some("mutation-reuse"),
        Outcome::Conflict => entry().is_some_and(|entry| entry.status == Status::Automatic && entry.winner == Winner::Mine),
        _ => false,
    }
}

/// Judges the members of a group, in order. If one is rejected or in conflict, it gets its own verdict and the
/// others are `rejected` (`group-refused`); if one has to wait, all wait. Then none has an effect (R2).
/// `broken`: a member was refused already because its id cannot be read.
/// `weight`: bytes that are looked at for it.
pub(super) fn judge_group(
    stage: &mut Stage<'_>,
    members: &[Arrival<'_>],
    mismatches: &Mismatches,
    (weight, broken): (usize, bool),
) -> Vec<WireResult> {
    let before = stage.clone();
    let results: Vec<WireResult> = members.iter().map(|m| judge(stage, m, mismatches)).collect();
    if weight + results.iter().map(size).sum::<usize>() > stage.snapshot().budget && members.iter().all(|m| before.is_new(&m.id)) {
        take_back(stage, before);
        return members.iter().flat_map(|m| apart(stage, m, mismatches)).collect();
    }
    let for_good = results.iter().find(|r| refused(r) && !comes_again(r)).or_else(|| results.iter().find(|r| refused(r)));
    let culprit = for_good.or_else(|| results.iter().find(|r| waits(r)).filter(|_| !broken));
    let (because, status, again, retry_after_ms) = match culprit {
        Some(c) => (c.id.clone(), c.status, comes_again(c), c.retry_after_ms),
        None if broken => ("a mutation without a usable id".to_owned(), Outcome::Rejected, false, None),
        None => return results,
    };
    take_back(stage, before);
    let mut answers = Vec::with_capacity(results.len());
    for (member, result) in members.iter().zip(results) {
        if result.replayed || !result.status.is_final() || result.status == Outcome::Expired {
            answers.push(result);
            continue;
        }
        if refused(&result) {
            // Again without the others: its conflict is to be kept, nothing that the others did.
            let alone = stage.clone();
            let verdict = judge(stage, member, mismatches);
            if refused(&verdict) {
                answers.push(verdict);
                continue;
            }
            take_back(stage, alone);
        }
        let outcome = if again {
            Outcome::Retry
        } else if status.is_final() {
            Outcome::Rejected
        } else {
            status
        };
        let answer = WireResult {
            code: Some(if outcome == Outcome::Blocked { "blocked" } else { "group-refused" }.to_owned()),
            message: Some(format!("its group did not take effect because of {because}")),
            path: Some("/group".to_owned()),
            retry_after_ms: if outcome == Outcome::Retry { retry_after_ms.or(Some(0)) } else { None },
            ..WireResult::new(&member.wire.id, outcome)
        };
        keep(stage, member, &answer);
        answers.push(answer);
    }
    answers
}

/// Takes back everything that members did; what looking at them took stays.
fn take_back<'s>(stage: &mut Stage<'s>, before: Stage<'s>) {
    let spent = std::mem::take(&mut stage.spent);
    *stage = before;
    stage.spent = spent;
}

/// Judges a member of a group that is too large for any request: it is refused for good, what was answered before is answered again.
pub(super) fn apart(stage: &mut Stage<'_>, member: &Arrival<'_>, mismatches: &Mismatches) -> Vec<WireResult> {
    if !stage.is_new(&member.id) {
        return within(stage, std::slice::from_ref(member), |stage, _| vec![judge(stage, member, mismatches)]);
    }
    let answer = too_large(stage.snapshot().budget, member);
    keep(stage, member, &answer);
    vec![answer]
}
