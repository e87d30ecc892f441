//! An Alertmanager: notices as alerts, posted again and again while they fire.
//!
//! Severity and finding are labels, so an incident that gets worse is another alert: the one before is ended in the same request. It never
//! lets an alert fire for ever (each has an end, a few resends ahead), never posts the regular summary, and keeps no memory: what an
//! incident may have fired before follows from the notice alone, and ending an alert that never fired does no harm.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::HeaderMap;
use serde::Serialize;

use super::json;
use super::post::{self, Place};
use crate::advice::{self, Links};
use crate::domain::alert::{Notice, NotifyReason, Subject, WATCHER};
use crate::domain::digest::Bundle;
use crate::domain::finding::{Reason, Severity};
use crate::domain::route::ChannelKind;
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::ReceiverName;
use crate::outgoing::ClientError;
use crate::ports::{Channel, Clock, Delivery, DeliveryError};
use crate::reader::Reader;
use crate::secret::Secret;
use crate::settings::{Login, Settings};

/// Keeps Alertmanagers told.
pub struct AlertmanagerChannel {
    settings: Arc<Settings>,
    reader: Reader,
    clock: Arc<dyn Clock>,
    managers: BTreeMap<ReceiverName, Manager>,
}

struct Manager {
    place: Place,
    login: Option<Login>,
    resend: Span,
}

impl AlertmanagerChannel {
    /// The channel of these settings; `None` when no receiver has an Alertmanager. After a reload it is made anew.
    ///
    /// # Errors
    /// When no HTTP client can be made for one of them.
    pub fn new(settings: Arc<Settings>, reader: Reader, clock: Arc<dyn Clock>) -> Result<Option<Self>, ClientError> {
        let mut managers = BTreeMap::new();
        for (name, receiver) in &settings.receivers {
            let Some(known) = &receiver.alertmanager else { continue };
            let mut url = known.url.clone();
            let base = url.path().trim_end_matches('/').to_owned();
            url.set_path(&format!("{base}/api/v2/alerts"));
            let place = Place::new(url, TIMEOUT, known.ca_file.as_deref())?;
            managers.insert(name.clone(), Manager { place, login: known.login.clone(), resend: known.resend });
        }
        Ok((!managers.is_empty()).then_some(Self { settings, reader, clock, managers }))
    }

    async fn tell(&self, receiver: &ReceiverName, notices: &[Notice]) -> Result<Delivery, DeliveryError> {
        let Some(manager) = self.managers.get(receiver) else {
            return Err(DeliveryError::NotSent(format!("the receiver {receiver} has no alertmanager any more")));
        };
        let now = self.clock.now();
        let writer = Writer { receiver, settings: &self.settings, now, end: now.plus(manager.lasts()) };
        let alerts = writer.alerts(notices);
        if alerts.is_empty() {
            return Ok(Delivery::default());
        }
        let secret = self.secret(manager).await?;
        for (n, chunk) in alerts.chunks(MOST_ALERTS).enumerate() {
            let headers = manager.headers(secret.as_ref())?;
            manager.post(headers, chunk, secret.as_ref()).await.map_err(|error| match error {
                // Some of them are there already.
                DeliveryError::NotSent(text) if n > 0 => DeliveryError::Unknown(format!(
                    "{text} ({} of {} alerts were taken before)",
                    n * MOST_ALERTS,
                    alerts.len()
                )),
                error => error,
            })?;
        }
        Ok(Delivery { addresses: 1, failures: Vec::new() })
    }

    async fn secret(&self, manager: &Manager) -> Result<Option<Secret>, DeliveryError> {
        let place = manager.login.as_ref().map(|login| match login {
            Login::Basic { password, .. } => password,
            Login::Bearer(token) => token,
        });
        self.reader.read_where(place).await.map_err(|error| {
            DeliveryError::NotSent(format!("{}: its login cannot be read: {error}", manager.place.name()))
        })
    }
}

