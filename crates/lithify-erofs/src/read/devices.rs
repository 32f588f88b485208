//! Images whose data lies on further devices too.
//!
//! A block of a file is named by device and number. Linux finds the device in one of two ways (`erofs_map_dev`): by
//! `device=` options, one for each, or, without these, in the image's own device at the block the table maps it to.

use super::{Image, read};
use crate::format::device::{DeviceSlot, SLOT_LEN};
use crate::format::superblock::{MAGIC, SUPERBLOCK_LEN, SUPERBLOCK_OFFSET, Superblock, incompat};
use crate::{ReadAt, ReadError};

/// Slots read at once.
const SLOTS_AT_ONCE: usize = 512;

/// The device table, and what of the devices is at hand.
#[derive(Debug)]
pub(super) struct Devices<R> {
    slots: Vec<DeviceSlot>,
    /// Length of each in bytes. `mkfs.erofs` 1.5 writes 0 for one it fills: such a one is as long as what is given for
    /// it, and as a block number can say as long as nothing is.
    lengths: Vec<u64>,
    /// Mapped devices by the block they are mapped to.
    mapped: Vec<(u32, u16)>,
    sources: Sources<R>,
}

#[derive(Debug)]
enum Sources<R> {
    /// Only names and metadata can be read.
    Missing,
    /// All devices follow the image in its own source.
    InImage,
    Given(Vec<R>),
}

impl<R: ReadAt> Devices<R> {
    /// Reads the table of an image of `size` bytes in a source of `found`.
    pub(super) fn read(
        source: &R,
        superblock: &Superblock,
        size: u64,
        found: u64,
    ) -> Result<Self, ReadError> {
        let mut slots = Vec::new();
        if superblock.incompatible_features & incompat::DEVICE_TABLE != 0 {
            let offset = u64::from(superblock.device_table) * SLOT_LEN as u64;
            let length = u64::from(superblock.extra_devices) * SLOT_LEN as u64;
            if offset + length > size {
                return Err(ReadError::DeviceTable {
                    offset,
                    length,
                    size,
                });
            }
            let mut bytes =
                vec![0; SLOTS_AT_ONCE.min(usize::from(superblock.extra_devices)) * SLOT_LEN];
            let mut done = 0;
            while done < length {
                let part = (length - done).min(bytes.len() as u64) as usize;
                read(source, offset + done, &mut bytes[..part])?;
                slots.extend(bytes[..part].chunks_exact(SLOT_LEN).map(DeviceSlot::decode));
                done += part as u64;
            }
        }
        let mut mapped: Vec<(u32, u16)> = (1..=u16::MAX)
            .zip(&slots)
            .filter(|(_, slot)| slot.mapped_block != 0)
            .map(|(number, slot)| (slot.mapped_block, number))
            .collect();
        mapped.sort_unstable();
        let length = |slot: &DeviceSlot| match slot.blocks {
            0 => u64::from(u32::MAX) << superblock.block_bits,
            blocks => u64::from(blocks) << superblock.block_bits,
        };
        let mut devices = Self {
            lengths: slots.iter().map(length).collect(),
            slots,
            mapped,
            sources: Sources::Missing,
        };
        if devices.follow_image(source, superblock, found)? {
            devices.sources = Sources::InImage;
        }
        Ok(devices)
    }

    /// Whether the source goes on to the end of the last device, and what follows the image first is indeed an image:
    /// it may as well be the image's own hash tree.
    fn follow_image(
        &self,
        source: &R,
        superblock: &Superblock,
        found: u64,
    ) -> Result<bool, ReadError> {
        let bits = superblock.block_bits;
        let inside = |slot: &DeviceSlot| {
            slot.blocks > 0
                && slot.mapped_block >= superblock.blocks
                && (u64::from(slot.mapped_block) + u64::from(slot.blocks)) << bits <= found
        };
        if self.slots.is_empty() || !self.slots.iter().all(inside) {
            return Ok(false);
        }
        let Some(&(first, _)) = self.mapped.first() else {
            return Ok(false);
        };
        let start = u64::from(first) << bits;
        if start + (SUPERBLOCK_OFFSET + SUPERBLOCK_LEN) as u64 > found {
            return Ok(false);
        }
        let mut magic = [0; size_of::<u32>()];
        read(source, start + SUPERBLOCK_OFFSET as u64, &mut magic)?;
        Ok(u32::from_le_bytes(magic) == MAGIC)
    }

