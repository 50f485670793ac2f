//! The three locks, each with the others open, and what pruning leaves out.

use arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;
use tempfile::tempdir;

use super::*;
use crate::Storage;
use crate::testing::{config, entry, open, query};

const NOON_S: i64 = 1_795_262_400;

/// Tenant `a` with a flushed and a buffered entry, tenant `b` with both as well.
async fn two_tenants(dir: &std::path::Path) -> Storage {
    let storage = open(config(dir)).unwrap();
    for tenant in ["a", "b"] {
        storage.append(entry(tenant, &format!("{tenant}-old"), NOON_S, 3)).await.unwrap();
    }
    storage.flush().await.unwrap();
    for tenant in ["a", "b"] {
        storage.append(entry(tenant, &format!("{tenant}-new"), NOON_S + 7200, 2)).await.unwrap();
    }
    storage
}

fn context_with(table: TelemetryTable) -> SessionContext {
    let context = SessionContext::new();
    context.register_table("logs", Arc::new(table)).unwrap();
    context
}

#[tokio::test]
async fn a_table_holds_only_its_tenants_rows_without_any_filter() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let snapshot = storage.snapshot();
    for tenant in ["a", "b"] {
        let tenant: TenantId = tenant.parse().unwrap();
        let rows = snapshot.table(&tenant, Signal::Logs);
        let number = snapshot.tenant_number(&tenant).unwrap();
        assert!(rows.files.iter().all(|file| file.tenant == number));
        let mut seen = 0;
        for chunk in rows.hot.iter().chain(&rows.frozen) {
            let ids = chunk.batch.column_by_name("tenant_id").unwrap();
            let ids = arrow::compute::cast(ids, &arrow::datatypes::DataType::Utf8).unwrap();
            for id in arrow::array::AsArray::as_string::<i32>(&ids).iter() {
                assert_eq!(id, Some(tenant.as_str()));
                seen += 1;
            }
        }
        assert_eq!((rows.files.len(), seen), (1, 2));
    }
}

#[tokio::test]
async fn the_filter_finds_nothing_in_a_table_of_another_tenant() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
    // The guards are passed by: the filter of tenant a is put over the table of tenant b by hand.
    let table = TelemetryTable::try_new(&storage.snapshot(), &b, Signal::Logs).unwrap();
    let runtime = datafusion::execution::runtime_env::RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(SealedObjectStores::default()))
        .build_arc()
        .unwrap();
    let context = SessionContext::new_with_config_rt(Default::default(), runtime);
    context.register_table("logs", Arc::new(table)).unwrap();
    for (tenant, rows) in [(&a, 0), (&b, 5)] {
        let sql = format!("SELECT body FROM logs WHERE tenant_id = '{tenant}'");
        let found = context.sql(&sql).await.unwrap().collect().await.unwrap();
        assert_eq!(found.iter().map(|batch| batch.num_rows()).sum::<usize>(), rows, "tenant {tenant}");
    }
}

#[tokio::test]
async fn both_guards_refuse_a_table_of_another_tenant() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
    let context = context_with(TelemetryTable::try_new(&storage.snapshot(), &b, Signal::Logs).unwrap());
    for sql in [
        "SELECT * FROM logs",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM logs)",
        "SELECT (SELECT count(body) FROM logs)",
        "WITH t AS (SELECT * FROM logs) SELECT 1 UNION ALL SELECT count(*) FROM t",
        "SELECT 1 WHERE 1 IN (SELECT severity_number FROM logs)",
    ] {
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        assert!(bind_tenant(plan.clone(), &a).is_err(), "the logical guard let through: {sql}");
        assert!(bind_tenant(plan, &b).is_ok(), "{sql}");
    }
    let plan = context.state().create_logical_plan("SELECT body FROM logs").await.unwrap();
    let physical = context.state().create_physical_plan(&plan).await.unwrap();
    assert!(guard_physical(&physical, &a).is_err());
    assert!(guard_physical(&physical, &b).is_ok());
}

#[tokio::test]
async fn both_guards_refuse_a_leaf_that_is_no_telemetry_table() {
    let dir = tempdir().unwrap();
    let a: TenantId = "a".parse().unwrap();
    let path = dir.path().join("foreign.csv");
    std::fs::write(&path, "x\n1\n").unwrap();
    let context = SessionContext::new();
    context.register_csv("foreign", path.to_str().unwrap(), Default::default()).await.unwrap();
    let plan = context.state().create_logical_plan("SELECT * FROM foreign").await.unwrap();
    assert!(bind_tenant(plan.clone(), &a).is_err());
    let physical = context.state().create_physical_plan(&plan).await.unwrap();
    assert!(guard_physical(&physical, &a).is_err());
}

