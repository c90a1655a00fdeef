//! The laws of merging, on generated versions: commutative, associative, idempotent, and winner + archive hold
//! both inputs. Each law is also shown to catch a wrong merge.

use super::*;
use crate::core::merge::tree::{Leaves, flatten, unflatten};
use crate::core::mutation::Op;
use crate::core::record::{Envelope, Fields};
use crate::core::stamp::Stamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const CASES: u32 = 10_000;

type Merge = fn(&Record, &Record) -> Merged;

fn with(policy: Policy) -> impl Fn(&Record, &Record) -> Merged {
    move |a, b| merge(None, a, b, policy).unwrap()
}

/// One edit of a device: what it sets or removes, and how much later than its base.
#[derive(Clone, Debug)]
enum Edit {
    Set(&'static str, Value),
    Remove(&'static str),
    Delete,
    Undelete,
}

const POINTERS: [&str; 10] = ["/Alter", "/name", "/name", "/name", "/größe ✓", "/n", "/n/x", "/n/y", "/n/y/z", "/tags"];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (0..4i64).prop_map(|n| json!(n)),
        2 => "[a-zäß🐔]{0,3}".prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!([1, {"a": "b"}])),
        1 => Just(json!({})),
        1 => Just(json!({"x": 1, "y": {"z": 2}})),
    ]
}

fn edits(deletes: bool) -> impl Strategy<Value = (Edit, i64)> {
    let pointer = || prop::sample::select(&POINTERS[..]);
    let what = prop_oneof![
        16 => (pointer(), value()).prop_map(|(p, v)| Edit::Set(p, v)),
        3 => pointer().prop_map(Edit::Remove),
        u32::from(deletes) * 2 => Just(Edit::Delete),
        u32::from(deletes) => Just(Edit::Undelete),
    ];
    (what, 1..3i64)
}

fn record(stamp: i64, deleted: bool, body: &Map<String, Value>) -> Record {
    let text = Value::Object(body.clone()).to_string();
    let at = Stamp(stamp);
    Record::build(Envelope { id: "r", updated_at: at, deleted_at: deleted.then_some(at), rev: None }, &Fields::split(&text).unwrap())
}

fn set(body: &mut Map<String, Value>, pointer: &str, value: Option<&Value>) {
    let mut leaves = flatten(body);
    leaves.retain(|p, _| p != pointer && !tree::below(pointer, p) && !tree::below(p, pointer));
    if let Some(value) = value {
        leaves.insert(pointer.to_owned(), value.clone());
    }
    let kept = body.remove("_fieldTimes");
    *body = unflatten(&leaves);
    body.extend(kept.map(|t| ("_fieldTimes".to_owned(), t)));
}

/// What a device writes on top of `previous`.
fn apply(previous: &Record, (what, later): &(Edit, i64), fields: bool) -> Record {
    let mut body = previous.value().unwrap();
    let at = previous.updated_at().0 + later;
    let deleted = match what {
        Edit::Set(p, v) => {
            set(&mut body, p, Some(v));
            previous.is_deleted()
        }
        Edit::Remove(p) => {
            set(&mut body, p, None);
            previous.is_deleted()
        }
        Edit::Delete => true,
        Edit::Undelete => false,
    };
    let new = record(at, deleted, &body);
    if !fields {
        return new;
    }
    let changed = changed_pointers(Some(previous), &new);
    stamp_fields(Some(previous), new, &changed).unwrap()
}

/// Three versions on three devices from a common start, some of which merged with each other on the way.
fn versions(fields: bool) -> impl Strategy<Value = Vec<Record>> {
    devices(fields, true)
}

fn devices(fields: bool, deletes: bool) -> impl Strategy<Value = Vec<Record>> {
    let chain = || prop::collection::vec(edits(deletes), 1..4);
    (prop::array::uniform3(chain()), prop::array::uniform3(prop::bool::weighted(0.25)), edits(deletes)).prop_map(
        move |(chains, met, last)| {
            let start = record(1_000, false, json!({"name": "Ä", "n": {"x": 0}}).as_object().unwrap());
            let start = if fields { stamp_fields(None, start, &[]).unwrap() } else { start };
            let mut out: Vec<Record> = Vec::new();
            for (at, chain) in chains.iter().enumerate() {
                // Two devices may each have created the record by themselves.
                let apart = record(1_001, false, json!({"name": "B", "n": 5}).as_object().unwrap());
                let apart = if fields { stamp_fields(None, apart, &[]).unwrap() } else { apart };
                let mut version = if at == 1 && met[2] { apart } else { start.clone() };
                for edit in chain {
                    version = apply(&version, edit, fields);
                }
                if at > 0 && met[at - 1] && fields {
                    version = apply(&fields::merge(&version, &out[at - 1], &[]).unwrap().winner, &last, true);
                }
                out.push(version);
            }
            out
        },
    )
}

