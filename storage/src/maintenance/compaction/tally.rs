//! What rows are, without their order and their encoding: compared before a compaction replaces anything.
//!
//! A [`Tally`] is the number of rows, their bounds, and the sum mod 2^128 of a 128-bit hash of each row. A row that is lost,
//! doubled or changed in any column changes the sum.
//!
//! The hash of a row is mixed from the sum of the hashes of its cells, each with the number of its column; a null adds
//! nothing, so columns without values cost nothing. A dictionary's value is hashed when it is first seen, not for each row.

use alula_catalog::{SequenceNumber, TimeRange};
use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, RecordBatch, StringArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType,
    UInt32Type, UInt64Type,
};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::buffer::{sequences_of, timestamps_of};
use crate::{Error, Result};

/// Odd, with about as many ones as zeros: digits of pi and of e.
const FIRST_FACTOR: u128 = 0x243f_6a88_85a3_08d3_1319_8a2e_0370_7345;
const SECOND_FACTOR: u128 = 0xb7e1_5162_8aed_2a6a_bf71_5880_9cf4_f3c7;

/// What can be said of rows whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub num_rows: u64,
    pub timestamps: Option<TimeRange>,
    pub sequences: Option<(SequenceNumber, SequenceNumber)>,
    hash: u128,
}

impl Tally {
    /// What `self` and `other` are not equal in, for the log.
    pub(super) fn difference(&self, other: &Self) -> Option<&'static str> {
        if self.num_rows != other.num_rows {
            Some("the number of rows")
        } else if self.timestamps != other.timestamps {
            Some("the earliest and latest timestamp")
        } else if self.sequences != other.sequences {
            Some("the first and last sequence number")
        } else if self.hash != other.hash {
            Some("the hash of all rows")
        } else {
            None
        }
    }

    /// The tally of the rows of both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let timestamps = both(self.timestamps, other.timestamps, |a, b| TimeRange {
            min_ns: a.min_ns.min(b.min_ns),
            max_ns: a.max_ns.max(b.max_ns),
        });
        let sequences = both(self.sequences, other.sequences, |a, b| (a.0.min(b.0), a.1.max(b.1)));
        Self {
            num_rows: self.num_rows + other.num_rows,
            timestamps,
            sequences,
            hash: self.hash.wrapping_add(other.hash),
        }
    }
}

fn both<T: Copy>(a: Option<T>, b: Option<T>, join: impl Fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(join(a, b)),
        (a, b) => a.or(b),
    }
}

/// Makes the [`Tally`] of the batches of one file.
#[derive(Debug, Default)]
pub(super) struct Tallier {
    tally: Tally,
    /// By column.
    dictionaries: Vec<DictionaryHashes>,
    rows: Vec<u128>,
}

impl Tallier {
    /// # Errors
    /// `WrongSchema` — a column has a type that no table has.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows.clear();
        self.rows.resize(batch.num_rows(), 0);
        self.dictionaries.resize_with(batch.num_columns(), DictionaryHashes::default);
        for (index, column) in batch.columns().iter().enumerate() {
            let seed = mix(0, index as u128 + 1);
            match column.as_any_dictionary_opt() {
                Some(_) => self.dictionaries[index].add(column, seed, &mut self.rows)?,
                None => add_cells(column, seed, &mut self.rows)?,
            }
        }
        let hash = self.rows.iter().fold(0_u128, |sum, row| sum.wrapping_add(mix(SECOND_FACTOR, *row)));
        let added = Tally {
            num_rows: batch.num_rows() as u64,
            timestamps: Some(timestamps_of(batch).ok_or(Error::WrongSchema)?),
            sequences: Some(sequences_of(batch).ok_or(Error::WrongSchema)?),
            hash,
        };
        self.tally = self.tally.and(&added);
        Ok(())
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }
}

/// Hashes of the values of the dictionary that a column had last: batches of one row group share it.
#[derive(Debug, Default)]
struct DictionaryHashes {
    values: Option<ArrayRef>,
    /// 0 until the value is seen.
    hashes: Vec<u128>,
}

