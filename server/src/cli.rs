//! The command line: `serve`, `token` and `new-epoch`, every option with its default (DESIGN §11).
//!
//! Lives here: parsing, with errors that name the option. Not here: what the options do.

use crate::store::Database;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Reference sync server of Homing.
#[derive(Debug, Parser)]
#[command(name = "homing-server", version, about, long_about = LONG, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const LONG: &str = "Reference sync server of Homing: answers the sync protocol over HTTP and keeps its rows in an SQL database.\n\n\
    Try it:\n  export HOMING_JWT_SECRET=$(openssl rand -hex 32)\n  homing-server serve --database farm.db --allow-origin http://127.0.0.1:8788\n  \
    homing-server token --scope farm-1";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer sync requests until SIGINT or SIGTERM
    #[command(after_help = "Prints `listening on http://HOST:PORT` on stdout once requests are answered; logs go to stderr.\n\
        Endpoints: POST and GET /api/v1/sync/delta, GET /healthz, GET /openapi.json.")]
    Serve(Serve),
    /// Print a token for one scope, signed with the same secret
    Token(Token),
    /// Tell a database that it went back in time: after a backup was restored, before the servers start
    #[command(
        after_help = "Stop the servers, restore the backup, run this, start them again. With their next sync all devices fetch everything,\n\
        keep what they have not sent, and archive what they knew and the backup lacks. Without it what was acknowledged after\n\
        the backup is given up without a trace, and numbers that devices know are given again. Running it twice does no harm."
    )]
    NewEpoch(NewEpoch),
}

/// Options of `serve`.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8787")]
    pub listen: SocketAddr,
    /// SQLite file, as `sqlite:FILE` or `FILE` (`:memory:` keeps nothing), or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`
    #[arg(long, value_name = "DATABASE", default_value = "sqlite:homing.db", env = "HOMING_DATABASE", hide_env_values = true)]
    pub database: Database,
    /// Most connections to PostgreSQL
    #[arg(long, value_name = "NUMBER", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub tokens: Tokens,
    /// The collections declaration, the same JSON file the client loads, with a JSON Schema in a collection's `schema` where its
    /// records must fit one; none: every collection has the default policy
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Origin whose pages may call this server, e.g. `http://127.0.0.1:8788`; several, or `*` for any
    #[arg(long, value_name = "ORIGIN", num_args = 1.., value_delimiter = ',', value_parser = parse_origin)]
    pub allow_origin: Vec<String>,
    /// Form of the log
    #[arg(long, value_enum, default_value_t = LogForm::Text)]
    pub log: LogForm,
    /// Longest request body, also after decompression: bytes, or with KiB or MiB
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = parse_size)]
    pub max_body: usize,
    /// Requests a second that one client may send for long; a hundred times as many at once. 0: any number
    #[arg(long, value_name = "NUMBER", default_value = "20")]
    pub rate: u32,
    /// How often what is past the horizon is purged: a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "12h", value_parser = parse_time)]
    pub purge_every: Duration,
}

/// Which tokens open the server.
#[derive(Args, Clone)]
pub struct Tokens {
    /// Key of HS256 tokens, at least 32 bytes; better given by the environment, where `ps` does not show it
    #[arg(long, value_name = "SECRET", env = "HOMING_JWT_SECRET", hide_env_values = true, required_unless_present = "jwks", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub jwt_secret: Option<String>,
    /// JWK set with the public keys of RS256 and ES256 tokens; read at start, on SIGHUP, and for a token of a key that is not in it,
    /// once a minute at most
    #[arg(long, value_name = "FILE")]
    pub jwks: Option<PathBuf>,
    /// Claim of the token that names the scope
    #[arg(long, value_name = "CLAIM", default_value = "sub")]
    pub scope_claim: String,
    /// Tokens must have this `aud`; not looked at unless given
    #[arg(long, value_name = "AUDIENCE")]
    pub audience: Option<String>,
    /// Tokens must have this `iss`; not looked at unless given
    #[arg(long, value_name = "ISSUER")]
    pub issuer: Option<String>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(…)")
    }
}

/// Options of `token`.
#[derive(Args, Clone, Debug)]
pub struct Token {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub secret: Secret,
    /// Whose data the token opens
    #[arg(long, value_name = "SCOPE", value_parser = parse_scope)]
    pub scope: String,
    /// Claim that names the scope, as given to `serve`
    #[arg(long, value_name = "CLAIM", default_value = "sub")]
    pub scope_claim: String,
    /// Name of the device, kept in the token as `client`
    #[arg(long, value_name = "CLIENT")]
    pub client: Option<String>,
    /// Valid for: a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = parse_time)]
    pub expires: Duration,
}

