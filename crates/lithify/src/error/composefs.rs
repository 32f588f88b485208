//! Faults of composefs repositories, and of images for them.

use std::fmt;
use std::path::PathBuf;

use lithify_composefs::dumpfile::DumpError;
use lithify_composefs::image;
use lithify_composefs::oci;
use lithify_composefs::repository::{EntryError, GcError, NameError, ObjectError, OpenError};
use lithify_composefs::splitstream::StreamError;
use lithify_digest::Digest;
use lithify_tree::{Escaped, LayerFull};
use lithify_verity::file::{FileDigest, FileOptionsError};

use super::damaged_files::DamagedFiles;
use super::{Cause, Error, ErrorKind};

/// A fault of a composefs repository, or of an image for one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComposefsError {
    /// A repository cannot be opened or created.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A repository without an image that has a name.
    #[error("the composefs repository `{}` has no image with a name", Escaped::path(.path))]
    NoImage {
        /// The repository.
        path: PathBuf,
    },
    /// A repository with several images, of which none was named.
    #[error(
        "the composefs repository `{}` has several images: name one of {}",
        Escaped::path(.path),
        Escaped(&.names.join(", "))
    )]
    Several {
        /// The repository.
        path: PathBuf,
        /// The names of the images.
        names: Vec<String>,
    },
    /// A composefs image that a repository says was made of an image, and was not.
    #[error(
        "the composefs image {id} in `{}` is not what the layers of its image make: make that with `lithify build -f composefs` in another repository", Escaped::path(.path)
    )]
    OtherImage {
        /// The repository.
        path: PathBuf,
        /// The id of the composefs image.
        id: Box<FileDigest>,
    },
    /// An image of the OCI that no composefs image was made of.
    #[error(
        "the composefs repository `{}` has no composefs image of {manifest}: `lithify build -f composefs` makes one", Escaped::path(.path)
    )]
    NotMade {
        /// The repository.
        path: PathBuf,
        /// The digest of its manifest.
        manifest: Box<Digest>,
    },
    /// Something in a repository cannot be read or written.
    #[error("composefs repository `{}`", Escaped::path(.path))]
    Repository {
        /// The repository.
        path: PathBuf,
        /// The fault.
        #[source]
        source: RepositoryFault,
    },
    /// Files of an image that are not what it says.
    #[error(transparent)]
    Files(Box<DamagedFiles>),
    /// A tree that no image can be made of.
    #[error("cannot make a composefs image of `{}`", Escaped(.name))]
    Tree {
        /// The image it is the tree of.
        name: String,
        /// The reason.
        #[source]
        source: Box<image::ImageError>,
    },
    /// An image that cannot be read.
    #[error("`{}` cannot be read as a composefs image", Escaped::path(.path))]
    Image {
        /// The file.
        path: PathBuf,
        /// The fault.
        #[source]
        source: Box<image::ReadError>,
    },
    /// A dumpfile that cannot be read.
    #[error("`{}` cannot be read as a composefs dumpfile", Escaped::path(.path))]
    Dump {
        /// The file.
        path: PathBuf,
        /// The fault.
        #[source]
        source: DumpError,
    },
    /// A directory in place of a dumpfile.
    #[error(
        "`{0}` is a directory, expected a dumpfile: `lithify build rootfs:{0} -f composefs -o REPO:NAME` makes an image of a directory",
        Escaped::path(.path)
    )]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// A name that cannot be removed, or has no entry.
    #[error(
        "the composefs repository `{}` has no name `{}`: {}",
        Escaped::path(.path),
        Escaped(.name),
        ThereAre(.names)
    )]
    NoName {
        /// The repository.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// The names there are.
        names: Vec<String>,
    },
    /// An image of a repository where a file is expected.
    #[error("`{0}` is a name in a composefs repository: write `composefs:{0}`", Escaped(.name))]
    Transport {
        /// The name given.
        name: String,
    },
    /// An image of which not everything is there any more.
    #[error("{missing} of the objects, layers and images that `{}` needs are not there: import it once more", Escaped(.name))]
    Incomplete {
        /// The name of the image.
        name: String,
        /// The number of things that are not there.
        missing: u64,
    },
    /// A part of an image that is not there any more.
    #[error("`{}` is not in the composefs repository `{}` any more: import the image that it is part of once more", Escaped(.at), Escaped::path(.path))]
    Gone {
        /// The repository.
        path: PathBuf,
        /// The stream or image.
        at: String,
    },
    /// A name that leads to something that is not there.
    #[error(
        "`{}` leads to `{}`, which is not there: import it once more, or remove the name with `lithify composefs rm`",
        Escaped(.name),
        Escaped(.entry)
    )]
    Dangling {
        /// The name.
        name: String,
        /// The place of the stream or image it leads to.
        entry: String,
    },
    /// A place that lacks its name, or has one too many.
    #[error("`{}` {expected}", Escaped(.place))]
    Place {
        /// The place given.
        place: String,
        /// The fault.
        expected: &'static str,
    },
    /// A name that nothing gets.
    #[error(
        "`{}` is no name for an image: expected letters, digits and any of `-._:@/+[]`, with a letter or a digit first", Escaped(.name)
    )]
    NewName {
        /// The name given.
        name: String,
    },
    /// A place where a new name is expected.
    #[error("`{}` is a place, not a new name: give the name alone, `{}`", Escaped(.name), Escaped(.new))]
    NameIsPlace {
        /// The name given.
        name: String,
        /// The name in it.
        new: String,
    },
    /// The stream of a layer that cannot be read.
    #[error("layer {name} in the repository: import the image once more")]
    Layer {
        /// Its diff_id.
        name: String,
        /// The fault.
        #[source]
        source: StreamError,
    },
    /// A stream that has an object where its tar has none, or one of another size.
    #[error(
        "layer {name} in the repository has the object {id} where its tar has no such data: remove it with `lithify composefs fsck --repair`, and import the image once more"
    )]
    Misplaced {
        /// Its diff_id.
        name: String,
        /// The object.
        id: Box<FileDigest>,
    },
    /// An object that is longer or shorter than the file it is in an image.
    #[error("composefs repository `{}`: the object {id} has {found} bytes, its file {expected}: import what it is part of once more", Escaped::path(.path))]
    ObjectSize {
        /// The repository.
        path: PathBuf,
        /// The object.
        id: Box<FileDigest>,
        /// Bytes of the file.
        expected: u64,
        /// Bytes of the object.
        found: u64,
    },
    /// An image by itself, of which the files are wanted.
    #[error(
        "`{0}` is the metadata of a composefs image: its files are in the repository that it is of; mount it from there, as composefs:REPO:NAME (NAME may be what `lithify composefs id {0}` prints)",
        Escaped::path(.path)
    )]
    MetadataAlone {
        /// The image.
        path: PathBuf,
    },
    /// A file of an image by itself, whose data is elsewhere.
    #[error(
        "the data of `/{file}` is not in `{0}`, which is the metadata of a composefs image, but in the repository that it is of: read it from there, as composefs:REPO:NAME (NAME may be what `lithify composefs id {0}` prints)",
        Escaped::path(.path)
    )]
    DataElsewhere {
        /// The image.
        path: PathBuf,
        /// The file, escaped.
        file: String,
    },
    /// An image with a file that is no object.
    #[error("`{}` has a file that is no object of its repository: its data cannot be read", Escaped::path(.path))]
    NoObject {
        /// The image.
        path: PathBuf,
    },
    /// A layer that is no tar.
    #[error(
        "layer {index} ({name}) is no tar, and a composefs repository keeps layers as tars: {hint}"
    )]
    NotATar {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// Its digest.
        name: String,
        /// The way to get the files into a repository.
        hint: &'static str,
    },
    /// A tree that one of the profiles can make no image of.
    #[error("`{}` cannot be made an image as `cfsctl` makes it: {reason}; use the profile `faithful`", Escaped(.name))]
    Profile {
        /// The image.
        name: String,
        /// The thing it lacks, or has.
        reason: &'static str,
    },
    /// A repository whose images are of a format that is not written.
    #[error("the composefs repository `{}` is for images of format {found}, which lithify does not write: create one for format 0 or 1", Escaped::path(.path))]
    Format {
        /// The repository.
        path: PathBuf,
        /// The format's number.
        found: u8,
    },
    /// More files than can be numbered.
    #[error(transparent)]
    TooManyFiles(#[from] LayerFull),
    /// Digests that cannot be computed.
    #[error(transparent)]
    Hasher(#[from] FileOptionsError),
}

/// Most names that a message lists.
const NAMES_MAX: usize = 10;

/// The names there are, in words; of many the first.
struct ThereAre<'a>(&'a [String]);

