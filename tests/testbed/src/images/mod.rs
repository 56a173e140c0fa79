//! The images the test bed runs.
