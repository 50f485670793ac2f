use proptest::prelude::*;

use super::*;

fn of_rows(num_rows: u64) -> FileSize {
    FileSize { num_rows, size_bytes: 1_000 + num_rows * 10 }
}

/// What becomes of the files of a table when one is added.
fn add(files: &mut Vec<FileSize>, file: FileSize) -> u64 {
    files.push(file);
    let Some(places) = plan_merge(files) else { return 0 };
    let inputs: Vec<_> = places.iter().rev().map(|place| files.remove(*place)).collect();
    let num_rows = inputs.iter().map(|file| file.num_rows).sum();
    files.push(FileSize { num_rows, size_bytes: inputs.iter().map(|file| file.size_bytes).sum() });
    num_rows
}

#[test]
fn a_class_with_four_files_becomes_one_file_with_all_that_follows_from_it() {
    let plan = |rows: &[u64]| plan_merge(&rows.iter().copied().map(of_rows).collect::<Vec<_>>());
    assert_eq!(plan(&[]), None);
    assert_eq!(plan(&[1, 2, 3]), None);
    assert_eq!(plan(&[1, 4, 2, 3, 1]), Some(vec![0, 2, 3, 4]));
    assert_eq!(
        plan(&[5, 7, 15, 1, 1, 1, 1]),
        Some(vec![0, 1, 2, 3, 4, 5, 6]),
        "the result is of the next class"
    );
    assert_eq!(plan(&[5, 7, 1, 1, 1, 1]), Some(vec![2, 3, 4, 5]), "the next class has room");
    assert_eq!(plan(&[0, 0, 0, 0]), Some(vec![0, 1, 2, 3]));
}

#[test]
fn a_large_file_is_left_alone() {
    let large = FileSize { num_rows: 1, size_bytes: LARGE_BYTES };
    assert_eq!(plan_merge(&[large; 9]), None);
    let small = FileSize { num_rows: 1, size_bytes: LARGE_BYTES - 1 };
    assert_eq!(plan_merge(&[large, small, small, small, small]), Some(vec![1, 2, 3, 4]));
}

/// Guarantees: the bound on files, and that a row is written again at most once for each class.
#[test]
fn a_thousand_statements_of_one_row_leave_at_most_fifteen_files() {
    let (mut files, mut rewritten) = (Vec::new(), 0);
    for statement in 1..=1_000 {
        rewritten += add(&mut files, of_rows(1));
        assert!(files.len() <= 15, "{} files after {statement}", files.len());
    }
    assert_eq!(files.iter().map(|file| file.num_rows).sum::<u64>(), 1_000);
    assert!(rewritten <= 1_000 * 5, "{rewritten} rows were written again");
}

proptest! {
    #[test]
    fn no_class_ever_keeps_four_files(sizes in prop::collection::vec(0_u64..10_000, 0..200)) {
        let mut files = Vec::new();
        for size in sizes {
            add(&mut files, of_rows(size));
            for class in 0..10 {
                let of_class = files.iter().filter(|file| class_of(file) == class).count();
                prop_assert!(of_class < FILES, "{} files of class {}", of_class, class);
            }
        }
    }
}
