//! `alula serve`: the server until a signal ends it.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use tracing::{info, warn};

use super::{CliError, ConfigArgs, Failure};
use crate::config;
use crate::server::Server;
use crate::shutdown::Signals;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, CliError> {
    let loaded = args.config.load()?;
    telemetry::start(&loaded.config.server.log_level, loaded.config.server.log_format);
    for name in config::unknown_variables() {
        warn!("environment variable {name} names no configuration key and is ignored");
    }
    let config = loaded.config;
    let ready_file = config.server.ready_file.clone();
    let mut signals = Signals::listen()?;
    if let Some(path) = &ready_file {
        // What a killed server left behind must not be taken for this one.
        remove_ready_file(path);
    }

    let mut server = tokio::select! {
        started = Server::start(config) => started?,
        // Nothing was promised to anyone yet, and what the log holds stays there.
        signal = signals.next() => {
            info!("{signal} during the start; nothing to drain");
            return Ok(ExitCode::SUCCESS);
        }
    };
    if let Some(path) = &ready_file {
        write_ready_file(path, &server).map_err(|error| {
            CliError::usage(error).with_hint(format!("server.ready_file is {}", path.display()))
        })?;
    }

    let signal = tokio::select! {
        signal = signals.next() => signal,
        error = server.failed() => return Err(error.into()),
    };
    info!("{signal}: draining; a second signal ends at once");
    if let Some(path) = &ready_file {
        remove_ready_file(path);
    }
    let drained = tokio::select! {
        drained = server.shutdown() => drained,
        signal = signals.next() => {
            warn!("{signal} during the drain: ending at once; acknowledged data is in the write-ahead log");
            // Returning would drop the storage, which waits for its threads.
            std::process::exit(Failure::Interrupted as i32);
        }
    };
    drained?;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Writes the file whole or not at all: whoever waits for it may read it as soon as it is there.
fn write_ready_file(path: &Path, server: &Server) -> io::Result<()> {
    let content = serde_json::json!({
        "grpc": server.grpc_addr().to_string(),
        "http": server.http_addr().to_string(),
        "pid": std::process::id(),
    });
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(directory)?;
    writeln!(file, "{content}")?;
    file.persist(path)?;
    Ok(())
}

/// A failure needs no word: writing the file, which is the next thing done to it, would fail as well.
fn remove_ready_file(path: &Path) {
    let _ = std::fs::remove_file(path);
}