/// Options of `new-epoch`.
#[derive(Args, Clone, Debug)]
pub struct NewEpoch {
    /// The database, as given to `serve`
    #[arg(long, value_name = "DATABASE", default_value = "sqlite:homing.db", env = "HOMING_DATABASE", hide_env_values = true)]
    pub database: Database,
    /// Whose data went back; none: everybody's
    #[arg(long, value_name = "SCOPE", value_parser = parse_scope)]
    pub scope: Option<String>,
}

/// The key of HS256 tokens. Never printed: its `Debug` says nothing.
#[derive(Args, Clone)]
pub struct Secret {
    /// Key of HS256 tokens, at least 32 bytes; better given by the environment, where `ps` does not show it
    #[arg(long, value_name = "SECRET", env = "HOMING_JWT_SECRET", hide_env_values = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub jwt_secret: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// One readable line per event
    Text,
    /// One JSON object per event
    Json,
}

/// Longest scope, in bytes.
pub const MAX_SCOPE: usize = 256;

fn parse_scope(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_SCOPE || text.chars().any(char::is_control) {
        return Err(format!("a scope has 1 to {MAX_SCOPE} bytes and no control characters"));
    }
    Ok(text.to_owned())
}

/// Bytes: `1048576`, `512KiB`, `4MiB`.
fn parse_size(text: &str) -> Result<usize, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1024,
        "m" | "mib" => 1024 * 1024,
        _ => return Err("a size is a number of bytes, or a number with KiB or MiB".into()),
    };
    digits.parse::<usize>().ok().and_then(|n| n.checked_mul(factor)).filter(|n| *n > 0).ok_or_else(|| "not a size".into())
}

/// A span of time: `90s`, `15m`, `12h`, `30d`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds: u64 = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("a time is a number with s, m, h or d".into()),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(seconds))
        .filter(|n| (1..=3_155_760_000).contains(n))
        .map(Duration::from_secs)
        .ok_or_else(|| "a time is between 1s and 100 years".into())
}

/// `*` or `scheme://host[:port]` without a path: what a browser sends as `Origin`.
fn parse_origin(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or_default();
    if text == "*" || !(rest.is_empty() || rest.contains(['/', ' ', '?', '#', '@'])) {
        return Ok(text.to_owned());
    }
    Err("an origin is `*` or scheme://host[:port] without a path".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_times_and_origins() {
        assert_eq!(parse_size("4MiB").unwrap(), 4 * 1024 * 1024);
        assert_eq!(parse_size("512kib").unwrap(), 512 * 1024);
        assert_eq!(parse_size("77").unwrap(), 77);
        assert_eq!(parse_time("30d").unwrap(), Duration::from_secs(2_592_000));
        assert_eq!(parse_time("90").unwrap(), Duration::from_secs(90));
        for bad in ["", "x", "0", "4GB", "-1", "99999999999999999999MiB", "18446744073709551615MiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for bad in ["", "0s", "1y", "d", "99999999999d"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
        for good in ["*", "http://127.0.0.1:8788", "https://farm.example"] {
            assert!(parse_origin(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8788", "http://", "http://a/", "ftp://a", "http://u@a"] {
            assert!(parse_origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn several_origins_can_be_given_in_any_way() {
        let words = [
            "homing-server",
            "serve",
            "--jwt-secret",
            "s",
            "--allow-origin",
            "http://a",
            "http://b",
            "--allow-origin",
            "http://c,http://d",
        ];
        let Command::Serve(options) = Cli::try_parse_from(words).unwrap().command else { panic!("not serve") };
        assert_eq!(options.allow_origin, ["http://a", "http://b", "http://c", "http://d"]);
    }

    #[test]
    fn secrets_are_not_printed() {
        let url = "postgres://homing:tell-nobody@db.example:5433/farms";
        let cli = Cli::try_parse_from(["homing-server", "serve", "--jwt-secret", "tell-nobody", "--database", url]).unwrap();
        let said = format!("{cli:?}");
        assert!(!said.contains("tell-nobody") && said.contains("postgres://db.example/farms"), "{said}");
    }

    #[test]
    fn a_database_is_a_file_or_a_postgres_url() {
        for (text, name) in [
            ("a.db", "sqlite:a.db"),
            ("sqlite:a.db", "sqlite:a.db"),
            ("sqlite:///a/b.db", "sqlite:/a/b.db"),
            (":memory:", "sqlite::memory:"),
        ] {
            assert_eq!(text.parse::<Database>().unwrap().to_string(), name);
        }
        assert!(matches!("postgresql://h/d".parse(), Ok(Database::Postgres(_))));
        assert!("mysql://h/d".parse::<Database>().is_err());
    }
}
