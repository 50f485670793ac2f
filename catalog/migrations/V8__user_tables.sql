-- Tables of a tenant's own. `schema` is the Arrow schema as an IPC message; `version` rises with every change of the table.
CREATE TABLE user_tables (
    id            TEXT    PRIMARY KEY,
    tenant_number INTEGER NOT NULL REFERENCES tenants (number),
    name          TEXT    NOT NULL,
    schema        BLOB    NOT NULL,
    version       INTEGER NOT NULL CHECK (version > 0),
    created_at    TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    UNIQUE (tenant_number, name)
) STRICT, WITHOUT ROWID;

-- Their files, as `files` has them of telemetry. A dead file may outlive its table.
CREATE TABLE user_files (
    id            TEXT    PRIMARY KEY,
    tenant_number INTEGER NOT NULL REFERENCES tenants (number),
    table_id      TEXT    NOT NULL,
    num_rows      INTEGER NOT NULL,
    size_bytes    INTEGER NOT NULL,
    checksum      BLOB    NOT NULL CHECK (length(checksum) = 16),
    state         TEXT    NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'dead')),
    created_at    TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    dead_at       TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX live_user_files ON user_files (table_id) WHERE state = 'live';
CREATE INDEX dead_user_files ON user_files (dead_at) WHERE state = 'dead';
