//! Ring three: the real binary as a real process, on real time, against real servers.
//!
//! What the other rings simulate (signals, sockets, disks, mail servers, other people's tools) is real here. Each test has its own folder,
//! ports and servers, so all of them may run at once.

mod answers;
mod bad_days;
mod chain;
mod channels;
mod commands;
mod container;
mod databases;
mod dialects;
mod doctor;
mod formats;
mod handing_over;
mod init;
mod kills;
mod lifecycle;
mod listener;
mod operators_commands;
mod package;
mod pages;
mod providers;
mod renewal_crashes;
mod replacing;
mod sandbox;
mod secrets;
mod systemd;
mod unit;
mod upkeep;
mod vaults;
