//! The command line: a contract that scripts and clients rely on.
//!
//! Data goes to stdout, everything else to stderr. Exit codes: 0 ok, 1 query or server error, 2 usage or
//! configuration, 3 cannot connect, 4 not authorised, 130 interrupted.

mod backup;
mod catalog;
mod config_command;
mod demo;
mod error;
mod format;
mod generate;
mod loss;
mod restore;
mod retention;
mod serve;
mod sql;
#[cfg(test)]
mod tests;
mod token;
mod verify;
mod version;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use confique::Layer as _;

pub(crate) use self::error::{CliError, Failure};
use crate::config::{self, Config, ConfigError, Flags, Loaded};

/// An Arrow Flight SQL data service for OpenTelemetry: OTLP in, Arrow out, one binary.
#[derive(Debug, Parser)]
#[command(name = "alula", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(Box<serve::Args>),
    /// Run the real server on generated data and show what it answers.
    Demo(demo::Args),
    /// Run a query.
    #[command(visible_aliases = ["query", "q"])]
    Sql(sql::Args),
    /// Generate OTLP load.
    Gen(generate::Args),
    /// Make credentials.
    Token(token::Args),
    /// Show and set how long rows are kept.
    Retention(retention::Args),
    /// Show rows that were lost, and say that you know of them.
    Loss(loss::Args),
    /// Make a snapshot of the data directory, also while the server runs.
    Backup(backup::Args),
    /// Make a data directory of a snapshot.
    Restore(restore::Args),
    /// Check everything in a data directory, while no server uses it.
    Verify(verify::Args),
    /// Show or check the configuration.
    Config(config_command::Args),
    /// Print the version.
    Version(version::Args),
}

/// Where a command takes the server's configuration from.
#[derive(Debug, clap::Args)]
struct ConfigArgs {
    /// Configuration file; without it /etc/alula/alula.toml if there is one.
    #[arg(long, value_name = "FILE", env = "ALULA_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: Flags,
}

impl ConfigArgs {
    fn load(self) -> Result<Loaded, ConfigError> {
        Config::load(self.flags, self.config.as_deref(), config::process_environment)
    }
}

/// Which data directory a command works on that needs no running server.
#[derive(Debug, clap::Args)]
struct DataDirArgs {
    /// The server's data directory [env: `ALULA_SERVER_DATA_DIR`].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// The server's configuration file; without it /etc/alula/alula.toml if there is one.
    #[arg(long, value_name = "FILE", env = "ALULA_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

impl DataDirArgs {
    /// Refuses a directory of which a restore has not ended: it has a part of a store only.
    fn load(self) -> Result<Config, CliError> {
        let mut flags = Flags::empty();
        flags.server.data_dir = self.data_dir;
        let config = ConfigArgs { config: self.config, flags }.load()?.config;
        alula_storage::backup::ensure_restored(&config.server.data_dir)?;
        Ok(config)
    }
}

/// Runs one command and says how it ended. `arguments` starts with the name of the program.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and the version come this way too; nothing is left to tell a closed terminal.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Failure::Usage as u8));
        }
    };
    let outcome = match cli.command {
        Command::Serve(args) => Box::pin(serve::run(*args)).await,
        Command::Demo(args) => Box::pin(demo::run(args)).await,
        Command::Sql(args) => Box::pin(sql::run(args)).await,
        Command::Gen(args) => Box::pin(generate::run(args)).await,
        Command::Token(args) => token::run(args).await,
        Command::Retention(args) => retention::run(args).await,
        Command::Loss(args) => loss::run(args).await,
        Command::Backup(args) => Box::pin(backup::run(args)).await,
        Command::Restore(args) => Box::pin(restore::run(args)).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Config(args) => config_command::run(args),
        Command::Version(args) => version::run(&args),
    };
    outcome.unwrap_or_else(|error| error.report(io::stderr()))
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches_from(arguments)?)
}

/// The derived command, with the variable and the default of each key in the help of its flag.
fn command() -> clap::Command {
    Cli::command().mut_subcommand("serve", document_flags).mut_subcommand("config", |command| {
        command.mut_subcommand("show", document_flags).mut_subcommand("check", document_flags)
    })
}

fn document_flags(command: clap::Command) -> clap::Command {
    config::leaves().fold(command, |command, leaf| {
        command.mut_arg(leaf.key, |arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let default = leaf.default_text().map(|text| format!(" [default: {text}]")).unwrap_or_default();
            arg.help(format!("{help} [env: {}]{default}", leaf.variable))
        })
    })
}
