//! People and rights: pure.
