//! The suite every journal passes: one list of cases, run on memory natively and on IndexedDB in a browser.
//!
//! Lives here: what the laws of [`Journal`] mean, as scenarios. Not here: what only one store can have
//! (its own tests), how a test runner calls a case (the macro leaves that to the caller). Compaction has a file of its own.

mod compaction;

use super::{Appended, Compacted, Compaction, Head, Journal, Loaded, Row, Segments, Tail};
use crate::core::error::{Code, Result};
pub use compaction::*;
use futures_util::future::join;

/// Makes databases for the cases.
#[allow(async_fn_in_trait, reason = "single-threaded by design")]
pub trait Databases {
    /// The store under test.
    type Journal: Journal;
    /// A connection to a new, empty database.
    async fn create(&self) -> Result<Self::Journal>;
    /// Another connection to the same database; to a new one after it was destroyed.
    async fn connect(&self, to: &Self::Journal) -> Result<Self::Journal>;
    /// Makes the next write fail as if the disk were full.
    fn fill_up(&self, journal: &Self::Journal);
}

/// Calls `$each!` with the name of every case.
#[doc(hidden)]
#[macro_export]
macro_rules! journal_cases {
    ($each:ident) => {
        $each! {
            a_new_journal_is_empty,
            what_was_appended_is_loaded_in_order,
            a_resolved_append_is_seen_by_another_connection_at_once,
            a_stale_append_writes_nothing,
            a_stale_append_of_the_last_writer_is_never_read,
            of_appends_on_the_same_head_one_lands,
            two_connections_racing_lose_nothing,
            tail_gives_the_rows_after_a_key,
            tail_behind_a_compaction_says_so,
            keys_go_on_after_an_emptied_journal,
            large_rows_and_segments_come_back_whole,
            bytes_come_back_as_they_were,
            a_closed_journal_answers_closed,
            an_append_under_way_survives_close,
            a_destroyed_journal_is_gone_for_everybody,
            a_failed_append_writes_nothing_and_leaves_the_journal_usable,
            a_compaction_swaps_rows_for_segments,
            a_stale_compaction_writes_nothing,
            a_failed_compaction_writes_nothing,
            a_compaction_of_no_row_is_refused,
            two_connections_compacting_at_once_do_it_once,
            segments_of_an_older_compaction_are_stale,
            a_missing_segment_does_not_hide_the_others,
        }
    };
}

fn rows(first: Head, texts: &[&str]) -> Vec<Row> {
    (first..).zip(texts).map(|(key, text)| Row { key, bytes: text.as_bytes().to_vec() }).collect()
}

async fn append(journal: &impl Journal, head: Head, text: &str) -> Result<()> {
    assert_eq!(journal.append(head, text.as_bytes().to_vec()).await?, Appended::At(head + 1));
    Ok(())
}

fn step(expected: Head, through: Head, put: &[(&str, &str)], delete: &[&str], index: &str) -> Compaction {
    Compaction {
        expected,
        through,
        put: put.iter().map(|(name, text)| (name.to_string(), text.as_bytes().to_vec())).collect(),
        delete: delete.iter().map(ToString::to_string).collect(),
        index: index.into(),
    }
}

async fn read(journal: &impl Journal, compacted: Head, names: &[&str]) -> Result<Segments> {
    journal.segments(compacted, &names.iter().map(ToString::to_string).collect::<Vec<_>>()).await
}

fn texts(segments: &[&str]) -> Segments {
    Segments::Read(segments.iter().map(|text| text.as_bytes().to_vec()).collect())
}

#[allow(missing_docs)]
pub async fn a_new_journal_is_empty<D: Databases>(databases: &D) -> Result<()> {
    let journal = databases.create().await?;
    assert_eq!(journal.load().await?, Loaded::default());
    assert_eq!(journal.tail(0).await?, Tail::Rows(vec![], 0));
    assert_eq!(read(&journal, 0, &[]).await?, texts(&[]));
    Ok(())
}

#[allow(missing_docs)]
pub async fn what_was_appended_is_loaded_in_order<D: Databases>(databases: &D) -> Result<()> {
    let journal = databases.create().await?;
    let bodies = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"];
    for (head, text) in (0..).zip(bodies) {
        append(&journal, head, text).await?;
    }
    let loaded = Loaded { head: 11, tail: rows(1, &bodies), ..Loaded::default() };
    assert_eq!(journal.load().await?, loaded);
    journal.close().await;
    assert_eq!(databases.connect(&journal).await?.load().await?, loaded, "after reopening too");
    Ok(())
}

