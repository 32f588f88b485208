//! One spelling per platform, and this machine's name for itself.

/// `GOOS` values; `go/build/syslist.go`.
const OSES: [&str; 17] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
];

/// `GOARCH` values an image can have; `go/build/syslist.go`.
const ARCHITECTURES: [&str; 19] = [
    "386", "amd64", "arm", "arm64", "armbe", "arm64be", "loong64", "mips", "mips64", "mips64le",
    "mipsle", "ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390x", "sparc64", "wasm",
];

pub(super) fn is_known_os(name: &str) -> bool {
    OSES.contains(&os(name).as_str())
}

pub(super) fn is_known_architecture(name: &str) -> bool {
    ARCHITECTURES.contains(&name)
}

pub(super) fn os(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name == "macos" {
        "darwin".to_owned()
    } else {
        name
    }
}

/// The architecture and variant in their one spelling: `arm64` always says its version, `arm` too
/// (without one it means `v7`, as in containerd), `amd64` none for the baseline.
pub(super) fn architecture(name: &str, variant: &str) -> (String, Option<String>) {
    let name = name.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let (name, variant) = match (name.as_str(), variant.as_str()) {
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1" | "1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", v) => ("amd64", v),
        ("aarch64" | "arm64", "" | "8" | "8.0" | "v8" | "v8.0") => ("arm64", "v8"),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", v) => ("arm64", v),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        ("loongarch64", v) => ("loong64", v),
        ("powerpc64le", v) => ("ppc64le", v),
        (name, v) => (name, v),
    };
    (
        name.to_owned(),
        (!variant.is_empty()).then(|| variant.to_owned()),
    )
}

/// `GOARCH` of this machine.
pub(super) const fn host_architecture() -> &'static str {
    let little = cfg!(target_endian = "little");
    match std::env::consts::ARCH.as_bytes() {
        b"x86_64" => "amd64",
        b"x86" => "386",
        b"aarch64" => "arm64",
        b"powerpc64" if little => "ppc64le",
        b"powerpc64" => "ppc64",
        b"powerpc" => "ppc",
        b"loongarch64" => "loong64",
        b"mips" if little => "mipsle",
        b"mips64" if little => "mips64le",
        // arm, mips, mips64, riscv64, s390x, sparc64 have the same name in both languages.
        _ => std::env::consts::ARCH,
    }
}
