//! Columns whose type is settled: the value of a row, or what is wrong with it.

use std::ops::Range;

use arrow::array::{
    Array, ArrowPrimitiveType, BinaryArray, BooleanArray, Int32Array, Int64Array, ListArray, PrimitiveArray,
    StringArray,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::{Fault, Read, json};

/// A column that may be missing; then every row is null.
pub(super) struct Column<V> {
    name: String,
    /// Where the value of a row is; none if it is at the place of the row.
    keys: Option<Int32Array>,
    values: Option<V>,
}

pub(super) type Texts = Column<StringArray>;
pub(super) type Bools = Column<BooleanArray>;
pub(super) type Numbers<T> = Column<PrimitiveArray<T>>;

impl<V> Column<V> {
    pub(super) fn new(name: String, keys: Option<Int32Array>, values: V) -> Self {
        Self { name, keys, values: Some(values) }
    }

    pub(super) fn absent(name: String) -> Self {
        Self { name, keys: None, values: None }
    }

    pub(super) fn fault(&self, row: usize, what: impl Into<String>) -> Fault {
        Fault { row: Some(row), column: self.name.clone(), what: what.into() }
    }

    /// A value that a row of this kind cannot do without.
    pub(super) fn needed<T>(&self, row: usize, value: Option<T>, why: &str) -> Read<T> {
        value.ok_or_else(|| self.fault(row, format!("is null, and {why}")))
    }
}

impl<V: Array> Column<V> {
    /// The values, and where in them that of the row is, unless it is null.
    fn at(&self, row: usize) -> Option<(&V, usize)> {
        let values = self.values.as_ref()?;
        let index = match &self.keys {
            None => row,
            Some(keys) if keys.is_valid(row) => usize::try_from(keys.value(row)).ok()?,
            Some(_) => return None,
        };
        values.is_valid(index).then_some((values, index))
    }
}

impl Texts {
    pub(super) fn get(&self, row: usize) -> Option<&str> {
        self.at(row).map(|(texts, index)| texts.value(index))
    }

    /// As protobuf has it: empty for none.
    pub(super) fn text(&self, row: usize) -> String {
        self.get(row).unwrap_or_default().to_owned()
    }

    /// The number that a name stands for, or that is written out; 0 for none.
    pub(super) fn number(&self, row: usize, names: &[&str]) -> Read<i32> {
        let Some(text) = self.get(row) else { return Ok(0) };
        let number = match names.iter().position(|name| *name == text) {
            Some(number) => i32::try_from(number).ok(),
            None => text.parse().ok(),
        };
        let what = || format!("is {:?} and must be one of {}", shortened(text), names.join(", "));
        number.ok_or_else(|| self.fault(row, what()))
    }
}

impl Bools {
    pub(super) fn get(&self, row: usize) -> Option<bool> {
        self.at(row).map(|(values, index)| values.value(index))
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    pub(super) fn get(&self, row: usize) -> Option<T::Native> {
        self.at(row).map(|(values, index)| values.value(index))
    }
}

/// Instants of any unit.
pub(super) struct Times {
    ticks: Column<Int64Array>,
    /// In a tick.
    nanoseconds: i64,
}

impl Times {
    pub(super) fn new(ticks: Column<Int64Array>, nanoseconds: i64) -> Self {
        Self { ticks, nanoseconds }
    }

    pub(super) fn absent(name: String) -> Self {
        Self { ticks: Column::absent(name), nanoseconds: 1 }
    }

    /// As OTLP has it: zero for none.
    pub(super) fn get(&self, row: usize) -> Read<u64> {
        let Some((ticks, index)) = self.ticks.at(row) else { return Ok(0) };
        let fault = |what: &str| Err(self.ticks.fault(row, what));
        match ticks.value(index).checked_mul(self.nanoseconds) {
            Some(ns) if ns > 0 => Ok(ns.unsigned_abs()),
            Some(0) => fault("is 1970-01-01T00:00:00Z, which in OTLP stands for no time: make it null"),
            Some(_) => fault("is before 1970, which OTLP cannot say"),
            None if ticks.value(index) < 0 => fault("is before 1970, which OTLP cannot say"),
            None => fault("is past 2262-04-11T23:47:16Z, the last time that 64-bit nanoseconds can hold"),
        }
    }
}

/// Ids of traces and spans.
pub(super) enum Ids {
    Text(Texts),
    Bytes(Column<BinaryArray>),
}

impl Ids {
    /// As OTLP has it: empty for none.
    pub(super) fn get(&self, row: usize) -> Read<Vec<u8>> {
        match self {
            Self::Bytes(ids) => {
                Ok(ids.at(row).map(|(ids, index)| ids.value(index).to_vec()).unwrap_or_default())
            }
            Self::Text(texts) => {
                let text = texts.get(row).unwrap_or_default();
                let what = || format!("is {:?} and must be hexadecimal", shortened(text));
                from_hex(text).ok_or_else(|| texts.fault(row, what()))
            }
        }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// Attributes as JSON text. Rows that follow each other often have the same.
pub(super) struct Attributes {
    texts: Texts,
    /// The index of the text that was read last, and what it says.
    last: Option<(usize, Vec<KeyValue>)>,
}

impl Attributes {
    pub(super) fn new(texts: Texts) -> Self {
        Self { texts, last: None }
    }

    pub(super) fn text(&self, row: usize) -> Option<&str> {
        self.texts.get(row)
    }

    pub(super) fn get(&mut self, row: usize) -> Read<Option<Vec<KeyValue>>> {
        let Some((texts, index)) = self.texts.at(row) else { return Ok(None) };
        let text = texts.value(index);
        if let Some((last, attributes)) = &self.last
            && (*last == index || texts.value(*last) == text)
        {
            return Ok(Some(attributes.clone()));
        }
        let attributes = json::attributes(text).map_err(|what| self.texts.fault(row, what))?;
        self.last = Some((index, attributes.clone()));
        Ok(Some(attributes))
    }

    /// As OTLP has it: empty for none.
    pub(super) fn list(&mut self, row: usize) -> Read<Vec<KeyValue>> {
        Ok(self.get(row)?.unwrap_or_default())
    }
}

/// A column of lists. The items of all lists stand one after the other.
pub(super) struct Lists<T>(Option<(Column<ListArray>, T)>);

impl<T> Lists<T> {
    pub(super) fn new(lists: Column<ListArray>, items: T) -> Self {
        Self(Some((lists, items)))
    }

    pub(super) fn absent() -> Self {
        Self(None)
    }

    /// What `read` makes of each item; none if there is no list.
    pub(super) fn get<I>(
        &mut self,
        row: usize,
        read: impl Fn(&mut T, usize) -> Read<I>,
    ) -> Read<Option<Vec<I>>> {
        let Some((lists, items)) = &mut self.0 else { return Ok(None) };
        let Some((array, index)) = lists.at(row) else { return Ok(None) };
        let bounds = array.value_offsets();
        let range: Range<usize> = bounds[index] as usize..bounds[index + 1] as usize;
        // What is wrong with an item is wrong with the row that it is in.
        let list = range.map(|item| read(items, item).map_err(|fault| Fault { row: Some(row), ..fault }));
        list.collect::<Read<_>>().map(Some)
    }
}

impl<T: ArrowPrimitiveType> Lists<Numbers<T>> {
    pub(super) fn numbers(&mut self, row: usize) -> Read<Option<Vec<T::Native>>> {
        self.get(row, |items, item| {
            items.needed(item, items.get(item), "a list of numbers has none of these")
        })
    }
}

/// The beginning of a text that a client is shown.
pub(super) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(60)]
}
