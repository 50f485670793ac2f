//! `alula demo`: the real server on made-up data, five questions and their answers, and how to connect.
//!
//! | file | purpose |
//! |---|---|
//! | `feed.rs` | the shop's telemetry over OTLP: half an hour of history, then live |
//! | `questions.rs` | the queries, which lead from the overview to the cause |
//! | `guide.rs` | how to connect from elsewhere |
//!
//! Nothing is special about this server: data goes in by OTLP over gRPC and comes out by Flight SQL over the same
//! port, both with a token. Answers go to stdout, progress to stderr.

mod feed;
mod guide;
mod questions;

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alula_auth::{Role, Roles};
use alula_catalog::TenantId;
use tempfile::TempDir;

use self::feed::Feed;
use crate::cli::{CliError, Failure};
use crate::config::{Config, ListenAddr, LogFormat, LogLevel};
use crate::server::{Server, identity};
use crate::shutdown::Signals;
use crate::sql_client::{Connection, Credentials, Error, Format, Layout, ServerUrl, encoder};
use crate::telemetry;

const TENANT: &str = "demo";
const TOKEN_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug)]
pub(crate) struct Demo {
    /// Kept afterwards; without it a temporary directory is used and removed.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) grpc_addr: ListenAddr,
    pub(crate) http_addr: ListenAddr,
    /// Ends after the answers.
    pub(crate) once: bool,
}

impl Demo {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        telemetry::start(&"warn".parse::<LogLevel>().map_err(CliError::failed)?, LogFormat::Auto);
        let mut signals = Signals::listen()?;
        let place = Place::new(self.data_dir)?;
        let mut config = Config::for_data_dir(place.path());
        config.server.grpc_addr = self.grpc_addr;
        config.server.http_addr = self.http_addr;
        say(&format!(
            "starting a server on {} (gRPC) and {} (HTTP) over {}",
            self.grpc_addr,
            self.http_addr,
            place.path().display()
        ))?;
        let mut server = Server::start(config).await?;
        let (grpc_addr, http_addr) = (server.grpc_addr(), server.http_addr());

        let outcome = tokio::select! {
            shown = show(grpc_addr, http_addr, place.path(), self.once) => shown,
            // The way that a demo ends, unless it would end by itself.
            _ = signals.next() => if self.once { Err(Error::Interrupted.into()) } else { Ok(()) },
            error = server.failed() => Err(CliError::failed(error)),
        };
        say("stopping the server")?;
        let stopped = server.shutdown().await.map_err(CliError::failed);
        place.leave()?;
        outcome.and(stopped)
    }
}

/// Feeds the history, answers the questions and explains; then goes on feeding unless `once`.
async fn show(
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    data_dir: &Path,
    once: bool,
) -> Result<(), CliError> {
    let token = token(data_dir.to_owned()).await?;
    let credentials = Credentials::bearer(&token)?;
    let url = ServerUrl::from(grpc_addr);

    let started = Instant::now();
    let mut feed = Feed::connect(&url, credentials.clone()).await?;
    say("sending half an hour of telemetry of a small shop over OTLP gRPC")?;
    let sent = feed.history().await?;
    say(&format!(
        "sent {} spans, {} log records and {} data points in {:.1} s, all acknowledged",
        sent.spans,
        sent.logs,
        sent.points,
        started.elapsed().as_secs_f64()
    ))?;

    let mut connection = Connection::open(url, &credentials).await?;
    for (number, question) in questions::QUESTIONS.iter().enumerate() {
        let answer = ask(&mut connection, question.sql).await?;
        print(&format!("-- {}. {}\n{};\n{answer}\n", number + 1, question.title, question.sql))?;
    }
    print(&guide::text(grpc_addr, http_addr, &token, once))?;
    if once {
        return Ok(());
    }
    say("sending live data; Ctrl-C ends the demo")?;
    feed.live().await
}

/// Makes a token as `alula token create` does, beside the running server.
async fn token(data_dir: PathBuf) -> Result<String, CliError> {
    let tenant: TenantId = TENANT.parse().map_err(CliError::failed)?;
    let roles: Roles = [Role::Read, Role::Write].into_iter().collect();
    tokio::task::spawn_blocking(move || identity::create_token(&data_dir, &tenant, "demo", roles, TOKEN_TTL))
        .await
        .map_err(CliError::failed)?
        .map_err(CliError::failed)
}

async fn ask(connection: &mut Connection, sql: &str) -> Result<String, Error> {
    let mut answer = connection.query(sql).await?;
    let width = if io::stdout().is_terminal() { comfy_table::Table::new().width() } else { None };
    let layout = Layout { max_width: width.map(usize::from), ..Layout::default() };
    let encode = |source| Error::Encode { source };
    let mut table = encoder(Format::Table, &answer.planned_schema(), layout).map_err(encode)?;
    let mut out = Vec::new();
    while let Some(batch) = answer.next_batch().await? {
        table.encode(&batch, &mut out).map_err(encode)?;
    }
    table.finish(&mut out).map_err(encode)?;
    String::from_utf8(out).map_err(|error| Error::Protocol { source: error.into() })
}

/// Where the data is.
enum Place {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Place {
    fn new(data_dir: Option<PathBuf>) -> Result<Self, CliError> {
        match data_dir {
            Some(path) => Ok(Self::Kept(path)),
            None => tempfile::Builder::new().prefix("alula-demo-").tempdir().map(Self::Temporary).map_err(
                |error| {
                    CliError::new(Failure::Failed, error)
                        .with_hint("the temporary directory is not writable; --data-dir names another place")
                },
            ),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }

    fn leave(self) -> Result<(), CliError> {
        match self {
            Self::Kept(path) => say(&format!("the data stays in {}", path.display()))?,
            Self::Temporary(directory) => {
                let path = directory.path().to_owned();
                directory.close()?;
                say(&format!("removed {} and all data in it", path.display()))?;
            }
        }
        Ok(())
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{text}")
}

#[cfg(test)]
mod tests;
