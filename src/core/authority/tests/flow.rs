//! What surrounds a verdict: receipts, marks, dependencies, groups, the clamp, decisions, ids, simple clients.

use super::*;
use crate::core::conflict::{Kind, Status, Winner};
use Outcome::{Applied, Blocked, Conflict as Refused, Expired, Merged, Rejected, Retry, Superseded};

fn statuses(results: &[WireResult]) -> Vec<(&str, Outcome)> {
    results.iter().map(|r| (r.id.as_str(), r.status)).collect()
}

const FLOCK: (&str, &str) = ("flocks", "f1");

/// A flock created by `a:1` and edited by `b:1` at 2000, both on the server.
fn edited() -> (Farm, u64) {
    let mut farm = Farm::new();
    farm.one(mutation("a:1", Op::Create, FLOCK, 1000, &json!({"name": "Layer Group 3", "birds": 100})));
    let first = farm.rev(FLOCK);
    let edit = mutation("b:1", Op::Update, FLOCK, 2000, &json!({"name": "Layer Group 3", "birds": 90}));
    farm.one(WireMutation { base_rev: Some(first), ..edit });
    (farm, first)
}

/// Found by the fuzzer: the refused one was counted, because another mutation wrote its record.
#[test]
fn one_id_twice_in_a_request_takes_effect_once() {
    let mut farm = Farm::new();
    let create = mutation("a:1", Op::Create, FLOCK, 1000, &json!({"name": "x"}));
    let other = mutation("a:1", Op::Create, FLOCK, 1000, &json!({"name": "y"}));
    let results = farm.answer(&request(vec![create, other])).results;
    assert_eq!((results[0].status, results[1].status, results[1].code.as_deref()), (Applied, Rejected, Some("mutation-reuse")));
    assert_eq!(farm.body(FLOCK)["name"], "x");
    assert_eq!(farm.server.effects().values().copied().collect::<Vec<_>>(), [1]);
}

