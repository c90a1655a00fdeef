//! A database of a test's own: an SQLite file, or a database in the PostgreSQL that `scripts/postgres.mjs` started.
//!
//! Lives here: making one, looking into it, holding its locks. Not here: servers and clients (`mod.rs`).

use homing_server::store::Database;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use std::path::PathBuf;
use tempfile::TempDir;

/// Gone when dropped; what is in PostgreSQL goes with the whole server.
pub enum Place {
    File(TempDir),
    Postgres(String),
}

/// Someone else who writes to a scope and does not come to an end.
pub enum Hold {
    File(SqliteConnection),
    Postgres(PgConnection),
}

impl Place {
    /// Where `HOMING_TEST_STORE` says; SQLite unless told otherwise.
    pub async fn new() -> Self {
        match std::env::var("HOMING_TEST_STORE").as_deref() {
            Ok("postgres") => Self::postgres().await,
            Ok("sqlite") | Err(_) => Self::sqlite(),
            Ok(other) => panic!("HOMING_TEST_STORE is {other}"),
        }
    }

    pub fn sqlite() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    pub async fn postgres() -> Self {
        let server = std::env::var("HOMING_TEST_POSTGRES").expect(
            "these tests need PostgreSQL, and HOMING_TEST_POSTGRES names none.\nRun `npm run test:server`, or `node scripts/postgres.mjs -- cargo test -p homing-server`",
        );
        let name = format!("homing_{}", uuid::Uuid::new_v4().simple());
        let mut db = PgConnection::connect(&server).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut db).await.unwrap();
        db.close().await.unwrap();
        let (before, _) = server.rsplit_once('/').unwrap();
        Self::Postgres(format!("{before}/{name}"))
    }

    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File(folder) => Some(folder.path().join("server.db")),
            Self::Postgres(_) => None,
        }
    }

    /// What `--database` is told.
    pub fn name(&self) -> String {
        match self {
            Self::File(_) => self.file().unwrap().display().to_string(),
            Self::Postgres(url) => url.clone(),
        }
    }

    pub fn database(&self) -> Database {
        self.name().parse().unwrap()
    }

    /// One number from the database.
    pub async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::File(_) => {
                let options = SqliteConnectOptions::new().filename(self.file().unwrap()).read_only(true);
                let mut db = SqliteConnection::connect_with(&options).await.unwrap();
                let found = sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap();
                db.close().await.unwrap();
                found
            }
            Self::Postgres(url) => {
                let mut db = PgConnection::connect(url).await.unwrap();
                let found = sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap();
                db.close().await.unwrap();
                found
            }
        }
    }

    /// Changes the database behind everybody's back.
    pub async fn change(&self, statements: &[&str]) {
        for sql in statements {
            let sql = AssertSqlSafe((*sql).to_owned());
            match self {
                Self::File(_) => {
                    let options = SqliteConnectOptions::new().filename(self.file().unwrap());
                    let mut db = SqliteConnection::connect_with(&options).await.unwrap();
                    sqlx::query(sql).execute(&mut db).await.unwrap();
                    db.close().await.unwrap();
                }
                Self::Postgres(url) => {
                    let mut db = PgConnection::connect(url).await.unwrap();
                    sqlx::query(sql).execute(&mut db).await.unwrap();
                    db.close().await.unwrap();
                }
            }
        }
    }

    /// Rows that `filter` is true of.
    pub async fn count(&self, filter: &str) -> i64 {
        self.number(&format!("SELECT COUNT(*) FROM rows WHERE {filter}")).await
    }

    /// Rows, receipts, marks, ids and conflicts.
    pub async fn stored(&self) -> i64 {
        let tables = ["rows", "receipts", "clients", "ids", "unresolved", "claims"];
        self.number(&format!("SELECT {}", tables.map(|t| format!("(SELECT COUNT(*) FROM {t})")).join(" + "))).await
    }

    pub async fn hold(&self, scope: &str) -> Hold {
        match self {
            Self::File(_) => {
                let options = SqliteConnectOptions::new().filename(self.file().unwrap());
                let mut db = SqliteConnection::connect_with(&options).await.unwrap();
                sqlx::query("BEGIN IMMEDIATE").execute(&mut db).await.unwrap();
                Hold::File(db)
            }
            Self::Postgres(url) => {
                let mut db = PgConnection::connect(url).await.unwrap();
                sqlx::query("BEGIN").execute(&mut db).await.unwrap();
                sqlx::query("SELECT 1 FROM scopes WHERE scope = $1 FOR UPDATE").bind(scope).execute(&mut db).await.unwrap();
                Hold::Postgres(db)
            }
        }
    }
}

impl Hold {
    pub async fn release(self) {
        match self {
            Self::File(mut db) => drop(sqlx::query("ROLLBACK").execute(&mut db).await.unwrap()),
            Self::Postgres(mut db) => drop(sqlx::query("ROLLBACK").execute(&mut db).await.unwrap()),
        }
    }
}
