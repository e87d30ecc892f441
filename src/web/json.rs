//! The API's JSON: what the board knows, in names that stay.
//!
//! `docs/api.md` lists them. Times are unix seconds, as in the metrics. An end that is a promise of "never" is told apart from one that is unknown.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::advice;
use crate::board::{Board, NumberRow, Row};
use crate::domain::alert::{Ending, Incident, Subject};
use crate::domain::answer::{Answer, Signed, Silence};
use crate::domain::finding::{Reason, Severity};
use crate::domain::inspection::Expiry;
use crate::domain::ledger::Ledger;
use crate::domain::number::{Sending, Subscription};
use crate::domain::renewal::{Ended, Origin};
use crate::domain::route::ChannelKind;
use crate::domain::time::{Timestamp, relative};
use crate::explain::Explanation;
use crate::ports::{AnswerRecord, DeliveryRecord, History, IncidentRecord, OutboxSummary};
use crate::zone::Zone;

/// One token.
#[derive(Debug, Serialize)]
pub struct TokenJson {
    /// Its name.
    pub name: String,
    /// Who issued it.
    pub provider: String,
    /// Its app.
    pub app: Option<String>,
    /// What sort of token it is.
    pub kind: String,
    /// The one word.
    pub verdict: &'static str,
    /// What is wrong.
    pub findings: Vec<FindingJson>,
    /// When it ends.
    pub expires_at: Option<i64>,
    /// Whether it is known never to end.
    pub never_expires: bool,
    /// When data access ends.
    pub data_access_expires_at: Option<i64>,
    /// When it was issued.
    pub issued_at: Option<i64>,
    /// The last attempt.
    pub last_check: Option<i64>,
    /// The last authoritative answer.
    pub last_answer: Option<i64>,
    /// The next attempt; absent while it waits for a cron expression.
    pub next_check: Option<i64>,
    /// When the next renewal is due, or tried again; absent where there is none.
    pub renewal_at: Option<i64>,
    /// Whether all that is as bad as the worst of what is open or found was acknowledged.
    pub acknowledged: bool,
    /// Until when a silence holds.
    pub silenced_until: Option<i64>,
    /// The WhatsApp number that it sends from, once WhatsApp was asked.
    pub number: Option<NumberJson>,
}

/// A WhatsApp number. The words are Meta's, in lower case.
#[derive(Debug, Serialize)]
pub struct NumberJson {
    /// Its id.
    pub phone_number_id: String,
    /// `connected`, …
    pub status: String,
    /// `green`, `yellow`, `red`, …
    pub quality: String,
    /// `live` or `sandbox`.
    pub mode: String,
    /// `available`, `limited` or `blocked`.
    pub sending: Option<&'static str>,
    /// Who gets what arrives: `ours`, `others` or `nobody`.
    pub webhooks: Option<&'static str>,
    /// When WhatsApp last told of it.
    pub answered_at: Option<i64>,
}

impl NumberJson {
    fn of(row: &NumberRow) -> Self {
        Self {
            phone_number_id: row.id.to_string(),
            status: row.status.to_string(),
            quality: row.quality.to_string(),
            mode: row.mode.to_string(),
            sending: row.sending.map(Sending::as_str),
            webhooks: row.subscription.map(Subscription::as_str),
            answered_at: row.answered.map(Timestamp::unix),
        }
    }
}

/// One finding.
#[derive(Debug, Serialize, Deserialize)]
pub struct FindingJson {
    /// Its code.
    pub finding: Cow<'static, str>,
    /// How bad.
    pub severity: Cow<'static, str>,
}

impl FindingJson {
    fn of(reason: Reason, severity: Severity) -> Self {
        Self { finding: reason.as_str().into(), severity: severity.as_str().into() }
    }
}

/// All tokens.
#[derive(Debug, Serialize)]
pub struct TokensJson {
    /// When this was true.
    pub now: i64,
    /// The tokens, in the order of the configuration.
    pub tokens: Vec<TokenJson>,
}

