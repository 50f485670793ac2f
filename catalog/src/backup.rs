//! Copies of a database that is in use.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::connection::create_private;
use crate::{Error, Result};

/// How long the copy waits for a lock that another process has.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// Copies the database at `from`, as it is at one instant, to the file `to`, which only its owner may read.
///
/// Whoever writes to `from` goes on meanwhile, in this process or in another. The copy is complete and sound when this
/// returns, but not yet on stable storage.
///
/// # Errors
/// `Open` — one of them cannot be opened. `Damaged` — the database is, so a copy of it is worth nothing.
pub fn copy_database(from: &Path, to: &Path) -> Result<()> {
    let open = |path: &Path, flags| {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let opened = Connection::open_with_flags(path, flags);
        opened.map_err(|source| Error::Open { path: path.to_owned(), source })
    };
    let source = open(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    source.busy_timeout(LONGEST_WAIT)?;
    create_private(to);
    let mut copy = open(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let found = copy_pages(&source, &mut copy)
        .and_then(|()| copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0)));
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(detail) => Err(Error::Damaged { path: from.to_owned(), detail }),
        Err(error) if is_damage(&error) => {
            Err(Error::Damaged { path: from.to_owned(), detail: error.to_string() })
        }
        Err(error) => Err(error.into()),
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// All pages in one step, and so in one read transaction. Between two steps a commit of another process would make SQLite
/// begin again, and one that never pauses would keep the copy from ever ending.
fn copy_pages(source: &Connection, copy: &mut Connection) -> rusqlite::Result<()> {
    let backup = Backup::new(source, copy)?;
    let started = Instant::now();
    loop {
        let busy = match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            StepResult::Locked => rusqlite::ffi::SQLITE_LOCKED,
            _ => rusqlite::ffi::SQLITE_BUSY,
        };
        if started.elapsed() > LONGEST_WAIT {
            return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(busy), None));
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests;
