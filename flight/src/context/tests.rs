use super::*;

#[test]
fn what_an_earlier_process_spilled_is_removed_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let spill = directory.path().join("a").join("spill");
    prepare_spill_dir(&spill).unwrap();
    std::fs::create_dir(spill.join("datafusion-x7f")).unwrap();
    std::fs::write(spill.join("datafusion-x7f").join("1.arrow"), "rows").unwrap();
    std::fs::write(spill.join("notes.txt"), "mine").unwrap();
    prepare_spill_dir(&spill).unwrap();
    assert!(!spill.join("datafusion-x7f").exists());
    assert!(spill.join("notes.txt").exists());
}

#[test]
fn a_configuration_shows_neither_its_key_nor_its_paths() {
    let config = crate::tests::fixture::config(Path::new("/somewhere/secret"));
    let shown = format!("{config:?}");
    assert!(!shown.contains("secret") && !shown.contains("[1, 1"), "{shown}");
}

#[test]
fn a_session_that_goes_over_to_other_tables_keeps_the_list_of_queries() {
    let directory = tempfile::tempdir().unwrap();
    let engine = crate::tests::fixture::engine(&crate::tests::fixture::config(directory.path()));
    let (principal, transactions) = (Principal::unauthenticated(), Arc::new(Transactions::new(&[1; 32])));
    let mut context =
        QueryContext::for_principal(&engine, &principal, Settings::default(), &transactions).unwrap();
    let tables = engine.storage.user_tables(principal.tenant());
    assert!(tables.is_same(&context.user_tables), "a tenant without tables has the same ones always");
    context.see(&tables).unwrap();
    let catalog = context.state.catalog_list().catalog(CATALOG_NAME).unwrap();
    assert!(catalog.schema(SYSTEM_SCHEMA_NAME).unwrap().table_exist("queries"));
}
