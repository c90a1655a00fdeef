//! What every record and id passes before it is kept: size, depth, numbers, characters; errors say where.
//!
//! Not here: the envelope (`record`), names of collections (`schema`).

use super::fields::{Fields, Name};
use super::{MAX_BYTES, MAX_DEPTH, MAX_ID, Record};
use crate::core::error::{Code, Error, Result};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Ids: 1–128 characters, no control characters.
///
/// # Errors
/// `invalid-id`.
pub fn check_id(id: &str) -> Result<()> {
    if id.is_empty() || id.encode_utf16().count() > MAX_ID || id.chars().any(char::is_control) {
        return Err(Error::at(Code::InvalidId, "/id", "an id has 1 to 128 characters and no control characters"));
    }
    Ok(())
}

/// What every record passes before it is kept, local or received: size, depth, numbers that survive
/// JavaScript, well-formed strings, no `__proto__` (R20, RELIABILITY A4).
///
/// # Errors
/// `too-large` or `invalid-record`, with the path of the offending value.
pub fn check(text: &str) -> Result<()> {
    if text.len() > MAX_BYTES {
        return Err(Error::new(Code::TooLarge, format!("a record has at most {MAX_BYTES} bytes, this one {}", text.len())));
    }
    let mut walk = Walk { path: Vec::new(), found: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let outcome = Node(&mut walk).deserialize(&mut json).and_then(|()| json.end());
    match (walk.found, outcome) {
        (Some(error), _) => Err(error),
        (None, Ok(())) if text.trim_start().starts_with('{') => Ok(()),
        (None, Ok(())) => Err(Error::new(Code::InvalidRecord, "a record is a JSON object")),
        (None, Err(e)) => Err(Error::at(Code::InvalidRecord, pointer(&walk.path), format!("not usable JSON: {e}"))),
    }
}

/// A version is no longer than what devices take from a server ([`Record::whole_len`]): who writes it and who stores it ask the same. One that
/// is longer already can be deleted, and can shrink.
///
/// # Errors
/// `too-large`.
pub fn check_whole(record: &Record, there: Option<&Record>) -> Result<()> {
    let bytes = record.whole_len();
    if bytes <= MAX_BYTES || record.is_deleted() || there.is_some_and(|there| bytes <= there.whole_len()) {
        return Ok(());
    }
    Err(Error::new(Code::TooLarge, format!("with its stamps and `_rev` the record would have {bytes} bytes; it has at most {MAX_BYTES}")))
}

/// The members of a text that passes [`check`]. Scanned once where a look at each of them tells that nothing can be wrong with it,
/// as in nearly every flat record.
///
/// # Errors
/// As [`check`].
pub fn checked(text: &str) -> Result<Fields<'_>> {
    let fields = Fields::split(text);
    let sound = |fields: &Fields<'_>| fields.0.iter().all(|(name, value)| name != "__proto__" && is_sound(value.get()));
    if text.len() > MAX_BYTES || !fields.as_ref().is_ok_and(sound) {
        check(text)?;
    }
    fields
}

/// Whether a value that was scanned is a literal, a text without escapes, or a number too short to be a large one.
fn is_sound(value: &str) -> bool {
    match value.as_bytes() {
        [b'"', rest @ ..] => memchr::memchr(b'\\', rest).is_none(),
        [b't' | b'f' | b'n', ..] => true,
        number @ [b'-' | b'0'..=b'9', ..] => number.len() <= 15 && memchr::memchr2(b'e', b'E', number).is_none(),
        _ => false,
    }
}

struct Walk {
    path: Vec<String>,
    found: Option<Error>,
}

struct Node<'w>(&'w mut Walk);

fn pointer(path: &[String]) -> String {
    path.iter().fold(String::new(), |mut out, step| {
        out.push('/');
        out.push_str(&step.replace('~', "~0").replace('/', "~1"));
        out
    })
}

impl Node<'_> {
    fn refuse<T, E: serde::de::Error>(self, code: Code, why: &str) -> Result<T, E> {
        self.0.found = Some(Error::at(code, pointer(&self.0.path), why));
        Err(E::custom(why))
    }
    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.0.path.len() >= MAX_DEPTH {
            return Node(self.0).refuse(Code::InvalidRecord, "nested deeper than 100 levels");
        }
        Ok(())
    }
}

