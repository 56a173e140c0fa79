//! The lock that elects the master, read but never touched.