impl fmt::Display for ThereAre<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, others @ ..] = self.0 else {
            return f.write_str("nothing in it has a name");
        };
        write!(f, "there is `{}`", Escaped(first))?;
        for name in others.iter().take(NAMES_MAX - 1) {
            write!(f, ", `{}`", Escaped(name))?;
        }
        match self.0.len().saturating_sub(NAMES_MAX) {
            0 => Ok(()),
            more => write!(
                f,
                " and {more} more (`lithify composefs ls` lists all names)"
            ),
        }
    }
}

/// A fault in a repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryFault {
    /// An object.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A stream, an image or a reference.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A layer.
    #[error(transparent)]
    Layer(#[from] oci::LayerError),
    /// A manifest or a configuration.
    #[error(transparent)]
    Document(#[from] oci::ImageError),
    /// A collection.
    #[error(transparent)]
    Gc(#[from] GcError),
}

impl ComposefsError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Open(e) => match e {
                OpenError::NotARepository { .. }
                | OpenError::Missing { .. }
                | OpenError::NoParent { .. } => ErrorKind::NotFound,
                OpenError::Old { .. } | OpenError::Verity { .. } => ErrorKind::Unsupported,
                OpenError::NotEmpty { .. } => ErrorKind::Exists,
                OpenError::Other { .. } => ErrorKind::Usage,
                OpenError::Metadata { source, .. } => match source {
                    lithify_composefs::repository::MetadataError::Json(_) => {
                        ErrorKind::Verification
                    }
                    _ => ErrorKind::Unsupported,
                },
                OpenError::Cancelled(_) => ErrorKind::Cancelled,
                e => ErrorKind::of_causes(e, ErrorKind::Io),
            },
            Self::NoImage { .. } | Self::NotMade { .. } | Self::NoName { .. } => {
                ErrorKind::NotFound
            }
            Self::Several { .. }
            | Self::Directory { .. }
            | Self::Place { .. }
            | Self::Transport { .. }
            | Self::NewName { .. }
            | Self::NameIsPlace { .. } => ErrorKind::Usage,
            Self::Incomplete { .. }
            | Self::Gone { .. }
            | Self::Dangling { .. }
            | Self::Files(_)
            | Self::OtherImage { .. } => ErrorKind::Verification,
            Self::Repository { source, .. } => source.kind(),
            Self::Tree { source, .. } => match &**source {
                image::ImageError::Cancelled(_) => ErrorKind::Cancelled,
                image::ImageError::Write(e) => ErrorKind::of_io(e),
                _ => ErrorKind::Unsupported,
            },
            Self::Image { source, .. } => match &**source {
                image::ReadError::Cancelled(_) => ErrorKind::Cancelled,
                image::ReadError::Erofs(e) => ErrorKind::of_erofs(e),
                image::ReadError::NotComposefs { .. } | image::ReadError::Version { .. } => {
                    ErrorKind::Unsupported
                }
                _ => ErrorKind::Verification,
            },
            Self::Dump { source, .. } => match source {
                DumpError::Cancelled(_) => ErrorKind::Cancelled,
                DumpError::Read(e) => ErrorKind::of_io(e),
                _ => ErrorKind::Verification,
            },
            Self::Layer { source, .. } => match source {
                StreamError::Io(e) => ErrorKind::of_io(e),
                _ => ErrorKind::Verification,
            },
            Self::Misplaced { .. } | Self::ObjectSize { .. } => ErrorKind::Verification,
            Self::NotATar { .. }
            | Self::NoObject { .. }
            | Self::MetadataAlone { .. }
            | Self::DataElsewhere { .. }
            | Self::Profile { .. }
            | Self::Format { .. }
            | Self::Hasher(_) => ErrorKind::Unsupported,
            Self::TooManyFiles(_) => ErrorKind::Limit,
        }
    }
}

