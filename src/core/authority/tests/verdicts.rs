//! The policy table: what is there × what arrives → status, row, archive.

use super::*;
use crate::core::conflict::{Kind, Status, Winner};
use Base::{Current, Stale, Unknown};
use Before::{Dead, Edited, Live, Nothing};
use Outcome::{Applied, Conflict as Refused, Merged, Rejected, Superseded};

/// What another client wrote before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Nothing,
    /// Created at 1000: `{"name": "old", "n": 1}`.
    Live,
    /// The same, then edited at 2000: `{"name": "theirs", "n": 1}`.
    Edited,
    /// The same, then deleted at 2000.
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Base {
    Unknown,
    /// The `_rev` of the first version: stale if anything followed.
    Stale,
    Current,
}

#[derive(Debug)]
struct Case {
    collection: &'static str,
    before: Before,
    op: Op,
    base: Base,
    stamp: i64,
    body: &'static str,
    imported: bool,
    status: Outcome,
    /// The row's body afterwards.
    row: &'static str,
    archive: Option<(Kind, Status, Winner)>,
    /// The result carries the record.
    told: bool,
}

const OLD: &str = r#"{"name":"old","n":1}"#;
const THEIRS: &str = r#"{"name":"theirs","n":1}"#;
const MINE: &str = r#"{"name":"mine","n":1}"#;
const DEAD: &str = r#""dead""#;
const NONE: &str = r#""none""#;

const AUTO_MINE: Option<(Kind, Status, Winner)> = Some((Kind::EditEdit, Status::Automatic, Winner::Mine));
const AUTO_THEIRS: Option<(Kind, Status, Winner)> = Some((Kind::EditEdit, Status::Automatic, Winner::Theirs));
const EDIT_DELETE: Option<(Kind, Status, Winner)> = Some((Kind::EditDelete, Status::Unresolved, Winner::Theirs));
const DELETE_EDIT: Option<(Kind, Status, Winner)> = Some((Kind::DeleteEdit, Status::Unresolved, Winner::Theirs));
const TWO_CREATES: Option<(Kind, Status, Winner)> = Some((Kind::CreateCreate, Status::Unresolved, Winner::Theirs));
const IMPORTED: Option<(Kind, Status, Winner)> = Some((Kind::CreateCreate, Status::Automatic, Winner::Theirs));

#[allow(clippy::too_many_arguments, reason = "one line per row of the table")]
fn case(
    collection: &'static str,
    before: Before,
    op: Op,
    base: Base,
    stamp: i64,
    body: &'static str,
    status: Outcome,
    row: &'static str,
    archive: Option<(Kind, Status, Winner)>,
    told: bool,
) -> Case {
    Case { collection, before, op, base, stamp, body, imported: false, status, row, archive, told }
}

fn imported(case: Case) -> Case {
    Case { imported: true, ..case }
}

fn run(case: &Case) {
    let mut farm = Farm::new();
    let key = (case.collection, "r1");
    let mut first = 0;
    if case.before != Nothing {
        farm.one(mutation("other:1", Op::Create, key, 1000, &serde_json::from_str(OLD).unwrap()));
        first = farm.rev(key);
        let (op, body) = if case.before == Dead { (Op::Delete, OLD) } else { (Op::Update, THEIRS) };
        if case.before != Live {
            let second = mutation("other:2", op, key, 2000, &serde_json::from_str(body).unwrap());
            let done = farm.one(WireMutation { base_rev: Some(first), ..second });
            // Append-only rows cannot get there.
            assert!(done.status == Applied, "{case:?} set-up: {done:?}");
        }
    }
    let before = farm.row(key);
    let entries = farm.archive().len();
    assert_eq!(entries, 0, "{case:?} set-up");
    let base_rev = match case.base {
        Unknown => None,
        Stale => Some(first),
        Current => before.as_ref().and_then(Record::rev),
    };
    let sent = mutation("me:1", case.op, key, case.stamp, &serde_json::from_str(case.body).unwrap());
    let result = farm.one(WireMutation { base_rev, imported: case.imported, ..sent.clone() });

    assert_eq!(result.status, case.status, "{case:?} {result:?}");
    assert_eq!(farm.body(key), serde_json::from_str::<Value>(case.row).unwrap(), "{case:?}");
    assert_eq!(result.record.is_some(), case.told, "{case:?} {result:?}");
    if let Some(told) = record_of(&result) {
        assert_eq!(Some(&told), farm.row(key).as_ref(), "{case:?}: the result has the row");
    }
    if let Some(row) = farm.row(key) {
        assert_eq!(result.rev, row.rev(), "{case:?}");
        if case.status == Applied && !case.told {
            let carried = Record::parse(sent.record.as_ref().unwrap().get()).unwrap();
            assert!(row.same(&carried), "{case:?}: nothing was told, so the row is what was carried");
        }
    }
    let archive = farm.archive();
    assert_eq!(archive.first().map(|c| (c.kind, c.status, c.winner)), case.archive, "{case:?}");
    assert_eq!(result.archived.is_some(), case.archive.is_some(), "{case:?}");
    for entry in archive {
        assert_eq!(Record::parse(result.archived.as_ref().unwrap().get()).unwrap().id().as_ref(), entry.id);
        assert_eq!((entry.collection.as_str(), entry.record_id.as_str()), key);
        assert_eq!(entry.mine_by.as_deref(), Some("me"));
        assert_eq!(entry.mine.as_ref().map(Record::updated_at), Some(Stamp(NOW + case.stamp)), "{case:?}");
        assert_eq!(entry.theirs, before, "{case:?}: both versions are in the entry");
        assert_eq!(entry.theirs_by.as_deref(), before.as_ref().map(|_| "other"));
    }
    // Asked again: the same answer, nothing changes.
    let state = farm.state();
    let again = farm.one(WireMutation { base_rev, imported: case.imported, ..sent });
    assert_eq!(again.replayed, case.status.is_final());
    assert_eq!((again.status, again.rev), (result.status, result.rev));
    assert_eq!(farm.state(), state, "{case:?}");
}

