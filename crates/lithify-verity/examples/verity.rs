//! Appends a tree to a file, or checks one: `verity append FILE`, `verity check FILE HASH-OFFSET [ROOT-HASH]`.

use std::error::Error;
use std::fs::File;

use lithify_verity::{ReadAt as _, Sidecar, VerifyOptions, VerityOptions, append, verify};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["append", path] => {
            let mut file = File::options().read(true).write(true).open(path)?;
            let size = file.size()?;
            let report = append(&mut file, size, &VerityOptions::default())?;
            println!("{}", Sidecar::from(&report).to_json());
        }
        ["check", path, offset, ref root @ ..] => {
            let mut options = VerifyOptions::default();
            if let [root, ..] = root {
                options.root = Some(root.parse()?);
            }
            let found = verify(&File::open(path)?, offset.parse()?, &options)?;
            println!("{}", found.root);
        }
        _ => return Err("usage: verity append FILE | verity check FILE HASH-OFFSET [ROOT]".into()),
    }
    Ok(())
}
