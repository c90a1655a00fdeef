-- The collection that a row of _conflictArchive is about: so many settled ones of each are kept.
ALTER TABLE rows ADD COLUMN about TEXT;
CREATE INDEX rows_about ON rows (scope, about, rev) WHERE about IS NOT NULL;
