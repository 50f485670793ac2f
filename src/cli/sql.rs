//! `alula sql`: one query, its answer on stdout or in a file.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use super::CliError;
use crate::config::Period;
use crate::sql_client::{
    Answer, ConnectArgs, Connection, Destination, Encoder, Error, Format, Layout, LeftOut, Result, encoder,
};

/// More rows than anybody scrolls through; a pipe or a file gets all of them.
const MAX_TERMINAL_ROWS: usize = 1000;

/// The longest query read from a file or from standard input.
const MAX_QUERY_BYTES: u64 = 16 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The SQL statement; without it and without -f it is read from standard input.
    #[arg(value_name = "QUERY")]
    query: Option<String>,

    /// Reads the statement from a file; `-` is standard input.
    #[arg(short, long, value_name = "FILE", conflicts_with = "query")]
    file: Option<PathBuf>,

    #[command(flatten)]
    connect: ConnectArgs,

    /// How the answer is written; without it a table on a terminal and CSV elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// Writes the answer to a file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Gives up after this long, such as `30s` or `5m`.
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    timeout: Option<Duration>,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode, CliError> {
    let destination = Destination::new(args.output.clone());
    let format = args.format.unwrap_or(if destination.is_terminal() { Format::Table } else { Format::Csv });
    if format.is_binary() && destination.is_terminal() {
        return Err(Error::usage(
            "this format is binary and standard output is a terminal; use -o FILE or a pipe",
        )
        .into());
    }
    let sql = read_query(&args)?;
    tokio::select! {
        done = fetch(&args, &sql, format, destination) => done?,
        // Returning drops the call, which cancels the query on the server.
        _ = tokio::signal::ctrl_c() => return Err(Error::Interrupted.into()),
    }
    Ok(ExitCode::SUCCESS)
}

async fn fetch(args: &Args, sql: &str, format: Format, destination: Destination) -> Result<()> {
    let started = Instant::now();
    let fetching = async {
        let mut connection = Connection::open(args.connect.url.clone(), &args.connect.credentials()?).await?;
        if let Some(timeout) = args.timeout {
            connection.set_deadline(timeout);
        }
        let mut answer = connection.query(sql).await?;
        let layout = layout(&destination);
        let (rows, left_out) = write_answer(&mut answer, format, layout, destination).await?;
        tell_terminal(rows, left_out, started.elapsed());
        Ok(())
    };
    let Some(timeout) = args.timeout else { return fetching.await };
    match tokio::time::timeout(timeout, fetching).await {
        Ok(Ok(())) => Ok(()),
        // Server and transport know the deadline too, and may notice first, each with an error of its own.
        Ok(Err(error)) if started.elapsed() < timeout => Err(error),
        Ok(Err(_)) | Err(_) => Err(Error::Timeout { timeout }),
    }
}

/// Streams the answer: one batch in memory at a time, but for the rows of a box table.
async fn write_answer(
    answer: &mut Answer,
    format: Format,
    layout: Layout,
    destination: Destination,
) -> Result<(usize, LeftOut)> {
    let first = answer.next_batch().await?;
    // Only when the query has begun to answer: a query that fails must not replace a file.
    let mut out = destination.open()?;
    let schema = first.as_ref().map_or_else(|| answer.planned_schema(), RecordBatch::schema);
    let encode = |source| Error::Encode { source };
    let mut encoder: Box<dyn Encoder> = encoder(format, &schema, layout).map_err(encode)?;
    let mut rows = 0;
    let mut bytes = Vec::new();
    let mut next = first;
    while let Some(batch) = next {
        rows += batch.num_rows();
        encoder.encode(&batch, &mut bytes).map_err(encode)?;
        out.write(&bytes)?;
        bytes.clear();
        next = answer.next_batch().await?;
    }
    encoder.finish(&mut bytes).map_err(encode)?;
    out.write(&bytes)?;
    out.commit()?;
    Ok((rows, encoder.left_out()))
}

fn layout(destination: &Destination) -> Layout {
    let terminal = destination.is_terminal();
    Layout {
        max_rows: terminal.then_some(MAX_TERMINAL_ROWS),
        max_width: if terminal { terminal_width() } else { None },
        seekable: matches!(destination, Destination::File(_)),
    }
}

fn terminal_width() -> Option<usize> {
    comfy_table::Table::new().width().map(usize::from)
}

/// Counts and times are for people; a script reads the answer alone.
fn tell_terminal(rows: usize, left_out: LeftOut, elapsed: Duration) {
    let mut stderr = io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let plural = if rows == 1 { "" } else { "s" };
    let mut parts = vec![format!("{rows} row{plural} in {:.3} s", elapsed.as_secs_f64())];
    if left_out.rows > 0 {
        parts.push(format!("{} rows left out, use -o FILE or a pipe for all", left_out.rows));
    }
    if left_out.columns > 0 {
        parts.push(format!("{} columns left out, use --format vertical for all", left_out.columns));
    }
    // A closed stderr is no reason to fail a query that succeeded.
    let _ = writeln!(stderr, "{}", parts.join("; "));
}

fn read_query(args: &Args) -> Result<String> {
    let sql = match (&args.query, &args.file) {
        (Some(query), _) => query.clone(),
        (None, Some(path)) if path != Path::new("-") => {
            let fail = |source| Error::ReadFile { path: path.clone(), source };
            read_text(std::fs::File::open(path).map_err(fail)?, path)?
        }
        (None, None) if io::stdin().is_terminal() => {
            return Err(Error::usage(
                "no query; give one as an argument, with -f FILE, or on standard input",
            ));
        }
        (None, _) => read_text(io::stdin(), Path::new("standard input"))?,
    };
    if sql.trim().is_empty() {
        return Err(Error::usage(
            "the query is empty; give one as an argument, with -f FILE, or on standard input",
        ));
    }
    Ok(sql)
}

fn read_text(source: impl Read, path: &Path) -> Result<String> {
    let mut text = String::new();
    source
        .take(MAX_QUERY_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|source| Error::ReadFile { path: path.to_owned(), source })?;
    if text.len() as u64 > MAX_QUERY_BYTES {
        let limit = MAX_QUERY_BYTES >> 20;
        return Err(Error::usage(format!("{} is longer than {limit} MiB: not a query", path.display())));
    }
    Ok(text)
}

/// A time that something may take: not zero.
pub(super) fn parse_limit(text: &str) -> Result<Duration, String> {
    match text.parse::<Period>() {
        Ok(period) if period.as_duration().is_zero() => Err("the time must be more than zero".to_owned()),
        Ok(period) => Ok(period.as_duration()),
        Err(error) => Err(error.to_string()),
    }
}
