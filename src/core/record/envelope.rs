//! The envelope found at the ends of a text that this module built, without decoding what is between. Not here: decoding
//! a text of anybody else ([`Record::parse`]).

use super::Record;
use crate::core::stamp::Stamp;
use crate::core::text::Text;

/// The envelope found at the ends of a text, and what is between.
pub(super) struct Ends<'a> {
    id: &'a str,
    /// From the brace and the id on, up to the stamps.
    pub(super) body: &'a str,
    updated_at: Stamp,
    deleted_at: Option<Stamp>,
    rev: Option<u64>,
}

impl Ends<'_> {
    pub(super) fn record(&self, text: Text) -> Record {
        Record { text, id: self.id.into(), updated_at: self.updated_at, deleted_at: self.deleted_at, rev: self.rev }
    }
}

/// The ends of a text that this module built, or of one that looks the same, where the envelope is nowhere else.
pub(super) fn own_ends(text: &str) -> Option<Ends<'_>> {
    // One that came from a server may have its `_rev` elsewhere.
    built_ends(text).filter(|ends| !ends.body.split('_').skip(1).any(|after| after.starts_with("rev\"")))
}

/// What stands where [`Record::build`] puts it.
pub(super) fn built_ends(text: &str) -> Option<Ends<'_>> {
    let (id, _) = text.strip_prefix("{\"id\":\"")?.split_once('"')?;
    if id.is_empty() || id.contains('\\') {
        return None;
    }
    let mut rest = text.strip_suffix('}')?;
    let mut rev = None;
    let before = rest.trim_end_matches(|c: char| c.is_ascii_digit());
    if before.len() < rest.len() {
        rev = rest.get(before.len()..)?.parse().ok();
        rest = before.strip_suffix(",\"_rev\":")?;
    }
    let deleted_at = match rest.strip_suffix("null") {
        Some(head) => {
            rest = head;
            None
        }
        None => {
            let (head, date) = rest.strip_suffix('"')?.split_at_checked(rest.len().checked_sub(25)?)?;
            rest = head.strip_suffix('"')?;
            Some(Stamp::parse(date).ok()?)
        }
    };
    let rest = rest.strip_suffix(",\"_deletedAt\":")?.strip_suffix('"')?;
    let (head, date) = rest.split_at_checked(rest.len().checked_sub(24)?)?;
    let body = head.strip_suffix(",\"_updatedAt\":\"")?;
    Some(Ends { id, body, updated_at: Stamp::parse(date).ok()?, deleted_at, rev })
}
