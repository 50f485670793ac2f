//! Any type, in any profile, through the encoder and a client's decoder.

use arrow::array::{
    FixedSizeListArray, IntervalDayTimeArray, IntervalYearMonthArray, ListViewArray, UnionArray,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{FieldRef, Fields, IntervalDayTime, UnionFields, UnionMode};
use arrow_flight::decode::FlightRecordBatchStream;
use futures::TryStreamExt;
use proptest::prelude::*;

use super::*;
use crate::encode::Encoder;

fn plain_type() -> impl Strategy<Value = DataType> {
    use DataType as T;
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    prop::sample::select(vec![
        T::Null,
        T::Boolean,
        T::Int8,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Float16,
        T::Float32,
        T::Float64,
        T::Utf8,
        T::LargeUtf8,
        T::Utf8View,
        T::Binary,
        T::LargeBinary,
        T::BinaryView,
        T::FixedSizeBinary(3),
        T::Decimal32(9, 2),
        T::Decimal64(18, 2),
        T::Decimal128(38, 2),
        T::Decimal256(38, 2),
        T::Decimal256(76, 2),
        T::Date32,
        T::Date64,
        T::Time32(Millisecond),
        T::Time64(Microsecond),
        T::Time64(Nanosecond),
        T::Timestamp(Second, None),
        T::Timestamp(Microsecond, Some("UTC".into())),
        T::Timestamp(Nanosecond, Some("+02:00".into())),
        T::Duration(Second),
        T::Duration(Nanosecond),
        T::Interval(IntervalUnit::YearMonth),
        T::Interval(IntervalUnit::DayTime),
        T::Interval(IntervalUnit::MonthDayNano),
    ])
}

fn field(name: &'static str) -> impl Fn((DataType, bool)) -> FieldRef {
    move |(data_type, nullable)| {
        let nullable = nullable || hides_nulls(&data_type);
        Arc::new(Field::new(name, data_type, nullable))
    }
}

fn any_type() -> impl Strategy<Value = DataType> {
    use DataType as T;
    let encoded = prop_oneof![
        4 => plain_type(),
        1 => plain_type().prop_map(|values| T::Dictionary(Box::new(T::Int16), Box::new(values))),
        1 => plain_type().prop_map(|values| T::RunEndEncoded(
            Arc::new(Field::new("run_ends", T::Int32, false)),
            Arc::new(Field::new("values", values, true)),
        )),
        1 => (plain_type(), plain_type()).prop_map(|(a, b)| {
            let fields = [Field::new("a", a, true), Field::new("b", b, true)];
            T::Union(UnionFields::try_new([0, 1], fields).unwrap(), UnionMode::Sparse)
        }),
    ];
    encoded.prop_recursive(3, 12, 3, |inner| {
        let item = || (inner.clone(), any::<bool>()).prop_map(field("item"));
        prop_oneof![
            item().prop_map(T::List),
            item().prop_map(T::LargeList),
            item().prop_map(T::ListView),
            item().prop_map(|item| T::FixedSizeList(item, 2)),
            prop::collection::vec((inner.clone(), any::<bool>()).prop_map(field("f")), 1..3)
                .prop_map(|fields| T::Struct(fields.into())),
            (plain_type(), (inner.clone(), any::<bool>()).prop_map(field("value"))).prop_map(
                |(key, value)| {
                    let key = if key == T::Null { T::Utf8 } else { key };
                    let pair = Fields::from(vec![Arc::new(Field::new("key", key, false)), value]);
                    T::Map(Arc::new(Field::new("entries", T::Struct(pair), false)), false)
                }
            ),
        ]
    })
}

/// Every third row is null, where that may be.
fn nulls(rows: usize, nullable: bool) -> Option<NullBuffer> {
    nullable.then(|| (0..rows).map(|row| row % 3 != 2).collect())
}

fn sample(data_type: &DataType, rows: usize, nullable: bool) -> ArrayRef {
    use DataType as T;
    let number = |row: usize| (!nullable || row % 3 != 2).then_some(row as i64 % 50);
    let numbers: ArrayRef = Arc::new((0..rows).map(number).collect::<Int64Array>());
    let cast = |array: &ArrayRef, to: &T| arrow::compute::cast(array, to).unwrap();
    match data_type {
        T::Null => Arc::new(NullArray::new(rows)),
        T::Date32 | T::Time32(_) => cast(&cast(&numbers, &T::Int32), data_type),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => {
            let long = |row| number(row).map(|n| format!("the text of value {n}"));
            let text: ArrayRef = Arc::new((0..rows).map(long).collect::<StringArray>());
            cast(&text, data_type)
        }
        T::Binary | T::LargeBinary | T::BinaryView => {
            let bytes = (0..rows).map(|row| number(row).map(|n| vec![n as u8, 0xff]));
            cast(&(Arc::new(bytes.collect::<BinaryArray>()) as ArrayRef), data_type)
        }
        T::FixedSizeBinary(size) => {
            let bytes = (0..rows).map(|row| number(row).map(|n| vec![n as u8; *size as usize]));
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes, *size).unwrap())
        }
        T::Interval(IntervalUnit::YearMonth) => {
            Arc::new((0..rows).map(|row| number(row).map(|n| n as i32)).collect::<IntervalYearMonthArray>())
        }
        T::Interval(IntervalUnit::DayTime) => Arc::new(
            (0..rows)
                .map(|row| number(row).map(|n| IntervalDayTime::new(n as i32, 1)))
                .collect::<IntervalDayTimeArray>(),
        ),
        T::Interval(IntervalUnit::MonthDayNano) => Arc::new(
            (0..rows)
                .map(|row| number(row).map(|n| IntervalMonthDayNano::new(n as i32, 1, 2)))
                .collect::<IntervalMonthDayNanoArray>(),
        ),
        T::Dictionary(..) | T::RunEndEncoded(..) | T::Union(..) => encoded(data_type, rows, nullable),
        nested if nested.is_nested() => sample_nested(nested, rows, nullable),
        plain => cast(&numbers, plain),
    }
}

