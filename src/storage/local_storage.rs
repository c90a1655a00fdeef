//! The journal in `localStorage`: where a browser has no IndexedDB for us (forbidden, broken). A few megabytes, and every call is
//! done when it returns.
//!
//! Lives here: rows and segments as texts, one item each. A commit is one item: the row of an append, the marks of a
//! compaction. Not here: choosing this store, and which tab may write to it (`web`, `src/js/opening.ts`): `localStorage` knows
//! no transactions, so that one tab writes and others read.

use super::memory::{closed, outside};
use super::{Appended, Compacted, Compaction, Head, Journal, Loaded, Row, Segments, Tail, UNREADABLE};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::Parts;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{DomException, Storage};

#[wasm_bindgen]
extern "C" {
    /// Reading it throws where storage is forbidden; workers have none.
    #[wasm_bindgen(thread_local_v2, js_name = globalThis)]
    static GLOBAL: Scope;
    type Scope;
    #[wasm_bindgen(method, getter, catch, js_name = localStorage)]
    fn local_storage(this: &Scope) -> Result<Option<Storage>, JsValue>;
}

/// The newest format this code can read.
const FORMAT: u32 = 1;

/// What a compaction commits by writing it.
#[derive(Clone, Serialize, Deserialize)]
struct Marks {
    format: u32,
    /// Which life of this database it is.
    incarnation: String,
    /// Every row up to here is folded into the segments.
    compacted: Head,
    /// Segment → the compaction that wrote it; the item is named by both, so that none is ever changed.
    segments: std::collections::BTreeMap<String, Head>,
}

/// A journal kept in items of `localStorage` whose keys begin with the name of the database.
///
/// Errors of `open`: `storage-unavailable` (there is no `localStorage` here), `storage-full`, `format-too-new`.
#[derive(Debug)]
pub struct LocalStorageJournal {
    items: Storage,
    name: String,
    incarnation: String,
    closed: Cell<bool>,
    /// Another tab writes: this one reads.
    reader: Cell<bool>,
}

impl LocalStorageJournal {
    /// Opens the database `name`, creating it where there is none.
    ///
    /// # Errors
    /// As above.
    pub fn open(name: &str) -> Result<Self> {
        let items = items()?;
        let marks = match marks(&items, name)? {
            Some(marks) => marks,
            None => {
                let incarnation = uuid::Uuid::new_v4().to_string();
                let marks = Marks { format: FORMAT, incarnation, compacted: 0, segments: std::collections::BTreeMap::new() };
                write(&items, &marks_key(name), &text(&marks))?;
                marks
            }
        };
        Ok(Self { items, name: name.to_owned(), incarnation: marks.incarnation, closed: Cell::new(false), reader: Cell::new(false) })
    }

    /// The same database in another life: whoever has it open finds it lost, and says so, instead of writing what nobody reads again.
    ///
    /// # Errors
    /// Those of `open`; `storage-lost` where somebody else has done this, or deleted it.
    pub fn claimed(self) -> Result<Self> {
        let marks = Marks { incarnation: uuid::Uuid::new_v4().to_string(), ..self.check()? };
        write(&self.items, &marks_key(&self.name), &text(&marks))?;
        Ok(Self { incarnation: marks.incarnation, ..self })
    }

