-- What ingest refused. A row is one reason, of one tenant and signal, in one minute.
CREATE TABLE ingest_rejections (
    id             INTEGER PRIMARY KEY,
    tenant_id      TEXT    NOT NULL,
    signal         INTEGER NOT NULL,
    timestamp      INTEGER NOT NULL,
    last_timestamp INTEGER NOT NULL,
    reason         TEXT    NOT NULL,
    count          INTEGER NOT NULL,
    requests       INTEGER NOT NULL,
    sample         TEXT
) STRICT;

CREATE INDEX ingest_rejections_by_tenant ON ingest_rejections (tenant_id);
