//! The hash by which names stand in large directories: half of MD4, over bytes taken as unsigned (`fs/ext4/hash.c`,
//! `DX_HASH_HALF_MD4_UNSIGNED`).

/// The number of the hash in the superblock and in directories' first blocks; that bytes are unsigned, the superblock's flags say.
pub(crate) const HALF_MD4: u8 = 1;

/// The largest hash is kept for the end of a directory.
const END: u32 = 0x7fff_ffff << 1;

const K2: u32 = 0x5a82_7999;
const K3: u32 = 0x6ed9_eba1;

/// Returns the hash of a name; its lowest bit is clear.
pub(crate) fn half_md4(seed: [u32; 4], name: &[u8]) -> u32 {
    let initial = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut state = if seed == [0; 4] { initial } else { seed };
    let mut rest = name;
    loop {
        transform(&mut state, &words(rest));
        if rest.len() <= 32 {
            break;
        }
        rest = &rest[32..];
    }
    match state[1] & !1 {
        END => (0x7fff_ffff - 1) << 1,
        hash => hash,
    }
}

/// Returns up to 32 bytes as eight words, padded with the length (`str2hashbuf_unsigned`).
fn words(name: &[u8]) -> [u32; 8] {
    let length = name.len() as u32;
    let pad = length | length << 8;
    let pad = pad | pad << 16;
    let mut words = [pad; 8];
    let taken = &name[..name.len().min(32)];
    for (word, bytes) in words.iter_mut().zip(taken.chunks(4)) {
        *word = bytes
            .iter()
            .fold(pad, |word, &byte| word << 8 | u32::from(byte));
    }
    words
}

fn transform(state: &mut [u32; 4], data: &[u32; 8]) {
    let f = |x: u32, y: u32, z: u32| z ^ (x & (y ^ z));
    let g = |x: u32, y: u32, z: u32| (x & y).wrapping_add((x ^ y) & z);
    let h = |x: u32, y: u32, z: u32| x ^ y ^ z;
    let [mut a, mut b, mut c, mut d] = *state;
    let step = |mixed: u32, a: u32, word: u32, constant: u32, turn: u32| {
        a.wrapping_add(mixed)
            .wrapping_add(word)
            .wrapping_add(constant)
            .rotate_left(turn)
    };
    for half in [0, 4] {
        a = step(f(b, c, d), a, data[half], 0, 3);
        d = step(f(a, b, c), d, data[half + 1], 0, 7);
        c = step(f(d, a, b), c, data[half + 2], 0, 11);
        b = step(f(c, d, a), b, data[half + 3], 0, 19);
    }
    for order in [[1, 3, 5, 7], [0, 2, 4, 6]] {
        a = step(g(b, c, d), a, data[order[0]], K2, 3);
        d = step(g(a, b, c), d, data[order[1]], K2, 5);
        c = step(g(d, a, b), c, data[order[2]], K2, 9);
        b = step(g(c, d, a), b, data[order[3]], K2, 13);
    }
    for order in [[3, 7, 2, 6], [1, 5, 0, 4]] {
        a = step(h(b, c, d), a, data[order[0]], K3, 3);
        d = step(h(a, b, c), d, data[order[1]], K3, 9);
        c = step(h(d, a, b), c, data[order[2]], K3, 11);
        b = step(h(c, d, a), b, data[order[3]], K3, 15);
    }
    for (state, new) in state.iter_mut().zip([a, b, c, d]) {
        *state = state.wrapping_add(new);
    }
}
