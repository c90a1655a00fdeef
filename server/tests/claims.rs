//! Numbers and unique values by HTTP: given once however many ask at once through however many servers, and judged again where
//! somebody was first who did not wait for the scope.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::place::Place;
use common::{Client, create, options, request};
use homing::core::authority::{Effects, Head, Needs, PagePlan, Snapshot};
use homing::core::protocol::{Outcome, PushRequest, WireResult};
use homing::core::schema::Schema;
use homing::core::stamp::Stamp;
use homing_server::rules::Rules;
use homing_server::serve::{Running, start};
use homing_server::store::declared::{Declaration, Rule};
use homing_server::store::postgres::Postgres;
use homing_server::store::sqlite::Sqlite;
use homing_server::store::{Look, Page, Store, StoreError};
use homing_server::sync::Desk;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

const SCHEMA: &str = r#"{"collections": {
    "lines": {"ordinal": {"field": "n", "parent": "orderId"}},
    "hens": {"unique": [["ring"]]}
}}"#;

const CLIENTS: u64 = 8;
const ROUNDS: u64 = 6;

/// One device: in every round a line for each of two orders and a hen with a ring that all want; the rings it got.
async fn device(client: Client, name: String) -> Vec<u64> {
    let mut got = Vec::new();
    for round in 0..ROUNDS {
        let line =
            |n: u64| create(&name, round * 3 + n, "lines", &format!("{name}-{round}-{n}"), json!({ "orderId": format!("o{n}"), "n": 0 }));
        let hen = create(&name, round * 3 + 3, "hens", &format!("{name}-{round}"), json!({ "ring": round }));
        let answer = client.sync(&request(&name, vec![line(1), line(2), hen])).await;
        let results = answer["results"].as_array().unwrap();
        assert!(results[..2].iter().all(|r| r["status"] == "applied" && r["record"]["n"].is_u64()), "{answer}");
        match results[2]["status"].as_str().unwrap() {
            "applied" => got.push(round),
            _ => assert_eq!(
                (&results[2]["status"], &results[2]["code"], &results[2]["path"]),
                (&json!("rejected"), &json!("unique"), &json!("/record/ring"))
            ),
        }
    }
    got
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_through_two_servers_get_each_number_and_each_value_once() {
    let place = Place::new().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(SCHEMA.as_bytes()).unwrap();
    let mut options = options(&place);
    options.schema = Some(file.path().to_owned());
    let servers = [start(&options).await.unwrap(), start(&options).await.unwrap()];
    let mut devices = JoinSet::new();
    for n in 0..CLIENTS {
        let base = format!("http://{}", servers[usize::try_from(n % 2).unwrap()].address);
        devices.spawn(device(Client::new(&base, "farm-1"), format!("d{n}")));
    }
    let mut rings = devices.join_all().await.concat();
    rings.sort_unstable();
    assert_eq!(rings, (0..ROUNDS).collect::<Vec<_>>(), "each ring went to one hen");

    let (_, records, _) = Client::new(&format!("http://{}", servers[0].address), "farm-1").pull_all(None, 500).await;
    let mut numbers: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for line in records.iter().filter(|r| r["orderId"].is_string()) {
        assert!(numbers.entry(line["orderId"].as_str().unwrap().into()).or_default().insert(line["n"].as_u64().unwrap()), "{line}");
    }
    let all: BTreeSet<u64> = (1..=CLIENTS * ROUNDS).collect();
    assert_eq!(numbers, BTreeMap::from([("o1".to_owned(), all.clone()), ("o2".to_owned(), all)]));
    for server in servers {
        server.stop().await;
    }
}

/// A store that looked too early: some loads do not see the latest claims, as if somebody wrote one right afterwards.
#[derive(Debug)]
struct Early<S> {
    store: S,
    times: Arc<AtomicUsize>,
}

struct EarlyLook<L> {
    look: L,
    times: Arc<AtomicUsize>,
}

impl<S: Store> Store for Early<S> {
    type Tx = S::Tx;
    type Look = EarlyLook<S::Look>;

    async fn look(&self, scope: &str, now: Stamp, needs: &Needs) -> Result<(Self::Look, Snapshot), StoreError> {
        let (look, snapshot) = self.store.look(scope, now, needs).await?;
        Ok((EarlyLook { look, times: self.times.clone() }, snapshot))
    }
    async fn begin(&self, scope: &str, now: Stamp, needs: &Needs) -> Result<(Self::Tx, Snapshot), StoreError> {
        self.store.begin(scope, now, needs).await
    }
    async fn read(
        &self,
        scope: &str,
        likely: Option<&Head>,
        plan: impl Fn(&Head) -> PagePlan + Send + Sync,
    ) -> Result<Option<Page>, StoreError> {
        self.store.read(scope, likely, plan).await
    }
    async fn scopes(&self, after: &str) -> Result<Vec<String>, StoreError> {
        self.store.scopes(after).await
    }
    async fn declare(&self, rules: &BTreeSet<Rule>) -> Result<Declaration, StoreError> {
        self.store.declare(rules).await
    }
    async fn settle(&self, rules: &BTreeSet<Rule>) -> Result<(), StoreError> {
        self.store.settle(rules).await
    }
    async fn clock(&self) -> Result<Option<Stamp>, StoreError> {
        self.store.clock().await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
    async fn close(&self) {
        self.store.close().await;
    }
}

impl<L: Look> Look for EarlyLook<L> {
    async fn load(&mut self, needs: &Needs, into: &mut Snapshot) -> Result<(), StoreError> {
        self.look.load(needs, into).await?;
        if !into.taken.is_empty() && self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            into.taken.clear();
        }
        Ok(())
    }
    async fn conclude(self, effects: &Effects) -> Result<(), StoreError> {
        self.look.conclude(effects).await
    }
}

async fn judged_again(place: Place, store: impl Store) {
    let times = Arc::new(AtomicUsize::new(0));
    let desk = Desk::new(Early { store, times: times.clone() }, Schema::parse(SCHEMA).unwrap(), Rules::default());
    let push = async |seq: u64, collection: &str, body: serde_json::Value| -> Result<WireResult, u16> {
        let asked = request("phone", vec![create("phone", seq, collection, &format!("r{seq}"), body)]);
        let asked: PushRequest = serde_json::from_value(asked).unwrap();
        let answer = desk.push("farm-1", &asked, Stamp(1_750_000_000_000)).await.map_err(|failure| failure.status.as_u16())?;
        Ok(answer.results[0].clone())
    };
    let number =
        |result: &WireResult| serde_json::from_str::<serde_json::Value>(result.record.as_ref().unwrap().get()).unwrap()["n"].clone();
    let line = json!({ "orderId": "o1" });
    assert_eq!(number(&push(1, "lines", line.clone()).await.unwrap()), 1);
    times.store(1, Ordering::SeqCst);
    assert_eq!(number(&push(2, "lines", line.clone()).await.unwrap()), 2, "the first judgement gave 1 once more");
    assert_eq!(times.load(Ordering::SeqCst), 0);

    push(3, "hens", json!({ "ring": 7 })).await.unwrap();
    times.store(1, Ordering::SeqCst);
    let second = push(4, "hens", json!({ "ring": 7 })).await.unwrap();
    assert_eq!((second.status, second.code.as_deref()), (Outcome::Rejected, Some("unique")));

    // Too early again and again: the last time it is judged alone in its scope, where nobody comes in between.
    times.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(number(&push(5, "lines", line).await.unwrap()), 3);
    assert_eq!(usize::MAX - times.load(Ordering::SeqCst), 4);
    assert_eq!(place.count("collection = 'lines'").await, 3);
    desk.store().close().await;
}

#[tokio::test]
async fn a_claim_that_somebody_took_meanwhile_is_judged_again_on_sqlite() {
    let place = Place::sqlite();
    let store = Sqlite::open(&place.name()).await.unwrap();
    judged_again(place, store).await;
}

#[tokio::test]
async fn a_claim_that_somebody_took_meanwhile_is_judged_again_on_postgresql() {
    let place = Place::postgres().await;
    let store = Postgres::open(&place.name(), 2).await.unwrap();
    judged_again(place, store).await;
}

/// Who knows how ids are made takes the next hundred beforehand: as records, and in values that only one record can have.
#[tokio::test]
async fn nobody_takes_ids_before_they_are_given() {
    const SCHEMA: &str = r#"{"collections": {"houses": {"ids": "server"}, "pens": {"ids": "server", "unique": [["houseId", "name"]]}}}"#;
    let place = Place::sqlite();
    let store = Sqlite::open(&place.name()).await.unwrap();
    let desk = Desk::new(store, Schema::parse(SCHEMA).unwrap(), Rules::default());
    let push = async |client: &str, mutations: Vec<serde_json::Value>| {
        let asked: PushRequest = serde_json::from_value(request(client, mutations)).unwrap();
        desk.push("farm-1", &asked, Stamp(1_750_000_000_000)).await.map_err(|failure| failure.status.as_u16())
    };
    let pen = |client: &str, seq: u64, id: &str, house: &str| create(client, seq, "pens", id, json!({ "houseId": house, "name": "A" }));
    let order = |client: &str, seq: u64, id: &str| create(client, seq, "houses", id, json!({ "of": client }));
    let first = push("thief", vec![order("thief", 1, "optimistic_0")]).await.unwrap();
    let given = first.results[0].record_id.clone().unwrap();
    let end = given.find('-').unwrap_or(given.len());
    let ids: Vec<String> = (195..295).map(|n| format!("s{:x}{}", first.rev + n, &given[end..])).collect();
    let houses = ids.iter().zip(2..).map(|(id, seq)| order("thief", seq, id));
    let pens = ids.iter().zip(200..).map(|(id, seq)| pen("thief", seq, &format!("p{seq}"), id));
    assert!(push("thief", pens.chain(houses).collect()).await.unwrap().results.iter().all(|r| r.status == Outcome::Applied));

    // In one request, so that the pen is unknown under its house's id until it is judged.
    let theirs = vec![order("phone", 1, "optimistic_1"), pen("phone", 2, "optimistic_2", "optimistic_1")];
    let answer = push("phone", theirs).await.expect("refused for what somebody else made up");
    assert!(answer.results.iter().all(|r| r.status == Outcome::Applied), "{:?}", answer.results);
    assert_eq!(place.count("body LIKE '%\"of\":\"thief\"%'").await, 101, "a row was written over");
    assert_eq!(place.count("body LIKE '%\"of\":\"phone\"%'").await, 1);
}

/// A server with these rules on a database that others may use.
async fn under(place: &Place, schema: &str) -> (Running, Client) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), schema).unwrap();
    let mut options = options(place);
    options.schema = Some(file.path().to_owned());
    let running = start(&options).await.unwrap();
    let client = Client::new(&format!("http://{}", running.address), "farm-1");
    (running, client)
}

