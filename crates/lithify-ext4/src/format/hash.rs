//! The hashes by which names stand in large directories (`fs/ext4/hash.c`). Half of MD4 over bytes taken as unsigned is what is
//! written; the others are older, or of machines whose bytes are signed.

/// The number of the hash in the superblock and in directories' first blocks; that bytes are unsigned, the superblock's flags say.
pub(crate) const HALF_MD4: u8 = 1;

/// The numbers of the other hashes there are.
const LEGACY: u8 = 0;
const TEA: u8 = 2;

/// The largest hash is kept for the end of a directory.
const END: u32 = 0x7fff_ffff << 1;

const K2: u32 = 0x5a82_7999;
const K3: u32 = 0x6ed9_eba1;

/// Bytes of a name, as the machine that made a filesystem takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    Signed,
    Unsigned,
}

impl Bytes {
    fn value(self, byte: u8) -> u32 {
        match self {
            Self::Signed => i32::from(byte as i8) as u32,
            Self::Unsigned => byte.into(),
        }
    }
}

/// Returns the hash of a name; its lowest bit is clear.
pub(crate) fn half_md4(seed: [u32; 4], name: &[u8]) -> u32 {
    half_md4_of(seed, name, Bytes::Unsigned)
}

/// Returns the hash of a name by a hash's number; `None` for numbers of none.
pub(crate) fn by_number(number: u8, bytes: Bytes, seed: [u32; 4], name: &[u8]) -> Option<u32> {
    Some(match number {
        LEGACY => finish(legacy(name, bytes)),
        HALF_MD4 => half_md4_of(seed, name, bytes),
        TEA => tea(seed, name, bytes),
        _ => return None,
    })
}

fn initial(seed: [u32; 4]) -> [u32; 4] {
    match seed {
        [0, 0, 0, 0] => [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476],
        seed => seed,
    }
}

const fn finish(hash: u32) -> u32 {
    match hash & !1 {
        END => (0x7fff_ffff - 1) << 1,
        hash => hash,
    }
}

fn half_md4_of(seed: [u32; 4], name: &[u8], bytes: Bytes) -> u32 {
    let mut state = initial(seed);
    let mut rest = name;
    loop {
        transform(&mut state, &words(rest, bytes));
        if rest.len() <= 32 {
            break;
        }
        rest = &rest[32..];
    }
    finish(state[1])
}

fn legacy(name: &[u8], bytes: Bytes) -> u32 {
    let (last, _) = name
        .iter()
        .fold((0x12a3_fe2d_u32, 0x37ab_e8f9_u32), |(last, before), &b| {
            let mixed = last ^ bytes.value(b).wrapping_mul(7_152_373);
            let hash = before.wrapping_add(mixed);
            let over = if hash >> 31 == 1 { 0x7fff_ffff } else { 0 };
            (hash.wrapping_sub(over), last)
        });
    last << 1
}

fn tea(seed: [u32; 4], name: &[u8], bytes: Bytes) -> u32 {
    let [mut state, mut other, ..] = initial(seed);
    let mut rest = name;
    loop {
        let [a, b, c, d] = words(rest, bytes);
        let (mut x, mut y, mut sum) = (state, other, 0_u32);
        for _ in 0..16 {
            sum = sum.wrapping_add(0x9e37_79b9);
            let half = |v: u32, k: u32, l: u32| {
                (v << 4).wrapping_add(k) ^ v.wrapping_add(sum) ^ (v >> 5).wrapping_add(l)
            };
            x = x.wrapping_add(half(y, a, b));
            y = y.wrapping_add(half(x, c, d));
        }
        (state, other) = (state.wrapping_add(x), other.wrapping_add(y));
        if rest.len() <= 16 {
            break;
        }
        rest = &rest[16..];
    }
    finish(state)
}

/// Returns up to so many words of a name, padded with its length (`str2hashbuf_unsigned`, `_signed`).
fn words<const N: usize>(name: &[u8], bytes: Bytes) -> [u32; N] {
    let length = name.len() as u32;
    let pad = length | length << 8;
    let pad = pad | pad << 16;
    let mut words = [pad; N];
    let taken = &name[..name.len().min(4 * N)];
    for (word, four) in words.iter_mut().zip(taken.chunks(4)) {
        *word = four
            .iter()
            .fold(pad, |word, &b| (word << 8).wrapping_add(bytes.value(b)));
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
