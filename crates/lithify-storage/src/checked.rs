//! Bytes by position, as long as the work goes on.

use std::io;

use lithify_cancel::Checked;

use crate::{ReadAt, Storage};

/// Bytes moved before it is asked again whether the work goes on: more than the kernel needs to be quick, less than takes
/// long.
const MOVE_STEP: u64 = 64 << 20;

impl<T: ReadAt> ReadAt for Checked<T> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.get()?.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.get()?.size()
    }
}

impl<T: Storage> Storage for Checked<T> {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        self.get_mut()?.write_all_at(data, offset)
    }

    fn set_size(&mut self, length: u64) -> io::Result<()> {
        self.get_mut()?.set_size(length)
    }

    fn go_on(&self) -> io::Result<()> {
        self.get()?.go_on()
    }

    fn move_down(&mut self, from: u64, to: u64, length: u64) -> io::Result<()> {
        let mut done = 0;
        while done < length {
            let step = (length - done).min(MOVE_STEP);
            self.get_mut()?.move_down(from + done, to + done, step)?;
            done += step;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lithify_cancel::CancelToken;

    use super::*;

    /// Notes the moves it is asked for, and stops the work at the second.
    struct Moved(Vec<(u64, u64, u64)>, CancelToken);

    impl ReadAt for Moved {
        fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            Ok(())
        }

        fn size(&self) -> io::Result<u64> {
            Ok(0)
        }
    }

    impl Storage for Moved {
        fn write_all_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
            Ok(())
        }

        fn set_size(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn move_down(&mut self, from: u64, to: u64, length: u64) -> io::Result<()> {
            self.0.push((from, to, length));
            if self.0.len() == 2 {
                self.1.cancel();
            }
            Ok(())
        }
    }

    #[test]
    fn a_long_move_ends_between_two_steps() {
        let token = CancelToken::new();
        let mut storage = Checked::new(Moved(Vec::new(), token.clone()), &token);
        storage.move_down(10, 3, 3 * MOVE_STEP).unwrap_err();
        assert!(storage.write_all_at(b"x", 0).is_err() && storage.set_size(0).is_err());
        storage.go_on().unwrap_err();
        assert!(storage.read_exact_at(&mut [0], 0).is_err() && storage.size().is_err());
        assert_eq!(
            storage.into_inner().0,
            [
                (10, 3, MOVE_STEP),
                (10 + MOVE_STEP, 3 + MOVE_STEP, MOVE_STEP)
            ]
        );
    }

    #[test]
    fn what_is_moved_in_steps_arrives() {
        let token = CancelToken::new();
        let mut storage = Checked::new(b"0123456789".to_vec(), &token);
        storage.move_down(4, 1, 6).unwrap();
        assert_eq!(storage.into_inner(), b"0456789789");
    }
}
