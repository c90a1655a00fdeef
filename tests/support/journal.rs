//! For journals of tests that change some calls of another one: the rest. Test targets take this file in by its path.

/// The calls of a [`homing::storage::Journal`] that go to `self.inner` as they are, by their names.
macro_rules! through {
    ($($call:ident)+) => { $(through! { = $call })+ };
    (= load) => {
        async fn load(&self) -> homing::core::error::Result<homing::storage::Loaded> {
            self.inner.load().await
        }
    };
    (= segments) => {
        async fn segments(&self, compacted: u64, names: &[String]) -> homing::core::error::Result<homing::storage::Segments> {
            self.inner.segments(compacted, names).await
        }
    };
    (= names) => {
        async fn names(&self, compacted: u64) -> homing::core::error::Result<Option<Vec<String>>> {
            self.inner.names(compacted).await
        }
    };
    (= tail) => {
        async fn tail(&self, after: u64) -> homing::core::error::Result<homing::storage::Tail> {
            self.inner.tail(after).await
        }
    };
    (= append) => {
        async fn append(&self, head: u64, row: impl Into<homing::core::journal::Parts>) -> homing::core::error::Result<homing::storage::Appended> {
            self.inner.append(head, row).await
        }
    };
    (= compact) => {
        async fn compact(&self, step: homing::storage::Compaction) -> homing::core::error::Result<homing::storage::Compacted> {
            self.inner.compact(step).await
        }
    };
    (= close) => {
        async fn close(&self) {
            self.inner.close().await;
        }
    };
    (= destroy) => {
        async fn destroy(&self) -> homing::core::error::Result<()> {
            self.inner.destroy().await
        }
    };
}
pub(crate) use through;
