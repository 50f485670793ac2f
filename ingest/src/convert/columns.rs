//! Column builders that are addressed by row.
//!
//! A builder is only touched for rows that have a value: `set` fills the gap since the last value with nulls, and
//! `finish` fills the rest. So code for one kind of record names only the columns that kind has.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, ArrowPrimitiveType, BooleanBuilder, DictionaryArray, Int32Builder,
    ListArray, NullBufferBuilder, PrimitiveArray, PrimitiveBuilder, RecordBatch, RecordBatchOptions,
    StringBuilder, StructArray, TimestampNanosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Field, FieldRef, Fields};
use arrow::error::ArrowError;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use alula_catalog::{Signal, schema};

/// What a [`Column`] can be made of.
pub(super) trait Builder: ArrayBuilder {
    type Item<'a>;
    /// A builder that has reserved nothing: most columns of a small request stay short or null.
    fn empty() -> Self;
    fn append(&mut self, item: Self::Item<'_>);
    fn append_nulls(&mut self, count: usize);
}

impl<T: ArrowPrimitiveType> Builder for PrimitiveBuilder<T> {
    type Item<'a> = T::Native;
    fn empty() -> Self {
        PrimitiveBuilder::with_capacity(0)
    }
    fn append(&mut self, item: T::Native) {
        self.append_value(item);
    }
    fn append_nulls(&mut self, count: usize) {
        PrimitiveBuilder::append_nulls(self, count);
    }
}

impl Builder for BooleanBuilder {
    type Item<'a> = bool;
    fn empty() -> Self {
        BooleanBuilder::with_capacity(0)
    }
    fn append(&mut self, item: bool) {
        self.append_value(item);
    }
    fn append_nulls(&mut self, count: usize) {
        BooleanBuilder::append_nulls(self, count);
    }
}

impl Builder for StringBuilder {
    type Item<'a> = &'a str;
    fn empty() -> Self {
        StringBuilder::with_capacity(0, 0)
    }
    fn append(&mut self, item: &str) {
        self.append_value(item);
    }
    fn append_nulls(&mut self, count: usize) {
        StringBuilder::append_nulls(self, count);
    }
}

/// A column of single values, null where none was set. Rows must be set in ascending order.
#[derive(Debug)]
pub(super) struct Column<B>(B);

impl<B: Builder> Default for Column<B> {
    fn default() -> Self {
        Self(B::empty())
    }
}

impl<B: Builder> Column<B> {
    pub(super) fn set(&mut self, row: usize, item: B::Item<'_>) {
        self.pad(row);
        self.0.append(item);
    }

    pub(super) fn set_some(&mut self, row: usize, item: Option<B::Item<'_>>) {
        if let Some(item) = item {
            self.set(row, item);
        }
    }

    pub(super) fn finish(mut self, rows: usize) -> ArrayRef {
        self.pad(rows);
        self.0.finish()
    }

    fn pad(&mut self, row: usize) {
        debug_assert!(self.0.len() <= row, "rows are set in ascending order");
        let gap = row - self.0.len();
        if gap > 0 {
            self.0.append_nulls(gap);
        }
    }
}

/// Units: nanoseconds since the Unix epoch, UTC.
#[derive(Debug)]
pub(super) struct Times(Column<TimestampNanosecondBuilder>);

impl Default for Times {
    fn default() -> Self {
        Self(Column(TimestampNanosecondBuilder::empty().with_timezone(schema::UTC)))
    }
}

impl Times {
    pub(super) fn set(&mut self, row: usize, ns: i64) {
        self.0.set(row, ns);
    }

    /// Sets an OTLP time, in which zero means that there is none.
    pub(super) fn set_otlp(&mut self, row: usize, unix_nano: u64) {
        if unix_nano != 0 {
            self.0.set(row, saturate(unix_nano));
        }
    }

    pub(super) fn finish(self, rows: usize) -> ArrayRef {
        self.0.finish(rows)
    }
}

/// The signed form of an OTLP time.
///
/// The checks of a live request refuse what does not fit, so that only the replay of a damaged or foreign entry can
/// meet a larger value; it must not lose the record over it.
pub(super) fn saturate(unix_nano: u64) -> i64 {
    i64::try_from(unix_nano).unwrap_or(i64::MAX)
}

/// Trace and span ids: lower-case hexadecimal of whatever bytes came, null for none.
#[derive(Debug, Default)]
pub(super) struct Ids(Column<StringBuilder>);

impl Ids {
    pub(super) fn set(&mut self, row: usize, id: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        if id.is_empty() {
            return;
        }
        self.0.pad(row);
        let text = &mut self.0.0;
        for byte in id {
            for digit in [byte >> 4, byte & 15] {
                text.write_char(char::from(DIGITS[usize::from(digit)]))
                    .expect("writing to memory does not fail");
            }
        }
        // Ends the value that the characters above were written to.
        text.append_value("");
    }

