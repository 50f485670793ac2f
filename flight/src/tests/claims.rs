//! What `GetSqlInfo` says that the server's SQL can do, done.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, UInt32Type};
use arrow_flight::sql::SqlSupportsConvert;

use super::fixture::*;

async fn all_infos(server: &TestServer) -> RecordBatch {
    let mut client = server.client();
    let info = client.get_sql_info(vec![]).await.unwrap();
    fetch(&mut client, info).await.1.remove(0)
}

fn value(infos: &RecordBatch, code: u32) -> arrow::array::ArrayRef {
    let codes = infos.column(0).as_primitive::<UInt32Type>();
    let row = (0..infos.num_rows()).find(|row| codes.value(*row) == code).unwrap();
    infos.column(1).as_union().value(row)
}

#[tokio::test]
async fn every_claim_about_sql_is_kept() {
    let server = TestServer::start().await;
    server.append_logs("default", &[(1, "api", "{}"), (2, "web", "{}")]).await;
    let infos = all_infos(&server).await;
    for (code, sql) in [
        (506, "SELECT * FROM information_schema.routines"),
        (515, "SELECT count(*) AS c, count(1) d FROM logs"),
        (516, "SELECT 1 WHERE (NULL || 'x') IS NULL AND (NULL + 1) IS NULL"),
        (518, "SELECT l.body FROM logs AS l"),
        (520, "SELECT body FROM logs ORDER BY length(body) + 1"),
        (521, "SELECT body FROM logs ORDER BY timestamp"),
        (523, "SELECT 1 WHERE 'a%' LIKE 'a!%' ESCAPE '!'"),
        (532, "SELECT * FROM alula.public.logs"),
        (
            539,
            "SELECT * FROM logs l WHERE timestamp = (SELECT max(timestamp) FROM logs r WHERE r.service_name = l.service_name)",
        ),
    ] {
        assert!(value(&infos, code).as_boolean().value(0), "{code}");
        assert!(server.rows(sql).await[0].num_rows() > 0, "{code}: {sql}");
    }
    // Each bit of a mask, from the lowest.
    for (code, statements) in [
        (
            522,
            &[
                "SELECT count(*) FROM logs GROUP BY body",
                "SELECT body, count(*) FROM logs GROUP BY body, service_name",
            ][..],
        ),
        (
            525,
            &[
                "SELECT body FROM logs WHERE body IS NOT NULL",
                "SELECT service_name, avg(severity_number) FROM logs GROUP BY service_name HAVING count(*) > 0",
                "SELECT l.body FROM logs l LEFT OUTER JOIN logs r ON l.body = r.body",
            ],
        ),
        (526, &["SELECT body FROM logs UNION SELECT body FROM logs"]),
        (
            538,
            &[
                "SELECT 1 WHERE 2 > (SELECT 1)",
                "SELECT 1 WHERE EXISTS (SELECT 1 FROM logs)",
                "SELECT * FROM logs WHERE body IN (SELECT body FROM logs)",
                "SELECT 1 WHERE 1 = ANY (SELECT 1)",
            ],
        ),
        (540, &["SELECT 1 UNION SELECT 1", "SELECT 1 UNION ALL SELECT 1"]),
    ] {
        let mask = value(&infos, code).as_primitive::<Int32Type>().value(0);
        assert_eq!(mask, (1 << statements.len()) - 1, "{code}");
        for sql in statements {
            assert!(server.rows(sql).await[0].num_rows() > 0, "{code}: {sql}");
        }
    }
    // 562: what a transaction keeps to is tested in `transactions.rs`.
    for (code, expected) in [(503, 3), (505, 0), (507, 0), (562, 3)] {
        assert_eq!(value(&infos, code).as_primitive::<Int64Type>().value(0), expected, "{code}");
    }
    // 507: a null sorts above every value.
    let first = server.rows("SELECT x FROM (VALUES (NULL), (1)) AS t(x) ORDER BY x DESC LIMIT 1").await;
    assert!(first[0].column(0).is_null(0));
    // 503: a name without quotes is lower case.
    assert_eq!(server.rows("SELECT 1 AS Abc").await[0].schema().field(0).name(), "abc");
    assert_eq!(server.rows("SELECT 1 AS \"Abc\"").await[0].schema().field(0).name(), "Abc");
}

