//! The metadata commands, by which drivers and tools find their way around.

use arrow::array::AsArray as _;
use arrow::datatypes::{Schema, UInt32Type};
use arrow_flight::IpcMessage;
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, SqlInfo,
};
use tonic::Code;

use crate::fixture::otlp::{BASE_NS, log, logs};
use crate::fixture::{Client, TestServer, descriptor, statement};

const TABLES: [&str; 3] = ["logs", "metrics", "traces"];
const VIEWS: [&str; 3] = ["metric_exemplars", "span_events", "span_links"];
/// Both, in the order in which they are listed.
const RELATIONS: [&str; 6] = ["logs", "metric_exemplars", "metrics", "span_events", "span_links", "traces"];

#[tokio::test]
async fn there_is_one_catalog() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let catalogs = client.run(CommandGetCatalogs {}).await.unwrap();
    assert_eq!(catalogs.texts("catalog_name"), [Some("alula".to_owned())]);
}

#[tokio::test]
async fn there_are_three_schemas_and_patterns_pick_from_them() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let pattern = |text: &str| Some(text.to_owned());
    for (catalog, db_schema_filter_pattern, expected) in [
        (None, None, &["information_schema", "public", "system"][..]),
        (pattern("alula"), pattern("%"), &["information_schema", "public", "system"]),
        (None, pattern("pub%"), &["public"]),
        (None, pattern("PUBLIC"), &[]),
        (pattern("other"), None, &[]),
        (pattern(""), None, &[]),
    ] {
        let command = CommandGetDbSchemas { catalog, db_schema_filter_pattern };
        let mut found: Vec<_> = client
            .run(command.clone())
            .await
            .unwrap()
            .texts("db_schema_name")
            .into_iter()
            .map(Option::unwrap)
            .collect();
        found.sort();
        assert_eq!(found, expected, "{command:?}");
    }
}

async fn tables(client: &Client, command: CommandGetTables) -> Vec<String> {
    let answer = client.run(command).await.unwrap();
    let mut names: Vec<_> = answer.texts("table_name").into_iter().map(Option::unwrap).collect();
    names.sort();
    names
}

fn of_public() -> CommandGetTables {
    CommandGetTables { db_schema_filter_pattern: Some("public".to_owned()), ..CommandGetTables::default() }
}

#[tokio::test]
async fn tables_are_found_by_pattern_and_type() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let like =
        |text: &str| CommandGetTables { table_name_filter_pattern: Some(text.to_owned()), ..of_public() };
    let typed = |name: &str| CommandGetTables { table_types: vec![name.to_owned()], ..of_public() };
    for (command, expected) in [
        (of_public(), &RELATIONS[..]),
        (like("%"), &RELATIONS),
        (like("metrics"), &["metrics"]),
        (like("%s"), &RELATIONS),
        (like("_races"), &["traces"]),
        (like("log%"), &["logs"]),
        (like("LOGS"), &[]),
        (like(""), &[]),
        (like("SELECT * FROM logs"), &[]),
        (typed("TABLE"), &TABLES),
        (typed("BASE TABLE"), &TABLES),
        (typed("VIEW"), &VIEWS),
        (
            CommandGetTables { db_schema_filter_pattern: Some("system".to_owned()), ..of_public() },
            &["data_loss", "deletions", "ingest_rejections", "queries"],
        ),
        (CommandGetTables { catalog: Some("alula".to_owned()), ..of_public() }, &RELATIONS),
        (CommandGetTables { catalog: Some("other".to_owned()), ..of_public() }, &[]),
    ] {
        assert_eq!(tables(&client, command.clone()).await, expected, "{command:?}");
    }
}

/// A pattern that a careless matcher takes exponential time for.
#[tokio::test]
async fn a_hostile_pattern_is_answered_at_once() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let pattern = "%a".repeat(2_000) + "b";
    let command = CommandGetTables { table_name_filter_pattern: Some(pattern), ..of_public() };
    assert!(crate::fixture::within_bound("the tables", tables(&client, command)).await.is_empty());
}

