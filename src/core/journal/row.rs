//! The bytes of a journal row: a JSON head line, then the records, one line each. Not here: what entries are (`journal`).

use super::{Change, Entry, Parts};
use crate::core::error::{Code, Error, Result};
use crate::core::record::Record;
use crate::core::text::{SHARED_FROM, Text};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The bytes of one journal row holding these entries: a JSON head line, then one line per record. The head names each
/// record by where its line ends, in the order of the lines, so that nobody has to look for the ends.
///
/// # Errors
/// `invalid-record` when an entry cannot be written (never for entries the engine makes).
pub fn encode(entries: &[Entry]) -> Result<Vec<u8>> {
    encode_parts(entries).map(Parts::into_vec)
}

/// [`encode`] without a copy of what is large.
///
/// # Errors
/// The same.
pub fn encode_parts(entries: &[Entry]) -> Result<Parts> {
    let mut lines = Lines::default();
    let numbered: Vec<Entry<u32>> = entries.iter().map(|entry| entry.try_map(&mut |r| lines.add(r))).collect::<Result<_>>()?;
    write_lines(&numbered, &lines.texts)
}

/// [`encode_parts`] of local writes, one entry each.
///
/// # Errors
/// The same.
pub fn encode_writes<'c>(writes: impl Iterator<Item = &'c [Change]>) -> Result<Parts> {
    let mut lines = Lines::default();
    let numbered: Vec<Entry<u32>> = writes.map(|changes| Entry::write(changes, &mut |r| lines.add(r))).collect::<Result<_>>()?;
    write_lines(&numbered, &lines.texts)
}

/// The records of a row, and where the last line ends.
#[derive(Default)]
struct Lines {
    texts: Vec<Text>,
    end: usize,
}

impl Lines {
    /// Adds a line; where it ends.
    fn add(&mut self, record: &Record) -> Result<u32> {
        self.end += record.text().len() + usize::from(!self.texts.is_empty());
        self.texts.push(record.shared_text());
        u32::try_from(self.end).map_err(|_| Error::new(Code::TooLarge, "one commit holds at most 4 GiB"))
    }
}

/// A JSON head line followed by record lines.
pub(crate) fn write_lines<T: Serialize>(head: &T, lines: &[Text]) -> Result<Parts> {
    let head = serde_json::to_vec(head).map_err(|e| Error::new(Code::InvalidRecord, e.to_string()))?;
    Ok(Parts::new(head, lines))
}

/// The head line of a row or segment, and where the lines begin.
fn read_head<T: for<'a> Deserialize<'a>>(text: &str) -> Result<(T, usize)> {
    let (head, _) = text.split_once('\n').unwrap_or((text, ""));
    Ok((serde_json::from_str(head).map_err(|e| lost(format!("a stored row is unreadable: {e}")))?, (head.len() + 1).min(text.len())))
}

pub(super) fn lost(why: impl Into<String>) -> Error {
    Error::new(Code::StorageLost, why.into())
}

/// The head line and the record lines of a segment.
pub(crate) fn read_lines<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<(T, Vec<&str>)> {
    let text = std::str::from_utf8(bytes).map_err(|e| lost(format!("a stored row is not UTF-8: {e}")))?;
    let (head, from) = read_head(text)?;
    let lines = text.get(from..).unwrap_or_default();
    Ok((head, if lines.is_empty() { Vec::new() } else { lines.split('\n').collect() }))
}

/// The entries of one journal row.
///
/// # Errors
/// `storage-lost` when the bytes are not a row.
pub fn decode(bytes: Vec<u8>) -> Result<Vec<Entry>> {
    Stored::read(bytes)?.entries()
}

/// A journal row whose head was read; its records were not.
#[derive(Debug)]
pub struct Stored {
    pub(super) whole: Arc<String>,
    entries: Vec<Entry<u32>>,
    /// Where the lines begin.
    pub(super) lines: usize,
}

impl Stored {
    /// Reads the head.
    ///
    /// # Errors
    /// `storage-lost` when the bytes are not a row.
    pub fn read(bytes: Vec<u8>) -> Result<Self> {
        let text = String::from_utf8(bytes).map_err(|e| lost(format!("a stored row is not UTF-8: {e}")))?;
        let (entries, lines) = read_head(&text)?;
        Ok(Self { whole: Arc::new(text), entries, lines })
    }

