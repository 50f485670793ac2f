//! A column of every type that a table keeps.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, Int32Array, Int32Builder, Int64Array,
    LargeListArray, ListArray, MapBuilder, RecordBatch, StringArray, StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType::{
    self, Binary, BinaryView, Boolean, Date32, Date64, Decimal128, Decimal256, Dictionary, Duration,
    FixedSizeBinary, Float16, Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, Time32,
    Time64, Timestamp, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
};
use arrow::datatypes::{Field, Fields, Int32Type, Schema, TimeUnit};

/// The values 0, 1, none, 2 in some form, of every type.
pub(crate) fn every_type() -> RecordBatch {
    let columns: Vec<ArrayRef> = kept_types().iter().map(sample).chain(nested()).collect();
    let fields = columns
        .iter()
        .enumerate()
        .map(|(index, column)| Field::new(format!("c{index}"), column.data_type().clone(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Fields>())), columns).unwrap()
}

/// Every type that a table keeps, nested ones over a few.
fn kept_types() -> Vec<DataType> {
    let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
    let plain = [
        Boolean,
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float16,
        Float32,
        Float64,
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        BinaryView,
        Date32,
        Date64,
    ];
    let mut types = plain.to_vec();
    types.extend([Decimal128(38, 10), Decimal128(5, 0), Decimal256(76, 20), FixedSizeBinary(3)]);
    types.extend([Time32(units[0]), Time32(units[1]), Time64(units[2]), Time64(units[3])]);
    for unit in units {
        types.extend([Duration(unit), Timestamp(unit, None), Timestamp(unit, Some("UTC".into()))]);
        types.push(Timestamp(unit, Some("Europe/Berlin".into())));
    }
    for key in [Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64] {
        types.push(Dictionary(Box::new(key), Box::new(Utf8)));
    }
    for value in [LargeUtf8, Binary, Int64, Int32] {
        types.push(Dictionary(Box::new(Int32), Box::new(value)));
    }
    types
}

/// The values 0, 1, none, 2 in some form.
fn sample(data_type: &DataType) -> ArrayRef {
    let numbers = Int64Array::from(vec![Some(0), Some(1), None, Some(2)]);
    let texts = StringArray::from(vec![Some("0"), Some(""), None, Some("zwei")]);
    match data_type {
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => cast(&texts, data_type).unwrap(),
        FixedSizeBinary(_) => {
            let values = [Some(b"abc"), Some(b"\0\0\0"), None, Some(b"xyz")];
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 3).unwrap())
        }
        Dictionary(_, value) => cast(&sample(value), data_type).unwrap(),
        Date32 | Time32(_) => cast(&cast(&numbers, &Int32).unwrap(), data_type).unwrap(),
        other => cast(&numbers, other).unwrap(),
    }
}

fn nested() -> Vec<ArrayRef> {
    let lists = || [Some(vec![Some(1), None]), Some(vec![]), None, Some(vec![Some(3)])];
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(lists());
    let fixed = [Some(vec![Some(1), None]), Some(vec![None, None]), None, Some(vec![Some(3), Some(4)])];
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for (index, entries) in [2, 0, 0, 1].into_iter().enumerate() {
        for entry in 0..entries {
            map.keys().append_value(format!("key {entry}"));
            map.values().append_option((entry == 0).then_some(7));
        }
        map.append(index != 2).unwrap();
    }
    let fields: Fields = vec![
        Field::new("a", Int32, true),
        Field::new("b.c", list.data_type().clone(), true),
        Field::new("d", Dictionary(Box::new(Int32), Box::new(Utf8)), true),
    ]
    .into();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(1), None, None, Some(4)])),
        Arc::new(list.clone()),
        sample(fields[2].data_type()),
    ];
    let nulls = NullBuffer::from(vec![true, true, false, true]);
    vec![
        Arc::new(StructArray::new(fields, columns, Some(nulls))),
        Arc::new(list),
        Arc::new(LargeListArray::from_iter_primitive::<Int32Type, _, _>(lists())),
        Arc::new(FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(fixed, 2)),
        Arc::new(map.finish()),
    ]
}
