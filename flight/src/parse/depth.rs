//! How deep the tree of a statement may become. It is told from the tokens, before there is a tree that may be too deep even to
//! drop.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{Error, Result};

/// Operators in a statement: a chain of them is as deep a tree, and takes the square of its length to plan: 1,000 two seconds
/// of a CPU, 2,000 ten.
pub(super) const MAX_OPERATORS: usize = 1_000;

/// `UNION`, `INTERSECT` and `EXCEPT` in a statement.
pub(super) const MAX_SET_OPERATIONS: usize = 200;

/// Bounds the depth of the tree that the parser will build.
pub(super) fn check_depth(tokens: &[TokenWithSpan]) -> Result<()> {
    let (operators, set_operations) = operators(tokens);
    if operators > MAX_OPERATORS {
        let advice = "write IN (...) instead of many OR, or join with VALUES";
        return Err(Error::TooComplex { what: "operators", limit: MAX_OPERATORS, advice });
    }
    if set_operations > MAX_SET_OPERATIONS {
        let advice = "use VALUES, or several statements";
        return Err(Error::TooComplex { what: "set operations", limit: MAX_SET_OPERATIONS, advice });
    }
    Ok(())
}

/// How many operators and set operations there are.
pub(super) fn operators(tokens: &[TokenWithSpan]) -> (usize, usize) {
    let is = |position: Option<usize>, wanted: &[Token]| {
        position.and_then(|position| tokens.get(position)).is_some_and(|token| wanted.contains(&token.token))
    };
    let mut operators = 0;
    let mut set_operations = 0;
    for (position, TokenWithSpan { token, .. }) in tokens.iter().enumerate() {
        match token {
            Token::Word(word) if word.quote_style.is_none() => {
                let word = word.value.to_uppercase();
                operators += usize::from(OPERATOR_WORDS.contains(&word.as_str()));
                set_operations +=
                    usize::from(["UNION", "INTERSECT", "EXCEPT", "MINUS"].contains(&word.as_str()));
            }
            // `a.b` is one name; longer paths are nested accesses.
            Token::Period => {
                operators += usize::from(
                    is(position.checked_sub(2), &[Token::Period])
                        || is(position.checked_sub(1), &[Token::RParen, Token::RBracket]),
                );
            }
            Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::Placeholder(_)
            | Token::Comma
            | Token::LParen
            | Token::RParen
            | Token::RBracket
            | Token::SemiColon => {}
            // Whatever else there is stands between operands.
            _ => operators += 1,
        }
    }
    (operators, set_operations)
}

/// Words that make the tree deeper when they are chained.
const OPERATOR_WORDS: [&str; 17] = [
    "AND", "AT", "BETWEEN", "COLLATE", "DIV", "ESCAPE", "ILIKE", "IN", "IS", "LIKE", "NOT", "OR", "OVERLAPS",
    "REGEXP", "RLIKE", "SIMILAR", "XOR",
];
