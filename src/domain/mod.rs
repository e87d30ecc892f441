//! The pure core: what a token is, what was seen of it, what follows from that.
//!
//! Everything here is a function of its arguments. No I/O, no clock, no async, no serialisation, no hash order: the same
//! inputs give the same decision on every machine, which is what lets `explain`, the demo and the tests replay a life.

pub mod alert;
pub mod answer;
pub mod cadence;
pub mod digest;
pub mod finding;
pub mod inspection;
pub mod ledger;
pub mod number;
pub mod proof;
pub mod renewal;
pub mod route;
pub mod status;
pub mod step;
pub mod summary;
pub mod time;
pub mod token;
pub mod verdict;
pub mod watcher;
