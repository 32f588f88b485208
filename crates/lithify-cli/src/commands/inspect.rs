//! `lithify inspect`.

use std::io::Write as _;

use lithify::{Description, Printable, Subject};

use super::{finding_session, print_json, with_progress};
use crate::args::InspectArgs;
use crate::failure::Failure;
use crate::human;

pub(crate) fn run(args: InspectArgs, quiet: bool) -> Result<(), Failure> {
    let (session, renderer) = finding_session(&args.find, quiet)?;
    let subject = with_progress(&renderer, || Subject::open(&args.image, &session))?;
    let mut description = subject.describe();
    if args.referrers {
        let Subject::Image(image) = &subject else {
            // Whatever refers to an image refers to its manifest.
            return Err(Failure::Usage(
                "--referrers is for images: an artifact has none".into(),
            ));
        };
        let referrers = with_progress(&renderer, || image.referrers())?;
        description.referrers = Some(referrers.listed);
        description.referrers_unlisted = referrers.unlisted;
    }
    if args.json {
        return print_json(&description);
    }
    crate::terminal::stdout().write_all(text(&description).as_bytes())?;
    Ok(())
}

/// The description for a person; every value from the image is printed escaped.
fn text(image: &Description) -> String {
    let mut lines = vec![format!("reference: {}", Printable(&image.reference))];
    let mut field = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            lines.push(format!("{}: {}", Printable(name), Printable(value)));
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
            let mut json = Vec::new();
            // Writing to memory does not fail.
            lithify::write_json(&mut json, value).ok();
            field(name, Some(&String::from_utf8_lossy(&json)));
        }
    }
    for artifact in &image.artifacts {
        let size = human::bytes(artifact.size);
        let (path, format) = (Printable(&artifact.path), Printable(&artifact.format));
        lines.push(format!("artifact: {path} {format} {size}"));
        for (name, count) in &artifact.statistics {
            lines.push(format!("  {}: {count}", Printable(name)));
        }
        if let Some(verity) = &artifact.verity {
            lines.push(format!("  root hash: {}", Printable(&verity.root_hash)));
        }
    }
    if image.layers.is_empty() && !image.artifacts.is_empty() {
        lines.push(String::new());
        return lines.join("\n");
    }
    lines.push(format!("layers: {}", image.layers.len()));
    for layer in &image.layers {
        let name = layer
            .digest
            .as_ref()
            .or(layer.diff_id.as_ref())
            .map_or("-", String::as_str);
        let size = layer.size.map(human::bytes).unwrap_or_default();
        let mut kind = Printable(layer.media_type.as_deref().unwrap_or("")).to_string();
        // Of which a media type may say nothing, or something else.
        if let Some(filesystem) = layer.filesystem.as_deref().filter(|f| !kind.contains(f)) {
            if !kind.is_empty() {
                kind.push(' ');
            }
            kind.push_str(&format!("({filesystem} image)"));
        }
        lines.push(format!("  {name} {size:>8} {kind}"));
    }
    if let Some(referrers) = &image.referrers {
        lines.push(format!("referrers: {}", referrers.len()));
        for referrer in referrers {
            let kinds = [&referrer.artifact_type, &referrer.tag];
            let kinds: Vec<_> = kinds.into_iter().flatten().map(String::as_str).collect();
            let kinds = kinds.join(" ");
            lines.push(format!("  {} {}", referrer.digest, Printable(&kinds)));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}
