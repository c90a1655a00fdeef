//! What one push may take: the rest is put off, and comes with the next ones.

use super::*;
use Outcome::{Applied, Merged, Rejected, Retry};

/// A server at which a request may take 40,000 bytes, with so many settings of 4,000 bytes.
fn farm(rows: u64) -> Farm {
    let mut farm = Farm::new();
    for n in 0..rows {
        let id = format!("s{n:03}");
        farm.one(mutation(&format!("a:{}", n + 1), Op::Create, ("settings", &id), 1000, &json!({"n": 0, "text": "x".repeat(4_000)})));
    }
    farm.server = farm.server.with_budget(40_000);
    farm
}

/// What makes an answer long: a row that its author knows little of, changed.
fn edit(seq: u64, n: u64) -> WireMutation {
    let id = format!("s{n:03}");
    let edit = mutation(&format!("b:{seq}"), Op::Update, ("settings", &id), 2000, &json!({"n": seq}));
    WireMutation { changed: Some(vec!["/n".into()]), ..edit }
}

fn bytes(results: &[WireResult]) -> usize {
    results.iter().map(|r| serde_json::to_string(r).unwrap().len()).sum()
}

/// Pushes until nothing is put off; how often.
fn drain(farm: &mut Farm, mut waiting: Vec<WireMutation>, mut seen: impl FnMut(&WireResult)) -> usize {
    for round in 1.. {
        let results = farm.push(waiting.clone());
        assert_eq!(results.len(), waiting.len(), "every mutation is answered");
        let judged = results.iter().take_while(|r| r.status != Retry).count();
        assert!(judged > 0, "no request is for nothing");
        results.iter().for_each(&mut seen);
        for later in results.iter().filter(|r| r.status == Retry) {
            assert_eq!((later.code.as_deref(), later.retry_after_ms), (Some("too-much"), Some(0)));
        }
        let again: Vec<&str> = results.iter().filter(|r| r.status == Retry).map(|r| r.id.as_str()).collect();
        waiting.retain(|m| again.contains(&m.id.as_str()));
        if waiting.is_empty() {
            return round;
        }
    }
    unreachable!()
}

#[test]
fn a_short_request_is_no_long_answer_and_all_of_it_is_judged_in_the_end() {
    let mut farm = farm(60);
    let edits: Vec<WireMutation> = (0..60).map(|n| edit(n + 1, n)).collect();
    let first = farm.push(edits.clone());
    assert!(bytes(&first) < 90_000, "{}", bytes(&first));
    let judged = first.iter().take_while(|r| r.status != Retry).count();
    assert!(judged > 1 && judged < 20 && first[judged..].iter().all(|r| r.status == Retry), "{judged}");
    // Nothing is answered twice in a longer way.
    assert!(bytes(&farm.push(edits.clone())) < 90_000);
    let rounds = drain(&mut farm, edits, |_| {});
    assert!(rounds < 30, "{rounds}");
    assert!((0..60).all(|n| farm.body(("settings", &format!("s{n:03}")))["n"] == n + 1));
    assert!((0..60).all(|n| farm.server.effects()[&MutationId::new("b", n + 1)] == 1));
}

#[test]
fn receipts_that_are_answered_again_count_too() {
    let mut farm = farm(30);
    let edits: Vec<WireMutation> = (0..30).map(|n| edit(n + 1, n)).collect();
    farm.server = farm.server.with_budget(MAX_WORK);
    let first = farm.push(edits.clone());
    assert!(bytes(&first) > 200_000);
    farm.server = farm.server.with_budget(40_000);
    assert!(bytes(&farm.push(edits.clone())) < 90_000);
    let mut told = Vec::new();
    drain(&mut farm, edits, |r| told.extend(r.replayed.then(|| (r.id.clone(), r.rev, record_of(r)))));
    assert_eq!(told, first.iter().map(|r| (r.id.clone(), r.rev, record_of(r))).collect::<Vec<_>>());
}

#[test]
fn what_is_expired_counts_too() {
    let mut farm = farm(30);
    farm.answer(&PushRequest { settled_through: 100, client_id: "b".into(), ..request(Vec::new()) });
    let edits: Vec<WireMutation> = (0..30).map(|n| edit(n + 1, n)).collect();
    assert!(bytes(&farm.push(edits.clone())) < 90_000);
    drain(&mut farm, edits, |r| assert!(matches!(r.status, Outcome::Expired | Retry)));
}

