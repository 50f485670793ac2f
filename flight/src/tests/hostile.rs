//! Bytes that no client should send, on every call: a clear status each time, and the server goes on.

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, ListArray, NullArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementQuery, ProstMessageExt,
    TicketStatementQuery,
};
use arrow_flight::utils::batches_to_flight_data;
use arrow_flight::{Action, Criteria, FlightData, FlightDescriptor, Ticket};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use proptest::prelude::*;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::fixture::*;

type Raw = FlightServiceClient<Channel>;

/// What a client is told of its own mistakes. Anything else, and a broken connection, is the server's fault.
fn check_clear(status: &Status, what: &str) {
    assert!(
        matches!(
            status.code(),
            Code::InvalidArgument
                | Code::NotFound
                | Code::Unimplemented
                | Code::ResourceExhausted
                | Code::Aborted
        ),
        "{what}: {status:?}"
    );
    assert!(!status.message().is_empty() && status.message().len() < 4_000, "{what}: {status:?}");
    for internal in ["DataFusion", "src/", "panicked", "Arrow error: External", "ParseError("] {
        assert!(!status.message().contains(internal), "{what}: {status:?}");
    }
}

/// Sends the bytes as everything that they can be.
async fn send_everywhere(client: &mut Raw, bytes: &Bytes) {
    let descriptor = || FlightDescriptor::new_cmd(bytes.clone());
    let as_path = FlightDescriptor::new_path(vec![String::from_utf8_lossy(bytes).into_owned()]);
    if let Err(status) = client.get_flight_info(descriptor()).await {
        check_clear(&status, "GetFlightInfo");
    }
    if let Err(status) = client.get_flight_info(as_path).await {
        check_clear(&status, "GetFlightInfo of a path");
    }
    if let Err(status) = client.get_schema(descriptor()).await {
        check_clear(&status, "GetSchema");
    }
    if let Err(status) = client.poll_flight_info(descriptor()).await {
        check_clear(&status, "PollFlightInfo");
    }
    match client.do_get(Ticket::new(bytes.clone())).await {
        Ok(rows) => {
            if let Err(status) = rows.into_inner().try_collect::<Vec<_>>().await {
                check_clear(&status, "rows");
            }
        }
        Err(status) => check_clear(&status, "DoGet"),
    }
    if let Err(status) = client.list_flights(Criteria { expression: bytes.clone() }).await {
        check_clear(&status, "ListFlights");
    }
    for message in [
        FlightData { flight_descriptor: Some(descriptor()), ..FlightData::default() },
        FlightData { data_header: bytes.clone(), data_body: bytes.clone(), ..FlightData::default() },
    ] {
        if let Err(status) = put(client, vec![message]).await {
            check_clear(&status, "DoPut");
        }
    }
    if let Err(status) = client.do_exchange(futures::stream::iter([FlightData::default()])).await {
        check_clear(&status, "DoExchange");
    }
    let known: Vec<_> =
        client.list_actions(arrow_flight::Empty {}).await.unwrap().into_inner().try_collect().await.unwrap();
    let unknown = String::from_utf8_lossy(bytes).into_owned();
    for kind in known.into_iter().map(|action| action.r#type).chain([unknown]) {
        let action = Action { r#type: kind.clone(), body: bytes.clone() };
        match client.do_action(action).await {
            Ok(results) => {
                if let Err(status) = results.into_inner().try_collect::<Vec<_>>().await {
                    check_clear(&status, &kind);
                }
            }
            Err(status) => check_clear(&status, &kind),
        }
    }
}

async fn put(client: &mut Raw, messages: Vec<FlightData>) -> Result<Vec<arrow_flight::PutResult>, Status> {
    client.do_put(futures::stream::iter(messages)).await?.into_inner().try_collect().await
}

/// Bytes that are not commands, and commands with what does not belong into them.
fn commands() -> impl Strategy<Value = Bytes> {
    let packed = |type_url: &str, value: Vec<u8>| -> Bytes {
        let type_url = format!("type.googleapis.com/arrow.flight.protocol.sql.{type_url}");
        Any { type_url, value: value.into() }.encode_to_vec().into()
    };
    let names = prop::sample::select(vec![
        "CommandStatementQuery",
        "CommandStatementUpdate",
        "CommandPreparedStatementQuery",
        "CommandPreparedStatementUpdate",
        "TicketStatementQuery",
        "CommandGetTables",
        "CommandGetDbSchemas",
        "CommandGetSqlInfo",
        "CommandGetXdbcTypeInfo",
        "CommandGetPrimaryKeys",
        "CommandGetCrossReference",
        "CommandStatementSubstraitPlan",
        "CommandStatementIngest",
        "ActionCreatePreparedStatementRequest",
        "ActionClosePreparedStatementRequest",
        "ActionBeginTransactionRequest",
        "ActionEndTransactionRequest",
        "ActionCancelQueryRequest",
        "Nothing",
    ]);
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        bytes().prop_map(Bytes::from),
        ".{0,60}".prop_map(Bytes::from),
        "[a-zA-Z0-9 (){}'\"$?*,;:.<>=\\-\n]{0,80}".prop_map(Bytes::from),
        r#"\{"sql_query": ?"[a-zA-Z ?$]{0,20}", "params": ?[0-9a-z\[\]{}":,]{0,20}\}"#.prop_map(Bytes::from),
        (names.clone(), bytes()).prop_map(move |(name, value)| packed(name, value)),
        // A field of bytes, which is what most commands begin with.
        (names, bytes()).prop_map(move |(name, value)| {
            let mut field = vec![0x0a, u8::try_from(value.len().min(127)).unwrap()];
            field.extend(value.iter().take(127));
            packed(name, field)
        }),
    ]
}

