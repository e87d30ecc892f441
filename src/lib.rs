//! tokenwatch watches access tokens, so that none dies unannounced.
//!
//! The story in one page. A [`settings::source`] reads the secret in a slot; a [`provider`] turns one answer into facts; the pure core in
//! [`domain`] decides with one function, [`domain::step::step`], what is known next and who is told; the [`store`] commits status and
//! notices in one transaction; only then the [`board`] shows it. From there two ways lead out: the outbox folds notices into messages and
//! a [`channel`] delivers them, and [`web`] renders metrics, pages and JSON from the board. [`daemon`] is the only place where these parts
//! meet; [`cli`] has one file a command. [`sim`] is the world that the demo and the tests run in, written without sharing a line with the
//! client it tests.
//!
//! `ARCHITECTURE.md` has the map, the invariants and seven walks through the code.

pub mod advice;
pub mod board;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod daemon;
pub mod doctor;
pub mod domain;
pub mod explain;
pub mod forecast;
pub mod graph;
pub mod hygiene;
pub mod ical;
pub mod ids;
pub mod metrics;
pub mod outgoing;
pub mod papers;
pub mod ports;
pub mod provider;
pub mod reader;
pub mod redact;
pub mod renewal;
pub mod requests;
pub mod secret;
pub mod settings;
pub mod sim;
pub mod store;
pub mod tls;
pub mod web;
pub mod zone;
