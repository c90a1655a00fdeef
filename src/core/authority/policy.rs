//! The verdict on one mutation against the stored row.
//!
//! Lives here: who wins, what is archived, what a person decides. Not here: receipts, order, groups (`work`),
//! writing (`work`), how fields merge (`merge`).

use crate::core::authority::incoming::Incoming;
use crate::core::conflict::{Kind, Status, Winner};
use crate::core::error::{Code, Error, Result};
use crate::core::merge::{Patch, changed_pointers, is_plain, join_types, join_types_back, merge_patch, rest, same_types, spared, written};
use crate::core::mutation::Op;
use crate::core::protocol::Outcome;
use crate::core::record::Record;
use crate::core::schema::{Policy, Rules};

/// Which of the two versions an archive entry is named after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loser {
    Mine,
    Theirs,
}

/// An entry for `_conflictArchive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) winner: Winner,
    pub(super) loser: Loser,
    pub(super) status: Status,
    pub(super) paths: Vec<String>,
}

/// What becomes of a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// The version to store; its `_rev` is still to be given.
    pub(super) put: Option<Record>,
    pub(super) archive: Option<Entry>,
    pub(super) error: Option<Error>,
    /// Bytes of texts that were compared for it.
    pub(super) compared: usize,
}

impl Verdict {
    pub(super) fn plain(outcome: Outcome) -> Self {
        Self { outcome, put: None, archive: None, error: None, compared: 0 }
    }

    fn put(outcome: Outcome, record: Record, archive: Option<Entry>) -> Self {
        Self { put: Some(record), archive, ..Self::plain(outcome) }
    }

    /// Whether nobody has to decide first, nor its author to try again.
    fn lets_join(&self) -> bool {
        match self.outcome {
            Outcome::Applied | Outcome::Merged | Outcome::Superseded => true,
            Outcome::Conflict => self.archive.as_ref().is_some_and(|e| e.status == Status::Automatic && e.winner == Winner::Theirs),
            _ => false,
        }
    }
}

/// Judges `rec` (the version `m` carries, clamped) against the row of the same record.
///
/// Typed fields are joined first, whatever the policy: what is judged then are two versions that agree on them, and each
/// of the two is stored with what the other one counted, added or wrote. A text that the author of `rec` says he left alone
/// stays as it is: an older one he did not write is no version of his. Who says nothing (a simple client) wrote all of it.
pub(super) fn decide(rules: Rules<'_>, m: &Incoming, rec: &Record, row: Option<&Record>) -> Result<Verdict> {
    let Some(stored) = row.filter(|row| !rules.types.is_empty() && !rec.is_deleted() && !row.is_deleted()) else {
        return judge(rules, m, rec, row);
    };
    let current = m.base_rev.is_some() && m.base_rev == stored.rev();
    // An import adds nothing to what is there, and who knows nothing of counters and sets, and saw a row that knows nothing of them
    // either, says all there is to say.
    if m.imported && !current || current && is_plain(rec) && is_plain(stored) {
        return judge(rules, m, rec, row);
    }
    // Somebody who knows nothing of counters and sets changed what he saw; where that was another version, the two join.
    let saw = m.base_rev.is_none() || current;
    let plain = saw && is_plain(rec) && !is_plain(stored) && m.op != Op::Create;
    let by = m.by.as_deref().unwrap_or_default();
    let rec = spared(rec, stored, |pointer| m.left_alone(pointer), rules.types)?;
    let rec = if plain { written(stored, &rec, by, rules.types)? } else { rec };
    let later = rest(&rec, rules.types)?.order(&rest(stored, rules.types)?).is_gt();
    let mine = join_types(&rec, stored, later, m.was.as_ref(), rules.types)?;
    let theirs = join_types_back(stored, &rec, &mine, (!later, m.was.as_ref()), rules.types)?;
    let compared = mine.compared();
    let (rec, own) = (mine.record, !mine.own.is_empty());
    let lost: Vec<String> = mine.own.into_iter().chain(mine.lost).collect();
    let moved = theirs.record.text() != stored.text();
    let row = if moved { theirs.record.with(stored.updated_at(), None, stored.rev())? } else { stored.clone() };
    let mut verdict = Verdict { compared, ..judge(rules, m, &rec, Some(&row))? };
    if !verdict.lets_join() {
        return Ok(verdict);
    }
    if moved && verdict.put.is_none() {
        // The rest of it is nothing new, or lost; what it counted, added or wrote is not (R19).
        let lost = verdict.outcome != Outcome::Applied;
        let at = if lost { row.updated_at() } else { row.updated_at().max(rec.updated_at()) };
        (verdict.put, verdict.outcome) = (Some(row.with(at, None, None)?), if lost { Outcome::Merged } else { Outcome::Applied });
    }
    if verdict.outcome == Outcome::Applied && verdict.put.as_ref().is_some_and(|put| !same_types(put, &m.record)) {
        verdict.outcome = Outcome::Merged;
    }
    if !lost.is_empty() && verdict.archive.is_none() {
        let meeting = Meeting { m, rec: &rec, row: &row, current: false, groups: rules.groups };
        verdict.archive = Some(Entry { paths: lost, ..meeting.entry(if own { Winner::Theirs } else { Winner::Mine }, Status::Automatic) });
    }
    Ok(verdict)
}

