//! Random valid streams, and mutations of them: the verdict and the bytes are those of zlib-rs.

use crate::common::{Rng, Verdict, check_all_ways, ours, random_stream, reference};
use proptest::prelude::*;

#[test]
fn random_streams() {
    for seed in 0..400 {
        let stream = random_stream(seed);
        assert!(
            matches!(reference(&stream), Verdict::Accepted { .. }),
            "seed {seed}"
        );
        check_all_ways(&stream, seed);
    }
}

#[test]
fn mutated_streams() {
    let mut verdicts = [0; 3];
    for seed in 0..3000 {
        let mut rng = Rng::new(seed);
        let mut stream = random_stream(seed % 500);
        let near_start = rng.chance(2);
        for _ in 0..=rng.below(3) {
            let limit = if near_start {
                stream.len().min(120)
            } else {
                stream.len()
            };
            let at = rng.below(limit);
            match rng.below(4) {
                0 => stream[at] = rng.next() as u8,
                1 => stream.truncate(at.max(1)),
                _ => stream[at] ^= 1 << rng.below(8),
            }
        }
        stream.extend([0; 40]);
        let expected = reference(&stream);
        let (got, error) = ours(&stream);
        assert_eq!(got, expected, "seed {seed}: {error:?}");
        verdicts[match got {
            Verdict::Accepted { .. } => 0,
            Verdict::Truncated { .. } => 1,
            Verdict::Rejected => 2,
        }] += 1;
    }
    assert!(
        verdicts.iter().all(|&count| count > 50),
        "one-sided mutations: {verdicts:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert_eq!(ours(&bytes).0, reference(&bytes));
    }

    #[test]
    fn dynamic_headers_of_any_bits(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut stream = vec![0x05];
        stream.extend(bytes);
        prop_assert_eq!(ours(&stream).0, reference(&stream));
    }

    #[test]
    fn random_streams_of_any_seed(seed in any::<u64>()) {
        check_all_ways(&random_stream(seed), seed);
    }
}
