//! `-f erofs-layers`, `-f squashfs-layers`: a directory with an image per layer, and what makes one filesystem of them.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use lithify_erofs::FsmetaError;
use lithify_store::{ExportOptions, ImageRecord, Target};
use lithify_tree::{Entry, EntryKind, LayerEntries, Merge, Metadata, Timestamp, TreePath};
use lithify_verity::Sidecar;

use super::disks;
use super::fsmeta;
use super::layers::{self, BuiltLayer, IMAGE, LayerOptions};
use super::result::{BuildResult, describe_layers, file_sha256};
use crate::Error;
use crate::Event;
use crate::Image;
use crate::description::DESCRIPTION;
use crate::description::{Artifact, Description, Stack, Verity};
use crate::error::{BuildError, Cause, LayerError, Operation};
use crate::fs::Filesystem;
use crate::fs::FsWriter;
use crate::fs::Kind;
use crate::fs::Placement;
use crate::fs::image::FsImage;
use crate::fs::verity;
use crate::image::{Dropped, LayerSummary};
use crate::make::depot::Depot;
use crate::make::options::BuildOptions;
use crate::make::options::Output;
use crate::make::result::Built;
use crate::make::result::artifact;
use crate::make::result::output_path;
use crate::name::shown_path;
use crate::output::PendingDirectory;
use crate::output::PendingFile;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// What was made of an image, before it has a place.
#[derive(Debug)]
pub(crate) struct Layered {
    pub(crate) layers: Vec<BuiltLayer>,
    pub(crate) merged: Option<fsmeta::Merged>,
}

impl Layered {
    /// Artifacts that were made, and that were there.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let reused = self.layers.iter().map(|l| l.reused);
        let reused = reused.chain(self.merged.iter().map(|m| m.reused));
        reused.fold((0, 0), |(built, found), reused| match reused {
            true => (built, found + 1),
            false => (built + 1, found),
        })
    }
}

/// Makes or finds the layers' images and the merged one.
pub(crate) fn make(
    image: &Image,
    depot: &Depot,
    layer_options: &LayerOptions,
    options: &BuildOptions,
    session: &Session,
) -> Result<Layered, Error> {
    let budgets = Budgets::new(session);
    let layers = layers::build(image, depot, layer_options, session, &budgets)?;
    if session.cancel.is_cancelled() {
        return Err(Error::cancelled());
    }
    session.progress.event(Event::Finishing);
    // Blocks of compressed data cannot be referred to.
    let merged = match (
        layer_options.filesystem.kind,
        layer_options.filesystem.compression,
    ) {
        (Kind::Erofs, None) if !layers.is_empty() => {
            match fsmeta::build(
                image,
                &layers,
                depot,
                layer_options,
                options,
                session,
                &budgets,
            ) {
                Ok(merged) => Some(merged),
                // Images made elsewhere may be such that others cannot refer to their data.
                Err(e) if cannot_be_referred_to(&e, &layers) => None,
                Err(e) => return Err(e),
            }
        }
        _ => None,
    };
    let merged_entry = merged.iter().map(|m| m.entry.id());
    remember(image, depot, &layers, merged_entry, options)?;
    Ok(Layered { layers, merged })
}

/// Whether there is no merged image because of a layer that is used as it is.
fn cannot_be_referred_to(error: &Error, layers: &[BuiltLayer]) -> bool {
    let Cause::Build(BuildError::Fsmeta(error)) = error.cause() else {
        return false;
    };
    match &**error {
        FsmetaError::NotAligned { layer, .. }
        | FsmetaError::Compressed { layer, .. }
        | FsmetaError::BlockSize { layer, .. } => layers.get(*layer).is_some_and(|l| l.id.as_is),
        _ => false,
    }
}

