//! From a bundle of notices to one message: subject, headers, text, HTML, calendar.
//!
//! Pure: the same bundle, settings and failures give the same message, which is what makes a repeated delivery harmless. It never
//! shows a secret or a mail address, and takes what comes from outside as text only.

use std::collections::BTreeMap;

use askama::Template;

use super::{Mail, calendar};
use crate::advice::{self, Links, Piece, Shared, pieces};
use crate::domain::alert::{Notice, NotifyReason, Subject};
use crate::domain::digest::Bundle;
use crate::domain::finding::{Detail, Reason, Severity};
use crate::domain::token::ReceiverName;
use crate::ids::{identifier, safe_domain};
use crate::settings::Settings;
use crate::zone::Zone;

/// What a message depends on beside its bundle.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The configuration: time zone, runbooks, app ids, where secrets stand.
    pub settings: &'a Settings,
    /// The domain of message ids; [`crate::ids::id_domain`] of the sender.
    pub domain: &'a str,
    /// Failures of earlier deliveries that nobody was told of yet.
    pub failures: &'a [String],
}

/// The message id of a bundle, in angle brackets: a hash of the keys it holds (contract §10.3), so the same notices always travel
/// under the same id, whoever sends them and however often.
///
/// The first notice of an incident, when it travels alone, is the root of its thread.
pub fn message_id(bundle: &Bundle, domain: &str) -> String {
    if let [only] = bundle.notices.as_slice()
        && only.why == NotifyReason::First
    {
        return thread_id(only.key.incident(), domain);
    }
    format!("<{}@{}>", identifier(&bundle.keys().join("\n")), safe_domain(domain))
}

/// The id of the thread of an incident. The first notice has it when it travels alone; folded with others it has not, and mail programs
/// gather the rest under a parent that they never saw.
pub fn thread_id(incident: &str, domain: &str) -> String {
    format!("<{}.incident@{}>", identifier(incident), safe_domain(domain))
}

/// Writes the message.
pub fn compose(bundle: &Bundle, message_id: &str, context: &Context<'_>) -> Mail {
    let mut roots = roots(bundle, context.domain);
    // The root of a thread answers nobody.
    roots.retain(|root| root != message_id);
    let calendar = bundle.lead().and_then(|lead| {
        let links = Links::of(context.settings, &lead.subject);
        calendar::event(lead, &advice::steps(lead, &links), context.domain)
    });
    let letter = Letter::new(bundle, context);
    Mail {
        message_id: message_id.to_owned(),
        references: roots.iter().rev().cloned().collect(),
        in_reply_to: roots,
        date: bundle.notices.iter().map(|notice| notice.at).max().unwrap_or(EPOCH),
        subject: format!("[tokenwatch] {} {}", letter.label, letter.title),
        headers: headers(bundle),
        text: letter.text(),
        html: letter.html(),
        calendar,
    }
}

/// The threads that a bundle belongs to, the most urgent first.
fn roots(bundle: &Bundle, domain: &str) -> Vec<String> {
    let mut roots: Vec<String> = Vec::new();
    for notice in &bundle.notices {
        let root = thread_id(notice.key.incident(), domain);
        if !roots.contains(&root) {
            roots.push(root);
        }
        if roots.len() == MOST_THREADS {
            break;
        }
    }
    roots
}

fn headers(bundle: &Bundle) -> Vec<(&'static str, String)> {
    let mut headers =
        vec![("Auto-Submitted", "auto-generated".to_owned()), ("X-Auto-Response-Suppress", "All".to_owned())];
    for notice in bundle.notices.iter().take(MOST_HEADERS) {
        let name = match notice.subject {
            Subject::Token(_) => "X-Tokenwatch-Token",
            Subject::App(_) => "X-Tokenwatch-App",
            Subject::Watcher => "X-Tokenwatch-Watcher",
        };
        headers.push((name, notice.subject.name().to_owned()));
        headers.push(("X-Tokenwatch-Finding", notice.reason.as_str().to_owned()));
        headers.push(("X-Tokenwatch-Severity", notice.severity.as_str().to_owned()));
        headers.push(("X-Tokenwatch-Notice", notice.why.as_str().to_owned()));
    }
    if bundle.notices.len() > MOST_HEADERS {
        headers.push(("X-Tokenwatch-More", (bundle.notices.len() - MOST_HEADERS).to_string()));
    }
    headers
}

