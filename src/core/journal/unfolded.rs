//! A journal row of nothing but creates, read and not yet folded.
//!
//! Why: an import, or a long day without signal, is thousands of new records in a few rows. To show them, their texts are
//! enough, and those lie in the row one after the other; everything else that folding them makes (the queue, indexes) can
//! come a little later. Lives here: the texts, and the creates in portions. Not here: when they are folded (`engine`).

use super::Change;
use super::row::{Stored, lost};
use crate::core::error::Error;
use crate::core::mutation::MutationId;
use crate::core::record::Record;
use crate::core::text::Text;
use std::collections::VecDeque;
use std::sync::Arc;

/// What the text of a live record that was built here ends with.
const LIVE: &str = "\"_deletedAt\":null}";

/// New records of one row, in order. What was taken is gone.
///
/// ```
/// use homing::core::journal::{Change, Entry, Stored, encode};
/// use homing::core::{mutation::MutationId, record::Record};
/// let at = "2025-01-01T00:00:00.000Z";
/// let record = |id| Record::parse(&format!(r#"{{"id":"{id}","_updatedAt":"{at}","_deletedAt":null}}"#));
/// let creates = Change::Creates {
///     collection: "flocks".into(), first: MutationId::new("c", 1), records: vec![record("a")?, record("b")?], imported: false, depends_on: vec![],
/// };
/// let mut row = Stored::read(encode(&[Entry::Write(vec![creates])])?)?.creates().unwrap();
/// assert_eq!(row.len(), 2);
/// assert!(row.take(1).is_some_and(|piece| piece.is_ok()));
/// assert!(row.lines("flocks").next().unwrap().contains(r#""id":"b""#));
/// # Ok::<(), homing::core::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Unfolded {
    whole: Arc<String>,
    runs: VecDeque<Run>,
    len: usize,
}

/// Creates of one collection with ids in a row.
#[derive(Debug)]
struct Run {
    collection: Arc<str>,
    first: MutationId,
    imported: bool,
    depends_on: Vec<MutationId>,
    /// Where the line of the first one begins.
    from: usize,
    /// Where each line ends.
    ends: VecDeque<usize>,
}

/// A record of a row that cannot be read, and the mutation it belonged to.
#[derive(Debug)]
pub struct Unreadable {
    /// The mutation; its number is used up.
    pub id: MutationId,
    /// Its collection.
    pub collection: Arc<str>,
    /// What was there.
    pub raw: String,
    /// Why it is unreadable.
    pub error: Error,
}

impl Stored {
    /// The row as creates to be folded later, where it holds nothing else and its lines look like new records.
    ///
    /// # Errors
    /// The row itself, where it holds anything else.
    pub fn creates(self) -> Result<Unfolded, Self> {
        match self.runs() {
            Some(runs) => Ok(Unfolded { len: runs.iter().map(|run| run.ends.len()).sum(), whole: self.whole, runs }),
            None => Err(self),
        }
    }

    fn runs(&self) -> Option<VecDeque<Run>> {
        let mut from = self.lines;
        let mut runs = VecDeque::new();
        for change in self.only_changes()? {
            let Change::Creates { collection, first, records, imported, depends_on } = change else { return None };
            let (start, mut ends) = (from, VecDeque::with_capacity(records.len()));
            for end in records {
                let to = self.lines.checked_add(*end as usize)?;
                if !self.whole.get(from..to)?.ends_with(LIVE) || self.whole.as_bytes().get(to).is_some_and(|byte| *byte != b'\n') {
                    return None;
                }
                ends.push_back(to);
                from = to.checked_add(1)?;
            }
            let (collection, first, depends_on) = (collection.clone(), first.clone(), depends_on.clone());
            runs.push_back(Run { collection, first, imported: *imported, depends_on, from: start, ends });
        }
        Some(runs)
    }
}

impl Unfolded {
    /// How many records are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The collections of the records that are left.
    pub fn collections(&self) -> impl Iterator<Item = &Arc<str>> {
        self.runs.iter().map(|run| &run.collection)
    }

    /// The records of a collection that are left, as they are stored: pieces of one line per record.
    pub fn lines<'a>(&'a self, collection: &'a str) -> impl Iterator<Item = &'a str> {
        let of = self.runs.iter().filter(move |run| run.collection.as_ref() == collection);
        of.filter_map(|run| self.whole.get(run.from..*run.ends.back()?))
    }