/// Tells the store what the image needs, so that it is not collected.
pub(crate) fn remember(
    image: &Image,
    depot: &Depot,
    layers: &[BuiltLayer],
    more: impl Iterator<Item = lithify_store::EntryId>,
    options: &BuildOptions,
) -> Result<(), Error> {
    let (Some(store), Some(oci)) = (depot.keeps(), image.oci()) else {
        return Ok(());
    };
    let Some(manifest) = oci
        .manifest_digest()
        .copied()
        .or(Some(*oci.config_digest()))
    else {
        return Ok(());
    };
    let entries = layers.iter().map(|l| l.entry.id()).chain(more);
    let target = Target::new(entries.collect(), lithify_store::Facts::new());
    let platform = oci.platform().to_string();
    let record = ImageRecord::new(
        image.store_name(),
        platform,
        manifest,
        lithify_store::Facts::new(),
    );
    store.put_image(&record.target(options.target_name(), target))?;
    Ok(())
}

pub(super) fn build(
    image: &Image,
    kind: Kind,
    output: &Output,
    options: &BuildOptions,
    session: &Session,
) -> Built {
    let path = output_path(output, options.format)?;
    let layer_options = LayerOptions {
        filesystem: Filesystem::new(kind, Placement::Merged, options.filesystem())?,
        verity: options.verity,
        durable: options.durable,
    };
    let directory = PendingDirectory::create(path)?;
    let depot = Depot::open(&session.store, path, &session.cancel)?;
    let layered = make(image, &depot, &layer_options, options, session)?;
    let mut place = Place {
        directory,
        kind,
        options,
        layer_options: &layer_options,
        artifacts: Vec::new(),
    };
    let stack = place.put(&layered, session)?;
    let artifacts = std::mem::take(&mut place.artifacts);
    let mut description = image.describe();
    description.reference = image.portable_name();
    let summaries = summaries(&layered.layers);
    describe_layers(&mut description, &summaries);
    description.artifacts = artifacts.clone();
    description.stack = Some(stack.clone());
    place.write_description(&description)?;
    place.directory.commit(options.durable)?;
    let (built, reused) = layered.counts();
    let at = |artifact: Artifact| Artifact {
        path: shown_path(&path.join(&artifact.path)),
        ..artifact
    };
    Ok(BuildResult {
        artifacts: artifacts.into_iter().map(at).collect(),
        summaries,
        stack: Some(stack),
        counts: Some((built, reused)),
        ..BuildResult::default()
    })
}

/// What decoding found out, or had found out when the layer was made.
pub(crate) fn summaries(layers: &[BuiltLayer]) -> Vec<LayerSummary> {
    layers
        .iter()
        .map(|layer| LayerSummary {
            diff_id: layer.id.diff_id,
            tar_bytes: layer.facts.tar_size,
            entries: layer.facts.entries,
            recorded: None,
            dropped: Dropped::new(),
        })
        .collect()
}

/// A directory being filled.
struct Place<'a> {
    directory: PendingDirectory,
    kind: Kind,
    options: &'a BuildOptions,
    layer_options: &'a LayerOptions,
    artifacts: Vec<Artifact>,
}

