//! `homing-server`: see `homing-server --help` and the library's documentation.

use clap::Parser as _;
use homing_server::answer::now;
use homing_server::cli::{Cli, Command, NewEpoch, Serve, Token};
use homing_server::{auth, epoch, log, serve};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(options) => run(&options).await,
        Command::Token(options) => print_token(&options),
        Command::NewEpoch(options) => new_epoch(&options).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            drop(writeln!(std::io::stderr(), "homing-server: {why}"));
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn run(options: &Serve) -> Outcome {
    log::start(options.log);
    // Before the server is announced, so that a stop asked for at once is heard.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let running = serve::start(options).await?;
    writeln!(std::io::stdout(), "listening on http://{}", running.address)?;
    std::io::stdout().flush()?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => running.read_keys_again(),
        }
    }
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

fn print_token(options: &Token) -> Outcome {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let Token { secret, scope, scope_claim, client, expires } = options;
    let token = auth::mint(&secret.jwt_secret, scope_claim, scope, client.as_deref(), now, *expires)?;
    writeln!(std::io::stdout(), "{token}")?;
    Ok(())
}

async fn new_epoch(NewEpoch { database, scope }: &NewEpoch) -> Outcome {
    let scopes = epoch::start(database, scope.as_deref(), now()).await?;
    writeln!(std::io::stdout(), "new epoch in {scopes} {}", if scopes == 1 { "scope" } else { "scopes" })?;
    Ok(())
}
