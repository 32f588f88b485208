//! Archives as destinations: of an OCI image layout, as `docker save` writes them, and the latter for a daemon.

mod daemon; // loaded into a daemon
mod docker; // as `docker save` writes it
mod file; // a docker-archive in a file
mod member; // tar headers of plain files
mod oci; // a layout in a tar

pub(super) use daemon::DaemonDestination;
pub(super) use file::DockerArchiveDestination;
pub(super) use oci::OciArchiveDestination;
