//! Reading single values out of a batch or out of the structs of a list.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type,
};

pub(crate) struct Columns(HashMap<String, ArrayRef>);

impl Columns {
    pub(crate) fn of_batch(batch: &RecordBatch) -> Self {
        Self::of_structs(&StructArray::from(batch.clone()))
    }

    fn of_structs(structs: &StructArray) -> Self {
        let columns = structs.fields().iter().zip(structs.columns()).map(|(field, column)| {
            let plain = match column.data_type() {
                DataType::Dictionary(..) => cast(column, &DataType::Utf8).unwrap(),
                _ => Arc::clone(column),
            };
            (field.name().clone(), plain)
        });
        Self(columns.collect())
    }

    pub(crate) fn text(&self, name: &str, row: usize) -> Option<String> {
        let column = self.0[name].as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    }

    pub(crate) fn bool(&self, name: &str, row: usize) -> Option<bool> {
        let column = self.0[name].as_boolean();
        column.is_valid(row).then(|| column.value(row))
    }

    pub(crate) fn u32(&self, name: &str, row: usize) -> Option<u32> {
        self.number::<UInt32Type>(name, row)
    }

    pub(crate) fn u64(&self, name: &str, row: usize) -> Option<u64> {
        self.number::<UInt64Type>(name, row)
    }

    pub(crate) fn i32(&self, name: &str, row: usize) -> Option<i32> {
        self.number::<Int32Type>(name, row)
    }

    pub(crate) fn i64(&self, name: &str, row: usize) -> Option<i64> {
        self.number::<Int64Type>(name, row)
    }

    pub(crate) fn f64(&self, name: &str, row: usize) -> Option<f64> {
        self.number::<Float64Type>(name, row)
    }

    /// As OTLP has it: zero for none.
    pub(crate) fn time(&self, name: &str, row: usize) -> u64 {
        self.number::<TimestampNanosecondType>(name, row).map_or(0, |ns| u64::try_from(ns).unwrap())
    }

    /// As OTLP has it: empty for none.
    pub(crate) fn id(&self, name: &str, row: usize) -> Vec<u8> {
        let text = self.text(name, row).unwrap_or_default();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    pub(crate) fn numbers<T: ArrowPrimitiveType>(&self, name: &str, row: usize) -> Option<Vec<T::Native>> {
        let items = self.items(name, row)?;
        Some(items.as_primitive::<T>().values().to_vec())
    }

    pub(crate) fn structs<T>(
        &self,
        name: &str,
        row: usize,
        read: impl Fn(&Columns, usize) -> T,
    ) -> Option<Vec<T>> {
        let items = self.items(name, row)?;
        let columns = Self::of_structs(items.as_struct());
        Some((0..items.len()).map(|item| read(&columns, item)).collect())
    }

    fn items(&self, name: &str, row: usize) -> Option<ArrayRef> {
        let lists = self.0[name].as_list::<i32>();
        lists.is_valid(row).then(|| lists.value(row))
    }

    fn number<T: ArrowPrimitiveType>(&self, name: &str, row: usize) -> Option<T::Native> {
        let column = self.0[name].as_primitive::<T>();
        column.is_valid(row).then(|| column.value(row))
    }
}