#[allow(missing_docs)]
pub async fn a_resolved_append_is_seen_by_another_connection_at_once<D: Databases>(databases: &D) -> Result<()> {
    let here = databases.create().await?;
    let there = databases.connect(&here).await?;
    for head in 0..20 {
        append(&here, head, "row").await?;
        assert_eq!(there.tail(head).await?, Tail::Rows(rows(head + 1, &["row"]), head + 1));
    }
    Ok(())
}

#[allow(missing_docs)]
pub async fn a_stale_append_writes_nothing<D: Databases>(databases: &D) -> Result<()> {
    let here = databases.create().await?;
    let there = databases.connect(&here).await?;
    append(&here, 0, "mine").await?;
    for head in [0, 2, 7, 1 << 40] {
        assert_eq!(there.append(head, b"stale".to_vec()).await?, Appended::Stale, "head {head}");
    }
    assert_eq!(here.load().await?, Loaded { head: 1, tail: rows(1, &["mine"]), ..Loaded::default() });
    append(&there, 1, "planned again").await?;
    assert_eq!(here.tail(1).await?, Tail::Rows(rows(2, &["planned again"]), 2));
    Ok(())
}

#[allow(missing_docs)]
pub async fn a_stale_append_of_the_last_writer_is_never_read<D: Databases>(databases: &D) -> Result<()> {
    let here = databases.create().await?;
    let there = databases.connect(&here).await?;
    append(&here, 0, "one").await?;
    append(&there, 1, "two").await?;
    assert_eq!(here.append(1, b"stale".to_vec()).await?, Appended::Stale);
    let Tail::Rows(news, head) = here.tail(1).await? else { unreachable!("nothing is compacted") };
    assert_eq!(news, rows(2, &["two"]));
    // Its key may be used up: whoever wrote before it is stale now, too, and a later one is told the head.
    assert_eq!(there.append(1, b"stale".to_vec()).await?, Appended::Stale);
    let Tail::Rows(news, head) = there.tail(head).await? else { unreachable!("nothing is compacted") };
    assert_eq!(news, []);
    append(&there, head, "three").await?;
    append(&there, head + 1, "four").await?;
    for journal in [&here, &there, &databases.connect(&here).await?] {
        let loaded = journal.load().await?;
        assert!(loaded.tail.iter().map(|row| row.bytes.as_slice()).eq([&b"one"[..], b"two", b"three", b"four"]));
        assert_eq!(loaded.head, head + 2);
    }
    assert_eq!(here.compact(step(0, head, &[], &[], "")).await?, Compacted::Done, "through a key that was used up");
    assert_eq!(there.load().await?.tail, rows(head + 1, &["three", "four"]));
    Ok(())
}

#[allow(missing_docs)]
pub async fn of_appends_on_the_same_head_one_lands<D: Databases>(databases: &D) -> Result<()> {
    let journal = databases.create().await?;
    let (first, second) = join(journal.append(0, b"a".to_vec()), journal.append(0, b"b".to_vec())).await;
    assert_eq!((first?, second?), (Appended::At(1), Appended::Stale));
    assert_eq!(journal.load().await?.tail, rows(1, &["a"]));
    Ok(())
}

#[allow(missing_docs)]
pub async fn two_connections_racing_lose_nothing<D: Databases>(databases: &D) -> Result<()> {
    const EACH: usize = 200;
    async fn race(journal: &impl Journal, who: &str) -> Result<()> {
        let mut head = 0;
        for number in 0..EACH {
            loop {
                match journal.append(head, format!("{who}{number}").into_bytes()).await? {
                    Appended::At(key) => break head = key,
                    Appended::Stale => {
                        let Tail::Rows(news, newest) = journal.tail(head).await? else { unreachable!("nothing is compacted") };
                        assert!(!news.is_empty(), "stale means that somebody was faster");
                        head = newest;
                    }
                }
            }
        }
        Ok(())
    }
    let here = databases.create().await?;
    let there = databases.connect(&here).await?;
    let (left, right) = join(race(&here, "a"), race(&there, "b")).await;
    left.and(right)?;
    let loaded = here.load().await?;
    assert_eq!(loaded.tail.len(), 2 * EACH);
    assert!(loaded.tail.is_sorted_by(|a, b| a.key < b.key) && loaded.tail.last().is_some_and(|row| row.key <= loaded.head));
    for who in ["a", "b"] {
        let mine = loaded.tail.iter().filter(|row| row.bytes.starts_with(who.as_bytes()));
        assert!(mine.map(|row| row.bytes.clone()).eq((0..EACH).map(|number| format!("{who}{number}").into_bytes())));
    }
    Ok(())
}

