//! Kafka's murmur2, so that a key falls into the partition that a Kafka client would choose.
//!
//! Austin Appleby's MurmurHash2 with the seed of `org.apache.kafka.common.utils.Utils.murmur2`.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

/// The hash of a key.
pub(crate) fn murmur2(key: &[u8]) -> u32 {
    let mut hash = SEED ^ key.len() as u32;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of a keyed record.
///
/// # Panics
/// If `partitions` is 0.
pub(crate) fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// `testMurmur2` of `org.apache.kafka.common.utils.UtilsTest`, all of it.
    #[test]
    fn the_test_vectors_of_kafka_hold() {
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn a_partition_is_below_their_number_whatever_the_sign_of_the_hash() {
        for key in 0..1000_u32 {
            for partitions in [1, 2, 7, 65_536] {
                assert!(partition_of(&key.to_be_bytes(), partitions) < partitions);
            }
        }
        assert_eq!(partition_of(b"21", 10), ((-973_932_308_i32 as u32) & 0x7fff_ffff) % 10);
    }
}
