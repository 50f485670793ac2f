//! From SQL text to one statement that may be planned.
//!
//! The text is cut into tokens once. On the tokens the size is limited, before a tree is built that may be too deep even
//! to drop (planning is recursive and slower than linear), and `?` is numbered: DataFusion would take all `?` of a
//! statement for one and the same parameter. The parser then gets the tokens with their places in the original text, so
//! error positions are the user's.
//!
//! | file | purpose |
//! |---|---|
//! | `depth.rs`, `mentions.rs` | how deep and how wide a statement may be |
//! | `placeholders.rs` | `?`, `$1` and `$name` |
//! | `clauses.rs` | what the parser takes and the planner would leave out |
//! | `syntax.rs` | what a client is told of what the parser does not take |

mod clauses;
mod depth;
mod mentions;
mod placeholders;
mod syntax;

use datafusion::common::format::ExplainStatementOptions;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Expr, ObjectType, Statement as SqlStatement};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::dialect::AlulaDialect;
use crate::{Error, Result, like_escape};

use clauses::refuse_dropped;
use depth::{check_depth, operators};
pub(crate) use mentions::MAX_TABLES;
use mentions::check_tables;
use placeholders::number_placeholders;
pub(crate) use syntax::distance;
use syntax::{parse_failure, syntax_error};

/// Tokens in a statement, white space not counted.
pub(crate) const MAX_TOKENS: usize = 20_000;

/// Nesting of parentheses, subqueries and operators that the parser follows.
const MAX_NESTING: usize = 50;

/// A statement.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) statement: Statement,
    /// Names of the parameters without `$`: `1`, `2`, ... in numeric order without gaps, or names as they appear.
    pub(crate) parameters: Vec<String>,
    pub(crate) kind: Kind,
}

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Reads {
        /// Whether it shows how the server stores data, which is for administrators.
        shows_storage: bool,
    },
    /// `DELETE`, `VACUUM`, or one that writes a table of the tenant's own.
    Changes,
}

/// Parses one statement of at most `max_bytes` bytes, which reads or is one of the few that may change something.
pub(crate) fn parse(sql: &str, max_bytes: usize) -> Result<Parsed> {
    if sql.len() > max_bytes {
        return Err(Error::StatementTooLong { found: sql.len(), limit: max_bytes });
    }
    let mut tokens = tokenize(sql)?;
    check_depth(&tokens)?;
    let parameters = number_placeholders(&mut tokens)?;
    let verb = verb(&tokens);

    let mut statements = DFParserBuilder::new(tokens)
        .with_dialect(&AlulaDialect)
        .with_recursion_limit(MAX_NESTING)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(parse_failure)?;
    if statements.len() > 1 {
        return Err(Error::SeveralStatements { found: statements.len() });
    }
    let mut statement = statements.pop_front().ok_or(Error::NoStatement)?;
    let kind = match &statement {
        Statement::Statement(inner) if changes(inner) => Kind::Changes,
        statement => Kind::Reads { shows_storage: check_reads(statement, &verb)? },
    };
    if let Some(statement) = of_sql(&statement) {
        refuse_dropped(statement)?;
        check_tables(statement)?;
    }
    like_escape::normalize(&mut statement);
    Ok(Parsed { statement, parameters, kind })
}

/// Parses an expression that stands alone.
pub(crate) fn parse_expression(text: &str) -> Result<Expr> {
    let mut tokens = tokenize(text)?;
    // Here it is only about `?` as an operator.
    number_placeholders(&mut tokens)?;
    let mut parser =
        Parser::new(&AlulaDialect).with_recursion_limit(MAX_NESTING).with_tokens_with_locations(tokens);
    let expression = parser.parse_expr().map_err(|error| syntax_error(&error))?;
    parser.expect_token(&Token::EOF).map_err(|error| syntax_error(&error))?;
    Ok(expression)
}

/// Operators in an expression that stands alone.
pub(crate) fn count_operators(text: &str) -> Result<usize> {
    Ok(operators(&tokenize(text)?).0)
}

/// The tokens of a text, without white space and comments.
fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>> {
    let mut tokens = Tokenizer::new(&AlulaDialect, text)
        .tokenize_with_location()
        .map_err(|error| syntax_error(&ParserError::from(error)))?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    if tokens.len() > MAX_TOKENS {
        return Err(Error::TooManyTokens { limit: MAX_TOKENS });
    }
    Ok(tokens)
}

/// The statement, or the one that is to be explained. Those of DataFusion's own are no SQL.
fn of_sql(mut statement: &Statement) -> Option<&SqlStatement> {
    while let Statement::Explain(explain) = statement {
        statement = &explain.statement;
    }
    match statement {
        Statement::Statement(inner) => Some(inner),
        _ => None,
    }
}

fn changes(statement: &SqlStatement) -> bool {
    matches!(
        statement,
        SqlStatement::Delete(_)
            | SqlStatement::Vacuum(_)
            | SqlStatement::CreateTable(_)
            | SqlStatement::Insert(_)
            | SqlStatement::Drop { object_type: ObjectType::Table, .. }
    )
}

/// Refuses what does not only read; the flags of `SQLOptions` refuse the same again on the plan.
fn check_reads(statement: &Statement, verb: &str) -> Result<bool> {
    match statement {
        Statement::Statement(inner) => match inner.as_ref() {
            SqlStatement::Query(_)
            | SqlStatement::ShowTables { .. }
            | SqlStatement::ShowColumns { .. }
            | SqlStatement::ShowFunctions { .. }
            | SqlStatement::ExplainTable { .. } => Ok(false),
            SqlStatement::Explain { analyze, .. } => Ok(*analyze),
            SqlStatement::ShowVariable { .. } => {
                Err(Error::Unsupported { what: "SHOW of settings".to_owned() })
            }
            SqlStatement::StartTransaction { .. }
            | SqlStatement::Commit { .. }
            | SqlStatement::Rollback { .. }
            | SqlStatement::Savepoint { .. }
            | SqlStatement::ReleaseSavepoint { .. } => {
                Err(Error::TransactionStatement { statement: verb.to_owned() })
            }
            _ => Err(Error::ReadOnly { statement: verb.to_owned() }),
        },
        Statement::Explain(explain) => {
            let ExplainStatementOptions { analyze, .. } = explain.options;
            Ok(check_reads(&explain.statement, verb)? || analyze)
        }
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {
            Err(Error::ReadOnly { statement: verb.to_owned() })
        }
    }
}

/// The first words of a statement, for a message: `INSERT`, `CREATE TABLE`.
fn verb(tokens: &[TokenWithSpan]) -> String {
    let mut words = tokens.iter().map_while(|token| match &token.token {
        Token::Word(word) => Some(word.value.chars().take(40).collect::<String>().to_uppercase()),
        _ => None,
    });
    let first = words.next().unwrap_or_default();
    match (first.as_str(), words.next()) {
        ("CREATE" | "DROP" | "ALTER" | "EXPLAIN", Some(second)) => format!("{first} {second}"),
        _ => first,
    }
}

#[cfg(test)]
mod tests;
