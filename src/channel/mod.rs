//! Ways to reach people, and the messages that go there.
//!
//! For people `compose` writes, `calendar` dates, `mime` encodes and `mail` delivers, and `whatsapp` delivers one line; for machines `json`
//! writes and `webhook` delivers, and `alertmanager` turns notices into alerts. What goes over HTTP goes through `post`. No channel decides who
//! is told or when, and none drops a notice: what does not leave stays in the outbox.

pub mod alertmanager;
mod calendar;
pub mod compose;
pub mod json;
pub mod mail;
mod mime;
mod post;
pub mod webhook;
pub mod whatsapp;

use crate::domain::time::Timestamp;

/// A message as people will see it, before it is encoded. The same bundle and context always give the same message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mail {
    /// Its identity, in angle brackets.
    pub message_id: String,
    /// The roots of the threads it belongs to, the most urgent one last: the last reference is the direct parent.
    pub references: Vec<String>,
    /// The same roots, the most urgent one first: many programs read only one.
    pub in_reply_to: Vec<String>,
    /// When the newest notice in it was made.
    pub date: Timestamp,
    /// One line.
    pub subject: String,
    /// Further headers in their order; names repeat. Names and values are plain ASCII without line breaks.
    pub headers: Vec<(&'static str, String)>,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// The calendar part, where there is a deadline to come.
    pub calendar: Option<String>,
}
