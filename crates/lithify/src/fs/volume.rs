//! What is decided when a writable filesystem is made.

pub use lithify_ext4::Journal;

/// What is decided when a writable filesystem is made, because it has a size and room of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeOptions {
    /// Bytes of the filesystem. Default: its content and a tenth more, in steps of 1 MiB.
    pub size: Option<u64>,
    /// Bytes left free, where no size is asked for. Default: a tenth of the content.
    pub free: Option<u64>,
    /// Inodes, at least. Default: one for every 16 KiB.
    pub inodes: Option<u32>,
    /// Bytes of the filesystem for each inode. Default 16 KiB.
    pub bytes_per_inode: Option<u64>,
    /// The journal. Default: as `mke2fs` makes it for the size.
    pub journal: Journal,
    /// The label, at most 16 bytes. Default: none.
    pub label: String,
}

impl VolumeOptions {
    /// Returns the options that are given, by name.
    pub(crate) fn given(&self) -> Vec<(&'static str, String)> {
        let mut given = Vec::new();
        let mut add = |name, value: Option<String>| given.extend(value.map(|value| (name, value)));
        add("size", self.size.map(|n| n.to_string()));
        add("free", self.free.map(|n| n.to_string()));
        add("inodes", self.inodes.map(|n| n.to_string()));
        add(
            "bytes_per_inode",
            self.bytes_per_inode.map(|n| n.to_string()),
        );
        add(
            "journal",
            match self.journal {
                Journal::Bytes(bytes) => Some(bytes.to_string()),
                Journal::None => Some("none".to_owned()),
                _ => None,
            },
        );
        add(
            "label",
            (!self.label.is_empty()).then(|| self.label.clone()),
        );
        given
    }
}
