//! The real binary: its words on the command line, killed and started again on its database, stopped politely.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::place::Place;
use common::process::{BINARY, serve};
use common::{Client, SECRET, create, many, request, rows};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

#[tokio::test]
async fn what_was_answered_survives_sigkill_and_is_answered_the_same_again() {
    let place = Place::new().await;
    let mut first = serve(&place, &[]).await;
    let push = request("a", many("a", 1, 500));
    let answered = first.client.sync(&push).await;
    let cursor = answered["cursor"].as_str().unwrap().to_owned();
    first.child.kill().await.unwrap();

    let second = serve(&place, &[]).await;
    let again = second.client.sync(&push).await;
    for (one, two) in answered["results"].as_array().unwrap().iter().zip(again["results"].as_array().unwrap()) {
        assert_eq!((&one["status"], &one["rev"], &two["replayed"]), (&two["status"], &two["rev"], &json!(true)));
    }
    assert_eq!(place.count("by_client = 'a'").await, 500);
    let since = second.client.pull(&format!("cursor={cursor}")).await;
    assert_eq!((&since["epoch"], &since["reset"], rows(&since).len()), (&answered["epoch"], &json!(false), 0));
}

#[tokio::test]
async fn a_push_under_way_at_sigkill_is_stored_whole_or_not_at_all() {
    let place = Place::new().await;
    let mut process = serve(&place, &[]).await;
    let began = std::time::Instant::now();
    process.client.sync(&request("warm", many("warm", 1, 500))).await;
    let usual = began.elapsed();
    let mut whole = 0;
    for round in 0..10 {
        let name = format!("c{round}");
        let (client, push) = (process.client.clone(), request(&name, many(&name, 1, 500)));
        let sent = push.to_string();
        let mut in_flight = tokio::spawn(async move { client.post().body(sent).send().await.map(|r| r.status().as_u16()) });
        // The last round hears its answer first; the others choose their moment within the time such a push takes.
        let heard = match round {
            9 => (&mut in_flight).await.unwrap(),
            _ => {
                tokio::time::sleep(usual * round / 8).await;
                process.child.kill().await.unwrap();
                in_flight.await.unwrap()
            }
        };
        process.child.kill().await.unwrap();
        process = serve(&place, &[]).await;
        let stored = place.count(&format!("by_client = '{name}'")).await;
        let receipts =
            place.count(&format!("by_client = '{name}' AND (SELECT COUNT(*) FROM receipts WHERE client = '{name}') = 500")).await;
        assert!(stored == 0 || stored == 500, "half a push was stored: {stored}");
        assert_eq!(receipts, stored, "rows without their receipts");
        assert!(heard.is_err() || stored == 500, "answered, then forgotten");
        whole += i64::from(stored == 500);
        let again = process.client.sync(&push).await;
        assert!(again["results"].as_array().unwrap().iter().all(|r| r["status"] == "applied"));
        assert_eq!(place.count(&format!("by_client = '{name}'")).await, 500);
    }
    assert!(whole < 10, "no kill came early enough to mean anything");
}

