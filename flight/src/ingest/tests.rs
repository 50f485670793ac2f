use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int64Array, NullArray, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::datatypes::{DataType, Field, Int8Type, Int64Type, Schema};
use arrow_flight::FlightDescriptor;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{Command, ProstMessageExt, TableDefinitionOptions};
use prost::Message;
use tonic::Code;

use super::*;
use crate::tests::fixture::{TestServer, as_status};

/// The four modes of ADBC.
const CREATE: (TableNotExistOption, TableExistsOption) =
    (TableNotExistOption::Create, TableExistsOption::Fail);
const APPEND: (TableNotExistOption, TableExistsOption) =
    (TableNotExistOption::Fail, TableExistsOption::Append);
const CREATE_APPEND: (TableNotExistOption, TableExistsOption) =
    (TableNotExistOption::Create, TableExistsOption::Append);
const REPLACE: (TableNotExistOption, TableExistsOption) =
    (TableNotExistOption::Create, TableExistsOption::Replace);

fn command(table: &str, mode: (TableNotExistOption, TableExistsOption)) -> CommandStatementIngest {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: mode.0.into(),
            if_exists: mode.1.into(),
        }),
        table: table.to_owned(),
        ..CommandStatementIngest::default()
    }
}

fn rows(numbers: &[i64]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 2] = [
        ("Number", Arc::new(Int64Array::from(numbers.to_vec()))),
        ("kind", Arc::new(numbers.iter().map(|_| Some("k")).collect::<DictionaryArray<Int8Type>>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

async fn ingest(
    server: &TestServer,
    command: CommandStatementIngest,
    batches: Vec<RecordBatch>,
) -> Result<i64, Status> {
    let batches = futures::stream::iter(batches.into_iter().map(Ok));
    server.client().execute_ingest(command, batches).await.map_err(as_status)
}

async fn number(server: &TestServer, sql: &str) -> i64 {
    server.rows(sql).await[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test]
async fn each_mode_does_what_its_name_says() {
    let server = TestServer::start().await;
    let sum = "SELECT sum(\"Number\") FROM t";
    assert_eq!(
        ingest(&server, command("t", APPEND), vec![rows(&[1])]).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(ingest(&server, command("t", CREATE), vec![rows(&[1, 2]), rows(&[3])]).await.unwrap(), 3);
    assert_eq!(
        ingest(&server, command("t", CREATE), vec![rows(&[9])]).await.unwrap_err().code(),
        Code::AlreadyExists
    );
    assert_eq!(number(&server, sum).await, 6);
    assert_eq!(ingest(&server, command("t", APPEND), vec![rows(&[4])]).await.unwrap(), 1);
    assert_eq!(ingest(&server, command("t", CREATE_APPEND), vec![rows(&[5])]).await.unwrap(), 1);
    assert_eq!(ingest(&server, command("u", CREATE_APPEND), vec![rows(&[5])]).await.unwrap(), 1);
    assert_eq!(number(&server, sum).await, 15);
    assert_eq!(ingest(&server, command("t", REPLACE), vec![rows(&[7])]).await.unwrap(), 1);
    assert_eq!(ingest(&server, command("v", REPLACE), vec![rows(&[7])]).await.unwrap(), 1);
    assert_eq!(number(&server, sum).await, 7);
    let schema = server.rows("SELECT kind FROM t").await[0].schema();
    assert_eq!(schema.field(0).data_type(), &DataType::Utf8, "a dictionary is how it was sent");
}

#[tokio::test]
async fn columns_are_matched_by_name_and_what_does_not_fit_is_refused_whole() {
    let server = TestServer::start().await;
    ingest(&server, command("t", CREATE), vec![rows(&[1])]).await.unwrap();
    let only_kind: [(&str, ArrayRef); 1] = [("kind", Arc::new(StringArray::from(vec!["x"])))];
    let only_kind = RecordBatch::try_from_iter(only_kind).unwrap();
    assert_eq!(ingest(&server, command("t", APPEND), vec![only_kind]).await.unwrap(), 1);
    assert_eq!(number(&server, "SELECT count(*) FROM t WHERE \"Number\" IS NULL").await, 1);
    for (name, column, part) in [
        ("Number", Arc::new(StringArray::from(vec!["x"])) as ArrayRef, "without loss"),
        ("other", Arc::new(Int64Array::from(vec![1])) as ArrayRef, "no column"),
    ] {
        let batch = RecordBatch::try_from_iter([(name, column)]).unwrap();
        let refused = ingest(&server, command("t", APPEND), vec![batch]).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().replace('\n', " ").contains(part), "{refused}");
    }
    assert_eq!(number(&server, "SELECT count(*) FROM t").await, 2);
}

#[tokio::test]
async fn a_table_without_rows_is_made_of_its_columns_alone() {
    let server = TestServer::start().await;
    let schema = Schema::new(vec![
        Field::new("x", DataType::Int64, false),
        Field::new("nothing", DataType::Null, true),
    ]);
    let empty = RecordBatch::new_empty(Arc::new(schema));
    assert_eq!(ingest(&server, command("t", CREATE), vec![empty]).await.unwrap(), 0);
    let rows = server.rows("SELECT * FROM t").await;
    let types: Vec<_> = rows[0].schema().fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!((types, rows[0].num_rows()), (vec![DataType::Int64, DataType::Utf8], 0));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1])), Arc::new(NullArray::new(1))];
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let schema = Arc::new(Schema::new(vec![
        Field::new("x", DataType::Int64, true),
        Field::new("nothing", DataType::Null, true),
    ]));
    let row = RecordBatch::try_new_with_options(schema, columns, &options).unwrap();
    assert_eq!(ingest(&server, command("t", APPEND), vec![row]).await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_asked_for_and_cannot_be_done_is_said() {
    let server = TestServer::start().await;
    let plain = || command("t", CREATE);
    for (command, code, part) in [
        (CommandStatementIngest { temporary: true, ..plain() }, Code::Unimplemented, "temporary"),
        (
            CommandStatementIngest { catalog: Some("other".to_owned()), ..plain() },
            Code::InvalidArgument,
            "other.t is in another",
        ),
        (
            CommandStatementIngest { schema: Some("system".to_owned()), ..plain() },
            Code::InvalidArgument,
            "system.t is in another",
        ),
        (
            CommandStatementIngest { table_definition_options: None, ..plain() },
            Code::InvalidArgument,
            "what to do",
        ),
        (
            command("t", (TableNotExistOption::Unspecified, TableExistsOption::Fail)),
            Code::InvalidArgument,
            "is missing",
        ),
        (command("span_events", APPEND), Code::InvalidArgument, "read-only"),
        (command("", CREATE), Code::InvalidArgument, "no name for a table"),
    ] {
        let refused = ingest(&server, command, vec![rows(&[1])]).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(part), "{refused}");
    }
    let named = CommandStatementIngest {
        catalog: Some("alula".to_owned()),
        schema: Some("public".to_owned()),
        ..plain()
    };
    assert_eq!(ingest(&server, named, vec![rows(&[1])]).await.unwrap(), 1);
}

/// Sends messages as they are.
async fn send(server: &TestServer, messages: Vec<FlightData>) -> Result<(), Status> {
    let mut client = server.client().into_inner();
    client.do_put(futures::stream::iter(messages)).await.map(drop)
}

async fn encoded(batches: Vec<RecordBatch>) -> Vec<FlightData> {
    let descriptor = FlightDescriptor::new_cmd(command("t", CREATE).as_any().encode_to_vec());
    let batches = futures::stream::iter(batches.into_iter().map(Ok));
    let messages = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor)).build(batches);
    messages.try_collect().await.unwrap()
}

