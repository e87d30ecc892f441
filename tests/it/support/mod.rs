//! What the tests share: the daemon in one process under simulated time, and real processes with real servers.

pub mod alertmanager;
pub mod authority;
pub mod desk;
pub mod dialects;
pub mod exim;
pub mod hook;
pub mod house;
pub mod nspawn;
pub mod openbao;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod relay;
pub mod server;
