//! Compaction in stages: new segments beside those that count, a few at a time, then one short transaction that
//! makes them count and drops the rows they hold.
//!
//! Writing tens of megabytes takes seconds, and no append of any tab shall wait for that: a stage locks the segments only.
//! A staged segment has a key of its own, its name and the token of its compaction, so that nothing anybody reads is ever
//! overwritten. A compaction that dies half way leaves segments that no mark names; the next one that ends deletes them.
//! Not here: what a segment holds, when to compact (`engine`).

use super::connection::Admitted;
use super::error;
use super::rows::key;
use super::schema::{COMPACTED, FORMAT, FORMAT_READ, INDEX, JOURNAL, KEYS, META, SEGMENTS, check_format};
use super::stores;
use super::transaction::{Answer, Mode, Verdict, write};
use crate::core::error::{Code, Error, Result};
use crate::storage::memory::outside;
use crate::storage::{Compacted, Compaction, Head};
use js_sys::{Array, Math, Uint8Array};
use std::collections::{BTreeMap, HashSet};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{IdbKeyRange, IdbObjectStore};

/// One stage hands the browser at most about this many bytes (one segment may be larger): while it clones and writes them, an
/// append waits.
const BYTES_PER_STAGE: usize = 256 * 1024;
/// Between name and token of a key; no name has it.
const MARK: char = '@';

type Segment = (String, Vec<u8>);

/// Under which key each segment lies: its name → the token of the compaction that wrote it (empty: before there were any).
#[derive(Debug, Default)]
pub(super) struct Keys(BTreeMap<String, String>);

impl Keys {
    /// Reads the mark. Where there is none, or none that can be read, it names nothing: what it named is then a segment that
    /// cannot be given back.
    pub(super) fn of(mark: &JsValue) -> Self {
        mark.as_string().and_then(|text| serde_json::from_str(&text).ok()).map(Self).unwrap_or_default()
    }

    /// The key of a segment.
    pub(super) fn key(&self, name: &str) -> String {
        match self.0.get(name).filter(|token| !token.is_empty()) {
            Some(token) => staged(name, token),
            None => name.to_owned(),
        }
    }

    /// Keys of before there were tokens are names.
    fn named(stored: &HashSet<String>) -> Self {
        Self(stored.iter().filter(|key| !key.contains(MARK)).map(|name| (name.clone(), String::new())).collect())
    }

    /// As the mark says; where there is none yet, as the segments do.
    fn marked(mark: &JsValue, stored: &JsValue) -> Self {
        if mark.is_undefined() { Self::named(&texts(stored)) } else { Self::of(mark) }
    }

    fn all(&self) -> HashSet<String> {
        self.0.keys().map(|name| self.key(name)).collect()
    }

    fn text(&self) -> Result<String> {
        serde_json::to_string(&self.0).map_err(|e| Error::new(Code::EngineCrashed, e.to_string()))
    }
}

fn texts(array: &JsValue) -> HashSet<String> {
    array.unchecked_ref::<Array>().iter().filter_map(|key| key.as_string()).collect()
}

/// The names of all segments that count; `None` where somebody has compacted.
pub(super) async fn names(call: Admitted, compacted: Head) -> Result<Option<Vec<String>>> {
    let transaction = call.begin(&stores(&[&META, &SEGMENTS]), Mode::Read).await?;
    let (meta, segments) = (transaction.store(&META)?, transaction.store(&SEGMENTS)?);
    let current = Answer::to(meta.get(&COMPACTED.into()))?;
    let mark = Answer::to(meta.get(&KEYS.into()))?;
    let stored = Answer::to(segments.get_all_keys())?;
    let keys = Keys::marked(&mark.value().await?, &stored.value().await?);
    Ok((key(&current.value().await?) == compacted).then(|| keys.0.into_keys().collect()))
}

fn staged(name: &str, token: &str) -> String {
    format!("{name}{MARK}{token}")
}

/// Stages all but the last segments, which the switch writes: a small compaction is one transaction.
pub(super) async fn compact(call: Admitted, mut step: Compaction) -> Result<Compacted> {
    let token = format!("{:x}", Math::random().to_bits());
    let mut stages = stages(std::mem::take(&mut step.put));
    let last = stages.pop().unwrap_or_default();
    if !stages.is_empty() && !is_due(&call, step.expected).await? {
        return Ok(Compacted::Stale);
    }
    let mut names: Vec<String> = Vec::new();
    let outcome = async {
        for stage in stages {
            names.extend(stage.iter().map(|(name, _)| name.clone()));
            write_stage(&call, stage, &token).await?;
        }
        switch(&call, step, &names, last, &token).await
    }
    .await;
    if !matches!(outcome, Ok(Compacted::Done)) && !names.is_empty() {
        // What cannot be deleted now is in nobody's way until the next compaction.
        let _ = unstage(&call, &names, &token).await;
    }
    outcome
}