#[allow(missing_docs)]
pub async fn tail_gives_the_rows_after_a_key<D: Databases>(databases: &D) -> Result<()> {
    let journal = databases.create().await?;
    for (head, text) in (0..).zip(["one", "two", "three"]) {
        append(&journal, head, text).await?;
    }
    assert_eq!(journal.tail(0).await?, Tail::Rows(rows(1, &["one", "two", "three"]), 3));
    assert_eq!(journal.tail(1).await?, Tail::Rows(rows(2, &["two", "three"]), 3));
    assert_eq!(journal.tail(3).await?, Tail::Rows(vec![], 3));
    Ok(())
}

#[allow(missing_docs)]
pub async fn tail_behind_a_compaction_says_so<D: Databases>(databases: &D) -> Result<()> {
    let here = databases.create().await?;
    let there = databases.connect(&here).await?;
    for head in 0..3 {
        append(&here, head, "row").await?;
    }
    assert_eq!(here.compact(step(0, 2, &[], &[], "")).await?, Compacted::Done);
    assert_eq!(there.tail(1).await?, Tail::Compacted);
    assert_eq!(there.tail(2).await?, Tail::Rows(rows(3, &["row"]), 3));
    Ok(())
}

#[allow(missing_docs)]
pub async fn keys_go_on_after_an_emptied_journal<D: Databases>(databases: &D) -> Result<()> {
    let mut journal = databases.create().await?;
    append(&journal, 0, "one").await?;
    append(&journal, 1, "two").await?;
    for head in 2..5 {
        let compacted = if head == 2 { 0 } else { head - 1 };
        assert_eq!(journal.compact(step(compacted, head, &[], &[], "")).await?, Compacted::Done);
        journal.close().await;
        journal = databases.connect(&journal).await?;
        assert_eq!(journal.load().await?, Loaded { head, compacted: head, ..Loaded::default() });
        for stale in [0, head - 1, head + 1] {
            assert_eq!(journal.append(stale, b"stale".to_vec()).await?, Appended::Stale);
        }
        append(&journal, head, "more").await?;
    }
    assert_eq!(journal.load().await?.tail, rows(5, &["more"]));
    Ok(())
}

#[allow(missing_docs)]
pub async fn large_rows_and_segments_come_back_whole<D: Databases>(databases: &D) -> Result<()> {
    let large = |bytes: usize| (0..bytes).map(|at| (at % 251) as u8).collect::<Vec<_>>();
    let (mega, eight) = (large(1 << 20), large(8 << 20));
    let journal = databases.create().await?;
    assert_eq!(journal.append(0, mega.clone()).await?, Appended::At(1));
    assert_eq!(journal.append(1, eight.clone()).await?, Appended::At(2));
    let tail = vec![Row { key: 1, bytes: mega.clone() }, Row { key: 2, bytes: eight.clone() }];
    assert!(journal.load().await?.tail == tail);
    let put = vec![("mega".into(), mega.clone()), ("eight".into(), eight.clone()), ("again".into(), mega.clone())];
    let step = Compaction { through: 2, put, ..Compaction::default() };
    assert_eq!(journal.compact(step).await?, Compacted::Done);
    let read = read(&databases.connect(&journal).await?, 2, &["again", "eight", "mega"]).await?;
    assert!(read == Segments::Read(vec![mega.clone(), eight, mega]));
    Ok(())
}

#[allow(missing_docs)]
pub async fn bytes_come_back_as_they_were<D: Databases>(databases: &D) -> Result<()> {
    let journal = databases.create().await?;
    let bodies = [Vec::new(), (0..=255).collect::<Vec<u8>>(), "\u{0}\u{feff} 🐓 ä \u{10ffff}".into(), vec![0xff; 3]];
    for (head, body) in (0..).zip(&bodies) {
        assert_eq!(journal.append(head, body.clone()).await?, Appended::At(head + 1));
    }
    assert!(journal.load().await?.tail.into_iter().map(|row| row.bytes).eq(bodies));
    Ok(())
}

