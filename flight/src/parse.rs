//! From SQL text to one statement that may be planned.
//!
//! The text is cut into tokens once. On the tokens the size is limited, before a tree is built that may be too deep even
//! to drop (planning is recursive and slower than linear), and `?` is numbered: DataFusion would take all `?` of a
//! statement for one and the same parameter. The parser then gets the tokens with their places in the original text, so
//! error positions are the user's.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use datafusion::common::format::ExplainStatementOptions;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, ObjectType, Query, Statement as SqlStatement, Visit, Visitor,
};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use crate::dialect::AlulaDialect;
use crate::{Error, Result, like_escape};

/// Tokens in a statement, white space not counted.
pub(crate) const MAX_TOKENS: usize = 20_000;

/// Operators in a statement: a chain of them is as deep a tree. 4,000 are planned within the stack of a query thread,
/// in minutes.
const MAX_OPERATORS: usize = 2_000;

/// `UNION`, `INTERSECT` and `EXCEPT` in a statement.
const MAX_SET_OPERATIONS: usize = 200;

/// Mentions of tables in a statement. Those of a named query count each time it is used.
pub(crate) const MAX_TABLES: usize = 128;

/// Parameters in a statement.
pub(crate) const MAX_PARAMETERS: usize = 1_000;

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
    check_tables(&statement)?;
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

/// Bounds the depth of the tree that the parser will build.
fn check_depth(tokens: &[TokenWithSpan]) -> Result<()> {
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
fn operators(tokens: &[TokenWithSpan]) -> (usize, usize) {
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

/// Bounds the joins and named queries, which nest in the plan though not in the text.
fn check_tables(statement: &Statement) -> Result<()> {
    let mut statement = statement;
    while let Statement::Explain(explain) = statement {
        statement = &explain.statement;
    }
    let Statement::Statement(inner) = statement else {
        return Ok(());
    };
    if inner.visit(&mut Mentions::default()).is_break() {
        let advice = "join or combine fewer at a time; those of a WITH query count each time it is used";
        return Err(Error::TooComplex { what: "mentions of tables", limit: MAX_TABLES, advice });
    }
    Ok(())
}

/// Counts mentions of tables up to the limit.
///
/// A plan holds a named query once for each use, so ten of them that each join the one before with itself make a
/// thousand scans of ten mentions.
#[derive(Default)]
struct Mentions {
    /// As they stand in the text, unused named queries too.
    written: usize,
    /// In each query that is being visited, the innermost last; named queries spelt out.
    spelt_out: Vec<usize>,
    /// Which queries have a name, by address: the tree does not move while it is visited.
    names: HashMap<*const Query, String>,
    /// What a use of a name adds. Names that hide others only make the count too high.
    named: HashMap<String, usize>,
}

impl Mentions {
    fn add(&mut self, count: usize) -> ControlFlow<()> {
        if let Some(enclosing) = self.spelt_out.last_mut() {
            *enclosing += count;
            if *enclosing > MAX_TABLES {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

impl Visitor for Mentions {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for named in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.names.insert(&raw const *named.query, named.alias.name.value.to_lowercase());
        }
        self.spelt_out.push(0);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.written += 1;
        if self.written > MAX_TABLES {
            return ControlFlow::Break(());
        }
        let name = relation.0.last().and_then(|part| part.as_ident());
        let more = name.and_then(|name| self.named.get(&name.value.to_lowercase())).copied().unwrap_or(0);
        self.add(1 + more)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let count = self.spelt_out.pop().unwrap_or(0);
        match self.names.get(&(&raw const *query)) {
            Some(name) => {
                let known = self.named.entry(name.clone()).or_default();
                *known = count.max(*known);
                ControlFlow::Continue(())
            }
            None => self.add(count),
        }
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

/// Turns `?` into `$1`, `$2`, ... and gives the names of all parameters.
fn number_placeholders(tokens: &mut [TokenWithSpan]) -> Result<Vec<String>> {
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

fn parse_failure(error: datafusion::error::DataFusionError) -> Error {
    use datafusion::error::DataFusionError;
    match error {
        DataFusionError::SQL(error, _) => syntax_error(&error),
        DataFusionError::Diagnostic(_, inner) => parse_failure(*inner),
        other => Error::Query(other),
    }
}

/// The parser puts the position at the end of its text: `Expected: ..., found: x at Line: 1, Column: 8`.
fn syntax_error(error: &ParserError) -> Error {
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

#[cfg(test)]
mod tests;
