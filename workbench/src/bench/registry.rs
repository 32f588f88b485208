//! What is compared with what: images of a registry on this machine.

use lithify_testkit::registry::Real;
use lithify_testkit::require;

use super::cases::{Case, Group, Programs, case, layout, quote};
use super::inputs::Inputs;
use crate::sh;
use xtask::error::Error;

/// A registry that serves the reference image.
#[derive(Debug)]
pub(super) struct Registry {
    /// Stopped when dropped.
    _server: Real,
    /// The image's name there.
    name: String,
}

impl Registry {
    /// Starts one and fills it; `None` where its programs are not installed.
    pub(super) fn start(image: &std::path::Path) -> Result<Option<Self>, Error> {
        if !["docker-registry", "skopeo"]
            .into_iter()
            .all(|tool| require::find_tool(tool).is_some())
        {
            return Ok(None);
        }
        let server = Real::start();
        let name = format!("{}/bench/reference:1", server.address());
        let source = format!("oci:{}:latest", image.display());
        sh::run(
            sh::command("skopeo", ["copy", "--quiet", "--dest-tls-verify=false"])
                .arg(source)
                .arg(format!("docker://{name}")),
        )?;
        Ok(Some(Self {
            _server: server,
            name,
        }))
    }
}

impl Programs {
    /// Groups about images of a registry.
    pub(super) fn registries(&self, inputs: &Inputs) -> Vec<Group> {
        let Some(Registry { name, .. }) = &inputs.registry else {
            eprintln!("skipped: needs docker-registry and skopeo");
            return Vec::new();
        };
        let remote = format!("docker://{name}");
        let skopeo = format!("skopeo copy --quiet --src-tls-verify=false {remote} oci:copy:latest");
        let (image, lithify) = (layout(&inputs.image), quote(&self.lithify));
        let build = |source: &str| self.build(&format!("{source} --no-fsync -o out.erofs"));
        let mounted = "mkdir root && mount -t erofs -o ro,loop out.erofs root && umount root";
        let group = |name, cases: Vec<Case>| Group {
            name,
            tar_bytes: inputs.image_bytes,
            entries: None,
            cases,
        };
        vec![
            group(
                "registry to EROFS",
                vec![
                    case("lithify build", build(&remote)),
                    case(
                        "lithify build, mounted",
                        format!("{} && {mounted}", build(&remote)),
                    ),
                    case(
                        "lithify build, on disk",
                        self.build(&format!("{remote} -o out.erofs")),
                    ),
                    case("lithify build from a local layout", build(&image)),
                    case(
                        "skopeo copy; umoci raw unpack",
                        format!("{skopeo} && umoci raw unpack --image copy:latest root"),
                    ),
                    case(
                        "skopeo copy; umoci unpack",
                        format!("{skopeo} && umoci unpack --image copy:latest bundle"),
                    ),
                ],
            ),
            group(
                "registry to a layout",
                vec![
                    case(
                        "lithify pull",
                        format!("{lithify} --quiet pull --no-fsync --store store {name}"),
                    ),
                    case(
                        "lithify pull, on disk",
                        format!("{lithify} --quiet pull --store store {name}"),
                    ),
                    case("skopeo copy", skopeo.clone()),
                ],
            ),
        ]
    }
}
