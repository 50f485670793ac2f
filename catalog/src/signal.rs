//! The three kinds of telemetry.

use std::fmt;

/// A kind of telemetry. Each has one table, named the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    Metrics,
    Logs,
    Traces,
}

impl Signal {
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Logs, Self::Traces];

    /// The SQL name of the table that holds this signal.
    pub fn table_name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Traces => "traces",
        }
    }

    /// What one row of the table is, in OTLP's words.
    pub fn record_name(self) -> &'static str {
        match self {
            Self::Metrics => "data point",
            Self::Logs => "log record",
            Self::Traces => "span",
        }
    }

    /// The code in WAL frames and in the catalog. Never reused.
    pub fn code(self) -> u8 {
        match self {
            Self::Metrics => 1,
            Self::Logs => 2,
            Self::Traces => 3,
        }
    }

    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.code() == code)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.table_name())
    }
}
