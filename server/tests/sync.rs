//! Push and pull over real HTTP on a real database: results, receipts, pages, cursors, hostile records.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::place::Place;
use common::{AT, Client, Server, create, many, request, rows};
use homing_server::serve::start;
use serde_json::{Value, json};

fn outcomes(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().map(|r| r["status"].as_str().unwrap()).collect()
}

fn update(client: &str, seq: u64, id: &str, base: &Value, name: &str, at: &str) -> Value {
    let record = json!({ "id": id, "name": name, "_updatedAt": at, "_deletedAt": null });
    json!({ "id": format!("{client}:{seq}"), "op": "update", "collection": "flocks", "recordId": id, "baseRev": base, "record": record, "updatedAt": at })
}

#[tokio::test]
async fn what_one_device_pushes_another_pulls() {
    let server = Server::start().await;
    let (a, b) = (server.client("farm-1"), server.client("farm-1"));
    let pushed =
        a.sync(&request("a", vec![create("a", 1, "flocks", "f1", json!({ "name": "Layer Group 3", "cost": 4666.73300794512 }))])).await;
    assert_eq!((outcomes(&pushed), &pushed["scope"], &pushed["protocol"]), (vec!["applied"], &json!("farm-1"), &json!(1)));
    assert_eq!(pushed["requestId"], "req-1");

    let pulled = b.pull("protocol=1&clientId=b&requestId=r2").await;
    let row = &rows(&pulled)[0];
    assert_eq!((&row["name"], &row["cost"], &row["_updatedAt"]), (&json!("Layer Group 3"), &json!(4666.73300794512), &json!(AT)));
    assert_eq!((&row["_rev"], &pulled["requestId"], &pulled["hasMore"]), (&pushed["results"][0]["rev"], &json!("r2"), &json!(false)));

    let cursor = pulled["cursor"].as_str().unwrap();
    assert!(cursor.starts_with("c1."));
    let edited = b.sync(&request("b", vec![update("b", 1, "f1", &row["_rev"], "Layers", "2025-06-01T11:00:00.000Z")])).await;
    assert_eq!(outcomes(&edited), ["applied"]);
    let next = a.pull(&format!("cursor={cursor}")).await;
    assert_eq!(rows(&next).iter().map(|r| r["name"].clone()).collect::<Vec<_>>(), ["Layers"]);
    assert_eq!(server.place.count("collection = 'flocks'").await, 1);
}

/// What a push brings back is what a pull from the same place would: where it wrote all that is new itself, and where others wrote, too.
#[tokio::test]
async fn a_push_brings_what_a_pull_would() {
    let server = Server::start().await;
    let (phone, other) = (server.client("farm-1"), server.client("farm-1"));
    let mut cursor = phone.sync(&request("phone", many("phone", 1, 3))).await["cursor"].clone();
    let delete = |seq: u64, id: &str| {
        let mut mutation = update("phone", seq, id, &Value::Null, "gone", "2025-06-01T12:00:00.000Z");
        (mutation["op"], mutation["collection"], mutation["record"]["_deletedAt"]) =
            (json!("delete"), json!("inventory"), json!("2025-06-01T12:00:00.000Z"));
        mutation
    };
    for (round, (limit, others)) in [(1_000, 0), (4, 0), (1_000, 2), (1, 0), (1_000, 0)].into_iter().enumerate() {
        let first = 100 + 10 * u64::try_from(round).unwrap();
        for n in 0..others {
            other.sync(&request("other", many("other", first + n, 1))).await;
        }
        // The delete is of a version that it did not see: a conflict with an entry in the archive, or a tombstone.
        let mut asked = request("phone", [many("phone", first, 3), vec![delete(first + 5, "phone-1")]].concat());
        (asked["cursor"], asked["limit"]) = (cursor.clone(), json!(limit));
        let pushed = phone.sync(&asked).await;
        let pulled = phone.pull(&format!("cursor={}&limit={limit}", cursor.as_str().unwrap())).await;
        for part in ["changes", "cursor", "rev", "epoch", "hasMore", "reset"] {
            assert_eq!(pushed[part], pulled[part], "{part} in round {round}");
        }
        assert!(rows(&pushed).len() >= limit.min(3), "round {round}");
        cursor = pushed["cursor"].clone();
    }
}

