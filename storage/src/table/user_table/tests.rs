use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::util::pretty::pretty_format_batches;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::{collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use tempfile::tempdir;

use super::super::tests::query;
use super::super::{
    CATALOG_NAME, SCHEMA_NAME, SealedObjectStores, bind_tenant, guard_physical, tenant_catalog,
    tenant_catalog_with,
};
use super::*;
use crate::testing::{config, entry, open};
use crate::user_tables::testing::{
    append, append_and_commit, create, create_and_commit, every_type, foreign_tables, rows,
};
use crate::{Error, Storage};

const NOON_S: i64 = 1_795_262_400;

async fn two_tenants(dir: &std::path::Path) -> Storage {
    let storage = open(config(dir)).unwrap();
    for (tenant, number) in [("a", 1), ("b", 2)] {
        storage.append(entry(tenant, &format!("row {number}"), NOON_S, 2)).await.unwrap();
        create_and_commit(&storage, tenant, "hosts", &[number, number + 10]).unwrap();
    }
    create_and_commit(&storage, "b", "secret", &[42]).unwrap();
    storage
}

fn printed(batches: &[RecordBatch]) -> String {
    pretty_format_batches(batches).unwrap().to_string()
}

fn provider(storage: &Storage, tenant: &str, name: &str) -> UserTableProvider {
    let tables = storage.user_tables(&tenant.parse().unwrap());
    UserTableProvider::try_new(&storage.snapshot(), &tables, name).unwrap().unwrap()
}

fn context_with(name: &str, table: UserTableProvider) -> SessionContext {
    let runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(SealedObjectStores::default()))
        .build_arc()
        .unwrap();
    let context = SessionContext::new_with_config_rt(SessionConfig::default(), runtime);
    context.register_table(name, Arc::new(table)).unwrap();
    context
}

#[tokio::test]
async fn a_user_table_stands_beside_telemetry_and_is_joined_with_it() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let sql = "SELECT l.body, h.number FROM logs l JOIN hosts h ON l.body = h.text || '-0' ORDER BY 1";
    let found = printed(&query(&storage, "a", sql).await.unwrap());
    assert!(found.contains("| row 1-0 | 1      |") && found.lines().count() == 5, "{found}");
    let found =
        printed(&query(&storage, "a", "SELECT * FROM hosts ORDER BY number DESC LIMIT 1").await.unwrap());
    assert!(found.contains("| 11     | row 11 |") && found.lines().count() == 5, "{found}");
    let found = printed(&query(&storage, "a", "SELECT count(*), max(number) FROM hosts").await.unwrap());
    assert!(found.contains("| 2        | 11"), "{found}");
}

#[tokio::test]
async fn no_table_of_another_tenant_can_be_reached() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let error = query(&storage, "a", "SELECT * FROM secret").await.unwrap_err();
    assert!(error.to_string().contains("secret' not found"), "{error}");
    let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
    let catalog = tenant_catalog(&storage.snapshot(), &a).unwrap();
    let mut names = catalog.schema(SCHEMA_NAME).unwrap().table_names();
    names.sort();
    assert_eq!(names, ["hosts", "logs", "metrics", "traces"]);

    // Each of the guards alone.
    let context = context_with("hosts", provider(&storage, "b", "hosts"));
    for sql in ["SELECT * FROM hosts", "SELECT 1 WHERE 1 IN (SELECT number FROM hosts)"] {
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        assert!(bind_tenant(plan.clone(), &a).is_err(), "the logical guard let through: {sql}");
        bind_tenant(plan, &b).unwrap();
    }
    let plan = context.state().create_logical_plan("SELECT * FROM hosts").await.unwrap();
    let physical = context.state().create_physical_plan(&plan).await.unwrap();
    assert!(guard_physical(&physical, &a).is_err());
    guard_physical(&physical, &b).unwrap();
    let plan = format!("{}", displayable(physical.as_ref()).indent(true));
    assert!(plan.contains("UserTableScan: table=hosts"), "{plan}");
}

#[tokio::test]
async fn a_table_with_a_file_of_another_one_is_not_opened() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
    let of_b = storage.user_tables(&b);
    let (hosts, secret) = (of_b.get("hosts").unwrap(), of_b.get("secret").unwrap());
    for (owner, table, files) in [(&a, hosts, hosts), (&b, hosts, secret)] {
        let tables = foreign_tables(owner, table, files);
        assert!(UserTableProvider::try_new(&storage.snapshot(), &tables, "hosts").is_err(), "{owner}");
    }
    assert!(
        UserTableProvider::try_new(&storage.snapshot(), &foreign_tables(&b, hosts, hosts), "hosts").is_ok()
    );
}

