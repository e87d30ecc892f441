//! The words about a WhatsApp number: what keeps it from sending, in Meta's own words and ours, and what a person must do.

use crate::domain::alert::Notice;
use crate::domain::finding::{Detail, Reason};
use crate::domain::number::{Entity, Number, Obstacle, Sending};

use super::{Links, pages, plain};

/// What is wrong, in one line.
pub(super) fn headline(notice: &Notice) -> String {
    let name = notice.subject.name();
    let why = obstacles(notice).first().map(|first| format!(": {}", in_short(first))).unwrap_or_default();
    match notice.reason {
        Reason::NumberBlocked => format!("{name} cannot send, its token is fine{why}"),
        Reason::NumberLimited => format!("{name} can send only some messages{why}"),
        _ => format!("{name} no longer gets what arrives: its app is not subscribed"),
    }
}

/// It is over, in one line.
pub(super) fn good_news(notice: &Notice) -> String {
    let name = notice.subject.name();
    match notice.reason {
        Reason::NumberBlocked | Reason::NumberLimited => format!("{name} can send again"),
        _ => format!("{name} gets what arrives again"),
    }
}

/// What happens.
pub(super) fn what_happens(notice: &Notice) -> String {
    match notice.reason {
        Reason::NumberBlocked => {
            "WhatsApp refuses every message from the number, though the token works. A new token does not help.".to_owned()
        }
        Reason::NumberLimited => "WhatsApp takes only some of the messages from the number; the token works.".to_owned(),
        _ => "The app is not, or no longer, subscribed to the WhatsApp account: messages that arrive, and reports of delivery, reach \
              nobody here."
            .to_owned(),
    }
}

/// What stops working.
pub(super) fn what_breaks(notice: &Notice) -> String {
    match notice.reason {
        Reason::NumberBlocked => "Now: every message that is sent from the number.".to_owned(),
        Reason::NumberLimited => "Some of the messages that are sent from the number.".to_owned(),
        _ => "Now: whatever the application does when a message arrives, and its knowledge of what was delivered."
            .to_owned(),
    }
}

/// What is known of a number, on one line.
pub fn in_words(number: &Number) -> String {
    let told = |label: &str, value: &Option<Box<str>>| value.as_ref().map(|value| format!("{label}{value}"));
    let parts = [
        told("", &number.display),
        told("", &number.name),
        told("status ", &number.status),
        told("quality ", &number.quality),
        told("mode ", &number.mode),
    ];
    plain(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// Meta's own code, description and solution, one line for each thing in the way.
pub fn evidence(obstacles: &[Obstacle]) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for obstacle in obstacles {
        let id = if obstacle.id.is_empty() { String::new() } else { format!(" {}", plain(&obstacle.id)) };
        let code = obstacle.code.map(|code| format!(", error {code}")).unwrap_or_default();
        let words =
            if obstacle.description.is_empty() { "no reason is given".into() } else { plain(&obstacle.description) };
        let (what, sending) = (obstacle.entity.in_words(), obstacle.sending.as_str());
        lines.push(("In the way", format!("{what}{id} is {sending}{code}: {words}")));
        if !obstacle.solution.is_empty() {
            lines.push(("Meta advises", plain(&obstacle.solution)));
        }
    }
    lines
}

/// What to do, for the worst of what is in the way.
pub(super) fn steps(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    match notice.reason {
        Reason::NumberBlocked | Reason::NumberLimited => {
            let obstacles = obstacles(notice);
            let business = obstacles.iter().find(|obstacle| obstacle.entity == Entity::Business);
            let business = links.business.or(business.map(|obstacle| &*obstacle.id));
            let links = Links { business, ..*links };
            let mut steps: Vec<String> = Vec::new();
            for obstacle in obstacles {
                let step = cure(obstacle, &links);
                if !steps.contains(&step) {
                    steps.push(step);
                }
            }
            if steps.is_empty() {
                steps.push(format!("Look at the number in the WhatsApp manager: {}.", pages::phone_numbers(&links)));
            }
            steps
        }
        _ => subscribe(links),
    }
}

/// How what arrives comes to the app again.
pub fn subscribe(links: &Links<'_>) -> Vec<String> {
    let account = links.whatsapp.and_then(|whatsapp| whatsapp.business_account_id.as_deref());
    let account = account.map_or_else(|| "WABA_ID".to_owned(), plain);
    vec![
        format!(
            "Subscribe the app to the account again: POST /{account}/subscribed_apps with the token, or press \"Subscribe\" at {}.",
            pages::whatsapp_setup(links)
        ),
        "See in the same place that the webhook's address is the application's and that the field \"messages\" is ticked.".to_owned(),
        "If the application only sends, set whatsapp.webhooks = false for the token, and this is not told again.".to_owned(),
    ]
}

/// What helps against one thing, by Meta's code where there is one (reference §9.3), else by whose it is.
fn cure(obstacle: &Obstacle, links: &Links<'_>) -> String {
    match (obstacle.code, obstacle.entity) {
        (Some(141_006), _) => {
            format!("Put the payment method right: {}. Messages go out again within minutes.", pages::payments(links))
        }
        (Some(141_010), _) => format!("Have the business verified: {}.", pages::verification(links)),
        (Some(141_014), _) => {
            format!("The account is banned: read why, and ask for a review, at {}.", pages::support_home(links))
        }
        (Some(141_002), _) => format!("The template is not approved: {}.", pages::templates(links)),
        (_, Entity::Number) => format!("Look at the number in the WhatsApp manager: {}.", pages::phone_numbers(links)),
        (_, Entity::Account) => {
            format!("Look at the account's quality and restrictions: {}.", pages::support_home(links))
        }
        (_, Entity::Business) => {
            format!("Look at what Meta holds against the business: {}.", pages::support_home(links))
        }
        (_, Entity::App) => {
            format!(
                "An administrator of the app opens {} and does what Meta asks there.",
                pages::app(links, "dashboard/")
            )
        }
        (_, Entity::Other) => format!("Look at what Meta holds against it: {}.", pages::support_home(links)),
    }
}

/// A few words for a subject line. They are ours: what comes from outside stands in the evidence only.
fn in_short(obstacle: &Obstacle) -> String {
    let known = match obstacle.code {
        Some(141_006) => "the payment method",
        Some(141_010) => "the business is not verified",
        Some(141_014) => "the account is banned",
        Some(141_002) => "a template is not approved",
        _ => match obstacle.sending {
            Sending::Blocked | Sending::Available => {
                return format!("{} is blocked{}", obstacle.entity.in_words(), code(obstacle));
            }
            Sending::Limited => return format!("{} is limited{}", obstacle.entity.in_words(), code(obstacle)),
        },
    };
    format!("{known}{}", code(obstacle))
}

fn code(obstacle: &Obstacle) -> String {
    obstacle.code.map(|code| format!(" ({code})")).unwrap_or_default()
}

fn obstacles(notice: &Notice) -> &[Obstacle] {
    match &notice.detail {
        Detail::Obstacles(obstacles) => obstacles,
        Detail::None
        | Detail::Cause(_)
        | Detail::Missing(_)
        | Detail::App(..)
        | Detail::Text(_)
        | Detail::Summary(_) => &[],
    }
}
