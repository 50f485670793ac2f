//! From SQL text to rows: the only path there is. Statements that change something leave it once they are parsed: `update.rs`.
//!
//! ```text
//! text -> tokens, limits -> one statement that reads -> logical plan -> SQLOptions check -> values of parameters
//!      -> tenant bound into every scan -> optimised -> physical plan -> guard -> stream
//! ```
//!
//! Never `SessionContext::sql`, which runs DDL while it plans.
//! Everything here belongs on the query threads: plans are deep, and so are their drops.

use std::sync::Arc;

use alula_storage::table::{
    CATALOG_NAME, SCHEMA_NAME, SYSTEM_SCHEMA_NAME, ScanWatch, SequenceRange, bind_sequences, bind_tenant,
    guard_physical,
};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use datafusion::sql::parser::Statement;
use futures::{StreamExt, TryStreamExt};

use crate::context::{QueryContext, task_context};
use crate::origins::with_origins;
use crate::parameters::{
    Bound, Parameter, infer, parameter_schema, spell_out_intervals, take_arguments_for_text,
};
use crate::parse::{Kind, Parsed, distance, parse};
use crate::parts::{self, Part};
use crate::queries::State;
use crate::stop::Stop;
use crate::tail::{Followed, not_followable};
use crate::update::Update;
use crate::wire::{Profile, wire_schema};
use crate::{Error, Result, inlining, time_column};

/// A statement that has been planned and may be run.
pub(crate) struct Planned {
    context: QueryContext,
    work: Work,
    /// The parameters of the statement, bound or not.
    pub(crate) parameters: Vec<Parameter>,
}

enum Work {
    Query(LogicalPlan),
    /// One query a row of values, in turn.
    Queries {
        plan: LogicalPlan,
        values: Bound,
        schema: SchemaRef,
    },
    Update(Update),
}

impl Planned {
    /// Plans a statement. Nothing runs.
    pub(crate) async fn try_new(mut context: QueryContext, sql: &str) -> Result<Self> {
        let stop = Stop::current().unwrap_or_else(|| Stop::after(None));
        context.stop_at(stop.clone());
        if let Some(query) = &context.query {
            query.enter(State::Planning);
        }
        let Parsed { mut statement, parameters, kind } = parse(sql, context.max_sql_bytes)?;
        if !parameters.is_empty() {
            spell_out_intervals(&mut statement);
        }
        match kind {
            Kind::Changes => {
                let (update, parameters) = Update::try_new(&context, statement, parameters).await?;
                return Ok(Self { context, work: Work::Update(update), parameters });
            }
            Kind::Reads { shows_storage: true } if !context.is_admin => {
                let why = "it shows how the server stores data";
                return Err(Error::NeedsAdmin { what: "EXPLAIN ANALYZE", why });
            }
            Kind::Reads { .. } => {}
        }
        let plan = logical_plan(&context, &statement, Some(&statement), !parameters.is_empty()).await?;
        stop.check()?;
        let read_only =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        read_only.verify_plan(&plan)?;
        inlining::check(&plan)?;
        let parameters = infer(&plan, parameters)?;
        Ok(Self { context, work: Work::Query(plan), parameters })
    }

    /// Puts values in the place of parameters. Types of untyped expressions may change with them.
    pub(crate) fn bind(mut self, bound: Bound) -> Result<Self> {
        if let Some(missing) = bound.missing(&self.parameters) {
            return Err(Error::UnboundParameter { name: format!("${}", missing.name) });
        }
        if !self.parameters.is_empty() {
            self.work = match self.work {
                Work::Query(plan) if bound.num_rows() == 1 => {
                    Work::Query(plan.with_param_values(bound.row(0)?.into_param_values())?)
                }
                Work::Query(plan) => {
                    let row = if bound.num_rows() == 0 { bound.null_row()? } else { bound.row(0)? };
                    let first = plan.clone().with_param_values(row.into_param_values())?;
                    let schema = nullable(&wire_schema_of(&self.context, &first));
                    Work::Queries { plan, values: bound, schema }
                }
                Work::Update(update) => Work::Update(update.bind(&bound)?),
                bound @ Work::Queries { .. } => bound,
            };
        }
        Ok(self)
    }

