//! The golden vectors `tests/fixtures/merge/*.json`: two versions, the rules, what comes of them. Whoever writes a server in
//! another language proves with them that it merges as Homing does. Run here by cargo, and by `browser_vectors.rs` in a browser.
//!
//! A file: `policy`, `fields` and `groups` as in a schema; `cases` with `local` and `incoming` (the server's version), `base`
//! where texts merge against it; expected: `winner` (compared as JSON values), `archived` (which of the two), `paths`.
//! `symmetric`: exchanged, the same winner comes of it. `HOMING_BLESS=1 cargo test --test merge vectors` writes the expected
//! parts anew; look at the difference before committing it.

use homing::core::merge::merge;
use homing::core::record::Record;
use homing::core::schema::{Policy, Rules, Types};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize, Deserialize)]
pub(crate) struct Vectors {
    about: String,
    policy: Policy,
    #[serde(default, skip_serializing_if = "Types::is_empty")]
    fields: Types,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<Vec<String>>,
    pub(crate) cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Case {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<Value>,
    local: Value,
    incoming: Value,
    symmetric: bool,
    #[serde(default)]
    winner: Value,
    #[serde(default)]
    archived: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
}

pub(crate) const FILES: [(&str, &str); 13] = [
    ("append-only", include_str!("../fixtures/merge/append-only.json")),
    ("client-wins", include_str!("../fixtures/merge/client-wins.json")),
    ("counter", include_str!("../fixtures/merge/counter.json")),
    ("fields", include_str!("../fixtures/merge/fields.json")),
    ("fww", include_str!("../fixtures/merge/fww.json")),
    ("groups", include_str!("../fixtures/merge/groups.json")),
    ("lww", include_str!("../fixtures/merge/lww.json")),
    ("manual", include_str!("../fixtures/merge/manual.json")),
    ("max-min", include_str!("../fixtures/merge/max-min.json")),
    ("overruled", include_str!("../fixtures/merge/overruled.json")),
    ("server-wins", include_str!("../fixtures/merge/server-wins.json")),
    ("set", include_str!("../fixtures/merge/set.json")),
    ("text", include_str!("../fixtures/merge/text.json")),
];

fn record(value: &Value) -> Record {
    Record::parse(&value.to_string()).unwrap()
}

/// What comes of a case here: winner, archived, paths.
fn outcome(vectors: &Vectors, case: &Case) -> (Value, Vec<String>, Vec<String>) {
    let rules = Rules { policy: vectors.policy, types: &vectors.fields, groups: &vectors.groups };
    let base = case.base.as_ref().map(record);
    let (local, incoming) = (record(&case.local), record(&case.incoming));
    let merged = merge(base.as_ref(), &local, &incoming, rules).unwrap();
    if case.symmetric {
        let exchanged = merge(base.as_ref(), &incoming, &local, rules).unwrap().winner;
        assert_eq!(value(&exchanged), value(&merged.winner), "{}: exchanged", case.name);
    }
    let name = |r: &Record| if *r == local { "local" } else { "incoming" }.to_owned();
    (value(&merged.winner), merged.archived.iter().map(name).collect(), merged.paths)
}

fn value(record: &Record) -> Value {
    serde_json::from_str(record.text()).unwrap()
}

/// Runs all of them; how many there were.
pub(crate) fn run_all() -> usize {
    let mut count = 0;
    for (file, text) in FILES {
        let vectors: Vectors = serde_json::from_str(text).unwrap();
        for case in &vectors.cases {
            let (winner, archived, paths) = outcome(&vectors, case);
            assert_eq!((&winner, &archived, &paths), (&case.winner, &case.archived, &case.paths), "{file}: {}", case.name);
            count += 1;
        }
    }
    count
}

#[cfg(not(target_arch = "wasm32"))]
#[test]
fn golden_vectors_come_out_as_written() {
    if std::env::var_os("HOMING_BLESS").is_some() {
        for (file, text) in FILES {
            let mut vectors: Vectors = serde_json::from_str(text).unwrap();
            let outcomes: Vec<_> = vectors.cases.iter().map(|case| outcome(&vectors, case)).collect();
            for (case, (winner, archived, paths)) in vectors.cases.iter_mut().zip(outcomes) {
                (case.winner, case.archived, case.paths) = (winner, archived, paths);
            }
            let path = format!("{}/tests/fixtures/merge/{file}.json", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(path, serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
        }
        return;
    }
    println!("{} vectors", run_all());
}
