//! The OpenAPI description: what an answer may be, and requests drawn from it.
//!
//! Lives here: reading it. Not here: what is done with it (`hostile`).

use super::Reply;
use fastrand::Rng;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

pub struct Description {
    pub document: Value,
    validators: HashMap<String, Validator>,
}

impl Description {
    pub fn read() -> Self {
        let document: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
        let named = |name: &String| {
            let schema = json!({ "$ref": format!("#/components/schemas/{name}"), "components": document["components"] });
            (name.clone(), jsonschema::validator_for(&schema).unwrap())
        };
        let validators = document["components"]["schemas"].as_object().unwrap().keys().map(named).collect();
        Self { document, validators }
    }

    /// What is wrong with a value that should be one of these.
    pub fn objection(&self, name: &str, value: &Value) -> Option<String> {
        let errors: Vec<String> = self.validators[name].iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    }

    /// An answer must have a status that is described, and the body described for it.
    pub fn expect(&self, path: &str, method: &str, reply: &Reply, what: &str) {
        let described = &self.document["paths"][path][method]["responses"][reply.status.to_string()];
        assert!(described.is_object(), "{method} {path} is not described to answer {}: {what}\n{}", reply.status, reply.body);
        let schema = &described["content"]["application/json"]["schema"];
        let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) else { return };
        let objection = self.objection(name, &reply.body);
        assert!(objection.is_none(), "{method} {path}: {}: {what}\n{}", objection.unwrap_or_default(), reply.body);
    }

    /// A value as a schema has it; now and then one that it has not.
    pub fn draw(&self, schema: &Value, rng: &mut Rng, words: &[String]) -> Value {
        if rng.u8(..) < 6 {
            return wild(rng, words);
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
            return self.draw(&self.document["components"]["schemas"][name], rng, words);
        }
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(choices) = schema["enum"].as_array() {
            return rng.choice(choices).cloned().unwrap_or_default();
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        match rng.choice(kinds).unwrap_or("object") {
            "null" => Value::Null,
            "boolean" => rng.bool().into(),
            "integer" | "number" => rng.choice([0, 1, 2, 7, 1_000, 1_i64 << 53]).into(),
            "string" if schema["format"] == "date-time" => rng.choice(STAMPS).map(Into::into).unwrap_or_default(),
            "string" => rng.choice(words).cloned().map(Into::into).unwrap_or_default(),
            "array" => (0..rng.usize(..4)).map(|_| self.draw(&schema["items"], rng, words)).collect(),
            _ => self.object(schema, rng, words),
        }
    }

    fn object(&self, schema: &Value, rng: &mut Rng, words: &[String]) -> Value {
        let mut drawn = Map::new();
        let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            if if required.contains(&name.as_str()) { rng.u8(..) > 2 } else { rng.bool() } {
                drawn.insert(name.clone(), self.draw(member, rng, words));
            }
        }
        if schema["properties"].is_null() {
            for _ in 0..rng.usize(..4) {
                let name = rng.choice(NAMES).map_or_else(|| rng.choice(words).cloned().unwrap_or_default(), str::to_owned);
                drawn.insert(name, wild(rng, words));
            }
        }
        drawn.into()
    }
}

const STAMPS: [&str; 7] = [
    "2025-06-01T10:00:00.000Z",
    "2025-06-01T12:00:00+02:00",
    "9999-12-31T23:59:59.999Z",
    "0000-01-01T00:00:00Z",
    "-271821-04-20T00:00:00.000Z",
    "2025-02-30T25:61:61Z",
    "",
];

const NAMES: [&str; 10] = ["id", "_updatedAt", "_deletedAt", "_rev", "_fieldTimes", "_crdt", "__proto__", "n", "orderId", "tags"];

/// Anything at all.
pub fn wild(rng: &mut Rng, words: &[String]) -> Value {
    match rng.u8(..12) {
        0 => Value::Null,
        1 => rng.bool().into(),
        2 => json!(rng.i64(..)),
        3 => json!(rng.u64(..)),
        4 => json!(rng.f64() * 1e308),
        5 => json!([[], {}, "", 0]),
        6 => (0..rng.usize(..200)).fold(json!(1), |inner, _| json!([inner])),
        7 => json!({ "": { "/a~b": null }, "client": 1 }),
        8 => "x".repeat(rng.usize(..300)).into(),
        _ => rng.choice(words).cloned().map(Into::into).unwrap_or_default(),
    }
}