fn stages(put: Vec<Segment>) -> Vec<Vec<Segment>> {
    let mut stages: Vec<Vec<Segment>> = Vec::new();
    let mut room = 0;
    for segment in put {
        let bytes = segment.1.len();
        match stages.last_mut().filter(|_| room > 0) {
            Some(stage) => stage.push(segment),
            None => {
                stages.push(vec![segment]);
                room = BYTES_PER_STAGE;
            }
        }
        room = room.saturating_sub(bytes);
    }
    stages
}

/// Whether nobody has compacted meanwhile: else all of it would be written for nothing.
async fn is_due(call: &Admitted, expected: Head) -> Result<bool> {
    let transaction = call.clone().begin(&stores(&[&META]), Mode::Read).await?;
    let meta = transaction.store(&META)?;
    let (format, compacted) = (Answer::to(meta.get(&FORMAT.into()))?, Answer::to(meta.get(&COMPACTED.into()))?);
    check_format(&format.value().await?)?;
    Ok(key(&compacted.value().await?) == expected)
}

async fn write_stage(call: &Admitted, stage: Vec<Segment>, token: &str) -> Result<()> {
    let transaction = call.clone().begin(&stores(&[&SEGMENTS]), Mode::Write).await?;
    write(transaction, async |transaction| {
        put_all(&transaction.store(&SEGMENTS)?, stage, token)?;
        Ok(Verdict::Commit(()))
    })
    .await
}

async fn unstage(call: &Admitted, names: &[String], token: &str) -> Result<()> {
    let transaction = call.clone().begin(&stores(&[&SEGMENTS]), Mode::Write).await?;
    write(transaction, async |transaction| {
        let segments = transaction.store(&SEGMENTS)?;
        for name in names {
            Answer::to(segments.delete(&staged(name, token).into()))?;
        }
        Ok(Verdict::Commit(()))
    })
    .await
}

fn put_all(segments: &IdbObjectStore, put: Vec<Segment>, token: &str) -> Result<()> {
    for (name, bytes) in put {
        Answer::to(segments.put_with_key(&Uint8Array::from(bytes.as_slice()), &staged(&name, token).into()))?;
    }
    Ok(())
}

/// The step itself: what was staged counts from here on.
async fn switch(call: &Admitted, step: Compaction, names: &[String], last: Vec<Segment>, token: &str) -> Result<Compacted> {
    let transaction = call.clone().begin(&stores(&[&META, &JOURNAL, &SEGMENTS]), Mode::Write).await?;
    write(transaction, async move |transaction| {
        let (meta, journal, segments) = (transaction.store(&META)?, transaction.store(&JOURNAL)?, transaction.store(&SEGMENTS)?);
        let through = JsValue::from(step.through as f64);
        let format = Answer::to(meta.get(&FORMAT.into()))?;
        let compacted = Answer::to(meta.get(&COMPACTED.into()))?;
        let mark = Answer::to(meta.get(&KEYS.into()))?;
        let newest = Answer::to(journal.get_key(&through))?;
        let stored = Answer::to(segments.get_all_keys())?;
        // Another tab may be of a later version: what it wrote must not be folded as if it were understood.
        let format = format.value().await?;
        check_format(&format)?;
        if key(&compacted.value().await?) != step.expected {
            return Ok(Verdict::Abort(Compacted::Stale));
        }
        let mark = mark.value().await?;
        if newest.value().await?.is_undefined() {
            return Err(outside(step.through));
        }
        let stored = stored.value().await?;
        let mut keys = Keys::marked(&mark, &stored);
        step.delete.iter().for_each(|name| _ = keys.0.remove(name));
        keys.0.extend(names.iter().chain(last.iter().map(|(name, _)| name)).map(|name| (name.clone(), token.to_owned())));
        let counts = keys.all();
        for left in texts(&stored).iter().filter(|key| !counts.contains(*key)) {
            Answer::to(segments.delete(&left.as_str().into()))?;
        }
        put_all(&segments, last, token)?;
        let folded = IdbKeyRange::upper_bound(&through).map_err(|value| error::thrown(&value))?;
        Answer::to(journal.delete(&folded))?;
        if format.as_f64() != Some(FORMAT_READ) {
            Answer::to(meta.put_with_key(&FORMAT_READ.into(), &FORMAT.into()))?;
        }
        Answer::to(meta.put_with_key(&keys.text()?.into(), &KEYS.into()))?;
        Answer::to(meta.put_with_key(&Uint8Array::from(step.index.as_slice()), &INDEX.into()))?;
        Answer::to(meta.put_with_key(&through, &COMPACTED.into()))?;
        Ok(Verdict::Commit(Compacted::Done))
    })
    .await
}