/// A message in parts, from which both the text and the HTML are made, so they cannot say different things.
struct Letter {
    label: &'static str,
    colour: &'static str,
    title: String,
    intro: Vec<String>,
    parts: Vec<Part>,
    rows: Vec<Row>,
    more: Option<String>,
    footer: String,
}

struct Part {
    title: String,
    blocks: Vec<Block>,
}

enum Block {
    Words(String),
    Facts(Vec<(&'static str, String)>),
    Sentence(Vec<Piece>),
    Steps(Vec<Vec<Piece>>),
}

struct Row {
    label: &'static str,
    colour: &'static str,
    line: String,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Page<'a> {
    letter: &'a Letter,
}

impl Letter {
    fn new(bundle: &Bundle, context: &Context<'_>) -> Self {
        let zone = &context.settings.daemon.zone;
        let (label, colour) = match bundle.severity() {
            Some(severity) => (severity_label(severity), severity_colour(severity)),
            None => (RESOLVED, RESOLVED_COLOUR),
        };
        let shared = advice::shared(&bundle.notices, context.settings);
        let mut letter = Self {
            label,
            colour,
            title: advice::title(bundle, &shared),
            intro: Vec::new(),
            parts: Vec::new(),
            rows: Vec::new(),
            more: None,
            footer: format!(
                "Sent by tokenwatch to the receiver {}. Times are in {}; \"ago\" and \"in\" count from {}.",
                bundle.receiver,
                zone.name(),
                bundle.lead().map(|lead| zone.long(lead.at)).unwrap_or_default()
            ),
        };
        match bundle.notices.as_slice() {
            [notice] => letter.parts = whole(notice, bundle, context.settings),
            notices => letter.fill(bundle, notices, &shared, context.settings),
        }
        let mut troubles = bundle.troubles.clone();
        troubles.extend(context.failures.iter().filter(|failure| !bundle.troubles.contains(failure)).cloned());
        if !troubles.is_empty() {
            letter.parts.push(trouble(&troubles));
        }
        letter
    }

    /// Many notices: what they have in common, then the most urgent ones, then a list.
    fn fill(&mut self, bundle: &Bundle, notices: &[Notice], shared: &[Shared], settings: &Settings) {
        let zone = &settings.daemon.zone;
        self.intro = common(bundle, shared);
        if let Some(lead) = bundle.lead() {
            let links = Links::of(settings, &lead.subject);
            let steps = advice::steps(lead, &links);
            if !steps.is_empty() {
                let title = format!("What to do first: {}", advice::headline(lead));
                self.parts
                    .push(Part { title, blocks: vec![Block::Steps(steps.iter().map(|step| pieces(step)).collect())] });
            }
        }
        // A summary is never urgent, and nothing without its particulars.
        let is_summary = |notice: &&Notice| matches!(notice.detail, Detail::Summary(_));
        let (detailed, others) = notices.split_at(MOST_DETAILED.min(notices.len()));
        for notice in detailed.iter().chain(others.iter().filter(is_summary)) {
            self.parts.push(brief(notice, settings, zone));
        }
        self.rows = others
            .iter()
            .take(MOST_LISTED - MOST_DETAILED)
            .filter(|notice| !is_summary(notice))
            .map(|notice| Row { label: label(notice), colour: colour(notice), line: advice::headline(notice) })
            .collect();
        self.more = (notices.len() > MOST_LISTED)
            .then(|| format!("and {} more: `tokenwatch status` shows all.", notices.len() - MOST_LISTED));
    }

    fn html(&self) -> String {
        Page { letter: self }.render().expect("a template that writes into memory only cannot fail")
    }

    fn text(&self) -> String {
        let mut out = String::new();
        wrap(&mut out, "", "", &format!("{}: {}", self.label, self.title));
        for paragraph in &self.intro {
            out.push('\n');
            wrap(&mut out, "", "", paragraph);
        }
        for part in &self.parts {
            out.push('\n');
            wrap(&mut out, "", "", &part.title);
            for block in &part.blocks {
                block.text(&mut out);
            }
        }
        if !self.rows.is_empty() {
            out.push_str("\nThe others\n");
            for row in &self.rows {
                wrap(&mut out, "  ", "           ", &format!("{:<8} {}", row.label, row.line));
            }
        }
        if let Some(more) = &self.more {
            wrap(&mut out, "  ", "  ", more);
        }
        out.push_str("\n-- \n");
        wrap(&mut out, "", "", &self.footer);
        out
    }
}

impl Block {
    fn text(&self, out: &mut String) {
        match self {
            Self::Words(words) => wrap(out, "  ", "  ", words),
            Self::Sentence(pieces) => wrap(out, "  ", "  ", &sentence(pieces)),
            Self::Facts(facts) => {
                for (label, value) in facts {
                    let first = format!("  {:<14} ", format!("{label}:"));
                    wrap(out, &first, "                 ", value);
                }
            }
            Self::Steps(steps) => {
                for (n, step) in steps.iter().enumerate() {
                    wrap(out, &format!("  {}. ", n + 1), "     ", &sentence(step));
                }
            }
        }
    }
}

fn sentence(pieces: &[Piece]) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Words(words) => text.push_str(words),
            Piece::Command(command) => text.extend(["`", command, "`"]),
            Piece::Link(address) => text.push_str(address),
        }
    }
    text
}

