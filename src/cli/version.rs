//! `alula version`.

use std::env::consts::{ARCH, OS};
use std::io::{self, Write as _};
use std::process::ExitCode;

use super::CliError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let (name, version, target) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), format!("{ARCH}-{OS}"));
    let mut stdout = io::stdout();
    if args.json {
        writeln!(stdout, "{}", serde_json::json!({ "name": name, "version": version, "target": target }))?;
    } else {
        writeln!(stdout, "{name} {version} ({target})")?;
    }
    Ok(ExitCode::SUCCESS)
}
