//! Whose data a request may touch: bearer tokens (HS256 by a secret, RS256 and ES256 by a JWK set), checked before the body is read.
//!
//! Lives here: minting and checking tokens, the scope inside. Not here: HTTP answers (`error`). Every bad token
//! gets one and the same answer; the reason goes to the log, the token nowhere.

use crate::cli::MAX_SCOPE;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Checks tokens.
pub struct Gate {
    /// Of the secret.
    own: Vec<Key>,
    /// Of the JWK set; a new one takes the place of all.
    set: RwLock<Vec<Key>>,
    file: Option<PathBuf>,
    /// When a token of an unknown key last made it read the file.
    looked: Mutex<Option<Instant>>,
    claim: String,
    validation: Validation,
}

/// A key and the one algorithm that it is good for: no token chooses another.
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("file", &self.file).field("claim", &self.claim).finish_non_exhaustive()
    }
}

/// Who a valid token speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Whose data it opens.
    pub scope: String,
    /// The device, where the claim `client` names one.
    pub client: Option<String>,
}

/// Why a token opens nothing: a word for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

/// How often tokens of keys that nobody knows can make the server read its JWK set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Seconds a token outlives its `exp`, for clocks that differ.
const LEEWAY_S: u64 = 30;

impl Gate {
    /// A gate that opens for nobody yet; tokens name the scope in `claim`.
    #[must_use]
    pub fn new(claim: &str) -> Self {
        // The audience is looked at only where this server was told whom it serves.
        let validation = Validation { leeway: LEEWAY_S, validate_nbf: true, validate_aud: false, ..Validation::default() };
        Self { own: Vec::new(), set: RwLock::default(), file: None, looked: Mutex::default(), claim: claim.to_owned(), validation }
    }

    /// Opens it for HS256 tokens of this secret.
    #[must_use]
    pub fn secret(mut self, secret: &str) -> Self {
        self.own.push(Key { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret.as_bytes()) });
        self
    }

    /// Opens it for RS256 and ES256 tokens of the keys in a JWK set (RFC 7517). Keys for other purposes are passed over. The file
    /// is read again by [`Gate::read_again`], and for a token that names a key which is not in it, once a minute at most: so keys
    /// are changed by adding the new one to the file first.
    ///
    /// # Errors
    /// When it cannot be read, is none, or has no key that this server can use.
    pub fn jwks(mut self, file: &Path) -> Result<Self, String> {
        self.set = RwLock::new(keys_in(file)?);
        self.file = Some(file.to_owned());
        Ok(self)
    }

    /// Reads the JWK set again. One that is broken changes nothing.
    pub fn read_again(&self) {
        let Some(file) = &self.file else { return };
        match keys_in(file) {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), file = %file.display(), "read the JWK set again");
                *self.set.write().unwrap_or_else(PoisonError::into_inner) = keys;
            }
            Err(why) => tracing::error!(why, file = %file.display(), "the JWK set cannot be used; the keys stay as they were"),
        }
    }

    /// Whether an unknown key is worth another look now.
    fn may_look(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = self.file.is_some() && looked.is_none_or(|at| at.elapsed() >= LOOK_AGAIN);
        if due {
            *looked = Some(Instant::now());
        }
        due
    }

    /// Tokens must be for this audience.
    #[must_use]
    pub fn audience(mut self, audience: &str) -> Self {
        self.validation.validate_aud = true;
        self.validation.set_audience(&[audience]);
        self.validation.required_spec_claims.insert("aud".into());
        self
    }

    /// Tokens must be from this issuer.
    #[must_use]
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.validation.set_issuer(&[issuer]);
        self.validation.required_spec_claims.insert("iss".into());
        self
    }

    /// Who an `Authorization` header speaks for.
    ///
    /// # Errors
    /// Why for nobody, in a word.
    pub fn check(&self, header: Option<&str>) -> Result<Caller, Refusal> {
        let header = header.ok_or(Refusal("missing"))?;
        let (scheme, token) = header.split_once(' ').ok_or(Refusal("not-bearer"))?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal("not-bearer"));
        }
        let claims = self.claims(token.trim())?;
        let scope = match claims.get(&self.claim) {
            Some(Value::String(text)) => text.clone(),
            // Beyond these integers many numbers are one text: one caller would have the data of another.
            Some(Value::Number(number)) if number.is_u64() || number.is_i64() => number.to_string(),
            _ => return Err(Refusal("no-scope")),
        };
        if scope.is_empty() || scope.len() > MAX_SCOPE || scope.chars().any(char::is_control) {
            return Err(Refusal("bad-scope"));
        }
        let client = claims.get("client").and_then(Value::as_str).filter(|c| c.len() <= MAX_SCOPE).map(str::to_owned);
        Ok(Caller { scope, client })
    }

    fn claims(&self, token: &str) -> Result<Map<String, Value>, Refusal> {
        let header = decode_header(token).map_err(|_| Refusal("malformed"))?;
        let opened = self.open(token, &header);
        let unknown = matches!(opened, Err(Refusal("unknown-key" | "wrong-algorithm"))) && header.kid.is_some();
        if unknown && matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) && self.may_look() {
            self.read_again();
            return self.open(token, &header);
        }
        opened
    }

    fn open(&self, token: &str, Header { alg, kid, .. }: &Header) -> Result<Map<String, Value>, Refusal> {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        let fits: Vec<&Key> = self.own.iter().chain(set.iter()).filter(|key| key.algorithm == *alg).collect();
        let named = |key: &&&Key| kid.is_none() || key.id.is_none() || key.id == *kid;
        let mut why = if fits.is_empty() { Refusal("wrong-algorithm") } else { Refusal("unknown-key") };
        let mut validation = self.validation.clone();
        validation.algorithms = vec![*alg];
        for Key { key, .. } in fits.iter().filter(named) {
            match decode(token, key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(e) => why = refusal(e.kind()),
            }
            // The right key, the wrong token: another key changes nothing.
            if why != Refusal("wrong-signature") {
                break;
            }
        }
        Err(why)
    }
}

