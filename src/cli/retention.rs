//! `alula retention`: how long rows are kept, beside a running server or before its first start.

use std::io::{self, Write};
use std::process::ExitCode;

use alula_catalog::{Catalog, RetentionPolicy, Signal, TenantId, TenantNumber, now_ns};
use clap::Subcommand;

use super::catalog::{open, open_existing};
use super::{CliError, DataDirArgs};
use crate::config::{Config, Period};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what is kept for how long, and whether the server waits for a steady clock.
    Show(DataDirArgs),
    /// Keep a tenant's rows of one signal for a time of its own.
    Set(SetArgs),
    /// Let a tenant's rows of one signal follow the server's setting again.
    Unset(TableArgs),
    /// Say that the clock is right and that all rows past their retention may go at once.
    Confirm(DataDirArgs),
}

#[derive(Debug, clap::Args)]
struct TableArgs {
    #[arg(long, value_name = "TENANT")]
    tenant: TenantId,

    /// metrics, logs or traces.
    #[arg(long, value_name = "SIGNAL", value_parser = parse_signal)]
    signal: Signal,

    #[command(flatten)]
    data_dir: DataDirArgs,
}

#[derive(Debug, clap::Args)]
struct SetArgs {
    /// How long, as in 30d, counted from the timestamp of a row; 0s for ever.
    #[arg(long, value_name = "TIME")]
    keep: Period,

    #[command(flatten)]
    table: TableArgs,
}

fn parse_signal(text: &str) -> Result<Signal, String> {
    let named = Signal::ALL.into_iter().find(|signal| signal.table_name() == text);
    named.ok_or_else(|| "write metrics, logs or traces".to_owned())
}

pub(super) async fn run(args: Args) -> Result<ExitCode, CliError> {
    // SQLite blocks, and there is nothing else to do meanwhile.
    tokio::task::spawn_blocking(move || run_blocking(args)).await.map_err(CliError::failed)?
}

fn run_blocking(args: Args) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Show(data_dir) => {
            let config = data_dir.load()?;
            show(&open_existing(&config)?, &config, io::stdout())?;
        }
        Command::Set(SetArgs { keep, table: TableArgs { tenant, signal, data_dir } }) => {
            let catalog = open(&data_dir.load()?)?;
            let tenant = catalog.register_tenant(&tenant).map_err(CliError::failed)?;
            let keep_ns = keep.unless_zero().map(|keep| i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX));
            let policy = RetentionPolicy { tenant, signal, keep_ns };
            catalog.set_retention(&policy).map_err(CliError::failed)?;
        }
        Command::Unset(TableArgs { tenant, signal, data_dir }) => {
            let catalog = open_existing(&data_dir.load()?)?;
            let tenants = catalog.tenants().map_err(CliError::failed)?;
            let Some((tenant, _)) = tenants.into_iter().find(|(_, id)| *id == tenant) else {
                return Err(CliError::usage(format!("there is no tenant {tenant}")));
            };
            catalog.unset_retention(tenant, signal).map_err(CliError::failed)?;
        }
        Command::Confirm(data_dir) => {
            open_existing(&data_dir.load()?)?.confirm_retention(now_ns()).map_err(CliError::failed)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One line a table, the server's defaults first.
fn show(catalog: &Catalog, config: &Config, mut out: impl Write) -> Result<(), CliError> {
    let storage = &config.storage;
    let defaults = [
        (Signal::Metrics, storage.retention_metrics),
        (Signal::Logs, storage.retention_logs),
        (Signal::Traces, storage.retention_traces),
    ];
    writeln!(out, "tenant,signal,keep")?;
    for (signal, keep) in defaults {
        writeln!(out, "*,{signal},{}", in_words(keep.unless_zero().map(Period::from)))?;
    }
    let tenants = catalog.tenants().map_err(CliError::failed)?;
    let name = |number: TenantNumber| tenants.iter().find(|(n, _)| *n == number).map(|(_, id)| id.as_str());
    for policy in catalog.retention_policies().map_err(CliError::failed)? {
        let keep = policy.keep_ns.map(|ns| Period::from(std::time::Duration::from_nanos(ns as u64)));
        writeln!(out, "{},{},{}", name(policy.tenant).unwrap_or("?"), policy.signal, in_words(keep))?;
    }
    let hold_ns = catalog.clock_record().map_err(CliError::failed)?.hold_ns;
    if hold_ns > 0 {
        let hold = Period::from(std::time::Duration::from_secs(hold_ns as u64 / 1_000_000_000));
        writeln!(
            io::stderr(),
            "nothing is dropped until the clock has gone steadily for another {hold}; `alula retention confirm` ends the wait"
        )?;
    }
    Ok(())
}

fn in_words(keep: Option<Period>) -> String {
    keep.map_or_else(|| "for ever".to_owned(), |keep| keep.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::tempdir;

    use super::*;
    use crate::cli::Failure;

    fn of(data_dir: &Path) -> DataDirArgs {
        DataDirArgs { data_dir: Some(data_dir.to_owned()), config: None }
    }

    fn unset(tenant: &str, data_dir: &Path) -> Command {
        let (tenant, data_dir) = (tenant.parse().unwrap(), of(data_dir));
        Command::Unset(TableArgs { tenant, signal: Signal::Logs, data_dir })
    }

    fn refusal(command: Command) -> String {
        let error = run_blocking(Args { command }).unwrap_err();
        assert_eq!(error.failure(), Failure::Usage, "{error}");
        error.to_string()
    }

    #[test]
    fn where_there_is_no_store_none_is_made_but_by_set() {
        let dir = tempdir().unwrap();
        let (missing, empty) = (dir.path().join("missing"), dir.path().join("empty"));
        std::fs::create_dir(&empty).unwrap();
        for path in [&missing, &empty] {
            for command in [Command::Show(of(path)), unset("acme", path), Command::Confirm(of(path))] {
                let refusal = refusal(command);
                assert!(refusal.contains(path.to_str().unwrap()), "{refusal}");
            }
        }
        assert!(!missing.exists());
        assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
    }

    #[test]
    fn a_mistyped_tenant_is_refused_and_not_made() {
        let dir = tempdir().unwrap();
        let (tenant, data_dir) = ("acme".parse().unwrap(), of(dir.path()));
        let table = TableArgs { tenant, signal: Signal::Logs, data_dir };
        let set = SetArgs { keep: Period::seconds(86_400), table };
        run_blocking(Args { command: Command::Set(set) }).unwrap();
        let refusal = refusal(unset("acne", dir.path()));
        assert!(refusal.contains("acne"), "{refusal}");
        let catalog = Catalog::open(&dir.path().join(Catalog::FILE_NAME)).unwrap();
        assert_eq!(catalog.tenants().unwrap().len(), 1);
        assert_eq!(catalog.retention_policies().unwrap().len(), 1);
        drop(catalog);
        run_blocking(Args { command: unset("acme", dir.path()) }).unwrap();
        let catalog = Catalog::open(&dir.path().join(Catalog::FILE_NAME)).unwrap();
        assert_eq!(catalog.retention_policies().unwrap(), []);
    }

    #[test]
    fn a_directory_with_a_part_of_a_store_is_refused() {
        let dir = tempdir().unwrap();
        std::fs::create_dir(dir.path().join("restore.tmp")).unwrap();
        let error = of(dir.path()).load().unwrap_err();
        assert!(error.to_string().contains("repeat the restore"), "{error}");
    }
}
