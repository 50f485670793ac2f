//! The data directory and the keys in it, for the server and for commands that work beside it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alula_auth::{Error, Issuer, KeyStore, Roles};
use alula_catalog::TenantId;

/// Creates the directory and its parents, readable by their owner alone. An existing one keeps its mode.
pub(crate) fn create_data_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

pub(super) fn key_store_path(data_dir: &Path) -> PathBuf {
    data_dir.join("auth.db")
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TokenError {
    #[error("cannot use {} as the data directory", path.display())]
    DataDir { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Auth(#[from] Error),
}

/// Makes a token that the server over `data_dir` accepts, whether it runs or not, or has ever run.
///
/// Blocks on SQLite.
pub(crate) fn create_token(
    data_dir: &Path,
    tenant: &TenantId,
    subject: &str,
    roles: Roles,
    ttl: Duration,
) -> Result<String, TokenError> {
    create_data_dir(data_dir).map_err(|source| TokenError::DataDir { path: data_dir.to_owned(), source })?;
    let keys = KeyStore::open(&key_store_path(data_dir))?;
    Ok(Issuer::new(&keys)?.issue(tenant, subject, roles, ttl)?)
}
