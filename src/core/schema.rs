//! The schema: how each collection merges, who gives ids, what refers to what. One JSON file, loaded by
//! client and server alike (DESIGN §4, "Policies are shared data").
//!
//! Not here: functions an app declares (`label` as a function, `validate`, `migrate`): they stay in JavaScript.

use crate::core::error::{Code, Error, Result};
use crate::core::record::{ARCHIVE, RESERVED, ROW_PREFIX, SINGLETON};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// How two versions of one record become one. See DESIGN §4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Policy {
    #[default]
    Lww,
    Fields,
    AppendOnly,
    Fww,
    ServerWins,
    ClientWins,
    Manual,
}

/// How the values of one field become one, whatever the policy. See DESIGN §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldType {
    /// A number that several people move at once: all movements count.
    Counter,
    /// An array without order: what anybody added is there, unless it was taken away by somebody who had seen it.
    Set,
    /// A text: changes of different words are both kept.
    Text,
    /// The largest number or text.
    Max,
    /// The smallest number or text.
    Min,
}

impl FieldType {
    /// As the schema file names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Text => "text",
            Self::Max => "max",
            Self::Min => "min",
        }
    }
}

/// Field → its type; fields that are not named are plain values.
pub type Types = BTreeMap<String, FieldType>;

/// How versions of one record merge: its policy, its typed fields, and fields that win or lose together.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// For everything that is not typed.
    pub policy: Policy,
    /// Typed fields.
    pub types: &'a Types,
    /// Groups of fields, for the policy `fields`.
    pub groups: &'a [Vec<String>],
}

impl From<Policy> for Rules<'static> {
    fn from(policy: Policy) -> Self {
        static NONE: Types = Types::new();
        Self { policy, types: &NONE, groups: &[] }
    }
}

/// Who gives ids to new records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Ids {
    #[default]
    Client,
    Server,
}

/// A number that the server gives to each new record: one more than the highest ever given under the same parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordinal {
    /// The field that holds it.
    pub field: String,
    /// The field that names the parent; `None`: one sequence for the whole collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// One collection's declaration. Everything is optional; the default is `lww` with client ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Collection {
    /// How versions merge; `None`: by the kind of record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge: Option<Policy>,
    /// A single record instead of a list.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub singleton: bool,
    /// Who gives ids.
    #[serde(skip_serializing_if = "is_client")]
    pub ids: Ids,
    /// Fields with a type of their own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: Types,
    /// Fields that win or lose together where the policy is `fields`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Vec<String>>,
    /// Field → collection it refers to.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, String>,
    /// Field that the server numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<Ordinal>,
    /// Fields whose values, taken together, the server lets only one live record have; each a text, a number or a boolean, or
    /// the record is not asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unique: Vec<Vec<String>>,
    /// `false`: never leaves the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<bool>,
    /// Fields that never leave the device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local_fields: Vec<String>,
    /// Loaded only when asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lazy: bool,
    /// Field that names a record in conflict texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What one record is called in conflict texts: `Flock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

fn is_client(ids: &Ids) -> bool {
    *ids == Ids::Client
}

/// Every declared collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Version of the app's data, for migrations.
    #[serde(default)]
    pub version: u32,
    /// Name → declaration, in the order of the file.
    #[serde(default)]
    pub collections: IndexMap<String, Collection>,
}