fn judge(rules: Rules<'_>, m: &Incoming, rec: &Record, row: Option<&Record>) -> Result<Verdict> {
    let Rules { policy, groups, .. } = rules;
    if policy == Policy::AppendOnly && m.op != Op::Create {
        let error = Error::at(Code::AppendOnly, "/op", "rows of this collection are never changed or deleted");
        return Ok(Verdict { error: Some(error), ..Verdict::plain(Outcome::Rejected) });
    }
    let Some(row) = row else { return Ok(missing(m, rec)) };
    let current = m.base_rev.is_some() && m.base_rev == row.rev();
    let equal = if policy == Policy::Fields && !m.imported { rec.same(row) } else { rec.same_content(row) };
    if equal {
        return Ok(Verdict::plain(Outcome::Applied));
    }
    let meeting = Meeting { m, rec, row, current, groups };
    if m.imported && !current {
        return Ok(meeting.superseded());
    }
    if policy == Policy::AppendOnly || m.op == Op::Create && !current && policy != Policy::Fields {
        return Ok(meeting.conflict(Status::Unresolved, Winner::Theirs));
    }
    if rec.is_deleted() && row.is_deleted() {
        return meeting.both_deleted();
    }
    if rec.is_deleted() != row.is_deleted() && !current {
        return Ok(meeting.conflict(Status::Unresolved, Winner::Theirs));
    }
    match policy {
        Policy::Manual | Policy::Fww | Policy::ServerWins | Policy::ClientWins if current => {
            Ok(Verdict::put(Outcome::Applied, rec.clone(), None))
        }
        Policy::Manual => Ok(meeting.conflict(Status::Unresolved, Winner::Theirs)),
        Policy::Fww | Policy::ServerWins => Ok(meeting.conflict(Status::Automatic, Winner::Theirs)),
        // The client pushes again above the row, which then is no concurrent version any more: keep it now.
        Policy::ClientWins => Ok(meeting.conflict(Status::Automatic, Winner::Mine)),
        Policy::Fields if !rec.is_deleted() && !row.is_deleted() && m.op != Op::Undelete => meeting.by_field(),
        Policy::Fields | Policy::Lww | Policy::AppendOnly => Ok(meeting.last_write()),
    }
}

