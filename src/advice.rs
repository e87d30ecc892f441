//! The words about a notice: what is wrong, since when, why we think so, what breaks, and what a person must do about it.
//!
//! Everything is a function of the notice and of what the operator configured, and relative times count from the moment the notice was
//! made, so the same notice always reads the same. It never names a command that this version does not have, never shows a mail
//! address, and never puts words from outside into a headline or a step: those stand in the evidence only.

use std::fmt::Write as _;
use std::path::Path;

use crate::domain::alert::{Notice, NotifyReason, Subject, WATCHER};
use crate::domain::answer::Signed;
use crate::domain::finding::{Detail, Reason, Thread};
use crate::domain::inspection::{AppFault, Basis, Cause, Expiry, TokenKind};
use crate::domain::ledger::CALM;
use crate::domain::time::{Span, Timestamp, relative};
use crate::domain::token::ProviderName;
use crate::settings::description::builtin;
use crate::settings::value::SecretRef;
use crate::settings::{Settings, WhatsApp};
use crate::zone::Zone;

mod common;
mod elsewhere;
pub mod number;
pub mod pages;
mod pieces;
mod renewal;
mod watcher;

use pages::{APPS, DEBUGGER, EXPLORER, FACEBOOK, PAGES, STATUS};

pub use common::{Shared, shared, title};
pub use pieces::{Piece, pieces};
pub use renewal::planned;
pub use watcher::summary_in_words;

/// What the configuration adds to a notice: where things stand and whom they belong to. All of it may be missing, for a slot may have
/// left the configuration before its last notice leaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Links<'a> {
    /// The operator's own page.
    pub runbook: Option<&'a str>,
    /// The provider's id of the app.
    pub app_id: Option<&'a str>,
    /// Where the secret in question stands: the token's, or the app's for a notice about an app.
    pub secret: Option<&'a SecretRef>,
    /// The permissions that the operator asked for.
    pub scopes: &'a [Box<str>],
    /// The WhatsApp number behind the token.
    pub whatsapp: Option<&'a WhatsApp>,
    /// The provider's id of the business that owns it, where it is known.
    pub business: Option<&'a str>,
    /// How often a critical incident is told again; zero means never.
    pub repeat: Option<Span>,
    /// Whether `tokenwatch replace` can put a new token in place.
    pub replaceable: bool,
    /// The page where tokens of its provider are made, where that is not Meta.
    pub manage: Option<&'a str>,
    /// How a new one is had there.
    pub steps: &'a [Box<str>],
}

impl<'a> Links<'a> {
    /// What these settings know of a subject.
    pub fn of(settings: &'a Settings, subject: &Subject) -> Self {
        match subject {
            Subject::Token(id) => {
                let Some(token) = settings.token(id) else { return Self::default() };
                let app = token.spec.app.as_ref().and_then(|name| settings.apps.get(name));
                let described = settings.described(&token.spec.provider);
                Self {
                    runbook: token.runbook.as_deref(),
                    app_id: app.map(|app| app.id.as_str()),
                    secret: Some(&token.secret),
                    scopes: &token.spec.required.scopes,
                    whatsapp: token.whatsapp.as_deref(),
                    business: None,
                    repeat: Some(token.spec.policy.repeat),
                    replaceable: token.replace.is_some(),
                    manage: described.and_then(|it| it.manage.as_ref()).map(url::Url::as_str),
                    steps: described.map(|it| it.steps.as_slice()).unwrap_or_default(),
                }
            }
            Subject::App(name) => {
                let Some(app) = settings.apps.get(name) else { return Self::default() };
                let described = settings.described(&app.spec.provider);
                Self {
                    manage: described.and_then(|it| it.manage.as_ref()).map(url::Url::as_str),
                    app_id: Some(&app.id),
                    secret: app.secret.as_ref(),
                    repeat: Some(app.spec.policy.repeat),
                    ..Self::default()
                }
            }
            Subject::Watcher => Self { repeat: Some(settings.policy.repeat), ..Self::default() },
        }
    }
}

/// A reason in words, as the end of "what is wrong: …".
pub const fn reason_in_words(reason: Reason) -> &'static str {
    match reason {
        Reason::Expiring => "the token's end is near",
        Reason::Expired => "the token's end has passed",
        Reason::Revoked => "the token was revoked before its time",
        Reason::Unreadable => "the provider cannot make sense of the token",
        Reason::DataAccessExpiring => "the data-access window closes soon",
        Reason::DataAccessExpired => "the data-access window is closed",
        Reason::ExpiryUnknown => "the token works, but no deadline can be learned",
        Reason::ScopeMissing => "a required permission is not granted",
        Reason::TargetMissing => "a required account is not covered",
        Reason::AppFault => "the app is at fault, or the token belongs to another app",
        Reason::Blind => "there was no authoritative answer for too long",
        Reason::SourceUnreadable => "the secret cannot be read",
        Reason::NumberBlocked => "WhatsApp sends nothing from the number",
        Reason::NumberLimited => "WhatsApp sends only some messages from the number",
        Reason::WebhooksMissing => "what arrives at the number does not reach the app",
        Reason::Undeliverable => "notices cannot be delivered",
        Reason::OutboxGrowing => "notices pile up",
        Reason::ClockOff => "our clock and the provider's differ",
        Reason::StateNearlyFull => "the folder of the state is nearly full",
        Reason::VersionRetiring => "the API version that is asked for ends soon, or has ended",
        Reason::Digest => "nothing is wrong: the regular summary",
        Reason::Test => "nothing is wrong: a test",
        Reason::RenewalFailed => "the token could not be renewed",
        Reason::RenewalOverdue => "the token should have been renewed by now",
        Reason::RenewalWithoutGain => "the token was renewed, but its end did not move",
        Reason::Renewed => "nothing is wrong: the token was renewed or replaced",
    }
}

/// A provider's name as people write it; one that the operator described has the name that they gave it.
pub fn provider_in_words(provider: &ProviderName) -> &str {
    builtin::title(provider).unwrap_or(provider.as_str())
}

/// The one line that a tired reader sees: `helpdesk-whatsapp expires in 3 days`.
pub fn headline(notice: &Notice) -> String {
    let line = match notice.why {
        NotifyReason::Resolved => good_news(notice),
        NotifyReason::Reminded => format!("the silence over {} ends soon: {}", short_name(notice), bad_news(notice)),
        NotifyReason::First | NotifyReason::Escalated | NotifyReason::Repeated => bad_news(notice),
    };
    shortened(&plain(&line), LONGEST_HEADLINE)
}

