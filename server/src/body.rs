//! Request bodies: read up to a limit, decoded with the place of what is wrong.
//!
//! Lives here: limits (before and after decompression), what happens to bytes nobody wants, JSON errors. Not here: what a
//! request means (`core::authority`).

use crate::error::Failure;
use crate::room::Share;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use homing::core::authority::Refusal;
use homing::core::protocol::PROTOCOL;
use http_body_util::{BodyExt as _, LengthLimitError};
use serde::de::DeserializeOwned;
use std::error::Error as _;
use std::time::Duration;

/// Unwanted bytes that are read and dropped so that a client still sending hears its answer.
const DISCARD_BYTES: usize = 64 * 1024 * 1024;
/// How long that may take.
const DISCARD_TIME: Duration = Duration::from_secs(10);

/// The whole body, or 413 as soon as it is longer than `max`. Never holds more than `max` bytes, nor any that the room has no place for.
///
/// # Errors
/// 413 past the limit; 400 when compressed bytes are broken; 503 where others need the room.
pub async fn read(mut body: Body, max: usize, share: &mut Share) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| match limit_of(&e) {
            true => Failure::too_large(max),
            false => Failure::malformed("the body could not be read; is it the encoding its headers say?", None),
        })?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > max {
                discard(body);
                return Err(Failure::too_large(max));
            }
            if share.grow(data.len()).await.is_err() {
                discard(body);
                return Err(Failure::full());
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

fn limit_of(error: &axum::Error) -> bool {
    let mut cause = error.source();
    while let Some(e) = cause {
        if e.is::<LengthLimitError>() {
            return true;
        }
        cause = e.source();
    }
    false
}

/// Reads and drops the rest in the background. Closing on a client that still sends would reset the connection, and
/// browsers then report a network failure instead of the answer.
pub fn discard(mut body: Body) {
    let rest = async move {
        let mut seen = 0;
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, |d| d.len());
            if seen > DISCARD_BYTES {
                break;
            }
        }
    };
    tokio::spawn(tokio::time::timeout(DISCARD_TIME, rest));
}

/// The length a request announces.
#[must_use]
pub fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the body says it is JSON.
///
/// # Errors
/// 415.
pub fn check_json(headers: &HeaderMap) -> Result<(), Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")) {
        return Ok(());
    }
    Err(Failure::of_status(axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// Decodes a request. The protocol is looked at first: another one may have another shape.
///
/// # Errors
/// 426 for another protocol; 400 with line and column, and the path where the shape is wrong.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    // serde would read an array as the fields in order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Failure::malformed("a request is a JSON object", None));
    }
    serde_json::from_slice(bytes).map_err(|e| {
        #[derive(serde::Deserialize)]
        struct Asked {
            protocol: Option<u32>,
        }
        match serde_json::from_slice::<Asked>(bytes) {
            Ok(Asked { protocol: Some(asked) }) if asked != PROTOCOL => Failure::refused(&Refusal::Protocol { asked }),
            _ if e.is_data() => {
                // Decoded a second time, only now that it failed, to learn where.
                let mut json = serde_json::Deserializer::from_slice(bytes);
                let path = serde_path_to_error::deserialize::<_, T>(&mut json).err().map(|e| pointer(e.path()));
                Failure::malformed(format!("not a request of this protocol: {e}"), path)
            }
            _ => Failure::malformed(format!("not JSON: {e}"), None),
        }
    })
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |mut out, step| {
        match step {
            Segment::Seq { index } => out.push_str(&format!("/{index}")),
            Segment::Map { key } => out.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing::core::protocol::PushRequest;

    #[test]
    fn failures_say_where() {
        let fail = |text: &str| decode::<PushRequest>(text.as_bytes()).unwrap_err();
        let cut = fail("{\"protocol\": 1,\n \"mutations\": [");
        assert!(cut.detail.message.contains("line 2 column 15"), "{cut:?}");
        let kind = fail(r#"{"protocol":1,"mutations":[{"id":"a:1","op":"explode","collection":"c","recordId":"r","updatedAt":""}]}"#);
        assert_eq!(kind.detail.path.as_deref(), Some("/mutations/0/op"));
        let list = fail("[]");
        assert_eq!((list.status.as_u16(), list.detail.code.as_str()), (400, "malformed"));
        let next = fail(r#"{"protocol":2,"mutations":{"new":"shape"}}"#);
        assert_eq!((next.status.as_u16(), next.detail.code.as_str()), (426, "protocol-unsupported"));
    }
}