/// One token, with reasons.
#[derive(Debug, Serialize)]
pub struct TokenPageJson {
    /// What is known.
    #[serde(flatten)]
    pub token: TokenJson,
    /// Why.
    pub explanation: Explanation,
    /// What happened to it, the newest first.
    pub history: HistoryJson,
}

/// How a token, an app or tokenwatch itself stands, and how people answered what was told of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct StandingJson {
    /// Which, in full: `token/NAME`, `app/NAME` or `watcher/tokenwatch`.
    pub subject: String,
    /// What is wrong.
    pub findings: Vec<FindingJson>,
    /// Whether somebody said that they know of all that is as bad as the worst.
    pub known: bool,
    /// What is open, each with who said that they know.
    pub open: Vec<IncidentJson>,
    /// The silence that holds.
    pub silence: Option<SilenceJson>,
}

/// A token, an app or tokenwatch itself, with its past.
#[derive(Debug, Serialize)]
pub struct SubjectJson {
    /// When this was true.
    pub now: i64,
    /// How it stands.
    #[serde(flatten)]
    pub standing: StandingJson,
    /// What happened to it, the newest first.
    pub history: HistoryJson,
}

impl StandingJson {
    /// How a subject stands, by the board and by its ledger.
    pub fn of(subject: &Subject, ledger: Option<&Ledger>, board: &Board, now: Timestamp) -> Self {
        let found: Vec<(Reason, Severity)> = match subject {
            Subject::Token(id) => {
                let table = board.table();
                let rows = table.rows();
                let row = rows.iter().find(|row| row.id == *id);
                row.into_iter().flat_map(|row| row.findings.iter().copied()).collect()
            }
            Subject::App(name) => {
                let table = board.table();
                let apps = table.apps();
                let app = apps.iter().filter(|app| app.name == *name).flat_map(|app| &app.findings);
                app.map(|finding| (finding.reason, finding.severity)).collect()
            }
            Subject::Watcher => {
                board.vitals.findings().iter().map(|finding| (finding.reason, finding.severity)).collect()
            }
        };
        let open = ledger.into_iter().flat_map(|ledger| &ledger.incidents);
        let silence = ledger.and_then(|ledger| ledger.silence.as_ref()).filter(|silence| silence.holds(now));
        Self {
            subject: subject.to_string(),
            findings: found.iter().map(|(reason, severity)| FindingJson::of(*reason, *severity)).collect(),
            known: ledger.is_some_and(|ledger| ledger.is_known(&found)),
            open: open.map(|incident| IncidentJson::of(incident, None)).collect(),
            silence: silence.map(SilenceJson::of),
        }
    }

    /// Whether there is nothing to say of it.
    pub fn is_quiet(&self) -> bool {
        self.findings.is_empty() && self.open.is_empty() && self.silence.is_none()
    }

    /// The worst of what is wrong.
    pub fn severity(&self) -> Option<Severity> {
        let open = self.open.iter().map(|incident| incident.severity.as_str());
        let found = self.findings.iter().map(|finding| finding.severity.as_ref());
        open.chain(found).filter_map(Severity::parse).max()
    }

    /// What is wrong, what is open, who knows of it, and who is not told until when and why: a line for each, with the word of its severity, which
    /// a silence has not.
    pub fn in_words(&self, zone: &Zone, now: Timestamp) -> Vec<(String, String)> {
        let told = |finding: &&FindingJson| !self.open.iter().any(|incident| incident.finding == finding.finding);
        let new = self.findings.iter().filter(told);
        let new =
            new.map(|finding| (finding.severity.to_string(), format!("{} ({})", finding.finding, finding.severity)));
        let mut lines: Vec<(String, String)> = new.collect();
        lines.extend(self.open.iter().map(|incident| {
            let since = relative(Timestamp::from_unix(incident.began_at), now);
            let nobody = if incident.told_at.is_none() { ", told to nobody yet" } else { "" };
            let known = incident.acknowledged.as_ref();
            let known = known.map(|signed| format!("; acknowledged by {}", signed.in_words(zone, now)));
            let known = known.unwrap_or_default();
            let words = format!("{} ({}), open, began {since}{nobody}{known}", incident.finding, incident.severity);
            (incident.severity.clone(), words)
        }));
        lines.extend(self.silence.as_ref().map(|silence| (String::new(), silence.in_words(zone, now))));
        lines
    }
}

