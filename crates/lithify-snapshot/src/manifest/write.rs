//! A manifest to JSON.

use super::error::ManifestError;
use super::read::{is_filesystem, is_time};
use super::{DISK_MAX, Info, Manifest, SCHEMA, SnapshotId};
use crate::json::{Json, Key, Object};

impl Manifest {
    /// Returns the identity of the snapshot.
    #[must_use]
    pub fn id(&self) -> SnapshotId {
        SnapshotId::of(&Json::Object(self.defining()).canonical())
    }

    /// Returns the manifest as it is stored: in the canonical form.
    ///
    /// # Errors
    /// [`ManifestError::Value`]: members that [`Manifest::parse`] would refuse.
    pub fn to_json(&self) -> Result<String, ManifestError> {
        self.check()?;
        let mut members = self.defining();
        let info = self.info.members();
        if !info.is_empty() {
            members.insert(Key::from("info"), Json::Object(info));
        }
        Ok(Json::Object(members).canonical())
    }

    fn check(&self) -> Result<(), ManifestError> {
        let refused = |member: &str, found: String, expected| ManifestError::Value {
            member: member.to_owned(),
            found,
            expected,
        };
        let (disk, created) = (&self.disk, &self.info.created);
        if disk.size > DISK_MAX {
            let expected = "at most 9007199254740991";
            return Err(refused("disk.size", disk.size.to_string(), expected));
        }
        if !is_filesystem(&disk.filesystem) {
            let expected = "the type of a filesystem such as ext4";
            return Err(refused(
                "disk.filesystem",
                disk.filesystem.clone(),
                expected,
            ));
        }
        match created {
            Some(created) if !is_time(created) => {
                let expected = "a time such as 2026-12-01T08:00:00Z";
                Err(refused("info.created", created.clone(), expected))
            }
            _ => Ok(()),
        }
    }

    /// Returns the members that define the snapshot. Those that say nothing are left out, so that there is one way to say it.
    fn defining(&self) -> Object {
        let disk = object([
            ("content", string(self.disk.content)),
            ("filesystem", string(&self.disk.filesystem)),
            ("format", string(self.disk.format.name())),
            ("size", Json::Number(self.disk.size)),
        ]);
        let image = object([
            ("manifest", string(self.image.manifest)),
            ("platform", string(&self.image.platform)),
        ]);
        let mut members = object([
            ("schema", string(SCHEMA)),
            ("image", Json::Object(image)),
            ("disk", Json::Object(disk)),
        ]);
        if let Some(parent) = &self.parent {
            members.insert(Key::from("parent"), string(parent));
        }
        if !self.labels.is_empty() {
            let labels = self.labels.iter();
            let labels = labels.map(|(key, value)| (Key::from(&**key), string(value)));
            members.insert(Key::from("labels"), Json::Object(labels.collect()));
        }
        members
    }
}

impl Info {
    fn members(&self) -> Object {
        let members = [
            ("reference", &self.reference),
            ("created", &self.created),
            ("name", &self.name),
            ("source", &self.source),
        ];
        let said = members.into_iter().filter_map(|(key, value)| {
            let value = value.as_ref()?;
            Some((Key::from(key), string(value)))
        });
        said.collect()
    }
}

fn object<const N: usize>(members: [(&str, Json); N]) -> Object {
    let members = members.into_iter();
    members
        .map(|(key, value)| (Key::from(key), value))
        .collect()
}

fn string(value: impl ToString) -> Json {
    Json::String(value.to_string())
}
