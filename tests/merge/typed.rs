//! Typed fields on their whole way: counters, sets, texts, extremes, groups, in records of any policy.

use crate::farm::{Farm, body};
use homing::core::conflict::Status;
use homing::core::error::{Code, Error};
use homing::core::plan::{Choice, Intent, Seen};
use homing::core::record::{Key, Record};
use homing::engine::Verdict;
use homing::transport::loopback::{Fault, PerFault};
use serde_json::{Value, json};

const SCHEMA: &str = r#"{"collections":{
    "settings":{"singleton":true,"fields":{"visits":"counter"},"groups":[["lat","lon"]]},
    "houses":{"fields":{"eggs":"counter","tags":"set","log":"text","peak":"max","low":"min"}},
    "notes":{"merge":"fields","fields":{"text":"text","eggs":"counter","tags":"set"}},
    "strict":{"merge":"fww","fields":{"eggs":"counter","tags":"set","log":"text"}},
    "theirs":{"merge":"server-wins","fields":{"eggs":"counter","tags":"set","log":"text"}},
    "asked":{"merge":"manual","fields":{"eggs":"counter","tags":"set"}}}}"#;

fn number(value: &Value, field: &str) -> i64 {
    value.get(field).and_then(Value::as_i64).unwrap()
}

#[test]
fn five_clients_count_a_hundred_each_offline_and_the_sum_is_exact() {
    let farm = Farm::new(SCHEMA, &[0, -600_000, 86_400_000, 1_000, -5], 1);
    for (collection, id) in [("houses", "h"), ("notes", "n"), ("strict", "s"), ("asked", "a")] {
        farm.insert(0, collection, id, &json!({"name": "A", "eggs": 7}));
        farm.settle();
        for d in 0..5 {
            for n in 0..100 {
                let eggs = number(&farm.seen(&farm.devices[d][0], collection, id), "eggs");
                farm.update(&farm.devices[d][0], collection, id, &json!({"eggs": eggs + 1}));
                // Some come up in the middle, so that the others count on top of it.
                if d == 2 && n % 40 == 0 {
                    farm.sync(d);
                }
            }
        }
        farm.settle();
        farm.agrees(collection, id, &json!({"name": "A", "eggs": 507}));
    }
    farm.all_equal();
    let open: Vec<_> = farm.archive().into_iter().filter(|c| c.status == Status::Unresolved).collect();
    assert!(open.is_empty(), "nothing that counts is a conflict: {open:?}");
}

#[test]
fn an_edit_that_loses_by_rule_still_counts() {
    for collection in ["strict", "theirs"] {
        let farm = Farm::new(SCHEMA, &[0, 86_400_000], 1);
        farm.insert(0, collection, "r", &json!({"name": "A", "eggs": 7, "tags": ["a"], "log": "one two three"}));
        farm.settle();
        let (a, b) = (&farm.devices[0][0], &farm.devices[1][0]);
        farm.update(a, collection, "r", &json!({"name": "first", "eggs": 8, "log": "zero one two three"}));
        farm.update(b, collection, "r", &json!({"name": "second", "eggs": 17, "tags": ["a", "b"], "log": "one two three four"}));
        farm.sync(0);
        // Its answer is lost, so that what comes next is written on top of what lost.
        farm.network.faults.set(PerFault::default().with(Fault::LostAnswer, 1000));
        farm.world.run(Box::pin(b.sync(false))).unwrap_err();
        farm.network.faults.set(PerFault::default());
        farm.update(b, collection, "r", &json!({"name": "third", "eggs": 117}));
        farm.settle();
        farm.agrees(collection, "r", &json!({"name": "first", "eggs": 118, "tags": ["a", "b"], "log": "zero one two three four"}));
        let mut names: Vec<Value> = farm.archive().iter().filter_map(|c| c.mine.as_ref()).map(|r| body(r)["name"].clone()).collect();
        names.sort_by_key(ToString::to_string);
        assert_eq!(names, ["second", "third"], "what lost is in the archive");
        let told: Vec<_> = farm.archive().into_iter().map(|c| (c.status, c.paths)).collect();
        assert!(told.contains(&(Status::Automatic, vec!["/name".to_owned()])), "what was joined is no difference: {told:?}");
        let merged: Vec<_> =
            b.drain().settled.into_iter().map(|(_, verdict)| matches!(verdict, Verdict::Merged { conflict: Some(_), .. })).collect();
        assert_eq!(merged, [true, true]);
    }
}

