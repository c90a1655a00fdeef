//! Who gets in, and how often: keys of a set, audience and issuer, the rate of a client. What the log tells is in `process`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::place::Place;
use common::{Client, Server, create, now_s, reply, request};
use homing_server::auth::mint;
use homing_server::serve::start;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_again() {
    let server = Server::with(|options| options.rate = 1).await;
    let device = |name: &str| {
        let token = mint(common::SECRET, "sub", "farm-1", Some(name), now_s(), Duration::from_secs(600)).unwrap();
        Client { token, ..server.client.clone() }
    };
    let (phone, desk) = (device("phone"), device("desk"));
    let mut answered = 0;
    let refused = loop {
        let reply = phone.get("limit=1").await;
        if reply.status != 200 {
            break reply;
        }
        answered += 1;
        assert!(answered < 1_000, "nobody counts");
    };
    assert!(answered >= 100, "{answered} at once");
    refused.expect_failure(429, "rate-limited", "pull");
    let (ms, seconds) = (refused.body["error"]["retryAfterMs"].as_u64().unwrap(), refused.headers["retry-after"].to_str().unwrap());
    assert!((1..=1001).contains(&ms) && seconds == ms.div_ceil(1000).to_string(), "{ms} {seconds}");
    assert_eq!(refused.body["error"]["retryable"], true);
    // Nothing of a push that comes too early is looked at; another device is another client.
    let push = request("phone", vec![create("phone", 1, "flocks", "f1", json!({}))]);
    phone.push(&push).await.expect_failure(429, "rate-limited", "push");
    assert_eq!(server.place.count("id = 'f1'").await, 0);
    assert_eq!(desk.get("limit=1").await.status, 200);
    // Who does as told gets in.
    tokio::time::sleep(Duration::from_millis(ms)).await;
    assert_eq!(phone.get("limit=1").await.status, 200);
}

/// Bodies that are being read, or wait for their scope, are in memory. Of all together there are no more than 64 of the greatest length.
#[tokio::test]
async fn there_is_room_for_so_many_bodies_and_the_next_one_is_told_to_come_later() {
    use std::io::Write as _;
    let server = Server::with(|options| options.max_body = 16 * 1024).await;
    let half = |_: usize| {
        let mut stream = std::net::TcpStream::connect(server.running.address).unwrap();
        let head = "POST /api/v1/sync/delta HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 16384";
        let text = format!("{head}\r\nAuthorization: Bearer {}\r\n\r\n{}", server.client.token, " ".repeat(16_000));
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let stalled: Vec<_> = (0..64).map(half).collect();
    let push = request("a", vec![create("a", 1, "flocks", "f1", json!({ "text": "x".repeat(8_000) }))]);
    let refused = server.client.push(&push).await;
    refused.expect_failure(503, "unavailable", "push");
    assert_eq!((refused.headers.contains_key("retry-after"), &refused.body["error"]["retryable"]), (true, &json!(true)));
    // Who needs no room is answered.
    assert_eq!(server.client.get("limit=1").await.status, 200);
    assert_eq!(reply(server.client.http.get(format!("{}/healthz", server.client.base))).await.status, 200);
    drop(stalled);
    assert_eq!(server.client.push(&push).await.status, 200);
}

#[tokio::test]
async fn keys_of_a_set_open_the_server_for_the_declared_audience_and_issuer() {
    let key = EncodingKey::from_ec_der(include_bytes!("fixtures/es256.der"));
    let file = tempfile::NamedTempFile::new().unwrap();
    let set = JwkSet { keys: vec![Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()] };
    std::fs::write(file.path(), serde_json::to_string(&set).unwrap()).unwrap();
    let server = Server::with(|options| {
        options.tokens.jwt_secret = None;
        options.tokens.jwks = Some(file.path().to_owned());
        options.tokens.audience = Some("homing".into());
        options.tokens.issuer = Some("https://id.example".into());
    })
    .await;
    let exp = now_s() + 600;
    let good = json!({ "sub": "farm-1", "exp": exp, "nbf": now_s() - 5, "aud": "homing", "iss": "https://id.example" });
    let mut said = Vec::new();
    for (change, status) in [
        (json!({}), 200),
        (json!({ "sub": "farm-2" }), 200),
        (json!({ "aud": "other" }), 401),
        (json!({ "iss": "https://evil.example" }), 401),
        (json!({ "nbf": exp }), 401),
        (json!({ "exp": now_s() - 3600 }), 401),
    ] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let token = encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap();
        let http = server.client.http.get(server.client.url()).header("x-request-id", "same").bearer_auth(token);
        let answer = reply(http).await;
        assert_eq!(answer.status, status, "{claims}");
        if status == 200 {
            assert_eq!(answer.body["scope"], claims["sub"]);
        } else {
            said.push(answer.body["error"].clone());
        }
    }
    // A token of the secret that this server was not given.
    assert_eq!(server.client.get("").await.status, 401);
    said.dedup();
    assert_eq!(said.len(), 1, "the answer tells bad tokens apart: {said:?}");

    std::fs::write(file.path(), "{}").unwrap();
    let mut options = common::options(&Place::sqlite());
    options.tokens.jwks = Some(file.path().to_owned());
    assert!(start(&options).await.unwrap_err().to_string().starts_with("--jwks: "));
}

/// What is counted is unpacked, so some KB are enough to take all that one scope gets; others get theirs.
#[tokio::test]
async fn one_device_does_not_take_the_room_of_all_farms() {
    use std::io::Write as _;
    let server = Server::start().await;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(&vec![b' '; 4 * 1024 * 1024 - 2048]).unwrap();
    gz.flush().unwrap();
    let packed = gz.get_ref().clone();
    let thief = common::token("thief");
    let half = |_: usize| {
        let mut stream = std::net::TcpStream::connect(server.running.address).unwrap();
        let head = "POST /api/v1/sync/delta HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 100000";
        stream.write_all(format!("{head}\r\nAuthorization: Bearer {thief}\r\n\r\n").as_bytes()).unwrap();
        stream.write_all(&packed).unwrap();
        stream
    };
    let stalled: Vec<_> = (0..65).map(half).collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let push = request("a", vec![create("a", 1, "flocks", "f1", json!({ "text": "x".repeat(300_000) }))]);
    let answer = server.client.push(&push).await;
    assert_eq!(answer.status, 200);
    drop(stalled);
}
