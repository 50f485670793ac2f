//! A file that changed on disk is never read, wherever the change is.

use std::fs;
use std::sync::Arc;

use alula_catalog::Signal;
use tempfile::tempdir;

use super::*;
use crate::testing::{config, entry, layout, open};

#[tokio::test]
async fn a_file_with_any_flipped_bit_is_refused_by_name() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", 1_795_262_400, 20)).await.unwrap();
    storage.flush().await.unwrap();
    let file = Arc::clone(&storage.snapshot().table(&"a".parse().unwrap(), Signal::Logs).files[0]);
    let here = layout(dir.path());
    let path = here.data_file(&file);
    let whole = fs::read(&path).unwrap();
    DataFiles::new(here.clone()).open(&file).unwrap();
    for at in (0..whole.len()).step_by(97) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        let refused = DataFiles::new(here.clone()).open(&file).expect_err("a bit is wrong");
        assert!(refused.to_string().contains(&file.id.to_string()), "{refused}");
    }
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let refused = DataFiles::new(here.clone()).open(&file);
    assert!(matches!(refused, Err(Error::CorruptFile { .. })), "the last byte is missing");
    fs::remove_file(&path).unwrap();
    assert!(matches!(DataFiles::new(here).open(&file), Err(Error::Io { .. })));
}