/// What happens, and when: in the configured zone, and counted from the notice.
pub fn what_happens(notice: &Notice, zone: &Zone) -> String {
    let provider = provider_in_words(&notice.provider);
    let date = notice.deadline.map(|at| format!("{} ({})", zone.long(at), relative(at, notice.at)));
    if notice.why == NotifyReason::Resolved {
        let end = match (notice.reason.thread(), notice.facts.expires) {
            (Thread::Expiry | Thread::ExpiryUnknown | Thread::Revoked | Thread::Unreadable, Expiry::At(at))
                if at > notice.at =>
            {
                format!(" It now works until {} ({}).", zone.long(at), relative(at, notice.at))
            }
            _ => String::new(),
        };
        let lasted = notice.at.since(notice.since);
        return format!(
            "{}. The incident lasted {lasted}, from {}.{end}",
            capitalised(&headline(notice)),
            zone.long(notice.since)
        );
    }
    // A provider may call a token expired before its date; then nobody knows since when.
    let past = date.clone().filter(|_| notice.deadline.is_some_and(|at| at <= notice.at));
    match notice.reason {
        Reason::Expiring => {
            let when = date.map_or_else(|| "soon".to_owned(), |date| format!("on {date}"));
            format!("The token stops working {when}. From then on {provider} refuses every call made with it.")
        }
        Reason::Expired => {
            let when = past.map(|date| format!(" on {date}")).unwrap_or_default();
            format!("The token stopped working{when}. {} refuses every call made with it.", capitalised(provider))
        }
        Reason::Revoked => format!(
            "{} ended the token before its time: {}. It refuses every call made with it, and no retry helps.",
            capitalised(provider),
            cause(notice).in_words()
        ),
        Reason::Unreadable => format!(
            "{} cannot make sense of the token. It is damaged, belongs to another host or product, or was never a token.",
            capitalised(provider)
        ),
        Reason::DataAccessExpiring => {
            let when = date.map_or_else(|| "soon".to_owned(), |date| format!("on {date}"));
            format!(
                "The app's access to the user's data ends {when}. The token itself may live longer; renewing it does not move \
                 this date."
            )
        }
        Reason::DataAccessExpired => {
            let when = past.map(|date| format!(" on {date}")).unwrap_or_default();
            format!("The app's access to the user's data ended{when}. Renewing the token does not bring it back.")
        }
        Reason::ExpiryUnknown => {
            format!("The token works, but {provider} did not say until when, so its end cannot be announced.")
        }
        Reason::ScopeMissing => {
            format!(
                "The token works, but these required permissions are not granted: {}.",
                missing(notice, LONGEST_LIST)
            )
        }
        Reason::TargetMissing => {
            format!(
                "The token works, but it does not cover these required accounts: {}.",
                missing(notice, LONGEST_LIST)
            )
        }
        Reason::AppFault => match (&notice.subject, app_fault(notice)) {
            (Subject::App(_), Some(fault)) => format!(
                "{provider} refuses questions about the tokens of this app: the app {}. This is told once for the app, not once per token.",
                fault.in_words()
            ),
            (Subject::App(_) | Subject::Token(_) | Subject::Watcher, _) => format!(
                "The token belongs to another app than the one it is configured with{}, and {provider} tells an app only about its own tokens.",
                notice.app.as_ref().map(|app| format!(" ({app})")).unwrap_or_default()
            ),
        },
        Reason::Blind => format!(
            "For {} there was no answer about the token that can be believed. Whether it works is not known; dates already known are still watched.",
            blind_for(notice)
        ),
        Reason::SourceUnreadable => {
            format!(
                "The secret cannot be read where it is configured to stand, so nothing can be asked about {}.",
                short_name(notice)
            )
        }
        Reason::NumberBlocked | Reason::NumberLimited | Reason::WebhooksMissing => number::what_happens(notice),
        Reason::RenewalFailed | Reason::RenewalOverdue | Reason::RenewalWithoutGain | Reason::Renewed => {
            renewal::what_happens(notice, zone)
        }
        Reason::Undeliverable
        | Reason::OutboxGrowing
        | Reason::ClockOff
        | Reason::StateNearlyFull
        | Reason::VersionRetiring
        | Reason::Digest
        | Reason::Test => watcher::what_happens(notice, zone),
    }
}

/// Why we think so: labels and values, the provider's own words last. Values may come from outside; they are redacted at the edge and
/// are text, never markup.
pub fn evidence(notice: &Notice, zone: &Zone) -> Vec<(&'static str, String)> {
    let moment = |at: Timestamp| format!("{} ({})", zone.long(at), relative(at, notice.at));
    let facts = &notice.facts;
    let mut lines = vec![("Finding", format!("{} ({})", notice.reason.as_str(), reason_in_words(notice.reason)))];
    if let Subject::Token(_) = notice.subject {
        lines.push(("Kind", plain(kind_in_words(&facts.kind))));
        if let Some(app) = &notice.app {
            lines.push(("App", app.to_string()));
        }
        if let Some(at) = facts.issued_at {
            lines.push(("Issued", moment(at)));
        }
        lines.push((
            "Ends",
            match facts.expires {
                Expiry::Never => "never, says the provider".to_owned(),
                Expiry::At(at) if facts.basis != Basis::Told => format!("{}; {}", moment(at), facts.basis.in_words()),
                Expiry::At(at) => moment(at),
                Expiry::Unknown => "not known".to_owned(),
            },
        ));
        lines.push(("Last answer", facts.last_answer.map_or_else(|| "none yet".to_owned(), moment)));
    }
    lines.push(("Since", moment(notice.since)));
    let (label, words) = match &notice.detail {
        Detail::Cause(cause) => ("Cause", plain(cause.in_words())),
        Detail::App(_, text) | Detail::Text(text) => {
            let label = match notice.reason {
                Reason::Blind => "Last failure",
                Reason::SourceUnreadable => "Problem",
                Reason::RenewalFailed | Reason::RenewalOverdue | Reason::RenewalWithoutGain => "Why",
                Reason::Renewed => "Done",
                Reason::Expiring
                | Reason::Expired
                | Reason::Revoked
                | Reason::Unreadable
                | Reason::DataAccessExpiring
                | Reason::DataAccessExpired
                | Reason::ExpiryUnknown
                | Reason::ScopeMissing
                | Reason::TargetMissing
                | Reason::NumberBlocked
                | Reason::NumberLimited
                | Reason::WebhooksMissing
                | Reason::AppFault => "Their words",
                Reason::Undeliverable
                | Reason::OutboxGrowing
                | Reason::ClockOff
                | Reason::StateNearlyFull
                | Reason::VersionRetiring
                | Reason::Digest
                | Reason::Test => "Seen",
            };
            (label, plain(text))
        }
        Detail::Obstacles(obstacles) => {
            lines.extend(number::evidence(obstacles));
            ("", String::new())
        }
        Detail::None | Detail::Missing(_) | Detail::Summary(_) => ("", String::new()),
    };
    if !words.is_empty() {
        lines.push((label, words.clone()));
    }
    let message = facts.message.as_deref().map(plain).filter(|message| !message.is_empty() && *message != words);
    lines.extend(message.map(|message| ("Their words", message)));
    lines
}

