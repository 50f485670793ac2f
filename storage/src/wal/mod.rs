//! The write-ahead log.
//!
//! | file | purpose |
//! |---|---|
//! | `format.rs` | bytes of a segment header and of a frame; pure |
//! | `scan.rs` | from the bytes of a segment to its frames and its damages; pure |
//! | `recovery.rs` | all segments of a directory: what is whole, what was torn, what was lost |
//! | `segment.rs` | one segment open for writing |
//! | `writer.rs` | the writer thread: group commit, publication, roll |
//!
//! ```text
//! wal/00000000000000000001.wal     header | frame | frame | ... | seal
//! wal/00000000000000004711.wal     header | frame | frame |            <- written to
//! ```
//!
//! The byte-exact format, and what recovery concludes from which damage, is in `docs/formats.md`.
//!
//! **Invariants**
//! - A segment is written by one process only: it is never appended to after a restart, and never truncated.
//! - Sequence numbers rise by one from frame to frame, across segments.
//! - A frame's checksums include the segment's salt and its sequence number: bytes of another file, or bytes that moved,
//!   never validate.
//! - A segment is sealed and synced, or abandoned at its last durable byte, before the next one is created.

mod format;
mod recovery;
mod scan;
mod segment;
mod writer;

pub(crate) use format::{Frame, MAX_PAYLOAD_BYTES, payload_bytes};
pub(crate) use recovery::{RecoveredLog, recover};
pub(crate) use writer::{Append, Command, Cut, WalWriter, WriterHandle};
