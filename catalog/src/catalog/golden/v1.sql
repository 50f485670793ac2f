-- A catalog as the first version left it: two tenants, two files, a loss. Never changed.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE data_loss (
    id         INTEGER PRIMARY KEY,
    first_seq  INTEGER NOT NULL,
    last_seq   INTEGER NOT NULL,
    source     TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
INSERT INTO "data_loss" VALUES(1,10,12,'wal/x.wal','missing at byte 96','2026-11-21T12:02:31.068Z');
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
INSERT INTO "files" VALUES('00000000000000000000000000000001',1,2,495000,10,2048,X'07070707070707070707070707070707',-9223372036854775808,9223372036854775807,1,5,1,'live','2026-11-21T12:02:31.068Z',NULL);
INSERT INTO "files" VALUES('00000000000000000000000000000002',1,2,495000,10,2048,X'07070707070707070707070707070707',-9223372036854775808,9223372036854775807,6,9,1,'live','2026-11-21T12:02:31.068Z',NULL);
CREATE TABLE refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO "refinery_schema_history" VALUES(1,'catalog','2026-11-21T12:02:31.066479675Z','6770656429692934043');
CREATE TABLE store (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    uuid        BLOB    NOT NULL CHECK (length(uuid) = 16),
    flushed_seq INTEGER NOT NULL,
    created_at  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
INSERT INTO "store" VALUES(1,X'07120E82314830A36DE486D5272C202E',9,'2026-11-21T12:02:31.066Z');
CREATE TABLE tenants (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
INSERT INTO "tenants" VALUES(1,'team-a','2026-11-21T12:02:31.067Z');
INSERT INTO "tenants" VALUES(2,'team-b','2026-11-21T12:02:31.067Z');
CREATE INDEX files_by_partition ON files (tenant_number, signal, hour) WHERE state = 'live';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tenants',2);
COMMIT;
