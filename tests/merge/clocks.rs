//! Three devices with wrong clocks edit the same records for many rounds.

use crate::farm::{Farm, body};
use homing::core::plan::Intent;
use homing::core::record::{Key, Record};
use homing::engine::Request;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap, HashSet};

const RECORDS: usize = 200;
const ROUNDS: usize = 50;

fn value(record: &Record) -> String {
    body(record)["eggs"].as_str().unwrap().to_owned()
}

#[test]
fn three_clocks_two_hundred_records_fifty_rounds() {
    let farm = Farm::new(r#"{"collections":{"days":{}}}"#, &[-600_000, 0, 86_400_000], 1);
    for n in 0..RECORDS {
        farm.insert(1, "days", &format!("d{n}"), &json!({"eggs": "start"}));
    }
    farm.settle();
    let (mut archived, mut names) = (HashSet::new(), HashSet::new());
    let (mut stamps, mut fell): (HashMap<(usize, usize), i64>, usize) = (HashMap::new(), 0);
    let (mut all, mut replaced, mut wins) = (Vec::new(), HashSet::new(), BTreeMap::<usize, usize>::new());
    for round in 0..ROUNDS {
        // Who writes last changes from round to round.
        for d in (0..3).map(|d| (d + round) % 3) {
            farm.world.advance(500);
            let tab = &farm.devices[d][0];
            let view = |n: usize| tab.read(|r| r.view(&Key::new("days", format!("d{n}").as_str()))).unwrap();
            let before: Vec<Record> = (0..RECORDS).map(view).collect();
            replaced.extend(before.iter().map(value));
            let edit = |n: usize| {
                let new = RawValue::from_string(format!("\"v{d}.{n}.{round}\"")).unwrap();
                Intent::Update { key: Key::new("days", format!("d{n}").as_str()), set: vec![("eggs".into(), new)], unset: vec![] }
            };
            tab.write(Request { intents: (0..RECORDS).map(edit).collect(), ..Request::default() }).unwrap();
            farm.world.run(Box::pin(tab.durable()));
            for (n, before) in before.iter().enumerate() {
                let now = view(n);
                assert!(now.updated_at() > before.updated_at(), "an edit is later than what it was made on");
                fell += usize::from(stamps.insert((d, n), now.updated_at().0).is_some_and(|last| now.updated_at().0 <= last));
                all.push(value(&now));
            }
        }
        (0..3).for_each(|d| farm.sync((d + round) % 3));
        for n in 0..RECORDS {
            let winner = value(&farm.row("days", &format!("d{n}")));
            *wins.entry(usize::from(winner.as_bytes()[1] - b'0')).or_default() += 1;
        }
        // The archive keeps the newest 1,000 of a collection (DESIGN §11): what it has after each round counts.
        let entries = farm.archive();
        archived.extend(entries.iter().flat_map(|c| [&c.mine, &c.theirs]).flatten().map(value));
        names.extend(entries.into_iter().map(|c| c.id));
        farm.world.advance(60_000);
    }
    farm.settle();
    let rows = farm.all_equal();
    println!("versions {}, wins by device {wins:?}, {} archive entries", all.len(), names.len());
    assert_eq!(fell, 0, "stamps of a record grow on each device; with an offset known nothing is clamped");
    assert!(wins.len() == 3 && wins.values().all(|n| *n > RECORDS * ROUNDS / 6), "somebody hardly ever wins");
    let live = rows.iter().filter(|(key, _)| key.starts_with("days/")).map(|(_, row)| row);
    let kept: HashSet<String> = archived.into_iter().chain(live.map(value)).collect();
    let lost: Vec<&String> = all.iter().filter(|v| !kept.contains(*v) && !replaced.contains(*v)).collect();
    assert!(lost.is_empty(), "{} of {} versions are nowhere: {:?}", lost.len(), all.len(), lost.first());
    let archived = all.iter().filter(|v| kept.contains(*v)).count();
    assert!(archived > RECORDS * ROUNDS, "too few versions lost to mean anything: {archived}");
}

/// Fault row F21.
#[test]
fn f21_equal_stamps_on_two_devices_are_decided_alike_and_the_loser_is_archived_once() {
    for schema in [r#"{"collections":{"days":{}}}"#, r#"{"collections":{"days":{"merge":"fields"}}}"#] {
        for first in [0, 1] {
            let farm = Farm::new(schema, &[0, 0], 1);
            farm.insert(0, "days", "d", &json!({"eggs": "start"}));
            farm.settle();
            farm.world.advance(10_000);
            let now = |d: usize| farm.devices[d][0].read(|r| r.view(&Key::new("days", "d"))).unwrap();
            let stamp = |d: usize| now(d).updated_at();
            // Each device's idea of the server's clock is a few milliseconds off: the one behind catches up.
            farm.update(&farm.devices[0][0], "days", "d", &json!({"eggs": "a"}));
            let mut n = 0;
            farm.update(&farm.devices[1][0], "days", "d", &json!({"eggs": "x"}));
            while stamp(0) != stamp(1) {
                n += 1;
                let behind = usize::from(stamp(1) < stamp(0));
                farm.update(&farm.devices[behind][0], "days", "d", &json!({"eggs": format!("x{n}")}));
                assert!(n < 1_000, "the stamps never meet");
            }
            let texts = [value(&now(0)), value(&now(1))];
            farm.sync(first);
            farm.sync(1 - first);
            farm.settle();
            let rows = farm.all_equal();
            let winner = value(&rows["days/d"]);
            assert_eq!(winner, texts.iter().max().unwrap().clone(), "the larger canonical text, whoever came first");
            let entries: Vec<_> = farm.archive().into_iter().filter(|c| c.collection == "days").collect();
            assert_eq!(entries.len(), 1, "{entries:?}");
            let kept = [&entries[0].mine, &entries[0].theirs].into_iter().flatten().map(value).collect::<Vec<_>>();
            assert!(texts.iter().all(|text| kept.contains(text) || *text == winner), "{kept:?} {texts:?}");
        }
    }
}
