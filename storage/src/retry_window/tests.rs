//! The window alone: who is told what, what is forgotten when, and that no claim is ever lost.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;

use super::*;

/// Small bounds; the span is 600.
const BOUNDS: Bounds = Bounds { span_ns: 600, tenant_ids: 3, total_ids: 4, waiters: 3 };

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn window() -> Arc<RetryWindow> {
    window_of(BOUNDS)
}

/// A window whose time is 0 at [`START`].
fn window_of(bounds: Bounds) -> Arc<RetryWindow> {
    let window = RetryWindow::new(bounds);
    window.start(0, *START);
    Arc::new(window)
}

fn at(now_ns: u64) -> Instant {
    *START + Duration::from_nanos(now_ns)
}

fn key(tenant: u32, id: u8) -> BatchKey {
    BatchKey { tenant: TenantNumber(tenant), id: BatchId::from_bytes([id; 16]).unwrap() }
}

/// The answer to a batch that need not wait.
fn enter(window: &Arc<RetryWindow>, key: BatchKey, now_ns: u64) -> Turn {
    wait(window, key, now_ns).now_or_never().expect("nobody is in flight").unwrap()
}

/// Comes when it is first polled.
async fn wait(window: &Arc<RetryWindow>, key: BatchKey, now_ns: u64) -> Result<Turn> {
    match window.enter(key, at(now_ns))? {
        Entered::Now(turn) => Ok(turn),
        Entered::Later(turn) => Ok(turn.await.expect("no claim is lost")),
    }
}

fn claim(window: &Arc<RetryWindow>, key: BatchKey, now_ns: u64) -> Claim {
    match enter(window, key, now_ns) {
        Turn::First(claim) => claim,
        Turn::Duplicate(stored) => panic!("{key:?} was stored as {stored:?}"),
    }
}

/// Of which as many records were rejected as its number says.
fn as_stored(seq: u64) -> Stored {
    Stored { seq: SequenceNumber(seq), num_rejected: seq as u32 }
}

fn store(window: &Arc<RetryWindow>, key: BatchKey, seq: u64, now_ns: u64) {
    claim(window, key, now_ns).stored(as_stored(seq));
}

