use super::*;

fn rejections(count: u32) -> Vec<Rejection> {
    let rejection = |ordinal| Rejection { ordinal, reason: Reason::InvalidSpanId, sample: None };
    (0..count).map(rejection).collect()
}

#[test]
fn a_duplicate_is_told_what_was_rejected_of_the_first_whatever_would_be_this_time() {
    for rejected in [0, 1, 3] {
        let told = |first| PartialSuccess::of_duplicate(Signal::Traces, &rejections(rejected), first);
        assert_eq!(told(0), None, "{rejected}");
        for first in [1, 2, 3] {
            assert_eq!(told(first).map(|told| told.rejected), Some(u64::from(first)), "{rejected}");
        }
    }
}

#[test]
fn a_duplicate_is_given_the_reasons_if_as_many_are_rejected_and_else_where_they_are() {
    let told = |first| PartialSuccess::of_duplicate(Signal::Traces, &rejections(3), first).unwrap().message;
    assert_eq!(told(3), "3 spans were rejected: span_id must be 8 bytes and not all zero");
    let elsewhere = "rejected when this request first came; system.ingest_rejections says why";
    assert_eq!(told(2), format!("2 spans were {elsewhere}"));
    assert_eq!(told(1), format!("1 span was {elsewhere}"));
}
