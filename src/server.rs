//! The server: every part built in the order of their needs, behind a gRPC port and an HTTP port.
//!
//! ```text
//! data directory -> catalog -> storage (replays the log) -> ingest, flight --+-> tonic -> gRPC port
//!                -> auth.db -> auth layer -----------------------------------+-> hyper -> HTTP port
//! ```
//!
//! | File | Purpose |
//! |---|---|
//! | `server.rs` | [`Server`]: start, drain |
//! | `server/port.rs`, `server/limits.rs` | addresses, and the limits on connections |
//! | `server/grpc.rs` | the gRPC port |
//! | `server/backfill.rs` | from bulk ingest to the path of OTLP |
//! | `server/health.rs` | what health checks are told, on both ports |
//! | `server/http.rs`, `server/socket.rs` | the HTTP port, and how its connections begin and close |
//! | `server/preface.rs` | what a client is told that does not speak gRPC |
//! | `server/reflection.rs` | the descriptors of the services |
//! | `server/identity.rs` | the data directory and the keys in it |
//! | `server/error.rs` | why a server did not start, or did not stop cleanly |
//!
//! **Invariants**
//! - The ports answer only once everything behind them is ready: a call that gets through is served.
//! - After [`Server::shutdown`] every acknowledged row is in a file, and the data directory is free.

mod backfill;
mod error;
mod grpc;
mod health;
mod http;
pub(crate) mod identity;
mod limits;
mod port;
mod preface;
mod reflection;
mod socket;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use alula_auth::{AuthLayer, KeyStore, Verifier};
use alula_catalog::Catalog;
use alula_flight::FlightSql;
use alula_ingest::{HttpService, Ingest, OtlpDecoder};
use alula_storage::Storage;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use self::backfill::Backfiller;
pub use self::error::{StartError, StopError};
use self::health::{Health, WithHealth};
pub use self::port::Port;
use self::port::Taken;
use crate::config::{self, Config};

/// How long a stream of rows may be silent: proxies end idle streams after 15 seconds and more.
const STREAM_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a call that was cut off gets to tell its client so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A server that answers on its ports.
#[derive(Debug)]
pub struct Server {
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    /// Tells the ports to take no more connections and calls.
    drain: CancellationToken,
    grpc: AbortOnDropHandle<Result<(), tonic::transport::Error>>,
    http: AbortOnDropHandle<()>,
    health: Health,
    /// Ends, with the reason, once storage takes nothing any more.
    storage_failed: AbortOnDropHandle<String>,
    flight: FlightSql,
    storage: Storage,
    grace: Duration,
}

impl Server {
    /// Opens the data directory, replays the log and listens.
    ///
    /// Cancel: what was opened is closed in the background; nothing is lost.
    ///
    /// # Errors
    /// [`StartError`]: each variant says what to change.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.validate()?;
        let grpc = Taken::bind(Port::Grpc, config.server.grpc_addr.as_socket_addr())?;
        let http = Taken::bind(Port::Http, config.server.http_addr.as_socket_addr())?;

        let opening = config.clone();
        let opened =
            spawn_blocking(move || Opened::open(&opening)).await.map_err(StartError::Interrupted)??;

        let ingest = opened.ingest;
        let health = Health::new();
        let drain = CancellationToken::new();
        let otlp = HttpService::new(ingest.clone(), opened.auth.clone());
        let http_service = WithHealth::new(opened.storage.watch_health(), otlp);
        let router = grpc::router(opened.auth, ingest, opened.flight.clone(), &health)?;
        let (grpc_listener, grpc_addr) = grpc.listen()?;
        let (http_listener, http_addr) = http.listen()?;
        let grpc = tokio::spawn(
            router
                .serve_with_incoming_shutdown(grpc::incoming(grpc_listener), drain.clone().cancelled_owned()),
        );
        let http = tokio::spawn(http::serve(http_listener, http_service, drain.clone()));
        health.set_serving().await;
        let storage_failed = tokio::spawn(health.clone().follow(opened.storage.watch_health()));

