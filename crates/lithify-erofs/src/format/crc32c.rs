//! CRC-32C (Castagnoli) as the superblock uses it: seeded with ones, not inverted at the end.
//!
//! Only the three kilobytes behind the superblock are ever summed, so one table is fast enough.

/// The reflected Castagnoli polynomial (RFC 3720, appendix B.4).
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = remainder >> 1 ^ if remainder & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
};

/// Continues a sum over `data`.
pub(crate) fn update(sum: u32, data: &[u8]) -> u32 {
    data.iter().fold(sum, |sum, &byte| {
        sum >> 8 ^ TABLE[usize::from(sum as u8 ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    /// The check value of RFC 3720, which inverts at the end.
    #[test]
    fn agrees_with_the_published_check_value() {
        assert_eq!(!super::update(!0, b"123456789"), 0xe306_9283);
        assert_eq!(!super::update(!0, &[0; 32]), 0x8a91_36aa);
    }
}
