//! Exemplars of data points.

use arrow::array::{ArrayRef, Float64Builder, Int64Builder, StringBuilder};
use opentelemetry_proto::tonic::metrics::v1::Exemplar;
use opentelemetry_proto::tonic::metrics::v1::exemplar::Value;

use alula_catalog::schema;

use super::checks::{self, Reason};
use super::columns::{Column, Ids, Lists, Times};
use super::json::JsonText;

pub(super) fn check(exemplars: &[Exemplar]) -> Result<(), Reason> {
    exemplars.iter().try_for_each(|exemplar| {
        checks::time(exemplar.time_unix_nano, "time_unix_nano of an exemplar")?;
        checks::depth(&exemplar.filtered_attributes, "attributes of an exemplar")
    })
}

#[derive(Debug, Default)]
pub(super) struct Exemplars {
    lists: Lists,
    timestamp: Times,
    value: Column<Float64Builder>,
    value_int: Column<Int64Builder>,
    trace_id: Ids,
    span_id: Ids,
    attributes: Column<StringBuilder>,
}

impl Exemplars {
    /// Leaves the row null when there are none: few points have exemplars.
    pub(super) fn push(&mut self, row: usize, exemplars: &[Exemplar], json: &mut JsonText) {
        if exemplars.is_empty() {
            return;
        }
        for (item, exemplar) in (self.lists.items()..).zip(exemplars) {
            self.timestamp.set_otlp(item, exemplar.time_unix_nano);
            match exemplar.value {
                Some(Value::AsDouble(value)) => self.value.set(item, value),
                Some(Value::AsInt(value)) => {
                    self.value.set(item, value as f64);
                    self.value_int.set(item, value);
                }
                None => {}
            }
            self.trace_id.set(item, &exemplar.trace_id);
            self.span_id.set(item, &exemplar.span_id);
            self.attributes.set(item, json.attributes(&exemplar.filtered_attributes));
        }
        self.lists.set(row, exemplars.len());
    }

    pub(super) fn finish(self, rows: usize) -> ArrayRef {
        let items = self.lists.items();
        let columns = vec![
            self.timestamp.finish(items),
            self.value.finish(items),
            self.value_int.finish(items),
            self.trace_id.finish(items),
            self.span_id.finish(items),
            self.attributes.finish(items),
        ];
        self.lists.finish_structs(rows, schema::exemplar_fields(), columns)
    }
}
