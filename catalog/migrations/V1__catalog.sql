CREATE TABLE store (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    uuid        BLOB    NOT NULL CHECK (length(uuid) = 16),
    flushed_seq INTEGER NOT NULL,
    created_at  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;

INSERT INTO store (id, uuid, flushed_seq) VALUES (1, randomblob(16), 0);

CREATE TABLE tenants (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;

-- state: 'live' is read by queries; later states belong to compaction and retention.
CREATE TABLE files (
    id             TEXT    PRIMARY KEY,
    tenant_number  INTEGER NOT NULL REFERENCES tenants (number),
    signal         INTEGER NOT NULL,
    hour           INTEGER NOT NULL,
    num_rows       INTEGER NOT NULL,
    size_bytes     INTEGER NOT NULL,
    checksum       BLOB    NOT NULL CHECK (length(checksum) = 16),
    min_timestamp  INTEGER NOT NULL,
    max_timestamp  INTEGER NOT NULL,
    first_seq      INTEGER NOT NULL,
    last_seq       INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    state          TEXT    NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'dead')),
    created_at     TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    dead_at        TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX files_by_partition ON files (tenant_number, signal, hour) WHERE state = 'live';

-- Acknowledged entries that could not be read back, so that a loss is on record and never silent.
CREATE TABLE data_loss (
    id         INTEGER PRIMARY KEY,
    first_seq  INTEGER NOT NULL,
    last_seq   INTEGER NOT NULL,
    source     TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
