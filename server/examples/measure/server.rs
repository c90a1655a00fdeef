//! The server as a process of its own, and what it uses. Not here: what it is asked (`pages`, `fleet`).

use homing_server::auth::mint;
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const AT: &str = "2025-06-01T10:00:00.000Z";

/// Killed when dropped.
pub(crate) struct Server {
    child: Child,
    base: String,
    http: reqwest::Client,
}

/// One scope's way to a server.
#[derive(Clone)]
pub(crate) struct Scope {
    url: String,
    token: String,
    http: reqwest::Client,
}

/// What an answer to a pull said.
pub(crate) struct Page {
    pub took: Duration,
    pub records: usize,
    pub cursor: String,
}

impl Server {
    /// The release binary beside this example.
    pub(crate) async fn start(database: &str) -> Self {
        let binary = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("homing-server");
        let mut child = Command::new(&binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--rate", "0", "--database", database])
            .env("HOMING_JWT_SECRET", SECRET)
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}; run: npm run bench:server", binary.display()));
        let line = BufReader::new(child.stdout.take().unwrap()).lines().next_line().await.unwrap().expect("the server did not start");
        let base = line.strip_prefix("listening on ").unwrap().to_owned();
        Self { child, base, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    pub(crate) fn scope(&self, name: &str) -> Scope {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let token = mint(SECRET, "sub", name, None, now, Duration::from_secs(36_000)).unwrap();
        Scope { url: format!("{}/api/v1/sync/delta", self.base), token, http: self.http.clone() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// A line of `/proc/…/status`, in MB.
    pub(crate) fn megabytes(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let found = status.lines().find(|l| l.starts_with(line)).and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok());
        found.unwrap_or_default() / 1024
    }
}

impl Scope {
    /// Pushes a body made by [`body`]; the time until it was answered.
    pub(crate) async fn push(&self, body: String, count: usize) -> Duration {
        self.exchange(body, count).await.0
    }

    /// The same, with the cursor of the answer.
    pub(crate) async fn exchange(&self, body: String, count: usize) -> (Duration, String) {
        let began = Instant::now();
        let post = self.http.post(&self.url).bearer_auth(&self.token).header("content-type", "application/json");
        let text = post.body(body).send().await.unwrap().text().await.unwrap();
        let took = began.elapsed();
        assert_eq!(text.matches(r#""status":"applied""#).count(), count, "{}", text.get(..300).unwrap_or(&text));
        let cursor = text.rsplit_once(r#""cursor":""#).and_then(|(_, rest)| rest.split_once('"')).unwrap().0.to_owned();
        (took, cursor)
    }

    pub(crate) async fn pull(&self, cursor: &str, limit: usize) -> Page {
        let began = Instant::now();
        let asked = self.http.get(format!("{}?limit={limit}&cursor={cursor}", self.url)).bearer_auth(&self.token);
        let text = asked.send().await.unwrap().text().await.unwrap();
        let took = began.elapsed();
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        let records = answer["changes"].as_array().unwrap().iter().map(|c| c["records"].as_array().unwrap().len()).sum();
        Page { took, records, cursor: answer["cursor"].as_str().unwrap().to_owned() }
    }
}

/// A push of new records of about 450 bytes, numbers `from` on, that asks for one row.
pub(crate) fn body(client: &str, from: usize, count: usize) -> String {
    asking(client, from, count, None, 1)
}

/// One that asks for rows from a cursor on.
pub(crate) fn asking(client: &str, from: usize, count: usize, cursor: Option<&str>, limit: usize) -> String {
    let mut mutations = String::with_capacity(count * 640);
    for n in from..from + count {
        let record = format!(
            r#"{{"id":"{client}-{n}","date":"2025-06-01","flockId":"62d6512d","eggType":"L","qtyIn":{n},"qtyOut":0,"notes":"{}","_updatedAt":"{AT}","_deletedAt":null}}"#,
            "x".repeat(260)
        );
        let comma = if n == from { "" } else { "," };
        write!(mutations, r#"{comma}{{"id":"{client}:{n}","op":"create","collection":"inventory","recordId":"{client}-{n}","baseRev":null,"record":{record},"updatedAt":"{AT}"}}"#)
            .unwrap();
    }
    let cursor = cursor.map(|cursor| format!(r#""cursor":"{cursor}","#)).unwrap_or_default();
    format!(
        r#"{{"protocol":1,"clientId":"{client}","requestId":"r{from}","settledThrough":0,{cursor}"mutations":[{mutations}],"limit":{limit}}}"#
    )
}

/// Seconds of processor time that processes used, those that ended within them included.
pub(crate) fn processor(wanted: impl Fn(u32, &str) -> bool) -> f64 {
    let ticks = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(") ")?;
        let name = head.split_once('(')?.1;
        let times = || tail.split(' ').skip(11).take(4).filter_map(|n| n.parse::<f64>().ok()).sum::<f64>();
        wanted(pid, name).then(times)
    };
    let pids = std::fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // A tick is a hundredth of a second on every Linux there is.
    pids.filter_map(ticks).sum::<f64>() / 100.0
}
