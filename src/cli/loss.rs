//! `alula loss`: rows that were acknowledged and cannot be read back, beside a running server or without one.
//!
//! A loss stays on record for ever. Once an operator says that they know of it, the server's health does not speak of it any
//! more; what they note is for operators, and shown to no tenant.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use alula_catalog::schema::{
    ACKNOWLEDGED_AT, DETAIL, FIRST_SEQ, ID, LAST_SEQ, MAX_TIMESTAMP, MIN_TIMESTAMP, NUM_ROWS, SIGNAL, SOURCE,
    TENANT_ID, TIMESTAMP, UTC,
};
use alula_catalog::{Catalog, RecordedLoss, Signal, TenantId, TenantNumber};
use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use clap::Subcommand;

use super::catalog::open_existing;
use super::{CliError, DataDirArgs};
use crate::sql_client::{Format, Layout, encoder};

/// Long enough for a ticket and a sentence.
const MAX_NOTE_CHARS: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the losses on record, oldest first: as CSV, or a line a value on a terminal.
    List(DataDirArgs),
    /// Say that you know of losses: they stay on record, and health does not speak of them any more.
    Acknowledge(AcknowledgeArgs),
}

#[derive(Debug, clap::Args)]
struct AcknowledgeArgs {
    /// Losses, by the ids that `alula loss list` prints.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<u64>,

    /// All losses that are on record.
    #[arg(long)]
    all: bool,

    /// What to keep on record with them, such as what was found and done.
    #[arg(long, value_name = "TEXT", value_parser = parse_note)]
    note: Option<String>,

    #[command(flatten)]
    data_dir: DataDirArgs,
}

fn parse_note(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("write something, or leave the note out".to_owned()),
        1..=MAX_NOTE_CHARS => Ok(text.to_owned()),
        count => Err(format!("{count} characters are too many for a note; write {MAX_NOTE_CHARS} at most")),
    }
}

pub(super) async fn run(args: Args) -> Result<ExitCode, CliError> {
    // SQLite blocks, and there is nothing else to do meanwhile.
    tokio::task::spawn_blocking(move || run_blocking(args)).await.map_err(CliError::failed)?
}

fn run_blocking(args: Args) -> Result<ExitCode, CliError> {
    match args.command {
        Command::List(data_dir) => {
            let format = if io::stdout().is_terminal() { Format::Vertical } else { Format::Csv };
            list(&open_existing(&data_dir.load()?)?, format, io::stdout())?;
        }
        Command::Acknowledge(AcknowledgeArgs { ids, all, note, data_dir }) => {
            let catalog = open_existing(&data_dir.load()?)?;
            let acknowledged = if all {
                catalog.acknowledge_all_losses(note.as_deref())
            } else {
                catalog.acknowledge_losses(&ids, note.as_deref())
            };
            let acknowledged = acknowledged.map_err(explain)?;
            let left = catalog.num_unacknowledged_losses().map_err(CliError::failed)?;
            writeln!(io::stderr(), "{}", summary(acknowledged, left))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(error: alula_catalog::Error) -> CliError {
    match error {
        error @ alula_catalog::Error::UnknownLoss { .. } => {
            CliError::usage(error).with_hint("`alula loss list` prints the ids")
        }
        error => CliError::failed(error),
    }
}

fn summary(acknowledged: usize, left: u64) -> String {
    let losses = |count: u64| if count == 1 { "1 loss".to_owned() } else { format!("{count} losses") };
    let acknowledged = match acknowledged {
        0 => "nothing to acknowledge".to_owned(),
        count => format!("acknowledged {}", losses(count as u64)),
    };
    match left {
        0 => format!("{acknowledged}; none is left"),
        left => format!("{acknowledged}; {} left", losses(left)),
    }
}

/// The columns of `system.data_loss`, and those that are for operators.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let timestamp = DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into()));
    Arc::new(Schema::new(vec![
        Field::new(ID, DataType::UInt64, false),
        Field::new(TIMESTAMP, timestamp.clone(), false),
        Field::new(ACKNOWLEDGED_AT, timestamp.clone(), true),
        Field::new("note", DataType::Utf8, true),
        Field::new(TENANT_ID, DataType::Utf8, true),
        Field::new(SIGNAL, DataType::Utf8, true),
        Field::new(NUM_ROWS, DataType::UInt64, true),
        Field::new(MIN_TIMESTAMP, timestamp.clone(), true),
        Field::new(MAX_TIMESTAMP, timestamp, true),
        Field::new(FIRST_SEQ, DataType::UInt64, false),
        Field::new(LAST_SEQ, DataType::UInt64, false),
        Field::new(SOURCE, DataType::Utf8, false),
        Field::new(DETAIL, DataType::Utf8, false),
    ]))
});

fn list(catalog: &Catalog, format: Format, mut out: impl Write) -> Result<(), CliError> {
    let losses = catalog.data_losses().map_err(CliError::failed)?;
    let tenants = catalog.tenants().map_err(CliError::failed)?;
    let text = encoded(&losses, &tenants, format).map_err(CliError::failed)?;
    Ok(out.write_all(&text)?)
}

/// What is not known of a loss is left empty.
fn encoded(
    losses: &[RecordedLoss],
    tenants: &[(TenantNumber, TenantId)],
    format: Format,
) -> Result<Vec<u8>, ArrowError> {
    let times = |value: fn(&RecordedLoss) -> Option<i64>| -> ArrayRef {
        Arc::new(losses.iter().map(value).collect::<TimestampNanosecondArray>().with_timezone(UTC))
    };
    let numbers = |value: fn(&RecordedLoss) -> Option<u64>| -> ArrayRef {
        Arc::new(losses.iter().map(value).collect::<UInt64Array>())
    };
    let texts = |value: fn(&RecordedLoss) -> Option<&str>| -> ArrayRef {
        Arc::new(losses.iter().map(value).collect::<StringArray>())
    };
    let name = |number: TenantNumber| tenants.iter().find(|(n, _)| *n == number).map(|(_, id)| id.as_str());
    let owners: StringArray = losses.iter().map(|known| known.loss.tenant.and_then(name)).collect();
    let columns = vec![
        numbers(|known| Some(known.id)),
        times(|known| Some(known.loss.found_ns)),
        times(|known| known.acknowledgement.as_ref().map(|said| said.at_ns)),
        texts(|known| known.acknowledgement.as_ref()?.note.as_deref()),
        Arc::new(owners),
        texts(|known| known.loss.signal.map(Signal::table_name)),
        numbers(|known| known.loss.num_rows),
        times(|known| known.loss.timestamps.map(|times| times.min_ns)),
        times(|known| known.loss.timestamps.map(|times| times.max_ns)),
        numbers(|known| Some(known.loss.first_seq.0)),
        numbers(|known| Some(known.loss.last_seq.0)),
        texts(|known| Some(&known.loss.source)),
        texts(|known| Some(&known.loss.detail)),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?;
    let mut encoder = encoder(format, &SCHEMA, Layout::default())?;
    let mut text = Vec::new();
    encoder.encode(&batch, &mut text)?;
    encoder.finish(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