impl RepositoryFault {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Object(e) => ErrorKind::of_object(e),
            Self::Entry(e) => of_entry(e),
            Self::Name(_) => ErrorKind::Usage,
            Self::Layer(e) => match e {
                oci::LayerError::Object(e) => ErrorKind::of_object(e),
                oci::LayerError::Entry(e) => of_entry(e),
                oci::LayerError::Io(e) => ErrorKind::of_io(e),
                _ => ErrorKind::Verification,
            },
            Self::Document(e) => match e {
                oci::ImageError::NoTag { .. } => ErrorKind::NotFound,
                oci::ImageError::Name(_) => ErrorKind::Usage,
                oci::ImageError::Object(e) => ErrorKind::of_object(e),
                oci::ImageError::Entry(e) => of_entry(e),
                _ => ErrorKind::Verification,
            },
            Self::Gc(e) => match e {
                GcError::Unknown { .. } => ErrorKind::Verification,
                GcError::Root { .. } => ErrorKind::NotFound,
                GcError::ReadOnly(_) => ErrorKind::Unsupported,
                GcError::InUse => ErrorKind::Exists,
                GcError::Cancelled(_) => ErrorKind::Cancelled,
                GcError::Entry(e) => of_entry(e),
                e => ErrorKind::of_causes(e, ErrorKind::Io),
            },
        }
    }
}

