//! Whatever is sent, the server answers as its description says, fails never, and nobody sees or touches another's rows.
//!
//! Requests are drawn from the description, or are golden ones with holes torn into them. `FUZZ=20000` for more of them than the
//! default, `SEED` for others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::description::{Description, wild};
use common::{Client, Reply, Server, create, reply, request};
use fastrand::Rng;
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;

const PATH: &str = "/api/v1/sync/delta";
const SECRET: &str = "what-farm-2-keeps-to-itself";
const SCHEMA: &str = include_str!("../fuzz/schema.json");

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |n| n.parse().unwrap())
}

/// Texts worth sending: names that mean something, what another scope has, what breaks databases.
fn words(victim: &Value) -> Vec<String> {
    let mut words: Vec<String> = [
        "flocks",
        "audit",
        "settings",
        "orders",
        "lines",
        "pens",
        "mine",
        "asked",
        "pins",
        "_conflictArchive",
        "$root",
        "$singleton",
        "$row_1",
        "$dup_2_x",
        "__proto__",
        "constructor",
        "f1",
        "f2",
        "optimistic_a",
        "optimistic_b",
        "arc_1",
        "c:1",
        "c:2",
        "d:1",
        "victim:1",
        "victim",
        "c",
        "farm-1",
        "farm-2",
        "secret-row",
        "",
        "/n",
        "/a~1b",
        "/",
        "x/y",
        "\u{0}",
        "a\nb",
        "é\u{301}🐔",
        "'; DROP TABLE rows; --",
        "%",
        "$1",
        "?",
        "c1.0..e",
        "c1.5.7.e",
        "-1",
        "1e9",
        r#"{"flocks":"x"}"#,
        "2025-06-01T10:00:00Z",
        "true",
        "\u{202e}",
        "record:abc:1",
        "18446744073709551616:1",
        "c:18446744073709551615",
    ]
    .map(str::to_owned)
    .to_vec();
    words.extend([victim["cursor"].as_str().unwrap().to_owned(), victim["epoch"].as_str().unwrap().to_owned()]);
    words
}

struct Attack {
    server: Server,
    victim: Client,
    before: Value,
    description: Description,
    words: Vec<String>,
}

impl Attack {
    async fn begin() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), SCHEMA).unwrap();
        let server = Server::with(|options| options.schema = Some(file.path().to_owned())).await;
        let victim = server.client("farm-2");
        let rows = ["flocks", "orders", "lines"].into_iter().zip(1..).map(|(collection, n)| {
            create("victim", n, collection, "secret-row", json!({ "note": SECRET, "orderId": "f1", "code": "x", "n": 1 }))
        });
        victim.sync(&request("victim", rows.collect())).await;
        let before = victim.pull("").await;
        assert!(before.to_string().contains(SECRET));
        let words = words(&before);
        Self { server, victim, before, description: Description::read(), words }
    }

    /// Every answer is one that is described, none fails, none tells what another scope has.
    fn judge(&self, method: &str, reply: &Reply, what: &str) {
        assert!(reply.status < 500, "{}: {what}\n{}", reply.status, reply.body);
        self.description.expect(PATH, method, reply, what);
        let said = format!("{}{:?}", reply.body, reply.headers);
        assert!(!said.contains(SECRET), "a row of another scope: {what}\n{said}");
    }

    async fn end(self) {
        let after = self.victim.pull("").await;
        assert_eq!(
            (&after["changes"], &after["rev"], &after["epoch"]),
            (&self.before["changes"], &self.before["rev"], &self.before["epoch"])
        );
        assert_eq!(self.server.place.number("SELECT COUNT(DISTINCT scope) FROM rows").await, 2);
        // Who asks properly is answered as ever.
        self.server.client.sync(&request("late", vec![create("late", 1, "flocks", "late", json!({ "n": 1 }))])).await;
        self.server.running.stop().await;
    }
}