/// What stops working because of it.
pub fn what_breaks(notice: &Notice, links: &Links<'_>) -> String {
    if notice.why == NotifyReason::Resolved {
        return "Nothing any more.".to_owned();
    }
    let users = users_of(links);
    match notice.reason {
        Reason::Expiring => format!("From that moment: {users}."),
        Reason::Expired | Reason::Revoked | Reason::Unreadable => format!("Now: {users}."),
        Reason::DataAccessExpiring => "From that moment: reading the user's data. Other calls may go on.".to_owned(),
        Reason::DataAccessExpired => "Now: reading the user's data. Other calls may go on.".to_owned(),
        Reason::ExpiryUnknown => "Nothing now. But its end will come without a warning from tokenwatch.".to_owned(),
        Reason::ScopeMissing => format!("Calls that need {} are refused.", missing(notice, SHORT_LIST)),
        Reason::TargetMissing => format!("Calls about {} are refused.", missing(notice, SHORT_LIST)),
        Reason::AppFault => match app_fault(notice) {
            Some(AppFault::Deleted | AppFault::Blocked) => "Now: every token of this app.".to_owned(),
            Some(
                AppFault::WrongSecret | AppFault::UnknownApp | AppFault::NotPrivileged | AppFault::SecretUnreadable,
            ) => "The watch over every token of this app; the tokens themselves may still work.".to_owned(),
            None => "The watch over this token; the token itself may still work.".to_owned(),
        },
        Reason::Blind => "Perhaps nothing. But if the token is revoked meanwhile, nobody will be told.".to_owned(),
        Reason::SourceUnreadable => match notice.subject {
            Subject::App(_) => {
                "The watch over every token of this app; the tokens themselves may still work.".to_owned()
            }
            Subject::Token(_) | Subject::Watcher => {
                format!("The watch over this token. If the application reads the same place, also: {users}.")
            }
        },
        Reason::NumberBlocked | Reason::NumberLimited | Reason::WebhooksMissing => number::what_breaks(notice),
        Reason::RenewalFailed | Reason::RenewalOverdue | Reason::RenewalWithoutGain | Reason::Renewed => {
            renewal::what_breaks(notice, &users)
        }
        Reason::Undeliverable
        | Reason::OutboxGrowing
        | Reason::ClockOff
        | Reason::StateNearlyFull
        | Reason::VersionRetiring
        | Reason::Digest
        | Reason::Test => watcher::what_breaks(notice.reason).to_owned(),
    }
}

/// What to do now, in order, the confirmation included; empty when it is over.
pub fn steps(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    if notice.why == NotifyReason::Resolved || notice.reason == Reason::Renewed {
        return Vec::new();
    }
    let mut steps: Vec<String> = renewal::wait(notice).into_iter().collect();
    steps.extend(cure(notice, links));
    steps.extend(confirmation(notice));
    steps.extend(runbook(links));
    steps
}

/// The operator's own page, as a step.
pub fn runbook(links: &Links<'_>) -> Option<String> {
    links.runbook.map(|page| format!("Your runbook: {}", plain(page)))
}

/// What puts it right, in order.
pub fn cure(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let elsewhere = !notice.provider.is_meta() && notice.subject != Subject::Watcher;
    match notice.reason {
        Reason::Blind if elsewhere => blind(notice),
        Reason::SourceUnreadable => source(links),
        Reason::Renewed => Vec::new(),
        Reason::RenewalFailed | Reason::RenewalOverdue | Reason::RenewalWithoutGain => {
            let mut steps = renewal::steps(notice, links);
            steps.extend(new_token(notice, links));
            steps
        }
        _ if elsewhere => elsewhere::cure(notice, links),
        Reason::Expiring => {
            let mut steps = new_token(notice, links);
            if notice.facts.kind == TokenKind::SystemUser {
                steps.push("Leave the old token alone: it works until its own end, so nothing has to stop.".to_owned());
            }
            steps
        }
        Reason::Expired => new_token(notice, links),
        Reason::Revoked => {
            let mut steps = before_a_new_token(cause(notice), notice, links);
            steps.extend(new_token(notice, links));
            steps
        }
        Reason::Unreadable => unreadable(notice, links),
        Reason::DataAccessExpiring | Reason::DataAccessExpired => reauthorise(notice, links),
        Reason::ExpiryUnknown => expiry_unknown(notice, links),
        Reason::ScopeMissing => scope_missing(notice, links),
        Reason::TargetMissing => target_missing(notice, links),
        Reason::AppFault => match app_fault(notice) {
            Some(fault) => app_steps(fault, notice, links),
            None => foreign_token(notice, links),
        },
        Reason::Blind => blind(notice),
        Reason::NumberBlocked | Reason::NumberLimited | Reason::WebhooksMissing => number::steps(notice, links),
        Reason::Undeliverable
        | Reason::OutboxGrowing
        | Reason::ClockOff
        | Reason::StateNearlyFull
        | Reason::VersionRetiring
        | Reason::Digest
        | Reason::Test => watcher::steps(notice),
    }
}

/// What was already done about it.
pub fn already_done(notice: &Notice, zone: &Zone) -> String {
    match (notice.why, &notice.subject) {
        (NotifyReason::Resolved, Subject::Token(_)) if notice.facts.renewal.is_some() => {
            renewal::already_done(notice, zone)
        }
        (NotifyReason::Resolved, _) => "Nothing is left to do.".to_owned(),
        (_, Subject::Watcher) => {
            "Nothing: tokenwatch goes on watching, and keeps what it could not deliver.".to_owned()
        }
        (_, Subject::Token(_) | Subject::App(_)) => renewal::already_done(notice, zone),
    }
}

/// When people hear of it next.
pub fn next_notice(notice: &Notice, zone: &Zone) -> String {
    match (notice.why, notice.next) {
        (NotifyReason::Resolved, _) => "No more: this incident is closed.".to_owned(),
        (_, Some(at)) => {
            format!(
                "{} ({}), unless it is put right before; then you are told that.",
                zone.long(at),
                relative(at, notice.at)
            )
        }
        (_, None) => "Only when it gets worse, or is put right.".to_owned(),
    }
}

/// Who answered it already, in words.
pub fn answered(notice: &Notice, zone: &Zone) -> Option<String> {
    let signed = |signed: &Signed| {
        let why = signed.why.as_deref().map(|why| format!(": {}", plain(why))).unwrap_or_default();
        format!("{}, {} ({}){why}", plain(&signed.by), zone.long(signed.at), relative(signed.at, notice.at))
    };
    if let Some(silence) = &notice.silence {
        return Some(format!("Silenced until {} by {}", zone.long(silence.until), signed(&silence.signed)));
    }
    notice.acknowledged.as_ref().map(|by| format!("Acknowledged by {}", signed(by)))
}

/// That it comes and goes, where it does.
pub fn comes_and_goes(notice: &Notice) -> Option<String> {
    let times = notice.flaps?;
    Some(format!(
        "It comes and goes: it began {times} times within a day. From now on you are told only when it gets worse, and that it is over when \
         nothing has changed for {}.",
        CALM.to_string().trim_start_matches("1 ")
    ))
}

/// How to answer it.
pub fn acknowledgement(notice: &Notice, links: &Links<'_>) -> Option<String> {
    if notice.why == NotifyReason::Resolved || !notice.reason.is_a_finding() {
        return None;
    }
    let repeated = match links.repeat {
        Some(Span::ZERO) => " It is not repeated.".to_owned(),
        Some(repeat) => {
            let span = repeat.to_string();
            let span = span.strip_prefix("1 ").filter(|unit| !unit.contains(' ')).unwrap_or(&span);
            format!(" While critical it is repeated every {span}, until it is put right.")
        }
        None => String::new(),
    };
    let name = answer_name(&notice.subject);
    let (ack, silence) =
        (format!("`tokenwatch ack {name}`"), format!("`tokenwatch silence {name} --for 4h --why TEXT`"));
    let repeated = if notice.acknowledged.is_some() { String::new() } else { repeated };
    Some(format!("{ack} (no more repeats; what gets worse is still told), or {silence}.{repeated}"))
}

