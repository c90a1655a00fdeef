//! The contract of a store, on SQLite and on PostgreSQL.
//!
//! Lives here: on which databases it runs, and what is of one alone. Not here: the contract (`contract`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod claims;
#[path = "../common/mod.rs"]
mod common;
mod contract;
mod look;
mod postgres;
mod sqlite;

use common::place::Place;
use homing_server::store::Store;
use homing_server::store::postgres::Postgres;
use homing_server::store::sqlite::Sqlite;

/// A database that can be opened several times, as by several servers.
pub(crate) trait Home {
    type Store: Store;
    async fn open(&self) -> Self::Store;
    /// How many can write at the same time, in different scopes.
    fn writers_at_once(&self) -> usize;
    /// Until somebody waits for the scope, where that can be seen; where it cannot, whoever comes second has not looked yet.
    async fn waits(&self, scope: &str);
}

pub(crate) struct File(Place);

impl Home for File {
    type Store = Sqlite;

    async fn open(&self) -> Sqlite {
        Sqlite::open(&self.0.name()).await.unwrap()
    }

    fn writers_at_once(&self) -> usize {
        1
    }

    async fn waits(&self, _scope: &str) {}
}

pub(crate) struct Server(Place);

impl Home for Server {
    type Store = Postgres;

    async fn open(&self) -> Postgres {
        Postgres::open(&self.0.name(), 3).await.unwrap()
    }

    fn writers_at_once(&self) -> usize {
        3
    }

    async fn waits(&self, _scope: &str) {
        let waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while self.0.number(waiting).await == 0 {}
    }
}

macro_rules! on_every_database {
    ($($promise:ident),* $(,)?) => {
        mod on_sqlite {
            use super::{File, Place, contract};
            $(#[tokio::test] async fn $promise() { contract::$promise(File(Place::sqlite())).await })*
        }
        mod on_postgres {
            use super::{Place, Server, contract};
            $(#[tokio::test] async fn $promise() { contract::$promise(Server(Place::postgres().await)).await })*
        }
    };
}

on_every_database!(
    what_is_committed_is_loaded_again_in_its_scope_only,
    a_dropped_transaction_leaves_nothing,
    a_decided_conflict_waits_no_longer_and_a_newer_one_takes_its_place,
    a_conflict_whose_record_is_called_otherwise_goes_on_waiting,
    of_the_archive_the_newest_stay_and_what_waits_for_ever,
    pages_come_in_rev_order_with_one_row_more,
    a_page_planned_for_another_head_is_planned_again,
    a_page_never_holds_much_more_than_its_bytes,
    behind_a_row_longer_than_a_page_others_follow,
    a_scope_that_waits_keeps_nobody_else_waiting,
    waiting_has_an_end,
    who_waited_sees_what_was_written_meanwhile,
    a_new_scope_gets_one_head,
    revs_become_visible_in_their_order,
    a_purge_takes_what_is_past_the_horizon_and_nothing_else,
    a_purge_looks_at_so_many_receipts_at_a_time,
    what_is_long_is_told_by_its_length_and_loaded_when_it_is_asked_for_again,
    what_one_record_has_no_other_gets,
    who_declares_the_same_ends_nobody,
);
