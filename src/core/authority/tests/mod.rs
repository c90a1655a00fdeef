//! Every branch of the authority, asked through a whole server: results, rows and archive are looked at together.

mod budget;
mod claims;
mod flow;
mod hostile;
mod pages;
mod random;
mod typed;
mod verdicts;
mod wire;

use super::*;
use crate::core::conflict::Conflict;
use crate::core::mutation::Op;
use crate::core::protocol::{PROTOCOL, SyncResponse, WireChanges, WireMutation};
use crate::core::record::ARCHIVE;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(super) const SCOPE: &str = "farm-1";
/// The server's clock at the start of every test, in ms: 2025-01-01.
pub(super) const NOW: i64 = 1_735_689_600_000;

pub(super) const SCHEMA: &str = r#"{"collections": {
    "flocks": {"title": "Flock"}, "facts": {"merge": "append-only"}, "settings": {"merge": "fields"}, "first": {"merge": "fww"},
    "theirs": {"merge": "server-wins"}, "mine": {"merge": "client-wins"}, "manual": {"merge": "manual"},
    "orders": {"ids": "server"}, "pins": {"sync": false},
    "lines": {"ordinal": {"field": "n", "parent": "orderId"}}, "deliveries": {"merge": "append-only", "ordinal": {"field": "n"}},
    "hens": {"ids": "server", "unique": [["ring"], ["flockId", "name"]]},
    "pens": {"merge": "fields", "groups": [["house", "door"]], "unique": [["house", "door"], ["code"]]}}}"#;

pub(super) struct Farm {
    pub(super) server: MemoryServer,
    pub(super) now: i64,
}

/// The stamp `ms` after the start.
pub(super) fn at(ms: i64) -> String {
    Stamp(NOW + ms).to_string()
}

pub(super) fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}

/// A mutation carrying `body` stamped `ms` after the start.
pub(super) fn mutation(id: &str, op: Op, key: (&str, &str), ms: i64, body: &Value) -> WireMutation {
    let mut record = body.clone();
    record["id"] = key.1.into();
    record["_updatedAt"] = at(ms).into();
    record["_deletedAt"] = if op == Op::Delete { at(ms).into() } else { Value::Null };
    WireMutation {
        id: id.into(),
        op,
        collection: key.0.into(),
        record_id: key.1.into(),
        base_rev: None,
        record: Some(raw(&record)),
        changed: None,
        was: None,
        updated_at: at(ms),
        depends_on: Vec::new(),
        imported: false,
        retry_of: None,
        group: None,
        resolves: None,
    }
}

pub(super) fn request(mutations: Vec<WireMutation>) -> PushRequest {
    let client_id = mutations.first().and_then(|m| m.id.rsplit_once(':')).map_or("", |(c, _)| c).to_owned();
    PushRequest { protocol: PROTOCOL, client_id, request_id: "r1".into(), mutations, ..PushRequest::default() }
}

impl Farm {
    pub(super) fn new() -> Self {
        Self { server: MemoryServer::new(Schema::parse(SCHEMA).unwrap()), now: NOW }
    }

    pub(super) fn answer(&mut self, request: &PushRequest) -> SyncResponse {
        self.server.push(request, SCOPE, Stamp(self.now)).unwrap()
    }

    pub(super) fn push(&mut self, mutations: Vec<WireMutation>) -> Vec<WireResult> {
        self.answer(&request(mutations)).results
    }

    pub(super) fn one(&mut self, mutation: WireMutation) -> WireResult {
        let mut results = self.push(vec![mutation]);
        assert_eq!(results.len(), 1);
        results.remove(0)
    }

    pub(super) fn rows_push(&mut self, collection: &str, rows: &[Value]) -> Vec<WireResult> {
        let changes = vec![WireChanges { collection: collection.into(), records: rows.iter().map(raw).collect() }];
        self.answer(&PushRequest { changes, client_id: "simple".into(), ..request(Vec::new()) }).results
    }

    pub(super) fn row(&self, key: (&str, &str)) -> Option<Record> {
        self.server.row(SCOPE, &Key::new(key.0, key.1)).map(|r| r.record.clone())
    }

    pub(super) fn rev(&self, key: (&str, &str)) -> u64 {
        self.row(key).unwrap().rev().unwrap()
    }

    /// The row without its envelope; `"dead"` or `"none"`.
    pub(super) fn body(&self, key: (&str, &str)) -> Value {
        match self.row(key) {
            None => "none".into(),
            Some(r) if r.is_deleted() => "dead".into(),
            Some(r) => body(&r),
        }
    }

    pub(super) fn archive(&self) -> Vec<Conflict> {
        let rows = self.server.rows(SCOPE).into_iter().filter(|(k, _)| k.collection.as_ref() == ARCHIVE);
        rows.map(|(_, r)| Conflict::from_record(&r.record).unwrap()).collect()
    }

    pub(super) fn state(&self) -> (Vec<(Key, StoredRow)>, u64) {
        (self.server.rows(SCOPE), self.server.head(SCOPE).unwrap().rev)
    }
}

pub(super) fn body(record: &Record) -> Value {
    let mut body = record.value().unwrap();
    for name in crate::core::record::RESERVED {
        body.shift_remove(name);
    }
    Value::Object(body)
}

pub(super) fn record_of(result: &WireResult) -> Option<Record> {
    result.record.as_ref().map(|r| Record::parse(r.get()).unwrap())
}