    /// The schema of the rows as far as it is known before values are bound.
    pub(crate) fn dataset_schema(&self) -> SchemaRef {
        match &self.work {
            Work::Query(plan) if !self.parameters.is_empty() => {
                let nulls = Bound::nulls(&self.parameters).row(0);
                let plan = nulls.and_then(|row| plan.clone().with_param_values(row.into_param_values()));
                match plan {
                    Ok(plan) => wire_schema_of(&self.context, &plan),
                    // Not every function takes nulls.
                    Err(_) => self.wire_schema(),
                }
            }
            _ => self.wire_schema(),
        }
    }

    /// What a client is to bind.
    pub(crate) fn parameter_schema(&self) -> SchemaRef {
        Arc::new(parameter_schema(&self.parameters, self.profile()))
    }

    fn profile(&self) -> Profile {
        self.context.settings.wire_profile()
    }

    /// Whether it changes something.
    pub(crate) fn is_update(&self) -> bool {
        matches!(self.work, Work::Update(_))
    }

    /// The query as one that goes on with the rows that come.
    ///
    /// # Errors
    /// `NotFollowable` — it is more than a selection of rows.
    pub(crate) fn follow(self) -> Result<Followed> {
        match self.work {
            Work::Query(plan) => Followed::try_new(plan, self.context),
            Work::Queries { .. } => Err(not_followable("several rows of parameters")),
            Work::Update(_) => Err(not_followable("a statement that changes something")),
        }
    }

    /// The parts that its rows can be fetched in, `most` at most; none if they are fetched as a whole.
    pub(crate) fn parts(self, most: usize) -> Result<Vec<Part>> {
        match self.work {
            Work::Query(plan) if most > 1 => parts::cut(plan, &self.context, most),
            _ => Ok(Vec::new()),
        }
    }

    /// The schema that the rows will have on the wire.
    pub(crate) fn wire_schema(&self) -> SchemaRef {
        match &self.work {
            Work::Query(plan) => wire_schema_of(&self.context, plan),
            Work::Queries { schema, .. } => Arc::clone(schema),
            Work::Update(_) => Update::schema(),
        }
    }

    /// Starts the query. Rows flow as the stream is polled; dropping it ends the query.
    ///
    /// Of a statement that changes something the one row says what it did, and it is done when this returns.
    pub(crate) async fn execute(self) -> Result<SendableRecordBatchStream> {
        match self.work {
            Work::Query(plan) => {
                let rows = run(&self.context, plan).await?;
                let Some(writes) = self.context.writes else { return Ok(rows) };
                // The transaction is in use until they are read.
                let schema = rows.schema();
                let rows = rows.inspect(move |_| {
                    let _in_use = &writes;
                });
                Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
            }
            Work::Queries { plan, values, schema } => {
                Ok(run_each(Arc::new(self.context), plan, values, schema))
            }
            Work::Update(update) => {
                let answer = Update::answer(update.run(self.context).await?)?;
                Ok(Box::pin(MemoryStream::try_new(vec![answer], Update::schema(), None)?))
            }
        }
    }

    /// Does what the statement is for. Returns how many rows it concerned.
    ///
    /// # Errors
    /// `NotAnUpdate` — it only reads.
    pub(crate) async fn update(self) -> Result<i64> {
        match self.work {
            Work::Update(update) => update.run(self.context).await,
            Work::Query(_) | Work::Queries { .. } => Err(Error::NotAnUpdate),
        }
    }
}

/// What the rows of a plan are on the wire.
pub(crate) fn wire_schema_of(context: &QueryContext, plan: &LogicalPlan) -> SchemaRef {
    let wire = wire_schema(plan.schema().as_arrow(), context.settings.wire_profile());
    with_origins(&wire, plan, context.settings.schema())
}