/// The name by which a subject is acknowledged or silenced. A token may be called like an app, or like the watcher.
pub fn answer_name(subject: &Subject) -> String {
    match subject {
        Subject::Token(id) => id.to_string(),
        Subject::App(_) | Subject::Watcher => subject.to_string(),
    }
}

/// The command that looks again.
pub fn command(subject: &Subject) -> String {
    match subject {
        Subject::Token(id) => format!("tokenwatch check {id}"),
        Subject::App(_) => "tokenwatch check".to_owned(),
        Subject::Watcher => "tokenwatch status".to_owned(),
    }
}

/// Text from outside on one line, without control characters or anything that reorders what is around it.
pub fn plain(text: &str) -> String {
    let clean = |c: char| if c.is_control() || is_invisible(c) { ' ' } else { c };
    let line: String = text.chars().take(LONGEST_TEXT).map(clean).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A path as a shell takes it.
pub fn in_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | '%' | ',' | ':' | '=');
    // At the beginning of a word `~` and `=` mean something else.
    let fine = text.chars().all(plain) && !text.is_empty() && !text.starts_with('=');
    if fine { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// A kind of token in words.
pub fn kind_in_words(kind: &TokenKind) -> &str {
    match kind {
        TokenKind::User => "user token (a person's login)",
        TokenKind::Page => "page token",
        TokenKind::SystemUser => "system user token",
        TokenKind::App => "app token",
        TokenKind::Other(word) => word,
        TokenKind::Unknown => "not known",
    }
}

fn bad_news(notice: &Notice) -> String {
    let name = notice.subject.name();
    let provider = provider_in_words(&notice.provider);
    match notice.reason {
        Reason::Expiring => match notice.deadline.filter(|at| *at > notice.at) {
            Some(at) => format!("{name} expires {}", relative(at, notice.at)),
            None => format!("{name} expires soon"),
        },
        Reason::Expired => match notice.deadline.filter(|at| *at <= notice.at) {
            Some(at) => format!("{name} expired {}", relative(at, notice.at)),
            None => format!("{name} has expired"),
        },
        Reason::Revoked => match cause(notice) {
            Cause::Unstated => format!("{name} is no longer valid, and {provider} gave no cause"),
            cause => format!("{name} was revoked: {}", in_short(cause)),
        },
        Reason::Unreadable => format!("{name} is not a token that {provider} can read"),
        Reason::DataAccessExpiring => match notice.deadline.filter(|at| *at > notice.at) {
            Some(at) => format!("{name} loses data access {}", relative(at, notice.at)),
            None => format!("{name} loses data access soon"),
        },
        Reason::DataAccessExpired => match notice.deadline.filter(|at| *at <= notice.at) {
            Some(at) => format!("{name} lost data access {}", relative(at, notice.at)),
            None => format!("{name} has lost data access"),
        },
        Reason::ExpiryUnknown => format!("{name} works, but its end is not known"),
        Reason::ScopeMissing => match missing_count(notice) {
            0 | 1 => format!("{name} is missing the permission {}", missing(notice, 1)),
            n => format!("{name} is missing {n} permissions: {}", missing(notice, SHORT_LIST)),
        },
        Reason::TargetMissing => match missing_count(notice) {
            0 | 1 => format!("{name} does not cover the account {}", missing(notice, 1)),
            n => format!("{name} does not cover {n} accounts: {}", missing(notice, SHORT_LIST)),
        },
        Reason::AppFault => match (&notice.subject, app_fault(notice)) {
            (Subject::App(_), Some(fault)) => app_headline(name, fault, provider),
            (Subject::App(_), None) => format!("app {name} is at fault"),
            (Subject::Token(_) | Subject::Watcher, _) => match &notice.app {
                Some(app) => format!("{name} belongs to another app than {app}"),
                None => format!("{name} belongs to another app"),
            },
        },
        Reason::Blind => match notice.facts.last_answer {
            Some(_) => format!("{name} can no longer be checked ({} without an answer)", blind_for(notice)),
            None => format!("{name} could never be checked: no answer yet"),
        },
        Reason::SourceUnreadable => format!("{}: its secret cannot be read", short_name(notice)),
        Reason::NumberBlocked | Reason::NumberLimited | Reason::WebhooksMissing => number::headline(notice),
        Reason::RenewalFailed | Reason::RenewalOverdue | Reason::RenewalWithoutGain | Reason::Renewed => {
            renewal::headline(notice)
        }
        Reason::Undeliverable
        | Reason::OutboxGrowing
        | Reason::ClockOff
        | Reason::StateNearlyFull
        | Reason::VersionRetiring
        | Reason::Digest
        | Reason::Test => watcher::headline(notice),
    }
}

fn app_headline(name: &str, fault: AppFault, provider: &str) -> String {
    match fault {
        AppFault::WrongSecret => format!("app {name}: its secret does not match the app id"),
        AppFault::UnknownApp => format!("app {name}: its id is not known to {provider}"),
        AppFault::Deleted => format!("app {name} was deleted at {provider}"),
        AppFault::Blocked => format!("app {name} is blocked by {provider}"),
        AppFault::NotPrivileged => format!("app {name} may not inspect tokens"),
        AppFault::SecretUnreadable => format!("app {name}: its secret cannot be read"),
    }
}

fn good_news(notice: &Notice) -> String {
    let name = notice.subject.name();
    if let Detail::Text(text) = &notice.detail {
        return format!("{}: {text}", short_name(notice));
    }
    if is_retired(notice) {
        return format!("{name} is no longer watched");
    }
    let until = |otherwise: &str| match notice.facts.expires {
        Expiry::At(at) if at > notice.at => format!("{name} now expires {}", relative(at, notice.at)),
        Expiry::Never => format!("{name} no longer expires"),
        Expiry::At(_) | Expiry::Unknown => format!("{name} {otherwise}"),
    };
    match notice.reason {
        Reason::Expiring | Reason::Expired if renewal::ended_it(notice) => renewal::good_news(notice),
        Reason::Expiring | Reason::Expired => until("is renewed"),
        Reason::Revoked | Reason::Unreadable => format!("{name} works again"),
        Reason::DataAccessExpiring | Reason::DataAccessExpired => format!("{name} has data access again"),
        Reason::ExpiryUnknown => until("has a known end"),
        Reason::ScopeMissing => format!("{name} has all required permissions"),
        Reason::TargetMissing => format!("{name} covers all required accounts"),
        Reason::AppFault => match notice.subject {
            Subject::App(_) => format!("app {name} is accepted again"),
            Subject::Token(_) | Subject::Watcher => format!("{name} belongs to the configured app"),
        },
        Reason::Blind => format!("{name} is being checked again"),
        Reason::SourceUnreadable => format!("{}: its secret can be read again", short_name(notice)),
        Reason::NumberBlocked | Reason::NumberLimited | Reason::WebhooksMissing => number::good_news(notice),
        Reason::RenewalFailed | Reason::RenewalOverdue | Reason::RenewalWithoutGain | Reason::Renewed => {
            renewal::good_news(notice)
        }
        Reason::Undeliverable
        | Reason::OutboxGrowing
        | Reason::ClockOff
        | Reason::StateNearlyFull
        | Reason::VersionRetiring
        | Reason::Digest
        | Reason::Test => watcher::good_news(notice.reason).to_owned(),
    }
}

/// A token's incident ends on an answer of its provider, except where the slot left the configuration; a secret that can be read
/// again needs no answer either.
fn is_retired(notice: &Notice) -> bool {
    matches!(notice.subject, Subject::Token(_))
        && notice.reason != Reason::SourceUnreadable
        && notice.facts.last_answer.is_none()
}

fn short_name(notice: &Notice) -> String {
    match &notice.subject {
        Subject::Token(id) => id.to_string(),
        Subject::App(name) => format!("app {name}"),
        Subject::Watcher => WATCHER.to_owned(),
    }
}

fn cause(notice: &Notice) -> Cause {
    match notice.detail {
        Detail::Cause(cause) => cause,
        Detail::None
        | Detail::Missing(_)
        | Detail::App(..)
        | Detail::Text(_)
        | Detail::Obstacles(_)
        | Detail::Summary(_) => Cause::Unstated,
    }
}

fn app_fault(notice: &Notice) -> Option<AppFault> {
    match notice.detail {
        Detail::App(fault, _) => Some(fault),
        Detail::None
        | Detail::Cause(_)
        | Detail::Missing(_)
        | Detail::Text(_)
        | Detail::Obstacles(_)
        | Detail::Summary(_) => None,
    }
}

fn missing_count(notice: &Notice) -> usize {
    match &notice.detail {
        Detail::Missing(list) => list.len(),
        Detail::None
        | Detail::Cause(_)
        | Detail::App(..)
        | Detail::Text(_)
        | Detail::Obstacles(_)
        | Detail::Summary(_) => 0,
    }
}

/// The missing things, at most `limit` of them by name.
fn missing(notice: &Notice, limit: usize) -> String {
    match &notice.detail {
        Detail::Missing(list) => listed(list, limit),
        Detail::None
        | Detail::Cause(_)
        | Detail::App(..)
        | Detail::Text(_)
        | Detail::Obstacles(_)
        | Detail::Summary(_) => "asked for".to_owned(),
    }
}

fn listed(list: &[Box<str>], limit: usize) -> String {
    let mut text = list.iter().take(limit).map(|item| plain(item)).collect::<Vec<_>>().join(", ");
    if list.len() > limit {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {} more", list.len() - limit);
    }
    text
}

fn blind_for(notice: &Notice) -> String {
    let since = notice.facts.last_answer.unwrap_or(notice.since).min(notice.since);
    notice.at.since(since).to_string()
}

/// Short enough for a subject line; the full words are `Cause::in_words`.
const fn in_short(cause: Cause) -> &'static str {
    match cause {
        Cause::AppRemoved => "the user removed the app",
        Cause::Checkpointed => "the account is held at a checkpoint",
        Cause::PasswordChanged => "the password changed or the session was reset",
        Cause::Unconfirmed => "the account is not confirmed",
        Cause::LoggedOut => "the user logged out or it was withdrawn",
        Cause::RoleLost => "its user lost the role on the page",
        Cause::Inactive => "its user was inactive for over 90 days",
        Cause::AccountSuspended => "the account is suspended",
        Cause::AccountClosed => "the account was closed",
        Cause::Disabled => "it was switched off",
        Cause::Untrusted => "clients do not trust it",
        Cause::Unstated => "no cause was given",
    }
}