    /// Whether it is gone, or somebody else's now.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.check().is_err_and(|error| error.code == Code::StorageLost)
    }

    /// Whether there is a database `name`.
    #[must_use]
    pub fn exists(name: &str) -> bool {
        items().is_ok_and(|items| items.get_item(&marks_key(name)).is_ok_and(|marks| marks.is_some()))
    }

    /// The name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this tab may write; another one does, where it may not.
    pub fn set_writer(&self, yes: bool) {
        self.reader.set(!yes);
    }

    fn check(&self) -> Result<Marks> {
        if self.closed.get() {
            return Err(closed());
        }
        match marks(&self.items, &self.name)? {
            Some(marks) if marks.incarnation == self.incarnation => Ok(marks),
            _ => Err(Error::new(Code::StorageLost, "the database was deleted from localStorage")),
        }
    }

    fn check_writer(&self) -> Result<Marks> {
        let marks = self.check()?;
        match self.reader.get() {
            true => Err(Error::new(Code::Blocked, "another tab writes; without IndexedDB only one can")),
            false => Ok(marks),
        }
    }

    fn row_key(&self, key: Head) -> String {
        format!("{}|j{key}", self.name)
    }

    fn segment_key(&self, name: &str, written: Head) -> String {
        format!("{}|s{written}:{name}", self.name)
    }

    fn index_key(&self, compacted: Head) -> String {
        format!("{}|i{compacted}", self.name)
    }

    fn read(&self, key: &str) -> Option<Vec<u8>> {
        self.items.get_item(key).ok().flatten().map(|text| decode(&text))
    }

    /// The rows after `after`. They have no gaps: each was appended on the one before it.
    fn rows(&self, after: Head) -> Vec<Row> {
        (after + 1..).map_while(|key| Some(Row { key, bytes: self.read(&self.row_key(key))? })).collect()
    }

    fn holds(&self, marks: &Marks, head: Head) -> bool {
        let there = |key: Head| self.items.get_item(&self.row_key(key)).is_ok_and(|row| row.is_some());
        (head == marks.compacted || head > marks.compacted && there(head)) && !there(head + 1)
    }

    fn remove(&self, key: &str) {
        // Throws only where reading does.
        let _ = self.items.remove_item(key);
    }

    fn compact_now(&self, step: Compaction) -> Result<Compacted> {
        let mut marks = self.check_writer()?;
        if marks.compacted != step.expected {
            return Ok(Compacted::Stale);
        }
        if step.through <= marks.compacted || self.read(&self.row_key(step.through)).is_none() {
            return Err(outside(step.through));
        }
        let before = marks.clone();
        let mut written = Vec::new();
        let outcome = self.write_step(&step, &mut marks, &mut written);
        if let Err(error) = outcome {
            written.iter().for_each(|key| self.remove(key));
            return Err(error);
        }
        // It is done. What is removed from here on is in nobody's way if that is cut short, and is gone with the next database.
        (before.compacted + 1..=step.through).for_each(|key| self.remove(&self.row_key(key)));
        self.remove(&self.index_key(before.compacted));
        for (name, at) in before.segments.iter().filter(|(name, at)| marks.segments.get(*name) != Some(at)) {
            self.remove(&self.segment_key(name, *at));
        }
        Ok(Compacted::Done)
    }

    fn write_step(&self, step: &Compaction, marks: &mut Marks, written: &mut Vec<String>) -> Result<()> {
        let mut put = |key: String, bytes: &[u8]| {
            written.push(key.clone());
            write(&self.items, &key, &encode(bytes))
        };
        for name in &step.delete {
            marks.segments.remove(name);
        }
        for (name, bytes) in &step.put {
            put(self.segment_key(name, step.through), bytes)?;
            marks.segments.insert(name.clone(), step.through);
        }
        put(self.index_key(step.through), &step.index)?;
        marks.compacted = step.through;
        write(&self.items, &marks_key(&self.name), &text(marks))
    }
}

impl Journal for LocalStorageJournal {
    async fn load(&self) -> Result<Loaded> {
        let marks = self.check()?;
        let index = self.read(&self.index_key(marks.compacted));
        let index = index.unwrap_or_else(|| if marks.compacted == 0 { Vec::new() } else { UNREADABLE.to_vec() });
        let tail = self.rows(marks.compacted);
        Ok(Loaded { head: tail.last().map_or(marks.compacted, |row| row.key), compacted: marks.compacted, index, tail })
    }

