//! What was looked at, and what was found.

use std::fmt;

/// The result of a check or a repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they were found.
    pub findings: Vec<Finding>,
    pub problems: Vec<Problem>,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A part of the data directory, in a word or two.
    pub part: &'static str,
    pub text: String,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A path inside the data directory, or the URL of an object.
    pub path: String,
    pub text: String,
    /// What a person can do about it.
    pub advice: &'static str,
}

impl Report {
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn find(&mut self, part: &'static str, text: impl Into<String>) {
        self.findings.push(Finding { part, text: text.into() });
    }

    pub(super) fn blame(&mut self, path: impl Into<String>, text: impl Into<String>, advice: &'static str) {
        self.problems.push(Problem { path: path.into(), text: text.into(), advice });
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12} {}", self.part, self.text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.text, self.advice)
    }
}