#[test]
fn an_old_form_counts_and_adds_on_top_of_what_others_did() {
    for collection in ["houses", "notes"] {
        let farm = Farm::new(SCHEMA, &[0, 0], 1);
        let (a, b) = (&farm.devices[0][0], &farm.devices[1][0]);
        let key = Key::new(collection, "r");
        farm.insert(0, collection, "r", &json!({"name": "A", "eggs": 7, "tags": ["a"]}));
        farm.settle();
        let save = |form: &Record, change: Value| {
            let mut members = form.value().unwrap();
            members.extend(change.as_object().unwrap().clone());
            let seen = Seen { stamp: Some(form.updated_at()), rev: form.rev() };
            farm.write(a, Intent::Put { key: key.clone(), text: Value::Object(members).to_string().into(), seen, own: None });
        };
        // Nothing was counted yet when the first one was opened.
        let form = a.read(|r| r.view(&key)).unwrap();
        farm.update(b, collection, "r", &json!({"eggs": 17, "tags": ["a", "b"]}));
        farm.settle();
        save(&form, json!({"name": "B", "eggs": 8, "tags": ["a", "c"]}));
        assert_eq!(farm.seen(a, collection, "r"), json!({"name": "B", "eggs": 18, "tags": ["a", "b", "c"]}), "{collection}");
        farm.settle();
        let form = a.read(|r| r.view(&key)).unwrap();
        farm.update(b, collection, "r", &json!({"eggs": 118, "tags": ["a", "b"]}));
        farm.settle();
        save(&form, json!({"eggs": 17, "tags": ["b", "c"]}));
        farm.settle();
        farm.agrees(collection, "r", &json!({"name": "B", "eggs": 117, "tags": ["b"]}));
        let form = a.read(|r| r.view(&key)).unwrap();
        save(&form, json!({}));
        assert_eq!(a.read(|r| r.queue_len()), 0, "a form in which nothing was changed");
    }
}