/// What happened to a subject, the newest first.
#[derive(Debug, Serialize)]
pub struct HistoryJson {
    /// Its incidents.
    pub incidents: Vec<IncidentJson>,
    /// What people answered.
    pub answers: Vec<AnsweredJson>,
    /// What was sent, or is to be.
    pub deliveries: Vec<DeliveryJson>,
    /// The renewals and replacements.
    pub renewals: Vec<RenewalJson>,
}

/// A renewal or a replacement that ended.
#[derive(Debug, Serialize)]
pub struct RenewalJson {
    /// When.
    pub at: i64,
    /// How: renewed, without_gain, refused, rolled_back, failed.
    pub outcome: &'static str,
    /// What was done, and why it ended so.
    pub text: String,
    /// Who wanted it; absent when it was due.
    pub by: Option<String>,
    /// Whether a person brought the new token.
    pub replacement: bool,
}

/// An incident.
#[derive(Debug, Serialize, Deserialize)]
pub struct IncidentJson {
    /// Its number among those of its subject.
    pub number: u32,
    /// What is wrong, or was.
    pub finding: String,
    /// The worst severity that was told.
    pub severity: String,
    /// When it began.
    pub began_at: i64,
    /// When it ended; absent while it is open.
    pub ended_at: Option<i64>,
    /// How it ended: `resolved`, or `superseded` by another.
    pub ending: Option<String>,
    /// The date it is about.
    pub deadline: Option<i64>,
    /// When a notice was last made of it; absent when a silence kept all of it back. What became of it, `deliveries` says.
    pub told_at: Option<i64>,
    /// Which receivers it was for.
    pub told: Vec<String>,
    /// Who said that they know.
    pub acknowledged: Option<SignedJson>,
    /// Whether it comes and goes, so that little of it is told.
    pub damped: bool,
}

/// Who said something, when and why.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignedJson {
    /// Who.
    pub by: String,
    /// When.
    pub at: i64,
    /// Why.
    pub why: Option<String>,
}

/// A silence.
#[derive(Debug, Serialize, Deserialize)]
pub struct SilenceJson {
    /// Who asked for it, when and why.
    #[serde(flatten)]
    pub signed: SignedJson,
    /// When it ends.
    pub until: i64,
    /// Whether even the end of a token is held back.
    pub even_critical: bool,
}

/// An answer that was given.
#[derive(Debug, Serialize)]
pub struct AnsweredJson {
    /// `ack`, `silence` or `unsilence`.
    pub answer: &'static str,
    /// Who gave it, when and why.
    #[serde(flatten)]
    pub signed: SignedJson,
    /// Of a silence: its length in seconds.
    pub seconds: Option<i64>,
    /// Of a silence: whether even the end of a token is held back.
    pub even_critical: Option<bool>,
}

/// A notice on its way, or arrived.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeliveryJson {
    /// Its key.
    pub key: String,
    /// What is wrong, or was.
    pub finding: String,
    /// How bad.
    pub severity: String,
    /// Why it is sent.
    pub why: String,
    /// When it was made.
    pub made_at: i64,
    /// To whom.
    pub receiver: String,
    /// By which way; absent while that was not looked up.
    pub route: Option<String>,
    /// When it was delivered; absent while it is on its way.
    pub delivered_at: Option<i64>,
    /// The channel that took it; `none` where there was nobody to reach.
    pub channel: Option<String>,
    /// How often it was tried.
    pub attempts: u64,
    /// How the last try failed.
    pub failure: Option<String>,
}

