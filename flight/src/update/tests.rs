//! `DELETE` and `VACUUM` as clients send them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, Any, CommandGetSqlInfo, CommandStatementQuery, ProstMessageExt,
};
use arrow_flight::{Action, FlightDescriptor, IpcMessage};
use datafusion::execution::SessionStateBuilder;
use futures::TryStreamExt;
use prost::Message;
use tonic::Code;

use super::*;
use crate::parse::{parse, parse_expression};
use crate::tests::fixture::{Log, TestServer, fetch, server_with_logs};

const SECOND_NS: i64 = 1_000_000_000;

const LOGS: [Log<'_>; 4] = [
    (SECOND_NS, "api", r#"{"user.id":"u1","http.status":200}"#),
    (2 * SECOND_NS, "api", r#"{"user.id":"it's","http.status":500}"#),
    (3 * SECOND_NS, "web", r#"{"user.id":"u1"}"#),
    (4 * SECOND_NS, "web", "{}"),
];

const FOREIGN: [Log<'_>; 1] = [(SECOND_NS, "api", r#"{"user.id":"u1"}"#)];

async fn deleted(server: &TestServer, sql: &str) -> i64 {
    let deleted = server.client().execute_update(sql.to_owned(), None).await;
    deleted.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn refused(server: &TestServer, sql: &str) -> tonic::Status {
    let arrow_flight::error::FlightError::Tonic(status) =
        server.client().execute_update(sql.to_owned(), None).await.unwrap_err()
    else {
        panic!("{sql}")
    };
    // Every way to send it is refused alike.
    let asked = server.error(sql).await;
    assert_eq!((asked.code(), asked.message()), (status.code(), status.message()), "{sql}");
    *status
}

async fn number(server: &TestServer, sql: &str) -> i64 {
    server.rows(sql).await[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test]
async fn deleted_rows_are_gone_from_every_answer_when_the_count_comes_back() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    assert_eq!(deleted(&server, "DELETE FROM logs WHERE attributes->>'user.id' = 'u1'").await, 2);
    assert_eq!(number(&server, "SELECT count(*) FROM logs").await, 2);
    assert_eq!(number(&server, "SELECT count(*) FROM logs WHERE attributes ? 'user.id'").await, 1);
    assert_eq!(number(&server, "SELECT count(*) FROM (SELECT timestamp FROM logs LIMIT 9)").await, 2);
    assert_eq!(
        deleted(&server, "delete from ALULA.public.Logs where attributes['http.status'] = '500';").await,
        1
    );
    assert_eq!(deleted(&server, "DELETE FROM logs WHERE attributes->>'user.id' = 'u1'").await, 0);
    assert_eq!(deleted(&server, "DELETE FROM \"logs\" WHERE true").await, 1);
    assert_eq!(deleted(&server, "DELETE FROM traces WHERE name = 'x'").await, 0);
    server.append_logs("default", &[(SECOND_NS, "late", "{}")]).await;
    assert_eq!(number(&server, "SELECT count(*) FROM logs").await, 1);
    let other = "other".parse().unwrap();
    let snapshot = server.storage.snapshot();
    let left =
        snapshot.propose_deletion(&other, Signal::Logs, "true", snapshot.last_seq(&other, Signal::Logs), "");
    assert!(left.unwrap().is_some());
}

#[tokio::test]
async fn a_system_table_tells_what_was_deleted_and_by_whom() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    deleted(&server, "DELETE FROM logs WHERE  service_name='web' -- because\n AND timestamp <= now()").await;
    deleted(&server, "DELETE FROM logs WHERE service_name = 'nobody'").await;
    let table = server.table(
        "SELECT signal, num_rows, requested_by, completed, split_part(predicate, 'CAST', 1) AS p, predicate LIKE '%now%' AS n, \
         created > timestamp '2026-01-01' AND created <= now() AS c FROM system.deletions",
    );
    let expected = "\
+--------+----------+--------------+-----------+------------------------------------------+-------+------+
| signal | num_rows | requested_by | completed | p                                        | n     | c    |
+--------+----------+--------------+-----------+------------------------------------------+-------+------+
| logs   | 2        | anonymous    |           | service_name = 'web' AND timestamp <=    | false | true |
+--------+----------+--------------+-----------+------------------------------------------+-------+------+";
    let table = table.await;
    let squeeze = |text: &str| text.replace(['-', ' '], "");
    assert_eq!(squeeze(&table), squeeze(expected), "{table}");
}

/// As ADBC's `execute` and `alula sql` do it: prepared or not, the statement is sent as a query, and its row is the count.
#[tokio::test]
async fn a_delete_that_is_sent_as_a_query_answers_with_its_count() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    assert_eq!(number(&server, "DELETE FROM logs WHERE service_name = 'web'").await, 2);
    let mut client = server.client();
    let statement = "DELETE FROM logs WHERE service_name = 'api'";
    let command = CommandStatementQuery { query: statement.to_owned(), transaction_id: None };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let promised = client.inner_mut().get_schema(descriptor).await.unwrap().into_inner();
    assert_eq!(Schema::try_from(&promised).unwrap(), *Update::schema());
    let mut prepared = client.prepare(statement.to_owned(), None).await.unwrap();
    let info = prepared.execute().await.unwrap();
    assert_eq!(
        number(&server, "SELECT count(*) FROM logs").await,
        2,
        "nothing runs before rows are asked for"
    );
    assert_eq!(fetch(&mut client, info).await.1[0].column(0).as_primitive::<Int64Type>().value(0), 2);
    assert_eq!(number(&server, "SELECT count(*) FROM logs").await, 0);
}

/// As JDBC's `executeUpdate` and ADBC's `execute_update` do it.
#[tokio::test]
async fn a_prepared_delete_is_told_apart_and_takes_values() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    let mut client = server.client();
    let sql = "DELETE FROM logs WHERE attributes->>'user.id' = ? AND CAST(attributes->>'http.status' AS BIGINT) > ? \
               AND timestamp < ?";
    let mut prepared = client.prepare(sql.to_owned(), None).await.unwrap();
    assert!(prepared.dataset_schema().unwrap().fields().is_empty());
    let types: Vec<_> = prepared
        .parameter_schema()
        .unwrap()
        .fields()
        .iter()
        .map(|field| field.data_type().to_string())
        .collect();
    assert_eq!(types, ["Utf8", "Int64", "Timestamp(ns, \"UTC\")"]);
    let row = |user: &str, status: i64| {
        let time = TimestampMillisecondArray::from(vec![9_000]).with_timezone("UTC");
        let columns: [(&str, ArrayRef); 3] = [
            ("0", Arc::new(StringArray::from(vec![user]))),
            ("1", Arc::new(Int64Array::from(vec![status]))),
            ("2", Arc::new(time)),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    prepared.set_parameters(row("it's", 500)).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 0);
    prepared.set_parameters(row("it's", -1)).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 1);
    prepared.set_parameters(row("it's", -1)).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 0);
    let kept = server.table("SELECT predicate FROM system.deletions").await;
    assert!(
        kept.contains("'it''s'") && kept.contains("> (-1)") && kept.contains("1970-01-01T00:00:09Z"),
        "{kept}"
    );

    let mut query = client.prepare("SELECT 1".to_owned(), None).await.unwrap();
    let error = query.execute_update().await.unwrap_err().to_string();
    assert!(error.contains("send it as a query"), "{error}");
    let mut unbound = client.prepare("DELETE FROM logs WHERE body = ?".to_owned(), None).await.unwrap();
    let error = unbound.execute_update().await.unwrap_err().to_string();
    assert!(error.contains("$1 has no value"), "{error}");
}

/// As `executemany` does it: the rows are one deletion, or none.
#[tokio::test]
async fn several_rows_of_values_are_deleted_together_or_not_at_all() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    let mut client = server.client();
    let sql = "DELETE FROM logs WHERE service_name = ? AND timestamp < to_timestamp(0) + INTERVAL ?";
    let mut prepared = client.prepare(sql.to_owned(), None).await.unwrap();
    let rows = |names: Vec<&str>, intervals: Vec<&str>| {
        let columns: [(&str, ArrayRef); 2] =
            [("0", Arc::new(StringArray::from(names))), ("1", Arc::new(StringArray::from(intervals)))];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    prepared.set_parameters(rows(vec!["web"; 150], vec!["1 day"; 150])).unwrap();
    let refused = prepared.execute_update().await.unwrap_err().to_string();
    assert!(refused.contains("many rows of parameters"), "{refused}");
    prepared.set_parameters(rows(vec![], vec![])).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 0);
    assert_eq!(number(&server, "SELECT count(*) FROM logs").await, 4);
    let three = rows(vec!["web", "api", "api"], vec!["3500 milliseconds", "1.5 seconds", "1 second"]);
    prepared.set_parameters(three).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 2);
    assert_eq!(number(&server, "SELECT count(*) FROM system.deletions").await, 1);
    assert_eq!(number(&server, "SELECT count(*) FROM logs").await, 2);
}

