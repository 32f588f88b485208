//! Time and memory of layer application, typical and hostile: `cargo run --release -p lithify-tree --example merge_bench`.
//!
//! Each case runs in a process of its own: processor time comes from `/proc/self/schedstat`, peak memory from `VmHWM`.
//! Entries are pushed one by one, as a decoder would; "decoded" is when all layers are in memory, "merged" after the
//! last was applied, "finished" when the tree is there.

use std::error::Error;
use std::fmt::Write as _;

use lithify_tree::{ContentId, Entry, EntryKind, LayerEntries, Merge, Metadata, TreePath};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;
type Layers = Vec<LayerEntries>;

struct Case {
    name: &'static str,
    what: &'static str,
    make: fn() -> Result<Layers>,
}

const CASES: &[Case] = &[
    Case {
        name: "typical",
        what: "1 000 000 entries, paths of 60 bytes on average, 10 names in a directory",
        make: || Ok(vec![typical(1_000_000)?]),
    },
    Case {
        name: "base-and-small",
        what: "100 000 entries; then 4 000 whiteouts and 4 000 new directories",
        make: || {
            let mut upper = LayerEntries::new();
            for n in 0..4_000 {
                whiteout(&mut upper, &typical_path(n * 20 + 3))?;
                directory(&mut upper, &format!("new/{}/d{n}", n % 64))?;
            }
            Ok(vec![typical(100_000)?, upper])
        },
    },
    Case {
        name: "one-directory",
        what: "1 000 000 files in one directory, unsorted",
        make: || {
            let mut layer = LayerEntries::new();
            for n in 0..1_000_000u64 {
                file(
                    &mut layer,
                    &format!("d/{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                )?;
            }
            Ok(vec![layer])
        },
    },
    Case {
        name: "whiteouts",
        what: "1 000 000 entries; then a whiteout of each",
        make: || {
            let mut upper = LayerEntries::new();
            for n in 0..1_000_000 {
                whiteout(&mut upper, &typical_path(n))?;
            }
            Ok(vec![typical(1_000_000)?, upper])
        },
    },
    Case {
        name: "opaque",
        what: "1 000 directories of 500 files, twenty times over: each layer makes all opaque and fills them again",
        make: || {
            let layer = |_| {
                let mut layer = LayerEntries::new();
                for d in 0..1_000 {
                    for n in 0..25 {
                        file(&mut layer, &format!("d{d}/{n}"))?;
                    }
                }
                for d in 0..1_000 {
                    opaque(&mut layer, &format!("d{d}"))?;
                }
                Ok(layer)
            };
            (0..20).map(layer).collect()
        },
    },
    Case {
        name: "opaque-again",
        what: "500 000 files in one directory; then 500 000 opaque markers for it and its parent",
        make: || {
            let mut base = LayerEntries::new();
            for n in 0..500_000 {
                file(&mut base, &format!("p/d/{n}"))?;
            }
            let mut upper = LayerEntries::new();
            for _ in 0..250_000 {
                opaque(&mut upper, "p/d")?;
                opaque(&mut upper, "p")?;
            }
            Ok(vec![base, upper])
        },
    },
    Case {
        name: "layers",
        what: "127 layers of 10 000 entries, each replacing all of the last, types changing",
        make: || {
            let layer = |l| {
                let mut layer = LayerEntries::new();
                for n in 0..10_000 {
                    let path = format!("d{}/n{n}", n % 100);
                    match (l + n) % 3 {
                        0 => file(&mut layer, &path)?,
                        1 => directory(&mut layer, &path)?,
                        _ => symlink(&mut layer, &path, "target")?,
                    }
                }
                Ok(layer)
            };
            (0..127).map(layer).collect()
        },
    },
    Case {
        name: "symlink-chains",
        what: "200 000 files, each behind 40 links with targets of 4 096 bytes in all, two ways in turn",
        make: || {
            let mut layer = LayerEntries::new();
            let slow = "./".repeat(48);
            for way in ["a", "b"] {
                directory(&mut layer, way)?;
                symlink(&mut layer, &format!("{way}0"), &format!("{slow}{way}"))?;
                for n in 1..40 {
                    symlink(
                        &mut layer,
                        &format!("{way}{n}"),
                        &format!("{slow}{way}{}", n - 1),
                    )?;
                }
            }
            for n in 0..100_000 {
                file(&mut layer, &format!("a39/{n}"))?;
                file(&mut layer, &format!("b39/{n}"))?;
            }
            Ok(vec![layer])
        },
    },
    Case {
        name: "symlink-ladder",
        what: "20 000 files behind a link down 2 000 directories, two ways in turn",
        make: || {
            let mut layer = LayerEntries::new();
            for way in ["a", "b"] {
                let deep = vec![way; 2_000].join("/");
                directory(&mut layer, &deep)?;
                symlink(&mut layer, &format!("l{way}"), &deep)?;
            }
            for n in 0..10_000 {
                file(&mut layer, &format!("la/{n}"))?;
                file(&mut layer, &format!("lb/{n}"))?;
            }
            Ok(vec![layer])
        },
    },
    Case {
        name: "deep",
        what: "20 000 files at the end of paths of 2 048 components, two ways in turn: 80 MB of names",
        make: || {
            let mut layer = LayerEntries::new();
            let (a, b) = (vec!["a"; 2_040].join("/"), vec!["b"; 2_040].join("/"));
            for n in 0..10_000 {
                file(&mut layer, &format!("{a}/{n}"))?;
                file(&mut layer, &format!("{b}/{n}"))?;
            }
            Ok(vec![layer])
        },
    },
    Case {
        name: "implicit",
        what: "4 000 files, each in 2 000 directories of its own that nothing describes",
        make: || {
            let mut layer = LayerEntries::new();
            let tail = vec!["x"; 2_000].join("/");
            for n in 0..4_000 {
                file(&mut layer, &format!("{n}/{tail}"))?;
            }
            Ok(vec![layer])
        },
    },
    Case {
        name: "forward-links",
        what: "a chain of 1 000 000 hard links, each to the next, the file last",
        make: || {
            let mut layer = LayerEntries::new();
            for n in 0..1_000_000 {
                let target = TreePath::clean(format!("l{}", n + 1).as_bytes())?;
                push(&mut layer, &format!("l{n}"), EntryKind::HardLink { target })?;
            }
            file(&mut layer, "l1000000")?;
            Ok(vec![layer])
        },
    },
    Case {
        name: "replace-parent",
        what: "500 000 times a directory with a file in it, then a file in its place",
        make: || {
            let mut layer = LayerEntries::new();
            for _ in 0..500_000 {
                file(&mut layer, "d/x")?;
                file(&mut layer, "d")?;
                directory(&mut layer, "d")?;
            }
            Ok(vec![layer])
        },
    },
];

fn push(layer: &mut LayerEntries, path: &str, kind: EntryKind) -> Result {
    let content = matches!(kind, EntryKind::File { .. }).then_some(ContentId(7));
    let entry = Entry {
        path: TreePath::clean(path.as_bytes())?,
        metadata: Metadata::default(),
        kind,
    };
    Ok(layer.push(&entry, content)?)
}

fn file(layer: &mut LayerEntries, path: &str) -> Result {
    let kind = EntryKind::File {
        size: 1,
        segments: None,
    };
    push(layer, path, kind)
}

fn directory(layer: &mut LayerEntries, path: &str) -> Result {
    push(layer, path, EntryKind::Directory)
}

fn symlink(layer: &mut LayerEntries, path: &str, target: &str) -> Result {
    let target = target.as_bytes().to_vec();
    push(layer, path, EntryKind::Symlink { target })
}

fn whiteout(layer: &mut LayerEntries, path: &str) -> Result {
    push(layer, path, EntryKind::Whiteout)
}

fn opaque(layer: &mut LayerEntries, path: &str) -> Result {
    push(layer, path, EntryKind::Opaque)
}

/// About 60 bytes, like `usr/share/locale-0421/component-37/some_module_name_003.py`.
fn typical_path(n: u64) -> String {
    let (module, component, package) = (n % 10, n / 10 % 40, n / 400);
    format!(
        "usr/share/package-{package:05}/component-{component:02}/some_module_name_{module:03}.py"
    )
}

fn typical(entries: u64) -> Result<LayerEntries> {
    let mut layer = LayerEntries::new();
    let mut n = 0;
    while (layer.len() as u64) < entries {
        let path = typical_path(n);
        if n.is_multiple_of(10) {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            directory(&mut layer, parent)?;
        }
        file(&mut layer, &path)?;
        n += 1;
    }
    Ok(layer)
}

/// Processor time of this process in milliseconds.
fn processor_time() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds: f64 = stat
        .split_whitespace()
        .next()
        .ok_or("no schedstat")?
        .parse()?;
    Ok(nanoseconds / 1e6)
}

/// A field of `/proc/self/status`, in bytes.
fn status(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|l| l.starts_with(field))
        .ok_or("no such field")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).ok_or("no value")?.parse()?;
    Ok(kibibytes * 1024)
}

