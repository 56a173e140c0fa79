//! Real NFS clients and a real NFS server on one Linux machine, whatever its own kernel can do.
//!
//! A client is a small emulated machine with Debian's kernel; the server is nfs-ganesha. A lab has
//! one server and some machines, in a network namespace of its own.

mod actor;
mod archive;
mod image;
mod kernel;
mod lab;
mod machine;
mod monitor;
mod program;
mod server;
pub mod wire;

pub use actor::{Actor, Answer};
pub use lab::{EXPORT, Lab};
pub use machine::{Machine, SERVER};
pub use program::{Output, Program};
pub use server::{LEASE, Server};
