//! `alula demo`: the arguments; the rest is in [`crate::demo`].

use std::path::PathBuf;
use std::process::ExitCode;

use super::CliError;
use crate::config::ListenAddr;
use crate::demo::Demo;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keeps the data in this directory; without it a temporary one is used and removed at the end.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Address of the gRPC port (OTLP and Flight SQL); port 0, as in `:0`, picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4317", value_parser = parse_address)]
    grpc_addr: ListenAddr,

    /// Address of the HTTP port (OTLP over HTTP); port 0, as in `:0`, picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4318", value_parser = parse_address)]
    http_addr: ListenAddr,

    /// Ends after the answers instead of going on with live data.
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode, CliError> {
    let Args { data_dir, grpc_addr, http_addr, once } = args;
    Demo { data_dir, grpc_addr, http_addr, once }.run().await?;
    Ok(ExitCode::SUCCESS)
}

/// A port alone is one on this machine.
fn parse_address(text: &str) -> Result<ListenAddr, String> {
    let whole = if text.starts_with(':') { format!("127.0.0.1{text}") } else { text.to_owned() };
    whole.parse().map_err(|error| format!("{error}"))
}
