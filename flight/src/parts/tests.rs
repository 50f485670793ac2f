use proptest::prelude::*;

use super::*;
use crate::settings::Settings;

fn has(part: &Part, ns: i64) -> bool {
    part.from_ns.is_none_or(|from| from <= ns) && part.before_ns.is_none_or(|before| ns < before)
}

proptest! {
    #[test]
    fn every_time_is_in_one_part(
        times in prop::collection::btree_set(any::<i64>(), 0..63),
        at in any::<i64>(),
    ) {
        let whole = Part { as_of: 7, now_ns: Some(9), ..Part::default() };
        let times: Vec<i64> = times.into_iter().collect();
        let parts = between(whole, &times);
        prop_assert_eq!(parts.len(), times.len() + 1);
        prop_assert!(parts.iter().all(|part| part.as_of() == SequenceNumber(7) && part.now_ns == Some(9)));
        for at in times.into_iter().chain([at, i64::MIN, i64::MAX]) {
            prop_assert_eq!(parts.iter().filter(|part| has(part, at)).count(), 1, "{}", at);
        }
    }
}

#[test]
fn a_query_that_cannot_be_cut_is_fetched_by_the_ticket_of_the_whole() {
    let statement = SignedStatement::unbound("SELECT 1".to_owned(), Settings::default());
    assert_eq!(apart(statement.clone(), Vec::new()), std::slice::from_ref(&statement));
    let parts = between(Part::default(), &[1, 2]);
    let apart = apart(statement.clone(), parts.clone());
    assert_eq!(
        apart.iter().map(|statement| statement.settings.part).collect::<Vec<_>>(),
        parts.into_iter().map(Some).collect::<Vec<_>>()
    );
    assert!(apart.iter().all(|of_part| of_part.sql == statement.sql));
}

#[test]
fn tickets_of_long_statements_are_as_many_as_fit_into_a_message() {
    let of_length = |length: usize| {
        let statement = SignedStatement::unbound("x".repeat(length), Settings::default());
        affordable(&statement, 64)
    };
    assert_eq!(of_length(1_000), 64);
    assert_eq!(of_length(256 << 10), 7);
    assert_eq!(of_length(100 << 20), 1);
}

#[test]
fn from_one_part_to_the_most_can_be_asked_for() {
    assert_eq!([1, 64].map(number_of_parts), [Some(1), Some(64)]);
    assert_eq!([0, 65, u64::MAX].map(number_of_parts), [None; 3]);
}
