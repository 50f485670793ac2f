//! No answer depends on what another tenant stored.
//!
//! The decisive test is non-interference: the same statements on a server with the rows of one tenant, and on a server
//! that holds a second tenant's rows besides, made to be seen: equal trace ids and names, values that divide by zero,
//! texts that do not cast, extreme times, many names. Every answer must be the same to the byte: code, message, schema
//! and rows.

mod queries;

use alula_auth::Role;
use arrow::array::{Int64Array, RecordBatch};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    ProstMessageExt,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::NumberDataPoint;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use std::sync::Arc;
use tonic::Code;

use self::queries::{ANSWERED, ORACLES, REFUSED};
use crate::fixture::otlp::{
    BASE_NS, SECOND_NS, attributes, double_point, gauge, int_point, log, logs, metrics, now_ns, span, text,
    trace_id, traces,
};
use crate::fixture::{Client, Fetched, TestServer, descriptor, prepared, statement, ticket};

/// In every text of the second tenant that is not made to look like one of the first.
const SECRET: &str = "bravo-secret";

/// What a client learns from one call.
#[derive(Debug, PartialEq)]
enum Answer {
    Rows(Vec<u8>),
    Refused(Code, String),
}

impl Answer {
    fn of(result: Result<Fetched, tonic::Status>) -> Self {
        match result {
            Ok(fetched) => {
                assert!(!contains(&fetched.wire, SECRET), "foreign text on the wire:\n{}", fetched.table());
                Self::Rows(fetched.to_bytes())
            }
            Err(status) => {
                assert!(!status.message().contains(SECRET), "foreign text in an error: {status}");
                Self::Refused(status.code(), status.message().to_owned())
            }
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Rows of the first tenant: no value is 100, every log body is a number, only one of them is 5.
async fn send_alpha(client: &Client, from: u64, to: u64) {
    for number in from..to {
        let service = if number % 2 == 0 { "alpha-api" } else { "alpha-web" };
        let time = BASE_NS + number * 1_000 * SECOND_NS;
        let point = NumberDataPoint {
            attributes: attributes([("n", text(&number.to_string())), ("host", text("h1"))]),
            ..int_point(time, number as i64)
        };
        client
            .send(metrics(service, vec![gauge("cpu", vec![point]), gauge("mem", vec![int_point(time, 7)])]))
            .await;
        let trace = (number % 3 + 1) as u8;
        let record = LogRecord { trace_id: trace_id(trace), ..log(time, &number.to_string()) };
        client.send(logs(service, vec![record])).await;
        let name = if number % 2 == 0 { "GET /a" } else { "GET /b" };
        client.send(traces(service, vec![span(trace, number as u8 + 1, name, time, 1_000 + number)])).await;
    }
}

/// Rows of the second tenant, under the names of the first and under its own.
async fn send_bravo(client: &Client) {
    for service in ["alpha-api", "alpha-web", SECRET] {
        let numbers = [100, 0, 7, i64::MAX, i64::MIN, 100_000];
        let times = [1, BASE_NS, BASE_NS + SECOND_NS, now_ns(), now_ns() + SECOND_NS, BASE_NS + 1];
        let points = || {
            numbers.iter().zip(times).map(|(number, time)| NumberDataPoint {
                attributes: attributes([("n", text(SECRET)), (SECRET, text(SECRET)), ("host", text("h1"))]),
                ..int_point(time, *number)
            })
        };
        let doubles = [f64::NAN, f64::INFINITY, -0.0, 1e300].map(|number| double_point(BASE_NS, number));
        let mut all = vec![
            gauge("cpu", points().collect()),
            gauge("mem", points().collect()),
            gauge("cpu", doubles.to_vec()),
        ];
        all.extend((0..300).map(|n| gauge(&format!("{SECRET}-{n}"), vec![int_point(BASE_NS, n)])));
        client.send(metrics(service, all)).await;

        let bodies = [SECRET, "5", "5", "", "99999999999999999999", "cpu"];
        let records = bodies.iter().zip(times).enumerate().map(|(number, (body, time))| LogRecord {
            trace_id: trace_id(number as u8 % 4 + 1),
            attributes: attributes([("n", text(SECRET))]),
            ..log(time, body)
        });
        client.send(logs(service, records.collect())).await;

        let spans = (1..=4).flat_map(|trace| {
            ["GET /a", SECRET].map(|name| Span {
                trace_state: SECRET.to_owned(),
                ..span(trace, 1, name, times[usize::from(trace)], 1)
            })
        });
        client.send(traces(service, spans.collect())).await;
    }
}

fn shown(result: &Result<Fetched, tonic::Status>) -> String {
    match result {
        Ok(fetched) => fetched.table(),
        Err(status) => status.to_string(),
    }
}

async fn metadata(client: &Client) -> Vec<Answer> {
    let tables = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let of_bravo = CommandGetTables { catalog: Some("bravo".to_owned()), ..CommandGetTables::default() };
    vec![
        Answer::of(client.run(CommandGetCatalogs {}).await),
        Answer::of(client.run(CommandGetDbSchemas::default()).await),
        Answer::of(client.run(tables).await),
        Answer::of(client.run(of_bravo).await),
        Answer::of(client.run(CommandGetTableTypes {}).await),
        Answer::of(client.run(CommandGetSqlInfo { info: vec![] }).await),
    ]
}

/// A statement with its parameter bound, by way of a prepared handle.
async fn bound(client: &Client, sql: &str, number: i64) -> Answer {
    let statement = client.prepare(sql).await.unwrap();
    let values = RecordBatch::try_from_iter([("1", Arc::new(Int64Array::from(vec![number])) as _)]).unwrap();
    let handle = client.bind(&statement.handle, values).await.unwrap();
    Answer::of(client.run(prepared(&handle)).await)
}

/// Asserts that the first tenant cannot tell the servers apart.
async fn assert_indistinguishable(state: &str, alone: &Client, shared: &Client) {
    let mut faults = Vec::new();
    for (list, answers) in [(&ORACLES[..], true), (&ANSWERED[..], true), (&REFUSED[..], false)] {
        for sql in list {
            let (left, right) = (alone.query(sql).await, shared.query(sql).await);
            let (left_shown, right_shown) = (shown(&left), shown(&right));
            if left.is_ok() != answers {
                faults.push(format!("{sql}\nis not as expected:\n{left_shown}"));
            }
            if Answer::of(left) != Answer::of(right) {
                faults.push(format!("{sql}\nalone:\n{left_shown}\nbeside another tenant:\n{right_shown}"));
            }
        }
    }
    assert!(faults.is_empty(), "{state}:\n{}", faults.join("\n\n"));
    assert_eq!(metadata(alone).await, metadata(shared).await, "{state}");
    for sql in [
        "SELECT count(*), min(name), max(value_int) FROM metrics WHERE value_int <= ?",
        "SELECT sum(1 / (value_int - 100)) FROM metrics WHERE value_int <> ?",
        "SELECT sum(1 / (value_int - ?)) FROM metrics",
    ] {
        for number in [7, 100] {
            let (left, right) = (bound(alone, sql, number).await, bound(shared, sql, number).await);
            assert_eq!(left, right, "{state}: {sql} with {number}");
        }
    }
}

#[tokio::test]
async fn no_answer_of_a_tenant_depends_on_the_rows_of_another() {
    let (mut alone, mut shared) = (TestServer::start().await, TestServer::start().await);
    let (left, right) = (alone.client("alpha").await, shared.client("alpha").await);
    let bravo = shared.client("bravo").await;

    send_bravo(&bravo).await;
    send_alpha(&left, 0, 12).await;
    send_alpha(&right, 0, 12).await;
    send_bravo(&bravo).await;
    assert_indistinguishable("all rows in the buffer", &left, &right).await;
    for sql in ORACLES {
        assert!(bravo.query(sql).await.is_err(), "this shows nothing, as bravo's rows do not fail it: {sql}");
    }

    (alone, shared) = (alone.restart().await, shared.restart().await);
    let (left, right) = (alone.client("alpha").await, shared.client("alpha").await);
    assert_indistinguishable("all rows in files", &left, &right).await;

    send_bravo(&shared.client("bravo").await).await;
    send_alpha(&left, 12, 15).await;
    send_alpha(&right, 12, 15).await;
    assert_indistinguishable("rows in both", &left, &right).await;
}

#[tokio::test]
async fn a_tenant_without_rows_sees_empty_tables_beside_a_full_one() {
    let server = TestServer::start().await;
    send_bravo(&server.client("bravo").await).await;
    let server = server.restart().await;
    send_bravo(&server.client("bravo").await).await;
    let client = server.client("alpha").await;
    for table in ["metrics", "logs", "traces"] {
        assert_eq!(client.count(&format!("SELECT count(*) FROM {table}")).await, 0);
        assert_eq!(
            client.count(&format!("SELECT count(*) FROM {table} WHERE true OR tenant_id = 'bravo'")).await,
            0
        );
        let nothing = client.query(&format!("SELECT * FROM {table}")).await.unwrap();
        assert!(!contains(&nothing.wire, SECRET) && nothing.rows().num_rows() == 0);
    }
}

#[tokio::test]
async fn both_tenants_of_one_trace_see_their_own_half() {
    let server = TestServer::start().await;
    let (alpha, bravo) = (server.client("alpha").await, server.client("bravo").await);
    for (client, name) in [(&alpha, "alpha span"), (&bravo, "bravo span")] {
        client.send(traces(name, vec![span(1, 1, name, BASE_NS, 1)])).await;
        client.send(logs(name, vec![LogRecord { trace_id: trace_id(1), ..log(BASE_NS, name) }])).await;
    }
    let join = "SELECT t.name, l.body, t.tenant_id FROM traces t JOIN logs l ON l.trace_id = t.trace_id";
    alpha.assert_rows(join, "name | body | tenant_id\nalpha span | alpha span | alpha").await;
    bravo.assert_rows(join, "name | body | tenant_id\nbravo span | bravo span | bravo").await;
}

/// Every way to use what another caller was given. The refusal is that of a forged one, so it tells nothing either.
async fn assert_useless(owner: &Client, thief: &Client, what: &str) {
    let info = owner.flight_info(statement("SELECT body FROM logs")).await.unwrap();
    let handle = owner.prepare("SELECT body FROM logs WHERE severity_number > ?").await.unwrap().handle;
    let forged = thief.fetch_handle(b"forged").await.unwrap_err();
    assert_eq!(forged.code(), Code::NotFound);
    let values = RecordBatch::try_from_iter([("1", Arc::new(Int64Array::from(vec![0])) as _)]).unwrap();
    let mut flight = thief.flight();
    let command = descriptor(&prepared(&handle));
    for (call, refused) in [
        ("DoGet of a ticket", thief.do_get(ticket(&info)).await.map(|_| ()).unwrap_err()),
        ("DoGet of a handle", thief.fetch_handle(&handle).await.unwrap_err()),
        ("GetFlightInfo", thief.flight_info(prepared(&handle)).await.map(|_| ()).unwrap_err()),
        ("GetSchema", flight.get_schema(thief.request(command)).await.map(|_| ()).unwrap_err()),
        ("DoPut", thief.bind(&handle, values.clone()).await.map(|_| ()).unwrap_err()),
    ] {
        assert_eq!(refused.code(), Code::NotFound, "{what}: {call}: {refused}");
        assert_eq!(refused.message(), forged.message(), "{what}: {call}");
    }
    // The owner's are as good as before, also after the thief has "closed" one.
    let close =
        arrow_flight::sql::ActionClosePreparedStatementRequest { prepared_statement_handle: handle.clone() };
    let _ = thief.action("ClosePreparedStatement", close.as_any().encode_to_vec()).await;
    assert_eq!(owner.fetch(&info).await.unwrap().rows().num_rows(), 1, "{what}");
    let bound = owner.bind(&handle, values).await.unwrap();
    assert_eq!(owner.run(prepared(&bound)).await.unwrap().rows().num_rows(), 1, "{what}");
}

impl Client {
    /// Asks for the rows of a prepared statement by its handle alone, as C++ and Java clients do.
    async fn fetch_handle(&self, handle: &[u8]) -> Result<(), tonic::Status> {
        let command = prepared(&handle.to_vec().into()).as_any().encode_to_vec();
        self.do_get(arrow_flight::Ticket::new(command)).await.map(|_| ())
    }
}

#[tokio::test]
async fn tickets_and_handles_are_worth_nothing_to_another_tenant_or_caller() {
    let server = TestServer::start().await;
    let alpha = server.client("alpha").await;
    alpha.send(logs("api", vec![log(BASE_NS, "mine")])).await;
    assert_useless(&alpha, &server.client("bravo").await, "another tenant").await;
    // The same name in another tenant is another caller.
    let namesake = server.client_with(&server.token("bravo", "alpha", Role::Read)).await;
    assert_useless(&alpha, &namesake, "a namesake").await;
    let colleague = server.client_with(&server.token("alpha", "colleague", Role::Read)).await;
    assert_useless(&alpha, &colleague, "a colleague").await;
    // An administrator is one of its own tenant.
    let admin = server.client_with(&server.token("bravo", "admin", Role::Admin)).await;
    assert_useless(&alpha, &admin, "another tenant's administrator").await;
}

#[tokio::test]
async fn tickets_of_one_server_are_worth_nothing_on_another() {
    let (here, there) = (TestServer::start().await, TestServer::start().await);
    let (owner, same_name) = (here.client("alpha").await, there.client("alpha").await);
    let info = owner.flight_info(statement("SELECT 1")).await.unwrap();
    assert_eq!(same_name.do_get(ticket(&info)).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn an_administrator_sees_no_more_rows_than_its_tenant_has() {
    let server = TestServer::start().await;
    send_bravo(&server.client("bravo").await).await;
    let admin = server.client_with(&server.token("alpha", "admin", Role::Admin)).await;
    assert_eq!(admin.count("SELECT count(*) FROM metrics").await, 0);
    let plan = admin.query("EXPLAIN ANALYZE SELECT * FROM metrics").await.unwrap();
    assert!(!contains(&plan.wire, SECRET) && !contains(&plan.wire, "bravo"), "{}", plan.table());
}
