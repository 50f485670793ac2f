//! What comes out of each encoding, and what is held back.

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

const LIMIT: SizeLimit = SizeLimit { bytes: 100_000, setting: "ingest.max_message_bytes" };

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn encoded(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Identity => bytes.to_vec(),
        Encoding::Gzip => gzip(bytes),
        Encoding::Zstd => zstd(bytes),
    }
}

/// Receives a body in pieces of one size.
fn receive(encoding: Encoding, body: &[u8], piece_bytes: usize, room: &Room) -> Result<Payload> {
    let mut receiver = Receiver::new(encoding, None, LIMIT, room)?;
    for mut piece in body.chunks(piece_bytes.max(1)) {
        receiver.push(&mut piece)?;
    }
    receiver.finish()
}

fn all_encodings() -> [Encoding; 3] {
    [Encoding::Identity, Encoding::Gzip, Encoding::Zstd]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_body_comes_out_as_it_went_in(
        bytes in proptest::collection::vec(0..4_u8, 0..5000),
        piece_bytes in 1..600_usize,
    ) {
        for encoding in all_encodings() {
            let room = Room::new(LIMIT.bytes);
            let payload = receive(encoding, &encoded(encoding, &bytes), piece_bytes, &room).unwrap();
            prop_assert_eq!(&payload.bytes[..], &bytes[..]);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for encoding in all_encodings() {
            let _ = receive(encoding, &bytes, 7, &Room::new(LIMIT.bytes));
        }
    }
}

#[test]
fn the_limit_holds_to_the_byte_after_decompression() {
    for encoding in all_encodings() {
        let room = Room::new(1 << 20);
        let exact = encoded(encoding, &vec![0; LIMIT.bytes]);
        assert_eq!(receive(encoding, &exact, 512, &room).unwrap().bytes.len(), LIMIT.bytes);
        let more = encoded(encoding, &vec![0; LIMIT.bytes + 1]);
        let refused = receive(encoding, &more, 512, &room).unwrap_err();
        assert!(matches!(refused, Error::TooLarge { limit } if limit == LIMIT), "{encoding:?}: {refused}");
    }
}

#[test]
fn an_announced_length_past_the_limit_is_refused_before_anything_comes() {
    for encoding in all_encodings() {
        let refused = Receiver::new(encoding, Some(LIMIT.bytes + 1), LIMIT, &Room::new(1));
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
        assert!(Receiver::new(encoding, Some(LIMIT.bytes), LIMIT, &Room::new(1)).is_ok());
    }
}

/// The bomb is refused where it passes the limit; of the rest not a byte is looked at.
#[test]
fn a_bomb_never_holds_more_memory_than_the_limit() {
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let bomb = encoded(encoding, &vec![0; 1000 * LIMIT.bytes]);
        let room = Room::new(10 * LIMIT.bytes);
        let mut receiver = Receiver::new(encoding, None, LIMIT, &room).unwrap();
        let refused = bomb.chunks(64).find_map(|mut piece| receiver.push(&mut piece).err());
        assert!(matches!(refused, Some(Error::TooLarge { .. })), "{encoding:?}: {refused:?}");
        assert!(10 * LIMIT.bytes - room.free_bytes() <= LIMIT.bytes, "{encoding:?}");
        drop(receiver);
        assert_eq!(room.free_bytes(), 10 * LIMIT.bytes);
    }
}

#[test]
fn memory_is_taken_as_the_body_grows_and_given_back_with_the_payload() {
    for encoding in all_encodings() {
        let room = Room::new(3 * FIRST_BYTES);
        let body = vec![1; FIRST_BYTES + 1];
        let payload = receive(encoding, &encoded(encoding, &body), 512, &room).unwrap();
        let taken = 3 * FIRST_BYTES - room.free_bytes();
        assert!((body.len()..=3 * body.len()).contains(&taken), "{encoding:?}: {taken}");
        drop(payload);
        assert_eq!(room.free_bytes(), 3 * FIRST_BYTES);
    }
}

