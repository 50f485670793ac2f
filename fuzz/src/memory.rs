//! How much memory a step takes.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What came of a step, and the most bytes that it held at any time, its result included.
pub(crate) fn measured<T>(step: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = step();
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}
