//! Numbers that the server gives, and values that only one record can have.

use super::*;

fn line(n: u64, id: &str, order: &str) -> WireMutation {
    mutation(&format!("a:{n}"), Op::Create, ("lines", id), n.cast_signed(), &json!({"orderId": order}))
}

fn number(farm: &Farm, key: (&str, &str)) -> Value {
    farm.body(key)["n"].clone()
}

fn based(farm: &Farm, m: WireMutation) -> WireMutation {
    WireMutation { base_rev: Some(farm.rev((&m.collection, &m.record_id))), ..m }
}

#[test]
fn numbers_go_up_by_one_under_each_parent_and_come_back() {
    let mut farm = Farm::new();
    let results = farm.push(vec![line(1, "x", "o1"), line(2, "y", "o1"), line(3, "z", "o2")]);
    let told: Vec<_> = results.iter().map(|r| (r.status, record_of(r).map(|r| body(&r)["n"].clone()))).collect();
    assert_eq!(told, [1, 2, 1].map(|n| (Outcome::Applied, Some(json!(n)))));
    // What the device thought it would be does not count; nor does how many there are: a number is never given again.
    let gone = based(&farm, mutation("a:4", Op::Delete, ("lines", "y"), 4, &json!({"orderId": "o1"})));
    farm.one(gone);
    farm.one(mutation("a:5", Op::Create, ("lines", "w"), 5, &json!({"orderId": "o1", "n": 77})));
    assert_eq!((number(&farm, ("lines", "w")), number(&farm, ("lines", "x"))), (json!(3), json!(1)));
    // The same create again has the same number.
    let again = farm.push(vec![line(1, "x", "o1")]);
    assert!(again[0].replayed && record_of(&again[0]).is_some_and(|r| body(&r)["n"] == 1), "{again:?}");
    // Without a parent there is one sequence; facts are numbered, too.
    for (n, id) in [(6, "d1"), (7, "d2")] {
        farm.one(mutation(&format!("a:{n}"), Op::Create, ("deliveries", id), n, &json!({"kg": n})));
    }
    assert_eq!(number(&farm, ("deliveries", "d2")), json!(2));
}

#[test]
fn after_the_create_a_number_is_the_servers() {
    let mut farm = Farm::new();
    farm.push(vec![line(1, "x", "o1"), line(2, "y", "o1")]);
    let edit =
        |farm: &Farm, n: u64, body: Value| based(farm, mutation(&format!("a:{n}"), Op::Update, ("lines", "y"), n.cast_signed(), &body));
    for (n, body) in [(3, json!({"orderId": "o1", "n": 1, "kg": 5})), (4, json!({"orderId": "o1", "kg": 6}))] {
        let result = farm.one(edit(&farm, n, body));
        assert_eq!((result.status, number(&farm, ("lines", "y"))), (Outcome::Applied, json!(2)));
        assert_eq!(record_of(&result).map(|r| body_n(&r)), Some(json!(2)), "what differs from what was sent comes back");
    }
    // An edit of the number alone is none, and loses nothing.
    let before = farm.state();
    assert_eq!(
        farm.one(mutation("b:1", Op::Update, ("lines", "y"), 9, &json!({"orderId": "o1", "n": 5, "kg": 6}))).status,
        Outcome::Applied
    );
    assert_eq!((farm.state(), farm.archive().len()), (before, 0));
    // Under another parent it is another number.
    farm.one(line(5, "z", "o2"));
    farm.one(edit(&farm, 6, json!({"orderId": "o2", "n": 2, "kg": 6})));
    assert_eq!(farm.body(("lines", "y")), json!({"orderId": "o2", "n": 2, "kg": 6}));
    farm.one(edit(&farm, 7, json!({"orderId": "o1", "n": 2, "kg": 6})));
    assert_eq!(number(&farm, ("lines", "y")), json!(3), "the old number was given once already");
    // Deleted and live again it is what it was.
    let gone = based(&farm, mutation("a:8", Op::Delete, ("lines", "y"), 20, &json!({"orderId": "o1"})));
    farm.one(gone);
    let back = based(&farm, mutation("a:9", Op::Undelete, ("lines", "y"), 30, &json!({"orderId": "o1", "kg": 6})));
    farm.one(back);
    assert_eq!(number(&farm, ("lines", "y")), json!(3));
}

