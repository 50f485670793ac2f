//! `alula config show|check|default`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;

use super::{CliError, ConfigArgs};
use crate::config::{self, Config, Loaded, Source};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print every value in effect and where it came from, as TOML.
    Show(Box<ConfigArgs>),
    /// Check file, environment and flags; exit code 0 or 2.
    Check(Box<ConfigArgs>),
    /// Print a commented configuration file with every key and its default.
    Default,
}

impl Args {
    /// What was given on the command line.
    #[cfg(test)]
    pub(super) fn flags(self) -> Option<config::Flags> {
        match self.command {
            Command::Show(config) | Command::Check(config) => Some(config.flags),
            Command::Default => None,
        }
    }
}

pub(super) fn run(args: Args) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Show(config) => show(&config.load()?, io::stdout())?,
        Command::Check(config) => check(&config.load()?, io::stderr())?,
        Command::Default => io::stdout().write_all(Config::template().as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The output is itself a configuration file.
pub(super) fn show(loaded: &Loaded, mut out: impl Write) -> io::Result<()> {
    let mut section = "";
    for setting in loaded.settings() {
        if setting.section != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            writeln!(out, "{gap}[{}]", setting.section)?;
            section = setting.section;
        }
        let Some(value) = setting.value else {
            writeln!(out, "# {} is not set", setting.key)?;
            continue;
        };
        let line = format!("{} = {value}", setting.key);
        match setting.source {
            Source::Flag => writeln!(out, "{line:<40} # flag --{}", setting.key.replace('_', "-"))?,
            Source::Environment(name) => writeln!(out, "{line:<40} # environment {name}")?,
            Source::File(path) => writeln!(out, "{line:<40} # file {}", path.display())?,
            Source::Default => writeln!(out, "{line:<40} # default")?,
        }
    }
    Ok(())
}

fn check(loaded: &Loaded, mut out: impl Write) -> io::Result<()> {
    for name in config::unknown_variables() {
        writeln!(out, "warning: environment variable {name} names no configuration key and is ignored")?;
    }
    match &loaded.file {
        Some(path) => writeln!(out, "configuration is valid: {}", path.display()),
        None => writeln!(out, "configuration is valid: no file, environment and defaults only"),
    }
}
