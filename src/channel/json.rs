//! A bundle of notices as one JSON document, for machines. Its names are promises; `docs/webhook.md` lists them.
//!
//! Pure: the same bundle and settings always give the same bytes. It never shows a secret or a mail address, is bounded in size, and
//! what comes from outside is text in it, never structure.

use serde::Serialize;

use crate::advice::{self, Links};
use crate::domain::alert::{Notice, NotifyReason, Subject};
use crate::domain::answer::{Signed, Silence};
use crate::domain::digest::Bundle;
use crate::domain::finding::{Detail, Severity};
use crate::domain::summary::Summary;
use crate::domain::time::Timestamp;
use crate::domain::token::AppName;
use crate::domain::verdict::Verdict;
use crate::settings::Settings;

/// The document as bytes.
pub fn document(bundle: &Bundle, id: &str, settings: &Settings) -> Vec<u8> {
    serde_json::to_vec(&Document::new(bundle, id, settings)).expect("strings, numbers and lists are always JSON")
}

/// The message id of a bundle: a hash of the keys it holds, so the same notices always travel under the same id. It has no full stop,
/// which the signature uses as a separator.
pub fn message_id(bundle: &Bundle) -> String {
    crate::ids::identifier(&bundle.keys().join("\n"))
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    id: &'a str,
    receiver: &'a str,
    made_at: Option<String>,
    status: &'static str,
    severity: &'static str,
    summary: String,
    shared: Vec<String>,
    notices: Vec<Item<'a>>,
    more: usize,
    troubles: Vec<String>,
}

#[derive(Serialize)]
struct Item<'a> {
    key: &'a str,
    incident: &'a str,
    subject: Named<'a>,
    provider: Option<&'a str>,
    app: Option<&'a str>,
    why: &'static str,
    status: &'static str,
    finding: &'static str,
    severity: &'static str,
    deadline: Option<String>,
    since: String,
    at: String,
    next: Option<String>,
    headline: String,
    what_happens: String,
    what_breaks: String,
    evidence: Vec<Labelled>,
    steps: Vec<String>,
    runbook: Option<String>,
    url: Option<String>,
    acknowledged: Option<Answered>,
    silence: Option<Answered>,
    flaps: Option<u32>,
    digest: Option<Standing<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    kind: &'static str,
    name: &'a str,
}

#[derive(Serialize)]
struct Labelled {
    label: &'static str,
    value: String,
}

#[derive(Serialize)]
struct Answered {
    by: String,
    at: String,
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

#[derive(Serialize)]
struct Standing<'a> {
    verdicts: Vec<Counted>,
    nearest: Vec<Nearest<'a>>,
    open: Vec<Open>,
    open_count: u64,
    opened: u64,
    ended: u64,
    since: Option<String>,
}

#[derive(Serialize)]
struct Counted {
    verdict: &'static str,
    tokens: u64,
}

#[derive(Serialize)]
struct Nearest<'a> {
    token: &'a str,
    finding: &'static str,
    deadline: String,
}

#[derive(Serialize)]
struct Open {
    name: String,
    finding: &'static str,
}

impl<'a> Document<'a> {
    fn new(bundle: &'a Bundle, id: &'a str, settings: &Settings) -> Self {
        let shared = advice::shared(&bundle.notices, settings);
        let worst = bundle.severity().or_else(|| bundle.notices.iter().map(|notice| notice.severity).max());
        Self {
            version: VERSION,
            id,
            receiver: bundle.receiver.as_str(),
            made_at: bundle.notices.iter().map(|notice| notice.at).max().map(time),
            status: if bundle.severity().is_some() { FIRING } else { RESOLVED },
            severity: worst.unwrap_or(Severity::Info).as_str(),
            summary: advice::title(bundle, &shared),
            shared: shared.iter().map(advice::Shared::sentence).collect(),
            notices: bundle.notices.iter().take(MOST_NOTICES).map(|notice| Item::new(notice, settings)).collect(),
            more: bundle.notices.len().saturating_sub(MOST_NOTICES),
            troubles: bundle.troubles.iter().map(|text| advice::plain(text)).collect(),
        }
    }
}

