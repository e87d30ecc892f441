//! The tests: one binary, one module a subject. What is real is started by the test itself.

mod config;
mod declared;
mod deploy;
mod docs;
mod exchange;
mod grafana;
mod hygiene;
mod numbers;
#[expect(dead_code, reason = "a page models all that is documented, more than any one test asks of it")]
mod pages;
mod provider;
mod ring1;
mod ring2;
mod ring3;
mod store;
mod support;
mod tidy;
