//! Bad input: one bad mutation is refused with code and path and stores nothing; the others flow.

use super::*;
use Outcome::{Applied, Rejected};

fn good(id: &str) -> WireMutation {
    mutation(id, Op::Create, ("flocks", id.split(':').next_back().unwrap()), 1000, &json!({}))
}

fn text(wire: WireMutation, record: &str) -> WireMutation {
    WireMutation { record: Some(RawValue::from_string(record.to_owned()).unwrap()), ..wire }
}

/// A row of an older server may be longer than any that is made now.
#[test]
fn what_is_too_long_already_can_shrink_and_can_be_deleted() {
    let key = ("settings", "x");
    let mut row = mutation("b:1", Op::Create, key, 1, &json!({"long": "x".repeat(900_000), "longer": "x".repeat(900_000)}));
    let row = Record::parse(row.record.take().unwrap().get()).unwrap().with_rev(1).unwrap();
    let head = Head { rev: 1, ..Head::first(Stamp(NOW)) };
    let mut snapshot = Snapshot::new(head);
    snapshot.rows.insert(Key::new(key.0, key.1), StoredRow { record: row, by: None, received_at: Stamp(NOW) });
    let schema = Schema::parse(SCHEMA).unwrap();
    let judged = |op: Op, field: &str, letters: usize| {
        let change = WireMutation {
            base_rev: Some(1),
            changed: Some(vec![format!("/{field}")]),
            ..mutation("a:1", op, key, 2000, &json!({field: "x".repeat(letters)}))
        };
        let evaluated = evaluate(&schema, &request(vec![change]), &snapshot, Stamp(NOW));
        let result = evaluated.results.into_iter().next().unwrap();
        assert_eq!(evaluated.effects.rows.is_empty(), result.status == Rejected);
        (result.status, result.code.unwrap_or_default())
    };
    assert_eq!(judged(Op::Update, "long", 900_001), (Rejected, "too-large".to_owned()));
    assert_eq!(judged(Op::Update, "more", 1), (Rejected, "too-large".to_owned()));
    assert_eq!(judged(Op::Update, "long", 500_000).0, Outcome::Merged);
    assert_eq!(judged(Op::Delete, "long", 1).0, Applied);
}