impl<'a> Item<'a> {
    fn new(notice: &'a Notice, settings: &Settings) -> Self {
        let zone = &settings.daemon.zone;
        let links = Links::of(settings, &notice.subject);
        let evidence = if notice.reason.is_a_finding() { advice::evidence(notice, zone) } else { Vec::new() };
        Self {
            key: notice.key.as_str(),
            incident: notice.key.incident(),
            subject: Named { kind: kind(&notice.subject), name: notice.subject.name() },
            provider: (notice.subject != Subject::Watcher).then(|| notice.provider.as_str()),
            app: notice.app.as_ref().map(AppName::as_str),
            why: notice.why.as_str(),
            status: if notice.why == NotifyReason::Resolved { RESOLVED } else { FIRING },
            finding: notice.reason.as_str(),
            severity: notice.severity.as_str(),
            deadline: notice.deadline.map(time),
            since: time(notice.since),
            at: time(notice.at),
            next: notice.next.map(time),
            headline: advice::headline(notice),
            what_happens: advice::what_happens(notice, zone),
            what_breaks: advice::what_breaks(notice, &links),
            evidence: evidence.into_iter().map(|(label, value)| Labelled { label, value }).collect(),
            steps: advice::steps(notice, &links),
            runbook: links.runbook.map(advice::plain),
            url: settings.page(&notice.subject),
            acknowledged: notice.acknowledged.as_ref().map(|signed| Answered::new(signed, None)),
            silence: notice.silence.as_ref().map(|Silence { signed, until, .. }| Answered::new(signed, Some(*until))),
            flaps: notice.flaps,
            digest: match &notice.detail {
                Detail::Summary(summary) => Some(Standing::new(summary)),
                Detail::None
                | Detail::Cause(_)
                | Detail::Missing(_)
                | Detail::App(..)
                | Detail::Text(_)
                | Detail::Obstacles(_) => None,
            },
        }
    }
}

impl Answered {
    fn new(signed: &Signed, until: Option<Timestamp>) -> Self {
        Self {
            by: advice::plain(&signed.by),
            at: time(signed.at),
            why: signed.why.as_deref().map(advice::plain),
            until: until.map(time),
        }
    }
}

impl<'a> Standing<'a> {
    fn new(summary: &'a Summary) -> Self {
        let counted = |&(verdict, tokens): &(Verdict, u64)| Counted { verdict: verdict.as_str(), tokens };
        Self {
            verdicts: summary.verdicts.iter().map(counted).collect(),
            nearest: summary
                .nearest
                .iter()
                .map(|(id, reason, at)| Nearest { token: id.as_str(), finding: reason.as_str(), deadline: time(*at) })
                .collect(),
            open: summary
                .open
                .iter()
                .map(|(name, reason)| Open { name: advice::plain(name), finding: reason.as_str() })
                .collect(),
            open_count: summary.open_count,
            opened: summary.opened,
            ended: summary.ended,
            since: summary.since.map(time),
        }
    }
}

/// RFC 3339, in UTC.
pub(super) fn time(at: Timestamp) -> String {
    at.to_string()
}

const fn kind(subject: &Subject) -> &'static str {
    match subject {
        Subject::Token(_) => "token",
        Subject::App(_) => "app",
        Subject::Watcher => "watcher",
    }
}

