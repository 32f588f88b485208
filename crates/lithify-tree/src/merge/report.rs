//! What applying a layer found out about it.

/// What applying one layer found out about it.
///
/// Most of it serves one question: would the layer mean the same on other lower layers? Then what is made of it alone
/// can be shared by every image that has it. The counters err on the side of "no".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerReport {
    /// Names of lower layers that a marker of this layer removed. What went with a removed directory counts only if
    /// a marker names it too.
    pub removed: u64,
    /// Directories created because an entry needed them and nothing before it described them.
    pub implicit_directories: u64,
    /// Directories of lower layers on the way to an entry or marker of this layer, not described by it: for an entry,
    /// not described before it.
    pub borrowed_directories: u64,
    /// Times the way to an entry, a marker or a hard link's target went through a symbolic link of a lower layer,
    /// through a symbolic link whose target climbs out of something that does not exist, or, for a marker, through
    /// any symbolic link.
    pub followed_symlinks: u64,
    /// Hard links whose target a lower layer brought.
    pub links_to_lower: u64,
    /// Hard links whose target did not exist when they came. Had a lower layer the path, they would mean that.
    pub forward_links: u64,
    /// Markers for something in a directory that exists neither below nor in this layer.
    pub stray_markers: u64,
    /// Whether an opaque marker removes everything lower layers have. An overlay has no word for that.
    pub empties_root: bool,
    /// Whether the layer has an entry of its own for the root directory. Most have none, so
    /// [`is_self_contained`](Self::is_self_contained) does not ask for it.
    pub describes_root: bool,
}

impl LayerReport {
    /// Whether the layer means the same whatever lies below it, the root directory's own metadata aside.
    #[must_use]
    pub fn is_self_contained(&self) -> bool {
        let Self {
            removed: _,
            implicit_directories,
            borrowed_directories,
            followed_symlinks,
            links_to_lower,
            forward_links,
            stray_markers,
            empties_root,
            describes_root: _,
        } = *self;
        implicit_directories
            | borrowed_directories
            | followed_symlinks
            | links_to_lower
            | forward_links
            | stray_markers
            | u64::from(empties_root)
            == 0
    }
}