#[test]
fn one_bad_mutation_is_refused_alone() {
    let key = ("flocks", "x");
    let base = || mutation("a:7", Op::Create, key, 1000, &json!({}));
    let own = |inside: &str| text(base(), &format!(r#"{{"id":"x","_updatedAt":"{}",{inside}}}"#, at(1000)));
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let big = format!(r#""n":"{}""#, "x".repeat(1024 * 1024));
    let cases: Vec<(&str, &str, WireMutation)> = vec![
        ("invalid-id", "/id", WireMutation { id: "a".into(), ..base() }),
        ("invalid-id", "/id", WireMutation { id: "a:0".into(), ..base() }),
        ("invalid-record", "/collection", WireMutation { collection: "_conflictArchive".into(), ..base() }),
        ("invalid-record", "/collection", WireMutation { collection: "".into(), ..base() }),
        ("invalid-record", "/collection", WireMutation { collection: "a\u{0}b".into(), ..base() }),
        ("invalid-record", "/collection", WireMutation { collection: "__proto__".into(), ..base() }),
        ("invalid-record", "/collection", WireMutation { collection: "$meta".into(), ..base() }),
        ("invalid-record", "/collection", WireMutation { collection: "pins".into(), ..base() }),
        ("invalid-id", "/recordId", mutation("a:7", Op::Create, ("flocks", ""), 1, &json!({}))),
        ("invalid-id", "/recordId", mutation("a:7", Op::Create, ("flocks", "a\nb"), 1, &json!({}))),
        ("invalid-id", "/recordId", mutation("a:7", Op::Create, ("flocks", &"x".repeat(129)), 1, &json!({}))),
        ("invalid-id", "/recordId", mutation("a:7", Op::Create, ("flocks", "$other"), 1, &json!({}))),
        ("invalid-id", "/record/id", WireMutation { record_id: "y".into(), ..base() }),
        ("invalid-record", "/updatedAt", WireMutation { updated_at: "yesterday".into(), ..base() }),
        ("invalid-record", "/record/_updatedAt", WireMutation { updated_at: at(2000), ..base() }),
        ("invalid-record", "/record", WireMutation { record: None, ..base() }),
        ("invalid-record", "/record", text(base(), "[1]")),
        ("invalid-record", "/record", text(base(), "null")),
        ("invalid-record", "/record/a/b", own(r#""a":{"b":9007199254740992}"#)),
        ("invalid-record", "/record/a", own(r#""a":"\ud800""#)),
        ("invalid-record", "/record/a", own(r#""a":1e400"#)),
        ("invalid-record", "/record/__proto__", own(r#""__proto__":{"x":1}"#)),
        ("too-large", "/record", own(&big)),
        ("invalid-record", "/record/_deletedAt", own(r#""_deletedAt":"2025-01-01""#)),
        ("invalid-record", "/record/_deletedAt", own(r#""_deletedAt":"soon""#)),
        ("invalid-record", "/record/_rev", own(r#""_rev":-1"#)),
        ("invalid-record", "/record/_fieldTimes", own(r#""_fieldTimes":[]"#)),
        ("invalid-record", "/record/_fieldTimes/~1a~1b", own(r#""_fieldTimes":{"/a/b":"never"}"#)),
        ("invalid-record", "/record/_fieldTimes/a", own(r#""_fieldTimes":{"a":"2025-01-01"}"#)),
        ("invalid-record", "/baseRev", WireMutation { base_rev: Some(u64::MAX), ..base() }),
        ("invalid-record", "/changed/1", WireMutation { changed: Some(vec!["/a".into(), "b".into()]), ..base() }),
        ("invalid-id", "/dependsOn/0", WireMutation { depends_on: vec!["?".into()], ..base() }),
        ("invalid-id", "/resolves", WireMutation { resolves: Some(String::new()), ..base() }),
    ];
    for (code, path, bad) in cases {
        let mut farm = Farm::new();
        let what = format!("{code} {path} {}", bad.record.as_ref().map_or("", |r| r.get().get(..80).unwrap_or(r.get())));
        let results = farm.push(vec![good("a:1"), bad, good("a:2")]);
        let got: Vec<_> = results.iter().map(|r| r.status).collect();
        assert_eq!(got, [Applied, Rejected, Applied], "{what}");
        assert_eq!((results[1].code.as_deref(), results[1].path.as_deref()), (Some(code), Some(path)), "{what}");
        assert_eq!(farm.server.rows(SCOPE).len(), 2, "{what}");
    }
    let mut farm = Farm::new();
    let result = farm.one(own(&format!(r#""a":{deep}"#)));
    assert_eq!((result.status, farm.server.rows(SCOPE).len()), (Rejected, 0));
    assert!(result.path.unwrap().starts_with("/record/a/0/0"));
}

#[test]
fn our_own_names_are_accepted() {
    let mut farm = Farm::new();
    for key in [("flocks", "$singleton"), ("$root", "$singleton"), ("flocks", "$row_1"), ("flocks", "$dup_2_x"), ("a.b", "$root")] {
        assert_eq!(farm.one(mutation(&format!("{}{}:1", key.0, key.1), Op::Create, key, 1, &json!({}))).status, Applied, "{key:?}");
    }
}

#[test]
fn a_delete_may_come_without_its_tombstone_and_a_record_without_its_stamp() {
    let mut farm = Farm::new();
    let key = ("flocks", "x");
    let create = text(mutation("a:1", Op::Create, key, 1000, &json!({})), r#"{"id":"x","name":"A"}"#);
    let done = farm.one(create);
    assert_eq!(done.status, Applied);
    assert_eq!(farm.row(key).unwrap().updated_at(), Stamp(NOW + 1000));
    let delete = WireMutation { base_rev: done.rev, record: None, ..mutation("a:2", Op::Delete, key, 2000, &json!({})) };
    assert_eq!(farm.one(delete).status, Applied);
    let row = farm.row(key).unwrap();
    assert_eq!((row.deleted_at(), body(&row)), (Some(Stamp(NOW + 2000)), json!({"name": "A"})), "what was deleted is still to be seen");
    // A tombstone dated after its own version is not believed.
    let body = json!({"id": "y", "_updatedAt": at(1), "_deletedAt": at(99)});
    let odd = text(mutation("a:3", Op::Delete, ("flocks", "y"), 1, &json!({})), &body.to_string());
    farm.one(text(mutation("b:1", Op::Create, ("flocks", "y"), 0, &json!({})), r#"{"id":"y"}"#));
    farm.one(WireMutation { base_rev: Some(farm.rev(("flocks", "y"))), ..odd });
    assert_eq!(farm.row(("flocks", "y")).unwrap().deleted_at(), Some(Stamp(NOW + 1)));
}

#[test]
fn a_request_can_be_refused_whole() {
    let many = (1..=MAX_MUTATIONS + 1).map(|n| good(&format!("a:{n}"))).collect();
    let cases = [
        (426, "protocol-unsupported", "/protocol", PushRequest { protocol: 2, ..request(vec![]) }),
        (426, "protocol-unsupported", "/protocol", PushRequest { protocol: 0, ..request(vec![]) }),
        (409, "scope-changed", "/scope", PushRequest { scope: Some("farm-2".into()), ..request(vec![]) }),
        (400, "malformed", "/clientId", PushRequest { client_id: String::new(), ..request(vec![good("a:1")]) }),
        (400, "malformed", "/clientId", PushRequest { client_id: "x".repeat(129), ..request(vec![]) }),
        (400, "malformed", "/requestId", PushRequest { request_id: "a\r\nb".into(), ..request(vec![]) }),
        (413, "too-large", "/mutations", request(many)),
    ];
    for (status, code, path, request) in cases {
        let mut farm = Farm::new();
        let refusal = farm.server.push(&request, SCOPE, Stamp(NOW)).unwrap_err();
        let detail = refusal.detail("push", "r1");
        assert_eq!((refusal.status(), detail.code.as_str(), detail.path.as_deref()), (status, code, Some(path)));
        assert_eq!((detail.phase.as_str(), detail.request_id.as_str(), detail.retryable), ("push", "r1", false));
        assert!(farm.server.rows(SCOPE).is_empty());
    }
    let rows = vec![WireChanges {
        collection: "flocks".into(),
        records: (0..=MAX_MUTATIONS).map(|n| raw(&json!({"id": n.to_string()}))).collect(),
    }];
    let refused = Farm::new().server.push(&PushRequest { changes: rows, ..request(vec![]) }, SCOPE, Stamp(NOW)).unwrap_err();
    assert_eq!(refused, Refusal::TooMany { count: MAX_MUTATIONS + 1 });
    let parents = (0..=MAX_DEPENDENCIES).map(|n| format!("client{n}:1")).collect();
    let child = WireMutation { depends_on: parents, ..mutation("a:1", Op::Create, ("flocks", "f"), 1000, &json!({})) };
    let refused = Farm::new().server.push(&request(vec![child]), SCOPE, Stamp(NOW)).unwrap_err();
    assert_eq!((refused.status(), refused.detail("push", "r").code.as_str()), (413, "too-large"));
    assert_eq!(refused, Refusal::TooManyDependencies { count: MAX_DEPENDENCIES + 1 });
    assert!(Farm::new().server.push(&PushRequest { scope: Some(SCOPE.into()), ..request(vec![]) }, SCOPE, Stamp(NOW)).is_ok());
}

#[test]
fn scopes_do_not_see_each_other() {
    let mut farm = Farm::new();
    farm.one(good("a:1"));
    let other = farm.server.push(&request(vec![good("a:1")]), "farm-2", Stamp(NOW)).unwrap();
    assert_eq!((other.results[0].status, other.results[0].replayed), (Applied, false));
    assert_eq!(farm.server.rows("farm-2").len(), 1);
    assert_eq!(farm.server.rows(SCOPE).len(), 1);
}

/// It hangs where members or pointers are looked up among each other: minutes for one mutation, with the scope locked.
#[test]
fn a_record_of_many_members_and_an_edit_of_many_fields_take_no_longer_than_they_are_long() {
    const MANY: usize = 60_000;
    let members = |n: usize| format!("\"k{n}\":1");
    let body = (0..MANY).map(members).collect::<Vec<_>>().join(",");
    // The id is not where Homing would write it, so it is put together anew.
    let record = format!(r#"{{{body},"id":"x","_updatedAt":"{}","_deletedAt":null}}"#, at(1));
    for collection in ["flocks", "settings"] {
        let mut farm = Farm::new();
        let wire = mutation("a:1", Op::Create, (collection, "x"), 1, &json!({}));
        let create = WireMutation { record: Some(RawValue::from_string(record.clone()).unwrap()), ..wire };
        assert_eq!(farm.one(create.clone()).status, Outcome::Applied, "{collection}");
        let edit = WireMutation {
            id: "a:2".into(),
            op: Op::Update,
            base_rev: Some(farm.rev((collection, "x"))),
            changed: Some((0..MANY).map(|n| format!("/none{n}")).chain((0..MANY).map(|_| "/k".to_owned())).collect()),
            ..create
        };
        assert_eq!(farm.one(edit).status, Outcome::Applied, "{collection}");
    }
}
