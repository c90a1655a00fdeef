//! What a write says of members that never leave the device (`localFields`): taken out before it is planned, kept beside afterwards.
//!
//! So everything else in this folder sees what everybody may know, and a write that says nothing more is no mutation. Not here: where it is
//! kept (`replica::own`).

use super::{Choice, Context, Intent, Plan};
use crate::core::conflict::Conflict;
use crate::core::error::{Error, Result};
use crate::core::journal::{Change, Range};
use crate::core::mutation::MutationId;
use crate::core::own::{self, Members};
use crate::core::record::{ARCHIVE, Envelope, Fields, Key, Record, check};
use crate::core::replica::Replica;
use crate::core::text::Text;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

/// What is said of the members beside one record.
enum Said {
    /// These are all there are.
    All(Members),
    /// These, where there are none of that name.
    Lacking(Members),
    /// These change.
    Some(Members, Vec<String>),
}

/// What is said of records of one collection, in the order of the plan's ids.
pub(super) struct Own {
    collection: Arc<str>,
    said: Vec<Said>,
    /// Nothing else is said, of this record.
    pub(super) only: Option<Key>,
}

/// An intent without such members, and what it says of them; `None` where its collection has none.
///
/// # Errors
/// As for any member: `invalid-record`, `too-large`, with the path.
pub(super) fn apart<'i>(replica: &Replica, intent: Cow<'i, Intent>) -> Result<(Cow<'i, Intent>, Option<Own>)> {
    let Some(collection) = about(replica, &intent) else { return Ok((intent, None)) };
    let local = replica.schema().local_fields(&collection);
    if local.is_empty() {
        return Ok((intent, None));
    }
    let one = |said: Said| Some(Own { collection: collection.clone(), said: vec![said], only: None });
    Ok(match intent.as_ref() {
        Intent::Insert { records, .. } => {
            let texts = texts(records.iter().map(|(_, text)| text), local)?;
            let (texts, said): (Vec<_>, Vec<_>) = texts.into_iter().map(|(text, own)| (text, Said::All(own))).unzip();
            let records = records.iter().map(|(id, _)| id.clone()).zip(texts).collect();
            let own = Own { collection: collection.clone(), said, only: None };
            (Cow::Owned(Intent::Insert { collection, records }), Some(own))
        }
        Intent::Import { records, .. } => {
            let (records, said) = texts(records, local)?.into_iter().map(|(text, own)| (text, Said::Lacking(own))).unzip();
            let own = Own { collection: collection.clone(), said, only: None };
            (Cow::Owned(Intent::Import { collection, records }), Some(own))
        }
        Intent::Put { key, text, seen, own: changed } => {
            check(text)?;
            let (text, own) = own::split(text, local)?.map_or_else(|| (text.clone(), Members::new()), |(text, own)| (text.into(), own));
            let said = match changed {
                // A record that comes back has what it is written with.
                _ if replica.shared_view(key).is_none_or(|row| row.is_deleted()) => Said::All(own),
                Some(changed) => {
                    let gone = changed.iter().filter(|name| !own.iter().any(|(other, _)| other == *name)).cloned().collect();
                    Said::Some(own.into_iter().filter(|(name, _)| changed.contains(name)).collect(), gone)
                }
                // Made from an earlier version, of which nobody knows what lay beside it.
                None if seen.stamp.is_some() => Said::Some(own, vec![]),
                None => Said::All(own),
            };
            (Cow::Owned(Intent::Put { key: key.clone(), text, seen: *seen, own: None }), one(said))
        }
        Intent::Update { key, set, unset } => {
            let (set, unset, said) = parted(set, unset, local);
            let own = said.map(|said| Own {
                collection: collection.clone(),
                said: vec![said],
                only: Some(key.clone()).filter(|_| set.is_empty() && unset.is_empty()),
            });
            (Cow::Owned(Intent::Update { key: key.clone(), set, unset }), own)
        }
        Intent::Retry { id, edited: Some(text) } => {
            check(text)?;
            match own::split(text, local)? {
                Some((text, own)) => {
                    (Cow::Owned(Intent::Retry { id: id.clone(), edited: Some(text.into()) }), one(Said::Some(own, vec![])))
                }
                None => (intent, None),
            }
        }
        Intent::Resolve { conflict, choice: Choice::Patch { set, unset } } => {
            let (set, unset, said) = parted(set, unset, local);
            let choice = Choice::Patch { set, unset };
            (Cow::Owned(Intent::Resolve { conflict: conflict.clone(), choice }), said.and_then(one))
        }
        // Nobody can say which of the two it belongs to: both records have it.
        Intent::Resolve { conflict, choice: Choice::Both(_) } => {
            let beside = about_conflict(replica, conflict).and_then(|key| replica.own(&key).map(members));
            let said = beside.transpose()?.map(Said::All);
            (intent, said.and_then(one))
        }
        _ => (intent, None),
    })
}

