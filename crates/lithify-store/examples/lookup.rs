//! How long finding, building and exporting take, in a store in the directory given (or the system's temporary one).

use std::io::Write as _;
use std::time::Instant;

use lithify_digest::{Algorithm, Digest};
use lithify_store::{
    Error, ExportOptions, Facts, GcOptions, Input, InputKind, Key, OpenOptions, Store,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parent = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let directory = tempfile::tempdir_in(parent)?;
    let path = directory.path().join("store");
    let timed = |what: &str, start: Instant, n: u32| println!("{what}: {:?}", start.elapsed() / n);

    let start = Instant::now();
    let store = Store::open(&path, OpenOptions::new().create(true))?;
    timed("make a store", start, 1);
    let keys: Vec<Key> = (0..200_u32)
        .map(|n| {
            let digest = Digest::of(Algorithm::Sha256, &n.to_le_bytes());
            Key::new(
                Input {
                    kind: InputKind::DiffId,
                    digest,
                },
                "erofs-layer",
                "1",
            )
        })
        .collect::<Result<_, _>>()?;
    let start = Instant::now();
    for key in &keys {
        store.get_or_build::<Error>(key, None, |pending| {
            let mut file = pending.create("layer.erofs")?;
            file.write_all(&[1; 10_000]).map_err(|source| Error::Io {
                operation: "write",
                path: path.clone(),
                source,
            })?;
            Ok(Facts::new())
        })?;
    }
    timed("build an entry", start, 200);
    let start = Instant::now();
    for _ in 0..100 {
        let store = Store::open(&path, OpenOptions::new())?;
        for key in &keys[..3] {
            store.get(key)?.ok_or("an entry is missing")?;
        }
    }
    timed("open the store and find three entries", start, 100);
    let start = Instant::now();
    for (n, key) in keys.iter().enumerate() {
        let entry = store.get(key)?.ok_or("an entry is missing")?;
        let output = directory.path().join(n.to_string());
        entry.export("layer.erofs", &output, ExportOptions::new())?;
    }
    timed("find and export an entry", start, 200);
    let start = Instant::now();
    store.df()?;
    timed("account for 200 entries", start, 1);
    let start = Instant::now();
    store.gc(&GcOptions::new())?;
    timed("collect 200 entries", start, 1);
    Ok(())
}
