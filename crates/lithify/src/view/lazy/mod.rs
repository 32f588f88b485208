//! Looking into an image without reading all of it.
//!
//! Where every layer is an EROFS image without compression around it, a name is found as an overlay finds it: layer by layer,
//! reading the few blocks that lead to it. Nothing read so is checked against a digest, which only the whole of a layer has;
//! `verify` reads everything. Damage and malice give errors, as always in the EROFS reader; what would have it read more than
//! the images hold is refused as `build` refuses it.

mod find; // listings and files
mod guard; // reading no more than the images hold
mod lookup; // names in a stack of layers
mod part; // a part of the filesystem as a tree
mod stack; // the layers

pub(crate) use stack::Stack;