fn body_n(record: &Record) -> Value {
    body(record)["n"].clone()
}

#[test]
fn a_new_incarnation_of_the_data_numbers_above_all_that_was_lost() {
    let mut farm = Farm::new();
    farm.one(line(1, "x", "o1"));
    let backup = farm.server.snapshot();
    farm.one(line(2, "y", "o1"));
    farm.server.restore(&backup, Stamp(farm.now));
    farm.one(mutation("b:1", Op::Create, ("lines", "z"), 3, &json!({"orderId": "o1"})));
    assert!(number(&farm, ("lines", "z")).as_u64().unwrap() > 1_000 * NOW.cast_unsigned(), "{}", farm.body(("lines", "z")));
}

#[test]
fn numbers_follow_a_parent_whose_id_the_server_gives() {
    let mut farm = Farm::new();
    let order = |n: u64, id: &str| mutation(&format!("a:{n}"), Op::Create, ("orders", id), 1, &json!({"no": n}));
    // One line before its order, one after it in the same request, one later.
    farm.one(line(1, "x", "optimistic_o"));
    let results = farm.push(vec![order(2, "optimistic_o"), line(3, "y", "optimistic_o")]);
    let id = results[0].record_id.clone().unwrap();
    farm.one(line(4, "z", &id));
    for (at, line) in ["x", "y", "z"].into_iter().enumerate() {
        assert_eq!(farm.body(("lines", line)), json!({"orderId": id, "n": at + 1}));
    }
}

fn hen(id: &str, record: &str, body: &Value) -> WireMutation {
    mutation(id, Op::Create, ("hens", record), 1, body)
}

#[test]
fn of_two_live_records_with_one_value_the_second_is_refused() {
    let mut farm = Farm::new();
    let told = |r: &WireResult| (r.status, r.code.clone(), r.path.clone());
    let unique = |path: &str| (Outcome::Rejected, Some("unique".to_owned()), Some(path.to_owned()));
    let applied = (Outcome::Applied, None, None);
    let ring = |n: u64| json!({"ring": n});
    let results = farm.push(vec![hen("a:1", "h1", &ring(7)), hen("a:2", "h2", &ring(7)), hen("a:3", "h3", &ring(8))]);
    assert_eq!(results.iter().map(told).collect::<Vec<_>>(), [applied.clone(), unique("/record/ring"), applied.clone()]);
    assert_eq!(farm.body(("hens", "h2")), "none");
    assert_eq!(told(&farm.one(hen("b:1", "h4", &ring(7)))), unique("/record/ring"), "in another request");
    // Both fields together; what is absent, null or no plain value is nobody's.
    let named = |flock: &str, name: Value| json!({"flockId": flock, "name": name});
    let of = |n: u64, body: Value| hen(&format!("c:{n}"), &format!("c{n}"), &body);
    let results = farm.push(vec![of(1, named("f", json!("Ada"))), of(2, named("g", json!("Ada"))), of(3, named("f", json!("Ada")))]);
    assert_eq!(results.iter().map(told).collect::<Vec<_>>(), [applied.clone(), applied.clone(), unique("/record/flockId")]);
    for (n, name) in (4..).zip([Value::Null, Value::Null, json!(["Ada"]), json!(["Ada"])]) {
        assert_eq!(told(&farm.one(of(n, named("f", name)))), applied);
    }
    // An edit is refused as a create is; what it keeps, it keeps.
    let edit = |farm: &Farm, n: u64, id: &str, body: Value| {
        based(farm, mutation(&format!("d:{n}"), Op::Update, ("hens", id), 9 + n.cast_signed(), &body))
    };
    assert_eq!(told(&farm.one(edit(&farm, 1, "h3", ring(7)))), unique("/record/ring"));
    assert_eq!(told(&farm.one(edit(&farm, 2, "h1", json!({"ring": 7, "eggs": 1})))), applied);
    // Given up by an edit or a delete it is free, in the same request already.
    let moved = [edit(&farm, 3, "h1", ring(9)), hen("d:4", "h5", &ring(7))];
    assert_eq!(farm.push(moved.into()).iter().map(told).collect::<Vec<_>>(), [applied.clone(), applied.clone()]);
    let gone = WireMutation { op: Op::Delete, record: None, ..edit(&farm, 5, "h5", ring(7)) };
    assert_eq!(told(&farm.one(gone)), applied);
    assert_eq!(told(&farm.one(edit(&farm, 6, "h1", ring(7)))), applied);
    // Somebody has it now: what was deleted does not come back with it.
    let back = based(&farm, mutation("d:7", Op::Undelete, ("hens", "h5"), 20, &ring(7)));
    assert_eq!(told(&farm.one(back)), unique("/record/ring"));
    assert_eq!(farm.body(("hens", "h5")), "dead");
}

