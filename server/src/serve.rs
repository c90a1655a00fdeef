//! Start and stop: opens the database, binds, answers until told to stop, then finishes what is under way.
//!
//! Lives here: the order of these steps. Not here: options (`cli`), endpoints (`http`).

use crate::answer::now;
use crate::auth::Gate;
use crate::cli::{Serve, Tokens};
use crate::declare;
use crate::http::{App, router};
use crate::purge;
use crate::rate::Rate;
use crate::room::Room;
use crate::rules::Rules;
use crate::store::postgres::Postgres;
use crate::store::sqlite::Sqlite;
use crate::store::{Database, Store, StoreError};
use crate::sync::Desk;
use homing::core::schema::Schema;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// How long requests under way may take to finish once the server was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Why the server did not start.
#[derive(Debug)]
pub enum StartError {
    /// The schema file cannot be read or is none.
    Schema(String),
    /// The JWK set cannot be read or is none.
    Jwks(String),
    /// The database cannot be opened or migrated.
    Database(StoreError),
    /// The address cannot be listened on.
    Listen(SocketAddr, std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema(why) => write!(f, "--schema: {why}"),
            Self::Jwks(why) => write!(f, "--jwks: {why}"),
            Self::Database(why) => write!(f, "--database: {why}"),
            Self::Listen(at, why) => write!(f, "--listen: cannot listen on {at}: {why}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    gate: Arc<Gate>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl Running {
    /// Reads the JWK set again.
    pub fn read_keys_again(&self) {
        self.gate.read_again();
    }

    /// Stops taking requests, finishes those under way (at most 10 s), closes the database.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        drop(self.done.await);
    }
}

/// Starts a server; answers once it listens.
///
/// # Errors
/// [`StartError`], naming the option at fault.
pub async fn start(options: &Serve) -> Result<Running, StartError> {
    let (schema, rules) = match &options.schema {
        None => Default::default(),
        Some(file) => declarations(file).map_err(|why| StartError::Schema(format!("{}: {why}", file.display())))?,
    };
    let gate = gate(&options.tokens)?;
    match &options.database {
        Database::Sqlite(name) => run(options, (schema, rules), gate, Sqlite::open(name).await.map_err(StartError::Database)?).await,
        Database::Postgres(url) => {
            run(options, (schema, rules), gate, Postgres::open(url, options.connections).await.map_err(StartError::Database)?).await
        }
    }
}

async fn run<S: Store>(options: &Serve, (schema, rules): (Schema, Rules), gate: Gate, store: S) -> Result<Running, StartError> {
    let listener = TcpListener::bind(options.listen).await.map_err(|e| StartError::Listen(options.listen, e))?;
    let address = listener.local_addr().map_err(|e| StartError::Listen(options.listen, e))?;
    // With the address taken, so that a start that fails there has changed nothing; requests wait until older rows are indexed.
    declare::run(&store, &schema, now()).await.map_err(StartError::Database)?;
    tracing::info!(%address, database = %options.database, collections = schema.collections.len(), max_body = options.max_body, "started");
    let desk = Arc::new(Desk::new(store, schema, rules));
    let rate = Arc::new(Rate::new(options.rate));
    let gate = Arc::new(gate);
    let app =
        App { gate: gate.clone(), rate: rate.clone(), desk: desk.clone(), max_body: options.max_body, room: Room::new(options.max_body) };
    let service = router(app, &options.allow_origin).into_make_service_with_connect_info::<SocketAddr>();
    let (end, ended) = watch::channel(false);
    let mut upkeep = tokio::spawn(upkeep(desk.clone(), rate, options.purge_every, ended));
    let (stop, stopped) = oneshot::channel::<()>();
    let done = tokio::spawn(async move {
        let (told, tell) = oneshot::channel::<()>();
        let server = axum::serve(listener, service).with_graceful_shutdown(async move {
            drop(stopped.await);
            let _ = told.send(());
        });
        let grace = async {
            drop(tell.await);
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            outcome = server => if let Err(e) = outcome { tracing::error!(error = %e, "server failed") },
            () = grace => tracing::warn!("stopped with requests under way"),
        }
        // Not cut off: a connection that is just being opened would outlive the pool, and with it the write-ahead log.
        let _ = end.send(true);
        if tokio::time::timeout(GRACE, &mut upkeep).await.is_err() {
            upkeep.abort();
        }
        desk.store().close().await;
        tracing::info!("stopped");
    });
    Ok(Running { address, gate, stop, done })
}

fn declarations(file: &Path) -> Result<(Schema, Rules), String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let schema = Schema::parse(&text).map_err(|e| e.to_string())?;
    Ok((schema, Rules::parse(&text)?))
}

fn gate(tokens: &Tokens) -> Result<Gate, StartError> {
    let mut gate = Gate::new(&tokens.scope_claim);
    if let Some(secret) = &tokens.jwt_secret {
        if secret.len() < 32 {
            tracing::warn!(bytes = secret.len(), "the JWT secret is shorter than 32 bytes: fine for a demo, guessable elsewhere");
        }
        gate = gate.secret(secret);
    }
    if let Some(file) = &tokens.jwks {
        gate = gate.jwks(file).map_err(|why| StartError::Jwks(format!("{}: {why}", file.display())))?;
    }
    gate = tokens.audience.iter().fold(gate, |gate, audience| gate.audience(audience));
    Ok(tokens.issuer.iter().fold(gate, |gate, issuer| gate.issuer(issuer)))
}

/// What is done beside the requests, for as long as the server runs; at once, too, for a server that is restarted every day.
async fn upkeep<S: Store>(desk: Arc<Desk<S>>, rate: Arc<Rate>, purge_every: Duration, mut ended: watch::Receiver<bool>) {
    let mut purges = tokio::time::interval(purge_every);
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    loop {
        tokio::select! {
            _ = ended.changed() => return,
            _ = minutes.tick() => rate.forget_silent(),
            _ = purges.tick() => match purge::run(desk.store(), now(), || *ended.borrow()).await {
                Ok(gone) => tracing::info!(tombstones = gone.tombstones, receipts = gone.receipts, "purged"),
                Err(why) => tracing::error!(error = %why, "the purge failed; it goes on the next time"),
            },
        }
    }
}