#[test]
fn last_write_wins() {
    for c in [
        case("flocks", Nothing, Op::Create, Unknown, 5000, MINE, Applied, MINE, None, false),
        case("flocks", Nothing, Op::Update, Stale, 5000, MINE, Refused, NONE, EDIT_DELETE, false),
        case("flocks", Nothing, Op::Undelete, Stale, 5000, MINE, Refused, NONE, EDIT_DELETE, false),
        case("flocks", Nothing, Op::Delete, Stale, 5000, MINE, Applied, NONE, None, false),
        case("flocks", Live, Op::Update, Current, 5000, MINE, Applied, MINE, None, false),
        case("flocks", Live, Op::Update, Current, 500, MINE, Superseded, OLD, AUTO_THEIRS, true),
        case("flocks", Edited, Op::Update, Stale, 5000, MINE, Applied, MINE, AUTO_MINE, false),
        case("flocks", Edited, Op::Update, Unknown, 5000, MINE, Applied, MINE, AUTO_MINE, false),
        case("flocks", Edited, Op::Update, Stale, 1500, MINE, Superseded, THEIRS, AUTO_THEIRS, true),
        case("flocks", Edited, Op::Update, Stale, 2000, THEIRS, Applied, THEIRS, None, false),
        case("flocks", Edited, Op::Update, Stale, 5000, THEIRS, Applied, THEIRS, None, true),
        case("flocks", Edited, Op::Create, Unknown, 5000, MINE, Refused, THEIRS, TWO_CREATES, true),
        case("flocks", Edited, Op::Create, Unknown, 5000, THEIRS, Applied, THEIRS, None, true),
        case("flocks", Live, Op::Delete, Current, 5000, OLD, Applied, DEAD, None, false),
        case("flocks", Dead, Op::Undelete, Current, 5000, MINE, Applied, MINE, None, false),
    ] {
        run(&c);
    }
}

#[test]
fn delete_against_edit_is_for_the_user_whatever_the_policy_and_the_stamps() {
    for collection in ["flocks", "settings", "first", "theirs", "mine", "manual"] {
        for stamp in [1500, 5000] {
            for c in [
                case(collection, Dead, Op::Update, Stale, stamp, MINE, Refused, DEAD, EDIT_DELETE, true),
                case(collection, Dead, Op::Update, Unknown, stamp, MINE, Refused, DEAD, EDIT_DELETE, true),
                case(collection, Dead, Op::Undelete, Stale, stamp, MINE, Refused, DEAD, EDIT_DELETE, true),
                case(collection, Dead, Op::Create, Unknown, stamp, MINE, Refused, DEAD, EDIT_DELETE, true),
                case(collection, Edited, Op::Delete, Stale, stamp, OLD, Refused, THEIRS, DELETE_EDIT, true),
                case(collection, Nothing, Op::Update, Stale, stamp, MINE, Refused, NONE, EDIT_DELETE, false),
                case(collection, Dead, Op::Delete, Stale, stamp, OLD, Superseded, DEAD, None, true),
            ] {
                run(&c);
            }
        }
    }
    let edited_first = Some((Kind::EditEdit, Status::Automatic, Winner::Theirs));
    run(&case("flocks", Dead, Op::Delete, Stale, 5000, MINE, Superseded, DEAD, edited_first, true));
    run(&case("flocks", Dead, Op::Delete, Current, 5000, OLD, Applied, DEAD, None, false));
}