impl Channel for AlertmanagerChannel {
    /// Harmless to repeat: the same alert is the same alert, however often it is posted.
    fn deliver<'a>(&'a self, bundle: &'a Bundle, _message: &'a str) -> BoxFuture<'a, Result<Delivery, DeliveryError>> {
        Box::pin(self.tell(&bundle.receiver, &bundle.notices))
    }

    fn message_id(&self, bundle: &Bundle) -> String {
        json::message_id(bundle)
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Alertmanager
    }

    fn sustain<'a>(
        &'a self,
        receiver: &'a ReceiverName,
        open: &'a [Notice],
    ) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            let firing: Vec<Notice> = open.iter().filter(|notice| fires_on(notice)).cloned().collect();
            self.tell(receiver, &still(firing)).await.map(drop)
        })
    }
}

impl Manager {
    /// How long an alert fires when it is not posted again.
    fn lasts(&self) -> Span {
        Span::seconds(self.resend.as_seconds().max(1).saturating_mul(RESENDS))
    }

    fn headers(&self, secret: Option<&Secret>) -> Result<HeaderMap, DeliveryError> {
        match (&self.login, secret) {
            (Some(Login::Basic { user, .. }), Some(password)) => post::basic(user, password),
            (Some(Login::Bearer(_)), Some(token)) => post::bearer(token),
            _ => Ok(HeaderMap::new()),
        }
    }

    async fn post(
        &self,
        headers: HeaderMap,
        alerts: &[Alert<'_>],
        secret: Option<&Secret>,
    ) -> Result<(), DeliveryError> {
        let body = serde_json::to_vec(alerts).expect("strings and lists are always JSON");
        let secrets: Vec<&Secret> = secret.into_iter().collect();
        match self.place.post(headers, &body).await {
            Ok(reply) if post::is_success(&reply) => Ok(()),
            Ok(reply) => Err(self.place.refused(&reply, &secrets)),
            Err(failure) => Err(self.place.broken(&failure, &secrets)),
        }
    }
}

/// One alert, as `POST /api/v2/alerts` takes it.
#[derive(Serialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    labels: Labels<'a>,
    annotations: Annotations,
    starts_at: String,
    ends_at: String,
    #[serde(skip_serializing_if = "Option::is_none", rename = "generatorURL")]
    generator_url: Option<String>,
}

/// What an alert is: the same labels are the same alert.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Labels<'a> {
    alertname: &'static str,
    severity: &'static str,
    finding: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'static str>,
    receiver: &'a str,
}

/// What an alert says.
#[derive(Serialize, Clone, Debug)]
struct Annotations {
    summary: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    runbook_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged_by: Option<String>,
}

/// Turns notices into alerts.
struct Writer<'a> {
    receiver: &'a ReceiverName,
    settings: &'a Settings,
    now: Timestamp,
    /// When what fires ends, unless it is posted again.
    end: Timestamp,
}

