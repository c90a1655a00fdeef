//! Fields that the server numbers (`ordinal` in a declaration).
//!
//! Lives here: what such a field is in a version that comes or goes. Not here: which number is next (`authority`).
//!
//! Whatever a device writes there is provisional: with the create the server gives one number more than the highest ever given
//! under the same parent, and from then on the field is as the server's version has it (R14). A record that moves to another
//! parent gets a number there.

use crate::core::error::{Code, Error, Result};
use crate::core::record::{Envelope, Record};
use crate::core::schema::Ordinal;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The version with its number as the server's version has it: absent where it has none.
///
/// # Errors
/// `invalid-record` when a text is broken.
pub fn as_in(server: &Record, record: &Record, ordinal: &Ordinal) -> Result<Record> {
    let fields = server.fields()?;
    let number = fields.0.iter().rev().find(|(name, _)| *name == ordinal.field).map(|(_, value)| *value);
    with(record, &ordinal.field, number)
}

/// The version with this number.
///
/// # Errors
/// `invalid-record` when the text is broken.
pub fn numbered(record: &Record, ordinal: &Ordinal, number: u64) -> Result<Record> {
    let number = RawValue::from_string(number.to_string()).map_err(|e| Error::new(Code::InvalidRecord, e.to_string()))?;
    with(record, &ordinal.field, Some(&number))
}

fn with(record: &Record, name: &str, value: Option<&RawValue>) -> Result<Record> {
    let mut fields = record.fields()?;
    let there = fields.get(name);
    if there == value.map(RawValue::get) {
        return Ok(record.clone());
    }
    let place = fields.0.iter().position(|(n, _)| n == name).unwrap_or(fields.0.len());
    fields.0.retain(|(n, _)| n != name);
    if let Some(value) = value {
        fields.0.insert(place.min(fields.0.len()), (Cow::Borrowed(name), value));
    }
    let envelope = Envelope { id: record.id(), updated_at: record.updated_at(), deleted_at: record.deleted_at(), rev: record.rev() };
    Ok(Record::build(envelope, &fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_put_in_its_place_or_taken_out() {
        let ordinal = Ordinal { field: "n".into(), parent: None };
        let record = |body: &str| {
            Record::parse(&format!(r#"{{"id":"a",{body}"_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null,"_rev":7}}"#)).unwrap()
        };
        let (own, server) = (record(r#""n":"draft","x":1,"n":2,"#), record(r#""y":0,"n":5,"#));
        assert_eq!(as_in(&server, &own, &ordinal).unwrap(), record(r#""n":5,"x":1,"#));
        assert_eq!(as_in(&record(""), &own, &ordinal).unwrap(), record(r#""x":1,"#));
        assert_eq!(numbered(&record(r#""x":1,"#), &ordinal, 3).unwrap(), record(r#""x":1,"n":3,"#));
        assert_eq!(as_in(&server, &server, &ordinal).unwrap(), server);
    }
}
