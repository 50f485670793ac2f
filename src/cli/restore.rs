//! `alula restore`: a data directory from a snapshot.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use alula_storage::backup::{self, Location, Progress, RestoreOptions, RestoreReport};

use super::CliError;
use super::backup::{parse_location, size, watched};
use super::format::Format;
use crate::config::Config;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory or URL where the backups are, as `alula backup --to` has it.
    #[arg(long, value_name = "DIR|URL", value_parser = parse_location)]
    from: Location,

    /// Name of the snapshot, which is the time of its start; without it the newest.
    #[arg(long, value_name = "TIME")]
    snapshot: Option<String>,

    /// Directory for the store, which must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,

    /// Form of the report.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, CliError> {
    let config = Config::for_data_dir(&args.data_dir);
    telemetry::start(&config.server.log_level, config.server.log_format);
    let data_dir = args.data_dir.display().to_string();
    writeln!(io::stderr(), "restoring {} into {data_dir}", args.from)?;
    let options = RestoreOptions { from: args.from, snapshot: args.snapshot, data_dir: args.data_dir };
    let progress = Arc::new(Progress::default());
    let report = watched(backup::restore(options, Arc::clone(&progress)), &progress).await?;
    args.format.print(&report, &summary(&report, &data_dir))?;
    writeln!(
        io::stderr(),
        "this store has the identity and the keys of the one that was backed up: tokens made for that one open this one too"
    )?;
    if report.remote_files > 0 {
        writeln!(
            io::stderr(),
            "{} of its data files are in the remote tier of that store and were not checked",
            report.remote_files
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(report: &RestoreReport, data_dir: &str) -> String {
    let RestoreReport { snapshot, data_files, rows_in_files, log_segments, .. } = report;
    format!(
        "restored snapshot {snapshot} into {data_dir}: {data_files} data files with {rows_in_files} rows and {log_segments} \
         log segments, {}; it has every row acknowledged before {} and none acknowledged after {}",
        size(report.bytes),
        report.complete_until,
        report.nothing_after,
    )
}
