use super::*;

#[test]
fn like_patterns_follow_sql() {
    for (pattern, text) in [
        ("%", ""),
        ("log%", "logs"),
        ("l_gs", "logs"),
        ("%g%", "logs"),
        ("a\\_b", "a_b"),
        ("\\%", "%"),
        ("", ""),
        ("%%s", "logs"),
        ("logs%", "logs"),
    ] {
        assert!(matches(Some(pattern), text), "{text} LIKE {pattern}");
    }
    for (pattern, text) in [
        ("", "logs"),
        ("log", "logs"),
        ("l_gs", "lgs"),
        ("a\\_b", "axb"),
        ("LOGS", "logs"),
        ("_", ""),
        ("%x", "logs"),
        ("\\", "logs"),
    ] {
        assert!(!matches(Some(pattern), text), "{text} NOT LIKE {pattern}");
    }
    assert!(matches(None, "logs"));
}

#[test]
fn a_long_pattern_of_wildcards_is_matched_in_little_time() {
    assert!(!matches(Some(&"%a".repeat(50_000)), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaab"));
}

#[test]
fn base_table_and_table_are_one_type() {
    let wanted = |types: &[&str]| types.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    for types in [&[][..], &["TABLE"], &["BASE TABLE"], &["table", "x"], &["VIEW", "base table"]] {
        assert!(is_wanted(&wanted(types), TABLE), "{types:?}");
    }
    assert!(!is_wanted(&wanted(&["VIEW"]), TABLE));
    assert!(!is_wanted(&wanted(&["BASE TABLE"]), VIEW));
}

#[test]
fn tables_are_described_in_wire_types_with_what_drivers_show() {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let schema = Schema::new(vec![Field::new("service_name", dictionary, true)]);
    let described = describe(&schema, Profile::Safe, "public", "logs");
    let field = described.field(0);
    assert_eq!((field.data_type(), field.is_nullable()), (&DataType::Utf8, true));
    assert_eq!(field.metadata()["ARROW:FLIGHT:SQL:TYPE_NAME"], "VARCHAR");
    assert_eq!(field.metadata()["ARROW:FLIGHT:SQL:TABLE_NAME"], "logs");
}
