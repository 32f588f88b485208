//! Descriptors as they are.

use super::error::{LineProblem, ParseError};
use super::path::{self, PathRule};
use super::{CREATE_TYPE, DESCRIPTOR_MAX, NO_PARENT, SIGNATURE};
use crate::SECTOR;

/// Largest number of sectors in a file.
const SECTORS_MAX: u64 = i64::MAX as u64 / SECTOR;

/// A stretch of a file that is a stretch of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The file, as it stands in the descriptor.
    pub path: String,
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// What a descriptor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Content ID.
    pub cid: u32,
    /// The extents in disk order; there is at least one.
    pub extents: Vec<Extent>,
}

impl Descriptor {
    /// Reads a descriptor: `twoGbMaxExtentFlat`, without a parent, every line understood, every path by the rule.
    ///
    /// # Errors
    /// What is wrong with it; for a line, its number.
    pub fn parse(bytes: &[u8], rule: PathRule) -> Result<Self, ParseError> {
        if bytes.len() > DESCRIPTOR_MAX {
            return Err(ParseError::TooLarge { found: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|e| ParseError::NotUtf8 {
            offset: e.valid_up_to(),
        })?;
        let mut settings = Settings::default();
        let mut extents = Vec::new();
        let mut size = 0_u64;
        for (n, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line).trim_matches(' ');
            if n == 0 {
                if line != SIGNATURE {
                    return Err(ParseError::Signature);
                }
                continue;
            }
            let parsed = if line.is_empty() || line.starts_with('#') {
                Ok(())
            } else if let Some((key, value)) = setting(line) {
                settings.set(key, value)
            } else {
                extent(line, rule).map(|extent| extents.push(extent))
            };
            parsed.map_err(|problem| ParseError::Line {
                line: n + 1,
                problem,
            })?;
        }
        for Extent { length, .. } in &extents {
            size = size
                .checked_add(*length)
                .filter(|&size| size <= i64::MAX as u64)
                .ok_or(ParseError::DiskTooLarge)?;
        }
        let missing = |key| ParseError::Missing { key };
        settings.version.ok_or(missing("version"))?;
        settings.parent.ok_or(missing("parentCID"))?;
        settings.create_type.ok_or(missing("createType"))?;
        let cid = settings.cid.ok_or(missing("CID"))?;
        if extents.is_empty() {
            return Err(ParseError::NoExtents);
        }
        Ok(Self { cid, extents })
    }

    /// Size of the disk in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.extents.iter().map(|extent| extent.length).sum()
    }

    /// The extents with those joined that follow each other in one file: the parts, as long as no two parts are
    /// neighbours in one file.
    #[must_use]
    pub fn runs(&self) -> Vec<Extent> {
        let mut runs: Vec<Extent> = Vec::new();
        for extent in &self.extents {
            match runs.last_mut() {
                Some(run)
                    if run.path == extent.path && run.offset + run.length == extent.offset =>
                {
                    run.length += extent.length;
                }
                _ => runs.push(extent.clone()),
            }
        }
        runs
    }
}

#[derive(Default)]
struct Settings {
    version: Option<()>,
    cid: Option<u32>,
    parent: Option<()>,
    create_type: Option<()>,
    encoding: Option<()>,
}

impl Settings {
    fn set(&mut self, key: &str, value: &str) -> Result<(), LineProblem> {
        let expect = |key, ok: bool, expected| {
            ok.then_some(()).ok_or_else(|| LineProblem::Value {
                key,
                found: value.into(),
                expected,
            })
        };
        match key {
            "version" => {
                expect("version", value == "1", "1")?;
                once("version", &mut self.version, ())
            }
            "CID" => {
                let cid = hex(value);
                expect("CID", cid.is_some(), "up to eight hexadecimal digits")?;
                once("CID", &mut self.cid, cid.unwrap_or_default())
            }
            "parentCID" => {
                let none = hex(value) == Some(NO_PARENT);
                expect("parentCID", none, "ffffffff, a disk without a parent")?;
                once("parentCID", &mut self.parent, ())
            }
            "createType" => {
                let flat = value.trim_matches('"') == CREATE_TYPE;
                expect("createType", flat, "\"twoGbMaxExtentFlat\"")?;
                once("createType", &mut self.create_type, ())
            }
            "encoding" => {
                let utf8 = value.trim_matches('"').eq_ignore_ascii_case("utf-8");
                expect("encoding", utf8, "\"UTF-8\"")?;
                once("encoding", &mut self.encoding, ())
            }
            // The disk database: geometry, adapter and such, which say nothing about the data.
            key if key.starts_with("ddb.") => Ok(()),
            key => Err(LineProblem::Setting(key.into())),
        }
    }
}