#[test]
fn stale_edits_are_refused_where_the_policy_refuses() {
    let unresolved = Some((Kind::EditEdit, Status::Unresolved, Winner::Theirs));
    for (collection, archive) in [("first", AUTO_THEIRS), ("theirs", AUTO_THEIRS), ("mine", AUTO_MINE), ("manual", unresolved)] {
        for c in [
            case(collection, Edited, Op::Update, Stale, 5000, MINE, Refused, THEIRS, archive, true),
            case(collection, Edited, Op::Update, Unknown, 5000, MINE, Refused, THEIRS, archive, true),
            case(collection, Edited, Op::Update, Current, 5000, MINE, Applied, MINE, None, false),
            case(collection, Edited, Op::Update, Stale, 5000, THEIRS, Applied, THEIRS, None, true),
            case(collection, Live, Op::Create, Unknown, 5000, MINE, Refused, OLD, TWO_CREATES, true),
            case(collection, Nothing, Op::Create, Unknown, 5000, MINE, Applied, MINE, None, false),
        ] {
            run(&c);
        }
    }
}

#[test]
fn facts_are_never_overwritten_or_deleted() {
    for c in [
        case("facts", Nothing, Op::Create, Unknown, 5000, MINE, Applied, MINE, None, false),
        case("facts", Live, Op::Create, Unknown, 5000, OLD, Applied, OLD, None, true),
        case("facts", Live, Op::Create, Unknown, 1000, OLD, Applied, OLD, None, false),
        case("facts", Live, Op::Create, Unknown, 5000, MINE, Refused, OLD, TWO_CREATES, true),
        // Sent by somebody who has seen the row: a simple client that pushes it with its `_rev`, edited.
        case("facts", Live, Op::Create, Current, 5000, MINE, Refused, OLD, TWO_CREATES, true),
        case("facts", Live, Op::Update, Current, 5000, MINE, Rejected, OLD, None, false),
        case("facts", Live, Op::Delete, Current, 5000, OLD, Rejected, OLD, None, false),
        case("facts", Nothing, Op::Delete, Unknown, 5000, OLD, Rejected, NONE, None, false),
    ] {
        if c.status == Rejected {
            let mut farm = Farm::new();
            let result = farm.one(mutation("me:1", c.op, ("facts", "r1"), 1, &json!({})));
            assert_eq!((result.status, result.code.as_deref()), (Rejected, Some("append-only")));
            continue;
        }
        run(&c);
    }
}

#[test]
fn an_import_never_beats_the_server() {
    for collection in ["flocks", "facts", "settings", "first", "manual"] {
        for c in [
            case(collection, Nothing, Op::Create, Unknown, 5000, MINE, Applied, MINE, None, false),
            case(collection, Live, Op::Create, Unknown, 5000, OLD, Applied, OLD, None, true),
            case(collection, Live, Op::Create, Unknown, 5000, MINE, Superseded, OLD, IMPORTED, true),
        ] {
            run(&imported(c));
        }
    }
    let gone = Some((Kind::EditDelete, Status::Automatic, Winner::Theirs));
    run(&imported(case("flocks", Dead, Op::Create, Unknown, 5000, MINE, Superseded, DEAD, gone, true)));
}

