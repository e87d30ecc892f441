//! Seals secrets that must outlive a crash: authenticated encryption under a key of this installation.
