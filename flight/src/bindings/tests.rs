use std::time::Duration;

use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn handle(number: usize) -> Key {
    blake3::hash(&number.to_le_bytes()).into()
}

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn values(bytes: usize) -> Bytes {
    vec![7; bytes].into()
}

#[test]
fn what_was_bound_last_is_recalled_until_it_is_forgotten() {
    let (bindings, principal) = (Bindings::new(), Principal::unauthenticated());
    assert_eq!(bindings.recall(&principal, b"handle"), None);
    bindings.remember(&principal, b"handle", Bytes::from_static(b"first"));
    bindings.remember(&principal, b"handle", Bytes::from_static(b"second"));
    assert_eq!(bindings.recall(&principal, b"handle").unwrap(), "second");
    assert_eq!(bindings.recall(&principal, b"other"), None);
    bindings.forget(&principal, b"handle");
    assert_eq!(bindings.recall(&principal, b"handle"), None);
    assert_eq!(bindings.with(|memory| (memory.bytes, memory.tenants.len())), (0, 0));
}

#[test]
fn too_many_handles_push_out_the_least_recently_used() {
    let mut memory = Memory::default();
    for number in 0..MAX_ENTRIES {
        memory.insert(&tenant("a"), handle(number), values(1), at(0));
    }
    assert!(memory.get(&handle(0), at(1)).is_some());
    memory.insert(&tenant("a"), handle(MAX_ENTRIES), values(1), at(1));
    assert!(memory.get(&handle(0), at(1)).is_some());
    assert_eq!(memory.get(&handle(1), at(1)), None);
    assert_eq!((memory.entries.len(), memory.tenants[&tenant("a")].by_use.len()), (MAX_ENTRIES, MAX_ENTRIES));
}

#[test]
fn too_many_bytes_push_out_as_many_as_needed() {
    let mut memory = Memory::default();
    for number in 0..4 {
        memory.insert(&tenant("a"), handle(number), values(MAX_BYTES / 4), at(0));
    }
    memory.insert(&tenant("a"), handle(4), values(MAX_BYTES / 2), at(0));
    let kept: Vec<usize> = (0..5).filter(|number| memory.get(&handle(*number), at(0)).is_some()).collect();
    assert_eq!(kept, [2, 3, 4]);
    assert_eq!(memory.bytes, MAX_BYTES);
}

#[test]
fn what_has_expired_is_not_recalled_and_makes_room() {
    let mut memory = Memory::default();
    memory.insert(&tenant("a"), handle(0), values(1), at(0));
    assert_eq!(memory.get(&handle(0), at(0) + LIFETIME), None);
    memory.insert(&tenant("a"), handle(1), values(1), at(0) + LIFETIME);
    assert_eq!((memory.entries.len(), memory.bytes), (1, 1));
}

#[test]
fn the_tenant_that_has_most_makes_room() {
    let mut memory = Memory::default();
    memory.insert(&tenant("a"), handle(0), values(1), at(0));
    for number in 1..=8 {
        memory.insert(&tenant("b"), handle(number), values(MAX_BYTES / 4), at(0));
    }
    assert!(memory.get(&handle(0), at(0)).is_some(), "the bytes are of another");
    for number in 9..9 + 2 * MAX_ENTRIES {
        memory.insert(&tenant("c"), handle(number), values(0), at(0));
    }
    assert!(memory.get(&handle(0), at(0)).is_some(), "the handles are of another");
    assert_eq!(memory.entries.len(), MAX_ENTRIES);
    memory.insert(&tenant("c"), handle(0), values(0), at(0) + LIFETIME);
    assert_eq!((memory.entries.len(), memory.tenants.len(), memory.bytes), (1, 1, 0));
}
