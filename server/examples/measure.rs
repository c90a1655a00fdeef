//! How long pushes and pulls take over loopback, on a real file and, where `HOMING_TEST_POSTGRES` names one, on PostgreSQL.
//! `npm run bench:server`. `PAGED` is the number of records that are paged out (1,000,000).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing)]

use homing_server::auth::mint;
use homing_server::cli::{Cli, Command};
use homing_server::serve::start;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const AT: &str = "2025-06-01T10:00:00.000Z";

/// Mutations of a push, records of a page, as the figures are told.
const PUSHED: usize = 100;
const PULLED: usize = 500;
const ROUNDS: usize = 100;
/// Records of a push that only fills.
const FILLED: usize = 1_000;

struct Server {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Server {
    async fn push(&self, from: usize, count: usize) -> Duration {
        let body = push_of(from, count);
        let began = Instant::now();
        let post = self.http.post(&self.url).bearer_auth(&self.token).header("content-type", "application/json");
        let answer = post.body(body).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let took = began.elapsed();
        assert_eq!(text.matches(r#""status":"applied""#).count(), count, "{}", text.get(..300).unwrap_or(&text));
        took
    }

    /// The time, how many records came, and the next cursor where there is more.
    async fn pull(&self, cursor: &str) -> (Duration, usize, String) {
        let began = Instant::now();
        let answer = self.http.get(format!("{}?limit={PULLED}&cursor={cursor}", self.url)).bearer_auth(&self.token).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let took = began.elapsed();
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        let rows = answer["changes"].as_array().unwrap().iter().map(|c| c["records"].as_array().unwrap().len()).sum();
        (took, rows, answer["cursor"].as_str().unwrap().to_owned())
    }
}

fn push_of(from: usize, count: usize) -> String {
    let mut mutations = String::new();
    for n in from..from + count {
        let record = format!(
            r#"{{"id":"r{n}","date":"2025-06-01","flockId":"62d6512d","eggType":"L","qtyIn":{n},"qtyOut":0,"notes":"{}","_updatedAt":"{AT}","_deletedAt":null}}"#,
            "x".repeat(260)
        );
        let comma = if n == from { "" } else { "," };
        write!(mutations, r#"{comma}{{"id":"c:{n}","op":"create","collection":"inventory","recordId":"r{n}","baseRev":null,"record":{record},"updatedAt":"{AT}"}}"#)
            .unwrap();
    }
    format!(r#"{{"protocol":1,"clientId":"c","requestId":"r{from}","settledThrough":0,"mutations":[{mutations}],"limit":1}}"#)
}

/// Median and 95th percentile, in milliseconds.
fn told(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    format!("p50 {:.1} ms, p95 {:.1} ms", at(0.5), at(0.95))
}

/// Most memory this process ever had, in MB: the server is in it.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok());
    line.unwrap_or_default() / 1024
}

async fn measure(name: &str, database: &str) {
    let words = ["homing-server", "serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--rate", "0", "--database", database];
    let Command::Serve(options) = <Cli as clap::Parser>::parse_from(words).command else { return };
    let running = start(&options).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = mint(SECRET, "sub", "farm-1", None, now, Duration::from_secs(36_000)).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let server = Server { http, url: format!("http://{}/api/v1/sync/delta", running.address), token };

    let mut next = 1;
    let mut pushes = Vec::new();
    for _ in 0..ROUNDS {
        pushes.push(server.push(next, PUSHED).await);
        next += PUSHED;
    }
    println!("{name}: push of {PUSHED} mutations: {}", told(pushes));
    let paged: usize = std::env::var("PAGED").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let began = Instant::now();
    let from = next;
    while next <= paged {
        server.push(next, FILLED).await;
        next += FILLED;
    }
    println!("{name}: {} more in pushes of {FILLED}: {:.0} records/s", next - from, (next - from) as f64 / began.elapsed().as_secs_f64());

    let before = peak();
    let (mut cursor, mut times, mut records) = (String::new(), Vec::new(), 0);
    loop {
        let (took, rows, after) = server.pull(&cursor).await;
        records += rows;
        if rows < PULLED {
            break;
        }
        times.push(took);
        cursor = after;
    }
    let tenth = (times.len() / 10).max(1);
    println!("{name}: page of {PULLED} records: {}", told(times.clone()));
    println!(
        "{name}: the first tenth of the pages: {}; the last: {}",
        told(times[..tenth].to_vec()),
        told(times[times.len() - tenth..].to_vec())
    );
    println!("{name}: {records} records paged out; most memory before {before} MB, after {} MB (server and client)", peak());
    running.stop().await;
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    measure("SQLite", &folder.path().join("measure.db").display().to_string()).await;
    match std::env::var("HOMING_TEST_POSTGRES") {
        Ok(url) => measure("PostgreSQL", &url).await,
        Err(_) => println!("PostgreSQL: HOMING_TEST_POSTGRES names none"),
    }
}
