-- When an operator took note of a loss, and what they wrote down. It stays on record; health does not speak of it any more.
ALTER TABLE data_loss ADD COLUMN acknowledged_at TEXT;
ALTER TABLE data_loss ADD COLUMN note TEXT CHECK (note IS NULL OR acknowledged_at IS NOT NULL);

CREATE INDEX unacknowledged_losses ON data_loss (id) WHERE acknowledged_at IS NULL;
-- Whether a loss is on record already is asked for each one, and a broken disk has many.
CREATE INDEX losses_by_source ON data_loss (source, first_seq);
