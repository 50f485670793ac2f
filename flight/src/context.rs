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
use alula_storage::table::{
    CATALOG_NAME, SCHEMA_NAME, SYSTEM_SCHEMA_NAME, SealedObjectStores, SqlPredicates, tenant_catalog,
    tenant_catalog_with,
};
use alula_storage::{Snapshot, Storage, UserTables};
use arrow::temporal_conversions::timestamp_ns_to_datetime;
use datafusion::catalog::CatalogProvider;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{
    FunctionRegistry, SessionState, SessionStateBuilder, SessionStateDefaults, TaskContext,
};
use datafusion::prelude::SessionConfig;

use crate::information_schema::catalog_list;
use crate::queries::{Queries, Query, QueryPool, with_queries};
use crate::settings::Settings;
use crate::stop::Stop;
use crate::tail::TailConfig;
use crate::transaction::Transactions;
use crate::update::parse_predicate;
use crate::update::writes::Writes;
use crate::{Error, Result, aggregates, functions, views, watch};

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
    pub tail: TailConfig,
    /// How long a stream of rows is silent before an empty batch shows that it lives: proxies end idle streams.
    pub keep_alive_interval: Duration,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("memory_limit_bytes", &self.memory_limit_bytes)
            .field("spill_limit_bytes", &self.spill_limit_bytes)
            .field("statement_timeout", &self.statement_timeout)
            .field("max_sql_bytes", &self.max_sql_bytes)
            .field("target_partitions", &self.target_partitions)
            .field("keep_alive_interval", &self.keep_alive_interval)
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
    pub(crate) queries: Arc<Queries>,
}

impl QueryEngine {
    /// # Errors
    /// `Engine` — the spill directory cannot be made.
    pub(crate) fn try_new(storage: Storage, config: &Config) -> Result<Self> {
        let base = base_state(config).map_err(Error::Engine)?;
        let predicates = Arc::new(SqlPredicates::new(base.clone(), parse_predicate));
        storage.compile_predicates_with(Arc::clone(&predicates) as _);
        let queries = Arc::new(Queries::new());
        Ok(Self { storage, base, predicates, max_sql_bytes: config.max_sql_bytes, queries })
    }

    /// Where queries put what they cannot keep in memory.
    pub(crate) fn disk(&self) -> &Arc<DiskManager> {
        &self.base.runtime_env().disk_manager
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
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
    pub(crate) can_write: bool,
    pub(crate) max_sql_bytes: usize,
    pub(crate) settings: Settings,
    /// For the statements that change something.
    pub(crate) storage: Storage,
    pub(crate) predicates: Arc<SqlPredicates>,
    /// Those of the tenant's own that the session sees.
    pub(crate) user_tables: Arc<UserTables>,
    /// Where a statement of a transaction keeps what it writes.
    pub(crate) transactions: Arc<Transactions<Writes>>,
    pub(crate) queries: Arc<Queries>,
    /// What the transaction has written, which is in use for as long as this is kept.
    pub(crate) writes: Option<Arc<Writes>>,
    /// The run that this session is for, if it is on the list.
    pub(crate) query: Option<Arc<Query>>,
}

impl QueryContext {
    /// A session that sees the rows stored before this call, of the principal's tenant.
    pub(crate) fn for_principal(
        engine: &QueryEngine,
        principal: &Principal,
        settings: Settings,
        transactions: &Arc<Transactions<Writes>>,
    ) -> Result<Self> {
        let tenant = principal.tenant().clone();
        let transaction = settings.transaction.as_ref();
        let writes = transaction.and_then(|transaction| transactions.written(&tenant, transaction));
        let written = writes.as_ref().map(|writes| writes.tables());
        if let (Some(transaction), None) = (transaction, &writes) {
            // It must not be that they were let go of: the statement would see less than the one before it.
            transactions.check(&tenant, transaction)?;
        }
        // After the writes: it knows their tenant.
        let snapshot = engine.storage.snapshot();
        let tables = written.unwrap_or_else(|| {
            let latest = snapshot.user_tables(&tenant);
            let is_seen = transaction.is_none_or(|transaction| transaction.sees(&latest));
            if is_seen { latest } else { Arc::new(latest.outdated()) }
        });
        let catalog = tenant_catalog_with(&snapshot, &tables)?;
        views::register(catalog.as_ref(), &snapshot, &tenant)?;
        if let Some(system) = catalog.schema(SYSTEM_SCHEMA_NAME) {
            let system = with_queries(system, &engine.queries, principal);
            catalog.register_schema(SYSTEM_SCHEMA_NAME, system)?;
        }
        Ok(Self {
            state: session(&engine.base, catalog, settings.schema()),
            tenant,
            subject: principal.subject().to_owned(),
            is_admin: principal.is_admin(),
            can_write: principal.can_write(),
            max_sql_bytes: engine.max_sql_bytes,
            settings,
            storage: engine.storage.clone(),
            predicates: Arc::clone(&engine.predicates),
            user_tables: tables,
            transactions: Arc::clone(transactions),
            queries: Arc::clone(&engine.queries),
            writes,
            query: None,
        })
    }

    /// The session of a run that is on the list.
    pub(crate) fn of_query(self, query: &Arc<Query>) -> Self {
        Self { query: Some(Arc::clone(query)), ..self }
    }

    /// Lets functions that take long find what ends them.
    pub(crate) fn stop_at(&mut self, stop: Stop) {
        self.state.config_mut().options_mut().extensions.insert(stop);
        // Functions are called with the options of this moment.
        self.state.mark_start_execution();
        let now_ns = self.settings.part.and_then(|part| part.now_ns);
        if let Some(now) = now_ns.and_then(timestamp_ns_to_datetime) {
            self.state.execution_props_mut().query_execution_start_time = Some(now.and_utc());
        }
    }

    /// Goes over to tables of the tenant's own as a transaction has them, and to the telemetry of this moment.
    pub(crate) fn see(&mut self, tables: &Arc<UserTables>) -> Result<()> {
        let snapshot = self.storage.snapshot();
        let catalog = tenant_catalog_with(&snapshot, tables)?;
        views::register(catalog.as_ref(), &snapshot, &self.tenant)?;
        // With the list of queries, of which storage knows nothing.
        let before = self.state.catalog_list().catalog(CATALOG_NAME);
        if let Some(system) = before.and_then(|before| before.schema(SYSTEM_SCHEMA_NAME)) {
            catalog.register_schema(SYSTEM_SCHEMA_NAME, system)?;
        }
        self.state = session(&self.state, catalog, self.settings.schema());
        self.user_tables = Arc::clone(tables);
        Ok(())
    }

    /// The same session over another snapshot.
    pub(crate) fn state_on(&self, snapshot: &Arc<Snapshot>) -> Result<SessionState> {
        Ok(session(&self.state, tenant_catalog(snapshot, &self.tenant)?, self.settings.schema()))
    }
}

/// What a plan runs with. The memory counts as that of the query.
pub(crate) fn task_context(state: &SessionState, query: Option<&Arc<Query>>) -> Arc<TaskContext> {
    let Some(query) = query else { return state.task_ctx() };
    let shared = state.runtime_env();
    let memory_pool = Arc::new(QueryPool::new(&shared.memory_pool, query));
    let runtime = RuntimeEnv { memory_pool, ..RuntimeEnv::clone(shared) };
    Arc::new(TaskContext::from(state).with_runtime(Arc::new(runtime)))
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
        .with_analyzer_rules(watch::analyzer_rules())
        .with_optimizer_rules(watch::optimizer_rules())
        .with_physical_optimizer_rules(watch::physical_optimizer_rules())
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
