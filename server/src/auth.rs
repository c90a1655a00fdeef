//! Whose data a request may touch: HS256 bearer tokens, checked before the body is read.
//!
//! Lives here: minting and checking tokens, the scope inside. Not here: HTTP answers (`error`). Every bad token
//! gets one and the same answer; the reason goes to the log, the token nowhere.

use crate::cli::MAX_SCOPE;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Map, Value};
use std::time::Duration;

/// Checks tokens.
pub struct Gate {
    key: DecodingKey,
    validation: Validation,
    claim: String,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("claim", &self.claim).finish_non_exhaustive()
    }
}

/// The scope a valid token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(pub String);

/// Why a token opens nothing: a word for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

/// Seconds a token outlives its `exp`, for clocks that differ.
const LEEWAY_S: u64 = 30;

impl Gate {
    /// A gate for tokens of this secret that name the scope in `claim`.
    #[must_use]
    pub fn new(secret: &str, claim: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        // The audience is a matter of the issuer; this server knows one secret and one purpose.
        validation.validate_aud = false;
        Self { key: DecodingKey::from_secret(secret.as_bytes()), validation, claim: claim.to_owned() }
    }

    /// The scope of an `Authorization` header.
    ///
    /// # Errors
    /// Why not, in a word.
    pub fn check(&self, header: Option<&str>) -> Result<Scope, Refusal> {
        let header = header.ok_or(Refusal("missing"))?;
        let (scheme, token) = header.split_once(' ').ok_or(Refusal("not-bearer"))?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal("not-bearer"));
        }
        let claims = decode::<Map<String, Value>>(token.trim(), &self.key, &self.validation).map_err(|e| {
            Refusal(match e.kind() {
                ErrorKind::ExpiredSignature => "expired",
                ErrorKind::ImmatureSignature => "not-yet-valid",
                ErrorKind::InvalidSignature => "wrong-signature",
                ErrorKind::MissingRequiredClaim(_) => "no-expiry",
                ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => "wrong-algorithm",
                _ => "malformed",
            })
        })?;
        let scope = match claims.claims.get(&self.claim) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(Refusal("no-scope")),
        };
        if scope.is_empty() || scope.len() > MAX_SCOPE || scope.chars().any(char::is_control) {
            return Err(Refusal("bad-scope"));
        }
        Ok(Scope(scope))
    }
}

/// A token for `scope`, valid from `now` (seconds since 1970) for `expires`.
///
/// ```
/// use homing_server::auth::{Gate, Scope, mint};
/// let token = mint("secret", "sub", "farm-1", None, 4_000_000_000, std::time::Duration::from_secs(60)).unwrap();
/// let gate = Gate::new("secret", "sub");
/// assert_eq!(gate.check(Some(&format!("Bearer {token}"))).unwrap(), Scope("farm-1".into()));
/// ```
///
/// # Errors
/// When signing fails.
pub fn mint(
    secret: &str,
    claim: &str,
    scope: &str,
    client: Option<&str>,
    now: u64,
    expires: Duration,
) -> Result<String, jsonwebtoken::errors::Error> {
    let mut claims = Map::new();
    claims.insert("iat".into(), now.into());
    claims.insert("exp".into(), now.saturating_add(expires.as_secs()).into());
    if let Some(client) = client {
        claims.insert("client".into(), client.into());
    }
    claims.insert(claim.to_owned(), scope.into());
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 4_000_000_000;

    fn check(claim: &str, header: &str) -> Result<Scope, Refusal> {
        Gate::new("s", claim).check(Some(header))
    }

    fn token(claims: &str) -> String {
        let claims: Value = serde_json::from_str(claims).unwrap();
        format!("Bearer {}", encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(b"s")).unwrap())
    }

    #[test]
    fn the_scope_is_read_from_the_declared_claim() {
        assert_eq!(check("sub", &token(r#"{"sub":"farm-1","exp":4000000000}"#)), Ok(Scope("farm-1".into())));
        assert_eq!(check("org", &token(r#"{"sub":"a","org":17,"exp":4000000000,"aud":"x"}"#)), Ok(Scope("17".into())));
        let minted = mint("s", "org", "o", Some("phone"), NOW, Duration::from_secs(9)).unwrap();
        assert_eq!(check("org", &format!("bearer {minted}")), Ok(Scope("o".into())));
    }

    #[test]
    fn everything_else_is_refused() {
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiZXhwIjo0MDAwMDAwMDAwfQ.";
        let other = mint("other", "sub", "a", None, NOW, Duration::from_secs(9)).unwrap();
        for (header, why) in [
            (token(r#"{"sub":"a","exp":1}"#), "expired"),
            (token(r#"{"sub":"a"}"#), "no-expiry"),
            (token(r#"{"sub":"a","exp":4000000000,"nbf":3900000000}"#), "not-yet-valid"),
            (token(r#"{"exp":4000000000}"#), "no-scope"),
            (token(r#"{"sub":"","exp":4000000000}"#), "bad-scope"),
            (token(r#"{"sub":{"a":1},"exp":4000000000}"#), "malformed"),
            (format!("Bearer {other}"), "wrong-signature"),
            (format!("Bearer {none}"), "malformed"),
            ("Bearer x.y.z".into(), "malformed"),
            ("Bearer".into(), "not-bearer"),
            ("Basic YTpi".into(), "not-bearer"),
        ] {
            assert_eq!(check("sub", &header), Err(Refusal(why)), "{header}");
        }
        assert_eq!(Gate::new("s", "sub").check(None), Err(Refusal("missing")));
    }
}