#[tokio::test]
async fn every_conversion_claimed_is_made() {
    let server = TestServer::start().await;
    let infos = all_infos(&server).await;
    let map = value(&infos, 517);
    let map = map.as_map();
    let from = map.keys().as_primitive::<Int32Type>();
    let to = map.values().as_list::<i32>();
    let names: BTreeMap<i32, (&str, &str)> = [
        (SqlSupportsConvert::SqlConvertTinyint, "TINYINT", "1"),
        (SqlSupportsConvert::SqlConvertSmallint, "SMALLINT", "1"),
        (SqlSupportsConvert::SqlConvertInteger, "INTEGER", "1"),
        (SqlSupportsConvert::SqlConvertBigint, "BIGINT", "1"),
        (SqlSupportsConvert::SqlConvertReal, "REAL", "1"),
        (SqlSupportsConvert::SqlConvertFloat, "DOUBLE", "1"),
        (SqlSupportsConvert::SqlConvertDecimal, "DECIMAL(10, 2)", "1"),
        (SqlSupportsConvert::SqlConvertDate, "DATE", "2026-01-01"),
        (SqlSupportsConvert::SqlConvertTimestamp, "TIMESTAMP", "2026-01-01"),
        (SqlSupportsConvert::SqlConvertVarchar, "VARCHAR", ""),
        (SqlSupportsConvert::SqlConvertBit, "BOOLEAN", "true"),
    ]
    .into_iter()
    .map(|(code, name, text)| (code as i32, (name, text)))
    .collect();
    assert_eq!(from.len(), names.len());
    for row in 0..from.len() {
        let (source, text) = names[&from.value(row)];
        for target in to.value(row).as_primitive::<Int32Type>().values() {
            let (target, target_text) = names[target];
            let text = if text.is_empty() { target_text } else { text };
            let sql = format!("SELECT CAST(CAST('{text}' AS {source}) AS {target})");
            assert!(server.rows(&sql).await[0].column(0).is_valid(0), "{sql}");
        }
    }
}

#[tokio::test]
async fn every_function_and_keyword_listed_is_known() {
    let server = TestServer::start().await;
    let infos = all_infos(&server).await;
    let routines = server.rows("SELECT DISTINCT routine_name FROM information_schema.routines").await;
    let known: Vec<String> = routines
        .iter()
        .flat_map(|batch| {
            batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    for code in 509..=512 {
        let listed = value(&infos, code);
        let listed = listed.as_list::<i32>().value(0);
        for name in listed.as_string::<i32>().iter().flatten() {
            assert!(known.iter().any(|known| known == name), "{code}: {name}");
        }
    }
    let listed = value(&infos, 508).as_list::<i32>().value(0);
    let mut words: Vec<_> = listed.as_string::<i32>().iter().flatten().collect();
    for (keyword, sql) in [
        ("ANTI", "SELECT * FROM logs l LEFT ANTI JOIN logs r ON l.body = r.body"),
        ("EXPLAIN", "EXPLAIN SELECT 1"),
        ("FORMAT", "EXPLAIN FORMAT TREE SELECT 1"),
        ("ILIKE", "SELECT 'A' ILIKE 'a'"),
        ("LIMIT", "SELECT 1 LIMIT 1"),
        ("OFFSET", "SELECT 1 OFFSET 1"),
        ("QUALIFY", "SELECT body FROM logs QUALIFY row_number() OVER (ORDER BY timestamp) = 1"),
        ("SEMI", "SELECT * FROM logs l LEFT SEMI JOIN logs r ON l.body = r.body"),
        ("SHOW", "SHOW TABLES"),
        ("TRY_CAST", "SELECT TRY_CAST('x' AS INTEGER)"),
        ("VERBOSE", "EXPLAIN VERBOSE SELECT 1"),
    ] {
        assert!(words.contains(&keyword), "{keyword}");
        words.retain(|word| *word != keyword);
        server.rows(sql).await;
    }
    // An administrator's word, which `update/tests` has.
    assert_eq!(words, ["VACUUM"]);
}
