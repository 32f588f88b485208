//! Names without their versions.

/// Returns the last component of a path, with digits, and what is between them, as one `#`: `libfoo.so.1.2` and `libfoo.so.1.10`
/// are `libfoo.so.#` both.
pub(super) fn masked(path: &[u8]) -> Vec<u8> {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut masked = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [byte, after @ ..] = rest {
        if !byte.is_ascii_digit() {
            masked.push(*byte);
            rest = after;
            continue;
        }
        masked.push(b'#');
        let is_version = |byte: &u8| byte.is_ascii_digit() || b".-+~_".contains(byte);
        let length = rest.iter().take_while(|byte| is_version(byte)).count();
        // What stands between a version and something else is not the version's.
        let digits = rest[..length].iter().rposition(u8::is_ascii_digit);
        rest = &rest[digits.map_or(1, |last| last + 1)..];
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_do_not_count() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"usr/lib/libfoo.so.1.2", b"libfoo.so.#"),
            (b"usr/lib/libfoo.so.1.10.3", b"libfoo.so.#"),
            (b"lib/modules/6.1.0-13/ext4.ko.xz", b"ext#.ko.xz"),
            (
                b"libdns-9.18.49-1~deb12u3-Debian.so",
                b"libdns-#~deb#u#-Debian.so",
            ),
            (b"plain", b"plain"),
            (b"2024", b"#"),
        ];
        for (path, expected) in cases {
            assert_eq!(masked(path), expected, "{}", path.escape_ascii());
        }
    }
}
