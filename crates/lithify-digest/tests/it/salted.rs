//! Digests of messages behind the same salt.

use lithify_digest::{Algorithm, Digest, Salted};
use proptest::prelude::*;

/// Of each message by itself.
fn one_by_one(algorithm: Algorithm, salt: &[u8], messages: [&[u8]; 2]) -> [Digest; 2] {
    messages.map(|message| Digest::of(algorithm, &[salt, message].concat()))
}

#[test]
fn lengths_around_all_blocks() {
    let bytes: Vec<u8> = (0..1000_u32).map(|n| (n * n % 251) as u8).collect();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
        for salt in [0, 1, 31, 32, 55, 63, 64, 65, 128, 130] {
            let salt = &bytes[..salt];
            let salted = Salted::new(algorithm, salt);
            for length in 0..=260 {
                let messages = [&bytes[100..][..length], &bytes[600..][..length]];
                let expected = one_by_one(algorithm, salt, messages);
                assert_eq!(salted.digests(messages), expected, "{length}");
                assert_eq!(salted.digest(messages[1]), expected[1]);
            }
        }
    }
}

proptest! {
    #[test]
    fn digests_are_those_of_each(
        salt in proptest::collection::vec(any::<u8>(), 0..200),
        a in proptest::collection::vec(any::<u8>(), 0..9000),
        b in proptest::collection::vec(any::<u8>(), 0..9000),
    ) {
        let salted = Salted::new(Algorithm::Sha256, &salt);
        let short = a.len().min(b.len());
        for messages in [[&a[..], &b[..]], [&a[..short], &b[..short]]] {
            let expected = one_by_one(Algorithm::Sha256, &salt, messages);
            prop_assert_eq!(salted.digests(messages), expected);
        }
    }

    #[test]
    fn blocks_are_digested_each(
        data in proptest::collection::vec(any::<u8>(), 0..2000),
        length in 1_usize..500,
    ) {
        let salted = Salted::new(Algorithm::Sha256, b"salt");
        let expected: Vec<Digest> = data.chunks(length).map(|block| salted.digest(block)).collect();
        prop_assert_eq!(salted.blocks(&data, length).collect::<Vec<_>>(), expected);
    }
}
