//! Contents that look random, the same everywhere.

pub(crate) use lithify_testkit::Random;

/// Contents of files.
pub(crate) trait Contents {
    /// Words of a small language: it compresses, and has matches everywhere.
    fn text(&mut self, length: usize) -> Vec<u8>;
    /// What a file may have: text, tables of addresses, zeros, noise.
    fn content(&mut self, length: usize) -> Vec<u8>;
    /// A later version of a file.
    fn edited(&mut self, old: &[u8]) -> Vec<u8>;
}

impl Contents for Random {
    fn text(&mut self, length: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(length + 16);
        while text.len() < length {
            let word = self.below(300);
            text.extend(format!("w{word:o} ").bytes());
        }
        text.truncate(length);
        text
    }

    fn content(&mut self, length: usize) -> Vec<u8> {
        match self.below(5) {
            0 => self.bytes(length),
            1 => vec![self.below(2) as u8; length],
            2 => {
                let mut address = self.next() as u32;
                let mut table = Vec::with_capacity(length + 4);
                while table.len() < length {
                    address = address.wrapping_add(self.below(64) as u32);
                    table.extend(address.to_le_bytes());
                }
                table.truncate(length);
                table
            }
            _ => self.text(length),
        }
    }

    fn edited(&mut self, old: &[u8]) -> Vec<u8> {
        let mut new = old.to_vec();
        for _ in 0..=self.below(6) {
            let at = self.index(new.len() + 1);
            let length = self.index((new.len() - at).min(2000) + 1);
            match self.below(6) {
                0 => {
                    let more = self.index(3000);
                    let more = self.content(more);
                    new.splice(at..at, more);
                }
                1 => drop(new.drain(at..at + length)),
                2 => new[at..at + length].iter_mut().for_each(|b| *b ^= 0x20),
                // Every address is another one.
                3 => new[at..]
                    .iter_mut()
                    .step_by(16)
                    .for_each(|b| *b = b.wrapping_add(3)),
                4 => {
                    let part = new[at..at + length].to_vec();
                    let to = self.index(new.len() + 1);
                    new.splice(to..to, part);
                }
                _ => {
                    if let Some(byte) = new.get_mut(at) {
                        *byte = byte.wrapping_add(1);
                    }
                }
            }
        }
        new
    }
}
