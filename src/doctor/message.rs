//! What Meta's answer to a test message means, code by code (reference §6.2 and §9.4), and what to do about it.
//!
//! An accepted message is never called delivered: whether it arrived is told by a webhook, or by the phone.

use super::guide::{Bad, Found, Wrong};
use super::remedy::Case;
use crate::advice::{pages, plain};
use crate::domain::number::NumberError;
use crate::graph::{is_throttle, is_trouble};
use crate::ports::{Message, Sent, Unsent};

/// What came of it.
pub(super) fn line(case: &Case<'_>, message: &Message<'_>, came: &Result<Sent, Unsent>) -> Found {
    match came {
        Ok(sent) => accepted(case, message, sent),
        Err(unsent) => Found::Wrong(refused(case, message, unsent)),
    }
}

fn accepted(case: &Case<'_>, message: &Message<'_>, sent: &Sent) -> Found {
    let saw = match sent.status.as_deref() {
        None | Some("accepted") => {
            return Found::Right(format!(
                "accepted by WhatsApp for {} ({}); accepted is not delivered: look at the phone",
                message.to,
                plain(&sent.id)
            ));
        }
        Some("held_for_quality_assessment") => {
            "taken, but held until Meta has judged the template's quality: it may never arrive".to_owned()
        }
        Some(other) => format!("taken with the status {}", plain(other)),
    };
    let step = format!("Look at the template {}: {}.", plain(message.template), pages::templates(&case.links));
    let next = case.commands.doctor(case.name);
    Found::Wrong(Wrong { bad: Bad::Warning, saw, remedy: vec![step], next })
}

fn refused(case: &Case<'_>, message: &Message<'_>, unsent: &Unsent) -> Wrong {
    let (links, again) = (&case.links, case.commands.doctor(case.name));
    let template = format!("{} in {}", plain(message.template), plain(message.language));
    let words = if unsent.words.is_empty() { String::new() } else { format!(": {}", plain(&unsent.words)) };
    let code = unsent.code.map_or_else(|| "not accepted".to_owned(), |code| format!("refused with error {code}"));
    let critical = |remedy: String| Wrong {
        bad: Bad::Critical,
        saw: format!("{code}{words}"),
        remedy: vec![remedy],
        next: again.clone(),
    };
    let warning = |remedy: String| Wrong { bad: Bad::Warning, ..critical(remedy) };
    let later = |remedy: &str| Wrong { bad: Bad::Unknown, ..critical(remedy.to_owned()) };
    match unsent.code {
        Some(131_030) => warning(format!(
            "The number is a test number, and may write only to the recipients on its list: add {} at {}, or send from a real number.",
            message.to,
            pages::whatsapp_setup(links)
        )),
        Some(131_047) => warning(format!(
            "Who has not written for 24 hours gets templates only: see that {template} is an approved template: {}.",
            pages::templates(links)
        )),
        Some(131_026) => warning(format!(
            "{} cannot be reached over WhatsApp: is it the right number, with its country code, and does it use WhatsApp?",
            message.to
        )),
        Some(132_001) => warning(format!(
            "There is no approved template {template}: choose one of {} and name it with --template and --language.",
            pages::templates(links)
        )),
        Some(132_000 | 132_005 | 132_012) => warning(format!(
            "The template {template} wants parameters, and a test message has none: name one without with --template: {}.",
            pages::templates(links)
        )),
        Some(132_015) => {
            warning(format!("The template is paused for low quality: edit it at {}.", pages::templates(links)))
        }
        Some(132_016) => warning(format!(
            "The template is disabled for low quality: register another at {}.",
            pages::templates(links)
        )),
        Some(133_010) => critical(format!(
            "The number is not registered with the Cloud API: register it (POST /{}/register with its PIN), or at {}.",
            plain(message.from),
            pages::phone_numbers(links)
        )),
        Some(131_031) => critical(format!(
            "The account is locked: read why, and ask for a review, at {}.",
            pages::support_home(links)
        )),
        Some(131_042) => critical(format!("Put the payment method right: {}.", pages::payments(links))),
        Some(368) => critical(format!(
            "The account is blocked for a time for a breach of policy: {}.",
            pages::support_home(links)
        )),
        Some(33) => critical(format!(
            "The number was deleted: put the id of another into whatsapp.phone_number_id: {}.",
            pages::phone_numbers(links)
        )),
        Some(code) if is_throttle(code) => {
            later("A limit of messages is reached: wait, and try again in some minutes.")
        }
        Some(code) if is_trouble(code) => later(
            "The trouble is at Meta: try again in some minutes; https://metastatus.com/ tells whether it is known.",
        ),
        _ => match &unsent.why {
            NumberError::Missing(_) => critical(format!(
                "There is no number of the id {}, or the token may not use it: compare with {}.",
                plain(message.from),
                pages::phone_numbers(links)
            )),
            NumberError::Forbidden(_) => critical(format!(
                "The token needs whatsapp_business_messaging, and its user a role in the account: {}, \"Assign assets\", \"WhatsApp accounts\".",
                pages::system_users(links)
            )),
            NumberError::Token(_) => critical(case.new_token()),
            NumberError::Unanswered(error) => Wrong {
                bad: Bad::Unknown,
                saw: if unsent.code.is_some() {
                    format!("{code}{words}")
                } else {
                    format!("not accepted, as far as is known: {error}")
                },
                ..later("Try again; if the message arrives all the same, only the answer was lost.")
            },
        },
    }
}
