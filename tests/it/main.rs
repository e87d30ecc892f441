//! The tests: one binary, one module a subject. What is real is started by the test itself.

mod config;
mod exchange;
mod hygiene;
mod numbers;
mod provider;
mod ring1;
mod ring2;
mod ring3;
mod store;
mod support;
mod tidy;
