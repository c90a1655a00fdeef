//! What an HTTP answer says: pure, so that it is tested without a browser.
//!
//! Lives here: the endpoint, telling a server's answer from anything else, `Retry-After`, keeping tokens out of texts. Not
//! here: sending (`fetch`).

use super::TransportError;
use crate::core::protocol::{ErrorBody, SyncResponse};

/// The endpoint below a server's address.
const PATH: &str = "/api/v1/sync/delta";

/// What was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header of that name.
    pub retry_after: Option<String>,
    /// The header `Date`: the server's clock, where it can be read.
    pub date: Option<String>,
    /// The body.
    pub text: String,
}

/// The address to ask: `url` is a server's address, or its whole endpoint.
#[must_use]
pub fn endpoint(url: &str) -> String {
    let trimmed = url.trim_end_matches('/');
    let bare = trimmed.split_once("://").map_or(trimmed, |(_, rest)| rest);
    if bare.contains('/') { trimmed.to_owned() } else { format!("{trimmed}{PATH}") }
}

/// What `Response.text()` makes of a body: UTF-8 without its mark, and a replacement for what is none.
#[must_use]
pub fn decoded(bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)
}

impl Answer {
    /// The answer of the protocol, or why it is none. `now`: this device's clock, in milliseconds; `token` is taken out of
    /// whatever the server says about itself.
    ///
    /// # Errors
    /// `Http` for a status outside of 2xx, `BadResponse` for a body that is not of the protocol.
    pub fn decode(self, now: i64, token: Option<&str>) -> Result<SyncResponse, TransportError> {
        if (200..300).contains(&self.status) {
            return parse(&self.text, token);
        }
        let body: Option<ErrorBody> = serde_json::from_str(&self.text).ok();
        let detail = body.map(|b| b.error).unwrap_or_default();
        let header = self.retry_after.as_deref().and_then(|text| retry_after_ms(text, self.date.as_deref(), now));
        let said = |text: String| (!text.is_empty()).then(|| without(text, token));
        Err(TransportError::Http {
            status: self.status,
            code: said(detail.code),
            message: without(detail.message, token),
            retry_after_ms: detail.retry_after_ms.into_iter().chain(header).max(),
            request_id: said(detail.request_id),
        })
    }
}

/// `200 OK` with anything but an answer of the protocol is a captive portal, a proxy, a wrong address.
///
/// # Errors
/// `BadResponse`.
pub fn parse(text: &str, token: Option<&str>) -> Result<SyncResponse, TransportError> {
    let mut answer: SyncResponse = serde_json::from_str(text).map_err(|e| {
        let html = text.trim_start().starts_with('<');
        TransportError::BadResponse(match html {
            true => "HTML instead of JSON (a captive portal, a proxy or a wrong address?)".into(),
            false => without(e.to_string(), token),
        })
    })?;
    if token.is_some_and(|token| text.contains(token)) {
        // A refusal that quotes the request becomes a dead letter, and is stored.
        for result in &mut answer.results {
            result.message = result.message.take().map(|text| without(text, token));
            result.code = result.code.take().map(|text| without(text, token));
            result.path = result.path.take().map(|text| without(text, token));
        }
    }
    Ok(answer)
}

/// A text that may be shown, logged and stored.
#[must_use]
pub fn without(text: String, token: Option<&str>) -> String {
    match token.filter(|token| !token.is_empty() && text.contains(*token)) {
        Some(token) => text.replace(token, "[token]"),
        None => text,
    }
}

/// `Retry-After`: seconds, or a date, which is of the server's clock. Anything else says nothing.
#[must_use]
pub fn retry_after_ms(text: &str, date: Option<&str>, now: i64) -> Option<u64> {
    let text = text.trim();
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return Some(text.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000));
    }
    let until = instant(text)?;
    let now = date.and_then(instant).unwrap_or(now);
    Some(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
}