#[test]
fn fields_merge_one_by_one() {
    let merged = Some((Kind::EditEdit, Status::Automatic, Winner::Merged));
    let both = r#"{"name":"theirs","n":2}"#;
    // (changed, stamp, body, status, row, archive)
    for (changed, base, stamp, body, status, row, archive, told) in [
        (Some(vec!["/n"]), Stale, 5000, r#"{"name":"old","n":2}"#, Merged, both, None, true),
        (Some(vec!["/n"]), Stale, 1500, r#"{"name":"old","n":2}"#, Merged, both, None, true),
        (Some(vec!["/name"]), Stale, 5000, MINE, Merged, MINE, merged, false),
        (Some(vec!["/name"]), Stale, 1500, MINE, Merged, THEIRS, merged, true),
        (Some(vec!["/name"]), Current, 5000, MINE, Applied, MINE, None, false),
        (Some(vec!["/name"]), Stale, 5000, THEIRS, Merged, THEIRS, None, false),
        (Some(vec![]), Current, 5000, THEIRS, Applied, THEIRS, None, true),
        (None, Current, 5000, r#"{"name":"mine"}"#, Applied, r#"{"name":"mine"}"#, None, true),
        (None, Stale, 5000, r#"{"name":"mine"}"#, Merged, MINE, merged, true),
        (Some(vec!["/n"]), Current, 5000, r#"{"name":"theirs"}"#, Applied, r#"{"name":"theirs"}"#, None, false),
        (Some(vec![""]), Stale, 5000, MINE, Merged, MINE, merged, true),
    ] {
        let what = format!("{changed:?} {base:?} {stamp} {body}");
        let mut farm = Farm::new();
        let key = ("settings", "$singleton");
        farm.one(mutation("other:1", Op::Create, key, 1000, &serde_json::from_str(OLD).unwrap()));
        let first = farm.rev(key);
        let edit = mutation("other:2", Op::Update, key, 2000, &serde_json::from_str(THEIRS).unwrap());
        farm.one(WireMutation { base_rev: Some(first), changed: Some(vec!["/name".into()]), ..stamped(edit, &["/name"], 1000, 2000) });
        let theirs = farm.row(key).unwrap();
        let base_rev = if base == Stale { Some(first) } else { theirs.rev() };
        let names = changed.clone().unwrap_or_default();
        let mine = mutation("me:1", Op::Update, key, stamp, &serde_json::from_str(body).unwrap());
        let mine = if changed.is_some() && !names.contains(&"") { stamped(mine, &names, 1000, stamp) } else { mine };
        let mine = with_theirs_time(mine, base == Current && changed.is_some() && !names.contains(&"/name"));
        let result = farm.one(WireMutation {
            base_rev,
            was: changed.is_some().then(|| serde_json::from_str(if base == Stale { OLD } else { THEIRS }).unwrap()).map(pointers),
            changed: changed.map(|c| c.into_iter().map(String::from).collect()),
            ..mine
        });
        assert_eq!(result.status, status, "{what} {result:?}");
        assert_eq!(farm.body(key), serde_json::from_str::<Value>(row).unwrap(), "{what}");
        assert_eq!(result.record.is_some(), told, "{what} {result:?} {:?}", farm.row(key));
        let archive_now = farm.archive();
        assert_eq!(archive_now.first().map(|c| (c.kind, c.status, c.winner)), archive, "{what}");
        if let Some(entry) = archive_now.first() {
            assert_eq!(entry.paths, ["/name"], "{what}");
            assert_eq!(entry.theirs.as_ref(), Some(&theirs));
        }
    }
}

fn pointers(body: serde_json::Map<String, Value>) -> serde_json::Map<String, Value> {
    body.into_iter().map(|(name, value)| (format!("/{name}"), value)).collect()
}

/// `_fieldTimes` as a client writes them: everything at `root`, the named pointers at `ms`.
fn stamped(wire: WireMutation, names: &[&str], root: i64, ms: i64) -> WireMutation {
    let mut record: Value = serde_json::from_str(wire.record.as_ref().unwrap().get()).unwrap();
    let mut times = json!({"": at(root)});
    for name in names {
        times[*name] = at(ms).into();
    }
    record["_fieldTimes"] = times;
    WireMutation { record: Some(raw(&record)), ..wire }
}

/// Adds the stamp that the other device gave `/name`, when this one had seen it.
fn with_theirs_time(wire: WireMutation, seen: bool) -> WireMutation {
    let mut record: Value = serde_json::from_str(wire.record.as_ref().unwrap().get()).unwrap();
    if seen {
        record["_fieldTimes"]["/name"] = at(2000).into();
    }
    WireMutation { record: Some(raw(&record)), ..wire }
}

#[test]
fn two_devices_set_different_settings_before_they_ever_met() {
    let mut farm = Farm::new();
    let key = ("settings", "$singleton");
    farm.one(mutation("a:1", Op::Create, key, 1000, &json!({"currency": "EUR", "units": {"mass": "kg"}})));
    let result = farm.one(mutation("b:1", Op::Create, key, 2000, &json!({"locale": "de", "units": {"volume": "l"}})));
    assert_eq!(result.status, Merged);
    assert_eq!(farm.body(key), json!({"currency": "EUR", "units": {"mass": "kg", "volume": "l"}, "locale": "de"}));
    assert!(farm.archive().is_empty(), "nothing was lost");
    let third = farm.one(mutation("c:1", Op::Create, key, 1500, &json!({"currency": "USD", "locale": "en"})));
    assert_eq!(third.status, Merged);
    assert_eq!(farm.body(key)["currency"], "USD");
    assert_eq!(farm.body(key)["locale"], "de");
    let entry = &farm.archive()[0];
    assert_eq!(
        (entry.kind, entry.winner, entry.paths.clone()),
        (Kind::CreateCreate, Winner::Merged, vec!["/currency".into(), "/locale".into()])
    );
}
