//! Whether the catalog is what was last written to it.
//!
//! SQLite's pages carry no checksums: a flipped bit becomes another number, a lost page another table, and a write-ahead log
//! that is cut short is a shorter log, which gives an older catalog. Any of these would make queries wrong without a word. So
//! three things are compared whenever a catalog is opened:
//!
//! | what | finds |
//! |---|---|
//! | `PRAGMA integrity_check` | damaged pages, rows that an index does not have, values that no constraint allows |
//! | the digest of each table's rows | values and rows that changed, or came back, by themselves |
//! | the mark beside the database | a database, or a log of it, that is older than the last COMMIT |
//!
//! A digest is the sum of the hashes of the rows, so a trigger can keep it up with each of them. The triggers are in the
//! database and their function is in this program: whoever changes a row by other means is told that there is no such function.

use std::fmt::Write as _;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, TransactionBehavior, params};
use xxhash_rust::xxh3::Xxh3;

use super::mark::Mark;
use crate::error::CatalogDamage;

/// Called by the triggers: the digest `?1` with the row of table `?3` and columns `?4`... added or, for -1 as `?2`, taken out.
const FUNCTION: &str = "alula_digest";

/// Characters of what SQLite says that are repeated.
const MAX_SAID: usize = 200;

/// Tables whose rows decide what queries see, and the columns that are covered; none means all of them.
///
/// What is missing here may be wrong without harm: where the scrub is, when the clock was looked at, what ingest refused.
const COVERED: [(&str, &[&str]); 10] = [
    ("data_loss", &[]),
    ("deletions", &[]),
    ("files", &[]),
    ("remote_files", &[]),
    ("retention", &[]),
    ("retry_window", &[]),
    ("store", &["uuid", "flushed_seq"]),
    ("tenants", &[]),
    ("user_files", &[]),
    ("user_tables", &[]),
];

/// Makes the function known that the triggers call.
pub(super) fn register_function(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function(FUNCTION, -1, flags, |context: &Context<'_>| {
        let (digest, sign): (i64, i64) = (context.get(0)?, context.get(1)?);
        let row = hash_row((2..context.len()).map(|i| context.get_raw(i)));
        Ok(if sign < 0 { digest.wrapping_sub(row) } else { digest.wrapping_add(row) })
    })
}

/// Compares an opened database, of whatever version, with what it says of itself and with its mark.
pub(super) fn check(connection: &Connection, mark: Option<Mark>) -> rusqlite::Result<Option<CatalogDamage>> {
    // One view of it all: another process may be writing.
    let connection = connection.unchecked_transaction()?;
    // The first finding is enough. Not `quick_check`, which does not compare an index with its table.
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Ok(Some(CatalogDamage::Structure(one_line(&found))));
    }
    if !has_table(&connection, "integrity")? {
        return Ok(None);
    }
    for (table, columns, digest) in recorded_digests(&connection)? {
        if !COVERED.iter().any(|(covered, _)| *covered == table) {
            return Ok(Some(CatalogDamage::Rows { table: "integrity".to_owned() }));
        }
        if digest_of(&connection, &table, &columns)? != digest {
            return Ok(Some(CatalogDamage::Rows { table }));
        }
    }
    let here = Mark::of(&connection)?;
    Ok(match mark {
        Some(mark) if mark.num_changes > here.num_changes => {
            Some(CatalogDamage::Outdated { found: here.num_changes, expected: mark.num_changes })
        }
        Some(mark) if mark.num_changes == here.num_changes && mark.digest != here.digest => {
            Some(CatalogDamage::Rows { table: "integrity".to_owned() })
        }
        _ => None,
    })
}

/// Sets up what is not covered yet: a table of an earlier version, or one that a migration gave another column.
pub(super) fn install(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let recorded = recorded_digests(&transaction)?;
    for (table, covered) in COVERED {
        let columns = if covered.is_empty() { columns_of(&transaction, table)? } else { covered.join(", ") };
        if recorded.iter().any(|(name, of, _)| name == table && *of == columns) {
            continue;
        }
        transaction.execute_batch(&triggers(table, &columns))?;
        transaction.execute(
            "INSERT INTO integrity (table_name, columns, digest) VALUES (?1, ?2, ?3)
             ON CONFLICT (table_name) DO UPDATE SET columns = excluded.columns, digest = excluded.digest",
            params![table, columns, digest_of(&transaction, table, &columns)?],
        )?;
        transaction.execute("UPDATE store SET num_changes = num_changes + 1", [])?;
    }
    transaction.commit()
}

/// A table, an index or a trigger: its kind, its name, its table and its definition.
pub(super) type SchemaObject = [String; 4];

