//! What only one record of a collection can have: a value under a `unique` constraint, a number under its parent.
//!
//! Lives here: which claims a version makes, who holds what so far. Not here: keeping them (a store), what the one who comes
//! second is answered (`judge`).

use crate::core::authority::Objection;
use crate::core::authority::needs::Loaded;
use crate::core::error::Result;
use crate::core::merge::pointer;
use crate::core::record::{Key, Record};
use crate::core::schema::{Collection, Ordinal, Schema, digest};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What can be claimed: under which rule of which collection, and a hash of the value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Name of the collection.
    pub collection: Arc<str>,
    /// The fields of a constraint as JSON; of numbers the field that holds them and the one that names their parent.
    pub rule: Arc<str>,
    /// Hash of the values; of numbers of the parent.
    pub value: Arc<str>,
}

/// The latest claim at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The highest number ever given there; 0 under a constraint.
    pub number: u64,
    /// By which record.
    pub id: Arc<str>,
}

/// A claim to keep. A store keeps one per place and number, whoever writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where.
    pub place: Place,
    /// Which number; 0 under a constraint.
    pub number: u64,
    /// For which record.
    pub id: Arc<str>,
    /// The record is there already and only its ids were replaced: where somebody has that place, he keeps it.
    pub yields: bool,
}

/// The fields of each constraint of a live record with the place it claims there.
pub(super) fn places<'s>(schema: &'s Schema, collection: &Arc<str>, record: &Record) -> Result<Vec<(&'s [String], Place)>> {
    let Some(declared) = schema.collection(collection).filter(|c| !c.unique.is_empty() && !record.is_deleted()) else {
        return Ok(Vec::new());
    };
    let body = record.value()?;
    let of = |fields: &'s Vec<String>| Some((fields.as_slice(), place(collection, fields, &whole(fields, &body)?)));
    Ok(declared.unique.iter().filter_map(of).collect())
}

/// The values of a constraint, where each is one that can be compared.
fn whole<'b>(fields: &[String], body: &'b Map<String, Value>) -> Option<Vec<&'b Value>> {
    let value = |field: &String| body.get(field).filter(|v| matches!(v, Value::String(_) | Value::Number(_) | Value::Bool(_)));
    fields.iter().map(value).collect()
}

/// The sequence that a record is numbered in.
pub(super) fn sequence(schema: &Schema, collection: &Arc<str>, record: &Record) -> Result<Option<Place>> {
    let Some(ordinal) = schema.ordinal(collection) else { return Ok(None) };
    let body = record.value()?;
    let parent = ordinal.parent.as_ref().and_then(|field| body.get(field)).unwrap_or(&Value::Null);
    Ok(Some(place(collection, &sequence_rule(ordinal), &[parent])))
}

fn sequence_rule(ordinal: &Ordinal) -> Vec<String> {
    vec![ordinal.field.clone(), ordinal.parent.clone().unwrap_or_default()]
}

fn text(rule: &[String]) -> String {
    serde_json::to_string(rule).unwrap_or_default()
}

/// The rules of a declaration under which records claim something: collection and fields, as in [`Place`].
#[must_use]
pub fn rules(schema: &Schema) -> BTreeSet<(String, String)> {
    let of = |(name, declared): (&String, &Collection)| {
        let ordinal = declared.ordinal.iter().map(sequence_rule);
        ordinal.chain(declared.unique.iter().cloned()).map(|fields| (name.clone(), text(&fields))).collect::<Vec<_>>()
    };
    schema.collections.iter().flat_map(of).collect()
}

/// What a row claims that was stored before there were such rules. Where somebody else has it, he keeps it.
///
/// # Errors
/// When its text is broken.
pub fn older_claims(schema: &Schema, key: &Key, record: &Record) -> Result<Vec<Claim>> {
    let claim = |place: Place, number: u64| Claim { place, number, id: key.id.clone(), yields: true };
    let mut claims: Vec<Claim> = places(schema, &key.collection, record)?.into_iter().map(|(_, place)| claim(place, 0)).collect();
    if let (Some(ordinal), Some(place)) = (schema.ordinal(&key.collection), sequence(schema, &key.collection, record)?) {
        claims.extend(number_of(record, ordinal)?.filter(|n| *n > 0).map(|number| claim(place, number)));
    }
    Ok(claims)
}

/// The number that a record has.
pub(super) fn number_of(record: &Record, ordinal: &Ordinal) -> Result<Option<u64>> {
    Ok(record.fields()?.decode(&ordinal.field).unwrap_or(None))
}

/// Whether any record of the collection claims anything.
pub(super) fn claims(declared: &Collection) -> bool {
    declared.ordinal.is_some() || !declared.unique.is_empty()
}

