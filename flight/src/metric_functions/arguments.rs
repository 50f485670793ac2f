//! Which types the functions take, and reading their rows.
//!
//! Numbers and lists of numbers of any type are cast to those of the columns; a column is read as it is. What is null in a
//! row makes the whole row null, but for a null inside a list, which is an error. Counts with a fraction are an error too,
//! as a cast would cut it: so those that come as floats stay floats until they are read.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, ListArray, ListBuilder,
    PrimitiveArray, UInt64Builder,
};
use arrow::compute::{is_null, nullif};
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int32Type, TimeUnit};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::scalar::ScalarValue;

/// An argument as a statement spells it: what it is called, and of which kind it is.
pub(super) type Parameter = (&'static str, Wanted);

/// What an argument has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Float,
    Int32,
    UInt64,
    Floats,
    Counts,
    Timestamp,
    /// The value of a point: integers stay integers.
    Value,
    Text,
}

impl Wanted {
    /// The type that an argument is cast to; its own if it can be read as it is.
    fn coerce(self, given: &DataType) -> Option<DataType> {
        use DataType as T;
        let is_number = given.is_numeric() || given.is_null();
        match self {
            Self::Int32 => is_number.then_some(T::Int32),
            Self::UInt64 => is_number.then_some(T::UInt64),
            Self::Floats => numbers(given, T::Float64, T::Float64),
            Self::Counts => numbers(given, T::UInt64, T::Float64),
            Self::Timestamp => {
                (matches!(given, T::Timestamp(..) | T::Date32 | T::Date64) || given.is_null()).then(timestamp)
            }
            Self::Value if given.is_signed_integer() => Some(T::Int64),
            Self::Value if given.is_unsigned_integer() => Some(T::UInt64),
            Self::Float | Self::Value => is_number.then_some(T::Float64),
            Self::Text => match given {
                T::Dictionary(keys, values) if (&**keys, &**values) == (&T::Int32, &T::Utf8) => {
                    Some(given.clone())
                }
                T::Dictionary(_, values) => self.coerce(values),
                T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Null => Some(T::Utf8),
                _ => None,
            },
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Float | Self::Int32 | Self::UInt64 | Self::Value => "a number",
            Self::Floats | Self::Counts => "a list of numbers",
            Self::Timestamp => "a timestamp",
            Self::Text => "a text",
        }
    }
}

/// The types that arguments are cast to.
///
/// # Errors
/// `Plan` — there are too few or too many, or one cannot be cast; the message names it.
pub(super) fn coerce(
    function: &str,
    parameters: &[Parameter],
    optional: usize,
    given: &[DataType],
) -> Result<Vec<DataType>> {
    if given.len() > parameters.len() || given.len() + optional < parameters.len() {
        return plan_err!("{function} takes {}", spelt(parameters, optional));
    }
    let coerce = |((name, wanted), given): (&Parameter, &DataType)| match wanted.coerce(given) {
        Some(data_type) => Ok(data_type),
        None => plan_err!("the argument {name} of {function} must be {}, not {given}", wanted.describe()),
    };
    parameters.iter().zip(given).map(coerce).collect()
}

/// The struct with a field for each parameter.
pub(super) fn struct_of(parameters: &[Parameter]) -> Fields {
    let field = |(name, wanted): &Parameter| {
        let data_type = wanted.coerce(&DataType::Null).expect("a null can be anything");
        Field::new(*name, data_type, true)
    };
    parameters.iter().map(field).collect()
}

/// `(timestamp, value [, start_timestamp])`
pub(super) fn spelt(parameters: &[Parameter], optional: usize) -> String {
    let needed = parameters.len() - optional;
    let names: Vec<_> = parameters.iter().map(|(name, _)| *name).collect();
    let more: Vec<_> = names[needed..].iter().map(|name| format!(" [, {name}]")).collect();
    format!("({}{})", names[..needed].join(", "), more.concat())
}

/// The type of times.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

