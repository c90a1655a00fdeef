//! The laws of merging for typed fields and groups, on generated versions, under `lww` and `fields`.

use super::{Counter, Set, check, join, preferred, rest, written};
use crate::core::error::Code;
use crate::core::merge::{changed_pointers, merge, stamp_fields};
use crate::core::record::{Envelope, Fields, Record};
use crate::core::schema::{FieldType, Policy, Rules, Types};
use crate::core::stamp::Stamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const CASES: u32 = 10_000;
const ACTORS: [&str; 3] = ["a", "b", "c"];

fn types() -> Types {
    let typed = [
        ("eggs", FieldType::Counter),
        ("tags", FieldType::Set),
        ("größe ✓", FieldType::Max),
        ("low", FieldType::Min),
        ("kg", FieldType::Counter),
    ];
    typed.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect()
}

fn groups() -> Vec<Vec<String>> {
    vec![vec!["lat".to_owned(), "lon".to_owned()], vec!["from".to_owned(), "to".to_owned(), "at".to_owned()]]
}

#[derive(Clone, Debug)]
enum Edit {
    Move(&'static str, i64),
    Clear(&'static str),
    Tag(&'static str),
    Untag(&'static str),
    Set(&'static str, Value),
    Remove(&'static str),
    Delete,
    /// Somebody's whole record, without `_crdt`.
    Foreign(i64),
}

fn edit() -> impl Strategy<Value = (Edit, i64)> {
    let tag = || prop::sample::select(&["x", "ÿ🐔", "z"][..]);
    let plain = || prop::sample::select(&["name", "lat", "lon", "from", "to", "at", "n"][..]);
    let value = prop_oneof![3 => (0..4i64).prop_map(|n| json!(n)), 1 => Just(json!({"u": 1})), 1 => Just(json!(null))];
    let what = prop_oneof![
        5 => (prop::sample::select(&["eggs", "kg"][..]), -3..6i64).prop_map(|(f, n)| Edit::Move(f, n)),
        1 => prop::sample::select(&["eggs", "tags", "low"][..]).prop_map(Edit::Clear),
        5 => tag().prop_map(Edit::Tag),
        3 => tag().prop_map(Edit::Untag),
        3 => (prop::sample::select(&["größe ✓", "low"][..]), 0..9i64).prop_map(|(f, n)| Edit::Set(f, json!(n))),
        8 => (plain(), value).prop_map(|(f, v)| Edit::Set(f, v)),
        2 => plain().prop_map(Edit::Remove),
        2 => Just(Edit::Delete),
        1 => (0..20i64).prop_map(Edit::Foreign),
    ];
    (what, 1..3i64)
}

fn record(at: i64, deleted: bool, body: &Map<String, Value>) -> Record {
    let text = Value::Object(body.clone()).to_string();
    let at = Stamp(at);
    Record::build(Envelope { id: "r", updated_at: at, deleted_at: deleted.then_some(at), rev: None }, &Fields::split(&text).unwrap())
}

fn apply(previous: &Record, (what, later): &(Edit, i64), actor: &str, policy: Policy) -> Record {
    let mut body = previous.value().unwrap();
    let number = |body: &Map<String, Value>, f: &str| body.get(f).and_then(Value::as_f64).unwrap_or(0.0);
    let mut tags: Vec<Value> = body.get("tags").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut deleted = previous.is_deleted();
    match what {
        // Fractions, too.
        Edit::Move(f, n) => _ = body.insert((*f).into(), json!(number(&body, f) + *n as f64 * if *f == "kg" { 0.1 } else { 1.0 })),
        Edit::Clear(f) => _ = body.insert((*f).into(), Value::Null),
        Edit::Tag(t) => {
            tags.insert(0, json!(t));
            body.insert("tags".into(), tags.into());
        }
        Edit::Untag(t) => {
            tags.retain(|tag| tag != t);
            body.insert("tags".into(), tags.into());
        }
        Edit::Set(f, v) => _ = body.insert((*f).into(), v.clone()),
        Edit::Remove(f) => _ = body.shift_remove(*f),
        Edit::Delete => deleted = !deleted,
        Edit::Foreign(n) => {
            body.shift_remove("_crdt");
            body.insert("eggs".into(), json!(n));
            return record(previous.updated_at().0 + later, deleted, &body);
        }
    }
    let new = record(previous.updated_at().0 + later, deleted, &body);
    let new = written(previous, &new, actor, &types()).unwrap();
    match policy {
        Policy::Fields => stamp_fields(Some(previous), new.clone(), &changed_pointers(Some(previous), &new)).unwrap(),
        _ => new,
    }
}

/// Three versions of one start, on three devices that may have met on the way.
fn versions(policy: Policy) -> impl Strategy<Value = Vec<Record>> {
    let chains = prop::array::uniform3(prop::collection::vec(edit(), 1..5));
    (chains, prop::array::uniform3(prop::bool::weighted(0.25)), edit()).prop_map(move |(chains, met, last)| {
        let start = record(1_000, false, json!({"name": "Ä", "eggs": 10, "tags": ["x"], "low": 5}).as_object().unwrap());
        let start = if policy == Policy::Fields { stamp_fields(None, start, &[]).unwrap() } else { start };
        let mut out: Vec<Record> = Vec::new();
        for (n, chain) in chains.iter().enumerate() {
            let mut version = start.clone();
            for edit in chain {
                version = apply(&version, edit, ACTORS[n], policy);
            }
            if n > 0 && met[n - 1] {
                version = apply(&joined(&version, &out[n - 1], policy), &last, ACTORS[n], policy);
            }
            out.push(version);
        }
        out
    })
}

fn joined(a: &Record, b: &Record, policy: Policy) -> Record {
    let (types, groups) = (types(), groups());
    merge(None, a, b, Rules { policy, types: &types, groups: &groups }).unwrap().winner
}

fn shape(r: &Record) -> String {
    let mut body = r.value().unwrap();
    body.shift_remove("_rev");
    serde_json_canonicalizer::to_string(&body).unwrap()
}

fn law(holds: bool, name: &str) -> Result<(), TestCaseError> {
    if holds { Ok(()) } else { Err(TestCaseError::fail(name.to_owned())) }
}

fn laws(vs: &[Record], join: &impl Fn(&Record, &Record) -> Record, policy: Policy) -> Result<(), TestCaseError> {
    let [a, b, c] = vs else { return law(false, "three versions") };
    law(shape(&join(a, b)) == shape(&join(b, a)), "commutative")?;
    law(shape(&join(&join(a, b), c)) == shape(&join(a, &join(b, c))), "associative")?;
    law(shape(&join(a, a)) == shape(a), "idempotent")?;
    law(shape(&join(&join(a, b), b)) == shape(&join(a, b)), "idempotent after merging")?;
    let (types, groups) = (types(), groups());
    let merged = merge(None, a, b, Rules { policy, types: &types, groups: &groups }).unwrap();
    law(merged.archived.iter().all(|r| r == a || r == b), "only inputs are archived")?;
    // What can be lost is in the winner or in the archive.
    let held: Vec<Map<String, Value>> =
        std::iter::once(&merged.winner).chain(&merged.archived).map(|r| rest(r, &types).unwrap().value().unwrap()).collect();
    for (name, value) in [a, b].into_iter().flat_map(|r| rest(r, &types).unwrap().value().unwrap()) {
        let reserved = name.starts_with('_') || value.is_object();
        law(reserved || held.iter().any(|h| h.get(&name) == Some(&value)), "winner and archive hold both inputs")?;
    }
    let (one, two, both) = (a.value().unwrap(), b.value().unwrap(), join(a, b).value().unwrap());
    let low = |m: &Map<String, Value>| m.get("low").and_then(Value::as_i64).unwrap_or(i64::MAX);
    law(low(&both) == low(&one).min(low(&two)), "the smallest")
}

fn run(policy: Policy, join: impl Fn(&Record, &Record) -> Record) -> Result<(), String> {
    let config = Config { cases: CASES, max_shrink_iters: 500, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]);
    TestRunner::new_with_rng(config, rng).run(&versions(policy), |vs| laws(&vs, &join, policy)).map_err(|e| e.to_string())
}

#[test]
fn typed_fields_obey_under_every_merging_policy() {
    for policy in [Policy::Lww, Policy::Fields] {
        run(policy, |a, b| joined(a, b, policy)).unwrap();
    }
}

/// A decision for one of two versions is their join; only a counter that does not add up with the other's says what mine says.
/// What is there is in it, and what others count on that meanwhile is added.
fn preferring(vs: &[Record], prefer: &impl Fn(&Record, &Record) -> Record) -> Result<(), TestCaseError> {
    let ([mine, row, _], types) = (vs, types()) else { return law(false, "three versions") };
    let decided = prefer(mine, row);
    let both = join(mine, row, true, None, &types).unwrap();
    let states = |r: &Record| r.value().unwrap().get("_crdt").and_then(Value::as_object).cloned().unwrap_or_default();
    let [of_mine, of_decided, of_both] = [mine, &decided, &both.record].map(|r| r.value().unwrap());
    for name in types.keys() {
        let told = of_decided.get(name);
        if both.apart(name) {
            law(told == of_mine.get(name), "what does not add up is mine's")?;
        } else {
            law(told == of_both.get(name) && states(&decided).get(name) == states(&both.record).get(name), "agrees with join")?;
        }
    }
    law(shape(&join(&decided, row, true, None, &types).unwrap().record) == shape(&decided), "the row is in it")?;
    if both.apart("eggs") && [mine, row].iter().all(|r| r.value().unwrap().get("eggs").is_some_and(Value::is_number)) {
        let eggs = |r: &Record| r.value().unwrap().get("eggs").and_then(Value::as_i64).unwrap();
        let counted = apply(row, &(Edit::Move("eggs", 3), 1), "e", Policy::Lww);
        let after = join(&decided, &counted, true, None, &types).unwrap().record;
        law(eggs(&after) == eggs(mine) + 3, "what others count on the row is added")?;
    }
    Ok(())
}

fn run_preferring(prefer: impl Fn(&Record, &Record) -> Record) -> Result<(), String> {
    let config = Config { cases: CASES, max_shrink_iters: 5_000, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]);
    TestRunner::new_with_rng(config, rng).run(&versions(Policy::Lww), |vs| preferring(&vs, &prefer)).map_err(|e| e.to_string())
}

#[test]
fn a_preference_is_a_join_that_says_what_mine_says() {
    run_preferring(|mine, row| preferred(mine, row, "d", &types()).unwrap()).unwrap();
}

#[test]
fn wrong_joins_are_caught() {
    let typed = types();
    // Last write wins on what should join; sums of sums instead of the most that each counted.
    let forgets = |a: &Record, b: &Record| merge(None, a, b, Policy::Fields).unwrap().winner;
    assert!(run(Policy::Fields, forgets).is_err());
    let adds = |a: &Record, b: &Record| {
        let out = joined(a, b, Policy::Lww);
        let mut body = out.value().unwrap();
        let sum = [a, b].iter().filter_map(|r| r.value().unwrap().get("eggs").and_then(Value::as_f64)).sum::<f64>();
        body.insert("eggs".into(), json!(sum));
        written(&out, &record(out.updated_at().0, out.is_deleted(), &body), "x", &typed).unwrap()
    };
    assert!(run(Policy::Lww, adds).unwrap_err().contains("idempotent"));
    // A preference that takes others' counts back, and one that lets them decide.
    assert!(run_preferring(|mine, _| mine.clone()).unwrap_err().contains("agrees with join"));
    let outvoted = |mine: &Record, row: &Record| join(mine, row, true, None, &typed).unwrap().record;
    assert!(run_preferring(outvoted).unwrap_err().contains("is mine's"));
}

#[test]
fn the_generator_reaches_the_hard_cases() {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]));
    let start = json!({"name": "Ä", "eggs": 10, "tags": ["x"], "low": 5});
    for policy in [Policy::Lww, Policy::Fields] {
        let (mut equal, mut same, mut dead, mut unicode, mut nested) = (0, 0, 0, 0, 0);
        let mut both: BTreeMap<&str, u32> = BTreeMap::new();
        for _ in 0..CASES {
            let vs = versions(policy).new_tree(&mut runner).unwrap().current();
            let changed = |r: &Record| -> Vec<String> {
                let now = r.value().unwrap();
                now.iter()
                    .filter(|(name, v)| !name.starts_with('_') && *name != "id" && start.get(name) != Some(v))
                    .map(|(n, _)| n.clone())
                    .collect()
            };
            let (x, y) = (changed(&vs[0]), changed(&vs[1]));
            equal += u32::from(vs[0].updated_at() == vs[1].updated_at() && vs[0] != vs[1]);
            same += u32::from(x.iter().any(|f| y.contains(f)));
            for (_, kind) in types().iter().filter(|(name, _)| x.contains(name) && y.contains(name)) {
                *both.entry(kind.as_str()).or_default() += 1;
            }
            dead += u32::from(vs.iter().any(Record::is_deleted));
            unicode += u32::from(vs.iter().any(|r| r.text().contains('🐔') || r.text().contains('ß')));
            nested += u32::from(vs.iter().any(|r| r.text().contains("{\"u\":1}")));
        }
        let share = |n: u32| n * 100 / CASES;
        println!(
            "typed under {policy:?}: {CASES} cases; equal stamps {}%, same field {}%, tombstones {}%, unicode {}%, nested {}%; changed by both: {both:?}",
            share(equal),
            share(same),
            share(dead),
            share(unicode),
            share(nested)
        );
        assert!(share(equal) >= 10 && share(same) >= 30 && share(dead) >= 10 && share(unicode) >= 10 && share(nested) >= 10);
        assert!(both.len() == 4 && both.values().all(|n| *n > CASES / 100), "every kind of field is moved by two at once");
    }
}

#[test]
fn five_clients_count_a_hundred_each() {
    let start = record(1_000, false, json!({"eggs": 7}).as_object().unwrap());
    let versions: Vec<Record> = (0..5)
        .map(|n| (0..100).fold(start.clone(), |v, _| apply(&v, &(Edit::Move("eggs", 1), 1), &format!("client{n}"), Policy::Lww)))
        .collect();
    for turn in 0..5 {
        let mut order = versions.clone();
        order.rotate_left(turn);
        let all = order.iter().skip(1).fold(order[0].clone(), |all, v| joined(&all, v, Policy::Lww));
        assert_eq!(all.value().unwrap().get("eggs"), Some(&json!(507)));
    }
}

#[test]
fn a_concurrent_add_outlives_a_removal_and_a_seen_one_does_not() {
    let start = record(1_000, false, json!({"tags": ["x"]}).as_object().unwrap());
    let removed = apply(&start, &(Edit::Untag("x"), 5), "a", Policy::Lww);
    let readded = apply(&apply(&start, &(Edit::Untag("x"), 1), "b", Policy::Lww), &(Edit::Tag("x"), 1), "b", Policy::Lww);
    let tags = |r: &Record| r.value().unwrap().get("tags").cloned().unwrap();
    assert_eq!(tags(&joined(&removed, &readded, Policy::Lww)), json!(["x"]), "added meanwhile");
    assert_eq!(tags(&joined(&removed, &start, Policy::Lww)), json!([]), "seen and removed");
    let (one, two) = (apply(&start, &(Edit::Tag("z"), 1), "a", Policy::Lww), apply(&start, &(Edit::Tag("ÿ🐔"), 1), "b", Policy::Lww));
    assert_eq!(tags(&joined(&one, &two, Policy::Lww)), json!(["x", "z", "ÿ🐔"]));
}

#[test]
fn decimals_come_out_as_people_wrote_them() {
    let start = record(1_000, false, json!({"kg": 0.1}).as_object().unwrap());
    let mut body = start.value().unwrap();
    body.insert("kg".into(), json!(0.3));
    let more = written(&start, &record(1_001, false, &body), "a", &types()).unwrap();
    assert_eq!(more.value().unwrap().get("kg"), Some(&json!(0.3)));
}

#[test]
fn members_of_a_group_win_or_lose_together() {
    let start = record(1_000, false, json!({"lat": 1, "lon": 1, "name": "Ä"}).as_object().unwrap());
    let start = stamp_fields(None, start, &[]).unwrap();
    let north = apply(&start, &(Edit::Set("lat", json!(2)), 1), "a", Policy::Fields);
    let east = apply(
        &apply(&start, &(Edit::Set("name", json!("B")), 1), "b", Policy::Fields),
        &(Edit::Set("lon", json!(3)), 1),
        "b",
        Policy::Fields,
    );
    let (types, groups) = (types(), groups());
    let both = merge(None, &north, &east, Rules { policy: Policy::Fields, types: &types, groups: &groups }).unwrap();
    let body = both.winner.value().unwrap();
    assert_eq!((body.get("lat"), body.get("lon"), body.get("name")), (Some(&json!(1)), Some(&json!(3)), Some(&json!("B"))));
    assert!(both.archived == [north.clone()] && both.paths.contains(&"/lat".to_owned()), "{:?}", both.paths);
    let apart = merge(None, &north, &east, Policy::Fields).unwrap().winner.value().unwrap();
    assert_eq!((apart.get("lat"), apart.get("lon")), (Some(&json!(2)), Some(&json!(3))), "without the group each for itself");
}

#[test]
fn values_that_do_not_fit_are_refused_with_their_path() {
    let typed = types();
    for (body, path) in [
        (json!({"eggs": "7"}), "/eggs"),
        (json!({"tags": {"a": 1}}), "/tags"),
        (json!({"low": [1]}), "/low"),
        (json!({"größe ✓": true}), "/größe ✓"),
    ] {
        let error = check(&record(1, false, body.as_object().unwrap()), &typed).unwrap_err();
        assert_eq!((error.code, error.path.as_deref()), (Code::InvalidRecord, Some(path)));
    }
    for body in [json!({"eggs": null, "tags": []}), json!({"eggs": 1.5, "low": "2024-01-01"}), json!({})] {
        check(&record(1, false, body.as_object().unwrap()), &typed).unwrap();
    }
}

#[test]
fn hostile_states_are_values_without_a_history() {
    let states = [
        json!(7),
        json!({"b": "x", "p": [1], "n": {"a": -5}}),
        json!({"e": u64::MAX}),
        json!({"p": {"a": 1e308, "b": 1e308}}),
        json!({"b": 1.8e16, "p": {"a": 1.8e16}, "n": {"b": 1.8e16}}),
        json!({"v": {"a": -1}, "e": {"no json": {"a": 1}}}),
    ];
    for state in states {
        let counter = Counter::of(Some(&json!(3)), Some(&state));
        assert_eq!(counter.value(), Some(json!(3)), "{state}");
        assert_eq!(counter.clone().join(counter.moved(Some(&json!(5)), "me")).value(), Some(json!(5)), "{state}");
        let set = Set::of(Some(&json!(["x"])), Some(&state));
        assert_eq!(set.value(None), Some(json!(["x"])), "{state}");
        assert_eq!(set.clone().join(set.rewritten(Some(&json!(["x", "y"])), "me")).value(None), Some(json!(["x", "y"])), "{state}");
    }
}

#[test]
fn what_is_too_much_for_javascript_is_as_much_as_it_can_hold() {
    const MOST: i64 = (1 << 53) - 1;
    let start = record(1_000, false, json!({"eggs": 0}).as_object().unwrap());
    let by = |version: &Record, n: i64, who: &str| apply(version, &(Edit::Move("eggs", n), 1), who, Policy::Lww);
    let eggs = |r: &Record| r.value().unwrap().get("eggs").and_then(Value::as_i64);
    for sign in [1, -1] {
        let vs = ["a", "b", "c"].map(|who| by(&start, sign * 9_000_000_000_000_000, who));
        let all = vs.iter().fold(start.clone(), |all, v| joined(&all, v, Policy::Lww));
        assert_eq!(eggs(&all), Some(sign * MOST));
        // Twice by one: what one client counted is too much, too.
        let twice = by(&by(&by(&vs[0], -sign * 9_000_000_000_000_000, "a"), sign * 9_000_000_000_000_000, "a"), sign * 5, "a");
        assert_eq!(eggs(&twice), Some(sign * 9_000_000_000_000_005));
        for made in [&all, &twice] {
            crate::core::record::check(made.text()).unwrap();
        }
        laws(&vs, &|a, b| joined(a, b, Policy::Lww), Policy::Lww).unwrap();
        laws(&[vs[0].clone(), all.clone(), twice.clone()], &|a, b| joined(a, b, Policy::Lww), Policy::Lww).unwrap();
        // Whoever sets it to something sees that, and everybody else does.
        let set = by(&all, -sign * (MOST - 7), "a");
        assert_eq!((eggs(&set), eggs(&joined(&set, &all, Policy::Lww))), (Some(sign * 7), Some(sign * 7)));
    }
}
