//! Which images run on a platform, and which of them suits it best.

use super::Platform;

/// How well an image's platform suits the one asked for; the least is best, equals are
/// taken in the order of the index (image-spec, `image-index.md`: "the first matching entry").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// 1 if the image does not say its system or architecture.
    unstated: u8,
    /// How far the image's variant lies below the one asked for, from a class of its own for
    /// "no variant stated" (last) up to the same variant (0).
    variant: u32,
    /// Features the image needs that were not asked for, or does not have that were.
    features: usize,
}

impl Platform {
    /// Whether, and how well, an image of platform `image` suits a request for `self`.
    ///
    /// The system and architecture must be the same. The variant must be the same or an older one
    /// that newer processors run: `arm/v7` takes `v6`, `amd64/v3` takes `v2` and the baseline,
    /// `arm64/v9.1` takes `v9`, and `v8.6` and below (Armv9.N has the features of Armv8.(N+5)).
    /// If a system version is asked for, the image's must begin with the same components
    /// (Windows: `10.0.20348` takes `10.0.20348.2582`). If features are asked for, the image may
    /// need no others, and the more of them it has the better. A system or architecture the image does not state matches anything, last.
    ///
    /// ```
    /// use lithify_oci::platform::Platform;
    ///
    /// let v7: Platform = "linux/arm/v7".parse()?;
    /// let rank = |image: &str| image.parse().ok().and_then(|image: Platform| v7.rank(&image));
    /// assert!(rank("linux/arm/v7") < rank("linux/arm/v6"));
    /// assert_eq!(rank("linux/arm64"), None);
    /// # Ok::<(), lithify_oci::platform::ParseError>(())
    /// ```
    #[must_use]
    pub fn rank(&self, image: &Self) -> Option<Rank> {
        let unstated = image.os.is_empty() || image.architecture.is_empty();
        let same = |wanted: &str, found: &str| found.is_empty() || wanted == found;
        if !same(&self.os, &image.os) || !same(&self.architecture, &image.architecture) {
            return None;
        }
        let variant = if image.architecture.is_empty() {
            0
        } else {
            self.variant_distance(image)?
        };
        if let Some(wanted) = &self.os_version {
            let found = image.os_version.as_deref()?;
            let rest = found.strip_prefix(wanted.as_str())?;
            if !rest.is_empty() && !rest.starts_with('.') {
                return None;
            }
        }
        let extra = image
            .os_features
            .iter()
            .filter(|f| !self.os_features.contains(f))
            .count();
        if !self.os_features.is_empty() && extra > 0 {
            return None;
        }
        let missing = self
            .os_features
            .iter()
            .filter(|f| !image.os_features.contains(f));
        Some(Rank {
            unstated: u8::from(unstated),
            variant,
            features: extra + missing.count(),
        })
    }

    fn variant_distance(&self, image: &Self) -> Option<u32> {
        if self.variant == image.variant {
            return Some(0);
        }
        match self.architecture.as_str() {
            "amd64" => {
                let level = |p: &Self| numbered("v", p.variant.as_deref().unwrap_or("v1"));
                level(self)?.checked_sub(level(image)?)
            }
            // Processors before v5 lack what every toolchain in use emits.
            "arm" => {
                let version = |p: &Self| numbered("v", p.variant.as_deref().unwrap_or("v7"));
                version(self)?.checked_sub(version(image).filter(|&v| v >= 5)?)
            }
            "arm64" => {
                let (wanted, found) = (arm64(self)?, arm64(image)?);
                match (wanted, found) {
                    ((9, w), (8, f)) => (w + 5).min(9).checked_sub(f).map(|d| d + w + 1),
                    ((w_major, w), (f_major, f)) if w_major == f_major => w.checked_sub(f),
                    _ => None,
                }
            }
            // ppc64le `power9`, riscv64 `rva22u64`: the same word around one growing number.
            // Without a variant an image needs nothing special.
            _ => match (self.variant.as_deref(), image.variant.as_deref()) {
                (_, None) => Some(u32::MAX),
                (Some(wanted), Some(found)) => {
                    let (prefix, number, suffix) = split_number(wanted)?;
                    let (prefix2, number2, suffix2) = split_number(found)?;
                    let same_word = prefix == prefix2 && suffix == suffix2;
                    same_word.then(|| number.checked_sub(number2)).flatten()
                }
                (None, Some(_)) => None,
            },
        }
    }
}

/// The number of `v7`.
fn numbered(prefix: &str, variant: &str) -> Option<u32> {
    digits(variant.strip_prefix(prefix)?)
}

