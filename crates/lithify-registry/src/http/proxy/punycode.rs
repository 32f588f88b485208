//! Host names that are not ASCII, as resolvers and certificates have them (RFC 3492). Only the encoding: how names are
//! prepared for it (IDNA) is left to who writes them.

/// A name all of whose labels are ASCII.
pub(super) fn ascii(name: &str) -> String {
    if name.is_ascii() {
        return name.to_owned();
    }
    let labels = name.split('.').map(|label| match label.is_ascii() {
        true => label.to_owned(),
        false => encode(label).map_or_else(|| label.to_owned(), |text| format!("xn--{text}")),
    });
    labels.collect::<Vec<_>>().join(".")
}

const BASE: u32 = 36;
const LEAST: u32 = 1;
const MOST: u32 = 26;

/// Section 6.3; nothing for a label that is too long for its numbers.
fn encode(label: &str) -> Option<String> {
    let characters: Vec<u32> = label.chars().map(u32::from).collect();
    let mut text: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(text.len()).ok()?;
    if basic > 0 {
        text.push('-');
    }
    let (mut next, mut delta, mut bias) = (128u32, 0u32, 72u32);
    let mut handled = basic;
    while usize::try_from(handled).ok()? < characters.len() {
        let least = characters.iter().copied().filter(|c| *c >= next).min()?;
        delta = delta.checked_add((least - next).checked_mul(handled + 1)?)?;
        next = least;
        for character in &characters {
            if *character < next {
                delta = delta.checked_add(1)?;
            }
            if *character != next {
                continue;
            }
            let (mut left, mut position) = (delta, BASE);
            loop {
                let threshold = position.saturating_sub(bias).clamp(LEAST, MOST);
                if left < threshold {
                    break;
                }
                text.push(digit(threshold + (left - threshold) % (BASE - threshold)));
                left = (left - threshold) / (BASE - threshold);
                position += BASE;
            }
            text.push(digit(left));
            bias = adapted(delta, handled + 1, handled == basic);
            delta = 0;
            handled += 1;
        }
        delta = delta.checked_add(1)?;
        next = next.checked_add(1)?;
    }
    Some(text)
}

/// Section 6.1.
fn adapted(delta: u32, points: u32, is_first: bool) -> u32 {
    const SKEW: u32 = 38;
    const DAMP: u32 = 700;

    let mut delta = if is_first { delta / DAMP } else { delta / 2 };
    delta += delta / points;
    let mut steps = 0;
    while delta > (BASE - LEAST) * MOST / 2 {
        delta /= BASE - LEAST;
        steps += BASE;
    }
    steps + (BASE - LEAST + 1) * delta / (delta + SKEW)
}

fn digit(value: u32) -> char {
    char::from_digit(value, 36).map_or('a', |c| match c {
        // Letters come first here, and ten characters further on in base 36.
        '0'..='9' => char::from(b'a' + (c as u8 - b'0')),
        'a'..='p' => char::from(c as u8 + 10),
        digit => char::from(b'0' + (digit as u8 - b'q')),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("registry.example", "registry.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("示例.com", "xn--fsq092h.com"),
            // Samples of RFC 3492, section 7.1.
            ("他们为什么不说中文", "xn--ihqwcrb4cv8a8dqg056pqjye"),
            ("3年b組金八先生", "xn--3b-ww4c5e180e575a65lsy2b"),
            (
                "pročprostěnemluvíčesky",
                "xn--proprostnemluvesky-uyb24dma41a",
            ),
        ] {
            assert_eq!(ascii(name), expected);
        }
    }

    proptest! {
        #[test]
        fn any_name_becomes_ascii(name in "\\PC{0,40}") {
            prop_assert!(ascii(&name).is_ascii());
        }
    }
}