#[tokio::test]
async fn a_transaction_reads_what_it_has_not_committed() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let tenant: TenantId = "a".parse().unwrap();
    let mut transaction = storage.begin_user_transaction(&tenant);
    append(&mut transaction, "hosts", &rows(&[5, 6])).unwrap();
    create(&mut transaction, "empty").unwrap();
    let count = async |tables: &UserTables, table: &str| {
        let runtime = RuntimeEnvBuilder::new()
            .with_object_store_registry(Arc::new(SealedObjectStores::default()))
            .build_arc()
            .unwrap();
        let options = SessionConfig::new().with_default_catalog_and_schema(CATALOG_NAME, SCHEMA_NAME);
        let context = SessionContext::new_with_config_rt(options, runtime);
        context.register_catalog(CATALOG_NAME, tenant_catalog_with(&storage.snapshot(), tables).unwrap());
        let sql = format!("SELECT text FROM {table} WHERE number > 0");
        let plan = context.state().create_logical_plan(&sql).await?;
        let plan = bind_tenant(plan, &tenant)?;
        let physical = context.state().create_physical_plan(&plan).await?;
        guard_physical(&physical, &tenant)?;
        let found = collect(physical, context.task_ctx()).await?;
        Ok::<_, DataFusionError>(found.iter().map(RecordBatch::num_rows).sum::<usize>())
    };
    let (seen, committed) = (Arc::clone(transaction.tables()), storage.user_tables(&tenant));
    assert_eq!(count(&seen, "hosts").await.unwrap(), 4);
    assert_eq!(count(&seen, "empty").await.unwrap(), 0);
    assert_eq!(count(&committed, "hosts").await.unwrap(), 2);
    assert!(count(&committed, "empty").await.is_err());
    transaction.commit().await.unwrap();
    // What was planned before the files got their names can still be read.
    assert_eq!(count(&seen, "hosts").await.unwrap(), 4);
}

#[tokio::test]
async fn filters_leave_out_files_by_their_statistics_and_columns_are_read_as_asked() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "hosts", &(0..40).collect::<Vec<_>>()).unwrap();
    append_and_commit(&storage, "a", "hosts", &[1_000, 1_001]).unwrap();
    let table = provider(&storage, "a", "hosts");
    assert_eq!(table.table().num_files(), 2);
    let context = context_with("hosts", table);
    let plan = context.sql("SELECT text FROM hosts WHERE number > 500").await.unwrap();
    let physical = plan.create_physical_plan().await.unwrap();
    let found = collect(Arc::clone(&physical), context.task_ctx()).await.unwrap();
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    let executed =
        datafusion::physical_plan::display::DisplayableExecutionPlan::with_metrics(physical.as_ref());
    let executed = executed.indent(true).to_string();
    assert!(executed.contains("predicate=number"), "{executed}");
    let is_pruned = executed.contains("files_ranges_pruned_statistics=2 total → 1 matched")
        || executed.contains("row_groups_pruned_statistics=2 total → 1 matched");
    assert!(is_pruned, "{executed}");

    let limited = context.sql("SELECT * FROM hosts LIMIT 3").await.unwrap().collect().await.unwrap();
    assert_eq!(limited.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
}

#[tokio::test]
async fn a_damaged_file_fails_the_query_with_its_name() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "hosts", &[1]).unwrap();
    storage.close().await.unwrap();
    let storage = open(config(dir.path())).unwrap();
    let file = storage.store().catalog.live_user_files().unwrap().remove(0);
    let path = storage.store().layout.data_file(&file);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = query(&storage, "a", "SELECT * FROM hosts").await.unwrap_err();
    let mut source: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = source {
        if let Some(Error::CorruptFile { file: name }) = error.downcast_ref() {
            assert!(name.contains(&file.id.to_string()));
            return;
        }
        source = error.source();
    }
    panic!("{error:?}");
}

/// Guarantees: a query has the very types of the table, whatever the Parquet reader would like better.
#[tokio::test]
async fn every_type_comes_out_of_a_query_as_it_went_in() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let batch = every_type();
    let mut transaction = storage.begin_user_transaction(&"a".parse().unwrap());
    transaction.create_table("types", &batch.schema(), crate::CreateMode::New).unwrap();
    append(&mut transaction, "types", &batch).unwrap();
    transaction.commit_blocking().unwrap();
    let found = query(&storage, "a", "SELECT * FROM types").await.unwrap();
    let found = arrow::compute::concat_batches(&batch.schema(), &found).unwrap();
    for (index, column) in batch.columns().iter().enumerate() {
        let (found, stored) = match column.data_type() {
            DataType::Dictionary(_, value) => (
                arrow::compute::cast(found.column(index), value).unwrap(),
                arrow::compute::cast(column, value).unwrap(),
            ),
            _ => (Arc::clone(found.column(index)), Arc::clone(column)),
        };
        assert_eq!(&found, &stored, "{}", column.data_type());
        let name = batch.schema().field(index).name().clone();
        let sql = format!("SELECT count(*) FROM types WHERE \"{name}\" IS NOT NULL");
        let counted = printed(&query(&storage, "a", &sql).await.unwrap());
        assert!(counted.contains("| 3 "), "{} {counted}", column.data_type());
    }
}
