//! Compresses a file as Go's `compress/gzip` does: `gogzip LEVEL INPUT OUTPUT`.

use std::error::Error;
use std::fs::File;
use std::io;

use lithify_deflate::{GoGzip, Level};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(level), Some(input), Some(output)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: gogzip LEVEL INPUT OUTPUT".into());
    };
    let level = Level::try_from(level.parse::<i32>()?)?;
    let mut input = File::open(input)?;
    let mut gzip = GoGzip::new(File::create(output)?, level);
    io::copy(&mut input, &mut gzip)?;
    gzip.finish()?;
    Ok(())
}
