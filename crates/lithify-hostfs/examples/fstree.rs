//! Prints the manifest of a directory, for `diff`: `fstree DIR [one-file-system] [no-xattr NAME]...`

use std::io::Write as _;

use lithify_hostfs::{ScanOptions, WhiteoutNames, snapshot_with};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let directory = args
        .next()
        .ok_or("usage: fstree DIR [one-file-system] [no-xattr NAME]...")?;
    let mut options = ScanOptions::default();
    options.whiteouts = WhiteoutNames::Literal;
    while let Some(word) = args.next() {
        match word.to_str() {
            Some("one-file-system") => options.one_file_system = true,
            Some("no-xattr") => {
                let name = args.next().ok_or("no-xattr needs a name")?;
                options.exclude_xattrs.push(name.into_encoded_bytes());
            }
            _ => return Err(format!("unknown word {word:?}").into()),
        }
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in snapshot_with(directory, options)? {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(())
}
