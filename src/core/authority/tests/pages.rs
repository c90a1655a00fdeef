//! Pages, cursors, epochs, horizons.

use super::*;
use crate::core::authority::{page, seen};
use crate::core::protocol::{Cursor, PullRequest};

fn pull(farm: &mut Farm, cursor: Option<&str>, limit: usize) -> SyncResponse {
    let request = PullRequest { protocol: PROTOCOL, cursor: cursor.map(String::from), limit: Some(limit), ..PullRequest::default() };
    farm.server.pull(&request, SCOPE, Stamp(farm.now)).unwrap()
}

fn ids(response: &SyncResponse) -> Vec<String> {
    let records = response.changes.iter().flat_map(|c| &c.records);
    records.map(|r| Record::parse(r.get()).unwrap()).map(|r| format!("{}{}", if r.is_deleted() { "-" } else { "" }, r.id())).collect()
}

/// Follows the cursor to the end.
fn all(farm: &mut Farm, mut cursor: Option<String>, limit: usize) -> (Vec<String>, String) {
    let mut seen = Vec::new();
    loop {
        let response = pull(farm, cursor.as_deref(), limit);
        seen.extend(ids(&response));
        cursor = Some(response.cursor.clone());
        if !response.has_more {
            return (seen, response.cursor);
        }
    }
}

fn create(farm: &mut Farm, id: &str) -> u64 {
    let collection = if id.starts_with('b') { "barns" } else { "flocks" };
    farm.one(mutation(&format!("c-{id}:1"), Op::Create, (collection, id), 1000, &json!({}))).rev.unwrap()
}

fn delete(farm: &mut Farm, id: &str) {
    let rev = farm.rev(("flocks", id));
    farm.one(WireMutation { base_rev: Some(rev), ..mutation(&format!("c-{id}:2"), Op::Delete, ("flocks", id), 2000, &json!({})) });
}

#[test]
fn rows_travel_in_the_order_they_were_entered() {
    let mut farm = Farm::new();
    for id in ["z", "b1", "a", "m", "b2"] {
        create(&mut farm, id);
    }
    for limit in [1, 2, 3, 100] {
        assert_eq!(all(&mut farm, None, limit).0, ["z", "b1", "a", "m", "b2"], "limit {limit}");
    }
    let first = pull(&mut farm, None, 100);
    assert_eq!(first.changes.iter().map(|c| c.collection.as_str()).collect::<Vec<_>>(), ["flocks", "barns", "flocks", "barns"]);
    assert_eq!((first.has_more, first.reset, first.rev), (false, false, farm.server.head(SCOPE).unwrap().rev));
    assert_eq!(first.horizon, Stamp(NOW - 90 * 86_400_000).to_string());
}

#[test]
fn a_snapshot_leaves_out_old_tombstones_and_tells_new_ones() {
    let mut farm = Farm::new();
    for id in ["a", "dead", "c", "d"] {
        create(&mut farm, id);
    }
    delete(&mut farm, "dead");
    let page = pull(&mut farm, None, 2);
    assert_eq!((ids(&page), page.has_more), (vec!["a".into(), "c".into()], true));
    assert!(page.cursor.parse::<Cursor>().unwrap().snapshot.is_some());
    // Meanwhile: a row already delivered is deleted, one not yet delivered is edited.
    delete(&mut farm, "a");
    create(&mut farm, "e");
    let (rest, cursor) = all(&mut farm, Some(page.cursor), 2);
    assert_eq!(rest, ["d", "-a", "e"]);
    assert_eq!(cursor.parse::<Cursor>().unwrap().snapshot, None);
    delete(&mut farm, "c");
    assert_eq!(all(&mut farm, Some(cursor), 10).0, ["-c"]);
}

#[test]
fn own_writes_come_back_in_changes() {
    let mut farm = Farm::new();
    let cursor = pull(&mut farm, None, 10).cursor;
    let push = PushRequest { cursor: Some(cursor), ..request(vec![mutation("a:1", Op::Create, ("flocks", "x"), 1, &json!({}))]) };
    let response = farm.answer(&push);
    assert_eq!(ids(&response), ["x"]);
    assert_eq!(response.rev, response.results[0].rev.unwrap());
    assert_eq!(response.cursor.parse::<Cursor>().unwrap().rev, response.rev);
}

