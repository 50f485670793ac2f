use alula_catalog::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;

use super::*;
use crate::SizeLimit;

fn rejection(ordinal: u32, reason: Reason, sample: Option<&str>) -> Rejection {
    Rejection { ordinal, reason, sample: sample.map(Into::into) }
}

#[test]
fn records_are_grouped_by_reason_with_the_sample_of_the_first() {
    assert_eq!(groups(&[]), []);
    let groups = groups(&[
        rejection(0, Reason::InvalidSpanId, Some("first")),
        rejection(3, Reason::InvalidTraceId, Some("other")),
        rejection(4, Reason::InvalidSpanId, None),
        rejection(9, Reason::InvalidSpanId, None),
    ]);
    let group = |reason: Reason, count, sample: &str| RejectionGroup {
        reason: reason.to_string(),
        count,
        sample: sample.to_owned(),
    };
    assert_eq!(groups, [group(Reason::InvalidSpanId, 3, "first"), group(Reason::InvalidTraceId, 1, "other")]);
}

#[test]
fn requests_that_can_never_be_stored_are_recorded_whatever_is_wrong_in_particular() {
    let malformed = |bytes: &[u8]| Error::Malformed {
        message: "ExportLogsServiceRequest",
        source: ExportLogsServiceRequest::decode(bytes).unwrap_err(),
    };
    let framing = |found: &str| Error::BrokenFraming { found: found.to_owned() };
    let entry = |bytes| Error::Storage(alula_storage::Error::TooLarge { bytes, limit_bytes: 9 });
    for (one, another) in [
        (malformed(b"garbage"), malformed(&[0x0a, 0xff])),
        (framing("3 bytes are missing"), framing("it has 2 bytes too many")),
        (entry(10), entry(11)),
    ] {
        let (one, another) = (whole_request(&one).unwrap(), whole_request(&another).unwrap());
        assert_eq!((one.count, &one.reason), (0, &another.reason));
        assert_ne!(one.sample, another.sample);
    }
    let limit = SizeLimit { bytes: 7, setting: "ingest.max_message_bytes" };
    let too_large = whole_request(&Error::TooLarge { limit }).unwrap();
    assert_eq!((too_large.count, too_large.sample.as_str()), (0, ""));
    assert!(too_large.reason.contains("larger than 7 bytes"), "{}", too_large.reason);
}

#[test]
fn requests_that_may_be_sent_again_are_not() {
    for error in [
        Error::Overloaded { limit_bytes: 1 },
        Error::Storage(alula_storage::Error::Closed),
        Error::Storage(alula_storage::Error::Overloaded { what: "the buffer", limit: 1, unit: "bytes" }),
        Error::UnknownMethod { path: Signal::Logs.to_string() },
    ] {
        assert_eq!(whole_request(&error), None, "{error}");
    }
}
