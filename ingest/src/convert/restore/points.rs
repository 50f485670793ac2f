//! The data points of the five metric types.

use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int32Type, Int64Type, UInt64Type};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint, number_data_point,
};

use alula_catalog::schema::{
    BUCKET_COUNTS, COUNT, EXPLICIT_BOUNDS, MAX, MIN, NEGATIVE_BUCKET_COUNTS, NEGATIVE_OFFSET,
    POSITIVE_BUCKET_COUNTS, POSITIVE_OFFSET, QUANTILE, QUANTILES, SCALE, SUM, VALUE, VALUE_INT, ZERO_COUNT,
    ZERO_THRESHOLD, quantile_fields,
};

use super::Read;
use super::columns::{Lists, Numbers};
use super::given::Given;
use super::metrics::MetricRows;

/// The columns that not every kind of point has.
pub(super) struct PointColumns {
    value: Numbers<Float64Type>,
    value_int: Numbers<Int64Type>,
    count: Numbers<UInt64Type>,
    sum: Numbers<Float64Type>,
    min: Numbers<Float64Type>,
    max: Numbers<Float64Type>,
    bucket_counts: Lists<Numbers<UInt64Type>>,
    explicit_bounds: Lists<Numbers<Float64Type>>,
    scale: Numbers<Int32Type>,
    zero_count: Numbers<UInt64Type>,
    zero_threshold: Numbers<Float64Type>,
    positive: BucketColumns,
    negative: BucketColumns,
    quantiles: Lists<Quantiles>,
}

impl PointColumns {
    pub(super) fn try_new(given: &mut Given) -> Read<Self> {
        // A client that has integers alone need not know of the column for them.
        if !given.has(VALUE_INT) && given.type_of(VALUE).is_some_and(arrow::datatypes::DataType::is_integer) {
            given.rename(VALUE, VALUE_INT);
        }
        Ok(Self {
            value: given.numbers(VALUE)?,
            value_int: given.numbers(VALUE_INT)?,
            count: given.numbers(COUNT)?,
            sum: given.numbers(SUM)?,
            min: given.numbers(MIN)?,
            max: given.numbers(MAX)?,
            bucket_counts: given.number_lists(BUCKET_COUNTS)?,
            explicit_bounds: given.number_lists(EXPLICIT_BOUNDS)?,
            scale: given.numbers(SCALE)?,
            zero_count: given.numbers(ZERO_COUNT)?,
            zero_threshold: given.numbers(ZERO_THRESHOLD)?,
            positive: BucketColumns::try_new(given, POSITIVE_OFFSET, POSITIVE_BUCKET_COUNTS)?,
            negative: BucketColumns::try_new(given, NEGATIVE_OFFSET, NEGATIVE_BUCKET_COUNTS)?,
            quantiles: given.struct_lists(QUANTILES, &quantile_fields(), Quantiles::try_new)?,
        })
    }

    pub(super) fn has_count(&self, row: usize) -> bool {
        self.count.get(row).is_some()
    }
}

/// One side of an exponential histogram.
struct BucketColumns {
    offset: Numbers<Int32Type>,
    counts: Lists<Numbers<UInt64Type>>,
}

impl BucketColumns {
    fn try_new(given: &mut Given, offset: &str, counts: &str) -> Read<Self> {
        Ok(Self { offset: given.numbers(offset)?, counts: given.number_lists(counts)? })
    }

    fn get(&mut self, row: usize) -> Read<Option<Buckets>> {
        let (offset, bucket_counts) = (self.offset.get(row), self.counts.numbers(row)?);
        if offset.is_none() && bucket_counts.is_none() {
            return Ok(None);
        }
        let offset = self.offset.needed(row, offset, "the row has bucket counts that begin there")?;
        Ok(Some(Buckets { offset, bucket_counts: bucket_counts.unwrap_or_default() }))
    }
}