#[test]
fn receipts_marks_and_reuse_in_the_order_of_r5() {
    let mut farm = Farm::new();
    let create = mutation("a:1", Op::Create, FLOCK, 1000, &json!({"name": "x"}));
    let first = farm.one(create.clone());
    let settled = |muts: Vec<WireMutation>| PushRequest { settled_through: 2, ..request(muts) };
    let again = farm.answer(&settled(vec![create.clone()])).results.remove(0);
    assert_eq!((again.status, again.replayed, again.rev), (Applied, true, first.rev), "a receipt outlives the mark");
    let other = mutation("a:1", Op::Create, ("flocks", "f2"), 1000, &json!({"name": "y"}));
    let reuse = farm.one(other);
    assert_eq!((reuse.status, reuse.code.as_deref(), reuse.replayed), (Rejected, Some("mutation-reuse"), false));
    assert_eq!(farm.body(("flocks", "f2")), "none");
    let late = mutation("a:2", Op::Update, FLOCK, 3000, &json!({"name": "late"}));
    let expired = farm.one(WireMutation { base_rev: first.rev, ..late });
    assert_eq!((expired.status, expired.rev), (Expired, first.rev));
    assert_eq!(record_of(&expired), farm.row(FLOCK));
    assert_eq!(farm.body(FLOCK)["name"], "x", "what the client called settled has no effect, whatever arrives");
    let new = mutation("a:3", Op::Update, FLOCK, 3000, &json!({"name": "z"}));
    assert_eq!(farm.one(WireMutation { base_rev: first.rev, ..new }).status, Applied);
    // The mark belongs to the client of the mutation id, not to the one that sends.
    let restored = mutation("a:2", Op::Update, FLOCK, 4000, &json!({"name": "late"}));
    assert_eq!(farm.answer(&PushRequest { client_id: "b".into(), ..request(vec![restored]) }).results[0].status, Expired);
    assert_eq!(farm.server.effects().values().copied().collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn every_final_verdict_has_a_receipt_and_waiting_has_none() {
    let (mut farm, first) = edited();
    let superseded = WireMutation { base_rev: Some(first), ..mutation("c:1", Op::Update, FLOCK, 1500, &json!({"name": "old"})) };
    let conflict = WireMutation { base_rev: Some(first), ..mutation("c:2", Op::Delete, FLOCK, 3000, &json!({})) };
    let rejected = mutation("c:3", Op::Create, ("_conflictArchive", "x"), 3000, &json!({}));
    let blocked = WireMutation { depends_on: vec!["z:1".into()], ..mutation("c:4", Op::Create, ("flocks", "f4"), 1, &json!({})) };
    let all = vec![superseded, conflict, rejected, blocked];
    let want = [("c:1", Superseded), ("c:2", Refused), ("c:3", Rejected), ("c:4", Blocked)];
    let results = farm.push(all.clone());
    assert_eq!(statuses(&results), want);
    let state = farm.state();
    farm.now += 86_400_000;
    let again = farm.push(all);
    assert_eq!(statuses(&again), want);
    assert_eq!(again.iter().map(|r| r.replayed).collect::<Vec<_>>(), [true, true, true, false]);
    assert_eq!(farm.state(), state);
}

#[test]
fn dependencies() {
    let create = |id: &str, rec: &str| mutation(id, Op::Create, ("flocks", rec), 1000, &json!({}));
    let child = |id: &str, on: &str| WireMutation { depends_on: vec![on.into()], ..create(id, &format!("child-{}", id.replace(':', "-"))) };
    let mut farm = Farm::new();
    // Same request: satisfied by what stands before it, not by what stands behind.
    let results = farm.push(vec![create("a:1", "p1"), child("a:2", "a:1"), child("a:3", "a:4"), create("a:4", "p4")]);
    assert_eq!(statuses(&results), [("a:1", Applied), ("a:2", Applied), ("a:3", Blocked), ("a:4", Applied)]);
    assert_eq!(results[2].code.as_deref(), Some("blocked"));
    assert_eq!(farm.one(child("a:3", "a:4")).status, Applied, "by its receipt");
    // A refused parent holds its child back; once the client has settled it, the child may go.
    let bad = mutation("a:5", Op::Create, ("flocks", "$bad"), 1000, &json!({}));
    assert_eq!(statuses(&farm.push(vec![bad, child("a:6", "a:5")])), [("a:5", Rejected), ("a:6", Blocked)]);
    assert_eq!(farm.one(child("a:6", "a:5")).status, Blocked, "by its receipt too");
    let settled = PushRequest { settled_through: 5, ..request(vec![child("a:6", "a:5")]) };
    assert_eq!(farm.answer(&settled).results[0].status, Applied);
    // A superseded parent satisfies.
    let old = mutation("b:1", Op::Update, ("flocks", "p1"), 500, &json!({"n": 1}));
    assert_eq!(statuses(&farm.push(vec![old, child("b:2", "b:1")])), [("b:1", Superseded), ("b:2", Applied)]);
    // So does one that another client has settled, whatever became of it.
    assert_eq!(farm.one(child("b:4", "z:3")).status, Blocked);
    farm.answer(&PushRequest { client_id: "z".into(), settled_through: 3, ..request(vec![]) });
    assert_eq!(farm.one(child("b:4", "z:3")).status, Applied);
    let own = farm.one(child("b:5", "b:5"));
    assert_eq!((own.status, own.path.as_deref()), (Rejected, Some("/dependsOn/0")));
}

#[test]
fn a_group_is_applied_or_refused_together() {
    let grouped = |id: &str, op: Op, rec: &str, body: Value| WireMutation {
        group: Some("g".into()),
        ..mutation(id, op, ("flocks", rec), 3000, &body)
    };
    let (mut farm, first) = edited();
    let ok = farm.push(vec![grouped("c:1", Op::Create, "g1", json!({})), grouped("c:2", Op::Create, "g2", json!({}))]);
    assert_eq!(statuses(&ok), [("c:1", Applied), ("c:2", Applied)]);
    // One in conflict: it keeps its verdict and its conflict, the others have no effect, strangers do.
    let members = vec![
        grouped("c:3", Op::Create, "g3", json!({})),
        mutation("c:4", Op::Create, ("flocks", "stranger"), 3000, &json!({})),
        WireMutation { base_rev: Some(first), ..grouped("c:5", Op::Delete, "f1", json!({"name": "Layer Group 3"})) },
    ];
    let results = farm.push(members.clone());
    assert_eq!(statuses(&results), [("c:3", Rejected), ("c:4", Applied), ("c:5", Refused)]);
    assert_eq!((results[0].code.as_deref(), results[0].path.as_deref()), (Some("group-refused"), Some("/group")));
    assert!(results[0].message.as_deref().unwrap().contains("c:5"));
    assert_eq!((farm.body(("flocks", "g3")), farm.body(("flocks", "stranger"))), (json!("none"), json!({})));
    assert_eq!(farm.body(FLOCK)["birds"], 90);
    assert_eq!(farm.archive().iter().map(|c| c.status).collect::<Vec<_>>(), [Status::Unresolved]);
    let state = farm.state();
    assert!(farm.push(members).iter().all(|r| r.replayed));
    assert_eq!(farm.state(), state);
    // One rejected, one waiting, one without a usable id.
    let results = farm.push(vec![grouped("c:6", Op::Create, "g6", json!({})), grouped("c:7", Op::Create, "$no", json!({}))]);
    assert_eq!(statuses(&results), [("c:6", Rejected), ("c:7", Rejected)]);
    let waiting = WireMutation { depends_on: vec!["z:9".into()], ..grouped("c:9", Op::Create, "g9", json!({})) };
    let results = farm.push(vec![grouped("c:8", Op::Create, "g8", json!({})), waiting.clone()]);
    assert_eq!(statuses(&results), [("c:8", Blocked), ("c:9", Blocked)]);
    let results = farm.push(vec![grouped("c:8", Op::Create, "g8", json!({})), WireMutation { depends_on: vec![], ..waiting }]);
    assert_eq!(statuses(&results), [("c:8", Applied), ("c:9", Applied)], "waiting leaves no trace");
    let results = farm.push(vec![grouped("c:10", Op::Create, "g10", json!({})), grouped("nonsense", Op::Create, "g11", json!({}))]);
    assert_eq!(statuses(&results), [("c:10", Rejected), ("nonsense", Rejected)]);
    // One that fails only because of another member leaves nothing either.
    let results = farm.push(vec![grouped("c:12", Op::Create, "g12", json!({"n": 1})), grouped("c:13", Op::Create, "g12", json!({"n": 2}))]);
    assert_eq!(statuses(&results), [("c:12", Rejected), ("c:13", Rejected)]);
    for id in ["g6", "g10", "g11", "g12"] {
        assert_eq!(farm.body(("flocks", id)), "none");
    }
}

#[test]
fn a_stamp_from_the_future_is_clamped_above_the_row() {
    let mut farm = Farm::new();
    let day = 86_400_000;
    let four_minutes = farm.one(mutation("a:1", Op::Create, FLOCK, 240_000, &json!({"n": 1})));
    assert!(!four_minutes.clamped);
    let ahead = mutation("b:1", Op::Update, FLOCK, day, &json!({"n": 2}));
    let result = farm.one(WireMutation { base_rev: four_minutes.rev, ..ahead });
    assert_eq!((result.status, result.clamped), (Applied, true));
    assert_eq!(farm.row(FLOCK).unwrap().updated_at(), Stamp(NOW + 240_001), "one above what is there, not below");
    assert_eq!(record_of(&result), farm.row(FLOCK));
    farm.now += day / 2;
    let tombstone = WireMutation { base_rev: result.rev, ..mutation("b:2", Op::Delete, FLOCK, 2 * day, &json!({"n": 2})) };
    assert!(farm.one(tombstone).clamped);
    let row = farm.row(FLOCK).unwrap();
    assert_eq!((row.updated_at(), row.deleted_at()), (Stamp(farm.now), Some(Stamp(farm.now))));
    // Also inside _fieldTimes, also when the version's own stamp is honest.
    let body = json!({"a": 1, "_fieldTimes": {"": at(day * 9), "/a": at(day * 9)}});
    let result = farm.one(mutation("c:1", Op::Create, ("settings", "$singleton"), 1000, &body));
    assert!(result.clamped && result.status == Applied);
    let times = farm.row(("settings", "$singleton")).unwrap().value().unwrap()["_fieldTimes"].clone();
    assert_eq!(times, json!({"": Stamp(farm.now).to_string(), "/a": Stamp(farm.now).to_string()}));
}

#[test]
fn keep_mine_brings_the_flock_back_and_closes_the_conflict() {
    let (mut farm, first) = edited();
    let current = farm.rev(FLOCK);
    farm.one(WireMutation { base_rev: Some(current), ..mutation("b:2", Op::Delete, FLOCK, 3000, &json!({"name": "Layer Group 3"})) });
    let mine =
        WireMutation { base_rev: Some(first), ..mutation("a:2", Op::Update, FLOCK, 2500, &json!({"name": "Layer Group 3", "birds": 80})) };
    let refused = farm.one(mine);
    assert_eq!(refused.status, Refused);
    let open = farm.archive().remove(0);
    assert_eq!((open.label.as_str(), open.kind, open.status), ("Flock 'Layer Group 3'", Kind::EditDelete, Status::Unresolved));
    assert_eq!(open.theirs.as_ref().map(Record::is_deleted), Some(true));
    let keep = |id: &str, base: Option<u64>, ms: i64| WireMutation {
        base_rev: base,
        resolves: Some(open.id.clone()),
        ..mutation(id, Op::Undelete, FLOCK, ms, &json!({"name": "Layer Group 3", "birds": 80}))
    };
    let done = farm.one(keep("a:3", refused.rev, 4000));
    assert_eq!((done.status, done.record.is_none()), (Applied, true));
    assert_eq!(farm.body(FLOCK)["birds"], 80);
    let closed = farm.archive().remove(0);
    assert_eq!((closed.id.clone(), closed.status, closed.winner), (open.id.clone(), Status::Resolved, Winner::Mine));
    assert_eq!(Conflict::from_record(&Record::parse(done.archived.unwrap().get()).unwrap()).unwrap(), closed);
    // A second decision is an ordinary edit.
    let second = farm.one(WireMutation { op: Op::Update, ..keep("b:3", Some(farm.rev(FLOCK)), 5000) });
    assert_eq!(second.status, Applied);
    assert_eq!(farm.archive(), [closed]);
}

#[test]
fn accepting_theirs_changes_only_the_status() {
    let (mut farm, first) = edited();
    let current = farm.rev(FLOCK);
    let delete =
        WireMutation { base_rev: Some(first), ..mutation("a:2", Op::Delete, FLOCK, 2500, &json!({"name": "Layer Group 3", "birds": 100})) };
    farm.one(delete);
    let open = farm.archive().remove(0);
    assert_eq!(open.kind, Kind::DeleteEdit);
    let theirs = WireMutation {
        base_rev: Some(current),
        resolves: Some(open.id.clone()),
        ..mutation("a:3", Op::Update, FLOCK, 4000, &json!({"name": "Layer Group 3", "birds": 90}))
    };
    let done = farm.one(theirs.clone());
    assert_eq!((done.status, done.rev), (Applied, Some(current)));
    assert_eq!(farm.rev(FLOCK), current);
    assert_eq!(farm.archive().iter().map(|c| (c.status, c.winner)).collect::<Vec<_>>(), [(Status::Resolved, Winner::Theirs)]);

    // The same decision when the row went on in the meantime: what is there now stays.
    let (mut farm, first) = edited();
    farm.one(WireMutation {
        base_rev: Some(first),
        ..mutation("a:2", Op::Delete, FLOCK, 2500, &json!({"name": "Layer Group 3", "birds": 100}))
    });
    let newer = WireMutation { base_rev: Some(farm.rev(FLOCK)), ..mutation("b:9", Op::Update, FLOCK, 3000, &json!({"birds": 70})) };
    farm.one(newer);
    let open = farm.archive().remove(0);
    farm.one(WireMutation { resolves: Some(open.id), ..theirs });
    assert_eq!(farm.body(FLOCK), json!({"birds": 70}));
    assert_eq!(farm.archive().len(), 1);

    // Accepting a deletion of what is gone altogether.
    let mut farm = Farm::new();
    farm.one(mutation("a:1", Op::Update, FLOCK, 1000, &json!({"birds": 1})));
    let open = farm.archive().remove(0);
    assert_eq!(open.theirs, None);
    let accept = WireMutation { resolves: Some(open.id), ..mutation("a:2", Op::Delete, FLOCK, 2000, &json!({})) };
    assert_eq!(farm.one(accept).status, Applied);
    assert_eq!((farm.body(FLOCK), farm.archive()[0].status), (json!("none"), Status::Resolved));
}

#[test]
fn both_gives_the_second_fact_an_id_of_its_own() {
    let mut farm = Farm::new();
    farm.one(mutation("a:1", Op::Create, ("facts", "x"), 1000, &json!({"kg": 1})));
    farm.one(mutation("b:1", Op::Create, ("facts", "x"), 2000, &json!({"kg": 2})));
    let open = farm.archive().remove(0);
    assert_eq!((open.kind, open.status), (Kind::CreateCreate, Status::Unresolved));
    let both = WireMutation { resolves: Some(open.id), ..mutation("b:2", Op::Create, ("facts", "y"), 3000, &json!({"kg": 2})) };
    assert_eq!(farm.one(both).status, Applied);
    assert_eq!((farm.body(("facts", "x")), farm.body(("facts", "y"))), (json!({"kg": 1}), json!({"kg": 2})));
    assert_eq!((farm.archive()[0].status, farm.archive()[0].winner), (Status::Resolved, Winner::Merged));
}

#[test]
fn one_unresolved_conflict_per_record() {
    let (mut farm, first) = edited();
    let rev = farm.rev(FLOCK);
    farm.one(WireMutation { base_rev: Some(rev), ..mutation("b:2", Op::Delete, FLOCK, 2200, &json!({})) });
    let stale = |id: &str, ms: i64| WireMutation { base_rev: Some(first), ..mutation(id, Op::Update, FLOCK, ms, &json!({"by": id})) };
    farm.one(stale("c:1", 3000));
    farm.one(stale("d:1", 4000));
    farm.one(stale("e:1", 3500));
    let archive: HashMap<String, Status> = farm.archive().into_iter().map(|c| (c.mine_by.unwrap().to_string(), c.status)).collect();
    let want = [("c", Status::Automatic), ("d", Status::Unresolved), ("e", Status::Automatic)];
    assert_eq!(archive, want.map(|(k, v)| (k.to_owned(), v)).into());
    // The same loss once more, under another id: the entry that is there.
    let before = farm.state();
    let again = farm.one(stale("f:1", 4000));
    assert_eq!(again.status, Refused);
    assert_ne!(farm.state(), before, "another content is another entry");
    let mut copy = stale("g:1", 4000);
    copy.record = stale("d:1", 4000).record;
    let before = farm.state();
    let told = farm.one(copy);
    assert_eq!(farm.state(), before, "archiving twice is one entry");
    assert!(told.archived.unwrap().get().contains(r#""mineBy":"d""#));
}

#[test]
fn a_conflict_closed_once_stays_closed() {
    let (mut farm, first) = edited();
    let rev = farm.rev(FLOCK);
    farm.one(WireMutation { base_rev: Some(rev), ..mutation("b:2", Op::Delete, FLOCK, 2200, &json!({})) });
    farm.one(WireMutation { base_rev: Some(first), ..mutation("c:1", Op::Update, FLOCK, 3000, &json!({"n": 1})) });
    let id = farm.archive()[0].id.clone();
    let tombstone = farm.row(FLOCK).unwrap();
    let accept = WireMutation { base_rev: tombstone.rev(), resolves: Some(id), ..mutation("c:2", Op::Delete, FLOCK, 9000, &json!({})) };
    farm.one(accept);
    assert_eq!(farm.row(FLOCK), Some(tombstone), "only the status");
    assert_eq!(farm.archive()[0].status, Status::Resolved);
    // A new one can arise afterwards, also in the request that closes the old one, and only it waits.
    let stale = |id: &str, n: i64| WireMutation { base_rev: Some(first), ..mutation(id, Op::Update, FLOCK, 3000 + n, &json!({"n": n})) };
    let waiting = |farm: &Farm| {
        let open = farm.archive().into_iter().filter(|c| c.status == Status::Unresolved);
        open.map(|c| (c.id, c.mine_by)).collect::<Vec<_>>()
    };
    farm.one(stale("d:1", 2));
    let (id, by) = waiting(&farm).remove(0);
    assert_eq!(by, Some("d".into()));
    let accept = WireMutation { resolves: Some(id), ..mutation("d:2", Op::Delete, FLOCK, 9500, &json!({})) };
    farm.push(vec![accept, stale("e:1", 3)]);
    assert_eq!(waiting(&farm).into_iter().map(|(_, by)| by).collect::<Vec<_>>(), [Some("e".into())]);
    assert_eq!(farm.archive().iter().filter(|c| c.status == Status::Resolved).count(), 2);
}

#[test]
fn server_ids_are_given_once_and_translated_for_ever() {
    let mut farm = Farm::new();
    let order = ("orders", "optimistic_1");
    let created = farm.one(mutation("a:1", Op::Create, order, 1000, &json!({"n": 1})));
    let id = created.record_id.clone().unwrap();
    assert_eq!(record_of(&created).unwrap().id().as_ref(), id);
    let edit = mutation("a:2", Op::Update, order, 2000, &json!({"n": 2, "self": "optimistic_1", "text": "see optimistic_1"}));
    let edited = farm.one(WireMutation { base_rev: created.rev, ..edit });
    assert_eq!((edited.status, edited.record_id.as_deref()), (Applied, Some(id.as_str())));
    assert_eq!(farm.body(("orders", &id)), json!({"n": 2, "self": id, "text": "see optimistic_1"}));
    let child = farm.one(mutation(
        "a:3",
        Op::Create,
        ("flocks", "c"),
        1000,
        &json!({"order": "optimistic_1", "list": [{"o": "optimistic_1"}], "no": "optimistic_9"}),
    ));
    assert_eq!(child.status, Applied);
    assert_eq!(farm.body(("flocks", "c")), json!({"order": id, "list": [{"o": id}], "no": "optimistic_9"}));
    let repeat = farm.one(mutation("b:1", Op::Create, order, 5000, &json!({"n": 2, "self": id, "text": "see optimistic_1"})));
    assert_eq!((repeat.status, repeat.record_id.as_deref()), (Applied, Some(id.as_str())), "a create of a mapped id is a repeat");
    let rows = farm.server.rows(SCOPE).into_iter().filter(|(k, _)| k.collection.as_ref() == "orders").count();
    assert_eq!(rows, 1);
    let own = farm.one(mutation("a:4", Op::Create, ("orders", "own"), 1000, &json!({})));
    assert_eq!((own.status, own.record_id), (Applied, None));
}

#[test]
fn a_collection_declared_otherwise_waits_and_the_rest_flows() {
    let mut farm = Farm::new();
    let theirs =
        Schema::parse(r#"{"collections":{"flocks":{"merge":"fields"},"facts":{"merge":"append-only"},"new":{"merge":"manual"}}}"#).unwrap();
    let push = vec![
        mutation("a:1", Op::Create, FLOCK, 1, &json!({})),
        mutation("a:2", Op::Create, ("facts", "x"), 1, &json!({})),
        mutation("a:3", Op::Create, ("new", "x"), 1, &json!({})),
        mutation("a:4", Op::Create, ("other", "x"), 1, &json!({})),
    ];
    let results = farm.answer(&PushRequest { schemas: theirs.hashes(), ..request(push.clone()) }).results;
    assert_eq!(statuses(&results), [("a:1", Retry), ("a:2", Applied), ("a:3", Retry), ("a:4", Applied)]);
    assert_eq!(results[0].code.as_deref(), Some("schema-mismatch"));
    assert_eq!(results[0].declared.as_ref().unwrap().title.as_deref(), Some("Flock"));
    assert!(results[0].retry_after_ms.is_some());
    assert_eq!(farm.push(push).iter().map(|r| r.replayed).collect::<Vec<_>>(), [false, true, false, true]);
}

#[test]
fn rows_without_mutations() {
    let mut farm = Farm::new();
    let row = |id: &str, ms: i64, n: i64| json!({"id": id, "n": n, "_updatedAt": at(ms)});
    assert!(farm.rows_push("flocks", &[row("f1", 1000, 1), row("f2", 1000, 1)]).is_empty());
    let state = farm.state();
    farm.rows_push("flocks", &[row("f1", 1000, 1), row("f2", 1000, 1)]);
    assert_eq!(farm.state(), state, "pushed twice is once");
    farm.rows_push("flocks", &[row("f1", 2000, 2)]);
    assert_eq!(farm.body(FLOCK), json!({"n": 2}));
    assert_eq!(farm.archive().iter().map(|c| c.winner).collect::<Vec<_>>(), [Winner::Mine], "concurrent with everything");
    let state = farm.state();
    farm.rows_push("flocks", &[row("f1", 1000, 1)]);
    assert_eq!(farm.state(), state, "an old row pushed again is the row it was");
    // With its _rev it is an edit of that version.
    let mut based = row("f1", 3000, 3);
    based["_rev"] = farm.rev(FLOCK).into();
    farm.rows_push("flocks", &[based]);
    assert_eq!((farm.body(FLOCK), farm.archive().len()), (json!({"n": 3}), 1));
    // So is a mutation that says it in its record alone.
    let carried = mutation("a:1", Op::Update, FLOCK, 3200, &json!({"n": 3, "m": 1, "_rev": farm.rev(FLOCK)}));
    farm.one(carried);
    assert_eq!((farm.body(FLOCK), farm.archive().len()), (json!({"n": 3, "m": 1}), 1));
    let mut next = row("f1", 3500, 4);
    next["_rev"] = farm.rev(FLOCK).into();
    farm.rows_push("flocks", &[next]);
    let state = farm.state();
    farm.rows_push("flocks", &[row("f1", 3000, 3)]);
    assert_eq!(farm.state(), state, "what came before is no loss when it comes again");
    let mut dead = row("f1", 4000, 4);
    dead["_deletedAt"] = at(4000).into();
    let refused = farm.rows_push("flocks", &[dead, json!({"n": 7, "_updatedAt": "yesterday"}), json!([1])]);
    assert_eq!(
        refused.iter().map(|r| (r.id.as_str(), r.status, r.path.as_deref())).collect::<Vec<_>>(),
        [
            ("/changes/0/records/0", Refused, None),
            ("/changes/0/records/1", Rejected, Some("/record/_updatedAt")),
            ("/changes/0/records/2", Rejected, Some("/record")),
        ]
    );
    // Facts without ids: two equal ones in one push are two, the same push again adds nothing.
    let fact = json!({"kg": 12, "_updatedAt": at(1)});
    farm.rows_push("facts", &[fact.clone(), fact.clone()]);
    farm.rows_push("facts", &[fact.clone(), fact]);
    let facts = farm.server.rows(SCOPE).into_iter().filter(|(k, _)| k.collection.as_ref() == "facts");
    assert_eq!(facts.map(|(k, _)| k.id.starts_with("$row_")).collect::<Vec<_>>(), [true, true]);
}

#[test]
fn rows_without_a_stamp_are_not_pushed_twice_either() {
    let mut farm = Farm::new();
    let rows = [json!({"id": "a", "n": 1}), json!({"kg": 5})];
    farm.rows_push("flocks", &rows);
    let state = farm.state();
    farm.now += 1000;
    farm.rows_push("flocks", &rows);
    assert_eq!(farm.state(), state);
    assert_eq!(state.0.iter().map(|(_, r)| r.record.updated_at()).collect::<Vec<_>>(), [Stamp(NOW), Stamp(NOW)]);
}

#[test]
fn merged_results_say_so_and_the_archive_is_read_by_everybody() {
    let (mut farm, first) = edited();
    let mut results =
        farm.push(vec![WireMutation { base_rev: Some(first), ..mutation("c:1", Op::Update, FLOCK, 3000, &json!({"birds": 80})) }]);
    let result = results.remove(0);
    assert_ne!(result.status, Merged);
    let archived = Record::parse(result.archived.unwrap().get()).unwrap();
    let row = farm.server.row(SCOPE, &Key::new(ARCHIVE, archived.id().clone())).unwrap();
    assert_eq!(row.record, archived);
    let pulled =
        farm.server.pull(&crate::core::protocol::PullRequest { protocol: PROTOCOL, ..Default::default() }, SCOPE, Stamp(farm.now)).unwrap();
    assert!(pulled.changes.iter().any(|c| c.collection == ARCHIVE));
}

#[test]
fn a_row_without_a_date_that_goes_back_is_not_dropped_without_a_word() {
    let mut farm = Farm::new();
    let lamp = |on: bool| json!({"id": "lamp", "on": on});
    for on in [true, false] {
        farm.now += 1000;
        assert!(farm.rows_push("flocks", &[lamp(on)]).is_empty());
    }
    // A late repetition of the first, or a third one? Nothing tells them apart.
    let told = farm.rows_push("flocks", &[json!({"id": "else"}), lamp(true)]);
    assert_eq!((farm.body(("flocks", "lamp")), told.len()), (json!({"on": false}), 1));
    assert_eq!((told[0].id.as_str(), told[0].status, told[0].code.as_deref()), ("/changes/0/records/1", Superseded, Some("outdated")));
    assert_eq!(record_of(&told[0]), farm.row(("flocks", "lamp")));
    assert!(farm.rows_push("flocks", &[lamp(false)]).is_empty(), "it is what is there");
    // Who says which version it was made on is understood.
    let rev = farm.rev(("flocks", "lamp"));
    let on = json!({"id": "lamp", "on": true, "_rev": rev});
    assert!(farm.rows_push("flocks", std::slice::from_ref(&on)).is_empty());
    assert_eq!(farm.body(("flocks", "lamp")), json!({"on": true}));
    let state = farm.state();
    assert!(farm.rows_push("flocks", &[on]).is_empty());
    assert_eq!(farm.state(), state);
}

#[test]
fn who_decides_for_what_was_there_once_and_saw_what_is_there_now_gets_it() {
    let key = ("manual", "c");
    let count = |id: &str, op, ms, n: u64| mutation(id, op, key, ms, &json!({"n": n}));
    let mut farm = Farm::new();
    farm.one(count("a:1", Op::Create, 1, 1));
    let first = farm.rev(key);
    assert_eq!(farm.one(WireMutation { base_rev: Some(first - 1), ..count("b:1", Op::Update, 2, 9) }).status, Outcome::Conflict);
    let conflict = farm.archive()[0].id.clone();
    farm.one(WireMutation { base_rev: Some(first), ..count("a:2", Op::Update, 3, 2) });
    // The one whose mine it was takes the smaller one of both: what was theirs then.
    let decision = WireMutation { resolves: Some(conflict), base_rev: Some(farm.rev(key)), ..count("b:2", Op::Update, 4, 1) };
    assert_eq!((farm.one(decision).status, farm.body(key)), (Applied, json!({"n": 1})));
    assert_eq!(farm.archive()[0].status, crate::core::conflict::Status::Resolved);
}

#[test]
fn a_row_without_a_date_is_later_than_what_is_there() {
    for based in [true, false] {
        let mut farm = Farm::new();
        // A device whose clock is four minutes ahead.
        farm.one(mutation("a:1", Op::Create, FLOCK, 240_000, &json!({"n": 1})));
        let mut row = json!({"id": "f1", "n": 2});
        if based {
            row["_rev"] = farm.rev(FLOCK).into();
        }
        assert!(farm.rows_push("flocks", &[row.clone()]).is_empty());
        assert_eq!((farm.body(FLOCK), farm.archive().len()), (json!({"n": 2}), usize::from(!based)), "{based}");
        assert_eq!(farm.row(FLOCK).unwrap().updated_at(), Stamp(NOW + 240_001));
        let state = farm.state();
        assert!(farm.rows_push("flocks", &[row]).is_empty());
        assert_eq!(farm.state(), state, "pushed twice is once");
    }
    // What it says itself, it says.
    let mut farm = Farm::new();
    farm.one(mutation("a:1", Op::Create, FLOCK, 240_000, &json!({"n": 1})));
    farm.rows_push("flocks", &[json!({"id": "f1", "n": 2, "_updatedAt": at(0)})]);
    assert_eq!((farm.body(FLOCK), farm.archive().len()), (json!({"n": 1}), 1));
}

#[test]
fn a_row_pushed_again_is_outdated_where_somebody_changed_it_only() {
    let mut farm = Farm::new();
    let lines = [json!({"id": "l", "orderId": "o", "kg": 1})];
    let orders = [json!({"id": "optimistic_1", "self": "optimistic_1"})];
    for _ in 0..2 {
        assert!(farm.rows_push("lines", &lines).is_empty());
        assert!(farm.rows_push("orders", &orders).is_empty());
    }
    assert_eq!(farm.body(("lines", "l")), json!({"orderId": "o", "kg": 1, "n": 1}));
    farm.one(WireMutation {
        base_rev: Some(farm.rev(("lines", "l"))),
        ..mutation("a:1", Op::Update, ("lines", "l"), 2000, &json!({"orderId": "o", "kg": 2, "n": 1}))
    });
    let told = farm.rows_push("lines", &lines);
    assert_eq!((told.len(), told[0].code.as_deref()), (1, Some("outdated")));
}

#[test]
fn of_a_conflict_both_are_kept_once() {
    let mut farm = Farm::new();
    let bodies = [json!({"name": "Layer Group 3"}), json!({"name": "Broilers"})];
    let mine = |id: &str| mutation(id, Op::Create, FLOCK, 2000, &bodies[1]);
    let edit = |id: &str| WireMutation { base_rev: Some(1), ..mutation(id, Op::Update, ("manual", "m"), 2000, &json!({"n": 2})) };
    farm.push(vec![
        mutation("a:1", Op::Create, FLOCK, 1000, &bodies[0]),
        mutation("a:2", Op::Create, ("manual", "m"), 1000, &json!({"n": 1})),
    ]);
    farm.push(vec![mine("b:1"), edit("b:2")]);
    let open = farm.archive();
    assert_eq!(open.len(), 2);
    for (seq, conflict) in (3..).zip(&open) {
        let both = mutation(&format!("b:{seq}"), Op::Create, (&conflict.collection, "other"), 3000, &json!({"name": "Broilers"}));
        assert_eq!(farm.one(WireMutation { resolves: Some(conflict.id.clone()), ..both }).status, Applied);
    }
    // So much is overwritten that the archive lets go of the two.
    farm.now += 60_000;
    for collection in ["flocks", "manual"] {
        for n in (0..1200).step_by(600) {
            let of = |i: i64| {
                mutation(&format!("x-{collection}:{}", n + i + 1), Op::Create, (collection, "x"), 4000 + n + i, &json!({"n": n + i}))
            };
            farm.push((0..600).map(|i| WireMutation { imported: true, ..of(i) }).collect());
        }
    }
    assert!(farm.archive().iter().all(|c| open.iter().all(|o| o.id != c.id)));
    // A copied profile says it again, under numbers of its own, and something that was written for it.
    let child = WireMutation { depends_on: vec!["c:1".into()], ..mutation("c:3", Op::Create, ("orders", "o"), 1, &json!({})) };
    let again = farm.push(vec![mine("c:1"), edit("c:2"), child]);
    assert_eq!(statuses(&again), [("c:1", Refused), ("c:2", Refused), ("c:3", Applied)]);
    for result in &again[..2] {
        let told = crate::core::conflict::Conflict::from_record(&Record::parse(result.archived.as_ref().unwrap().get()).unwrap()).unwrap();
        assert_eq!((told.status, told.winner), (Status::Resolved, Winner::Merged), "it was decided");
    }
}
