//! The simulator's tests.
