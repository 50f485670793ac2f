//! From SQL text to rows: the only path there is.
//!
//! ```text
//! text -> tokens, limits -> one statement that reads -> logical plan -> SQLOptions check -> values of parameters
//!      -> tenant bound into every scan -> optimised -> physical plan -> guard -> stream
//! ```
//!
//! Never `SessionContext::sql`, which runs DDL while it plans.
//! Everything here belongs on the query threads: plans are deep, and so are their drops.

use alula_storage::table::{CATALOG_NAME, SCHEMA_NAME, SYSTEM_SCHEMA_NAME, bind_tenant, guard_physical};
use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use datafusion::sql::parser::Statement;

use crate::context::QueryContext;
use crate::parameters::{Bound, Parameter, infer};
use crate::parse::{Kind, Parsed, distance, parse};
use crate::update::Update;
use crate::wire::wire_schema;
use crate::{Error, Result, inlining};

/// A statement that has been planned and may be run.
pub(crate) struct Planned {
    context: QueryContext,
    work: Work,
    /// The parameters of the statement, bound or not.
    pub(crate) parameters: Vec<Parameter>,
}

enum Work {
    Query(LogicalPlan),
    Update(Update),
}

impl Planned {
    /// Plans a statement. Nothing runs.
    pub(crate) async fn try_new(context: QueryContext, sql: &str) -> Result<Self> {
        let Parsed { statement, parameters, kind } = parse(sql, context.max_sql_bytes)?;
        match kind {
            Kind::Changes => {
                let (update, parameters) = Update::try_new(&context, statement, parameters)?;
                return Ok(Self { context, work: Work::Update(update), parameters });
            }
            Kind::Reads { shows_storage: true } if !context.is_admin => {
                let why = "it shows how the server stores data";
                return Err(Error::NeedsAdmin { what: "EXPLAIN ANALYZE", why });
            }
            Kind::Reads { .. } => {}
        }
        let plan = match context.state.statement_to_plan(statement.clone()).await {
            Ok(plan) => plan,
            Err(error) => {
                return Err(unknown_table(&context, &statement).await.unwrap_or(Error::Query(error)));
            }
        };
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
                Work::Query(plan) => Work::Query(plan.with_param_values(bound.into_param_values())?),
                Work::Update(update) => Work::Update(update.bind(&bound)?),
            };
        }
        Ok(self)
    }

    /// Whether it changes something.
    pub(crate) fn is_update(&self) -> bool {
        matches!(self.work, Work::Update(_))
    }

    /// The schema that the rows will have on the wire.
    pub(crate) fn wire_schema(&self) -> SchemaRef {
        match &self.work {
            Work::Query(plan) => wire_schema(plan.schema().as_arrow(), self.context.settings.wire_profile()),
            Work::Update(_) => Update::schema(),
        }
    }

    /// Starts the query. Rows flow as the stream is polled; dropping it ends the query.
    ///
    /// Of a statement that changes something the one row says what it did, and it is done when this returns.
    pub(crate) async fn execute(self) -> Result<SendableRecordBatchStream> {
        let plan = match self.work {
            Work::Query(plan) => plan,
            Work::Update(update) => {
                let answer = Update::answer(update.run(self.context).await?)?;
                return Ok(Box::pin(MemoryStream::try_new(vec![answer], Update::schema(), None)?));
            }
        };
        let QueryContext { state, tenant, .. } = self.context;
        let plan = bind_tenant(plan, &tenant)?;
        let plan = state.create_physical_plan(&plan).await?;
        guard_physical(&plan, &tenant)?;
        Ok(execute_stream(plan, state.task_ctx())?)
    }

    /// Does what the statement is for. Returns how many rows it concerned.
    ///
    /// # Errors
    /// `NotAnUpdate` — it only reads.
    pub(crate) async fn update(self) -> Result<i64> {
        match self.work {
            Work::Update(update) => update.run(self.context).await,
            Work::Query(_) => Err(Error::NotAnUpdate),
        }
    }
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
