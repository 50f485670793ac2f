//! The views: lists inside rows as rows of their own.
//!
//! A view is a plan over the tenant's own table, and the planner puts that plan in its place before the tenant is bound.
//! So a view opens no way to rows that its table does not.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use alula_catalog::schema::{
    ATTRIBUTES, DROPPED_ATTRIBUTES_COUNT, EVENTS, EXEMPLARS, FLAGS, KIND, LINKS, NAME, RESOURCE_ATTRIBUTES,
    SCOPE_NAME, SERIES_ID, SERVICE_NAME, SPAN_ID, TIMESTAMP, TRACE_ID, TRACE_STATE, TYPE, UNIT, VALUE,
    VALUE_INT, column_comment, table_schema,
};
use alula_catalog::{Signal, TenantId};
use alula_storage::Snapshot;
use alula_storage::table::{SCHEMA_NAME, TelemetryTable};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{CatalogProvider, Session, TableProvider};
use datafusion::common::{Column, UnnestOptions, exec_datafusion_err};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

/// A view with a row for each item of a list in the rows of a table.
#[derive(Debug)]
struct Definition {
    name: &'static str,
    signal: Signal,
    list: &'static str,
    /// Columns of the row that the list is in, under their own names.
    of_row: &'static [&'static str],
    /// Fields of the item, the columns that they become, and what these hold.
    of_item: &'static [(&'static str, &'static str, &'static str)],
}

const OF_POINT: [&str; 9] =
    [TIMESTAMP, SERVICE_NAME, NAME, TYPE, UNIT, SERIES_ID, ATTRIBUTES, RESOURCE_ATTRIBUTES, SCOPE_NAME];
const OF_SPAN: [&str; 9] =
    [TIMESTAMP, SERVICE_NAME, NAME, KIND, TRACE_ID, SPAN_ID, ATTRIBUTES, RESOURCE_ATTRIBUTES, SCOPE_NAME];

static VIEWS: [Definition; 3] = [
    Definition {
        name: "metric_exemplars",
        signal: Signal::Metrics,
        list: EXEMPLARS,
        of_row: &OF_POINT,
        of_item: &[
            (TIMESTAMP, "exemplar_timestamp", "when the exemplar was observed"),
            (VALUE, "exemplar_value", "value of the exemplar"),
            (VALUE_INT, "exemplar_value_int", "the same, if the sender sent an integer"),
            (TRACE_ID, TRACE_ID, "trace in which it was observed, in lower-case hex"),
            (SPAN_ID, SPAN_ID, "span in which it was observed, in lower-case hex"),
            (
                ATTRIBUTES,
                "exemplar_attributes",
                "attributes of the observation that the series does not have, as JSON",
            ),
        ],
    },
    Definition {
        name: "span_events",
        signal: Signal::Traces,
        list: EVENTS,
        of_row: &OF_SPAN,
        of_item: &[
            (TIMESTAMP, "event_timestamp", "when the event happened"),
            (NAME, "event_name", "name of the event"),
            (ATTRIBUTES, "event_attributes", "attributes of the event, as JSON"),
            (
                DROPPED_ATTRIBUTES_COUNT,
                "event_dropped_attributes_count",
                "attributes of the event that the sender dropped",
            ),
        ],
    },
    Definition {
        name: "span_links",
        signal: Signal::Traces,
        list: LINKS,
        of_row: &OF_SPAN,
        of_item: &[
            (TRACE_ID, "linked_trace_id", "trace of the linked span, in lower-case hex"),
            (SPAN_ID, "linked_span_id", "the linked span, in lower-case hex"),
            (TRACE_STATE, "link_trace_state", "W3C trace state of the linked span"),
            (ATTRIBUTES, "link_attributes", "attributes of the link, as JSON"),
            (
                DROPPED_ATTRIBUTES_COUNT,
                "link_dropped_attributes_count",
                "attributes of the link that the sender dropped",
            ),
            (FLAGS, "link_flags", "flags of the linked span"),
        ],
    },
];

/// What a column of a view holds.
pub(crate) fn comment(view: &str, column: &str) -> Option<&'static str> {
    let definition = VIEWS.iter().find(|definition| definition.name == view)?;
    let of_item = definition.of_item.iter().find(|(_, name, _)| *name == column);
    match of_item {
        Some((_, _, comment)) => Some(comment),
        None => column_comment(definition.signal, column),
    }
}

/// Adds the views over the tables of `tenant` to the schema that those are in.
pub(crate) fn register(catalog: &dyn CatalogProvider, snapshot: &Snapshot, tenant: &TenantId) -> Result<()> {
    let schema = catalog
        .schema(SCHEMA_NAME)
        .ok_or_else(|| exec_datafusion_err!("there is no schema {SCHEMA_NAME}"))?;
    for definition in &VIEWS {
        let table: Arc<dyn TableProvider> =
            Arc::new(TelemetryTable::new(snapshot, tenant, definition.signal));
        schema.register_table(definition.name.to_owned(), Arc::new(View { definition, table }))?;
    }
    Ok(())
}

impl Definition {
    /// The rows of the view, as a plan over `table`. A row without items gives none.
    fn plan(&self, table: &Arc<dyn TableProvider>) -> Result<LogicalPlan> {
        let own = |name: &&str| Expr::Column(Column::from_name(*name));
        let of_item = |(field, name, _): &(&str, &str, &str)| {
            get_field(Expr::Column(Column::from_name(self.list)), *field).alias(*name)
        };
        let without_rows_for_nothing = UnnestOptions::new().with_preserve_nulls(false);
        LogicalPlanBuilder::scan(self.signal.table_name(), provider_as_source(Arc::clone(table)), None)?
            .project(self.of_row.iter().map(own).chain([Expr::Column(Column::from_name(self.list))]))?
            .unnest_column_with_options(self.list, without_rows_for_nothing)?
            .project(self.of_row.iter().map(own).chain(self.of_item.iter().map(of_item)))?
            .build()
    }

    fn schema(&self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 3]> = LazyLock::new(|| {
            VIEWS.each_ref().map(|definition| {
                let nothing: Arc<dyn TableProvider> =
                    Arc::new(EmptyTable::new(table_schema(definition.signal)));
                let plan = definition.plan(&nothing).expect("the names are those of the table's columns");
                Arc::new(Schema::clone(plan.schema().as_arrow()))
            })
        });
        let index = VIEWS.iter().position(|view| view.name == self.name).expect("it is one of them");
        Arc::clone(&SCHEMAS[index])
    }
}

/// A [`ViewTable`] whose plan is made when a statement uses it: most use none.
#[derive(Debug)]
struct View {
    definition: &'static Definition,
    table: Arc<dyn TableProvider>,
}

#[async_trait]
impl TableProvider for View {
    fn schema(&self) -> SchemaRef {
        self.definition.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        // `schema` has shown that the plan can be made.
        self.definition.plan(&self.table).ok().map(Cow::Owned)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        ViewTable::new(self.definition.plan(&self.table)?, None).scan(state, projection, filters, limit).await
    }
}

#[cfg(test)]
mod tests;
