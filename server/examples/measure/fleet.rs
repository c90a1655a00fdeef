//! 32 devices through two servers on one PostgreSQL: all in one scope, then each in its own.

use crate::server::{Scope, Server, asking, body, processor};
use crate::told;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CLIENTS: usize = 32;

/// What the devices do.
struct Work {
    /// Mutations of a push.
    batch: usize,
    /// Mutations of a device.
    each: usize,
    /// Rows that a push asks for. One: what is compared is writing. A page: in one scope everybody gets what 31 others wrote, too,
    /// which is work that 32 scopes do not have.
    limit: usize,
}

pub(crate) async fn measure(url: &str) {
    for work in [
        Work { batch: 50, each: 2_000, limit: 1 },
        Work { batch: 5, each: 500, limit: 1 },
        Work { batch: 1, each: 100, limit: 1 },
        Work { batch: 50, each: 2_000, limit: 1_000 },
        Work { batch: 5, each: 500, limit: 1_000 },
        Work { batch: 1, each: 100, limit: 1_000 },
    ] {
        let one = run(url, &work, "one", |_| 0).await;
        let many = run(url, &work, "many", |n| n).await;
        let Work { batch, limit, .. } = work;
        println!("pushes of {batch}, pages of {limit}: {CLIENTS} scopes take {:.1} times as many as one", many / one);
    }
}

/// Mutations a second.
async fn run(url: &str, work: &Work, name: &str, scope_of: impl Fn(usize) -> usize) -> f64 {
    let servers = [Server::start(url).await, Server::start(url).await];
    let &Work { batch, each, limit } = work;
    let devices: Vec<(Scope, String)> = (0..CLIENTS)
        .map(|n| (servers[n % 2].scope(&format!("{name}-{batch}-{limit}-{}", scope_of(n))), format!("{name}{batch}l{limit}d{n}")))
        .collect();
    // Warm: connections are there, scopes have their heads, devices know where they stand.
    let mut cursors = Vec::new();
    for (scope, client) in &devices {
        cursors.push(scope.exchange(body(&format!("{client}w"), 1, 1), 1).await.1);
    }
    let used = || {
        let servers = [servers[0].pid(), servers[1].pid()];
        [
            processor(|_, name| name.starts_with("postgres")),
            processor(|pid, _| servers.contains(&pid)),
            processor(|pid, _| pid == std::process::id()),
        ]
    };
    let (before, began) = (used(), Instant::now());
    let mut writers = JoinSet::new();
    for ((scope, client), mut cursor) in devices.into_iter().zip(cursors) {
        writers.spawn(async move {
            let mut times = Vec::new();
            for from in (1..=each).step_by(batch) {
                let (took, next) = scope.exchange(asking(&client, from, batch, Some(&cursor), limit), batch).await;
                cursor = next;
                times.push(took);
            }
            times
        });
    }
    let times: Vec<Duration> = writers.join_all().await.concat();
    let (took, after) = (began.elapsed().as_secs_f64(), used());
    let rate = (CLIENTS * each) as f64 / took;
    let [database, servers, load] = [0, 1, 2].map(|at| (after[at] - before[at]) / took);
    println!(
        "PostgreSQL, 2 servers, {CLIENTS} devices, {} scope(s), pushes of {batch}, pages of {limit}: {rate:.0} mutations/s, a push {}; \
         cores in use: PostgreSQL {database:.2}, servers {servers:.2}, load {load:.2}",
        if name == "one" { 1 } else { CLIENTS },
        told(&times)
    );
    rate
}
