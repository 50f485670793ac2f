//! `GetXdbcTypeInfo`: the types that results have, for ODBC.

use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};

use crate::Result;
use crate::metadata::failed;

pub(crate) fn schema() -> SchemaRef {
    XdbcTypeInfoDataBuilder::new().schema()
}

/// The types with an ODBC code; all types if none is asked for.
pub(crate) fn rows(data_type: Option<i32>) -> Result<RecordBatch> {
    static TYPES: LazyLock<Result<XdbcTypeInfoData, String>> =
        LazyLock::new(|| build().map_err(|e| e.to_string()));
    match &*TYPES {
        Ok(types) => types.record_batch(data_type).map_err(failed),
        Err(reason) => Err(arrow::error::ArrowError::SchemaError(reason.clone()).into()),
    }
}

fn build() -> Result<XdbcTypeInfoData, arrow_flight::error::FlightError> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for (name, code, digits) in [
        ("TINYINT", XdbcDataType::XdbcTinyint, 3),
        ("SMALLINT", XdbcDataType::XdbcSmallint, 5),
        ("INTEGER", XdbcDataType::XdbcInteger, 10),
        ("BIGINT", XdbcDataType::XdbcBigint, 19),
    ] {
        types.append(number(name, code, digits, 10, Some(false)));
        types.append(number(
            &format!("{name} UNSIGNED"),
            code,
            if digits == 19 { 20 } else { digits },
            10,
            Some(true),
        ));
    }
    types.append(number("REAL", XdbcDataType::XdbcReal, 24, 2, Some(false)));
    types.append(number("DOUBLE", XdbcDataType::XdbcDouble, 53, 2, Some(false)));
    types.append(XdbcTypeInfo {
        create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
        fixed_prec_scale: true,
        minimum_scale: Some(0),
        maximum_scale: Some(38),
        ..number("DECIMAL", XdbcDataType::XdbcDecimal, 38, 10, Some(false))
    });
    types.append(plain("BOOLEAN", XdbcDataType::XdbcBit, 1));
    types.append(XdbcTypeInfo {
        case_sensitive: true,
        ..quoted("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, "'")
    });
    types.append(XdbcTypeInfo {
        searchable: Searchable::Basic,
        ..quoted("VARBINARY", XdbcDataType::XdbcVarbinary, i32::MAX, "X'")
    });
    types.append(datetime("DATE", XdbcDataType::XdbcDate, XdbcDatetimeSubcode::XdbcSubcodeYear, 10, 0));
    types.append(datetime("TIME", XdbcDataType::XdbcTime, XdbcDatetimeSubcode::XdbcSubcodeTime, 15, 6));
    types.append(datetime(
        "TIMESTAMP",
        XdbcDataType::XdbcTimestamp,
        XdbcDatetimeSubcode::XdbcSubcodeTimestamp,
        29,
        9,
    ));
    types.build()
}

fn plain(name: &str, code: XdbcDataType, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        local_type_name: Some(name.to_owned()),
        data_type: code,
        sql_data_type: code,
        column_size: Some(size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        ..XdbcTypeInfo::default()
    }
}

fn number(name: &str, code: XdbcDataType, size: i32, radix: i32, unsigned: Option<bool>) -> XdbcTypeInfo {
    XdbcTypeInfo {
        unsigned_attribute: unsigned,
        auto_increment: Some(false),
        num_prec_radix: Some(radix),
        ..plain(name, code, size)
    }
}

fn quoted(name: &str, code: XdbcDataType, size: i32, prefix: &str) -> XdbcTypeInfo {
    XdbcTypeInfo {
        literal_prefix: Some(prefix.to_owned()),
        literal_suffix: Some("'".to_owned()),
        ..plain(name, code, size)
    }
}

fn datetime(
    name: &str,
    code: XdbcDataType,
    subcode: XdbcDatetimeSubcode,
    size: i32,
    scale: i32,
) -> XdbcTypeInfo {
    XdbcTypeInfo {
        // ODBC's verbose type of all three, told apart by the subcode.
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: Some(subcode),
        minimum_scale: Some(0),
        maximum_scale: Some(scale),
        ..quoted(name, code, size, &format!("{name} '"))
    }
}

#[cfg(test)]
mod tests;
