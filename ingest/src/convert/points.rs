//! The four messages that carry the points of the five metric types (gauge and sum share one).

use arrow::array::{ArrayRef, Float64Builder, Int32Builder, Int64Builder, UInt64Builder};
use arrow::datatypes::{Float64Type, UInt64Type};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint,
};

use alula_catalog::schema;

use super::checks::{self, Reason};
use super::columns::{Column, Lists, NamedColumns, NumberLists};

/// The fields that all points have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub(super) attributes: &'a [KeyValue],
    pub(super) start_time_unix_nano: u64,
    pub(super) time_unix_nano: u64,
    pub(super) flags: u32,
    pub(super) exemplars: &'a [Exemplar],
}

/// A data point: what all have in common, and its own columns.
pub(super) trait Point {
    fn fields(&self) -> Fields<'_>;

    fn check(&self) -> Result<(), Reason> {
        Ok(())
    }

    fn write(&self, row: usize, columns: &mut PointColumns);
}

/// The columns that not every kind of point has.
#[derive(Debug, Default)]
pub(super) struct PointColumns {
    value: Column<Float64Builder>,
    value_int: Column<Int64Builder>,
    count: Column<UInt64Builder>,
    sum: Column<Float64Builder>,
    min: Column<Float64Builder>,
    max: Column<Float64Builder>,
    bucket_counts: NumberLists<UInt64Type>,
    explicit_bounds: NumberLists<Float64Type>,
    scale: Column<Int32Builder>,
    zero_count: Column<UInt64Builder>,
    zero_threshold: Column<Float64Builder>,
    positive_offset: Column<Int32Builder>,
    positive_bucket_counts: NumberLists<UInt64Type>,
    negative_offset: Column<Int32Builder>,
    negative_bucket_counts: NumberLists<UInt64Type>,
    quantiles: Quantiles,
}

impl PointColumns {
    pub(super) fn finish(self, rows: usize, columns: &mut NamedColumns) {
        columns.extend([
            (schema::VALUE, self.value.finish(rows)),
            (schema::VALUE_INT, self.value_int.finish(rows)),
            (schema::COUNT, self.count.finish(rows)),
            (schema::SUM, self.sum.finish(rows)),
            (schema::MIN, self.min.finish(rows)),
            (schema::MAX, self.max.finish(rows)),
            (schema::BUCKET_COUNTS, self.bucket_counts.finish(rows)),
            (schema::EXPLICIT_BOUNDS, self.explicit_bounds.finish(rows)),
            (schema::SCALE, self.scale.finish(rows)),
            (schema::ZERO_COUNT, self.zero_count.finish(rows)),
            (schema::ZERO_THRESHOLD, self.zero_threshold.finish(rows)),
            (schema::POSITIVE_OFFSET, self.positive_offset.finish(rows)),
            (schema::POSITIVE_BUCKET_COUNTS, self.positive_bucket_counts.finish(rows)),
            (schema::NEGATIVE_OFFSET, self.negative_offset.finish(rows)),
            (schema::NEGATIVE_BUCKET_COUNTS, self.negative_bucket_counts.finish(rows)),
            (schema::QUANTILES, self.quantiles.finish(rows)),
        ]);
    }
}

impl Point for NumberDataPoint {
    fn fields(&self) -> Fields<'_> {
        Fields {
            attributes: &self.attributes,
            start_time_unix_nano: self.start_time_unix_nano,
            time_unix_nano: self.time_unix_nano,
            flags: self.flags,
            exemplars: &self.exemplars,
        }
    }

    fn write(&self, row: usize, columns: &mut PointColumns) {
        match self.value {
            Some(Value::AsDouble(value)) => columns.value.set(row, value),
            Some(Value::AsInt(value)) => {
                columns.value.set(row, value as f64);
                columns.value_int.set(row, value);
            }
            None => {}
        }
    }
}

impl Point for HistogramDataPoint {
    fn fields(&self) -> Fields<'_> {
        Fields {
            attributes: &self.attributes,
            start_time_unix_nano: self.start_time_unix_nano,
            time_unix_nano: self.time_unix_nano,
            flags: self.flags,
            exemplars: &self.exemplars,
        }
    }

    fn check(&self) -> Result<(), Reason> {
        let (counts, bounds) = (self.bucket_counts.len(), self.explicit_bounds.len());
        checks::ensure(counts == bounds + 1 || (counts == 0 && bounds == 0), Reason::BucketsDoNotFit)?;
        // A NaN is on neither side of any bound.
        let rise = self.explicit_bounds.is_sorted_by(|a, b| a < b)
            && !self.explicit_bounds.iter().any(|bound| bound.is_nan());
        checks::ensure(rise, Reason::BoundsDoNotRise)
    }

    fn write(&self, row: usize, columns: &mut PointColumns) {
        columns.count.set(row, self.count);
        columns.sum.set_some(row, self.sum);
        columns.min.set_some(row, self.min);
        columns.max.set_some(row, self.max);
        columns.bucket_counts.set(row, &self.bucket_counts);
        columns.explicit_bounds.set(row, &self.explicit_bounds);
    }
}

impl Point for ExponentialHistogramDataPoint {
    fn fields(&self) -> Fields<'_> {
        Fields {
            attributes: &self.attributes,
            start_time_unix_nano: self.start_time_unix_nano,
            time_unix_nano: self.time_unix_nano,
            flags: self.flags,
            exemplars: &self.exemplars,
        }
    }

    fn write(&self, row: usize, columns: &mut PointColumns) {
        columns.count.set(row, self.count);
        columns.sum.set_some(row, self.sum);
        columns.min.set_some(row, self.min);
        columns.max.set_some(row, self.max);
        columns.scale.set(row, self.scale);
        columns.zero_count.set(row, self.zero_count);
        columns.zero_threshold.set(row, self.zero_threshold);
        if let Some(positive) = &self.positive {
            columns.positive_offset.set(row, positive.offset);
            columns.positive_bucket_counts.set(row, &positive.bucket_counts);
        }
        if let Some(negative) = &self.negative {
            columns.negative_offset.set(row, negative.offset);
            columns.negative_bucket_counts.set(row, &negative.bucket_counts);
        }
    }
}

impl Point for SummaryDataPoint {
    fn fields(&self) -> Fields<'_> {
        Fields {
            attributes: &self.attributes,
            start_time_unix_nano: self.start_time_unix_nano,
            time_unix_nano: self.time_unix_nano,
            flags: self.flags,
            exemplars: &[],
        }
    }

    fn write(&self, row: usize, columns: &mut PointColumns) {
        columns.count.set(row, self.count);
        columns.sum.set(row, self.sum);
        columns.quantiles.push(row, &self.quantile_values);
    }
}

#[derive(Debug, Default)]
struct Quantiles {
    lists: Lists,
    quantile: Column<Float64Builder>,
    value: Column<Float64Builder>,
}

impl Quantiles {
    fn push(&mut self, row: usize, quantiles: &[ValueAtQuantile]) {
        for (item, quantile) in (self.lists.items()..).zip(quantiles) {
            self.quantile.set(item, quantile.quantile);
            self.value.set(item, quantile.value);
        }
        self.lists.set(row, quantiles.len());
    }

    fn finish(self, rows: usize) -> ArrayRef {
        let items = self.lists.items();
        let columns = vec![self.quantile.finish(items), self.value.finish(items)];
        self.lists.finish_structs(rows, schema::quantile_fields(), columns)
    }
}
