//! ActiveMQ Classic: its configuration, its command line and its greeting.

pub mod greeting;
