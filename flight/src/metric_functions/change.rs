//! `increase`, `rate` and `delta`.
//!
//! Points come in any order and from several partitions, so they are collected, and put in order at the end. In a
//! window frame the oldest leave again as the frame moves on.
//!
//! A partial state is three lists of the same length (times, starts, values) and what holds for the whole series.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::mem::size_of;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use alula_catalog::schema::{START_TIMESTAMP, TEMPORALITY, TIMESTAMP, VALUE};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Float64Array, Int64Array, ListArray, PrimitiveArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, Int64Type, TimestampNanosecondType, UInt64Type,
};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::aggregate_doc_sections::DOC_SECTION_GENERAL;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::arguments::{Arguments, Lists, Numbers, Parameter, Texts, Wanted, coerce, list_of, spelt};
use super::is_counted;
use super::merge::refuse_distinct;
use super::series::{Counted, Kind, Point, Series};

const PARAMETERS: [Parameter; 5] = [
    (TIMESTAMP, Wanted::Timestamp),
    (VALUE, Wanted::Value),
    (START_TIMESTAMP, Wanted::Timestamp),
    (TEMPORALITY, Wanted::Text),
    ("window_start", Wanted::Timestamp),
];

/// How many of them may be left out.
const OPTIONAL: usize = 3;

/// How the series that a group is made of changed.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Change {
    kind: Kind,
    signature: Signature,
}

impl Change {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Change {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Increase => "increase",
            Kind::Rate => "rate",
            Kind::Delta => "delta",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerce(self.name(), &PARAMETERS, OPTIONAL, given)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let value = args.input_fields[1].data_type().clone();
        let field =
            |name, data_type| Arc::new(Field::new(format_state_name(args.name, name), data_type, true));
        Ok(vec![
            field("times", list_of(DataType::Int64)),
            field("starts", list_of(DataType::Int64)),
            field("values", list_of(value)),
            field("is_delta", DataType::Boolean),
            field("window_start", DataType::Int64),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(self.name(), &args)?;
        Ok(match args.expr_fields[1].data_type() {
            DataType::Int64 => Box::new(One::<Int64Type>::new(self.kind)),
            DataType::UInt64 => Box::new(One::<UInt64Type>::new(self.kind)),
            _ => Box::new(One::<Float64Type>::new(self.kind)),
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(match args.expr_fields[1].data_type() {
            DataType::Int64 => Box::new(Groups::<Int64Type>::new(self.kind)),
            DataType::UInt64 => Box::new(Groups::<UInt64Type>::new(self.kind)),
            _ => Box::new(Groups::<Float64Type>::new(self.kind)),
        })
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        static INCREASE: LazyLock<Documentation> = LazyLock::new(|| {
            about("increase", "How much the counter whose points are grouped rose. Group by series_id.")
        });
        static RATE: LazyLock<Documentation> = LazyLock::new(|| {
            about(
                "rate",
                "How much the counter whose points are grouped rose in a second. Group by series_id.",
            )
        });
        static DELTA: LazyLock<Documentation> = LazyLock::new(|| {
            about(
                "delta",
                "How much the series whose points are grouped changed, up or down. Group by series_id.",
            )
        });
        Some(match self.kind {
            Kind::Increase => &INCREASE,
            Kind::Rate => &RATE,
            Kind::Delta => &DELTA,
        })
    }
}

fn about(name: &str, about: &str) -> Documentation {
    let syntax = format!("{name}{}", spelt(&PARAMETERS, OPTIONAL));
    Documentation::builder(DOC_SECTION_GENERAL, about, syntax).build()
}

/// The rows of [`PARAMETERS`].
struct Rows<'a, T: Counted> {
    times: Numbers<'a, TimestampNanosecondType>,
    values: Numbers<'a, T>,
    starts: Option<Numbers<'a, TimestampNanosecondType>>,
    temporalities: Option<Texts<'a>>,
    window_starts: Option<Numbers<'a, TimestampNanosecondType>>,
}

impl<'a, T: Counted> Rows<'a, T> {
    fn new(arguments: &'a Arguments) -> Self {
        let is_given = |index| index < arguments.len();
        Self {
            times: arguments.numbers(0),
            values: arguments.numbers(1),
            starts: is_given(2).then(|| arguments.numbers(2)),
            temporalities: is_given(3).then(|| arguments.texts(3)),
            window_starts: is_given(4).then(|| arguments.numbers(4)),
        }
    }

    /// `None` for a point without a value, which OTLP flags as not recorded.
    ///
    /// # Errors
    /// `Execution` — the temporality is none.
    fn get(&self, row: usize) -> Result<Option<(Point<T::Native>, Series)>> {
        let (Some(time), Some(value)) = (self.times.get(row), self.values.get(row)) else { return Ok(None) };
        let start = self.starts.as_ref().and_then(|starts| starts.get(row));
        let is_delta = match self.temporalities.as_ref().and_then(|texts| texts.get(row)) {
            Some(temporality) => Some(is_delta(temporality)?),
            None => None,
        };
        let window_start = self.window_starts.as_ref().and_then(|starts| starts.get(row));
        Ok(Some((Point { time, start, value }, Series { is_delta, window_start })))
    }
}

fn is_delta(temporality: &str) -> Result<bool> {
    match temporality {
        "delta" => Ok(true),
        "cumulative" | "unspecified" => Ok(false),
        // A number that OTLP has no name for says as little as none.
        number if number.parse::<i32>().is_ok() => Ok(false),
        other => exec_err!("the temporality of a series is 'cumulative' or 'delta', not '{other}'"),
    }
}

/// Partial states as rows: each is a part of one series.
struct States<'a, T: Counted> {
    times: Lists<'a, Int64Type>,
    starts: Lists<'a, Int64Type>,
    values: Lists<'a, T>,
    is_delta: &'a BooleanArray,
    window_starts: Numbers<'a, Int64Type>,
}

impl<'a, T: Counted> States<'a, T> {
    fn new(arguments: &'a Arguments) -> Self {
        Self {
            times: arguments.lists(0),
            starts: arguments.lists(1),
            values: arguments.lists(2),
            is_delta: arguments.booleans(3),
            window_starts: arguments.numbers(4),
        }
    }

