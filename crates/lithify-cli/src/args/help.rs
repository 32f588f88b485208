//! Texts of the help and the manual pages.

use lithify::{TRANSPORTS, Transport};

/// Returns the spellings of images' names, from the table of transports.
pub(crate) fn image_help() -> String {
    let rows = TRANSPORTS.iter().map(|t| (t, t.source, t.read));
    format!(
        "IMAGE is one of:\n{}\
         A path is never taken for a NAME: what exists, begins with . or / or ends like a file (x.tar, x.erofs) needs a transport.\n\
         Where an ARTIFACT is accepted too, it is the path of an EROFS, squashfs or ext4 image, of a disk (disk.vmdk, disk.raw,\n\
         disk.gpt, a partitioned one), or of the directory of a layered build.",
        table(rows)
    )
}

/// Returns the spellings of the places images are copied to, from the table of transports.
pub(crate) fn places_help() -> String {
    let rows = TRANSPORTS.iter().filter_map(|t| {
        let (names, written) = t.destination?;
        Some((t, names, written))
    });
    format!(
        "DEST is one of:\n{}\
         A bare name is not taken for any of them. Give archives the full name (docker.io/library/app:1), which other tools keep.",
        table(rows)
    )
}

/// Returns a line for each place: its name, and what is there.
fn table<'a>(rows: impl Iterator<Item = (&'a Transport, &'a str, &'a str)>) -> String {
    let lines = rows.map(|(transport, names, what)| {
        let name = format!("{}{names}", transport.prefix);
        format!("  {name:<29}  {what}\n")
    });
    lines.collect()
}

/// Paths in images.
pub(crate) const PATH_HELP: &str = "\
PATH is spelled as `ls` prints it: \\n, \\t, \\r, \\\\, \\xNN for a byte and \\u{N} for a character, so that any name can be
given; a path without backslashes is itself. Bytes may also be given as they are.";

/// Returns the help of `--limit`, with all limits there are.
pub(crate) fn limit_help() -> String {
    let mut help = "\
Raise or lower a limit on what an image may contain (repeatable); sizes take the suffixes K, M, G and T.
An image over a limit is refused with an error that names it:"
        .to_owned();
    for (name, counted) in lithify::Limits::named() {
        help.push_str(&format!("\n  {name:<20}  {counted}"));
    }
    help
}

/// What holds for every command.
pub(crate) const COMMON_HELP: &str = "\
Examples:
  lithify build docker://debian:12 -o debian.erofs
  lithify build oci:images/app:1 -f erofs-layers -o app
  lithify ls -l debian.erofs /etc
  lithify cat debian.erofs /etc/os-release
  lithify mount debian.erofs /mnt
  lithify copy oci-archive:app.tar docker://registry.example.com/app:1
Each command has examples of its own: lithify COMMAND --help.

Exit codes:
  0        done
  1        failed
  2        the arguments make no sense
  3        verification failed: something is not what its digest, size or checksum says
  128 + N  interrupted by signal N (130 for Ctrl-C)

Environment:
  LITHIFY_STORE        the store; without it $XDG_DATA_HOME/lithify, which is ~/.local/share/lithify by default
  LITHIFY_RECHECK_DAYS how long stored files are used without being read again, in days, or `never`; without it 7
  LITHIFY_LOG          what is reported: error, warn, info, debug or trace
  LITHIFY_REGISTRIES   mirrors, certificates and more for each registry; without it ~/.config/lithify/registries.toml,
                       then /etc/lithify/registries.toml
  REGISTRY_AUTH_FILE   where credentials are, before containers/auth.json and Docker's config.json ($DOCKER_CONFIG)
  DOCKER_HOST          the socket of docker-daemon:, as unix:///PATH
  HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY
                       the proxies for registries and who needs none, also in small letters
  TMPDIR               where compressed archives are decompressed
  NO_COLOR             no colours";

/// The help behind a command: what its arguments are, then examples, one a line.
pub(crate) fn with_examples(texts: &[&str], examples: &str) -> String {
    let mut help = texts.join("\n\n");
    if !help.is_empty() {
        help.push_str("\n\n");
    }
    help.push_str("Examples:\n");
    for line in examples.lines() {
        help.push_str("  ");
        help.push_str(line);
        help.push('\n');
    }
    help
}