#[tokio::test]
async fn a_repeated_push_gets_the_original_results_and_has_no_second_effect() {
    let server = Server::start().await;
    let push = request("a", many("a", 1, 20));
    let first = server.client.sync(&push).await;
    let stored = server.place.stored().await;
    let again = server.client.sync(&push).await;
    assert_eq!(server.place.stored().await, stored);
    assert_eq!(again["rev"], first["rev"]);
    for (one, two) in first["results"].as_array().unwrap().iter().zip(again["results"].as_array().unwrap()) {
        assert_eq!((&one["id"], &one["status"], &one["rev"]), (&two["id"], &two["status"], &two["rev"]));
        assert_eq!((&one["replayed"], &two["replayed"]), (&Value::Null, &json!(true)));
    }
    let reused = server.client.sync(&request("a", vec![create("a", 1, "inventory", "a-1", json!({ "qtyIn": 999 }))])).await;
    assert_eq!((outcomes(&reused), &reused["results"][0]["code"]), (vec!["rejected"], &json!("mutation-reuse")));
    assert_eq!(server.place.stored().await, stored);
}

/// Singletons merge by field, declared or not: without an end, five pushes that are allowed would be a row longer than a page.
#[tokio::test]
async fn pushes_that_merge_make_no_record_longer_than_any_may_be() {
    let server = Server::start().await;
    let field = |n: u64, letters: usize| {
        let name = format!("f{n}");
        let mut mutation = create("a", n, "settings", "$singleton", json!({ &name: "x".repeat(letters) }));
        (mutation["op"], mutation["changed"]) = (json!(if n == 1 { "create" } else { "update" }), json!([format!("/{name}")]));
        mutation
    };
    assert_eq!(outcomes(&server.client.sync(&request("a", vec![field(1, 1_000_000)])).await), ["applied"]);
    let before = rows(&server.client.pull("").await);
    for n in 2..=5 {
        let answer =
            server.client.sync(&request("a", vec![field(n, 1_000_000), create("a", 100 + n, "flocks", &n.to_string(), json!({}))])).await;
        assert_eq!(outcomes(&answer), ["rejected", "applied"], "{n}");
        assert_eq!((&answer["results"][0]["code"], &answer["results"][0]["path"]), (&json!("too-large"), &json!("/record")));
    }
    let settings: Vec<Value> = rows(&server.client.pull("").await).into_iter().filter(|r| r["id"] == "$singleton").collect();
    assert_eq!(settings, before);
    assert_eq!(server.place.count("collection = '_conflictArchive'").await, 0);
    assert_eq!(outcomes(&server.client.sync(&request("a", vec![field(6, 10)])).await), ["merged"]);
}

/// Forty bytes can name a row of a megabyte, and an answer holds it several times: what is too much for one request comes with the next ones.
#[tokio::test]
async fn a_short_push_on_long_rows_is_answered_a_part_at_a_time() {
    let server = Server::start().await;
    let long = |n: u64| create("a", n, "flocks", &format!("f{n}"), json!({ "text": "x".repeat(900_000) }));
    for n in (1..=24).step_by(4) {
        assert_eq!(outcomes(&server.client.sync(&request("a", (n..n + 4).map(long).collect())).await), ["applied"; 4]);
    }
    let edit = |n: u64| update("b", n, &format!("f{n}"), &Value::Null, "short", "2025-06-01T11:00:00.000Z");
    let mut waiting: Vec<u64> = (1..=24).collect();
    let mut rounds = 0;
    while !waiting.is_empty() {
        let pushed = request("b", waiting.iter().map(|n| edit(*n)).collect());
        let answer = server.client.sync(&pushed).await;
        let results = answer["results"].to_string();
        assert!(results.len() < 36 << 20, "{}", results.len());
        let judged = outcomes(&answer).iter().take_while(|status| **status == "applied").count();
        assert!(judged > 0 && outcomes(&answer)[judged..].iter().all(|status| *status == "retry"));
        assert!(answer["results"].as_array().unwrap()[judged..].iter().all(|r| r["code"] == "too-much" && r["retryAfterMs"] == 0));
        if rounds == 0 {
            // The same again costs no more, and says the same.
            let again = server.client.sync(&pushed).await;
            assert!(again["results"].to_string().len() < 36 << 20);
            assert_eq!((&again["results"][0]["replayed"], &again["results"][0]["rev"]), (&json!(true), &answer["results"][0]["rev"]));
        }
        waiting.drain(..judged);
        rounds += 1;
    }
    assert!((2..10).contains(&rounds), "{rounds}");
    assert_eq!(server.place.count("collection = 'flocks' AND LENGTH(body) < 1000").await, 24);
    assert_eq!(server.place.count("collection = '_conflictArchive'").await, 24);
}

