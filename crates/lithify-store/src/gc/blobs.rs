//! Collection of blobs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use lithify_digest::Digest;

use super::report::{GcReport, Kept};
use crate::Store;
use crate::blobs::BlobInfo;
use crate::error::{Context as _, Error};
use crate::lock::BlobsLock;
use crate::store::{BLOBS, TEMP};
use crate::temp::unique_name;

/// A blob moved to `tmp/`.
#[derive(Debug)]
pub(super) struct BlobTrash(PathBuf);

impl BlobTrash {
    pub(super) fn remove(self) -> Result<(), Error> {
        match fs::remove_file(&self.0) {
            // Another collection took it for a leftover, and was faster.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.context("remove", &self.0),
        }
    }
}

impl Store {
    /// Moves blobs out of sight that nobody needs at the moment. For those who hold the lock of the store.
    pub(super) fn take_blobs(
        &self,
        judged: Vec<(BlobInfo, Option<Kept>)>,
        dry_run: bool,
        report: &mut GcReport,
    ) -> Result<Vec<BlobTrash>, Error> {
        let _lock = BlobsLock::exclusive(&self.at(BLOBS), &self.cancel)?;
        let leased = self.leased()?;
        let mut taken = Vec::new();
        for (blob, verdict) in judged {
            self.cancel.check()?;
            let in_use = leased.as_ref().is_none_or(|l| l.contains(&blob.digest));
            if let Some(kept) = verdict.or(in_use.then_some(Kept::InUse)) {
                report.kept_blobs.push((blob, kept));
                continue;
            }
            if !dry_run {
                let path = self.blob_path(&blob.digest);
                let trash = self.at(TEMP).join(unique_name());
                match fs::rename(&path, &trash) {
                    Ok(()) => taken.push(BlobTrash(trash)),
                    // Another tool's collection was faster.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    // A directory may have no room for one more name.
                    Err(e) if e.kind() == io::ErrorKind::StorageFull => BlobTrash(path).remove()?,
                    Err(e) => return Err(e).context("remove", &path),
                }
            }
            report.blob_bytes.add(blob.bytes);
            report.blobs.push(blob);
        }
        Ok(taken)
    }

    /// Blobs by whether anything leads to them.
    pub(crate) fn blobs_needed(
        &self,
        needed: &BTreeSet<Digest>,
    ) -> Result<Vec<(BlobInfo, bool)>, Error> {
        let all = self.all_blobs()?.into_iter();
        Ok(all.map(|b| (b, needed.contains(&b.digest))).collect())
    }
}
