-- Under which `unique` and `ordinal` rules claims are kept: one row for the whole database. A server that declares others than the
-- last one begins a version; servers of earlier ones write no more.
CREATE TABLE declared (
    one     INTEGER NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    kept    TEXT    NOT NULL,                   -- rules whose claims may be there, as JSON
    indexed TEXT    NOT NULL                    -- those of them whose claims are complete
);
INSERT INTO declared (one, version, kept, indexed) VALUES (1, 0, '[]', '[]');
