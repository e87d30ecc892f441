//! The demo world: a strict simulator of Meta's Graph API, for tests and for the demonstration.
//!
//! [`World`] is the platform as a pure model: apps, users, pages and WhatsApp accounts, the tokens issued to them, and
//! what befalls them. [`World::respond`] turns a [`Request`] into a [`Reply`] at a given second, and nothing else moves
//! it: no clock, no chance, no I/O. [`Sim`] puts it behind a listener. [`Switches`] choose among behaviours the field
//! has seen both ways, [`Fault`]s break the next requests. The `§` numbers are those of the reference on the Graph API.
//!
//! Must never import the client it is there to test: the two are written from the same reference, apart.

mod answers;
mod dates;
mod debug;
mod faults;
#[cfg(test)]
mod fixture;
mod mailbox;
mod nodes;
mod oauth;
mod respond;
mod server;
mod switches;
mod token;
mod usage;
mod versions;
mod waba;
mod whatsapp;
mod world;

pub use answers::{HostFamily, Reply, Request, Transport};
pub use faults::{Fault, FaultKind, Faults, Match};
pub use mailbox::{Mailbox, Received};
pub use server::{Clock, Sim};
pub use switches::{ExpiredWording, ExpiresIn, Reexchange, Switches, Undecodable, UnknownApp};
pub use token::{
    DATA_ACCESS_WINDOW, Event, GranularScope, GranularScopes, LONG_LIFE, Lifetime, Targets, Token, TokenKind,
};
pub use waba::{CanSend, Health, HealthError, PhoneNumber, SentMessage, TemplateState, Waba};
pub use world::{App, AppEvent, AppState, OtherFamily, Page, User, World};
