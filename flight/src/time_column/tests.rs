use super::*;
use crate::parse::parse;

fn check(sql: &str, expected: &str) {
    let renamed = renamed(&parse(sql, 10_000).unwrap().statement).unwrap();
    assert_eq!(renamed.to_string(), expected);
}

#[test]
fn time_stands_for_timestamp_and_keeps_its_name_in_the_result() {
    check("SELECT time, body FROM logs", "SELECT timestamp AS time, body FROM logs");
    check("SELECT l.time FROM logs l", "SELECT l.timestamp AS time FROM logs l");
    check(
        r#"SELECT "body" FROM "logs" WHERE "time" >= '2026-01-01' AND "time" <= now() ORDER BY "time" DESC"#,
        r#"SELECT "body" FROM "logs" WHERE "timestamp" >= '2026-01-01' AND "timestamp" <= now() ORDER BY "timestamp" DESC"#,
    );
}

#[test]
fn a_time_that_the_statement_makes_goes_before() {
    check(
        "SELECT date_bin(INTERVAL '1 minute', time) AS time, count(*) FROM logs WHERE time > now() GROUP BY time ORDER BY time",
        "SELECT date_bin(INTERVAL '1 minute', timestamp) AS time, count(*) FROM logs WHERE timestamp > now() GROUP BY time ORDER BY time",
    );
    check(
        "SELECT time FROM (SELECT time FROM logs) WHERE time IS NOT NULL ORDER BY time",
        "SELECT time AS time FROM (SELECT timestamp AS time FROM logs) WHERE time IS NOT NULL ORDER BY time",
    );
    check(
        "WITH t AS (SELECT time FROM logs) SELECT max(time) FROM t",
        "WITH t AS (SELECT timestamp AS time FROM logs) SELECT max(time) FROM t",
    );
}

#[test]
fn a_quoted_name_of_other_case_is_another_name() {
    check(r#"SELECT "Time", TIME FROM logs"#, r#"SELECT "Time", timestamp AS time FROM logs"#);
}
