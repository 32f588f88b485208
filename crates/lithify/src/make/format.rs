//! The formats images are built in.

use crate::fs::Kind;

/// A format images are built in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One EROFS image with the merged filesystem.
    #[default]
    Erofs,
    /// One squashfs image with the merged filesystem.
    Squashfs,
    /// One ext4 image with the merged filesystem, to be written to.
    Ext4,
    /// A directory: an EROFS image per layer, a merged image that refers to their data, disks of all.
    ErofsLayers,
    /// A directory with a squashfs image per layer.
    SquashfsLayers,
    /// EROFS images of layers, where containerd's snapshotter looks for them.
    ContainerdCache,
    /// A directory with the merged filesystem.
    Directory,
    /// One tar with the merged filesystem, in sorted order.
    Tar,
    /// One cpio archive with the merged filesystem, which Linux unpacks as its initramfs.
    Cpio,
    /// An image in a composefs repository.
    Composefs,
}

/// The shape of what a format makes, by which it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One image file.
    Image(Kind),
    /// A directory with an image file per layer.
    Layers(Kind),
    /// A directory of layers that containerd reads.
    Cache,
    /// A directory with the merged filesystem.
    Directory,
    /// A tar.
    Tar,
    /// A cpio archive.
    Cpio,
    /// An image in a composefs repository.
    Repository,
}

/// What is to be known of a format.
struct Row {
    name: &'static str,
    summary: &'static str,
    shape: Shape,
}

impl Format {
    /// All formats, in the order they are shown.
    pub const ALL: [Self; 10] = [
        Self::Erofs,
        Self::Squashfs,
        Self::Ext4,
        Self::ErofsLayers,
        Self::SquashfsLayers,
        Self::ContainerdCache,
        Self::Directory,
        Self::Tar,
        Self::Cpio,
        Self::Composefs,
    ];

    const fn row(self) -> Row {
        let (name, summary, shape) = match self {
            Self::Erofs => (
                "erofs",
                "One EROFS image with the merged filesystem",
                Shape::Image(Kind::Erofs),
            ),
            Self::Squashfs => (
                "squashfs",
                "One squashfs image with the merged filesystem",
                Shape::Image(Kind::Squashfs),
            ),
            Self::Ext4 => (
                "ext4",
                "One ext4 image with the merged filesystem: a root disk that can be written to",
                Shape::Image(Kind::Ext4),
            ),
            Self::ErofsLayers => (
                "erofs-layers",
                "A directory: an EROFS image per layer, a merged image over them, a disk for virtual machines",
                Shape::Layers(Kind::Erofs),
            ),
            Self::SquashfsLayers => (
                "squashfs-layers",
                "A directory with a squashfs image per layer",
                Shape::Layers(Kind::Squashfs),
            ),
            Self::ContainerdCache => (
                "containerd-cache",
                "EROFS images of layers where containerd looks for them (`layer_content_caches`)",
                Shape::Cache,
            ),
            Self::Directory => ("dir", "A directory", Shape::Directory),
            Self::Tar => ("tar", "One tar with the merged filesystem", Shape::Tar),
            Self::Cpio => (
                "cpio",
                "One cpio archive with the merged filesystem, which Linux unpacks as its initramfs",
                Shape::Cpio,
            ),
            Self::Composefs => (
                "composefs",
                "A composefs repository (-o REPO:NAME): files as objects, an image of the metadata",
                Shape::Repository,
            ),
        };
        Row {
            name,
            summary,
            shape,
        }
    }

    /// Returns the name of the format on the command line and in descriptions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns what the format is, in a few words without a full stop, for a list to choose from.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        self.row().summary
    }

    /// Returns the shape of what the format makes.
    pub(crate) const fn shape(self) -> Shape {
        self.row().shape
    }

    /// Returns the format of one image file of a kind of filesystem.
    pub(crate) const fn of_image(kind: Kind) -> Self {
        match kind {
            Kind::Erofs => Self::Erofs,
            Kind::Squashfs => Self::Squashfs,
            Kind::Ext4 => Self::Ext4,
        }
    }
}

impl Shape {
    /// Returns the filesystem of the image files in it.
    pub(crate) const fn kind(self) -> Option<Kind> {
        match self {
            Self::Image(kind) | Self::Layers(kind) => Some(kind),
            Self::Cache => Some(Kind::Erofs),
            Self::Directory | Self::Tar | Self::Cpio | Self::Repository => None,
        }
    }

    /// Whether it is a directory.
    pub(crate) const fn is_directory(self) -> bool {
        match self {
            Self::Layers(_) | Self::Cache | Self::Directory | Self::Repository => true,
            Self::Image(_) | Self::Tar | Self::Cpio => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_of_each_kind_has_a_format() {
        for kind in Kind::ALL {
            assert_eq!(Format::of_image(kind).shape(), Shape::Image(kind));
        }
    }
}