    /// The next creates, at most so many, or the one that comes next and cannot be read. `None` when nothing is left.
    pub fn take(&mut self, most: usize) -> Option<Result<Change, Unreadable>> {
        while self.runs.front().is_some_and(|run| run.ends.is_empty()) {
            self.runs.pop_front();
        }
        let run = self.runs.front_mut()?;
        let first = run.first.clone();
        let mut records = Vec::with_capacity(run.ends.len().min(most));
        while let Some(to) = run.ends.front().copied().filter(|_| records.len() < most) {
            let read = Text::part(&self.whole, run.from, to).ok_or_else(|| lost("a stored row is cut short")).and_then(Record::parse_built);
            let error = match read {
                Ok(record) => {
                    records.push(record);
                    None
                }
                // Those before it first.
                Err(_) if !records.is_empty() => break,
                Err(error) => Some(error),
            };
            let raw = error.as_ref().map(|_| self.whole.get(run.from..to).unwrap_or_default().to_owned());
            run.ends.pop_front();
            run.from = to + 1;
            run.first.seq = run.first.seq.saturating_add(1);
            self.len -= 1;
            if let (Some(error), Some(raw)) = (error, raw) {
                return Some(Err(Unreadable { id: first, collection: run.collection.clone(), raw, error }));
            }
        }
        let (collection, imported, depends_on) = (run.collection.clone(), run.imported, run.depends_on.clone());
        Some(Ok(Change::Creates { collection, first, records, imported, depends_on }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::journal::{Entry, decode, encode};

    fn record(id: &str, deleted: bool) -> Record {
        let at = "2025-01-01T00:00:00.000Z";
        let deleted = if deleted { format!("\"{at}\"") } else { "null".to_owned() };
        Record::parse(&format!(r#"{{"id":"{id}","t":"ü","_updatedAt":"{at}","_deletedAt":{deleted}}}"#)).unwrap()
    }

    fn creates(collection: &str, first: u64, records: Vec<Record>) -> Change {
        Change::Creates {
            collection: collection.into(),
            first: MutationId::new("c", first),
            records,
            imported: first > 1,
            depends_on: vec![],
        }
    }

    fn row(changes: Vec<Change>) -> Vec<u8> {
        encode(&[Entry::Write(changes)]).unwrap()
    }

    #[test]
    fn portions_of_any_size_are_the_row() {
        let many = |from: u64, n: u64| (from..from + n).map(|n| record(&format!("r{n}"), false)).collect::<Vec<_>>();
        let bytes =
            row(vec![creates("a", 1, many(0, 40)), creates("b", 41, vec![]), creates("b", 41, many(40, 3)), creates("a", 44, many(43, 9))]);
        let Some(Entry::Write(whole)) = decode(bytes.clone()).unwrap().pop() else { panic!() };
        let flat = |changes: Vec<Change>| {
            changes
                .into_iter()
                .flat_map(|change| {
                    let Change::Creates { collection, first, records, imported, .. } = change else { panic!() };
                    records.into_iter().zip(first.seq..).map(move |(r, seq)| (collection.clone(), seq, r, imported)).collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        };
        assert!(Stored::read(bytes.clone()).unwrap().creates().is_ok_and(|row| !row.is_empty()));
        for most in [1, 7, 1000] {
            let mut row = Stored::read(bytes.clone()).unwrap().creates().unwrap();
            let count = |row: &Unfolded, of: &str| {
                row.lines(of).flat_map(|piece| piece.split('\n')).filter(|line| Record::parse(line).is_ok()).count()
            };
            assert_eq!((row.len(), count(&row, "a"), count(&row, "b"), count(&row, "c")), (52, 49, 3, 0));
            let mut pieces = Vec::new();
            while let Some(piece) = row.take(most) {
                pieces.push(piece.unwrap());
                assert_eq!(row.len(), count(&row, "a") + count(&row, "b"));
            }
            assert!(row.is_empty());
            assert_eq!(flat(pieces), flat(whole.clone()), "{most}");
        }
    }

    #[test]
    fn what_is_more_than_new_live_records_is_folded_at_once() {
        let other = vec![creates("a", 1, vec![record("x", false)]), Change::Drop { id: MutationId::new("c", 9), discarded: false }];
        for changes in [other, vec![creates("a", 1, vec![record("x", true)])]] {
            let bytes = row(changes);
            let stored = Stored::read(bytes.clone()).unwrap().creates().unwrap_err();
            assert_eq!(stored.entries().unwrap(), decode(bytes).unwrap());
        }
        assert!(Stored::read(encode(&[Entry::Forget]).unwrap()).unwrap().creates().is_err());
    }

    #[test]
    fn an_unreadable_record_costs_itself_only() {
        let good = record("a", false).text().to_string();
        let bad = format!("{{\"id\":\"b\",nonsense,{LIVE}");
        let head = format!(
            r#"[{{"write":[{{"creates":{{"c":"x","f":"c:7","r":[{},{},{}]}}}}]}}]"#,
            good.len(),
            good.len() + bad.len() + 1,
            2 * good.len() + bad.len() + 2
        );
        let mut row = Stored::read(format!("{head}\n{good}\n{bad}\n{good}").into_bytes()).unwrap().creates().unwrap();
        let seqs = std::iter::from_fn(|| row.take(10)).map(|piece| match piece {
            Ok(Change::Creates { first, records, .. }) => (first.seq, records.len()),
            Ok(_) => panic!(),
            Err(unreadable) => {
                assert_eq!((unreadable.raw.as_str(), unreadable.collection.as_ref()), (bad.as_str(), "x"));
                (unreadable.id.seq, 0)
            }
        });
        assert_eq!(seqs.collect::<Vec<_>>(), [(7, 1), (8, 0), (9, 1)]);
    }
}