        announce(&config, grpc_addr, http_addr, opened.first_start);
        Ok(Self {
            grpc_addr,
            http_addr,
            drain,
            grpc: AbortOnDropHandle::new(grpc),
            http: AbortOnDropHandle::new(http),
            health,
            storage_failed: AbortOnDropHandle::new(storage_failed),
            flight: opened.flight,
            storage: opened.storage,
            grace: config.server.shutdown_grace.as_duration(),
        })
    }

    /// The address of OTLP and Flight SQL over gRPC, with the port that was picked if the configured one is 0.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// The same of OTLP over HTTP.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Ends only if one of the ports does, which they do not do by themselves, or storage fails for good.
    pub async fn failed(&mut self) -> StopError {
        tokio::select! {
            ended = &mut self.grpc => match ended {
                Ok(Ok(())) => StopError::PortEnded,
                Ok(Err(error)) => StopError::Transport(error),
                Err(error) => StopError::Interrupted(error),
            },
            ended = &mut self.http => match ended {
                Ok(()) => StopError::PortEnded,
                Err(error) => StopError::Interrupted(error),
            },
            ended = &mut self.storage_failed => match ended {
                Ok(reason) => StopError::StorageFailed { reason },
                Err(error) => StopError::Interrupted(error),
            },
        }
    }

    /// Drains: health says so, no new calls, running ones get the grace period, the buffer goes into files.
    ///
    /// Durable: what was acknowledged is on disk in any case; on `Ok` it is in files and the log is empty.
    /// Cancel: safe; the next start replays the log.
    ///
    /// # Errors
    /// [`StopError::Storage`] — the flush failed; the rows are still in the log.
    pub async fn shutdown(self) -> Result<(), StopError> {
        let Self { drain, mut grpc, mut http, health, storage_failed, flight, storage, grace, .. } = self;
        // It must not tell of storage again after this.
        storage_failed.abort();
        if !storage_failed.is_finished() {
            let _ = storage_failed.await;
        }
        health.set_not_serving().await;
        drain.cancel();
        flight.end_tails();
        let ended = async {
            // One may have failed and been seen to; then there is nobody to wait for.
            if !grpc.is_finished() {
                let _ = (&mut grpc).await;
            }
            if !http.is_finished() {
                let _ = (&mut http).await;
            }
        };
        if timeout(grace, ended).await.is_err() {
            warn!("calls still running after {grace:?} are cut off");
            flight.shutdown();
            // Their streams end with an error, which still has to reach the clients.
            // Who does not read is not waited for.
            if !grpc.is_finished() {
                let _ = timeout(LAST_WORDS, grpc).await;
            }
        }
        // Its tasks hold requests that would go on while the storage closes.
        drop(http);
        storage.close().await.map_err(StopError::Storage)
    }
}

/// What is opened on a blocking thread.
struct Opened {
    storage: Storage,
    ingest: Ingest,
    flight: FlightSql,
    auth: AuthLayer,
    first_start: bool,
}

impl Opened {
    fn open(config: &Config) -> Result<Self, StartError> {
        let data_dir = &config.server.data_dir;
        identity::create_data_dir(data_dir)
            .map_err(|source| StartError::DataDir { path: data_dir.clone(), source })?;
        alula_storage::backup::ensure_restored(data_dir)?;
        let first_start = !identity::key_store_path(data_dir).exists();

        let catalog = Arc::new(Catalog::open(&data_dir.join(Catalog::FILE_NAME))?);
        let storage = Storage::open(&storage_config(config), catalog, &OtlpDecoder)?;
        let keys = KeyStore::open(&identity::key_store_path(data_dir))?;
        let ingest = Ingest::new(storage.clone(), ingest_config(config));
        let backfill = Arc::new(Backfiller(ingest.clone()));
        let flight_config = flight_config(config, keys.secret("flight-handles")?);
        let flight = FlightSql::new(storage.clone(), backfill, &flight_config)?;
        let auth = if config.server.no_auth {
            AuthLayer::disabled()
        } else {
            AuthLayer::required(Arc::new(Verifier::new(keys)?))
        };
        Ok(Self { storage, ingest, flight, auth, first_start })
    }
}

