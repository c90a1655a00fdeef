//! The golden requests (`tests/fixtures/wire/*.json`) by HTTP against a real server, no client present.
//!
//! What a clock or a random number decides is left out of the comparison: server time, cursor, epoch, `_rev`s (the requests'
//! are replaced by those this server gave), when a conflict arose. Everything else is compared, member by member.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::Server;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// What is of this server alone, by its name in an answer.
const OWN: [&str; 8] = ["serverTime", "cursor", "epoch", "rev", "_rev", "horizon", "at", "replayed"];

#[derive(Default)]
struct Same {
    /// Golden `_rev` → the one this server gave.
    revs: HashMap<u64, u64>,
    cursors: HashMap<String, String>,
}

impl Same {
    /// Learns what stands for what.
    fn learn(&mut self, golden: &Value, answer: &Value) {
        match (golden, answer) {
            (Value::Object(golden), Value::Object(answer)) => {
                for (name, value) in golden {
                    let Some(theirs) = answer.get(name) else { continue };
                    match (name.as_str(), value, theirs) {
                        ("rev" | "_rev", Value::Number(a), Value::Number(b)) => {
                            _ = self.revs.insert(a.as_u64().unwrap(), b.as_u64().unwrap())
                        }
                        ("cursor", Value::String(a), Value::String(b)) => _ = self.cursors.insert(a.clone(), b.clone()),
                        _ => self.learn(value, theirs),
                    }
                }
            }
            (Value::Array(golden), Value::Array(answer)) => golden.iter().zip(answer).for_each(|(a, b)| self.learn(a, b)),
            _ => {}
        }
    }

    /// A golden request in the words of this server.
    fn said(&self, value: &Value) -> Value {
        let one = |name: &str, value: &Value| match (name, value) {
            ("baseRev" | "_rev", Value::Number(n)) => {
                self.revs.get(&n.as_u64().unwrap()).map_or_else(|| value.clone(), |rev| (*rev).into())
            }
            ("cursor", Value::String(text)) => self.cursors.get(text).map_or_else(|| value.clone(), |now| now.as_str().into()),
            _ => self.said(value),
        };
        match value {
            Value::Object(members) => Value::Object(members.iter().map(|(name, value)| (name.clone(), one(name, value))).collect()),
            Value::Array(items) => items.iter().map(|item| self.said(item)).collect(),
            other => other.clone(),
        }
    }
}

/// Without what is of one server alone; `null` and absent are the same.
fn common_part(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let archive = members.contains_key("mineBy");
            let own = |name: &str| OWN.contains(&name) || archive && name == "_updatedAt";
            let rest = members.iter().filter(|(name, value)| !own(name) && !value.is_null());
            Value::Object(rest.map(|(name, value)| (name.clone(), common_part(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(common_part).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn golden_requests_get_their_golden_answers_by_http() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wire");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut answered = 0;
    for file in files {
        let fixture: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let schema = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(schema.path(), fixture["schema"].to_string()).unwrap();
        let server = Server::with(|options| options.schema = Some(schema.path().to_owned())).await;
        let mut same = Same::default();
        for step in fixture["steps"].as_array().unwrap() {
            let golden = &step["response"];
            if golden.get("error").is_some() {
                continue;
            }
            let answer = server.client.sync(&same.said(&step["request"])).await;
            same.learn(golden, &answer);
            let what = format!("{}: {}", file.file_name().unwrap().display(), step["about"]);
            assert_eq!(common_part(&answer), common_part(golden), "{what}");
            answered += answer["results"].as_array().map_or(0, Vec::len);
        }
    }
    println!("{answered} mutations judged by HTTP as natively");
    assert!(answered > 40);
}