pub(super) fn list_of(item: DataType) -> DataType {
    DataType::new_list(item, true)
}

/// A list whose items are of type `whole` if those of the given one are integers, else of type `fractional`.
fn numbers(given: &DataType, whole: DataType, fractional: DataType) -> Option<DataType> {
    use DataType as T;
    let item = match given {
        T::List(field)
        | T::LargeList(field)
        | T::FixedSizeList(field, _)
        | T::ListView(field)
        | T::LargeListView(field) => field.data_type(),
        T::Null => given,
        _ => return None,
    };
    let item = match item {
        // What integers of both signs have in common is a decimal.
        T::Decimal128(_, scale) | T::Decimal256(_, scale) if *scale <= 0 => whole,
        item if item.is_integer() || item.is_null() => whole,
        item if item.is_numeric() => fractional,
        _ => return None,
    };
    Some(match given {
        T::List(field) if *field.data_type() == item => given.clone(),
        _ => list_of(item),
    })
}

/// The arguments of a call. One that is the same in all rows is held once: a long list in a statement is not repeated for
/// each row.
#[derive(Debug)]
pub(super) struct Arguments {
    columns: Vec<Column>,
}

#[derive(Clone, Debug)]
struct Column {
    array: ArrayRef,
    is_repeated: bool,
}

impl From<&[ArrayRef]> for Arguments {
    fn from(columns: &[ArrayRef]) -> Self {
        let column = |array| Column { array: Arc::clone(array), is_repeated: false };
        Self { columns: columns.iter().map(column).collect() }
    }
}

impl Arguments {
    pub(super) fn try_new(values: Vec<ColumnarValue>) -> Result<Self> {
        let column = |value| match value {
            ColumnarValue::Array(array) => Ok(Column { array, is_repeated: false }),
            ColumnarValue::Scalar(scalar) => Ok(Column { array: scalar.to_array()?, is_repeated: true }),
        };
        Ok(Self { columns: values.into_iter().map(column).collect::<Result<_>>()? })
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The fields of a struct in the place of the struct, if there is one at `index`.
    pub(super) fn unpacked(mut self, index: usize) -> Result<Self> {
        let Some(structs) = self.columns[index].array.as_struct_opt().cloned() else { return Ok(self) };
        let is_repeated = self.columns[index].is_repeated;
        // What lies under a null struct is not a value.
        let nulls = is_null(&structs)?;
        let field = |array: &ArrayRef| Ok(Column { array: nullif(array, &nulls)?, is_repeated });
        let fields = structs.columns().iter().map(field).collect::<Result<Vec<_>>>()?;
        self.columns.splice(index..=index, fields);
        Ok(self)
    }

    /// The lists of counts that came as floats, as the integers that they are; the first of the parameters is at `first`.
    ///
    /// # Errors
    /// `Execution` — a count is no integer.
    pub(super) fn with_whole_counts(mut self, parameters: &[Parameter], first: usize) -> Result<Self> {
        for (column, (_, wanted)) in self.columns[first..].iter_mut().zip(parameters) {
            if *wanted == Wanted::Counts
                && let Some(lists) = column.array.as_list_opt::<i32>()
                && lists.value_type() == DataType::Float64
            {
                column.array = Arc::new(whole_counts(lists)?);
            }
        }
        Ok(self)
    }

    pub(super) fn numbers<T: ArrowPrimitiveType>(&self, index: usize) -> Numbers<'_, T> {
        let Column { array, is_repeated } = &self.columns[index];
        Numbers { array: array.as_primitive(), is_repeated: *is_repeated }
    }

