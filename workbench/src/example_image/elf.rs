//! A program small enough to be written by hand: an x86-64 Linux executable without a linker, a loader or a library.
//!
//! Layout (System V ABI, "Object Files"):
//!
//! ```text
//!   0  ELF header            64 bytes
//!  64  one program header    56 bytes   the whole file, readable and executable
//! 120  code                             write(1, MESSAGE, len); exit(0)
//!      message
//! ```

/// What the program prints.
pub(super) const MESSAGE: &[u8] = b"hello from lithify\n";

const EHDR_SIZE: u16 = 64;
const PHDR_SIZE: u16 = 56;
const ENTRY_OFFSET: u64 = EHDR_SIZE as u64 + PHDR_SIZE as u64;

/// Where the file's first byte is mapped: the usual address of a static executable.
const BASE: u64 = 0x40_0000;
const PAGE: u64 = 4096;

const ET_EXEC: u16 = 2;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PF_R_X: u32 = 4 | 1;

const SYS_WRITE: u8 = 1;
const SYS_EXIT: u8 = 60;

/// The executable.
pub(super) fn hello() -> Vec<u8> {
    let code = code();
    let size = ENTRY_OFFSET + (code.len() + MESSAGE.len()) as u64;

    let mut file = Vec::new();
    file.extend_from_slice(b"\x7fELF");
    // 64-bit, little-endian, version 1, System V, padding
    file.extend_from_slice(&[2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend_from_slice(&ET_EXEC.to_le_bytes());
    file.extend_from_slice(&EM_X86_64.to_le_bytes());
    file.extend_from_slice(&1u32.to_le_bytes()); // version
    file.extend_from_slice(&(BASE + ENTRY_OFFSET).to_le_bytes());
    file.extend_from_slice(&u64::from(EHDR_SIZE).to_le_bytes()); // program headers follow
    file.extend_from_slice(&0u64.to_le_bytes()); // no section headers
    file.extend_from_slice(&0u32.to_le_bytes()); // flags
    for field in [EHDR_SIZE, PHDR_SIZE, 1, 0, 0, 0] {
        file.extend_from_slice(&field.to_le_bytes());
    }

    file.extend_from_slice(&PT_LOAD.to_le_bytes());
    file.extend_from_slice(&PF_R_X.to_le_bytes());
    for field in [0, BASE, BASE, size, size, PAGE] {
        file.extend_from_slice(&u64::to_le_bytes(field));
    }

    file.extend_from_slice(&code);
    file.extend_from_slice(MESSAGE);
    file
}

fn code() -> Vec<u8> {
    let [length, ..] = (MESSAGE.len() as u32).to_le_bytes();
    let exit: [u8; 9] = [
        0xb8, SYS_EXIT, 0, 0, 0, // mov eax, exit
        0x31, 0xff, // xor edi, edi
        0x0f, 0x05, // syscall
    ];
    // From the end of `lea` to the message: the rest of `write`, and `exit`.
    let distance = 5 + 2 + exit.len() as u8;
    let write = [
        0xb8, SYS_WRITE, 0, 0, 0, // mov eax, write
        0xbf, 1, 0, 0, 0, // mov edi, 1
        0x48, 0x8d, 0x35, distance, 0, 0, 0, // lea rsi, [rip + distance]
        0xba, length, 0, 0, 0, // mov edx, length
        0x0f, 0x05, // syscall
    ];
    [&write[..], &exit].concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn the_kernel_runs_it() {
        let dir = lithify_testkit::temp_dir();
        let path = dir.path().join("hello");
        std::fs::write(&path, hello()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = std::process::Command::new(&path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, MESSAGE);
        assert!(hello().len() < 1024);
    }
}
