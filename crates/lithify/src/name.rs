//! Names of images and paths as messages, descriptions and the store spell them.

use std::ffi::OsStr;
use std::path::Path;

use lithify_oci::Reference;
use lithify_oci::source::{Source, TarInput};
use lithify_tree::Escaped;

/// A name as text: itself, or spelled with `\xNN` where it is not UTF-8.
pub(crate) fn shown(name: &OsStr) -> String {
    spelled(name.as_encoded_bytes())
}

/// The bytes of a name as text, as [`shown`] does.
pub(crate) fn spelled(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) => text.to_owned(),
        Err(_) => Escaped(name).to_string(),
    }
}

/// What stands beside a spelling in JSON: the bytes in hexadecimal digits, of a name that is not UTF-8.
pub(crate) fn bytes_of(name: &[u8]) -> Option<String> {
    std::str::from_utf8(name).is_err().then(|| hex(name))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A path of this machine as JSON has it: text, and its bytes in hexadecimal digits if they are not UTF-8. The text is then
/// spelled as [`Escaped`] does.
///
/// ```
/// use std::path::Path;
///
/// assert_eq!(lithify::path_as_data(Path::new(r"a\xff")), (r"a\xff".into(), None));
/// # #[cfg(unix)] {
/// use std::os::unix::ffi::OsStrExt as _;
///
/// let path = Path::new(std::ffi::OsStr::from_bytes(b"a\xff"));
/// assert_eq!(lithify::path_as_data(path), (r"a\xff".into(), Some("61ff".into())));
/// # }
/// ```
#[must_use]
pub fn path_as_data(path: &Path) -> (String, Option<String>) {
    let bytes = path.as_os_str().as_encoded_bytes();
    (spelled(bytes), bytes_of(bytes))
}

/// The name by which a store knows the image of that name: relative paths made absolute, the defaults of bare names spelled
/// out. Names with a backslash or with bytes that are not UTF-8 are spelled as [`Escaped`] does, so that no two are the same.
#[must_use]
pub fn store_name(name: impl AsRef<OsStr>) -> String {
    let name = name.as_ref();
    match Source::parse(name) {
        Ok(source) => name_of_source(&source),
        Err(_) => unambiguous(name),
    }
}

/// The name by which a store knows what a source names.
pub(crate) fn name_of_source(source: &Source) -> String {
    let (path, kind, selector) = match source {
        Source::Oci { path, selector } => (path, "oci", selector.as_ref()),
        Source::OciArchive { path, selector } => (path, "oci-archive", selector.as_ref()),
        Source::DockerArchive { path, selector } => (path, "docker-archive", selector.as_ref()),
        Source::Composefs { path, selector } => (path, "composefs", selector.as_ref()),
        Source::Rootfs(path) => (path, "rootfs", None),
        Source::Ext4(path) => (path, "ext4", None),
        Source::Name(reference) | Source::Store(reference) => {
            return name_in_store(reference);
        }
        // It may be standard input.
        Source::Tar(TarInput::File(path)) => {
            return format!("tar:{}", unambiguous(path.as_os_str()));
        }
        other => return other.to_string(),
    };
    let absolute = std::path::absolute(path);
    let path = absolute.as_ref().unwrap_or(path);
    let mut text = format!("{kind}:{}", unambiguous(path.as_os_str()));
    if let Some(selector) = selector {
        text.push_str(&selector.to_string());
    }
    text
}

/// The name a store knows an image of a registry by.
pub(crate) fn name_in_store(reference: &Reference) -> String {
    reference.normalised().with_default_tag().to_string()
}

/// The name a store knows an image of a registry by, defaults spelled out; `None` for what is in no registry.
#[must_use]
pub fn full_name(name: &str) -> Option<String> {
    match name.parse::<Source>() {
        Ok(Source::Docker(reference) | Source::Store(reference) | Source::Name(reference)) => {
            Some(name_in_store(&reference))
        }
        _ => None,
    }
}

fn unambiguous(name: &OsStr) -> String {
    match name.to_str() {
        Some(text) if !text.contains('\\') => text.to_owned(),
        _ => Escaped(name.as_encoded_bytes()).to_string(),
    }
}

/// A path as text, spelled as names are.
pub(crate) fn shown_path(path: &Path) -> String {
    shown(path.as_os_str())
}
