//! Syntax errors: where, what, and what to do about it.

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

use super::MAX_NESTING;
use crate::Error;

pub(super) fn parse_failure(error: DataFusionError) -> Error {
    match error {
        DataFusionError::SQL(error, _) => syntax_error(&error),
        DataFusionError::Diagnostic(_, inner) => parse_failure(*inner),
        other => Error::Query(other),
    }
}

/// The parser puts the position at the end of its text: `Expected: ..., found: x at Line: 1, Column: 8`.
pub(super) fn syntax_error(error: &ParserError) -> Error {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            return Error::Syntax {
                line: 1,
                column: 1,
                message: format!("parentheses, subqueries or operators are nested deeper than {MAX_NESTING}"),
                hint: "use WITH to name inner queries".to_owned(),
            };
        }
    };
    let (message, position) = text.rsplit_once(" at Line: ").unwrap_or((text, ""));
    let (line, column) = position.split_once(", Column: ").unwrap_or(("", ""));
    // A text that ends too early has no position of its own.
    let (line, column) = (line.trim().parse().unwrap_or(1), column.trim().parse().unwrap_or(1));
    let found = message.rsplit_once("found: ").map_or("", |(_, found)| found);
    let message = message.replacen("Expected: ", "expected ", 1).replacen("found: ", "found ", 1);
    Error::Syntax { line, column, hint: hint(&message, found), message }
}

fn hint(message: &str, found: &str) -> String {
    const KEYWORDS: [&str; 24] = [
        "SELECT", "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "WITH", "JOIN", "LEFT",
        "INNER", "UNION", "DISTINCT", "BETWEEN", "INTERVAL", "EXPLAIN", "DESCRIBE", "SHOW", "VALUES", "CASE",
        "WHEN", "AND", "BY",
    ];
    if message.starts_with("Unterminated") {
        return "close the quote; inside a text a single quote is written twice".to_owned();
    }
    if found == "EOF" {
        return "the statement ends too early: something is missing at its end".to_owned();
    }
    let found = found.to_uppercase();
    if KEYWORDS.contains(&found.as_str()) {
        return format!(
            "something is missing before {found}; a column of that name is written \"{}\"",
            found.to_lowercase()
        );
    }
    let nearest = KEYWORDS.into_iter().map(|word| (distance(&found, word), word)).min();
    match nearest {
        Some((steps, word)) if found.len() > 2 && steps <= 2 => format!("did you mean {word}?"),
        _ => "look at the text just before this position; texts take single quotes, names double quotes"
            .to_owned(),
    }
}

/// Insertions, deletions and replacements that make one word of the other. Long words are not compared.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    if a.len().max(b.len()) > LONGEST {
        return LONGEST;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
