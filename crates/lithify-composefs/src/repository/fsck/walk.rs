//! Checking streams, images and references, and finding what damage is part of.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::Read as _;

use lithify_digest::{Digest, Mismatch, Verifier};
use lithify_verity::file::FileDigest;

use crate::splitstream::{Check, Rebuilt, StreamError, StreamReader, check_body};

use super::super::error::{EntryError, ObjectError};
use super::super::handle::Repository;
use super::super::names::{Category, OBJECTS, of_directory, of_object};
use super::super::reach::ImageObjects;
use super::report::{Fault, Finding, FsckReport};
use super::{Depth, FsckOptions};

/// Longest whole that is put together although only objects are to be read: manifests and
/// configurations.
const DOCUMENT_MAX: u64 = 4 << 20;

/// Failures of looking at a stream or an image.
enum Failure {
    /// It is the stream's or the image's.
    Fault(Fault),
    /// The check cannot go on.
    Error(ObjectError),
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        Self::Fault(Fault::Stream(error))
    }
}

impl From<ObjectError> for Failure {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Io(e) => Self::Fault(Fault::Unreadable(e)),
            ObjectError::Beneath(e) => Self::Fault(Fault::Unreadable(e.into())),
            e => Self::Error(e),
        }
    }
}

/// The needs of all entries.
struct Needs<'a> {
    repository: &'a Repository,
    images: &'a dyn ImageObjects,
    options: &'a FsckOptions,
    /// Objects that are damaged or missing.
    faults: BTreeMap<FileDigest, Fault>,
    /// Objects that were found to be there: images have most of theirs in common.
    present: HashSet<FileDigest>,
    /// Entries that such an object is part of.
    part_of: BTreeMap<FileDigest, BTreeSet<String>>,
    /// Entries that need an object by a name.
    named_by: HashMap<FileDigest, BTreeSet<String>>,
    /// The object of each entry.
    entries: BTreeMap<String, FileDigest>,
    /// References to each entry.
    references: BTreeMap<String, BTreeSet<String>>,
}

impl Repository {
    /// Checks all entries and references; adds what is wrong with them, and the damaged objects, to
    /// the report.
    pub(super) fn check_entries(
        &self,
        images: &dyn ImageObjects,
        options: &FsckOptions,
        damaged: Vec<(FileDigest, Fault)>,
        report: &mut FsckReport,
    ) -> Result<(), EntryError> {
        let mut needs = Needs {
            repository: self,
            images,
            options,
            faults: damaged.into_iter().collect(),
            present: HashSet::new(),
            part_of: BTreeMap::new(),
            named_by: HashMap::new(),
            entries: BTreeMap::new(),
            references: BTreeMap::new(),
        };
        for category in Category::ALL {
            self.for_each_entry(category, |name, found| {
                needs.add_entry(category, &name, found, report)
            })?;
        }
        for category in Category::ALL {
            self.for_each_reference(category, None, |name, found| {
                report.references += 1;
                let at = category.reference_at(&name);
                match found {
                    Ok(name) => {
                        let entry = category.at(&name);
                        // Both may have been made since entries were listed.
                        if !needs.entries.contains_key(&entry)
                            && let Ok(Some(id)) = self.entry(category, &name)
                        {
                            needs.add_entry(category, &name, Ok(id), report)?;
                        }
                        if !needs.entries.contains_key(&entry) {
                            let fault = Fault::Dangling {
                                entry: entry.clone(),
                            };
                            report.findings.push(Finding::new(at.clone(), fault));
                        }
                        needs.references.entry(entry).or_default().insert(at);
                    }
                    Err(e) => report.findings.push(Finding::new(at, fault_of_link(e)?)),
                }
                Ok(())
            })?;
        }
        needs.report(report);
        Ok(())
    }
}

/// Returns what is wrong with a link, or the error for which the check cannot go on.
fn fault_of_link(error: EntryError) -> Result<Fault, EntryError> {
    match error {
        EntryError::NotALink { .. } => Ok(Fault::NotALink),
        EntryError::Target { target, .. } => Ok(Fault::Target { target }),
        EntryError::Io { source, .. } => Ok(Fault::Unreadable(source)),
        e => Err(e),
    }
}