fn users_of(links: &Links<'_>) -> String {
    let Some(whatsapp) = links.whatsapp else { return "everything that uses this token".to_owned() };
    let number =
        whatsapp.phone_number_id.as_deref().map(|id| format!(" of the number {}", plain(id))).unwrap_or_default();
    let account = whatsapp.business_account_id.as_deref().map(|id| format!(" (account {})", plain(id)));
    format!("WhatsApp messages{number}{}, in and out", account.unwrap_or_default())
}

/// How a new token of this kind is had and put in place.
fn new_token(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    if !notice.provider.is_meta() {
        return elsewhere::new_token(notice, links);
    }
    let users = pages::system_users(links);
    let app = match links.app_id {
        Some(id) => format!("the app {}", plain(id)),
        None => "its app".to_owned(),
    };
    let mut steps = match &notice.facts.kind {
        TokenKind::SystemUser => vec![format!(
            "Open {users}, choose the system user, press \"Generate token\" and choose {app}.{}",
            ticked(links)
        )],
        TokenKind::User => user_token(&app, links),
        TokenKind::Page => {
            let mut steps = user_token(&app, links);
            steps.push(
                "Take the page's new token from the answer to GET /me/accounts made with that login: a page token lives \
                 and dies with the login it comes from."
                    .to_owned(),
            );
            steps
        }
        TokenKind::App => vec![format!(
            "An app token is the app id, \"|\" and the app secret: take the secret from {}.",
            pages::app(links, "settings/basic/")
        )],
        TokenKind::Other(_) | TokenKind::Unknown => vec![format!(
            "Issue a new token the way this one was issued, for {app}. Not known how? {DEBUGGER} shows its kind and owner; \
             for a server, use a system user: {users}.{}",
            ticked(links)
        )],
    };
    steps.push(put_in_place(notice, links));
    steps
}

fn user_token(app: &str, links: &Links<'_>) -> Vec<String> {
    let users = pages::system_users(links);
    let mut steps = Vec::new();
    if links.whatsapp.is_some() {
        steps.push(format!(
            "For a server, generate the new token for a system user: {users}. A user token from the \"API Setup\" page \
             dies within 24 hours, and any user token dies with its person's password."
        ));
    }
    steps.push(format!(
        "{}have the same person log in again through your application, or at {EXPLORER} choose {app} and generate a user \
         token.{}",
        if steps.is_empty() { "To get a new one, " } else { "If it must stay a user token, " },
        ticked(links)
    ));
    steps.push(format!("Make it long-lived (60 days) with \"Extend Access Token\" at {DEBUGGER}."));
    steps
}

fn ticked(links: &Links<'_>) -> String {
    if links.scopes.is_empty() { String::new() } else { format!(" Tick {}.", listed(links.scopes, LONGEST_LIST)) }
}

fn put_in_place(notice: &Notice, links: &Links<'_>) -> String {
    if links.replaceable {
        let name = notice.subject.name();
        return format!(
            "Hand the new token over with `tokenwatch replace {name}`: it is inspected, put in place, and the application is restarted and \
             tried, or everything is rolled back."
        );
    }
    let place =
        links.secret.map_or_else(|| "where the application reads it".to_owned(), |place| plain(&place.to_string()));
    format!("Put the new token in place of the old one ({place}) and restart or reload what uses it.")
}

