//! Owners and groups, each once.

use std::collections::HashMap;

use crate::WriteError;
use crate::format::IDS_MAX;

/// The table inodes refer to.
#[derive(Debug, Default)]
pub(crate) struct IdTable {
    numbers: HashMap<u32, u16>,
    /// The table's bytes.
    pub(crate) bytes: Vec<u8>,
}

impl IdTable {
    /// The number of an owner or group.
    pub(crate) fn number(&mut self, id: u32) -> Result<u16, WriteError> {
        if let Some(&number) = self.numbers.get(&id) {
            return Ok(number);
        }
        let number = self.numbers.len();
        if number >= IDS_MAX {
            return Err(WriteError::TooManyIds);
        }
        self.numbers.insert(id, number as u16);
        self.bytes.extend(id.to_le_bytes());
        Ok(number as u16)
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }
}
