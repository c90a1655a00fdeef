//! Many devices at once through two servers on one PostgreSQL, one of which is killed in the middle, pullers running: every
//! mutation exactly once, every edit sent twice, no row missed, all clients equal. `STORY=full` for 32 clients of 2,000 mutations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::place::Place;
use common::process::{Process, serve_at};
use common::{Client, many, request, rows};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinSet;

const BATCH: u64 = 50;
/// Of a device that was not answered, and of one that looks for news.
const PAUSE: Duration = Duration::from_millis(20);

struct Size {
    clients: u64,
    mutations: u64,
}

fn size() -> Size {
    match std::env::var("STORY").as_deref() {
        Ok("full") => Size { clients: 32, mutations: 2_000 },
        _ => Size { clients: 32, mutations: 150 },
    }
}

/// What all share.
struct World {
    /// Both servers; the first is the one that is killed.
    bases: [String; 2],
    settled: AtomicU64,
    half: Notify,
    total: u64,
    done: AtomicBool,
    resent: AtomicU64,
}

impl World {
    /// The same request until it is answered, by the other server where one does not: as a load balancer does.
    async fn answered(&self, first: usize, ask: impl Fn(&str) -> reqwest::RequestBuilder) -> Value {
        for turn in first.. {
            match ask(&format!("{}/api/v1/sync/delta", self.bases[turn % 2])).send().await {
                Ok(answer) if answer.status() == 200 => {
                    if let Ok(text) = answer.text().await {
                        return serde_json::from_str(&text).unwrap();
                    }
                }
                Ok(answer) => assert_eq!(answer.status(), 503, "{}", answer.text().await.unwrap()),
                Err(_) => {}
            }
            self.resent.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!()
    }

    /// One device: everything it has, in batches, each until it is answered; creates first, then an edit of every record.
    async fn push(self: Arc<Self>, client: Client, n: u64, mutations: u64) {
        let name = format!("d{n}");
        let creates = mutations / 2;
        let mut revs = BTreeMap::new();
        for from in (1..=creates).step_by(usize::try_from(BATCH).unwrap()) {
            let answer = self.send(&client, &name, many(&name, from, BATCH.min(creates + 1 - from))).await;
            for (seq, result) in (from..).zip(answer["results"].as_array().unwrap()) {
                revs.insert(seq, result["rev"].clone());
            }
        }
        let edits: Vec<Value> = revs.iter().map(|(seq, rev)| edit(&name, *seq, creates + seq, rev)).collect();
        for batch in edits.chunks(usize::try_from(BATCH).unwrap()) {
            self.send(&client, &name, batch.to_vec()).await;
        }
    }

    /// Until it is answered; edits then once more, by the other server, as where the answer was lost.
    async fn send(&self, client: &Client, name: &str, mutations: Vec<Value>) -> Value {
        let lost = mutations.first().is_some_and(|m| m["op"] == "update");
        let count = mutations.len() as u64;
        let mut request = request(name, mutations);
        request["limit"] = 1.into();
        let first = usize::from(name.ends_with(['1', '3', '5', '7', '9']));
        let body = request.to_string();
        let ask =
            |url: &str| client.http.post(url).bearer_auth(&client.token).header("content-type", "application/json").body(body.clone());
        let answer = self.answered(first, ask).await;
        let results = answer["results"].as_array().unwrap();
        if lost {
            let again = self.answered(first + 1, ask).await;
            let same = |(one, two): (&Value, &Value)| two["replayed"] == true && one["rev"] == two["rev"] && one["status"] == two["status"];
            assert!(results.iter().zip(again["results"].as_array().unwrap()).all(same), "{again}");
        }
        assert!(results.len() as u64 == count && results.iter().all(|r| r["status"] == "applied"), "{answer}");
        let settled = self.settled.fetch_add(count, Ordering::Relaxed) + count;
        if settled * 2 >= self.total {
            self.half.notify_one();
        }
        answer
    }

    /// A device that only reads, by cursor, until all is done: what it holds then, and how often a row went back.
    async fn pull(self: Arc<Self>, client: Client, first: usize) -> BTreeMap<String, u64> {
        let (mut held, mut cursor) = (BTreeMap::new(), String::new());
        loop {
            let over = self.done.load(Ordering::Acquire);
            let query = format!("limit=200&cursor={cursor}");
            let answer = self.answered(first, |url| client.http.get(format!("{url}?{query}")).bearer_auth(&client.token)).await;
            assert_eq!(answer["reset"], false, "{}", answer["cursor"]);
            for row in rows(&answer) {
                let rev = row["_rev"].as_u64().unwrap();
                let before = held.insert(row["id"].as_str().unwrap().to_owned(), rev);
                assert!(before.is_none_or(|before| before < rev), "a row came again, or went back");
            }
            cursor = answer["cursor"].as_str().unwrap().to_owned();
            match answer["hasMore"] == true {
                true => {}
                false if over => return held,
                false => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

fn edit(name: &str, n: u64, seq: u64, rev: &Value) -> Value {
    const AT: &str = "2025-06-01T11:00:00.000Z";
    let id = format!("{name}-{n}");
    let record = json!({ "id": id, "edited": seq, "_updatedAt": AT, "_deletedAt": null });
    json!({ "id": format!("{name}:{seq}"), "op": "update", "collection": "inventory", "recordId": id, "baseRev": rev, "record": record, "updatedAt": AT })
}

/// Pushes everything of every client, kills the first server in the middle and starts it again; the time it took.
async fn play(place: &Place, scope_of: impl Fn(u64) -> String) -> (Duration, u64) {
    let Size { clients, mutations } = size();
    let (one, two) = (server(place, "127.0.0.1:0").await, server(place, "127.0.0.1:0").await);
    let world = Arc::new(World {
        bases: [one.client.base.clone(), two.client.base.clone()],
        settled: AtomicU64::new(0),
        half: Notify::new(),
        total: clients * mutations,
        done: AtomicBool::new(false),
        resent: AtomicU64::new(0),
    });
    let began = Instant::now();
    let mut writers = JoinSet::new();
    for n in 0..clients {
        writers.spawn(world.clone().push(Client::new("", &scope_of(n)), n, mutations));
    }
    let mut readers = JoinSet::new();
    for first in 0..3 {
        readers.spawn(world.clone().pull(Client::new("", &scope_of(0)), first));
    }
    let one = killed_and_started_again(one, place, &world).await;
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    let took = began.elapsed();
    world.done.store(true, Ordering::Release);
    let mut held = Vec::new();
    while let Some(reader) = readers.join_next().await {
        held.push(reader.unwrap());
    }

    // Each record once, at its last version; every reader the same as one that starts now.
    let total = i64::try_from(world.total).unwrap();
    assert_eq!(place.number("SELECT COUNT(*) FROM rows WHERE collection = 'inventory' AND body LIKE '%\"edited\"%'").await, total / 2);
    assert_eq!(place.number("SELECT COUNT(*) FROM rows").await, total / 2, "nothing was archived, nothing came twice");
    assert_eq!(place.number("SELECT COUNT(*) FROM receipts").await, total);
    let fresh = world.clone().pull(Client::new("", &scope_of(0)), 1).await;
    assert!(!fresh.is_empty() && held.iter().all(|held| *held == fresh), "a reader missed a row");
    drop((one, two));
    (took, world.resent.load(Ordering::Relaxed))
}

async fn killed_and_started_again(mut one: Process, place: &Place, world: &World) -> Process {
    world.half.notified().await;
    one.child.kill().await.unwrap();
    assert!(world.settled.load(Ordering::Relaxed) < world.total, "killed after the end");
    let address = world.bases[0].strip_prefix("http://").unwrap().to_owned();
    server(place, &address).await
}

async fn server(place: &Place, listen: &str) -> Process {
    serve_at(place, listen, Stdio::null(), &["--rate", "0"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_through_two_servers_one_of_which_dies() {
    let Size { clients, mutations } = size();
    let place = Place::postgres().await;
    let (took, resent) = play(&place, |_| "one".to_owned()).await;
    let rate = (clients * mutations) as f64 / took.as_secs_f64();
    println!("{clients} clients × {mutations} mutations in one scope: {took:.1?}, {rate:.0} mutations/s, {resent} requests sent again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_of_as_many_scopes() {
    let Size { clients, mutations } = size();
    let place = Place::postgres().await;
    let (took, resent) = play(&place, |n| format!("farm-{n}")).await;
    let rate = (clients * mutations) as f64 / took.as_secs_f64();
    println!(
        "{clients} clients × {mutations} mutations in {clients} scopes: {took:.1?}, {rate:.0} mutations/s, {resent} requests sent again"
    );
}
