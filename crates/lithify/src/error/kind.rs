//! Kinds of errors, by what can be done about them.

use lithify_composefs::repository::ObjectError;

/// The kind of an [`Error`](crate::Error): what can be done about it. The command's exit codes follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request makes no sense: a name, an option or a combination of them. Another request may.
    Usage,
    /// What was named is not there.
    NotFound,
    /// Bytes are not what a digest, size, checksum or format promised.
    Verification,
    /// More is asked for than the limits allow.
    Limit,
    /// What is asked for makes sense, and is not possible with this input, format or version.
    Unsupported,
    /// What is in the way is left as it is.
    Exists,
    /// The system refuses a read, a write or another call.
    Io,
    /// A registry or a daemon does not give or take what it should.
    Registry,
    /// The work was stopped on request.
    Cancelled,
}

impl ErrorKind {
    /// Returns the kind of an error of an object in a composefs repository.
    pub(super) fn of_object(error: &ObjectError) -> Self {
        match error {
            ObjectError::Missing { .. }
            | ObjectError::Damaged { .. }
            | ObjectError::NotUnderVerity { .. }
            | ObjectError::TooLong { .. }
            | ObjectError::Directory { .. }
            | ObjectError::Beneath(_) => Self::Verification,
            ObjectError::ReadOnly(_) | ObjectError::Algorithm { .. } | ObjectError::Verity(_) => {
                Self::Unsupported
            }
            ObjectError::Cancelled(_) => Self::Cancelled,
            error => Self::of_causes(error, Self::Io),
        }
    }

    /// Returns the kind of a registry's error.
    #[cfg(feature = "_client")]
    pub(super) fn of_registry(error: &lithify_registry::Error) -> Self {
        match error {
            e if e.is_verification() => Self::Verification,
            e if e.is_not_found() => Self::NotFound,
            lithify_registry::Error::TooLarge { .. } => Self::Limit,
            lithify_registry::Error::Cancelled => Self::Cancelled,
            _ => Self::Registry,
        }
    }

    /// Returns the kind of an EROFS image's error: damage, or else something that is out of reach or not read.
    pub(crate) fn of_erofs(error: &lithify_erofs::ReadError) -> Self {
        use lithify_erofs::ReadError;
        match error {
            ReadError::Io { .. } | ReadError::Length { .. } => Self::Io,
            ReadError::Features { .. }
            | ReadError::DirectoryBlocks { .. }
            | ReadError::ExtraDevice { .. }
            | ReadError::Compressed { .. }
            | ReadError::NoExtent { .. }
            | ReadError::DeviceCount { .. }
            | ReadError::OverlayXattr { .. }
            | ReadError::XattrPrefix { .. } => Self::Unsupported,
            _ => Self::Verification,
        }
    }

    /// Returns the kind of the store's error.
    pub(super) fn of_store(error: &lithify_store::Error) -> Self {
        use lithify_store::Error;
        match error {
            Error::BlobMismatch { .. } | Error::Manifest { .. } => Self::Verification,
            Error::NoStore { .. } => Self::NotFound,
            Error::Cancelled => Self::Cancelled,
            error => Self::of_causes(error, Self::Io),
        }
    }
}