fn of_entry(error: &EntryError) -> ErrorKind {
    match error {
        EntryError::Missing { .. } => ErrorKind::NotFound,
        EntryError::ReadOnly(_) => ErrorKind::Unsupported,
        EntryError::Name(_) => ErrorKind::Usage,
        EntryError::Taken { .. } => ErrorKind::Exists,
        EntryError::Object { source, .. } => ErrorKind::of_object(source),
        EntryError::Cancelled(_) => ErrorKind::Cancelled,
        EntryError::Io { source, .. } => ErrorKind::of_io(source),
        _ => ErrorKind::Verification,
    }
}

impl Error {
    /// Tells whether the error is that no composefs image was made of an image of the OCI.
    pub(crate) fn is_not_made(&self) -> bool {
        matches!(
            self.cause(),
            Cause::Composefs(ComposefsError::NotMade { .. })
        )
    }

    /// Tells whether the error is that the rules of a profile allow no image.
    pub(crate) fn is_of_profile(&self) -> bool {
        matches!(
            self.cause(),
            Cause::Composefs(ComposefsError::Profile { .. })
        )
    }

    /// Something is wrong in the repository at `path`.
    pub(crate) fn in_repository(path: &std::path::Path, fault: impl Into<RepositoryFault>) -> Self {
        let source = fault.into();
        match source.kind() {
            ErrorKind::Cancelled => Self::cancelled(),
            _ => ComposefsError::Repository {
                path: path.to_path_buf(),
                source,
            }
            .into(),
        }
    }
}
