//! JSON to a manifest.

use std::collections::BTreeMap;

use lithify_escape::Escaped;
use lithify_oci::Platform;

use super::error::ManifestError;
use super::{DISK_MAX, Disk, DiskFormat, Image, Info, MANIFEST_MAX, Manifest, SCHEMA};
use crate::json::{Json, Key, Object, parse};

/// Bytes that the name of a filesystem may have.
const FILESYSTEM_MAX: usize = 32;

impl Manifest {
    /// Reads a manifest. It need not be in its canonical form.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut root = Members::of("", parse(bytes, MANIFEST_MAX)?)?;
        // First: what else is right is for the schema to say, and for what is required.
        let schema = root.string("schema")?;
        if schema != SCHEMA {
            return Err(ManifestError::Schema { found: schema });
        }
        if let Some(feature) = root.strings("requires")?.into_iter().next() {
            return Err(ManifestError::Feature { feature });
        }
        let manifest = Self {
            image: image(root.object("image")?)?,
            parent: root.parsed_if_any("parent", "the identity of a snapshot")?,
            disk: disk(root.object("disk")?)?,
            labels: match root.object_if_any("labels")? {
                Some(labels) => labels.into_strings()?,
                None => BTreeMap::new(),
            },
            info: match root.object_if_any("info")? {
                Some(info) => info_of(info)?,
                None => Info::default(),
            },
        };
        root.end()?;
        Ok(manifest)
    }
}

fn image(mut members: Members) -> Result<Image, ManifestError> {
    let expected = "a platform such as linux/amd64";
    let manifest = members.parsed("manifest", "a digest")?;
    let words = members.string("platform")?;
    let platform = words.parse::<Platform>().ok();
    // Users may leave out the architecture, and mean that of the host; or call it by another of its names.
    let platform = platform.filter(|platform| platform.to_string() == words);
    let Some(platform) = platform else {
        return Err(members.refused("platform", words, expected));
    };
    members.end()?;
    Ok(Image { manifest, platform })
}

fn disk(mut members: Members) -> Result<Disk, ManifestError> {
    let format = members.string("format")?;
    let known = DiskFormat::ALL
        .into_iter()
        .find(|known| known.name() == format);
    let disk = Disk {
        format: known.ok_or_else(|| members.refused("format", format, "`raw` or `qcow2`"))?,
        filesystem: members.string("filesystem")?,
        size: members.number("size")?,
        content: members.parsed("content", "the digest of a disk's content")?,
    };
    if !is_filesystem(&disk.filesystem) {
        let expected = "the type of a filesystem such as ext4";
        return Err(members.refused("filesystem", disk.filesystem, expected));
    }
    debug_assert!(disk.size <= DISK_MAX);
    members.end()?;
    Ok(disk)
}

fn info_of(mut members: Members) -> Result<Info, ManifestError> {
    let info = Info {
        reference: members.string_if_any("reference")?,
        created: members.string_if_any("created")?,
        name: members.string_if_any("name")?,
        source: members.string_if_any("source")?,
    };
    if let Some(created) = &info.created
        && !is_time(created)
    {
        let expected = "a time such as 2026-12-01T08:00:00Z";
        return Err(members.refused("created", created.clone(), expected));
    }
    // What else is said there is no part of the identity, and newer versions may say more.
    Ok(info)
}

/// Tells whether words may be the type of a filesystem: such as the kernel has.
pub(super) fn is_filesystem(words: &str) -> bool {
    let is_of_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-".contains(&c);
    (1..=FILESYSTEM_MAX).contains(&words.len()) && words.bytes().all(is_of_name)
}

/// Tells whether words are a time as [`Info::created`] has it, with fractions of a second or without.
pub(super) fn is_time(words: &str) -> bool {
    let Some((whole, rest)) = words.split_at_checked("0000-00-00T00:00:00".len()) else {
        return false;
    };
    let is_whole = whole
        .bytes()
        .zip(b"0000-00-00T00:00:00")
        .all(|(c, pattern)| match pattern {
            b'0' => c.is_ascii_digit(),
            pattern => c == *pattern,
        });
    let fraction = rest
        .strip_suffix('Z')
        .map(|rest| rest.strip_prefix('.').unwrap_or("0"));
    let is_fraction = |digits: &str| {
        (1..=9).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit())
    };
    is_whole && (rest == "Z" || rest.starts_with('.') && fraction.is_some_and(is_fraction))
}

