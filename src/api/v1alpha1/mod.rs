//! `tandem-operator.io/v1alpha1`.

mod crd;
mod defaults;
mod quantity;
mod spec;
mod status;

pub use crd::crd;
pub use defaults::*;
pub use quantity::{QuantityValue, amount};
pub use spec::*;
pub use status::*;
