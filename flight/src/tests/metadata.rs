//! The metadata commands, as clients call them.

use arrow::array::{AsArray, RecordBatch};
use arrow_flight::error::FlightError;
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo, SqlInfo,
};
use arrow_flight::{FlightInfo, IpcMessage};

use super::fixture::*;

async fn one_batch(server: &TestServer, info: Result<FlightInfo, FlightError>) -> RecordBatch {
    let (_, mut batches) = fetch(&mut server.client(), info.unwrap()).await;
    assert_eq!(batches.len(), 1);
    batches.remove(0)
}

fn texts(batch: &RecordBatch, column: usize) -> Vec<&str> {
    batch.column(column).as_string::<i32>().iter().flatten().collect()
}

async fn table_names(server: &TestServer, command: CommandGetTables) -> Vec<String> {
    let batch = one_batch(server, server.client().get_tables(command).await).await;
    texts(&batch, 2).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn catalogs_schemas_and_types_are_told() {
    let server = TestServer::start().await;
    let catalogs = one_batch(&server, server.client().get_catalogs().await).await;
    assert_eq!(texts(&catalogs, 0), ["alula"]);
    let everything = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: None };
    let schemas = one_batch(&server, server.client().get_db_schemas(everything).await).await;
    assert_eq!(texts(&schemas, 1), ["information_schema", "public", "system"]);
    let other = CommandGetDbSchemas { catalog: Some("other".to_owned()), db_schema_filter_pattern: None };
    assert_eq!(one_batch(&server, server.client().get_db_schemas(other).await).await.num_rows(), 0);
    let types = one_batch(&server, server.client().get_table_types().await).await;
    assert_eq!(texts(&types, 0), ["SYSTEM TABLE", "TABLE", "VIEW"]);
}

#[tokio::test]
async fn tables_are_filtered_by_pattern_and_type() {
    let server = TestServer::start().await;
    let pattern = |schema: &str, table: Option<&str>, types: &[&str]| CommandGetTables {
        catalog: None,
        db_schema_filter_pattern: Some(schema.to_owned()),
        table_name_filter_pattern: table.map(str::to_owned),
        table_types: types.iter().map(|t| (*t).to_owned()).collect(),
        include_schema: false,
    };
    assert_eq!(
        table_names(&server, pattern("public", None, &["table", "VIEW"])).await,
        ["logs", "metric_exemplars", "metrics", "span_events", "span_links", "traces"]
    );
    assert_eq!(
        table_names(&server, pattern("public", None, &["view"])).await,
        ["metric_exemplars", "span_events", "span_links"]
    );
    assert_eq!(
        table_names(&server, pattern("%", None, &["BASE TABLE", "table"])).await,
        ["logs", "metrics", "traces"]
    );
    assert_eq!(
        table_names(&server, pattern("s%", None, &["system table"])).await,
        ["data_loss", "deletions", "ingest_rejections", "queries"]
    );
    assert_eq!(
        table_names(&server, pattern("system", None, &[])).await,
        ["data_loss", "deletions", "ingest_rejections", "queries"]
    );
    assert_eq!(table_names(&server, pattern("pub%", Some("_ogs"), &["TABLE"])).await, ["logs"]);
    assert_eq!(
        table_names(&server, pattern("%", Some("SELECT * FROM logs WHERE a LIKE '%x'"), &[])).await,
        [""; 0]
    );
    assert!(
        table_names(&server, pattern("information\\_schema", None, &["SYSTEM TABLE"]))
            .await
            .contains(&"columns".to_owned())
    );
    let other = CommandGetTables { catalog: Some(String::new()), ..pattern("%", None, &[]) };
    assert_eq!(table_names(&server, other).await, [""; 0]);
}

#[tokio::test]
async fn a_table_schema_is_that_of_its_rows() {
    let server = TestServer::start().await;
    let shape = |schema: &arrow::datatypes::Schema| {
        schema
            .fields()
            .iter()
            .map(|f| (f.name().clone(), f.data_type().clone(), f.is_nullable()))
            .collect::<Vec<_>>()
    };
    for (table, sql_name) in [
        ("logs", "logs"),
        ("metric\\_exemplars", "metric_exemplars"),
        ("span\\_events", "span_events"),
        ("span\\_links", "span_links"),
        ("data\\_loss", "system.data_loss"),
        ("ingest_rejections", "system.ingest_rejections"),
        ("queries", "system.queries"),
    ] {
        let command = CommandGetTables {
            table_name_filter_pattern: Some(table.to_owned()),
            include_schema: true,
            ..CommandGetTables::default()
        };
        let batch = one_batch(&server, server.client().get_tables(command).await).await;
        let bytes = batch.column(4).as_binary::<i32>().value(0);
        let told = arrow::datatypes::Schema::try_from(IpcMessage(bytes.to_vec().into())).unwrap();
        let rows = server.rows(&format!("SELECT * FROM {sql_name}")).await;
        assert_eq!(shape(&told), shape(&rows[0].schema()), "{sql_name}");
    }
}

