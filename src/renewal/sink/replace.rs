//! Replaces a file as a whole: whoever reads it sees the old one or the new one, also after a crash.