#[test]
fn what_follows_something_that_was_put_off_does_not_pass_it() {
    let mut farm = farm(10);
    let mut edits: Vec<WireMutation> = (0..10).map(|n| edit(n + 1, n)).collect();
    // Light, but of a record that was put off, or dependent on it.
    edits.push(edit(11, 9));
    let child = mutation("b:12", Op::Create, ("flocks", "child"), 2000, &json!({}));
    edits.push(WireMutation { depends_on: vec!["b:10".into()], ..child });
    let first = farm.push(edits.clone());
    assert!(first[9..].iter().all(|r| r.status == Retry), "{first:?}");
    assert_eq!(farm.body(("flocks", "child")), "none");
    drain(&mut farm, edits, |r| assert!(matches!(r.status, Applied | Merged | Retry), "{r:?}"));
    assert_eq!(farm.body(("settings", "s009"))["n"], 11);
    // There would be room for this one, but not for the group before it that writes the same record.
    let mut edits = vec![edit(21, 0), edit(22, 1)];
    edits.extend((2..7).map(|n| WireMutation { group: Some("b:g".into()), ..edit(21 + n, n) }));
    edits.extend([edit(31, 6), edit(32, 7)]);
    let statuses: Vec<Outcome> = farm.push(edits).iter().map(|r| r.status).collect();
    assert_eq!(statuses, [Merged, Merged, Retry, Retry, Retry, Retry, Retry, Retry, Merged]);
}

#[test]
fn a_group_is_put_off_whole_and_refused_where_no_request_would_do() {
    let mut farm = farm(40);
    let group = |name: &str, from: u64, n: u64| -> Vec<WireMutation> {
        (from..from + n).map(|n| WireMutation { group: Some(name.into()), ..edit(n + 1, n) }).collect()
    };
    let mut edits: Vec<WireMutation> = (0..3).map(|n| edit(n + 1, n)).collect();
    edits.extend(group("b:g1", 3, 3));
    let first = farm.push(edits.clone());
    assert_eq!(first.iter().map(|r| r.status).collect::<Vec<_>>(), [Merged, Merged, Merged, Retry, Retry, Retry]);
    drain(&mut farm, edits, |_| {});
    assert_eq!(farm.body(("settings", "s005"))["n"], 6);
    // What is there for it is too much, and what comes of it would be.
    for (name, from, n) in [("b:g2", 10, 15), ("b:g3", 25, 6)] {
        let large = group(name, from, n);
        let before = farm.state();
        let refused = farm.push(large.clone());
        assert!(refused.iter().all(|r| (r.status, r.code.as_deref(), r.path.as_deref()) == (Rejected, Some("too-large"), Some("/group"))));
        assert_eq!(farm.state(), before, "nothing of it took effect");
        let again = farm.push(large);
        assert!(again.iter().all(|r| r.status == Rejected && r.replayed));
    }
}

const REFERS: &str = r#"{"collections": {"eggs": {"references": {"flockId": "flocks"}}}}"#;

/// A server whose eggs name their flocks; `b` wrote a second `x` of so many bytes, which met that of `a`.
fn met(bytes: usize) -> Farm {
    let mut farm = Farm { server: MemoryServer::new(Schema::parse(REFERS).unwrap()), ..Farm::new() };
    farm.one(mutation("a:1", Op::Create, ("flocks", "x"), 1000, &json!({"text": "a".repeat(bytes)})));
    assert_eq!(farm.one(mutation("b:1", Op::Create, ("flocks", "x"), 2000, &json!({"text": "b".repeat(bytes)}))).status, Outcome::Conflict);
    farm
}

fn child(n: u64) -> WireMutation {
    let egg = mutation(&format!("b:{}", n + 10), Op::Create, ("eggs", &format!("e{n}")), 4000, &json!({"flockId": "x"}));
    WireMutation { depends_on: vec!["b:1".into()], ..egg }
}

#[test]
fn what_was_written_for_mine_follows_it_also_where_the_receipt_is_long() {
    let mut farm = met(4_000);
    let resolves = farm.archive().first().map(|open| open.id.clone());
    farm.one(WireMutation { resolves, ..mutation("b:2", Op::Create, ("flocks", "y"), 3000, &json!({})) });
    farm.server = farm.server.with_budget(40_000);
    farm.one(child(0));
    assert_eq!(farm.body(("eggs", "e0")), json!({"flockId": "y"}));
}