fn keys_in(file: &Path) -> Result<Vec<Key>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let set: JwkSet = serde_json::from_str(&text).map_err(|e| format!("not a JWK set: {e}"))?;
    let mut keys = Vec::new();
    for jwk in &set.keys {
        if let Some(algorithm) = algorithm_of(jwk) {
            let key = DecodingKey::from_jwk(jwk).map_err(|e| format!("a key cannot be read: {e}"))?;
            keys.push(Key { id: jwk.common.key_id.clone(), algorithm, key });
        }
    }
    if keys.is_empty() { Err("no RS256 or ES256 key in it".into()) } else { Ok(keys) }
}

fn refusal(kind: &ErrorKind) -> Refusal {
    Refusal(match kind {
        ErrorKind::ExpiredSignature => "expired",
        ErrorKind::ImmatureSignature => "not-yet-valid",
        ErrorKind::InvalidSignature => "wrong-signature",
        ErrorKind::InvalidAudience => "wrong-audience",
        ErrorKind::InvalidIssuer => "wrong-issuer",
        ErrorKind::MissingRequiredClaim(_) => "missing-claim",
        _ => "malformed",
    })
}

/// What a key of a set is for; `None`: nothing here.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let fits = |algorithm: KeyAlgorithm| signs && jwk.common.key_algorithm.is_none_or(|a| a == algorithm);
    match &jwk.algorithm {
        AlgorithmParameters::RSA(_) if fits(KeyAlgorithm::RS256) => Some(Algorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 && fits(KeyAlgorithm::ES256) => {
            Some(Algorithm::ES256)
        }
        _ => None,
    }
}

