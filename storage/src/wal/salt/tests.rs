use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_salt_is_told_by_any_checksum_that_it_is_in(salt: u64, bytes: Vec<u8>) {
        let salt = Salt::new(salt);
        prop_assert_eq!(Salt::of_checksum(&bytes, salt.checksum(&[], &bytes)), salt);
    }
}

#[test]
fn a_checksum_covers_the_salt_as_the_format_says() {
    let salted = [&7_u64.to_le_bytes()[..], b"prefix", b"bytes"].concat();
    assert_eq!(Salt::new(7).checksum(b"prefix", b"bytes"), crc32fast::hash(&salted));
}

#[test]
fn noise_has_no_salt() {
    let noise: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert_eq!(Salt::of_frames(&noise), None);
    let magic = FRAME_MAGIC.repeat(10_000);
    assert_eq!(Salt::of_frames(&magic), None);
}