/// The highest integer up to which JavaScript tells each from the next.
pub(super) const MAX_SAFE: u64 = (1 << 53) - 1;

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<(), E> {
        if v > MAX_SAFE {
            self.refuse(Code::InvalidRecord, "an integer beyond 2^53-1 does not survive JavaScript; send it as a string")
        } else {
            Ok(())
        }
    }
    fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<(), E> {
        self.visit_u64(v.unsigned_abs())
    }
    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<(), E> {
        if v.fract() == 0.0 && v.abs() > MAX_SAFE as f64 {
            return self.refuse(Code::InvalidRecord, "an integer beyond 2^53-1 does not survive JavaScript; send it as a string");
        }
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut at = 0usize;
        loop {
            self.0.path.push(at.to_string());
            if seq.next_element_seed(Node(self.0))?.is_none() {
                self.0.path.pop();
                return Ok(());
            }
            self.0.path.pop();
            at += 1;
        }
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.enter()?;
        while let Some(Name(name)) = map.next_key()? {
            let bad = name == "__proto__";
            self.0.path.push(name.into_owned());
            if bad {
                return self.refuse(Code::InvalidRecord, "the name __proto__ is not allowed");
            }
            map.next_value_seed(Node(self.0))?;
            self.0.path.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values with everything a look at them has to notice, and things that are no values at all.
    const VALUES: [&str; 24] = [
        "1",
        "-0",
        "1.5e3",
        "1e400",
        "-1e16",
        "123456789012345",
        "9007199254740991",
        "9007199254740992",
        "0.12345678901234",
        "null",
        "true",
        "nul",
        "-",
        "01",
        r#""""#,
        r#""a b""#,
        r#""\n""#,
        r#""\ud800""#,
        "\"\u{1}\"",
        r#""é"#,
        "[1,[2,{}]]",
        "[9007199254740992]",
        r#"{"__proto__":1}"#,
        r#"{"a":[1,]}"#,
    ];
    const NAMES: [&str; 7] = ["a", "id", "__proto__", r"\u005f_proto__", "é", r"\ud800", "a"];
    const ENDS: [(&str, &str); 7] = [("{", "}"), (" {", "}\n"), ("[", "]"), ("{", ""), ("{", "}}"), ("{", ",}"), ("", "")];

    proptest! {
        #[test]
        fn what_is_scanned_once_passes_and_fails_as_what_is_walked(
            members in prop::collection::vec((prop::sample::select(&NAMES[..]), prop::sample::select(&VALUES[..])), 0..4),
            (open, close) in prop::sample::select(&ENDS[..]),
        ) {
            let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let text = format!("{open}{}{close}", members.join(","));
            match (check(&text), checked(&text)) {
                (Ok(()), Ok(fields)) => prop_assert_eq!(fields.0.len(), members.len()),
                (expected, found) => prop_assert_eq!(expected, found.map(|_| ()), "{}", text),
            }
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_kept() {
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BYTES));
        assert_eq!(checked(&large).map(|_| ()), check(&large));
        assert!(check(&large).is_err());
    }

    #[test]
    fn bad_records_are_refused_with_their_path() {
        let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
        let very_deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        for (text, path) in [
            (r#"{"a":{"b":[0,9007199254740992]}}"#.to_owned(), "/a/b/1"),
            (r#"{"a":12345678901234567890123}"#.to_owned(), "/a"),
            (r#"{"a":1e400}"#.to_owned(), "/a"),
            (r#"{"a":"\ud800"}"#.to_owned(), "/a"),
            (r#"{"a":{"__proto__":{"x":1}}}"#.to_owned(), "/a/__proto__"),
            (r#"{"a":{"\u005f_proto__":{"x":1}}}"#.to_owned(), "/a/__proto__"),
            ("[1]".to_owned(), ""),
            ("7".to_owned(), ""),
        ] {
            let error = check(&text).unwrap_err();
            assert_eq!(error.code, Code::InvalidRecord, "{text}");
            assert_eq!(error.path.unwrap_or_default(), path, "{text}");
        }
        for text in [format!("{{\"a\":{deep}}}"), format!("{{\"a\":{very_deep}}}")] {
            assert_eq!(check(&text).unwrap_err().code, Code::InvalidRecord);
        }
        assert_eq!(check(&format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BYTES))).unwrap_err().code, Code::TooLarge);
        assert!(check(r#"{"a":"\ud83d\ude00","n":9007199254740991,"f":95.80078171216883,"constructor":1}"#).is_ok());
    }
}