/// `homing-server new-epoch`: whether it went well, and what it said.
async fn new_epoch(database: &str, more: &[&str]) -> (bool, String) {
    let done = Command::new(BINARY).args(["new-epoch", "--database", database]).args(more).output().await.unwrap();
    let said = if done.status.success() { done.stdout } else { done.stderr };
    (done.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_restored_backup_is_told_to_everybody() {
    let place = Place::new().await;
    let mut first = serve(&place, &[]).await;
    first.client.sync(&request("a", vec![create("a", 1, "flocks", "kept", json!({}))])).await;
    let known = first.client.sync(&request("a", vec![create("a", 2, "flocks", "lost", json!({}))])).await;
    Client::new(&first.client.base, "farm-2").sync(&request("b", vec![create("b", 1, "flocks", "theirs", json!({}))])).await;
    first.child.kill().await.unwrap();
    // What a backup from before the second push would hold.
    place
        .change(&[
            "DELETE FROM rows WHERE id = 'lost'",
            "DELETE FROM receipts WHERE client = 'a' AND seq = 2",
            "UPDATE scopes SET rev = rev - 1 WHERE scope = 'farm-1'",
        ])
        .await;
    assert_eq!(new_epoch(&place.name(), &[]).await, (true, "new epoch in 2 scopes\n".to_owned()));

    let second = serve(&place, &[]).await;
    let other = second.client.sync(&request("c", vec![create("c", 1, "flocks", "new", json!({}))])).await;
    assert!(other["rev"].as_u64() > known["rev"].as_u64().map(|rev| rev + 1), "a number that devices know is given again");
    let mut push = request("a", vec![create("a", 3, "flocks", "later", json!({}))]);
    push["cursor"] = known["cursor"].clone();
    let told = second.client.sync(&push).await;
    assert_eq!((&told["reset"], &told["results"]), (&json!(true), &json!([])));
    let ids: Vec<Value> = rows(&told).iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, ["kept", "new"]);
    assert_ne!(told["epoch"], known["epoch"]);
    push["cursor"] = told["cursor"].clone();
    let sent = second.client.sync(&push).await;
    assert_eq!(sent["results"][0]["status"], "applied");

    // Beside a server, of one scope.
    let theirs = Client::new(&second.client.base, "farm-2");
    let before = theirs.pull("").await;
    assert_eq!(new_epoch(&place.name(), &["--scope", "farm-1"]).await, (true, "new epoch in 1 scope\n".to_owned()));
    let cursor = |answer: &Value| format!("cursor={}", answer["cursor"].as_str().unwrap());
    assert_eq!(second.client.pull(&cursor(&sent)).await["reset"], true);
    assert_eq!(theirs.pull(&cursor(&before)).await["reset"], false);

    // What is not there is not made.
    let (well, said) = new_epoch(&place.name(), &["--scope", "farm-3"]).await;
    assert!(!well && said.contains("farm-3"), "{said}");
    assert_eq!(place.number("SELECT COUNT(*) FROM scopes").await, 2);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mistyped.db");
    let (well, said) = new_epoch(file.to_str().unwrap(), &[]).await;
    assert!(!well && said.contains("mistyped.db") && !file.exists(), "{said}");
}

#[tokio::test]
async fn sigterm_finishes_requests_and_closes_the_database() {
    let place = Place::new().await;
    for signal in ["-TERM", "-INT"] {
        let process = serve(&place, &["--log", "json"]).await;
        let name = format!("c{signal}");
        process.client.sync(&request(&name, vec![create(&name, 1, "flocks", &name, json!({ "name": "not for the log" }))])).await;
        let pid = process.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
        let done = process.child.wait_with_output().await.unwrap();
        assert!(done.status.success(), "{signal}: {:?}", done.status);
        let wal = place.file().map(|file| file.with_extension("db-wal"));
        let log = String::from_utf8(done.stderr).unwrap();
        let left = wal.and_then(|wal| Some(wal.metadata().ok()?.len()));
        assert_eq!(left, None, "{signal}: the write-ahead log was not folded in\n{log}");

        let events: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).expect(l)).collect();
        let answered = events.iter().find(|e| e["message"] == "answered").unwrap();
        assert_eq!((&answered["status"], &answered["scope"], &answered["mutations"]), (&json!(200), &json!("farm-1"), &json!(1)));
        assert_eq!(events.last().unwrap()["message"], "stopped");
        assert!(!log.contains(&process.client.token) && !log.contains(SECRET) && !log.contains("not for the log"));
    }
}

#[tokio::test]
async fn the_log_tells_what_was_refused_to_whom_and_why() {
    let place = Place::new().await;
    let process = serve(&place, &["--log", "json", "--rate", "1"]).await;
    let client = &process.client;
    client.sync(&request("a", vec![create("a", 1, "_conflictArchive", "x", json!({ "pin": "not for the log" }))])).await;
    let stranger = Client { token: "nonsense".into(), ..client.clone() };
    assert_eq!(stranger.get("").await.status, 401);
    assert_eq!(client.get("scope=farm-2").await.status, 409);
    while client.get("limit=1").await.status == 200 {}
    let pid = process.child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let done = process.child.wait_with_output().await.unwrap();

    let log = String::from_utf8(done.stderr).unwrap();
    let events: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).expect(l)).collect();
    let audit: Vec<&Value> = events.iter().filter(|e| e["audit"] == true).collect();
    let told = |e: &Value| ["scope", "code", "cause", "mutation", "path"].map(|name| e[name].as_str().unwrap_or("-").to_owned());
    assert_eq!(
        audit.iter().map(|e| told(e)).collect::<Vec<_>>(),
        [
            ["farm-1", "invalid-record", "-", "a:1", "/collection"],
            ["", "auth-required", "malformed", "-", "/api/v1/sync/delta"],
            ["farm-1", "scope-changed", "", "-", "/api/v1/sync/delta"],
            ["farm-1", "rate-limited", "", "-", "/api/v1/sync/delta"],
        ]
    );
    assert!(audit.iter().all(|e| e["peer"] == "127.0.0.1" && !e["request_id"].as_str().unwrap().is_empty()), "{audit:?}");
    assert!(!log.contains("nonsense") && !log.contains(&client.token) && !log.contains("not for the log"));
}

