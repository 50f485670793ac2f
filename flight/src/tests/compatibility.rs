//! What clients of other servers send in the place of Flight SQL's commands.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, Schema};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    CommandStatementQuery, CommandStatementSubstraitPlan, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{Criteria, FlightDescriptor, FlightInfo, IpcMessage, Ticket};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::Code;
use tonic::transport::Channel;

use super::fixture::*;

type Raw = FlightServiceClient<Channel>;

async fn read(client: &mut Raw, ticket: impl Into<bytes::Bytes>) -> Result<Vec<RecordBatch>, tonic::Status> {
    let messages = client.do_get(Ticket::new(ticket)).await?.into_inner();
    let rows = FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from));
    rows.try_collect().await.map_err(|error| match error {
        FlightError::Tonic(status) => *status,
        other => panic!("{other}"),
    })
}

/// The rows behind the one endpoint, which have the promised schema.
async fn fetch_raw(client: &mut Raw, info: &FlightInfo) -> Vec<RecordBatch> {
    let [endpoint] = &info.endpoint[..] else { panic!("one endpoint") };
    let promised = Schema::try_from(IpcMessage(info.schema.clone())).unwrap();
    let rows = read(client, endpoint.ticket.clone().unwrap().ticket).await.unwrap();
    for batch in &rows {
        assert_eq!(batch.schema().as_ref(), &promised);
    }
    rows
}

fn rows_in(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

fn path(names: &[&str]) -> FlightDescriptor {
    FlightDescriptor::new_path(names.iter().map(|name| (*name).to_owned()).collect())
}

const LOGS: [Log<'_>; 2] = [(1, "api", "{}"), (2, "web", "{}")];

const FOREIGN: [Log<'_>; 1] = [(3, "secret", "{}")];

#[tokio::test]
async fn the_text_of_a_statement_is_a_command_and_a_ticket() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    let mut client = server.client().into_inner();
    let sql = "SELECT service_name FROM logs ORDER BY 1";
    let descriptor = FlightDescriptor::new_cmd(sql);
    let info = client.get_flight_info(descriptor.clone()).await.unwrap().into_inner();
    let ticket = info.endpoint[0].ticket.clone().unwrap().ticket;
    let any = arrow_flight::sql::Any::decode(ticket).unwrap();
    assert!(any.is::<TicketStatementQuery>(), "a signed ticket: {}", any.type_url);
    assert_eq!(rows_in(&fetch_raw(&mut client, &info).await), 2);
    let schema = client.get_schema(descriptor).await.unwrap().into_inner();
    assert_eq!(schema.schema, info.schema);

    let rows = read(&mut client, sql).await.unwrap();
    let names = arrow::compute::cast(rows[0].column(0), &DataType::Utf8).unwrap();
    assert_eq!(names.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["api", "web"]);
    let packed = CommandStatementQuery { query: sql.to_owned(), transaction_id: None }.as_any();
    assert_eq!(rows_in(&read(&mut client, packed.encode_to_vec()).await.unwrap()), 2);
    let status = read(&mut client, "DROP TABLE logs").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test]
async fn a_path_is_a_table() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    let mut client = server.client().into_inner();
    for names in [&["logs"][..], &["public", "logs"], &["alula", "public", "logs"]] {
        let info = client.get_flight_info(path(names)).await.unwrap().into_inner();
        assert_eq!(info.flight_descriptor, Some(path(names)));
        assert_eq!(rows_in(&fetch_raw(&mut client, &info).await), 2, "{names:?}");
        let schema = client.get_schema(path(names)).await.unwrap().into_inner();
        assert_eq!(schema.schema, info.schema);
    }
    for names in
        [&["nothing"][..], &["LOGS"], &["other", "public", "logs"], &["system", "logs"], &["logs; DROP"]]
    {
        let status = client.get_flight_info(path(names)).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{names:?}: {status}");
    }
    let status = client.get_flight_info(path(&["a", "b", "c", "d"])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

async fn listed(client: &mut Raw, pattern: &'static str) -> Vec<FlightInfo> {
    let criteria = Criteria { expression: pattern.into() };
    client.list_flights(criteria).await.unwrap().into_inner().try_collect().await.unwrap()
}

#[tokio::test]
async fn flights_are_the_tables_of_the_tenant() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    let mut client = server.client().into_inner();
    let names = |flights: &[FlightInfo]| {
        let path = |flight: &FlightInfo| flight.flight_descriptor.clone().unwrap().path.join(".");
        flights.iter().map(path).collect::<Vec<_>>()
    };
    let all = listed(&mut client, "").await;
    for table in [
        "alula.public.logs",
        "alula.public.span_events",
        "alula.system.deletions",
        "alula.information_schema.tables",
    ] {
        assert!(names(&all).contains(&table.to_owned()), "{:?}", names(&all));
    }
    for flight in &all {
        fetch_raw(&mut client, flight).await;
    }
    let logs = listed(&mut client, "l_gs").await;
    assert_eq!(names(&logs), ["alula.public.logs"]);
    assert_eq!(rows_in(&fetch_raw(&mut client, &logs[0]).await), 2);
    assert_eq!(listed(&mut client, "public.%").await.len(), 6);
    assert_eq!(listed(&mut client, "nothing").await.len(), 0);
    let criteria = Criteria { expression: bytes::Bytes::from_static(&[0xff]) };
    assert_eq!(client.list_flights(criteria).await.map(|_| ()).unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_json_ticket_of_influxdb_is_answered_with_its_values_bound() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    let mut client = server.client().into_inner();
    let ticket = r#"{"database": "other", "sql_query": "SELECT count(*) FROM logs", "query_type": "sql"}"#;
    let rows = read(&mut client, ticket).await.unwrap();
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 2, "the tenant's own rows");

    let bound = r#"{"sql_query": "SELECT body FROM logs WHERE service_name = $service AND severity_number < $n",
                    "params": {"n": 7, "service": "web"}}"#;
    assert_eq!(rows_in(&read(&mut client, bound).await.unwrap()), 1);
    let info = client.get_flight_info(FlightDescriptor::new_cmd(bound)).await.unwrap().into_inner();
    assert_eq!(rows_in(&fetch_raw(&mut client, &info).await), 1);
    let schema = client.get_schema(FlightDescriptor::new_cmd(bound)).await.unwrap().into_inner();
    assert_eq!(schema.schema, info.schema);

    for (ticket, code, shown) in [
        (r#"{"sql_query": "SELECT $a", "params": {"b": 1}}"#, Code::InvalidArgument, "params has b"),
        (r#"{"sql_query": "SELECT $a"}"#, Code::InvalidArgument, "$a"),
        (r#"{"sql_query": "SELECT $a", "params": {"a": []}}"#, Code::InvalidArgument, "the value of a"),
        (r#"{"sql_query": "SHOW X", "query_type": "influxql"}"#, Code::Unimplemented, "query_type"),
        ("{", Code::InvalidArgument, "JSON"),
    ] {
        let status = read(&mut client, ticket).await.unwrap_err();
        assert_eq!(status.code(), code, "{ticket}: {status}");
        assert!(status.message().contains(shown), "{status}");
    }
}

#[tokio::test]
async fn what_is_not_supported_says_so() {
    let server = TestServer::start().await;
    let mut client = server.client().into_inner();
    let plan = CommandStatementSubstraitPlan { plan: None, transaction_id: None }.as_any();
    let status = client.get_flight_info(FlightDescriptor::new_cmd(plan.encode_to_vec())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("Substrait"), "{status}");
    let messages = futures::stream::iter([arrow_flight::FlightData::default()]).boxed();
    let status = client.do_exchange(messages).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}
