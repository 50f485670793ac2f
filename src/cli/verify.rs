//! `alula verify`: whether a data directory is sound, and a new catalog if that is not. Offline.

use std::path::Path;
use std::process::ExitCode;

use alula_storage::verify::{RemoteSource, RepairMode, Report, repair, verify};
use alula_storage::{Error, ErrorKind};
use serde_json::json;

use super::format::Format;
use super::{CliError, DataDirArgs, Failure};
use crate::server::remote_config;

const WITHOUT: &str = "alula verify --repair --without-remote";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Build a catalog that is damaged, missing or not the latest anew from the data files, those in the remote tier
    /// included, and the log.
    #[arg(long)]
    repair: bool,

    /// With --repair: also if the catalog is sound.
    #[arg(long, requires = "repair")]
    force: bool,

    /// With --repair: leave out files that moved to the remote tier. They stay there, and a later repair can take them in.
    #[arg(long, requires = "repair")]
    without_remote: bool,

    /// Form of the report.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    #[command(flatten)]
    data_dir: DataDirArgs,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, CliError> {
    // All of it is reading files.
    tokio::task::spawn_blocking(move || run_blocking(args)).await.map_err(CliError::failed)?
}

fn run_blocking(args: Args) -> Result<ExitCode, CliError> {
    let config = args.data_dir.load()?;
    let (data_dir, remote) = (&config.server.data_dir, remote_config(&config));
    let report = if args.repair {
        let mode = if args.force { RepairMode::Always } else { RepairMode::IfNeeded };
        let remote = match remote {
            _ if args.without_remote => RemoteSource::LeftOut,
            Some(tier) => RemoteSource::Tier(Box::new(tier)),
            None => RemoteSource::Unknown,
        };
        repair(data_dir, mode, &remote)
    } else {
        verify(data_dir, remote.as_ref())
    };
    let report = report.map_err(|error| explain(error, data_dir))?;
    args.format.print(&to_json(&report), &to_text(&report))?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(Failure::Failed as u8) })
}

fn explain(error: Error, data_dir: &Path) -> CliError {
    match error {
        Error::DirectoryInUse { .. } => {
            let hint = format!("only a directory that no server uses can be checked: {}", data_dir.display());
            CliError::failed(error).with_hint(hint)
        }
        Error::RemoteUnavailable { .. } => CliError::new(Failure::CannotConnect, error).with_hint(format!(
            "nothing was changed; repair again once it answers, or without its files for the time being: {WITHOUT}"
        )),
        Error::RemoteNotConfigured => CliError::usage(error).with_hint(format!(
            "nothing was changed; name the server's configuration file with --config, or leave these rows out for the time \
             being: {WITHOUT}"
        )),
        Error::RemoteOwned => CliError::failed(error).with_hint(format!(
            "nothing was changed; if the other one is gone for good, remove the object OWNER and repair again; or leave these \
             rows out: {WITHOUT}"
        )),
        error if error.kind() == ErrorKind::InvalidInput => CliError::usage(error),
        error => CliError::failed(error),
    }
}

/// A line for each part that was looked at, and for each problem.
fn to_text(report: &Report) -> String {
    let mut lines: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    lines.extend(report.problems.iter().map(|problem| format!("PROBLEM      {problem}")));
    lines.push(match report.problems.len() {
        0 => "sound".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    });
    lines.join("\n")
}

fn to_json(report: &Report) -> serde_json::Value {
    let findings: Vec<_> =
        report.findings.iter().map(|finding| json!({ "part": finding.part, "text": finding.text })).collect();
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(|problem| json!({ "path": problem.path, "text": problem.text, "advice": problem.advice }))
        .collect();
    json!({ "sound": report.is_sound(), "findings": findings, "problems": problems })
}

#[cfg(test)]
mod tests {
    use alula_storage::verify::{Finding, Problem};

    use super::*;

    #[test]
    fn a_report_is_lines_for_a_person_or_one_object_for_a_program() {
        let mut report = Report {
            findings: vec![Finding { part: "data files", text: "2 of 3 are sound".to_owned() }],
            problems: Vec::new(),
        };
        assert_eq!(to_text(&report), "data files   2 of 3 are sound\nsound");
        report.problems.push(Problem {
            path: "data/logs/1/x.parquet".to_owned(),
            text: "it is missing".to_owned(),
            advice: "restore it from a backup",
        });
        assert_eq!(
            to_text(&report),
            "data files   2 of 3 are sound\n\
             PROBLEM      data/logs/1/x.parquet: it is missing; restore it from a backup\n\
             1 problem"
        );
        let expected = r#"{"findings":[{"part":"data files","text":"2 of 3 are sound"}],"problems":[{"advice":"restore it from a backup","path":"data/logs/1/x.parquet","text":"it is missing"}],"sound":false}"#;
        assert_eq!(to_json(&report), serde_json::from_str::<serde_json::Value>(expected).unwrap());
    }
}
