//! How a SQLite database is opened, for the catalog and for whoever keeps a database beside it.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use refinery::Runner;
use rusqlite::{Connection, OpenFlags};

use crate::{Error, Result};

/// Opens or creates a database, readable by its owner alone, and brings it to `migrations`.
///
/// Durable: after a COMMIT returns, the transaction survives power loss (`journal_mode=WAL`, `synchronous=FULL`;
/// with `NORMAL`, SQLite in WAL mode loses committed transactions at a power cut).
///
/// Several processes may open the same new database at once: one migrates it, the others wait.
///
/// # Errors
/// `NewerSchema` — a newer version wrote it; `Damaged`, `Open`, `Migrate`, `Lock` — it is not a database, or not ours;
/// `NotDurable` — the file system does not support what a durable COMMIT needs.
pub fn open_database(path: &Path, migrations: Runner) -> Result<Connection> {
    open_checked(path, migrations, |_| Ok(()))
}

/// [`open_database`] with a look at the database, whatever its version, before it is changed.
pub(crate) fn open_checked(
    path: &Path,
    migrations: Runner,
    check: impl FnOnce(&Connection) -> Result<()>,
) -> Result<Connection> {
    let open_error = |source| Error::Open { path: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let _lock = lock_beside(path)?;
    create_private(path);
    let mut connection = Connection::open_with_flags(path, flags).map_err(open_error)?;
    configure(&connection).map_err(open_error)?;
    check_durable(&connection, path)?;
    check(&connection)?;
    check_history(&connection, path, &migrations)?;
    // Grouped: a migration and the row that says it ran are one transaction, so a crash leaves both or neither.
    migrations
        .set_grouped(true)
        .run(&mut connection)
        .map_err(|source| Error::Migrate { path: path.to_owned(), source })?;
    Ok(connection)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Without it a REPLACE removes a row behind the back of its triggers.
    connection.pragma_update(None, "recursive_triggers", true)
}

/// Reads the settings back: one that did not take effect would lose data much later.
fn check_durable(connection: &Connection, path: &Path) -> Result<()> {
    let journal_mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if journal_mode == "wal" && synchronous == 2 {
        Ok(())
    } else {
        Err(Error::NotDurable { path: path.to_owned(), journal_mode, synchronous })
    }
}

/// Creates the file with mode 0600 before SQLite would create it with the process's umask.
///
/// A failure is left for SQLite to report, which names the path.
pub(crate) fn create_private(path: &Path) {
    let _ = File::options().write(true).create_new(true).mode(0o600).open(path);
}

/// Takes the lock on opening the database at `path`; it ends when the file is dropped.
///
/// The lock has a file of its own: closing a second descriptor of the database would drop SQLite's own locks.
fn lock_beside(path: &Path) -> Result<File> {
    let mut name = OsString::from(path);
    name.push(".lock");
    let path = PathBuf::from(name);
    let locked = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
    locked.and_then(|file| file.lock().map(|()| file)).map_err(|source| Error::Lock { path, source })
}

/// Refuses a database whose migration history goes past what this program knows, or cannot be read: the library that migrates
/// takes for granted what it has written.
pub(crate) fn check_history(connection: &Connection, path: &Path, migrations: &Runner) -> Result<()> {
    let has_history: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'refinery_schema_history')",
        [],
        |row| row.get(0),
    )?;
    if !has_history {
        return Ok(());
    }
    let known = migrations.get_migrations().iter().map(|m| i64::from(m.version())).max().unwrap_or(0);
    let mut history = connection
        .prepare("SELECT version, applied_on, checksum FROM refinery_schema_history ORDER BY version DESC")?;
    let rows = history.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    for row in rows {
        let (found, applied_on, checksum): (i64, String, String) = row?;
        if found > known {
            return Err(Error::NewerSchema { path: path.to_owned(), found, known });
        }
        if !is_rfc3339(&applied_on) || checksum.parse::<u64>().is_err() {
            let detail = format!("the record of migration {found} cannot be read");
            return Err(Error::Damaged { path: path.to_owned(), detail });
        }
    }
    Ok(())
}

/// Whether a text is a time as migrations are recorded with: `2026-01-02T03:04:05.000000006Z`.
fn is_rfc3339(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let is_shaped = match shape.strip_prefix("0000-00-00T00:00:00") {
        Some("Z") => true,
        Some(rest) => rest.strip_prefix('.').and_then(|rest| rest.strip_suffix('Z')).is_some_and(|digits| {
            (1..=9).contains(&digits.len()) && digits.bytes().all(|digit| digit == b'0')
        }),
        None => false,
    };
    // Two libraries differ in what they think of leap seconds.
    is_shaped && !text.contains(":60") && text.parse::<Timestamp>().is_ok()
}

#[cfg(test)]
mod tests;
