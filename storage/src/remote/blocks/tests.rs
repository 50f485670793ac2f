use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_range_cut_from_blocks_has_the_bytes_of_the_file(
        file in prop::collection::vec(any::<u8>(), 1..200),
        block_bytes in 1_u64..50,
        bounds in prop::collection::vec((0_usize..200, 0_usize..200), 0..5),
    ) {
        let size = file.len();
        let ranges: Vec<Range<u64>> = bounds
            .into_iter()
            .map(|(a, b)| (a.min(b).min(size) as u64)..(a.max(b).min(size) as u64))
            .collect();
        let needed = blocks_of(&ranges, block_bytes);
        prop_assert!(needed.is_sorted_by(|a, b| a < b));
        let blocks = needed
            .into_iter()
            .map(|block| {
                let range = range_of(block, block_bytes, size as u64);
                (block, Bytes::copy_from_slice(&file[range.start as usize..range.end as usize]))
            })
            .collect();
        for range in ranges {
            let expected = &file[range.start as usize..range.end as usize];
            prop_assert_eq!(&cut(&range, &blocks, block_bytes)[..], expected);
        }
    }
}
