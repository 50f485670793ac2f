//! `alula token create`: a credential on stdout, and nothing else there.

use std::io::{self, Write as _};
use std::process::ExitCode;

use alula_auth::{ErrorKind, Role, Roles};
use alula_catalog::TenantId;
use clap::Subcommand;

use super::{CliError, DataDirArgs};
use crate::config::Period;
use crate::server::identity::{self, TokenError};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token (JWT) and print it; works while the server runs and before its first start.
    Create(CreateArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Tenant whose data the token opens; it need not exist yet.
    #[arg(long, value_name = "TENANT")]
    tenant: TenantId,

    /// What the token may do: read, write or admin (both and more); repeatable.
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<Role>,

    /// How long the token is valid.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    ttl: Period,

    /// Name of who or what will use the token, for logs.
    #[arg(long, value_name = "NAME", default_value = "cli")]
    subject: String,

    #[command(flatten)]
    data_dir: DataDirArgs,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, CliError> {
    let Command::Create(args) = args.command;
    let data_dir = args.data_dir.load()?.server.data_dir;

    let roles: Roles = args.roles.into_iter().collect();
    let token = tokio::task::spawn_blocking(move || {
        identity::create_token(&data_dir, &args.tenant, &args.subject, roles, args.ttl.as_duration())
    })
    .await
    .map_err(CliError::failed)??;
    writeln!(io::stdout(), "{token}")?;
    Ok(ExitCode::SUCCESS)
}

impl From<TokenError> for CliError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Auth(source) if source.kind() == ErrorKind::InvalidInput => Self::usage(source),
            TokenError::Auth(source) => Self::failed(source),
            TokenError::DataDir { .. } => Self::failed(error).with_hint("--data-dir names another directory"),
        }
    }
}
