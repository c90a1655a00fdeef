//! One segment as bytes: a head and a line per record.
//!
//! Not here: which segments there are and when one is written anew (`segments`).

use super::SegmentPlan;
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Change, Entry, Parts, Range, write_lines};
use crate::core::mutation::{Mutation, MutationId, Op};
use crate::core::record::{Key, Record};
use crate::core::text::Text;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Envelope of one stored version: id, stamp, deleted, rev.
pub(super) type Head = (Arc<str>, i64, Option<i64>, Option<u64>);

#[derive(Serialize, Deserialize)]
pub(super) struct RecordsHead {
    pub(super) rows: Vec<(Option<Head>, Option<Head>)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct QueueHead {
    pub(super) places: Vec<(u64, u64)>,
    /// The raw ones ([`Mutation::raw`]) among the plain creates: before the first answer of a server those are all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) raw: Vec<Range>,
    pub(super) entries: Vec<Entry<u32>>,
}

impl SegmentPlan {
    /// Where it is stored.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            SegmentPlan::Records { number, .. } => format!("s{number}"),
            SegmentPlan::Queue { chunk, .. } => format!("q{chunk}"),
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// `invalid-record` when it cannot be written (never for states the fold makes).
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut lines = Vec::new();
        match self {
            SegmentPlan::Records { rows, .. } => {
                let mut head = |r: &Record| {
                    lines.push(r.shared_text());
                    (r.id().clone(), r.updated_at().0, r.deleted_at().map(|d| d.0), r.rev())
                };
                let rows = rows.iter().map(|(c, p)| (c.as_ref().map(&mut head), p.as_ref().map(&mut head))).collect();
                write_all(&RecordsHead { rows }, &lines)
            }
            SegmentPlan::Queue { mutations, .. } => {
                let (places, entries) = queue_entries(mutations);
                let raw = Range::runs(mutations.iter().map(|(_, m)| m).filter(|m| m.raw && plain(m)).map(|m| &m.id));
                let mut numbered = Vec::with_capacity(entries.len());
                for entry in entries {
                    numbered.push(entry.try_map(&mut |r| number(&mut lines, r))?);
                }
                write_all(&QueueHead { places, raw, entries: numbered }, &lines)
            }
        }
    }
}

pub(super) fn number(lines: &mut Vec<Text>, record: &Record) -> Result<u32> {
    lines.push(record.shared_text());
    u32::try_from(lines.len() - 1).map_err(|_| Error::new(Code::TooLarge, "too many records in one segment"))
}

pub(super) fn write_all<T: Serialize>(head: &T, lines: &[Text]) -> Result<Vec<u8>> {
    write_lines(head, lines).map(Parts::into_vec)
}

fn plain(m: &Mutation) -> bool {
    let mut bare = Mutation::new(m.id.clone(), Op::Create, m.key.clone(), m.record.clone());
    (bare.imported, bare.attempted, bare.raw, bare.depends_on) = (m.imported, m.attempted, m.raw, m.depends_on.clone());
    bare == *m
}

fn queue_entries(mutations: &[(u64, Mutation)]) -> (Vec<(u64, u64)>, Vec<Entry>) {
    let mut places: Vec<(u64, u64)> = Vec::new();
    let mut changes: Vec<Change> = Vec::new();
    let mut attempted = Vec::new();
    for (place, m) in mutations {
        let follows = match places.last_mut() {
            Some((first, n)) if *first + *n == *place => {
                *n += 1;
                true
            }
            _ => {
                places.push((*place, 1));
                false
            }
        };
        if m.attempted {
            attempted.push(m.id.clone());
        }
        match changes.last_mut() {
            Some(Change::Creates { collection, first, records, imported, depends_on })
                if follows
                    && plain(m)
                    && *collection == m.key.collection
                    && *imported == m.imported
                    && *depends_on == m.depends_on
                    && first.client == m.id.client
                    && first.seq + records.len() as u64 == m.id.seq =>
            {
                records.push(m.record.clone());
            }
            _ if plain(m) => changes.push(Change::Creates {
                collection: m.key.collection.clone(),
                first: m.id.clone(),
                records: vec![m.record.clone()],
                imported: m.imported,
                depends_on: m.depends_on.clone(),
            }),
            _ => changes.push(Change::Add(Mutation { attempted: false, ..m.clone() })),
        }
    }
    (places, vec![Entry::Write(changes), Entry::Attempt(Range::runs(&attempted))])
}

/// The mutations a stored change stands for.
pub(super) fn queued(change: Change) -> Vec<Mutation> {
    match change {
        Change::Creates { collection, first, records, imported, depends_on } => {
            let one = |(record, n): (Record, u64)| {
                let id = MutationId { client: first.client.clone(), seq: first.seq.saturating_add(n) };
                let key = Key { collection: collection.clone(), id: record.id().clone() };
                Mutation { imported, depends_on: depends_on.clone(), ..Mutation::new(id, Op::Create, key, record) }
            };
            records.into_iter().zip(0..).map(one).collect()
        }
        Change::Add(m) => vec![m],
        _ => Vec::new(),
    }
}
