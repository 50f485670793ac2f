use std::panic::{set_hook, take_hook};
use std::sync::{Arc, Mutex, Once, PoisonError};

use arrow::array::{ArrayRef, BinaryArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::kernels::concat_elements::concat_elements_dyn;

use super::*;

/// What the hook of the process would have reported.
static REPORTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The hook that the server has.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let otherwise = take_hook();
        set_hook(Box::new(move |panic| {
            if !is_expected_panic(panic) {
                let message = panic.payload_as_str().unwrap_or_default().to_owned();
                REPORTED.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                otherwise(panic);
            }
        }));
    });
}

fn is_reported(message: &str) -> bool {
    let reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    reported.iter().any(|reported| reported == message)
}

fn fail(message: &str) {
    panic!("{message}");
}

fn panics_with<T>(work: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_err()
}

#[test]
fn what_is_expected_is_not_reported_and_everything_else_is() {
    install_hook();
    assert!(panics_with(|| Expected::Any.during(|| fail("of a client"))));
    assert!(!is_reported("of a client"));
    assert!(panics_with(|| fail("behind it")));
    assert!(is_reported("behind it"));
    assert!(panics_with(|| within_offsets(|| fail("a bug of a kernel"))));
    assert!(is_reported("a bug of a kernel"));
}

#[tokio::test]
async fn a_reader_is_distrusted_while_it_is_polled() {
    install_hook();
    let reads = Distrusted(Box::pin(async {
        tokio::task::yield_now().await;
        fail("of a reader");
    }));
    assert!(tokio::spawn(reads).await.unwrap_err().is_panic());
    let streams = Distrusted(futures::stream::poll_fn(|_| {
        fail("of a stream");
        Poll::Ready(None::<()>)
    }));
    assert!(tokio::spawn(streams.collect::<Vec<_>>()).await.unwrap_err().is_panic());
    assert!(!is_reported("of a reader") && !is_reported("of a stream"));
}

/// Two that each are short enough. As bytes, which need not be looked at first.
#[test]
fn texts_that_are_too_long_together_are_an_overflow() {
    install_hook();
    let long = || -> ArrayRef {
        let length: i32 = 1_100_000_000;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, length]));
        Arc::new(BinaryArray::new(offsets, Buffer::from_vec(vec![0_u8; length as usize]), None))
    };
    let (left, right) = (long(), long());
    assert!(within_offsets(|| concat_elements_dyn(&left, &right)).is_err());
    let lengths = [i32::MAX as usize, 1];
    assert!(within_offsets(|| OffsetBuffer::<i32>::from_lengths(lengths)).is_err());
    assert!(within_offsets(|| OffsetBuffer::<i64>::from_lengths(lengths)).is_ok());
}
