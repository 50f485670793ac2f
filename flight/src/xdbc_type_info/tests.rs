use arrow::array::{AsArray, Int32Array};
use arrow::datatypes::Int32Type;

use super::*;

fn names(batch: &RecordBatch) -> Vec<&str> {
    batch.column(0).as_string::<i32>().iter().flatten().collect()
}

fn code_of(name: &str) -> i32 {
    let code = match name.trim_end_matches(" UNSIGNED") {
        "BOOLEAN" => XdbcDataType::XdbcBit,
        "TINYINT" => XdbcDataType::XdbcTinyint,
        "SMALLINT" => XdbcDataType::XdbcSmallint,
        "INTEGER" => XdbcDataType::XdbcInteger,
        "BIGINT" => XdbcDataType::XdbcBigint,
        "REAL" => XdbcDataType::XdbcReal,
        "DOUBLE" => XdbcDataType::XdbcDouble,
        "DECIMAL" => XdbcDataType::XdbcDecimal,
        "VARCHAR" => XdbcDataType::XdbcVarchar,
        "VARBINARY" => XdbcDataType::XdbcVarbinary,
        "DATE" => XdbcDataType::XdbcDate,
        "TIME" => XdbcDataType::XdbcTime,
        "TIMESTAMP" => XdbcDataType::XdbcTimestamp,
        "INTERVAL" => XdbcDataType::XdbcInterval,
        _ => XdbcDataType::XdbcUnknownType,
    };
    code as i32
}

#[test]
fn types_come_sorted_by_code_and_name_and_one_code_gives_its_types() {
    let all = rows(Profile::Safe, None).unwrap();
    assert_eq!(all.schema(), schema());
    let codes: &Int32Array = all.column(1).as_primitive::<Int32Type>();
    let keys: Vec<_> = codes.values().iter().copied().zip(names(&all)).collect();
    assert!(keys.is_sorted(), "{keys:?}");
    for (code, name) in keys {
        assert_eq!(code, code_of(name), "{name}");
    }

    let bigint = rows(Profile::Safe, Some(XdbcDataType::XdbcBigint as i32)).unwrap();
    assert_eq!(names(&bigint), ["BIGINT", "BIGINT UNSIGNED"]);
    assert_eq!(rows(Profile::Safe, Some(12_345)).unwrap().num_rows(), 0);
}

#[test]
fn every_type_that_a_profile_sends_is_listed_for_it() {
    for profile in [Profile::Safe, Profile::Bi, Profile::Native, Profile::Jdbc, Profile::JdbcUnzoned] {
        let listed = rows(profile, None).unwrap();
        let listed = names(&listed);
        for (example, _) in all() {
            let sent = type_name(&wire_type(&example, profile));
            assert!(listed.contains(&sent), "{profile:?} sends {example} as {sent}");
        }
    }
    let safe = rows(Profile::Safe, None).unwrap();
    for name in ["ARRAY", "STRUCT", "MAP"] {
        assert!(names(&safe).contains(&name), "{name}");
    }
    assert!(!names(&safe).contains(&"INTERVAL"), "it is sent as text");
}