fn place(collection: &Arc<str>, rule: &[String], values: &[&Value]) -> Place {
    let value = digest(&[&serde_json_canonicalizer::to_string(&values).unwrap_or_default()]);
    Place { collection: collection.clone(), rule: text(rule).into(), value: value.into() }
}

/// What the one who comes second is told.
pub(super) fn objection(fields: &[String], collection: &str) -> Objection {
    let path = fields.first().map(|field| format!("/record{}", pointer(field)));
    Objection { code: "unique".into(), message: format!("another record of {collection} has the same {}", fields.join(", ")), path }
}

/// Who held a place before the request, and who holds it now.
#[derive(Clone, Debug)]
struct Held {
    was: Option<Arc<str>>,
    now: Option<Arc<str>>,
    yields: bool,
}

/// Claims of one request so far, over what was loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    held: HashMap<Place, Held>,
    numbers: HashMap<Place, u64>,
    given: Vec<Claim>,
}

impl Claims {
    fn holder<'a>(&'a self, place: &Place, loaded: &'a Loaded<'_>) -> Option<&'a Arc<str>> {
        match self.held.get(place) {
            Some(held) => held.now.as_ref(),
            None => loaded.taken(place).map(|taken| &taken.id),
        }
    }

    /// Why the record cannot go `from` one version `to` another: somebody else has what the new one claims. What is not new in
    /// it is not asked about: nobody has to mend an old row to edit it.
    pub(super) fn refuse(
        &self,
        rules: &Schema,
        key: &Key,
        from: Option<&Record>,
        to: &Record,
        loaded: &Loaded<'_>,
    ) -> Result<Option<Objection>> {
        let before = from.map(|record| places(rules, &key.collection, record)).transpose()?.unwrap_or_default();
        let taken = |one: &(&[String], Place)| !before.contains(one) && self.holder(&one.1, loaded).is_some_and(|id| *id != key.id);
        let second = places(rules, &key.collection, to)?.into_iter().find(taken);
        Ok(second.map(|(fields, _)| objection(fields, &key.collection)))
    }

    /// A version was replaced by another one of the same record: what it claimed is free, what the new one claims is its own.
    /// `yields`: it only has other ids.
    pub(super) fn moved(
        &mut self,
        schema: &Schema,
        key: &Key,
        from: Option<&Record>,
        to: &Record,
        yields: bool,
        loaded: &Loaded<'_>,
    ) -> Result<()> {
        let before = from.map(|record| places(schema, &key.collection, record)).transpose()?.unwrap_or_default();
        let after = places(schema, &key.collection, to)?;
        for (_, place) in before.iter().filter(|one| !after.contains(one)) {
            // Loaded or not, a version that was stored has its place, but for one that had to yield.
            let known = self.held.contains_key(place) || loaded.snapshot.taken.contains_key(place);
            let was = if known { self.holder(place, loaded).cloned() } else { Some(key.id.clone()) };
            if was.as_ref() == Some(&key.id) {
                self.held.entry(place.clone()).or_insert(Held { was, now: None, yields: false }).now = None;
            }
        }
        for one in after {
            // What it had already it has, unless it was stored before there was such a rule.
            let yields = yields || before.contains(&one);
            if self.holder(&one.1, loaded).is_none() {
                let was = loaded.taken(&one.1).map(|taken| taken.id.clone());
                self.held.entry(one.1).or_insert(Held { was, now: None, yields }).now = Some(key.id.clone());
            }
        }
        Ok(())
    }

    /// The next number of a sequence: one more than the highest ever given, never what others count.
    pub(super) fn next(&mut self, place: Place, id: &Arc<str>, loaded: &Loaded<'_>) -> u64 {
        let given = self.numbers.get(&place).copied().or_else(|| loaded.taken(&place).map(|taken| taken.number)).unwrap_or(0);
        let number = given.max(loaded.snapshot.head.numbers_from) + 1;
        self.give(place, number, id, false);
        number
    }

    /// A sequence has another name: its numbers stay.
    pub(super) fn give(&mut self, place: Place, number: u64, id: &Arc<str>, yields: bool) {
        let highest = self.numbers.entry(place.clone()).or_insert(number);
        *highest = (*highest).max(number);
        self.given.push(Claim { place, number, id: id.clone(), yields });
    }

    /// What to let go, with whom, and what to keep.
    pub(super) fn effects(self) -> (Vec<(Place, Arc<str>)>, Vec<Claim>) {
        let mut held: Vec<(Place, Held)> = self.held.into_iter().filter(|(_, held)| held.was != held.now).collect();
        held.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let (mut freed, mut claims) = (Vec::new(), self.given);
        for (place, Held { was, now, yields }) in held {
            freed.extend(was.map(|id| (place.clone(), id)));
            claims.extend(now.map(|id| Claim { place, number: 0, id, yields }));
        }
        (freed, claims)
    }
}