#[tokio::test]
async fn preparing_says_whether_a_statement_changes_something() {
    /// The field that arrow-flight's type lacks.
    #[derive(Clone, PartialEq, Message)]
    struct Created {
        #[prost(bool, optional, tag = "4")]
        is_update: Option<bool>,
    }
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    for (sql, expected) in [("SELECT 1", false), ("DELETE FROM logs WHERE true", true), ("VACUUM", true)] {
        let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
        let action = Action::new("CreatePreparedStatement", request.as_any().encode_to_vec());
        let results = server.client().inner_mut().do_action(action).await.unwrap().into_inner();
        let results: Vec<_> = results.try_collect().await.unwrap();
        let any = Any::decode(results[0].body.as_ref()).unwrap();
        assert!(any.type_url.ends_with(".ActionCreatePreparedStatementResult"));
        assert_eq!(Created::decode(any.value.as_ref()).unwrap().is_update, Some(expected), "{sql}");
    }
    assert_eq!(number(&server, "SELECT count(*) FROM logs").await, 4, "nothing ran");
}

#[tokio::test]
async fn what_cannot_be_deleted_is_refused_with_what_to_do() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    for (sql, shown) in [
        ("DELETE FROM logs", "write DELETE FROM logs WHERE true"),
        ("DELETE FROM system.deletions WHERE true", "metrics, logs, traces, and not from system.deletions"),
        ("DELETE FROM span_events WHERE true", "not from span_events"),
        ("DELETE FROM other.public.logs WHERE true", "not from other.public.logs"),
        ("DELETE FROM nosuch WHERE true", "not from nosuch"),
        ("DELETE FROM logs l WHERE l.body = 'x'", "one table and a condition"),
        ("DELETE FROM logs USING traces WHERE true", "one table and a condition"),
        ("DELETE FROM logs, traces WHERE true", "one table and a condition"),
        ("DELETE FROM logs JOIN traces ON true WHERE true", "one table and a condition"),
        ("DELETE FROM logs WHERE true LIMIT 1", "one table and a condition"),
        ("DELETE FROM logs WHERE true ORDER BY body", "one table and a condition"),
        ("DELETE FROM logs WHERE true RETURNING body", "one table and a condition"),
        ("DELETE FROM logs WHERE body IN (SELECT name FROM traces)", "cannot have a subquery"),
        ("DELETE FROM logs WHERE random() < 0.5", "random()"),
        ("DELETE FROM logs WHERE count(*) > 1", "aggregate"),
        ("DELETE FROM logs WHERE servce_name = 'x'", "did you mean logs.service_name"),
        ("DELETE FROM logs WHERE body", "true or false"),
        ("DELETE FROM logs WHERE 1 / (severity_number - severity_number) > 0", "division by zero"),
        ("DELETE FROM logs WHERE CAST(body AS BIGINT) > 0", "Cannot cast string 'body 0'"),
        ("DELETE FROM logs WHERE", "syntax error"),
        ("VACUUM nosuch", "not from nosuch"),
    ] {
        let status = refused(&server, sql).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{sql}: {}", status.message());
        assert!(status.message().contains(shown), "{sql}: {}", status.message());
    }
    let long = format!("DELETE FROM logs WHERE {}", vec!["body = 'x'"; 150].join(" OR "));
    for (sql, code, shown) in [
        ("VACUUM FULL logs", Code::Unimplemented, "an option of VACUUM"),
        (long.as_str(), Code::ResourceExhausted, "write IN (...)"),
    ] {
        let status = refused(&server, sql).await;
        assert_eq!((status.code(), status.message().contains(shown)), (code, true), "{}", status.message());
    }
    for sql in ["SELECT 1", "INSERT INTO logs VALUES (1)", "UPDATE logs SET body = ''"] {
        assert!(server.client().execute_update(sql.to_owned(), None).await.is_err(), "{sql}");
    }
    assert_eq!(number(&server, "SELECT count(*) FROM logs").await, 4);
    assert_eq!(number(&server, "SELECT count(*) FROM system.deletions").await, 0);
}

