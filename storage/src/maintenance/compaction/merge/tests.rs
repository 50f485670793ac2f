use std::sync::Arc;

use alula_catalog::DataFile;
use alula_catalog::schema::sort_columns;
use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use proptest::prelude::*;
use tempfile::tempdir;

use super::super::input::keys_of;
use super::super::testing::{Files, Numbers, rows, whole_rows};
use super::*;
use crate::data_files::DataFiles;

fn merged(files: &Files, signal: Signal, inputs: &[Arc<DataFile>]) -> (Vec<RecordBatch>, Tally) {
    let data_files = DataFiles::new(files.layout.clone());
    let open = |file| Input::open(&data_files, file, inputs.len(), None).unwrap();
    let mut merge = Merge::new(signal, inputs.iter().map(open).collect()).unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = merge.next_batch().unwrap() {
        batches.push(batch);
    }
    (batches, merge.tally().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_merge_is_a_sort_of_everything(seed: u64, sizes in prop::collection::vec(1_usize..50, 1..9)) {
        let numbers = &mut Numbers(seed);
        for signal in Signal::ALL {
            let dir = tempdir().unwrap();
            let files = Files::new(dir.path());
            let written: Vec<_> = sizes.iter().map(|count| rows(signal, *count, numbers)).collect();
            let inputs: Vec<_> = written.iter().map(|rows| files.write(signal, rows.clone())).collect();
            let (batches, tally) = merged(&files, signal, &inputs);

            let (mut before, mut after) = (whole_rows(&written), whole_rows(&batches));
            before.sort();
            after.sort();
            prop_assert!(before == after, "the rows are the same");
            prop_assert_eq!(tally.num_rows as usize, before.len());
            let converter = key_converter(signal).unwrap();
            let keys = batches.iter().flat_map(|batch| {
                let keys = keys_of(batch, &converter, signal).unwrap();
                keys.iter().map(|key| key.owned()).collect::<Vec<_>>()
            });
            prop_assert!(keys.is_sorted());
        }
    }
}

#[test]
fn a_merge_of_many_batches_goes_on_where_each_input_was() {
    let dir = tempdir().unwrap();
    let files = Files::new(dir.path());
    let numbers = &mut Numbers(3);
    let written: Vec<_> =
        [20_000, 1, 9_000, 3].map(|count| rows(Signal::Logs, count, numbers)).into_iter().collect();
    let inputs: Vec<_> = written.iter().map(|rows| files.write(Signal::Logs, rows.clone())).collect();
    let (batches, _) = merged(&files, Signal::Logs, &inputs);
    assert!(batches.len() > 3 && batches.iter().all(|batch| batch.num_rows() <= BATCH_ROWS));
    let (mut before, mut after) = (whole_rows(&written), whole_rows(&batches));
    before.sort();
    after.sort();
    assert!(before == after, "the rows are the same");
}

#[test]
fn a_merged_dictionary_has_only_values_that_are_used() {
    let dir = tempdir().unwrap();
    let files = Files::new(dir.path());
    let numbers = &mut Numbers(4);
    let inputs: Vec<_> = (0..5).map(|_| files.write(Signal::Logs, rows(Signal::Logs, 30, numbers))).collect();
    let (batches, _) = merged(&files, Signal::Logs, &inputs);
    let name = sort_columns(Signal::Logs)[0];
    for batch in &batches {
        let column = batch.column_by_name(name).unwrap().as_dictionary::<Int32Type>();
        let used: std::collections::HashSet<_> = column.keys().iter().flatten().collect();
        assert_eq!(used.len(), column.values().len());
    }
}

#[test]
fn a_file_that_is_not_sorted_is_refused_by_name() {
    let dir = tempdir().unwrap();
    let files = Files::new(dir.path());
    let numbers = &mut Numbers(8);
    let file = files.write_as_it_is(Signal::Metrics, &rows(Signal::Metrics, 40, numbers));
    let data_files = DataFiles::new(files.layout.clone());
    let input = Input::open(&data_files, &file, 1, None).unwrap();
    let mut merge = Merge::new(Signal::Metrics, vec![input]).unwrap();
    let refused = std::iter::from_fn(|| merge.next_batch().transpose()).find_map(Result::err);
    let refused = refused.expect("the rows are in no order");
    assert!(refused.to_string().contains(&file.id.to_string()), "{refused}");
}

#[test]
fn the_winner_of_a_tournament_is_the_smallest_of_any_number() {
    for count in 1..40_usize {
        let mut queues: Vec<Vec<usize>> =
            (0..count).map(|i| (0..5).map(|j| j * 7 + i * 3 % 11).rev().collect()).collect();
        let mut all: Vec<_> = queues.iter().flatten().copied().collect();
        all.sort_unstable();
        let before = |queues: &[Vec<usize>], a: usize, b: usize| match (queues[a].last(), queues[b].last()) {
            (Some(x), Some(y)) => (x, a) < (y, b),
            (Some(_), None) => true,
            (None, _) => false,
        };
        let mut tree = LoserTree::new(count, |a, b| before(&queues, a, b));
        let mut drawn = Vec::new();
        while let Some(next) = queues[tree.winner()].pop() {
            drawn.push(next);
            tree.replay(|a, b| before(&queues, a, b));
        }
        assert_eq!(drawn, all, "{count} queues");
    }
}
