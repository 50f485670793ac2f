//! Box tables and Markdown tables.

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use comfy_table::{Cell, CellAlignment, Table, presets};

use super::values::{cell, is_number, printable, text_column};
use super::{Encoder, Layout, LeftOut, within_limit};

/// The widths of a table are known once all its rows are. Longer answers come as several tables, so that memory
/// stays bounded and no row is lost.
const ROWS_A_TABLE: usize = 10_000;

/// The longest value shown on a terminal.
const MAX_CELL_CHARS: usize = 60;

/// A table drawn with lines. On a terminal, columns that do not fit are left out from the right and counted.
pub(super) struct BoxTable {
    schema: SchemaRef,
    layout: Layout,
    /// The rows of the table being collected, as text.
    rows: Vec<Vec<String>>,
    shown: usize,
    drawn: bool,
    left_out: LeftOut,
}

impl BoxTable {
    pub(super) fn new(schema: &SchemaRef, layout: Layout) -> Self {
        let schema = SchemaRef::clone(schema);
        Self { schema, layout, rows: Vec::new(), shown: 0, drawn: false, left_out: LeftOut::default() }
    }

    fn draw(&mut self, out: &mut Vec<u8>) {
        let rows = std::mem::take(&mut self.rows);
        let total = self.schema.fields().len();
        let fitting = self.layout.max_width.map_or(total, |width| self.columns_within(width, &rows));
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        let mut header: Vec<Cell> =
            self.schema.fields().iter().take(fitting).map(|f| Cell::new(printable(f.name()))).collect();
        if fitting < total {
            header.push(Cell::new("…"));
            self.left_out.columns = total - fitting;
        }
        table.set_header(header);
        for row in rows {
            let mut cells: Vec<Cell> = row.into_iter().take(fitting).map(Cell::new).collect();
            if fitting < total {
                cells.push(Cell::new("…"));
            }
            table.add_row(cells);
        }
        for (field, column) in self.schema.fields().iter().take(fitting).zip(table.column_iter_mut()) {
            if is_number(field) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        out.extend_from_slice(table.to_string().as_bytes());
        out.push(b'\n');
        self.drawn = true;
    }

    /// How many columns, from the left, fit beside each other. At least one is always shown.
    fn columns_within(&self, width: usize, rows: &[Vec<String>]) -> usize {
        let widths = (0..self.schema.fields().len()).map(|column| {
            let values = rows.iter().map(|row| row[column].chars().count());
            values.chain([self.schema.field(column).name().chars().count()]).max().unwrap_or(0)
        });
        // A border left of each column with a space on either side of its value, and one border at the end.
        let ends: Vec<usize> = widths
            .scan(1, |used, value| {
                *used += value + 3;
                Some(*used)
            })
            .collect();
        if ends.last().is_none_or(|end| *end <= width) {
            return ends.len();
        }
        // The column of dots that stands for the rest takes four more.
        ends.iter().take_while(|end| **end + 4 <= width).count().max(1)
    }
}

impl Encoder for BoxTable {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let (batch, hidden) = within_limit(batch, self.shown, self.layout.max_rows);
        self.left_out.rows += hidden;
        self.shown += batch.num_rows();
        let columns = text_columns(&batch)?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|texts| self.clip(&cell(texts, row))).collect();
            self.rows.push(cells);
            if self.rows.len() == ROWS_A_TABLE {
                self.draw(out);
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if !self.drawn || !self.rows.is_empty() {
            self.draw(out);
        }
        Ok(())
    }

    fn left_out(&self) -> LeftOut {
        self.left_out
    }
}

impl BoxTable {
    fn clip(&self, text: &str) -> String {
        if self.layout.max_width.is_none() || text.chars().count() <= MAX_CELL_CHARS {
            return text.to_owned();
        }
        text.chars().take(MAX_CELL_CHARS - 1).chain(['…']).collect()
    }
}

/// A Markdown table, written row by row: its source need not line up.
pub(super) struct Markdown {
    schema: SchemaRef,
    layout: Layout,
    started: bool,
    shown: usize,
    left_out: LeftOut,
}

impl Markdown {
    pub(super) fn new(schema: &SchemaRef, layout: Layout) -> Self {
        let schema = SchemaRef::clone(schema);
        Self { schema, layout, started: false, shown: 0, left_out: LeftOut::default() }
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let names = self.schema.fields().iter().map(|field| escape(&printable(field.name())));
        write_row(names, out);
        let rules = self.schema.fields().iter().map(|field| if is_number(field) { "---:" } else { "---" });
        write_row(rules.map(str::to_owned), out);
    }
}

impl Encoder for Markdown {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.start(out);
        let (batch, hidden) = within_limit(batch, self.shown, self.layout.max_rows);
        self.left_out.rows += hidden;
        self.shown += batch.num_rows();
        let columns = text_columns(&batch)?;
        for row in 0..batch.num_rows() {
            write_row(columns.iter().map(|texts| escape(&cell(texts, row))), out);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.start(out);
        Ok(())
    }

    fn left_out(&self) -> LeftOut {
        self.left_out
    }
}

/// A bar would end the cell.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|")
}

fn write_row(cells: impl Iterator<Item = String>, out: &mut Vec<u8>) {
    for cell in cells {
        out.extend_from_slice(b"| ");
        out.extend_from_slice(cell.as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(b"|\n");
}

fn text_columns(batch: &RecordBatch) -> Result<Vec<StringArray>, ArrowError> {
    let schema = batch.schema();
    schema.fields().iter().zip(batch.columns()).map(|(field, column)| text_column(field, column)).collect()
}
