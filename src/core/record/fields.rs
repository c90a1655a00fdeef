//! The top-level members of a record as text, in order. Not here: what they mean (`merge`).

use crate::core::error::{Code, Error, Result};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// Of so many members looking through them is faster than remembering them; of a hundred thousand it would take minutes.
const FEW: usize = 32;

/// The top-level members of a JSON object, in order, values still text.
#[derive(Debug)]
pub struct Fields<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(16);
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        d.deserialize_map(V)
    }
}

// serde decodes `Cow` to owned always; this one borrows where there is nothing to unescape.
pub(super) struct Name<'a>(pub(super) Cow<'a, str>);
impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(v.to_owned())))
            }
        }
        d.deserialize_str(V)
    }
}

impl<'a> Fields<'a> {
    /// Splits an object.
    ///
    /// # Errors
    /// `invalid-record` when the text is no JSON object.
    pub fn split(text: &'a str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| Error::new(Code::InvalidRecord, format!("not a JSON object: {e}")))
    }

    /// What [`super::Record::build`] would write before the stamps, where the text, which these are all members of, has it as it stands.
    pub(super) fn written_in<'t>(&self, text: &'t str, id: &str) -> Option<&'t str> {
        let body = text.strip_suffix('}').filter(|_| self.is_written(text.len(), id))?;
        // No line ends between these members, or within a text: only a value with members of its own may have one.
        let nested = self.0.iter().any(|(_, value)| value.get().starts_with(['[', '{']));
        (!nested || !super::has_line_end(body)).then_some(body)
    }

    /// Whether a text of that length is it: the id first, each name once and without escapes, no member of the envelope, nothing between.
    pub(super) fn is_written(&self, length: usize, id: &str) -> bool {
        let [(first, value), rest @ ..] = self.0.as_slice() else { return false };
        let plain_id = value.get().strip_prefix('"').and_then(|value| value.strip_suffix('"')) == Some(id);
        let borrowed = |name: &Cow<'_, str>| matches!(name, Cow::Borrowed(_));
        let own = |name: &str| !super::is_of_envelope(name);
        // Braces, and per member quotes, colon and comma.
        let written = 1 + self.0.iter().map(|(name, value)| name.len() + value.get().len() + 4).sum::<usize>();
        if length != written || first != "id" || !plain_id || !borrowed(first) {
            return false;
        }
        let again = self.again();
        rest.iter().zip(1..).all(|((name, _), at)| borrowed(name) && own(name) && !again(at, name))
    }

    /// Whether the member at a place, which has that name, comes again further on: of repeated ones JavaScript keeps the last.
    pub(super) fn again(&self) -> impl Fn(usize, &str) -> bool {
        let last: Option<HashMap<&str, usize>> =
            (self.0.len() > FEW).then(|| self.0.iter().enumerate().map(|(at, (name, _))| (name.as_ref(), at)).collect());
        move |at, name| match &last {
            Some(last) => last.get(name).is_some_and(|last| *last > at),
            None => self.0.iter().skip(at + 1).any(|(other, _)| other == name),
        }
    }

    /// The last member of that name, as JSON text (JavaScript keeps the last of a repeated name).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.get())
    }

    /// The member decoded, `None` when absent or `null`.
    ///
    /// # Errors
    /// `invalid-record` with the path when it is something else.
    pub fn decode<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>> {
        match self.get(name) {
            None => Ok(None),
            Some(raw) => serde_json::from_str(raw)
                .map_err(|_| Error::at(Code::InvalidRecord, format!("/{name}"), format!("{name} has the wrong type"))),
        }
    }
}
