//! A set to which several people add and from which they take at once; adding wins (an OR-set without tombstones).
//!
//! `{"e": {"\"a\"": {"<client>": 2}}, "v": {"<client>": 2}}`: every element with the additions that put it there, and how
//! many additions of each client this version has seen. An element that only one version has was added after the other, or
//! taken away there: the counts tell. Elements of a version without state were added by nobody in particular, each under
//! a name of its own (`=` and the element). Not here: where it is kept (`typed`).

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Client → number of its addition.
type Dots = BTreeMap<String, u64>;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set {
    /// Canonical text of an element → its additions.
    elements: BTreeMap<String, Dots>,
    seen: Dots,
}

impl Set {
    /// What a version says. Elements that its state does not explain were added, missing ones taken away, by somebody who
    /// knows nothing of states.
    pub(super) fn of(value: Option<&Value>, state: Option<&Value>) -> Self {
        let listed = list(value);
        let mut set = state.and_then(Value::as_object).map_or_else(Self::empty, Self::read);
        set.elements.retain(|element, _| listed.contains_key(element));
        for element in listed.into_keys() {
            if !set.elements.contains_key(&element) {
                let nobody = format!("={element}");
                set.add(element, &nobody);
            }
        }
        set
    }

    /// What a form says that was made from an older version, on top of this one; nothing where it says nothing of a set.
    /// `state` is what the older version said of it: nothing while it listed what nobody in particular added.
    pub(super) fn onto(&self, state: Option<&Value>, form: Option<&Value>) -> Option<Value> {
        let older: BTreeSet<String> = match state.and_then(Value::as_object) {
            Some(state) => Self::read(state).elements.into_keys().collect(),
            None => self.seen.keys().filter_map(|name| name.strip_prefix('=')).map(str::to_owned).collect(),
        };
        if !form.is_some_and(Value::is_array) {
            return older.is_empty().then(|| self.value(form)).flatten();
        }
        let now: BTreeSet<String> = list(form).into_keys().collect();
        let kept = self.elements.keys().filter(|element| now.contains(*element) || !older.contains(*element));
        let elements: BTreeSet<&String> = kept.chain(now.difference(&older)).collect();
        Some(Value::Array(elements.into_iter().filter_map(|element| serde_json::from_str(element).ok()).collect()))
    }

    fn empty() -> Self {
        Self { elements: BTreeMap::new(), seen: Dots::new() }
    }

    fn read(state: &Map<String, Value>) -> Self {
        let dots = |value: &Value| -> Dots {
            value.as_object().into_iter().flatten().filter_map(|(who, n)| Some((who.clone(), n.as_u64().filter(|n| *n > 0)?))).collect()
        };
        let mut seen = state.get("v").map(dots).unwrap_or_default();
        let elements: BTreeMap<String, Dots> = match state.get("e").and_then(Value::as_object) {
            Some(elements) => elements.iter().map(|(element, by)| (element.clone(), dots(by))).filter(|(_, by)| !by.is_empty()).collect(),
            None => BTreeMap::new(),
        };
        // Whatever a state claims: what is there was seen.
        for (who, n) in elements.values().flatten() {
            let most = seen.entry(who.clone()).or_default();
            *most = (*most).max(*n);
        }
        Self { elements, seen }
    }

    fn add(&mut self, element: String, actor: &str) {
        let count = self.seen.entry(actor.to_owned()).or_default();
        *count = count.saturating_add(1);
        self.elements.entry(element).or_default().insert(actor.to_owned(), *count);
    }

    /// The elements in canonical order; `raw` where there are none and there was no list either.
    pub(super) fn value(&self, raw: Option<&Value>) -> Option<Value> {
        if self.elements.is_empty() && !raw.is_some_and(Value::is_array) {
            return raw.cloned();
        }
        Some(Value::Array(self.elements.keys().filter_map(|element| serde_json::from_str(element).ok()).collect()))
    }

    /// Nothing where the value says it all.
    pub(super) fn state(&self) -> Option<Value> {
        let plain = |(element, dots): (&String, &Dots)| dots.len() == 1 && dots.get(&format!("={element}")) == Some(&1);
        if self.seen.len() == self.elements.len() && self.elements.iter().all(plain) && self.seen.values().all(|n| *n == 1) {
            return None;
        }
        let dots = |by: &Dots| Value::Object(by.iter().map(|(who, n)| (who.clone(), (*n).into())).collect());
        let mut state = Map::new();
        state.insert("e".into(), Value::Object(self.elements.iter().map(|(element, by)| (element.clone(), dots(by))).collect()));
        state.insert("v".into(), dots(&self.seen));
        Some(Value::Object(state))
    }

    /// Written anew by `actor`.
    pub(super) fn rewritten(mut self, to: Option<&Value>, actor: &str) -> Self {
        let listed = list(to);
        self.elements.retain(|element, _| listed.contains_key(element));
        for element in listed.into_keys() {
            if !self.elements.contains_key(&element) {
                self.add(element, actor);
            }
        }
        self
    }

    /// How many additions by `who` it has seen.
    pub(super) fn added_by(&self, who: &str) -> u64 {
        self.seen.get(who).copied().unwrap_or(0)
    }

    /// What `from` added after the first `known` additions, under another name.
    pub(super) fn renamed(mut self, known: u64, from: &str, to: &str) -> Self {
        for dots in self.elements.values_mut().chain([&mut self.seen]) {
            if let Some(n) = dots.get(from).copied().filter(|n| *n > known) {
                dots.remove(from);
                dots.insert(to.to_owned(), n - known);
            }
        }
        if known > 0 {
            self.seen.insert(from.to_owned(), known);
        }
        self
    }

    pub(super) fn join(self, other: Self) -> Self {
        let mut elements: BTreeMap<String, Dots> = BTreeMap::new();
        let mut keep = |from: &Self, against: &Self| {
            for (element, dots) in &from.elements {
                let theirs = against.elements.get(element);
                let stays = |(who, n): &(&String, &u64)| {
                    let there = theirs.and_then(|theirs| theirs.get(*who)) == Some(*n);
                    there || against.seen.get(*who).is_none_or(|seen| seen < *n)
                };
                for (who, n) in dots.iter().filter(stays) {
                    let most = elements.entry(element.clone()).or_default().entry(who.clone()).or_default();
                    *most = (*most).max(*n);
                }
            }
        };
        keep(&self, &other);
        keep(&other, &self);
        let mut seen = self.seen;
        for (who, n) in other.seen {
            let most = seen.entry(who).or_default();
            *most = (*most).max(n);
        }
        Self { elements, seen }
    }
}

/// The elements of a list, each once.
fn list(value: Option<&Value>) -> BTreeMap<String, ()> {
    let elements = value.and_then(Value::as_array).into_iter().flatten();
    elements.map(|element| (serde_json_canonicalizer::to_string(element).unwrap_or_default(), ())).collect()
}
