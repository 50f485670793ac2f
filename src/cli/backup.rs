//! `alula backup`: a snapshot of a store, whether or not a server runs on it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use alula_storage::backup::{self, BackupOptions, BackupReport, Error, ErrorKind, Location, Progress};
use bytesize::ByteSize;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::format::Format;
use super::{CliError, DataDirArgs, Failure};
use crate::shutdown::Signals;
use crate::telemetry;

/// How often progress is told on a terminal; elsewhere it is every tenth time.
const TICK: Duration = Duration::from_secs(1);
/// What an interrupted command gets to clean up.
const LAST_STEPS: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory or URL (s3://, gs://, az://, file://) where backups are kept; credentials come from the environment.
    #[arg(long, value_name = "DIR|URL", value_parser = parse_location)]
    to: Location,

    #[command(flatten)]
    data_dir: DataDirArgs,

    /// Keep so many snapshots of this store, the new one included, and remove older ones.
    #[arg(long, value_name = "COUNT")]
    keep: Option<NonZeroUsize>,

    /// Compare the data files that the backup has already with their checksums, and replace damaged ones.
    #[arg(long)]
    verify: bool,

    /// Form of the report.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn parse_location(given: &str) -> Result<Location, String> {
    Location::parse(given).map_err(|error| error.to_string())
}

pub(super) async fn run(args: Args) -> Result<ExitCode, CliError> {
    let config = args.data_dir.load()?;
    telemetry::start(&config.server.log_level, config.server.log_format);
    let data_dir = config.server.data_dir;
    writeln!(io::stderr(), "backing up {} to {}", data_dir.display(), args.to)?;
    let options = BackupOptions { data_dir, to: args.to, keep: args.keep, verify: args.verify };
    let progress = Arc::new(Progress::default());
    let report = watched(backup::backup(options, Arc::clone(&progress)), &progress).await?;
    args.format.print(&report, &summary(&report))?;
    Ok(ExitCode::SUCCESS)
}

fn summary(report: &BackupReport) -> String {
    let BackupReport { snapshot, data_files, new_data_files, repaired_data_files, .. } = report;
    let mut line = format!(
        "snapshot {snapshot}: {data_files} data files ({new_data_files} new), {} ({} new), complete until {}",
        size(report.bytes),
        size(report.new_bytes),
        report.complete_until,
    );
    if *repaired_data_files > 0 {
        let _ = write!(line, "; replaced {repaired_data_files} damaged files");
    }
    if report.remote_files > 0 {
        let remote = size(report.remote_bytes);
        let _ = write!(line, "; {} files ({remote}) stay in the remote tier", report.remote_files);
    }
    if report.removed_snapshots > 0 {
        let (snapshots, files) = (report.removed_snapshots, report.removed_data_files);
        let _ = write!(line, "; removed {snapshots} older snapshots and {files} data files");
    }
    line
}

pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// Waits for the end of a backup or a restore, and tells how far it is. A signal ends it.
pub(super) async fn watched<T>(
    work: impl Future<Output = Result<T, Error>>,
    progress: &Progress,
) -> Result<T, CliError> {
    let mut signals = Signals::listen()?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut teller = Teller { terminal: io::stderr().is_terminal(), ticks: 0 };
    tokio::pin!(work);
    let ended = loop {
        tokio::select! {
            ended = &mut work => break ended,
            _ = ticks.tick() => teller.tell(progress),
            _ = signals.next() => {
                progress.cancel();
                break timeout(LAST_STEPS, &mut work).await.unwrap_or(Err(Error::Interrupted));
            }
        }
    };
    teller.end();
    Ok(ended?)
}

/// Says on stderr how far it is.
struct Teller {
    terminal: bool,
    ticks: u32,
}

impl Teller {
    fn tell(&mut self, progress: &Progress) {
        let ((files, files_in_all), (bytes, bytes_in_all)) = (progress.files(), progress.bytes());
        self.ticks += 1;
        if files_in_all == 0 || (!self.terminal && !self.ticks.is_multiple_of(10)) {
            return;
        }
        let line = format!("{files} of {files_in_all} files, {} of {}", size(bytes), size(bytes_in_all));
        // Nobody is left to tell when stderr is gone.
        let _ = if self.terminal {
            write!(io::stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(io::stderr(), "{line}")
        };
    }

    /// Leaves the line free for what follows.
    fn end(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let hint = match &error {
            Error::NotAStore { .. } => Some("--data-dir names another directory"),
            Error::NotEmpty { .. } => Some("name a directory that is empty or does not exist"),
            _ => None,
        };
        let (failure, hint) = match error.kind() {
            ErrorKind::Usage => (Failure::Usage, hint),
            ErrorKind::Unreachable => (
                Failure::CannotConnect,
                Some(
                    "is the URL right, and does the object store answer? AWS_ENDPOINT and the like name another",
                ),
            ),
            ErrorKind::NotAuthorised => (
                Failure::NotAuthorised,
                Some(
                    "credentials come from the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                ),
            ),
            ErrorKind::Interrupted => (Failure::Interrupted, None),
            ErrorKind::Failed => (Failure::Failed, hint),
        };
        let error = Self::new(failure, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
