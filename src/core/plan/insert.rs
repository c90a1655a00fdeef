//! New records, one or thousands in a call. Not here: rows of a document (`import`), joining the queue (`enqueue`).

use super::{Context, Plan, check_key, check_room, enqueue, first, own_fields};
use crate::core::error::{Code, Error, Result};
use crate::core::mutation::Op;
use crate::core::record::{Key, Lines, MAX_BYTES, Record, checked};
use crate::core::replica::{HashSet, Replica};
use crate::core::schema::{Policy, Rules, check_name};
use crate::core::stamp::Stamp;
use crate::core::text::{SHARED_FROM, Text};
use std::sync::Arc;

pub(super) fn insert(replica: &Replica, collection: &Arc<str>, records: &[(Arc<str>, Text)], context: &Context) -> Result<Plan> {
    check_name(collection)?;
    check_room(replica, records.len(), context)?;
    let mut plan = Plan { ids: records.iter().map(|(id, _)| id.clone()).collect(), ..Plan::default() };
    let mut built = Built::new(records);
    let mut given = HashSet::with_capacity_and_hasher(records.len(), Default::default());
    let (mut plain, mut deleted) = (true, false);
    for (at, (id, text)) in records.iter().enumerate() {
        let key = Key { collection: collection.clone(), id: id.clone() };
        let place = |e: Error| Error { path: Some(format!("/{at}{}", e.path.unwrap_or_default())), ..e };
        check_key(collection, id).map_err(place)?;
        let view = replica.shared_view(&key);
        if !given.insert(id) || view.as_ref().is_some_and(|v| !v.is_deleted()) {
            return Err(Error::at(Code::DuplicateId, format!("/{at}/id"), format!("{collection} already has a record '{id}'")));
        }
        let Some(tombstone) = view else {
            plain &= built.push(replica, &key, text, Stamp::next(context.now, None)).map_err(place)?;
            continue;
        };
        let record = first(replica, &key, text, Stamp::next(context.now, Some(tombstone.updated_at()))).map_err(place)?;
        if records.len() > 1 {
            deleted = true;
        } else {
            // Inserting over a tombstone brings the record back: a new version based on the tombstone.
            let revived = enqueue::enqueue(replica, Op::Undelete, &key, record, &tombstone, context)?;
            (plan.changes, plan.mutations) = (revived.changes, revived.mutations);
        }
    }
    if deleted {
        return Err(Error::new(
            Code::DuplicateId,
            format!("some of these records were deleted from {collection}; undelete them or insert them one by one"),
        ));
    }
    let built = built.into_records();
    if !built.is_empty() {
        plan.as_given = built.first().filter(|_| plain).map(Record::updated_at);
        enqueue::creates(replica, collection, built, false, context, &mut plan);
    }
    Ok(plan)
}

/// First versions: few, or many in one piece.
enum Built {
    Few(Vec<Record>),
    Many(Lines),
}

impl Built {
    fn new(records: &[(Arc<str>, Text)]) -> Self {
        match records.len() {
            few if few < SHARED_FROM => Self::Few(Vec::with_capacity(few)),
            many => Self::Many(Lines::with_capacity(many, records.iter().map(|(_, text)| text.len()).sum())),
        }
    }

    /// Builds one; whether it is what was given and the stamps.
    fn push(&mut self, replica: &Replica, key: &Key, text: &str, at: Stamp) -> Result<bool> {
        let plain = is_plain(&replica.rules(key));
        match self {
            Self::Many(lines) if plain && text.len() < NEARLY => lines.push(text, &key.id, at, &own_fields(checked(text)?)),
            Self::Many(lines) => lines.add(&first(replica, key, text, at)?),
            Self::Few(records) => records.push(first(replica, key, text, at)?),
        }
        Ok(plain)
    }

    fn into_records(self) -> Vec<Record> {
        match self {
            Self::Few(records) => records,
            Self::Many(lines) => lines.into_records(),
        }
    }
}

/// With an id and an envelope still no longer than a record may be.
const NEARLY: usize = MAX_BYTES - 2048;

/// Nothing is kept with such a record that its author did not write.
fn is_plain(rules: &Rules<'_>) -> bool {
    rules.types.is_empty() && rules.policy != Policy::Fields
}
