//! The greeting of an OpenWire listener.