impl MetricRows {
    pub(super) fn number_point(&mut self, row: usize) -> Read<NumberDataPoint> {
        let int = self.points.value_int.get(row).map(number_data_point::Value::AsInt);
        Ok(NumberDataPoint {
            attributes: self.attributes.list(row)?,
            start_time_unix_nano: self.start_timestamp.get(row)?,
            time_unix_nano: self.time.get(row)?,
            exemplars: self.exemplars(row)?,
            flags: self.flags.get(row).unwrap_or_default(),
            value: int.or(self.points.value.get(row).map(number_data_point::Value::AsDouble)),
        })
    }

    pub(super) fn histogram_point(&mut self, row: usize) -> Read<HistogramDataPoint> {
        let points = &mut self.points;
        Ok(HistogramDataPoint {
            attributes: self.attributes.list(row)?,
            start_time_unix_nano: self.start_timestamp.get(row)?,
            time_unix_nano: self.time.get(row)?,
            count: needed(&points.count, row, "a histogram")?,
            sum: points.sum.get(row),
            bucket_counts: points.bucket_counts.numbers(row)?.unwrap_or_default(),
            explicit_bounds: points.explicit_bounds.numbers(row)?.unwrap_or_default(),
            flags: self.flags.get(row).unwrap_or_default(),
            min: points.min.get(row),
            max: points.max.get(row),
            exemplars: self.exemplars(row)?,
        })
    }

    pub(super) fn exponential_point(&mut self, row: usize) -> Read<ExponentialHistogramDataPoint> {
        let points = &mut self.points;
        Ok(ExponentialHistogramDataPoint {
            attributes: self.attributes.list(row)?,
            start_time_unix_nano: self.start_timestamp.get(row)?,
            time_unix_nano: self.time.get(row)?,
            count: needed(&points.count, row, "an exponential histogram")?,
            sum: points.sum.get(row),
            scale: needed(&points.scale, row, "an exponential histogram")?,
            zero_count: points.zero_count.get(row).unwrap_or_default(),
            positive: points.positive.get(row)?,
            negative: points.negative.get(row)?,
            flags: self.flags.get(row).unwrap_or_default(),
            min: points.min.get(row),
            max: points.max.get(row),
            zero_threshold: points.zero_threshold.get(row).unwrap_or_default(),
            exemplars: self.exemplars(row)?,
        })
    }

    pub(super) fn summary_point(&mut self, row: usize) -> Read<SummaryDataPoint> {
        let points = &mut self.points;
        Ok(SummaryDataPoint {
            attributes: self.attributes.list(row)?,
            start_time_unix_nano: self.start_timestamp.get(row)?,
            time_unix_nano: self.time.get(row)?,
            count: needed(&points.count, row, "a summary")?,
            sum: points.sum.get(row).unwrap_or_default(),
            quantile_values: points
                .quantiles
                .get(row, |quantiles, item| Ok(quantiles.read(item)))?
                .unwrap_or_default(),
            flags: self.flags.get(row).unwrap_or_default(),
        })
    }
}

fn needed<T: ArrowPrimitiveType>(column: &Numbers<T>, row: usize, of: &str) -> Read<T::Native> {
    column.needed(row, column.get(row), &format!("{of} needs it"))
}

struct Quantiles {
    quantile: Numbers<Float64Type>,
    value: Numbers<Float64Type>,
}

impl Quantiles {
    fn try_new(given: &mut Given) -> Read<Self> {
        given.require(&[QUANTILE, VALUE])?;
        Ok(Self { quantile: given.numbers(QUANTILE)?, value: given.numbers(VALUE)? })
    }

    /// JSON has no other way to say that there is no number.
    fn read(&self, item: usize) -> ValueAtQuantile {
        let number = |column: &Numbers<Float64Type>| column.get(item).unwrap_or(f64::NAN);
        ValueAtQuantile { quantile: number(&self.quantile), value: number(&self.value) }
    }
}