/// More rows than one step indexes, of two collections; later rules hold for all of them, and earlier ones for none.
async fn declared_later(place: Place) {
    const MANY: u64 = 1_500;
    let codes = |results: &serde_json::Value| results["results"].as_array().unwrap().iter().map(|r| r["code"].clone()).collect::<Vec<_>>();
    let hen = |seq: u64, ring: u64| create("phone", seq, "hens", &format!("h{seq}"), json!({ "ring": ring }));
    let edit = |seq: u64, id: &str, body: serde_json::Value| {
        let at = format!("2025-06-01T11:{:02}:00.000Z", seq % 60);
        let mut mutation = create("phone", seq, "hens", id, body);
        (mutation["op"], mutation["updatedAt"], mutation["record"]["_updatedAt"]) = (json!("update"), json!(at), json!(at));
        mutation
    };

    let (none, before) = under(&place, "{}").await;
    before.sync(&request("phone", vec![hen(1, 7), hen(2, 7)])).await;
    for from in [10, 10 + MANY / 2] {
        before.sync(&request("phone", (from..from + MANY / 2).map(|n| hen(n, n)).collect())).await;
    }
    let line = |seq: u64, n: u64| create("phone", seq, "lines", &format!("l{seq}"), json!({ "orderId": "o", "n": n }));
    before.sync(&request("phone", vec![line(5_000, 4), line(5_001, 9)])).await;

    let (rules, after) = under(&place, SCHEMA).await;
    // Who does not know the rules writes no more, reads on, and is not to be asked again at once.
    let refused = before.push(&request("phone", vec![hen(6_000, 7)])).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (503, &json!("unavailable")));
    assert_eq!(before.pull("limit=1").await["hasMore"], true);

    let answer = after.sync(&request("phone", vec![hen(6_001, 7), hen(6_002, 9 + MANY), hen(6_003, 9_999)])).await;
    assert_eq!(codes(&answer), [json!("unique"), json!("unique"), serde_json::Value::Null], "the first row and the last one are indexed");
    let answer = after.sync(&request("phone", vec![line(6_004, 0)])).await;
    assert_eq!(answer["results"][0]["record"]["n"], 10, "numbers go on above what is there");
    // Of two alike both can be edited; what one of them gives up is the other's or nobody's.
    let answer = after.sync(&request("phone", vec![edit(6_005, "h1", json!({ "ring": 7, "eggs": 1 }))])).await;
    assert_eq!(codes(&answer), [serde_json::Value::Null]);
    let answer = after.sync(&request("phone", vec![edit(6_006, "h2", json!({ "ring": 7, "eggs": 2 }))])).await;
    assert_eq!(codes(&answer), [serde_json::Value::Null], "nobody has to mend it first");
    rules.stop().await;
    none.stop().await;

    // Without the rules for a while: what was claimed before is not claimed by rows that have gone on.
    let (none, between) = under(&place, "{}").await;
    between.sync(&request("phone", vec![edit(6_007, "h6003", json!({ "ring": 10_000 }))])).await;
    none.stop().await;
    let (rules, again) = under(&place, SCHEMA).await;
    let answer = again.sync(&request("phone", vec![hen(6_008, 9_999), hen(6_009, 10_000), line(6_010, 0)])).await;
    assert_eq!(codes(&answer), [serde_json::Value::Null, json!("unique"), serde_json::Value::Null]);
    assert_eq!(answer["results"][2]["record"]["n"], 11);
    rules.stop().await;
}

