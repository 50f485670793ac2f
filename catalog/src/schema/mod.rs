//! The Arrow schema of each table: the single source of truth.
//!
//! | file | purpose |
//! |---|---|
//! | `columns.rs` | every column name, once |
//! | `comments.rs` | what each column holds |
//! | `common.rs` | columns that all three tables share, and the field constructors |
//! | `metrics.rs`, `logs.rs`, `traces.rs` | the columns of one signal |
//!
//! **Shape of a table.** [`table_schema`] is what a user sees. [`entry_schema`] is the same without the last
//! column, `ingest_seq`: that is what a converter makes of one request, before the log has given it a number.
//!
//! **Absence.** A null stands for what the sender did not send (an unset optional, a missing resource or scope, an
//! empty id, a zero time); an empty string stands for an empty string in a message that was there.

mod columns;
mod comments;
mod common;
mod logs;
mod metrics;
mod traces;

use std::sync::{Arc, LazyLock};

use arrow_schema::{Schema, SchemaRef};

use crate::Signal;

pub use columns::*;
pub use comments::{column_comment, system_column_comment};
pub use common::{DICTIONARY_KEY_TYPE, UTC};
pub use metrics::{exemplar_fields, quantile_fields};
pub use traces::{event_fields, link_fields};

/// The version of all three schemas together, written into each data file.
pub const SCHEMA_VERSION: u32 = 1;

/// The schema of a signal's table, as queries see it.
pub fn table_schema(signal: Signal) -> SchemaRef {
    static SCHEMAS: LazyLock<[SchemaRef; 3]> =
        LazyLock::new(|| Signal::ALL.map(|signal| Arc::new(build(signal, true))));
    Arc::clone(&SCHEMAS[index(signal)])
}

/// The schema of the rows of one request: [`table_schema`] without `ingest_seq`, which is last.
pub fn entry_schema(signal: Signal) -> SchemaRef {
    static SCHEMAS: LazyLock<[SchemaRef; 3]> =
        LazyLock::new(|| Signal::ALL.map(|signal| Arc::new(build(signal, false))));
    Arc::clone(&SCHEMAS[index(signal)])
}

/// The columns a data file is sorted by, ascending, nulls first.
pub fn sort_columns(signal: Signal) -> &'static [&'static str] {
    match signal {
        Signal::Metrics => &[NAME, SERIES_ID, TIMESTAMP],
        Signal::Logs | Signal::Traces => &[SERVICE_NAME, TIMESTAMP],
    }
}

fn index(signal: Signal) -> usize {
    match signal {
        Signal::Metrics => 0,
        Signal::Logs => 1,
        Signal::Traces => 2,
    }
}

fn build(signal: Signal, with_sequence: bool) -> Schema {
    let mut fields = match signal {
        Signal::Metrics => metrics::fields(),
        Signal::Logs => logs::fields(),
        Signal::Traces => traces::fields(),
    };
    fields.extend(common::trailing_fields());
    if with_sequence {
        fields.push(common::sequence_field());
    }
    Schema::new(fields)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_entry_is_a_table_row_without_its_last_column() {
        for signal in Signal::ALL {
            let table = table_schema(signal);
            let entry = entry_schema(signal);
            assert_eq!(table.fields()[..entry.fields().len()], entry.fields()[..]);
            assert_eq!(table.fields().len(), entry.fields().len() + 1);
            assert_eq!(table.fields().last().map(|f| f.name().as_str()), Some(INGEST_SEQ));
        }
    }

    #[test]
    fn no_table_has_a_column_twice_and_sort_columns_exist() {
        for signal in Signal::ALL {
            let schema = table_schema(signal);
            let names: HashSet<_> = schema.fields().iter().map(|f| f.name()).collect();
            assert_eq!(names.len(), schema.fields().len(), "{signal}");
            for column in sort_columns(signal) {
                assert!(schema.index_of(column).is_ok(), "{signal}.{column}");
            }
        }
    }
}
