//! `LIKE ... ESCAPE 'c'`: the engine knows the backslash only, so a pattern that is written out is rewritten to it.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Value, ValueWithSpan, visit_expressions_mut};

/// Makes the backslash the escape of every pattern that is a literal. Others keep theirs, and the engine refuses them.
pub(crate) fn normalize(statement: &mut Statement) {
    let mut statement = statement;
    while let Statement::Explain(explain) = statement {
        statement = &mut explain.statement;
    }
    let Statement::Statement(inner) = statement else { return };
    let _: ControlFlow<()> = visit_expressions_mut(inner, |expr| {
        if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } = expr
            && let Some(escape) = escape_char.as_ref().and_then(character)
            && let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) =
                pattern.as_mut()
        {
            *text = rewritten(text, escape);
            *escape_char = None;
        }
        ControlFlow::Continue(())
    });
}

fn character(value: &ValueWithSpan) -> Option<char> {
    let Value::SingleQuotedString(text) = &value.value else { return None };
    let mut characters = text.chars();
    characters.next().filter(|_| characters.next().is_none())
}

fn rewritten(pattern: &str, escape: char) -> String {
    let mut rewritten = String::with_capacity(pattern.len() + 8);
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character == escape {
            // At the end it escapes nothing and stands for itself.
            rewritten.extend(['\\', characters.next().unwrap_or(escape)]);
        } else if character == '\\' {
            rewritten.push_str("\\\\");
        } else {
            rewritten.push(character);
        }
    }
    rewritten
}

#[cfg(test)]
mod tests;
