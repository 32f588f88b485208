//! Decodes a layer and says how fast: `decode FILE [inline] [data]`.
//!
//! With `data`, file data is read through instead of skipped.

use std::fs::File;
use std::time::Instant;

use lithify_layer::{Expected, LayerReader, Options, Threading};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments
        .next()
        .ok_or("usage: decode FILE [inline] [data]")?;
    let flags: Vec<_> = arguments.collect();
    let mut options = Options::default();
    if flags.iter().any(|f| f == "inline") {
        options.threading = Threading::Inline;
    }
    let read_data = flags.iter().any(|f| f == "data");

    let start = Instant::now();
    let mut layer = LayerReader::new(File::open(path)?, Expected::nothing(), options)?;
    let mut bytes = 0;
    while layer.next_entry()?.is_some() {
        while read_data && let Some(data) = layer.next_data()? {
            bytes += data.len();
        }
    }
    let summary = layer.finish()?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{summary:#?}");
    println!(
        "{bytes} bytes of data read, {seconds:.3} s, {:.0} MB/s of tar",
        summary.tar_size as f64 / 1e6 / seconds
    );
    Ok(())
}