#[tokio::test]
async fn requests_drawn_from_the_description_are_answered_as_it_says() {
    let attack = Attack::begin().await;
    let (seed, rounds) = (number("SEED", 1), number("FUZZ", 400));
    let mut rng = Rng::with_seed(seed);
    let pull = attack.description.document["paths"][PATH]["get"]["parameters"].clone();
    let mut judged = 0;
    for round in 0..rounds {
        let what = format!("SEED={seed}, round {round}");
        let mut asked = attack.description.draw(&json!({ "$ref": "#/components/schemas/PushRequest" }), &mut rng, &attack.words);
        // Mostly one that gets as far as its mutations.
        if rng.u8(..) > 40 && asked.is_object() {
            for (name, value) in
                [("protocol", json!(1)), ("clientId", json!("c")), ("cursor", Value::Null), ("scope", Value::Null), ("schemas", json!({}))]
            {
                asked[name] = value;
            }
        }
        let answer = attack.server.client.push(&asked).await;
        judged += answer.body["results"].as_array().map_or(0, Vec::len);
        attack.judge("post", &answer, &format!("{what}: {asked}"));

        let chosen = pull.as_array().unwrap().iter().filter(|_| rng.bool()).collect::<Vec<_>>();
        let values =
            chosen.into_iter().map(|p| (p["name"].as_str().unwrap(), attack.description.draw(&p["schema"], &mut rng, &attack.words)));
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let query: Vec<(&str, String)> = values.map(|(name, value)| (name, text(value))).collect();
        let asked = attack.server.client.http.get(attack.server.client.url()).bearer_auth(&attack.server.client.token).query(&query);
        attack.judge("get", &reply(asked).await, &format!("{what}: {query:?}"));
    }
    println!("{rounds} pushes with {judged} mutations judged, {rounds} pulls: no 5xx, no row of another scope");
    assert!(judged as u64 > rounds / 2, "hardly a mutation was looked at");
    attack.end().await;
}

/// A pull has no body. One that has is answered as described, too.
#[tokio::test]
async fn a_pull_with_a_body_is_answered_as_the_description_says() {
    let attack = Attack::begin().await;
    let client = &attack.server.client;
    let pull = || client.http.get(client.url()).bearer_auth(&client.token);
    for (request, status, what) in [
        (pull().body("{}"), 200, "a body"),
        (pull().body(vec![0; 5 * 1024 * 1024]), 413, "a long one"),
        (pull().header("content-encoding", "br"), 415, "an encoding"),
        (pull().header("content-encoding", "gzip"), 200, "gzip"),
    ] {
        let answer = reply(request).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        attack.judge("get", &answer, what);
    }
    attack.server.running.stop().await;
}

/// Golden requests as text, and bodies that the fuzzer found (`server/fuzz`), to tear holes into.
fn corpus() -> Vec<String> {
    let seeds = std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")).unwrap();
    let mut seeds: Vec<_> = seeds.map(|file| String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()).into_owned()).collect();
    seeds.sort();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wire");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let fixtures = files.iter().map(|file| serde_json::from_str::<Value>(&std::fs::read_to_string(file).unwrap()).unwrap());
    let golden = fixtures.flat_map(|f| f["steps"].as_array().unwrap().iter().map(|s| s["request"].to_string()).collect::<Vec<_>>());
    golden.chain(seeds).collect()
}

/// What JSON can be and Rust values cannot.
const RAW: [&str; 12] = [
    "1e400",
    "-0",
    "1.0",
    "18446744073709551616",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "{\"a\":1,\"a\":2}",
    "[",
    "]",
    "\u{feff}",
    "nul",
    "\"\\uD83D\\uDC14\"",
];