impl Needs<'_> {
    /// Checks a stream or an image; adds what is wrong with it itself to the report.
    fn add_entry(
        &mut self,
        category: Category,
        name: &str,
        found: Result<FileDigest, EntryError>,
        report: &mut FsckReport,
    ) -> Result<(), EntryError> {
        match category {
            Category::Streams => report.streams += 1,
            Category::Images => report.images += 1,
        }
        let at = category.at(name);
        let fault = match found {
            Ok(id) => self.check_entry(category, name, id)?,
            Err(e) => Some(fault_of_link(e)?),
        };
        if let Some(fault) = fault {
            let mut finding = Finding::new(at.clone(), fault);
            finding.part_of.push(at);
            report.findings.push(finding);
        }
        Ok(())
    }

    /// Checks a stream or an image; returns what is wrong with it itself.
    fn check_entry(
        &mut self,
        category: Category,
        name: &str,
        id: FileDigest,
    ) -> Result<Option<Fault>, EntryError> {
        let at = category.at(name);
        self.entries.insert(at.clone(), id);
        if category == Category::Images && name != id.hex() {
            let found = Box::new(id);
            return Ok(Some(Fault::OtherImage { found }));
        }
        let checked = self
            .part(&at, id)
            .and_then(|is_whole| match (is_whole, category) {
                (false, _) => Ok(()),
                (true, Category::Streams) => self.check_stream(&at, name, id),
                (true, Category::Images) => self.check_image(&at, id),
            });
        match checked {
            Ok(()) => Ok(None),
            Err(Failure::Fault(fault)) => Ok(Some(fault)),
            Err(Failure::Error(ObjectError::Cancelled(e))) => Err(e.into()),
            Err(Failure::Error(source)) => Err(EntryError::Object { at, source }),
        }
    }

    /// Notes that an object is part of an entry, if it is damaged or missing. Says whether it is
    /// neither.
    fn part(&mut self, at: &str, id: FileDigest) -> Result<bool, Failure> {
        if !self.is_faulty(id)? {
            return Ok(true);
        }
        self.part_of.entry(id).or_default().insert(at.to_owned());
        Ok(false)
    }

    fn is_faulty(&mut self, id: FileDigest) -> Result<bool, Failure> {
        if self.faults.contains_key(&id) {
            return Ok(true);
        }
        if self.present.contains(&id) {
            return Ok(false);
        }
        if self.repository.object_size(&id)?.is_some() {
            self.present.insert(id);
            return Ok(false);
        }
        self.faults.insert(id, Fault::Missing);
        Ok(true)
    }

    fn check_stream(&mut self, at: &str, name: &str, id: FileDigest) -> Result<(), Failure> {
        let repository = self.repository;
        let mut stream = StreamReader::open(repository.object_file(&id)?)?;
        if stream.algorithm() != repository.algorithm() {
            return Err(StreamError::OtherAlgorithm {
                expected: repository.algorithm(),
                found: stream.algorithm(),
            }
            .into());
        }
        let mut is_whole = true;
        for index in 0..stream.object_count() {
            repository.cancel().check().map_err(ObjectError::from)?;
            is_whole &= self.part(at, stream.object(index)?)?;
        }
        for named in stream.names() {
            self.is_faulty(named.id)?;
            let by = self.named_by.entry(named.id).or_default();
            by.insert(at.to_owned());
        }
        let faults = &self.faults;
        check_body(&mut stream, |object| -> Result<_, Failure> {
            repository.cancel().check().map_err(ObjectError::from)?;
            // The size of what is damaged says nothing of the stream.
            match faults.contains_key(object) {
                true => Ok(None),
                false => Ok(repository.object_size(object)?),
            }
        })?;
        let promised = self.options.promised.and_then(|promised| promised(name));
        match promised {
            Some(promised) if is_whole && self.is_read(stream.size()) => {
                self.check_content(id, promised)
            }
            _ => Ok(()),
        }
    }

    fn is_read(&self, size: u64) -> bool {
        match self.options.depth {
            Depth::Structure => false,
            Depth::Objects => size <= DOCUMENT_MAX,
            Depth::Contents => true,
        }
    }

    /// Compares the whole of a stream with a digest. Its objects were read before.
    fn check_content(&self, id: FileDigest, promised: Digest) -> Result<(), Failure> {
        let repository = self.repository;
        let stream = StreamReader::open(repository.object_file(&id)?)?;
        let mut verifier = Verifier::promised(Some(promised), Some(stream.size()));
        let mut whole = Rebuilt::new(stream, Plain(repository), Check::Nothing);
        let mut buffer = vec![0; 256 << 10];
        let content = |e: Mismatch| Failure::Fault(Fault::Content(e));
        loop {
            repository.cancel().check().map_err(ObjectError::from)?;
            match whole.read(&mut buffer) {
                Ok(0) => break verifier.finish().map_err(content),
                Ok(read) => verifier.update(&buffer[..read]).map_err(content)?,
                Err(e) => break Err(Failure::Fault(Fault::Unreadable(e))),
            }
        }
    }

    fn check_image(&mut self, at: &str, id: FileDigest) -> Result<(), Failure> {
        let file = self.repository.object_file(&id)?;
        let mut failure = Ok(());
        let images = self.images;
        let checked = images.objects(&file, &mut |object| {
            if failure.is_ok() {
                failure = self.part(at, object).map(drop);
            }
        });
        failure?;
        checked.map_err(|e| Failure::Fault(Fault::Image(e)))
    }

    /// Adds the objects that are damaged or missing, with what needs them.
    fn report(self, report: &mut FsckReport) {
        let mut needs = self;
        let mut findings = std::mem::take(&mut report.findings);
        for (id, fault) in std::mem::take(&mut needs.faults) {
            let (number, name) = of_object(&id);
            let at = format!("{OBJECTS}/{}/{name}", of_directory(number));
            let mut finding = Finding::new(at, fault);
            finding.id = Some(id);
            finding.part_of = needs
                .part_of
                .get(&id)
                .into_iter()
                .flatten()
                .cloned()
                .collect();
            findings.push(finding);
        }
        for finding in &mut findings {
            finding.needed_by = needs.all_that_need(finding);
        }
        report.findings = findings;
    }

    /// Returns all entries and references that need something, directly or through others.
    fn all_that_need(&self, finding: &Finding) -> Vec<String> {
        let mut found = BTreeSet::new();
        let mut waiting: Vec<&String> = finding.part_of.iter().collect();
        if let Some(id) = finding.id {
            waiting.extend(self.named_by.get(&id).into_iter().flatten());
        }
        while let Some(at) = waiting.pop() {
            if !found.insert(at.clone()) {
                continue;
            }
            found.extend(self.references.get(at).into_iter().flatten().cloned());
            if let Some(id) = self.entries.get(at) {
                waiting.extend(self.named_by.get(id).into_iter().flatten());
            }
        }
        found.remove(&finding.at);
        found.into_iter().collect()
    }
}

/// Objects as files, whatever is in them.
struct Plain<'a>(&'a Repository);

impl crate::splitstream::Objects for Plain<'_> {
    type Reader = File;

    fn open(&self, id: &FileDigest) -> std::io::Result<File> {
        self.0.object_file(id).map_err(std::io::Error::other)
    }
}
