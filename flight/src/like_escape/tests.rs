use crate::parse::parse;

#[test]
fn a_literal_pattern_is_escaped_with_backslashes() {
    for (written, expected) in [
        ("a LIKE 'x!%!_!!y' ESCAPE '!'", "a LIKE 'x\\%\\_\\!y'"),
        ("a NOT LIKE 'x\\%' ESCAPE '!'", "a NOT LIKE 'x\\\\%'"),
        ("a ILIKE 'x!' ESCAPE '!'", "a ILIKE 'x\\!'"),
        ("a LIKE 'x\\%' ESCAPE '\\'", "a LIKE 'x\\%'"),
        ("a LIKE 'x!%'", "a LIKE 'x!%'"),
        ("a LIKE b ESCAPE '!'", "a LIKE b ESCAPE '!'"),
        ("a LIKE 'x' ESCAPE 'ab'", "a LIKE 'x' ESCAPE 'ab'"),
    ] {
        let parsed = parse(&format!("SELECT 1 WHERE {written}"), 1_000).unwrap();
        assert_eq!(parsed.statement.to_string(), format!("SELECT 1 WHERE {expected}"));
    }
}
