//! The statements that write tables of the tenant's own: `CREATE TABLE`, `INSERT` and `DROP TABLE`.
//!
//! Rows that such a statement selects come the way of every query: the tenant is bound into their plan, and both guards look
//! at it. A statement of its own is a transaction; where another one changed the same table meanwhile it is planned and
//! run again. One that belongs to a transaction happens when that is committed.

use std::sync::Arc;

use alula_storage::{CreateMode, UserTransaction};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{CreateMemoryTable, DdlStatement, LogicalPlan, WriteOp};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    CreateTable, Insert, ObjectName, ObjectType, Statement as SqlStatement, TableObject,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::target::{
    Failed, MAX_ATTEMPTS, changed_table, check_role, fill, is_conflict, new_table, table_schema, writes_of,
};
use super::values::one_plan;
use crate::context::QueryContext;
use crate::parameters::{Bound, Parameter, infer};
use crate::plan::{logical_plan, nullable, run};
use crate::{Error, Result, inlining};

/// A statement that writes a table, checked and planned.
pub(crate) struct TableUpdate {
    /// To plan it again.
    statement: Statement,
    change: Change,
    values: Bound,
}

#[derive(Clone)]
enum Change {
    Create { name: String, mode: CreateMode, columns: Columns },
    Insert { name: String, rows: LogicalPlan },
    Drop { name: String, if_exists: bool },
}

/// Where a new table has its columns from.
#[derive(Clone)]
enum Columns {
    Named(SchemaRef),
    /// Rows, which are the table's first. Their types may change with the values of parameters.
    OfRows(LogicalPlan),
}

impl TableUpdate {
    /// Plans a statement. Nothing runs. Gives its parameters too.
    ///
    /// # Errors
    /// `NeedsWrite` — the caller may not. Others say what is wrong with the statement.
    pub(super) async fn try_new(
        context: &QueryContext,
        statement: SqlStatement,
        parameters: Vec<String>,
    ) -> Result<(Self, Vec<Parameter>)> {
        let statement = Statement::Statement(Box::new(statement));
        let change = Change::plan(context, &statement, !parameters.is_empty()).await?;
        let parameters = match change.rows() {
            Some(rows) => infer(rows, parameters)?,
            None => Vec::new(),
        };
        Ok((Self { statement, change, values: Bound::nothing() }, parameters))
    }

    /// # Errors
    /// `Unsupported` — several rows of values, and it is no `INSERT`.
    pub(super) fn bind(self, bound: &Bound) -> Result<Self> {
        if bound.num_rows() != 1 && !matches!(self.change, Change::Insert { .. }) {
            return Err(Error::Unsupported {
                what: "several rows of parameters for CREATE TABLE".to_owned(),
            });
        }
        Ok(Self { values: bound.clone(), ..self })
    }

