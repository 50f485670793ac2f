//! How a catalog is opened: to be used, or only to be looked at. Either way not before it was found to be sound.

use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::integrity::SchemaObject;
use super::mark::{Mark, MarkFile};
use super::{Catalog, Inner, integrity, migrations};
use crate::connection::{check_history, open_checked};
use crate::error::{CatalogDamage, is_of_the_machine};
use crate::{Error, Result};

/// Pages copied at a time.
const COPIED_PAGES: i32 = 1_000;

impl Catalog {
    /// Opens or creates the catalog at `path`.
    ///
    /// # Errors
    /// `DamagedCatalog` — it is not what was last written to it: it has to be built anew. `NewerSchema` — a newer version wrote it.
    /// `Open`, `Migrate`, `Lock`, `NotDurable` — the machine is in the way.
    pub fn open(path: &Path) -> Result<Self> {
        // Before the database: then it can only be behind.
        let mark = Mark::read(path);
        refuse_missing(path, mark)?;
        let runner = migrations::migrations::runner();
        let opened = open_checked(path, runner, |connection| {
            // What is refused stays as it was found.
            let keep_log = |keep| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep);
            keep_log(true)?;
            integrity::register_function(connection)?;
            refuse(path, integrity::check(connection, mark)?)?;
            keep_log(false)?;
            Ok(())
        });
        let checked = opened.and_then(|mut connection| {
            integrity::install(&mut connection)?;
            check_schema(path, &connection)?;
            Ok(connection)
        });
        let connection = checked.map_err(|error| judge(path, error))?;
        let mark = MarkFile::open(path, &connection)
            .map_err(|source| Error::Mark { path: path.to_owned(), source })?;
        Ok(Self::over(connection, Some(mark)))
    }

    /// Reads the catalog at `path` into memory, where it is checked and brought to this version; the file stays as it is.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub fn inspect(path: &Path) -> Result<Self> {
        let mark = Mark::read(path);
        if !path.exists() {
            return Err(damaged(path, CatalogDamage::Missing));
        }
        refuse_missing(path, mark)?;
        let read = || -> Result<Connection> {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_NOFOLLOW;
            let from = Connection::open_with_flags(path, flags)?;
            let mut connection = Connection::open_in_memory()?;
            Backup::new(&from, &mut connection)?.run_to_completion(COPIED_PAGES, Duration::ZERO, None)?;
            integrity::register_function(&connection)?;
            refuse(path, integrity::check(&connection, mark)?)?;
            check_history(&connection, path, &migrations::migrations::runner())?;
            migrate(path, &mut connection)?;
            check_schema(path, &connection)?;
            Ok(connection)
        };
        Ok(Self::over(read().map_err(|error| judge(path, error))?, None))
    }

    fn over(connection: Connection, mark: Option<MarkFile>) -> Self {
        let total_changes = connection.total_changes();
        Self { inner: Mutex::new(Inner { connection, mark, total_changes }) }
    }
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<()> {
    migrations::migrations::runner()
        .set_grouped(true)
        .run(connection)
        .map_err(|source| Error::Migrate { path: path.to_owned(), source })?;
    Ok(integrity::install(connection)?)
}

/// SQLite makes an empty database of nothing, and of a file that was cut to nothing.
fn refuse_missing(path: &Path, mark: Option<Mark>) -> Result<()> {
    let is_missing = std::fs::metadata(path).map_or(true, |file| file.len() == 0);
    refuse(path, (mark.is_some() && is_missing).then_some(CatalogDamage::Missing))
}

fn check_schema(path: &Path, connection: &Connection) -> Result<()> {
    refuse(path, integrity::check_schema(connection, expected_schema(path)?)?)
}

/// What the migrations make of nothing. Made once: it takes as long as all the rest of an opening.
fn expected_schema(path: &Path) -> Result<&'static [SchemaObject]> {
    static EXPECTED: OnceLock<Vec<SchemaObject>> = OnceLock::new();
    if let Some(expected) = EXPECTED.get() {
        return Ok(expected);
    }
    let mut made = Connection::open_in_memory()?;
    integrity::register_function(&made)?;
    migrate(path, &mut made)?;
    let made = integrity::schema_of(&made)?;
    Ok(EXPECTED.get_or_init(|| made))
}

fn refuse(path: &Path, damage: Option<CatalogDamage>) -> Result<()> {
    damage.map_or(Ok(()), |damage| Err(damaged(path, damage)))
}

fn damaged(path: &Path, damage: CatalogDamage) -> Error {
    Error::DamagedCatalog { path: path.to_owned(), damage }
}

/// What an error on the way to an open catalog says about the catalog, if it says anything.
fn judge(path: &Path, error: Error) -> Error {
    let source = match &error {
        Error::Open { source, .. } | Error::Database(source) => source,
        Error::Migrate { source, .. } => match source.kind() {
            refinery::error::Kind::Connection(_, source) => match source.downcast_ref() {
                Some(source) => source,
                None => return error,
            },
            _ => return damaged(path, CatalogDamage::Structure(integrity::one_line(&source.to_string()))),
        },
        Error::Damaged { detail, .. } => return damaged(path, CatalogDamage::Structure(detail.clone())),
        _ => return error,
    };
    if is_of_the_machine(source) {
        return error;
    }
    damaged(path, CatalogDamage::Structure(integrity::one_line(&source.to_string())))
}
