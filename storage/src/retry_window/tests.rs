//! The window alone: who is told what, what is forgotten when, and that no claim is ever lost.

use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use futures::future::join_all;

use super::*;

/// Small bounds; the span is 600.
const BOUNDS: Bounds = Bounds { span_ns: 600, tenant_ids: 3, total_ids: 4, waiters: 3 };

fn window() -> Arc<RetryWindow> {
    Arc::new(RetryWindow::new(BOUNDS))
}

fn key(tenant: u32, id: u8) -> BatchKey {
    BatchKey { tenant: TenantNumber(tenant), id: BatchId::from_bytes([id; 16]).unwrap() }
}

/// The answer to a batch that need not wait.
fn enter(window: &Arc<RetryWindow>, key: BatchKey, received_ns: i64) -> Turn {
    window.enter(key, received_ns).now_or_never().expect("nobody is in flight").unwrap()
}

fn claim(window: &Arc<RetryWindow>, key: BatchKey, received_ns: i64) -> Claim {
    match enter(window, key, received_ns) {
        Turn::First(claim) => claim,
        Turn::Duplicate(seq) => panic!("{key:?} was stored as {seq}"),
    }
}

fn store(window: &Arc<RetryWindow>, key: BatchKey, seq: u64, received_ns: i64) {
    claim(window, key, received_ns).stored(SequenceNumber(seq), received_ns);
}

/// Under which numbers these batches are remembered, if they are.
fn stored<const N: usize>(
    window: &Arc<RetryWindow>,
    keys: [BatchKey; N],
    received_ns: i64,
) -> [Option<u64>; N] {
    keys.map(|key| match enter(window, key, received_ns) {
        Turn::Duplicate(seq) => Some(seq.0),
        Turn::First(_) => None,
    })
}

fn nobody_is_in_flight(window: &RetryWindow) -> bool {
    window.lock().in_flight.is_empty()
}

#[test]
fn a_stored_batch_is_a_duplicate_for_its_tenant_alone() {
    let window = window();
    store(&window, key(1, 1), 7, 0);
    assert_eq!(stored(&window, [key(1, 1), key(1, 2), key(2, 1)], 0), [Some(7), None, None]);
    assert!(nobody_is_in_flight(&window));
}

#[test]
fn an_id_is_remembered_for_the_span_from_its_receipt() {
    let window = window();
    store(&window, key(1, 1), 1, 1_000);
    store(&window, key(1, 2), 2, 1_001);
    assert_eq!(stored(&window, [key(1, 1), key(1, 2)], 1_600), [Some(1), Some(2)]);
    assert_eq!(stored(&window, [key(1, 1), key(1, 2)], 1_601), [None, Some(2)]);
    assert_eq!(stored(&window, [key(1, 2)], 1_602), [None]);
    assert_eq!(window.lock().num_ids, 0);
    assert!(window.lock().tenants.is_empty(), "a tenant without ids takes no memory");
}

#[test]
fn a_tenant_past_its_bound_forgets_its_own_oldest() {
    let window = window();
    store(&window, key(2, 1), 1, 0);
    for id in 1..=4 {
        store(&window, key(1, id), 10 + u64::from(id), 0);
    }
    assert_eq!(stored(&window, [1, 2, 3, 4].map(|id| key(1, id)), 0), [None, Some(12), Some(13), Some(14)]);
    assert_eq!(stored(&window, [key(2, 1)], 0), [Some(1)]);
}

#[test]
fn past_the_bound_of_all_tenants_the_one_that_sends_forgets_its_own_oldest() {
    let window = window();
    for id in 1..=3 {
        store(&window, key(1, id), u64::from(id), 0);
    }
    store(&window, key(2, 1), 4, 0);
    store(&window, key(2, 2), 5, 0);
    store(&window, key(3, 1), 6, 0);
    assert_eq!(stored(&window, [1, 2, 3].map(|id| key(1, id)), 0), [Some(1), Some(2), Some(3)]);
    assert_eq!(stored(&window, [key(2, 1), key(2, 2)], 0), [None, Some(5)]);
    assert_eq!(stored(&window, [key(3, 1)], 0), [None], "it has none to give");
    assert_eq!(window.lock().num_ids, 4);
}

#[test]
fn ids_of_tenants_that_went_quiet_make_room_once_they_expire() {
    let window = window();
    for id in 1..=3 {
        store(&window, key(1, id), u64::from(id), 0);
    }
    store(&window, key(2, 1), 4, 500);
    store(&window, key(3, 1), 5, 601);
    assert_eq!(stored(&window, [key(2, 1), key(3, 1)], 601), [Some(4), Some(5)]);
    assert_eq!(window.lock().num_ids, 2);
}