#[tokio::test]
async fn the_columns_of_tables_of_the_tenants_own_can_be_written() {
    let server = TestServer::start().await;
    let created = server.client().execute_update("CREATE TABLE mine (x INT)".to_owned(), None).await;
    created.unwrap();
    for (table, is_read_only) in [("mine", "0"), ("logs", "1")] {
        let command = CommandGetTables {
            table_name_filter_pattern: Some(table.to_owned()),
            include_schema: true,
            ..CommandGetTables::default()
        };
        let batch = one_batch(&server, server.client().get_tables(command).await).await;
        let bytes = batch.column(4).as_binary::<i32>().value(0);
        let told = arrow::datatypes::Schema::try_from(IpcMessage(bytes.to_vec().into())).unwrap();
        assert_eq!(told.field(0).metadata()["ARROW:FLIGHT:SQL:IS_READ_ONLY"], is_read_only, "{table}");
    }
}

#[tokio::test]
async fn keys_are_empty_and_server_facts_are_not() {
    let server = TestServer::start().await;
    let mut client = server.client();
    let table = || "logs".to_owned();
    let primary = CommandGetPrimaryKeys { table: table(), ..CommandGetPrimaryKeys::default() };
    let exported = CommandGetExportedKeys { table: table(), ..CommandGetExportedKeys::default() };
    let imported = CommandGetImportedKeys { table: table(), ..CommandGetImportedKeys::default() };
    let cross = CommandGetCrossReference {
        pk_table: table(),
        fk_table: table(),
        ..CommandGetCrossReference::default()
    };
    for (info, columns) in [
        (client.get_primary_keys(primary).await, 6),
        (client.get_exported_keys(exported).await, 13),
        (client.get_imported_keys(imported).await, 13),
        (client.get_cross_reference(cross).await, 13),
    ] {
        let batch = one_batch(&server, info).await;
        assert_eq!((batch.num_rows(), batch.num_columns()), (0, columns));
    }
    let types =
        one_batch(&server, client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await).await;
    assert!(types.num_rows() > 10);
    let infos = one_batch(&server, client.get_sql_info(vec![SqlInfo::FlightSqlServerName]).await).await;
    assert_eq!(infos.num_rows(), 1);
    let all = one_batch(&server, client.get_sql_info(vec![]).await).await;
    assert!(all.num_rows() > 80, "{}", all.num_rows());
}

/// The schemas as the specification has them, a `*` for what cannot be null.
#[tokio::test]
async fn every_metadata_schema_is_the_specified_one() {
    let server = TestServer::start().await;
    let mut client = server.client();
    let table = || "logs".to_owned();
    let tables = |include_schema| CommandGetTables { include_schema, ..CommandGetTables::default() };
    let keys = "pk_catalog_name:Utf8 pk_db_schema_name:Utf8 pk_table_name:Utf8* pk_column_name:Utf8* \
                fk_catalog_name:Utf8 fk_db_schema_name:Utf8 fk_table_name:Utf8* fk_column_name:Utf8* \
                key_sequence:Int32* fk_key_name:Utf8 pk_key_name:Utf8 update_rule:UInt8* delete_rule:UInt8*";
    for (info, expected) in [
        (client.get_catalogs().await, "catalog_name:Utf8*"),
        (
            client.get_db_schemas(CommandGetDbSchemas::default()).await,
            "catalog_name:Utf8 db_schema_name:Utf8*",
        ),
        (
            client.get_tables(tables(false)).await,
            "catalog_name:Utf8 db_schema_name:Utf8 table_name:Utf8* table_type:Utf8*",
        ),
        (
            client.get_tables(tables(true)).await,
            "catalog_name:Utf8 db_schema_name:Utf8 table_name:Utf8* table_type:Utf8* table_schema:Binary*",
        ),
        (client.get_table_types().await, "table_type:Utf8*"),
        (
            client.get_primary_keys(CommandGetPrimaryKeys { table: table(), ..Default::default() }).await,
            "catalog_name:Utf8 db_schema_name:Utf8 table_name:Utf8* column_name:Utf8* key_sequence:Int32* key_name:Utf8",
        ),
        (
            client.get_imported_keys(CommandGetImportedKeys { table: table(), ..Default::default() }).await,
            keys,
        ),
        (
            client.get_exported_keys(CommandGetExportedKeys { table: table(), ..Default::default() }).await,
            keys,
        ),
        (
            client
                .get_cross_reference(CommandGetCrossReference {
                    pk_table: table(),
                    fk_table: table(),
                    ..Default::default()
                })
                .await,
            keys,
        ),
        (
            client.get_sql_info(vec![]).await,
            "info_name:UInt32* value:Union(Dense, 0: (\"string_value\": non-null Utf8), 1: (\"bool_value\": non-null Boolean), \
             2: (\"bigint_value\": non-null Int64), 3: (\"int32_bitmask\": non-null Int32), \
             4: (\"string_list\": non-null List(Utf8)), \
             5: (\"int32_to_int32_list_map\": non-null Map(\"entries\": non-null Struct(\"keys\": non-null Int32, \
             \"values\": List(Int32)), unsorted)))*",
        ),
        (
            client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await,
            "type_name:Utf8* data_type:Int32* column_size:Int32 literal_prefix:Utf8 literal_suffix:Utf8 \
             create_params:List(non-null Utf8) nullable:Int32* case_sensitive:Boolean* searchable:Int32* \
             unsigned_attribute:Boolean fixed_prec_scale:Boolean* auto_increment:Boolean local_type_name:Utf8 \
             minimum_scale:Int32 maximum_scale:Int32 sql_data_type:Int32* datetime_subcode:Int32 \
             num_prec_radix:Int32 interval_precision:Int32",
        ),
    ] {
        let batch = one_batch(&server, info).await;
        let schema = batch.schema();
        let fields = schema.fields().iter().map(|field| {
            assert!(field.metadata().is_empty(), "{field}");
            let required = if field.is_nullable() { "" } else { "*" };
            format!("{}:{}{required}", field.name(), field.data_type())
        });
        assert_eq!(fields.collect::<Vec<_>>().join(" "), expected);
        assert!(schema.metadata().is_empty());
    }
}