fn run(case: &Case) -> Result {
    let before = status("VmRSS")?;
    let layers = (case.make)()?;
    let entries: usize = layers.iter().map(LayerEntries::len).sum();
    let decoded = status("VmRSS")?.saturating_sub(before);
    let start = processor_time()?;
    let mut merge = Merge::new();
    let mut error = None;
    for layer in layers {
        if let Err(e) = merge.apply(layer) {
            error = Some(e);
            break;
        }
    }
    let merged = processor_time()?;
    let tree = merge.finish();
    let finished = processor_time()?;
    let peak = status("VmHWM")?.saturating_sub(before);
    let left = status("VmRSS")?.saturating_sub(before);
    let mut line = String::new();
    write!(
        line,
        "{:<15} {entries:>9} entries {:>9} names | merge {:>7.1} ms, finish {:>6.1} ms | bytes/entry: decoded {:>4}, peak {:>5}, tree {:>4}",
        case.name,
        tree.len(),
        merged - start,
        finished - merged,
        decoded / entries as u64,
        peak / entries as u64,
        left / entries as u64,
    )?;
    println!("{line}");
    if let Some(error) = error {
        println!(
            "{:<15} {}",
            "",
            error.to_string().chars().take(120).collect::<String>()
        );
    }
    Ok(())
}

fn main() -> Result {
    let name = std::env::args().nth(1);
    if let Some(name) = name {
        let case = CASES
            .iter()
            .find(|c| c.name == name)
            .ok_or("no such case")?;
        return run(case);
    }
    for case in CASES {
        println!("{}", case.what);
        let status = std::process::Command::new(std::env::current_exe()?)
            .arg(case.name)
            .status()?;
        if !status.success() {
            return Err(format!("{} failed: {status}", case.name).into());
        }
    }
    Ok(())
}