#[test]
fn a_tenant_gives_the_memory_of_its_busiest_minutes_back() {
    let bounds = Bounds { tenant_ids: 10_000, total_ids: 10_000, ..BOUNDS };
    let window = Arc::new(RetryWindow::new(bounds));
    let key = |n: u64| {
        let id = [n.to_le_bytes(), [1; 8]].concat().try_into().unwrap();
        BatchKey { tenant: TenantNumber(1), id: BatchId::from_bytes(id).unwrap() }
    };
    for n in 0..10_000 {
        window.remember(key(n), SequenceNumber(n), 0);
    }
    window.remember(key(10_000), SequenceNumber(10_000), 300);
    window.remember(key(10_001), SequenceNumber(10_001), 700);
    let state = window.lock();
    let ids = &state.tenants[&TenantNumber(1)];
    assert_eq!((ids.order.len(), ids.seqs.len(), state.num_ids), (2, 2, 2));
    assert!(ids.order.capacity() < 1_000 && ids.seqs.capacity() < 1_000, "{ids:?}");
}

#[tokio::test]
async fn all_who_wait_for_a_batch_have_a_duplicate_once_it_is_stored() {
    let window = window();
    let first = claim(&window, key(1, 1), 0);
    let mut waiting = [0; 3].map(|received_ns| Box::pin(window.enter(key(1, 1), received_ns)));
    for waiter in &mut waiting {
        assert!(waiter.now_or_never().is_none(), "answered before the first is stored");
    }
    assert!(matches!(enter(&window, key(1, 2), 0), Turn::First(_)), "others do not wait");
    first.stored(SequenceNumber(7), 0);
    for turn in join_all(waiting).await {
        assert!(matches!(turn.unwrap(), Turn::Duplicate(SequenceNumber(7))));
    }
    assert!(nobody_is_in_flight(&window));
}

#[tokio::test]
async fn of_those_who_wait_for_a_batch_that_failed_exactly_one_tries_again() {
    let window = window();
    let first = claim(&window, key(1, 1), 0);
    let [mut second, mut third, mut fourth] = [0; 3].map(|at| Box::pin(window.enter(key(1, 1), at)));
    for waiter in [&mut second, &mut third, &mut fourth] {
        assert!(waiter.now_or_never().is_none());
    }
    drop(first);
    assert!((&mut third).now_or_never().is_none() && (&mut fourth).now_or_never().is_none());
    let Turn::First(claim) = second.await.unwrap() else { panic!("nothing was stored") };
    drop(claim);
    assert!((&mut fourth).now_or_never().is_none());
    let Turn::First(claim) = third.await.unwrap() else { panic!("nothing was stored") };
    claim.stored(SequenceNumber(9), 0);
    assert!(matches!(fourth.await.unwrap(), Turn::Duplicate(SequenceNumber(9))));
    assert!(nobody_is_in_flight(&window));
}

/// Scenario: those who wait go away before the claim comes to them, or after it was sent to them.
/// Guarantees: it passes on to who is still there, and the batch is free when nobody is.
#[tokio::test]
async fn a_claim_passes_by_those_who_went_away() {
    let window = window();
    let first = claim(&window, key(1, 1), 0);
    let [mut second, mut third, mut fourth] = [0; 3].map(|at| Box::pin(window.enter(key(1, 1), at)));
    for waiter in [&mut second, &mut third, &mut fourth] {
        assert!(waiter.now_or_never().is_none());
    }
    drop(second);
    drop(first);
    // The claim is on its way to the third, who never takes it.
    drop(third);
    let Turn::First(claim) = fourth.await.unwrap() else { panic!("nothing was stored") };
    let mut fifth = Box::pin(window.enter(key(1, 1), 0));
    assert!((&mut fifth).now_or_never().is_none());
    drop(fifth);
    drop(claim);
    assert!(nobody_is_in_flight(&window));
    assert_eq!(stored(&window, [key(1, 1)], 0), [None]);
}

#[tokio::test]
async fn too_many_copies_of_a_batch_in_flight_are_refused() {
    let window = window();
    let first = claim(&window, key(1, 1), 0);
    let mut waiting = [0; 3].map(|at| Box::pin(window.enter(key(1, 1), at)));
    for waiter in &mut waiting {
        assert!(waiter.now_or_never().is_none());
    }
    let refused = window.enter(key(1, 1), 0).now_or_never().unwrap().unwrap_err();
    assert!(matches!(refused, Error::Overloaded { limit: 3, .. }), "{refused}");
    let [gone, ..] = waiting;
    drop(gone);
    let mut next = Box::pin(window.enter(key(1, 1), 0));
    assert!((&mut next).now_or_never().is_none(), "one that went away has given its place up");
    first.stored(SequenceNumber(1), 0);
    assert!(matches!(next.await.unwrap(), Turn::Duplicate(SequenceNumber(1))));
}