    /// Does it. Returns how many rows were written.
    ///
    /// Durable: when this returns, unless it belongs to a transaction.
    ///
    /// # Errors
    /// `Storage` — `Conflict`: others changed the same table again and again.
    pub(super) async fn run(self, context: QueryContext) -> Result<i64> {
        let Self { statement, mut change, values } = self;
        let mut context = Arc::new(context);
        if let Some(writes) = writes_of(&context)? {
            let mut turn = writes.turn().await;
            let transaction = turn.transaction()?;
            change.bring_up_to(transaction, &mut context, &statement).await?;
            let outcome = change.apply(transaction, &context, &values).await;
            return turn.settle(outcome);
        }
        let mut attempt = 1;
        loop {
            let mut transaction = context.storage.begin_user_transaction(&context.tenant);
            change.bring_up_to(&transaction, &mut context, &statement).await?;
            let applied = change.apply(&mut transaction, &context, &values).await;
            let num_rows = applied.map_err(|failed| failed.error)?;
            match transaction.commit().await {
                Ok(()) => return Ok(num_rows),
                Err(error) if is_conflict(&error) && attempt < MAX_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Change {
    async fn plan(context: &QueryContext, statement: &Statement, has_parameters: bool) -> Result<Self> {
        let Statement::Statement(inner) = statement else {
            return Err(Error::ReadOnly { statement: String::new() });
        };
        match &**inner {
            SqlStatement::CreateTable(create) => {
                create_table(context, statement, create, has_parameters).await
            }
            SqlStatement::Insert(insert) => insert_rows(context, statement, insert, has_parameters).await,
            SqlStatement::Drop { object_type: ObjectType::Table, .. } => drop_table(context, statement).await,
            other => Err(Error::ReadOnly { statement: other.to_string().chars().take(40).collect() }),
        }
    }

    /// Plans the statement again if it was planned over other tables than the transaction has: it must not read an older table
    /// than the one that it writes.
    async fn bring_up_to(
        &mut self,
        transaction: &UserTransaction,
        context: &mut Arc<QueryContext>,
        statement: &Statement,
    ) -> Result<()> {
        if !transaction.tables().is_same(&context.user_tables) {
            // What read for an earlier attempt has ended with it.
            let unshared = Arc::get_mut(context).ok_or(Error::ShuttingDown)?;
            unshared.see(transaction.tables())?;
            *self = Self::plan(context, statement, true).await?;
        }
        Ok(())
    }

    fn rows(&self) -> Option<&LogicalPlan> {
        match self {
            Self::Create { columns: Columns::OfRows(rows), .. } | Self::Insert { rows, .. } => Some(rows),
            Self::Create { columns: Columns::Named(_), .. } | Self::Drop { .. } => None,
        }
    }

    async fn apply(
        &self,
        transaction: &mut UserTransaction,
        context: &Arc<QueryContext>,
        values: &Bound,
    ) -> Result<i64, Failed> {
        let plans = self.rows().map(|rows| bound_plans(rows, values)).transpose()?.unwrap_or_default();
        let given = plans.first().map_or_else(Schema::empty, |plan| plan.schema().as_arrow().clone());
        let (name, made) = match self {
            Self::Drop { name, if_exists } => {
                if transaction.tables().get(name).is_some() || !if_exists {
                    transaction.drop_table(name)?;
                }
                return Ok(0);
            }
            Self::Create { name, mode, columns: Columns::Named(schema) } => {
                transaction.create_table(name, schema, *mode)?;
                return Ok(0);
            }
            Self::Create { name, mode, columns: Columns::OfRows(_) } => {
                let was_there = transaction.tables().get(name).is_some();
                if !transaction.create_table(name, &nullable(&table_schema(&given)), *mode)? {
                    return Ok(0);
                }
                (name, Some(if was_there { CreateMode::Replace } else { CreateMode::New }))
            }
            // No row of values is no row at all.
            Self::Insert { .. } if plans.is_empty() => return Ok(0),
            Self::Insert { name, .. } => (name, None),
        };
        let batches = batches(Arc::clone(context), plans);
        let num_rows = fill(transaction, name, made, &given, batches).await?;
        Ok(i64::try_from(num_rows).unwrap_or(i64::MAX))
    }
}

/// The rows of plans, one after the other.
fn batches(context: Arc<QueryContext>, plans: Vec<LogicalPlan>) -> BoxStream<'static, Result<RecordBatch>> {
    let each = futures::stream::iter(plans).then(move |plan| {
        let context = Arc::clone(&context);
        async move {
            // Planning does not wait for anything: here it can be cancelled.
            tokio::task::yield_now().await;
            run(&context, plan).await
        }
    });
    each.try_flatten().map_err(Error::Query).boxed()
}

/// The plan of all rows, or one for each row of values.
fn bound_plans(rows: &LogicalPlan, values: &Bound) -> Result<Vec<LogicalPlan>> {
    let bound = |index| rows.clone().with_param_values(values.row(index)?.into_param_values());
    Ok(one_plan((0..values.num_rows()).map(bound).collect::<Result<_, _>>()?))
}

async fn create_table(
    context: &QueryContext,
    statement: &Statement,
    create: &CreateTable,
    has_parameters: bool,
) -> Result<Change> {
    check_role(context, "CREATE TABLE")?;
    let query = create.query.clone().map(|query| Statement::Statement(Box::new(SqlStatement::Query(query))));
    let plan = logical_plan(context, statement, query.as_ref(), has_parameters).await?;
    let LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) = plan else {
        return Err(Error::Unsupported { what: "this form of CREATE TABLE".to_owned() });
    };
    let CreateMemoryTable { name, constraints, input, if_not_exists, or_replace, column_defaults, .. } =
        create;
    let unsupported = |what: &str| Err(Error::Unsupported { what: what.to_owned() });
    if constraints.iter().next().is_some() {
        return unsupported("a constraint of a table other than NOT NULL");
    }
    if !column_defaults.is_empty() {
        return unsupported("DEFAULT of a column");
    }
    let mode = match (if_not_exists, or_replace) {
        (false, false) => CreateMode::New,
        (true, false) => CreateMode::IfNotExists,
        (false, true) => CreateMode::Replace,
        (true, true) => return unsupported("OR REPLACE together with IF NOT EXISTS"),
    };
    let name = new_table(context, name)?;
    let columns = if query.is_none() {
        Columns::Named(table_schema(input.schema().as_arrow()))
    } else {
        Columns::OfRows(checked(Arc::unwrap_or_clone(input))?)
    };
    Ok(Change::Create { name, mode, columns })
}

async fn insert_rows(
    context: &QueryContext,
    statement: &Statement,
    insert: &Insert,
    has_parameters: bool,
) -> Result<Change> {
    let name = match &insert.table {
        TableObject::TableName(name) => changed_table(context, reference(name))?,
        _ => return Err(Error::Unsupported { what: "INSERT into something that is not a table".to_owned() }),
    };
    check_role(context, "INSERT")?;
    let plan = logical_plan(context, statement, Some(statement), has_parameters).await?;
    match plan {
        LogicalPlan::Dml(dml) if dml.op == WriteOp::Insert(InsertOp::Append) => {
            Ok(Change::Insert { name, rows: checked(Arc::unwrap_or_clone(dml.input))? })
        }
        _ => Err(Error::Unsupported { what: "INSERT that replaces rows".to_owned() }),
    }
}

async fn drop_table(context: &QueryContext, statement: &Statement) -> Result<Change> {
    match logical_plan(context, statement, None, false).await? {
        LogicalPlan::Ddl(DdlStatement::DropTable(drop)) => {
            let name = changed_table(context, drop.name)?;
            check_role(context, "DROP TABLE")?;
            Ok(Change::Drop { name, if_exists: drop.if_exists })
        }
        _ => Err(Error::Unsupported { what: "this form of DROP".to_owned() }),
    }
}

fn reference(name: &ObjectName) -> TableReference {
    TableReference::from(name.to_string())
}

/// A plan of rows that only reads.
fn checked(rows: LogicalPlan) -> Result<LogicalPlan> {
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&rows)?;
    inlining::check(&rows)?;
    Ok(rows)
}
