//! Random trees, as dumpfiles in the order of their names: what images are made of, and what is hard about them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

pub(crate) use lithify_testkit::Random;

type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone)]
struct Node {
    mode: u32,
    owner: (u32, u32),
    mtime: String,
    device: u32,
    size: u64,
    payload: Option<Vec<u8>>,
    content: Option<Vec<u8>>,
    digest: Option<String>,
    attributes: Attributes,
    /// The file it is another name of.
    link: Option<Vec<u8>>,
}

pub(crate) fn escaped(bytes: &[u8], in_attribute: bool) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\\' => text += "\\\\",
            b'=' if in_attribute => text += "\\x3d",
            b'!'..=b'~' => text.push(byte.into()),
            _ => write!(text, "\\x{byte:02x}").unwrap(),
        }
    }
    match &*text {
        "-" if !in_attribute => "\\x2d".to_owned(),
        _ => text,
    }
}

struct Maker {
    random: Random,
    sets: Vec<Attributes>,
    digests: Vec<String>,
}

impl Maker {
    fn attributes(&mut self) -> Attributes {
        let r = &mut self.random;
        if !self.sets.is_empty() && r.chance(60) {
            return r.pick(&self.sets);
        }
        let names: [&[u8]; 12] = [
            b"user.a",
            b"user.b=c",
            b"security.selinux",
            b"trusted.x",
            b"trusted.overlay.opaque",
            b"user.overlay.opaque",
            b"user.overlay.whiteout",
            b"system.posix_acl_access",
            b"system.posix_acl_default",
            b"other.thing",
            b"lustre.x",
            b"security.capability",
        ];
        let many = r.chance(3);
        let count = if many {
            r.pick(&[60, 150, 200])
        } else {
            r.pick(&[0, 0, 1, 1, 2, 3, 5])
        };
        let mut set = Attributes::new();
        for _ in 0..count {
            let name = match many {
                true => format!("user.k{}", r.below(200)).into_bytes(),
                false => r.pick(&names).to_vec(),
            };
            let longest = r.below(600);
            let length = r.pick(&[0, 1, 4, 20, 100, longest]);
            set.insert(name, r.bytes(length as usize));
        }
        self.sets.push(set.clone());
        set
    }

    fn name(&mut self) -> Vec<u8> {
        let r = &mut self.random;
        match r.below(20) {
            0 => format!("{:02x}", r.below(256)).into_bytes(),
            1 => (0..1 + r.below(3)).map(|_| r.pick(b"!+-.ab")).collect(),
            2 => {
                let length = r.pick(&[255, 200, 3]);
                let bytes = r.bytes(length as usize);
                bytes
                    .into_iter()
                    .map(|b| if matches!(b, 0 | b'/') { b'x' } else { b })
                    .collect()
            }
            _ => format!("n{}", r.below(1_000_000)).into_bytes(),
        }
    }

    fn node(&mut self) -> Node {
        let attributes = self.attributes();
        let r = &mut self.random;
        let owner = (
            r.pick(&[0, 0, 1000, 70_000, u32::MAX]),
            r.pick(&[0, 0, 5, 65_536]),
        );
        let mtime = match r.below(5) {
            0 | 1 => "0.0".to_owned(),
            2 => "5.0".to_owned(),
            3 => "1700000000.123456789".to_owned(),
            _ => format!("{}.{}", r.below(1 << 33), r.below(1_000_000_000)),
        };
        let mut node = Node {
            mode: r.pick(&[0o644, 0o755, 0o4755, 0o1777, 0]),
            owner,
            mtime,
            device: 0,
            size: 0,
            payload: None,
            content: None,
            digest: None,
            attributes,
            link: None,
        };
        match r.below(20) {
            0..4 => node.mode |= 0o040_000,
            4..7 => {
                let length = r.pick(&[1, 5, 50, 300, 2000, 4000, 4095]);
                let target = (0..length).map(|_| r.pick(b"abc/ -\\\xff")).collect();
                node.mode = 0o120_777;
                node.size = length;
                node.payload = Some(target);
            }
            7 => {
                node.mode |= r.pick(&[0o020_000, 0o020_000, 0o060_000]);
                node.device = r.pick(&[0, 0, 259, 0xffff_f0ff, 1]);
            }
            8 => node.mode |= r.pick(&[0o010_000, 0o140_000]),
            9..12 => node.mode |= 0o100_000,
            12..15 => {
                node.mode |= 0o100_000;
                node.size = r.pick(&[1, 5, 64, 65, 100, 2048, 2049, 4096, 4097, 5000]);
                node.content = Some(r.bytes(node.size as usize));
            }
            _ => {
                node.mode |= 0o100_000;
                let any = 1 + r.below(1 << 44);
                let sizes = [65, 4096, 4097, 1_000_000, (1 << 32) - 1, 1 << 32, 1 << 40];
                let more = [1 << 43, (1 << 43) + 1, 1 << 45, any];
                node.size = r.pick(&[&sizes[..], &more[..]].concat());
                if self.digests.len() < 40 || r.chance(50) {
                    let digest = (0..4).map(|_| format!("{:016x}", r.next()));
                    self.digests.push(digest.collect());
                }
                let digest = r.pick(&self.digests);
                node.payload = Some(format!("{}/{}", &digest[..2], &digest[2..]).into_bytes());
                node.digest = Some(digest).filter(|_| !r.chance(3));
            }
        }
        node
    }
}