impl<'a> Writer<'a> {
    /// The alerts of these notices: of each incident only the latest counts, and what fires wins over what another incident has ended.
    fn alerts(&self, notices: &'a [Notice]) -> Vec<Alert<'a>> {
        let mut alerts: BTreeMap<Labels<'a>, Alert<'a>> = BTreeMap::new();
        let latest = latest(notices);
        for notice in &latest {
            for labels in self.ended(notice) {
                alerts.insert(labels, self.alert(notice, labels, notice.at.min(self.now)));
            }
        }
        for notice in latest.into_iter().filter(|notice| notice.why != NotifyReason::Resolved) {
            let Some(name) = alert_name(notice.reason) else { continue };
            let labels = self.labels(notice, name, notice.reason, notice.severity);
            alerts.insert(labels, self.alert(notice, labels, self.end));
        }
        alerts.into_values().collect()
    }

    /// What the incident may have fired before: any finding of its thread, at any severity that it comes in, up to the worst that was told.
    fn ended(&self, notice: &'a Notice) -> Vec<Labels<'a>> {
        let over = match notice.why {
            NotifyReason::Resolved => true,
            NotifyReason::Escalated => false,
            NotifyReason::First | NotifyReason::Repeated | NotifyReason::Reminded => return Vec::new(),
        };
        let thread = notice.reason.thread();
        let mut ended = Vec::new();
        for reason in Reason::ALL.into_iter().filter(|reason| reason.thread() == thread) {
            let Some(name) = alert_name(reason) else { continue };
            for severity in Severity::ALL.into_iter().filter(|severity| *severity <= notice.severity) {
                let itself = (reason, severity) == (notice.reason, notice.severity);
                if (itself && over) || (!itself && comes_as(reason, severity)) {
                    ended.push(self.labels(notice, name, reason, severity));
                }
            }
        }
        ended
    }

    fn labels(&self, notice: &'a Notice, alertname: &'static str, reason: Reason, severity: Severity) -> Labels<'a> {
        let (token, app, component) = match &notice.subject {
            Subject::Token(id) => (Some(id.as_str()), None, None),
            Subject::App(name) => (None, Some(name.as_str()), None),
            Subject::Watcher => (None, None, Some(WATCHER)),
        };
        Labels {
            alertname,
            severity: severity.as_str(),
            finding: reason.as_str(),
            provider: component.is_none().then(|| notice.provider.as_str()),
            token,
            app,
            component,
            receiver: self.receiver.as_str(),
        }
    }

    fn alert(&self, notice: &Notice, labels: Labels<'a>, end: Timestamp) -> Alert<'a> {
        // After the clock moved back an incident may begin in the future; an alert must not begin after its end.
        let start = notice.since.min(self.now);
        Alert {
            labels,
            annotations: self.annotations(notice),
            starts_at: json::time(start),
            ends_at: json::time(end.max(start)),
            generator_url: self.settings.page(&notice.subject),
        }
    }

    fn annotations(&self, notice: &Notice) -> Annotations {
        let links = Links::of(self.settings, &notice.subject);
        let zone = &self.settings.daemon.zone;
        let mut lines = vec![advice::what_happens(notice, zone), advice::what_breaks(notice, &links)];
        let steps = advice::steps(notice, &links);
        lines.extend(steps.iter().enumerate().map(|(n, step)| format!("{}. {step}", n + 1)));
        Annotations {
            summary: advice::headline(notice),
            description: lines.join("\n"),
            runbook_url: links.runbook.map(advice::plain),
            deadline: notice.deadline.map(json::time),
            acknowledged_by: notice.acknowledged.as_ref().map(|signed| advice::plain(&signed.by)),
        }
    }
}

/// The last notice of each incident, in a fixed order.
fn latest(notices: &[Notice]) -> Vec<&Notice> {
    let mut latest: BTreeMap<&str, &Notice> = BTreeMap::new();
    // Within one second an incident can only get worse, and then end.
    let age = |notice: &Notice| (notice.at, notice.why == NotifyReason::Resolved, notice.severity, notice.reason);
    for notice in notices {
        let known = latest.entry(notice.key.incident()).or_insert(notice);
        if age(notice) > age(known) {
            *known = notice;
        }
    }
    latest.into_values().collect()
}

/// Whether it is to be posted again while its incident is open. The summary and a test are told once.
fn fires_on(notice: &Notice) -> bool {
    notice.why != NotifyReason::Resolved && notice.reason.is_a_finding()
}

/// The notices as if nothing had changed: what was ended before is not ended again each time.
fn still(mut notices: Vec<Notice>) -> Vec<Notice> {
    for notice in &mut notices {
        notice.why = NotifyReason::Repeated;
    }
    notices
}

/// The name of an alert. These are promises: routes and silences are written with them. The summary is none.
pub const fn alert_name(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::Expiring => "TokenExpiring",
        Reason::Expired => "TokenExpired",
        Reason::Revoked => "TokenRevoked",
        Reason::Unreadable => "TokenUnreadable",
        Reason::DataAccessExpiring => "TokenDataAccessExpiring",
        Reason::DataAccessExpired => "TokenDataAccessExpired",
        Reason::ExpiryUnknown => "TokenExpiryUnknown",
        Reason::ScopeMissing => "TokenScopeMissing",
        Reason::TargetMissing => "TokenTargetMissing",
        Reason::AppFault => "TokenAppFault",
        Reason::Blind => "TokenBlind",
        Reason::SourceUnreadable => "TokenSourceUnreadable",
        Reason::NumberBlocked => "TokenNumberBlocked",
        Reason::NumberLimited => "TokenNumberLimited",
        Reason::WebhooksMissing => "TokenWebhooksMissing",
        Reason::Undeliverable => "TokenwatchUndeliverable",
        Reason::OutboxGrowing => "TokenwatchOutboxGrowing",
        Reason::ClockOff => "TokenwatchClockOff",
        Reason::StateNearlyFull => "TokenwatchStateNearlyFull",
        Reason::VersionRetiring => "TokenwatchVersionRetiring",
        Reason::Test => "TokenwatchTest",
        Reason::RenewalFailed => "TokenRenewalFailed",
        Reason::RenewalOverdue => "TokenRenewalOverdue",
        Reason::RenewalWithoutGain => "TokenRenewalWithoutGain",
        Reason::Digest | Reason::Renewed => return None,
    })
}

