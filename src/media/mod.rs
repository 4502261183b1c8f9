//! Bytes with meaning: pure.
