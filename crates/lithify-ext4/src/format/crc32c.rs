//! CRC-32C (Castagnoli) as ext4 uses it: not inverted at the end. Every block of metadata is summed, so eight bytes are taken
//! at a time.

/// The reflected Castagnoli polynomial (RFC 3720, appendix B.4).
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = remainder >> 1 ^ if remainder & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
};

/// Continues a sum over `data`.
pub(crate) fn update(sum: u32, data: &[u8]) -> u32 {
    let (eights, rest) = data.as_chunks::<8>();
    let sum = eights.iter().fold(sum, |sum, eight| {
        let word = u64::from_le_bytes(*eight) ^ u64::from(sum);
        let mut next = 0;
        for (place, table) in TABLES.iter().rev().enumerate() {
            next ^= table[usize::from((word >> (8 * place)) as u8)];
        }
        next
    });
    rest.iter().fold(sum, |sum, &byte| {
        sum >> 8 ^ TABLES[0][usize::from(sum as u8 ^ byte)]
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

    #[test]
    fn pieces_make_the_same_sum() {
        let data: Vec<u8> = (0..100).collect();
        for cut in 0..data.len() {
            let (a, b) = data.split_at(cut);
            assert_eq!(
                super::update(super::update(7, a), b),
                super::update(7, &data)
            );
        }
    }
}
