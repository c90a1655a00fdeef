-- What only one record of a collection can have: a value under a `unique` constraint (number 0), a number under its parent.
CREATE TABLE claims (
    scope      TEXT   NOT NULL,
    collection TEXT   NOT NULL,
    rule       TEXT   NOT NULL,                 -- the fields
    value      TEXT   NOT NULL,                 -- a hash of what they hold; of numbers, of the parent
    number     BIGINT NOT NULL,
    id         TEXT   NOT NULL,                 -- the record that has it
    PRIMARY KEY (scope, collection, rule, value, number)
);
-- Ordinals are above: more than 0 where an incarnation of the data was lost.
ALTER TABLE scopes ADD COLUMN numbers_from BIGINT NOT NULL DEFAULT 0;
