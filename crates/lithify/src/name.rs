//! Names of images and paths as messages, descriptions and the store spell them.

use std::ffi::OsStr;
use std::path::Path;

use lithify_oci::source::Source;
use lithify_tree::Escaped;

/// A name as text: itself, or spelled with `\xNN` where it is not UTF-8.
pub(crate) fn shown(name: &OsStr) -> String {
    match name.to_str() {
        Some(text) => text.to_owned(),
        None => Escaped(name.as_encoded_bytes()).to_string(),
    }
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
