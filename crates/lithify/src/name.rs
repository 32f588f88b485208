//! Names of images and paths as messages, descriptions and the store spell them.

use std::ffi::OsStr;
use std::path::Path;

use lithify_oci::source::Source;
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
    let spelled = |name: &OsStr| match name.to_str() {
        Some(text) if !text.contains('\\') => text.to_owned(),
        _ => Escaped(name.as_encoded_bytes()).to_string(),
    };
    let (path, kind, selector) = match Source::parse(name) {
        Ok(Source::Oci { path, selector }) => (path, "oci", selector),
        Ok(Source::OciArchive { path, selector }) => (path, "oci-archive", selector),
        Ok(Source::DockerArchive { path, selector }) => (path, "docker-archive", selector),
        Ok(Source::Rootfs(path)) => (path, "rootfs", None),
        Ok(Source::Name(reference) | Source::Store(reference)) => {
            return crate::transfer::name_in_store(&reference);
        }
        _ => return spelled(name),
    };
    let Ok(absolute) = std::path::absolute(&path) else {
        return spelled(name);
    };
    let mut text = format!("{kind}:{}", spelled(absolute.as_os_str()));
    if let Some(selector) = selector {
        text.push_str(&selector.to_string());
    }
    text
}

/// A path as text, spelled as names are.
pub(crate) fn shown_path(path: &Path) -> String {
    shown(path.as_os_str())
}
