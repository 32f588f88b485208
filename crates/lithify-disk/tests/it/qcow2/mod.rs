//! qcow2: what QEMU writes is read here, what is written here QEMU reads.

mod bench; // files that qemu-img made
mod chains; // images on top of each other
mod damage; // images that are not as they should be
mod features; // everything that qemu-img can make
mod properties; // any disk, any bytes
mod written; // images of our own
