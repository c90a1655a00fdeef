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
use homing_server::serve::start;
use homing_server::store::postgres::Postgres;
use homing_server::store::sqlite::Sqlite;
use homing_server::store::{Page, Purged, Store, StoreError, Transaction};
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

struct EarlyTx<T> {
    tx: T,
    times: Arc<AtomicUsize>,
}

impl<S: Store> Store for Early<S> {
    type Tx = EarlyTx<S::Tx>;

    async fn begin(&self, scope: &str, now: Stamp) -> Result<Self::Tx, StoreError> {
        Ok(EarlyTx { tx: self.store.begin(scope, now).await?, times: self.times.clone() })
    }
    async fn read(&self, scope: &str, plan: impl FnOnce(&Head) -> PagePlan + Send) -> Result<Option<Page>, StoreError> {
        self.store.read(scope, plan).await
    }
    async fn scopes(&self, after: &str) -> Result<Vec<String>, StoreError> {
        self.store.scopes(after).await
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

impl<T: Transaction> Transaction for EarlyTx<T> {
    fn head(&self) -> &Head {
        self.tx.head()
    }
    async fn load(&mut self, needs: &Needs, into: &mut Snapshot) -> Result<(), StoreError> {
        self.tx.load(needs, into).await?;
        if !into.taken.is_empty() && self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            into.taken.clear();
        }
        Ok(())
    }
    async fn write(&mut self, effects: &Effects) -> Result<(), StoreError> {
        self.tx.write(effects).await
    }
    async fn purge(&mut self, before: Stamp) -> Result<Purged, StoreError> {
        self.tx.purge(before).await
    }
    async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await
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

    // For ever too early: an end after some tries, and nothing stored.
    let before = place.stored().await;
    times.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(push(5, "lines", line.clone()).await.unwrap_err(), 503);
    assert_eq!(usize::MAX - times.load(Ordering::SeqCst), 5);
    assert_eq!(place.stored().await, before);
    times.store(0, Ordering::SeqCst);
    assert_eq!(number(&push(5, "lines", line).await.unwrap()), 3);
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

/// A rule that is declared later holds for earlier rows from their next change on; of two alike the second can still be edited.
#[tokio::test]
async fn a_rule_declared_later_learns_of_a_row_when_it_is_written() {
    let place = Place::sqlite();
    let store = Sqlite::open(&place.name()).await.unwrap();
    let push = async |schema: &str, mutation: serde_json::Value| {
        let desk = Desk::new(store.clone(), Schema::parse(schema).unwrap(), Rules::default());
        let asked: PushRequest = serde_json::from_value(request("phone", vec![mutation])).unwrap();
        desk.push("farm-1", &asked, Stamp(1_750_000_000_000)).await.unwrap().results[0].clone()
    };
    let hen = |seq: u64| create("phone", seq, "hens", &format!("h{seq}"), json!({ "ring": 7 }));
    let edit = |seq: u64, id: &str, rev: u64| {
        let mutation = create("phone", seq, "hens", id, json!({ "ring": 7, "eggs": seq, "_updatedAt": "2025-06-01T11:00:00.000Z" }));
        let more = json!({ "op": "update", "baseRev": rev, "updatedAt": "2025-06-01T11:00:00.000Z" });
        mutation.as_object().unwrap().clone().into_iter().chain(more.as_object().unwrap().clone()).collect::<serde_json::Value>()
    };
    let (one, two) = (push("{}", hen(1)).await.rev.unwrap(), push("{}", hen(2)).await.rev.unwrap());
    let one = push(SCHEMA, edit(3, "h1", one)).await;
    assert_eq!((one.status, push(SCHEMA, hen(4)).await.code.as_deref()), (Outcome::Applied, Some("unique")));
    assert_eq!(push(SCHEMA, edit(5, "h2", two)).await.status, Outcome::Applied, "nobody has to mend it first");
    assert_eq!(push(SCHEMA, edit(6, "h1", one.rev.unwrap())).await.code, None);
}