    fn give(&mut self, sources: Vec<R>, block_bits: u8) -> Result<(), ReadError> {
        if sources.len() != self.slots.len() {
            return Err(ReadError::DeviceCount {
                // As many as a 16-bit field says.
                expected: self.slots.len() as u16,
                found: sources.len(),
            });
        }
        for (i, (slot, source)) in self.slots.iter().zip(&sources).enumerate() {
            let found = source
                .size()
                .map_err(|source| ReadError::Length { source })?;
            let expected = u64::from(slot.blocks) << block_bits;
            if found < expected {
                return Err(ReadError::DeviceTooShort {
                    device: i as u16 + 1,
                    expected,
                    found,
                });
            }
            if slot.blocks == 0 {
                self.lengths[i] = found;
            }
        }
        self.sources = Sources::Given(sources);
        Ok(())
    }
}

impl<R: ReadAt> Image<R> {
    /// Opens an image whose data lies on further devices, such as one made by [`write_fsmeta`](crate::write_fsmeta),
    /// with all of these in the order of its device table. Without them ([`open`](Self::open)) only names and
    /// metadata can be read, unless the source has them all behind the image, where the table maps them.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`ReadError::DeviceCount`] and [`ReadError::DeviceTooShort`] when the devices are not
    /// those of the table.
    pub fn open_with_devices(source: R, devices: Vec<R>) -> Result<Self, ReadError> {
        let mut image = Self::open(source)?;
        image.devices.give(devices, image.superblock.block_bits)?;
        Ok(image)
    }

    /// The further devices that hold data, in the order of their numbers, which start at 1.
    #[must_use]
    pub fn devices(&self) -> &[DeviceSlot] {
        &self.devices.slots
    }

    /// Whether data on further devices can be read: always if there are none.
    #[must_use]
    pub fn has_devices(&self) -> bool {
        self.devices.slots.is_empty() || !matches!(self.devices.sources, Sources::Missing)
    }

    /// The device a stretch of data is on and its offset there, after checking that it is inside.
    pub(super) fn place(
        &self,
        nid: u64,
        device: u16,
        offset: u64,
        length: u64,
    ) -> Result<(u16, u64), ReadError> {
        let bits = self.superblock.block_bits;
        let slots = &self.devices.slots;
        let (mut device, mut offset) = (device, offset);
        // Linux looks for block numbers of the image's own device among the mapped ones too.
        if device == 0 && offset >= self.size && !slots.is_empty() {
            let block = (offset >> bits).min(u64::from(u32::MAX)) as u32;
            let behind = self
                .devices
                .mapped
                .partition_point(|&(first, _)| first <= block);
            if let Some(&(first, number)) = behind
                .checked_sub(1)
                .and_then(|i| self.devices.mapped.get(i))
            {
                device = number;
                offset -= u64::from(first) << bits;
            }
        }
        if device == 0 {
            return self
                .check_range("the data", nid, offset, length)
                .map(|()| (0, offset));
        }
        let Some(&size) = self.devices.lengths.get(usize::from(device) - 1) else {
            return Err(ReadError::UnknownDevice {
                nid,
                device,
                count: slots.len(),
            });
        };
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(ReadError::DeviceRange {
                nid,
                device,
                offset,
                length,
                size,
            });
        }
        Ok((device, offset))
    }

    /// Refuses data on a device that is not at hand.
    pub(super) fn expect_device(&self, nid: u64, device: u16) -> Result<(), ReadError> {
        if device == 0 || self.has_devices() {
            return Ok(());
        }
        Err(ReadError::ExtraDevice { nid, device })
    }

    /// Reads data whose place has been checked.
    pub(super) fn read_data(
        &self,
        nid: u64,
        device: u16,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), ReadError> {
        let Some(index) = usize::from(device).checked_sub(1) else {
            return read(&self.source, offset, buffer);
        };
        let missing = ReadError::ExtraDevice { nid, device };
        match &self.devices.sources {
            Sources::Missing => Err(missing),
            Sources::Given(sources) => read(sources.get(index).ok_or(missing)?, offset, buffer),
            Sources::InImage => {
                let slot = self.devices.slots.get(index).ok_or(missing)?;
                let start = u64::from(slot.mapped_block) << self.superblock.block_bits;
                read(&self.source, start + offset, buffer)
            }
        }
    }
}
