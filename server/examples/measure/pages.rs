//! Pushes of 100 and pulls of 500, and a million records on their way out of one scope.

use crate::server::{Server, body};
use crate::told;
use std::time::Instant;

const PUSHED: usize = 100;
const PULLED: usize = 500;
const ROUNDS: usize = 200;
/// Records of a push that only fills.
const FILLED: usize = 1_000;

pub(crate) async fn measure(name: &str, database: &str) {
    let server = Server::start(database).await;
    let scope = server.scope("pages");
    let (mut next, mut pushes, began) = (1, Vec::new(), Instant::now());
    for _ in 0..ROUNDS {
        pushes.push(scope.push(body("c", next, PUSHED), PUSHED).await);
        next += PUSHED;
    }
    let rate = (ROUNDS * PUSHED) as f64 / began.elapsed().as_secs_f64();
    println!("{name}: push of {PUSHED} mutations, one after the other: {}, {rate:.0} mutations/s", told(&pushes));

    let paged: usize = std::env::var("PAGED").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let (from, began) = (next, Instant::now());
    while next <= paged {
        scope.push(body("c", next, FILLED), FILLED).await;
        next += FILLED;
    }
    if next > from {
        println!(
            "{name}: {} more in pushes of {FILLED}: {:.0} records/s",
            next - from,
            (next - from) as f64 / began.elapsed().as_secs_f64()
        );
    }
    drop(server);

    // A server that has done nothing else: its memory is what paging needs.
    let server = Server::start(database).await;
    let scope = server.scope("pages");
    let idle = server.megabytes("VmRSS");
    let (mut cursor, mut times, mut records, mut resident, began) = (String::new(), Vec::new(), 0, Vec::new(), Instant::now());
    loop {
        let page = scope.pull(&cursor, PULLED).await;
        records += page.records;
        if page.records < PULLED {
            break;
        }
        times.push(page.took);
        cursor = page.cursor;
        if times.len() % 100 == 0 {
            resident.push(server.megabytes("VmRSS"));
        }
    }
    let rate = records as f64 / began.elapsed().as_secs_f64();
    let tenth = (times.len() / 10).max(1);
    println!("{name}: page of {PULLED} records: {}, {rate:.0} records/s", told(&times));
    println!(
        "{name}: the first tenth of {} pages: {}; the last: {}",
        times.len(),
        told(&times[..tenth]),
        told(&times[times.len() - tenth..])
    );
    let middle = resident.get(resident.len() / 2).copied().unwrap_or_default();
    println!(
        "{name}: {records} records paged out; resident memory of the server: {idle} MB idle, {middle} MB half-way, {} MB at the end, {} MB at most",
        server.megabytes("VmRSS"),
        server.megabytes("VmHWM")
    );
}
