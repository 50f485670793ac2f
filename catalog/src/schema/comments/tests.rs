use super::*;
use crate::schema::table_schema;

const DOCUMENT: &str = include_str!("../../../../docs/sql.md");

#[test]
fn every_column_has_a_comment() {
    for signal in Signal::ALL {
        for field in table_schema(signal).fields() {
            assert!(column_comment(signal, field.name()).is_some(), "{signal}.{}", field.name());
        }
    }
}

#[test]
fn every_comment_is_about_a_column() {
    let is_column = |signal, name| table_schema(signal).index_of(name).is_ok();
    for (name, _) in COMMON {
        assert!(Signal::ALL.iter().all(|signal| is_column(*signal, name)), "{name}");
    }
    for (signal, comments) in [(Signal::Metrics, METRICS), (Signal::Logs, LOGS), (Signal::Traces, TRACES)] {
        for (name, _) in comments {
            assert!(is_column(signal, name), "{signal}.{name}");
        }
    }
}

#[test]
fn the_document_says_of_each_column_what_clients_are_told() {
    for (section, comments) in [
        ("## Columns of all three tables", COMMON),
        ("## `metrics`", METRICS),
        ("## `logs`", LOGS),
        ("## `traces`", TRACES),
        ("## `system.ingest_rejections`", INGEST_REJECTIONS),
        ("### `system.deletions`", DELETIONS),
        ("## `system.data_loss`", DATA_LOSS),
        ("## `system.queries`", QUERIES),
    ] {
        let start = DOCUMENT.find(section).unwrap_or_else(|| panic!("no {section}"));
        let text = &DOCUMENT[start + 3..];
        let text = &text[..text.find("\n#").unwrap_or(text.len())];
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), comments.len(), "{section}");
        for (name, comment) in comments {
            let is_about = |row: &&&str| {
                row.starts_with(&format!("| `{name}` |")) && row.ends_with(&format!("| {comment} |"))
            };
            assert!(rows.iter().any(|row| is_about(&row)), "{section}: {name}: {comment}");
        }
    }
}