/// Each is looked for, while nobody else writes: so there is an end to it, and it takes one statement.
#[tokio::test]
async fn what_depends_on_thousands_of_others_keeps_nobody_waiting() {
    let server = Server::start().await;
    let child = |n: usize| {
        let mut child = create("a", 1, "flocks", "f1", json!({}));
        child["dependsOn"] = (0..n).map(|n| json!(format!("client{n}:1"))).collect();
        request("a", vec![child])
    };
    let from = std::time::Instant::now();
    assert_eq!(outcomes(&server.client.sync(&child(10_000)).await), ["blocked"]);
    println!("10,000 dependencies: {:?}", from.elapsed());
    let refused = server.client.push(&child(10_001)).await;
    refused.expect_failure(413, "too-large", "push");
    assert_eq!(refused.body["error"]["path"], "/mutations");
}

#[tokio::test]
async fn one_mutation_id_twice_in_one_request_takes_effect_once() {
    let server = Server::start().await;
    let one = create("a", 1, "flocks", "f1", json!({ "name": "x" }));
    let answer = server.client.sync(&request("a", vec![one.clone(), one])).await;
    assert_eq!(answer["results"].as_array().unwrap().len(), 2);
    assert_eq!(server.place.count("collection = 'flocks'").await, 1);
}

#[tokio::test]
async fn five_thousand_rows_come_in_pages_each_row_once() {
    let server = Server::start().await;
    for n in 0..10 {
        let answer = server.client.sync(&request("a", many("a", n * 500 + 1, 500))).await;
        assert!(outcomes(&answer).iter().all(|o| *o == "applied"));
    }
    let (_, records, pages) = server.client.pull_all(None, 700).await;
    assert_eq!((records.len(), pages), (5000, 8));
    let ids: Vec<String> = records.iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (1..=5000).map(|n| format!("a-{n}")).collect::<Vec<_>>(), "order of entry, none twice, none missing");

    // A row written while a client is between two pages is not missed.
    let page = server.client.pull("limit=3000").await;
    server.client.sync(&request("b", vec![create("b", 1, "flocks", "late", json!({}))])).await;
    let (_, rest, _) = server.client.pull_all(page["cursor"].as_str(), 3000).await;
    assert_eq!((rest.len(), rest.last().unwrap()["id"].as_str()), (2001, Some("late")));
}

#[tokio::test]
async fn simple_clients_pull_by_time() {
    let server = Server::start().await;
    server.client.sync(&request("a", many("a", 1, 3))).await;
    let between = server.client.pull("protocol=1").await["serverTime"].as_str().unwrap().to_owned();
    let first = server.client.pull("since=2020-01-01T00:00:00Z&limit=2").await;
    assert_eq!((rows(&first).len(), &first["hasMore"]), (2, &json!(true)));
    let rest = server.client.pull(&format!("cursor={}", first["cursor"].as_str().unwrap())).await;
    assert_eq!((rows(&rest).len(), &rest["hasMore"]), (1, &json!(false)));
    // What was committed a little late for the last answer would have come before it; twice is better than never.
    assert_eq!(rows(&server.client.pull(&format!("since={between}")).await).len(), 3);
    let future = homing::core::stamp::Stamp(homing::core::stamp::Stamp::parse(&between).unwrap().0 + 120_000);
    assert_eq!(rows(&server.client.pull(&format!("since={future}")).await).len(), 0);
}

