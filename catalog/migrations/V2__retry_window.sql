-- Ids of flushed batches that a sender may still repeat. A row is one flush; the format of `batches` is in docs/formats.md.
CREATE TABLE retry_window (
    last_seq           INTEGER PRIMARY KEY,
    newest_received_ns INTEGER NOT NULL,
    batches            BLOB    NOT NULL
) STRICT;
