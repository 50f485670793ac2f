//! Keeps the number of a table's files small, however small the statements are that append to it.
//!
//! Files of less than 32 MiB are in classes by their rows: 1 to 3, 4 to 15, 16 to 63, and so on, each class up to four times
//! the one before. As soon as a class has four files, these become one, which is of a later class. So there are at most three
//! files of a class: a thousand statements of one row leave at most fifteen files. A row is written once more for each class
//! that it moves up by, so a table of n rows costs about log4(n) times what one large statement costs.

/// A file of this size is not merged any more.
pub(super) const LARGE_BYTES: u64 = 32 << 20;
/// Files of a class that become one.
const FILES: usize = 4;
/// A class has so many times the rows of the one before.
const FACTOR: u64 = 4;

/// Rows and bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileSize {
    pub num_rows: u64,
    pub size_bytes: u64,
}

/// Which files become one: their places, in order. None if the table has few enough.
pub(super) fn plan_merge(files: &[FileSize]) -> Option<Vec<usize>> {
    let is_small = |file: &FileSize| file.size_bytes < LARGE_BYTES;
    let highest = files.iter().filter(|file| is_small(file)).map(class_of).max()?;
    let mut places: Vec<usize> = Vec::new();
    let mut merged = FileSize { num_rows: 0, size_bytes: 0 };
    for class in 0..=highest {
        let of_class: Vec<_> =
            (0..files.len()).filter(|i| is_small(&files[*i]) && class_of(&files[*i]) == class).collect();
        // What is merged so far may complete the class that it comes into.
        let joins = !places.is_empty() && is_small(&merged) && class_of(&merged) == class;
        if of_class.len() + usize::from(joins) >= FILES {
            merged.num_rows += of_class.iter().map(|place| files[*place].num_rows).sum::<u64>();
            merged.size_bytes += of_class.iter().map(|place| files[*place].size_bytes).sum::<u64>();
            places.extend(of_class);
        }
    }
    places.sort_unstable();
    (!places.is_empty()).then_some(places)
}

fn class_of(file: &FileSize) -> u32 {
    file.num_rows.max(1).ilog(FACTOR)
}

#[cfg(test)]
mod tests;