impl RenewalJson {
    fn of(ended: &Ended) -> Self {
        let by = match &ended.origin {
            Origin::Schedule => None,
            Origin::Asked(by) | Origin::Replaced(by) => Some(by.to_string()),
        };
        Self {
            at: ended.at.unix(),
            outcome: ended.outcome.as_str(),
            text: ended.text.to_string(),
            by,
            replacement: ended.origin.is_replacement(),
        }
    }
}

impl SignedJson {
    /// The JSON of a signature.
    pub fn of(signed: &Signed) -> Self {
        Self { by: signed.by.to_string(), at: signed.at.unix(), why: signed.why.as_deref().map(str::to_owned) }
    }

    /// `asha (uid 1000), Tue 15 Jul 2025, 13:30 IST (2 hours ago): on it`.
    fn in_words(&self, zone: &Zone, now: Timestamp) -> String {
        let (by, at) = (advice::plain(&self.by), Timestamp::from_unix(self.at));
        let why = self.why.as_deref().map(|why| format!(": {}", advice::plain(why))).unwrap_or_default();
        format!("{by}, {} ({}){why}", zone.long(at), relative(at, now))
    }
}

impl SilenceJson {
    /// The JSON of a silence.
    pub fn of(silence: &Silence) -> Self {
        let (until, even_critical) = (silence.until.unix(), silence.even_critical);
        Self { signed: SignedJson::of(&silence.signed), until, even_critical }
    }

    /// Until when, what it holds back, who asked for it and why.
    pub fn in_words(&self, zone: &Zone, now: Timestamp) -> String {
        let until = Timestamp::from_unix(self.until);
        let hides = if self.even_critical { "everything, even critical" } else { "all but the end of a token" };
        let (date, left, signed) = (zone.long(until), relative(until, now), self.signed.in_words(zone, now));
        format!("silenced until {date} ({left}), which holds back {hides}; by {signed}")
    }
}

impl IncidentJson {
    /// The JSON of an incident.
    pub fn of(incident: &Incident, ended: Option<(Timestamp, Ending)>) -> Self {
        Self {
            number: incident.number,
            finding: incident.reason.as_str().to_owned(),
            severity: incident.severity.as_str().to_owned(),
            began_at: incident.opened_at.unix(),
            ended_at: ended.map(|(at, _)| at.unix()),
            ending: ended.map(|(_, ending)| ending.as_str().to_owned()),
            deadline: incident.deadline.map(Timestamp::unix),
            told_at: incident.told_at.map(Timestamp::unix),
            told: incident.told.iter().map(ToString::to_string).collect(),
            acknowledged: incident.acknowledged.as_ref().map(SignedJson::of),
            damped: incident.damped.is_some(),
        }
    }
}

impl DeliveryJson {
    /// The JSON of a delivery.
    pub fn of(delivery: &DeliveryRecord) -> Self {
        let notice = &delivery.notice;
        Self {
            key: notice.key.to_string(),
            finding: notice.reason.as_str().to_owned(),
            severity: notice.severity.as_str().to_owned(),
            why: notice.why.as_str().to_owned(),
            made_at: notice.at.unix(),
            receiver: delivery.lane.receiver.to_string(),
            route: delivery.lane.route.map(|route| route.as_str().to_owned()),
            delivered_at: delivery.delivered.as_ref().map(|(at, _)| at.unix()),
            channel: delivery.delivered.as_ref().map(|(_, channel)| channel.clone()),
            attempts: delivery.attempts,
            failure: delivery.failure.clone(),
        }
    }
}

impl HistoryJson {
    /// The JSON of a past.
    pub fn of(history: &History) -> Self {
        let answered = |record: &AnswerRecord| {
            let signed = SignedJson::of(record.answer.signed());
            let (answer, seconds, even_critical) = match &record.answer {
                Answer::Acknowledge(_) => ("ack", None, None),
                Answer::Unsilence(_) => ("unsilence", None, None),
                Answer::Silence { lasts, even_critical, .. } => {
                    ("silence", Some(lasts.as_seconds()), Some(*even_critical))
                }
            };
            AnsweredJson { answer, signed, seconds, even_critical }
        };
        let incident = |record: &IncidentRecord| IncidentJson::of(&record.incident, record.ended);
        Self {
            incidents: history.incidents.iter().map(incident).collect(),
            answers: history.answers.iter().map(answered).collect(),
            deliveries: history.deliveries.iter().map(DeliveryJson::of).collect(),
            renewals: history.renewals.iter().map(RenewalJson::of).collect(),
        }
    }
}

