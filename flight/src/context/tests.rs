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
