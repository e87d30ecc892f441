//! What a renewal does to the world, step by step: sealed, published, restarted, confirmed, or rolled back.
//!
//! It decides nothing about tokens (`domain::renewal` does) and knows nothing of the daemon. Each step can be done again after a crash.

pub mod command;
pub mod confirm;
pub mod keyring;
pub mod restart;
pub mod run;
pub mod seal;
pub mod sink;
pub mod systemd;
pub mod turns;