#[tokio::test]
async fn concurrent_deletes_count_each_row_once() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    let deletes = (0..8).map(|_| deleted(&server, "DELETE FROM logs WHERE service_name = 'api'"));
    assert_eq!(futures::future::join_all(deletes).await.iter().sum::<i64>(), 2);
    assert_eq!(number(&server, "SELECT count(*) FROM logs").await, 2);
}

#[tokio::test]
async fn vacuum_is_taken_as_an_update_and_as_a_query() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    for sql in ["VACUUM", "vacuum logs", "VACUUM alula.public.logs;"] {
        assert_eq!(deleted(&server, sql).await, 0, "{sql}");
        assert_eq!(number(&server, sql).await, 0, "{sql}");
    }
    assert_eq!(deleted(&server, "DELETE FROM logs WHERE service_name = 'api'").await, 2);
    assert_eq!(deleted(&server, "VACUUM logs").await, 2);
    assert_eq!(number(&server, "SELECT count(*) FROM logs").await, 2);
    let completed = "SELECT count(*) FROM system.deletions WHERE completed IS NOT NULL";
    assert_eq!(number(&server, completed).await, 1);
}

/// Compaction evaluates it on a thread with a small stack.
#[tokio::test]
async fn the_deepest_condition_is_evaluated_by_compaction_too() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    let deep = format!("DELETE FROM logs WHERE severity_number{} = 198", " + 1".repeat(198));
    assert_eq!(deleted(&server, &deep).await, 4);
    assert_eq!(deleted(&server, "VACUUM").await, 4);
}

