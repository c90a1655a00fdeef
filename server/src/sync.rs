//! What a sync request does: the steps between HTTP and the database, in their order.
//!
//! Lives here: check → look → load → evaluate → conclude → read changes → answer; the query of a pull. Not here: any
//! verdict (`core::authority`), SQL (`store`), status codes beyond passing a refusal on.

use crate::error::Failure;
use crate::rules::Rules;
use crate::store::{Look, Page, Store, StoreError, Transaction as _};
use axum::extract::Query;
use axum::http::Uri;
use homing::core::authority::{self, Answer, Effects, Evaluated, Head, Needs, Objection, PagePlan, Refusal, Snapshot};
use homing::core::mutation::MutationId;
use homing::core::protocol::{PROTOCOL, PullRequest, PushRequest, SyncResponse, WireResult};
use homing::core::schema::Schema;
use homing::core::stamp::Stamp;
use serde::Deserialize;
use std::collections::HashMap;
use tokio::runtime::{Handle, RuntimeFlavor};

/// How often a request is judged where somebody else writes what it was judged on at the same time.
const TRIES: usize = 5;

/// Who pulls by time gives back that of his last answer. What was being written then bears an earlier one, because it was received before
/// it was committed: so much earlier that nothing of it is missed. Some rows come twice.
const UNDER_WAY_MS: i64 = 60_000;

/// Answers sync requests of all scopes.
#[derive(Debug)]
pub struct Desk<S> {
    store: S,
    schema: Schema,
    rules: Rules,
}

/// A pull as it was asked: by cursor, or by time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The request.
    pub request: PullRequest,
    /// Everything received at or after this instant, for simple clients that keep no cursor; a cursor goes first.
    pub since: Option<Stamp>,
}

impl<S: Store> Desk<S> {
    /// A desk that judges by `schema` and `rules` and keeps rows in `store`.
    #[must_use]
    pub fn new(store: S, schema: Schema, rules: Rules) -> Self {
        Self { store, schema, rules }
    }

    /// The database behind it.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Judges a push, stores what it changed, answers with results and changes.
    ///
    /// # Errors
    /// 400, 409, 413, 426 when refused whole; 500, 503 when the database failed. Nothing was stored then, or all of it
    /// and only the answer is missing: the same request again gets the same results.
    pub async fn push(&self, scope: &str, request: &PushRequest, now: Stamp) -> Result<SyncResponse, Failure> {
        authority::check_request(request, scope).map_err(|why| Failure::refused(&why))?;
        let Applied { results, before, effects } = self.apply(scope, request, now).await?;
        let plan = |head: &Head| authority::page(request.cursor.as_deref(), head, request.limit, now);
        let answer = Answer { request_id: request.request_id.clone(), scope: scope.to_owned(), now, results };
        let planned = plan(&effects.head);
        match authority::just_written(&planned, &before, &effects) {
            Some(rows) => Ok(authority::respond(&planned, rows, &effects.head, answer)),
            None => self.answer(Some(effects.head), plan, answer).await,
        }
    }

    /// The effects of the request. Where somebody else was first, with anything or with a number or value that only one can have, the
    /// request is judged again on what is there now; the last time alone in its scope.
    async fn apply(&self, scope: &str, request: &PushRequest, now: Stamp) -> Result<Applied, StoreError> {
        // Before the scope is locked: it takes time and needs nothing from there.
        let (refused, needs) = (self.rules.objections(request), authority::needs(request));
        for _ in 1..TRIES {
            let judged = match self.store.look(scope, now, &needs).await {
                Ok(seen) => self.judge(seen, request, (&needs, &refused), now).await,
                Err(why) => Err(why),
            };
            match judged {
                Err(StoreError::Taken) => tracing::debug!("somebody else wrote meanwhile; judging again"),
                done => return done,
            }
        }
        self.judge(self.store.begin(scope, now, &needs).await?, request, (&needs, &refused), now).await
    }