/// The full account of one notice.
fn whole(notice: &Notice, bundle: &Bundle, settings: &Settings) -> Vec<Part> {
    let zone = &settings.daemon.zone;
    let links = Links::of(settings, &notice.subject);
    let words = |title: &str, words: String| Part { title: title.to_owned(), blocks: vec![Block::Words(words)] };
    let over = notice.why == NotifyReason::Resolved;
    let mut parts =
        vec![words(if over { "What happened" } else { "What happens" }, advice::what_happens(notice, zone))];
    if let Detail::Summary(summary) = &notice.detail {
        let lines = advice::summary_in_words(summary, notice.at, zone);
        parts.push(Part { title: "How all stand".to_owned(), blocks: vec![Block::Facts(lines)] });
        return parts;
    }
    if !notice.reason.is_a_finding() {
        return parts;
    }
    if let Some(text) = advice::comes_and_goes(notice) {
        parts.push(words("It comes and goes", text));
    }
    let evidence = Block::Facts(advice::evidence(notice, zone));
    let title = if over { "What we know" } else { "Why we think so" };
    parts.push(Part { title: title.to_owned(), blocks: vec![evidence] });
    if !over {
        parts.push(words("What breaks", advice::what_breaks(notice, &links)));
        let steps = advice::steps(notice, &links);
        let steps = Block::Steps(steps.iter().map(|step| pieces(step)).collect());
        parts.push(Part { title: "What to do now".to_owned(), blocks: vec![steps] });
    }
    let mut facts = vec![("Already done", advice::already_done(notice, zone)), ("Told", told(notice, bundle))];
    facts.extend(advice::answered(notice, zone).map(|text| ("Answered", text)));
    facts.push(("Next notice", advice::next_notice(notice, zone)));
    let mut blocks = vec![Block::Facts(facts)];
    blocks.extend(
        advice::acknowledgement(notice, &links).map(|text| Block::Sentence(pieces(&format!("Answer with {text}")))),
    );
    parts.push(Part { title: "And then".to_owned(), blocks });
    parts
}

/// One of many: enough to decide whether to read on elsewhere.
fn brief(notice: &Notice, settings: &Settings, zone: &Zone) -> Part {
    let links = Links::of(settings, &notice.subject);
    let title = format!("{} {}", label(notice), advice::headline(notice));
    if let Detail::Summary(summary) = &notice.detail {
        return Part { title, blocks: vec![Block::Facts(advice::summary_in_words(summary, notice.at, zone))] };
    }
    let mut facts = vec![("What", advice::what_happens(notice, zone))];
    if !notice.reason.is_a_finding() {
        return Part { title, blocks: vec![Block::Facts(facts)] };
    }
    if notice.why != NotifyReason::Resolved {
        facts.push(("Breaks", advice::what_breaks(notice, &links)));
        facts.extend(advice::answered(notice, zone).map(|text| ("Answered", text)));
        facts.push(("Next notice", advice::next_notice(notice, zone)));
    }
    facts.extend(advice::comes_and_goes(notice).map(|text| ("Damped", text)));
    if let Some(runbook) = links.runbook {
        facts.push(("Runbook", advice::plain(runbook)));
    }
    let mut blocks = vec![Block::Facts(facts)];
    if let Subject::Token(id) = &notice.subject {
        blocks.push(Block::Sentence(pieces(&format!("`tokenwatch explain {id}` tells the rest."))));
    }
    Part { title, blocks }
}

