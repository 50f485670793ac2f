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