#[test]
fn past_the_room_a_body_is_refused_and_what_it_had_is_given_back() {
    for encoding in all_encodings() {
        let room = Room::new(2 * FIRST_BYTES);
        let other = room.take(1).unwrap();
        let body = encoded(encoding, &vec![1; 2 * FIRST_BYTES]);
        let refused = receive(encoding, &body, 512, &room).unwrap_err();
        assert!(matches!(refused, Error::Overloaded { .. }), "{encoding:?}: {refused}");
        drop(other);
        assert_eq!(room.free_bytes(), 2 * FIRST_BYTES);
    }
}

/// A length that is announced and comes as announced takes no more than that.
#[test]
fn an_announced_body_takes_its_length() {
    let room = Room::new(LIMIT.bytes);
    let body = vec![1; 3 * FIRST_BYTES];
    let mut receiver = Receiver::new(Encoding::Identity, Some(body.len()), LIMIT, &room).unwrap();
    for mut piece in body.chunks(1000) {
        receiver.push(&mut piece).unwrap();
    }
    let payload = receiver.finish().unwrap();
    assert_eq!(room.free_bytes(), LIMIT.bytes - payload.bytes.len());
}

#[test]
fn compressed_bytes_that_are_cut_or_followed_by_others_are_refused() {
    let room = Room::new(1 << 20);
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let whole = encoded(encoding, b"twelve bytes");
        for end in 1..whole.len() {
            let refused = receive(encoding, &whole[..end], 5, &room).map(|payload| payload.bytes);
            assert!(matches!(refused, Err(Error::Undecodable { .. })), "{encoding:?} {end}: {refused:?}");
        }
        let followed = [&whole[..], b"garbage"].concat();
        assert!(matches!(receive(encoding, &followed, 5, &room), Err(Error::Undecodable { .. })));
        assert!(matches!(receive(encoding, b"garbage", 5, &room), Err(Error::Undecodable { .. })));
    }
}

#[test]
fn several_compressed_members_are_one_body() {
    let room = Room::new(1 << 20);
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let body = [encoded(encoding, b"one "), encoded(encoding, b"two")].concat();
        assert_eq!(receive(encoding, &body, 3, &room).unwrap().bytes, "one two");
    }
}

/// A frame may ask for a window of gigabytes.
#[test]
fn a_zstd_window_past_the_bound_is_refused() {
    let compress = |window_log| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(window_log)).unwrap();
        encoder.set_parameter(zstd::zstd_safe::CParameter::ContentSizeFlag(false)).unwrap();
        encoder.write_all(b"small").unwrap();
        encoder.flush().unwrap();
        encoder.finish().unwrap()
    };
    let room = Room::new(1 << 20);
    assert_eq!(
        receive(Encoding::Zstd, &compress(zstd_frames::WINDOW_LOG_MAX), 64, &room).unwrap().bytes,
        "small"
    );
    let refused = receive(Encoding::Zstd, &compress(zstd_frames::WINDOW_LOG_MAX + 1), 64, &room).unwrap_err();
    assert!(matches!(refused, Error::Undecodable { encoding: "zstd", .. }), "{refused}");
}

/// The fuzzer's: a frame of version 0.7, which was an empty body as a whole and no frame at all in pieces.
#[test]
fn zstd_from_before_its_standard_is_refused() {
    let room = Room::new(1 << 20);
    let old = [0x27, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0xec, 0x0f, 0x02];
    let after_a_frame = [&encoded(Encoding::Zstd, b"one")[..], &old].concat();
    for body in [&old[..], &after_a_frame] {
        for piece_bytes in [1, 4, 1000] {
            let refused = receive(Encoding::Zstd, body, piece_bytes, &room).map(|payload| payload.bytes);
            assert!(matches!(refused, Err(Error::Undecodable { encoding: "zstd", .. })), "{refused:?}");
        }
    }
}

#[test]
fn a_zstd_frame_to_be_skipped_is_skipped() {
    let room = Room::new(1 << 20);
    let skipped = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let whole = encoded(Encoding::Zstd, b"whole");
    let body = [&skipped[..], &whole, &skipped, &skipped, &whole].concat();
    for piece_bytes in [1, 7, 1000] {
        assert_eq!(receive(Encoding::Zstd, &body, piece_bytes, &room).unwrap().bytes, "wholewhole");
    }
}