    /// One transaction: all effects of the request, or none.
    async fn judge<L: Look>(
        &self,
        (mut look, snapshot): (L, Snapshot),
        request: &PushRequest,
        (needs, refused): (&Needs, &HashMap<MutationId, Objection>),
        now: Stamp,
    ) -> Result<Applied, StoreError> {
        let mut snapshot = Snapshot { refused: refused.clone(), chance: chance(), ..snapshot };
        snapshot.asked.add(needs);
        let mut more = authority::follow_up(&self.schema, request, &snapshot);
        let mut rounds = 0;
        let Evaluated { results, effects, .. } = loop {
            look.load(&more, &mut snapshot).await?;
            snapshot.asked.add(&more);
            rounds += 1;
            snapshot.last = rounds == authority::MOST_ROUNDS;
            let evaluated = aside(|| authority::evaluate(&self.schema, request, &snapshot, now));
            // Which claims are still unknown then, the database knows: it refuses one that somebody else has.
            if evaluated.missing.is_empty() || snapshot.last {
                break evaluated;
            }
            more = evaluated.missing;
        };
        let before = snapshot.head;
        // Nothing new, as where everything was answered before: there is nothing to wait for.
        if effects != Effects::none(before.clone()) {
            look.conclude(&effects).await?;
        }
        Ok(Applied { results, before, effects })
    }

    /// Answers a pull.
    ///
    /// # Errors
    /// 400, 409, 426 when refused; 500, 503 when the database failed.
    pub async fn pull(&self, scope: &str, asked: &Asked, now: Stamp) -> Result<SyncResponse, Failure> {
        let request = &asked.request;
        authority::check_pull(request, scope).map_err(|why| Failure::refused(&why))?;
        let plan = |head: &Head| match (&request.cursor, asked.since) {
            (None, Some(since)) => authority::page_since(Stamp(since.0.saturating_sub(UNDER_WAY_MS)), request.limit),
            (cursor, _) => authority::page(cursor.as_deref(), head, request.limit, now),
        };
        let answer = Answer { request_id: request.request_id.clone(), scope: scope.to_owned(), now, results: Vec::new() };
        self.answer(authority::seen(request.cursor.as_deref()), plan, answer).await
    }

    /// Reads the page a plan asks for and puts the answer together.
    async fn answer(
        &self,
        likely: Option<Head>,
        plan: impl Fn(&Head) -> PagePlan + Send + Sync,
        answer: Answer,
    ) -> Result<SyncResponse, Failure> {
        let scope = answer.scope.clone();
        let page = match self.store.read(&scope, likely.as_ref(), &plan).await? {
            Some(page) if page.plan.new_head.is_none() => Some(page),
            // A scope nobody has written to, or a client that knows more than this database: its head comes first.
            _ => {
                self.advance(&scope, &plan, answer.now).await?;
                self.store.read(&scope, None, &plan).await?
            }
        };
        let Some(Page { head, plan, rows }) = page else {
            return Err(Failure::internal());
        };
        Ok(authority::respond(&plan, rows, &head, answer))
    }

    /// Gives a scope the head that a plan asks for.
    async fn advance(&self, scope: &str, plan: impl Fn(&Head) -> PagePlan + Send, now: Stamp) -> Result<(), StoreError> {
        let (mut tx, Snapshot { head, .. }) = self.store.begin(scope, now, &Needs::default()).await?;
        if let Some(head) = plan(&head).new_head {
            tx.write(&Effects::none(head)).await?;
        }
        tx.commit().await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// 503, whatever it was: a health check has no other question.
    pub async fn ping(&self) -> Result<(), Failure> {
        self.store.ping().await.map_err(|why| {
            tracing::error!(error = %why, "the database does not answer");
            Failure::unavailable()
        })
    }
}

/// What became of a push.
struct Applied {
    results: Vec<WireResult>,
    /// Where the scope stood when it was judged.
    before: Head,
    effects: Effects,
}

/// Work that may take as long as a request may: others are answered meanwhile. Where there is one thread, there is nobody to hand them to.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|here| here.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// What makes ids that nobody can foresee: 48 bits, so that no id is longer than the optimistic one it takes the place of, and no record
/// grows by it.
fn chance() -> String {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    format!("-{:012x}", high >> 16)
}

/// The query of a pull.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Parameters {
    protocol: Option<String>,
    client_id: String,
    request_id: String,
    scope: Option<String>,
    schemas: Option<String>,
    cursor: Option<String>,
    since: Option<String>,
    limit: Option<String>,
}

