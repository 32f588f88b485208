//! Stores the tar on standard input as a layer of a repository, which is created without fs-verity if it does not exist:
//! `layer REPOSITORY DIFF_ID`. With a third argument, whatever it is, writes the tar of the layer to standard output instead.

use std::error::Error;
use std::io::{self, Read as _};

use lithify_composefs::oci::{LayerSplitter, layer_stream, open_layer};
use lithify_composefs::repository::{
    CreateOptions, OpenOptions, Publication, Repository, VerityMode,
};
use lithify_digest::Digest;
use lithify_tar::Limits;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(diff_id)) = (arguments.next(), arguments.next()) else {
        return Err("usage: layer REPOSITORY DIFF_ID [out]".into());
    };
    let diff_id: Digest = diff_id.parse()?;
    let create = CreateOptions {
        verity: VerityMode::Off,
        ..CreateOptions::default()
    };
    let repository = Repository::create(path, &create, &OpenOptions::new())?;
    if arguments.next().is_some() {
        io::copy(&mut open_layer(&repository, &diff_id)?, &mut io::stdout())?;
        return Ok(());
    }
    let mut splitter = LayerSplitter::new(&repository, diff_id, Limits::default())?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match io::stdin().lock().read(&mut buffer)? {
            0 => break,
            read => splitter.push(&buffer[..read])?,
        }
    }
    let stored = splitter.finish()?;
    let mut publication = Publication::new();
    publication.stream(layer_stream(&diff_id), stored.id)?;
    repository.publish(&publication)?;
    println!("{}", stored.id);
    Ok(())
}