/// One server for all cases of a property: starting one takes longer than a case.
fn with_server<T>(cases: u32, strategy: impl Strategy<Value = T>, check: impl AsyncFn(&TestServer, T))
where
    T: std::fmt::Debug,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(TestServer::start());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let case = |value| {
        runtime.block_on(check(&server, value));
        Ok(())
    };
    runner.run(&strategy, case).unwrap();
    // What came before has broken nothing.
    assert_eq!(runtime.block_on(server.rows("SELECT 1"))[0].num_rows(), 1);
}

#[test]
fn any_bytes_in_any_place_get_a_clear_status() {
    with_server(100, commands(), async |server, bytes| {
        send_everywhere(&mut server.client().into_inner(), &bytes).await;
    });
}

async fn handle_of(client: &mut Raw, sql: &str) -> Bytes {
    let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
    let action = Action {
        r#type: "CreatePreparedStatement".to_owned(),
        body: request.as_any().encode_to_vec().into(),
    };
    let results: Vec<_> = client.do_action(action).await.unwrap().into_inner().try_collect().await.unwrap();
    let created: ActionCreatePreparedStatementResult =
        Any::decode(results[0].body.as_ref()).unwrap().unpack().unwrap().unwrap();
    created.prepared_statement_handle
}

/// What a client that binds three values sends, behind the descriptor.
async fn valid_messages() -> Vec<FlightData> {
    let dictionary: DictionaryArray<Int32Type> = ["x"].into_iter().collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("0", Arc::new(Int64Array::from(vec![7]))),
        ("1", Arc::new(StringArray::from(vec!["text"]))),
        ("2", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None])]))),
        ("3", Arc::new(dictionary)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let encoder = FlightDataEncoderBuilder::new()
        .with_dictionary_handling(arrow_flight::encode::DictionaryHandling::Resend)
        .build(futures::stream::iter([Ok(batch)]));
    encoder.map(Result::unwrap).collect().await
}

