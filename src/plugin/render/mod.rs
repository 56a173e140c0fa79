//! Pages for people, made of what was read. Pure.

pub mod lock;
pub mod record;
pub mod status;
pub mod style;
pub mod table;
pub mod time;