/// What a database is made of, without what SQLite and the migrations keep for themselves.
pub(super) fn schema_of(connection: &Connection) -> rusqlite::Result<Vec<SchemaObject>> {
    let mut objects = connection.prepare(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema
         WHERE sql IS NOT NULL AND tbl_name NOT LIKE 'sqlite%' AND tbl_name <> 'refinery_schema_history'",
    )?;
    let rows = objects.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?;
    rows.collect()
}

/// Whether everything that this version would make is there, and as it would make it.
pub(super) fn check_schema(
    connection: &Connection,
    expected: &[SchemaObject],
) -> rusqlite::Result<Option<CatalogDamage>> {
    let found = schema_of(connection)?;
    let missing = expected.iter().find(|object| !found.contains(object));
    let damage = |[kind, name, ..]: &SchemaObject| format!("the {kind} {name} is not as it was made");
    Ok(missing.map(|object| CatalogDamage::Structure(damage(object))))
}

/// The sum of all recorded digests.
pub(super) fn combined_digest(connection: &Connection) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare_cached("SELECT digest FROM integrity")?;
    let mut rows = statement.query([])?;
    let mut sum = 0_i64;
    while let Some(row) = rows.next()? {
        sum = sum.wrapping_add(row.get(0)?);
    }
    Ok(sum)
}

pub(super) fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
    connection.query_row(sql, [name], |row| row.get(0))
}

fn recorded_digests(connection: &Connection) -> rusqlite::Result<Vec<(String, String, i64)>> {
    let mut statement = connection.prepare("SELECT table_name, columns, digest FROM integrity")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<String> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
    let names = statement.query_map([table], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<Vec<String>>>()?.join(", "))
}

fn digest_of(connection: &Connection, table: &str, columns: &str) -> rusqlite::Result<i64> {
    let num_columns = columns.split(", ").count();
    let mut statement = connection.prepare(&format!("SELECT {columns} FROM {table}"))?;
    let mut rows = statement.query([])?;
    let mut sum = 0_i64;
    while let Some(row) = rows.next()? {
        sum = sum.wrapping_add(hash_of(table, row, num_columns)?);
    }
    Ok(sum)
}

fn hash_of(table: &str, row: &Row<'_>, num_columns: usize) -> rusqlite::Result<i64> {
    let mut values = vec![ValueRef::Text(table.as_bytes())];
    for column in 0..num_columns {
        values.push(row.get_ref(column)?);
    }
    Ok(hash_row(values.into_iter()))
}

/// The hash of a table's name and a row's values, each with its type and length: no two rows have the same bytes.
fn hash_row<'a>(values: impl Iterator<Item = ValueRef<'a>>) -> i64 {
    let mut hasher = Xxh3::new();
    for value in values {
        let (kind, bytes): (u8, &[u8]) = match &value {
            ValueRef::Null => (0, &[]),
            ValueRef::Integer(number) => (1, &number.to_le_bytes()),
            ValueRef::Real(number) => (2, &number.to_le_bytes()),
            ValueRef::Text(bytes) => (3, bytes),
            ValueRef::Blob(bytes) => (4, bytes),
        };
        hasher.update(&[kind]);
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hasher.digest().cast_signed()
}

/// The statements that make the triggers of a table.
fn triggers(table: &str, columns: &str) -> String {
    let call = |digest: &str, sign: i64, row: &str| {
        let values: Vec<_> = columns.split(", ").map(|column| format!("{row}.{column}")).collect();
        format!("{FUNCTION}({digest}, {sign}, '{table}', {})", values.join(", "))
    };
    let removed = call("digest", -1, "OLD");
    let mut sql = String::new();
    for (name, event, digest) in [
        ("insert", "INSERT".to_owned(), call("digest", 1, "NEW")),
        ("update", format!("UPDATE OF {columns}"), call(&removed, 1, "NEW")),
        ("delete", "DELETE".to_owned(), removed.clone()),
    ] {
        write!(
            sql,
            "DROP TRIGGER IF EXISTS integrity_{table}_{name};
             CREATE TRIGGER integrity_{table}_{name} AFTER {event} ON {table} BEGIN
                 UPDATE integrity SET digest = {digest} WHERE table_name = '{table}';
                 UPDATE store SET num_changes = num_changes + 1;
             END;"
        )
        .expect("writing to a string does not fail");
    }
    sql
}

/// SQLite repeats statements, which may be of many lines and, in a damaged database, of anything.
pub(super) fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|letter| !letter.is_control()).take(MAX_SAID).collect()
}

#[cfg(test)]
mod tests;