#[tokio::test]
async fn hostile_records_are_refused_one_by_one_with_code_and_path() {
    let server = Server::start().await;
    let raw = |seq: u64, id: &str, record: &str| {
        format!(
            r#"{{"id":"a:{seq}","op":"create","collection":"flocks","recordId":{},"baseRev":null,"record":{record},"updatedAt":"{AT}"}}"#,
            json!(id)
        )
    };
    let good = |id: &str| format!(r#"{{"id":"{id}","name":"ok","_updatedAt":"{AT}"}}"#);
    let with = |id: &str, member: &str| format!(r#"{{"id":"{id}","_updatedAt":"{AT}",{member}}}"#);
    let deep = format!(r#""a":{}1{}"#, "[".repeat(5000), "]".repeat(5000));
    let hostile = [
        ("h1", with("h1", r#""a":{"__proto__":{"x":1}}"#), Some("/record/a/__proto__")),
        ("h2", with("h2", r#""a":[0,9007199254740993]"#), Some("/record/a/1")),
        ("h3", with("h3", r#""a":1e400"#), Some("/record/a")),
        ("h4", with("h4", r#""a":"\ud800""#), Some("/record/a")),
        ("h5", with("h5", &deep), None),
        ("h6", "[1,2]".to_owned(), None),
        ("h7", "null".to_owned(), None),
        ("h8", "7".to_owned(), None),
        ("h9", with("h9", &format!(r#""a":"{}""#, "x".repeat(1_100_000))), None),
        ("h\u{0}", good("h\\u0000"), None),
        (&"i".repeat(129), good(&"i".repeat(129)), None),
        ("", good(""), None),
    ];
    let mut mutations = vec![raw(1, "g1", &good("g1"))];
    mutations.extend(hostile.iter().enumerate().map(|(n, (id, record, _))| raw(n as u64 + 2, id, record)));
    // A text that looks like an id of ours, but is none, is a text.
    let texts = format!(r#""a":"optimistic_\\u0000","b":"optimistic_{}""#, "x".repeat(100_000));
    mutations.push(raw(90, "g2", &with("g2", &texts)));
    mutations.push(raw(91, "g3", &good("g3")).replace("\"flocks\"", "\"__proto__\""));
    mutations.push(raw(92, "g4", &good("g4")).replace("\"flocks\"", "\"_conflictArchive\""));
    let body = format!(r#"{{"protocol":1,"clientId":"a","requestId":"r","mutations":[{}]}}"#, mutations.join(","));
    let answer = common::reply(server.client.post().body(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let results = answer.body["results"].as_array().unwrap();
    assert_eq!(results.len(), hostile.len() + 4);
    for (result, (id, _, path)) in results[1..].iter().zip(&hostile) {
        assert_eq!(result["status"], "rejected", "{id}: {result}");
        assert!(!result["code"].as_str().unwrap().is_empty() && !result["message"].as_str().unwrap().is_empty(), "{result}");
        if let Some(path) = path {
            assert_eq!(result["path"], *path, "{result}");
        }
    }
    let last = &results[hostile.len() + 1..];
    assert_eq!(last.iter().map(|r| r["status"].as_str().unwrap()).collect::<Vec<_>>(), ["applied", "rejected", "rejected"], "{last:?}");
    assert_eq!(results[0]["status"], "applied");
    assert_eq!(server.place.count("id <> ''").await, 2, "only the two good records");
    let pulled = server.client.pull("protocol=1").await;
    assert_eq!(rows(&pulled).iter().map(|r| r["id"].clone()).collect::<Vec<_>>(), ["g1", "g2"]);
}

#[tokio::test]
async fn numbers_at_the_edge_do_not_break_the_store() {
    let server = Server::start().await;
    let edge = json!({ "id": format!("a:{}", u64::MAX), "op": "update", "collection": "flocks", "recordId": "f", "baseRev": u64::MAX, "record": { "id": "f", "_updatedAt": AT }, "updatedAt": AT });
    let mut push = request("a", vec![edge]);
    push["settledThrough"] = (u64::MAX - 1).into();
    let answer = server.client.push(&push).await;
    assert!(answer.status < 500, "{}", answer.body);
    let cursor = format!("c1.{}..e1", u64::MAX);
    assert_eq!(server.client.pull(&format!("cursor={cursor}")).await["reset"], true);
    // Others are not harmed.
    assert_eq!(outcomes(&server.client.sync(&request("b", many("b", 1, 1))).await), ["applied"]);
}

#[tokio::test]
async fn a_cursor_of_another_database_means_reset_and_nothing_is_evaluated() {
    let (one, two) = (Server::start().await, Server::start().await);
    one.client.sync(&request("a", many("a", 1, 2))).await;
    two.client.sync(&request("b", many("b", 1, 3))).await;
    let foreign = one.client.pull("protocol=1").await["cursor"].as_str().unwrap().to_owned();

    let pulled = two.client.pull(&format!("cursor={foreign}")).await;
    assert_eq!((&pulled["reset"], rows(&pulled).len()), (&json!(true), 3));
    let mut push = request("a", many("a", 3, 1));
    push["cursor"] = foreign.into();
    let stored = two.place.stored().await;
    let answer = two.client.sync(&push).await;
    assert_eq!((&answer["reset"], rows(&answer).len()), (&json!(true), 3));
    assert!(outcomes(&answer).is_empty(), "{answer}");
    assert_eq!(two.place.stored().await, stored);
    // With the cursor it was given, the same mutation is taken.
    push["cursor"] = answer["cursor"].clone();
    assert_eq!(outcomes(&two.client.sync(&push).await), ["applied"]);
    assert_eq!(two.client.pull("cursor=rubbish").await["reset"], true);
}

#[tokio::test]
async fn delete_against_edit_waits_for_the_user_until_resolved() {
    let server = Server::start().await;
    let made = server.client.sync(&request("a", vec![create("a", 1, "flocks", "f1", json!({ "name": "Layer Group 3" }))])).await;
    let rev = &made["results"][0]["rev"];
    let gone =
        json!({ "id": "f1", "name": "Layer Group 3", "_updatedAt": "2025-06-01T11:00:00.000Z", "_deletedAt": "2025-06-01T11:00:00.000Z" });
    let delete = json!({ "id": "a:2", "op": "delete", "collection": "flocks", "recordId": "f1", "baseRev": rev, "record": gone, "updatedAt": "2025-06-01T11:00:00.000Z" });
    assert_eq!(outcomes(&server.client.sync(&request("a", vec![delete])).await), ["applied"]);
    let edit = update("b", 1, "f1", rev, "Layers", "2025-06-01T12:00:00.000Z");
    let verdict = server.client.sync(&request("b", vec![edit])).await;
    assert_eq!(outcomes(&verdict), ["conflict"]);
    let conflict = &verdict["results"][0]["archived"];
    assert_eq!((&conflict["status"], &conflict["kind"]), (&json!("unresolved"), &json!("edit-delete")));
    assert_eq!(server.place.count("collection = '_conflictArchive'").await, 1);
    assert_eq!(server.place.count("(SELECT COUNT(*) FROM unresolved) = 1").await, 2);

    let theirs = rows(&server.client.pull("protocol=1").await).iter().filter(|r| r["id"] == conflict["id"]).count();
    assert_eq!(theirs, 1, "the conflict travels like any row");
    let rev = verdict["results"][0]["rev"].clone();
    let mut keep = update("b", 2, "f1", &rev, "Layers", "2025-06-01T13:00:00.000Z");
    keep["op"] = "undelete".into();
    keep["resolves"] = conflict["id"].clone();
    assert_eq!(outcomes(&server.client.sync(&request("b", vec![keep])).await), ["applied"]);
    assert_eq!(server.place.count("(SELECT COUNT(*) FROM unresolved) = 0").await, 2);
    assert_eq!(server.place.count("collection = 'flocks' AND NOT deleted").await, 1);
}

/// An edit of a record that nobody has waits for a decision; then the record comes, and gets the server's id.
#[tokio::test]
async fn a_conflict_follows_its_record_to_the_id_it_gets() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), r#"{"collections":{"orders":{"ids":"server"}}}"#).unwrap();
    let server = Server::with(|o| o.schema = Some(file.path().to_owned())).await;
    let mut edit = update("a", 1, "optimistic_1", &Value::Null, "early", AT);
    edit["collection"] = "orders".into();
    assert_eq!(outcomes(&server.client.sync(&request("a", vec![edit])).await), ["conflict"]);
    let made = server.client.push(&request("b", vec![create("b", 1, "orders", "optimistic_1", json!({ "name": "late" }))])).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let id = made.body["results"][0]["recordId"].as_str().unwrap();
    assert_eq!(server.place.count(&format!("EXISTS (SELECT 1 FROM unresolved WHERE record_id = '{id}')")).await, 2, "{}", made.body);
    assert_eq!(server.place.number("SELECT COUNT(*) FROM unresolved").await, 1);
}

#[tokio::test]
async fn many_devices_at_once_lose_nothing() {
    let server = Server::start().await;
    let mut devices = tokio::task::JoinSet::new();
    for device in 0..8 {
        let client: Client = server.client("farm-1");
        devices.spawn(async move {
            let name = format!("d{device}");
            for batch in 0..5 {
                let answer = client.sync(&request(&name, many(&name, batch * 20 + 1, 20))).await;
                assert!(outcomes(&answer).iter().all(|o| *o == "applied"));
            }
        });
    }
    while let Some(device) = devices.join_next().await {
        device.unwrap();
    }
    let (_, records, _) = server.client.pull_all(None, 333).await;
    assert_eq!(records.len(), 800);
    let revs: Vec<u64> = records.iter().map(|r| r["_rev"].as_u64().unwrap()).collect();
    assert!(revs.windows(2).all(|w| w[0] < w[1]));
}

#[tokio::test]
async fn two_servers_on_one_database_wait_for_each_other() {
    let one = Server::start().await;
    let two = start(&common::options(&one.place)).await.unwrap();
    let mut devices = tokio::task::JoinSet::new();
    for device in 0..4 {
        let base = if device % 2 == 0 { one.client.base.clone() } else { format!("http://{}", two.address) };
        let client = Client::new(&base, "farm-1");
        devices.spawn(async move {
            let name = format!("d{device}");
            for batch in 0..10 {
                let answer = client.sync(&request(&name, many(&name, batch * 20 + 1, 20))).await;
                assert!(outcomes(&answer).iter().all(|o| *o == "applied"));
            }
        });
    }
    while let Some(device) = devices.join_next().await {
        device.unwrap();
    }
    assert_eq!(one.place.count("collection = 'inventory'").await, 800);
    two.stop().await;
}

#[tokio::test]
async fn the_schema_file_decides_how_versions_meet() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("farm.json");
    std::fs::write(&file, r#"{"collections":{"auditLog":{"merge":"append-only"}}}"#).unwrap();
    let server = Server::with(|o| o.schema = Some(file.clone())).await;
    server.client.sync(&request("a", vec![create("a", 1, "auditLog", "x", json!({ "action": "first" }))])).await;
    let record = json!({ "id": "x", "action": "second", "_updatedAt": "2025-06-02T10:00:00.000Z", "_deletedAt": null });
    let edit = json!({ "id": "b:1", "op": "update", "collection": "auditLog", "recordId": "x", "baseRev": null, "record": record, "updatedAt": "2025-06-02T10:00:00.000Z" });
    let answer = server.client.sync(&request("b", vec![edit])).await;
    assert_eq!((outcomes(&answer), &answer["results"][0]["code"]), (vec!["rejected"], &json!("append-only")));

    std::fs::write(&file, "{").unwrap();
    let mut bad = common::options(&Place::sqlite());
    bad.schema = Some(file);
    assert!(start(&bad).await.unwrap_err().to_string().starts_with("--schema: "));
}

#[tokio::test]
async fn what_does_not_fit_the_json_schema_is_refused_alone_with_its_path() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let flock = json!({ "properties": { "count": { "type": "integer", "minimum": 1 } }, "required": ["name"] });
    std::fs::write(file.path(), json!({ "collections": { "flocks": { "schema": flock } } }).to_string()).unwrap();
    let server = Server::with(|o| o.schema = Some(file.path().to_owned())).await;
    let bad = || create("a", 2, "flocks", "f2", json!({ "name": "x", "count": 0 }));
    let mutations = vec![
        create("a", 1, "flocks", "f1", json!({ "name": "x", "count": 7 })),
        bad(),
        create("a", 3, "clients", "c1", json!({ "count": 0 })),
    ];
    let answer = server.client.sync(&request("a", mutations)).await;
    assert_eq!(outcomes(&answer), ["applied", "rejected", "applied"]);
    let result = &answer["results"][1];
    assert_eq!((&result["code"], &result["path"]), (&json!("validation"), &json!("/record/count")), "{result}");
    assert!(result["message"].as_str().unwrap().contains("/count"), "{result}");
    let again = server.client.sync(&request("a", vec![bad()])).await;
    assert_eq!((&again["results"][0]["code"], &again["results"][0]["replayed"]), (&json!("validation"), &json!(true)));

    // Of a group all, of a push without mutations each by itself; a delete is always allowed.
    let grouped = |seq: u64, id: &str, name: &str| {
        let mut mutation = create("a", seq, "flocks", id, json!({ name: "x" }));
        mutation["group"] = "g".into();
        mutation
    };
    let answer = server.client.sync(&request("a", vec![grouped(4, "f4", "name"), grouped(5, "f5", "nickname")])).await;
    assert_eq!(outcomes(&answer), ["rejected", "rejected"]);
    let mut simple = request("simple", vec![]);
    simple["changes"] = json!([{ "collection": "flocks", "records": [{ "id": "f6", "count": 1 }, { "id": "f7", "name": "x" }, { "id": "f1", "_deletedAt": AT }] }]);
    let answer = server.client.sync(&simple).await;
    assert_eq!(answer["results"].as_array().unwrap().iter().filter(|r| r["code"] == "validation").count(), 1, "{answer}");
    assert_eq!(server.place.count("collection = 'flocks' AND id IN ('f2', 'f4', 'f5', 'f6')").await, 0);
    assert_eq!(server.place.count("collection = 'flocks' AND id = 'f7'").await, 1);
}

#[tokio::test]
async fn policies_that_ask_nobody_keep_both_versions_and_say_who_won() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("farm.json");
    for (policy, winner) in [("client-wins", "mine"), ("server-wins", "theirs"), ("fww", "theirs")] {
        std::fs::write(&file, json!({ "collections": { "flocks": { "merge": policy } } }).to_string()).unwrap();
        let server = Server::with(|o| o.schema = Some(file.clone())).await;
        let made = server.client.sync(&request("a", vec![create("a", 1, "flocks", "f1", json!({ "name": "Layers" }))])).await;
        let base = &made["results"][0]["rev"];
        server.client.sync(&request("a", vec![update("a", 2, "f1", base, "theirs", "2025-06-01T11:00:00.000Z")])).await;
        let late = server.client.sync(&request("b", vec![update("b", 1, "f1", base, "mine", "2025-06-01T12:00:00.000Z")])).await;
        let result = &late["results"][0];
        assert_eq!((&result["status"], &result["record"]["name"]), (&json!("conflict"), &json!("theirs")), "{policy}");
        let entry = &result["archived"];
        assert_eq!((&entry["status"], &entry["winner"], &entry["policy"]), (&json!("automatic"), &json!(winner), &json!(policy)));
        assert_eq!((&entry["mine"]["name"], &entry["theirs"]["name"]), (&json!("mine"), &json!("theirs")));
        // Made on what was answered, it is no concurrent version any more.
        let again = update("b", 2, "f1", &result["rev"], "mine", "2025-06-01T12:00:00.001Z");
        assert_eq!(outcomes(&server.client.sync(&request("b", vec![again])).await), ["applied"], "{policy}");
        assert_eq!(rows(&server.client.pull("protocol=1").await).iter().filter(|r| r["winner"].is_string()).count(), 1);
    }
}

#[tokio::test]
async fn the_egglogu_declaration_is_read() {
    let schema = homing::core::schema::Schema::parse(include_str!("../../src/schemas/egglogu.schema.json")).unwrap();
    assert_eq!(schema.policy("auditLog", "x"), homing::core::schema::Policy::AppendOnly);
    assert_eq!(schema.policy("farm", "$singleton"), homing::core::schema::Policy::Fields);
    assert!(!schema.syncs("weatherCache"));
    assert_eq!(schema.collection("dailyProduction").unwrap().references["flockId"], "flocks");
    for (name, declared) in &schema.collections {
        assert!(
            declared.references.values().all(|to| schema.collection(to).is_some()),
            "{name} refers to a collection that is not declared"
        );
    }
}
