-- When the receipt was written, by the server's clock; of older ones: now.
ALTER TABLE receipts ADD COLUMN received_at BIGINT NOT NULL DEFAULT 0;
UPDATE receipts SET received_at = CAST(EXTRACT(EPOCH FROM now()) AS BIGINT) * 1000;
CREATE INDEX rows_deleted ON rows (scope, rev) WHERE deleted;