fn storage_config(config: &Config) -> alula_storage::Config {
    let storage = &config.storage;
    alula_storage::Config {
        data_dir: config.server.data_dir.clone(),
        flush_bytes: storage.flush_bytes.as_usize(),
        flush_interval: storage.flush_interval.as_duration(),
        max_buffer_bytes: storage.max_buffer_bytes.as_usize(),
        wal_segment_bytes: storage.wal_segment_bytes.as_u64(),
        wal_queue_bytes: storage.wal_queue_bytes.as_usize(),
        maintenance_interval: storage.maintenance_interval.as_duration(),
        maintenance_cpu_share: storage.maintenance_cpu_share.as_fraction(),
        scrub_interval: storage.scrub_interval.unless_zero(),
        compaction: alula_storage::CompactionConfig {
            cold_after: storage.compaction_cold_after.as_duration(),
            day_after: storage.compaction_day_after.as_duration(),
            target_bytes: storage.compaction_target_bytes.as_u64(),
        },
        user_tables: alula_storage::UserTablesConfig {
            max_tables: storage.user_tables_max,
            max_bytes: storage.user_tables_bytes.as_u64(),
        },
        retention: alula_storage::RetentionConfig {
            metrics: storage.retention_metrics.unless_zero(),
            logs: storage.retention_logs.unless_zero(),
            traces: storage.retention_traces.unless_zero(),
        },
        on_corruption: match storage.wal_on_corruption {
            config::OnCorruption::Salvage => alula_storage::OnCorruption::Salvage,
            config::OnCorruption::Refuse => alula_storage::OnCorruption::Refuse,
        },
        on_sync_error: match storage.wal_on_sync_error {
            config::OnSyncError::Recover => alula_storage::OnSyncError::Recover,
            config::OnSyncError::Exit => alula_storage::OnSyncError::Exit,
        },
        min_free_bytes: storage.min_free_bytes.map(config::Size::as_u64),
        remote: remote_config(config),
    }
}

/// The remote tier, if there is one.
pub(crate) fn remote_config(config: &Config) -> Option<alula_storage::RemoteConfig> {
    let storage = &config.storage;
    storage.remote_url.as_ref().map(|url| alula_storage::RemoteConfig {
        after: storage.remote_after.as_duration(),
        cache_bytes: storage.remote_cache_bytes.as_u64(),
        cache_memory_bytes: storage.remote_cache_memory.as_usize(),
        orphan_age: storage.remote_orphan_age.as_duration(),
        ..alula_storage::RemoteConfig::new(url.to_storage())
    })
}

fn ingest_config(config: &Config) -> alula_ingest::Config {
    alula_ingest::Config {
        max_message_bytes: config.ingest.max_message_bytes.as_usize(),
        max_http_message_bytes: config.ingest.max_http_message_bytes.as_usize(),
        tenant_bytes_per_second: NonZeroU64::new(config.ingest.tenant_bytes_per_second.as_u64()),
        max_in_flight_bytes: config.ingest.max_in_flight_bytes.as_usize(),
        max_future: config.ingest.max_future.as_duration(),
    }
}

fn flight_config(config: &Config, signing_key: [u8; 32]) -> alula_flight::Config {
    alula_flight::Config {
        memory_limit_bytes: config.query.memory_limit.as_usize(),
        spill_dir: config.server.data_dir.join("spill"),
        spill_limit_bytes: config.query.spill_limit.as_u64(),
        statement_timeout: Some(config.query.statement_timeout.as_duration()),
        max_sql_bytes: config.query.max_sql_bytes.as_usize(),
        target_partitions: std::thread::available_parallelism().map_or(1, usize::from),
        signing_key,
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        tail: alula_flight::TailConfig::default(),
        keep_alive_interval: STREAM_KEEP_ALIVE,
    }
}

fn announce(config: &Config, grpc_addr: SocketAddr, http_addr: SocketAddr, first_start: bool) {
    let data_dir = config.server.data_dir.display();
    let auth = if config.server.no_auth { "off" } else { "on" };
    info!(
        "listening on {grpc_addr} (OTLP and Flight SQL over gRPC) and {http_addr} (OTLP over HTTP); \
         data in {data_dir}; authentication {auth}"
    );
    if first_start && !config.server.no_auth {
        info!(
            "to get in, make a token: alula token create --tenant default --role admin --data-dir {data_dir}"
        );
    }
}
