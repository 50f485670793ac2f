//! The times at which rows are cut into parts of similar size.

use alula_catalog::TimeRange;
use alula_storage::table::TimedRows;

/// How exact the sizes are: rows are counted in portions, of which a part has about so many.
const PORTIONS: u64 = 16;

/// Of the rows of a part, how many it may have more or fewer so that no file is in two parts.
const TOLERANCE: u64 = 4;

/// A time at which could be cut.
struct Cut {
    at_ns: i64,
    rows_before: u64,
    /// Whether no file has rows on both sides.
    is_clean: bool,
}

/// Rows that are near each other, of a file that goes on to `until_ns`.
struct Portion {
    at_ns: i64,
    until_ns: i64,
    num_rows: u64,
}

/// The first times of all parts but the first one, which rise. There are fewer than `most`.
///
/// Bounds: rows of one instant are in one part.
pub(super) fn split(rows: &[TimedRows], most: usize) -> Vec<i64> {
    let total: u64 = rows.iter().map(|rows| rows.num_rows).sum();
    let most = most as u64;
    let cuts = cuts(&portions(rows, total, most));
    let mut times: Vec<i64> = Vec::new();
    for number in 1..most {
        let wanted = share(total, number, most);
        let distance = |cut: &&Cut| cut.rows_before.abs_diff(wanted);
        let is_even = |cut: &&Cut| distance(cut) <= total / most / TOLERANCE;
        let clean = cuts.iter().filter(|cut| cut.is_clean && is_even(cut)).min_by_key(distance);
        let cut = clean.or_else(|| cuts.iter().min_by_key(distance));
        times.extend(cut.map(|cut| cut.at_ns).filter(|at| times.last().is_none_or(|last| last < at)));
    }
    times
}

fn portions(rows: &[TimedRows], total: u64, most: u64) -> Vec<Portion> {
    let mut portions = Vec::new();
    for rows in rows.iter().filter(|rows| rows.num_rows > 0) {
        let TimeRange { min_ns, max_ns } = rows.timestamps;
        let length = u128::from(max_ns.abs_diff(min_ns)) + 1;
        let number = (u128::from(rows.num_rows) * u128::from(most * PORTIONS)).div_ceil(total.into());
        let number = number.min(length).min(rows.num_rows.into()) as u64;
        portions.extend((0..number).map(|index| Portion {
            at_ns: min_ns.saturating_add_unsigned((length * u128::from(index) / u128::from(number)) as u64),
            until_ns: max_ns,
            num_rows: share(rows.num_rows, index + 1, number) - share(rows.num_rows, index, number),
        }));
    }
    portions.sort_unstable_by_key(|portion| portion.at_ns);
    portions
}

/// All times at which a portion begins, but the first.
fn cuts(portions: &[Portion]) -> Vec<Cut> {
    let (mut rows_before, mut until) = (0, None);
    let mut cuts = Vec::new();
    for together in portions.chunk_by(|a, b| a.at_ns == b.at_ns) {
        let at_ns = together[0].at_ns;
        if let Some(until) = until {
            cuts.push(Cut { at_ns, rows_before, is_clean: until < at_ns });
        }
        rows_before += together.iter().map(|portion| portion.num_rows).sum::<u64>();
        until = until.max(together.iter().map(|portion| portion.until_ns).max());
    }
    cuts
}

/// The first `number` of `of` equal parts of `total`.
fn share(total: u64, number: u64, of: u64) -> u64 {
    (u128::from(total) * u128::from(number) / u128::from(of)) as u64
}

#[cfg(test)]
mod tests;