/// Whether a finding comes in that severity (contract §3). What never fired should not be seen to end: people would read it.
const fn comes_as(reason: Reason, severity: Severity) -> bool {
    match reason {
        Reason::Expiring | Reason::DataAccessExpiring => true,
        Reason::Blind
        | Reason::StateNearlyFull
        | Reason::RenewalFailed
        | Reason::RenewalOverdue
        | Reason::RenewalWithoutGain => !matches!(severity, Severity::Info),
        Reason::Expired
        | Reason::Revoked
        | Reason::Unreadable
        | Reason::DataAccessExpired
        | Reason::AppFault
        | Reason::SourceUnreadable
        | Reason::NumberBlocked
        | Reason::Undeliverable => matches!(severity, Severity::Critical),
        Reason::ScopeMissing
        | Reason::TargetMissing
        | Reason::NumberLimited
        | Reason::WebhooksMissing
        | Reason::OutboxGrowing
        | Reason::ClockOff
        | Reason::VersionRetiring => matches!(severity, Severity::Warning),
        Reason::ExpiryUnknown | Reason::Digest | Reason::Test | Reason::Renewed => matches!(severity, Severity::Info),
    }
}

/// An alert that is not posted again ends after so many resends: three may fail in a row.
const RESENDS: i64 = 4;
/// Alerts in one request, about a megabyte of them.
const MOST_ALERTS: usize = 500;
/// An Alertmanager answers in milliseconds; what takes longer is down.
const TIMEOUT: Span = Span::seconds(10);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::compose::tests::{notice, receiver, token};
    use super::super::post::tests::{Request, Script, Server};
    use super::*;
    use crate::clock::Lens;
    use crate::domain::alert::AlertKey;
    use crate::domain::answer::Signed;
    use crate::domain::token::AppName;
    use crate::settings::source::Sources;

    /// An hour after the notices of these tests were made.
    const NOW: i64 = 1_752_570_000;
    const FINE: &[Script] = &[Script::Say(200, "")];

    fn channel(port: u16, more: &str) -> AlertmanagerChannel {
        let text = format!(
            r#"
            [daemon]
            external_url = "https://tw.example.com/"
            [receivers.default]
            alertmanager = {{ url = "http://127.0.0.1:{port}/am/"{more} }}
            [receivers.other]
            [[tokens]]
            name = "helpdesk-whatsapp"
            receivers = ["default"]
            secret = {{ env = "T" }}
            runbook = "https://wiki.example.com/x"
            "#
        );
        let settings =
            crate::settings::from_text(&text, "test", &[]).unwrap_or_else(|faults| unreachable!("{faults}")).settings;
        let reader = Reader::new(Sources::new([("AM".to_owned(), "hunter2hunter2".to_owned())]));
        let clock = Arc::new(Lens::new(Timestamp::from_unix(NOW), 1));
        AlertmanagerChannel::new(Arc::new(settings), reader, clock)
            .unwrap_or_else(|error| unreachable!("{error}"))
            .expect("there is an alertmanager")
    }

    async fn deliver(channel: &AlertmanagerChannel, notices: Vec<Notice>) -> Result<Delivery, DeliveryError> {
        let bundle = Bundle::new(receiver("default"), notices).expect("there are notices");
        channel.deliver(&bundle, &channel.message_id(&bundle)).await
    }

    /// What was posted: names and severities that fire, and those that are ended.
    fn split(request: &Request) -> (BTreeSet<String>, BTreeSet<String>) {
        let name = |alert: &Value| {
            let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
            format!("{} {}", label("alertname"), label("severity"))
        };
        let alerts = request.json();
        let alerts = alerts.as_array().expect("a list");
        let now = Timestamp::from_unix(NOW).to_string();
        let ends = |alert: &&Value| alert["endsAt"].as_str().is_some_and(|end| *end > *now);
        (alerts.iter().filter(ends).map(name).collect(), alerts.iter().filter(|alert| !ends(alert)).map(name).collect())
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn with(why: NotifyReason, reason: Reason, severity: Severity) -> Notice {
        let mut notice = notice("helpdesk-whatsapp", reason);
        notice.key = AlertKey::from_stored(&format!(
            "token/helpdesk-whatsapp/{}.1.g1/{}/{}",
            reason.thread().as_str(),
            severity.as_str(),
            why.as_str()
        ));
        (notice.why, notice.severity) = (why, severity);
        notice
    }

    #[tokio::test]
    async fn a_notice_is_an_alert() {
        let server = Server::start(FINE).await;
        let channel = channel(server.port, "");
        let mut first = with(NotifyReason::First, Reason::Expiring, Severity::Warning);
        first.deadline = first.facts.expires.date();
        first.acknowledged = Some(Signed { by: "ada\r\n(1000)".into(), at: first.at, why: None });
        assert_eq!(deliver(&channel, vec![first]).await, Ok(Delivery { addresses: 1, failures: vec![] }));
        let request = server.seen()[0].clone();
        assert_eq!((&*request.target, request.header("authorization")), ("/am/api/v2/alerts", ""));
        let alert = request.json()[0].take();
        assert_eq!(
            alert["labels"],
            serde_json::json!({
                "alertname": "TokenExpiring", "severity": "warning", "finding": "expiring", "provider": "meta",
                "token": "helpdesk-whatsapp", "receiver": "default",
            })
        );
        let annotations = &alert["annotations"];
        assert_eq!(annotations["summary"], "helpdesk-whatsapp expires in 3 days");
        assert_eq!(annotations["runbook_url"], "https://wiki.example.com/x");
        assert_eq!(annotations["deadline"], "2025-07-18T08:00:00Z");
        assert_eq!(annotations["acknowledged_by"], "ada (1000)");
        let description = annotations["description"].as_str().unwrap_or_default();
        assert!(description.contains("\n1. ") && description.contains("tokenwatch check"), "{description}");
        assert_eq!(alert["generatorURL"], "https://tw.example.com/tokens/helpdesk-whatsapp");
        assert_eq!(alert["startsAt"], "2025-07-15T06:00:00Z");
        let end = alert["endsAt"].as_str().unwrap_or_default();
        let expected = Timestamp::from_unix(NOW).plus(Span::minutes(4)).to_string();
        assert_eq!(end[..17], expected[..17], "four minutes from now");
    }

    // promise 49
    #[tokio::test]
    async fn every_occasion_fires_and_ends_what_it_should() {
        use NotifyReason::{Escalated, First, Reminded, Repeated, Resolved};
        use Severity::{Critical, Info, Warning};
        for (notices, firing, ended) in [
            (vec![with(First, Reason::Expiring, Info)], set(&["TokenExpiring info"]), set(&[])),
            (vec![with(Reminded, Reason::Expiring, Info)], set(&["TokenExpiring info"]), set(&[])),
            (vec![with(Repeated, Reason::Blind, Critical)], set(&["TokenBlind critical"]), set(&[])),
            (
                vec![with(Escalated, Reason::Blind, Critical)],
                set(&["TokenBlind critical"]),
                set(&["TokenBlind warning"]),
            ),
            (
                vec![with(Escalated, Reason::Expired, Critical)],
                set(&["TokenExpired critical"]),
                set(&["TokenExpiring critical", "TokenExpiring info", "TokenExpiring warning"]),
            ),
            (
                vec![with(Resolved, Reason::DataAccessExpiring, Warning)],
                set(&[]),
                set(&["TokenDataAccessExpiring info", "TokenDataAccessExpiring warning"]),
            ),
            (
                vec![with(Resolved, Reason::Expired, Critical)],
                set(&[]),
                set(&[
                    "TokenExpired critical",
                    "TokenExpiring critical",
                    "TokenExpiring info",
                    "TokenExpiring warning",
                ]),
            ),
            (vec![with(Resolved, Reason::ScopeMissing, Warning)], set(&[]), set(&["TokenScopeMissing warning"])),
            // Of one incident only the last word counts, whatever the order.
            (
                vec![with(First, Reason::Blind, Info), with(Resolved, Reason::Blind, Info)],
                set(&[]),
                set(&["TokenBlind info"]),
            ),
            // One incident ends in the moment in which another with the same name begins.
            (
                vec![with(Resolved, Reason::Expiring, Warning), {
                    let mut next = with(First, Reason::Expiring, Info);
                    next.key = AlertKey::from_stored("token/helpdesk-whatsapp/expiry.2.g1/r21d/info");
                    next
                }],
                set(&["TokenExpiring info"]),
                set(&["TokenExpiring warning"]),
            ),
        ] {
            let server = Server::start(FINE).await;
            let channel = channel(server.port, "");
            let turned: Vec<Notice> = notices.iter().rev().cloned().collect();
            assert!(deliver(&channel, notices).await.is_ok());
            assert_eq!(split(&server.seen()[0]), (firing, ended));
            assert!(channel.tell(&receiver("default"), &turned).await.is_ok());
            let seen = server.seen();
            assert_eq!(split(&seen[0]), split(&seen[1]));
        }
    }

    #[tokio::test]
    async fn no_alert_ends_before_it_begins() {
        for (why, at, since, start, end) in [
            (NotifyReason::Resolved, 100, 50, 50, 100),
            (NotifyReason::Resolved, 100, 200, 200, 200),
            (NotifyReason::First, NOW + 9_000, NOW + 9_000, NOW, NOW + 240),
            (NotifyReason::Resolved, NOW + 9_000, NOW - 60, NOW - 60, NOW),
        ] {
            let server = Server::start(FINE).await;
            let mut notice = with(why, Reason::Blind, Severity::Info);
            (notice.at, notice.since) = (Timestamp::from_unix(at), Timestamp::from_unix(since));
            assert!(deliver(&channel(server.port, ""), vec![notice]).await.is_ok());
            let alert = server.seen()[0].json()[0].take();
            let minute = |value: &Value| value.as_str().map(|text| text[..16].to_owned());
            let expected = |at: i64| Some(Timestamp::from_unix(at).to_string()[..16].to_owned());
            assert_eq!((minute(&alert["startsAt"]), minute(&alert["endsAt"])), (expected(start), expected(end)));
        }
    }

    // promise 52
    #[tokio::test]
    async fn the_watcher_an_app_a_test_and_the_summary() {
        let of = |reason: Reason, severity: Severity, subject: Subject| {
            let mut notice = with(NotifyReason::First, reason, severity);
            notice.subject = subject;
            notice
        };
        let app = Subject::App(AppName::parse("helpdesk").expect("a valid name"));
        for (notice, name, label) in [
            (of(Reason::Test, Severity::Info, Subject::Watcher), "TokenwatchTest", ("component", "tokenwatch")),
            (
                of(Reason::ClockOff, Severity::Warning, Subject::Watcher),
                "TokenwatchClockOff",
                ("component", "tokenwatch"),
            ),
            (of(Reason::AppFault, Severity::Critical, app), "TokenAppFault", ("app", "helpdesk")),
        ] {
            let server = Server::start(FINE).await;
            let watcher = notice.subject == Subject::Watcher;
            assert!(deliver(&channel(server.port, ""), vec![notice]).await.is_ok());
            let alert = server.seen()[0].json()[0].take();
            assert_eq!((&alert["labels"]["alertname"], &alert["labels"][label.0]), (&name.into(), &label.1.into()));
            assert_eq!(alert["labels"].get("provider").is_none(), watcher);
            assert_eq!(alert["generatorURL"], "https://tw.example.com/");
        }
        let server = Server::start(FINE).await;
        let digest = of(Reason::Digest, Severity::Info, Subject::Watcher);
        assert_eq!(deliver(&channel(server.port, ""), vec![digest]).await, Ok(Delivery::default()));
        assert!(server.seen().is_empty(), "the summary is no alert");
        let names: BTreeSet<_> = Reason::ALL.into_iter().filter_map(alert_name).collect();
        assert_eq!(names.len(), Reason::ALL.len() - 2, "no name is used twice, and good news has none");
    }

    // promise 49
    #[tokio::test]
    async fn what_is_open_is_told_again_in_chunks() {
        let server = Server::start(FINE).await;
        let channel = channel(server.port, "");
        let mut open: Vec<Notice> = (1..=1_200).map(|n| notice(&token(n), Reason::Expired)).collect();
        open[0].why = NotifyReason::Escalated;
        open.push(Notice { why: NotifyReason::Resolved, ..notice("gone", Reason::Expired) });
        open.push(Notice { subject: Subject::Watcher, ..notice("test", Reason::Test) });
        assert_eq!(channel.sustain(&receiver("default"), &open).await, Ok(()));
        let sizes: Vec<_> = server.seen().iter().map(|request| request.json().as_array().map_or(0, Vec::len)).collect();
        assert_eq!(sizes, [500, 500, 200]);
        for request in server.seen().iter() {
            assert_eq!(split(request), (set(&["TokenExpired critical"]), set(&[])));
            assert!(request.body.len() < 2 << 20, "{}", request.body.len());
        }
        assert_eq!(channel.sustain(&receiver("default"), &[]).await, Ok(()));
        assert_eq!(server.seen().len(), 3, "nothing open, nothing posted");
    }

    #[tokio::test]
    async fn what_was_not_taken_is_said_without_secrets() {
        const BASIC: &str = r#", user = "tw", password = { env = "AM" }"#;
        const BEARER: &str = r#", bearer = { env = "AM" }"#;
        for (more, login) in [(BASIC, "Basic dHc6aHVudGVyMmh1bnRlcjI="), (BEARER, "Bearer hunter2hunter2")] {
            let server = Server::start(FINE).await;
            assert!(deliver(&channel(server.port, more), vec![notice("a", Reason::Blind)]).await.is_ok());
            assert_eq!(server.seen()[0].header("authorization"), login);
        }
        for (script, sent, words) in [
            (&[Script::Say(401, "no hunter2hunter2")] as &[Script], false, "401 Unauthorized: no ***; see that"),
            (&[Script::Say(400, "\"bad label\"")], false, "bad label"),
            (&[Script::Drop], true, "may have arrived"),
        ] {
            let server = Server::start(script).await;
            let channel = channel(server.port, BEARER);
            let error = deliver(&channel, vec![notice("a", Reason::Blind)]).await.expect_err("it was not taken");
            assert_eq!(matches!(error, DeliveryError::Unknown(_)), sent, "{error:?}");
            assert!(error.to_string().contains(words) && !error.to_string().contains("hunter2"), "{error}");
        }
        let channel = channel(Server::nobody(), r#", bearer = { env = "NOPE" }"#);
        let error = deliver(&channel, vec![notice("a", Reason::Blind)]).await.expect_err("no secret");
        assert!(matches!(&error, DeliveryError::NotSent(text) if text.contains("its login cannot be read")), "{error}");
        let error = channel.sustain(&receiver("other"), &[]).await.expect_err("nobody is there");
        assert!(error.to_string().contains("other has no alertmanager"), "{error}");
    }

    #[tokio::test]
    async fn a_part_that_was_taken_is_not_called_unsent() {
        let server = Server::start(&[Script::Say(200, ""), Script::Say(503, "")]).await;
        let many = (1..=501).map(|n| notice(&token(n), Reason::Expired)).collect();
        let error = deliver(&channel(server.port, ""), many).await.expect_err("the second part was refused");
        assert!(matches!(&error, DeliveryError::Unknown(text) if text.contains("500 of 501 alerts")), "{error:?}");
    }
}
