//! The catalog of a data directory, for commands that work beside a running server or without one.

use std::path::Path;

use alula_catalog::Catalog;
use alula_storage::backup;

use super::CliError;
use crate::config::Config;
use crate::server::identity::create_data_dir;

/// For commands that make no catalog where there is none.
pub(super) fn open_existing(config: &Config) -> Result<Catalog, CliError> {
    let path = &config.server.data_dir;
    if !path.join(Catalog::FILE_NAME).exists() {
        return Err(backup::Error::NotAStore { path: path.clone() }.into());
    }
    open(config)
}

pub(super) fn open(config: &Config) -> Result<Catalog, CliError> {
    let data_dir: &Path = &config.server.data_dir;
    create_data_dir(data_dir).map_err(CliError::failed)?;
    Catalog::open(&data_dir.join(Catalog::FILE_NAME)).map_err(CliError::failed)
}
