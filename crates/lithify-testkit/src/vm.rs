//! A virtual machine: Debian's kernel, a small initramfs, and the disks of a test.
//!
//! The machine is QEMU's, without hardware help, so it runs wherever QEMU does; a boot takes a few seconds. Its kernel is
//! the fixture `kernel`; busybox is the host's. The script of a [`BootSpec`] runs as the first process, in a busybox shell with the
//! disks at `/dev/vda`, `/dev/vdb` …, and what it prints is what a test looks at:
//!
//! ```no_run
//! use lithify_testkit::{require, vm};
//!
//! if !require::vm() {
//!     return;
//! }
//! let output = vm::BootSpec::new("mount -t erofs -o ro /dev/vda /mnt && cat /mnt/etc/motd")
//!     .disk("image.vmdk", "vmdk")
//!     .module("erofs")
//!     .boot();
//! assert!(output.has_line("hello"), "{output}");
//! ```

use std::collections::HashSet;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::cpio::Cpio;
use crate::{require, run};

/// Modules every guest loads: the bus the disks are on, and the disks.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];

/// The last line a guest prints: with it, the script's exit status. An initramfs of a test's own says it itself.
pub const END: &str = "lithify-guest-ends-with";

/// Many times what a boot takes on an idle machine; only a guest that hangs gets here.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A virtual machine to be booted.
#[derive(Clone, Debug)]
pub struct BootSpec {
    script: String,
    disks: Vec<Disk>,
    modules: Vec<String>,
    initramfs: Cpio,
    own_initramfs: Option<PathBuf>,
    parameters: String,
}

#[derive(Clone, Debug)]
struct Disk {
    file: PathBuf,
    format: String,
    is_writable: bool,
}

/// What a virtual machine did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Everything on the serial console: firmware, kernel, script. Lines end with a newline.
    pub console: String,
    /// Exit status of the script; none if the guest did not get to its end.
    pub status: Option<i32>,
}

impl BootSpec {
    /// A machine whose first process runs this script, with `/proc`, `/sys` and `/dev` mounted and an empty `/mnt`.
    #[must_use]
    pub fn new(script: &str) -> Self {
        Self {
            script: script.into(),
            disks: Vec::new(),
            modules: Vec::new(),
            initramfs: Cpio::new(),
            own_initramfs: None,
            parameters: String::new(),
        }
    }

    /// A machine with an initramfs that a test made: its `/init` is the first process, and nothing else is in it.
    #[must_use]
    pub fn of_initramfs(file: impl AsRef<Path>) -> Self {
        Self {
            own_initramfs: Some(file.as_ref().into()),
            ..Self::new("")
        }
    }

    /// Adds parameters of the kernel, which `/proc/cmdline` shows.
    #[must_use]
    pub fn parameters(mut self, parameters: &str) -> Self {
        self.parameters = format!("{} {parameters}", self.parameters);
        self
    }

    /// Adds a disk, read-only, in a format QEMU knows (`raw`, `vmdk` …).
    #[must_use]
    pub fn disk(mut self, file: impl AsRef<Path>, format: &str) -> Self {
        self.disks.push(Disk {
            file: file.as_ref().into(),
            format: format.into(),
            is_writable: false,
        });
        self
    }

    /// Adds a raw disk that the guest may write to.
    #[must_use]
    pub fn writable_disk(mut self, file: impl AsRef<Path>) -> Self {
        self.disks.push(Disk {
            file: file.as_ref().into(),
            format: "raw".into(),
            is_writable: true,
        });
        self
    }

    /// Has a kernel module loaded before the script runs, and those it depends on.
    #[must_use]
    pub fn module(mut self, name: &str) -> Self {
        self.modules.push(name.into());
        self
    }

    /// Adds a file to the initramfs.
    #[must_use]
    pub fn file(mut self, path: &str, mode: u32, data: &[u8]) -> Self {
        self.initramfs.file(path, mode, data);
        self
    }