    pub(super) fn finish(self, rows: usize) -> ArrayRef {
        self.0.finish(rows)
    }
}

/// The place of a text in the dictionary of one [`RepeatedText`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Key(i32);

/// A dictionary-encoded text column. A text that holds for many rows is interned once and set by key.
#[derive(Debug)]
pub(super) struct RepeatedText {
    keys: Column<Int32Builder>,
    texts: String,
    /// The end of each text within `texts`.
    ends: Vec<i32>,
    table: HashTable<i32>,
    /// Random, so that a sender cannot choose texts that collide.
    seed: u64,
}

impl Default for RepeatedText {
    fn default() -> Self {
        let seed = RandomState::new().hash_one(0);
        Self {
            keys: Column::default(),
            texts: String::new(),
            ends: Vec::new(),
            table: HashTable::new(),
            seed,
        }
    }
}

impl RepeatedText {
    pub(super) fn intern(&mut self, text: &str) -> Key {
        let Self { texts, ends, table, seed, .. } = self;
        let hash = |text: &str| xxh3_64_with_seed(text.as_bytes(), *seed);
        let entry =
            table.entry(hash(text), |&key| nth(texts, ends, key) == text, |&key| hash(nth(texts, ends, key)));
        let key = match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => *entry.get(),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let key = ends.len() as i32;
                entry.insert(key);
                texts.push_str(text);
                ends.push(i32::try_from(texts.len()).expect("a payload is small: MAX_PAYLOAD_BYTES"));
                key
            }
        };
        Key(key)
    }

    pub(super) fn text(&self, key: Key) -> &str {
        nth(&self.texts, &self.ends, key.0)
    }

    pub(super) fn set(&mut self, row: usize, text: &str) {
        let key = self.intern(text);
        self.set_key(row, key);
    }

    pub(super) fn set_key(&mut self, row: usize, key: Key) {
        self.keys.set(row, key.0);
    }

    pub(super) fn set_some_key(&mut self, row: usize, key: Option<Key>) {
        self.keys.set_some(row, key.map(|key| key.0));
    }

    pub(super) fn finish(mut self, rows: usize) -> ArrayRef {
        self.keys.pad(rows);
        let keys = self.keys.0.finish();
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.extend(self.ends);
        let texts = arrow::array::StringArray::new(
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            self.texts.into_bytes().into(),
            None,
        );
        Arc::new(DictionaryArray::new(keys, Arc::new(texts)))
    }
}

fn nth<'a>(texts: &'a str, ends: &[i32], key: i32) -> &'a str {
    let index = key as usize;
    let start = if index == 0 { 0 } else { ends[index - 1] as usize };
    &texts[start..ends[index] as usize]
}

/// The offsets and the validity of a list column; its items live elsewhere.
#[derive(Debug)]
pub(super) struct Lists {
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
}

impl Default for Lists {
    fn default() -> Self {
        Self { offsets: vec![0], validity: NullBufferBuilder::new(0) }
    }
}

impl Lists {
    /// How many items all lists hold so far: the row of the next item.
    pub(super) fn items(&self) -> usize {
        self.offsets.last().map_or(0, |&end| end as usize)
    }

    /// Gives `row` a list of the next `count` items.
    pub(super) fn set(&mut self, row: usize, count: usize) {
        self.pad(row);
        self.offsets
            .push(i32::try_from(self.items() + count).expect("a payload is small: MAX_PAYLOAD_BYTES"));
        self.validity.append_non_null();
    }

    pub(super) fn finish(mut self, rows: usize, items: ArrayRef) -> ArrayRef {
        self.pad(rows);
        let field: FieldRef = Arc::new(Field::new_list_field(items.data_type().clone(), false));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Arc::new(ListArray::new(field, offsets, items, self.validity.build()))
    }

    pub(super) fn finish_structs(self, rows: usize, fields: Fields, items: Vec<ArrayRef>) -> ArrayRef {
        self.finish(rows, Arc::new(StructArray::new(fields, items, None)))
    }

    fn pad(&mut self, row: usize) {
        let gap = row - self.validity.len();
        if gap > 0 {
            self.offsets.resize(self.offsets.len() + gap, self.items() as i32);
            self.validity.append_n_nulls(gap);
        }
    }
}

/// A column of lists of numbers.
#[derive(Debug)]
pub(super) struct NumberLists<T: ArrowPrimitiveType> {
    lists: Lists,
    items: Vec<T::Native>,
}

impl<T: ArrowPrimitiveType> Default for NumberLists<T> {
    fn default() -> Self {
        Self { lists: Lists::default(), items: Vec::new() }
    }
}

impl<T: ArrowPrimitiveType> NumberLists<T> {
    pub(super) fn set(&mut self, row: usize, items: &[T::Native]) {
        self.items.extend_from_slice(items);
        self.lists.set(row, items.len());
    }

    pub(super) fn finish(self, rows: usize) -> ArrayRef {
        let items = PrimitiveArray::<T>::new(ScalarBuffer::from(self.items), None);
        self.lists.finish(rows, Arc::new(items))
    }
}

/// The finished columns of one batch, by name.
pub(super) type NamedColumns = Vec<(&'static str, ArrayRef)>;

/// Puts columns into the order of the signal's schema.
pub(super) fn batch(signal: Signal, rows: usize, columns: NamedColumns) -> Result<RecordBatch, ArrowError> {
    let mut by_name: HashMap<&str, ArrayRef> = columns.into_iter().collect();
    let schema = schema::entry_schema(signal);
    let arrays = schema
        .fields()
        .iter()
        .map(|field| {
            let mut column =
                by_name.remove(field.name().as_str()).expect("each signal writes every column of its schema");
            // The rows stay in memory until they are flushed, and the room for growth would stay with them.
            column.shrink_to_fit();
            column
        })
        .collect();
    RecordBatch::try_new_with_options(schema, arrays, &RecordBatchOptions::new().with_row_count(Some(rows)))
}
