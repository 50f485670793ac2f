//! The statements that change something: `DELETE`, which erases rows by a condition, `VACUUM`, which rewrites files
//! without them, and those that write tables of the tenant's own. All of them are of the caller's tenant; the first two are for
//! administrators, the others for whoever may write.
//!
//! | file | purpose |
//! |---|---|
//! | `condition.rs` | a condition as text that means the same for ever |
//! | `tables.rs`, `values.rs` | `CREATE TABLE`, `INSERT`, `DROP TABLE`; many rows of parameters as one plan |
//! | `target.rs` | which tables may be written, and how one is filled |
//! | `writes.rs` | what the statements of a transaction have written |
//!
//! A `DELETE` covers every row that was acknowledged before it arrived, and none that comes later. It counts what it hits
//! by counting the table twice, with and without: so the count, and each error that the condition can meet, comes of the very
//! code that leaves the rows out later.

mod condition;
mod tables;
pub(crate) mod target;
mod values;
pub(crate) mod writes;

use std::sync::{Arc, LazyLock};

use alula_catalog::Signal;
use alula_storage::table::{CATALOG_NAME, SCHEMA_NAME, bind_tenant, guard_physical};
use alula_storage::{Error as StorageError, Snapshot};
use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::physical_plan::collect;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Delete, Expr, FromTable, ObjectName, Statement as SqlStatement, TableFactor, VacuumStatement,
};

use crate::command::cut;
use crate::context::QueryContext;
use crate::parameters::{Bound, Parameter, infer_in};
use crate::{Error, Result};

pub(crate) use condition::parse_predicate;
use tables::TableUpdate;

/// What such a statement answers where rows are asked for: how many rows it deleted, took out of files, or wrote.
static ANSWER: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("num_rows", DataType::Int64, false)])));

/// Whether it is a `VACUUM`, which works in the background and as long as there is work. Comments in front of it hide it.
pub(crate) fn is_vacuum(sql: &str) -> bool {
    sql.trim_start().get(..6).is_some_and(|verb| verb.eq_ignore_ascii_case("vacuum"))
}

/// A statement that changes something, checked.
pub(crate) enum Update {
    Delete { signal: Signal, condition: Box<Expr> },
    Vacuum { signal: Option<Signal> },
    Table(Box<TableUpdate>),
}

impl Update {
    /// Checks a statement, without a look at any row. Gives its parameters too.
    ///
    /// # Errors
    /// `NeedsAdmin`, `NeedsWrite` — the caller may not. Others say what is wrong with the statement.
    pub(crate) async fn try_new(
        context: &QueryContext,
        statement: Statement,
        parameters: Vec<String>,
    ) -> Result<(Self, Vec<Parameter>)> {
        let Statement::Statement(statement) = statement else {
            return Err(Error::ReadOnly { statement: String::new() });
        };
        let is_whole = matches!(*statement, SqlStatement::Delete(_) | SqlStatement::Vacuum(_));
        if is_whole && context.settings.transaction.is_some() {
            return Err(Error::UpdateInTransaction);
        }
        match *statement {
            SqlStatement::Delete(delete) => {
                if !context.is_admin {
                    return Err(Error::NeedsAdmin { what: "DELETE", why: "it erases rows" });
                }
                let (signal, condition) = deleted_rows(delete)?;
                let condition = condition::frozen(condition, &context.state)?;
                let planned = context.predicates.plan(signal, condition.clone())?;
                let parameters = infer_in(&planned, parameters)?;
                Ok((Self::Delete { signal, condition: Box::new(condition) }, parameters))
            }
            SqlStatement::Vacuum(vacuum) => {
                if !context.is_admin {
                    return Err(Error::NeedsAdmin { what: "VACUUM", why: "it rewrites files" });
                }
                Ok((Self::Vacuum { signal: vacuumed_table(&vacuum)? }, Vec::new()))
            }
            other => {
                let (update, parameters) = TableUpdate::try_new(context, other, parameters).await?;
                Ok((Self::Table(Box::new(update)), parameters))
            }
        }
    }

    /// Puts values in the place of parameters. Several rows of them become one statement, which is done as a whole.
    pub(crate) fn bind(self, bound: &Bound) -> Result<Self> {
        match self {
            Self::Delete { signal, condition } => {
                Ok(Self::Delete { signal, condition: Box::new(condition::bound(&condition, bound)?) })
            }
            vacuum @ Self::Vacuum { .. } => Ok(vacuum),
            Self::Table(update) => Ok(Self::Table(Box::new(update.bind(bound)?))),
        }
    }

    pub(crate) fn schema() -> SchemaRef {
        Arc::clone(&ANSWER)
    }

