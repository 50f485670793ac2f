use tempfile::{TempDir, tempdir};

use super::*;
use crate::{RetryWindowChange, now_ns};

fn catalog_with_tenant() -> (TempDir, Catalog, TenantNumber) {
    let dir = tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let tenant = catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    (dir, catalog, tenant)
}

fn deletion(tenant: TenantNumber, last_seq: u64) -> NewDeletion {
    NewDeletion {
        tenant,
        signal: Signal::Logs,
        predicate: "body = 'it''s'".to_owned(),
        last_seq: SequenceNumber(last_seq),
        num_rows: 3,
        requested_by: "ops".to_owned(),
    }
}

fn pending(catalog: &Catalog) -> Vec<u64> {
    let deletions = catalog.deletions().unwrap();
    deletions.iter().filter(|deletion| deletion.completed_ns.is_none()).map(|deletion| deletion.id).collect()
}

#[test]
fn a_deletion_is_read_back_as_it_was_recorded() {
    let (_dir, catalog, tenant) = catalog_with_tenant();
    let before = now_ns();
    let id = catalog.add_deletion(&deletion(tenant, 7)).unwrap();
    let read = catalog.deletions().unwrap();
    assert_eq!((read.len(), read[0].id, &read[0].request), (1, id, &deletion(tenant, 7)));
    assert!(read[0].created_ns > before - 2_000_000 && read[0].created_ns < now_ns() + 2_000_000);
    assert_eq!(read[0].completed_ns, None);
}

#[test]
fn a_deletion_is_completed_once_and_only_when_its_rows_have_left_the_log() {
    let (_dir, catalog, tenant) = catalog_with_tenant();
    let ids = [5, 6].map(|last_seq| catalog.add_deletion(&deletion(tenant, last_seq)).unwrap());
    assert_eq!(catalog.complete_deletions(&ids).unwrap(), 0);
    catalog.commit_flush(&[], SequenceNumber(5), &RetryWindowChange::NONE).unwrap();
    assert_eq!(catalog.complete_deletions(&ids).unwrap(), 1);
    assert_eq!(pending(&catalog), [ids[1]]);
    let completed = catalog.deletions().unwrap()[0].completed_ns.unwrap();
    assert_eq!(catalog.complete_deletions(&ids).unwrap(), 0);
    assert_eq!(catalog.deletions().unwrap()[0].completed_ns, Some(completed));
}

/// A file says by number up to which deletion its rows are filtered, so a number must not come back.
#[test]
fn completed_deletions_are_kept_up_to_a_bound_and_their_ids_are_not_given_out_again() {
    let (_dir, catalog, tenant) = catalog_with_tenant();
    let ids: Vec<u64> =
        (0..KEPT_COMPLETED + 5).map(|_| catalog.add_deletion(&deletion(tenant, 0)).unwrap()).collect();
    let other = NewDeletion { signal: Signal::Traces, ..deletion(tenant, 0) };
    let other = catalog.add_deletion(&other).unwrap();
    let mut all = ids.clone();
    all.push(other);
    catalog.complete_deletions(&all).unwrap();
    let kept: Vec<u64> = catalog.deletions().unwrap().iter().map(|deletion| deletion.id).collect();
    assert_eq!(kept, all[5..]);
    let next = catalog.add_deletion(&deletion(tenant, 0)).unwrap();
    assert!(next > other);
}
