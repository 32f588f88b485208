//! The kernel's side: files under fs-verity.
//!
//! Unsafe for two `ioctl`s rustix has no function for.

use std::ffi::c_void;
use std::fs::File;

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Setter, ioctl, opcode};

use super::{FileAlgorithm, FileDigest, FileOptions, FileOptionsError};

/// `struct fsverity_enable_arg` of `include/uapi/linux/fsverity.h`.
#[repr(C)]
struct EnableArgument {
    version: u32,
    hash_algorithm: u32,
    block_size: u32,
    salt_size: u32,
    salt: u64,
    signature_size: u32,
    reserved_1: u32,
    signature: u64,
    reserved_2: [u64; 11],
}

const _: () = assert!(size_of::<EnableArgument>() == 128);

/// `FS_IOC_ENABLE_VERITY`, `_IOW('f', 133, struct fsverity_enable_arg)`.
const ENABLE: Opcode = opcode::write::<EnableArgument>(b'f', 133);

/// Longest digest of any algorithm.
const DIGEST_MAX: usize = 64;

/// `struct fsverity_digest`, with room for the digest.
#[repr(C)]
struct MeasureArgument {
    algorithm: u16,
    size: u16,
    digest: [u8; DIGEST_MAX],
}

/// `struct fsverity_digest` as the number of the call counts it: without the digest.
#[repr(C)]
struct MeasureHead {
    algorithm: u16,
    size: u16,
}

/// `FS_IOC_MEASURE_VERITY`, `_IOWR('f', 134, struct fsverity_digest)`.
const MEASURE: Opcode = opcode::read_write::<MeasureHead>(b'f', 134);

struct Measure(MeasureArgument);

// SAFETY: FS_IOC_MEASURE_VERITY reads `size` and writes a `struct fsverity_digest` with at most that many bytes of digest
// (`fsverity_ioctl_measure`); `size` is the length of the array, so that all of it is in `MeasureArgument`.
unsafe impl Ioctl for Measure {
    type Output = MeasureArgument;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        MEASURE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(
        _: IoctlOutput,
        argument: *mut c_void,
    ) -> rustix::io::Result<MeasureArgument> {
        // SAFETY: it is the pointer of `as_ptr`, to a whole argument, which has no invalid bit patterns.
        Ok(unsafe { argument.cast::<MeasureArgument>().read() })
    }
}

/// Why the kernel does not have a file under fs-verity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// Parameters fs-verity does not have.
    #[error(transparent)]
    Options(#[from] FileOptionsError),
    /// The kernel or the filesystem does not do fs-verity, or not with these parameters.
    #[error(
        "the kernel or the file's filesystem has no fs-verity ({0}): ext4 needs the feature `verity` (tune2fs -O verity), btrfs and f2fs have it"
    )]
    Unsupported(Errno),
    /// A file that somebody can write to.
    #[error("the file is open for writing, so that its contents are not final")]
    Busy,
    /// The file has fs-verity already.
    #[error("the file is under fs-verity already")]
    Enabled,
    /// A digest of an algorithm lithify does not know.
    #[error(
        "the kernel's digest is of algorithm {number} and has {size} bytes: expected SHA-256 or SHA-512"
    )]
    Digest {
        /// The algorithm's number.
        number: u16,
        /// Bytes of the digest.
        size: u16,
    },
    /// Any other error of the system.
    #[error("the kernel did not do fs-verity")]
    System(#[source] Errno),
}

/// Puts a file under fs-verity: the kernel makes the hash tree, and the file cannot be written to any more.
///
/// The file is open for reading, and nobody has it open for writing.
///
/// # Errors
/// [`KernelError`]. The file is as it was then.
pub fn enable(file: &File, options: &FileOptions) -> Result<(), KernelError> {
    options.check()?;
    let argument = EnableArgument {
        version: 1,
        hash_algorithm: options.algorithm.number().into(),
        block_size: options.block_size,
        // At most 32.
        salt_size: u32::try_from(options.salt.len()).unwrap_or(u32::MAX),
        salt: options.salt.as_ptr().expose_provenance() as u64,
        signature_size: 0,
        reserved_1: 0,
        signature: 0,
        reserved_2: [0; 11],
    };
    // SAFETY: FS_IOC_ENABLE_VERITY reads one `struct fsverity_enable_arg` and `salt_size` bytes at `salt`
    // (`fsverity_ioctl_enable`), which `options` keeps; it writes to no memory of ours.
    let call = unsafe { Setter::<ENABLE, EnableArgument>::new(argument) };
    // SAFETY: as above; the number is reserved for this call on every file (`Documentation/userspace-api/ioctl/ioctl-number.rst`, 'f').
    let enabled = unsafe { ioctl(file, call) };
    enabled.map_err(|e| match e {
        Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOPKG => {
            KernelError::Unsupported(e)
        }
        Errno::TXTBSY => KernelError::Busy,
        Errno::EXIST => KernelError::Enabled,
        e => KernelError::System(e),
    })
}

/// Asks the kernel for the digest of a file under fs-verity: an answer in no time, without reading the file. `None` if the file is
/// not under fs-verity, or its filesystem does not have it.
///
/// # Errors
/// [`KernelError`].
pub fn measure(file: &File) -> Result<Option<FileDigest>, KernelError> {
    let call = Measure(MeasureArgument {
        algorithm: 0,
        size: DIGEST_MAX as u16,
        digest: [0; DIGEST_MAX],
    });
    // SAFETY: `Measure` describes the call, whose number is reserved for it on every file.
    let found = match unsafe { ioctl(file, call) } {
        Ok(found) => found,
        Err(Errno::NODATA | Errno::NOTTY | Errno::OPNOTSUPP) => return Ok(None),
        Err(e) => return Err(KernelError::System(e)),
    };
    let unknown = || KernelError::Digest {
        number: found.algorithm,
        size: found.size,
    };
    let number = u8::try_from(found.algorithm).map_err(|_| unknown())?;
    let algorithm = FileAlgorithm::of_number(number).ok_or_else(unknown)?;
    let bytes = found.digest.get(..found.size.into()).ok_or_else(unknown)?;
    let digest = FileDigest::from_bytes(algorithm, bytes).map_err(|_| unknown())?;
    Ok(Some(digest))
}
