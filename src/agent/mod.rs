//! The agent: PID 1 of the broker container.
