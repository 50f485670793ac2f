//! Why a server did not start, or did not stop cleanly.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::task::JoinError;

use super::Port;
use crate::config::ConfigError;

/// Named after what the operator can change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the address {addr} is in use")]
    AddressInUse { port: Port, addr: SocketAddr },
    #[error("cannot listen on {addr}")]
    Bind { port: Port, addr: SocketAddr, source: io::Error },
    #[error("cannot use {} as the data directory", path.display())]
    DataDir { path: PathBuf, source: io::Error },
    #[error("cannot use the data directory")]
    Restore(#[from] alula_storage::backup::Error),
    #[error("cannot open the catalog")]
    Catalog(#[from] alula_catalog::Error),
    #[error("cannot open the storage")]
    Storage(#[from] alula_storage::Error),
    #[error("cannot open the keys")]
    Auth(#[from] alula_auth::Error),
    #[error("cannot start the query engine")]
    Flight(#[source] Box<alula_flight::Error>),
    #[error("cannot describe the services")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("the start was interrupted")]
    Interrupted(#[source] JoinError),
}

impl From<alula_flight::Error> for StartError {
    fn from(error: alula_flight::Error) -> Self {
        Self::Flight(Box::new(error))
    }
}

impl StartError {
    /// What to do about it, where the error itself does not say.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::AddressInUse { port, .. } | Self::Bind { port, .. } => Some(port.advice()),
            Self::DataDir { .. } => Some("--data-dir (server.data_dir) names another directory"),
            Self::Config(_)
            | Self::Restore(_)
            | Self::Catalog(_)
            | Self::Storage(_)
            | Self::Auth(_)
            | Self::Flight(_)
            | Self::Reflection(_)
            | Self::Interrupted(_) => None,
        }
    }
}

/// What went wrong after the start. What was acknowledged is in the log in every case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    #[error("the rows in memory could not be written to files; they are in the write-ahead log")]
    Storage(#[source] alula_storage::Error),
    #[error("{reason}")]
    StorageFailed { reason: String },
    #[error("the gRPC port failed")]
    Transport(#[source] tonic::transport::Error),
    #[error("a port stopped by itself")]
    PortEnded,
    #[error("a port ended unexpectedly")]
    Interrupted(#[source] JoinError),
}
