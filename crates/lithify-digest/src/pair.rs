//! SHA-256 (FIPS 180-4, section 6.2) of two messages at once, by the SHA extensions of x86.
//!
//! Two rounds take four cycles until their result is there, and two until the next ones can begin
//! (AMD Zen, Intel Ice Lake): one message alone uses half of the processor. Blocks of 4096 bytes
//! are hashed at 2.9 GB/s instead of 1.65 GB/s on an AMD EPYC; of three or four at once no more.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
    _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32,
};
use std::slice;

use crate::salted::{BLOCK, Begun};

/// The state of a message (FIPS 180-4, section 5.3.3).
type State = [u32; 8];

const START: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Constants of the rounds, four to a step (FIPS 180-4, section 4.2.2).
#[rustfmt::skip]
const ROUNDS: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

/// Begins messages with a salt.
pub(crate) fn begin(salt: &[u8]) -> Begun {
    let (whole, rest) = salt.as_chunks::<BLOCK>();
    let mut states = [START; 2];
    let state = compress(&mut states, [whole; 2]).then_some(states[0]);
    Begun {
        state,
        rest: rest.to_vec(),
        length: salt.len(),
    }
}

/// Returns the digests of two messages behind what was begun; `None` if they have different lengths,
/// or the processor cannot.
pub(crate) fn digests(begun: &Begun, mut messages: [&[u8]; 2]) -> Option<[[u8; 32]; 2]> {
    let length = messages[0].len();
    if messages[1].len() != length {
        return None;
    }
    let mut states = [begun.state?; 2];
    let bits = (begun.length as u64 + length as u64).wrapping_mul(8);
    let mut rest = &begun.rest[..];
    if !rest.is_empty() && rest.len() + length >= BLOCK {
        let cut = BLOCK - rest.len();
        let firsts = messages.map(|message| {
            let mut block = [0; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            block[rest.len()..].copy_from_slice(&message[..cut]);
            block
        });
        compress(&mut states, firsts.each_ref().map(slice::from_ref));
        messages = messages.map(|message| &message[cut..]);
        rest = &[];
    }
    // There are none if the salt's rest did not become one.
    let parts = messages.map(<[u8]>::as_chunks::<BLOCK>);
    compress(&mut states, parts.map(|(whole, _)| whole));
    let ends = parts.map(|(_, tail)| {
        let mut end = [[0; BLOCK]; 2];
        let bytes = end.as_flattened_mut();
        let at = rest.len() + tail.len();
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()..at].copy_from_slice(tail);
        bytes[at] = 0x80;
        let blocks = if at < BLOCK - size_of::<u64>() { 1 } else { 2 };
        let counted = BLOCK * blocks;
        bytes[counted - size_of::<u64>()..counted].copy_from_slice(&bits.to_be_bytes());
        (end, blocks)
    });
    compress(
        &mut states,
        ends.each_ref().map(|(end, blocks)| &end[..*blocks]),
    );
    Some(states.map(|state| {
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        digest
    }))
}

/// Takes as many blocks of both messages as both have; says whether the processor can.
fn compress(states: &mut [State; 2], blocks: [&[[u8; BLOCK]]; 2]) -> bool {
    let can = is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1");
    if can {
        // SAFETY: the processor has the features.
        unsafe { compress_sha(states, blocks) };
    }
    can
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress_sha(states: &mut [State; 2], blocks: [&[[u8; BLOCK]]; 2]) {
    // The halves of a state as the instructions want them.
    let mut abef = states.map(|s| words([s[5], s[4], s[1], s[0]]));
    let mut cdgh = states.map(|s| words([s[7], s[6], s[3], s[2]]));
    for (a, b) in blocks[0].iter().zip(blocks[1]) {
        let before = (abef, cdgh);
        let mut message = [[_mm_setzero_si128(); 4]; 2];
        for (words, block) in message.iter_mut().zip([a, b]) {
            for (four, bytes) in words.iter_mut().zip(block.as_chunks::<16>().0) {
                *four = big_endian(bytes);
            }
        }
        for (step, constants) in ROUNDS.iter().enumerate() {
            let constants = words(*constants);
            let at = step % 4;
            for one in 0..2 {
                let four = &mut message[one];
                if step >= 4 {
                    let sum = _mm_sha256msg1_epu32(four[at], four[(at + 1) % 4]);
                    let last = four[(at + 3) % 4];
                    let sum = _mm_add_epi32(sum, _mm_alignr_epi8(last, four[(at + 2) % 4], 4));
                    four[at] = _mm_sha256msg2_epu32(sum, last);
                }
                let sum = _mm_add_epi32(four[at], constants);
                cdgh[one] = _mm_sha256rnds2_epu32(cdgh[one], abef[one], sum);
                let sum = _mm_shuffle_epi32(sum, 0b1110);
                abef[one] = _mm_sha256rnds2_epu32(abef[one], cdgh[one], sum);
            }
        }
        for one in 0..2 {
            abef[one] = _mm_add_epi32(abef[one], before.0[one]);
            cdgh[one] = _mm_add_epi32(cdgh[one], before.1[one]);
        }
    }
    for (one, state) in states.iter_mut().enumerate() {
        let [f, e, b, a] = numbers(abef[one]);
        let [h, g, d, c] = numbers(cdgh[one]);
        *state = [a, b, c, d, e, f, g, h];
    }
}

/// Returns a vector of four words, the lowest first.
#[target_feature(enable = "sse2")]
fn words(words: [u32; 4]) -> __m128i {
    let [a, b, c, d] = words.map(u32::cast_signed);
    _mm_set_epi32(d, c, b, a)
}

/// Returns the words of a vector, the lowest first.
#[target_feature(enable = "sse4.1")]
fn numbers(words: __m128i) -> [u32; 4] {
    [
        _mm_extract_epi32::<0>(words),
        _mm_extract_epi32::<1>(words),
        _mm_extract_epi32::<2>(words),
        _mm_extract_epi32::<3>(words),
    ]
    .map(i32::cast_unsigned)
}

/// Reads four words of a message.
#[target_feature(enable = "ssse3")]
fn big_endian(bytes: &[u8; 16]) -> __m128i {
    let whole = i128::from_le_bytes(*bytes);
    // The low half and the high one.
    let bytes = _mm_set_epi64x((whole >> 64) as i64, whole as i64);
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm_shuffle_epi8(bytes, order)
}
