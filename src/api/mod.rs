//! The contract with users and between Tandem's parts: types and names only.

pub mod conditions;
pub mod labels;
pub mod names;
pub mod v1alpha1;
