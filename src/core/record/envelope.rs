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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::{Envelope, Fields};

    fn record(text: &str) -> Record {
        Record::parse(text).unwrap()
    }

    #[test]
    fn an_own_text_is_decoded_at_its_ends() {
        let own = |text: &str| own_ends(text).map(|ends| ends.record(text.into()));
        let at = Stamp::parse("2025-01-01T00:00:00.000Z").unwrap();
        for (deleted_at, rev) in [(None, None), (Some(at), None), (None, Some(7)), (Some(at), Some(12))] {
            for body in [r#"{}"#, r#"{"a":",\"_rev\":9","b":{"_updatedAt":"x","_deletedAt":null}}"#, r#"{"é":"\n"}"#] {
                let built = Record::build(Envelope { id: "x-1", updated_at: at, deleted_at, rev }, &Fields::split(body).unwrap());
                assert_eq!(own(built.text()), Some(built.clone()));
                assert_eq!(Record::parse_built(built.text().into()).unwrap(), built);
                assert_eq!(Record::parse(built.text()).unwrap(), built);
                // Another envelope is put around the body as it stands; member by member it is the same.
                for (deleted_at, rev) in [(None, None), (Some(at), Some(8))] {
                    let envelope = Envelope { id: "x-1", updated_at: Stamp(1), deleted_at, rev };
                    assert_eq!(built.with(Stamp(1), deleted_at, rev).unwrap(), Record::build(envelope, &built.fields().unwrap()));
                }
            }
        }
        for foreign in [
            r#"{"id":"a\"b","_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null}"#,
            r#"{"id":"a","_updatedAt":"2025-01-01T00:00:00.000Z"}"#,
            "{}",
            "",
            "}",
            r#"{"id":"a","x":{"_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null}}"#,
            r#"{"id":"a","_rev":5,"n":1,"_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null}"#,
        ] {
            assert_eq!(own(foreign), None, "{foreign}");
        }
        // A repeated member would make the two ways disagree: such a text is never kept.
        let twice = record(r#"{"id":"a","id":"b","n":1,"_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null}"#);
        assert_eq!((twice.id().as_ref(), own(twice.text())), ("b", Some(twice.clone())));
    }
}