const FIRING: &str = "firing";
const RESOLVED: &str = "resolved";
/// Grows when a name goes away or changes its meaning; new names may come without.
const VERSION: u32 = 1;
/// Notices told in full. Many servers take no request beyond 1 MiB.
const MOST_NOTICES: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::compose::tests::{notice, receiver, settings, token};
    use super::*;
    use crate::domain::finding::Reason;
    use crate::domain::time::Span;
    use crate::domain::token::TokenId;

    fn write(notices: Vec<Notice>) -> Value {
        let bundle = Bundle::new(receiver("default"), notices.clone()).expect("there are notices");
        let mut settings = settings();
        settings.daemon.external_url = "https://tw.example.com/x/".parse().ok();
        let bytes = document(&bundle, &message_id(&bundle), &settings);
        let turned = Bundle::new(receiver("default"), notices.into_iter().rev().collect()).expect("there are notices");
        assert_eq!(bytes, document(&turned, &message_id(&turned), &settings), "the same bundle, the same bytes");
        serde_json::from_slice(&bytes).expect("it is JSON")
    }

    /// The names that docs/webhook.md promises: none missing, none beside.
    #[test]
    fn one_notice_tells_all() {
        let mut notice = notice("helpdesk-whatsapp", Reason::Expiring);
        notice.deadline = notice.facts.expires.date();
        notice.acknowledged = Some(Signed { by: "ada (1000)".into(), at: notice.at, why: Some("on it".into()) });
        let mut document = write(vec![notice]);
        let item = document["notices"][0].take();
        assert_eq!(
            document,
            json!({
                "version": 1, "id": document["id"], "receiver": "default", "made_at": "2025-07-15T08:00:00Z",
                "status": "firing", "severity": "critical", "summary": "helpdesk-whatsapp expires in 3 days",
                "shared": [], "notices": [null], "more": 0, "troubles": [],
            })
        );
        assert_eq!(document["id"].as_str().map(str::len), Some(32));
        let words = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            item,
            json!({
                "key": "token/helpdesk-whatsapp/expiry.1.g1/r1/critical",
                "incident": "token/helpdesk-whatsapp/expiry.1.g1",
                "subject": {"kind": "token", "name": "helpdesk-whatsapp"},
                "provider": "meta", "app": "helpdesk", "why": "first", "status": "firing",
                "finding": "expiring", "severity": "critical", "deadline": "2025-07-18T08:00:00Z",
                "since": "2025-07-15T06:00:00Z", "at": "2025-07-15T08:00:00Z", "next": "2025-07-16T08:00:00Z",
                "headline": "helpdesk-whatsapp expires in 3 days",
                "what_happens": words("what_happens"), "what_breaks": words("what_breaks"),
                "evidence": item["evidence"], "steps": item["steps"],
                "runbook": "https://wiki.example.com/whatsapp-token",
                "url": "https://tw.example.com/x/tokens/helpdesk-whatsapp",
                "acknowledged": {"by": "ada (1000)", "at": "2025-07-15T08:00:00Z", "why": "on it"},
                "silence": null, "flaps": null, "digest": null,
            })
        );
        assert!(words("what_happens").contains("13:30 IST") && words("what_breaks").contains("521803094347148"));
        assert!(item["steps"].as_array().is_some_and(|steps| steps.len() > 2));
        assert_eq!(item["evidence"][0]["label"], "Finding");
    }

    #[test]
    fn good_news_and_summaries_have_their_form() {
        let resolved = Notice { why: NotifyReason::Resolved, ..notice("a", Reason::Blind) };
        let silence = Silence {
            signed: Signed { by: "ada".into(), at: resolved.at, why: None },
            until: resolved.at.plus(Span::hours(4)),
            even_critical: false,
            reminded: true,
        };
        let document = write(vec![resolved.clone()]);
        assert_eq!((&document["status"], &document["severity"]), (&json!("resolved"), &json!("critical")));
        assert_eq!(document["notices"][0]["steps"], json!([]));
        let mut reminded = notice("b", Reason::Blind);
        reminded.severity = Severity::Info;
        reminded.why = NotifyReason::Reminded;
        reminded.silence = Some(silence);
        let document = write(vec![resolved, reminded]);
        assert_eq!((&document["status"], &document["severity"]), (&json!("firing"), &json!("info")));
        assert_eq!(
            document["notices"][0]["silence"],
            json!({"by": "ada", "at": "2025-07-15T08:00:00Z", "why": null, "until": "2025-07-15T12:00:00Z"})
        );
        let mut digest = notice("a", Reason::Digest);
        digest.subject = Subject::Watcher;
        digest.severity = Severity::Info;
        digest.detail = Detail::Summary(Box::new(Summary {
            verdicts: vec![(Verdict::Healthy, 40), (Verdict::Expiring, 2)],
            nearest: vec![(TokenId::parse("a").expect("a valid name"), Reason::Expiring, digest.at)],
            open: vec![("a".into(), Reason::Expiring)],
            open_count: 1,
            opened: 3,
            ended: 2,
            since: Some(digest.since),
        }));
        let document = write(vec![digest]);
        let item = &document["notices"][0];
        assert_eq!(document["summary"], "summary: 42 tokens, 40 healthy, 2 expiring");
        assert_eq!(item["subject"], json!({"kind": "watcher", "name": "tokenwatch"}));
        assert_eq!((&item["provider"], &item["url"]), (&Value::Null, &json!("https://tw.example.com/x/")));
        assert_eq!(
            item["digest"],
            json!({
                "verdicts": [{"verdict": "healthy", "tokens": 40}, {"verdict": "expiring", "tokens": 2}],
                "nearest": [{"token": "a", "finding": "expiring", "deadline": "2025-07-15T08:00:00Z"}],
                "open": [{"name": "a", "finding": "expiring"}],
                "open_count": 1, "opened": 3, "ended": 2, "since": "2025-07-15T06:00:00Z",
            })
        );
    }

    #[test]
    fn many_notices_are_one_document_of_bounded_size() {
        let hostile = |n: usize| {
            let mut notice = notice(&token(n), Reason::Unreadable);
            notice.detail = Detail::Text("\"}<&\u{0}".repeat(9_999).into());
            notice.facts.message = Some("\\\"\u{7f}é".repeat(9_999).into());
            notice
        };
        let document = write((0..500).map(hostile).collect());
        assert_eq!(document["notices"].as_array().map(Vec::len), Some(200));
        assert_eq!(document["more"], 300);
        assert!(document["shared"][0].as_str().is_some_and(|text| text.contains("the app helpdesk")), "{document}");
        assert!(document["summary"].as_str().is_some_and(|text| text.contains("500 tokens")));
        assert!(document.to_string().len() < 1 << 20, "{}", document.to_string().len());
    }

    #[test]
    fn words_from_outside_are_only_words() {
        let evil = "\",\"severity\":\"info\"}\r\n\u{202e}\u{0}<script>";
        let mut hostile = notice("helpdesk-whatsapp", Reason::Unreadable);
        hostile.detail = Detail::Text(evil.into());
        hostile.facts.message = Some(format!("and {evil}").into());
        hostile.acknowledged = Some(Signed { by: evil.into(), at: hostile.at, why: Some(evil.into()) });
        let document = write(vec![hostile]);
        assert_eq!(document["notices"][0]["severity"], "critical");
        let text = document.to_string();
        assert!(!text.contains("\\u0000") && !text.contains('\u{202e}') && !text.contains("\\r"), "{text}");
    }

    #[test]
    fn ids_depend_on_the_keys_alone() {
        let bundle = |names: &[&str]| {
            let notices = names.iter().map(|name| notice(name, Reason::Expired)).collect();
            Bundle::new(receiver("default"), notices).expect("there are notices")
        };
        assert_eq!(message_id(&bundle(&["a", "b"])), message_id(&bundle(&["b", "a"])));
        assert_ne!(message_id(&bundle(&["a", "b"])), message_id(&bundle(&["a"])));
        let id = message_id(&bundle(&["a", "b"]));
        assert!(
            super::super::compose::message_id(&bundle(&["a", "b"]), "example.com").contains(&id),
            "mail has the same hash"
        );
    }
}
