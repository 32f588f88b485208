//! The streams of Go's `compress/gzip` itself, by length and SHA-256.
//!
//! A program with the same inputs, built with Go 1.19.8, gave the numbers.

use std::io::Write;

use lithify_deflate::GoGzip;
use sha2::{Digest, Sha256};

use crate::inputs::{Rng, far_copies, gzip, level, mixture, noise, runs, text};

/// Lengths around the limits: of the smallest blocks, of the window, of a stored block.
const LENGTHS: [usize; 16] = [
    0, 1, 16, 17, 100, 127, 128, 32_767, 32_768, 65_534, 65_535, 65_536, 65_537, 131_071, 131_072,
    131_073,
];

/// Lengths of inputs that are many blocks.
const LARGE: [usize; 2] = [1 << 20, 3 << 20];

fn hex(digest: impl AsRef<[u8]>) -> String {
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// Kind of the inputs, level, length of all streams together, digest of all streams together.
#[rustfmt::skip]
const STREAMS: [(&str, i32, usize, &str); 45] = [
    ("zeros", 1, 6544, "475cbb905a77abf6cac34cff89ea0ac6dd873ca223aaf3ce4a9d005154cf1971"),
    ("zeros", 2, 22037, "260eafaf923a3a26386dff7c2a59f89255fc15843f8ab80fccab25940699fb81"),
    ("zeros", 3, 22037, "260eafaf923a3a26386dff7c2a59f89255fc15843f8ab80fccab25940699fb81"),
    ("zeros", 4, 5357, "b639287e2172a684bd7b6227334286da32f6d69d9bb218c3f8094c16ef5eb9d6"),
    ("zeros", 5, 5357, "b639287e2172a684bd7b6227334286da32f6d69d9bb218c3f8094c16ef5eb9d6"),
    ("zeros", 6, 5357, "b639287e2172a684bd7b6227334286da32f6d69d9bb218c3f8094c16ef5eb9d6"),
    ("zeros", 7, 5357, "b639287e2172a684bd7b6227334286da32f6d69d9bb218c3f8094c16ef5eb9d6"),
    ("zeros", 8, 5357, "b639287e2172a684bd7b6227334286da32f6d69d9bb218c3f8094c16ef5eb9d6"),
    ("zeros", 9, 5357, "21fc290d1ba063e59f5cd7159d654a3356f1c980b6ba7ef632910b163721e2ec"),
    ("noise", 1, 721765, "55f383ef32087d15430f13ad9f51e23395b7dd37d046f4fd4d45b5d3b5b6696d"),
    ("noise", 2, 721892, "4613dfb70aa345ac23f4bf19d57a22b6df5c2b5282be7ab61ad9072c0d82091f"),
    ("noise", 3, 721892, "4613dfb70aa345ac23f4bf19d57a22b6df5c2b5282be7ab61ad9072c0d82091f"),
    ("noise", 4, 721892, "4613dfb70aa345ac23f4bf19d57a22b6df5c2b5282be7ab61ad9072c0d82091f"),
    ("noise", 5, 721892, "4613dfb70aa345ac23f4bf19d57a22b6df5c2b5282be7ab61ad9072c0d82091f"),
    ("noise", 6, 721892, "4613dfb70aa345ac23f4bf19d57a22b6df5c2b5282be7ab61ad9072c0d82091f"),
    ("noise", 7, 721892, "4613dfb70aa345ac23f4bf19d57a22b6df5c2b5282be7ab61ad9072c0d82091f"),
    ("noise", 8, 721892, "4613dfb70aa345ac23f4bf19d57a22b6df5c2b5282be7ab61ad9072c0d82091f"),
    ("noise", 9, 721892, "8176258c57d9bb71c46a198112fa03eb08aaa2fd131d49eae99c5ab13dec8364"),
    ("text", 1, 1362257, "f985775fd4e056d1316a710b3fdfd54ba2a8083cd7c168ec9375f658b2aa66e8"),
    ("text", 2, 1361593, "aeab5b929baf8f391ae542d8efa9878632d059ec3723336098576b09db17daa7"),
    ("text", 3, 1344022, "59641abbe7b5740713f1678db73fe22a306578afdcc7c708b5649e8375317730"),
    ("text", 4, 1278630, "4f4b7ad1526b875ab0d1193b69869e0b551385197a84ae5f7a0182a11a841d03"),
    ("text", 5, 1253281, "4bbc418c981e8eee84a4dabb408bb04f5a1bfe511ee84b9bc405b6950fa6b360"),
    ("text", 6, 1228006, "d406874b2762ebab58e8e6789e27b95636a7e515c2a7d9e4108a0815709fb4ba"),
    ("text", 7, 1227215, "074338920a25dfa0f95d1a2e7300061e0a6aa59078117df52cf3e617de813a48"),
    ("text", 8, 1227215, "074338920a25dfa0f95d1a2e7300061e0a6aa59078117df52cf3e617de813a48"),
    ("text", 9, 1227215, "f6448e1f2a6e75215d1b49ed399a8354815340964ca122929a498593e1a4f216"),
    ("runs", 1, 12152, "353ca3ebaf06269f1aa45e44ccd240e536242ffdae4394ead0753d05f57f3dea"),
    ("runs", 2, 14752, "0451448bd33890095ed7d80409a15c0a304db6335910ede74cab77b0625a4d6d"),
    ("runs", 3, 14378, "a59f5ef9f3d582c91ff92c780a85ce5f499b084a94b6612bd7da3f9784cab9fe"),
    ("runs", 4, 11126, "82ad1502258eee059d7dad504dec6eb7f5538967ca535caec6371dc5649d1e50"),
    ("runs", 5, 11377, "f0d2c958491656daa8cd4d8fd1a2bd3ac17459ad3637c79bbe534338f62941f9"),
    ("runs", 6, 11088, "51ebd38b33b56cc68bdb04d0149c26ba4e1fa82417182b627905a0a9bef6ad66"),
    ("runs", 7, 10753, "5f2b13493e43c91ff1eb8c47d55f02b11a56082f3bccae3662f2fee7b17d2662"),
    ("runs", 8, 8562, "428411f1e522b89bf85e02197b8543131d9f3ebdb9cca78415d773df16437317"),
    ("runs", 9, 7852, "dea4cd208e6cd835016a7c37cc4d028977b192b6b7e380f23d101ac29aa9ca48"),
    ("mixture", 1, 1178776, "dac70b919f1b6b3bb153149671aee8eea3982bdcbcd13fda9d648fb36cccf1e4"),
    ("mixture", 2, 1073255, "a1e560b064a01eafe6a0e4e5b4e0be4f5eea2eb57978af6f02adabeda37d4672"),
    ("mixture", 3, 1064742, "57eb9b17c5e7eaeed05799f7973d86f8c87d310a03684d758829f7dd0de02a6f"),
    ("mixture", 4, 1013221, "5ced65e03211699a36b08d65199b54f794098c3c62490b73e31be945ec22ba17"),
    ("mixture", 5, 1007899, "830f6998ff2f410f23df545c04224fb841e500f77b20508216e7d94afc501cbe"),
    ("mixture", 6, 999338, "f13d5f2f6253e40e1582578bc605cabb28e015d5fe68d2aa9e5392cc63265099"),
    ("mixture", 7, 998808, "501aac635bb3c1e2a1b7ecf81cbacb7ef9ec3b1a1507ad29e210dffb342ffb0d"),
    ("mixture", 8, 996230, "df497f4d0e9bb80f3d18a8739a41f80c738d8a06531562dd9795102fbb2483b1"),
    ("mixture", 9, 995125, "f8e03ea276121d6cb06439b3abfbe1256d5f05b0a734a7d10aeaf57af8a6274e"),
];

fn check(kind: &str, make: fn(&mut Rng, usize) -> Vec<u8>, lengths: &[usize]) {
    let kinds = ["zeros", "noise", "text", "runs", "mixture"];
    let number = kinds.iter().position(|other| *other == kind).unwrap();
    let inputs: Vec<Vec<u8>> = lengths
        .iter()
        .map(|&len| make(&mut Rng((len * 10 + number) as u64), len))
        .collect();
    for (_, number, len, digest) in STREAMS.iter().filter(|row| row.0 == kind) {
        let streams: Vec<u8> = inputs
            .iter()
            .flat_map(|input| gzip(input, level(*number)))
            .collect();
        assert_eq!(streams.len(), *len, "{kind} at level {number}");
        assert_eq!(
            hex(Sha256::digest(&streams)),
            *digest,
            "{kind} at level {number}"
        );
    }
}

#[test]
fn zeros_are_compressed_as_by_go() {
    check(
        "zeros",
        |_, len| vec![0; len],
        &[&LENGTHS[..], &LARGE].concat(),
    );
}

#[test]
fn noise_is_compressed_as_by_go() {
    check("noise", noise, &LENGTHS);
}

#[test]
fn text_is_compressed_as_by_go() {
    check("text", text, &[&LENGTHS[..], &LARGE].concat());
}

#[test]
fn runs_are_compressed_as_by_go() {
    check("runs", runs, &LENGTHS);
}

#[test]
fn mixtures_are_compressed_as_by_go() {
    check("mixture", mixture, &[&LENGTHS[..], &LARGE].concat());
}

/// Level and seed; length and digest of the stream of one call of `Write`; the same of the stream
/// of calls that end shortly before the window is full.
#[rustfmt::skip]
const CALLS: [(i32, u64, usize, &str, usize, &str); 8] = [
    (2, 3, 84279, "8973b0f8ce8fa872cf8d3f8bedc5bee756261fc0477b883d83ae83d227125db5", 84309, "6d321634a0311788dd00ba276f2db0ca29fad76ad02db21ae2850d09232a1e6b"),
    (3, 65, 83598, "79a7853d51ce7005c486629b73ca4ec88bc3bd425a1286de5de937064a25f768", 83583, "0ea0b7db338d0c284c07bee5a53261b079d98612d2fbe1ba1683c11c9ab33e3d"),
    (4, 199, 41786, "18fe07240ce57336c866dba0aae1b765bd9459566df803734b6af67039e5067c", 41820, "0b2310e13bae29d63be0755de67c8d9993a0b1b6b2976b6d9c629b3483fb22d7"),
    (5, 136, 40827, "2d5024287a324543c395df1034b160a7dc9ae79c28f6700a696e556032e6a134", 40830, "6e9ecd6c83105f996acf33b3aea994697794de0c9fdffd1d9726b8f600e3d85a"),
    (6, 51, 39392, "f02836ccc2ee0159696de2c5a55743a7200da08b0726261551685fa74a4d256f", 39395, "08f6503dc007178cf4de309dc258a048c31eba156ca8e7fa2b74c9d9a4ede975"),
    (7, 51, 39392, "f02836ccc2ee0159696de2c5a55743a7200da08b0726261551685fa74a4d256f", 39395, "08f6503dc007178cf4de309dc258a048c31eba156ca8e7fa2b74c9d9a4ede975"),
    (8, 51, 39296, "b4eabdbf2907f2ced01c56e1dc38d88c63b9b1cf2ab7abb67afd38f042ab7d1e", 39299, "917790afa84fb999d75ee36b5ee6937ee508d7a05da087d6648e9718417f9abe"),
    (9, 51, 39296, "3596170c0923bf3489b8265a3dd405b2724fe6577e634906c8b8da75b1630ed6", 39299, "5e59705d38c904f8eb8e793785508b91f3acff4d92fb26d5dd16df1fc48ee487"),
];

/// The ends of calls show in Go's stream. Marks make them show in the same way.
#[test]
fn marked_calls_are_compressed_as_by_go() {
    for (number, seed, one_len, one_digest, len, digest) in CALLS {
        let input = far_copies(&mut Rng(seed), 300_000);
        let one = gzip(&input, level(number));
        assert_eq!(one.len(), one_len, "level {number}");
        assert_eq!(hex(Sha256::digest(&one)), one_digest, "level {number}");

        let mut calls = GoGzip::new(Vec::new(), level(number));
        let mut from = 0;
        for end in (65_535 - seed as usize..input.len()).step_by(32_768) {
            calls.write_all(&input[from..end]).unwrap();
            calls.mark_write_end();
            from = end;
        }
        calls.write_all(&input[from..]).unwrap();
        let calls = calls.finish().unwrap();
        assert_eq!(calls.len(), len, "level {number}");
        assert_eq!(hex(Sha256::digest(&calls)), digest, "level {number}");
    }
}
