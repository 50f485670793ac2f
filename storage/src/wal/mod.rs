//! The write-ahead log.
//!
//! | file | purpose |
//! |---|---|
//! | `format.rs` | bytes of a segment header and of a frame; pure |
//! | `salt.rs` | what of a segment's salt its checksums depend on; pure |
//! | `scan.rs` | from the bytes of a segment to its frames and its damages; pure |
//! | `recovery.rs` | all segments of a directory: what is whole, what was torn, what was lost |
//! | `segment.rs` | one segment open for writing |
//! | `mark.rs` | what was durable when the log fell idle |
//! | `queue.rs` | what is handed to the writer |
//! | `ending.rs` | whether a segment was ended in order |
//! | `writer.rs` | the writer thread: group commit, publication, roll |
//! | `fault.rs` | what the writer does about a disk that fails |
//!
//! ```text
//! wal/00000000000000000001.wal     header | frame | frame | ... | seal
//! wal/00000000000000004711.wal     header | frame | frame |            <- written to
//! wal/mark                         4712
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
//! - A file that could not be synced is never synced again, and its rows are in data files before the next is acknowledged.

mod ending;
mod fault;
mod format;
mod mark;
mod queue;
mod recovery;
mod salt;
mod scan;
mod segment;
mod writer;

pub(crate) use ending::is_sealed;
pub(crate) use format::{Frame, MAX_PAYLOAD_BYTES, payload_bytes};
pub(crate) use queue::{Append, Command, Cut, WriterHandle};
pub(crate) use recovery::{Loss, recover, store_of_log};
pub(crate) use writer::{Replayed, WalWriter};