#[tokio::test]
async fn every_scan_of_a_plan_gets_the_filter() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let a: TenantId = "a".parse().unwrap();
    let context = context_with(TelemetryTable::try_new(&storage.snapshot(), &a, Signal::Logs).unwrap());
    let sql = "WITH t AS (SELECT * FROM logs) \
               SELECT (SELECT count(*) FROM logs), x.body FROM logs x JOIN t ON x.body = t.body \
               WHERE EXISTS (SELECT 1 FROM logs y WHERE y.body = x.body)";
    let plan = context.state().create_logical_plan(sql).await.unwrap();
    let bound = bind_tenant(plan, &a).unwrap().display_indent().to_string();
    let scans = bound.matches("TableScan: logs").count();
    assert_eq!(scans, 4, "{bound}");
    assert_eq!(bound.matches("tenant_id = Utf8(\"a\")").count(), scans, "{bound}");
}

#[tokio::test]
async fn statements_that_change_something_are_refused() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    for sql in [
        "DELETE FROM logs",
        "INSERT INTO logs SELECT * FROM logs",
        "UPDATE logs SET body = 'x'",
        "COPY logs TO '/tmp/stolen.parquet'",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "SET datafusion.execution.batch_size = 1",
        "EXPLAIN ANALYZE COPY logs TO '/tmp/stolen.parquet'",
    ] {
        assert!(query(&storage, "a", sql).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn a_time_filter_leaves_out_files_and_chunks() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let count = async |filter: &str| {
        let sql = format!("SELECT count(*) FROM logs WHERE {filter}");
        pretty_format_batches(&query(&storage, "a", &sql).await.unwrap()).unwrap().to_string()
    };
    for (filter, rows) in [
        ("timestamp < '2026-11-21T13:00:00Z'", 3),
        ("timestamp >= '2026-11-21T13:00:00Z'", 2),
        ("timestamp = '2026-11-21T12:00:01Z'", 1),
        ("timestamp > '2027-01-01T00:00:00Z'", 0),
        ("timestamp > now() + INTERVAL '100 years'", 0),
        ("body LIKE '%new%' OR timestamp < '2026-11-21T12:00:01Z'", 3),
    ] {
        assert!(count(filter).await.contains(&format!("| {rows} ")), "{filter}: {}", count(filter).await);
    }
    let a: TenantId = "a".parse().unwrap();
    let context = context_with(TelemetryTable::try_new(&storage.snapshot(), &a, Signal::Logs).unwrap());
    let explain = async |filter: &str| {
        let sql = format!("SELECT body FROM logs WHERE {filter}");
        let plan = context.state().create_logical_plan(&sql).await.unwrap();
        let physical = context.state().create_physical_plan(&plan).await.unwrap();
        displayable(physical.as_ref()).indent(false).to_string()
    };
    let old = explain("timestamp < '2026-11-21T13:00:00Z'").await;
    assert!(old.contains("chunks=0") && old.contains(".parquet"), "{old}");
    assert!(old.contains("predicate=timestamp"), "the filter did not reach Parquet: {old}");
    let new = explain("timestamp >= '2026-11-21T13:00:00Z'").await;
    assert!(new.contains("chunks=1") && !new.contains(".parquet"), "{new}");
}

#[tokio::test]
async fn counts_and_time_bounds_come_from_statistics_and_are_right() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let sql = "SELECT count(*) AS n, min(timestamp) AS first, max(timestamp) AS last FROM logs";
    let fast = query(&storage, "a", sql).await.unwrap();
    let slow = query(&storage, "a", &format!("{sql} WHERE length(body) > 0")).await.unwrap();
    assert_eq!(
        pretty_format_batches(&fast).unwrap().to_string(),
        pretty_format_batches(&slow).unwrap().to_string()
    );
}

#[tokio::test]
async fn a_limit_is_kept_across_buffer_and_files() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    for limit in 0..7 {
        let rows = query(&storage, "a", &format!("SELECT body FROM logs LIMIT {limit}")).await.unwrap();
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), limit.min(5));
    }
}
