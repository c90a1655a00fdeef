//! `homing-server`: the reference sync server. HTTP and SQL around `homing::core::authority`, which decides everything.
//!
//! ```text
//! HTTP ── answer (id, log, failures) ── token ── body limits ──▶ sync ──▶ core::authority (pure)
//!                                                                 └─────▶ store ──▶ SQL
//! ```
//!
//! # Run it
//! ```text
//! export HOMING_JWT_SECRET=$(openssl rand -hex 32)
//! homing-server serve --database farm.db --schema farm.json --allow-origin http://127.0.0.1:8788
//! TOKEN=$(homing-server token --scope farm-1)
//! curl -H "Authorization: Bearer $TOKEN" "http://127.0.0.1:8787/api/v1/sync/delta?limit=10"
//! ```
//!
//! # Endpoints
//! | | |
//! |---|---|
//! | `POST /api/v1/sync/delta` | push mutations, get results and changes |
//! | `GET /api/v1/sync/delta?cursor=…&since=…&limit=…&clientId=…&requestId=…&scope=…&protocol=1` | get changes |
//! | `GET /healthz` | whether the database answers; no token needed |
//! | `GET /openapi.json` | all this as an OpenAPI description; no token needed |
//!
//! A token is a JWT with `exp`, signed HS256 with the secret, or RS256 or ES256 with a key of the JWK set `--jwks FILE`; `nbf` is
//! looked at, `aud` and `iss` where `--audience` and `--issuer` name one. The claim `--scope-claim` (default `sub`) names the scope,
//! and no request touches another scope's rows; `client` may name the device, which then has a `--rate` of its own. What is
//! refused, requests and mutations, is in the log with `audit=true`. Every failure of a request has the body `{"error": {code, message, phase, requestId, retryable,
//! retryAfterMs?, path?}, "serverTime": …}`:
//!
//! | status | code | then |
//! |---|---|---|
//! | 400 | `malformed` | fix the request; `path` and the message say where |
//! | 401 | `auth-required` | get a token; the sentence is the same for every cause |
//! | 404, 405, 415 | `not-found`, `method-not-allowed`, `unsupported-media-type` | |
//! | 408 | `timeout` | again |
//! | 409 | `scope-changed` | the database belongs to another scope; nothing was applied |
//! | 413 | `too-large` | send less |
//! | 426 | `protocol-unsupported` | `supported: {min, max}` beside `error` |
//! | 429, 503 | `rate-limited`, `unavailable` | again after `retryAfterMs` |
//! | 500 | `server-error` | again; details are in the server's log only |
//!
//! # Data
//! `--database farm.db` is one SQLite file in WAL mode; `--database postgres://…` a PostgreSQL database that any number of
//! servers share. Migrations (`migrations/`) are applied at start. A push is written by one transaction that holds its scope's lock: rows,
//! archive entries, receipts, marks, id map and the scope's `_rev` commit together or not at all. Every key begins with the
//! scope, so on PostgreSQL, and on engines that distribute it, tables can be partitioned by scope. Another database means
//! another implementation of [`store::Store`], and the suite `tests/store` on it. Every `--purge-every` tombstones past the
//! horizon of 90 days go, and receipts as old that their clients have settled; who was away longer starts with a replacement sync.

pub mod answer;
pub mod auth;
pub mod body;
pub mod cli;
pub mod declare;
pub mod error;
pub mod http;
pub mod log;
pub mod purge;
pub mod rate;
pub mod room;
pub mod rules;
pub mod serve;
pub mod store;
pub mod sync;
