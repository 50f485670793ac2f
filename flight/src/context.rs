//! [`QueryContext`]: the only way from a principal to a session, and so to rows.
//!
//! One [`QueryEngine`] holds what all queries share: functions, limits, memory and spill space. A context is a copy of
//! its state for one request, with a catalog that holds the tables of the principal's tenant and nothing else.
//!
//! Not there on purpose: URL tables, table factories, file formats, any object store that a query could name.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alula_auth::Principal;
use alula_catalog::TenantId;
use alula_storage::table::{CATALOG_NAME, SCHEMA_NAME, SealedObjectStores, SqlPredicates, tenant_catalog};
use alula_storage::{Snapshot, Storage};
use datafusion::catalog::CatalogProvider;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::prelude::SessionConfig;

use crate::information_schema::catalog_list;
use crate::settings::Settings;
use crate::update::parse_predicate;
use crate::{Error, Result, aggregates, functions, views};

/// How many consumers of memory an error names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(3).expect("3 is not 0");

/// Limits and identity of the query side.
#[derive(Clone)]
pub struct Config {
    /// Memory of all running queries together, as far as DataFusion counts it.
    pub memory_limit_bytes: usize,
    /// Where sorts, joins and groups that do not fit in memory are put; a directory of its own.
    pub spill_dir: PathBuf,
    /// Disk space of all running queries together.
    pub spill_limit_bytes: u64,
    /// The longest a statement may run; `None` for no limit.
    pub statement_timeout: Option<Duration>,
    /// The longest statement text.
    pub max_sql_bytes: usize,
    /// Query threads, and the partitions that a query is cut into.
    pub target_partitions: usize,
    /// Signs tickets and prepared statement handles; servers that share it can answer each other's.
    pub signing_key: [u8; 32],
    /// What `GetSqlInfo` says.
    pub server_version: String,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("memory_limit_bytes", &self.memory_limit_bytes)
            .field("spill_limit_bytes", &self.spill_limit_bytes)
            .field("statement_timeout", &self.statement_timeout)
            .field("max_sql_bytes", &self.max_sql_bytes)
            .field("target_partitions", &self.target_partitions)
            // Neither the key nor a path.
            .finish_non_exhaustive()
    }
}

/// What all queries share.
pub(crate) struct QueryEngine {
    storage: Storage,
    base: SessionState,
    predicates: Arc<SqlPredicates>,
    max_sql_bytes: usize,
}

impl QueryEngine {
    /// # Errors
    /// `Engine` — the spill directory cannot be made.
    pub(crate) fn try_new(storage: Storage, config: &Config) -> Result<Self> {
        let base = base_state(config).map_err(Error::Engine)?;
        let predicates = Arc::new(SqlPredicates::new(base.clone(), parse_predicate));
        storage.compile_predicates_with(Arc::clone(&predicates) as _);
        Ok(Self { storage, base, predicates, max_sql_bytes: config.max_sql_bytes })
    }

    /// Names of the scalar functions in the given sections of DataFusion's documentation, in order.
    pub(crate) fn function_names(&self, sections: &[&str]) -> Vec<String> {
        let mut names: Vec<_> = self
            .base
            .scalar_functions()
            .iter()
            .filter(|(name, function)| {
                *name == function.name()
                    && function.documentation().is_some_and(|doc| sections.contains(&doc.doc_section.label))
            })
            .map(|(name, _)| name.clone())
            .collect();
        names.sort_unstable();
        names
    }
}

/// A session for one request of one principal.
pub(crate) struct QueryContext {
    pub(crate) state: SessionState,
    pub(crate) tenant: TenantId,
    /// The name of the caller within its tenant.
    pub(crate) subject: String,
    pub(crate) is_admin: bool,
    pub(crate) max_sql_bytes: usize,
    pub(crate) settings: Settings,
    /// For the statements that change something.
    pub(crate) storage: Storage,
    pub(crate) predicates: Arc<SqlPredicates>,
}

impl QueryContext {
    /// A session that sees the rows stored before this call, of the principal's tenant.
    pub(crate) fn for_principal(
        engine: &QueryEngine,
        principal: &Principal,
        settings: Settings,
    ) -> Result<Self> {
        let tenant = principal.tenant().clone();
        let snapshot = engine.storage.snapshot();
        let catalog = tenant_catalog(&snapshot, &tenant)?;
        views::register(catalog.as_ref(), &snapshot, &tenant)?;
        Ok(Self {
            state: session(&engine.base, catalog, settings.schema()),
            tenant,
            subject: principal.subject().to_owned(),
            is_admin: principal.is_admin(),
            max_sql_bytes: engine.max_sql_bytes,
            settings,
            storage: engine.storage.clone(),
            predicates: Arc::clone(&engine.predicates),
        })
    }

    /// The same session over another snapshot.
    pub(crate) fn state_on(&self, snapshot: &Arc<Snapshot>) -> Result<SessionState> {
        Ok(session(&self.state, tenant_catalog(snapshot, &self.tenant)?, self.settings.schema()))
    }
}

fn session(base: &SessionState, catalog: Arc<dyn CatalogProvider>, schema: &str) -> SessionState {
    let mut state = base.clone();
    schema.clone_into(&mut state.config_mut().options_mut().catalog.default_schema);
    state.register_catalog_list(catalog_list(catalog));
    // What `now()` answers throughout the statement.
    state.mark_start_execution();
    state
}

fn base_state(config: &Config) -> DataFusionResult<SessionState> {
    let mut session = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG_NAME, SCHEMA_NAME)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_batch_size(8192)
        .with_target_partitions(config.target_partitions.max(1));
    let options = session.options_mut();
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.parquet.pushdown_filters = false;
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    // A physical plan names files.
    options.explain.logical_plan_only = true;

    let mut state = SessionStateBuilder::new()
        .with_config(session)
        .with_runtime_env(Arc::new(runtime_env(config)?))
        .with_expr_planners(functions::expr_planners())
        .with_scalar_functions(functions::scalar_functions())
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(aggregates::aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_table_function_list(SessionStateDefaults::default_table_functions())
        .build();
    datafusion_functions_json::register_all(&mut state as &mut dyn FunctionRegistry)?;
    Ok(state)
}

/// Makes the spill directory, and removes what an earlier process that was killed left in it.
fn prepare_spill_dir(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // Only what DataFusion makes: a wrong setting must not empty another directory.
        if entry.file_name().to_string_lossy().starts_with("datafusion-") && entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn runtime_env(config: &Config) -> DataFusionResult<RuntimeEnv> {
    prepare_spill_dir(&config.spill_dir)?;
    let pool = TrackConsumersPool::new(FairSpillPool::new(config.memory_limit_bytes), NAMED_CONSUMERS);
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![config.spill_dir.clone()]))
        .with_max_temp_directory_size(config.spill_limit_bytes);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(disk)
        .with_object_store_registry(Arc::new(SealedObjectStores::default()))
        .build()
}

#[cfg(test)]
mod tests;
