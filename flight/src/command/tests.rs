use arrow::datatypes::DataType;
use arrow_flight::sql::{CommandGetSqlInfo, CommandGetTables, CommandStatementQuery};

use super::*;

fn statement(request: Result<Request>) -> String {
    match request.unwrap() {
        Request::Statement { sql, .. } => sql,
        other => panic!("{other:?}"),
    }
}

fn path(names: &[&str]) -> FlightDescriptor {
    FlightDescriptor::new_path(names.iter().map(|name| (*name).to_owned()).collect())
}

fn check_malformed(request: Result<Request>, shown: &str) {
    let error = request.unwrap_err();
    assert!(matches!(error, Error::MalformedMessage { .. }), "{error:?}");
    assert!(error.to_string().contains(shown), "{error}");
}

#[test]
fn a_statement_is_taken_packed_and_as_it_is() {
    let packed = CommandStatementQuery { query: "SELECT 1".to_owned(), transaction_id: None };
    assert_eq!(statement(Request::decode(&packed.as_any().encode_to_vec())), "SELECT 1");
    for sql in [
        "SELECT 1",
        "(SELECT 1)",
        "\n\n  SELECT 1",
        "-- ä\nSELECT 1",
        "WITH t AS (SELECT 1) SELECT * FROM t",
        "x",
    ] {
        assert_eq!(statement(Request::decode(sql.as_bytes())), sql);
    }
}

#[test]
fn bytes_that_are_neither_are_malformed() {
    for bytes in [&b""[..], b"   ", &[0xff; 100], b"\x0a\x03abc", b"\0SELECT 1", b"\x00"] {
        check_malformed(Request::decode(bytes), "neither");
    }
    let mut cut = CommandStatementQuery { query: "SELECT 1".to_owned(), transaction_id: None }.as_any();
    cut.value = cut.value.slice(..5);
    check_malformed(Request::decode(&cut.encode_to_vec()), "CommandStatementQuery in it cannot be decoded");
}

#[test]
fn a_path_stands_for_its_table_whatever_its_name() {
    for (names, sql) in [
        (&["logs"][..], "SELECT * FROM \"logs\""),
        (&["system", "data_loss"], "SELECT * FROM \"system\".\"data_loss\""),
        (&["alula", "public", "a\"b; --"], "SELECT * FROM \"alula\".\"public\".\"a\"\"b; --\""),
    ] {
        assert_eq!(statement(Request::of_descriptor(&path(names))), sql);
    }
    check_malformed(Request::of_descriptor(&path(&[])), "a path names a table");
    check_malformed(Request::of_descriptor(&path(&["a", "b", "c", "d"])), "a path names a table");
    check_malformed(Request::of_descriptor(&FlightDescriptor::default()), "a path names a table");
}

#[test]
fn a_json_ticket_has_a_statement_and_values() {
    let text = r#"{"database": "any", "sql_query": "SELECT $b, $a", "query_type": "SQL",
                   "params": {"a": 1, "b": "x", "c": 18446744073709551615, "d": 1.5, "e": true, "f": null}}"#;
    let Request::Json(query) = Request::decode(text.as_bytes()).unwrap() else { panic!("not JSON") };
    assert_eq!(query.sql, "SELECT $b, $a");
    let names = ["b", "a", "c", "d", "e", "f"].map(str::to_owned);
    let row = query.row(&names).unwrap();
    let types: Vec<_> =
        row.schema().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
    let expected = [
        DataType::Utf8,
        DataType::Int64,
        DataType::UInt64,
        DataType::Float64,
        DataType::Boolean,
        DataType::Null,
    ];
    assert_eq!(types, names.into_iter().zip(expected).collect::<Vec<_>>());
    assert_eq!(row.num_rows(), 1);

    assert!(matches!(query.row(&["z".to_owned()]), Err(Error::MalformedMessage { .. })));
    let Request::Json(query) = Request::decode(br#"{"sql_query": "SELECT $a"}"#).unwrap() else { panic!() };
    assert!(!query.has_params());
    assert!(matches!(query.row(&["a".to_owned()]), Err(Error::UnboundParameter { .. })));
}

#[test]
fn a_json_ticket_that_lacks_something_says_what() {
    for (text, shown) in [
        ("{", "not a JSON object"),
        ("{}", "sql_query"),
        (r#"{"sql_query": 1}"#, "sql_query"),
        (r#"{"sql_query": "SELECT 1", "params": [1]}"#, "params"),
    ] {
        check_malformed(Request::decode(text.as_bytes()), shown);
    }
    let other = Request::decode(br#"{"sql_query": "SHOW DATABASES", "query_type": "influxql"}"#).unwrap_err();
    assert!(matches!(other, Error::Unsupported { .. }), "{other:?}");
    let Request::Json(nested) =
        Request::decode(br#"{"sql_query": "SELECT $a", "params": {"a": {}}}"#).unwrap()
    else {
        panic!()
    };
    assert!(nested.row(&["a".to_owned()]).unwrap_err().to_string().contains("the value of a"));
}

#[test]
fn only_statements_and_handles_are_long() {
    let sql = "x".repeat(2 * MAX_COMMAND_BYTES);
    let packed = CommandStatementQuery { query: sql.clone(), transaction_id: None };
    assert_eq!(statement(Request::decode(&packed.as_any().encode_to_vec())), sql);
    let codes = CommandGetSqlInfo { info: vec![8; MAX_COMMAND_BYTES] }.as_any();
    check_malformed(Request::decode(&codes.encode_to_vec()), "the CommandGetSqlInfo in it has more than");
    let types =
        CommandGetTables { table_types: vec![String::new(); MAX_COMMAND_BYTES], ..Default::default() };
    check_malformed(Request::decode(&types.as_any().encode_to_vec()), "more than 1048576 bytes");
}
