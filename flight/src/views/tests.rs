use super::*;

#[test]
fn the_document_says_of_each_column_of_an_item_what_clients_are_told() {
    let document = include_str!("../../../docs/sql.md");
    for view in &VIEWS {
        for (_, name, comment) in view.of_item {
            let row = format!("| `{name}` | `{}` | {comment} |", view.name);
            assert!(document.lines().any(|line| line == row), "{row}");
        }
    }
}
