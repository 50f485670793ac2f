//! How far the scrub is, so that a server that restarts often gets through all files all the same.

use rusqlite::params;

use super::Catalog;
use crate::{FileId, Result};

/// A pass over all files, in order of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubPass {
    /// Units: nanoseconds since the Unix epoch; 0 before the first pass.
    pub started_ns: i64,
    /// The last file that was compared with its checksum.
    pub upto: Option<FileId>,
}

impl Catalog {
    pub fn scrub_pass(&self) -> Result<ScrubPass> {
        let (started_ns, upto): (i64, Option<String>) =
            self.lock().query_row("SELECT scrub_started_ns, scrubbed_upto FROM store", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        // A position that cannot be read begins the pass anew.
        let upto = upto.and_then(|id| u128::from_str_radix(&id, 16).ok()).map(FileId);
        Ok(ScrubPass { started_ns, upto })
    }

    pub fn save_scrub_pass(&self, pass: &ScrubPass) -> Result<()> {
        self.lock().execute(
            "UPDATE store SET scrub_started_ns = ?1, scrubbed_upto = ?2",
            params![pass.started_ns, pass.upto.map(|id| id.to_string())],
        )?;
        Ok(())
    }
}