impl Place<'_> {
    fn put(&mut self, layered: &Layered, session: &Session) -> Result<Stack, Error> {
        let extension = self.kind.name();
        self.directory.make("layers")?;
        let mut names: Vec<String> = Vec::new();
        for (index, layer) in layered.layers.iter().enumerate() {
            let name = layer_name(&layered.layers, index, extension);
            // The same layer twice is one file.
            if !names.contains(&name) {
                self.put_layer(layer, &name)?;
            }
            names.push(name);
        }
        let mut stack = Stack {
            overlay: names.iter().rev().cloned().collect(),
            ..Stack::default()
        };
        if let Some(root) = self.put_root(&layered.layers, session)? {
            stack.overlay.insert(0, root);
        }
        if let Some(merged) = &layered.merged {
            let name = format!("fsmeta.{extension}");
            let file = self.export(&merged.entry, &name)?;
            let mut described = self.describe("erofs-fsmeta", &name, file);
            described.statistics = merged.facts.statistics();
            self.put_tree(&mut described, &name, merged.facts.verity.as_ref())?;
            self.artifacts.push(described);
            let disk = disks::Parts {
                directory: self.directory.path(),
                fsmeta: &name,
                merged,
                layers: &layered.layers,
                names: &names,
                durable: self.options.durable,
                cancel: &session.cancel,
            };
            self.artifacts
                .extend(disk.write(self.options.disks_of_layers(), self.options.alignment)?);
            stack.fsmeta = Some(name);
            stack.devices = names;
            let block_size = lithify_erofs::BLOCK_SIZE as u64;
            let mapped = merged.facts.mapped_blocks.iter();
            stack.disk_offsets = mapped.map(|&b| u64::from(b) * block_size).collect();
        }
        Ok(stack)
    }

    fn export(
        &self,
        entry: &lithify_store::Entry,
        name: &str,
    ) -> Result<lithify_store::FileRecord, Error> {
        let export = ExportOptions::new().durable(self.options.durable);
        entry.export(IMAGE, &self.directory.path().join(name), export)?;
        Ok(entry.file(IMAGE)?.clone())
    }

    fn describe(&self, format: &str, name: &str, file: lithify_store::FileRecord) -> Artifact {
        let mut artifact = artifact(self.options.format, name);
        artifact.format = format.to_owned();
        artifact.size = file.size;
        artifact.sha256 = Some(file.sha256.hex());
        artifact
    }

    fn put_layer(&mut self, layer: &BuiltLayer, name: &str) -> Result<(), Error> {
        let file = self.export(&layer.entry, name)?;
        let mut described = self.describe(&format!("{}-layer", self.kind.name()), name, file);
        described.options = self.layer_options.named();
        described.diff_id = Some(layer.id.diff_id.to_string());
        described
            .dropped_xattrs
            .clone_from(&layer.facts.dropped_xattrs);
        described.chain_id = (!layer.shared).then(|| layer.id.chain_id.to_string());
        self.put_tree(&mut described, name, layer.facts.verity.as_ref())?;
        self.artifacts.push(described);
        Ok(())
    }

    /// Says what hash tree a file has, and writes its root hash beside it.
    fn put_tree(
        &self,
        described: &mut Artifact,
        name: &str,
        facts: Option<&Verity>,
    ) -> Result<(), Error> {
        let Some(facts) = facts else {
            return Ok(());
        };
        let sidecar = verity::from_facts(facts)?;
        let size = described.size;
        verity::describe(described, &sidecar, size);
        let path = self.directory.path().join(name);
        verity::sidecar(&path, &sidecar, self.options.durable)?.commit(self.options.durable)
    }

    /// An overlay's root directory looks as its topmost layer says. If that says nothing, a layer that does goes on top.
    fn put_root(
        &mut self,
        layers: &[BuiltLayer],
        session: &Session,
    ) -> Result<Option<String>, Error> {
        let name = format!("root.{}", self.kind.name());
        let path = self.directory.path().join(&name);
        let (verity, durable) = (self.options.verity, self.options.durable);
        let Some(written) = write_root(layers, self.kind, &path, verity, durable, session)? else {
            return Ok(None);
        };
        let mut artifact = artifact(self.options.format, &name);
        artifact.format = format!("{}-root", self.kind.name());
        artifact.size = written.size;
        self.put_tree(&mut artifact, &name, written.verity.as_ref())?;
        let file = fs::File::open(&path).map_err(|e| Error::input(&path, e))?;
        artifact.sha256 = Some(file_sha256(&path, &file, &session.cancel)?);
        self.artifacts.push(artifact);
        Ok(Some(name))
    }

    fn write_description(&self, description: &Description) -> Result<(), Error> {
        let path = self.directory.path().join(DESCRIPTION);
        let failed = |e| Error::output(Operation::Write, &path, e);
        let mut json = Vec::new();
        crate::write_json_pretty(&mut json, description).map_err(failed)?;
        json.push(b'\n');
        let mut file = fs::File::create_new(&path).map_err(failed)?;
        file.write_all(&json).map_err(failed)?;
        match self.options.durable {
            true => file.sync_all().map_err(failed),
            false => Ok(()),
        }
    }
}