fn once<T>(key: &'static str, slot: &mut Option<T>, value: T) -> Result<(), LineProblem> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(LineProblem::Again(key)),
    }
}

/// `KEY=VALUE`, with or without spaces. No key of a setting has a space or a quote, which each extent has before any `=`.
fn setting(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim_matches(' ');
    let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    is_key.then(|| (key, value.trim_matches(' ')))
}

/// `RW SECTORS FLAT "FILE" OFFSET`.
fn extent(line: &str, rule: PathRule) -> Result<Extent, LineProblem> {
    let (start, rest) = line.split_once('"').ok_or_else(|| no_extent(line))?;
    let (path, offset) = rest.rsplit_once('"').ok_or(LineProblem::Extent)?;
    let mut words = start.split(' ').filter(|word| !word.is_empty());
    let (Some("RW"), Some(sectors), Some("FLAT"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(LineProblem::Extent);
    };
    let number = |text: &str| decimal(text).ok_or(LineProblem::Extent);
    let (sectors, offset) = (number(sectors)?, number(offset.trim_matches(' '))?);
    path::check_text(path, rule).map_err(|problem| LineProblem::Path {
        path: path.into(),
        problem,
    })?;
    if sectors == 0
        || sectors
            .checked_add(offset)
            .is_none_or(|end| end > SECTORS_MAX)
    {
        return Err(LineProblem::Range { sectors, offset });
    }
    Ok(Extent {
        path: path.into(),
        offset: offset * SECTOR,
        length: sectors * SECTOR,
    })
}

/// What a line without a file name is: an extent of a kind QEMU skips, or anything.
fn no_extent(line: &str) -> LineProblem {
    let access = line.split(' ').next().unwrap_or_default();
    if ["RW", "RDONLY", "NOACCESS"].contains(&access) {
        LineProblem::Extent
    } else {
        LineProblem::Unknown
    }
}

fn decimal(text: &str) -> Option<u64> {
    // `parse` takes a sign.
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn hex(text: &str) -> Option<u32> {
    let digits = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::super::error::PathProblem;
    use super::*;

    const HEAD: &str = "# Disk DescriptorFile\nversion=1\nCID=12abCDef\nparentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n";

    fn parse(rest: &str) -> Result<Descriptor, ParseError> {
        Descriptor::parse(format!("{HEAD}{rest}").as_bytes(), PathRule::Below)
    }

    fn problem(rest: &str) -> LineProblem {
        match parse(rest) {
            Err(ParseError::Line { line: 6, problem }) => problem,
            other => panic!("{rest:?}: {other:?}"),
        }
    }

    #[test]
    fn what_others_write_is_understood() {
        let text = "\n# Extent description\r\nRW 8 FLAT \"a b\" 0\r\nRW  9  FLAT  \"a b\"  8\nRW 1 FLAT \"x=y\" 5\n\n# The Disk Data Base\n#DDB\nddb.adapterType = \"ide\"\nencoding=\"UTF-8\"";
        let descriptor = parse(text).unwrap();
        assert_eq!(descriptor.cid, 0x12ab_cdef);
        assert_eq!(descriptor.size(), 18 * 512);
        let extent = |path: &str, offset, length| Extent {
            path: path.into(),
            offset,
            length,
        };
        assert_eq!(
            descriptor.runs(),
            [extent("a b", 0, 17 * 512), extent("x=y", 5 * 512, 512)]
        );
    }

    #[test]
    fn every_line_has_to_be_understood() {
        assert_eq!(problem("nonsense"), LineProblem::Unknown);
        assert_eq!(problem("a b=c"), LineProblem::Unknown);
        assert_eq!(problem("other=1"), LineProblem::Setting("other".into()));
        assert_eq!(problem("version=1"), LineProblem::Again("version"));
        assert_eq!(problem("CID=1"), LineProblem::Again("CID"));
        for extent in [
            "RW 8 ZERO",
            "RW 8 SPARSE \"a\"",
            "RDONLY 8 FLAT \"a\" 0",
            "RW 8 FLAT \"a\"",
            "RW 8 FLAT \"a\" x",
            "RW +8 FLAT \"a\" 0",
            "RW 8 FLAT \"a\" -1",
            "RW 8 FLAT a 0",
            "RW 8 FLAT \"a 0",
            "RW 8 8 FLAT \"a\" 0",
            "RW 99999999999999999999 FLAT \"a\" 0",
        ] {
            assert_eq!(problem(extent), LineProblem::Extent, "{extent}");
        }
        for (sectors, offset) in [
            (0, 0),
            (1, SECTORS_MAX),
            (SECTORS_MAX + 1, 0),
            (u64::MAX, u64::MAX),
        ] {
            let line = format!("RW {sectors} FLAT \"a\" {offset}");
            assert_eq!(problem(&line), LineProblem::Range { sectors, offset });
        }
        for (path, found) in [
            ("/etc/shadow", PathProblem::Absolute),
            ("../a", PathProblem::Parent),
            ("", PathProblem::Empty),
            ("nbd:x", PathProblem::Protocol),
            ("a\" 0 RW \"b", PathProblem::Character('"')),
            ("a\tb", PathProblem::Character('\t')),
        ] {
            let line = format!("RW 1 FLAT \"{path}\" 0");
            let expected = LineProblem::Path {
                path: path.into(),
                problem: found,
            };
            assert_eq!(problem(&line), expected);
        }
    }

    #[test]
    fn settings_have_to_be_there_and_usable() {
        let extent = "RW 1 FLAT \"a\" 0\n";
        let whole = format!("{HEAD}{extent}");
        let parse = |text: &str| Descriptor::parse(text.as_bytes(), PathRule::Below);
        assert!(parse(&whole).is_ok());
        assert_eq!(parse(HEAD), Err(ParseError::NoExtents));
        for key in ["version", "CID", "parentCID", "createType"] {
            let without: Vec<_> = whole
                .lines()
                .filter(|line| !line.starts_with(&format!("{key}=")))
                .collect();
            let missing = Err(ParseError::Missing { key });
            assert_eq!(parse(&without.join("\n")), missing);
        }
        for (from, to) in [
            ("version=1", "version=2"),
            ("CID=12abCDef", "CID=xyz"),
            ("CID=12abCDef", "CID=123456789"),
            ("parentCID=ffffffff", "parentCID=00000001"),
            ("twoGbMaxExtentFlat", "monolithicSparse"),
        ] {
            assert!(matches!(
                parse(&whole.replacen(from, to, 1)),
                Err(ParseError::Line {
                    problem: LineProblem::Value { .. },
                    ..
                })
            ));
        }
        assert_eq!(parse(&whole[1..]), Err(ParseError::Signature));
        assert_eq!(parse(""), Err(ParseError::Signature));
        let huge = format!("{whole}RW {SECTORS_MAX} FLAT \"b\" 0");
        assert_eq!(parse(&huge), Err(ParseError::DiskTooLarge));
        let long = format!("{whole}#{}", "x".repeat(DESCRIPTOR_MAX));
        assert!(matches!(parse(&long), Err(ParseError::TooLarge { .. })));
        assert_eq!(
            Descriptor::parse(b"# Disk\xff", PathRule::Below),
            Err(ParseError::NotUtf8 { offset: 6 })
        );
    }
}
