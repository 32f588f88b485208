//! Runs of equal bytes.

const WORD: usize = size_of::<u64>();

/// Returns the number of bytes that both begin with.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (words_a, _) = a.as_chunks::<WORD>();
    let (words_b, _) = b.as_chunks::<WORD>();
    let mut at = 0;
    for (a, b) in words_a.iter().zip(words_b) {
        let different = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if different != 0 {
            return at + different.trailing_zeros() as usize / 8;
        }
        at += WORD;
    }
    let rest = a[at..].iter().zip(&b[at..]);
    at + rest.take_while(|(a, b)| a == b).count()
}

/// Returns the number of bytes that both end with.
pub(crate) fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let pairs = a.iter().rev().zip(b.iter().rev());
    pairs.take_while(|(a, b)| a == b).count()
}

/// Returns how many bytes are the same at the same place.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_are_as_long_as_they_are(
            same in prop::collection::vec(0_u8..2, 0..40),
            a in prop::collection::vec(0_u8..2, 0..20),
            b in prop::collection::vec(0_u8..2, 0..20),
        ) {
            let front = |tail: &[u8]| [&same, tail].concat();
            let slow = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
            let (x, y) = (front(&a), front(&b));
            prop_assert_eq!(common_prefix(&x, &y), slow(&x, &y));
            let turned = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
            prop_assert_eq!(common_suffix(&turned(&x), &turned(&y)), slow(&x, &y));
        }
    }
}
