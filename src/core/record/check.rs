//! What every record and id passes before it is kept: size, depth, numbers, characters; errors say where.
//!
//! Not here: the envelope (`record`), names of collections (`schema`).

use super::fields::Name;
use super::{MAX_BYTES, MAX_DEPTH, MAX_ID};
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

const MAX_SAFE: u64 = (1 << 53) - 1;

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