    /// The one row of an answer.
    pub(crate) fn answer(num_rows: i64) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(Self::schema(), vec![Arc::new(Int64Array::from(vec![num_rows]))])?)
    }

    /// Does it. Returns how many rows were deleted, taken out of files, or written.
    ///
    /// Durable: when this returns, unless it belongs to a transaction.
    pub(crate) async fn run(self, context: QueryContext) -> Result<i64> {
        match self {
            Self::Delete { signal, condition } => {
                delete(&context, signal, &condition::text(&condition)?).await
            }
            Self::Vacuum { signal } => vacuum(context, signal).await,
            Self::Table(update) => update.run(context).await,
        }
    }
}

/// The table and the condition of a `DELETE` that has nothing else.
fn deleted_rows(delete: Delete) -> Result<(Signal, Expr)> {
    let whole = delete.to_string();
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
    let name = match &tables[..] {
        [table] => match &table.relation {
            TableFactor::Table { name, .. } => Some(name.clone()),
            _ => None,
        },
        _ => None,
    };
    let Some(name) = name else { return Err(Error::UnsupportedDelete) };
    let signal = table(&name)?;
    let Some(condition) = delete.selection else {
        return Err(Error::DeleteEverything { name: name.to_string() });
    };
    // Whatever else there may be would show.
    if whole == format!("DELETE FROM {name} WHERE {condition}") {
        Ok((signal, condition))
    } else {
        Err(Error::UnsupportedDelete)
    }
}

fn vacuumed_table(vacuum: &VacuumStatement) -> Result<Option<Signal>> {
    let name = vacuum.table_name.as_ref();
    let plain = name.map_or_else(|| "VACUUM".to_owned(), |name| format!("VACUUM {name}"));
    if vacuum.to_string().trim() != plain {
        return Err(Error::Unsupported { what: "an option of VACUUM".to_owned() });
    }
    name.map(table).transpose()
}

fn table(name: &ObjectName) -> Result<Signal> {
    let resolved = TableReference::from(name.to_string()).resolve(CATALOG_NAME, SCHEMA_NAME);
    let is_telemetry = (&*resolved.catalog, &*resolved.schema) == (CATALOG_NAME, SCHEMA_NAME);
    let signal = Signal::ALL.into_iter().find(|signal| signal.table_name() == &*resolved.table);
    signal.filter(|_| is_telemetry).ok_or_else(|| Error::NotDeletable {
        name: cut(&name.to_string()).to_owned(),
        known: Signal::ALL.map(Signal::table_name).join(", "),
    })
}

async fn delete(context: &QueryContext, signal: Signal, predicate: &str) -> Result<i64> {
    // A second look at the table may find rows that came after the statement.
    let last_seq = context.storage.snapshot().last_seq(&context.tenant, signal);
    loop {
        let snapshot = context.storage.snapshot();
        let proposed =
            snapshot.propose_deletion(&context.tenant, signal, predicate, last_seq, &context.subject)?;
        let Some(proposed) = proposed else { return Ok(0) };
        let left = count(context, proposed.snapshot(), signal).await?;
        let num_rows = count(context, &snapshot, signal).await? - left;
        if num_rows == 0 {
            return Ok(0);
        }
        match context.storage.delete(proposed, num_rows as u64).await {
            Ok(()) => {
                tracing::info!(tenant = %context.tenant, %signal, num_rows, by = context.subject, "deleted rows");
                return Ok(num_rows);
            }
            // Another statement may have deleted some of them: they must not count twice.
            Err(StorageError::DeletedMeanwhile) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Rows of a table in a snapshot.
async fn count(context: &QueryContext, snapshot: &Arc<Snapshot>, signal: Signal) -> Result<i64> {
    let state = context.state_on(snapshot)?;
    let plan = state.create_logical_plan(&format!("SELECT count(*) FROM {}", signal.table_name())).await?;
    let plan = state.create_physical_plan(&bind_tenant(plan, &context.tenant)?).await?;
    guard_physical(&plan, &context.tenant)?;
    let rows = collect(plan, state.task_ctx()).await?;
    Ok(rows.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0)).sum())
}

/// What is in the buffer goes to files first: else it would come there later, with the rows that this is to remove.
async fn vacuum(context: QueryContext, signal: Option<Signal>) -> Result<i64> {
    // The session's tables name files, which stay on disk as long as somebody does.
    let QueryContext { storage, tenant, state, .. } = context;
    drop(state);
    storage.flush().await?;
    let report = storage.compact(Some(&tenant), signal).await?;
    Ok(report.before.num_rows.saturating_sub(report.after.num_rows) as i64)
}

#[cfg(test)]
mod tests;