/// Returns the dumpfile of a random tree.
pub(crate) fn dump(seed: u64) -> String {
    let mut maker = Maker {
        random: Random::new(seed),
        sets: Vec::new(),
        digests: Vec::new(),
    };
    let mut nodes: BTreeMap<Vec<Vec<u8>>, Node> = BTreeMap::new();
    let mut directories: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
    let mut files: Vec<Vec<Vec<u8>>> = Vec::new();
    let is_large = maker.random.chance(10);
    let count = if is_large {
        1200
    } else {
        maker.random.pick(&[0, 1, 5, 30, 100, 200])
    };
    for _ in 0..count {
        let last = directories.len().min(5) as u64;
        let parent = match maker.random.chance(30) {
            true => directories.len() - 1 - maker.random.below(last) as usize,
            false if is_large => maker.random.below(last.min(3)) as usize,
            false => maker.random.below(directories.len() as u64) as usize,
        };
        let mut path = directories[parent].clone();
        path.push(maker.name());
        let taken = nodes.contains_key(&path) || matches!(&path.last().unwrap()[..], b"." | b"..");
        if taken || path.iter().map(Vec::len).sum::<usize>() > 1000 {
            continue;
        }
        let mut node = maker.node();
        if !files.is_empty() && maker.random.chance(8) && node.mode & 0o170_000 == 0o100_000 {
            node.link = Some(maker.random.pick(&files).join(&b'/'));
        } else {
            match node.mode & 0o170_000 {
                0o040_000 => directories.push(path.clone()),
                0o100_000 => files.push(path.clone()),
                _ => {}
            }
        }
        nodes.insert(path, node);
    }
    let mut root = maker.node();
    root.mode = 0o040_755;
    (root.payload, root.content, root.digest, root.size) = (None, None, None, 0);
    text(&root, &nodes)
}

/// Writes all nodes in their order. A file stands where the first of its names is.
fn text(root: &Node, nodes: &BTreeMap<Vec<Vec<u8>>, Node>) -> String {
    let by_path: BTreeMap<Vec<u8>, &Node> = nodes
        .iter()
        .map(|(path, node)| (path.join(&b'/'), node))
        .collect();
    let mut counts: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for node in nodes.values() {
        if let Some(link) = &node.link {
            *counts.entry(link.clone()).or_insert(1) += 1;
        }
    }
    let mut first: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut text = line(b"", root, 1);
    for (path, node) in nodes {
        let path = path.join(&b'/');
        let home = node.link.clone().unwrap_or_else(|| path.clone());
        if let Some(earlier) = first.get(&home) {
            let (path, earlier) = (escaped(&path, false), escaped(earlier, false));
            writeln!(text, "/{path} 0 @100644 1 0 0 0 0.0 /{earlier} - -").unwrap();
            continue;
        }
        first.insert(home.clone(), path.clone());
        text += &line(
            &path,
            by_path[&home],
            counts.get(&home).copied().unwrap_or(1),
        );
    }
    text
}

fn line(path: &[u8], node: &Node, links: u32) -> String {
    let field = |bytes: &Option<Vec<u8>>| match bytes {
        Some(bytes) => escaped(bytes, false),
        None => "-".to_owned(),
    };
    let mut line = format!(
        "/{} {} {:o} {links} {} {} {} {} {} {} {}",
        escaped(path, false),
        node.size,
        node.mode,
        node.owner.0,
        node.owner.1,
        node.device,
        node.mtime,
        field(&node.payload),
        field(&node.content),
        node.digest.as_deref().unwrap_or("-"),
    );
    for (name, value) in &node.attributes {
        write!(line, " {}={}", escaped(name, true), escaped(value, true)).unwrap();
    }
    line + "\n"
}