/// The daemon as a whole.
#[derive(Debug, Serialize, Deserialize)]
pub struct StatusJson {
    /// When this was true.
    pub now: i64,
    /// The program's version.
    pub version: String,
    /// The zone of dates for people.
    pub timezone: String,
    /// How many tokens are watched.
    pub tokens: usize,
    /// When nothing that was due was left to do.
    pub last_pass: Option<i64>,
    /// Undelivered notices.
    pub outbox_pending: Option<u64>,
    /// When the oldest of them was made.
    pub outbox_oldest: Option<i64>,
    /// When a mail was last delivered.
    pub last_mail: Option<i64>,
    /// When each channel last delivered something.
    pub last_delivery: std::collections::BTreeMap<String, i64>,
    /// What is wrong with the watcher itself.
    pub troubles: Vec<String>,
    /// The findings about the watcher itself.
    pub findings: Vec<String>,
    /// The apps, and the watcher itself, of which something is found or open, or which somebody silenced.
    #[serde(default)]
    pub subjects: Vec<StandingJson>,
}

impl TokenJson {
    /// The JSON of a row.
    pub fn of(row: &Row) -> Self {
        Self {
            name: row.id.to_string(),
            provider: row.provider.to_string(),
            app: row.app.as_ref().map(ToString::to_string),
            kind: row.kind.as_str().to_owned(),
            verdict: row.verdict.as_str(),
            findings: row.findings.iter().map(|(reason, severity)| FindingJson::of(*reason, *severity)).collect(),
            expires_at: row.expires.date().map(Timestamp::unix),
            never_expires: row.expires == Expiry::Never,
            data_access_expires_at: row.data_access.date().map(Timestamp::unix),
            issued_at: row.issued_at.map(Timestamp::unix),
            last_check: row.last_check.map(Timestamp::unix),
            last_answer: row.last_answer.map(Timestamp::unix),
            next_check: Some(row.next_check.unix()).filter(|at| *at != i64::MAX),
            renewal_at: row.renewal.map(Timestamp::unix),
            acknowledged: row.answered.as_ref().is_some_and(|answered| answered.acknowledged),
            silenced_until: row.answered.as_ref().and_then(|answered| answered.silenced_until).map(Timestamp::unix),
            number: row.number.as_deref().map(NumberJson::of),
        }
    }
}

/// The state of the daemon.
pub fn status(board: &Board, outbox: Option<OutboxSummary>, zone: &Zone, now: Timestamp) -> StatusJson {
    let troubles = board.vitals.troubles();
    let last = outbox.iter().flat_map(|outbox| &outbox.last);
    let last: std::collections::BTreeMap<String, i64> =
        last.map(|(kind, at)| (kind.as_str().to_owned(), at.unix())).collect();
    StatusJson {
        now: now.unix(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        timezone: zone.name().to_owned(),
        tokens: board.table().rows().len(),
        last_pass: board.vitals.last_pass().map(Timestamp::unix),
        outbox_pending: outbox.as_ref().map(|outbox| outbox.pending),
        outbox_oldest: outbox.as_ref().and_then(|outbox| outbox.oldest).map(Timestamp::unix),
        last_mail: last.get(ChannelKind::Mail.as_str()).copied(),
        last_delivery: last,
        troubles: troubles
            .store
            .values()
            .map(|text| format!("store: {text}"))
            .chain(troubles.beside_the_store())
            .collect(),
        findings: board.vitals.findings().iter().map(|finding| finding.reason.as_str().to_owned()).collect(),
        subjects: Vec::new(),
    }
}