/// Nothing is stored under that id, or no longer (R9).
fn missing(m: &Incoming, rec: &Record) -> Verdict {
    match m.op {
        Op::Create => Verdict::put(Outcome::Applied, rec.clone(), None),
        Op::Delete => Verdict::plain(Outcome::Applied),
        Op::Update | Op::Undelete => Verdict {
            archive: Some(Entry {
                kind: Kind::EditDelete,
                winner: Winner::Theirs,
                loser: Loser::Mine,
                status: Status::Unresolved,
                paths: changed_pointers(None, rec),
            }),
            ..Verdict::plain(Outcome::Conflict)
        },
    }
}

/// Two different versions of one record.
struct Meeting<'a> {
    m: &'a Incoming,
    rec: &'a Record,
    row: &'a Record,
    /// The newcomer was made from exactly this row.
    current: bool,
    groups: &'a [Vec<String>],
}

impl Meeting<'_> {
    fn entry(&self, winner: Winner, status: Status) -> Entry {
        let kind = match (self.rec.is_deleted(), self.row.is_deleted()) {
            (true, false) => Kind::DeleteEdit,
            (false, true) => Kind::EditDelete,
            _ if self.m.op == Op::Create => Kind::CreateCreate,
            _ => Kind::EditEdit,
        };
        let loser = if winner == Winner::Mine { Loser::Theirs } else { Loser::Mine };
        Entry { kind, winner, loser, status, paths: changed_pointers(Some(self.row), self.rec) }
    }

    /// Named after mine, also where mine is to win in the end: nothing else holds it on the server yet.
    fn conflict(&self, status: Status, winner: Winner) -> Verdict {
        let entry = Entry { loser: Loser::Mine, ..self.entry(winner, status) };
        Verdict { archive: Some(entry), ..Verdict::plain(Outcome::Conflict) }
    }

    fn superseded(&self) -> Verdict {
        Verdict { archive: Some(self.entry(Winner::Theirs, Status::Automatic)), ..Verdict::plain(Outcome::Superseded) }
    }

    fn both_deleted(&self) -> Result<Verdict> {
        if self.current && self.rec.order(self.row).is_gt() {
            return Ok(Verdict::put(Outcome::Applied, self.rec.clone(), None));
        }
        // Both wanted the same; what one had edited before is still worth keeping.
        let body = |r: &Record| r.with(r.updated_at(), None, None);
        let alike = self.m.bare || body(self.rec)?.same_content(&body(self.row)?);
        Ok(if alike { Verdict::plain(Outcome::Superseded) } else { self.superseded() })
    }

    fn last_write(&self) -> Verdict {
        if self.rec.order(self.row).is_gt() {
            let over = (!self.current).then(|| self.entry(Winner::Mine, Status::Automatic));
            return Verdict::put(Outcome::Applied, self.rec.clone(), over);
        }
        self.superseded()
    }

    fn by_field(&self) -> Result<Verdict> {
        let diff;
        let changed = match (&self.m.changed, self.m.op) {
            (_, Op::Create) => None,
            (Some(changed), _) => Some(changed.as_slice()),
            // Written whole on top of this very row: what it lacks was removed. On another row: never seen.
            (None, _) if self.current => {
                diff = changed_pointers(Some(self.row), self.rec);
                Some(diff.as_slice())
            }
            (None, _) => None,
        };
        let patch = Patch::of(self.rec, changed, self.groups)?;
        let out = merge_patch(self.row, self.rec, &patch, self.m.was.as_ref(), self.groups)?;
        let whole = self.current && out.record.same_content(self.rec);
        let outcome = if whole { Outcome::Applied } else { Outcome::Merged };
        let loser = if out.lost.is_empty() { Loser::Theirs } else { Loser::Mine };
        let mut paths = out.lost;
        if !self.current {
            paths.extend(out.overwritten);
        }
        paths.sort_unstable();
        paths.dedup();
        let archive = (!paths.is_empty()).then(|| Entry { loser, paths, ..self.entry(Winner::Merged, Status::Automatic) });
        Ok(Verdict { put: (!out.unchanged).then_some(out.record), archive, ..Verdict::plain(outcome) })
    }
}
