//! The troubleshooting guide that people otherwise follow by hand, walked for them: what is in order, what is wrong, and what to do about it first.
//!
//! `walk` asks, `about_token`, `about_app` and `about_host` turn what was seen into lines, `remedy` says what a person does, `guide` keeps it all in order. It
//! changes nothing and keeps nothing. Nothing that it does unasked costs money or reaches a person.

mod about_app;
mod about_host;
mod about_token;
pub mod guide;
mod message;
pub mod phone;
mod remedy;
pub mod walk;

pub use guide::{About, Bad, Found, Line, Report, Step, Wrong};
pub use remedy::Commands;
pub use walk::{Doctor, Progress, Wishes};