    /// Adds a program of the host to the initramfs, with its libraries, at the same paths.
    ///
    /// # Panics
    /// When it or a library cannot be found.
    #[must_use]
    pub fn program(mut self, name: &str) -> Self {
        for (path, data) in program(name) {
            self.initramfs.file(&path, 0o755, &data);
        }
        self
    }

    /// Boots it and waits until it is off.
    ///
    /// # Panics
    /// When [`require::vm`] does not hold, QEMU fails, or the guest hangs; the message holds what the console showed.
    #[must_use]
    pub fn boot(&self) -> Output {
        let kernel = require::fixture("kernel").expect("require::vm() was asked first");
        let tmp = crate::temp_dir();
        let initramfs = match &self.own_initramfs {
            Some(file) => file.clone(),
            None => {
                let initramfs = tmp.path().join("initramfs");
                std::fs::write(&initramfs, self.initramfs(&kernel.join("modules")))
                    .expect("the initramfs can be written");
                initramfs
            }
        };

        let mut qemu = run::command("qemu-system-x86_64");
        qemu.args(["-machine", "pc,accel=tcg", "-m", "512", "-no-reboot"]);
        // No display, no network, nothing to wait for; the serial port is our standard output.
        qemu.args(["-nodefaults", "-display", "none", "-serial", "stdio"]);
        qemu.arg("-kernel").arg(kernel.join("vmlinuz"));
        qemu.arg("-initrd").arg(&initramfs);
        qemu.arg("-append").arg(format!(
            "console=ttyS0 panic=-1 loglevel=4{}",
            self.parameters
        ));
        for disk in &self.disks {
            // A comma in a file name is doubled.
            let file = disk.file.to_str().expect("a UTF-8 path").replace(',', ",,");
            let access = match disk.is_writable {
                true => "readonly=off",
                false => "readonly=on",
            };
            let drive = format!("file={file},format={},if=virtio,{access}", disk.format);
            qemu.args(["-drive", &drive]);
        }
        qemu.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = qemu.stderr(Stdio::inherit()).spawn();
        Output::parse(&console(child.expect("QEMU starts")))
    }

    fn initramfs(&self, modules: &Path) -> Vec<u8> {
        let mut archive = self.initramfs.clone();
        for directory in ["proc", "sys", "dev", "mnt", "tmp"] {
            archive.directory(directory);
        }
        archive.file("bin/busybox", 0o755, &busybox());
        archive.symlink("bin/sh", "busybox");
        let mut insert = String::new();
        let wanted = MODULES
            .into_iter()
            .chain(self.modules.iter().map(String::as_str));
        for (name, data) in Modules::of(modules).in_order(wanted) {
            archive.file(&format!("modules/{name}"), 0o644, &data);
            insert.push_str(&format!("insmod /modules/{name}\n"));
        }
        archive.file("init", 0o755, self.init(&insert).as_bytes());
        archive.finish()
    }

    fn init(&self, insert: &str) -> String {
        let script = &self.script;
        format!(
            "#!/bin/sh
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
{insert}(
{script}
)
status=$?
echo
echo {END} $status
poweroff -f
"
        )
    }
}

impl Output {
    fn parse(console: &[u8]) -> Self {
        let console = String::from_utf8_lossy(console).replace('\r', "");
        let status = console
            .lines()
            .filter_map(|line| line.strip_prefix(END))
            .find_map(|status| status.trim().parse().ok());
        Self { console, status }
    }

    /// Whether the console shows this line.
    #[must_use]
    pub fn has_line(&self, line: &str) -> bool {
        self.console.lines().any(|found| found == line)
    }
}

impl fmt::Display for Output {
    /// The status and the console.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => writeln!(f, "the guest's script ended with {status}; its console:")?,
            None => writeln!(f, "the guest did not get to its end; its console:")?,
        }
        f.write_str(&self.console)
    }
}