#[test]
fn a_refused_create_gives_no_id_and_a_group_is_refused_whole() {
    let mut farm = Farm::new();
    farm.one(hen("a:1", "h1", &json!({"ring": 7})));
    let refused = farm.one(hen("a:2", "optimistic_h", &json!({"ring": 7})));
    assert_eq!((refused.status, refused.record_id), (Outcome::Rejected, None));
    // The next create would be called the same, and the two would be one record.
    let other = farm.one(hen("b:9", "optimistic_i", &json!({"ring": 9}))).record_id.unwrap();
    // Mended, it is a create like any other: what waited for its id learns it.
    farm.one(mutation("a:3", Op::Create, ("flocks", "f"), 1, &json!({"best": "optimistic_h"})));
    let id = farm.one(hen("a:4", "optimistic_h", &json!({"ring": 8}))).record_id.unwrap();
    assert_eq!(farm.body(("flocks", "f")), json!({"best": id}));
    assert_eq!([other, id].map(|id| farm.body(("hens", &id))), [9, 8].map(|ring| json!({"ring": ring})));

    let group = |m: WireMutation| WireMutation { group: Some("g".into()), ..m };
    let before = farm.state();
    let results = farm.push(vec![group(hen("b:1", "h5", &json!({"ring": 5}))), group(hen("b:2", "h6", &json!({"ring": 7})))]);
    assert_eq!(results.iter().map(|r| r.code.as_deref()).collect::<Vec<_>>(), [Some("group-refused"), Some("unique")]);
    assert_eq!(farm.state(), before);
    assert_eq!(farm.one(hen("b:3", "h7", &json!({"ring": 5}))).status, Outcome::Applied, "nobody has it");
}

#[test]
fn a_value_with_an_id_in_it_is_the_same_value_under_the_servers_id() {
    let mut farm = Farm::new();
    let named = |flock: &str| json!({"flockId": flock, "name": "Ada"});
    farm.one(hen("a:1", "h1", &named("optimistic_order")));
    let order = farm.one(mutation("a:2", Op::Create, ("orders", "optimistic_order"), 1, &json!({}))).record_id.unwrap();
    assert_eq!(farm.body(("hens", "h1")), named(&order));
    assert_eq!(farm.one(hen("b:1", "h2", &named(&order))).code.as_deref(), Some("unique"));
    assert_eq!(farm.one(hen("b:2", "h3", &named("optimistic_order"))).code.as_deref(), Some("unique"));
}