/// Major and minor version of `v8`, `v8.2`, `v9`. Minor versions end at 9 (Armv8.9).
fn arm64(platform: &Platform) -> Option<(u32, u32)> {
    let version = platform
        .variant
        .as_deref()
        .unwrap_or("v8")
        .strip_prefix('v')?;
    let (major, minor) = match version.split_once('.') {
        Some((major, minor)) => (digits(major)?, digits(minor)?),
        None => (digits(version)?, 0),
    };
    (minor <= 9).then_some((major, minor))
}

/// At most six digits, so that sums cannot overflow.
fn digits(text: &str) -> Option<u32> {
    let ok = (1..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if ok { text.parse().ok() } else { None }
}

fn split_number(variant: &str) -> Option<(&str, u32, &str)> {
    let start = variant.find(|c: char| c.is_ascii_digit())?;
    let length = variant[start..]
        .bytes()
        .take_while(u8::is_ascii_digit)
        .count();
    let (number, suffix) = variant[start..].split_at(length);
    Some((&variant[..start], digits(number)?, suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(wanted: &str, image: &str) -> Option<Rank> {
        let parse = |text: &str| {
            text.parse::<Platform>()
                .unwrap_or_else(|e| panic!("{text}: {e}"))
        };
        parse(wanted).rank(&parse(image))
    }

    /// Each list from best to worst.
    #[test]
    fn best_first() {
        for (wanted, images) in [
            (
                "linux/arm/v7",
                &["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"][..],
            ),
            (
                "linux/arm/v8",
                &["linux/arm/v8", "linux/arm/v7", "linux/arm/v6"],
            ),
            (
                "linux/amd64/v3",
                &["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"],
            ),
            (
                "linux/arm64/v8.2",
                &["linux/arm64/v8.2", "linux/arm64/v8.1", "linux/arm64"],
            ),
            (
                "linux/arm64/v9.1",
                &[
                    "linux/arm64/v9.1",
                    "linux/arm64/v9",
                    "linux/arm64/v8.6",
                    "linux/arm64/v8.5",
                    "linux/arm64",
                ],
            ),
            (
                "linux/ppc64le/power10",
                &[
                    "linux/ppc64le/power10",
                    "linux/ppc64le/power9",
                    "linux/ppc64le",
                ],
            ),
            (
                "linux/riscv64/rva23u64",
                &[
                    "linux/riscv64/rva23u64",
                    "linux/riscv64/rva22u64",
                    "linux/riscv64",
                ],
            ),
            ("linux/amd64", &["linux/amd64", "linux(+erofs)/amd64"]),
            (
                "linux(+erofs)/amd64",
                &["linux(+erofs)/amd64", "linux/amd64"],
            ),
        ] {
            for pair in images.windows(2) {
                let (better, worse) = (rank(wanted, pair[0]), rank(wanted, pair[1]));
                assert!(
                    better.is_some() && worse.is_some() && better < worse,
                    "{wanted}: {pair:?}"
                );
            }
        }
    }

    #[test]
    fn never() {
        for (wanted, image) in [
            ("linux/amd64", "linux/amd64/v2"),
            ("linux/amd64", "linux/386"),
            ("linux/amd64", "linux/arm64"),
            ("linux/amd64", "windows/amd64"),
            ("linux/arm64", "linux/arm/v7"),
            ("linux/arm64", "linux/arm64/v9"),
            ("linux/arm64/v8.4", "linux/arm64/v8.5"),
            ("linux/arm64/v9", "linux/arm64/v8.6"),
            ("linux/arm/v6", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm"),
            ("linux/riscv64", "linux/riscv64/rva22u64"),
            ("linux/ppc64le/power9", "linux/ppc64le/power10"),
            ("linux/ppc64le/power9", "linux/ppc64le/fast9"),
            ("windows(10.0.20348)/amd64", "windows(10.0.203480)/amd64"),
            ("windows(10.0.20348)/amd64", "windows/amd64"),
            ("linux(+a)/amd64", "linux(+b)/amd64"),
        ] {
            assert_eq!(rank(wanted, image), None, "{wanted} {image}");
        }
    }

    #[test]
    fn versions_and_unstated() {
        assert!(
            rank(
                "windows(10.0.20348)/amd64",
                "windows(10.0.20348.2582)/amd64"
            )
            .is_some()
        );
        assert!(rank("windows/amd64", "windows(10.0.20348.2582)/amd64").is_some());
        let amd64: Platform = "linux/amd64".parse().unwrap();
        let unstated = amd64.rank(&Platform::new("", "", None));
        assert!(unstated.is_some() && unstated > amd64.rank(&amd64));
        assert!(amd64.rank(&Platform::new("windows", "", None)).is_none());
        assert!(
            amd64
                .rank(&Platform::new("unknown", "unknown", None))
                .is_none()
        );
    }
}