/// Under which numbers these batches are remembered, if they are.
fn stored<const N: usize>(window: &Arc<RetryWindow>, keys: [BatchKey; N], now_ns: u64) -> [Option<u64>; N] {
    keys.map(|key| match enter(window, key, now_ns) {
        Turn::Duplicate(stored) => Some(stored.seq.0),
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
fn in_a_full_window_one_with_less_than_its_share_gets_room_from_the_one_with_the_most() {
    let window = window();
    for id in 1..=3 {
        store(&window, key(1, id), u64::from(id), 0);
    }
    store(&window, key(2, 1), 4, 0);
    store(&window, key(2, 2), 5, 0);
    assert_eq!(stored(&window, [1, 2, 3].map(|id| key(1, id)), 0), [None, Some(2), Some(3)]);
    store(&window, key(2, 3), 6, 0);
    assert_eq!(stored(&window, [1, 2, 3].map(|id| key(2, id)), 0), [None, Some(5), Some(6)]);
    store(&window, key(3, 1), 7, 0);
    assert_eq!(stored(&window, [key(3, 1)], 0), [Some(7)]);
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
    let window = window_of(bounds);
    let key = |n: u64| {
        let id = [n.to_le_bytes(), [1; 8]].concat().try_into().unwrap();
        BatchKey { tenant: TenantNumber(1), id: BatchId::from_bytes(id).unwrap() }
    };
    for n in 0..10_000 {
        window.load(key(n), as_stored(n), 0);
    }
    window.load(key(10_000), as_stored(10_000), 300);
    window.load(key(10_001), as_stored(10_001), 700);
    let state = window.lock();
    let ids = &state.tenants[&TenantNumber(1)];
    assert_eq!((ids.order.len(), ids.stored.len(), state.num_ids), (2, 2, 2));
    assert!(ids.order.capacity() < 1_000 && ids.stored.capacity() < 1_000, "{ids:?}");
}

#[tokio::test]
async fn all_who_wait_for_a_batch_have_a_duplicate_once_it_is_stored() {
    let window = window();
    let first = claim(&window, key(1, 1), 0);
    let mut waiting = [0; 3].map(|now_ns| Box::pin(wait(&window, key(1, 1), now_ns)));
    for waiter in &mut waiting {
        assert!(waiter.now_or_never().is_none(), "answered before the first is stored");
    }
    assert!(matches!(enter(&window, key(1, 2), 0), Turn::First(_)), "others do not wait");
    first.stored(as_stored(7));
    for turn in join_all(waiting).await {
        assert!(matches!(turn.unwrap(), Turn::Duplicate(stored) if stored == as_stored(7)));
    }
    assert!(nobody_is_in_flight(&window));
}

#[tokio::test]
async fn of_those_who_wait_for_a_batch_that_failed_exactly_one_tries_again() {
    let window = window();
    let first = claim(&window, key(1, 1), 0);
    let [mut second, mut third, mut fourth] = [0; 3].map(|now_ns| Box::pin(wait(&window, key(1, 1), now_ns)));
    for waiter in [&mut second, &mut third, &mut fourth] {
        assert!(waiter.now_or_never().is_none());
    }
    drop(first);
    assert!((&mut third).now_or_never().is_none() && (&mut fourth).now_or_never().is_none());
    let Turn::First(claim) = second.await.unwrap() else { panic!("nothing was stored") };
    drop(claim);
    assert!((&mut fourth).now_or_never().is_none());
    let Turn::First(claim) = third.await.unwrap() else { panic!("nothing was stored") };
    claim.stored(as_stored(9));
    assert!(matches!(fourth.await.unwrap(), Turn::Duplicate(stored) if stored == as_stored(9)));
    assert!(nobody_is_in_flight(&window));
}

/// Scenario: those who wait go away before the claim comes to them, or after it was sent to them.
/// Guarantees: it passes on to who is still there, and the batch is free when nobody is.
#[tokio::test]
async fn a_claim_passes_by_those_who_went_away() {
    let window = window();
    let first = claim(&window, key(1, 1), 0);
    let [mut second, mut third, mut fourth] = [0; 3].map(|now_ns| Box::pin(wait(&window, key(1, 1), now_ns)));
    for waiter in [&mut second, &mut third, &mut fourth] {
        assert!(waiter.now_or_never().is_none());
    }
    drop(second);
    drop(first);
    // The claim is on its way to the third, who never takes it.
    drop(third);
    let Turn::First(claim) = fourth.await.unwrap() else { panic!("nothing was stored") };
    let mut fifth = Box::pin(wait(&window, key(1, 1), 0));
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
    let mut waiting = [0; 3].map(|now_ns| Box::pin(wait(&window, key(1, 1), now_ns)));
    for waiter in &mut waiting {
        assert!(waiter.now_or_never().is_none());
    }
    let refused = window.enter(key(1, 1), at(0)).unwrap_err();
    assert!(matches!(refused, Error::Overloaded { limit: 3, .. }), "{refused}");
    let [gone, ..] = waiting;
    drop(gone);
    let mut next = Box::pin(wait(&window, key(1, 1), 0));
    assert!((&mut next).now_or_never().is_none(), "one that went away has given its place up");
    first.stored(as_stored(1));
    assert!(matches!(next.await.unwrap(), Turn::Duplicate(stored) if stored == as_stored(1)));
}

/// Scenario: many come with few batches at once; some store theirs, some fail, some go away.
/// Guarantees: a batch has one claim at a time, is stored once, and no claim is left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_is_stored_once_however_many_come_with_it() {
    const BATCHES: u8 = 19;
    let bounds = Bounds { tenant_ids: 100, total_ids: 100, waiters: 1_000, ..BOUNDS };
    let window = window_of(bounds);
    let held: Arc<Vec<AtomicU32>> = Arc::new((0..BATCHES).map(|_| AtomicU32::new(0)).collect());
    let times_stored: Arc<Vec<AtomicU32>> = Arc::new((0..BATCHES).map(|_| AtomicU32::new(0)).collect());
    let senders = (0..16_u32).map(|sender| {
        let (window, held, times_stored) =
            (Arc::clone(&window), Arc::clone(&held), Arc::clone(&times_stored));
        tokio::spawn(async move {
            for round in 0..200_u32 {
                let batch = round.wrapping_mul(7).wrapping_add(sender) % u32::from(BATCHES);
                let entered = wait(&window, key(1, batch as u8 + 1), 0);
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
                    claim.stored(as_stored(u64::from(round)));
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

/// Scenario: at the start the system's clock is behind the latest receipt on disk, or ahead of it.
/// Guarantees: by behind, no time has passed; and from then on the system's clock does not matter.
#[test]
fn what_was_loaded_expires_by_the_system_s_clock_at_the_start_and_by_what_has_passed_since() {
    for (system_ns, passed_ns) in [(i64::MIN, 0), (0, 0), (4_999, 0), (5_000, 0), (5_100, 100), (5_600, 600)]
    {
        let window = Arc::new(RetryWindow::new(BOUNDS));
        window.load(key(1, 1), as_stored(1), 4_000);
        window.load(key(1, 2), as_stored(2), 5_000);
        // One that was received before the one ahead of it: the clock was set back between the two.
        window.load(key(1, 3), as_stored(3), 1_000);
        window.start(system_ns, *START);
        let left_ns = 600 - passed_ns;
        assert_eq!(stored(&window, [1, 2, 3].map(|id| key(1, id)), left_ns), [None, Some(2), Some(3)]);
        assert_eq!(stored(&window, [2, 3].map(|id| key(1, id)), left_ns + 1), [None, None], "{system_ns}");
    }
}

#[test]
fn a_time_that_was_read_before_another_is_not_counted_twice() {
    let window = window();
    store(&window, key(1, 1), 1, 0);
    for now_ns in [600, 0, 600, 0, 600] {
        assert_eq!(stored(&window, [key(1, 1)], now_ns), [Some(1)]);
    }
    assert_eq!(stored(&window, [key(1, 1)], 601), [None]);
}

#[test]
fn a_flush_saves_the_ids_of_its_own_entries_that_are_still_in_the_window() {
    let window = window_of(Bounds { tenant_ids: 10, total_ids: 10, ..BOUNDS });
    for (tenant, seq, received_ns) in
        [(1, 1, 1_000), (1, 2, 1_100), (2, 3, 1_200), (1, 4, 1_300), (2, 5, 1_650), (1, 6, 1_700)]
    {
        store(&window, key(tenant, seq), u64::from(seq), received_ns);
    }
    let saved = |flushed, last| {
        let change = window.change_of_flush(SequenceNumber(flushed), SequenceNumber(last), 1_700, at(1_700));
        assert_eq!(change.forget_before_ns, 1_100);
        assert!(change.batches.iter().all(|batch| batch.num_rejected == as_stored(batch.seq.0).num_rejected));
        let batch = |batch: &RetryableBatch| (batch.tenant.0, batch.seq.0, batch.received_ns, batch.id[0]);
        change.batches.iter().map(batch).collect::<Vec<_>>()
    };
    assert_eq!(saved(0, 4), [(1, 2, 1_100, 2), (2, 3, 1_200, 3), (1, 4, 1_300, 4)]);
    assert_eq!(saved(2, 5), [(2, 3, 1_200, 3), (1, 4, 1_300, 4), (2, 5, 1_650, 5)]);
    assert_eq!(saved(5, 6), [(1, 6, 1_700, 6)]);
    assert_eq!(saved(6, 6), []);
    let nothing = RetryWindow::new(BOUNDS).change_of_flush(SequenceNumber(0), SequenceNumber(9), 0, at(0));
    assert!(nothing.batches.is_empty() && nothing.forget_before_ns == i64::MIN, "{nothing:?}");
}

#[test]
fn of_a_batch_that_an_earlier_log_holds_twice_the_first_is_remembered() {
    let window = window();
    window.load(key(1, 1), as_stored(1), 0);
    window.load(key(1, 1), as_stored(2), 0);
    assert_eq!(stored(&window, [key(1, 1)], 0), [Some(1)]);
    let change = window.change_of_flush(SequenceNumber(0), SequenceNumber(2), 0, at(0));
    assert_eq!(change.batches.len(), 1);
}

/// Scenario: the system's clock was set by an hour since the start, or the machine slept: the window's time is another one.
/// Guarantees: what a flush then saves is known after a restart for as long as without it.
#[test]
fn ids_are_saved_with_times_of_the_system_s_clock() {
    for system_ns in [1_000 + 3_600, 1_000, 1_000 - 3_600] {
        let window = window();
        store(&window, key(1, 1), 1, 900);
        let change = window.change_of_flush(SequenceNumber(0), SequenceNumber(1), system_ns, at(1_000));
        let [batch] = change.batches[..] else { panic!("{change:?}") };
        assert_eq!((batch.received_ns, change.forget_before_ns), (system_ns - 100, system_ns - 600));
        let restarted = Arc::new(RetryWindow::new(BOUNDS));
        restarted.load(key(1, 1), as_stored(batch.seq.0), batch.received_ns);
        let before_start = restarted.change_of_flush(SequenceNumber(0), SequenceNumber(1), i64::MAX, at(0));
        assert_eq!(before_start.batches, change.batches, "as a replay saves it");
        restarted.start(system_ns + 50, at(0));
        assert_eq!(stored(&restarted, [key(1, 1)], 450), [Some(1)]);
        assert_eq!(stored(&restarted, [key(1, 1)], 451), [None]);
    }
}
