//! The envelope found at the ends of a text that this module built, without decoding what is between. Not here: decoding
//! a text of anybody else ([`Record::parse`]).

use super::Record;
use crate::core::stamp::Stamp;
use crate::core::text::Text;
use std::sync::Arc;

/// The envelope found at the ends of a text.
pub(super) struct Found {
    id: Arc<str>,
    updated_at: Stamp,
    deleted_at: Option<Stamp>,
    rev: Option<u64>,
}

impl Found {
    pub(super) fn around(self, text: Text) -> Record {
        Record { text, id: self.id, updated_at: self.updated_at, deleted_at: self.deleted_at, rev: self.rev }
    }
}

pub(super) fn own_envelope(text: &str) -> Option<Found> {
    let (found, body) = built_envelope(text)?;
    // One that came from a server may have its `_rev` elsewhere.
    if body.split('_').skip(1).any(|after| after.starts_with("rev\"")) {
        return None;
    }
    Some(found)
}

/// What stands where [`Record::build`] puts it, and the text between.
pub(super) fn built_envelope(text: &str) -> Option<(Found, &str)> {
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
    Some((Found { id: id.into(), updated_at: Stamp::parse(date).ok()?, deleted_at, rev }, body))
}
