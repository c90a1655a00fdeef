-- Transactions that wrote to the scope: who locked it sees by it whether anybody wrote since it began to look.
ALTER TABLE scopes ADD COLUMN writes BIGINT NOT NULL DEFAULT 0;
