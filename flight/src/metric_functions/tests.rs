//! Hand-checked values, and what any input must not do.
//!
//! Most go through SQL, which also shows types and partial states. Values computed by another program over random histograms and
//! series are in `tests/interop/test_metric_functions.py`.

mod change;
mod explicit;
mod exponential;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::prelude::{SessionConfig, SessionContext};

/// A context with the functions, and the rows of `t`, if any, in several partitions of small batches.
fn context(t: Option<Vec<RecordBatch>>) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(4).with_batch_size(8);
    let context = with_functions(SessionContext::new_with_config(config));
    if let Some(batches) = t {
        let schema = batches[0].schema();
        let partitions = batches.chunks(batches.len().div_ceil(4)).map(<[_]>::to_vec).collect();
        context.register_table("t", Arc::new(MemTable::try_new(schema, partitions).unwrap())).unwrap();
    }
    context
}

fn with_functions(context: SessionContext) -> SessionContext {
    for function in super::scalar_functions() {
        context.register_udf(function.as_ref().clone());
    }
    for function in super::aggregate_functions() {
        context.register_udaf(function.as_ref().clone());
    }
    context
}

/// The rows of an answer, values separated by a space and a bar.
async fn rows(context: &SessionContext, sql: &str) -> Result<Vec<String>> {
    let batches = context.sql(sql).await?.collect().await?;
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let values: Vec<_> = columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.push(values.join(" | "));
        }
    }
    Ok(rows)
}

/// The only value of an expression without a table.
async fn value(expression: &str) -> String {
    match rows(&context(None), &format!("SELECT {expression}")).await {
        Ok(rows) => rows.join("; "),
        Err(error) => panic!("{expression}: {error}"),
    }
}

async fn check(expression: &str, expected: &str) {
    assert_eq!(value(expression).await, expected, "{expression}");
}

async fn check_refused(expression: &str, shown: &str) {
    let error = rows(&context(None), &format!("SELECT {expression}")).await.unwrap_err().to_string();
    assert!(error.contains(shown), "{expression}: {error}");
}