impl Schema {
    /// Reads a schema file.
    ///
    /// ```
    /// use homing::core::schema::{Policy, Schema};
    /// let s = Schema::parse(r#"{"collections": {"auditLog": {"merge": "append-only"}}}"#).unwrap();
    /// assert_eq!(s.policy("auditLog", "x"), Policy::AppendOnly);
    /// assert_eq!(s.policy("flocks", "x"), Policy::Lww);
    /// ```
    ///
    /// # Errors
    /// `invalid-record` naming what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let schema: Self = serde_json::from_str(text).map_err(|e| Error::new(Code::InvalidRecord, format!("schema: {e}")))?;
        schema.check()?;
        Ok(schema)
    }

    /// Refuses a declaration that cannot be followed.
    ///
    /// # Errors
    /// `invalid-record` naming what is wrong.
    pub fn check(&self) -> Result<()> {
        for (name, declared) in &self.collections {
            let refuse = |at: &str, why: String| Err(Error::at(Code::InvalidRecord, format!("/collections/{name}{at}"), why));
            if check_name(name).is_err() {
                return refuse("", "not a collection name".into());
            }
            let named = declared.fields.keys().chain(declared.groups.iter().flatten());
            if let Some(field) = named.clone().find(|field| RESERVED.contains(&field.as_str())) {
                return refuse("/fields", format!("{field} is Homing's own"));
            }
            if let Err((at, why)) = declared.check_local() {
                return refuse(at, why);
            }
            let mut once = std::collections::HashSet::new();
            if let Some(field) = declared.groups.iter().flatten().find(|field| !once.insert(*field) || declared.fields.contains_key(*field))
            {
                return refuse("/groups", format!("{field} is in two groups, or has a type of its own"));
            }
            if let Err((at, why)) = declared.check_claims() {
                return refuse(at, why);
            }
        }
        Ok(())
    }

    /// The declaration of a collection, if any.
    #[must_use]
    pub fn collection(&self, name: &str) -> Option<&Collection> {
        self.collections.get(name)
    }

    /// How versions of this record merge: as declared, else singletons by field, id-less rows
    /// append-only, all others last-write-wins.
    #[must_use]
    pub fn policy(&self, collection: &str, id: &str) -> Policy {
        match self.collection(collection) {
            Some(Collection { merge: Some(policy), .. }) => *policy,
            Some(Collection { singleton: true, .. }) => Policy::Fields,
            _ if id == SINGLETON => Policy::Fields,
            _ if id.starts_with(ROW_PREFIX) => Policy::AppendOnly,
            _ => Policy::Lww,
        }
    }

    /// How versions of this record merge, typed fields included.
    #[must_use]
    pub fn rules(&self, collection: &str, id: &str) -> Rules<'_> {
        let policy = self.policy(collection, id);
        match self.collection(collection) {
            Some(declared) if policy != Policy::AppendOnly => Rules { policy, types: &declared.fields, groups: &declared.groups },
            _ => policy.into(),
        }
    }

    /// The field that the server numbers.
    #[must_use]
    pub fn ordinal(&self, collection: &str) -> Option<&Ordinal> {
        self.collection(collection)?.ordinal.as_ref()
    }

    /// Whether the collection is read only when it is asked for.
    #[must_use]
    pub fn is_lazy(&self, collection: &str) -> bool {
        self.collection(collection).is_some_and(|c| c.lazy)
    }

    /// Whether any collection is.
    #[must_use]
    pub fn has_lazy(&self) -> bool {
        self.collections.values().any(|c| c.lazy)
    }

    /// Whether the collection leaves the device.
    #[must_use]
    pub fn syncs(&self, collection: &str) -> bool {
        self.collection(collection).is_none_or(|c| c.sync != Some(false))
    }

    /// The members of its records that stay on the device. Where none of them leave it, none are special.
    #[must_use]
    pub fn local_fields(&self, collection: &str) -> &[String] {
        self.collection(collection).filter(|c| c.sync != Some(false)).map_or(&[], |c| &c.local_fields)
    }

    /// Hash of what client and server must agree on, per declared collection that syncs.
    #[must_use]
    pub fn hashes(&self) -> BTreeMap<String, String> {
        self.collections.iter().filter(|(_, c)| c.sync != Some(false)).map(|(name, c)| (name.clone(), c.hash())).collect()
    }
}

