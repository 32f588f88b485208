//! What is mounted.

use std::path::{Path, PathBuf};

use crate::origin::Origin;
use crate::{MountError, MountKind, Mounted, changes, image, table};

/// Mounts that [`umount`](crate::umount) takes.
pub(crate) fn mounts() -> Result<Vec<Mounted>, MountError> {
    Ok(table::mounts()?
        .iter()
        .filter_map(|mount| {
            let (kind, source) = recognise(mount)?;
            Some(Mounted {
                target: mount.point.clone(),
                kind,
                source,
                writable: matches!(kind, MountKind::Overlay | MountKind::Composefs)
                    .then(|| changes::upper_directory(mount))
                    .flatten()
                    .and_then(|upper| upper.parent().map(Path::to_path_buf)),
            })
        })
        .collect())
}

/// What a mount is and of which image, if it is one of this crate. All EROFS counts as such; of squashfs and ext4, which
/// others mount too, what is on a loop device of this crate.
pub(crate) fn recognise(mount: &table::Mount) -> Option<(MountKind, Option<PathBuf>)> {
    let source = Path::new(&mount.source);
    let named = || {
        let named = source.is_absolute() && !source.starts_with("/proc/self");
        named.then(|| source.to_path_buf())
    };
    match mount.filesystem.as_str() {
        "erofs" => {
            let file = image::behind_loop(source).map(|(file, _)| file);
            Some((MountKind::Erofs, file.or_else(named)))
        }
        name @ ("squashfs" | "ext4") => {
            let kind = match name {
                "squashfs" => MountKind::Squashfs,
                _ => MountKind::Ext4,
            };
            match image::behind_loop(source)? {
                (file, true) => Some((kind, Some(file))),
                _ => None,
            }
        }
        "overlay" => {
            let source = Origin::parse(&mount.source)?;
            let kind = match source.is_composefs {
                true => MountKind::Composefs,
                false => MountKind::Overlay,
            };
            Some((kind, source.name))
        }
        _ => None,
    }
}