/// Facts: few ids of few contents, some confirmed, so that different texts meet under one id.
fn facts() -> impl Strategy<Value = Vec<Record>> {
    let fact = (1_000..1_004i64, prop::bool::weighted(0.2), 0..3i64, prop::option::of(1..3u64));
    prop::collection::vec(fact, 3).prop_map(|facts| {
        let contents = [json!({"kg": 0}), json!({"kg": 1, "größe ✓": "🐔"}), json!({"kg": {"brutto": 2}})];
        let build = |(at, deleted, n, rev): (i64, bool, i64, Option<u64>)| {
            let r = record(at, deleted, contents[n as usize].as_object().unwrap());
            // A `_rev` names one version: equal revs must mean equal content.
            rev.map_or_else(|| r.clone(), |rev| r.with_rev(rev * 100 + at as u64 % 10 * 10 + n as u64 * 2 + u64::from(deleted)).unwrap())
        };
        facts.into_iter().map(build).collect()
    })
}

/// Everything of a version that a law speaks of, whatever the order of its members.
fn shape(r: &Record) -> String {
    let mut body = r.value().unwrap();
    body.shift_remove("_rev");
    serde_json_canonicalizer::to_string(&body).unwrap()
}

fn law(holds: bool, name: &str) -> Result<(), TestCaseError> {
    if holds { Ok(()) } else { Err(TestCaseError::fail(name.to_owned())) }
}

/// Whether every value of `input` is in the winner or in an archived version.
fn kept(input: &Record, merged: &Merged) -> bool {
    let held: Vec<Leaves> = std::iter::once(&merged.winner).chain(&merged.archived).map(|r| flatten(&r.value().unwrap())).collect();
    let tombstones = std::iter::once(&merged.winner).chain(&merged.archived).any(Record::is_deleted);
    flatten(&input.value().unwrap()).iter().all(|(p, v)| held.iter().any(|h| h.get(p) == Some(v))) && (!input.is_deleted() || tombstones)
}

fn laws(vs: &[Record], merge: &impl Fn(&Record, &Record) -> Merged) -> Result<(), TestCaseError> {
    let [a, b, c] = vs else { return law(false, "three versions") };
    let m = |x: &Record, y: &Record| merge(x, y).winner;
    law(shape(&m(a, b)) == shape(&m(b, a)), "commutative")?;
    law(shape(&m(&m(a, b), c)) == shape(&m(a, &m(b, c))), "associative")?;
    law(shape(&m(a, a)) == shape(a), "idempotent")?;
    law(shape(&m(&m(a, b), b)) == shape(&m(a, b)), "idempotent after merging")?;
    for (x, y) in [(a, b), (b, c), (a, c)] {
        let merged = merge(x, y);
        law(kept(x, &merged) && kept(y, &merged), "winner and archive hold both inputs")?;
        law(merged.archived.iter().all(|r| r == x || r == y), "only inputs are archived")?;
        law(
            merged.archived.is_empty() || x.is_deleted() != y.is_deleted() || !merged.paths.is_empty() || x.is_deleted(),
            "paths say where",
        )?;
    }
    Ok(())
}

