-- Rows accepted with an optimistic id that has no server id yet: they are written again when it gets one.
CREATE TABLE waiting (
    scope      TEXT NOT NULL,
    optimistic TEXT NOT NULL,
    collection TEXT NOT NULL,
    record_id  TEXT NOT NULL,
    PRIMARY KEY (scope, optimistic, collection, record_id)
);