#[tokio::test]
async fn a_huge_body_is_never_held_in_memory() {
    let place = Place::new().await;
    let process = serve(&place, &[]).await;
    process.client.sync(&request("a", many("a", 1, 1))).await;
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id().unwrap())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = peak();
    let address = process.client.base.strip_prefix("http://").unwrap();
    for announced in [true, false] {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let length = if announced { "content-length: 60000000" } else { "transfer-encoding: chunked" };
        let head = format!(
            "POST /api/v1/sync/delta HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n{length}\r\n\r\n",
            process.client.token
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let piece = if announced { "x".repeat(100_000) } else { format!("{:x}\r\n{}\r\n", 100_000, "x".repeat(100_000)) };
        for _ in 0..600 {
            if socket.write_all(piece.as_bytes()).await.is_err() {
                break;
            }
        }
        let mut answer = vec![0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 413");
    }
    let grown = peak() - before;
    assert!(grown < 20_000, "{grown} kB more for bodies of 60 MB");
}

async fn run(arguments: &[&str]) -> (bool, String, String) {
    let done = Command::new(BINARY).args(arguments).env_remove("HOMING_JWT_SECRET").output().await.unwrap();
    (done.status.success(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
}

#[tokio::test]
async fn the_command_line_explains_itself() {
    let (ok, help, _) = run(&["serve", "--help"]).await;
    assert!(ok);
    for option in [
        "--listen",
        "--database",
        "--connections",
        "--jwt-secret",
        "--scope-claim",
        "--jwks",
        "--audience",
        "--issuer",
        "--rate",
        "--purge-every",
        "--schema",
        "--allow-origin",
        "--log",
        "--max-body",
        "HOMING_JWT_SECRET",
    ] {
        assert!(help.contains(option), "{option} is missing in\n{help}");
    }
    assert!(help.contains("127.0.0.1:8787") && help.contains("4MiB"), "{help}");
    let (ok, help, _) = run(&["token", "--help"]).await;
    assert!(ok && help.contains("--scope") && help.contains("--expires") && help.contains("30d"), "{help}");
    let (ok, _, said) = run(&["serve"]).await;
    assert!(!ok && said.contains("--jwt-secret"), "{said}");
    let (ok, _, said) = run(&["serve", "--jwt-secret", "s", "--database", "/nowhere/at/all.db", "--listen", "127.0.0.1:0"]).await;
    assert!(!ok && said.contains("--database") && !said.contains("panicked"), "{said}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_changed_key_set_is_read_on_sighup() {
    use jsonwebtoken::jwk::{Jwk, JwkSet};
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let place = Place::new().await;
    let (old, new) =
        (EncodingKey::from_rsa_der(include_bytes!("fixtures/rs256.der")), EncodingKey::from_ec_der(include_bytes!("fixtures/es256.der")));
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |key: &EncodingKey, algorithm| {
        let set = JwkSet { keys: vec![Jwk::from_encoding_key(key, algorithm).unwrap()] };
        std::fs::write(file.path(), serde_json::to_string(&set).unwrap()).unwrap();
    };
    write(&old, Algorithm::RS256);
    let mut process = serve(&place, &["--jwks", file.path().to_str().unwrap()]).await;
    // Without a key id: nothing in the token says that there is a new set.
    process.client.token = encode(&Header::new(Algorithm::ES256), &json!({ "sub": "farm-1", "exp": common::now_s() + 600 }), &new).unwrap();
    assert_eq!(process.client.get("").await.status, 401);
    write(&new, Algorithm::ES256);
    assert_eq!(process.client.get("").await.status, 401);
    let told = Command::new("kill").args(["-HUP", &process.child.id().unwrap().to_string()]).status().await.unwrap();
    assert!(told.success());
    let opened = async {
        while process.client.get("").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), opened).await.expect("the new key opens nothing");
}

#[tokio::test]
async fn a_printed_token_opens_its_scope() {
    let place = Place::new().await;
    let mut process = serve(&place, &["--scope-claim", "farm"]).await;
    process.client.get("").await.expect_failure(401, "auth-required", "pull");
    let (ok, token, _) =
        run(&["token", "--jwt-secret", SECRET, "--scope", "farm-7", "--scope-claim", "farm", "--client", "phone", "--expires", "1h"]).await;
    assert!(ok);
    process.client.token = token.trim().to_owned();
    assert_eq!(process.client.pull("").await["scope"], "farm-7");
}