fn check(strategy: impl Strategy<Value = Vec<Record>>, merge: impl Fn(&Record, &Record) -> Merged) -> Result<(), String> {
    let config = Config { cases: CASES, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    TestRunner::new_with_rng(config, rng).run(&strategy, |vs| laws(&vs, &merge)).map_err(|e| e.to_string())
}

#[test]
fn lww_obeys() {
    check(versions(false), with(Policy::Lww)).unwrap();
}

#[test]
fn fields_obey() {
    check(versions(true), with(Policy::Fields)).unwrap();
}

#[test]
fn append_only_obeys() {
    check(facts(), with(Policy::AppendOnly)).unwrap();
}

/// What the generators produce, so that the laws are not held by absence.
#[test]
fn generators_reach_the_hard_cases() {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let base = json!({"name": "Ä", "n": {"x": 0}});
    let policies = [("lww", versions(false).boxed(), base.clone()), ("fields", versions(true).boxed(), base)];
    for (name, strategy, base) in policies.into_iter().chain([("append-only", facts().boxed(), json!({}))]) {
        let (mut equal, mut same, mut dead, mut unicode, mut nested, mut shapes) = (0, 0, 0, 0, 0, 0);
        for _ in 0..CASES {
            let vs = strategy.new_tree(&mut runner).unwrap().current();
            let (a, b) = (&vs[0], &vs[1]);
            let start = flatten(base.as_object().unwrap());
            let changed = |r: &Record| {
                let now = flatten(&r.value().unwrap());
                let all: Vec<String> = start.keys().chain(now.keys()).filter(|p| start.get(*p) != now.get(*p)).cloned().collect();
                all
            };
            let (x, y) = (changed(a), changed(b));
            equal += u32::from(a.updated_at() == b.updated_at() && a != b);
            same += u32::from(x.iter().any(|p| y.contains(p)));
            dead += u32::from(vs.iter().any(Record::is_deleted));
            unicode += u32::from(x.iter().any(|p| p.contains('ß')) || a.text().contains('🐔'));
            nested +=
                u32::from(vs.iter().any(|r| r.value().unwrap().values().any(|v| v.as_object().is_some_and(|inner| !inner.is_empty()))));
            shapes += u32::from(x.iter().any(|p| y.iter().any(|q| tree::below(p, q) || tree::below(q, p))));
        }
        let share = |n: u32| n * 100 / CASES;
        println!(
            "{name}: {CASES} cases; equal stamps {}%, same field {}%, tombstones {}%, unicode {}%, nested {}%, scalar over object {}%",
            share(equal),
            share(same),
            share(dead),
            share(unicode),
            share(nested),
            share(shapes)
        );
        assert!(share(equal) >= 10 && share(same) >= 30 && share(dead) >= 10 && share(unicode) >= 5 && share(nested) >= 10, "{name}");
        assert!(share(shapes) >= 5, "{name}");
    }
}

/// A merge that forgets one rule each: some law must notice.
#[test]
fn wrong_merges_are_caught() {
    let only = |winner: &Record| Merged { winner: winner.clone(), archived: Vec::new(), paths: Vec::new() };
    let tie_to_mine: Merge = |a, b| {
        lww::decided(if a.updated_at() >= b.updated_at() { a } else { b }, if a.updated_at() >= b.updated_at() { b } else { a }).unwrap()
    };
    let nothing_archived = move |a: &Record, b: &Record| only(&with(Policy::Lww)(a, b).winner);
    let mine_stays: Merge = |a, b| lww::decided(a, b).unwrap();
    let later_stamp: Merge = |a, b| {
        let m = with(Policy::Fields)(a, b);
        Merged { winner: m.winner.with(Stamp(m.winner.updated_at().0 + 1), m.winner.deleted_at(), None).unwrap(), ..m }
    };
    let tie_by_argument: Merge = |a, b| match a.updated_at() == b.updated_at() {
        true => Merged { winner: a.clone(), archived: vec![b.clone()], paths: vec!["/".into()] },
        false => with(Policy::Fields)(a, b),
    };
    let caught = |result: Result<(), String>, law: &str| {
        let why = result.unwrap_err();
        assert!(why.contains(law), "{law}: {why}");
    };
    caught(check(versions(false), tie_to_mine), "commutative");
    caught(check(versions(false), nothing_archived), "winner and archive");
    caught(check(facts(), mine_stays), "commutative");
    caught(check(versions(true), later_stamp), "idempotent");
    caught(check(versions(true), tie_by_argument), "commutative");
    caught(check(versions(true), leafwise), "idempotent after merging");
    caught(check(versions(false), tolerant), "associative");
}

/// "Clocks are never that exact": stamps a millisecond apart count as equal.
fn tolerant(a: &Record, b: &Record) -> Merged {
    let close = (a.updated_at().0 - b.updated_at().0).abs() <= 1;
    let first = if close { a.canonical() >= b.canonical() } else { a.updated_at() > b.updated_at() };
    if first { lww::decided(a, b).unwrap() } else { lww::decided(b, a).unwrap() }
}

/// Field merge without the rule that a write dominates what lies below it.
fn leafwise(a: &Record, b: &Record) -> Merged {
    let read = |r: &Record| {
        let body = r.value().unwrap();
        let times: BTreeMap<String, Stamp> = serde_json::from_value(body.get("_fieldTimes").cloned().unwrap_or(json!({}))).unwrap();
        (flatten(&body), times)
    };
    let ((af, at), (bf, bt)) = (read(a), read(b));
    let time =
        |f: &Leaves, t: &BTreeMap<String, Stamp>, p: &str| t.get(p).or_else(|| f.contains_key(p).then(|| t.get("")).flatten()).copied();
    let mut leaves = Leaves::new();
    let mut times = BTreeMap::from([(String::new(), at.get("").max(bt.get("")).copied().unwrap_or_default())]);
    let pointers: std::collections::BTreeSet<&String> = af.keys().chain(bf.keys()).chain(at.keys()).chain(bt.keys()).collect();
    for p in pointers.into_iter().filter(|p| !p.is_empty()) {
        let (x, y) = ((time(&af, &at, p), af.get(p).map(Value::to_string)), (time(&bf, &bt, p), bf.get(p).map(Value::to_string)));
        let won = if x < y { (y.0, bf.get(p)) } else { (x.0, af.get(p)) };
        times.extend(won.0.map(|t| (p.clone(), t)));
        leaves.extend(won.1.map(|v| (p.clone(), v.clone())));
    }
    let root = times.get("").copied();
    times.retain(|p, at| p.is_empty() || Some(*at) != root || !leaves.contains_key(p));
    let mut body = unflatten(&leaves);
    body.insert("_fieldTimes".into(), json!(times));
    let (at, dead) = (a.updated_at(), a.deleted_at()).max((b.updated_at(), b.deleted_at()));
    let winner = record(at.0, false, &body).with(at, dead, None).unwrap();
    Merged { winner, archived: vec![a.clone(), b.clone()], paths: vec!["/".into()] }
}

proptest! {
    #![proptest_config(Config { cases: CASES, failure_persistence: None, ..Config::default() })]

    /// A write on what its author saw shows exactly what the author wrote, on the device and on the server.
    #[test]
    fn an_edit_of_what_was_seen_is_what_was_written(vs in devices(true, false), last in edits(false)) {
        let seen = &vs[2];
        let wrote = apply(seen, &last, true);
        let changed = changed_pointers(Some(seen), &wrote);
        let shown = overlay(Some(seen), Op::Update, &wrote, &changed, Policy::Fields).unwrap();
        prop_assert!(shown.same(&wrote) && same_times(&shown, &wrote), "{shown:?}\n{wrote:?}");
        let stored = merge_patch(seen, &wrote, &Patch::of(&wrote, Some(&changed), &[]).unwrap(), None, &[]).unwrap();
        prop_assert!(stored.lost.is_empty(), "{:?}", stored.lost);
        prop_assert!(stored.record.same(&wrote) && same_times(&stored.record, &wrote), "{:?}\n{wrote:?}", stored.record);
    }

    /// The server merging only what was changed and a replica merging whole versions come to the same row.
    #[test]
    fn a_patch_is_its_version(vs in devices(true, false), last in edits(false)) {
        let (row, seen) = (&vs[0], &vs[2]);
        let before = with(Policy::Fields)(row, seen).winner;
        let wrote = apply(seen, &last, true);
        let changed = changed_pointers(Some(seen), &wrote);
        let patched = merge_patch(&before, &wrote, &Patch::of(&wrote, Some(&changed), &[]).unwrap(), None, &[]).unwrap().record;
        let merged = with(Policy::Fields)(&before, &wrote).winner;
        prop_assert!(patched.same(&merged) && same_times(&patched, &merged), "{patched:?}\n{merged:?}");
    }

    /// Pending changes show on top whatever the stamps (rule *ontop*).
    #[test]
    fn a_pending_write_is_seen(vs in devices(true, false), last in edits(false)) {
        let (confirmed, seen) = (&vs[1], &vs[0]);
        let wrote = apply(seen, &last, true);
        let changed = changed_pointers(Some(seen), &wrote);
        let shown = overlay(Some(confirmed), Op::Update, &wrote, &changed, Policy::Fields).unwrap();
        let (shown_leaves, wrote_leaves) = (flatten(&shown.value().unwrap()), flatten(&wrote.value().unwrap()));
        for p in changed.iter().filter(|p| wrote_leaves.contains_key(*p)) {
            prop_assert_eq!(shown_leaves.get(p), wrote_leaves.get(p), "{}", p);
        }
        for p in changed.iter().filter(|p| !wrote_leaves.contains_key(*p)) {
            prop_assert!(!shown_leaves.contains_key(p), "{} was removed", p);
        }
        prop_assert!(shown.rev().is_none() && shown.updated_at() >= confirmed.updated_at());
    }
}
