//! `lithify inspect`.

use std::io::Write as _;

use lithify::{Description, Image};

use super::{Failure, print_json, read_options};
use crate::args::InspectArgs;
use crate::human;

pub(crate) fn run(args: InspectArgs) -> Result<(), Failure> {
    let (read, _) = read_options(&args.read, true)?;
    let image = Image::open(&args.image, &read)?;
    let mut description = image.describe();
    if args.referrers {
        description.referrers = Some(image.referrers()?);
    }
    if args.json {
        return print_json(&description);
    }
    std::io::stdout()
        .lock()
        .write_all(text(&description).as_bytes())?;
    Ok(())
}

/// The description for a person; every value from the image is printed escaped.
fn text(image: &Description) -> String {
    let mut lines = vec![format!("reference: {}", image.reference.escape_debug())];
    let mut field = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            lines.push(format!("{name}: {}", value.escape_debug()));
        }
    };
    field("manifest", image.manifest_digest.as_deref());
    field("media type", image.media_type.as_deref());
    field("config", image.config_digest.as_deref());
    field("created", image.created.as_deref());
    if let Some(p) = &image.platform {
        let variant = p
            .variant
            .as_ref()
            .map(|v| format!("/{v}"))
            .unwrap_or_default();
        let version = p
            .os_version
            .as_ref()
            .map(|v| format!(" {v}"))
            .unwrap_or_default();
        let platform = format!("{}/{}{variant}{version}", p.os, p.architecture);
        field("platform", Some(&platform));
    }
    if let Some(serde_json::Value::Object(config)) = &image.config {
        for (name, value) in config {
            // JSON text has no raw control characters, but it may have others that mislead.
            field(name, Some(value.to_string().as_str()));
        }
    }
    lines.push(format!("layers: {}", image.layers.len()));
    for layer in &image.layers {
        let name = layer
            .digest
            .as_ref()
            .or(layer.diff_id.as_ref())
            .map_or("-", String::as_str);
        let size = layer.size.map(human::bytes).unwrap_or_default();
        let kind = layer
            .media_type
            .as_deref()
            .unwrap_or("")
            .escape_debug()
            .to_string();
        lines.push(format!("  {name} {size:>8} {kind}"));
    }
    if let Some(referrers) = &image.referrers {
        lines.push(format!("referrers: {}", referrers.len()));
        for referrer in referrers {
            let kind = referrer.artifact_type.as_deref().unwrap_or("");
            lines.push(format!("  {} {}", referrer.digest, kind.escape_debug()));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}
