//! A file as a block device (`loop(4)`), for filesystems that the kernel mounts from nothing else.
//!
//! Unsafe for three `ioctl`s rustix has no function for.
#![allow(unsafe_code, reason = "ioctl")]

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::ioctl::{Getter, Ioctl, IoctlOutput, Opcode, Setter, ioctl};

use crate::{ImageFile, MountError};

/// Numbers of `include/uapi/linux/loop.h`.
const LOOP_CONFIGURE: Opcode = 0x4c0a;
const LOOP_GET_STATUS64: Opcode = 0x4c05;
const LOOP_CTL_GET_FREE: Opcode = 0x4c82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// What the devices of this crate are labelled with.
const LABEL: &[u8] = b"lithify";

/// Times another process may take the free device before us.
const ATTEMPTS: usize = 64;

/// `struct loop_info64`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopInfo>() == 232 && size_of::<LoopConfig>() == 304);

/// `LOOP_CTL_GET_FREE`: no argument, the result is the number of a free device.
struct GetFree;

// SAFETY: the call takes no argument and writes to no memory of ours (`loop_control_get_free` of the kernel), so the
// null pointer is what it expects and `output_from_ptr` need not look at it.
unsafe impl Ioctl for GetFree {
    type Output = u32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<u32> {
        u32::try_from(out).map_err(|_| Errno::INVAL)
    }
}

/// A loop device; gone when this and every mount of it are.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    pub(crate) path: String,
    /// Keeps the device until it is mounted.
    _device: File,
}

/// Makes a read-only loop device of an image.
pub(crate) fn attach(image: &ImageFile) -> Result<LoopDevice, MountError> {
    let failed = |operation| {
        move |source: io::Error| match source.kind() {
            io::ErrorKind::PermissionDenied => MountError::Permission,
            _ => MountError::LoopDevice { operation, source },
        }
    };
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")
        .map_err(failed("open /dev/loop-control"))?;
    for _ in 0..ATTEMPTS {
        // SAFETY: `control` is the loop driver's control device, whose call `GetFree` describes.
        let number = unsafe { ioctl(&control, GetFree) }
            .map_err(|e| failed("find a free loop device")(e.into()))?;
        let path = format!("/dev/loop{number}");
        let device = match File::open(&path) {
            Ok(device) => device,
            // Removed again (LOOP_CTL_REMOVE).
            Err(e) if Errno::from_io_error(&e) == Some(Errno::NXIO) => continue,
            Err(e) => return Err(failed("open the free loop device")(e)),
        };
        match configure(&device, image) {
            Ok(()) => {
                return Ok(LoopDevice {
                    path,
                    _device: device,
                });
            }
            // Someone else was faster.
            Err(Errno::BUSY) => {}
            Err(Errno::INVAL | Errno::NOTTY) => {
                let source = io::Error::new(io::ErrorKind::Unsupported, "needs Linux 5.8");
                return Err(failed("configure a loop device")(source));
            }
            Err(e) => return Err(failed("configure a loop device")(e.into())),
        }
    }
    Err(failed("find a free loop device")(Errno::BUSY.into()))
}

/// Whether a loop device is one of this crate. Not, if one may not look.
pub(crate) fn is_ours(device: &Path) -> bool {
    let Ok(device) = File::open(device) else {
        return false;
    };
    // SAFETY: LOOP_GET_STATUS64 writes one `struct loop_info64` (`loop_get_status64`: copy_to_user) and reads none.
    // `LoopInfo` has its layout: C representation, the size asserted above, no padding, any bytes are a value.
    let status = unsafe { Getter::<LOOP_GET_STATUS64, LoopInfo>::new() };
    // SAFETY: as above; `device` was opened by the name of a loop device, and the number is one of those reserved for
    // them.
    let info = unsafe { ioctl(&device, status) };
    info.is_ok_and(|info| info.file_name.starts_with(LABEL) && info.file_name[LABEL.len()] == 0)
}

fn configure(device: &File, image: &ImageFile) -> Result<(), Errno> {
    // A size limit of 0 is none.
    let (offset, size_limit) = image.part.unwrap_or((0, 0));
    let mut file_name = [0; 64];
    file_name[..LABEL.len()].copy_from_slice(LABEL);
    let config = LoopConfig {
        // Descriptors are never negative.
        fd: image.file.as_raw_fd() as u32,
        // The size of the file's sectors, or 512.
        block_size: 0,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset,
            size_limit,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
            file_name,
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads one `struct loop_config` (`lo_ioctl`: copy_from_user) and writes none. `LoopConfig`
    // has its layout: C representation, the sizes asserted above, no padding.
    let configure = unsafe { Setter::<LOOP_CONFIGURE, LoopConfig>::new(config) };
    // SAFETY: as above; `device` is a loop device, opened by its name. Were it anything else, the number is in the range
    // reserved for loop devices (`Documentation/userspace-api/ioctl/ioctl-number.rst`, 'L' 00-0F) and refused.
    unsafe { ioctl(device, configure) }
}