impl Collection {
    /// Whether no rule that reaches the server is about a field that does not.
    fn check_local(&self) -> Result<(), (&'static str, String)> {
        let mut once = std::collections::HashSet::new();
        let own = |field: &&String| field.is_empty() || RESERVED.contains(&field.as_str());
        if let Some(field) = self.local_fields.iter().find(|field| own(field) || !once.insert(*field)) {
            return Err(("/localFields", format!("{field:?} is empty, Homing's own, or named twice")));
        }
        let named = [
            ("/fields", self.fields.keys().find(|field| self.local_fields.contains(field))),
            ("/groups", self.groups.iter().flatten().find(|field| self.local_fields.contains(field))),
            ("/references", self.references.keys().find(|field| self.local_fields.contains(field))),
        ];
        match named.into_iter().find_map(|(at, field)| Some((at, field?))) {
            Some((at, field)) => Err((at, format!("{field:?} never leaves the device (localFields)"))),
            None => Ok(()),
        }
    }

    /// Whether every ordinal and every constraint is about whole values of plain fields that reach the server.
    fn check_claims(&self) -> Result<(), (&'static str, String)> {
        let plain = |field: &String| {
            !field.is_empty()
                && !RESERVED.contains(&field.as_str())
                && !self.fields.contains_key(field)
                && !self.local_fields.contains(field)
        };
        let why = |field: &String| format!("{field:?} is Homing's own, has a type, or never leaves the device");
        if self.singleton && (self.ordinal.is_some() || !self.unique.is_empty()) {
            return Err(("/singleton", "one record needs neither a number nor a constraint".into()));
        }
        if let Some(Ordinal { field, parent }) = &self.ordinal {
            if let Some(field) = [Some(field), parent.as_ref()].into_iter().flatten().find(|field| !plain(field)) {
                return Err(("/ordinal", why(field)));
            }
            if parent.as_ref() == Some(field) || self.groups.iter().flatten().any(|grouped| grouped == field) {
                return Err(("/ordinal", format!("{field} is given by the server: it is no parent and in no group")));
            }
        }
        for fields in &self.unique {
            if let Some(field) = fields.iter().find(|field| !plain(field)) {
                return Err(("/unique", why(field)));
            }
            let together = fields.len() == 1 || self.groups.iter().any(|group| fields.iter().all(|field| group.contains(field)));
            if fields.is_empty() || self.merge == Some(Policy::Fields) && !together {
                return Err(("/unique", "where fields merge one by one, the fields of a constraint are in one of `groups`".into()));
            }
        }
        Ok(())
    }

    /// The members of the shared half that two declarations do not have alike.
    #[must_use]
    pub fn differs_in(&self, other: &Self) -> Vec<&'static str> {
        let same = [
            ("merge", self.merge == other.merge),
            ("singleton", self.singleton == other.singleton),
            ("ids", self.ids == other.ids),
            ("fields", self.fields == other.fields),
            ("groups", self.groups == other.groups),
            ("references", self.references == other.references),
            ("ordinal", self.ordinal == other.ordinal),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }

    /// Hash of the shared half: merge, singleton, ids, fields, groups, references, ordinal.
    #[must_use]
    pub fn hash(&self) -> String {
        let shared = Self {
            merge: self.merge,
            singleton: self.singleton,
            ids: self.ids,
            fields: self.fields.clone(),
            groups: self.groups.clone(),
            references: self.references.clone(),
            ordinal: self.ordinal.clone(),
            ..Self::default()
        };
        digest(&[&serde_json_canonicalizer::to_string(&shared).unwrap_or_default()])
    }
}

/// The first 16 bytes of SHA-256 over the parts, in hex: names of archive entries, id-less rows, payloads.
#[must_use]
pub fn digest(parts: &[&str]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_le_bytes());
        sha.update(part.as_bytes());
    }
    sha.finalize().iter().take(16).fold(String::with_capacity(32), |mut out, byte| {
        let _ = std::fmt::Write::write_fmt(&mut out, format_args!("{byte:02x}"));
        out
    })
}