#[test]
fn the_receipt_of_a_parent_counts_once_in_a_group() {
    let mut farm = met(1_500);
    farm.server = farm.server.with_budget(40_000);
    let group = (0..12).map(|n| WireMutation { group: Some("b:g".into()), ..child(n) });
    assert!(farm.push(group.collect()).iter().all(|r| r.status == Applied));
}

#[test]
fn rows_without_mutations_are_put_off_too() {
    let mut farm = farm(30);
    let rows: Vec<Value> = (0..30).map(|n| json!({"id": format!("s{n:03}"), "n": 1, "_updatedAt": at(3000)})).collect();
    let results = farm.rows_push("settings", &rows);
    assert!(bytes(&results) < 90_000);
    assert!(results.iter().any(|r| r.status == Retry) && farm.body(("settings", "s000"))["n"] == 1);
    // Who sends all of them every time gets on, too.
    for round in 0.. {
        assert!(round < 30);
        if farm.rows_push("settings", &rows).iter().all(|r| r.status != Retry) {
            break;
        }
    }
    assert_eq!(farm.body(("settings", "s029"))["n"], 1);
}

#[test]
fn what_a_group_lacks_shows_at_once() {
    let mut farm = Farm::new();
    let key = |n: u64| format!("optimistic_{n}");
    for n in 0..20 {
        farm.one(mutation(&format!("a:{}", n + 1), Op::Create, ("orders", &key(n)), 1000, &json!({"text": "x".repeat(1_200)})));
    }
    farm.server = farm.server.with_budget(60_000);
    let gone = |(n, (_, row)): (u64, &(Key, StoredRow))| {
        let delete = mutation(&format!("a:{}", n + 50), Op::Delete, ("orders", &key(n)), 2000, &json!({}));
        WireMutation { record: None, base_rev: row.record.rev(), group: Some("a:g".into()), ..delete }
    };
    let group = (0..20).zip(&farm.server.rows(SCOPE)).map(gone).collect();
    assert!(farm.push(group).iter().all(|r| r.status == Applied));
}

#[test]
fn rows_behind_outdated_ones_are_judged_some_day() {
    let mut farm = Farm::new();
    let mut rows: Vec<Value> = (0..30).map(|n| json!({"id": format!("f{n:03}"), "n": 1})).collect();
    farm.rows_push("flocks", &rows);
    let text = json!({"text": "x".repeat(1_700)});
    for n in 0..30 {
        let (old, new) = (format!("f{n:03}"), format!("n{n:03}"));
        let base_rev = Some(farm.rev(("flocks", &old)));
        farm.one(WireMutation { base_rev, ..mutation(&format!("b:{}", n + 1), Op::Update, ("flocks", &old), 9000, &text) });
        farm.one(mutation(&format!("b:{}", n + 101), Op::Create, ("flocks", &new), 1000, &text));
        rows.push(json!({"id": new, "n": 2, "_updatedAt": at(20_000)}));
    }
    farm.server = farm.server.with_budget(40_000);
    let rounds = (1..20).find(|_| farm.rows_push("flocks", &rows).iter().all(|r| r.status != Retry));
    assert!(rounds.is_some(), "{}", farm.body(("flocks", "n000")));
}

#[test]
fn rows_behind_those_in_conflict_are_judged_some_day() {
    let mut farm = Farm::new();
    let text = json!({"text": "x".repeat(3_000)});
    for n in 0..16 {
        farm.one(mutation(&format!("a:{}", n + 1), Op::Create, ("manual", &format!("m{n:03}")), 1000, &text));
    }
    let mut rows: Vec<Value> = (0..16).map(|n| json!({"id": format!("m{n:03}"), "n": 1, "_updatedAt": at(2000)})).collect();
    rows.push(json!({"id": "new", "n": 2, "_updatedAt": at(3000)}));
    farm.server = farm.server.with_budget(40_000);
    let rounds = (1..8).find(|_| farm.rows_push("manual", &rows).iter().all(|r| r.status != Retry));
    assert!(rounds.is_some(), "{}", farm.body(("manual", "new")));
    assert_eq!(farm.body(("manual", "new"))["n"], 2);
    // Of each conflict the verdict is told again, beside the row while it is the same and there is room for it.
    let again = farm.rows_push("manual", &rows);
    assert!(again.len() == 16 && again.iter().all(|r| r.status == Outcome::Conflict && r.replayed && r.archived.is_none()));
    assert!(bytes(&again) < 40_000, "{}", bytes(&again));
    let alone = |farm: &mut Farm| farm.rows_push("manual", &rows[..1]).first().map(|r| (r.replayed, r.rev, record_of(r)));
    let row = farm.row(("manual", "m000"));
    let rev = row.as_ref().and_then(Record::rev);
    assert_eq!(alone(&mut farm), Some((true, rev, row)));
    farm.one(WireMutation { base_rev: rev, ..mutation("a:100", Op::Update, ("manual", "m000"), 4000, &json!({"n": 3})) });
    assert_eq!(alone(&mut farm), Some((true, rev, None)));
    let receipts = farm.server.everything(SCOPE).unwrap().receipts;
    let longest = receipts.iter().filter(|(id, _)| id.client.starts_with("record:")).map(|(_, receipt)| receipt.result.len()).max();
    assert!(longest.is_some_and(|bytes| bytes < 500), "{longest:?}");
}