/// What people type who come from other tools, and what to type instead.
pub(crate) fn other_verb(name: &str) -> Option<&'static str> {
    Some(match name {
        "extract" | "unpack" | "untar" => {
            "`lithify build IMAGE -f dir -o DIR` unpacks an image, `lithify cat IMAGE PATH` prints one file of it"
        }
        "save" => {
            "`lithify copy IMAGE docker-archive:FILE:NAME:TAG` writes what `docker load` takes"
        }
        "load" => {
            "`lithify copy docker-archive:FILE store:NAME:TAG` keeps it in the store; an archive can also be built or listed as it is"
        }
        "export" => {
            "`lithify build IMAGE -f tar -o FILE.tar` writes the merged filesystem as one tar"
        }
        "import" => {
            "`lithify build tar:FILE -o OUT` makes a filesystem of a tar; `lithify copy oci-archive:FILE store:NAME:TAG` keeps an image"
        }
        "convert" | "mkfs" | "make" | "create" => {
            "`lithify build IMAGE -o OUT.erofs` makes a filesystem of an image, `-f` says which kind"
        }
        "diff" | "compare" => {
            "list both and compare: diff <(lithify ls -alR A) <(lithify ls -alR B)"
        }
        "list-tags" | "tags" | "search" | "catalog" => {
            "lithify lists no tags of registries (`skopeo list-tags docker://NAME` does); `lithify images` lists the store"
        }
        "run" | "exec" | "chroot" => {
            "lithify runs nothing: `lithify mount IMAGE DIR` gives a runtime, or chroot, its root directory"
        }
        "rmi" | "remove" | "delete" | "untag" => {
            "`lithify rm NAME` forgets an image of the store, `lithify gc` frees its space"
        }
        "prune" | "clean" | "cleanup" => "`lithify gc` removes from the store what no image needs",
        "history" | "info" | "show" | "manifest" | "config" | "layers" => {
            "`lithify inspect IMAGE` shows manifest, configuration and layers"
        }
        "image" | "list" => {
            "`lithify images` lists the store, `lithify ls IMAGE` the files of an image"
        }
        "unmount" => "it is spelled `lithify umount DIR`",
        "cp" | "sync" => {
            "`lithify copy SOURCE DEST` copies images, `lithify cat IMAGE PATH` prints a file of one"
        }
        "check" | "validate" => {
            "`lithify verify IMAGE` checks an image or artifact, `lithify fsck` the store"
        }
        "du" | "usage" => "`lithify df` shows what takes the space of the store",
        "fetch" | "download" => "`lithify pull NAME` brings an image into the store",
        "upload" | "publish" => "`lithify push IMAGE DEST` sends an image to a registry",
        "version" => "it is spelled `lithify --version`",
        "mkcomposefs" => "`lithify composefs create DUMPFILE IMAGE` makes an image of a dumpfile",
        "composefs-info" => "`lithify composefs` has `dump`, `ls` and `id`",
        "cfsctl" => "`lithify composefs` looks after repositories",
        _ => return None,
    })
}

/// The same behind `composefs`, for who comes from `cfsctl` and `composefs-info`.
pub(crate) fn other_composefs_verb(name: &str) -> Option<&'static str> {
    Some(match name {
        "measure-file" | "digest" => {
            "`lithify composefs id --file FILE` prints the digest of a file"
        }
        "compute-id" => "`lithify composefs id --profile cfsctl IMAGE` computes the id of an image",
        "objects" | "image-objects" => {
            "`lithify composefs ls --objects IMAGE` lists the objects of an image"
        }
        "missing-objects" => {
            "`lithify composefs ls --missing DIR IMAGE` lists those that are not in DIR"
        }
        "images" | "list" => "`lithify composefs ls REPO` lists the names in a repository",
        "untag" | "remove" | "delete" => "`lithify composefs rm REPO:NAME` removes a name",
        "create-image" | "import-image" | "pull" | "build" => {
            "`lithify build IMAGE -f composefs -o REPO:NAME` makes an image in a repository"
        }
        "mount" => "`lithify mount composefs:REPO:NAME DIR` mounts an image of a repository",
        "verify" | "check" => {
            "`lithify composefs fsck REPO` checks a repository, `lithify verify composefs:REPO:NAME` an image of it"
        }
        "copy" => "`lithify copy composefs:REPO:NAME DEST` copies an image",
        "cat" => "`lithify cat composefs:REPO:NAME PATH` prints a file of an image",
        "create-dumpfile" => "`lithify composefs dump IMAGE` writes an image as a dumpfile",
        "du" | "usage" => "`lithify composefs df REPO` shows what takes the space",
        _ => return None,
    })
}
