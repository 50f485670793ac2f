use arrow::array::{AsArray, Int32Array};
use arrow::datatypes::Int32Type;

use super::*;

#[test]
fn all_types_come_sorted_by_code_and_one_code_gives_its_types() {
    let all = rows(None).unwrap();
    assert_eq!(all.schema(), schema());
    let codes: &Int32Array = all.column(1).as_primitive::<Int32Type>();
    assert!(codes.values().is_sorted());

    let bigint = rows(Some(XdbcDataType::XdbcBigint as i32)).unwrap();
    let names: Vec<_> = bigint.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(names, ["BIGINT", "BIGINT UNSIGNED"]);
    assert_eq!(rows(Some(12_345)).unwrap().num_rows(), 0);
}