fn encoded(data_type: &DataType, rows: usize, nullable: bool) -> ArrayRef {
    match data_type {
        DataType::Dictionary(_, values) => {
            let values = sample(values, 5, false);
            let keys = (0..rows).map(|row| (!nullable || row % 3 != 2).then_some(row as i16 % 5));
            let keys: arrow::array::Int16Array = keys.collect();
            Arc::new(DictionaryArray::try_new(keys, values).unwrap())
        }
        DataType::RunEndEncoded(_, values) => {
            let values = sample(values.data_type(), rows.div_ceil(2), true);
            let ends: Int32Array =
                (0..rows.div_ceil(2)).map(|run| Some(rows.min(run * 2 + 2) as i32)).collect();
            Arc::new(RunArray::try_new(&ends, &values).unwrap())
        }
        DataType::Union(fields, _) => {
            let children = fields.iter().map(|(_, f)| sample(f.data_type(), rows, true)).collect();
            let ids: ScalarBuffer<i8> = (0..rows).map(|row| row as i8 % 2).collect();
            Arc::new(UnionArray::try_new(fields.clone(), ids, None, children).unwrap())
        }
        other => panic!("{other}"),
    }
}

fn sample_nested(data_type: &DataType, rows: usize, nullable: bool) -> ArrayRef {
    use DataType as T;
    let lengths = || (0..rows).map(|row| row % 3);
    let items = |item: &FieldRef, count: usize| sample(item.data_type(), count, item.is_nullable());
    let all: usize = lengths().sum();
    let nulls = nulls(rows, nullable);
    match data_type {
        T::List(item) => {
            let offsets = OffsetBuffer::from_lengths(lengths());
            Arc::new(ListArray::new(Arc::clone(item), offsets, items(item, all), nulls))
        }
        T::LargeList(item) => {
            let offsets = OffsetBuffer::from_lengths(lengths());
            Arc::new(LargeListArray::new(Arc::clone(item), offsets, items(item, all), nulls))
        }
        T::ListView(item) => {
            let offsets = OffsetBuffer::<i32>::from_lengths(lengths());
            let sizes: ScalarBuffer<i32> = lengths().map(|length| length as i32).collect();
            let offsets = offsets.iter().copied().take(rows).collect();
            Arc::new(ListViewArray::new(Arc::clone(item), offsets, sizes, items(item, all), nulls))
        }
        T::FixedSizeList(item, size) => {
            let values = items(item, rows * *size as usize);
            Arc::new(FixedSizeListArray::new(Arc::clone(item), *size, values, nulls))
        }
        T::Struct(fields) => {
            let columns = fields.iter().map(|field| items(field, rows)).collect();
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, rows).unwrap())
        }
        T::Map(entries, sorted) => {
            let offsets = OffsetBuffer::from_lengths(lengths());
            let pairs = items(entries, all).as_struct().clone();
            Arc::new(MapArray::new(Arc::clone(entries), offsets, pairs, nulls, *sorted))
        }
        other => panic!("{other}"),
    }
}