#[derive(Clone, Debug)]
enum Damage {
    /// Sets a byte, of the header or of the body.
    Byte {
        in_header: bool,
        at: usize,
        value: u8,
    },
    /// Sets eight bytes to a number: a length or an offset that lies.
    Number {
        at: usize,
        value: i64,
    },
    Cut {
        in_header: bool,
        at: usize,
    },
    Repeat {
        times: usize,
    },
}

fn damage() -> impl Strategy<Value = (usize, Damage)> {
    let numbers =
        prop_oneof![any::<i64>(), prop::sample::select(vec![-1, 0, 1, i64::MAX, i64::MIN, 1 << 31, 1 << 40])];
    let damage = prop_oneof![
        (any::<bool>(), any::<usize>(), any::<u8>()).prop_map(|(in_header, at, value)| Damage::Byte {
            in_header,
            at,
            value
        }),
        (any::<usize>(), numbers).prop_map(|(at, value)| Damage::Number { at, value }),
        (any::<bool>(), any::<usize>()).prop_map(|(in_header, at)| Damage::Cut { in_header, at }),
        (2_usize..5).prop_map(|times| Damage::Repeat { times }),
    ];
    (any::<usize>(), damage)
}

fn apply(messages: &mut Vec<FlightData>, position: usize, damage: Damage) {
    let index = position % messages.len();
    let message = &mut messages[index];
    let mut edit = |in_header: bool, edit: &dyn Fn(&mut Vec<u8>)| {
        let part = if in_header { &mut message.data_header } else { &mut message.data_body };
        let mut bytes = part.to_vec();
        if !bytes.is_empty() {
            edit(&mut bytes);
        }
        *part = bytes.into();
    };
    match damage {
        Damage::Byte { in_header, at, value } => edit(in_header, &|bytes| {
            let at = at % bytes.len();
            bytes[at] = value;
        }),
        Damage::Number { at, value } => edit(true, &|bytes| {
            // The numbers of a message are aligned.
            let at = at % bytes.len() / 8 * 8;
            let end = bytes.len().min(at + 8);
            bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        }),
        Damage::Cut { in_header, at } => edit(in_header, &|bytes| bytes.truncate(at % bytes.len())),
        Damage::Repeat { times } => {
            let message = message.clone();
            messages.splice(index..index, std::iter::repeat_n(message, times));
        }
    }
}

#[test]
fn damaged_arrow_data_in_a_bind_gets_a_clear_status() {
    let damages = prop::collection::vec(damage(), 1..4);
    with_server(250, damages, async |server, damages| {
        let mut client = server.client().into_inner();
        let prepared_statement_handle = handle_of(&mut client, "SELECT ?, ?, ?, ?").await;
        for command in [
            CommandPreparedStatementQuery { prepared_statement_handle: prepared_statement_handle.clone() }
                .as_any(),
            CommandPreparedStatementUpdate { prepared_statement_handle }.as_any(),
        ] {
            let mut messages = valid_messages().await;
            for (position, damage) in damages.clone() {
                apply(&mut messages, position, damage);
            }
            messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd(command.encode_to_vec()));
            if let Err(status) = put(&mut client, messages).await {
                check_clear(&status, "DoPut");
            }
        }
    });
}

