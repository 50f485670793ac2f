//! How one series changed over its points: increase, rate and difference.
//!
//! A cumulative point tells what was counted since its start, a delta point what was counted since the point before it.
//! Only what points tell is counted: nothing is extrapolated to the edges of a window, which is what sets these apart
//! from the functions of the same names in Prometheus.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::ops::{Add, Sub};

use arrow::array::ArrowNativeTypeOp;
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int64Type, UInt64Type};
use datafusion::common::exec_err;
use datafusion::error::Result;

/// Values that can be counted. Sums and differences of integers are exact until the end.
pub(super) trait Counted: ArrowPrimitiveType + Debug {
    type Exact: Add<Output = Self::Exact> + Sub<Output = Self::Exact> + Copy;

    const NOTHING: Self::Exact;

    fn exact(value: Self::Native) -> Self::Exact;
    fn to_f64(exact: Self::Exact) -> f64;
}

impl Counted for Float64Type {
    type Exact = f64;

    const NOTHING: f64 = 0.0;

    fn exact(value: f64) -> f64 {
        value
    }

    fn to_f64(exact: f64) -> f64 {
        exact
    }
}

impl Counted for Int64Type {
    type Exact = i128;

    const NOTHING: i128 = 0;

    fn exact(value: i64) -> i128 {
        i128::from(value)
    }

    fn to_f64(exact: i128) -> f64 {
        exact as f64
    }
}

impl Counted for UInt64Type {
    type Exact = i128;

    const NOTHING: i128 = 0;

    fn exact(value: u64) -> i128 {
        i128::from(value)
    }

    fn to_f64(exact: i128) -> f64 {
        exact as f64
    }
}

/// What is asked of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// How much a counter rose. A value that falls has begun again at 0.
    Increase,
    /// The increase in a second.
    Rate,
    /// How much a value changed, up or down.
    Delta,
}

/// A data point.
///
/// Units: nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point<N> {
    pub(super) time: i64,
    pub(super) start: Option<i64>,
    pub(super) value: N,
}

/// A change, and the times between which it came about.
struct Told<E> {
    change: E,
    begin: i64,
    end: i64,
}

/// What holds for all points of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Series {
    /// `None` as long as no point told; then it is cumulative.
    pub(super) is_delta: Option<bool>,
    /// Since when all of a series that begins later is counted, its first point included.
    pub(super) window_start: Option<i64>,
}

impl Series {
    /// # Errors
    /// `Execution` — the points are of both temporalities, so of more than one series.
    pub(super) fn learn(&mut self, other: Self) -> Result<()> {
        if let (Some(known), Some(told)) = (self.is_delta, other.is_delta)
            && known != told
        {
            return exec_err!("a group has cumulative points and delta points: group by series_id");
        }
        self.is_delta = self.is_delta.or(other.is_delta);
        self.window_start = [self.window_start, other.window_start].into_iter().flatten().min();
        Ok(())
    }

    /// The answer of `kind` for these points, in any order, or `None` if they do not tell.
    ///
    /// Cumulative points of the same time are one point: that of the latest start, then of the highest value. Delta
    /// points are one if they are equal in all.
    pub(super) fn change<T: Counted>(self, kind: Kind, points: &mut [Point<T::Native>]) -> Option<f64> {
        let in_order = |a: &Point<_>, b: &Point<_>| order(a, b) != Ordering::Greater;
        if !points.is_sorted_by(in_order) {
            points.sort_unstable_by(order);
        }
        let told = if self.is_delta == Some(true) {
            added_up::<T>(kind, points)?
        } else {
            self.told_by_totals::<T>(kind, points)?
        };
        let change = T::to_f64(told.change);
        if kind != Kind::Rate {
            return Some(change);
        }
        // The difference of two times may pass 64 bits.
        let covered_ns = i128::from(told.end) - i128::from(told.begin);
        (covered_ns > 0).then(|| change / (covered_ns as f64 / 1e9))
    }

    /// Of cumulative points.
    fn told_by_totals<T: Counted>(self, kind: Kind, points: &[Point<T::Native>]) -> Option<Told<T::Exact>> {
        let mut points = points.chunk_by(|a, b| a.time == b.time).map(|same| same[same.len() - 1]);
        let first = points.next()?;
        let begin_inside = first
            .start
            .filter(|start| self.window_start.is_some_and(|window| window <= *start) && *start < first.time);
        let mut change = T::NOTHING;
        // What the counter showed where the run of points without a restart begins.
        let mut base = if begin_inside.is_some() { T::NOTHING } else { T::exact(first.value) };
        let mut previous = first;
        for point in points {
            if has_restarted(kind, &previous, &point) {
                change = change + (T::exact(previous.value) - base);
                base = T::NOTHING;
            }
            previous = point;
        }
        change = change + (T::exact(previous.value) - base);
        let begin = begin_inside.unwrap_or(first.time);
        (begin < previous.time).then_some(Told { change, begin, end: previous.time })
    }
}

/// Whether `point` counts from 0 on and not from `previous`: its start says so, or a counter fell.
fn has_restarted<N: ArrowNativeTypeOp>(kind: Kind, previous: &Point<N>, point: &Point<N>) -> bool {
    let fell = kind != Kind::Delta && point.value.is_lt(previous.value);
    // A start equal to the point's own time says that the true one is not known.
    let began_between = point
        .start
        .is_some_and(|start| previous.time <= start && start < point.time && previous.start != Some(start));
    fell || began_between
}

/// Of delta points.
fn added_up<T: Counted>(kind: Kind, points: &[Point<T::Native>]) -> Option<Told<T::Exact>> {
    let mut points = points.chunk_by(|a, b| order(a, b) == Ordering::Equal).map(|same| same[0]);
    let first = points.next()?;
    let begin = first.start.filter(|start| *start < first.time);
    // Without a start it is not known what time the first point is about, so it is no part of a rate.
    let counts_first = begin.is_some() || kind != Kind::Rate;
    let mut change = if counts_first { T::exact(first.value) } else { T::NOTHING };
    let mut end = first.time;
    for point in points {
        change = change + T::exact(point.value);
        end = point.time;
    }
    Some(Told { change, begin: begin.unwrap_or(first.time), end })
}

/// By time, then start, then value: a total order, so that the result does not depend on how points came.
fn order<N: ArrowNativeTypeOp>(a: &Point<N>, b: &Point<N>) -> Ordering {
    a.time.cmp(&b.time).then(a.start.cmp(&b.start)).then(a.value.compare(b.value))
}