#[allow(missing_docs)]
pub async fn a_closed_journal_answers_closed<D: Databases>(databases: &D) -> Result<()> {
    let journal = databases.create().await?;
    append(&journal, 0, "kept").await?;
    journal.close().await;
    journal.close().await;
    let closed = Err(Code::Closed);
    assert_eq!(journal.load().await.map(drop).map_err(|error| error.code), closed);
    assert_eq!(journal.tail(0).await.map(drop).map_err(|error| error.code), closed);
    assert_eq!(read(&journal, 0, &[]).await.map(drop).map_err(|error| error.code), closed);
    assert_eq!(journal.append(1, b"lost".to_vec()).await.map(drop).map_err(|error| error.code), closed);
    assert_eq!(journal.compact(step(0, 1, &[], &[], "")).await.map(drop).map_err(|error| error.code), closed);
    assert_eq!(databases.connect(&journal).await?.load().await?.tail, rows(1, &["kept"]));
    Ok(())
}

#[allow(missing_docs)]
pub async fn an_append_under_way_survives_close<D: Databases>(databases: &D) -> Result<()> {
    let journal = databases.create().await?;
    let (appended, ()) = join(journal.append(0, b"kept".to_vec()), journal.close()).await;
    assert_eq!(appended?, Appended::At(1));
    assert_eq!(databases.connect(&journal).await?.load().await?.tail, rows(1, &["kept"]));
    Ok(())
}

#[allow(missing_docs)]
pub async fn a_destroyed_journal_is_gone_for_everybody<D: Databases>(databases: &D) -> Result<()> {
    let here = databases.create().await?;
    let there = databases.connect(&here).await?;
    append(&here, 0, "secret").await?;
    assert_eq!(here.compact(step(0, 1, &[("a", "secret")], &[], "secret")).await?, Compacted::Done);
    here.destroy().await?;
    assert_eq!(here.load().await.map_err(|error| error.code), Err(Code::Closed));
    assert_eq!(there.append(1, b"more".to_vec()).await.map_err(|error| error.code), Err(Code::StorageLost));
    let anew = databases.connect(&here).await?;
    assert_eq!(anew.load().await?, Loaded::default());
    append(&anew, 0, "a new start").await?;
    assert_eq!(there.load().await.map_err(|error| error.code), Err(Code::StorageLost), "not the new one's rows");
    here.destroy().await?;
    assert_eq!(anew.load().await.map_err(|error| error.code), Err(Code::StorageLost), "destroy works on a closed journal");
    Ok(())
}

#[allow(missing_docs)]
pub async fn a_failed_append_writes_nothing_and_leaves_the_journal_usable<D: Databases>(databases: &D) -> Result<()> {
    let journal = databases.create().await?;
    append(&journal, 0, "one").await?;
    databases.fill_up(&journal);
    let failed = journal.append(1, b"too much".to_vec()).await;
    assert_eq!(failed.map_err(|error| error.code), Err(Code::StorageFull));
    assert_eq!(journal.load().await?, Loaded { head: 1, tail: rows(1, &["one"]), ..Loaded::default() });
    append(&journal, 1, "two").await?;
    assert_eq!(databases.connect(&journal).await?.load().await?.tail, rows(1, &["one", "two"]));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryJournal;
    use futures_executor::block_on;

    struct Memory;

    impl Databases for Memory {
        type Journal = MemoryJournal;
        async fn create(&self) -> Result<MemoryJournal> {
            Ok(MemoryJournal::new())
        }
        async fn connect(&self, to: &MemoryJournal) -> Result<MemoryJournal> {
            Ok(to.clone())
        }
        fn fill_up(&self, journal: &MemoryJournal) {
            journal.fail_next(Code::StorageFull);
        }
    }

    macro_rules! each {
        ($($case:ident,)*) => {
            $(#[test] fn $case() { block_on(super::$case(&Memory)).unwrap(); })*
            const LISTED: &[&str] = &[$(stringify!($case)),*];
        };
    }
    crate::journal_cases!(each);

    #[test]
    fn every_case_is_listed() {
        let files = [include_str!("contract.rs"), include_str!("contract/compaction.rs")];
        let lines = files.iter().flat_map(|file| file.lines()).filter_map(|line| line.strip_prefix("pub async fn "));
        let written: Vec<_> = lines.filter_map(|line| line.split('<').next()).collect();
        assert_eq!(written, LISTED);
    }
}