#[test]
fn where_fields_merge_what_the_merge_makes_is_asked_about() {
    let mut farm = Farm::new();
    let pen = |id: &str, n: u64, body: Value| mutation(id, Op::Create, ("pens", &format!("p{n}")), 1, &body);
    farm.one(pen("a:1", 1, json!({"house": 1, "door": 1, "code": "x"})));
    farm.one(pen("a:2", 2, json!({"house": 1, "door": 2, "code": "y"})));
    let base = farm.rev(("pens", "p2"));
    let edit = |id: &str, ms: i64, body: Value, changed: &[&str]| WireMutation {
        base_rev: Some(base),
        changed: Some(changed.iter().map(ToString::to_string).collect()),
        ..mutation(id, Op::Update, ("pens", "p2"), ms, &body)
    };
    assert_eq!(farm.one(edit("a:3", 5, json!({"house": 1, "door": 3, "code": "y"}), &["/door"])).status, Outcome::Applied);
    // Made on the older version, with its door: the merge keeps the newer one, so only the code counts.
    let both = edit("b:1", 6, json!({"house": 1, "door": 2, "code": "z"}), &["/code"]);
    assert_eq!(farm.one(both).status, Outcome::Merged);
    assert_eq!(farm.body(("pens", "p2")), json!({"house": 1, "door": 3, "code": "z"}));
    assert_eq!(farm.one(pen("a:4", 3, json!({"house": 1, "door": 2, "code": "y"}))).status, Outcome::Applied, "both are free again");
    let taken = edit("b:2", 7, json!({"house": 1, "door": 1, "code": "q"}), &["/door", "/code"]);
    let result = farm.one(taken);
    assert_eq!((result.code.as_deref(), result.path.as_deref()), (Some("unique"), Some("/record/house")));
    assert_eq!(farm.one(pen("a:5", 4, json!({"house": 2, "door": 1, "code": "q"}))).status, Outcome::Applied);
}

#[test]
fn a_place_that_only_the_merge_names_is_asked_for() {
    // Their line moved to another order; mine says nothing of the order and is numbered where the line is now.
    let schema = r#"{"collections": {"lines": {"merge": "fields", "ordinal": {"field": "n", "parent": "orderId"}}}}"#;
    let unnumbered = r#"{"collections": {"lines": {"merge": "fields"}}}"#;
    let mut farm = Farm { server: MemoryServer::new(Schema::parse(unnumbered).unwrap()), now: NOW };
    farm.one(line(1, "old", "o1"));
    let base = farm.rev(("lines", "old"));
    farm.one(based(
        &farm,
        WireMutation {
            changed: Some(vec!["/orderId".into()]),
            ..mutation("a:2", Op::Update, ("lines", "old"), 2, &json!({"orderId": "o2"}))
        },
    ));
    farm.server.declare(Schema::parse(schema).unwrap());
    farm.one(line(3, "new", "o2"));
    assert_eq!(number(&farm, ("lines", "new")), json!(1));
    let stale = mutation("b:1", Op::Update, ("lines", "old"), 9, &json!({"orderId": "o1", "kg": 5}));
    farm.one(WireMutation { base_rev: Some(base), changed: Some(vec!["/kg".into()]), ..stale });
    assert_eq!(farm.body(("lines", "old")), json!({"orderId": "o2", "kg": 5, "n": 2}));
}

#[test]
fn what_follows_a_version_with_an_id_of_its_own_is_numbered_there() {
    let schema = r#"{"collections": {"flocks": {}, "lines": {"references": {"orderId": "flocks"}, "ordinal": {"field": "n", "parent": "orderId"}}}}"#;
    let mut farm = Farm { server: MemoryServer::new(Schema::parse(schema).unwrap()), now: NOW };
    let flock = |id: &str, name: &str| mutation(id, Op::Create, ("flocks", "f1"), 1, &json!({"name": name}));
    let for_mine = |n: u64, id: &str| WireMutation { depends_on: vec!["b:1".into()], id: format!("b:{n}"), ..line(n, id, "f1") };
    farm.one(flock("a:1", "theirs"));
    let conflict = farm.one(flock("b:1", "mine"));
    assert_eq!(conflict.status, Outcome::Conflict);
    farm.one(for_mine(2, "m1"));
    let both = mutation("c:1", Op::Create, ("flocks", "f2"), 5, &json!({"name": "mine"}));
    farm.one(WireMutation { resolves: farm.archive().first().map(|c| c.id.clone()), ..both });
    farm.one(for_mine(3, "m2"));
    let lines = ["m1", "m2"].map(|id| farm.body(("lines", id)));
    assert_eq!(lines[1], json!({"orderId": "f2", "n": 2}), "{lines:?}");
    assert_eq!(lines[0], json!({"orderId": "f2", "n": 1}));
}