/// New rules are rolled out to all servers at once; rows are indexed by whoever starts, and all of them start.
#[tokio::test]
async fn servers_that_start_together_with_new_rules_all_start() {
    let place = Place::postgres().await;
    let hen = |seq: u64| create("phone", seq, "hens", &format!("h{seq}"), json!({ "ring": seq }));
    let (none, before) = under(&place, "{}").await;
    for n in 0..10 {
        let farm = Client::new(&before.base, &format!("farm-{n}"));
        farm.sync(&request("phone", (1..=20).map(hen).collect())).await;
    }
    none.stop().await;
    let ((one, first), (two, second)) = tokio::join!(under(&place, SCHEMA), under(&place, SCHEMA));
    for (seq, client) in (100..).zip([&first, &second, &first]) {
        let taken = create("phone", seq, "hens", &format!("h{seq}"), json!({ "ring": 7 }));
        let answer = client.sync(&request("phone", vec![taken, hen(seq + 100)])).await;
        assert_eq!((&answer["results"][0]["code"], &answer["results"][1]["status"]), (&json!("unique"), &json!("applied")), "{answer}");
    }
    assert_eq!(place.number("SELECT COUNT(*) FROM claims").await, 203);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_rule_declared_later_holds_for_older_rows_on_sqlite() {
    declared_later(Place::sqlite()).await;
}

#[tokio::test]
async fn a_rule_declared_later_holds_for_older_rows_on_postgresql() {
    declared_later(Place::postgres().await).await;
}
