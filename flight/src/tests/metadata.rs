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
    assert_eq!(texts(&types, 0), ["TABLE", "VIEW"]);
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
        ["logs", "metrics", "traces", "data_loss", "deletions", "ingest_rejections"]
    );
    assert_eq!(
        table_names(&server, pattern("system", None, &[])).await,
        ["data_loss", "deletions", "ingest_rejections"]
    );
    assert_eq!(table_names(&server, pattern("pub%", Some("_ogs"), &["TABLE"])).await, ["logs"]);
    assert_eq!(
        table_names(&server, pattern("%", Some("SELECT * FROM logs WHERE a LIKE '%x'"), &[])).await,
        [""; 0]
    );
    assert!(
        table_names(&server, pattern("information\\_schema", None, &["VIEW"]))
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