    /// The changes of a row of local writes alone.
    pub(super) fn only_changes(&self) -> Option<Vec<&Change<u32>>> {
        let changes = self.entries.iter().map(|entry| if let Entry::Write(changes) = entry { Some(changes) } else { None });
        Some(changes.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Reads the records, too.
    ///
    /// # Errors
    /// `storage-lost` when one of them is unreadable.
    pub fn entries(self) -> Result<Vec<Entry>> {
        let Self { whole, entries, lines } = self;
        let shared = records_of(&entries) >= SHARED_FROM;
        let mut from = lines;
        // Lines follow each other: whatever the head says, none is read twice or left out.
        let mut next = |to: u32| -> Result<Text> {
            let (start, to) = (from, lines.saturating_add(to as usize));
            from = to.saturating_add(1);
            let line = Text::part(&whole, start, to).filter(|_| whole.as_bytes().get(to).is_none_or(|byte| *byte == b'\n'));
            let line = line.ok_or_else(|| lost("a stored row is cut short"))?;
            Ok(if shared { line } else { Text::from(&*line) })
        };
        let unreadable = |e: Error| lost(format!("a stored record is unreadable: {e}"));
        let one = |entry: &Entry<u32>| match entry.is_only_creates() {
            true => entry.try_map(&mut |to| Record::parse_built(next(*to)?).map_err(unreadable)),
            false => entry.try_map(&mut |to| Record::parse_own(next(*to)?).map_err(unreadable)),
        };
        entries.iter().map(one).collect()
    }
}

fn records_of(entries: &[Entry<u32>]) -> usize {
    let changes = entries.iter().map(|entry| match entry {
        Entry::Write(changes) => changes.iter().map(|c| if let Change::Creates { records, .. } = c { records.len() } else { 1 }).sum(),
        Entry::Response(r) => r.changes.iter().map(|page| page.rows.len()).sum::<usize>() + r.results.len(),
        _ => 0,
    });
    changes.sum()
}

impl<R> Entry<R> {
    /// Every record in it was built here.
    fn is_only_creates(&self) -> bool {
        matches!(self, Entry::Write(changes) if changes.iter().all(|change| matches!(change, Change::Creates { .. })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::journal::{FORMAT, Page, Range, Response, Settled};
    use crate::core::mutation::Op;
    use crate::core::mutation::{Mutation, MutationId};
    use crate::core::protocol::Outcome;
    use crate::core::record::Key;
    use crate::core::stamp::Stamp;

    fn record(id: &str, n: i64) -> Record {
        Record::parse(&format!(r#"{{"id":"{id}","n":{n},"t":"a\nb ü","_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null}}"#))
            .unwrap()
    }

    #[test]
    fn rows_round_trip_and_write_bodies_once() {
        let id = |n| MutationId::new("c", n);
        let mut update = Mutation::new(id(3), Op::Update, Key::new("x", "a"), record("a", 77));
        update.base = Some(record("a", 1));
        update.base_rev = Some(9);
        let entries = vec![
            Entry::Open { client: "c".into(), format: FORMAT },
            Entry::Write(vec![
                Change::Creates {
                    collection: "x".into(),
                    first: id(1),
                    records: vec![record("a", 1), record("b", 1)],
                    imported: false,
                    depends_on: vec![id(9)],
                },
                Change::Redepend { from: id(9), to: None },
                Change::Add(update),
                Change::Drop { id: id(2), discarded: false },
            ]),
            Entry::Attempt(Range::runs([&id(1), &id(2), &id(4)])),
            Entry::Response(Box::new(Response {
                asked: None,
                cursor: "c1.3..e".into(),
                epoch: "e".into(),
                scope: "s".into(),
                rev: 3,
                has_more: true,
                reset: false,
                offset: Some(-4),
                at: Stamp(5),
                changes: vec![Page { collection: "x".into(), rows: vec![record("b", 4)] }],
                quarantined: vec![],
                results: vec![Settled { rev: Some(3), ..Settled::new(id(1), Outcome::Applied) }],
            })),
        ];
        let bytes = encode(&entries).unwrap();
        assert_eq!(decode(bytes.clone()).unwrap(), entries);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches(r#""n":77"#).count(), 1);
    }

    #[test]
    fn records_of_a_large_row_share_it_and_those_of_a_small_one_do_not() {
        for count in [1, SHARED_FROM - 1, SHARED_FROM, 3 * SHARED_FROM] {
            let records: Vec<Record> = (0..count).map(|n| record(&format!("é{n}"), n as i64)).collect();
            let first = MutationId::new("c", 1);
            let creates = Change::Creates { collection: "x".into(), first, records, imported: false, depends_on: Vec::new() };
            let entries = vec![Entry::Write(vec![creates]), Entry::Forget];
            assert_eq!(decode(encode(&entries).unwrap()).unwrap(), entries, "{count}");
        }
    }

    #[test]
    fn a_head_that_lies_about_the_lines_is_unreadable() {
        let row = |ends: &str, lines: &str| {
            let head = format!(r#"[{{"write":[{{"creates":{{"c":"x","f":"c:1","r":{ends}}}}}]}}]"#);
            decode(format!("{head}\n{lines}").into_bytes()).map(|entries| entries.len())
        };
        let line = |id: &str| format!(r#"{{"id":"{id}","_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null}}"#);
        let (a, both) = (line("a").len(), format!("{}\n{}", line("a"), line("b")));
        assert_eq!(row(&format!("[{a},{}]", 2 * a + 1), &both).unwrap(), 1);
        for ends in ["[0]".into(), format!("[{}]", a - 1), format!("[{a},{a}]"), format!("[{a},{}]", 2 * a + 2), format!("[{}]", u32::MAX)]
        {
            assert_eq!(row(&ends, &both).unwrap_err().code, Code::StorageLost, "{ends}");
        }
    }

    #[test]
    fn unreadable_rows_are_typed_errors() {
        for bytes in [
            &b"\xff\xfe"[..],
            b"",
            b"{}",
            b"[{\"write\":[{\"local\":{\"collection\":\"x\",\"record\":0}}]}]",
            b"[{\"write\":[{\"local\":{\"collection\":\"x\",\"record\":0}}]}]\nnonsense",
        ] {
            assert_eq!(decode(bytes.to_vec()).unwrap_err().code, Code::StorageLost);
        }
    }
}
