-- The rules of that version, as JSON: servers that start together with the same ones are of one version. Unknown where somebody was about to
-- index for others.
ALTER TABLE declared ADD COLUMN rules TEXT;
UPDATE declared SET rules = kept WHERE kept = indexed;