#[tokio::test]
async fn broken_messages_leave_no_table() {
    let server = TestServer::start().await;
    let whole = encoded(vec![rows(&[1, 2]), rows(&[3])]).await;
    let last = whole.len() - 1;
    let mut cases = Vec::new();
    let mut without_body = whole.clone();
    without_body[last].data_body = without_body[last].data_body.slice(..1);
    cases.push(without_body);
    let mut garbage = whole.clone();
    garbage[last].data_header = bytes::Bytes::from_static(b"garbage");
    cases.push(garbage);
    // Rows before their columns.
    let mut without_schema = whole.clone();
    without_schema[0].data_header = without_schema[last].data_header.clone();
    cases.push(without_schema);
    let mut only_command = whole.clone();
    only_command.truncate(1);
    only_command[0].data_header = bytes::Bytes::new();
    cases.push(only_command);
    for messages in cases {
        let refused = send(&server, messages).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert_eq!(server.error("SELECT * FROM t").await.code(), Code::NotFound);
    }
    send(&server, whole).await.unwrap();
    assert_eq!(number(&server, "SELECT count(*) FROM t").await, 3);
}

#[test]
fn the_modes_of_a_command_are_those_that_were_sent() {
    let descriptor = command("t", REPLACE).as_any();
    let Ok(Command::CommandStatementIngest(command)) = Command::try_from(descriptor) else { panic!() };
    let Target::Own(target) = Target::try_new(command).unwrap() else { panic!() };
    assert_eq!((target.if_missing, target.if_there), (IfMissing::Create, IfThere::Replace));
}

/// Scenario: a client that keeps its place with messages that say nothing.
#[tokio::test]
async fn only_rows_keep_an_ingest_alive() {
    let silence = Duration::from_millis(5);
    let empty = encoded(vec![RecordBatch::new_empty(rows(&[1]).schema())]).await.pop().unwrap();
    let descriptor = FlightData { data_header: bytes::Bytes::new(), ..empty.clone() };
    for message in [empty, descriptor] {
        let endless = futures::stream::repeat(message).then(|message| async {
            tokio::task::yield_now().await;
            Ok(message)
        });
        let ended = checked(endless.boxed(), silence).try_for_each(|_| async { Ok(()) }).await;
        assert!(matches!(ended, Err(Error::SilentIngest { .. })));
    }
}
