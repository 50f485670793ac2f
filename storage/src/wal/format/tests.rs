//! The bytes of the log as `docs/formats.md` has them: what is written for fixed input, written out by hand. The checksums are
//! those of another implementation.

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Fields from the page, in order; spaces are for the eye.
fn fields(fields: &[&str]) -> String {
    fields.concat().replace(' ', "")
}

const SALT: u64 = 0x0123_4567_89ab_cdef;

#[test]
fn a_segment_header_is_written_as_documented() {
    let header = SegmentHeader {
        store_uuid: *b"0123456789abcdef",
        salt: SALT,
        first_seq: SequenceNumber(0x11),
        created_ns: 0x22,
        previous_last_seq: SequenceNumber(0x10),
        previous_rolling_hash: 0x33,
        previous_abandoned_at: NOT_ABANDONED,
    };
    let expected = fields(&[
        "414c554c4157414c",
        "01000000",
        "60000000",
        "30313233343536373839616263646566",
        "efcdab8967452301",
        "1100000000000000",
        "2200000000000000",
        "1000000000000000",
        "3300000000000000",
        "ffffffffffffffff",
        "000000000000000000000000",
        "43acdd17",
    ]);
    assert_eq!(hex(&header.encode()), expected);
    assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
}

#[test]
fn a_frame_with_refused_records_is_written_as_documented() {
    let frame = Frame {
        seq: SequenceNumber(0x11),
        signal: Signal::Logs,
        tenant: TenantNumber(5),
        batch_id: BatchId::from_bytes(*b"fedcba9876543210"),
        received_ns: 0x44,
        num_rows: 3,
        rejected: vec![1, 7],
        payload: Bytes::from_static(b"request"),
    };
    let mut bytes = Vec::new();
    frame.encode_into(&mut bytes, Salt::new(SALT), SequenceNumber(0x10));
    let expected = fields(&[
        "414c4631",
        "13000000",
        "1100000000000000",
        "1000000000000000",
        "01",
        "02",
        "0100",
        "05000000",
        "66656463626139383736353433323130",
        "4400000000000000",
        "03000000",
        "4bf95ee5",
        "02000000 01000000 07000000",
        "72657175657374",
        "09ebfeaa",
        "00",
    ]);
    assert_eq!(hex(&bytes), expected);
}

#[test]
fn a_seal_is_written_as_documented() {
    let seal = Seal { last_seq: SequenceNumber(0x11), num_frames: 2, rolling_hash: 0x5566 };
    let mut bytes = Vec::new();
    seal.encode_into(&mut bytes, Salt::new(SALT), SequenceNumber(0x11));
    let expected = fields(&[
        "414c4631",
        "10000000",
        "1100000000000000",
        "1100000000000000",
        "02",
        "00",
        "0000",
        "00000000",
        "00000000000000000000000000000000",
        "0000000000000000",
        "00000000",
        "b0a78854",
        "0200000000000000",
        "6655000000000000",
        "1eb9e40c",
        "00000000",
    ]);
    assert_eq!(hex(&bytes), expected);
}