impl Own {
    /// Adds to a plan what changes beside its records.
    ///
    /// # Errors
    /// `invalid-record`, `too-large` with the path.
    pub(super) fn keep(self, replica: &Replica, plan: &mut Plan, context: &Context) -> Result<()> {
        let nothing_else = plan.changes.is_empty() && plan.mutations.is_none();
        let planned = plan.changes.len();
        for (id, said) in plan.ids.iter().zip(self.said) {
            let key = Key { collection: self.collection.clone(), id: id.clone() };
            plan.changes.extend(beside(replica, &key, said, context)?);
        }
        if plan.changes.len() > planned {
            plan.as_given = None;
            if nothing_else {
                // A run of none: it is kept, and nobody is going to answer.
                plan.mutations = Some(Range { first: MutationId::new(replica.client().clone(), 0), count: 0 });
            }
        }
        Ok(())
    }
}

/// The row beside a record after what is said of it; `None` where it stays as it is.
fn beside(replica: &Replica, key: &Key, said: Said, context: &Context) -> Result<Option<Change>> {
    let before = replica.own(key).map(members).transpose()?.unwrap_or_default();
    let now = match said {
        Said::All(own) => own,
        Said::Some(set, unset) => {
            let kept = before.iter().filter(|(name, _)| !unset.contains(name) && !set.iter().any(|(other, _)| other == name));
            kept.cloned().chain(set.iter().cloned()).collect()
        }
        // What was deleted here is not brought back by a document, and nothing of it.
        Said::Lacking(_) if replica.shared_view(key).is_some_and(|row| row.is_deleted()) => return Ok(None),
        Said::Lacking(own) => {
            let lacking = own.into_iter().filter(|(name, _)| !before.iter().any(|(other, _)| other == name));
            before.iter().cloned().chain(lacking).collect()
        }
    };
    let same = |a: &Members, b: &Members| {
        a.len() == b.len() && a.iter().all(|(name, value)| b.iter().any(|(other, was)| other == name && was.get() == value.get()))
    };
    if same(&now, &before) {
        return Ok(None);
    }
    let envelope = Envelope { id: &key.id, updated_at: context.now, deleted_at: now.is_empty().then_some(context.now), rev: None };
    let record = Record::build(envelope, &Fields(now.iter().map(|(name, value)| (Cow::Borrowed(name.as_str()), &**value)).collect()));
    check(record.text())?;
    Ok(Some(Change::Local { collection: own::table(&key.collection), record }))
}

/// The collection that an intent is about.
fn about(replica: &Replica, intent: &Intent) -> Option<Arc<str>> {
    match intent {
        Intent::Insert { collection, .. } | Intent::Import { collection, .. } => Some(collection.clone()),
        Intent::Update { key, .. } | Intent::Put { key, .. } => Some(key.collection.clone()),
        Intent::Retry { id, .. } => Some(replica.dead_letter(id)?.mutation.key.collection.clone()),
        Intent::Resolve { conflict, .. } => Some(about_conflict(replica, conflict)?.collection),
        _ => None,
    }
}

fn about_conflict(replica: &Replica, conflict: &Arc<str>) -> Option<Key> {
    let row = replica.view(&Key::new(ARCHIVE, conflict.clone()))?;
    Some(Conflict::from_record(&row).ok()?.about())
}

/// Records taken apart.
fn texts<'t>(records: impl IntoIterator<Item = &'t Text>, local: &[String]) -> Result<Vec<(Text, Members)>> {
    let apart = |(at, text): (usize, &Text)| {
        let place = |e: Error| Error { path: Some(format!("/{at}{}", e.path.unwrap_or_default())), ..e };
        check(text).map_err(place)?;
        Ok(own::split(text, local).map_err(place)?.map_or_else(|| (text.clone(), Members::new()), |(text, own)| (text.into(), own)))
    };
    records.into_iter().enumerate().map(apart).collect()
}

/// A change taken apart: what is everybody's, and what is said beside it.
fn parted(set: &[(String, Box<RawValue>)], unset: &[String], local: &[String]) -> (Members, Vec<String>, Option<Said>) {
    let (own, set): (Members, Members) = set.iter().cloned().partition(|(name, _)| local.contains(name));
    let (gone, unset): (Vec<String>, Vec<String>) = unset.iter().cloned().partition(|name| local.contains(name));
    let said = (!own.is_empty() || !gone.is_empty()).then_some(Said::Some(own, gone));
    (set, unset, said)
}

fn members(row: &Record) -> Result<Members> {
    let own = |name: &str| !crate::core::record::RESERVED.contains(&name);
    Ok(row.fields()?.0.into_iter().filter(|(name, _)| own(name)).map(|(name, value)| (name.into_owned(), value.to_owned())).collect())
}
