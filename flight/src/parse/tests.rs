use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr};

use super::depth::{MAX_OPERATORS, MAX_SET_OPERATIONS};
use super::placeholders::MAX_PARAMETERS;
use super::*;

fn parsed(sql: &str) -> Parsed {
    parse(sql, 1 << 18).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn refused(sql: &str) -> String {
    match parse(sql, 1 << 18) {
        Ok(parsed) => panic!("{sql} was accepted: {parsed:?}"),
        Err(error) => error.to_string(),
    }
}

fn check_parameters(sql: &str, names: &[&str], rewritten: &str) {
    let parsed = parsed(sql);
    assert_eq!(parsed.parameters, names, "{sql}");
    assert_eq!(parsed.statement.to_string(), rewritten);
}

#[test]
fn question_marks_are_numbered_in_the_order_they_are_written() {
    check_parameters(
        "SELECT ?, a FROM t WHERE b = ? LIMIT ?",
        &["1", "2", "3"],
        "SELECT $1, a FROM t WHERE b = $2 LIMIT $3",
    );
    check_parameters("SELECT (?), -?, f(?,?)", &["1", "2", "3", "4"], "SELECT ($1), -$2, f($3, $4)");
}

#[test]
fn question_marks_in_texts_names_and_comments_are_left_alone() {
    check_parameters(
        "SELECT '?', \"?\" -- ?\n/* ? */ FROM t WHERE a = ?",
        &["1"],
        "SELECT '?', \"?\" FROM t WHERE a = $1",
    );
}

#[test]
fn a_question_mark_behind_a_value_is_the_json_operator() {
    check_parameters(
        "SELECT * FROM t WHERE attributes ? 'k' AND b = ?",
        &["1"],
        "SELECT * FROM t WHERE attributes ? 'k' AND b = $1",
    );
    check_parameters("SELECT (a) ? ?", &["1"], "SELECT (a) ? $1");
    check_parameters("SELECT name ? 'k'", &[], "SELECT name ? 'k'");
}

#[test]
fn numbered_parameters_come_in_numeric_order_without_gaps() {
    check_parameters(
        "SELECT $10, $2",
        &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
        "SELECT $10, $2",
    );
    check_parameters("SELECT $1, $1", &["1"], "SELECT $1, $1");
}

#[test]
fn named_parameters_come_as_they_appear() {
    check_parameters("SELECT $b, $a, $b", &["b", "a"], "SELECT $b, $a, $b");
}

#[test]
fn mixed_and_impossible_placeholders_are_refused() {
    for sql in ["SELECT ?, $1", "SELECT $1, $a", "SELECT ?, $a"] {
        assert!(refused(sql).contains("not both"), "{sql}");
    }
    for sql in ["SELECT $0", "SELECT $1001", "SELECT $99999999999999999999999"] {
        assert!(refused(sql).contains("not a parameter"), "{sql}");
    }
}

#[test]
fn syntax_errors_say_where_and_what_to_do() {
    check_error("SELEC 1", "line 1, column 1", "did you mean SELECT?");
    check_error("SELECT a\nFORM t", "line 2, column 6", "look at");
    check_error("SELECT a FROM t WHER b = 1", "line 1, column 22", "");
    check_error("SELECT FROM", "", "");
    check_error("SELECT 'a", "line 1, column 8", "close the quote");
    check_error("SELECT (1", "", "ends too early");
    check_error("SELECT 1 GROUP WHERE", "line 1, column 10", "missing before GROUP");
}

fn check_error(sql: &str, position: &str, hint: &str) {
    let message = refused(sql);
    assert!(message.starts_with("syntax error at line "), "{sql}: {message}");
    assert!(message.contains(position) && message.contains(hint), "{sql}: {message}");
}

fn grouped(expr: &Expr) -> String {
    match expr {
        Expr::BinaryOp { left, op, right } => format!("({} {op} {})", grouped(left), grouped(right)),
        Expr::UnaryOp { op, expr } => format!("({op} {})", grouped(expr)),
        Expr::Like { expr, pattern, .. } => format!("({} LIKE {})", grouped(expr), grouped(pattern)),
        Expr::Cast { expr, data_type, .. } => format!("({}::{data_type})", grouped(expr)),
        other => other.to_string(),
    }
}

fn check_grouping(sql: &str, expected: &str) {
    let Statement::Statement(statement) = parsed(&format!("SELECT {sql}")).statement else { panic!("{sql}") };
    let SqlStatement::Query(query) = *statement else { panic!("{sql}") };
    let SetExpr::Select(select) = *query.body else { panic!("{sql}") };
    let [SelectItem::UnnamedExpr(expr)] = &select.projection[..] else { panic!("{sql}") };
    assert_eq!(grouped(expr), expected);
}

#[test]
fn json_operators_bind_tighter_than_arithmetic_and_comparison() {
    check_grouping("a->>'k' = 'v'", "((a ->> 'k') = 'v')");
    check_grouping("1 + a->'k' * 2", "(1 + ((a -> 'k') * 2))");
    check_grouping("a->'j'->>'k' LIKE 'v'", "(((a -> 'j') ->> 'k') LIKE 'v')");
    check_grouping("a->>'k'::text", "(a ->> ('k'::TEXT))");
    check_grouping("a ? 'k' = true", "((a ? 'k') = true)");
    check_grouping("NOT a ? 'k' || 'j'", "(NOT (a ? ('k' || 'j')))");
}

#[test]
fn only_statements_that_read_are_accepted() {
    for sql in [
        "SELECT 1; -- done",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "VALUES (1)",
        "(SELECT 1) UNION ALL SELECT 2",
        "EXPLAIN SELECT 1",
        "DESCRIBE t",
        "SHOW TABLES",
        "SHOW COLUMNS FROM t",
        "SHOW FUNCTIONS",
    ] {
        assert_eq!(parsed(sql).kind, Kind::Reads { shows_storage: false }, "{sql}");
    }
    assert_eq!(parsed("EXPLAIN ANALYZE SELECT 1").kind, Kind::Reads { shows_storage: true });
    for sql in ["DELETE FROM t", "delete from t where a = ?; -- b", "VACUUM", "vacuum t"] {
        assert_eq!(parsed(sql).kind, Kind::Changes, "{sql}");
    }
    for (sql, named) in [
        ("EXPLAIN INSERT INTO t VALUES (1)", "EXPLAIN INSERT"),
        ("create view v as select 1", "CREATE VIEW"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "CREATE EXTERNAL"),
        ("COPY t TO '/tmp/x.csv'", "COPY"),
        ("EXPLAIN COPY t TO '/tmp/x.csv'", "EXPLAIN COPY"),
        ("SET a = 1", "SET"),
        ("RESET a", "RESET"),
        ("DROP VIEW v", "DROP VIEW"),
        ("PREPARE p AS SELECT 1", "PREPARE"),
        ("UPDATE t SET a = 1", "UPDATE"),
        ("TRUNCATE t", "TRUNCATE"),
        ("MERGE INTO t USING u ON a = b WHEN MATCHED THEN DELETE", "MERGE"),
        ("EXPLAIN DELETE FROM t WHERE true", "EXPLAIN DELETE"),
    ] {
        let message = refused(sql);
        assert!(
            message.contains("read-only") && message.contains(&format!("so {named} is")),
            "{sql}: {message}"
        );
    }
    for sql in ["BEGIN", "start transaction", "COMMIT", "ROLLBACK TO SAVEPOINT s", "SAVEPOINT s", "RELEASE s"]
    {
        let message = refused(sql);
        assert!(message.contains("the transaction calls of the driver"), "{sql}: {message}");
    }
}

#[test]
fn exactly_one_statement_of_bounded_size_is_taken() {
    assert!(refused("").contains("no statement"));
    assert!(refused(" ; -- nothing").contains("no statement"));
    assert!(refused("SELECT 1; SELECT 2").contains("2 statements"));
    assert!(refused(&format!("SELECT '{}'", "x".repeat(1 << 18))).contains("query.max_sql_bytes"));
    let longest = format!("SELECT 1{}", ",1".repeat((MAX_TOKENS - 2) / 2));
    parsed(&longest);
    assert!(refused(&format!("{longest},1")).contains("words and symbols"));
    assert!(refused(&format!("SELECT ?{}", ",?".repeat(MAX_PARAMETERS))).contains("parameters"));
    assert!(refused(&format!("SELECT {}1{}", "(".repeat(200), ")".repeat(200))).contains("nested deeper"));
}

#[test]
fn chains_that_would_be_too_deep_a_tree_are_refused_before_it_is_built() {
    let chain = |first: &str, link: &str, count: usize| format!("SELECT {first}{}", link.repeat(count));
    for (first, link) in [
        ("1", "+1"),
        ("'a'", "||'a'"),
        ("a", " OR a"),
        ("1", "::int"),
        ("a", "->'k'"),
        ("a", "[1]"),
        ("(a)", ".b"),
        ("a", " IS NULL"),
        ("a", " COLLATE b"),
        ("a", " AT TIME ZONE 'UTC'"),
    ] {
        assert!(
            refused(&chain(first, link, MAX_OPERATORS + 1)).contains("more than 1000 operators"),
            "{link}"
        );
    }
    parsed(&chain("1", "+1", MAX_OPERATORS));
    parsed(&chain("1", ",a.b,f(1)", MAX_OPERATORS));
    assert!(refused(&chain("1", " UNION ALL SELECT 1", MAX_SET_OPERATIONS + 1)).contains("set operations"));
    assert!(refused(&chain("1 FROM t", ", t", MAX_TABLES)).contains("mentions of tables"));
    assert!(
        refused(&format!("EXPLAIN {}", chain("1 FROM t", " JOIN t ON true", MAX_TABLES)))
            .contains("mentions of tables")
    );
    parsed(&chain("1 FROM t", ", t", MAX_TABLES - 1));
}

/// `t0`, and `count` named queries that each read the one before as `reads` says; then a read of the last.
fn named_queries(count: usize, reads: impl Fn(String) -> String) -> String {
    let steps: Vec<_> = (1..=count)
        .map(|i| format!("t{i} AS (SELECT 1 AS x FROM {})", reads(format!("T{}", i - 1))))
        .collect();
    format!("WITH {} SELECT x FROM t{count}", steps.join(", "))
}

#[test]
fn a_named_query_counts_as_often_as_it_is_used() {
    let twice = |table: String| format!("{table} AS a, (SELECT * FROM {table}) AS b");
    parsed(&named_queries(6, twice));
    assert!(refused(&named_queries(7, twice)).contains("mentions of tables"));
    assert!(refused(&format!("EXPLAIN {}", named_queries(40, twice))).contains("each time it is used"));
    parsed(&named_queries(100, |table| table));
    parsed("WITH t AS (SELECT * FROM t) SELECT 1");
    parsed("WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM t WHERE x < 9) SELECT x FROM t");
}
