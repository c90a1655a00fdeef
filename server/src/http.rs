//! HTTP: the endpoints, what guards them and in which order.
//!
//! Lives here: router, handlers, admission. Not here: what a request does (`sync`), what a failure says (`error`).
//!
//! From the outside in: CORS, compression, [`answer()`] (id, log, failure bodies), panics, the time limit; for the sync
//! endpoints then the token, the rate, the announced length, decompression. Only then is a byte of the body read.

use crate::answer::{Summary, answer, now};
use crate::auth::{Caller, Gate};
use crate::body;
use crate::error::{Failure, JSON, REQUEST_ID, SUPPORTED};
use crate::rate::Rate;
use crate::room::Room;
use crate::store::Store;
use crate::sync::{self, Desk};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use homing::core::protocol::{Outcome, PushRequest, SyncResponse, WireResult};
use http_body_util::Limited;
use std::sync::Arc;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate as _, SizeAbove};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::timeout::TimeoutLayer;

/// Longest time a request may take, body included.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Answers up to so many bytes travel as they are: compressed they are no sooner there.
const ONE_PACKET: u64 = 1_400;

/// What the endpoints take and answer, as OpenAPI; `tests/hostile.rs` sees that it is true.
const DESCRIPTION: &str = include_str!("../openapi.json");

/// What every handler needs.
#[derive(Debug)]
pub struct App<S> {
    /// Checks tokens.
    pub gate: Arc<Gate>,
    /// Counts requests.
    pub rate: Arc<Rate>,
    /// Answers sync requests.
    pub desk: Arc<Desk<S>>,
    /// Longest request body.
    pub max_body: usize,
    /// Where bodies are kept while they are answered.
    pub room: Room,
}

/// The whole server as a service.
pub fn router<S: Store>(app: App<S>, origins: &[String]) -> Router {
    let app = Arc::new(app);
    let sync = get(pull::<S>)
        .post(push::<S>)
        .route_layer(RequestDecompressionLayer::new())
        .route_layer(from_fn_with_state(app.clone(), admit::<S>));
    Router::new()
        .route("/api/v1/sync/delta", sync)
        .route("/healthz", get(health::<S>))
        .route("/openapi.json", get(|| async { json(DESCRIPTION.to_owned()) }))
        .with_state(app)
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIME_LIMIT))
        .layer(CatchPanicLayer::custom(|_| Failure::internal().into_response()))
        .layer(from_fn(answer))
        .layer(CompressionLayer::new().compress_when(DefaultPredicate::new().and(SizeAbove::new(ONE_PACKET))))
        .layer(cors(origins))
}

fn cors(origins: &[String]) -> CorsLayer {
    let allowed = match origins.iter().any(|o| o == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().filter_map(|o| HeaderValue::from_str(o).ok())),
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::ACCEPT_ENCODING, header::RETRY_AFTER, header::DATE, header::ETAG, REQUEST_ID])
        .max_age(Duration::from_secs(86_400))
}

/// Middleware: the token first, then how often, then the announced length; the body is not touched before both are fine.
async fn admit<S: Store>(State(app): State<Arc<App<S>>>, mut request: Request, next: Next) -> Response {
    let token = request.headers().get(header::AUTHORIZATION).map(|v| v.to_str().unwrap_or_default());
    let caller = match app.gate.check(token) {
        Ok(caller) => caller,
        Err(why) => return refuse(Failure::unauthorized(why), request),
    };
    request.extensions_mut().insert(caller.clone());
    let mut response = if let Err(wait) = app.rate.check(&caller) {
        refuse(Failure::rate_limited(wait), request)
    } else if body::announced(request.headers()).is_some_and(|length| length > app.max_body as u64) {
        refuse(Failure::too_large(app.max_body), request)
    } else {
        // A body of unannounced length is bounded before decompression too.
        next.run(request.map(|b| Body::new(Limited::new(b, app.max_body)))).await
    };
    response.extensions_mut().insert(caller);
    response
}

fn refuse(failure: Failure, request: Request) -> Response {
    // A client that asked before sending (`Expect: 100-continue`) will not send.
    if !request.headers().contains_key(header::EXPECT) {
        body::discard(request.into_body());
    }
    failure.into_response()
}

async fn push<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(Caller { scope, .. }): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    body::check_json(&headers)?;
    let mut share = app.room.share(&scope);
    let bytes = body::read(body, app.max_body, &mut share).await?;
    let request: PushRequest = body::decode(&bytes)?;
    drop(bytes);
    let summary = Summary { client: request.client_id.clone(), mutations: request.mutations.len(), ..Summary::default() };
    let request_id = request.request_id.clone();
    // In a task of its own: a client that hangs up does not stop a transaction half-way.
    let desk = app.desk.clone();
    let work = async move {
        let answer = desk.push(&scope, &request, now()).await;
        drop((request, share));
        answer
    };
    let done = tokio::spawn(work).await;
    finish(summary, done.unwrap_or_else(|_| Err(Failure::internal())), &request_id)
}

async fn pull<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(Caller { scope, .. }): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Failure> {
    let asked = sync::parse_query(&uri)?;
    let summary = Summary { client: asked.request.client_id.clone(), ..Summary::default() };
    let request_id = asked.request.request_id.clone();
    // As a push: nothing of the database's is left half-way.
    let desk = app.desk.clone();
    let done = tokio::spawn(async move { desk.pull(&scope, &asked, now()).await }).await;
    finish(summary, done.unwrap_or_else(|_| Err(Failure::internal())), &request_id)
}

fn finish(mut summary: Summary, answer: Result<SyncResponse, Failure>, request_id: &str) -> Result<Response, Failure> {
    let answer = answer.map_err(|f| f.of(request_id))?;
    let refused = |r: &&WireResult| r.status == Outcome::Rejected && !r.replayed;
    summary.rejected = answer.results.iter().filter(refused).cloned().collect();
    summary.rows = answer.changes.iter().map(|c| c.records.len()).sum();
    let text = serde_json::to_string(&answer).map_err(|_| Failure::internal().of(request_id))?;
    let mut response = json(text);
    response.extensions_mut().insert(summary);
    Ok(response)
}

async fn health<S: Store>(State(app): State<Arc<App<S>>>) -> Result<Response, Failure> {
    app.desk.ping().await?;
    let body = serde_json::json!({ "status": "ok", "protocol": SUPPORTED, "serverTime": now() });
    Ok(json(body.to_string()))
}

fn json(text: String) -> Response {
    let mut response = Body::from(text).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    // Answers are someone's data at one moment: never from a cache.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