/// Collection names: 1–128 characters, no control characters, not the archive's.
///
/// # Errors
/// `invalid-record`.
pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) || name == "__proto__" {
        return Err(Error::new(Code::InvalidRecord, "a collection name has 1 to 128 characters and no control characters"));
    }
    if name == ARCHIVE {
        return Err(Error::new(Code::InvalidRecord, "_conflictArchive is written by Homing only"));
    }
    Ok(())
}

/// `Flock 'Layer Group 3'`: how a conflict names its record.
#[must_use]
pub fn label(schema: &Schema, collection: &str, record: Option<&crate::core::record::Record>) -> String {
    let declared = schema.collection(collection);
    let title = declared.and_then(|c| c.title.clone()).unwrap_or_else(|| {
        let last = collection.rsplit('.').next().unwrap_or(collection);
        let one = last.strip_suffix('s').filter(|s| !s.is_empty()).unwrap_or(last);
        let mut letters = one.chars();
        letters.next().map(|c| c.to_uppercase().chain(letters).collect()).unwrap_or_default()
    });
    let field = declared.and_then(|c| c.label.as_deref()).unwrap_or("name");
    let name = record.and_then(|r| {
        let value = r.value().ok()?;
        match value.get(field)? {
            serde_json::Value::String(s) if !s.is_empty() => Some(s.clone()),
            serde_json::Value::Number(n) => Some(n.to_string()),
            _ => None,
        }
    });
    match (name, record) {
        (Some(name), _) => format!("{title} '{name}'"),
        (None, Some(r)) if r.id().as_ref() != SINGLETON => format!("{title} '{}'", r.id()),
        _ => title,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::Record;

    #[test]
    fn a_conflict_names_its_record() {
        let schema = Schema::parse(r#"{"collections":{"dailyProduction":{"title":"Day","label":"date"}}}"#).unwrap();
        let r = |t: &str| Record::parse(t).unwrap();
        assert_eq!(
            label(&schema, "flocks", Some(&r(r#"{"id":"a","name":"Layer Group 3","_updatedAt":"2025-01-01"}"#))),
            "Flock 'Layer Group 3'"
        );
        assert_eq!(
            label(&schema, "dailyProduction", Some(&r(r#"{"id":"a","date":"2025-02-01","_updatedAt":"2025-01-01"}"#))),
            "Day '2025-02-01'"
        );
        assert_eq!(label(&schema, "feed.purchases", Some(&r(r#"{"id":"a","_updatedAt":"2025-01-01"}"#))), "Purchase 'a'");
        assert_eq!(label(&schema, "settings", Some(&r(r#"{"id":"$singleton","_updatedAt":"2025-01-01"}"#))), "Setting");
    }

    #[test]
    fn numbers_and_constraints_that_cannot_be_kept_are_refused() {
        let parse = |declared: &str| Schema::parse(&format!(r#"{{"collections":{{"x":{declared}}}}}"#));
        for (declared, at) in [
            (r#"{"ordinal":{"field":"_rev"}}"#, "/ordinal"),
            (r#"{"ordinal":{"field":"n","parent":"n"}}"#, "/ordinal"),
            (r#"{"ordinal":{"field":"n"},"fields":{"n":"counter"}}"#, "/ordinal"),
            (r#"{"ordinal":{"field":"n"},"merge":"fields","groups":[["n","m"]]}"#, "/ordinal"),
            (r#"{"ordinal":{"field":"n"},"singleton":true}"#, "/singleton"),
            (r#"{"unique":[[]]}"#, "/unique"),
            (r#"{"unique":[["id"]]}"#, "/unique"),
            (r#"{"unique":[["pin"]],"localFields":["pin"]}"#, "/unique"),
            (r#"{"unique":[["a","b"]],"merge":"fields"}"#, "/unique"),
        ] {
            assert_eq!(parse(declared).unwrap_err().path, Some(format!("/collections/x{at}")), "{declared}");
        }
        let schema =
            parse(r#"{"unique":[["a","b"],["c"]],"merge":"fields","groups":[["b","a","z"]],"ordinal":{"field":"n","parent":"a"}}"#);
        assert_eq!(schema.unwrap().ordinal("x").unwrap().parent.as_deref(), Some("a"));
    }

    #[test]
    fn no_rule_of_the_server_is_about_a_field_that_never_leaves() {
        let parse = |declared: &str| Schema::parse(&format!(r#"{{"collections":{{"x":{declared}}}}}"#));
        for (declared, at) in [
            (r#""fields":{"pin":"counter"}"#, "/fields"),
            (r#""merge":"fields","groups":[["a","pin"]]"#, "/groups"),
            (r#""references":{"pin":"y"}"#, "/references"),
            (r#""ordinal":{"field":"pin"}"#, "/ordinal"),
            (r#""ordinal":{"field":"n","parent":"pin"}"#, "/ordinal"),
            (r#""unique":[["pin"]]"#, "/unique"),
        ] {
            let error = parse(&format!(r#"{{"localFields":["cache","pin"],{declared}}}"#)).unwrap_err();
            assert_eq!((error.code, error.path), (Code::InvalidRecord, Some(format!("/collections/x{at}"))), "{declared}");
            assert!(error.message.contains("\"pin\""), "{}", error.message);
        }
        for bad in [r#"[""]"#, r#"["_rev"]"#, r#"["id"]"#, r#"["pin","pin"]"#] {
            assert_eq!(parse(&format!(r#"{{"localFields":{bad}}}"#)).unwrap_err().path.unwrap(), "/collections/x/localFields", "{bad}");
        }
        let schema = parse(r#"{"localFields":["pin"]}"#).unwrap();
        assert_eq!((schema.local_fields("x"), schema.local_fields("y")), (&["pin".to_owned()][..], &[][..]));
        assert_eq!(parse(r#"{"localFields":["pin"],"sync":false}"#).unwrap().local_fields("x"), [""; 0]);
        assert_eq!(schema.hashes(), parse("{}").unwrap().hashes(), "the server need not know");
    }

    #[test]
    fn only_the_shared_half_is_hashed() {
        let a = Schema::parse(r#"{"collections":{"x":{"merge":"fields","lazy":true},"pins":{"sync":false}}}"#).unwrap();
        let b = Schema::parse(r#"{"collections":{"x":{"merge":"fields","label":"n"}}}"#).unwrap();
        assert_eq!(a.hashes(), b.hashes());
        let lww = Schema::parse(r#"{"collections":{"x":{"merge":"lww"}}}"#).unwrap();
        assert_ne!(a.hashes(), lww.hashes());
        let differ = |one: &Schema, other: &Schema| one.collections["x"].differs_in(&other.collections["x"]);
        assert_eq!((differ(&a, &b), differ(&a, &lww)), (vec![], vec!["merge"]));
        let rules =
            |more: &str| Schema::parse(&format!(r#"{{"collections":{{"x":{{"merge":"fields"{more}}}}}}}"#)).unwrap().hashes()["x"].clone();
        assert_eq!(rules(""), rules(r#","unique":[["code"]]"#), "a rule that only the server knows");
        // Whatever is in the hash has a name in what the app is told.
        for more in [
            r#","singleton":true"#,
            r#","ids":"server""#,
            r#","fields":{"n":"counter"}"#,
            r#","groups":[["a","b"]]"#,
            r#","references":{"a":"b"}"#,
            r#","ordinal":{"field":"n"}"#,
        ] {
            assert_ne!(rules(""), rules(more));
            let with = Schema::parse(&format!(r#"{{"collections":{{"x":{{"merge":"fields"{more}}}}}}}"#)).unwrap();
            let name = more.split('"').nth(1).unwrap();
            assert_eq!(with.collections["x"].differs_in(&a.collections["x"]), [name]);
        }
    }
}