#[test]
fn a_receipt_is_read_once_however_many_depend_on_it() {
    let mut farm = met(1_000_000);
    let mut time = |from: u64, n: u64| {
        let began = std::time::Instant::now();
        let group = (from..from + n).map(|n| WireMutation { group: Some(format!("b:g{from}")), ..child(n) });
        assert!(farm.push(group.collect()).iter().all(|r| r.status == Applied));
        began.elapsed()
    };
    let (one, many) = (time(0, 1), time(1, 200));
    assert!(many < one * 20, "one {one:?}, 200 {many:?}");
}

#[test]
fn what_depends_on_more_than_a_request_may_take_is_refused_and_not_loaded() {
    let mut farm = Farm::new();
    for n in 0..100 {
        let (id, text) = (format!("x{n}"), |text: &str| json!({"text": text.repeat(2_000)}));
        farm.one(mutation(&format!("a:{}", n + 1), Op::Create, ("flocks", &id), 1000, &text("a")));
        farm.one(mutation(&format!("b:{}", n + 1), Op::Create, ("flocks", &id), 2000, &text("b")));
    }
    farm.server = farm.server.with_budget(40_000);
    let names = |n: u64, names: u64| {
        let depends_on = (1..=names).map(|n| format!("b:{n}")).collect();
        WireMutation { depends_on, ..mutation(&format!("b:{n}"), Op::Create, ("flocks", &format!("c{n}")), 4000, &json!({})) }
    };
    let refused = farm.one(names(200, 100));
    assert_eq!((refused.status, refused.path.as_deref()), (Rejected, Some("/dependsOn")));
    assert_eq!(farm.one(names(201, 3)).status, Applied);
}

#[test]
fn texts_compared_for_a_group_that_is_refused_count_too() {
    let schema = r#"{"collections": {"notes": {"fields": {"text": "text"}}}}"#;
    let mut farm = Farm { server: MemoryServer::new(Schema::parse(schema).unwrap()), ..Farm::new() };
    let words = |mark: &str| (0..150).map(|n| if mark == n.to_string() { "changed ".into() } else { format!("w{n} ") }).collect::<String>();
    for n in 0..4 {
        farm.one(mutation(&format!("a:{}", n + 1), Op::Create, ("notes", &format!("n{n}")), 1000, &json!({"text": words("")})));
        farm.one(mutation(&format!("a:{}", n + 11), Op::Update, ("notes", &format!("n{n}")), 2000, &json!({"text": words("7")})));
    }
    farm.server = farm.server.with_budget(40_000);
    let edit = |n: u64| {
        let was = json!({"/text": words("")}).as_object().cloned();
        WireMutation {
            was,
            ..mutation(&format!("b:{}", n + 1), Op::Update, ("notes", &format!("n{n}")), 3000, &json!({"text": words("70")}))
        }
    };
    let group = |n: u64, m: WireMutation| WireMutation { group: Some(format!("b:g{n}")), ..m };
    let bad = |n: u64| group(n, WireMutation { updated_at: "never".into(), ..edit(n + 10) });
    let results = farm.push(vec![group(0, edit(0)), bad(0), group(1, edit(1)), bad(1), edit(2)]);
    assert_eq!(results.iter().map(|r| r.status).collect::<Vec<_>>(), [Rejected, Rejected, Retry, Retry, Retry]);
}