#[test]
fn what_was_counted_before_a_refusal_counts_when_it_is_retried() {
    let farm = Farm::new(SCHEMA, &[0, 0], 1);
    farm.network.rule.set(|m| m.record.as_ref().filter(|r| r.get().contains("bad")).map(|_| Error::new(Code::InvalidRecord, "no")));
    let (a, b) = (&farm.devices[0][0], &farm.devices[1][0]);
    farm.insert(0, "notes", "n", &json!({"name": "A", "bad": 1}));
    farm.insert(1, "notes", "n", &json!({"name": "A"}));
    for tab in [a, b] {
        farm.update(tab, "notes", "n", &json!({"eggs": 1}));
    }
    farm.sync(1);
    farm.sync(0);
    let id = a.read(|r| r.dead_letters().next().map(|letter| letter.mutation.id.clone())).unwrap();
    farm.write(a, Intent::Retry { id, edited: Some(r#"{"name":"A","eggs":1}"#.into()) });
    farm.settle();
    farm.agrees("notes", "n", &json!({"name": "A", "eggs": 2}));
}

#[test]
fn a_concurrent_add_outlives_a_removal() {
    let farm = Farm::new(SCHEMA, &[0, 0], 1);
    farm.insert(0, "houses", "h", &json!({"tags": ["red", "old"]}));
    farm.settle();
    let (a, b) = (&farm.devices[0][0], &farm.devices[1][0]);
    farm.update(a, "houses", "h", &json!({"tags": ["old"]}));
    farm.update(a, "houses", "h", &json!({"tags": ["old", "new"]}));
    farm.update(b, "houses", "h", &json!({"tags": ["old"]}));
    farm.update(b, "houses", "h", &json!({"tags": ["red", "old"]}));
    farm.settle();
    farm.agrees("houses", "h", &json!({"tags": ["new", "old", "red"]}));
    farm.update(a, "houses", "h", &json!({"tags": []}));
    farm.settle();
    farm.agrees("houses", "h", &json!({"tags": []}));
}

#[test]
fn two_people_edit_different_paragraphs_of_one_note() {
    let farm = Farm::new(SCHEMA, &[0, 0], 1);
    let start = "Monday: all calm.\n\nTuesday: fan two runs hot.\n\nWednesday:";
    for (collection, field) in [("notes", "text"), ("houses", "log")] {
        farm.insert(0, collection, "n", &json!({ field: start }));
        farm.settle();
        let (a, b) = (&farm.devices[0][0], &farm.devices[1][0]);
        farm.update(a, collection, "n", &json!({ field: start.replace("calm", "calm, 412 eggs") }));
        // Several edits on the way, some acknowledged, some not.
        farm.update(b, collection, "n", &json!({ field: start.replace("hot.", "hot. Vet called.") }));
        farm.sync(0);
        farm.update(a, collection, "n", &json!({ field: format!("{} rain", start.replace("calm", "calm, 412 eggs")) }));
        farm.sync(1);
        farm.settle();
        let both = "Monday: all calm, 412 eggs.\n\nTuesday: fan two runs hot. Vet called.\n\nWednesday: rain";
        farm.agrees(collection, "n", &json!({ field: both }));
    }
    assert!(farm.archive().is_empty(), "nothing was lost: {:?}", farm.archive());
}

#[test]
fn the_same_word_is_decided_and_archived() {
    let farm = Farm::new(SCHEMA, &[0, 0], 1);
    farm.insert(0, "notes", "n", &json!({"text": "hens are calm today"}));
    farm.settle();
    farm.update(&farm.devices[0][0], "notes", "n", &json!({"text": "hens are loud today"}));
    farm.world.advance(5_000);
    farm.update(&farm.devices[1][0], "notes", "n", &json!({"text": "hens are ill today, vet called"}));
    farm.settle();
    farm.agrees("notes", "n", &json!({"text": "hens are ill today, vet called"}));
    let archive = farm.archive();
    assert_eq!(archive.len(), 1);
    assert_eq!((archive[0].status, archive[0].paths.as_slice()), (Status::Automatic, &["/text".to_owned()][..]));
    let kept = [&archive[0].mine, &archive[0].theirs];
    assert!(kept.into_iter().flatten().any(|r| r.text().contains("loud")), "{archive:?}");
}

#[test]
fn the_edit_behind_an_edit_merges_against_what_it_was_made_on() {
    let farm = Farm::new(SCHEMA, &[0, 0], 1);
    farm.insert(0, "notes", "n", &json!({"text": "one two three"}));
    farm.settle();
    let (a, b) = (&farm.devices[0][0], &farm.devices[1][0]);
    farm.update(b, "notes", "n", &json!({"text": "one two three four"}));
    farm.sync(1);
    farm.update(a, "notes", "n", &json!({"text": "zero one two three"}));
    // Its answer is lost: the next edit waits behind it, made on it.
    farm.network.faults.set(PerFault::default().with(Fault::LostAnswer, 1000));
    farm.world.run(Box::pin(a.sync(false))).unwrap_err();
    farm.network.faults.set(PerFault::default());
    farm.update(a, "notes", "n", &json!({"text": "zero one and two three"}));
    farm.settle();
    farm.agrees("notes", "n", &json!({"text": "zero one and two three four"}));
}

#[test]
fn extremes_keep_the_extreme() {
    let farm = Farm::new(SCHEMA, &[0, 3_600_000], 1);
    farm.insert(0, "houses", "h", &json!({"peak": 10, "low": "2024-05-01"}));
    farm.settle();
    farm.update(&farm.devices[0][0], "houses", "h", &json!({"peak": 12, "low": "2024-04-01"}));
    farm.update(&farm.devices[1][0], "houses", "h", &json!({"peak": 11, "low": "2024-04-20"}));
    farm.settle();
    farm.agrees("houses", "h", &json!({"peak": 12, "low": "2024-04-01"}));
    farm.update(&farm.devices[1][0], "houses", "h", &json!({"peak": 3}));
    farm.settle();
    farm.agrees("houses", "h", &json!({"peak": 12, "low": "2024-04-01"}));
}

#[test]
fn two_tabs_and_two_devices_write_settings_in_every_order() {
    let edits = [json!({"visits": 1}), json!({"lat": 1}), json!({"lon": 2}), json!({"name": "B"})];
    let mut orders = 0;
    for order in permutations(4) {
        let farm = Farm::new(SCHEMA, &[0, 0], 2);
        farm.insert(0, "settings", "$singleton", &json!({"name": "A", "lat": 0, "lon": 0, "visits": 0}));
        farm.settle();
        // The edits are always written in the same order of time; tabs and devices are reached in every order.
        for (n, edit) in edits.iter().enumerate() {
            farm.update(&farm.devices[n / 2][n % 2], "settings", "$singleton", edit);
            farm.world.advance(1_000);
        }
        for n in order {
            farm.world.run(Box::pin(farm.devices[n / 2][n % 2].sync(false))).unwrap();
        }
        farm.settle();
        farm.all_equal();
        farm.agrees("settings", "$singleton", &json!({"name": "B", "lat": 0, "lon": 2, "visits": 1}));
        orders += 1;
    }
    assert_eq!(orders, 24);
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let shorter = permutations(n - 1).into_iter();
    shorter
        .flat_map(|p| {
            (0..n).map(move |at| {
                let mut p = p.clone();
                p.insert(at, n - 1);
                p
            })
        })
        .collect()
}

#[test]
fn a_value_that_does_not_fit_is_refused_and_nothing_is_written() {
    let farm = Farm::new(SCHEMA, &[0], 1);
    let tab = &farm.devices[0][0];
    let records = vec![("h".into(), r#"{"eggs":"many"}"#.into())];
    let request = homing::engine::Request { intents: vec![Intent::Insert { collection: "houses".into(), records }], ..Default::default() };
    let error = tab.write(request).unwrap_err();
    assert_eq!((error.code.as_str(), error.path.as_deref()), ("invalid-record", Some("/0/eggs")));
    assert!(tab.read(|r| r.view(&Key::new("houses", "h"))).is_none());
}

#[test]
fn an_old_form_is_told_from_a_row_that_others_wrote_in_under_the_same_stamp() {
    let farm = Farm::new(SCHEMA, &[0, 0], 1);
    let (a, b, key) = (&farm.devices[0][0], &farm.devices[1][0], Key::new("houses", "h"));
    farm.insert(0, "houses", "h", &json!({"name": "A", "log": "A"}));
    farm.settle();
    // Written first, sent last: it joins, and the row keeps its stamp.
    farm.update(b, "houses", "h", &json!({"log": "A C"}));
    farm.world.advance(5_000);
    farm.update(a, "houses", "h", &json!({"log": "B A"}));
    farm.sync(0);
    let form = a.read(|r| r.view(&key)).unwrap();
    farm.sync(1);
    farm.sync(0);
    let now = a.read(|r| r.view(&key)).unwrap();
    assert_eq!(body(&now), json!({"name": "A", "log": "B A C"}));
    assert!(now.updated_at() == form.updated_at() && now.rev() != form.rev());
    let mut members = form.value().unwrap();
    members.insert("name".to_owned(), json!("B"));
    let seen = Seen { stamp: Some(form.updated_at()), rev: form.rev() };
    farm.write(a, Intent::Put { key, text: Value::Object(members).to_string().into(), seen, own: None });
    farm.settle();
    farm.agrees("houses", "h", &json!({"name": "B", "log": "B A"}));
    let kept: String = farm.archive().iter().flat_map(|c| [&c.mine, &c.theirs]).flatten().map(|r| r.text().to_owned()).collect();
    assert!(kept.contains("B A C"), "words that the form had not seen are kept: {kept}");
}

#[test]
fn what_a_lost_version_counted_and_added_is_reinstated_with_it() {
    for collection in ["houses", "notes"] {
        let farm = Farm::new(SCHEMA, &[0, 0], 1);
        let (a, b) = (&farm.devices[0][0], &farm.devices[1][0]);
        farm.insert(0, collection, "r", &json!({"name": "A", "eggs": 10, "tags": ["x"]}));
        farm.settle();
        farm.update(a, collection, "r", &json!({"name": "B", "eggs": 13, "tags": ["x", "y"]}));
        farm.write(b, Intent::Delete { key: Key::new(collection, "r") });
        farm.sync(1);
        farm.sync(0);
        let conflict: std::sync::Arc<str> = a.unresolved()[0].clone();
        farm.write(a, Intent::Resolve { conflict: conflict.clone(), choice: Choice::Theirs });
        farm.settle();
        farm.write(a, Intent::Reinstate { conflict: conflict.clone() });
        assert_eq!(farm.seen(a, collection, "r"), json!({"name": "B", "eggs": 13, "tags": ["x", "y"]}), "{collection}");
        farm.settle();
        farm.agrees(collection, "r", &json!({"name": "B", "eggs": 13, "tags": ["x", "y"]}));
        // Once more adds nothing: it is all there.
        farm.update(b, collection, "r", &json!({"eggs": 20}));
        farm.settle();
        farm.write(b, Intent::Reinstate { conflict });
        farm.settle();
        farm.agrees(collection, "r", &json!({"name": "B", "eggs": 20, "tags": ["x", "y"]}));
    }
}
