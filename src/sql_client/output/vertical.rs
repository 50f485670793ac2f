//! One line a value, for rows too wide for a table.

use std::io::Write;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::values::{cell, printable, text_column};
use super::{Encoder, Layout, LeftOut, within_limit};

/// A heading a row, then `name: value` lines with the names lined up.
pub(super) struct Vertical {
    names: Vec<String>,
    layout: Layout,
    shown: usize,
    left_out: LeftOut,
}

impl Vertical {
    pub(super) fn new(schema: &SchemaRef, layout: Layout) -> Self {
        let longest = schema.fields().iter().map(|field| field.name().chars().count()).max().unwrap_or(0);
        let names =
            schema.fields().iter().map(|field| format!("{:>longest$}", printable(field.name()))).collect();
        Self { names, layout, shown: 0, left_out: LeftOut::default() }
    }
}

impl Encoder for Vertical {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let (batch, hidden) = within_limit(batch, self.shown, self.layout.max_rows);
        self.left_out.rows += hidden;
        let schema = batch.schema();
        let columns: Vec<StringArray> = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| text_column(field, column))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            self.shown += 1;
            writeln!(out, "*** row {} ***", self.shown)?;
            for (name, texts) in self.names.iter().zip(&columns) {
                writeln!(out, "{name}: {}", cell(texts, row))?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), ArrowError> {
        Ok(())
    }

    fn left_out(&self) -> LeftOut {
        self.left_out
    }
}
