use super::*;

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn written(registry: &Registry<u64>, number: u64, now: Instant) -> Result<u64> {
    registry.write(&tenant("a"), number, || Ok(number * 10), now).map(|writes| *writes)
}

#[test]
fn what_was_written_is_given_to_the_commit_once() {
    let (registry, now, a) = (Registry::default(), Instant::now(), tenant("a"));
    assert_eq!(written(&registry, 1, now).unwrap(), 10);
    assert_eq!(written(&registry, 1, now).unwrap(), 10);
    assert_eq!(registry.num_writes(&a, 1), 2);
    assert_eq!(*registry.end(&a, 1, Ending::Commit).unwrap().unwrap(), 10);
    assert!(matches!(registry.check(&a, 1), Err(Error::UnknownTransaction)));
    assert!(matches!(registry.end(&a, 1, Ending::Rollback), Err(Error::UnknownTransaction)));
    assert!(matches!(written(&registry, 1, now), Err(Error::UnknownTransaction)));
    assert!(registry.end(&a, 2, Ending::Commit).unwrap().is_none(), "one that has only read");
}

#[test]
fn writes_that_nobody_uses_are_let_go_of_and_never_committed() {
    let (registry, now, a) = (Registry::default(), Instant::now(), tenant("a"));
    for number in 1..=3 {
        written(&registry, number, now).unwrap();
    }
    written(&registry, 3, now + IDLE / 2).unwrap();
    registry.reap(now + IDLE);
    assert!(matches!(registry.check(&a, 1), Err(Error::LostWrites)), "nobody reads past what it wrote");
    assert!(matches!(registry.end(&a, 1, Ending::Commit), Err(Error::LostWrites)));
    assert!(matches!(written(&registry, 1, now + IDLE), Err(Error::LostWrites)));
    assert!(registry.end(&a, 1, Ending::Rollback).unwrap().is_none());
    assert!(registry.end(&a, 3, Ending::Commit).unwrap().is_some(), "it was used meanwhile");

    // Also when nothing else is remembered of it.
    for number in 100..100 + MAX_PAST as u64 {
        registry.end(&a, number, Ending::Commit).unwrap();
    }
    assert!(matches!(registry.check(&a, 2), Err(Error::LostWrites)));
    assert!(matches!(registry.end(&a, 2, Ending::Commit), Err(Error::LostWrites)));
    assert!(registry.end(&a, 99, Ending::Commit).unwrap().is_none());
}

#[test]
fn writes_that_somebody_uses_are_kept() {
    let (registry, now, a) = (Registry::default(), Instant::now(), tenant("a"));
    let used = registry.write(&a, 1, || Ok(10), now).unwrap();
    written(&registry, 2, now).unwrap();
    registry.reap(now + IDLE);
    assert!(matches!(registry.check(&a, 2), Err(Error::LostWrites)));
    drop(used);
    // From the end of the statement on.
    registry.reap(now + IDLE + IDLE / 2);
    registry.check(&a, 1).unwrap();
    // Reading is use as well.
    assert_eq!(*registry.written(&a, 1, now + IDLE + IDLE / 2).unwrap(), 10);
    registry.reap(now + 2 * IDLE);
    assert!(registry.end(&a, 1, Ending::Commit).unwrap().is_some());
}

#[test]
fn a_commit_that_failed_is_never_taken_for_done() {
    let (registry, now, a) = (Registry::default(), Instant::now(), tenant("a"));
    written(&registry, 1, now).unwrap();
    registry.end(&a, 1, Ending::Commit).unwrap().unwrap();
    registry.lose(&a, 1);
    assert!(matches!(registry.end(&a, 1, Ending::Commit), Err(Error::LostWrites)));
    for number in 100..100 + MAX_PAST as u64 {
        registry.end(&a, number, Ending::Commit).unwrap();
    }
    assert!(matches!(registry.end(&a, 1, Ending::Commit), Err(Error::LostWrites)));
    assert!(registry.end(&a, 1, Ending::Rollback).unwrap().is_none());
}

#[test]
fn each_tenant_has_room_of_its_own() {
    let (registry, now) = (Registry::default(), Instant::now());
    let write =
        |name: &str, number: u64| registry.write(&tenant(name), number, || Ok(number), now).map(|_| ());
    for number in 1..=MAX_WRITING as u64 {
        write("a", number).unwrap();
        for other in 0..32 {
            write(&format!("t{other}"), number).unwrap();
        }
    }
    let refused = write("a", 1000).unwrap_err();
    assert!(matches!(refused, Error::TooManyTransactions { limit: MAX_WRITING }), "{refused}");
    write("a", 1).unwrap();
    registry.end(&tenant("a"), 1, Ending::Rollback).unwrap();
    registry.check(&tenant("b"), 1).unwrap();
    write("a", 1000).unwrap();
}
