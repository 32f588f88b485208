//! Dumpfiles: trees as text, as C `mkcomposefs` reads them and `composefs-info dump` writes them (`composefs-dump(5)`).
//!
//! A line for each name, of fields between single spaces:
//!
//! `PATH SIZE MODE NLINK UID GID RDEV MTIME PAYLOAD CONTENT DIGEST [NAME=VALUE …]`
//!
//! The path is absolute, and a line before it says that its parent is a directory. The mode is octal, with the type bits of `st_mode`; `@` before it
//! makes the line another name for the file its payload names, of which nothing else counts. Of a regular file the payload is its
//! path below the directory of objects, of a symbolic link its target. The content of a file that is in the image has up to 5000 bytes.
//! What is not there is `-`. Bytes that are no printable ASCII, spaces, backslashes and, in attributes, `=` are escaped: `\xHH`, `\n`, `\r`, `\t`, `\\`.
//!
//! ```
//! use lithify_cancel::CancelToken;
//! use lithify_composefs::dumpfile;
//!
//! let text = "/ 4096 40755 2 0 0 0 0.0 - - -\n/hello 3 100644 1 0 0 0 5.0 - hi\\n - user.a=b\n";
//! let filesystem = dumpfile::read(text.as_bytes(), &CancelToken::new())?;
//! let mut again = Vec::new();
//! dumpfile::write(&filesystem, &mut again, &CancelToken::new())?;
//! assert_eq!(again, text.as_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error; // text that is none
mod escape; // bytes in fields
mod line; // one line
mod of_image; // an image as lines
mod read; // all lines
mod write; // a tree as lines

pub use error::{DumpError, LineFault};
pub use of_image::{WriteError, list_image, write_image};
pub use read::read;
pub use write::write;
