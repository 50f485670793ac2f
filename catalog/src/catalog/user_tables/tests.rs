use super::*;

pub(in crate::catalog) fn user_table(
    id: u128,
    tenant: TenantNumber,
    name: &str,
    version: u64,
) -> UserTableRecord {
    let (id, name) = (UserTableId(id), name.to_owned());
    UserTableRecord { id, tenant, name, schema: vec![1, 2, 3], version, created_ns: 0 }
}

pub(in crate::catalog) fn user_file(id: u128, tenant: TenantNumber, table: u128) -> UserFile {
    let table = UserTableId(table);
    UserFile { id: FileId(id), tenant, table, num_rows: 3, size_bytes: 700, checksum: [9; 16] }
}

fn catalog() -> (tempfile::TempDir, Catalog, TenantNumber) {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let tenant = catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    (dir, catalog, tenant)
}

fn ids(files: &[UserFile]) -> Vec<u128> {
    files.iter().map(|file| file.id.0).collect()
}

fn created(tenant: TenantNumber, id: u128, name: &str, files: &[u128]) -> UserTableChange {
    let files = files.iter().map(|file| user_file(*file, tenant, id)).collect();
    UserTableChange::Create { table: user_table(id, tenant, name, 1), files }
}

#[test]
fn a_transaction_is_there_as_a_whole_after_a_restart() {
    let (dir, catalog, tenant) = catalog();
    let changes = [created(tenant, 1, "hosts", &[10]), created(tenant, 2, "teams", &[20, 21])];
    catalog.commit_user_tables(tenant, &changes).unwrap();
    let changes = [
        UserTableChange::Drop { table: UserTableId(2), version: 1 },
        UserTableChange::ReplaceFiles {
            table: UserTableId(1),
            version: 1,
            dead: vec![FileId(10)],
            live: vec![user_file(11, tenant, 1), user_file(12, tenant, 1)],
        },
        created(tenant, 3, "teams", &[30]),
    ];
    catalog.commit_user_tables(tenant, &changes).unwrap();
    drop(catalog);

    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let tables = catalog.user_tables().unwrap();
    let found: Vec<_> = tables.iter().map(|table| (table.id.0, table.name.as_str(), table.version)).collect();
    assert_eq!(found, [(1, "hosts", 2), (3, "teams", 1)]);
    assert!(tables.iter().all(|table| table.schema == [1, 2, 3] && table.created_ns > 0));
    assert_eq!(ids(&catalog.live_user_files().unwrap()), [11, 12, 30]);
    assert_eq!(ids(&catalog.dead_user_files().unwrap()), [10, 20, 21]);
    catalog.forget_user_files(&[FileId(10), FileId(21), FileId(30)]).unwrap();
    assert_eq!(ids(&catalog.dead_user_files().unwrap()), [20]);
    assert_eq!(ids(&catalog.live_user_files().unwrap()), [11, 12, 30], "a live file cannot be forgotten");
}

#[test]
fn a_table_that_changed_meanwhile_undoes_the_whole_transaction() {
    let (_dir, catalog, tenant) = catalog();
    let other = catalog.register_tenant(&"b".parse().unwrap()).unwrap();
    catalog.commit_user_tables(tenant, &[created(tenant, 1, "hosts", &[10])]).unwrap();
    let add = |version, file| UserTableChange::ReplaceFiles {
        table: UserTableId(1),
        version,
        dead: Vec::new(),
        live: vec![user_file(file, tenant, 1)],
    };
    catalog.commit_user_tables(tenant, &[add(1, 11)]).unwrap();
    let innocent = || created(tenant, 9, "other", &[90]);
    for stale in [
        add(1, 12),
        UserTableChange::Drop { table: UserTableId(1), version: 1 },
        UserTableChange::Drop { table: UserTableId(7), version: 1 },
        created(tenant, 8, "hosts", &[80]),
    ] {
        let error = catalog.commit_user_tables(tenant, &[innocent(), stale.clone()]).unwrap_err();
        assert!(matches!(error, Error::UserTableChanged { .. }), "{stale:?}: {error}");
    }
    let error = catalog.commit_user_tables(other, &[add(2, 13)]).unwrap_err();
    assert!(matches!(error, Error::UserTableChanged { .. }), "the table of another tenant: {error}");
    let gone = UserTableChange::ReplaceFiles {
        table: UserTableId(1),
        version: 2,
        dead: vec![FileId(99)],
        live: Vec::new(),
    };
    assert!(matches!(catalog.commit_user_tables(tenant, &[innocent(), gone]), Err(Error::NotLive { .. })));
    assert_eq!(catalog.user_tables().unwrap().len(), 1);
    assert_eq!(ids(&catalog.live_user_files().unwrap()), [10, 11]);
    assert_eq!(catalog.dead_user_files().unwrap(), []);
}

#[test]
fn two_tenants_may_have_tables_of_the_same_name() {
    let (_dir, catalog, tenant) = catalog();
    let other = catalog.register_tenant(&"b".parse().unwrap()).unwrap();
    catalog.commit_user_tables(tenant, &[created(tenant, 1, "hosts", &[10])]).unwrap();
    catalog.commit_user_tables(other, &[created(other, 2, "hosts", &[20])]).unwrap();
    let owners: Vec<_> = catalog.user_tables().unwrap().iter().map(|table| table.tenant).collect();
    assert_eq!(owners, [tenant, other]);
}