/// What must be put right before a new token is of any use.
fn before_a_new_token(cause: Cause, notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let machine = notice.facts.kind == TokenKind::SystemUser;
    let step = match cause {
        Cause::AppRemoved if machine => {
            format!("Give the system user the app again: {}, \"Assign assets\", \"Apps\".", pages::system_users(links))
        }
        Cause::AppRemoved => {
            "Ask the token's user why the app was removed; a new token needs the user's consent again.".to_owned()
        }
        Cause::Checkpointed => {
            format!("The token's user logs in at {FACEBOOK} and clears the checkpoint; before that no new token works.")
        }
        Cause::PasswordChanged => {
            "Ask the token's user whether they changed the password. If not, Meta reset the session for security: have the \
             account checked before you issue a new token."
                .to_owned()
        }
        Cause::Unconfirmed => format!("The token's user logs in at {FACEBOOK} and confirms the account."),
        Cause::LoggedOut => {
            "Ask whether somebody withdrew the token on purpose; if so, the new one may be in place elsewhere already.".to_owned()
        }
        Cause::RoleLost => format!("Give the token's user the role on the page back: {PAGES}."),
        Cause::Inactive => {
            "The token's user opens the application and logs in again: over 90 days without use close the data access.".to_owned()
        }
        Cause::AccountSuspended | Cause::AccountClosed | Cause::Disabled | Cause::Untrusted | Cause::Unstated => format!(
            "Look at the token at {DEBUGGER}: it may say more. See also whether the app is well: {}.",
            pages::app(links, "dashboard/")
        ),
    };
    vec![step]
}

fn unreadable(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let place = links.secret.map_or_else(|| "where it stands".to_owned(), |place| plain(&place.to_string()));
    let mut steps = vec![
        format!("Look at the secret ({place}): is it whole? A paste often loses its end, or gains quotes or a line break."),
        "Is it for this host? Tokens for graph.facebook.com begin with EAA; those of Instagram Login (IG…) and Threads (TH…) \
         belong to other hosts and look dead here."
            .to_owned(),
        format!("If it is whole, paste it at {DEBUGGER}. If Meta cannot read it there either, replace it:"),
    ];
    steps.extend(new_token(notice, links));
    steps
}

fn reauthorise(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let mut steps = vec![
        "Have the token's user log in to the application again and grant access again: that opens a new window of 90 days. \
         An exchange or renewal of the token does not."
            .to_owned(),
    ];
    if notice.facts.kind == TokenKind::SystemUser {
        steps.push(format!(
            "For a system user, generate a new token: {}.{}",
            pages::system_users(links),
            ticked(links)
        ));
    }
    steps.push(format!("If that gave you a new token: {}", lower_first(&put_in_place(notice, links))));
    steps
}

fn expiry_unknown(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let mut steps = Vec::new();
    if notice.app.is_none() {
        steps.push(
            "Give the token its app in the configuration (app = …, with id and secret in [apps.…]): only then Meta tells \
             when it ends."
                .to_owned(),
        );
    } else {
        steps.push(format!("Look at the app's settings: {}.", pages::app(links, "dashboard/")));
    }
    steps.push(format!("See what Meta shows at {DEBUGGER}, and put the date into a calendar yourself until then."));
    steps
}

fn scope_missing(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let mut steps = vec![format!(
        "See that the app has {}: {}. Permissions are fixed when a token is issued, so the token must be replaced:",
        missing(notice, LONGEST_LIST),
        pages::app(links, "dashboard/")
    )];
    steps.extend(new_token(notice, links));
    steps.push("If the permission is not needed at all, take it out of scopes in the configuration.".to_owned());
    steps
}

fn target_missing(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let (users, accounts) = (pages::system_users(links), pages::whatsapp_accounts(links));
    let mut steps = vec![
        format!(
            "Is the account id right? The token must cover {}; compare with {accounts}.",
            missing(notice, LONGEST_LIST)
        ),
        format!("Assign that account to the token's user: {users}, \"Assign assets\", \"WhatsApp accounts\"."),
        "If it was assigned only now, replace the token so that it covers it:".to_owned(),
    ];
    steps.extend(new_token(notice, links));
    steps
}

fn app_steps(fault: AppFault, notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let name = notice.app.as_ref().map_or(notice.subject.name(), |app| app.as_str());
    let place = links.secret.map_or_else(|| "in the configuration".to_owned(), |place| plain(&place.to_string()));
    let id = links.app_id.map_or_else(|| "none".to_owned(), plain);
    match fault {
        AppFault::WrongSecret => vec![
            format!("Open {} and show the app secret.", pages::app(links, "settings/basic/")),
            format!("Compare it with the one configured ({place}); put the right one there."),
            format!(
                "See that the id in [apps.{name}] ({id}) is that app's own: ids and secrets of two apps are easily mixed."
            ),
            "If the secret was reset, tokens issued before may be dead too; the check below tells.".to_owned(),
        ],
        AppFault::UnknownApp => vec![
            format!("Compare the id in [apps.{name}] ({id}) with the app's page: {APPS}."),
            "Mind that Instagram and Threads show an app id of their own; here the Meta app id is needed.".to_owned(),
        ],
        AppFault::Deleted => vec![
            format!("See whether the app is really gone: {}.", pages::app(links, "dashboard/")),
            format!("If so, every token of it is dead: issue new ones for another app, and change [apps.{name}]."),
        ],
        AppFault::Blocked => vec![
            format!(
                "An administrator of the app opens {} and does what Meta asks there.",
                pages::app(links, "dashboard/")
            ),
            "Often it is a verification of the administrators or a yearly data-use check; new tokens do not help."
                .to_owned(),
        ],
        AppFault::NotPrivileged => vec![format!(
            "Open {}: \"Native or desktop app\" must be off, and so must \"App secret is embedded in the client\".",
            pages::app(links, "settings/advanced/")
        )],
        AppFault::SecretUnreadable => source(links),
    }
}

fn foreign_token(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let app = notice.app.as_ref().map_or_else(|| "its app".to_owned(), |app| format!("[apps.{app}]"));
    vec![
        format!("Paste the token at {DEBUGGER}: it shows the app that the token belongs to."),
        format!("If that app is right, name it in the token's app = …; the configuration now says {app}."),
        format!(
            "If the token is wrong, issue one for the configured app: {}",
            lower_first(&put_in_place(notice, links))
        ),
    ]
}

fn blind(notice: &Notice) -> Vec<String> {
    let mut steps = vec![
        format!("Read the last failure above; `{}` tries now and says what goes wrong.", command(&notice.subject)),
        if notice.provider.is_meta() {
            format!("Is Meta in trouble? {STATUS}")
        } else {
            format!("Is {} in trouble? Its own status page may say.", provider_in_words(&notice.provider))
        },
        "If not: can this host reach the provider (name service, proxy, firewall, clock)?".to_owned(),
    ];
    if notice.facts.expires.date().is_some() {
        steps.push("Its known end stands above, and is watched even while nobody answers.".to_owned());
    }
    steps
}

