//! `tandem-operator.io/v1alpha1`.

mod crd;
mod database;
mod defaults;
mod log;
mod quantity;
mod spec;
mod status;
mod storage;
mod update;

pub use crd::crd;
pub use database::*;
pub use defaults::*;
pub use log::*;
pub use quantity::{QuantityValue, amount, mebibytes, whole};
pub use spec::*;
pub use status::*;
pub use storage::*;
pub use update::*;