    pub(super) fn lists<T: ArrowPrimitiveType>(&self, index: usize) -> Lists<'_, T> {
        let Column { array, is_repeated } = &self.columns[index];
        let array: &ListArray = array.as_list();
        Lists { array, items: array.values().as_primitive(), is_repeated: *is_repeated }
    }

    pub(super) fn texts(&self, index: usize) -> Texts<'_> {
        let Column { array, is_repeated } = &self.columns[index];
        Texts { array, is_repeated: *is_repeated }
    }

    /// The column itself: states are never repeated.
    pub(super) fn booleans(&self, index: usize) -> &BooleanArray {
        self.columns[index].array.as_boolean()
    }

    /// One value for each of `num_rows`, or a single one if no argument differs between rows.
    pub(super) fn map(
        &self,
        num_rows: usize,
        of_row: impl Fn(usize) -> Result<Option<f64>>,
    ) -> Result<ColumnarValue> {
        if self.columns.iter().all(|column| column.is_repeated) {
            return Ok(ColumnarValue::Scalar(ScalarValue::Float64(of_row(0)?)));
        }
        let values: Float64Array = (0..num_rows).map(of_row).collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

/// # Errors
/// `Execution` — an item is no integer.
fn whole_counts(lists: &ListArray) -> Result<ListArray> {
    let mut counts = ListBuilder::new(UInt64Builder::new());
    for list in lists.iter() {
        if let Some(list) = &list {
            for count in list.as_primitive::<Float64Type>() {
                counts.values().append_option(count.map(whole_count).transpose()?);
            }
        }
        counts.append(list.is_some());
    }
    Ok(counts.finish())
}

fn whole_count(count: f64) -> Result<u64> {
    // As a double the end of the range is 2^64, which is left out.
    if count.fract() != 0.0 || !(0.0..u64::MAX as f64).contains(&count) {
        return exec_err!(
            "a count of a histogram must be a whole number from 0 to 2^64 - 1, not {count}: \
             pass bucket_counts of the same row, or their increase, not their rate"
        );
    }
    Ok(count as u64)
}

/// A column of numbers.
#[derive(Debug)]
pub(super) struct Numbers<'a, T: ArrowPrimitiveType> {
    array: &'a PrimitiveArray<T>,
    is_repeated: bool,
}

impl<T: ArrowPrimitiveType> Numbers<'_, T> {
    pub(super) fn get(&self, row: usize) -> Option<T::Native> {
        let row = if self.is_repeated { 0 } else { row };
        self.array.is_valid(row).then(|| self.array.value(row))
    }
}

/// A column of texts.
#[derive(Debug)]
pub(super) struct Texts<'a> {
    array: &'a ArrayRef,
    is_repeated: bool,
}

impl<'a> Texts<'a> {
    pub(super) fn get(&self, row: usize) -> Option<&'a str> {
        let row = if self.is_repeated { 0 } else { row };
        let (texts, row) = match self.array.as_dictionary_opt::<Int32Type>() {
            Some(dictionary) => (dictionary.values(), dictionary.key(row)?),
            None => (self.array, row),
        };
        let texts = texts.as_string::<i32>();
        texts.is_valid(row).then(|| texts.value(row))
    }
}

/// A column of lists of numbers.
#[derive(Debug)]
pub(super) struct Lists<'a, T: ArrowPrimitiveType> {
    array: &'a ListArray,
    items: &'a PrimitiveArray<T>,
    is_repeated: bool,
}

impl<'a, T: ArrowPrimitiveType> Lists<'a, T> {
    /// # Errors
    /// `Execution` — the list has a null in it.
    pub(super) fn get(&self, row: usize) -> Result<Option<&'a [T::Native]>> {
        let Some(items) = self.range(row) else { return Ok(None) };
        if self.items.null_count() > 0 && items.clone().any(|item| self.items.is_null(item)) {
            return exec_err!("the bounds and counts of a histogram must not be null inside their list");
        }
        Ok(Some(&self.items.values()[items]))
    }

    /// Where the items of a row are among all.
    pub(super) fn range(&self, row: usize) -> Option<Range<usize>> {
        let row = if self.is_repeated { 0 } else { row };
        let offsets = self.array.value_offsets();
        self.array.is_valid(row).then(|| offsets[row] as usize..offsets[row + 1] as usize)
    }

    pub(super) fn items(&self) -> &'a PrimitiveArray<T> {
        self.items
    }
}
