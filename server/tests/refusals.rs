//! Requests that are refused as a whole: each with the one error body, and nothing stored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{AT, SECRET, Server, create, now_s, reply, request, rows};
use homing_server::auth::mint;
use serde_json::json;
use std::io::Write as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn one() -> serde_json::Value {
    request("c", vec![create("c", 1, "flocks", "f1", json!({ "name": "Layer Group 3" }))])
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_with_its_place() {
    let server = Server::start().await;
    for (body, message, path) in [
        ("{\"protocol\": 1,\n \"mutations\": [", "line 2 column 15", None),
        ("", "line 1 column 0", None),
        ("not json", "line 1 column 2", None),
        ("[]", "object", None),
        ("{\"protocol\":1,\"mutations\":7}", "line 1", Some("/mutations")),
        ("{\"protocol\":1,\"mutations\":[{\"id\":\"c:1\",\"op\":\"drop\"}]}", "drop", Some("/mutations/0/op")),
    ] {
        let answer = reply(server.client.post().body(body)).await;
        answer.expect_failure(400, "malformed", "push");
        assert!(answer.body["error"]["message"].as_str().unwrap().contains(message), "{}", answer.body);
        assert_eq!(answer.body["error"]["path"].as_str(), path, "{}", answer.body);
        assert_eq!(answer.body["error"]["retryable"], false);
    }
    let not_text = reply(server.client.post().body(b"{\"protocol\":1,\"clientId\":\"\xff\"}".to_vec())).await;
    not_text.expect_failure(400, "malformed", "push");
    assert_eq!(server.place.stored().await, 0);
}

#[tokio::test]
async fn every_bad_token_gets_the_same_answer_and_stores_nothing() {
    let server = Server::start().await;
    let other = mint("another secret, also thirty-two b", "sub", "farm-1", None, now_s(), Duration::from_secs(600)).unwrap();
    let expired = mint(SECRET, "sub", "farm-1", None, now_s() - 7200, Duration::from_secs(3600)).unwrap();
    let scopeless = mint(SECRET, "org", "farm-1", None, now_s(), Duration::from_secs(600)).unwrap();
    let mut said = Vec::new();
    for token in [None, Some("nonsense".to_owned()), Some(other), Some(expired), Some(scopeless)] {
        let with = |r: reqwest::RequestBuilder| token.iter().fold(r, |r, t| r.bearer_auth(t)).header("x-request-id", "same");
        let http = &server.client.http;
        let pushed = reply(with(http.post(server.client.url())).header("content-type", "application/json").body(one().to_string())).await;
        pushed.expect_failure(401, "auth-required", "push");
        let pulled = reply(with(http.get(server.client.url()))).await;
        pulled.expect_failure(401, "auth-required", "pull");
        assert_eq!(pushed.headers["www-authenticate"], "Bearer");
        said.push(pushed.body["error"].clone());
    }
    said.dedup();
    assert_eq!(said.len(), 1, "the answer tells bad tokens apart: {said:?}");
    assert_eq!(server.place.stored().await, 0);
}

#[tokio::test]
async fn the_token_is_checked_before_a_byte_of_the_body_arrives() {
    let server = Server::start().await;
    let mut socket = TcpStream::connect(server.running.address).await.unwrap();
    let head = "POST /api/v1/sync/delta HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    tokio::time::timeout(Duration::from_secs(5), socket.read_exact(&mut answer)).await.expect("no answer without a body").unwrap();
    assert_eq!(answer, b"HTTP/1.1 401");
}

#[tokio::test]
async fn another_scope_is_refused_and_never_seen() {
    let server = Server::start().await;
    server.client.sync(&one()).await;
    let stored = server.place.stored().await;
    let stranger = server.client("farm-2");

    let mut asked = one();
    asked["scope"] = "farm-1".into();
    let answer = stranger.push(&asked).await;
    answer.expect_failure(409, "scope-changed", "push");
    assert_eq!(answer.body["error"]["requestId"], "req-1");
    stranger.get("protocol=1&scope=farm-1").await.expect_failure(409, "scope-changed", "pull");
    assert_eq!(server.place.stored().await, stored);

    // Not by a cursor of the other scope, not by time, not by naming its records, not by repeating its mutation ids.
    let cursor = server.client.pull("protocol=1").await["cursor"].as_str().unwrap().to_owned();
    for query in ["protocol=1".to_owned(), format!("cursor={cursor}"), "since=2000-01-01".to_owned()] {
        let answer = stranger.pull(&query).await;
        assert_eq!((rows(&answer).len(), answer["scope"].as_str()), (0, Some("farm-2")), "{query}");
    }
    let same = stranger.sync(&request("c", vec![create("c", 1, "flocks", "f1", json!({ "name": "mine" }))])).await;
    assert_eq!((&same["results"][0]["status"], &same["results"][0]["replayed"]), (&json!("applied"), &json!(null)), "{same}");
    assert!(!same.to_string().contains("Layer Group 3"));
    let first = server.client.pull("protocol=1").await;
    assert_eq!(rows(&first)[0]["name"], "Layer Group 3");
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_refused_and_the_connection_lives_on() {
    let server = Server::start().await;
    let big = create("c", 1, "flocks", "f1", json!({ "notes": "x".repeat(10_000_000) }));
    let answer = server.client.push(&request("c", vec![big])).await;
    answer.expect_failure(413, "too-large", "push");
    assert_eq!(server.place.stored().await, 0);
    server.client.sync(&one()).await;
    assert!(server.place.stored().await > 0);
}

#[tokio::test]
async fn a_body_of_unannounced_length_is_bounded_too() {
    let server = Server::start().await;
    let mut socket = TcpStream::connect(server.running.address).await.unwrap();
    let head = format!(
        "POST /api/v1/sync/delta HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        server.client.token
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 65_536, " ".repeat(65_536));
    for _ in 0..160 {
        // Once refused, the rest may or may not be taken.
        if socket.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 12];
    tokio::time::timeout(Duration::from_secs(5), socket.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    assert_eq!(server.place.stored().await, 0);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

#[tokio::test]
async fn compressed_bodies_are_read_up_to_the_same_limit() {
    let server = Server::start().await;
    let zipped = |body: Vec<u8>| server.client.post().header("content-encoding", "gzip").body(body);
    let bomb = gzip(request("c", vec![create("c", 1, "flocks", "f1", json!({ "notes": "x".repeat(10_000_000) }))]).to_string().as_bytes());
    assert!(bomb.len() < 100_000);
    reply(zipped(bomb)).await.expect_failure(413, "too-large", "push");
    reply(zipped(b"not gzip at all".to_vec())).await.expect_failure(400, "malformed", "push");
    reply(server.client.post().header("content-encoding", "br").body("x")).await.expect_failure(415, "unsupported-media-type", "push");
    assert_eq!(server.place.stored().await, 0);

    let answer = reply(zipped(gzip(one().to_string().as_bytes()))).await;
    assert_eq!((answer.status, answer.body["results"][0]["status"].as_str()), (200, Some("applied")), "{}", answer.body);
    assert_eq!(server.place.count("collection = 'flocks'").await, 1);
}

#[tokio::test]
async fn answers_are_compressed_on_request() {
    let server = Server::start().await;
    server.client.sync(&request("c", common::many("c", 1, 50))).await;
    let get = |encoding: &'static str, limit: usize| {
        let plain = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
        plain
            .get(format!("{}?limit={limit}", server.client.url()))
            .bearer_auth(&server.client.token)
            .header("accept-encoding", encoding)
            .send()
    };
    let zipped = get("gzip", 50).await.unwrap();
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    let plain = get("identity", 50).await.unwrap();
    assert!(plain.headers().get("content-encoding").is_none());
    assert!(get("gzip", 1).await.unwrap().headers().get("content-encoding").is_none(), "it fits one packet anyway");
    assert!(zipped.bytes().await.unwrap().len() * 4 < plain.bytes().await.unwrap().len());
}

#[tokio::test]
async fn every_other_refusal_has_the_same_shape() {
    let server = Server::start().await;
    let (client, http) = (&server.client, &server.client.http);
    reply(http.get(format!("{}/api/v2/sync", client.base))).await.expect_failure(404, "not-found", "pull");
    reply(http.post(format!("{}/", client.base)).body("x")).await.expect_failure(404, "not-found", "push");
    let method = reply(http.delete(client.url())).await;
    method.expect_failure(405, "method-not-allowed", "pull");
    assert!(method.headers["allow"].to_str().unwrap().contains("POST"));
    let text = reply(http.post(client.url()).bearer_auth(&client.token).header("content-type", "text/plain").body(one().to_string())).await;
    text.expect_failure(415, "unsupported-media-type", "push");

    let mut next = one();
    next["protocol"] = 2.into();
    for answer in [client.push(&next).await, client.push(&json!({ "protocol": 2, "mutations": { "other": "shape" } })).await] {
        answer.expect_failure(426, "protocol-unsupported", "push");
        assert_eq!(answer.body["supported"], json!({ "min": 1, "max": 1 }));
    }
    client.get("protocol=7&requestId=r7").await.expect_failure(426, "protocol-unsupported", "pull");
    let since = client.get("protocol=1&since=yesterday").await;
    since.expect_failure(400, "malformed", "pull");
    assert_eq!(since.body["error"]["path"], "/since");
    let too_many = client.push(&request("c", common::many("c", 1, 1001))).await;
    too_many.expect_failure(413, "too-large", "push");
    assert_eq!(server.place.stored().await, 0);
}

#[tokio::test]
async fn requests_are_traced() {
    let server = Server::start().await;
    let given = reply(server.client.http.get(server.client.url()).header("x-request-id", "trace-7")).await;
    assert_eq!(
        (given.headers["x-request-id"].to_str().unwrap(), given.body["error"]["requestId"].as_str().unwrap()),
        ("trace-7", "trace-7")
    );
    let made = reply(server.client.http.get(server.client.url())).await;
    assert_eq!(made.headers["x-request-id"].to_str().unwrap(), made.body["error"]["requestId"].as_str().unwrap());
}

#[tokio::test]
async fn only_allowed_origins_may_read_answers() {
    let server = Server::start().await;
    let http = &server.client.http;
    let preflight = |origin: &'static str| {
        http.request(reqwest::Method::OPTIONS, server.client.url())
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,x-csrf-token")
    };
    let allowed = reply(preflight("http://127.0.0.1:8788")).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.headers["access-control-allow-origin"], "http://127.0.0.1:8788");
    assert_eq!(allowed.headers["access-control-max-age"], "86400");
    assert_eq!(allowed.headers["access-control-allow-headers"], "authorization,content-type,x-csrf-token");
    let stranger = reply(preflight("http://evil.example")).await;
    assert!(stranger.headers.get("access-control-allow-origin").is_none());

    // Failures too, or a page could not tell 401 from a dead network.
    let failure = reply(http.get(server.client.url()).header("origin", "http://127.0.0.1:8788")).await;
    failure.expect_failure(401, "auth-required", "pull");
    assert_eq!(failure.headers["access-control-allow-origin"], "http://127.0.0.1:8788");
    let exposed = failure.headers["access-control-expose-headers"].to_str().unwrap().to_ascii_lowercase();
    assert!(["retry-after", "date", "etag", "x-request-id"].iter().all(|h| exposed.contains(h)), "{exposed}");
    assert!(failure.headers.contains_key("date"));
}

#[tokio::test]
async fn a_locked_database_is_503_and_nothing_is_half_written() {
    let server = Server::start().await;
    server.client.sync(&one()).await;
    let stored = server.place.stored().await;
    let other = server.place.hold("farm-1").await;

    let push = request("c", vec![create("c", 2, "flocks", "f2", json!({ "name": "x", "at": AT }))]);
    let busy = server.client.push(&push).await;
    busy.expect_failure(503, "unavailable", "push");
    assert_eq!((&busy.body["error"]["retryable"], busy.headers["retry-after"].to_str().unwrap()), (&json!(true), "1"));
    assert!(busy.body["error"]["retryAfterMs"].as_u64().unwrap() > 0);
    assert_eq!(server.place.stored().await, stored);
    // Reading waits for nobody.
    assert_eq!(rows(&server.client.pull("protocol=1").await).len(), 1);

    other.release().await;
    assert_eq!(server.client.sync(&push).await["results"][0]["status"], "applied");
}

#[tokio::test]
async fn health_needs_no_token() {
    let server = Server::start().await;
    let health = reply(server.client.http.get(format!("{}/healthz", server.client.base))).await;
    assert_eq!((health.status, health.body["status"].as_str(), health.body["protocol"]["max"].as_u64()), (200, Some("ok"), Some(1)));
}
