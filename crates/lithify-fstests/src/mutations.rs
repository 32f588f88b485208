//! Fields of an image changed one by one: what other readers refuse, a check must.

use std::path::Path;

use lithify_testkit::Mount;

use crate::Filesystem;

/// A number in an image: what it is, where, how many bytes.
pub type Field = (&'static str, usize, usize);

/// Reads a field.
#[must_use]
pub fn get(bytes: &[u8], (_, at, length): Field) -> u64 {
    let mut value = [0; 8];
    value[..length].copy_from_slice(&bytes[at..at + length]);
    u64::from_le_bytes(value)
}

/// Changes a field.
pub fn put(bytes: &mut [u8], (_, at, length): Field, value: u64) {
    bytes[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
}

/// Numbers near the right one, at the ends of what fits, and with one bit changed.
fn others(field: Field, right: u64) -> Vec<u64> {
    let max = u64::MAX >> (64 - 8 * field.2);
    let mut values = vec![0, 1, 2, max, max - 1, max / 2];
    for near in [1, 2, 8, 16, 4096] {
        values.extend([
            right.wrapping_add(near) & max,
            right.wrapping_sub(near) & max,
        ]);
    }
    values.extend((0..8 * field.2).map(|bit| right ^ 1 << bit));
    values.retain(|&v| v != right);
    values.sort_unstable();
    values.dedup();
    values
}

/// What the kernel or another program says against an image, if anything.
#[must_use]
pub fn refusal<F: Filesystem>(image: &Path) -> Option<String> {
    match Mount::try_image(F::NAME, image) {
        Err(said) => return Some(said),
        Ok(mount) => {
            if let Err(e) = mount.read_all() {
                return Some(format!("the kernel: {e}"));
            }
        }
    }
    F::refusal(image)
}

/// Asserts, for all changes that are not `skipped`, that whatever of `fields` is changed, no other reader refuses what `verify` accepts; gives how many
/// changes it accepts.
pub fn compare<F: Filesystem>(
    what: &str,
    right: &[u8],
    fields: &[Field],
    skipped: impl Fn(Field, u64) -> bool,
) -> usize {
    let directory = lithify_testkit::temp_dir();
    let path = directory.path().join("image");
    std::fs::write(&path, right).unwrap();
    assert!(F::is_sound(right), "{what}");
    assert_eq!(refusal::<F>(&path), None, "{what}");
    let (mut accepted, mut wrong) = (0, Vec::new());
    for &field in fields {
        for value in others(field, get(right, field)) {
            let mut bytes = right.to_vec();
            put(&mut bytes, field, value);
            if skipped(field, value) {
                continue;
            }
            F::repair(&mut bytes);
            if !F::is_sound(&bytes) {
                continue;
            }
            accepted += 1;
            std::fs::write(&path, &bytes).unwrap();
            if let Some(said) = refusal::<F>(&path) {
                wrong.push(format!(
                    "{what}: {} {:#x} to {value:#x}: {said}",
                    field.0,
                    get(right, field)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    accepted
}