/// What a machine prints until it is off.
fn console(mut child: Child) -> Vec<u8> {
    let mut output = child.stdout.take().expect("standard output is a pipe");
    let (send, receive) = mpsc::channel();
    // Pieces, so that a guest that hangs leaves what it has printed.
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = output.read(&mut buffer) {
            if send.send(buffer[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    let start = std::time::Instant::now();
    let mut console = Vec::new();
    loop {
        let left = TIMEOUT.saturating_sub(start.elapsed());
        match receive.recv_timeout(left) {
            Ok(piece) => console.extend_from_slice(&piece),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill().expect("QEMU can be stopped");
                child.wait().expect("QEMU can be waited for");
                panic!("the guest hangs. {}", Output::parse(&console));
            }
        }
    }
    reader.join().expect("the reader does not panic");
    let status = child.wait().expect("QEMU can be waited for");
    assert!(
        status.success(),
        "QEMU failed: {status}. {}",
        Output::parse(&console)
    );
    console
}

/// The modules of the fixture's kernel that a guest with disks needs, each after what it depends on: file names and contents.
///
/// # Panics
/// When [`require::vm`] does not hold.
#[must_use]
pub fn disk_modules() -> Vec<(String, Vec<u8>)> {
    let kernel = require::fixture("kernel").expect("require::vm() was asked first");
    Modules::of(&kernel.join("modules")).in_order(MODULES.into_iter())
}

/// The host's static busybox.
///
/// # Panics
/// When [`require::vm`] does not hold.
#[must_use]
pub fn busybox() -> Vec<u8> {
    let busybox = require::find_tool("busybox").expect("require::vm() was asked first");
    std::fs::read(busybox).expect("busybox can be read")
}

/// A program of the host and its libraries: paths and contents.
///
/// # Panics
/// When the program or a library cannot be found.
#[must_use]
pub fn program(name: &str) -> Vec<(String, Vec<u8>)> {
    let program = require::find_tool(name).expect("the program is installed");
    let list = run::text(run::command("ldd").arg(&program));
    // `NAME => PATH (ADDRESS)`, or the loader's `PATH (ADDRESS)`.
    let libraries = list
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from);
    let files = libraries.chain([program]).map(|file| {
        let data = std::fs::read(&file).expect("the file can be read");
        let path = file.to_str().expect("a system path is UTF-8");
        (path.trim_start_matches('/').to_owned(), data)
    });
    files.collect()
}

/// The modules of a kernel.
struct Modules {
    /// Files by the name of the module, which has `_` where the file may have `-`.
    files: Vec<(String, PathBuf)>,
}

impl Modules {
    fn of(dir: &Path) -> Self {
        let mut files = Vec::new();
        let mut dirs = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir).expect("the fixture can be listed") {
                let path = entry.expect("the fixture can be listed").path();
                let name = path.file_name().map(|name| name.to_string_lossy());
                if path.is_dir() {
                    dirs.push(path);
                } else if let Some(name) = name.as_deref().and_then(|n| n.strip_suffix(".ko")) {
                    files.push((name.replace('-', "_"), path));
                }
            }
        }
        Self { files }
    }

    /// The modules and what they depend on, each after what it depends on. Names of modules the kernel does not have as
    /// files are built in, or missed by the script.
    fn in_order<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<(String, Vec<u8>)> {
        let (mut ordered, mut seen) = (Vec::new(), HashSet::new());
        for name in names {
            self.add(&name.replace('-', "_"), &mut ordered, &mut seen);
        }
        ordered
    }

    fn add(&self, name: &str, ordered: &mut Vec<(String, Vec<u8>)>, seen: &mut HashSet<String>) {
        let file = self.files.iter().find(|(found, _)| found == name);
        let Some((_, path)) = file else { return };
        if !seen.insert(name.into()) {
            return;
        }
        let data = std::fs::read(path).expect("the fixture can be read");
        for name in depends(&data) {
            self.add(&name.replace('-', "_"), ordered, seen);
        }
        ordered.push((name.into(), data));
    }
}

/// What a module's own description (its section `.modinfo`, strings ended by zero bytes) says it depends on.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|bytes| bytes == KEY) else {
        return Vec::new();
    };
    let list = module[at + KEY.len()..].split(|&byte| byte == 0).next();
    String::from_utf8_lossy(list.unwrap_or_default())
        .split(',')
        .filter(|name| !name.is_empty())
        .map(Into::into)
        .collect()
}
