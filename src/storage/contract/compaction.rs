//! Compaction, and segments as they are read after it.

use super::{Databases, append, read, rows, step, texts};
use crate::core::error::{Code, Result};
use crate::storage::{Compacted, Journal, Loaded, Segments};
use futures_util::future::join;
use std::collections::BTreeSet;

#[allow(missing_docs)]
pub async fn a_compaction_swaps_rows_for_segments<D: Databases>(databases: &D) -> Result<()> {
    let journal = databases.create().await?;
    for (head, text) in (0..).zip(["one", "two", "three"]) {
        append(&journal, head, text).await?;
    }
    assert_eq!(journal.compact(step(0, 1, &[("a", "A1"), ("b", "B1")], &[], "a b")).await?, Compacted::Done);
    assert_eq!(journal.compact(step(1, 2, &[("a", "A2"), ("ü/✓", "C1")], &["b", "absent"], "a c")).await?, Compacted::Done);
    append(&journal, 3, "four").await?;
    for journal in [&journal, &databases.connect(&journal).await?] {
        let tail = rows(3, &["three", "four"]);
        assert_eq!(journal.load().await?, Loaded { head: 4, compacted: 2, index: "a c".into(), tail });
        assert_eq!(read(journal, 2, &["ü/✓", "a"]).await?, texts(&["C1", "A2"]), "in the order asked");
        assert_eq!(read(journal, 2, &["b"]).await?, texts(&[""]), "deleted");
        let names = journal.names(2).await?.map(|names| names.into_iter().collect::<BTreeSet<_>>());
        assert_eq!(names, Some(["a", "ü/✓"].map(str::to_owned).into()), "without an index");
        assert_eq!(journal.names(1).await?, None, "of an older compaction");
    }
    Ok(())
}

#[allow(missing_docs)]
pub async fn a_stale_compaction_writes_nothing<D: Databases>(databases: &D) -> Result<()> {
    let here = databases.create().await?;
    let there = databases.connect(&here).await?;
    append(&here, 0, "one").await?;
    append(&here, 1, "two").await?;
    assert_eq!(here.compact(step(0, 1, &[("a", "A1")], &[], "mine")).await?, Compacted::Done);
    assert_eq!(there.compact(step(0, 2, &[("a", "A2")], &[], "stale")).await?, Compacted::Stale);
    assert_eq!(here.load().await?, Loaded { head: 2, compacted: 1, index: "mine".into(), tail: rows(2, &["two"]) });
    assert_eq!(read(&here, 1, &["a"]).await?, texts(&["A1"]));
    Ok(())
}

#[allow(missing_docs)]
pub async fn a_failed_compaction_writes_nothing<D: Databases>(databases: &D) -> Result<()> {
    let journal = databases.create().await?;
    append(&journal, 0, "one").await?;
    append(&journal, 1, "two").await?;
    assert_eq!(journal.compact(step(0, 1, &[("a", "A1")], &[], "old")).await?, Compacted::Done);
    let before = journal.load().await?;
    databases.fill_up(&journal);
    let failed = journal.compact(step(1, 2, &[("b", "B")], &["a"], "new")).await;
    assert_eq!(failed.map_err(|error| error.code), Err(Code::StorageFull));
    assert_eq!(journal.load().await?, before);
    assert_eq!(read(&journal, 1, &["a"]).await?, texts(&["A1"]));
    assert_eq!(journal.compact(step(1, 2, &[("b", "B")], &["a"], "new")).await?, Compacted::Done);
    Ok(())
}

#[allow(missing_docs)]
pub async fn a_compaction_of_no_row_is_refused<D: Databases>(databases: &D) -> Result<()> {
    let journal = databases.create().await?;
    append(&journal, 0, "one").await?;
    for through in [0, 2] {
        let refused = journal.compact(step(0, through, &[("a", "A")], &[], "index")).await;
        assert_eq!(refused.map_err(|error| error.code), Err(Code::EngineCrashed), "through {through}");
    }
    assert_eq!(journal.load().await?, Loaded { head: 1, tail: rows(1, &["one"]), ..Loaded::default() });
    Ok(())
}

#[allow(missing_docs)]
pub async fn two_connections_compacting_at_once_do_it_once<D: Databases>(databases: &D) -> Result<()> {
    let here = databases.create().await?;
    let there = databases.connect(&here).await?;
    append(&here, 0, "one").await?;
    let (left, right) =
        join(here.compact(step(0, 1, &[("a", "left")], &[], "left")), there.compact(step(0, 1, &[("a", "right")], &[], "right"))).await;
    let winner = match (left?, right?) {
        (Compacted::Done, Compacted::Stale) => "left",
        (Compacted::Stale, Compacted::Done) => "right",
        both => unreachable!("{both:?}"),
    };
    assert_eq!(there.load().await?, Loaded { head: 1, compacted: 1, index: winner.into(), tail: vec![] });
    assert_eq!(read(&here, 1, &["a"]).await?, texts(&[winner]));
    Ok(())
}

#[allow(missing_docs)]
pub async fn segments_of_an_older_compaction_are_stale<D: Databases>(databases: &D) -> Result<()> {
    let here = databases.create().await?;
    let there = databases.connect(&here).await?;
    append(&here, 0, "one").await?;
    assert_eq!(here.compact(step(0, 1, &[("a", "A")], &[], "a")).await?, Compacted::Done);
    assert_eq!(read(&there, 0, &["a"]).await?, Segments::Stale);
    assert_eq!(read(&there, 1, &["a"]).await?, texts(&["A"]));
    Ok(())
}

#[allow(missing_docs)]
pub async fn a_missing_segment_does_not_hide_the_others<D: Databases>(databases: &D) -> Result<()> {
    let journal = databases.create().await?;
    append(&journal, 0, "one").await?;
    assert_eq!(journal.compact(step(0, 1, &[("a", "A")], &[], "a nowhere")).await?, Compacted::Done);
    assert_eq!(read(&journal, 1, &["nowhere", "a"]).await?, texts(&["", "A"]));
    Ok(())
}
