//! Numbers: seven bits a byte, the lowest first.

use std::io::{self, BufRead};

const MORE: u8 = 0x80;
const BITS: u32 = 7;

/// Why a number cannot be read.
#[derive(Debug)]
pub(super) enum BadNumber {
    /// It is 2⁶⁴ or more.
    TooLarge,
    Read(io::Error),
}

/// Appends a number.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= u64::from(MORE) {
        // The low byte, whose highest bit is set anyway.
        out.push(value.to_le_bytes()[0] | MORE);
        value >>= BITS;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads a number. Leading zeros are taken, as others do.
pub(super) fn read(input: &mut impl BufRead) -> Result<u64, BadNumber> {
    // Most are less than 128, and operations are many.
    if let Some(byte) = input.fill_buf().map_err(BadNumber::Read)?.first()
        && byte & MORE == 0
    {
        let value = u64::from(*byte);
        input.consume(1);
        return Ok(value);
    }
    let mut value = 0;
    let mut shift = 0;
    loop {
        let mut byte = [0];
        input.read_exact(&mut byte).map_err(BadNumber::Read)?;
        let bits = u64::from(byte[0] & !MORE);
        if shift >= u64::BITS || bits.leading_zeros() < shift {
            return Err(BadNumber::TooLarge);
        }
        value |= bits << shift;
        if byte[0] & MORE == 0 {
            return Ok(value);
        }
        shift += BITS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value in any::<u64>(), bits in 0_u32..64) {
            let value = value >> bits;
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(read(&mut &*bytes).unwrap(), value);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read(&mut &largest[..]).unwrap(), u64::MAX);
        let mut more = largest;
        more[9] = 0x02;
        assert!(matches!(read(&mut &more[..]), Err(BadNumber::TooLarge)));
        let longer = [0x80; 10].into_iter().chain([0x00]).collect::<Vec<u8>>();
        assert!(matches!(read(&mut &*longer), Err(BadNumber::TooLarge)));
        assert!(matches!(read(&mut &largest[..9]), Err(BadNumber::Read(_))));
        // Nine zeros too many.
        let zeros = [0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
        assert_eq!(read(&mut &zeros[..]).unwrap(), 1);
    }
}