#[test]
fn a_page_ends_by_bytes_too() {
    let mut farm = Farm::new();
    for n in 1..=6 {
        let big = json!({"text": "x".repeat(1024 * 1024 - 300)});
        farm.one(mutation(&format!("a:{n}"), Op::Create, ("flocks", &format!("f{n}")), 1, &big));
    }
    let page = pull(&mut farm, None, 100);
    assert_eq!((ids(&page).len(), page.has_more), (4, true));
    assert_eq!(all(&mut farm, None, 100).0.len(), 6);
}

#[test]
fn a_refused_cursor_is_not_evaluated() {
    let mut farm = Farm::new();
    let first = create(&mut farm, "a");
    let epoch = farm.server.head(SCOPE).unwrap().epoch.clone();
    let cursor = |rev: u64, snapshot: Option<u64>, epoch: &str| Some(Cursor { rev, snapshot, epoch: epoch.into() }.to_string());
    for (cursor, starts_epoch) in [
        (cursor(first, None, "other"), false),
        (Some("garbage".to_owned()), false),
        (cursor(first + 1, None, &epoch), true),
        (cursor(0, Some(first + 1), &epoch), true),
        (cursor(u64::MAX, None, &epoch), false),
    ] {
        let mut farm = farm.clone_farm();
        let before = farm.state();
        let push = PushRequest {
            cursor: cursor.clone(),
            settled_through: 3,
            ..request(vec![mutation("z:4", Op::Create, ("flocks", "new"), 1, &json!({}))])
        };
        let response = farm.answer(&push);
        assert!(response.reset && response.results.is_empty(), "{cursor:?}");
        assert_eq!(farm.state().0, before.0, "{cursor:?}");
        assert_eq!(ids(&response), ["a"], "{cursor:?}: the replacement begins at once");
        assert_eq!(response.epoch != epoch, starts_epoch, "{cursor:?}");
        let again = farm.answer(&PushRequest { cursor: Some(response.cursor), ..push });
        assert!(!again.reset);
        assert_eq!(again.results[0].status, Outcome::Applied, "{cursor:?}");
        assert!(farm.rev(("flocks", "new")) > before.1);
    }
    // The same for a pull.
    let response = pull(&mut farm, cursor(first + 1, None, &epoch).as_deref(), 10);
    assert!(response.reset && response.epoch != epoch);
    assert_eq!(farm.server.head(SCOPE).unwrap().epoch, response.epoch);
}

#[test]
fn a_base_this_server_never_gave_starts_a_new_epoch_once() {
    let mut farm = Farm::new();
    let rev = create(&mut farm, "a");
    let cursor = pull(&mut farm, None, 10).cursor;
    let edit = WireMutation { base_rev: Some(rev + 1000), ..mutation("z:1", Op::Update, ("flocks", "a"), 2000, &json!({"n": 1})) };
    let push = PushRequest { cursor: Some(cursor), ..request(vec![edit]) };
    let response = farm.answer(&push);
    assert!(response.reset && response.results.is_empty());
    let again = farm.answer(&PushRequest { cursor: Some(response.cursor), ..push });
    assert!(!again.reset);
    assert_eq!(again.results[0].status, Outcome::Applied);
    assert_eq!(farm.archive().len(), 1, "its base is unknown, so what it replaces is archived");
}

