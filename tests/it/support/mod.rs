//! What the tests share: the daemon in one process under simulated time, and real processes with real servers.

pub mod exim;
pub mod house;
pub mod process;