fn instant(text: &str) -> Option<i64> {
    let since = httpdate::parse_http_date(text.trim()).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_735_732_800_000; // Wed, 01 Jan 2025 12:00:00 GMT

    #[test]
    fn a_body_is_decoded_as_browsers_do() {
        let cases: [(&[u8], &str); 6] = [
            (b"{}", "{}"),
            ("\u{feff}{\"a\":\"gallina pi\u{f1}\u{f3}n \u{1f414}\"}".as_bytes(), "{\"a\":\"gallina pi\u{f1}\u{f3}n \u{1f414}\"}"),
            ("{\u{feff}}".as_bytes(), "{\u{feff}}"),
            (b"{\xff}", "{\u{fffd}}"),
            (b"\xef\xbb\xbf\xf0\x9f\x90", "\u{fffd}"),
            (b"", ""),
        ];
        for (bytes, text) in cases {
            assert_eq!(decoded(bytes.to_vec()), text);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_or_nothing() {
        let wait = |text| retry_after_ms(text, None, NOON);
        assert_eq!((wait("120"), wait(" 7 "), wait("0")), (Some(120_000), Some(7_000), Some(0)));
        assert_eq!(wait("99999999999999999999"), Some(u64::MAX));
        assert_eq!(wait("Wed, 01 Jan 2025 12:00:30 GMT"), Some(30_000));
        assert_eq!(wait("Wednesday, 01-Jan-25 12:00:30 GMT"), Some(30_000));
        assert_eq!(wait("Wed, 01 Jan 2025 11:00:00 GMT"), Some(0), "a date that has passed");
        for garbage in ["", "soon", "-5", "1.5", "1e3", "12 minutes", "Wed, 32 Jan 2025 12:00:30 GMT", "\u{202e}9", "٣"] {
            assert_eq!(wait(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn a_date_to_wait_for_is_of_the_servers_clock() {
        let server = Some("Wed, 01 Jan 2025 12:00:00 GMT");
        let wait = |now| retry_after_ms("Wed, 01 Jan 2025 12:01:00 GMT", server, now);
        assert_eq!((wait(NOON), wait(NOON + 3_600_000), wait(0)), (Some(60_000), Some(60_000), Some(60_000)));
        assert_eq!(retry_after_ms("Wed, 01 Jan 2025 12:01:00 GMT", Some("nonsense"), NOON), Some(60_000));
    }

    #[test]
    fn the_body_and_the_header_both_count() {
        let text = r#"{"error":{"code":"rate-limited","message":"slow down","requestId":"r1","retryAfterMs":5000}}"#;
        let answer = |header: Option<&str>| Answer { status: 429, retry_after: header.map(Into::into), date: None, text: text.into() };
        for (header, ms) in [(None, 5_000), (Some("2"), 5_000), (Some("9"), 9_000), (Some("garbage"), 5_000)] {
            let Err(TransportError::Http { status: 429, code, retry_after_ms, request_id, .. }) = answer(header).decode(NOON, None) else {
                panic!()
            };
            assert_eq!((code.as_deref(), retry_after_ms, request_id.as_deref()), (Some("rate-limited"), Some(ms), Some("r1")));
        }
        let html = Answer { status: 503, text: "<h1>down</h1>".into(), ..Answer::default() };
        let Err(TransportError::Http { code: None, retry_after_ms: None, message, .. }) = html.decode(NOON, None) else { panic!() };
        assert_eq!(message, "");
    }

    #[test]
    fn what_is_no_answer_of_the_protocol_is_a_failure_of_the_network() {
        for text in ["<!doctype html><title>Wi-Fi</title>", "", "{}", "null", "[1]", "{\"ok\":true}", "\u{feff}{}"] {
            let answer = Answer { status: 200, text: text.into(), ..Answer::default() };
            assert!(matches!(answer.decode(NOON, None), Err(TransportError::BadResponse(_))), "{text}");
        }
    }

    #[test]
    fn a_server_that_repeats_the_token_is_not_quoted() {
        let token = Some("eyJ.secret.x");
        let text = r#"{"error":{"code":"eyJ.secret.x","message":"bad token eyJ.secret.x","requestId":"eyJ.secret.x"}}"#;
        let failure = Answer { status: 401, text: text.into(), ..Answer::default() }.decode(NOON, token).unwrap_err();
        assert!(!format!("{failure:?} {}", failure.to_error()).contains("secret"), "{failure:?}");
        let text = r#"{"protocol":1,"serverTime":"2025-01-01T12:00:00Z","scope":"s","epoch":"e","cursor":"c1.1..e",
            "results":[{"id":"c:1","status":"rejected","code":"eyJ.secret.x","message":"Bearer eyJ.secret.x","path":"/eyJ.secret.x"}]}"#;
        let answer = parse(text, token).unwrap();
        assert!(!format!("{:?}", answer.results).contains("secret"));
    }

    #[test]
    fn an_address_or_a_whole_endpoint() {
        assert_eq!(endpoint("https://x.org"), "https://x.org/api/v1/sync/delta");
        assert_eq!(endpoint("https://x.org/"), "https://x.org/api/v1/sync/delta");
        assert_eq!(endpoint("https://x.org/sync"), "https://x.org/sync");
    }
}