#[test]
fn a_purge_refuses_cursors_behind_it() {
    let mut farm = Farm::new();
    for id in ["a", "b", "c"] {
        create(&mut farm, id);
    }
    let old = pull(&mut farm, None, 10).cursor;
    let half = pull(&mut farm, None, 1).cursor;
    farm.one(WireMutation { base_rev: Some(farm.rev(("barns", "b"))), ..mutation("d:1", Op::Delete, ("barns", "b"), 2000, &json!({})) });
    delete(&mut farm, "c");
    let middle = Cursor { rev: farm.rev(("barns", "b")), ..old.parse().unwrap() }.to_string();
    farm.server.purge(SCOPE, 1);
    assert_eq!(farm.body(("barns", "b")), "none");
    assert!(pull(&mut farm, Some(&old), 10).reset, "b's deletion would never be told");
    assert!(pull(&mut farm, Some(&half), 10).reset, "also in the middle of a snapshot that began before it");
    let response = pull(&mut farm, Some(&middle), 10);
    assert!(!response.reset);
    assert_eq!(ids(&response), ["-c"]);
    assert_eq!(all(&mut farm, None, 10).0, ["a"]);
    create(&mut farm, "d");
    let first = pull(&mut farm, None, 1);
    let second = pull(&mut farm, Some(&first.cursor), 1);
    assert_eq!((ids(&second), second.reset), (vec!["d".into()], false), "a snapshot that began after it goes on");
    let late = WireMutation { base_rev: Some(1), ..mutation("e:1", Op::Update, ("barns", "b"), 9000, &json!({})) };
    assert_eq!(farm.one(late).status, Outcome::Conflict, "a purged row is not written back");
    assert_eq!(farm.body(("barns", "b")), "none");
}

#[test]
fn a_restored_backup_is_a_new_epoch_above_the_old_one() {
    let mut farm = Farm::new();
    create(&mut farm, "a");
    let backup = farm.server.snapshot();
    let lost = create(&mut farm, "lost");
    let cursor = pull(&mut farm, None, 10).cursor;
    farm.server.restore(&backup, Stamp(farm.now));
    let response = pull(&mut farm, Some(&cursor), 10);
    assert!(response.reset);
    assert_eq!(ids(&response), ["a"]);
    assert!(create(&mut farm, "new") > lost, "a number is never given twice");
    assert!(!pull(&mut farm, Some(&response.cursor), 10).reset);
    let heads = [Head::first(Stamp(NOW)), Head::first(Stamp(NOW)).next_epoch(Stamp(NOW - 5000)), Head::first(Stamp(-1))];
    assert_eq!(heads[0].rev, NOW as u64 * 1000);
    assert_eq!(heads[1].rev, heads[0].rev + 1, "also when the clock went back");
    assert_eq!(heads[2].rev, 1);
}

#[test]
fn since_a_time_for_simple_clients() {
    let mut farm = Farm::new();
    create(&mut farm, "a");
    farm.now += 10_000;
    create(&mut farm, "c");
    delete(&mut farm, "c");
    let since = |farm: &mut Farm, ms: i64| farm.server.since(Stamp(NOW + ms), SCOPE, Stamp(farm.now));
    assert_eq!(ids(&since(&mut farm, 0)), ["a", "-c"], "tombstones too");
    let response = since(&mut farm, 10_000);
    assert_eq!(ids(&response), ["-c"], "the instant itself counts");
    assert!(ids(&since(&mut farm, 10_001)).is_empty());
    create(&mut farm, "d");
    assert_eq!(all(&mut farm, Some(response.cursor), 10).0, ["d"], "from then on by cursor");
}

#[test]
fn half_a_push_tells_what_came_in_between() {
    let mut farm = Farm::new();
    let push = request(vec![mutation("a:1", Op::Create, ("flocks", "x"), 1, &json!({}))]);
    let committed = farm.server.commit(&push, SCOPE, Stamp(NOW)).unwrap();
    create(&mut farm, "between");
    let response = farm.server.finish(committed, Stamp(NOW));
    assert_eq!(ids(&response), ["x", "between"]);
    assert_eq!(response.results[0].status, Outcome::Applied);
}

impl Farm {
    fn clone_farm(&self) -> Self {
        Self { server: self.server.clone(), now: self.now }
    }
}

#[test]
fn a_page_planned_before_the_head_was_known_counts_unless_another_was_due() {
    let head = Head { rev: 9, epoch: "e".into(), purged_through: 3, numbers_from: 0 };
    let plan = |cursor: Option<&str>, head: &Head| page(cursor, head, None, Stamp(NOW));
    let counts = |cursor: Option<&str>, likely: &Head| plan(cursor, likely).still(&plan(cursor, &head));
    for (cursor, there) in [("c1.5..e", true), ("c1.9..e", true), ("c1.2..e", false), ("c1.5..other", false), ("c1.10..e", false)] {
        assert_eq!(counts(Some(cursor), &seen(Some(cursor)).unwrap()), there, "{cursor}");
    }
    // A snapshot may have begun earlier, never later.
    assert!(counts(None, &head) && counts(None, &Head { rev: 8, ..head.clone() }) && !counts(None, &Head { rev: 10, ..head.clone() }));
    assert_eq!((seen(None), seen(Some("nonsense"))), (None, None));
}