/// Tools show these columns and then read them, so both must be the same.
#[tokio::test]
async fn the_schema_of_a_table_is_that_of_its_rows() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let command = CommandGetTables { include_schema: true, ..of_public() };
    let answer = client.run(command).await.unwrap();
    let rows = answer.rows();
    let schemas = rows.column_by_name("table_schema").unwrap().as_binary::<i32>();
    for (row, table) in answer.texts("table_name").into_iter().map(Option::unwrap).enumerate() {
        let described = Schema::try_from(IpcMessage(schemas.value(row).to_vec().into())).unwrap();
        let sent = client.query(&format!("SELECT * FROM {table}")).await.unwrap().schema;
        let plain = |schema: &Schema| {
            let parts =
                |f: &arrow::datatypes::FieldRef| (f.name().clone(), f.data_type().clone(), f.is_nullable());
            schema.fields().iter().map(parts).collect::<Vec<_>>()
        };
        assert_eq!(plain(&described), plain(&sent), "{table}");
        for field in described.fields() {
            let about = |key: &str| field.metadata().get(&format!("ARROW:FLIGHT:SQL:{key}")).cloned();
            assert_eq!(about("TABLE_NAME").as_deref(), Some(table.as_str()));
            assert!(about("TYPE_NAME").is_some(), "{table}.{}", field.name());
        }
    }
    assert_eq!(rows.num_rows(), RELATIONS.len());
    let without = client.run(of_public()).await.unwrap();
    assert!(without.schema.field_with_name("table_schema").is_err());
}

#[tokio::test]
async fn table_types_are_those_that_tables_have() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let types = client.run(CommandGetTableTypes {}).await.unwrap().texts("table_type");
    let all = client.run(CommandGetTables::default()).await.unwrap().texts("table_type");
    assert!(all.iter().all(|table_type| types.contains(table_type)), "{all:?} {types:?}");
}

#[tokio::test]
async fn telemetry_has_no_keys() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let table = "logs".to_owned();
    let primary = CommandGetPrimaryKeys { table: table.clone(), ..CommandGetPrimaryKeys::default() };
    let imported = CommandGetImportedKeys { table: table.clone(), ..CommandGetImportedKeys::default() };
    let exported = CommandGetExportedKeys { table: table.clone(), ..CommandGetExportedKeys::default() };
    let cross = CommandGetCrossReference {
        pk_table: table.clone(),
        fk_table: table,
        ..CommandGetCrossReference::default()
    };
    for answer in [
        client.run(primary).await.unwrap(),
        client.run(imported).await.unwrap(),
        client.run(exported).await.unwrap(),
        client.run(cross).await.unwrap(),
    ] {
        assert_eq!(answer.rows().num_rows(), 0);
    }
    let types = client.run(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    assert!(types.rows().num_rows() > 10);
}

/// The codes by the arm of the union that holds their value: string, bool, int64, int32, list of strings, map.
/// Drivers read the arm they expect without looking.
///
/// Source: <https://github.com/apache/arrow/blob/main/format/FlightSql.proto> (`SqlInfo`)
const ARMS: [&[u32]; 6] = [
    &[0, 1, 2, 6, 7, 504, 513, 514, 529, 530, 531],
    &[
        3, 4, 5, 9, 10, 11, 500, 501, 502, 506, 515, 516, 518, 519, 520, 521, 523, 524, 527, 532, 536, 537,
        539, 556, 563, 565, 566, 572, 573, 574, 575, 576,
    ],
    &[
        503, 505, 507, 541, 542, 543, 544, 545, 546, 547, 548, 549, 550, 551, 552, 553, 554, 555, 557, 558,
        559, 560, 561, 562,
    ],
    &[8, 100, 101, 522, 525, 526, 528, 533, 534, 535, 538, 540, 564, 567, 568, 569, 570, 571],
    &[508, 509, 510, 511, 512],
    &[517],
];