/// A token for `scope`, valid from `now` (seconds since 1970) for `expires`.
///
/// ```
/// use homing_server::auth::{Gate, mint};
/// let token = mint("secret", "sub", "farm-1", None, 4_000_000_000, std::time::Duration::from_secs(60)).unwrap();
/// let gate = Gate::new("sub").secret("secret");
/// assert_eq!(gate.check(Some(&format!("Bearer {token}"))).unwrap().scope, "farm-1");
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

    fn gate(claim: &str) -> Gate {
        Gate::new(claim).secret("s")
    }

    fn scope(claim: &str, header: &str) -> Result<String, Refusal> {
        gate(claim).check(Some(header)).map(|caller| caller.scope)
    }

    fn signed(header: &Header, key: &EncodingKey, claims: &str) -> String {
        let claims: Value = serde_json::from_str(claims).unwrap();
        format!("Bearer {}", encode(header, &claims, key).unwrap())
    }

    fn token(claims: &str) -> String {
        signed(&Header::new(Algorithm::HS256), &EncodingKey::from_secret(b"s"), claims)
    }

    #[test]
    fn the_scope_is_read_from_the_declared_claim() {
        assert_eq!(scope("sub", &token(r#"{"sub":"farm-1","exp":4000000000}"#)), Ok("farm-1".into()));
        assert_eq!(scope("org", &token(r#"{"sub":"a","org":17,"exp":4000000000,"aud":"x","iss":"y"}"#)), Ok("17".into()));
        assert_eq!(scope("org", &token(r#"{"org":18446744073709551615,"exp":4000000000}"#)), Ok("18446744073709551615".into()));
        let minted = mint("s", "org", "o", Some("phone"), NOW, Duration::from_secs(9)).unwrap();
        let caller = Caller { scope: "o".into(), client: Some("phone".into()) };
        assert_eq!(gate("org").check(Some(&format!("bearer {minted}"))), Ok(caller));
    }

    #[test]
    fn everything_else_is_refused() {
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiZXhwIjo0MDAwMDAwMDAwfQ.";
        let other = mint("other", "sub", "a", None, NOW, Duration::from_secs(9)).unwrap();
        let hs512 = signed(&Header::new(Algorithm::HS512), &EncodingKey::from_secret(b"s"), r#"{"sub":"a","exp":4000000000}"#);
        for (header, why) in [
            (token(r#"{"sub":"a","exp":1}"#), "expired"),
            (token(r#"{"sub":"a"}"#), "missing-claim"),
            (token(r#"{"sub":"a","exp":"4000000000"}"#), "missing-claim"),
            (token(r#"{"sub":"a","exp":4000000000,"nbf":3900000000}"#), "not-yet-valid"),
            (token(r#"{"exp":4000000000}"#), "no-scope"),
            (token(r#"{"sub":"","exp":4000000000}"#), "bad-scope"),
            (token(r#"{"sub":"a\nb","exp":4000000000}"#), "bad-scope"),
            (token(r#"{"sub":{"a":1},"exp":4000000000}"#), "malformed"),
            (format!("Bearer {other}"), "wrong-signature"),
            (format!("Bearer {none}"), "malformed"),
            (hs512, "wrong-algorithm"),
            ("Bearer x.y.z".into(), "malformed"),
            ("Bearer".into(), "not-bearer"),
            ("Basic YTpi".into(), "not-bearer"),
        ] {
            assert_eq!(scope("sub", &header), Err(Refusal(why)), "{header}");
        }
        for number in ["18446744073709551616", "-9223372036854775809", "1.5", "1e3"] {
            let header = token(&format!(r#"{{"org":{number},"exp":4000000000}}"#));
            assert_eq!(scope("org", &header), Err(Refusal("no-scope")), "{number}");
        }
        assert_eq!(gate("sub").check(None), Err(Refusal("missing")));
    }

    #[test]
    fn audience_and_issuer_must_be_the_declared_ones() {
        let strict = gate("sub").audience("homing").issuer("https://id.example");
        let check = |more: &str| strict.check(Some(&token(&format!(r#"{{"sub":"a","exp":4000000000{more}}}"#)))).map(|c| c.scope);
        assert_eq!(check(r#","aud":"homing","iss":"https://id.example""#), Ok("a".into()));
        assert_eq!(check(r#","aud":["other","homing"],"iss":"https://id.example""#), Ok("a".into()));
        for (more, why) in [
            ("", "missing-claim"),
            (r#","iss":"https://id.example""#, "missing-claim"),
            (r#","aud":"homing""#, "missing-claim"),
            (r#","aud":"other","iss":"https://id.example""#, "wrong-audience"),
            (r#","aud":[],"iss":"https://id.example""#, "wrong-audience"),
            (r#","aud":"homing","iss":"https://evil.example""#, "wrong-issuer"),
        ] {
            assert_eq!(check(more), Err(Refusal(why)), "{more}");
        }
    }

    fn rs256() -> EncodingKey {
        EncodingKey::from_rsa_der(include_bytes!("../tests/fixtures/rs256.der"))
    }

    fn es256() -> EncodingKey {
        EncodingKey::from_ec_der(include_bytes!("../tests/fixtures/es256.der"))
    }

    fn jwk(key: &EncodingKey, algorithm: Algorithm, change: impl FnOnce(&mut Map<String, Value>)) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
        change(jwk.as_object_mut().unwrap());
        jwk
    }

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn set(keys: &[Value]) -> String {
        serde_json::json!({ "keys": keys }).to_string()
    }

    #[test]
    fn tokens_of_the_keys_in_a_set_open_it() {
        let named = |jwk: &mut Map<String, Value>, kid: &str| drop(jwk.insert("kid".into(), kid.into()));
        let old = jwk(&rs256(), Algorithm::RS256, |jwk| named(jwk, "old"));
        let text = set(&[old, jwk(&es256(), Algorithm::ES256, |jwk| named(jwk, "new"))]);
        let file = written(&text);
        let gate = gate("sub").jwks(file.path()).unwrap();
        let claims = r#"{"sub":"a","exp":4000000000}"#;
        let of = |algorithm, kid: Option<&str>| Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
        let check = |header: &str| gate.check(Some(header)).map(|c| c.scope);
        for (algorithm, kid, key) in [
            (Algorithm::RS256, Some("old"), rs256()),
            (Algorithm::RS256, None, rs256()),
            (Algorithm::ES256, Some("new"), es256()),
            (Algorithm::HS256, None, EncodingKey::from_secret(b"s")),
        ] {
            assert_eq!(check(&signed(&of(algorithm, kid), &key, claims)), Ok("a".into()), "{algorithm:?} {kid:?}");
        }
        assert_eq!(check(&signed(&of(Algorithm::ES256, Some("old")), &es256(), claims)), Err(Refusal("unknown-key")));
        assert_eq!(check(&signed(&of(Algorithm::RS384, None), &rs256(), claims)), Err(Refusal("wrong-algorithm")));
        assert_eq!(check(&signed(&of(Algorithm::ES256, None), &es256(), r#"{"sub":"a","exp":1}"#)), Err(Refusal("expired")));
        // The public key is no secret: as one, it opens nothing.
        let public = jwk(&rs256(), Algorithm::RS256, |_| ())["n"].as_str().unwrap().to_owned();
        assert_eq!(
            check(&signed(&of(Algorithm::HS256, None), &EncodingKey::from_secret(public.as_bytes()), claims)),
            Err(Refusal("wrong-signature"))
        );
        // Without a secret no HS256 token is looked at.
        let only = Gate::new("sub").jwks(file.path()).unwrap();
        assert_eq!(only.check(Some(&token(claims))), Err(Refusal("wrong-algorithm")));
    }

    #[test]
    fn a_set_without_a_usable_key_is_refused() {
        let encrypts = jwk(&rs256(), Algorithm::RS256, |jwk| drop(jwk.insert("use".into(), "enc".into())));
        let other = jwk(&rs256(), Algorithm::RS512, |_| ());
        let octets = jwk(&EncodingKey::from_secret(b"s"), Algorithm::HS256, |_| ());
        for text in ["", "{}", r#"{"keys":[]}"#, &set(&[encrypts, other, octets])] {
            assert!(Gate::new("sub").jwks(written(text).path()).is_err(), "{text}");
        }
        assert!(Gate::new("sub").jwks(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn a_changed_set_is_read_for_a_key_it_did_not_have_once_a_minute_at_most() {
        let named = |kid: &str| jwk(&es256(), Algorithm::ES256, |jwk| drop(jwk.insert("kid".into(), kid.into())));
        let signed_by = |kid: &str| {
            let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::ES256) };
            signed(&header, &es256(), r#"{"sub":"a","exp":4000000000}"#)
        };
        let file = written(&set(&[named("1")]));
        let gate = Gate::new("sub").jwks(file.path()).unwrap();
        let opens = |kid: &str| gate.check(Some(&signed_by(kid))).is_ok();
        std::fs::write(file.path(), set(&[named("2")])).unwrap();
        assert!(opens("1"), "no reason to look");
        assert!(opens("2") && !opens("1"), "the new set took the place of the old one");
        std::fs::write(file.path(), set(&[named("3")])).unwrap();
        assert!(!opens("3"), "looked a moment ago");
        gate.read_again();
        assert!(opens("3"));
        std::fs::write(file.path(), "{").unwrap();
        gate.read_again();
        assert!(opens("3"), "a broken set changes nothing");
    }
}
