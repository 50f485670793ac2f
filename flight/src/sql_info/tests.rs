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

/// What a reader is told, of all codes that tests of the SQL itself (`tests/claims.rs`) do not cover.
#[test]
fn the_values_are_those_that_a_reader_can_rely_on() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let infos = build(&engine(&config), &config, true).unwrap();
    let batch = rows(&infos, vec![]).unwrap();
    let codes = batch.column(0).as_primitive::<UInt32Type>();
    let shown = |code: u32| {
        let row = (0..batch.num_rows()).find(|row| codes.value(*row) == code).unwrap();
        let value = batch.column(1).as_union().value(row);
        arrow::util::display::array_value_to_string(&value, 0).unwrap()
    };
    for (code, expected) in [
        (0, "Alula"),
        (1, "0.0.0-test"),
        (2, arrow::ARROW_VERSION),
        (3, "true"),
        (4, "true"),
        (5, "false"),
        (6, ""),
        (7, ""),
        (8, "1"),
        (10, "false"),
        (11, "false"),
        (100, "3600000"),
        (502, "false"),
        (504, "\""),
        (513, "\\"),
        (514, ""),
        (529, "schema"),
        (530, ""),
        (531, "catalog"),
        (532, "true"),
        (533, "0"),
        (534, "0"),
        (535, "0"),
        (536, "false"),
        (537, "false"),
        (567, "2"),
        (572, "false"),
        (573, "false"),
        (575, "false"),
        (576, "false"),
    ] {
        assert_eq!(shown(code), expected, "{code}");
    }
    for code in 541..=561 {
        let expected = match code {
            543 | 548 => "1024",
            555 => "67108864",
            556 => "true",
            557 => "262144",
            559 | 560 => "128",
            _ => "0",
        };
        assert_eq!(shown(code), expected, "{code}");
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
    // As a client could send them; an array for each would take long, and a GiB.
    let again = rows(&infos, vec![8; 4 << 20]).unwrap();
    assert_eq!(again.column(0).as_primitive::<UInt32Type>().values(), &[8]);
}

/// Each of these is done in `tests/tables.rs` and `ingest/tests.rs`.
#[test]
fn whoever_may_write_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let infos = build(&engine(&config), &config, false).unwrap();
    for (code, expected) in [(3, false), (10, true), (11, true), (502, true), (572, true)] {
        let batch = rows(&infos, vec![code]).unwrap();
        assert_eq!(batch.column(1).as_union().value(0).as_boolean().value(0), expected, "{code}");
    }
}