    fn series(&self, row: usize) -> Series {
        let is_delta = self.is_delta.is_valid(row).then(|| self.is_delta.value(row));
        Series { is_delta, window_start: self.window_starts.get(row) }
    }

    fn points(&self, row: usize) -> impl Iterator<Item = Point<T::Native>> {
        let ranges = (self.times.range(row), self.starts.range(row), self.values.range(row));
        let (times, starts, values) = (self.times.items(), self.starts.items(), self.values.items());
        let of_lists =
            |(time_range, start_range, value_range): (Range<usize>, Range<usize>, Range<usize>)| {
                time_range.zip(start_range).zip(value_range).map(|((time, start), value)| Point {
                    time: times.value(time),
                    start: starts.is_valid(start).then(|| starts.value(start)),
                    value: values.value(value),
                })
            };
        match ranges {
            (Some(times), Some(starts), Some(values)) => Some(of_lists((times, starts, values))),
            _ => None,
        }
        .into_iter()
        .flatten()
    }
}

/// The columns of partial states: `lengths` tells how many of the points belong to each series.
fn state_columns<T: Counted>(
    points: &[Point<T::Native>],
    lengths: &[usize],
    series: &[Series],
) -> Vec<ArrayRef> {
    fn lists<V: ArrowPrimitiveType>(items: PrimitiveArray<V>, lengths: &[usize]) -> ArrayRef {
        let field = Arc::new(Field::new_list_field(V::DATA_TYPE, true));
        let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
        Arc::new(ListArray::new(field, offsets, Arc::new(items), None))
    }
    let times: Int64Array = points.iter().map(|point| point.time).collect();
    let starts: Int64Array = points.iter().map(|point| point.start).collect();
    let values = PrimitiveArray::<T>::from_iter_values(points.iter().map(|point| point.value));
    vec![
        lists(times, lengths),
        lists(starts, lengths),
        lists(values, lengths),
        Arc::new(series.iter().map(|series| series.is_delta).collect::<BooleanArray>()),
        Arc::new(series.iter().map(|series| series.window_start).collect::<Int64Array>()),
    ]
}

/// The points of one group or window frame, in the order in which they came.
#[derive(Debug)]
struct One<T: Counted> {
    kind: Kind,
    points: VecDeque<Point<T::Native>>,
    series: Series,
}

impl<T: Counted> One<T> {
    fn new(kind: Kind) -> Self {
        Self { kind, points: VecDeque::new(), series: Series::default() }
    }
}

impl<T: Counted> Accumulator for One<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let arguments = Arguments::from(values);
        let rows = Rows::<T>::new(&arguments);
        for row in 0..values[0].len() {
            if let Some((point, series)) = rows.get(row)? {
                self.series.learn(series)?;
                self.points.push_back(point);
            }
        }
        Ok(())
    }

