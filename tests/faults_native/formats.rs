//! Databases that earlier versions stored, as they stored them: today's code opens each, shows what was there, and sends what
//! was left. One file for each format in `tests/fixtures/journal/`; none is ever changed. A new one is written by
//! `BLESS=1 cargo test --test faults_native format`, where its file is missing.

use crate::wire::*;
use homing::core::replica::Replica;
use homing::storage::memory::MemoryJournal;
use homing::storage::{Appended, Compacted, Compaction, Journal, Segments};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A stored database and what it means.
#[derive(Default, Serialize, Deserialize)]
struct Stored {
    compacted: u64,
    index: String,
    segments: BTreeMap<String, String>,
    /// The rows after `compacted`.
    tail: Vec<String>,
    client: String,
    shown: Vec<String>,
    /// Mutation, state.
    queue: Vec<(String, bool)>,
    dead: Vec<String>,
    conflicts: usize,
    cursor: Option<String>,
}

fn file(format: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/journal/format-{format}.json"))
}

/// What a device says of itself; record texts are in it whole.
fn said(device: &Device, mut stored: Stored) -> Stored {
    device.engine.read(|r| {
        stored.client = r.client().to_string();
        stored.shown = r.list("flocks").map(|row| row.text().to_string()).collect();
        stored.queue = r.queue().map(|m| (m.id.to_string(), m.attempted)).collect();
        stored.dead = r.dead_letters().map(|letter| format!("{} {}", letter.mutation.id, letter.code)).collect();
        stored.conflicts = r.unresolved().count();
        stored.cursor = r.standing().cursor.clone();
    });
    stored
}

/// A device in the middle of its work: confirmed rows, one refused, one in conflict, one sent and not answered, some unsent; part
/// of it compacted.
fn busy(farm: &Farm) -> Device {
    let other = farm.device(manual());
    let d = farm.device(manual());
    d.insert(names(6));
    d.sync(farm).unwrap();
    other.sync(farm).unwrap();
    other.engine.write(deletion("f1")).unwrap();
    other.sync(farm).unwrap();
    d.update("f1", "deleted elsewhere");
    d.update("f2", "no good");
    d.wire.does(|_| Act::Reject("f2"));
    d.sync(farm).unwrap();
    d.update("f3", "compacted, unsent");
    farm.world.run(Box::pin(d.engine.durable()));
    farm.world.run(Box::pin(d.engine.compact())).unwrap();
    d.update("f4", "sent, not answered");
    d.wire.does(|_| Act::LoseAnswer);
    d.sync(farm).unwrap_err();
    d.insert(["new, \u{fc}".to_owned()]);
    d.engine.write(deletion("f5")).unwrap();
    farm.world.run(Box::pin(d.engine.durable()));
    d.wire.does(|_| Act::Pass);
    d
}

fn deletion(id: &str) -> homing::engine::Request {
    use homing::core::plan::Intent;
    let key = homing::core::record::Key::new("flocks", id);
    homing::engine::Request { intents: vec![Intent::Delete { key }], ..homing::engine::Request::default() }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn store(farm: &Farm, d: &Device) -> Stored {
    let loaded = farm.world.run(Box::pin(d.journal.load())).unwrap();
    let names = Replica::stored(&loaded.index).unwrap();
    let Segments::Read(segments) = farm.world.run(Box::pin(d.journal.segments(loaded.compacted, &names))).unwrap() else { panic!() };
    let stored = Stored {
        compacted: loaded.compacted,
        index: text(loaded.index),
        segments: names.into_iter().zip(segments.into_iter().map(text)).collect(),
        tail: loaded.tail.into_iter().map(|row| text(row.bytes)).collect(),
        ..Stored::default()
    };
    said(d, stored)
}

/// The same database once more.
fn restore(farm: &Farm, stored: &Stored) -> MemoryJournal {
    let journal = MemoryJournal::new();
    let append = |head: u64, bytes: Vec<u8>| {
        assert_eq!(farm.world.run(Box::pin(journal.append(head, bytes))).unwrap(), Appended::At(head + 1));
    };
    (0..stored.compacted).for_each(|head| append(head, b"folded".to_vec()));
    let put = stored.segments.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes())).collect();
    let step = Compaction { expected: 0, through: stored.compacted, put, delete: vec![], index: stored.index.clone().into_bytes() };
    assert_eq!(farm.world.run(Box::pin(journal.compact(step))).unwrap(), Compacted::Done);
    for (head, row) in (stored.compacted..).zip(&stored.tail) {
        append(head, row.clone().into_bytes());
    }
    journal
}

#[test]
fn a_stored_database_of_each_format_is_opened_and_goes_on() {
    for format in 1..=homing::core::journal::FORMAT {
        let path = file(format);
        if !path.exists() {
            assert!(std::env::var_os("BLESS").is_some(), "{} is missing", path.display());
            let farm = Farm::new(1);
            let stored = store(&farm, &busy(&farm));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, serde_json::to_string_pretty(&stored).unwrap() + "\n").unwrap();
        }
        let stored: Stored = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        // It holds what is worth opening: nothing of this is there by chance.
        assert!(stored.compacted > 0 && !stored.segments.is_empty() && !stored.tail.is_empty() && stored.cursor.is_some());
        assert!(stored.queue.iter().any(|(_, sent)| *sent) && stored.queue.iter().any(|(_, sent)| !*sent));
        assert_eq!((stored.dead.len(), stored.conflicts), (1, 1), "format {format}");

        // The server knows the same history as when it was stored.
        let farm = Farm::new(1);
        drop(busy(&farm));
        let journal = restore(&farm, &stored);
        let d = farm.open(&journal, manual(), "farm", 0);
        let now = said(&d, Stored::default());
        assert_eq!(now.client, stored.client, "format {format}");
        assert_eq!(now.shown, stored.shown, "format {format}");
        assert_eq!(
            (now.queue, now.dead, now.conflicts, now.cursor),
            (stored.queue.clone(), stored.dead.clone(), stored.conflicts, stored.cursor.clone())
        );
        d.sync(&farm).unwrap();
        assert_eq!((d.pending(), d.engine.read(|r| r.unresolved().count())), (0, 1), "what was left is sent; what waits for a user waits");
        farm.check_once();
        // What is written today is read again, too.
        farm.world.run(Box::pin(d.engine.compact())).unwrap();
        let again = farm.open(&journal, manual(), "farm", 0);
        assert_eq!(again.engine.read(Replica::digest), d.engine.read(Replica::digest));
    }
}
