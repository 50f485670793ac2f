//! [`Format`]: what the report of a command looks like.

use std::io::{self, Write as _};

use clap::ValueEnum;
use serde::Serialize;

/// What a report on stdout looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lines for a person.
    Text,
    /// One JSON object.
    Json,
}

impl Format {
    pub(super) fn print(self, report: &impl Serialize, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self {
            Self::Text => writeln!(out, "{text}")?,
            Self::Json => writeln!(out, "{}", serde_json::to_string(report)?)?,
        }
        out.flush()
    }
}
