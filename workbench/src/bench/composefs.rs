//! Comparisons: images in composefs repositories.

use lithify_testkit::require;

use super::cases::{Case, Group, Programs, case, layout, quote};
use super::inputs::{CROWD, Inputs};

impl Programs {
    pub(super) fn composefs(&self, inputs: &Inputs) -> Vec<Group> {
        vec![
            self.import(inputs),
            self.import_again(inputs),
            self.id(inputs),
            self.id_of_streams(inputs),
            self.image_of_dump(inputs),
        ]
    }

    /// An image that a repository does not have.
    fn import(&self, inputs: &Inputs) -> Group {
        let image = layout(&inputs.image);
        let build = |options: &str| self.build(&format!("{image} -f composefs {options}"));
        let mut cases = vec![
            case("lithify", build("-o out:app --no-fsync")),
            case("lithify, on disk", build("-o out:app")),
            case(
                "lithify, to flat EROFS",
                self.build(&format!("{image} -o out.erofs --no-fsync")),
            ),
            case(
                "lithify, to flat EROFS, on disk",
                self.build(&format!("{image} -o out.erofs")),
            ),
        ];
        // It waits for the disk once for each layer.
        cases.extend(cfsctl(&format!(
            "{INIT} && CFSCTL --repo out oci pull {image} app"
        )));
        Group {
            name: "image to composefs",
            tar_bytes: inputs.image_bytes,
            entries: None,
            cases,
        }
    }

    /// One that it has.
    fn import_again(&self, inputs: &Inputs) -> Group {
        let image = layout(&inputs.image);
        let build = self.build(&format!("{image} -f composefs -o repository:app"));
        let mut ours = case("lithify", build.clone());
        ours.setup = Some(build);
        let pull = format!("CFSCTL --repo repository oci pull {image} app");
        let init = INIT.replace("out", "repository");
        let peer = cfsctl(&pull).map(|mut peer| {
            peer.setup = cfsctl(&format!("{init} && {pull}")).map(|setup| setup.script);
            peer
        });
        Group {
            name: "an image that is in the composefs repository",
            tar_bytes: inputs.image_bytes,
            entries: None,
            cases: [ours].into_iter().chain(peer).collect(),
        }
    }

    /// An image of which a repository has all layers.
    fn id(&self, inputs: &Inputs) -> Group {
        let image = layout(&inputs.crowd);
        let build = |profile: &str| {
            self.build(&format!(
                "{image} -f composefs -o repository:app --no-fsync{profile}"
            ))
        };
        let mut ours = case("lithify, from the streams", build(""));
        // By other rules, so that the image has to be made again.
        ours.setup = Some(build(" --profile cfsctl"));
        Group {
            name: "a composefs image of layers that are there",
            tar_bytes: 0,
            entries: Some(CROWD),
            cases: vec![ours],
        }
    }

    /// The id of an image that a repository has, by the rules of `cfsctl`.
    fn id_of_streams(&self, inputs: &Inputs) -> Group {
        let image = layout(&inputs.image);
        let lithify = quote(&self.lithify);
        let mut ours = case(
            "lithify composefs id",
            format!("{lithify} --quiet composefs id --profile cfsctl composefs:repository:app"),
        );
        ours.setup = Some(self.build(&format!(
            "{image} -f composefs -o repository:app --no-fsync"
        )));
        let init = INIT.replace("out", "repository");
        let peer = cfsctl("CFSCTL --repo repository oci compute-id app").map(|mut peer| {
            let pull = format!("{init} && CFSCTL --repo repository oci pull {image} app");
            peer.setup = cfsctl(&pull).map(|setup| setup.script);
            peer
        });
        Group {
            name: "the id of an image in the composefs repository",
            tar_bytes: inputs.image_bytes,
            entries: None,
            cases: [ours].into_iter().chain(peer).collect(),
        }
    }

    /// A dumpfile to an image.
    fn image_of_dump(&self, inputs: &Inputs) -> Group {
        let image = layout(&inputs.crowd);
        let lithify = quote(&self.lithify);
        let setup = format!(
            "{} && {lithify} --quiet composefs dump composefs:repository:app > dump",
            self.build(&format!(
                "{image} -f composefs -o repository:app --no-fsync"
            )),
        );
        let mut cases = vec![case(
            "lithify composefs create",
            format!("{lithify} --quiet composefs create dump out.img --no-fsync"),
        )];
        cases.extend(cfsctl(
            "CFSCTL mkcomposefs --min-version=1 --from-file dump out.img",
        ));
        if require::find_tool("mkcomposefs").is_some() {
            cases.push(case(
                "mkcomposefs",
                "mkcomposefs --min-version=1 --from-file dump out.img".to_owned(),
            ));
        }
        for case in &mut cases {
            case.setup = Some(setup.clone());
        }
        Group {
            name: "a composefs image of a dumpfile",
            tar_bytes: 0,
            entries: Some(CROWD),
            cases,
        }
    }
}

/// The way a repository without fs-verity begins.
const INIT: &str = "CFSCTL --repo out init --insecure --algorithm fsverity-sha256-12";

/// Returns the case of cfsctl, where it is built.
fn cfsctl(script: &str) -> Option<Case> {
    let program = require::cfsctl()?;
    Some(case("cfsctl", script.replace("CFSCTL", &quote(&program))))
}