#[tokio::test]
async fn every_column_that_the_server_has_says_what_it_holds() {
    let server = TestServer::start().await;
    let command = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let batch = one_batch(&server, server.client().get_tables(command).await).await;
    assert!(batch.num_rows() >= 15);
    for row in 0..batch.num_rows() {
        let bytes = batch.column(4).as_binary::<i32>().value(row);
        let schema = arrow::datatypes::Schema::try_from(IpcMessage(bytes.to_vec().into())).unwrap();
        let (db_schema, table) = (texts(&batch, 1)[row], texts(&batch, 2)[row]);
        for field in schema.fields() {
            let about = |key: &str| field.metadata().get(&format!("ARROW:FLIGHT:SQL:{key}"));
            assert!(
                about("REMARKS").is_some_and(|text| !text.is_empty()),
                "{db_schema}.{table}.{}",
                field.name()
            );
            assert_eq!(about("TABLE_NAME").map(String::as_str), Some(table));
            assert_eq!(about("SCHEMA_NAME").map(String::as_str), Some(db_schema));
        }
    }
}

#[tokio::test]
async fn a_column_of_a_result_names_its_table_and_has_no_remarks() {
    let server = TestServer::start().await;
    let origins = async |sql: &str| {
        let batches = server.rows(sql).await;
        let schema = batches[0].schema();
        let origin = |field: &std::sync::Arc<arrow::datatypes::Field>| {
            let about = |key: &str| field.metadata().get(&format!("ARROW:FLIGHT:SQL:{key}")).cloned();
            assert_eq!(about("REMARKS"), None);
            match (about("CATALOG_NAME"), about("SCHEMA_NAME"), about("TABLE_NAME")) {
                (Some(catalog), Some(schema), Some(table)) => format!("{catalog}.{schema}.{table}"),
                (None, None, None) => "-".to_owned(),
                other => panic!("{other:?}"),
            }
        };
        schema.fields().iter().map(origin).collect::<Vec<_>>().join(" ")
    };
    for (sql, expected) in [
        ("SELECT body FROM logs WHERE body > 'a' ORDER BY body LIMIT 1", "alula.public.logs"),
        ("SELECT l.body, body || 'x', body AS b FROM logs AS l", "alula.public.logs - -"),
        ("SELECT service_name, count(*) FROM logs GROUP BY service_name", "alula.public.logs -"),
        ("SELECT DISTINCT service_name FROM (SELECT service_name FROM traces)", "alula.public.traces"),
        (
            "WITH t AS (SELECT name FROM traces) SELECT t.name, l.body FROM t JOIN logs l ON l.body = t.name",
            "alula.public.traces alula.public.logs",
        ),
        ("SELECT body, row_number() OVER (ORDER BY timestamp) FROM alula.public.logs", "alula.public.logs -"),
        ("SELECT signal FROM system.data_loss", "alula.system.data_loss"),
        ("SELECT body FROM logs UNION ALL SELECT name FROM traces", "-"),
        ("SELECT body FROM logs WHERE body IN (SELECT name FROM traces)", "alula.public.logs"),
        ("SELECT event_name, timestamp FROM span_events", "- -"),
        ("SELECT 1", "-"),
    ] {
        assert_eq!(origins(sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn no_table_of_ones_own_can_have_the_name_of_one_that_is_there() {
    let server = TestServer::start().await;
    for schema in ["public", "system"] {
        let of_schema = CommandGetTables {
            db_schema_filter_pattern: Some(schema.to_owned()),
            ..CommandGetTables::default()
        };
        let names = table_names(&server, of_schema).await;
        assert!(names.len() >= 4, "{names:?}");
        for name in names {
            assert!(alula_storage::is_reserved_table_name(&name), "{schema}.{name}");
        }
    }
}