fn source(links: &Links<'_>) -> Vec<String> {
    let Some(place) = links.secret else {
        return vec![
            "Make the secret readable for the user that tokenwatch runs as; the problem is named above.".to_owned(),
        ];
    };
    let shown = plain(&place.to_string());
    let step = match place {
        SecretRef::Env(_) => {
            format!(
                "Set {shown} for the service and restart it: a process sees only the environment it was started with."
            )
        }
        SecretRef::File(_) => {
            format!("See that {shown} exists, holds the secret, and can be read by the user that tokenwatch runs as.")
        }
        SecretRef::Credential(name) => {
            format!(
                "See that the unit has LoadCredential={}:… and that its file exists; then restart the service.",
                plain(name)
            )
        }
        SecretRef::Nowhere => "There is no secret to be read: please report this.".to_owned(),
        SecretRef::EnvFile { .. } => {
            format!("See that {shown} is set, and that the file can be read by the user that tokenwatch runs as.")
        }
    };
    vec![step, "Nothing else is needed: the secret is read again at each check.".to_owned()]
}

fn confirmation(notice: &Notice) -> Option<String> {
    let command = command(&notice.subject);
    match notice.subject {
        Subject::Token(_) => Some(format!("Confirm with `{command}`: it should find nothing wrong.")),
        Subject::App(_) => Some(format!("Confirm with `{command}`: it asks about all tokens, those of this app too.")),
        Subject::Watcher if notice.reason.is_a_finding() => {
            Some(format!("Confirm with `{command}`: it looks at itself again within five minutes."))
        }
        Subject::Watcher => None,
    }
}

/// Marks that turn the direction of text, or take no room: what they do to a line is done to deceive.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

