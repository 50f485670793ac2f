//! Types of single settings: each is parsed from text, the same from a flag, the environment and the file.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracing_subscriber::EnvFilter;

/// What is wrong with a value, and how one is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}")]
pub struct InvalidValue {
    value: String,
    expected: &'static str,
}

impl InvalidValue {
    fn new(value: &str, expected: &'static str) -> Self {
        Self { value: value.to_owned(), expected }
    }
}

/// A number of bytes, written with a unit: `64MiB`, `2GiB`; a bare number counts bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The same number for in-memory bounds; more than the address space holds means "all of it".
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let size = text
            .parse::<ByteSize>()
            .map_err(|_| InvalidValue::new(text, "a size: write a number and a unit, as in 64MiB"))?;
        Ok(Self(size.as_u64()))
    }
}

impl fmt::Display for Size {
    /// Exact: the largest binary unit that divides the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        for (shift, unit) in units {
            if self.0 != 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A length of time, written with units: `10s`, `15m`, `1h 30m`, `7d` (a day is 24 hours). Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub const fn milliseconds(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    pub const fn as_duration(self) -> Duration {
        self.0
    }

    /// For settings of which `0s` means that there is no bound.
    pub fn unless_zero(self) -> Option<Duration> {
        Some(self.0).filter(|length| !length.is_zero())
    }
}

impl From<Duration> for Period {
    fn from(length: Duration) -> Self {
        Self(length)
    }
}

impl FromStr for Period {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid =
            || InvalidValue::new(text, "a length of time: write numbers and units, as in 15m or 1h 30m");
        let span: Span = text.parse().map_err(|_| invalid())?;
        let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| invalid())?;
        Duration::try_from(signed).map(Self).map_err(|_| invalid())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: Duration = Duration::from_hours(24);
        if !self.0.is_zero() && self.0.as_nanos().is_multiple_of(DAY.as_nanos()) {
            return write!(f, "{}d", self.0.as_secs() / DAY.as_secs());
        }
        match SignedDuration::try_from(self.0) {
            Ok(signed) => write!(f, "{signed:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

/// A part of something: `25%`. From 1% to 100%.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(u8);

impl Percent {
    /// Above 0 and up to 1.
    pub fn as_fraction(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl FromStr for Percent {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').and_then(|digits| digits.trim().parse().ok());
        number
            .filter(|percent| (1..=100).contains(percent))
            .map(Self)
            .ok_or_else(|| InvalidValue::new(text, "a percentage from 1% to 100%"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// An address to listen on: an IP address or `localhost`, and a port (0 picks a free one).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddr(SocketAddr);

impl ListenAddr {
    pub const fn new(addr: SocketAddr) -> Self {
        Self(addr)
    }

    pub const fn as_socket_addr(self) -> SocketAddr {
        self.0
    }

    pub const fn is_loopback(self) -> bool {
        match self.0 {
            SocketAddr::V4(addr) => addr.ip().is_loopback(),
            SocketAddr::V6(addr) => addr.ip().is_loopback(),
        }
    }
}

impl FromStr for ListenAddr {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        numeric
            .as_deref()
            .unwrap_or(text)
            .parse()
            .map(Self)
            .map_err(|_| InvalidValue::new(text, "an IP address and port, as in 127.0.0.1:4317"))
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A level, or `tracing` filter directives: `info`, `info,alula_storage=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(String);

impl LogLevel {
    /// Migrations, the cache of remote files and its client log each of their steps at info; whoever wants them names the
    /// module.
    pub fn filter(&self) -> EnvFilter {
        EnvFilter::new(format!(
            "refinery_core=warn,foyer=warn,foyer_memory=warn,foyer_storage=warn,object_store=warn,{}",
            self.0
        ))
    }
}

impl FromStr for LogLevel {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A lone word that names no level would be taken for the name of a module and silence everything else.
        let known = text.contains('=')
            || text.split(',').all(|word| word.parse::<tracing::Level>().is_ok() || word == "off");
        if known && EnvFilter::try_new(text).is_ok() {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue::new(text, "a log level: write error, warn, info, debug, trace or off"))
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the server's own log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

/// What the start does about a damaged part of the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnCorruption {
    /// Recover everything around the damage and report its range.
    Salvage,
    /// Do not start.
    Refuse,
}

/// What is done when a file of the write-ahead log cannot be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnSyncError {
    /// Move its rows into data files, and go on in a new one.
    Recover,
    /// End with exit code 70.
    Exit,
}

/// The directory of the remote tier in an object store: `s3://bucket/path`. It holds no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteUrl(alula_storage::RemoteUrl);

impl RemoteUrl {
    pub fn to_storage(&self) -> alula_storage::RemoteUrl {
        self.0.clone()
    }
}

impl FromStr for RemoteUrl {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|error| {
            // What is wrong with it may be a secret in it, which is not repeated.
            let shown = match error {
                alula_storage::Error::InvalidRemoteUrl { given, .. } => given,
                _ => String::new(),
            };
            InvalidValue::new(
                &shown,
                "the URL of a remote tier: write s3://bucket/path, gs://bucket/path, az://container/path or \
                 file:///path, and no credentials or options",
            )
        })
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Serde by `Display` and `FromStr`. An integer is read as its digits: `max_sql_bytes = 4096` works.
macro_rules! serde_as_text {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextVisitor).and_then(|text| text.parse().map_err(de::Error::custom))
            }
        }
    )+};
}

serde_as_text!(ListenAddr, LogLevel, Percent, Period, RemoteUrl, Size);

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }
}
