//! How much a function makes of little: `repeat('x', 2000000000)`.
//!
//! What expressions make is not counted by the memory pool, and one call of a function cannot be ended half-way. So what a
//! call would make is told from its arguments before it is called, and refused above a bound.

use std::cell::Cell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::common::exec_err;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::scalar::ScalarValue;

use crate::Error;

/// What may be made of all rows of a batch together.
const MAX_BYTES: u64 = 256 << 20;

/// What may be made of one row: far more than a client takes.
pub(super) const MAX_VALUE_BYTES: u64 = 64 << 20;

/// What the values that a projection has in every row may take of a batch.
const MAX_REPEATED_BYTES: usize = 32 << 20;

/// Values up to this size are no reason for smaller batches.
const SMALL_BYTES: usize = 1 << 10;

/// The functions whose result may be far larger than their arguments.
pub(super) const GROWING: [&str; 8] =
    ["array_repeat", "array_resize", "generate_series", "lpad", "range", "repeat", "replace", "rpad"];

thread_local! {
    /// What the functions have made since it began to be counted on this thread.
    static MADE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From here on the bound is on all calls together.
pub(super) fn begin_counting() {
    MADE.set(Some(0));
}

/// From here on the bound is on each call. Returns what was made meanwhile.
pub(super) fn end_counting() -> u64 {
    MADE.take().unwrap_or(0)
}

/// How many rows a batch may have that this operator makes another of, if its own literals are large: they come once a row.
///
/// # Errors
/// `Execution` — one is so large that it may come in no row, or in none of a window, whose rows are kept.
pub(super) fn rows_per_batch(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<usize>> {
    let mut bytes = 0_usize;
    plan.apply_expressions(&mut |root| {
        root.apply(|expr| {
            let size = expr.downcast_ref::<Literal>().map_or(0, |literal| size(literal.value()));
            if size > SMALL_BYTES {
                bytes = bytes.saturating_add(size);
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if bytes == 0 {
        return Ok(None);
    }
    if plan.is::<WindowAggExec>() || plan.is::<BoundedWindowAggExec>() {
        return exec_err!(
            "a constant of a window function has {bytes} bytes, and may have {SMALL_BYTES}: it comes once a row"
        );
    }
    if bytes as u64 > MAX_BYTES {
        return exec_err!(
            "the constants of a row have {} MiB, and may have {} MiB",
            bytes >> 20,
            MAX_BYTES >> 20
        );
    }
    Ok(Some((MAX_REPEATED_BYTES / bytes).max(1)))
}

/// What a constant takes of each row.
fn size(value: &ScalarValue) -> usize {
    // Null is as long as every other value.
    value.size().max(fixed_size(&value.data_type()))
}

/// Bytes of every value of a type; 0 where they differ.
pub(super) fn fixed_size(data_type: &DataType) -> usize {
    let times = |bytes: usize, count: i32| bytes.saturating_mul(usize::try_from(count).unwrap_or(0));
    match data_type {
        DataType::FixedSizeBinary(count) => times(1, *count),
        DataType::FixedSizeList(item, count) => times(fixed_size(item.data_type()).max(1), *count),
        _ => data_type.primitive_width().unwrap_or(0),
    }
}

/// What becomes of a statement whose kernels have panicked.
pub(super) fn too_much_text() -> DataFusionError {
    DataFusionError::External(Box::new(Error::TooMuchText))
}

/// # Errors
/// `Execution` — the call would make more than [`MAX_BYTES`].
pub(super) fn check(name: &str, args: &ScalarFunctionArgs) -> Result<()> {
    if !GROWING.contains(&name) {
        return Ok(());
    }
    // Of scalars alone one value is made, whatever the number of rows.
    let is_array = |value: &ColumnarValue| matches!(value, ColumnarValue::Array(_));
    let rows = if args.args.iter().any(is_array) { args.number_rows } else { 1 };
    // A scalar stays one: it may be large, and goes for all rows.
    let one_or_all = |value: &ColumnarValue| match value {
        ColumnarValue::Array(array) => Ok(Arc::clone(array)),
        ColumnarValue::Scalar(scalar) => scalar.to_array(),
    };
    let arrays = args.args.iter().map(one_or_all).collect::<Result<Vec<_>>>()?;
    let of_row: Box<dyn Fn(usize) -> u64> = match (name, arrays.as_slice()) {
        ("repeat", [text, times]) => {
            let (lengths, times) = (lengths(text)?, integers(times)?);
            Box::new(move |row| of(&lengths, row).saturating_mul(of(&times, row)))
        }
        // A character has four bytes at most; texts are cut to the length, too.
        ("lpad" | "rpad", [_, length, ..]) => {
            let lengths = integers(length)?;
            Box::new(move |row| of(&lengths, row).saturating_mul(4))
        }
        ("replace", [text, from, to]) => {
            let (text, from, to) = (lengths(text)?, lengths(from)?, lengths(to)?);
            // An empty text is found between any two characters.
            Box::new(move |row| {
                (of(&text, row) / of(&from, row).max(1) + 1).saturating_mul(of(&to, row)) + of(&text, row)
            })
        }
        ("array_resize", [list, length, rest @ ..]) => {
            let width = |array: &ArrayRef| -> Result<u64> {
                Ok(array.to_data().get_slice_memory_size()? as u64 / (array.len() as u64).max(1) + 1)
            };
            // Its own elements are there already.
            let bytes = match rest {
                [element, ..] => width(element)?,
                [] => 8,
            };
            let (own, lengths) = (width(list)?, integers(length)?);
            Box::new(move |row| bytes.saturating_mul(of(&lengths, row)).saturating_add(own))
        }
        ("array_repeat", [element, times]) => {
            let bytes = element.to_data().get_slice_memory_size()? as u64 / (element.len() as u64).max(1) + 1;
            let times = integers(times)?;
            Box::new(move |row| bytes.saturating_mul(of(&times, row)))
        }
        ("range" | "generate_series", bounds) => {
            let steps = Steps::try_new(bounds)?;
            Box::new(move |row| steps.count(row).saturating_mul(8))
        }
        _ => return Ok(()),
    };
    let (mut largest, mut bytes) = (0, 0_u64);
    for of_row in (0..rows).map(of_row) {
        largest = of_row.max(largest);
        bytes = bytes.saturating_add(of_row);
    }
    if largest > MAX_VALUE_BYTES {
        return exec_err!(
            "{name} would make a value of {} MiB, and one may have {} MiB: ask for less of it",
            largest >> 20,
            MAX_VALUE_BYTES >> 20
        );
    }
    let made = MADE.get().map(|before| before.saturating_add(bytes));
    let together = made.unwrap_or(bytes);
    if together > MAX_BYTES {
        return exec_err!(
            "{name} would make {} MiB of {rows} rows, with what was made of them before, and that may be {} MiB: \
             ask for less of it, or for fewer rows",
            together >> 20,
            MAX_BYTES >> 20
        );
    }
    MADE.set(made);
    Ok(())
}

/// The value of a row, of which there may be one for all.
fn of<T: Copy>(values: &[T], row: usize) -> T {
    values[if values.len() == 1 { 0 } else { row }]
}

/// Bytes of each text; 0 for null.
fn lengths(texts: &ArrayRef) -> Result<Vec<u64>> {
    integers(&length(texts)?)
}

/// Each number as one of values to be made; 0 for null and what is below it.
fn integers(numbers: &ArrayRef) -> Result<Vec<u64>> {
    let numbers = cast(numbers, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>().iter();
    Ok(numbers.map(|number| u64::try_from(number.unwrap_or(0)).unwrap_or(0)).collect())
}

/// The arguments of `range`: where it begins and ends and how far one value is from the next, as numbers or microseconds.
struct Steps {
    first: Vec<f64>,
    end: Vec<f64>,
    step: Vec<f64>,
}

impl Steps {
    fn try_new(bounds: &[ArrayRef]) -> Result<Self> {
        Ok(match bounds {
            [end] => Self { first: vec![0.0], end: points(end)?, step: vec![1.0] },
            [first, end] => Self { first: points(first)?, end: points(end)?, step: vec![1.0] },
            [first, end, step, ..] => {
                Self { first: points(first)?, end: points(end)?, step: distances(step)? }
            }
            [] => Self { first: vec![0.0], end: vec![0.0], step: vec![1.0] },
        })
    }

    fn count(&self, row: usize) -> u64 {
        let count = (of(&self.end, row) - of(&self.first, row)) / of(&self.step, row);
        // What is null, or leads away from the end, is no value at all; what is too large for it is the largest number.
        if count > 0.0 { count as u64 + 1 } else { 1 }
    }
}

fn points(points: &ArrayRef) -> Result<Vec<f64>> {
    let points = match points.data_type() {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
            let zone = match points.data_type() {
                DataType::Timestamp(_, zone) => zone.clone(),
                _ => None,
            };
            cast(&cast(points, &DataType::Timestamp(TimeUnit::Microsecond, zone))?, &DataType::Int64)?
        }
        _ => cast(points, &DataType::Int64)?,
    };
    Ok(points
        .as_primitive::<Int64Type>()
        .iter()
        .map(|point| point.map_or(f64::NAN, |at| at as f64))
        .collect())
}

fn distances(steps: &ArrayRef) -> Result<Vec<f64>> {
    const DAY: f64 = 86_400e6;
    if !matches!(steps.data_type(), DataType::Interval(_)) {
        return points(steps);
    }
    let steps = cast(steps, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let steps = steps.as_primitive::<IntervalMonthDayNanoType>().iter();
    let distance = |step: IntervalMonthDayNano| {
        // The shortest month, so that there are never more values than this says.
        f64::from(step.months) * 28.0 * DAY + f64::from(step.days) * DAY + step.nanoseconds as f64 / 1e3
    };
    Ok(steps.map(|step| step.map_or(f64::NAN, distance)).collect())
}

#[cfg(test)]
mod tests;