fn capitalised(text: &str) -> String {
    // Names keep their spelling: only the word "app" in front of one is ours to change.
    text.strip_prefix("app ").map_or_else(|| text.to_owned(), |rest| format!("App {rest}"))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// A headline is the end of a subject line, and phones show little of it.
const LONGEST_HEADLINE: usize = 150;
/// More names than this help nobody in one sentence.
const LONGEST_LIST: usize = 10;
/// In a headline even fewer.
const SHORT_LIST: usize = 3;
/// What `redact` leaves of a text, with room for stored older ones; in characters.
pub const LONGEST_TEXT: usize = 600;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::alert::{AlertKey, NoticeFacts};
    use crate::domain::finding::Severity;
    use crate::domain::token::{AppName, TokenId};

    fn notice(reason: Reason, detail: Detail) -> Notice {
        let at = Timestamp::from_unix(1_752_566_400);
        Notice {
            key: AlertKey::from_stored("token/helpdesk-whatsapp/expiry.1.g1/r1/info"),
            subject: Subject::Token(TokenId::parse("helpdesk-whatsapp").expect("a valid name")),
            provider: ProviderName::meta(),
            app: AppName::parse("helpdesk").ok(),
            why: NotifyReason::First,
            reason,
            severity: Severity::Critical,
            detail,
            deadline: None,
            since: at.minus(Span::hours(6)),
            at,
            next: Some(at.plus(Span::days(1))),
            facts: NoticeFacts { kind: TokenKind::SystemUser, last_answer: Some(at), ..NoticeFacts::NONE },
            acknowledged: None,
            silence: None,
            flaps: None,
            receivers: Arc::from([]),
        }
    }

    fn of_app(mut notice: Notice) -> Notice {
        notice.subject = Subject::App(AppName::parse("helpdesk").expect("a valid name"));
        notice
    }

    fn links() -> Links<'static> {
        Links { app_id: Some("634900000000001"), runbook: Some("https://wiki.example.com/x"), ..Links::default() }
    }

    fn kinds() -> [TokenKind; 6] {
        use TokenKind::{App, Other, Page, SystemUser, Unknown, User};
        [User, Page, SystemUser, App, Other("device".into()), Unknown]
    }

    fn details() -> Vec<Detail> {
        let mut details: Vec<Detail> = Cause::ALL.into_iter().map(Detail::Cause).collect();
        details.extend(AppFault::ALL.into_iter().map(|fault| Detail::App(fault, "words".into())));
        details.extend([Detail::None, Detail::Text("words".into()), Detail::Missing(vec!["a_scope".into()])]);
        details
    }

    /// Every reason with every detail, kind, occasion and subject: nothing empty, nothing half-filled, the subject always named.
    #[test]
    fn every_notice_has_all_its_words() {
        let of_tokens = Reason::ALL.into_iter().filter(|reason| {
            assert!(!reason_in_words(*reason).is_empty());
            reason.is_a_finding() && !Reason::OF_WATCHER.contains(reason)
        });
        for reason in of_tokens {
            for (detail, kind, why) in details().into_iter().flat_map(|detail| {
                kinds().into_iter().flat_map(move |kind| {
                    let detail = detail.clone();
                    NotifyReason::ALL.into_iter().map(move |why| (detail.clone(), kind.clone(), why))
                })
            }) {
                let mut token = notice(reason, detail);
                token.facts.kind = kind;
                token.why = why;
                for (notice, name) in [(token.clone(), "helpdesk-whatsapp"), (of_app(token), "helpdesk")] {
                    let line = headline(&notice);
                    assert!(line.contains(name) && line.chars().count() <= LONGEST_HEADLINE + 3, "{line}");
                    let mut texts = vec![line, what_happens(&notice, &Zone::UTC), what_breaks(&notice, &links())];
                    texts.push(next_notice(&notice, &Zone::UTC));
                    texts.push(already_done(&notice, &Zone::UTC));
                    texts.extend(acknowledgement(&notice, &links()));
                    texts.extend(evidence(&notice, &Zone::UTC).into_iter().map(|(_, value)| value));
                    let steps = steps(&notice, &links());
                    assert_eq!(steps.is_empty(), why == NotifyReason::Resolved, "{reason:?}");
                    if !steps.is_empty() {
                        let command = command(&notice.subject);
                        assert!(steps.iter().any(|step| step.contains(&format!("`{command}`"))), "{steps:?}");
                        assert!(steps.iter().any(|step| step.contains("https://wiki.example.com/x")), "{steps:?}");
                    }
                    texts.extend(steps);
                    for text in texts {
                        let unfinished = ["  ", "{", "}", " ,", "()", "None", "Some("];
                        assert!(!text.is_empty() && !unfinished.iter().any(|bad| text.contains(bad)), "{text:?}");
                    }
                }
            }
        }
    }

    /// The watcher speaks of itself by its name, and what says that nothing is wrong asks nobody to do anything.
    #[test]
    fn the_watcher_has_all_its_words() {
        for reason in Reason::OF_WATCHER.into_iter().chain([Reason::Digest, Reason::Test]) {
            for why in NotifyReason::ALL {
                let mut notice = notice(reason, Detail::Text("mail to oncall since noon: refused".into()));
                (notice.subject, notice.why) = (Subject::Watcher, why);
                let line = headline(&notice);
                assert!(!line.is_empty() && (!reason.is_a_finding() || line.contains("tokenwatch")), "{line}");
                assert!(!what_happens(&notice, &Zone::UTC).is_empty() && !what_breaks(&notice, &links()).is_empty());
                let steps = steps(&notice, &Links::default());
                let asks = reason.is_a_finding() && why != NotifyReason::Resolved;
                assert_eq!(!steps.is_empty(), asks, "{reason:?} {why:?}: {steps:?}");
                assert_eq!(acknowledgement(&notice, &links()).is_some(), asks, "{reason:?} {why:?}");
            }
        }
    }

    #[test]
    fn paths_for_a_shell() {
        for (path, text) in [
            ("/etc/tokenwatch/tokenwatch.toml", "/etc/tokenwatch/tokenwatch.toml"),
            ("/srv/it's here; rm", "'/srv/it'\\''s here; rm'"),
            ("=x", "'=x'"),
            ("", "''"),
        ] {
            assert_eq!(in_shell(Path::new(path)), text);
        }
    }

    #[test]
    fn answers_stand_in_later_notices() {
        let mut told = notice(Reason::Expiring, Detail::None);
        let signed =
            Signed { by: "asha (uid 1000)".into(), at: told.at.minus(Span::hours(2)), why: Some("on it".into()) };
        assert_eq!(answered(&told, &Zone::UTC), None);
        told.acknowledged = Some(signed);
        let words = "Acknowledged by asha (uid 1000), Tue 15 Jul 2025, 06:00 UTC (2 hours ago): on it";
        assert_eq!(answered(&told, &Zone::UTC).as_deref(), Some(words));
        assert!(acknowledgement(&told, &links()).is_some_and(|text| !text.contains("repeated every")));
        told.flaps = Some(4);
        assert!(comes_and_goes(&told).is_some_and(|text| text.contains("began 4 times within a day")));
    }

    #[test]
    fn headlines() {
        let at = |notice: &Notice, hours: i64| Some(notice.at.plus(Span::hours(hours)));
        let plain = |reason| notice(reason, Detail::None);
        let dated = |reason, hours| {
            let notice = plain(reason);
            Notice { deadline: at(&notice, hours), ..notice }
        };
        let blind = plain(Reason::Blind);
        let blind = Notice {
            facts: NoticeFacts { last_answer: Some(blind.at.minus(Span::hours(6))), ..blind.facts.clone() },
            ..blind
        };
        let renewed = dated(Reason::Expired, -2);
        let renewed = Notice {
            why: NotifyReason::Resolved,
            facts: NoticeFacts { expires: Expiry::At(renewed.at.plus(Span::days(60))), ..renewed.facts.clone() },
            ..renewed
        };
        let missing = |list: &[&str]| Detail::Missing(list.iter().map(|item| Box::from(*item)).collect());
        let retired = plain(Reason::Expired);
        let retired = Notice { why: NotifyReason::Resolved, facts: NoticeFacts::NONE, ..retired };
        let gone =
            Notice { why: NotifyReason::Resolved, ..notice(Reason::Blind, Detail::Text("no longer watched".into())) };
        for (notice, line) in [
            (dated(Reason::Expiring, 72), "helpdesk-whatsapp expires in 3 days"),
            (dated(Reason::Expired, -2), "helpdesk-whatsapp expired 2 hours ago"),
            (dated(Reason::Expired, 0), "helpdesk-whatsapp expired just now"),
            (plain(Reason::Expired), "helpdesk-whatsapp has expired"),
            (renewed, "helpdesk-whatsapp now expires in 60 days"),
            (
                notice(Reason::Revoked, Detail::Cause(Cause::PasswordChanged)),
                "helpdesk-whatsapp was revoked: the password changed or the session was reset",
            ),
            (
                notice(Reason::ScopeMissing, missing(&["whatsapp_business_messaging"])),
                "helpdesk-whatsapp is missing the permission whatsapp_business_messaging",
            ),
            (
                notice(Reason::ScopeMissing, missing(&["a", "b", "c", "d"])),
                "helpdesk-whatsapp is missing 4 permissions: a, b, c and 1 more",
            ),
            (blind, "helpdesk-whatsapp can no longer be checked (6 hours without an answer)"),
            (
                of_app(notice(Reason::AppFault, Detail::App(AppFault::WrongSecret, "".into()))),
                "app helpdesk: its secret does not match the app id",
            ),
            (
                notice(Reason::AppFault, Detail::Text("words".into())),
                "helpdesk-whatsapp belongs to another app than helpdesk",
            ),
            (gone, "helpdesk-whatsapp: no longer watched"),
            (retired, "helpdesk-whatsapp is no longer watched"),
        ] {
            assert_eq!(headline(&notice), line);
        }
    }

    #[test]
    fn steps_lead_to_the_right_place() {
        let has = |notice: &Notice, text: &str| {
            let steps = steps(notice, &links());
            assert!(steps.iter().any(|step| step.contains(text)), "{text} is not in {steps:#?}");
        };
        has(&notice(Reason::Expiring, Detail::None), &pages::system_users(&links()));
        has(&notice(Reason::Revoked, Detail::Cause(Cause::Checkpointed)), "clears the checkpoint");
        has(&notice(Reason::Unreadable, Detail::None), "Threads");
        has(&notice(Reason::DataAccessExpired, Detail::None), "grant access again");
        let app = |fault| of_app(notice(Reason::AppFault, Detail::App(fault, "".into())));
        has(&app(AppFault::WrongSecret), "https://developers.facebook.com/apps/634900000000001/settings/basic/");
        has(&app(AppFault::Blocked), "https://developers.facebook.com/apps/634900000000001/dashboard/");
        has(&app(AppFault::NotPrivileged), "https://developers.facebook.com/apps/634900000000001/settings/advanced/");
        let hostile = Links { app_id: Some("1/../../evil"), ..links() };
        let steps = steps(&app(AppFault::Blocked), &hostile);
        assert!(steps.iter().all(|step| !step.contains("evil")), "{steps:?}");
    }

    #[test]
    fn links_come_from_the_settings() {
        let text = r#"
            [receivers.default]
            [apps.helpdesk]
            id = "634900000000001"
            [[tokens]]
            name = "helpdesk-whatsapp"
            app = "helpdesk"
            receivers = ["default"]
            secret = { env_file = "/srv/config.env", key = "WHATSAPP_ACCESS_TOKEN" }
            scopes = ["whatsapp_business_messaging"]
            runbook = "https://wiki.example.com/x"
            [tokens.whatsapp]
            phone_number_id = "521803094347148"
        "#;
        let settings = crate::settings::from_text(text, "test", &[]).expect("a valid configuration").settings;
        let notice = notice(Reason::Expiring, Detail::None);
        let links = Links::of(&settings, &notice.subject);
        assert_eq!((links.app_id, links.runbook), (Some("634900000000001"), Some("https://wiki.example.com/x")));
        let steps = steps(&notice, &links).join("\n");
        assert!(
            steps.contains("WHATSAPP_ACCESS_TOKEN in /srv/config.env") && steps.contains("whatsapp_business_messaging")
        );
        assert!(what_breaks(&notice, &links).contains("521803094347148"));
        assert!(links.repeat.is_some());
        let app = Links::of(&settings, &of_app(notice).subject);
        assert_eq!(app.app_id, Some("634900000000001"));
    }

    #[test]
    fn text_from_outside_stays_on_its_line() {
        assert_eq!(plain("a\r\nBcc: x@y\u{0}\u{202e}b"), "a Bcc: x@y b");
        let hostile = notice(Reason::ScopeMissing, Detail::Missing(vec!["x\r\nSubject: y".into()]));
        assert!(!headline(&hostile).contains(['\r', '\n']));
    }
}