/// Starts a query whose parameters have values.
pub(crate) async fn run(
    context: &QueryContext,
    plan: LogicalPlan,
) -> DataFusionResult<SendableRecordBatchStream> {
    let mut plan = bind_tenant(plan, &context.tenant)?;
    if let Some(as_of) = context.settings.as_of() {
        plan = bind_sequences(plan, SequenceRange::up_to(as_of))?;
    }
    if let Some(part) = &context.settings.part {
        plan = part.bind(plan)?;
    }
    let plan = context.state.create_physical_plan(&plan).await?;
    guard_physical(&plan, &context.tenant)?;
    if let Some(query) = &context.query {
        query.reads_from(ScanWatch::all(&plan)?);
        query.enter(State::Running);
    }
    execute_stream(plan, task_context(&context.state, context.query.as_ref()))
}

/// Runs a query with one row of values after the other. The next begins when the rows of the one before have been read.
fn run_each(
    context: Arc<QueryContext>,
    plan: LogicalPlan,
    values: Bound,
    schema: SchemaRef,
) -> SendableRecordBatchStream {
    if let Some(query) = &context.query {
        query.expect_runs(values.num_rows());
    }
    let each = futures::stream::iter(0..values.num_rows()).then(move |index| {
        let context = Arc::clone(&context);
        let bound = values.row(index).and_then(|row| plan.clone().with_param_values(row.into_param_values()));
        async move {
            // Planning does not wait for anything, and a query without rows neither: here it can be cancelled.
            tokio::task::yield_now().await;
            run(&context, bound?).await
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, each.try_flatten()))
}

/// Plans a statement. Where functions refuse parameters because they have no type yet, as text; where there is no column
/// `time`, with `timestamp` for it. `reading` is what of it names only tables that must be there.
pub(crate) async fn logical_plan(
    context: &QueryContext,
    statement: &Statement,
    reading: Option<&Statement>,
    has_parameters: bool,
) -> Result<LogicalPlan> {
    // The first error is about the statement as it was written.
    let error = match context.state.statement_to_plan(statement.clone()).await {
        Ok(plan) => return Ok(plan),
        Err(error) => error,
    };
    let renamed = if time_column::is_missing(&error) { time_column::renamed(statement) } else { None };
    if let Some(renamed) = &renamed
        && let Ok(plan) = context.state.statement_to_plan(renamed.clone()).await
    {
        return Ok(plan);
    }
    let mut with_text = renamed.unwrap_or_else(|| statement.clone());
    if has_parameters
        && take_arguments_for_text(&mut with_text)
        && let Ok(plan) = context.state.statement_to_plan(with_text).await
    {
        return Ok(plan);
    }
    let unknown = match reading {
        Some(reading) => unknown_table(context, reading).await,
        None => None,
    };
    Err(unknown.unwrap_or(Error::Query(error)))
}

/// With every column nullable: whether it is may depend on the values.
pub(crate) fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The table that is to blame for a statement that cannot be planned, if one is.
async fn unknown_table(context: &QueryContext, statement: &Statement) -> Option<Error> {
    let references = context.state.resolve_table_references(statement).ok()?;
    for reference in references {
        if !exists(context, &reference).await {
            let name = reference.table().to_owned();
            let mut known = table_names(context);
            // The nearest name first.
            known.sort_by_key(|table| distance(&name, table.rsplit('.').next().unwrap_or(table)));
            return Some(Error::UnknownTable { name: reference.to_quoted_string(), known });
        }
    }
    None
}

async fn exists(context: &QueryContext, reference: &TableReference) -> bool {
    // `generate_series(1, 3)` is parsed as a table too.
    if context.state.table_functions().contains_key(reference.table()) {
        return true;
    }
    match context.state.schema_for_ref(reference.clone()) {
        Ok(schema) => matches!(schema.table(reference.table()).await, Ok(Some(_)) | Err(_)),
        Err(_) => false,
    }
}

/// As a statement would write them: those that are not in the default schema with theirs.
fn table_names(context: &QueryContext) -> Vec<String> {
    let Some(catalog) = context.state.catalog_list().catalog(CATALOG_NAME) else { return Vec::new() };
    let names_in = |schema| {
        let mut names = catalog.schema(schema).map(|schema| schema.table_names()).unwrap_or_default();
        names.sort_unstable();
        names
    };
    let mut names = names_in(SCHEMA_NAME);
    names.extend(names_in(SYSTEM_SCHEMA_NAME).iter().map(|name| format!("{SYSTEM_SCHEMA_NAME}.{name}")));
    names
}
