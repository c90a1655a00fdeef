-- The tables of `migrations/sqlite`, for PostgreSQL and engines that speak like it.
--
-- Every key and every index begins with the scope, and no statement of the store lacks `scope = …`: so the tables can be
-- partitioned, or distributed over machines, by scope alone, and a transaction stays on one of them.
-- Records are TEXT, not JSONB: their text is what was agreed on (numbers as written, `\u0000` inside).

CREATE TABLE scopes (
    scope          TEXT   NOT NULL PRIMARY KEY,
    epoch          TEXT   NOT NULL,             -- incarnation of this scope's data
    rev            BIGINT NOT NULL,             -- last _rev given, in commit order: who writes holds this row's lock
    purged_through BIGINT NOT NULL              -- tombstones with _rev up to here are gone
);

-- The newest version of every record, tombstones and the conflict archive included.
CREATE TABLE rows (
    scope       TEXT    NOT NULL,
    collection  TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    rev         BIGINT  NOT NULL,
    received_at BIGINT  NOT NULL,               -- the server's clock, milliseconds since 1970
    deleted     BOOLEAN NOT NULL,
    by_client   TEXT,
    body        TEXT    NOT NULL,               -- the record as JSON text, envelope included
    about       TEXT,                           -- of a row of _conflictArchive: the collection it is about
    PRIMARY KEY (scope, collection, id)
);
CREATE UNIQUE INDEX rows_rev ON rows (scope, rev);
CREATE INDEX rows_received ON rows (scope, received_at);
CREATE INDEX rows_about ON rows (scope, about, rev) WHERE about IS NOT NULL;

-- The final outcome of every mutation, for ever the same answer.
CREATE TABLE receipts (
    scope   TEXT   NOT NULL,
    client  TEXT   NOT NULL,                    -- the client of the mutation id
    seq     BIGINT NOT NULL,
    payload TEXT   NOT NULL,                    -- hash of what was sent under that id
    result  TEXT   NOT NULL,                    -- the answer as JSON text
    PRIMARY KEY (scope, client, seq)
);

CREATE TABLE clients (
    scope           TEXT   NOT NULL,
    client          TEXT   NOT NULL,
    settled_through BIGINT NOT NULL,
    PRIMARY KEY (scope, client)
);

-- Optimistic id -> the id the server gave, kept for ever.
CREATE TABLE ids (
    scope      TEXT NOT NULL,
    optimistic TEXT NOT NULL,
    server     TEXT NOT NULL,
    PRIMARY KEY (scope, optimistic)
);

-- Which records wait for a user's decision: the unresolved rows of _conflictArchive, findable by record.
CREATE TABLE unresolved (
    scope       TEXT NOT NULL,
    collection  TEXT NOT NULL,
    record_id   TEXT NOT NULL,
    conflict_id TEXT NOT NULL,
    PRIMARY KEY (scope, collection, record_id)
);
CREATE UNIQUE INDEX unresolved_conflict ON unresolved (scope, conflict_id);

-- Rows accepted with an optimistic id that has no server id yet: they are written again when it gets one.
CREATE TABLE waiting (
    scope      TEXT NOT NULL,
    optimistic TEXT NOT NULL,
    collection TEXT NOT NULL,
    record_id  TEXT NOT NULL,
    PRIMARY KEY (scope, optimistic, collection, record_id)
);
