//! What clients of each profile are sent, and that it is what they were promised.

use std::collections::HashMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::ipc::convert::try_schema_from_ipc_buffer;
use arrow_flight::sql::{CommandGetTables, CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightDescriptor, IpcMessage};
use prost::Message;

use super::fixture::*;
use crate::wire::Profile;

fn client(server: &TestServer, profile: &str) -> Client {
    let mut client = server.client();
    client.set_header("x-arrow-profile", profile);
    client
}

async fn rows(client: &mut Client, sql: &str) -> (Schema, Vec<RecordBatch>) {
    let info = client.execute(sql.to_owned(), None).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let (promised, batches) = fetch(client, info).await;
    (promised.as_ref().clone(), batches)
}

async fn server() -> TestServer {
    let server = TestServer::start().await;
    server.append_logs("default", &[(1, "api", r#"{"a":1}"#), (2, "web", "{}"), (3, "api", "{}")]).await;
    server
}

#[tokio::test]
async fn every_answer_about_a_statement_has_the_schema_of_its_stream() {
    let server = server().await;
    for profile in Profile::names() {
        for sql in [
            "SELECT * FROM logs",
            "SELECT * FROM traces",
            "SELECT * FROM metrics WHERE false",
            "SELECT service_name, count(*) AS n FROM logs GROUP BY service_name",
            "SELECT attributes->'a' AS a, attributes->>'a' AS b FROM logs",
            "SELECT array_agg(service_name) AS l, map(['a'], [1]) AS m, struct(1 AS n) AS s, NULL AS z FROM logs",
            "SELECT now() AS t, current_date AS d, INTERVAL '1 day' AS i, 1.5::DECIMAL(40, 2) AS big, X'01' AS b",
        ] {
            let mut client = client(&server, profile);
            let (streamed, _) = rows(&mut client, sql).await;
            let prepared = client.prepare(sql.to_owned(), None).await.unwrap();
            assert_eq!(prepared.dataset_schema().unwrap(), &streamed, "{profile}: {sql}");

            let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
            let mut call = tonic::Request::new(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
            call.metadata_mut().insert("x-arrow-profile", profile.parse().unwrap());
            let schema = client.inner_mut().get_schema(call).await.unwrap().into_inner().schema;
            assert_eq!(Schema::try_from(IpcMessage(schema)).unwrap(), streamed, "{profile}: {sql}");
        }
    }
}

#[tokio::test]
async fn tables_are_described_as_their_rows_are_sent() {
    let server = server().await;
    for profile in Profile::names() {
        let mut client = client(&server, profile);
        let command = CommandGetTables {
            catalog: None,
            db_schema_filter_pattern: Some("public".to_owned()),
            table_name_filter_pattern: None,
            table_types: vec![],
            include_schema: true,
        };
        let info = client.get_tables(command).await.unwrap();
        let tables = fetch(&mut client, info).await.1.remove(0);
        let names = tables.column_by_name("table_name").unwrap().as_string::<i32>();
        let schemas = tables.column_by_name("table_schema").unwrap().as_binary::<i32>();
        for (name, schema) in names.iter().flatten().zip(schemas.iter().flatten()) {
            let described = try_schema_from_ipc_buffer(schema).unwrap();
            let (streamed, _) = rows(&mut client, &format!("SELECT * FROM {name}")).await;
            let bare = |schema: &Schema| -> Vec<_> {
                schema.fields().iter().map(|f| f.as_ref().clone().with_metadata(HashMap::new())).collect()
            };
            assert_eq!(bare(&described), bare(&streamed), "{profile}: {name}");
        }
    }
}

#[tokio::test]
async fn a_group_is_named_in_every_profile() {
    let server = server().await;
    let sql = "SELECT service_name, count(*) AS n FROM logs GROUP BY service_name ORDER BY service_name";
    for profile in Profile::names() {
        let (schema, batches) = rows(&mut client(&server, profile), sql).await;
        let is_dictionary = matches!(schema.field(0).data_type(), DataType::Dictionary(..));
        assert_eq!(is_dictionary, profile == "native", "{profile}");
        let names = cast(batches[0].column(0), &DataType::Utf8).unwrap();
        let names: Vec<_> = names.as_string::<i32>().iter().flatten().map(str::to_owned).collect();
        assert_eq!(names, ["api", "web"], "{profile}");
    }
}