#[tokio::test]
async fn to_an_administrator_the_server_is_not_read_only() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    let mut client = server.client();
    let command = CommandGetSqlInfo { info: vec![3] };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = client.inner_mut().get_flight_info(descriptor).await.unwrap().into_inner();
    assert!(Schema::try_from(IpcMessage(info.schema.clone())).is_ok());
    let stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    let rows: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    let values = rows[0].column(1).as_union();
    assert!(!values.value(0).as_boolean().value(0));
}

/// What is stored must read back as what was meant, operators of the dialect included.
#[test]
fn conditions_are_kept_as_texts_that_read_the_same() {
    for sql in [
        "attributes->>'k' = 'v' AND attributes -> 'a' -> 'b' IS NOT NULL",
        "attributes ? 'k' OR NOT attributes ? 'l'",
        "attributes['http.route'] LIKE '/a\\%%' ESCAPE '\\'",
        "body ILIKE '%x%' AND body NOT SIMILAR TO '(a|b)%'",
        "body ~ '^a' AND body !~* 'b$'",
        "body = 'it''s' OR body = '' OR body = '--x' OR body = '/* y */'",
        "body = 'line\nbreak' OR body = 'zwölf 十二'",
        "severity_number BETWEEN 1 AND 5 AND -severity_number < -(-3)",
        "severity_number IN (1, 2, 3) AND trace_id NOT IN ('a', 'b')",
        "timestamp >= TIMESTAMP '2026-01-01T00:00:00Z' AND timestamp < '2026-01-02'",
        "timestamp < TIMESTAMP '2026-01-02T00:00:00Z' - INTERVAL '1 hour 30 minutes'",
        "date_bin(INTERVAL '1 hour', timestamp) = '2026-01-01'",
        "CASE WHEN body IS NULL THEN true WHEN flags = 1 THEN false ELSE (body = 'x') END",
        "CAST(body AS DOUBLE) > 1.5e3 AND body::BIGINT = 1 AND TRY_CAST(body AS INT) IS NULL",
        "(body = 'a' OR body = 'b') AND (NOT (body = 'c'))",
        "\"service_name\" || 'x' = 'apix' AND logs.body <> 'y'",
        "body IS DISTINCT FROM 'x' AND (flags = 1) IS NOT TRUE AND (flags = 2) IS UNKNOWN",
        "substring(body FROM 2 FOR 3) = 'abc' AND position('b' IN body) > 0 AND trim(BOTH ' ' FROM body) = 'x'",
        "extract(hour FROM timestamp) = 3 AND arrow_cast(flags, 'Int64') & 1 = 1 AND body LIKE 'a' || '%'",
    ] {
        let condition = parse_expression(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let text = condition::text(&condition).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(parse_expression(&text).unwrap(), condition, "{sql}");
    }
}

#[test]
fn functions_of_the_moment_become_what_they_say() {
    let mut state = SessionStateBuilder::new_with_default_features().build();
    state.mark_start_execution();
    for (sql, kept) in [
        ("timestamp < now() - INTERVAL '1 day'", "timestamp < CAST('2"),
        ("timestamp < CURRENT_TIMESTAMP", "AS TIMESTAMP WITH TIME ZONE)"),
        ("timestamp > current_date", "AS DATE)"),
        ("timestamp > TODAY()", "AS DATE)"),
        ("CAST(timestamp AS TIME) < current_time()", "AS TIME)"),
    ] {
        let frozen = condition::frozen(parse_expression(sql).unwrap(), &state).unwrap();
        let text = condition::text(&frozen).unwrap();
        assert!(text.contains(kept), "{text}");
        let again = condition::frozen(parse_expression(&text).unwrap(), &state).unwrap();
        assert_eq!(again, frozen, "nothing of the moment is left in it");
    }
}

#[test]
fn values_become_literals_of_their_own_type() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("1", Arc::new(Float64Array::from(vec![f64::NAN]))),
        ("2", Arc::new(Float64Array::from(vec![-1.5e300]))),
        ("3", Arc::new(Int64Array::from(vec![i64::MIN]))),
        ("4", Arc::new(StringArray::from(vec![None::<&str>]))),
        ("5", Arc::new(TimestampMillisecondArray::from(vec![1]))),
    ];
    let parameters: Vec<Parameter> =
        columns.iter().map(|(name, _)| Parameter { name: (*name).to_owned(), data_type: None }).collect();
    let row =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let bound = Bound::from_batches(&parameters, &[row]).unwrap();
    let parsed = parse("DELETE FROM logs WHERE f($1, $2, -$3, $4, $5)", 1000).unwrap();
    let Statement::Statement(statement) = parsed.statement else { panic!() };
    let SqlStatement::Delete(delete) = *statement else { panic!() };
    let (_, condition) = deleted_rows(delete).unwrap();
    let text = condition::text(&condition::bound(&condition, &bound).unwrap()).unwrap();
    assert_eq!(
        text,
        "f(CAST('NaN' AS DOUBLE), CAST('-1.5e300' AS DOUBLE), -(-9223372036854775808), NULL, \
         CAST('1970-01-01T00:00:00.001' AS TIMESTAMP))"
    );
}

#[test]
fn a_vacuum_is_known_by_its_first_word() {
    assert!(is_vacuum("VACUUM") && is_vacuum(" \n vacuum logs"));
    assert!(!is_vacuum("") && !is_vacuum("SELECT 'VACUUM'") && !is_vacuum("ÄÖÜ") && !is_vacuum("vacuu"));
}
