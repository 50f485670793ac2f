use std::collections::HashSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt32Type;

use super::*;
use crate::tests::fixture::{config, engine};

/// The codes of the specification and the place of their type in the union: string, bool, int64, int32, list, map.
fn specified() -> Vec<(u32, i8)> {
    let arms: [(&str, &[u32]); 6] = [
        ("string", &[0, 1, 2, 6, 7, 504, 513, 514, 529, 530, 531]),
        (
            "bool",
            &[
                3, 4, 5, 9, 10, 11, 500, 501, 502, 506, 515, 516, 518, 519, 520, 521, 523, 524, 527, 532,
                536, 537, 539, 556, 563, 565, 566, 572, 573, 574, 575, 576,
            ],
        ),
        (
            "int64",
            &[
                503, 505, 507, 541, 542, 543, 544, 545, 546, 547, 548, 549, 550, 551, 552, 553, 554, 555,
                557, 558, 559, 560, 561, 562,
            ],
        ),
        ("int32", &[8, 100, 101, 522, 525, 526, 528, 533, 534, 535, 538, 540, 564, 567, 568, 569, 570, 571]),
        ("list", &[508, 509, 510, 511, 512]),
        ("map", &[517]),
    ];
    let with_arm = |(arm, (_, codes)): (usize, (&str, &'static [u32]))| {
        codes.iter().map(move |code| (*code, i8::try_from(arm).unwrap()))
    };
    arms.into_iter().enumerate().flat_map(with_arm).collect()
}

#[test]
fn every_standard_code_is_there_once_with_its_own_type_and_no_other_code() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let infos = build(&engine(&config), &config, true).unwrap();
    let batch = rows(&infos, vec![]).unwrap();
    assert_eq!(batch.schema(), schema());

    let codes = batch.column(0).as_primitive::<UInt32Type>();
    let values = batch.column(1).as_union();
    let given: HashSet<(u32, i8)> =
        (0..batch.num_rows()).map(|i| (codes.value(i), values.type_id(i))).collect();
    assert_eq!(given.len(), batch.num_rows());
    let specified: HashSet<_> = specified().into_iter().collect();
    let mut differences: Vec<_> = given.symmetric_difference(&specified).collect();
    differences.sort();
    assert!(differences.is_empty(), "{differences:?}");

    for function_list in [509, 510, 511, 512] {
        let row = (0..batch.num_rows()).find(|i| codes.value(*i) == function_list).unwrap();
        assert!(values.value(row).as_list::<i32>().value(0).len() > 3, "{function_list}");
    }
}

#[test]
fn only_the_codes_asked_for_are_answered_and_unknown_ones_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let infos = build(&engine(&config), &config, true).unwrap();
    let batch = rows(&infos, vec![8, 0, 99_999]).unwrap();
    assert_eq!(batch.column(0).as_primitive::<UInt32Type>().values(), &[0, 8]);
    assert_eq!(rows(&infos, vec![99_999]).unwrap().num_rows(), 0);
}
