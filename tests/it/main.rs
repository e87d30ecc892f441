//! The tests: one binary, one module a subject. What is real is started by the test itself.

mod ring1;
mod support;
mod tidy;
