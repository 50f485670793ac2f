//! `alula gen`: OTLP load, and what came of it.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use alula_catalog::Signal;
use clap::value_parser;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

use super::CliError;
use super::sql::parse_limit;
use crate::generator::MetricType;
use crate::generator::load::{self, Content, Load};
use crate::sql_client::{ConnectArgs, Error};

/// Records a request, as SDKs and Collectors send them by default in order of magnitude.
const DEFAULT_BATCH: u64 = 1000;

/// Records a second. The pause between requests must still be a length of time.
const MIN_RATE: f64 = 0.001;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to send.
    #[arg(value_enum)]
    signal: SignalName,

    #[command(flatten)]
    connect: ConnectArgs,

    /// Records a second; 0 sends as fast as the server acknowledges.
    #[arg(long, default_value_t = 1000.0, value_name = "RECORDS", value_parser = parse_rate)]
    rate: f64,

    /// Stops after this many records.
    #[arg(long, value_name = "RECORDS", value_parser = value_parser!(u64).range(1..))]
    total: Option<u64>,

    /// Stops after this long, such as `30s`; without --total and --duration only Ctrl-C stops it.
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    duration: Option<Duration>,

    /// Records a request; without it 1000, or what makes ten requests a second.
    #[arg(long, value_name = "RECORDS", value_parser = value_parser!(u64).range(1..=100_000))]
    batch: Option<u64>,

    /// Distinct series (metrics only).
    #[arg(long, default_value_t = 1000, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=1_000_000))]
    series: u32,

    /// Metric types that the series are spread over (metrics only).
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["gauge", "sum"], value_name = "TYPES")]
    types: Vec<MetricType>,

    /// Services that report.
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=1000))]
    services: u32,

    /// Attributes of each record; without it what is natural for it, about five.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(0..=128))]
    attributes: Option<u32>,

    /// Connections to the server.
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=64))]
    connections: u32,

    /// Requests that wait for their acknowledgement at one time, on each connection.
    #[arg(long, default_value_t = 4, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=256))]
    in_flight: u32,

    /// Compression of the requests.
    #[arg(long, value_enum, default_value_t = Compression::None)]
    compression: Compression,

    /// Sends a request again, with growing pauses, while the server says that this may help.
    #[arg(long)]
    retry: bool,

    /// The same seed gives the same records; only their times differ.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How the summary is written.
    #[arg(long, value_enum, default_value_t = SummaryFormat::Text)]
    format: SummaryFormat,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SignalName {
    Metrics,
    Logs,
    Traces,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SummaryFormat {
    Text,
    Json,
}

impl Args {
    fn load(&self) -> Result<Load, Error> {
        let start_ns = u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0);
        let rate = (self.rate > 0.0).then_some(self.rate);
        let batch = self.batch.unwrap_or_else(|| match rate {
            Some(rate) => DEFAULT_BATCH.min((rate / 10.0).ceil() as u64),
            None => DEFAULT_BATCH,
        });
        Ok(Load {
            url: self.connect.url.clone(),
            credentials: self.connect.credentials()?,
            compression: match self.compression {
                Compression::None => None,
                Compression::Gzip => Some(CompressionEncoding::Gzip),
                Compression::Zstd => Some(CompressionEncoding::Zstd),
            },
            signal: match self.signal {
                SignalName::Metrics => Signal::Metrics,
                SignalName::Logs => Signal::Logs,
                SignalName::Traces => Signal::Traces,
            },
            content: Content {
                seed: self.seed,
                services: self.services as usize,
                series: self.series as usize,
                types: self.types.clone(),
                attributes: self.attributes.map(|count| count as usize),
                start_ns,
            },
            rate,
            total: self.total,
            duration: self.duration,
            batch,
            connections: self.connections as usize,
            in_flight: self.in_flight as usize,
            retry: self.retry,
        })
    }
}

/// The exit code is 0 only if every record was accepted.
pub(crate) async fn run(args: Args) -> Result<ExitCode, CliError> {
    let stop = CancellationToken::new();
    let running = load::run(args.load()?, stop.clone());
    tokio::pin!(running);
    let summary = tokio::select! {
        summary = &mut running => summary?,
        _ = tokio::signal::ctrl_c() => {
            stop.cancel();
            // Acknowledgements on their way still count, but nobody has to wait for them.
            tokio::select! {
                summary = &mut running => summary?,
                _ = tokio::signal::ctrl_c() => return Err(Error::Interrupted.into()),
            }
        }
    };
    let text = match args.format {
        SummaryFormat::Text => summary.text(),
        SummaryFormat::Json => summary.json(),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate == 0.0 || (MIN_RATE..=f64::MAX).contains(&rate) => Ok(rate),
        _ => Err(format!(
            "the rate must be a number of records a second, {MIN_RATE} or more, or 0 for as fast as possible"
        )),
    }
}
