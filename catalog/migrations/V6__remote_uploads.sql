-- What a part of a remote file is verified with: a hash of each block, in order.
CREATE TABLE remote_files (
    file_id     TEXT    PRIMARY KEY REFERENCES files (id) ON DELETE CASCADE,
    block_bytes INTEGER NOT NULL CHECK (block_bytes > 0),
    hashes      BLOB    NOT NULL CHECK (length(hashes) % 16 = 0)
) STRICT, WITHOUT ROWID;

-- Multipart uploads that were begun and are neither completed nor aborted as far as is known.
CREATE TABLE remote_uploads (
    object_name TEXT NOT NULL,
    upload_id   TEXT NOT NULL,
    created_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    PRIMARY KEY (object_name, upload_id)
) STRICT, WITHOUT ROWID;
