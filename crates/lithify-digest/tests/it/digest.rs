//! Digest parsing and computing, against published vectors.

use lithify_digest::{Algorithm, Digest, Hasher, ParseError};
use proptest::prelude::*;

/// FIPS 180-4 example values for the message "abc".
#[test]
fn computes_the_published_vectors() {
    let vectors = [
        (
            Algorithm::Sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            Algorithm::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            Algorithm::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
    ];
    for (algorithm, hex) in vectors {
        let digest = Digest::of(algorithm, b"abc");
        assert_eq!(digest.hex(), hex);
        assert_eq!(digest.to_string(), format!("{algorithm}:{hex}"));
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
    }
}

#[test]
fn refuses_what_is_no_digest() {
    let hex = "a".repeat(64);
    assert!(matches!(
        hex.parse::<Digest>(),
        Err(ParseError::NoAlgorithm { .. })
    ));
    assert!(matches!(
        format!("md5:{hex}").parse::<Digest>(),
        Err(ParseError::UnknownAlgorithm { .. })
    ));
    assert!(matches!(
        "sha256:abc".parse::<Digest>(),
        Err(ParseError::Length { found: 3, .. })
    ));
    assert!(matches!(
        format!("sha512:{hex}").parse::<Digest>(),
        Err(ParseError::Length { expected: 128, .. })
    ));
    let upper = format!("sha256:{}", "A".repeat(64));
    assert!(matches!(
        upper.parse::<Digest>(),
        Err(ParseError::NotHex {
            byte: b'A',
            offset: 0
        })
    ));
    let path = format!("sha256:{}/../{}", "a".repeat(30), "a".repeat(30));
    assert!(matches!(
        path.parse::<Digest>(),
        Err(ParseError::NotHex {
            byte: b'/',
            offset: 30
        })
    ));
    let wide = format!("sha256:{}é", "a".repeat(62));
    assert!(matches!(
        wide.parse::<Digest>(),
        Err(ParseError::NotHex { offset: 62, .. })
    ));
}

proptest! {
    #[test]
    fn any_split_of_the_input_gives_the_same_digest(data: Vec<u8>, cut: prop::sample::Index) {
        for algorithm in Algorithm::ALL {
            let at = cut.index(data.len() + 1);
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&data[..at]);
            hasher.update(&data[at..]);
            prop_assert_eq!(hasher.finish(), Digest::of(algorithm, &data));
        }
    }

    #[test]
    fn parsing_never_panics_and_round_trips(text in ".{0,140}") {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text);
        }
    }
}