fn trouble(failures: &[String]) -> Part {
    let mut blocks: Vec<Block> =
        failures.iter().take(MOST_FAILURES).map(|text| Block::Words(advice::plain(text))).collect();
    if failures.len() > MOST_FAILURES {
        blocks.push(Block::Words(format!("and {} more", failures.len() - MOST_FAILURES)));
    }
    Part { title: "Trouble with earlier messages".to_owned(), blocks }
}

/// Who else hears of it: the receivers by name. Addresses stand in the To header only.
fn told(notice: &Notice, bundle: &Bundle) -> String {
    let others: Vec<&str> =
        notice.receivers.iter().filter(|name| **name != bundle.receiver).map(ReceiverName::as_str).collect();
    match others.as_slice() {
        [] => format!("{} (this mail), and nobody else", bundle.receiver),
        others => format!("{} (this mail), and also {}", bundle.receiver, others.join(", ")),
    }
}

/// What the notices have in common: people who see one cause act once.
fn common(bundle: &Bundle, shared: &[Shared]) -> Vec<String> {
    let open = bundle.notices.iter().filter(|notice| notice.why != NotifyReason::Resolved).count();
    let closed = bundle.notices.len() - open;
    let mut intro = Vec::new();
    match bundle.common_reason() {
        Some(reason) => intro.push(format!(
            "All {} notices have one finding: {} ({}).",
            bundle.notices.len(),
            reason.as_str(),
            advice::reason_in_words(reason)
        )),
        None => intro.push(format!("{} notices: {}.", bundle.notices.len(), by_reason(bundle))),
    }
    intro.extend(shared.iter().map(Shared::sentence));
    if closed > 0 && open > 0 {
        intro.push(format!("{open} open, {closed} resolved; the resolved ones stand last."));
    }
    intro
}

fn by_reason(bundle: &Bundle) -> String {
    let mut counts: BTreeMap<Reason, usize> = BTreeMap::new();
    for notice in &bundle.notices {
        *counts.entry(notice.reason).or_default() += 1;
    }
    let mut counts: Vec<(Reason, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    counts.iter().map(|(reason, count)| format!("{count} {}", reason.as_str())).collect::<Vec<_>>().join(", ")
}

/// Appends `text` in lines of at most [`WIDTH`] columns; a longer word, such as an address, keeps a line of its own whole.
fn wrap(out: &mut String, first: &str, indent: &str, text: &str) {
    out.push_str(first);
    let mut column = first.chars().count();
    let mut fresh = true;
    for word in text.split(' ') {
        let length = word.chars().count();
        if !fresh && column + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(indent);
            column = indent.chars().count();
            fresh = true;
        }
        if !fresh {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
        fresh = false;
    }
    out.push('\n');
}

fn label(notice: &Notice) -> &'static str {
    if notice.why == NotifyReason::Resolved { RESOLVED } else { severity_label(notice.severity) }
}

fn colour(notice: &Notice) -> &'static str {
    if notice.why == NotifyReason::Resolved { RESOLVED_COLOUR } else { severity_colour(notice.severity) }
}

const fn severity_label(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "INFO",
        Severity::Warning => "WARNING",
        Severity::Critical => "CRITICAL",
    }
}

/// White letters on each of these have a contrast of at least 4.5 (WCAG AA), and each is seen on black as well as on white.
const fn severity_colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "#2563c9",
        Severity::Warning => "#a15c00",
        Severity::Critical => "#c62828",
    }
}

