-- The sum of the hashes of a table's rows, kept by triggers: SQLite has no checksums, so a flipped bit would be a wrong row.
-- A row that is missing here is computed at the next start, as is one of other columns than the table has.
CREATE TABLE integrity (
    table_name TEXT    PRIMARY KEY,
    columns    TEXT    NOT NULL,
    digest     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Rises with every change of a row that is covered above.
ALTER TABLE store ADD COLUMN num_changes INTEGER NOT NULL DEFAULT 0;

-- The pass of the scrub that is under way: since when, and the last file that was compared with its checksum.
ALTER TABLE store ADD COLUMN scrub_started_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE store ADD COLUMN scrubbed_upto TEXT;
