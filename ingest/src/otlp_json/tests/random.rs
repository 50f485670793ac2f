//! Arbitrary requests come out as they went in, and arbitrary texts do no harm.

use proptest::prelude::*;

use super::encode::Encoder;
use super::*;
use crate::convert::tests::draw::Draw;

/// What a piece of a text is replaced by.
const SPARE: &[u8] = b"{}[]\",:0-e.tfn\\u\xc3 ";

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

/// What is accepted is a message that is not much longer than its text.
fn check_harmless(text: &[u8]) {
    for signal in Signal::ALL {
        match to_protobuf(signal, text) {
            Ok(bytes) => {
                assert!(bytes.len() <= 4 * text.len());
                match signal {
                    Signal::Metrics => drop(ExportMetricsServiceRequest::decode(bytes.as_slice()).unwrap()),
                    Signal::Logs => drop(ExportLogsServiceRequest::decode(bytes.as_slice()).unwrap()),
                    Signal::Traces => drop(ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap()),
                }
            }
            Err(error) => assert!(reason(&error).len() < 1000, "{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logs_survive_their_json(drawn in bytes(3000), chosen in bytes(2000)) {
        let request = Draw(&drawn).logs();
        check(Signal::Logs, &Encoder::new(&chosen).logs(&request), &request);
    }

    #[test]
    fn traces_survive_their_json(drawn in bytes(3000), chosen in bytes(2000)) {
        let request = Draw(&drawn).traces();
        check(Signal::Traces, &Encoder::new(&chosen).traces(&request), &request);
    }

    #[test]
    fn metrics_survive_their_json(drawn in bytes(3000), chosen in bytes(2000)) {
        let request = Draw(&drawn).metrics();
        check(Signal::Metrics, &Encoder::new(&chosen).metrics(&request), &request);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(text in bytes(200)) {
        check_harmless(&text);
    }

    /// Pieces of the text are cut out, doubled, or replaced.
    #[test]
    fn mutated_requests_do_no_harm(
        drawn in bytes(600),
        chosen in bytes(300),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..20, 0_u8..3, any::<u8>()), 1..4),
    ) {
        let (mut draw, mut encoder) = (Draw(&drawn), Encoder::new(&chosen));
        let texts =
            [encoder.metrics(&draw.metrics()), encoder.logs(&draw.logs()), encoder.traces(&draw.traces())];
        for text in texts {
            let mut text = text.into_bytes();
            for (place, length, how, byte) in &cuts {
                let start = place.index(text.len().max(1)).min(text.len());
                let end = (start + length).min(text.len());
                let piece = text[start..end].to_vec();
                match how {
                    0 => drop(text.drain(start..end)),
                    1 => drop(text.splice(start..start, piece)),
                    _ => drop(text.splice(start..end, [SPARE[usize::from(*byte) % SPARE.len()]])),
                }
            }
            check_harmless(&text);
        }
    }
}

#[test]
fn every_truncation_of_a_request_is_refused() {
    let drawn: Vec<u8> = (1..=255).cycle().take(2000).map(|byte: u8| byte.wrapping_mul(37)).collect();
    let text = Encoder::new(&drawn).metrics(&Draw(&drawn).metrics());
    assert!(text.len() > 2000, "{text}");
    for end in 0..text.len() {
        assert!(to_protobuf(Signal::Metrics, &text.as_bytes()[..end]).is_err(), "{}", &text[..end]);
    }
}
