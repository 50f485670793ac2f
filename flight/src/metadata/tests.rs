use super::*;

#[test]
fn base_table_and_table_are_one_type() {
    let wanted = |types: &[&str], table_type| {
        let types: Vec<_> = types.iter().map(|t| (*t).to_owned()).collect();
        wanted_types(&types).is_none_or(|wanted| wanted.contains(table_type))
    };
    for types in [&[][..], &["TABLE"], &["BASE TABLE"], &["table", "x"], &["VIEW", "base table"]] {
        assert!(wanted(types, TABLE), "{types:?}");
    }
    assert!(!wanted(&["VIEW"], TABLE));
    assert!(!wanted(&["BASE TABLE"], VIEW));
}
