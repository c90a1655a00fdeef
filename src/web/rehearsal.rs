//! Opening a sample in memory while the disk works: a module compiles each function when it is first called, and what opening
//! calls is a good part of it.

use super::storage::WebJournal;
use super::{WebEngine, encode};
use crate::core::error::Result;
use crate::core::journal::{Change, Entry, FORMAT, encode};
use crate::core::mutation::MutationId;
use crate::core::record::Record;
use crate::core::schema::Schema;
use crate::core::stamp::Stamp;
use crate::engine::{Engine, Options};
use crate::platform::web::{Hooks, Web};
use crate::storage::Journal;
use crate::storage::memory::MemoryJournal;
use crate::transport::fetch::Fetch;
use std::rc::Rc;
use wasm_bindgen::JsValue;

/// Does what opening a database and reading a collection do; nothing of it is kept.
pub(super) async fn rehearse() {
    // Whatever is wrong with it, the real thing will say so.
    let _ = open_sample().await;
}

async fn open_sample() -> Result<()> {
    let at = Stamp(0).to_string();
    let record = Record::parse(&format!(r#"{{"id":"sample","_updatedAt":"{at}","_deletedAt":null}}"#))?;
    let creates = Change::Creates {
        collection: "sample".into(),
        first: MutationId::new("sample", 1),
        records: vec![record; 256],
        imported: false,
        depends_on: Vec::new(),
    };
    let journal = MemoryJournal::new();
    journal.append(0, encode(&[Entry::Open { client: "sample".into(), format: FORMAT }])?).await?;
    journal.append(1, encode(&[Entry::Write(vec![creates])])?).await?;
    let hooks = Hooks::new(JsValue::UNDEFINED);
    let options = Options { sync: false, ..Options::default() };
    let (transport, platform) = (Fetch::new("", None, hooks.clone()), Web::new(hooks));
    let engine: WebEngine = Engine::open(WebJournal::Memory(Rc::new(journal)), transport, platform, Schema::default(), options).await?;
    engine.read_texts(|replica, later| encode::live_rows("sample", replica, later));
    Ok(())
}
