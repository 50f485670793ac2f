//! `GetXdbcTypeInfo`: the types that results have, for ODBC. The names are those in `TYPE_NAME` of columns.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, SchemaRef, TimeUnit};
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};

use crate::Result;
use crate::metadata::{failed, type_name};
use crate::wire::{Profile, wire_type};

pub(crate) fn schema() -> SchemaRef {
    XdbcTypeInfoDataBuilder::new().schema()
}

/// The types that a client of the profile is sent, with a given ODBC code; all if none is asked for.
pub(crate) fn rows(profile: Profile, data_type: Option<i32>) -> Result<RecordBatch> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for (example, info) in all() {
        // A type that the profile turns into another one is not sent.
        if type_name(&wire_type(&example, profile)) == info.type_name {
            types.append(info);
        }
    }
    types.build().and_then(|types| types.record_batch(data_type)).map_err(failed)
}

/// Every type of a result in any profile, with an Arrow type of that name.
fn all() -> Vec<(DataType, XdbcTypeInfo)> {
    use DataType as T;
    let item = || Arc::new(Field::new_list_field(T::Int64, true));
    let entry = Fields::from(vec![Field::new("key", T::Utf8, false), Field::new("value", T::Utf8, true)]);
    let types = [
        (T::Boolean, plain(XdbcDataType::XdbcBit, 1)),
        (T::Int8, integer(XdbcDataType::XdbcTinyint, 3, false)),
        (T::Int16, integer(XdbcDataType::XdbcSmallint, 5, false)),
        (T::Int32, integer(XdbcDataType::XdbcInteger, 10, false)),
        (T::Int64, integer(XdbcDataType::XdbcBigint, 19, false)),
        (T::UInt8, integer(XdbcDataType::XdbcTinyint, 3, true)),
        (T::UInt16, integer(XdbcDataType::XdbcSmallint, 5, true)),
        (T::UInt32, integer(XdbcDataType::XdbcInteger, 10, true)),
        (T::UInt64, integer(XdbcDataType::XdbcBigint, 20, true)),
        (T::Float32, number(XdbcDataType::XdbcReal, 24, 2, false)),
        (T::Float64, number(XdbcDataType::XdbcDouble, 53, 2, false)),
        (
            T::Decimal128(38, 0),
            XdbcTypeInfo {
                create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
                minimum_scale: Some(0),
                maximum_scale: Some(38),
                ..number(XdbcDataType::XdbcDecimal, 38, 10, false)
            },
        ),
        (
            T::Utf8,
            XdbcTypeInfo { case_sensitive: true, ..quoted(XdbcDataType::XdbcVarchar, Some(i32::MAX), "'") },
        ),
        (
            T::Binary,
            XdbcTypeInfo {
                searchable: Searchable::Basic,
                ..quoted(XdbcDataType::XdbcVarbinary, Some(i32::MAX), "X'")
            },
        ),
        (T::Date32, datetime(XdbcDataType::XdbcDate, XdbcDatetimeSubcode::XdbcSubcodeYear, 10, 0, "DATE '")),
        (
            T::Time64(TimeUnit::Microsecond),
            datetime(XdbcDataType::XdbcTime, XdbcDatetimeSubcode::XdbcSubcodeTime, 15, 6, "TIME '"),
        ),
        (
            T::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            datetime(
                XdbcDataType::XdbcTimestamp,
                XdbcDatetimeSubcode::XdbcSubcodeTimestamp,
                29,
                9,
                "TIMESTAMP '",
            ),
        ),
        (
            T::Interval(IntervalUnit::MonthDayNano),
            XdbcTypeInfo {
                searchable: Searchable::Basic,
                ..quoted(XdbcDataType::XdbcInterval, None, "INTERVAL '")
            },
        ),
        // ODBC has no code for these.
        (T::Duration(TimeUnit::Nanosecond), nameless()),
        (T::List(item()), nameless()),
        (T::Struct(entry.clone()), nameless()),
        (T::Map(Arc::new(Field::new("entries", T::Struct(entry), false)), false), nameless()),
    ];
    types.into_iter().map(named).collect()
}

fn named((example, info): (DataType, XdbcTypeInfo)) -> (DataType, XdbcTypeInfo) {
    let type_name = type_name(&example).to_owned();
    let info = XdbcTypeInfo { local_type_name: Some(type_name.clone()), type_name, ..info };
    (example, info)
}

fn plain(code: XdbcDataType, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        data_type: code,
        sql_data_type: code,
        column_size: Some(size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        ..XdbcTypeInfo::default()
    }
}

fn nameless() -> XdbcTypeInfo {
    XdbcTypeInfo {
        column_size: None,
        searchable: Searchable::None,
        ..plain(XdbcDataType::XdbcUnknownType, 0)
    }
}

fn number(code: XdbcDataType, size: i32, radix: i32, unsigned: bool) -> XdbcTypeInfo {
    XdbcTypeInfo {
        unsigned_attribute: Some(unsigned),
        auto_increment: Some(false),
        num_prec_radix: Some(radix),
        ..plain(code, size)
    }
}

fn integer(code: XdbcDataType, digits: i32, unsigned: bool) -> XdbcTypeInfo {
    XdbcTypeInfo { minimum_scale: Some(0), maximum_scale: Some(0), ..number(code, digits, 10, unsigned) }
}

fn quoted(code: XdbcDataType, size: Option<i32>, prefix: &str) -> XdbcTypeInfo {
    XdbcTypeInfo {
        column_size: size,
        literal_prefix: Some(prefix.to_owned()),
        literal_suffix: Some("'".to_owned()),
        ..plain(code, 0)
    }
}

fn datetime(
    code: XdbcDataType,
    subcode: XdbcDatetimeSubcode,
    size: i32,
    scale: i32,
    prefix: &str,
) -> XdbcTypeInfo {
    XdbcTypeInfo {
        // ODBC's verbose type of all three, told apart by the subcode.
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: Some(subcode),
        minimum_scale: Some(0),
        maximum_scale: Some(scale),
        ..quoted(code, Some(size), prefix)
    }
}

#[cfg(test)]
mod tests;
