-- Compacted files span a day; a file of the remote tier is an object there; deletions up to `deletions_applied` are
-- rewritten into the file.
ALTER TABLE files ADD COLUMN num_hours INTEGER NOT NULL DEFAULT 1 CHECK (num_hours IN (1, 24));
ALTER TABLE files ADD COLUMN tier TEXT NOT NULL DEFAULT 'local' CHECK (tier IN ('local', 'remote'));
ALTER TABLE files ADD COLUMN deletions_applied INTEGER NOT NULL DEFAULT 0;

CREATE INDEX dead_files ON files (dead_at) WHERE state = 'dead';

-- Rows that must not be shown: those of a table up to `last_seq` for which the predicate is true.
CREATE TABLE deletions (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_number INTEGER NOT NULL REFERENCES tenants (number),
    signal        INTEGER NOT NULL,
    predicate     TEXT    NOT NULL,
    last_seq      INTEGER NOT NULL,
    num_rows      INTEGER NOT NULL,
    requested_by  TEXT    NOT NULL,
    created_at    TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    -- When no file had such a row any more.
    completed_at  TEXT
) STRICT;

CREATE INDEX pending_deletions ON deletions (tenant_number, signal) WHERE completed_at IS NULL;

-- How long a tenant's rows are kept, where that is not the server's default. NULL: for ever.
CREATE TABLE retention (
    tenant_number INTEGER NOT NULL REFERENCES tenants (number),
    signal        INTEGER NOT NULL,
    keep_ns       INTEGER CHECK (keep_ns > 0),
    PRIMARY KEY (tenant_number, signal)
) STRICT, WITHOUT ROWID;

-- The latest time that the system's clock was seen to say, and how long it has to go steadily before retention trusts it.
ALTER TABLE store ADD COLUMN last_seen_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE store ADD COLUMN retention_hold_ns INTEGER NOT NULL DEFAULT 0 CHECK (retention_hold_ns >= 0);
-- Set by an operator who says that the clock is right and everything that is due may go.
ALTER TABLE store ADD COLUMN retention_confirmed INTEGER NOT NULL DEFAULT 0 CHECK (retention_confirmed IN (0, 1));

-- What is known of the lost rows. Of a damaged stretch of the log it is often only the sequence numbers.
ALTER TABLE data_loss ADD COLUMN tenant_number INTEGER REFERENCES tenants (number);
ALTER TABLE data_loss ADD COLUMN signal INTEGER;
ALTER TABLE data_loss ADD COLUMN num_rows INTEGER;
ALTER TABLE data_loss ADD COLUMN min_timestamp INTEGER;
ALTER TABLE data_loss ADD COLUMN max_timestamp INTEGER;