/// Nulls without a type have no bytes. As soon as they get a type each has some, and an allocation that fails ends the process.
#[tokio::test]
async fn nulls_without_number_in_a_few_bytes_are_refused() {
    const SENT: i64 = 12_345;
    let server = TestServer::start().await;
    let mut client = server.client().into_inner();
    let item = Arc::new(Field::new_list_field(DataType::Null, true));
    let nulls = Arc::new(NullArray::new(SENT as usize));
    let list = ListArray::try_new(item, OffsetBuffer::from_lengths([SENT as usize]), nulls, None).unwrap();
    let batch = RecordBatch::try_from_iter([("0", Arc::new(list) as ArrayRef)]).unwrap();
    for claimed in [1_i64 << 40, (1 << 31) - 1, 1 << 25] {
        for sql in ["SELECT CAST($1 AS BIGINT[])", "SELECT $1"] {
            let prepared_statement_handle = handle_of(&mut client, sql).await;
            let command = CommandPreparedStatementQuery { prepared_statement_handle }.as_any();
            let mut messages = batches_to_flight_data(&batch.schema(), vec![batch.clone()]).unwrap();
            messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd(command.encode_to_vec()));
            let header = messages[1].data_header.to_vec();
            let mut altered = header.clone();
            for at in 0..header.len() - 7 {
                if header[at..at + 8] == SENT.to_le_bytes() {
                    altered[at..at + 8].copy_from_slice(&claimed.to_le_bytes());
                }
            }
            assert_ne!(altered, header);
            messages[1].data_header = altered.into();
            let status = put(&mut client, messages).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{sql}: {status}");
        }
    }
    assert_eq!(server.rows("SELECT 1").await[0].num_rows(), 1);
}

#[tokio::test]
async fn a_mebibyte_in_the_place_of_a_handle_is_not_found() {
    let server = TestServer::start().await;
    let mut client = server.client().into_inner();
    for handle in [Bytes::from(vec![0x0a; 1 << 20]), vec![0xff; 1 << 20].into(), "a".repeat(1 << 20).into()] {
        let query = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() }.as_any();
        let ticket = TicketStatementQuery { statement_handle: handle.clone() }.as_any();
        let info = client.get_flight_info(FlightDescriptor::new_cmd(query.encode_to_vec())).await;
        assert_eq!(info.unwrap_err().code(), Code::NotFound);
        for bytes in [query.encode_to_vec(), ticket.encode_to_vec()] {
            let rows = client.do_get(Ticket::new(bytes)).await.map(|_| ());
            assert_eq!(rows.unwrap_err().code(), Code::NotFound);
        }
        let message = FlightData {
            flight_descriptor: Some(FlightDescriptor::new_cmd(query.encode_to_vec())),
            ..FlightData::default()
        };
        assert_eq!(put(&mut client, vec![message]).await.unwrap_err().code(), Code::NotFound);
        send_everywhere(&mut client, &handle).await;
    }
    assert_eq!(server.rows("SELECT 1").await[0].num_rows(), 1);
}

/// A delta makes the dictionary longer, and Arrow's reader copies all of it each time.
#[tokio::test]
async fn many_messages_without_an_end_are_cut_off() {
    let server = TestServer::start().await;
    let mut client = server.client().into_inner();
    let prepared_statement_handle = handle_of(&mut client, "SELECT ?, ?, ?, ?").await;
    let command = CommandPreparedStatementQuery { prepared_statement_handle }.as_any();
    let mut messages = valid_messages().await;
    messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd(command.encode_to_vec()));
    let dictionary = messages[1].clone();
    messages.splice(1..1, std::iter::repeat_n(dictionary, 100_000));
    let status = put(&mut client, messages).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
}

#[tokio::test]
async fn every_ticket_and_command_cut_short_is_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().into_inner();
    let query = CommandStatementQuery { query: "SELECT 1".to_owned(), transaction_id: None }.as_any();
    let info = client.get_flight_info(FlightDescriptor::new_cmd(query.encode_to_vec())).await.unwrap();
    let ticket = info.into_inner().endpoint[0].ticket.clone().unwrap().ticket;
    assert!(matches!(
        Command::try_from(Any::decode(ticket.clone()).unwrap()).unwrap(),
        Command::TicketStatementQuery(_)
    ));
    for length in 0..ticket.len() {
        let status = client.do_get(Ticket::new(ticket.slice(..length))).await.map(|_| ()).unwrap_err();
        check_clear(&status, "a cut ticket");
    }
    for at in 0..ticket.len() {
        let mut altered = ticket.to_vec();
        altered[at] ^= 1;
        let status = client.do_get(Ticket::new(altered)).await.map(|_| ()).unwrap_err();
        check_clear(&status, "an altered ticket");
    }
}