#[test]
fn a_rev_in_a_row_that_this_server_never_gave_starts_a_new_epoch_too() {
    let body = |n: u64, rev: u64| json!({"id": "a", "n": n, "_rev": rev, "_updatedAt": at(2000 + n.cast_signed())});
    for with_mutation in [false, true] {
        let mut farm = Farm::new();
        let rev = create(&mut farm, "a");
        let epoch = farm.server.head(SCOPE).unwrap().epoch.clone();
        if with_mutation {
            let record = body(11, rev + 1);
            let edit = WireMutation {
                record: Some(raw(&record)),
                updated_at: at(2011),
                ..mutation("z:1", Op::Update, ("flocks", "a"), 2011, &json!({}))
            };
            let response = farm.answer(&request(vec![edit.clone()]));
            assert!(response.results.is_empty());
            farm.one(edit);
        } else {
            assert!(farm.rows_push("flocks", &[body(11, rev + 1)]).is_empty());
        }
        assert_ne!(farm.server.head(SCOPE).unwrap().epoch, epoch);
        assert_eq!(
            (farm.body(("flocks", "a")), farm.archive().len()),
            (json!({"n": 11}), 1),
            "its base is unknown, so what it replaces is archived"
        );
        // Whoever holds the lost version of that number has not seen this one.
        farm.rows_push("flocks", &[body(12, rev + 1)]);
        assert_eq!((farm.body(("flocks", "a")), farm.archive().len()), (json!({"n": 12}), 2));
    }
}

#[test]
fn rows_of_a_request_that_is_not_evaluated_are_asked_for_again() {
    let mut farm = Farm::new();
    create(&mut farm, "a");
    let rows = |rows: &[Value]| vec![WireChanges { collection: "flocks".into(), records: rows.iter().map(raw).collect() }];
    let changes = rows(&[json!({"id": "new", "n": 1}), json!([])]);
    let push = PushRequest { cursor: Some("c1.elsewhere".into()), changes, ..request(Vec::new()) };
    let response = farm.answer(&push);
    assert!(response.reset);
    let told: Vec<_> = response.results.iter().map(|r| (r.id.as_str(), r.status, r.code.as_deref(), r.retry_after_ms)).collect();
    assert_eq!(
        told,
        [
            ("/changes/0/records/0", Outcome::Retry, Some("reset"), Some(0)),
            ("/changes/0/records/1", Outcome::Rejected, Some("invalid-record"), None)
        ]
    );
    assert_eq!(farm.body(("flocks", "new")), "none");
    let again = farm.answer(&PushRequest { cursor: Some(response.cursor), ..push });
    assert_eq!((again.results.len(), farm.body(("flocks", "new"))), (1, json!({"n": 1})));
}

#[test]
fn a_row_that_starts_a_new_epoch_is_judged_whatever_the_cursor() {
    let mut farm = Farm::new();
    let rev = create(&mut farm, "a");
    let cursor = pull(&mut farm, None, 10).cursor;
    let changes = vec![WireChanges { collection: "flocks".into(), records: vec![raw(&json!({"id": "row", "n": 1, "_rev": rev + 7}))] }];
    let late = mutation("z:4", Op::Create, ("flocks", "new"), 1, &json!({}));
    let push = PushRequest { cursor: Some(cursor), changes, ..request(vec![late]) };
    let response = farm.answer(&push);
    assert!(response.reset && response.results.is_empty(), "{:?}", response.results);
    assert_eq!(farm.body(("flocks", "row")), json!({"n": 1}), "whoever pushes rows sends them once");
    assert_eq!(farm.body(("flocks", "new")), "none", "a mutation comes again by itself");
}
