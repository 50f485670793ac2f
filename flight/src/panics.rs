//! Panics of Arrow's that are expected, and caught where they happen: of its reader over the bytes of a client, and of kernels
//! whose texts become longer than their offsets can say.
//!
//! The hook of the process sees a panic first, and it alone knows where it happened. It asks [`is_expected_panic`], and has no
//! more to tell if that says so.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Future, FutureExt, Stream, StreamExt};

thread_local! {
    static EXPECTED: Cell<Expected> = const { Cell::new(Expected::None) };
    /// Whether the hook has seen an [`Expected::Overflow`] that nobody has caught yet.
    static HAS_OVERFLOWED: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone, Copy)]
enum Expected {
    None,
    Any,
    Overflow,
}

impl Expected {
    /// Expects it on this thread until the work is done, or has panicked.
    fn during<T>(self, work: impl FnOnce() -> T) -> T {
        struct Restored(Expected);
        impl Drop for Restored {
            fn drop(&mut self) {
                EXPECTED.set(self.0);
            }
        }
        let _restored = Restored(EXPECTED.replace(self));
        work()
    }
}

/// Files of Arrow whose `unwrap` of an offset says no more than that there is none.
const WITHOUT_WORDS: [&str; 4] = ["concat_elements.rs", "generic_list_builder.rs", "substring.rs", "take.rs"];

/// Whether a panic is told to the client whose doing it is, and need not be reported: for the hook of the process.
///
/// What Arrow's reader does not take is logged here, in one line.
pub fn is_expected_panic(panic: &PanicHookInfo<'_>) -> bool {
    let message = panic.payload_as_str().unwrap_or_default();
    let (file, line) = panic.location().map_or(("", 0), |location| (location.file(), location.line()));
    match EXPECTED.get() {
        Expected::None => false,
        Expected::Any => {
            tracing::warn!("what a client sent is no Arrow data: {message}, at {file}:{line}");
            true
        }
        Expected::Overflow => {
            let is_overflow = is_overflow(message, file);
            HAS_OVERFLOWED.set(is_overflow);
            is_overflow
        }
    }
}

fn is_overflow(message: &str, file: &str) -> bool {
    let is_wordless = message.contains("`Option::unwrap()` on a `None`");
    message.contains("offset overflow")
        || is_wordless && WITHOUT_WORDS.iter().any(|name| file.ends_with(name) && file.contains("arrow-"))
}

/// A batch would have had more than 2 GiB of text in one column.
#[derive(Debug)]
pub(crate) struct Overflow;

/// Does work in which kernels may overflow. Every other panic goes on.
pub(crate) fn within_offsets<T>(work: impl FnOnce() -> T) -> Result<T, Overflow> {
    HAS_OVERFLOWED.set(false);
    let work = AssertUnwindSafe(|| Expected::Overflow.during(work));
    catch_unwind(work).or_else(|payload| {
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        if HAS_OVERFLOWED.replace(false) || message.is_some_and(|message| is_overflow(message, "")) {
            Err(Overflow)
        } else {
            resume_unwind(payload)
        }
    })
}

/// Arrow's reader at work on what a client sent. Whoever polls it catches the panic.
pub(crate) struct Distrusted<T>(pub(crate) T);

impl<F: Future + Unpin> Future for Distrusted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Expected::Any.during(|| self.0.poll_unpin(cx))
    }
}

impl<S: Stream + Unpin> Stream for Distrusted<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Expected::Any.during(|| self.0.poll_next_unpin(cx))
    }
}

#[cfg(test)]
mod tests;
