//! Imports: rows of a document become records, once, whatever is run again (DESIGN §3, §9, R10).

use super::{Context, Plan, check_key, check_room, enqueue, first};
use crate::core::conflict::{Conflict, Kind, Status};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::Change;
use crate::core::record::{ARCHIVE, Fields, Key, ROW_PREFIX, check, push_string};
use crate::core::replica::Replica;
use crate::core::schema::digest;
use crate::core::stamp::Stamp;
use crate::core::text::Text;
use std::collections::HashMap;
use std::sync::Arc;

pub(super) fn import(replica: &Replica, collection: &Arc<str>, records: &[Text], context: &Context) -> Result<Plan> {
    let mut plan = Plan::default();
    let mut built = Vec::with_capacity(records.len());
    let mut times: HashMap<String, u32> = HashMap::new();
    for (at, text) in records.iter().enumerate() {
        let place = |e: Error| Error { path: Some(format!("/{at}{}", e.path.unwrap_or_default())), ..e };
        check(text).map_err(place)?;
        let (id, text) = identify(collection, text, &mut times, &mut plan.duplicate_ids).map_err(place)?;
        check_key(collection, &id).map_err(place)?;
        let key = Key { collection: collection.clone(), id: id.clone() };
        plan.ids.push(id);
        let record = first(replica, &key, &text, context.now).map_err(place)?;
        match replica.shared_view(&key) {
            None => built.push(record),
            // A tombstone keeps the last content: a document that has just that says nothing new.
            Some(view) if record.with(Stamp(0), view.deleted_at(), None)?.same_content(&view) => plan.unchanged += 1,
            Some(view) => {
                plan.archived += 1;
                let mut conflict = Conflict::local(
                    replica.schema(),
                    &key,
                    if view.is_deleted() { Kind::EditDelete } else { Kind::CreateCreate },
                    Some(&record),
                    Some(&view),
                    Status::Automatic,
                    context.now,
                );
                // The backfilled stamp is the import's own: the same row imported again is the same entry.
                conflict.id = Conflict::name(&key, &record.with(Stamp(0), None, None)?);
                let row = conflict.to_record(context.now)?;
                if replica.view(&Key::new(ARCHIVE, row.id().clone())).is_none() {
                    plan.changes.push(Change::Local { collection: ARCHIVE.into(), record: row });
                }
            }
        }
    }
    check_room(replica, built.len(), context)?;
    plan.inserted = built.len();
    if !built.is_empty() {
        enqueue::creates(replica, collection, built, true, context, &mut plan);
    }
    Ok(plan)
}

/// The id a row is kept under: its own, one derived from its content, or one that says it came twice.
fn identify<'t>(
    collection: &str,
    text: &'t str,
    times: &mut HashMap<String, u32>,
    twice: &mut usize,
) -> Result<(Arc<str>, std::borrow::Cow<'t, str>)> {
    let fields = Fields::split(text)?;
    let given = match fields.get("id") {
        None | Some("null") => None,
        // A number as id is common in older documents; ids are strings here.
        Some(raw) if raw.starts_with('"') => fields.decode::<String>("id")?,
        Some(_) => return Err(Error::at(Code::InvalidId, "/id", "an id is a string")),
    };
    let Some(id) = given else {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|e| Error::new(Code::InvalidRecord, e.to_string()))?;
        let content = digest(&[collection, &serde_json_canonicalizer::to_string(&value).unwrap_or_default()]);
        let n = times.entry(content.clone()).or_default();
        *n += 1;
        return Ok((format!("{ROW_PREFIX}{}", digest(&[&content, &n.to_string()])).into(), text.into()));
    };
    let n = times.entry(id.clone()).or_default();
    *n += 1;
    if *n == 1 {
        return Ok((id.into(), text.into()));
    }
    *twice += 1;
    let mut marked = String::from("{\"_sourceId\":");
    push_string(&mut marked, &id);
    let body = text.trim_start().strip_prefix('{').unwrap_or(text);
    marked.push(',');
    marked.push_str(body);
    Ok((format!("$dup_{n}_{id}").into(), marked.into()))
}