/// Scenario: many come with few batches at once; some store theirs, some fail, some go away.
/// Guarantees: a batch has one claim at a time, is stored once, and no claim is left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_is_stored_once_however_many_come_with_it() {
    const BATCHES: u8 = 19;
    let bounds = Bounds { tenant_ids: 100, total_ids: 100, waiters: 1_000, ..BOUNDS };
    let window = Arc::new(RetryWindow::new(bounds));
    let held: Arc<Vec<AtomicU32>> = Arc::new((0..BATCHES).map(|_| AtomicU32::new(0)).collect());
    let times_stored: Arc<Vec<AtomicU32>> = Arc::new((0..BATCHES).map(|_| AtomicU32::new(0)).collect());
    let senders = (0..16_u32).map(|sender| {
        let (window, held, times_stored) =
            (Arc::clone(&window), Arc::clone(&held), Arc::clone(&times_stored));
        tokio::spawn(async move {
            for round in 0..200_u32 {
                let batch = round.wrapping_mul(7).wrapping_add(sender) % u32::from(BATCHES);
                let entered = window.enter(key(1, batch as u8 + 1), 0);
                let turn = if (round + sender) % 3 == 0 {
                    let mut entered = Box::pin(entered);
                    match (&mut entered).now_or_never() {
                        Some(turn) => turn,
                        None => continue,
                    }
                } else {
                    entered.await
                };
                let Turn::First(claim) = turn.unwrap() else { continue };
                let (held, times_stored) = (&held[batch as usize], &times_stored[batch as usize]);
                assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0, "two claims on one batch");
                tokio::task::yield_now().await;
                held.fetch_sub(1, Ordering::SeqCst);
                if (round + sender) % 5 == 0 {
                    times_stored.fetch_add(1, Ordering::SeqCst);
                    claim.stored(SequenceNumber(u64::from(round)), 0);
                }
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    assert!(nobody_is_in_flight(&window));
    let times: Vec<_> = times_stored.iter().map(|times| times.load(Ordering::SeqCst)).collect();
    assert_eq!(times, [1; BATCHES as usize]);
}

#[test]
fn a_clock_that_is_set_back_forgets_nothing_early_and_keeps_nothing_for_ever() {
    for back_ns in [1, 600, 601, 1_000_000, i64::MAX] {
        let window = window();
        let noon = 1_000_000_000_i64;
        store(&window, key(1, 1), 1, noon);
        let base = noon.saturating_sub(back_ns);
        assert_eq!(stored(&window, [key(1, 1)], base), [Some(1)], "{back_ns}: forgotten at once");
        store(&window, key(1, 2), 2, base);
        assert_eq!(
            stored(&window, [key(1, 1), key(1, 2)], base + 600),
            [Some(1), Some(2)],
            "{back_ns}: forgotten early"
        );
        assert_eq!(
            stored(&window, [key(1, 1), key(1, 2)], base + 1_201),
            [None, None],
            "{back_ns}: kept for longer than two spans"
        );
    }
}

#[test]
fn a_clock_that_jumps_ahead_and_back_goes_on() {
    let window = window();
    store(&window, key(1, 1), 1, 0);
    store(&window, key(1, 2), 2, i64::MAX);
    for (seq, received_ns) in [(3, 10), (4, 500)] {
        store(&window, key(1, seq), u64::from(seq), received_ns);
    }
    assert_eq!(stored(&window, [key(1, 3), key(1, 4)], 610), [Some(3), Some(4)]);
}

#[test]
fn a_flush_saves_the_ids_of_its_own_entries_that_are_still_in_the_window() {
    let window = Arc::new(RetryWindow::new(Bounds { tenant_ids: 10, total_ids: 10, ..BOUNDS }));
    for (tenant, seq, received_ns) in
        [(1, 1, 1_000), (1, 2, 1_100), (2, 3, 1_200), (1, 4, 1_300), (2, 5, 1_650), (1, 6, 1_700)]
    {
        store(&window, key(tenant, seq), u64::from(seq), received_ns);
    }
    let saved = |flushed, last| {
        let change = window.change_of_flush(SequenceNumber(flushed), SequenceNumber(last));
        assert_eq!(change.forget_before_ns, 1_100);
        let batch = |batch: &RetryableBatch| (batch.tenant.0, batch.seq.0, batch.received_ns, batch.id[0]);
        change.batches.iter().map(batch).collect::<Vec<_>>()
    };
    assert_eq!(saved(0, 4), [(1, 2, 1_100, 2), (2, 3, 1_200, 3), (1, 4, 1_300, 4)]);
    assert_eq!(saved(2, 5), [(2, 3, 1_200, 3), (1, 4, 1_300, 4), (2, 5, 1_650, 5)]);
    assert_eq!(saved(5, 6), [(1, 6, 1_700, 6)]);
    assert_eq!(saved(6, 6), []);
    let nothing = RetryWindow::new(BOUNDS).change_of_flush(SequenceNumber(0), SequenceNumber(9));
    assert!(nothing.batches.is_empty() && nothing.forget_before_ns == i64::MIN, "{nothing:?}");
}

#[test]
fn of_a_batch_that_an_earlier_log_holds_twice_the_first_is_remembered() {
    let window = window();
    window.remember(key(1, 1), SequenceNumber(1), 0);
    window.remember(key(1, 1), SequenceNumber(2), 0);
    assert_eq!(stored(&window, [key(1, 1)], 0), [Some(1)]);
    assert_eq!(window.change_of_flush(SequenceNumber(0), SequenceNumber(2)).batches.len(), 1);
}
