//! Parameters: DataFusion would take all `?` of a statement for one and the same, so they are numbered.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::{Error, Result};

/// Parameters in a statement.
pub(super) const MAX_PARAMETERS: usize = 1_000;

/// Turns `?` into `$1`, `$2`, ... and gives the names of all parameters.
pub(super) fn number_placeholders(tokens: &mut [TokenWithSpan]) -> Result<Vec<String>> {
    let mut anonymous = 0_usize;
    let mut numbered = BTreeSet::new();
    let mut named = Vec::new();
    let mut after_operand = false;
    for TokenWithSpan { token, .. } in tokens {
        if let Token::Placeholder(given) = token {
            if given == "?" && after_operand {
                // What stands behind a value can only be an operator: `attributes ? 'key'`.
                *token = Token::Question;
            } else if given == "?" {
                anonymous += 1;
                *token = Token::Placeholder(format!("${anonymous}"));
            } else {
                let name = given[1..].to_owned();
                match name.parse::<usize>() {
                    Ok(number) if (1..=MAX_PARAMETERS).contains(&number) => {
                        numbered.insert(number);
                        *token = Token::Placeholder(format!("${number}"));
                    }
                    Err(_) if is_name(&name) => {
                        if !named.contains(&name) {
                            named.push(name);
                        }
                    }
                    _ => {
                        return Err(Error::InvalidPlaceholder {
                            given: given.clone(),
                            limit: MAX_PARAMETERS,
                        });
                    }
                }
            }
            if anonymous.max(named.len()) > MAX_PARAMETERS {
                return Err(Error::TooManyParameters { limit: MAX_PARAMETERS });
            }
        }
        after_operand = ends_operand(token);
    }
    let highest = numbered.last().copied().unwrap_or(0);
    match (anonymous, highest, named.is_empty()) {
        (count, 0, true) | (0, count, true) => Ok((1..=count).map(|n| n.to_string()).collect()),
        (0, 0, false) => Ok(named),
        _ => Err(Error::MixedPlaceholders),
    }
}

fn is_name(name: &str) -> bool {
    name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Whether a value can end with this token, so that a `?` behind it is an operator.
fn ends_operand(token: &Token) -> bool {
    match token {
        Token::Word(word) => !announces_operand(word),
        Token::RParen
        | Token::RBracket
        | Token::Placeholder(_)
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_) => true,
        _ => false,
    }
}

/// Words after which a value comes. Most keywords can be column names too, so they are named one by one.
fn announces_operand(word: &Word) -> bool {
    const WORDS: [&str; 46] = [
        "ALL",
        "AND",
        "ANY",
        "AS",
        "BETWEEN",
        "BY",
        "CASE",
        "CUBE",
        "DATE",
        "DISTINCT",
        "DIV",
        "ELSE",
        "ESCAPE",
        "EXCEPT",
        "EXISTS",
        "FETCH",
        "FIRST",
        "FOR",
        "FROM",
        "GLOB",
        "HAVING",
        "ILIKE",
        "IN",
        "INTERSECT",
        "INTERVAL",
        "IS",
        "LIKE",
        "LIMIT",
        "NEXT",
        "NOT",
        "OFFSET",
        "ON",
        "OR",
        "QUALIFY",
        "REGEXP",
        "RLIKE",
        "ROWS",
        "SELECT",
        "SIMILAR",
        "SOME",
        "THEN",
        "TO",
        "UNION",
        "VALUES",
        "WHEN",
        "WHERE",
    ];
    word.quote_style.is_none() && WORDS.contains(&word.value.to_uppercase().as_str())
}
