//! How a SQLite database is opened, for the catalog and for whoever keeps a database beside it.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
/// `NewerSchema` — a newer version wrote it; `Open`, `Migrate`, `Lock` — it is not a database, or not ours;
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
    refuse_newer(&connection, path, &migrations)?;
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

/// Refuses a database whose migration history goes past what this program knows.
pub(crate) fn refuse_newer(connection: &Connection, path: &Path, migrations: &Runner) -> Result<()> {
    let has_history: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'refinery_schema_history')",
        [],
        |row| row.get(0),
    )?;
    if !has_history {
        return Ok(());
    }
    let found: Option<i64> =
        connection.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))?;
    let known = migrations.get_migrations().iter().map(|m| i64::from(m.version())).max().unwrap_or(0);
    match found {
        Some(found) if found > known => Err(Error::NewerSchema { path: path.to_owned(), found, known }),
        _ => Ok(()),
    }
}
