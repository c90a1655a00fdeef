//! 32 devices through two servers on one PostgreSQL: all in one scope, then each in its own.

use crate::server::{Scope, Server, body, processor};
use crate::told;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CLIENTS: usize = 32;
const MUTATIONS: usize = 2_000;

pub(crate) async fn measure(url: &str) {
    for batch in [50, 5] {
        let one = run(url, batch, "one", |_| 0).await;
        let many = run(url, batch, "many", |n| n).await;
        println!("pushes of {batch}: {CLIENTS} scopes take {:.1} times as many as one", many / one);
    }
}

/// Mutations a second.
async fn run(url: &str, batch: usize, name: &str, scope_of: impl Fn(usize) -> usize) -> f64 {
    let servers = [Server::start(url).await, Server::start(url).await];
    let mutations = if batch < 50 { MUTATIONS / 4 } else { MUTATIONS };
    let devices: Vec<(Scope, String)> =
        (0..CLIENTS).map(|n| (servers[n % 2].scope(&format!("{name}-{batch}-{}", scope_of(n))), format!("{name}{batch}d{n}"))).collect();
    // Warm: connections are there, scopes have their heads.
    for (scope, client) in &devices {
        scope.push(body(&format!("{client}w"), 1, 1), 1).await;
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
    for (scope, client) in devices {
        writers.spawn(async move {
            let mut times = Vec::new();
            for from in (1..=mutations).step_by(batch) {
                times.push(scope.push(body(&client, from, batch), batch).await);
            }
            times
        });
    }
    let times: Vec<Duration> = writers.join_all().await.concat();
    let (took, after) = (began.elapsed().as_secs_f64(), used());
    let rate = (CLIENTS * mutations) as f64 / took;
    let [database, servers, load] = [0, 1, 2].map(|at| (after[at] - before[at]) / took);
    println!(
        "PostgreSQL, 2 servers, {CLIENTS} devices, {} scope(s), pushes of {batch}: {rate:.0} mutations/s, a push {}; cores in use: \
         PostgreSQL {database:.2}, servers {servers:.2}, load {load:.2}",
        if name == "one" { 1 } else { CLIENTS },
        told(&times)
    );
    rate
}