/// The file name of a layer's image in a layered build: of its diff_id. What another layer of the image with that
/// diff_id became over other lower layers gets its chain id too.
fn layer_name(layers: &[BuiltLayer], index: usize, extension: &str) -> String {
    let layer = &layers[index];
    let hex = layer.id.diff_id.hex();
    let taken = layers[..index]
        .iter()
        .any(|l| l.id.diff_id == layer.id.diff_id && l.entry.id() != layer.entry.id());
    match taken {
        false => format!("layers/{hex}.{extension}"),
        true => format!(
            "layers/{hex}-{}.{extension}",
            &layer.id.chain_id.hex()[..16]
        ),
    }
}

/// The image of the root directory alone.
#[derive(Debug)]
pub(crate) struct RootImage {
    /// Bytes of the file.
    pub(crate) size: u64,
    /// Its hash tree.
    pub(crate) verity: Option<Verity>,
}

/// Writes the image of a layer with nothing but the root directory, if the topmost layer does not describe it and a
/// lower one does, or if there are no layers: an overlay needs one.
pub(crate) fn write_root(
    layers: &[BuiltLayer],
    kind: Kind,
    path: &Path,
    verity: bool,
    durable: bool,
    session: &Session,
) -> Result<Option<RootImage>, Error> {
    let describing = layers.iter().rposition(|l| l.facts.describes_root);
    let metadata = match describing.filter(|&n| n + 1 != layers.len()) {
        Some(describing) => {
            let (image_path, file) =
                crate::make::depot::open_file(&layers[describing].entry, IMAGE)?;
            FsImage::open(&image_path, file, kind, &session.cancel)?.root_metadata()?
        }
        // Of no layers there is only the root directory, as nobody describes it.
        None if layers.is_empty() => Metadata::implicit_directory(Timestamp::default()),
        None => return Ok(None),
    };
    let pending = PendingFile::create(path, durable)?;
    let mut written = RootImage {
        size: write_root_image(metadata, kind, &pending, path, session)?,
        verity: None,
    };
    if verity {
        let report = verity::append(pending.file(), written.size, path, session)?;
        written.size = report.size;
        written.verity = Some(Verity::from(&Sidecar::from(&report)));
    }
    pending.commit(durable)?;
    Ok(Some(written))
}

fn write_root_image(
    mut metadata: Metadata,
    kind: Kind,
    pending: &PendingFile,
    path: &Path,
    session: &Session,
) -> Result<u64, Error> {
    let overlay = |source| {
        Error::from(LayerError::Overlay {
            index: 0,
            name: "the root directory".to_owned(),
            source,
        })
    };
    // It is the topmost layer of an overlay: an opaque root as the image means it would hide all others.
    if let Some(escaped) = lithify_tree::overlay::escape(&metadata.xattrs).map_err(overlay)? {
        metadata.xattrs = escaped;
    }
    let mut entries = LayerEntries::new();
    let root = Entry {
        path: TreePath::root(),
        metadata,
        kind: EntryKind::Directory,
    };
    entries
        .push(&root, None)
        .map_err(LayerError::TooManyNames)?;
    let mut merge = Merge::new();
    merge.apply(entries).map_err(|source| LayerError::Tree {
        name: "the root directory".to_owned(),
        source,
    })?;
    let file = pending
        .file()
        .try_clone()
        .map_err(|e| Error::output(Operation::Create, path, e))?;
    let filesystem = Filesystem::plain(kind);
    let writer = FsWriter::new(file, &filesystem, session, &Budgets::default(), path)?;
    let report = writer
        .finish(&filesystem, &mut merge.finish(), b"root")
        .map_err(|e| e.at(path))?;
    Ok(report.size)
}
