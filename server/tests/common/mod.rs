//! A server on a database of its own, and a client that speaks HTTP to it.
//!
//! Not here: the databases (`place`).
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod description;
pub mod place;
pub mod process;

use homing_server::auth::mint;
use homing_server::cli::{LogForm, Serve, Tokens};
use homing_server::serve::{Running, start};
use place::Place;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const AT: &str = "2025-06-01T10:00:00.000Z";

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn token(scope: &str) -> String {
    mint(SECRET, "sub", scope, None, now_s(), Duration::from_secs(600)).unwrap()
}

pub fn options(place: &Place) -> Serve {
    Serve {
        listen: "127.0.0.1:0".parse().unwrap(),
        database: place.database(),
        connections: 4,
        tokens: Tokens { jwt_secret: Some(SECRET.into()), jwks: None, scope_claim: "sub".into(), audience: None, issuer: None },
        schema: None,
        allow_origin: vec!["http://127.0.0.1:8788".into()],
        log: LogForm::Text,
        max_body: 4 * 1024 * 1024,
        rate: 0,
        purge_every: Duration::from_secs(3600),
    }
}

/// A server in this process.
pub struct Server {
    pub running: Running,
    pub client: Client,
    pub place: Place,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Serve)) -> Self {
        let place = Place::new().await;
        let mut options = options(&place);
        change(&mut options);
        let running = start(&options).await.unwrap();
        let client = Client::new(&format!("http://{}", running.address), "farm-1");
        Self { running, client, place }
    }

    pub fn client(&self, scope: &str) -> Client {
        Client::new(&self.client.base, scope)
    }
}

/// One device.
#[derive(Clone)]
pub struct Client {
    pub base: String,
    pub scope: String,
    pub token: String,
    pub http: reqwest::Client,
}

/// Status and body of an answer.
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Reply {
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// The shape every failure has.
    pub fn expect_failure(&self, status: u16, code: &str, phase: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{}", self.body);
        let error = &self.body["error"];
        assert!(!error["message"].as_str().unwrap().is_empty());
        assert_eq!(error["phase"], phase);
        assert!(!error["requestId"].as_str().unwrap().is_empty());
        assert!(error["retryable"].is_boolean());
        assert!(homing::core::stamp::Stamp::parse(self.body["serverTime"].as_str().unwrap()).is_ok());
        assert_eq!(self.headers["content-type"], "application/json");
    }
}

impl Client {
    pub fn new(base: &str, scope: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: base.into(), scope: scope.into(), token: token(scope), http }
    }

    pub fn url(&self) -> String {
        format!("{}/api/v1/sync/delta", self.base)
    }

    pub fn post(&self) -> reqwest::RequestBuilder {
        self.http.post(self.url()).bearer_auth(&self.token).header("content-type", "application/json")
    }

    pub async fn push(&self, request: &Value) -> Reply {
        reply(self.post().body(request.to_string())).await
    }

    /// A push that must be answered.
    pub async fn sync(&self, request: &Value) -> Value {
        let reply = self.push(request).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }

    pub async fn get(&self, query: &str) -> Reply {
        reply(self.http.get(format!("{}?{query}", self.url())).bearer_auth(&self.token)).await
    }

    /// A pull that must be answered.
    pub async fn pull(&self, query: &str) -> Value {
        let reply = self.get(query).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }

    /// Every page from a cursor on; the first answer of all, and all records.
    pub async fn pull_all(&self, cursor: Option<&str>, limit: usize) -> (Value, Vec<Value>, usize) {
        let mut cursor = cursor.map(str::to_owned);
        let (mut records, mut pages, mut first) = (Vec::new(), 0, None);
        loop {
            let at = cursor.map(|c| format!("&cursor={c}")).unwrap_or_default();
            let answer = self.pull(&format!("protocol=1&limit={limit}{at}")).await;
            records.extend(rows(&answer));
            pages += 1;
            cursor = answer["cursor"].as_str().map(str::to_owned);
            let more = answer["hasMore"] == true;
            first.get_or_insert(answer);
            if !more {
                return (first.unwrap(), records, pages);
            }
        }
    }
}

pub async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    Reply { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

/// All records of an answer, in order.
pub fn rows(answer: &Value) -> Vec<Value> {
    answer["changes"].as_array().unwrap().iter().flat_map(|c| c["records"].as_array().unwrap().clone()).collect()
}

pub fn request(client: &str, mutations: Vec<Value>) -> Value {
    json!({ "protocol": 1, "clientId": client, "requestId": "req-1", "scope": null, "schemas": {}, "cursor": null, "settledThrough": 0, "mutations": mutations })
}

pub fn create(client: &str, seq: u64, collection: &str, id: &str, body: Value) -> Value {
    let mut record = json!({ "id": id, "_updatedAt": AT, "_deletedAt": null });
    record.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    json!({ "id": format!("{client}:{seq}"), "op": "create", "collection": collection, "recordId": id, "baseRev": null, "record": record, "updatedAt": AT })
}

/// `n` new records of about 400 bytes.
pub fn many(client: &str, from: u64, n: u64) -> Vec<Value> {
    (from..from + n)
        .map(|i| {
            create(client, i, "inventory", &format!("{client}-{i}"), json!({ "date": "2025-06-01", "qtyIn": i, "notes": "x".repeat(280) }))
        })
        .collect()
}