fn torn(text: &str, rng: &mut Rng, words: &[String]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..bytes.len().max(1));
        match rng.u8(..6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            2 => drop(bytes.splice(at..at, rng.choice(RAW).unwrap().bytes())),
            3 => drop(bytes.splice(at..(at + rng.usize(..20)).min(bytes.len()), [])),
            // A whole value by another one.
            _ => {
                let Some(from) = bytes[at..].iter().position(|b| *b == b':').map(|n| at + n + 1) else { continue };
                let Some(to) = bytes[from..].iter().position(|b| matches!(b, b',' | b'}')).map(|n| from + n) else { continue };
                let with = if rng.bool() { rng.choice(RAW).unwrap().to_owned() } else { wild(rng, words).to_string() };
                drop(bytes.splice(from..to, with.into_bytes()));
            }
        }
    }
    bytes
}

#[tokio::test]
async fn torn_requests_are_answered_as_the_description_says() {
    let attack = Attack::begin().await;
    let (seed, rounds) = (number("SEED", 1), number("FUZZ", 400));
    let (mut rng, corpus) = (Rng::with_seed(seed), corpus());
    for round in 0..rounds {
        let body = torn(rng.choice(&corpus).unwrap(), &mut rng, &attack.words);
        let what = format!("SEED={seed}, round {round}: {}", String::from_utf8_lossy(&body));
        attack.judge("post", &reply(attack.server.client.post().body(body)).await, &what);
    }
    attack.end().await;
}

/// The decoder alone, a hundred times as often: bytes become a request or a failure of the client.
#[test]
fn no_bytes_break_the_decoder() {
    let (seed, rounds) = (number("SEED", 1), number("FUZZ", 400) * 100);
    let (mut rng, corpus, words) = (Rng::with_seed(seed), corpus(), words(&json!({ "cursor": "c1.1..e", "epoch": "e" })));
    let (mut read, mut refused) = (0, 0);
    for round in 0..rounds {
        let bytes = if rng.u8(..) < 8 {
            (0..rng.usize(..64)).map(|_| rng.u8(..)).collect()
        } else {
            torn(rng.choice(&corpus).unwrap(), &mut rng, &words)
        };
        let decoded =
            std::panic::catch_unwind(AssertUnwindSafe(|| homing_server::body::decode::<homing::core::protocol::PushRequest>(&bytes)));
        match decoded.unwrap_or_else(|_| panic!("SEED={seed}, round {round}: {}", String::from_utf8_lossy(&bytes))) {
            Ok(_) => read += 1,
            Err(failure) => {
                assert!(failure.status.is_client_error(), "{failure:?}");
                refused += 1;
            }
        }
    }
    println!("{rounds} bodies: {read} read, {refused} refused");
    assert!(read > 0 && refused > 0);
}

#[tokio::test]
async fn the_description_is_served_and_true() {
    let server = Server::start().await;
    let description = Description::read();
    let served = reply(server.client.http.get(format!("{}/openapi.json", server.client.base))).await;
    assert_eq!((served.status, &served.body), (200, &description.document));
    description.expect("/healthz", "get", &reply(server.client.http.get(format!("{}/healthz", server.client.base))).await, "health");
    // What is described is there, what is not is not.
    for (path, methods) in description.document["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "delete", "patch"] {
            let method_of = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = reply(server.client.http.request(method_of, format!("{}{path}", server.client.base))).await;
            assert_eq!(answer.status == 405, methods.get(method).is_none(), "{method} {path}: {}", answer.status);
        }
    }
    // Golden requests and answers are what it says.
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wire");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let fixture: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for step in fixture["steps"].as_array().unwrap() {
            let what = format!("{}: {}", file.display(), step["about"]);
            if step["response"].get("error").is_none() {
                // What is refused alone need not be as described.
                let results = step["response"]["results"].as_array();
                if !results.is_some_and(|results| results.iter().any(|r| r["status"] == "rejected")) {
                    assert_eq!(description.objection("PushRequest", &step["request"]), None, "{what}");
                }
                assert_eq!(description.objection("SyncResponse", &step["response"]), None, "{what}");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
    server.running.stop().await;
}