/// The members of an object that were not read yet.
struct Members {
    /// The way to the object, with a dot behind it; nothing for the outermost one.
    prefix: String,
    members: Object,
}

impl Members {
    fn of(path: &str, value: Json) -> Result<Self, ManifestError> {
        let Json::Object(members) = value else {
            let member = if path.is_empty() { "all of it" } else { path };
            return Err(ManifestError::Type {
                member: member.to_owned(),
                expected: "an object",
            });
        };
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}.")
        };
        Ok(Self { prefix, members })
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn refused(&self, name: &str, found: String, expected: &'static str) -> ManifestError {
        ManifestError::Value {
            member: self.path(name),
            found,
            expected,
        }
    }

    fn take(&mut self, name: &str) -> Option<Json> {
        self.members.remove(&Key::from(name))
    }

    fn needed<T>(&self, name: &str, value: Option<T>) -> Result<T, ManifestError> {
        value.ok_or_else(|| ManifestError::Missing {
            member: self.path(name),
        })
    }

    fn string_if_any(&mut self, name: &str) -> Result<Option<String>, ManifestError> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::String(value)) => Ok(Some(value)),
            Some(_) => Err(ManifestError::Type {
                member: self.path(name),
                expected: "a string",
            }),
        }
    }

    fn string(&mut self, name: &str) -> Result<String, ManifestError> {
        let value = self.string_if_any(name)?;
        self.needed(name, value)
    }

    fn parsed_if_any<T: std::str::FromStr>(
        &mut self,
        name: &str,
        expected: &'static str,
    ) -> Result<Option<T>, ManifestError> {
        let Some(words) = self.string_if_any(name)? else {
            return Ok(None);
        };
        match words.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.refused(name, words, expected)),
        }
    }

    fn parsed<T: std::str::FromStr>(
        &mut self,
        name: &str,
        expected: &'static str,
    ) -> Result<T, ManifestError> {
        let value = self.parsed_if_any(name, expected)?;
        self.needed(name, value)
    }

    fn number(&mut self, name: &str) -> Result<u64, ManifestError> {
        let value = self.take(name);
        match self.needed(name, value)? {
            Json::Number(value) => Ok(value),
            _ => Err(ManifestError::Type {
                member: self.path(name),
                expected: "a number",
            }),
        }
    }

    fn object_if_any(&mut self, name: &str) -> Result<Option<Self>, ManifestError> {
        let value = self.take(name);
        value
            .map(|value| Self::of(&self.path(name), value))
            .transpose()
    }

    fn object(&mut self, name: &str) -> Result<Self, ManifestError> {
        let value = self.object_if_any(name)?;
        self.needed(name, value)
    }

    /// Reads an array of strings; one that is not there is empty.
    fn strings(&mut self, name: &str) -> Result<Vec<String>, ManifestError> {
        let wrong = || ManifestError::Type {
            member: self.path(name),
            expected: "an array of strings",
        };
        let values = match self.members.get(&Key::from(name)) {
            None => return Ok(Vec::new()),
            Some(Json::Array(values)) => values,
            Some(_) => return Err(wrong()),
        };
        let strings = values.iter().map(|value| match value {
            Json::String(value) => Ok(value.clone()),
            _ => Err(wrong()),
        });
        let strings = strings.collect::<Result<_, _>>()?;
        self.members.remove(&Key::from(name));
        Ok(strings)
    }

    /// Takes all members, which have to be strings.
    fn into_strings(self) -> Result<BTreeMap<String, String>, ManifestError> {
        let Self { prefix, members } = self;
        let strings = members.into_iter().map(|(Key(key), value)| match value {
            Json::String(value) => Ok((key, value)),
            _ => Err(ManifestError::Type {
                member: format!("{prefix}{}", Escaped(&key)),
                expected: "a string",
            }),
        });
        strings.collect()
    }

    /// Refuses members that were not read.
    fn end(self) -> Result<(), ManifestError> {
        match self.members.into_keys().next() {
            None => Ok(()),
            Some(Key(name)) => Err(ManifestError::Unknown {
                member: format!("{}{name}", self.prefix),
            }),
        }
    }
}