#[test]
fn a_thousand_children_of_a_dozen_parents_are_not_too_many() {
    let mut farm = Farm::new();
    let parent = |n: u64| mutation(&format!("b:{n}"), Op::Create, ("flocks", &format!("p{n}")), 1000, &json!({}));
    farm.push((1..=12).map(parent).collect());
    let depends_on: Vec<String> = (1..=12).map(|n| format!("b:{n}")).collect();
    let group = (0..900).map(|n| WireMutation { depends_on: depends_on.clone(), group: Some("b:g".into()), ..child(n + 20) });
    let request = request(group.collect());
    assert!(farm.server.push(&request, SCOPE, Stamp(NOW)).is_ok_and(|answer| answer.results.iter().all(|r| r.status == Applied)));
}

#[test]
fn what_is_unknown_when_nothing_more_is_loaded_is_put_off() {
    let farm = met(10);
    let (request, schema) = (request(vec![child(0)]), Schema::parse(REFERS).unwrap());
    // Nobody has asked whether both were kept.
    let snapshot = farm.server.everything(SCOPE).unwrap();
    let judged = evaluate(&schema, &request, &snapshot, Stamp(NOW));
    assert!(judged.missing.ids.len() == 1 && judged.results[0].status == Applied);
    let judged = evaluate(&schema, &request, &Snapshot { last: true, ..snapshot }, Stamp(NOW));
    assert_eq!((judged.results[0].status, judged.effects.rows.len(), judged.effects.receipts.len()), (Retry, 0, 0));
}

#[test]
fn what_repeated_rows_are_compared_with_is_no_more_than_half_of_it() {
    let mut farm = Farm::new();
    let rows: Vec<Value> = (0..60).map(|n| json!({"id": format!("f{n:03}"), "n": 1})).collect();
    let dated: Vec<Value> = (0..60).map(|n| json!({"id": format!("d{n:03}"), "n": 1, "_updatedAt": at(1000)})).collect();
    for (name, rows) in [("f", &rows), ("d", &dated)] {
        farm.rows_push("flocks", rows);
        for n in 0..60 {
            let id = format!("{name}{n:03}");
            let base_rev = Some(farm.rev(("flocks", &id)));
            let edit = mutation(&format!("{name}:{}", n + 1), Op::Update, ("flocks", &id), 9000, &json!({"text": "x".repeat(3_000)}));
            assert_eq!(farm.one(WireMutation { base_rev, ..edit }).status, Applied);
        }
    }
    let all = farm.server.everything(SCOPE).unwrap();
    let size = |key: &Key| all.rows[key].record.text().len();
    for (rows, told, most) in [(&rows, 6, 20_000), (&dated, 0, 0)] {
        let changes = vec![WireChanges { collection: "flocks".into(), records: rows.iter().map(raw).collect() }];
        let request = PushRequest { changes, ..request(Vec::new()) };
        // As a store does that finds all of them too long to be loaded at once.
        let long = Long { rows: all.rows.keys().map(|key| (key.clone(), size(key))).collect(), ..Long::default() };
        let mut snapshot = Snapshot { rows: HashMap::new(), long, budget: 40_000, asked: needs(&request), ..all.clone() };
        let schema = Schema::parse(SCHEMA).unwrap();
        let (mut loaded, mut rounds) = (0, 0);
        let judged = loop {
            let judged = evaluate(&schema, &request, &snapshot, Stamp(NOW));
            loaded += judged.missing.rows.iter().map(size).sum::<usize>();
            rounds += 1;
            if judged.missing.is_empty() {
                break judged;
            }
            judged.missing.rows.iter().for_each(|key| snapshot.found_row(key.clone(), Ok(all.rows[key].clone())));
        };
        assert!(loaded <= most && rounds <= 2, "{loaded} in {rounds} rounds");
        // All at hand, for whatever reason: no more of them are compared.
        let at_hand = Snapshot { rows: all.rows.clone(), long: Long::default(), ..snapshot };
        for judged in [judged, evaluate(&Schema::parse(SCHEMA).unwrap(), &request, &at_hand, Stamp(NOW))] {
            assert_eq!(judged.results.iter().filter(|r| r.code.as_deref() == Some("outdated")).count(), told, "{:?}", judged.results);
            assert_eq!((judged.results.len(), judged.results.iter().filter(|r| r.record.is_some()).count()), (told, told));
        }
    }
}
