//! From a server's answer to a journal entry: everything a server sends is checked here, once.

use super::cycle::Sent;
use crate::core::error::Code;
use crate::core::journal::{Page, Quarantined, Response, Settled};
use crate::core::mutation::MutationId;
use crate::core::protocol::{SyncResponse, WireResult};
use crate::core::record::{ARCHIVE, Record, check, check_id};
use crate::core::schema::check_name;
use crate::core::stamp::Stamp;
use crate::transport::TransportError;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Most bytes kept of a row that is not usable.
const KEPT: usize = 64 * 1024;

/// Checks an answer and turns it into what the journal keeps. `client`: whose mutations it most likely speaks of.
///
/// # Errors
/// `BadResponse` when the answer as a whole is not of this protocol; single bad rows are quarantined.
pub(super) fn receive(wire: SyncResponse, asked: Option<String>, sent: Sent, client: &Arc<str>) -> Result<Response, TransportError> {
    let bad = |why: &str| TransportError::BadResponse(why.to_owned());
    if wire.protocol != crate::core::protocol::PROTOCOL {
        return Err(bad("another protocol version"));
    }
    if wire.cursor.is_empty() || wire.epoch.is_empty() {
        return Err(bad("no cursor or epoch"));
    }
    let server = Stamp::parse(&wire.server_time).map_err(|_| bad("serverTime is not a date"))?;
    let middle = sent.from.0 + (sent.until.0 - sent.from.0) / 2;
    let mut quarantined = Vec::new();
    let mut changes = Vec::with_capacity(wire.changes.len());
    for page in wire.changes {
        // Rows of a collection that cannot be named are set aside like bad rows: they must not stop the others.
        let named = page.collection == ARCHIVE || check_name(&page.collection).is_ok();
        let mut rows = Vec::with_capacity(page.records.len());
        for raw in page.records {
            let row =
                if named { usable(raw.get(), page.collection == ARCHIVE) } else { Err("its collection has no usable name".to_owned()) };
            match row {
                Ok(row) => rows.push(row),
                Err(why) => {
                    let collection = cut(&page.collection).into();
                    quarantined.push(Quarantined { collection, why, raw: cut(raw.get()), id: id_of(raw.get()) });
                }
            }
        }
        if named {
            changes.push(Page { collection: page.collection.into(), rows });
        }
    }
    let results = wire.results.into_iter().filter_map(|r| settled(r, client, &mut quarantined)).collect();
    Ok(Response {
        asked,
        cursor: wire.cursor,
        epoch: wire.epoch.into(),
        scope: wire.scope.into(),
        rev: wire.rev,
        has_more: wire.has_more,
        reset: wire.reset,
        offset: Some(server.0 - middle),
        at: server,
        changes,
        quarantined,
        results,
    })
}

fn usable(text: &str, archive: bool) -> Result<Record, String> {
    // An archive row holds three records, so its own limits are wider; the server made it.
    if !archive {
        check(text).map_err(|e| e.to_string())?;
    }
    let record = Record::parse(text).map_err(|e| e.to_string())?;
    match record.rev() {
        Some(_) => Ok(record),
        None => Err(format!("{}: a confirmed row needs a _rev", Code::InvalidRecord.as_str())),
    }
}

fn settled(wire: WireResult, client: &Arc<str>, quarantined: &mut Vec<Quarantined>) -> Option<Settled> {
    let mut row = |raw: Option<Box<RawValue>>, archive: bool| -> Option<Record> {
        let raw = raw?;
        match usable(raw.get(), archive) {
            Ok(row) => Some(row),
            Err(why) => {
                quarantined.push(Quarantined { collection: "".into(), why, raw: cut(raw.get()), id: None });
                None
            }
        }
    };
    Some(Settled {
        id: MutationId::parse_near(&wire.id, client).ok()?,
        status: wire.status,
        rev: wire.rev,
        record: row(wire.record, false),
        record_id: wire.record_id.filter(|id| check_id(id).is_ok()).map(Into::into),
        archived: row(wire.archived, true),
        code: wire.code,
        message: wire.message,
        path: wire.path,
    })
}

/// The id that a row gives itself, whatever else is wrong with it.
fn id_of(text: &str) -> Option<Arc<str>> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    serde_json::from_str::<Named>(text).ok().filter(|named| check_id(&named.id).is_ok()).map(|named| named.id.into())
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(KEPT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
