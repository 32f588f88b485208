//! The table of transports: how names of images begin, and what can be read from and written to each place.

use std::fmt;

/// A kind of place images are in, as names, messages, help and documents spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transport {
    /// The text names begin with; empty for bare names.
    pub prefix: &'static str,
    /// The kind of thing behind the prefix, as short as it can be said: `DIR`, `NAME`.
    pub names: &'static str,
    /// Everything a source may have behind the prefix.
    pub source: &'static str,
    /// The thing that is read.
    pub read: &'static str,
    /// Everything a destination may have behind the prefix, and the thing that is written; `None` for places images are only
    /// read from.
    pub destination: Option<(&'static str, &'static str)>,
}

/// All transports, in the order they are shown.
pub const TRANSPORTS: [Transport; 11] = [
    Transport {
        prefix: "oci:",
        names: "DIR",
        source: "DIR[:TAG|@DIGEST]",
        read: "an OCI image layout",
        destination: Some(("DIR:TAG", "an OCI image layout, made or added to")),
    },
    Transport {
        prefix: "oci-archive:",
        names: "FILE",
        source: "FILE[:TAG]",
        read: "a tar of one, also gzip or zstd compressed",
        destination: Some(("FILE:TAG", "a tar of one")),
    },
    Transport {
        prefix: "docker-archive:",
        names: "FILE",
        source: "FILE[:REF]",
        read: "what `docker save` or `podman save` writes",
        destination: Some(("FILE:NAME:TAG", "what `docker load` takes")),
    },
    Transport {
        prefix: "composefs:",
        names: "REPO",
        source: "REPO[:NAME|@DIGEST]",
        read: "an image in a composefs repository",
        destination: Some(("REPO:NAME", "a composefs repository, made or added to")),
    },
    Transport {
        prefix: "docker-daemon:",
        names: "NAME",
        source: "NAME[:TAG]",
        read: "an image of the Docker or Podman daemon here, also by its id (sha256:HEX)",
        destination: Some(("NAME:TAG", "the Docker or Podman daemon here")),
    },
    Transport {
        prefix: "docker://",
        names: "NAME",
        source: "NAME[:TAG|@DIGEST]",
        read: "an image of a registry, read as it arrives",
        destination: Some(("NAME:TAG", "a registry")),
    },
    Transport {
        prefix: "store:",
        names: "NAME",
        source: "NAME[:TAG|@DIGEST]",
        read: "an image of the store, never looked for elsewhere",
        destination: Some(("NAME:TAG", "the store")),
    },
    Transport {
        prefix: "",
        names: "NAME",
        source: "NAME[:TAG|@DIGEST]",
        read: "an image of the store, pulled into it if it is not there",
        destination: None,
    },
    Transport {
        prefix: "rootfs:",
        names: "DIR",
        source: "DIR",
        read: "a host directory, as a single layer",
        destination: None,
    },
    Transport {
        prefix: "tar:",
        names: "FILE",
        source: "FILE | tar:-",
        read: "a root filesystem tar, also compressed; - is standard input",
        destination: None,
    },
    Transport {
        prefix: "ext4:",
        names: "FILE",
        source: "FILE",
        read: "a root filesystem in an ext4 image, also in a partition, as a virtual machine left it",
        destination: None,
    },
];

/// The transports an image can be read by, as a sentence lists them: `oci:DIR, … or a bare image name`.
pub(super) struct Sources;

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for transport in TRANSPORTS.iter().filter(|t| !t.prefix.is_empty()) {
            write!(f, "{}{}, ", transport.prefix, transport.names)?;
        }
        f.write_str("or a bare image name")
    }
}

/// The destinations an image can be written to, as a sentence lists them: `oci:DIR:TAG, … or store:NAME:TAG`.
#[derive(Clone, Copy, Debug)]
pub struct Destinations;

impl fmt::Display for Destinations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = |t: &Transport| Some((t.prefix, t.destination?.0));
        let all: Vec<_> = TRANSPORTS.iter().filter_map(written).collect();
        for (index, (prefix, names)) in all.iter().enumerate() {
            let before = match index {
                0 => "",
                _ if index + 1 == all.len() => " or ",
                _ => ", ",
            };
            write!(f, "{before}{prefix}{names}")?;
        }
        Ok(())
    }
}
