//! First versions of thousands of records, whose texts are built one after the other in one piece, a line each.
//!
//! Why: a text of its own costs each of them two allocations, and the journal row a copy line by line. Not here: what is
//! in a text (`record`), journal rows (`core::journal`).

use super::{Envelope, Fields, Record, close, room_behind};
use crate::core::stamp::Stamp;
use crate::core::text::Text;
use std::sync::Arc;

/// Records being built.
///
/// ```
/// use homing::core::record::{Fields, Lines};
/// use homing::core::stamp::Stamp;
/// let mut lines = Lines::with_capacity(2, 30);
/// for (id, text) in [("a", r#"{"id":"a","n":1}"#), ("b", r#"{"n":2}"#)] {
///     lines.push(text, &id.into(), Stamp(0), &Fields::split(text)?);
/// }
/// let records = lines.into_records();
/// assert_eq!(records[1].text(), r#"{"id":"b","n":2,"_updatedAt":"1970-01-01T00:00:00.000Z","_deletedAt":null}"#);
/// # Ok::<(), homing::core::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Lines {
    text: String,
    built: Vec<Built>,
}

#[derive(Debug)]
struct Built {
    id: Arc<str>,
    at: Stamp,
    from: usize,
    to: usize,
}

impl Lines {
    /// Room for so many records, whose texts as they were given have so many bytes together.
    #[must_use]
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        let line_end = 1;
        let behind = line_end + room_behind(&first_version("", Stamp(0)));
        Self { text: String::with_capacity(bytes + records * behind), built: Vec::with_capacity(records) }
    }

    /// [`Record::build`] of all members of a text.
    pub fn push(&mut self, text: &str, id: &Arc<str>, at: Stamp, fields: &Fields<'_>) {
        let (envelope, from) = (first_version(id, at), self.text.len());
        match fields.written_in(text, id) {
            Some(body) => {
                self.text.push_str(body);
                close(&mut self.text, &envelope);
            }
            None => self.text.push_str(Record::build(envelope, fields).text()),
        }
        self.end(from, id, at);
    }

    /// A first version that is built already.
    pub fn add(&mut self, record: &Record) {
        let from = self.text.len();
        self.text.push_str(record.text());
        self.end(from, record.id(), record.updated_at());
    }

    fn end(&mut self, from: usize, id: &Arc<str>, at: Stamp) {
        self.built.push(Built { id: id.clone(), at, from, to: self.text.len() });
        self.text.push('\n');
    }

    /// The records, in order.
    #[must_use]
    pub fn into_records(self) -> Vec<Record> {
        let whole = Arc::new(self.text);
        let text = |from, to| Text::part(&whole, from, to).unwrap_or_else(|| whole.get(from..to).unwrap_or_default().into());
        self.built.into_iter().map(|Built { id, at, from, to }| Record::from_parts(text(from, to), id, at, None, None)).collect()
    }
}

fn first_version(id: &str, at: Stamp) -> Envelope<'_> {
    Envelope { id, updated_at: at, deleted_at: None, rev: None }
}