#[tokio::test]
async fn sql_info_has_every_code_once_in_the_arm_that_drivers_expect() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let rows = client.run(CommandGetSqlInfo { info: vec![] }).await.unwrap().rows();
    let codes = rows.column(0).as_primitive::<UInt32Type>().values();
    let values = rows.column(1).as_union();
    let mut found: Vec<_> = codes.iter().zip(0..).map(|(code, row)| (*code, values.type_id(row))).collect();
    found.sort_unstable();
    let mut expected: Vec<_> =
        (0..).zip(ARMS).flat_map(|(arm, codes)| codes.iter().map(move |code| (*code, arm))).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let known = (0..10_000).filter(|code| SqlInfo::try_from(*code).is_ok()).count();
    assert_eq!(found.len(), known);
}

#[tokio::test]
async fn sql_info_answers_the_codes_asked_for() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let info = vec![SqlInfo::FlightSqlServerName as u32, SqlInfo::FlightSqlServerReadOnly as u32];
    let some = client.run(CommandGetSqlInfo { info: info.clone() }).await.unwrap().rows();
    assert_eq!(some.column(0).as_primitive::<UInt32Type>().values(), &info[..]);
    let values = some.column(1).as_union();
    assert_eq!(values.value(0).as_string::<i32>().value(0), "Alula");
    assert!(!values.value(1).as_boolean().value(0), "it may write tables of its own");
    let unknown = client.run(CommandGetSqlInfo { info: vec![4_000_000] }).await.unwrap();
    assert_eq!(unknown.rows().num_rows(), 0);
}

#[tokio::test]
async fn get_schema_promises_what_get_flight_info_does() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let mut flight = client.flight();
    let tables = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let descriptors = [
        descriptor(&statement("SELECT * FROM traces")),
        descriptor(&tables),
        descriptor(&CommandGetCatalogs {}),
        descriptor(&CommandGetSqlInfo { info: vec![] }),
    ];
    for asked in descriptors {
        let schema = flight.get_schema(client.request(asked.clone())).await.unwrap().into_inner().schema;
        let info = flight.get_flight_info(client.request(asked)).await.unwrap().into_inner();
        assert_eq!(schema, info.schema);
    }
}

#[tokio::test]
async fn information_schema_describes_the_tables() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    client
        .assert_rows(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
            &format!("table_name\n{}", RELATIONS.join("\n")),
        )
        .await;
    for table in RELATIONS {
        let sql = format!(
            "SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' ORDER BY ordinal_position"
        );
        let described = client.query(&sql).await.unwrap().texts("column_name");
        let sent = client.query(&format!("SELECT * FROM {table}")).await.unwrap().schema;
        let sent: Vec<_> = sent.fields().iter().map(|field| Some(field.name().clone())).collect();
        assert_eq!(described, sent, "{table}");
    }
    for sql in ["SHOW TABLES", "SHOW COLUMNS FROM logs", "DESCRIBE traces", "DESCRIBE span_events"] {
        assert!(client.rows(sql).await.num_rows() > 0, "{sql}");
    }
}

#[tokio::test]
async fn what_is_not_supported_says_so_by_name() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for action in ["CreatePreparedSubstraitPlan", "no such action"] {
        let status = client.action(action, Vec::new()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{action}: {status}");
        assert!(status.message().contains(action), "{status}");
    }
    client.assert_alive().await;
}

/// Lists and structs have no number in XDBC, so they are not in its list.
#[tokio::test]
async fn every_flat_type_of_a_column_is_in_the_type_info() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    client.send(logs("api", vec![log(BASE_NS, "x")])).await;
    let known = client.run(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap().texts("type_name");
    let command = CommandGetTables { include_schema: true, ..of_public() };
    let rows = client.run(command).await.unwrap().rows();
    let schemas = rows.column_by_name("table_schema").unwrap().as_binary::<i32>();
    for bytes in schemas.iter().flatten() {
        let schema = Schema::try_from(IpcMessage(bytes.to_vec().into())).unwrap();
        for field in schema.fields().iter().filter(|field| !field.data_type().is_nested()) {
            let name = field.metadata().get("ARROW:FLIGHT:SQL:TYPE_NAME").cloned();
            assert!(known.contains(&name), "{}: {name:?} is not in {known:?}", field.name());
        }
    }
}
