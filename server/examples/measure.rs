//! How long a push takes over loopback on a real file: `cargo run --release -p homing-server --example measure`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing)]

use homing_server::auth::mint;
use homing_server::cli::{Cli, Command};
use homing_server::serve::start;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const AT: &str = "2025-06-01T10:00:00.000Z";
const PUSHES: usize = 20;
const RECORDS: usize = 500;

fn push_of(round: usize) -> String {
    let mut mutations = String::new();
    for n in round * RECORDS + 1..=(round + 1) * RECORDS {
        let record = format!(
            r#"{{"id":"r{n}","date":"2025-06-01","flockId":"62d6512d","eggType":"L","qtyIn":{n},"qtyOut":0,"notes":"{}","_updatedAt":"{AT}","_deletedAt":null}}"#,
            "x".repeat(260)
        );
        let comma = if mutations.is_empty() { "" } else { "," };
        write!(mutations, r#"{comma}{{"id":"c:{n}","op":"create","collection":"inventory","recordId":"r{n}","baseRev":null,"record":{record},"updatedAt":"{AT}"}}"#)
            .unwrap();
    }
    format!(r#"{{"protocol":1,"clientId":"c","requestId":"r{round}","settledThrough":0,"mutations":[{mutations}],"limit":1}}"#)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("measure.db");
    let words = ["homing-server", "serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--database", &file.display().to_string()];
    let Command::Serve(options) = <Cli as clap::Parser>::parse_from(words).command else { return };
    let running = start(&options).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = mint(SECRET, "sub", "farm-1", None, now, Duration::from_secs(600)).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1/sync/delta", running.address);

    let post = |body: String| http.post(&url).bearer_auth(&token).header("content-type", "application/json").body(body).send();
    let (mut fresh, mut repeated) = (Vec::new(), Vec::new());
    for times in [&mut fresh, &mut repeated] {
        for round in 0..PUSHES {
            let body = push_of(round);
            let began = Instant::now();
            let answer = post(body).await.unwrap();
            assert_eq!(answer.status(), 200);
            let text = answer.text().await.unwrap();
            times.push(began.elapsed());
            assert_eq!(text.matches(r#""status":"applied""#).count(), RECORDS);
        }
    }
    println!("push of {RECORDS} new records of {} bytes, median of {PUSHES}: {:.1} ms", push_of(0).len() / RECORDS, median(fresh));
    println!("the same pushes again (receipts), median of {PUSHES}: {:.1} ms", median(repeated));

    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let began = Instant::now();
        let text = http.get(format!("{url}?limit=1000&cursor={cursor}")).bearer_auth(&token).send().await.unwrap().text().await.unwrap();
        pages.push(began.elapsed());
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        if answer["hasMore"] == false {
            break;
        }
        answer["cursor"].as_str().unwrap().clone_into(&mut cursor);
    }
    println!("pull of {} pages of 1,000 rows, median: {:.1} ms", pages.len(), median(pages));
    running.stop().await;
}
