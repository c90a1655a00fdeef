//! The real binary as a process of its own.

use super::place::Place;
use super::{Client, SECRET};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

pub const BINARY: &str = env!("CARGO_BIN_EXE_homing-server");

pub struct Process {
    pub child: Child,
    pub client: Client,
}

pub async fn serve(place: &Place, more: &[&str]) -> Process {
    serve_at(place, "127.0.0.1:0", Stdio::piped(), more).await
}

/// Killed when dropped. A log that is piped must be short, or be read.
pub async fn serve_at(place: &Place, listen: &str, log: Stdio, more: &[&str]) -> Process {
    let mut child = Command::new(BINARY)
        .args(["serve", "--listen", listen, "--database", &place.name()])
        .args(more)
        .env("HOMING_JWT_SECRET", SECRET)
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().expect("the server said nothing");
    let base = line.strip_prefix("listening on ").unwrap().to_owned();
    Process { child, client: Client::new(&base, "farm-1") }
}
