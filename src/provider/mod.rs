//! Adapters to the services that issue tokens. Each turns a wire format into the facts of the core, and keeps the rest to itself.

pub mod http;
pub mod meta;
