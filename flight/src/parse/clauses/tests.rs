use crate::parse::parse;

fn refusal(sql: &str) -> Option<String> {
    parse(sql, 1 << 18).err().map(|error| error.to_string())
}

#[test]
fn what_the_planner_would_leave_out_is_refused_by_name() {
    let mut wrong = Vec::new();
    for (sql, named) in [
        ("SELECT * FROM logs TABLESAMPLE BERNOULLI (1)", "TABLESAMPLE"),
        ("SELECT * FROM (SELECT 1) AS a TABLESAMPLE (10 ROWS)", "TABLESAMPLE"),
        ("SELECT * FROM logs FOR UPDATE", "FOR UPDATE"),
        ("SELECT * FROM logs FOR SHARE NOWAIT", "FOR UPDATE or FOR SHARE"),
        ("SELECT * FROM logs FOR XML AUTO", "FOR XML"),
        ("SELECT * FROM logs FOR JSON PATH", "FOR JSON"),
        ("SELECT * FROM logs SETTINGS max_threads = 1", "SETTINGS"),
        ("SELECT * FROM logs FORMAT JSON", "FORMAT"),
        ("SELECT body INTO t FROM logs", "SELECT INTO"),
        ("SELECT 1 UNION ALL SELECT 2 INTO t", "SELECT INTO"),
        ("SELECT * FROM logs PREWHERE body = 'a'", "PREWHERE"),
        ("SELECT * FROM logs START WITH a = 1 CONNECT BY a = b", "CONNECT BY"),
        ("SELECT a, count(*) FROM logs GROUP BY a WITH ROLLUP", "WITH ROLLUP"),
        ("SELECT a, count(*) FROM logs GROUP BY ALL WITH TOTALS", "TOTALS"),
        ("SELECT a, count(*) FROM logs GROUP BY a, b GROUPING SETS ((a), (b))", "GROUPING SETS"),
        ("SELECT * FROM generate_series(1, 3) WITH ORDINALITY", "WITH ORDINALITY"),
        ("SELECT * FROM a, LATERAL generate_series(1, 3) WITH ORDINALITY", "WITH ORDINALITY"),
        ("SELECT * FROM a, LATERAL generate_series(stop => 1, start => 3)", "a named argument"),
        ("SELECT * FROM logs PARTITION (p)", "PARTITION"),
        ("SELECT * FROM logs WITH (NOLOCK)", "a hint"),
        ("SELECT * FROM generate_series(1, 3, SETTINGS a = 1)", "SETTINGS"),
        ("SELECT * FROM (VALUES (1)) AS t (a TEXT)", "a type"),
        ("SELECT sum(a) OVER (w ORDER BY b) FROM logs WINDOW w AS (PARTITION BY a)", "a named one"),
        ("SELECT sum(a) OVER v FROM logs WINDOW w AS (PARTITION BY a), v AS (w ORDER BY b)", "a named one"),
        ("SELECT a FROM logs WINDOW w AS (ORDER BY a) ORDER BY sum(a) OVER w", "a named window"),
        ("SELECT a FROM logs WINDOW w AS (ORDER BY a) QUALIFY sum(a) OVER w = 1", "a named window"),
        ("FROM logs |> EXTEND sum(a) OVER w AS s", "a named window"),
        ("FROM logs |> AGGREGATE count(*) GROUP BY a DESC", "AGGREGATE"),
        (
            "WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM t LIMIT 9) SELECT x FROM t",
            "WITH RECURSIVE",
        ),
        ("SELECT quantile(0.5)(a) FROM logs", "a second list of arguments"),
        ("SELECT ARRAY(SELECT 1)", "a query as the list of arguments"),
        ("SELECT upper(body) FILTER (WHERE false) FROM logs", "no aggregate"),
        ("SELECT abs(DISTINCT a) FROM logs", "no aggregate"),
        ("SELECT UPPER(body ORDER BY body) FROM logs", "no aggregate"),
        ("SELECT lower(body) OVER () FROM logs", "no aggregate"),
        ("SELECT json_get(body, 'a') IGNORE NULLS FROM logs", "no aggregate"),
        // Wherever it stands.
        ("EXPLAIN SELECT * FROM logs FOR UPDATE", "FOR UPDATE"),
        ("WITH a AS (SELECT * FROM logs TABLESAMPLE (1 PERCENT)) SELECT 1", "TABLESAMPLE"),
        ("SELECT 1 WHERE 1 IN (SELECT a FROM logs PREWHERE true)", "PREWHERE"),
        ("INSERT INTO t SELECT * FROM logs TABLESAMPLE (1 PERCENT)", "TABLESAMPLE"),
        ("CREATE TABLE t AS SELECT * FROM logs FORMAT CSV", "FORMAT"),
        ("DELETE FROM logs WHERE upper(body) FILTER (WHERE false) IS NULL", "no aggregate"),
    ] {
        let refusal = refusal(sql).unwrap_or_default();
        if !refusal.contains(named) || !refusal.ends_with("is not supported by this server") {
            wrong.push(format!("{sql}: {refusal}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_the_planner_understands_goes_on_to_it() {
    let mut wrong = Vec::new();
    for sql in [
        "SELECT * EXCLUDE (a) FROM logs AS l (a, b) ORDER BY a LIMIT 1 OFFSET 1",
        "SELECT a, count(*) FROM logs GROUP BY GROUPING SETS ((a), ())",
        "SELECT a, count(DISTINCT b) FILTER (WHERE c) FROM logs GROUP BY ROLLUP (a)",
        "SELECT array_agg(a ORDER BY b), sum(a) OVER w FROM logs WINDOW w AS (PARTITION BY a ORDER BY b)",
        "SELECT first_value(a) IGNORE NULLS OVER (ORDER BY b) FROM logs",
        "SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM logs",
        "SELECT a FROM logs QUALIFY row_number() OVER (ORDER BY a) = 1",
        "SELECT * FROM (VALUES (1)) AS t (a), LATERAL generate_series(1, a) AS s",
        "WITH RECURSIVE t (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 9) SELECT x FROM t LIMIT 3",
        "WITH a AS (SELECT 1 AS x UNION ALL SELECT 2 LIMIT 1) SELECT * FROM a",
        "FROM logs |> WHERE a > 1 |> AGGREGATE count(*) GROUP BY a |> ORDER BY a",
        "SELECT current_date, now(), unnest([1, 2])",
    ] {
        wrong.extend(refusal(sql).map(|refusal| format!("{sql}: {refusal}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
