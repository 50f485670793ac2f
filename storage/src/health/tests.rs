use super::*;
use crate::ErrorKind;

fn health(condition: &Condition) -> Health {
    condition.watch().borrow().clone()
}

#[test]
fn appends_are_refused_as_long_as_any_part_says_so() {
    let condition = Condition::new();
    assert!(condition.refusal().is_none());
    assert_eq!(health(&condition), Health::Sound);

    condition.log_writable(Err(&io::ErrorKind::StorageFull.into()));
    condition.free_space(Some((10, 20)));
    assert!(matches!(condition.refusal(), Some(Error::WalWrite(_))));
    condition.log_writable(Ok(()));
    let error = condition.refusal().unwrap();
    assert!(matches!(error, Error::DiskFull { free_bytes: 10, needed_bytes: 20 }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(health(&condition), Health::ReadOnly { reason: error.to_string() });
    condition.free_space(None);
    assert!(condition.refusal().is_none());
    assert_eq!(health(&condition), Health::Sound);
}

#[test]
fn a_hold_ends_once_all_that_it_waits_for_is_flushed() {
    let condition = Condition::new();
    condition.hold_until_flushed(SequenceNumber(7), "seven");
    condition.hold_until_flushed(SequenceNumber(5), "five");
    for (flushed, held) in [(4, true), (5, true), (6, true), (7, false)] {
        condition.flushed(SequenceNumber(flushed));
        assert_eq!((condition.is_held(), condition.refusal().is_some()), (held, held), "{flushed}");
    }
}

#[test]
fn a_failure_is_for_good_and_a_loss_only_a_word() {
    let condition = Condition::new();
    for (num_unacknowledged, said) in [(1, "(1 loss "), (2, "(2 losses ")] {
        condition.note_losses(num_unacknowledged);
        let Health::Degraded { reason } = health(&condition) else { panic!("{num_unacknowledged}") };
        assert!(reason.contains(said) && reason.contains("`alula loss acknowledge`"), "{reason}");
        assert!(condition.refusal().is_none());
    }
    condition.note_losses(0);
    assert_eq!(health(&condition), Health::Sound);
    condition.fail("gone");
    condition.flushed(SequenceNumber(9));
    assert_eq!(health(&condition), Health::Failed { reason: "gone".to_owned() });
    assert!(matches!(condition.refusal(), Some(Error::ReadOnly { reason: "gone" })));
}

#[test]
fn a_flush_that_fails_is_a_word_until_one_succeeds() {
    let condition = Condition::new();
    condition.flush_failed();
    assert!(matches!(health(&condition), Health::Degraded { .. }));
    condition.flushed(SequenceNumber(1));
    assert_eq!(health(&condition), Health::Sound);
}
