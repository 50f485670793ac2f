//! Deletions and compaction: the rows leave the files, and nothing brings them back.

use super::*;

/// What the files of a tenant hold, as somebody reads them who knows of no deletion.
async fn in_files(storage: &Storage) -> BTreeMap<String, usize> {
    storage.flush().await.unwrap();
    bodies(storage, "a").await
}

async fn completed(storage: &Storage) -> String {
    text(storage, "a", "SELECT count(*) FROM system.deletions WHERE completed IS NOT NULL").await
}

#[tokio::test]
async fn after_a_compaction_no_file_has_the_rows_and_the_deletion_is_completed() {
    let dir = tempdir().unwrap();
    let storage = open_with_sql(config(dir.path()));
    for (label, first_s) in [("one", NOON_S), ("two", NOON_S), ("other-hour", NOON_S + 7200)] {
        for tenant in ["a", "b"] {
            storage.append(entry(tenant, label, first_s, 3)).await.unwrap();
        }
        storage.flush().await.unwrap();
    }
    let all = [("one", 3), ("two", 3), ("other-hour", 3)];
    assert_eq!(delete(&storage, "a", "body LIKE '%-1'").await, 3);
    assert_eq!(in_files(&storage).await, expected(&all));

    let before_compaction = tempdir().unwrap();
    crash_image(dir.path(), before_compaction.path());
    let report = storage.compact(Some(&"a".parse().unwrap()), None).await.unwrap();
    assert_eq!((report.before.num_rows, report.after.num_rows), (9, 6));
    let after_compaction = tempdir().unwrap();
    crash_image(dir.path(), after_compaction.path());

    let mut left = expected(&all);
    left.retain(|body, _| !body.ends_with("-1"));
    for (storage, is_completed) in [
        (storage, "1"),
        (open_with_sql(config(before_compaction.path())), "0"),
        (open_with_sql(config(after_compaction.path())), "1"),
    ] {
        assert_eq!(completed(&storage).await, is_completed);
        assert_eq!(shown(&storage, "a").await, left);
        assert_eq!(shown(&storage, "b").await, expected(&all));
        storage.compact(None, None).await.unwrap();
        assert_eq!((in_files(&storage).await, completed(&storage).await.as_str()), (left.clone(), "1"));
        assert_eq!(bodies(&storage, "b").await, expected(&all));
        // What comes later is not its business, and all columns are exact again.
        storage.append(entry("a", "late", NOON_S, 3)).await.unwrap();
        assert_eq!(shown(&storage, "a").await.len(), left.len() + 3);
    }
}

/// Scenario: rows of a deletion are in the log alone while its table is compacted.
#[tokio::test]
async fn a_flush_after_a_compaction_brings_nothing_back() {
    let dir = tempdir().unwrap();
    let storage = open_with_sql(config(dir.path()));
    storage.append(entry("a", "file", NOON_S, 3)).await.unwrap();
    storage.flush().await.unwrap();
    storage.append(entry("a", "log", NOON_S, 3)).await.unwrap();
    assert_eq!(delete(&storage, "a", "true").await, 6);
    storage.compact(None, None).await.unwrap();
    assert_eq!(completed(&storage).await, "0", "rows of it are in the buffer");
    assert_eq!(bodies(&storage, "a").await, expected(&[("log", 3)]));
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    for storage in [storage, open_with_sql(config(image.path()))] {
        assert_eq!(in_files(&storage).await, expected(&[("log", 3)]));
        assert_eq!(shown(&storage, "a").await, BTreeMap::new());
        storage.compact(None, None).await.unwrap();
        assert_eq!((in_files(&storage).await, completed(&storage).await.as_str()), (BTreeMap::new(), "1"));
    }
}

#[tokio::test]
async fn deletions_that_come_while_files_are_compacted_are_kept_apart_from_those_before() {
    let dir = tempdir().unwrap();
    let storage = open_with_sql(config(dir.path()));
    let compacting = {
        let storage = storage.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                storage.compact(None, None).await.unwrap();
            }
        })
    };
    let mut labels = Vec::new();
    for number in 0..12 {
        let label = format!("n{number}");
        storage.append(entry("a", &label, NOON_S, 4)).await.unwrap();
        if number % 2 == 0 {
            storage.flush().await.unwrap();
        }
        assert_eq!(
            delete(&storage, "a", &format!("body = '{label}-2' OR body = 'n{}-3'", number + 1)).await,
            1
        );
        labels.push(label);
    }
    compacting.await.unwrap();
    let mut left = expected(&labels.iter().map(|label| (label.as_str(), 4)).collect::<Vec<_>>());
    left.retain(|body, _| !body.ends_with("-2"));
    assert_eq!(shown(&storage, "a").await, left);
    storage.flush().await.unwrap();
    storage.compact(None, None).await.unwrap();
    assert_eq!((in_files(&storage).await, completed(&storage).await.as_str()), (left, "12"));
}