    // As a window function it is asked after each row, so the points stay.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut points: Vec<_> = self.points.iter().copied().collect();
        Ok(ScalarValue::Float64(self.series.change::<T>(self.kind, &mut points)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.points.capacity() * size_of::<Point<T::Native>>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let points = Vec::from(std::mem::take(&mut self.points));
        let columns = state_columns::<T>(&points, &[points.len()], &[self.series]);
        columns.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let arguments = Arguments::from(states);
        let rows = States::<T>::new(&arguments);
        for row in 0..states[0].len() {
            self.series.learn(rows.series(row))?;
            self.points.extend(rows.points(row));
        }
        Ok(())
    }

    // A frame moves on: the rows that leave are those that came first.
    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let arguments = Arguments::from(values);
        let rows = Rows::<T>::new(&arguments);
        for row in 0..values[0].len() {
            if rows.get(row)?.is_some() {
                self.points.pop_front();
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

/// The points of all groups in one list, each with the number of its group: a list per group would cost more than the
/// points of most.
struct Groups<T: Counted> {
    kind: Kind,
    points: Vec<(usize, Point<T::Native>)>,
    series: Vec<Series>,
}

/// The points of some groups, those of a group together.
struct Taken<N> {
    points: Vec<Point<N>>,
    lengths: Vec<usize>,
    series: Vec<Series>,
}

impl<T: Counted> Groups<T> {
    fn new(kind: Kind) -> Self {
        Self { kind, points: Vec::new(), series: Vec::new() }
    }

    fn take(&mut self, emit_to: EmitTo) -> Taken<T::Native> {
        let series = emit_to.take_needed(&mut self.series);
        let is_taken = |(group, _): &(usize, Point<T::Native>)| *group < series.len();
        let (mut taken, mut left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.points).into_iter().partition(is_taken);
        for (group, _) in &mut left {
            *group -= series.len();
        }
        self.points = left;
        taken.sort_by_key(|(group, _)| *group);
        let mut lengths = vec![0; series.len()];
        for (group, _) in &taken {
            lengths[*group] += 1;
        }
        Taken { points: taken.into_iter().map(|(_, point)| point).collect(), lengths, series }
    }
}

impl<T: Counted> GroupsAccumulator for Groups<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.series.resize(total_num_groups, Series::default());
        let arguments = Arguments::from(values);
        let rows = Rows::<T>::new(&arguments);
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| is_counted(opt_filter, *row)) {
            if let Some((point, series)) = rows.get(row)? {
                self.series[*group].learn(series)?;
                self.points.push((*group, point));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let Taken { mut points, lengths, series } = self.take(emit_to);
        let mut rest = &mut points[..];
        let changes = series.iter().zip(lengths).map(|(series, length)| {
            let (own, others) = std::mem::take(&mut rest).split_at_mut(length);
            rest = others;
            series.change::<T>(self.kind, own)
        });
        Ok(Arc::new(changes.collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let Taken { points, lengths, series } = self.take(emit_to);
        Ok(state_columns::<T>(&points, &lengths, &series))
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.series.resize(total_num_groups, Series::default());
        let arguments = Arguments::from(values);
        let rows = States::<T>::new(&arguments);
        for (row, group) in group_indices.iter().enumerate() {
            self.series[*group].learn(rows.series(row))?;
            self.points.extend(rows.points(row).map(|point| (*group, point)));
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let each_its_own: Vec<_> = (0..values[0].len()).collect();
        let mut groups = Self::new(self.kind);
        groups.update_batch(values, &each_its_own, opt_filter, each_its_own.len())?;
        groups.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.points.capacity() * size_of::<(usize, Point<T::Native>)>()
            + self.series.capacity() * size_of::<Series>()
    }
}