fn decoded(profile: Profile, promised: &SchemaRef, batches: &[RecordBatch]) -> (SchemaRef, Vec<RecordBatch>) {
    let mut encoder = Encoder::new(profile);
    let mut messages = vec![encoder.schema_message(promised)];
    for batch in batches {
        for part in to_wire_parts(batch, promised) {
            messages.extend(encoder.encode(&part.unwrap()).unwrap());
        }
    }
    let messages = futures::stream::iter(messages.into_iter().map(Ok));
    let mut stream = FlightRecordBatchStream::new_from_flight_data(messages);
    let batches = futures::executor::block_on(async {
        let mut batches = Vec::new();
        while let Some(batch) = stream.try_next().await.unwrap() {
            batches.push(batch);
        }
        batches
    });
    (Arc::clone(stream.schema().unwrap()), batches)
}

/// Whether clients of the profile read a type, in a column or inside of another type.
fn is_read(data_type: &DataType, profile: Profile, inside: bool) -> bool {
    use DataType as T;
    let inner = |field: &FieldRef| is_read(field.data_type(), profile, true);
    let is_native = profile == Profile::Native && !inside;
    let is_jdbc = matches!(profile, Profile::Jdbc | Profile::JdbcUnzoned);
    match data_type {
        T::Utf8 | T::Boolean | T::Float32 | T::Float64 | T::Int8 | T::Int16 | T::Int32 | T::Int64 => true,
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => !is_jdbc,
        T::Timestamp(unit, zone) => {
            (profile != Profile::Bi || *unit == TimeUnit::Nanosecond)
                && (profile != Profile::JdbcUnzoned || zone.is_none())
                && zone.as_deref().is_none_or(|zone| zone == "UTC")
        }
        T::Null | T::LargeUtf8 | T::LargeBinary | T::Utf8View | T::BinaryView => is_native,
        T::Dictionary(keys, values) => is_native && **keys == T::Int32 && **values == T::Utf8,
        _ if profile == Profile::Bi => false,
        T::Binary | T::FixedSizeBinary(_) | T::Decimal128(..) | T::Date32 | T::Time32(_) | T::Duration(_) => {
            true
        }
        T::Time64(unit) => *unit == TimeUnit::Microsecond,
        T::List(item) | T::FixedSizeList(item, _) | T::Map(item, _) => inner(item),
        T::Struct(fields) => fields.iter().all(inner),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_type_arrives_as_promised_in_any_profile(
        data_type in any_type(),
        nullable in any::<bool>(),
        rows in 0_usize..12,
    ) {
        let nullable = nullable || data_type == DataType::Null;
        let schema = Arc::new(Schema::new(vec![Field::new("c", data_type.clone(), nullable)]));
        let array = sample(&data_type, rows, nullable);
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![array]).unwrap();
        for profile in Profile::names().filter_map(Profile::named) {
            let promised = wire_schema(&schema, profile);
            let wire = promised.field(0).data_type();
            prop_assert!(is_read(wire, profile, false), "{profile:?} {data_type} -> {wire}");
            prop_assert_eq!(&wire_type(wire, profile), wire, "what is sent is sent as it is");

            // A slice, then all: neither is to bring what the other has.
            let slice = batch.slice(rows / 2, rows - rows / 2);
            let (got, batches) = decoded(profile, &promised, &[slice.clone(), batch.clone()]);
            prop_assert_eq!(&got, &promised);
            let sent = [to_wire(&slice, &promised).unwrap(), to_wire(&batch, &promised).unwrap()];
            prop_assert_eq!(batches.len(), 2);
            for (got, sent) in batches.iter().zip(&sent) {
                prop_assert_eq!(got.schema(), Arc::clone(&promised));
                prop_assert_eq!(shown(got.column(0)), shown(sent.column(0)));
            }
            let (empty, none) = decoded(profile, &promised, &[]);
            prop_assert_eq!((&empty, none.len()), (&promised, 0));
        }
    }
}
