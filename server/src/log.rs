//! The log: structured events on stderr, as text or as one JSON object per line. `RUST_LOG` filters (default `info`).
//!
//! Tokens, secrets and record contents never get here: requests are logged by counts, codes and ids.

use crate::cli::LogForm;
use tracing_subscriber::EnvFilter;

/// Starts logging for the whole process; a second call changes nothing.
pub fn start(form: LogForm) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = match form {
        LogForm::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        LogForm::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
    };
    // Only tests start twice in one process; the first log serves them all.
    drop(started);
}
