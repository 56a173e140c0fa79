//! What a broker is: how it is configured and started, and what its agent says of it.

pub mod classic;
pub mod environment;
pub mod jdbc;
pub mod jdbc_parameters;
pub mod report;
pub mod settings;
pub mod signs;
pub mod store;
mod store_id;
mod store_report;
