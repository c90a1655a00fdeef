//! What a record of a collection must look like: the JSON Schemas in the schema file.
//!
//! Lives here: reading them, asking them. Not here: when (`sync`), what a refusal means (`core::authority`).
//!
//! A collection's declaration may have a member `schema`, a JSON Schema (draft 2020-12 unless it says otherwise). It describes
//! what the app wrote: `id` and the app's own fields, no `_updatedAt` and its like. Every version that is pushed must fit; of
//! two that fit a merge by fields can make one that does not, so leave rules about several fields to `groups`.

use homing::core::authority::{Objection, objections};
use homing::core::mutation::MutationId;
use homing::core::protocol::PushRequest;
use homing::core::record::RESERVED;
use jsonschema::{PatternOptions, Validator};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Violations named in one refusal.
const NAMED: usize = 5;

/// The JSON Schema of each collection that has one.
#[derive(Debug, Default)]
pub struct Rules(HashMap<String, Validator>);

impl Rules {
    /// Reads them from a schema file.
    ///
    /// # Errors
    /// The collection whose schema is none, or refers to something outside of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        struct Declared {
            schema: Option<Value>,
        }
        #[derive(serde::Deserialize)]
        struct File {
            #[serde(default)]
            collections: HashMap<String, Declared>,
        }
        let file: File = serde_json::from_str(text).map_err(|e| e.to_string())?;
        // Expressions that take time linear in the text: schemas are ours, what they are asked about is not.
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        let mut rules = HashMap::new();
        for (name, schema) in file.collections.into_iter().filter_map(|(name, declared)| Some((name, declared.schema?))) {
            let rule = options.build(&schema).map_err(|e| format!("/collections/{name}/schema{}: {e}", e.instance_path()))?;
            rules.insert(name, rule);
        }
        Ok(Self(rules))
    }

    /// What they object to in a request.
    #[must_use]
    pub fn objections(&self, request: &PushRequest) -> HashMap<MutationId, Objection> {
        if self.0.is_empty() {
            return HashMap::new();
        }
        objections(request, |collection, record| objection(self.0.get(collection)?, record))
    }
}

fn objection(rule: &Validator, record: &RawValue) -> Option<Objection> {
    // What is no record is refused elsewhere, with a better reason.
    let mut record: Map<String, Value> = serde_json::from_str(record.get()).ok()?;
    record.retain(|name, _| name == "id" || !RESERVED.contains(&name.as_str()));
    let record = Value::Object(record);
    if rule.is_valid(&record) {
        return None;
    }
    let found: Vec<_> = rule.iter_errors(&record).take(NAMED).collect();
    // Without the values: messages end up in logs.
    let told: Vec<String> = found.iter().map(|e| format!("{}: {}", e.instance_path(), e.masked())).collect();
    let path = found.first().map(|e| format!("/record{}", e.instance_path()));
    Some(Objection { code: "validation".into(), message: told.join("; "), path })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"collections": {"flocks": {"merge": "fields", "schema": {
        "type": "object", "required": ["name"], "additionalProperties": false,
        "properties": {"id": {}, "name": {"type": "string", "pattern": "^[A-Z]"}, "count": {"type": "integer", "minimum": 1}}
    }}, "clients": {}}}"#;

    fn ask(record: &str) -> Option<(String, Option<String>)> {
        let rules = Rules::parse(FILE).unwrap();
        objection(&rules.0["flocks"], &RawValue::from_string(record.into()).unwrap()).map(|o| (o.message, o.path))
    }

    #[test]
    fn violations_have_paths_and_no_values() {
        assert_eq!(ask(r#"{"id":"f1","_updatedAt":"x","_rev":7,"name":"Layers","count":3}"#), None);
        let (message, path) = ask(r#"{"id":"f1","name":"secret","count":0,"extra":1}"#).unwrap();
        assert!(message.contains("/name: ") && message.contains("/count: ") && message.contains("extra"), "{message}");
        assert!(!message.contains("secret"), "{message}");
        assert!(path.unwrap().starts_with("/record"));
        assert_eq!(ask(r#"{"id":"f1","name":"L","count":-1}"#).unwrap().1.as_deref(), Some("/record/count"));
    }

    #[test]
    fn a_schema_that_cannot_be_followed_is_refused_with_its_place() {
        for schema in [r#"{"type": "flock"}"#, r#"{"$ref": "https://evil.example/x.json"}"#, r#"{"pattern": "("}"#] {
            let why = Rules::parse(&format!(r#"{{"collections":{{"flocks":{{"schema":{schema}}}}}}}"#)).unwrap_err();
            assert!(why.starts_with("/collections/flocks/schema"), "{why}");
        }
        assert!(Rules::parse("{}").unwrap().0.is_empty());
    }
}