/// Reads a pull from its query. An absent `protocol` is taken for this one; empty values count as absent.
///
/// # Errors
/// 400 with the parameter as path; 426 for another protocol.
pub fn parse_query(uri: &Uri) -> Result<Asked, Failure> {
    let bad = |name: &str, why: &str| Failure::malformed(format!("{name}: {why}"), Some(format!("/{name}")));
    let Query(given) = Query::<Parameters>::try_from_uri(uri).map_err(|_| Failure::malformed("the query cannot be read", None))?;
    let some = |text: Option<String>| text.filter(|t| !t.is_empty());
    let protocol = match some(given.protocol) {
        None => PROTOCOL,
        Some(text) => text.parse().map_err(|_| bad("protocol", "not a number"))?,
    };
    if protocol != PROTOCOL {
        return Err(Failure::refused(&Refusal::Protocol { asked: protocol }).of(&given.request_id));
    }
    let limit = match some(given.limit) {
        None => None,
        Some(text) => Some(text.parse().ok().filter(|n| *n > 0).ok_or_else(|| bad("limit", "not a positive number"))?),
    };
    let since = match some(given.since) {
        None => None,
        // A `+` of a zone that was not escaped arrives as a space.
        Some(text) => {
            let parsed = Stamp::parse(&text).or_else(|e| text.rsplit_once(' ').map_or(Err(e), |(a, b)| Stamp::parse(&format!("{a}+{b}"))));
            Some(parsed.map_err(|_| bad("since", "not an ISO 8601 date"))?)
        }
    };
    let schemas = match some(given.schemas) {
        None => Default::default(),
        Some(text) => serde_json::from_str(&text).map_err(|_| bad("schemas", "not a JSON object of texts"))?,
    };
    let (client_id, request_id) = (given.client_id, given.request_id);
    let request = PullRequest { protocol, client_id, request_id, scope: some(given.scope), schemas, cursor: some(given.cursor), limit };
    Ok(Asked { request, since })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Asked, Failure> {
        parse_query(&format!("http://x/api?{query}").parse().unwrap())
    }

    #[test]
    fn a_pull_is_read_from_its_query() {
        let asked = parse("protocol=1&clientId=c&requestId=r&limit=7&cursor=c1.5..e&schemas=%7B%22a%22:%22h%22%7D").unwrap();
        assert_eq!((asked.request.limit, asked.request.cursor.as_deref(), asked.since), (Some(7), Some("c1.5..e"), None));
        assert_eq!(asked.request.schemas["a"], "h");
        assert_eq!(parse("").unwrap().request.protocol, PROTOCOL);
        let noon = Stamp::parse("2025-01-01T12:00:00Z").unwrap();
        for text in ["2025-01-01T12:00:00.000Z", "2025-01-01T14:00:00%2B02:00", "2025-01-01T14:00:00+02:00"] {
            assert_eq!(parse(&format!("since={text}")).unwrap().since, Some(noon), "{text}");
        }
        for (query, status, path) in [
            ("since=yesterday", 400, "/since"),
            ("limit=x", 400, "/limit"),
            ("limit=0", 400, "/limit"),
            ("limit=-1", 400, "/limit"),
            ("protocol=2", 426, "/protocol"),
            ("protocol=x", 400, "/protocol"),
            ("schemas=x", 400, "/schemas"),
        ] {
            let failure = parse(query).unwrap_err();
            assert_eq!((failure.status.as_u16(), failure.detail.path.as_deref()), (status, Some(path)), "{query}");
        }
    }
}
