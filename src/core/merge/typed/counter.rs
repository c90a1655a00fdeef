//! A counter that several people move at once: what each added and took away, by client (a PN-counter).
//!
//! `{"b": 10, "p": {"<client>": 3}, "n": {"<client>": 1}, "e": 0}` is 12. Writing no number over a number begins a new
//! epoch: the later one wins whole. Not here: where it is kept (`typed`).

use serde_json::{Map, Number, Value};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Fractions are kept to so many parts: sums of decimals come out as people wrote them.
const PARTS: f64 = 1e9;
/// More than JavaScript can count no record may say: a sum beyond is this much, and so is what one client counted.
const MOST: f64 = 9_007_199_254_740_991.0;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counter {
    epoch: u64,
    base: Option<f64>,
    up: BTreeMap<String, f64>,
    down: BTreeMap<String, f64>,
}

impl Counter {
    /// What a version says. A value that its state does not explain was written by somebody who knows nothing of states:
    /// it is the base of a new epoch.
    pub(super) fn of(value: Option<&Value>, state: Option<&Value>) -> Self {
        let value = value.and_then(Value::as_f64);
        let Some(counter) = Self::stated(state) else { return Self::begun(0, value) };
        if counter.total() == value { counter } else { Self::begun(counter.epoch.saturating_add(1), value) }
    }

    fn begun(epoch: u64, base: Option<f64>) -> Self {
        Self { epoch, base: base.map(within), up: BTreeMap::new(), down: BTreeMap::new() }
    }

    fn stated(state: Option<&Value>) -> Option<Self> {
        let state = state.and_then(Value::as_object)?;
        let amounts = |name: &str| match state.get(name).and_then(Value::as_object) {
            Some(by) => by.iter().filter_map(|(who, n)| Some((who.clone(), n.as_f64().filter(|n| *n >= 0.0)?.min(MOST)))).collect(),
            None => BTreeMap::new(),
        };
        let epoch = state.get("e").and_then(Value::as_u64).unwrap_or(0);
        Some(Self { epoch, base: state.get("b").and_then(Value::as_f64).map(within), up: amounts("p"), down: amounts("n") })
    }

    /// What a form says that was made from an older version, on top of this one; nothing where the two do not add up.
    /// `state` is what the older version said of it: nothing before anything was counted.
    pub(super) fn onto(&self, state: Option<&Value>, form: Option<&Value>) -> Option<Value> {
        let older = Self::stated(state).unwrap_or_else(|| Self::begun(0, self.base));
        if older.epoch != self.epoch {
            return None;
        }
        match (older.total(), form.and_then(Value::as_f64)) {
            (None, None) => self.value(),
            (Some(_), None) => None,
            (before, Some(now)) => Some(number(within(round(self.total().unwrap_or(0.0) + now - before.unwrap_or(0.0))))),
        }
    }

    fn total(&self) -> Option<f64> {
        if self.base.is_none() && self.up.is_empty() && self.down.is_empty() {
            return None;
        }
        Some(within(round(self.sum())))
    }

    fn sum(&self) -> f64 {
        self.base.unwrap_or(0.0) + self.up.values().sum::<f64>() - self.down.values().sum::<f64>()
    }

    /// Whether nothing of it is cut off.
    fn is_exact(&self) -> bool {
        self.sum().abs() <= MOST && self.up.values().chain(self.down.values()).all(|n| *n <= MOST)
    }

    pub(super) fn value(&self) -> Option<Value> {
        self.total().map(number)
    }

    /// Nothing where the value says it all.
    pub(super) fn state(&self) -> Option<Value> {
        if self.epoch == 0 && self.up.is_empty() && self.down.is_empty() {
            return None;
        }
        let amounts = |by: &BTreeMap<String, f64>| Value::Object(by.iter().map(|(who, n)| (who.clone(), number(*n))).collect());
        let mut state = Map::new();
        state.insert("b".into(), self.base.map_or(Value::Null, number));
        state.insert("p".into(), amounts(&self.up));
        state.insert("n".into(), amounts(&self.down));
        if self.epoch > 0 {
            state.insert("e".into(), self.epoch.into());
        }
        Some(Value::Object(state))
    }

    /// Set to another value by `actor`. Where no count can say that, because something is cut off, it begins anew there.
    pub(super) fn moved(mut self, to: Option<&Value>, actor: &str) -> Self {
        match (self.total(), to.and_then(Value::as_f64)) {
            (Some(_), None) => Self::begun(self.epoch.saturating_add(1), None),
            (before, Some(to)) => {
                let by = round(to - before.unwrap_or(0.0));
                if by == 0.0 && before.is_some() {
                    return self;
                }
                let side = if by > 0.0 { &mut self.up } else { &mut self.down };
                let sum = side.entry(actor.to_owned()).or_default();
                *sum = round(*sum + by.abs());
                if self.is_exact() { self } else { Self::begun(self.epoch.saturating_add(1), Some(to)) }
            }
            (None, None) => self,
        }
    }

    pub(super) fn join(self, other: Self) -> Self {
        let (mut one, two) = match self.rank(&other) {
            Ordering::Less => return other,
            Ordering::Greater => return self,
            Ordering::Equal => (self, other),
        };
        for (mine, theirs) in [(&mut one.up, two.up), (&mut one.down, two.down)] {
            for (who, n) in theirs {
                let most = mine.entry(who).or_default();
                *most = most.max(n);
            }
        }
        one
    }

    /// What `from` counted since `root`, under another name.
    pub(super) fn renamed(mut self, root: &Self, from: &str, to: &str) -> Self {
        let anew = self.rank(root).is_ne();
        for (amounts, before) in [(&mut self.up, &root.up), (&mut self.down, &root.down)] {
            let Some(all) = amounts.get(from).copied() else { continue };
            let known = before.get(from).copied().filter(|_| !anew).unwrap_or_default();
            let own = round(all - known);
            if own > 0.0 {
                amounts.remove(from);
                amounts.extend([(from, known), (to, own)].into_iter().filter(|(_, n)| *n > 0.0).map(|(who, n)| (who.to_owned(), n)));
            }
        }
        self
    }

    /// Which of the two is dropped by the other, where they do not add up: of another epoch, or of another base.
    pub(super) fn dropped(&self, other: &Self) -> Option<Ordering> {
        Some(self.rank(other)).filter(|order| order.is_ne() && self.total() != other.total())
    }

    fn rank(&self, other: &Self) -> Ordering {
        self.epoch.cmp(&other.epoch).then_with(|| self.base.partial_cmp(&other.base).unwrap_or(Ordering::Equal))
    }
}

fn round(n: f64) -> f64 {
    let parts = n * PARTS;
    if parts.abs() < 9e15 { parts.round() / PARTS } else { n }
}

fn within(n: f64) -> f64 {
    n.clamp(-MOST, MOST)
}

fn number(n: f64) -> Value {
    if n.fract() == 0.0 && n.abs() <= MOST {
        return Value::from(n as i64);
    }
    Number::from_f64(n).map_or(Value::Null, Value::Number)
}