    async fn segments(&self, compacted: Head, names: &[String]) -> Result<Segments> {
        let marks = self.check()?;
        if marks.compacted != compacted {
            return Ok(Segments::Stale);
        }
        let read = |name: &String| self.read(&self.segment_key(name, *marks.segments.get(name)?));
        Ok(Segments::Read(names.iter().map(|name| read(name).unwrap_or_default()).collect()))
    }

    async fn names(&self, compacted: Head) -> Result<Option<Vec<String>>> {
        let marks = self.check()?;
        Ok((marks.compacted == compacted).then(|| marks.segments.into_keys().collect()))
    }

    async fn tail(&self, after: Head) -> Result<Tail> {
        let marks = self.check()?;
        if after < marks.compacted {
            return Ok(Tail::Compacted);
        }
        let rows = self.rows(after);
        let head = rows.last().map_or(after, |row| row.key);
        Ok(Tail::Rows(rows, head))
    }

    async fn append(&self, expected_head: Head, row: impl Into<Parts>) -> Result<Appended> {
        let marks = self.check_writer()?;
        if !self.holds(&marks, expected_head) {
            return Ok(Appended::Stale);
        }
        write(&self.items, &self.row_key(expected_head + 1), &encode(&row.into().into_vec()))?;
        Ok(Appended::At(expected_head + 1))
    }

    async fn compact(&self, step: Compaction) -> Result<Compacted> {
        self.compact_now(step)
    }

    async fn close(&self) {
        self.closed.set(true);
    }

    async fn destroy(&self) -> Result<()> {
        self.closed.set(true);
        let prefix = format!("{}|", self.name);
        let keys = (0..self.items.length().unwrap_or(0)).filter_map(|at| self.items.key(at).ok().flatten());
        // The list moves while items are removed.
        for key in keys.filter(|key| key.starts_with(&prefix)).collect::<Vec<_>>() {
            self.remove(&key);
        }
        Ok(())
    }
}

fn items() -> Result<Storage> {
    let unavailable = |why: &str| Error::new(Code::StorageUnavailable, why);
    let items = GLOBAL.with(Scope::local_storage).map_err(|_| unavailable("localStorage is forbidden here"))?;
    items.ok_or_else(|| unavailable("this environment has no localStorage"))
}

fn marks_key(name: &str) -> String {
    format!("{name}|marks")
}

fn marks(items: &Storage, name: &str) -> Result<Option<Marks>> {
    let Ok(Some(text)) = items.get_item(&marks_key(name)) else { return Ok(None) };
    let marks: Marks =
        serde_json::from_str(&text).map_err(|_| Error::new(Code::StorageLost, "its marks in localStorage are unreadable"))?;
    match marks.format > FORMAT {
        true => Err(Error::new(Code::FormatTooNew, format!("the database has format {}; this code reads up to {FORMAT}", marks.format))),
        false => Ok(Some(marks)),
    }
}

fn text(marks: &Marks) -> String {
    serde_json::to_string(marks).unwrap_or_default()
}

fn write(items: &Storage, key: &str, value: &str) -> Result<()> {
    items.set_item(key, value).map_err(|thrown| {
        let name = thrown.dyn_ref::<DomException>().map_or_else(String::new, DomException::name);
        let code = if name == "QuotaExceededError" { Code::StorageFull } else { Code::StorageUnavailable };
        Error::new(code, format!("localStorage: {name}"))
    })
}

/// Bytes as an item: text where they are text, as all rows and segments of the engine are.
fn encode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("t{text}"),
        Err(_) => std::iter::once('x').chain(bytes.iter().map(|byte| char::from(*byte))).collect(),
    }
}

/// And back; empty where it is no such item.
fn decode(item: &str) -> Vec<u8> {
    match (item.strip_prefix('t'), item.strip_prefix('x')) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (_, Some(raw)) => raw.chars().filter_map(|char| u8::try_from(u32::from(char)).ok()).collect(),
        _ => Vec::new(),
    }
}