const RESOLVED: &str = "RESOLVED";
const RESOLVED_COLOUR: &str = "#2e7d32";
const EPOCH: crate::domain::time::Timestamp = crate::domain::time::Timestamp::from_unix(0);
/// Columns of the text part; 78 is the width that RFC 5322 §2.1.1 asks for.
const WIDTH: usize = 76;
/// More references than this only make a header too long for some relays.
const MOST_THREADS: usize = 50;
/// Notices that have headers of their own; some relays take no more than 32 KiB of headers.
const MOST_HEADERS: usize = 200;
/// Notices told in a few lines each.
const MOST_DETAILED: usize = 20;
/// Notices named at all. Some mail programs cut off what is beyond 100 KiB.
const MOST_LISTED: usize = 200;
const MOST_FAILURES: usize = 10;

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::alert::{AlertKey, NoticeFacts};
    use crate::domain::finding::Detail;
    use crate::domain::inspection::{Basis, Expiry, TokenKind};
    use crate::domain::time::{Span, Timestamp};
    use crate::domain::token::{AppName, ProviderName, TokenId};

    pub fn token(n: usize) -> String {
        if n == 0 { "helpdesk-whatsapp".to_owned() } else { format!("tok-{n:03}") }
    }

    pub fn notice(name: &str, reason: Reason) -> Notice {
        let at = Timestamp::from_unix(1_752_566_400);
        Notice {
            key: AlertKey::from_stored(&format!("token/{name}/{}.1.g1/r1/critical", reason.thread().as_str())),
            subject: Subject::Token(TokenId::parse(name).expect("a valid name")),
            provider: ProviderName::meta(),
            app: AppName::parse("helpdesk").ok(),
            why: NotifyReason::First,
            reason,
            severity: Severity::Critical,
            detail: Detail::None,
            deadline: None,
            since: at.minus(Span::hours(2)),
            at,
            next: Some(at.plus(Span::days(1))),
            facts: NoticeFacts {
                kind: TokenKind::SystemUser,
                issued_at: Some(at.minus(Span::days(57))),
                expires: Expiry::At(at.plus(Span::days(3))),
                basis: Basis::Told,
                last_answer: Some(at),
                message: None,
                renewal: None,
            },
            acknowledged: None,
            silence: None,
            flaps: None,
            receivers: Arc::from([receiver("default"), receiver("ops")]),
        }
    }

    pub fn receiver(name: &str) -> ReceiverName {
        ReceiverName::parse(name).expect("a valid name")
    }

    pub fn settings() -> Settings {
        let text = r#"
            [daemon]
            timezone = "Asia/Kolkata"
            [smtp]
            from = "tokenwatch@example.com"
            relays = [ { url = "smtp://127.0.0.1:2525?tls=none" } ]
            [receivers.default]
            email = ["a@example.com"]
            [receivers.ops]
            email = ["b@example.com"]
            [apps.helpdesk]
            id = "634900000000001"
            secret = { env = "META_APP_SECRET" }
            [[tokens]]
            name = "helpdesk-whatsapp"
            app = "helpdesk"
            receivers = ["default", "ops"]
            secret = { env_file = "/srv/config.env", key = "WHATSAPP_ACCESS_TOKEN" }
            scopes = ["whatsapp_business_messaging"]
            runbook = "https://wiki.example.com/whatsapp-token"
            [tokens.whatsapp]
            phone_number_id = "521803094347148"
        "#;
        crate::settings::from_text(text, "test", &[]).unwrap_or_else(|faults| unreachable!("{faults}")).settings
    }

    fn write(notices: Vec<Notice>, failures: &[String]) -> Mail {
        let bundle = Bundle::new(receiver("default"), notices).expect("there are notices");
        let settings = settings();
        let context = Context { settings: &settings, domain: "example.com", failures };
        let mail = compose(&bundle, &message_id(&bundle, "example.com"), &context);
        assert_eq!(mail, compose(&bundle, &mail.message_id, &context), "the same bundle, the same message");
        mail
    }

    fn expiring() -> Notice {
        let notice = notice("helpdesk-whatsapp", Reason::Expiring);
        Notice { deadline: notice.facts.expires.date(), ..notice }
    }

    #[test]
    fn one_notice_tells_all() {
        let mail = write(vec![expiring()], &["relay mx.example.com:465: 550 no".to_owned()]);
        assert_eq!(mail.subject, "[tokenwatch] CRITICAL helpdesk-whatsapp expires in 3 days");
        assert_eq!(mail.date, expiring().at);
        assert_eq!(
            mail.headers,
            [
                ("Auto-Submitted", "auto-generated"),
                ("X-Auto-Response-Suppress", "All"),
                ("X-Tokenwatch-Token", "helpdesk-whatsapp"),
                ("X-Tokenwatch-Finding", "expiring"),
                ("X-Tokenwatch-Severity", "critical"),
                ("X-Tokenwatch-Notice", "first"),
            ]
            .map(|(name, value)| (name, value.to_owned()))
        );
        for text in [
            "CRITICAL: helpdesk-whatsapp expires in 3 days\n",
            "Fri 18 Jul 2025, 13:30 IST (in 3 days)",
            "\nWhy we think so\n",
            "  Kind:          system user token\n",
            "\nWhat breaks\n",
            "521803094347148",
            "\nWhat to do now\n  1. ",
            "https://business.facebook.com/settings/system-users",
            "`tokenwatch check helpdesk-whatsapp`",
            "https://wiki.example.com/whatsapp-token",
            "does not renew this token",
            "default (this mail), and also ops",
            "  Next notice:   Wed 16 Jul 2025, 13:30 IST",
            "repeated every day",
            "Trouble with earlier messages\n  relay mx.example.com:465: 550 no\n",
        ] {
            let unwrapped = mail.text.replace("\n                 ", " ").replace("\n     ", " ");
            assert!(mail.text.contains(text) || unwrapped.contains(text), "{text:?} is not in\n{}", mail.text);
        }
        let long = mail.text.lines().filter(|line| line.chars().count() > WIDTH && !line.contains("https://"));
        assert_eq!(long.count(), 0, "{}", mail.text);
        assert!(mail.html.contains("<a href=\"https://wiki.example.com/whatsapp-token\""), "{}", mail.html);
        assert!(mail.html.contains("<code>tokenwatch check helpdesk-whatsapp</code>"), "{}", mail.html);
        assert!(mail.calendar.is_some_and(|text| text.contains("DTSTART:20250718T080000Z")));
    }

    // promise 48
    #[test]
    fn many_notices_are_one_message_of_bounded_size() {
        let expired = |n: usize| Notice {
            deadline: Some(Timestamp::from_unix(1_752_559_200 + i64::try_from(n).unwrap_or_default())),
            ..notice(&token(n), Reason::Expired)
        };
        let mail = write((0..500).map(expired).collect(), &[]);
        assert_eq!(
            mail.subject,
            "[tokenwatch] CRITICAL 500 tokens of the app helpdesk: helpdesk-whatsapp expired 2 hours ago, and 499 more"
        );
        let count = |name: &str| mail.headers.iter().filter(|(known, _)| *known == name).count();
        assert_eq!((count("X-Tokenwatch-Token"), count("X-Tokenwatch-Finding")), (200, 200));
        assert_eq!(mail.headers.last(), Some(&("X-Tokenwatch-More", "300".to_owned())));
        assert_eq!((mail.references.len(), mail.in_reply_to.len()), (50, 50));
        assert_eq!(mail.references.last(), mail.in_reply_to.first());
        assert_eq!(
            mail.in_reply_to.first().map(String::as_str),
            Some(&*thread_id("token/helpdesk-whatsapp/expiry.1.g1", "example.com"))
        );
        assert!(mail.text.contains("All 500 notices have one finding: expired (the token's end has passed)."));
        assert!(mail.text.contains("All 500 have one thing in common: the app helpdesk."), "{}", mail.text);
        assert!(mail.text.contains("and 300 more: `tokenwatch status`"));
        assert_eq!(mail.text.matches("tokenwatch explain").count(), 20);
        assert!(mail.text.contains("tok-199 ") && !mail.text.contains("tok-200 "));
        assert!(mail.text.len() < 40_000 && mail.html.len() < 100_000, "{} {}", mail.text.len(), mail.html.len());
        assert_eq!(mail.calendar, None);
    }

    #[test]
    fn good_news_says_so() {
        let resolved = |name: &str| Notice { why: NotifyReason::Resolved, ..notice(name, Reason::Blind) };
        let mail = write(vec![resolved("a")], &[]);
        assert_eq!(mail.subject, "[tokenwatch] RESOLVED a is being checked again");
        assert!(!mail.text.contains("What to do now") && !mail.text.contains("Acknowledge"), "{}", mail.text);
        let mail = write(vec![resolved("a"), resolved("b"), expiring()], &[]);
        assert_eq!(mail.subject, "[tokenwatch] CRITICAL 3 tokens: helpdesk-whatsapp expires in 3 days, and 2 more");
        assert!(mail.text.contains("3 notices: 2 blind, 1 expiring."), "{}", mail.text);
        assert!(mail.text.contains("1 open, 2 resolved"), "{}", mail.text);
        let two = write(vec![expiring(), notice("helpdesk-whatsapp", Reason::ScopeMissing)], &[]);
        assert_eq!(two.subject, "[tokenwatch] CRITICAL helpdesk-whatsapp expires in 3 days, and 1 more");
    }

    #[test]
    fn an_app_is_named_as_an_app() {
        let mut app = notice("x", Reason::AppFault);
        app.subject = Subject::App(AppName::parse("helpdesk").expect("a valid name"));
        app.detail =
            Detail::App(crate::domain::inspection::AppFault::WrongSecret, "Error validating client secret.".into());
        let mail = write(vec![app.clone()], &[]);
        assert_eq!(mail.subject, "[tokenwatch] CRITICAL app helpdesk: its secret does not match the app id");
        assert!(mail.headers.contains(&("X-Tokenwatch-App", "helpdesk".to_owned())));
        assert!(mail.text.contains("https://developers.facebook.com/apps/634900000000001/settings/basic/"));
        let mixed = write(vec![app, expiring()], &[]);
        assert!(mixed.subject.starts_with("[tokenwatch] CRITICAL 1 app and 1 token: "), "{}", mixed.subject);
    }

    // promises 33, 34
    #[test]
    fn ids_depend_on_the_keys_alone() {
        let bundle = |names: &[&str]| {
            let notices = names.iter().map(|name| notice(name, Reason::Expired)).collect();
            Bundle::new(receiver("default"), notices).expect("there are notices")
        };
        let id = message_id(&bundle(&["a", "b"]), "Example.COM>\r\nX: y");
        assert_eq!(id, message_id(&bundle(&["b", "a"]), "example.comxy"));
        assert_ne!(id, message_id(&bundle(&["a", "c"]), "example.comxy"));
        assert_eq!(id.len(), "<@>".len() + 32 + "example.comxy".len());
        assert_eq!(message_id(&bundle(&["a"]), ""), message_id(&bundle(&["a"]), "tokenwatch.invalid"));
        for (from, domain) in [
            ("tokenwatch@example.com", "example.com"),
            ("Token Watch <tokenwatch@Example.com>", "example.com"),
            ("nobody", "tokenwatch.invalid"),
        ] {
            assert_eq!(crate::ids::id_domain(from), domain);
        }
        let first = write(vec![expiring()], &[]);
        let mut later = expiring();
        later.key = AlertKey::from_stored("token/helpdesk-whatsapp/expiry.1.g1/end/critical");
        later.why = NotifyReason::Escalated;
        let later = write(vec![later], &[]);
        assert_eq!(first.references, Vec::<String>::new(), "the first mail answers nobody");
        assert_eq!(later.references, std::slice::from_ref(&first.message_id), "one incident, one thread");
        assert_eq!(later.in_reply_to, later.references);
        assert_ne!(first.message_id, later.message_id);
    }

    #[test]
    fn words_from_outside_are_only_words() {
        let evil =
            "<script>alert(1)</script>\r\nBcc: evil@example.com\r\n\r\nhttps://evil.example.com/ \u{202e}`rm -rf`";
        let mut hostile = notice("helpdesk-whatsapp", Reason::Unreadable);
        hostile.detail = Detail::Text(evil.into());
        hostile.facts.message = Some(evil.into());
        hostile.facts.kind = TokenKind::Other(evil.into());
        for mail in [write(vec![hostile.clone()], &[evil.to_owned()]), write(vec![hostile, expiring()], &[])] {
            assert!(!mail.html.contains("<script") && !mail.html.contains('\u{202e}'), "{}", mail.html);
            assert!(!mail.html.contains("href=\"https://evil"), "{}", mail.html);
            assert!(!mail.html.contains("<code>rm"), "{}", mail.html);
            assert!(!mail.subject.contains(['\r', '\n']));
            assert!(!mail.text.contains("\nBcc") && !mail.text.contains('\r'), "{}", mail.text);
        }
    }
}