impl DictionaryHashes {
    fn add(&mut self, column: &ArrayRef, seed: u128, rows: &mut [u128]) -> Result<()> {
        let dictionary: &DictionaryArray<Int32Type> =
            column.as_dictionary_opt::<Int32Type>().ok_or(Error::WrongSchema)?;
        if dictionary.null_count() == dictionary.len() {
            return Ok(());
        }
        let values = dictionary.values();
        let texts: &StringArray = values.as_string_opt::<i32>().ok_or(Error::WrongSchema)?;
        if !self.values.as_ref().is_some_and(|known| known.to_data().ptr_eq(&values.to_data())) {
            self.hashes.clear();
            self.hashes.resize(values.len(), 0);
            self.values = Some(ArrayRef::clone(values));
        }
        for (row, key) in rows.iter_mut().zip(dictionary.keys()) {
            let Some(key) = key.map(|key| key as usize).filter(|key| texts.is_valid(*key)) else { continue };
            let hash = &mut self.hashes[key];
            if *hash == 0 {
                *hash = text(texts.value(key), seed);
            }
            *row = row.wrapping_add(*hash);
        }
        Ok(())
    }
}

/// Adds the hash of each cell of `array` to its place in `into`; of a null, nothing.
fn add_cells(array: &dyn Array, seed: u128, into: &mut [u128]) -> Result<()> {
    if array.null_count() == array.len() {
        return Ok(());
    }
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            add_numbers::<TimestampNanosecondType>(array, seed, into, |value| value as u64);
        }
        DataType::UInt64 => add_numbers::<UInt64Type>(array, seed, into, |value| value),
        DataType::UInt32 => add_numbers::<UInt32Type>(array, seed, into, u64::from),
        DataType::Int64 => add_numbers::<Int64Type>(array, seed, into, |value| value as u64),
        DataType::Int32 => add_numbers::<Int32Type>(array, seed, into, |value| value as u64),
        DataType::Float64 => add_numbers::<Float64Type>(array, seed, into, f64::to_bits),
        DataType::Boolean => {
            for (sum, value) in into.iter_mut().zip(array.as_boolean()) {
                *sum = value.map_or(*sum, |value| sum.wrapping_add(number(u64::from(value), seed)));
            }
        }
        DataType::Utf8 => {
            for (sum, value) in into.iter_mut().zip(array.as_string::<i32>()) {
                *sum = value.map_or(*sum, |value| sum.wrapping_add(text(value, seed)));
            }
        }
        DataType::List(_) => add_lists(array, seed, into)?,
        DataType::Struct(_) => add_structs(array, seed, into)?,
        _ => return Err(Error::WrongSchema),
    }
    Ok(())
}

fn add_numbers<T: ArrowPrimitiveType>(
    array: &dyn Array,
    seed: u128,
    into: &mut [u128],
    bits: impl Fn(T::Native) -> u64,
) {
    let array = array.as_primitive::<T>();
    match array.nulls() {
        None => {
            for (sum, value) in into.iter_mut().zip(array.values()) {
                *sum = sum.wrapping_add(number(bits(*value), seed));
            }
        }
        Some(nulls) => {
            for row in nulls.valid_indices() {
                into[row] = into[row].wrapping_add(number(bits(array.value(row)), seed));
            }
        }
    }
}

/// Items count in their order; an empty list is not a null.
fn add_lists(array: &dyn Array, seed: u128, into: &mut [u128]) -> Result<()> {
    let lists = array.as_list::<i32>();
    let mut items = vec![0; lists.values().len()];
    add_cells(lists.values(), mix(seed, 1), &mut items)?;
    for (row, sum) in into.iter_mut().enumerate().filter(|(row, _)| lists.is_valid(*row)) {
        let offsets = lists.value_offsets();
        let own = &items[offsets[row] as usize..offsets[row + 1] as usize];
        let list = own.iter().fold(number(own.len() as u64, seed), |state, item| mix(state, *item));
        *sum = sum.wrapping_add(list);
    }
    Ok(())
}

fn add_structs(array: &dyn Array, seed: u128, into: &mut [u128]) -> Result<()> {
    let structs = array.as_struct();
    let mut rows = vec![number(1, seed); structs.len()];
    for (index, column) in structs.columns().iter().enumerate() {
        add_cells(column, mix(seed, index as u128 + 2), &mut rows)?;
    }
    for (row, sum) in into.iter_mut().enumerate().filter(|(row, _)| structs.is_valid(*row)) {
        *sum = sum.wrapping_add(mix(seed, rows[row]));
    }
    Ok(())
}

fn text(value: &str, seed: u128) -> u128 {
    xxh3_128_with_seed(value.as_bytes(), seed as u64)
}

fn number(value: u64, seed: u128) -> u128 {
    mix(seed, u128::from(value))
}

/// Two multiplications with the high half folded into the low one between them: each bit of `value` reaches all of the result.
fn mix(seed: u128, value: u128) -> u128 {
    let product = (value ^ seed).wrapping_mul(FIRST_FACTOR);
    (product ^ (product >> 64)).wrapping_mul(SECOND_FACTOR).rotate_right(37)
}

#[cfg(test)]
mod tests;
