//! What each column of `information_schema` holds, as far as it is ever filled.

/// What a column of a table in `information_schema` holds.
pub(crate) fn comment(table: &str, column: &str) -> Option<&'static str> {
    Some(match (table, column) {
        ("parameters", "data_type") => "type of the argument or result, as the query engine names it",
        ("parameters", "ordinal_position") => "position of the argument, from 1",
        ("routines", "data_type") => "type of the result, as the query engine names it",
        (_, "data_type") => "type of the column, as the query engine names it",
        (_, "ordinal_position") => "position of the column, from 0",
        (_, "table_catalog" | "catalog_name") => "the catalog: alula",
        (_, "table_schema") => "schema of the table",
        (_, "schema_name") => "name of the schema",
        (_, "table_name") => "name of the table",
        (_, "table_type") => "BASE TABLE, VIEW or LOCAL TEMPORARY",
        (_, "definition") => "text that defines the view; null where there is none",
        (_, "column_name") => "name of the column",
        (_, "column_default") => "always null: no column has a default",
        (_, "is_nullable") => "YES or NO",
        (_, "character_maximum_length") => "always null: texts have no limit",
        (_, "character_octet_length") => "bytes in the longest text that the type can hold",
        (_, "numeric_precision") => "digits of a number",
        (_, "numeric_precision_radix") => "2 or 10: what kind of digits these are",
        (_, "numeric_scale") => "digits behind the decimal point",
        (_, "schema_owner") => "always null: schemas have no owner",
        (_, "default_character_set_name") => "always null: all texts are UTF-8",
        (
            _,
            "datetime_precision"
            | "interval_type"
            | "default_character_set_catalog"
            | "default_character_set_schema"
            | "sql_path",
        ) => "always null",
        (_, "specific_catalog" | "routine_catalog") => "catalog of the function",
        (_, "specific_schema" | "routine_schema") => "schema of the function",
        (_, "specific_name" | "routine_name") => "name of the function",
        (_, "routine_type") => "FUNCTION",
        (_, "is_deterministic") => "whether the same arguments give the same result",
        (_, "function_type") => "SCALAR, AGGREGATE or WINDOW",
        (_, "description") => "what the function does",
        (_, "syntax_example") => "how the function is written",
        (_, "parameter_mode") => "IN for an argument, OUT for the result",
        (_, "parameter_name") => "name of the argument",
        (_, "parameter_default") => "always null: no argument has a default",
        (_, "is_variadic") => "whether the argument can be repeated",
        (_, "rid") => "signature that the argument belongs to, of a function with several",
        _ => return None,
    })
}
