//! What is wrong with a text, and where.

use std::fmt::{self, Write as _};

use super::reader::MAX_DEPTH;

/// How much of a value an error shows, in characters.
const MAX_FOUND_CHARS: usize = 40;

/// How many steps of a path an error shows at either end.
const MAX_STEPS: usize = 8;

/// Stands for what is left out.
const GAP: &str = "...";

pub(super) type Result<T, E = Fault> = std::result::Result<T, E>;

/// Why a text is not an OTLP/JSON request.
#[derive(Debug, thiserror::Error)]
#[error("{path}{problem} (line {line}, column {column})")]
pub struct JsonError {
    /// Ends with a colon and a space, or is empty.
    path: String,
    problem: Problem,
    /// Counts from 1.
    line: usize,
    /// Units: characters, from 1.
    column: usize,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("the text is not UTF-8")]
    NotUtf8,
    #[error("expected {expected}, found {found}")]
    Unexpected { expected: &'static str, found: String },
    #[error("expected {expected}, as a number or a string, found {found}")]
    NoNumber { expected: &'static str, found: String },
    #[error("{found} is out of the range of {range}")]
    OutOfRange { range: &'static str, found: String },
    #[error("a control character in a string; write it as `\\u{:04x}`", *.0 as u32)]
    ControlCharacter(char),
    #[error("the field is given twice")]
    GivenTwice,
    #[error("`{first}` and `{second}` are both given, but only one of them may be")]
    BothGiven { first: String, second: String },
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("the message is longer than {limit_bytes} bytes")]
    TooLong { limit_bytes: usize },
}

/// A problem on its way out of the nested values that it is in.
#[derive(Debug)]
pub(super) struct Fault {
    offset: usize,
    problem: Problem,
    /// From the innermost to the outermost.
    steps: Vec<Step>,
}

#[derive(Debug)]
pub(super) enum Step {
    Field(String),
    Element(usize),
}

impl Fault {
    pub(super) fn new(offset: usize, problem: Problem) -> Self {
        Self { offset, problem, steps: Vec::new() }
    }

    pub(super) fn is_too_long(&self) -> bool {
        matches!(self.problem, Problem::TooLong { .. })
    }

    pub(super) fn within(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The error for whoever sent `text`.
    pub(super) fn at(self, text: &[u8]) -> JsonError {
        let before = &text[..self.offset];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let starts_character = |byte: &&u8| **byte & 0xC0 != 0x80;
        JsonError {
            path: path(&self.steps),
            problem: self.problem,
            line: before.split(|&byte| byte == b'\n').count(),
            column: before[line_start..].iter().filter(starts_character).count() + 1,
        }
    }
}

fn path(steps: &[Step]) -> String {
    let mut path = String::new();
    for (depth, step) in steps.iter().rev().enumerate() {
        let is_shown = depth < MAX_STEPS || depth + MAX_STEPS >= steps.len();
        match step {
            _ if !is_shown => {
                if depth == MAX_STEPS {
                    path.push_str(GAP);
                }
            }
            Step::Field(name) => {
                if depth > 0 && !path.ends_with(GAP) {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Element(index) => write!(path, "[{index}]").expect("writing to memory does not fail"),
        }
    }
    if !path.is_empty() {
        path.push_str(": ");
    }
    path
}

/// The beginning of a value, as an error shows it.
pub(super) fn shorten(value: &str) -> String {
    match value.char_indices().nth(MAX_FOUND_CHARS) {
        Some((end, _)) => format!("{}{GAP}", &value[..end]),
        None => value.to_owned(),
    }
}

/// A character, as an error shows it.
pub(super) struct Quoted(pub(super) Option<char>);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(quote @ ('"' | '\'')) => write!(f, "`{quote}`"),
            Some(character) => write!(f, "`{}`", character.escape_debug()),
            None => f.write_str("the end of the text"),
        }
    }
}
