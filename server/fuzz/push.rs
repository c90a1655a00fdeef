//! Whatever the body of a push is, it becomes a request or a failure of the client, and a request is answered, twice, without a
//! second effect. The way is the server's: `body::decode`, the JSON Schemas, `core::authority`; the store is in memory.
//!
//! `npm run fuzz:decoder`; what is found is a seed from then on, and `tests/hostile.rs` reads them all.
#![no_main]

use homing::core::authority::MemoryServer;
use homing::core::protocol::{PushRequest, SyncResponse};
use homing::core::record::Record;
use homing::core::schema::Schema;
use homing::core::stamp::Stamp;
use homing_server::body;
use homing_server::rules::Rules;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const NOW: Stamp = Stamp(1_750_000_000_000);
const SCHEMA: &str = include_str!("schema.json");
/// What is there already, for edits to meet.
const THERE: &str = r#"{"protocol":1,"clientId":"d","requestId":"r","mutations":[
    {"id":"d:1","op":"create","collection":"flocks","recordId":"f1","record":{"id":"f1","n":1},"updatedAt":"2025-06-01T10:00:00.000Z"},
    {"id":"d:2","op":"create","collection":"pens","recordId":"p1","record":{"id":"p1","a":1,"b":2,"eggs":3,"tags":["x"],"note":"one two"},"updatedAt":"2025-06-01T10:00:00.000Z"},
    {"id":"d:3","op":"create","collection":"audit","recordId":"a1","record":{"id":"a1"},"updatedAt":"2025-06-01T10:00:00.000Z"},
    {"id":"d:4","op":"create","collection":"orders","recordId":"optimistic_a","record":{"id":"optimistic_a","code":"x"},"updatedAt":"2025-06-01T10:00:00.000Z"},
    {"id":"d:5","op":"create","collection":"lines","recordId":"optimistic_l","record":{"id":"optimistic_l","orderId":"optimistic_a"},"updatedAt":"2025-06-01T10:00:00.000Z"},
    {"id":"d:6","op":"create","collection":"settings","recordId":"$singleton","record":{"id":"$singleton","a":{"b":1}},"updatedAt":"2025-06-01T10:00:00.000Z"},
    {"id":"d:7","op":"delete","collection":"flocks","recordId":"f2","updatedAt":"2025-06-01T10:00:00.000Z"}]}"#;

static BEFORE: LazyLock<(MemoryServer, Rules)> = LazyLock::new(|| {
    let mut server = MemoryServer::new(Schema::parse(SCHEMA).expect("the schema is one"));
    let there = body::decode(THERE.as_bytes()).expect("what is there is a push");
    let answer = server.push(&there, "s", NOW).expect("it is let in");
    assert_eq!(answer.results.len(), 7);
    (server, Rules::parse(SCHEMA).expect("the rules are some"))
});

fuzz_target!(|bytes: &[u8]| {
    let request: PushRequest = match body::decode(bytes) {
        Ok(request) => request,
        Err(failure) => return assert!(failure.status.is_client_error(), "{failure:?}"),
    };
    let (server, rules) = &*BEFORE;
    let mut server = server.clone();
    drop(rules.objections(&request));
    for _ in 0..2 {
        let Ok(answer) = server.push(&request, "s", NOW) else { return };
        let text = serde_json::to_string(&answer).expect("an answer is JSON");
        serde_json::from_str::<SyncResponse>(&text).expect("an answer that a client reads");
    }
    for (id, times) in server.effects() {
        assert!(*times <= 1, "{id} took effect {times} times");
    }
    for (key, row) in server.rows("s") {
        assert_eq!(Record::parse(row.record.text()).expect("a row is a record").id(), &key.id);
    }
});
