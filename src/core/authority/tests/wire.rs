//! Golden requests and answers: `tests/fixtures/wire/*.json`, read and written by every implementation.
//!
//! `HOMING_BLESS=1 cargo test wire` writes the answers anew; look at the difference before committing it.

use super::*;
use crate::core::protocol::{PushRequest, SyncResponse};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Fixture {
    about: String,
    schema: Value,
    steps: Vec<Step>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    about: String,
    server_time: String,
    request: Value,
    /// Absent before the first blessing.
    #[serde(default)]
    response: Value,
}

/// `null` members that a type leaves out are the same to both sides.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), plain(v))).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

#[test]
fn golden_requests_get_their_golden_answers() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire");
    let bless = std::env::var_os("HOMING_BLESS").is_some();
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let mut fixture: Fixture = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let mut server = MemoryServer::new(Schema::parse(&fixture.schema.to_string()).unwrap());
        for step in &mut fixture.steps {
            let what = format!("{}: {}", file.display(), step.about);
            let request: PushRequest = serde_json::from_value(step.request.clone()).unwrap();
            let written = serde_json::to_value(&request).unwrap();
            for (name, value) in plain(&step.request).as_object().unwrap() {
                assert_eq!(&plain(&written)[name], value, "{what}: {name} survives reading and writing");
            }
            let now = Stamp::parse(&step.server_time).unwrap();
            let answer = match server.push(&request, "farm-1", now) {
                Ok(response) => serde_json::to_value(&response).unwrap(),
                Err(refusal) => json!({"status": refusal.status(), "error": refusal.detail("push", &request.request_id)}),
            };
            if bless {
                step.response = answer;
                continue;
            }
            assert_eq!(step.response, answer, "{what}");
            if answer.get("status").is_none() {
                let read: SyncResponse = serde_json::from_value(step.response.clone()).unwrap();
                assert_eq!(serde_json::to_value(&read).unwrap(), answer, "{what}: the answer survives reading and writing");
            }
        }
        if bless {
            std::fs::write(&file, serde_json::to_string_pretty(&fixture).unwrap() + "\n").unwrap();
        }
    }
}
