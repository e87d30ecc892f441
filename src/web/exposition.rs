//! `/metrics`: Prometheus' text format, written in chunks straight from the board.
//!
//! A scrape of a hundred thousand tokens must not cost a hundred thousand allocations: the writer fills one buffer of 64 KiB after the
//! other and holds the board's lock only while it fills one. It reads no clock and counts nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use crate::board::{Reload, Row, Table};
use crate::domain::finding::{Reason, Severity};
use crate::domain::inspection::Expiry;
use crate::domain::number::{Sending, Subscription};
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::ProviderName;
use crate::domain::verdict::Verdict;
use crate::ports::OutboxSummary;
use crate::settings::PerToken;

/// What a scrape shows beside the rows.
#[derive(Debug)]
pub struct Scene {
    /// When the scrape was asked for.
    pub now: Timestamp,
    /// Counters and histograms, rendered.
    pub counters: Vec<u8>,
    /// The outbox, when the store could be asked.
    pub outbox: Option<OutboxSummary>,
    /// When nothing that was due was left to do.
    pub last_pass: Option<Timestamp>,
    /// The last reload; a one-shot check has none.
    pub reload: Option<Reload>,
    /// What is wrong with the watcher itself.
    pub watcher: Vec<Reason>,
    /// Which tokens have series of their own.
    pub per_token: PerToken,
}

/// The text, chunk by chunk.
pub struct Exposition {
    table: Arc<Table>,
    head: Option<Vec<u8>>,
    selection: Selection,
    family: usize,
    index: usize,
}

/// Which rows have series of their own.
#[derive(Clone, Copy)]
enum Selection {
    All,
    Urgent,
    None,
}

/// A family of series per token.
struct Family {
    name: &'static str,
    help: &'static str,
    write: fn(&mut Vec<u8>, &Row),
}

impl Exposition {
    /// The text of this table.
    pub fn new(table: Arc<Table>, scene: &Scene) -> Self {
        let selection = match scene.per_token {
            PerToken::All => Selection::All,
            PerToken::None => Selection::None,
            PerToken::Auto if table.rows().len() <= AUTO_LIMIT => Selection::All,
            PerToken::Auto => Selection::Urgent,
        };
        let head = head(&table, scene);
        Self { table, head: Some(head), selection, family: 0, index: 0 }
    }
}

impl Iterator for Exposition {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(head) = self.head.take() {
            return Some(head.into());
        }
        let mut out = Vec::with_capacity(CHUNK + SLACK);
        let rows = self.table.rows();
        while out.len() < CHUNK
            && let Some(family) = FAMILIES.get(self.family)
        {
            if matches!(self.selection, Selection::None) {
                // A fault of an app belongs to no token, so it is told even where no token is.
                help(&mut out, FINDING, "1 for each open finding.");
                app_findings(&mut out, &self.table);
                self.family = FAMILIES.len();
                break;
            }
            if self.index == 0 {
                help(&mut out, family.name, family.help);
            }
            while out.len() < CHUNK
                && let Some(row) = rows.get(self.index)
            {
                if !matches!(self.selection, Selection::Urgent) || !row.findings.is_empty() {
                    (family.write)(&mut out, row);
                }
                self.index += 1;
            }
            if self.index >= rows.len() {
                if family.name == FINDING {
                    app_findings(&mut out, &self.table);
                }
                self.family += 1;
                self.index = 0;
            }
        }
        drop(rows);
        (!out.is_empty()).then(|| out.into())
    }
}

const FAMILIES: [Family; 15] = [
    Family {
        name: "tokenwatch_token_info",
        help: "What is known of a token that does not change; always 1.",
        write: info,
    },
    Family { name: RECEIVER, help: "Who is told of a token, one series for each; always 1.", write: receivers },
    Family {
        name: "tokenwatch_token_expiry_timestamp_seconds",
        help: "When the token ends; +Inf is never, absent is unknown. Stays while checks fail and after the end.",
        write: |out, row| expiry(out, "tokenwatch_token_expiry_timestamp_seconds", row, row.expires),
    },
    Family {
        name: "tokenwatch_token_data_access_expiry_timestamp_seconds",
        help: "When the app loses access to the user's data; +Inf is never, absent is unknown.",
        write: |out, row| expiry(out, "tokenwatch_token_data_access_expiry_timestamp_seconds", row, row.data_access),
    },
    Family {
        name: "tokenwatch_token_issued_timestamp_seconds",
        help: "When the token was issued.",
        write: |out, row| moment(out, "tokenwatch_token_issued_timestamp_seconds", row, row.issued_at),
    },
    Family {
        name: "tokenwatch_token_lifetime_seconds",
        help: "How long the token lives from its issue, its last renewal or the first sight of it; absent where it has no end.",
        write: |out, row| value(out, "tokenwatch_token_lifetime_seconds", row, row.lifetime.map(Span::as_seconds)),
    },
    Family {
        name: "tokenwatch_token_renewal_timestamp_seconds",
        help: "When the next renewal is due, or tried again; absent where there is none.",
        write: |out, row| moment(out, "tokenwatch_token_renewal_timestamp_seconds", row, row.renewal),
    },
    Family { name: "tokenwatch_token_verdict", help: "1 for the verdict in force, 0 for the others.", write: verdicts },
    Family { name: FINDING, help: "1 for each open finding.", write: findings },
    Family {
        name: "tokenwatch_token_last_check_timestamp_seconds",
        help: "When the token was last tried.",
        write: |out, row| moment(out, "tokenwatch_token_last_check_timestamp_seconds", row, row.last_check),
    },
    Family {
        name: "tokenwatch_token_last_answer_timestamp_seconds",
        help: "When the last authoritative answer came.",
        write: |out, row| moment(out, "tokenwatch_token_last_answer_timestamp_seconds", row, row.last_answer),
    },
    Family {
        name: NUMBER,
        help: "What WhatsApp says of the number that a token sends from; always 1.",
        write: number_info,
    },
    Family {
        name: "tokenwatch_whatsapp_last_answer_timestamp_seconds",
        help: "When WhatsApp last told of the number.",
        write: |out, row| {
            let at = row.number.as_ref().and_then(|number| number.answered);
            moment(out, "tokenwatch_whatsapp_last_answer_timestamp_seconds", row, at);
        },
    },
    Family {
        name: "tokenwatch_token_acknowledged",
        help: "1 when somebody acknowledged all that is as bad as the worst of what is open or found; absent otherwise.",
        write: |out, row| {
            let known = row.answered.as_ref().is_some_and(|answered| answered.acknowledged);
            value(out, "tokenwatch_token_acknowledged", row, known.then_some(1));
        },
    },
    Family {
        name: "tokenwatch_token_silenced_until_timestamp_seconds",
        help: "When the silence over the token ends; absent without one.",
        write: |out, row| {
            let until = row.answered.as_ref().and_then(|answered| answered.silenced_until);
            moment(out, "tokenwatch_token_silenced_until_timestamp_seconds", row, until);
        },
    },
];

/// Everything that does not grow with the number of tokens.
fn head(table: &Table, scene: &Scene) -> Vec<u8> {
    let mut out = Vec::with_capacity(CHUNK);
    out.extend_from_slice(&scene.counters);
    aggregates(&mut out, table, scene.now);
    let mut gauge = |name: &str, text: &str, value: Option<i64>| {
        if let Some(value) = value {
            help(&mut out, name, text);
            plain(&mut out, name, "", value);
        }
    };
    let outbox = scene.outbox.as_ref();
    gauge(
        "tokenwatch_last_pass_timestamp_seconds",
        "When nothing that was due was left to do.",
        scene.last_pass.map(Timestamp::unix),
    );
    gauge(
        "tokenwatch_outbox_pending",
        "Undelivered notices.",
        outbox.map(|outbox| i64::try_from(outbox.pending).unwrap_or(i64::MAX)),
    );
    gauge(
        "tokenwatch_outbox_oldest_timestamp_seconds",
        "When the oldest undelivered notice was made; absent when there is none.",
        outbox.and_then(|outbox| outbox.oldest).map(Timestamp::unix),
    );
    gauge(
        "tokenwatch_config_last_reload_successful",
        "Whether the last reload of the configuration worked.",
        scene.reload.map(|reload| i64::from(reload.successful)),
    );
    gauge(
        "tokenwatch_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was loaded.",
        scene.reload.map(|reload| reload.success_at.unix()),
    );
    let last = outbox.map(|outbox| outbox.last.as_slice()).unwrap_or_default();
    if !last.is_empty() {
        help(&mut out, "tokenwatch_last_notice_timestamp_seconds", "When a notice was last delivered.");
    }
    for (kind, at) in last {
        let channel = format!("channel=\"{}\"", kind.as_str());
        plain(&mut out, "tokenwatch_last_notice_timestamp_seconds", &channel, at.unix());
    }
    help(&mut out, "tokenwatch_watcher_finding", "1 for what is wrong with the watcher itself, 0 for what is not.");
    for reason in Reason::OF_WATCHER {
        let labels = format!("finding=\"{}\"", reason.as_str());
        plain(&mut out, "tokenwatch_watcher_finding", &labels, i64::from(scene.watcher.contains(&reason)));
    }
    help(&mut out, "tokenwatch_build_info", "What is running; always 1.");
    let build = format!("version=\"{}\",revision=\"{}\"", env!("CARGO_PKG_VERSION"), REVISION);
    plain(&mut out, "tokenwatch_build_info", &build, 1);
    out
}

/// What is counted of the tokens of one provider.
#[derive(Default)]
struct Tally {
    verdicts: [i64; Verdict::ALL.len()],
    within: [i64; HORIZONS.len()],
    findings: [i64; SEVERITIES.len()],
    soonest: Option<Timestamp>,
}

fn aggregates(out: &mut Vec<u8>, table: &Table, now: Timestamp) {
    let meta = ProviderName::meta();
    let rows = table.rows();
    let mut tallies: BTreeMap<&ProviderName, Tally> = BTreeMap::new();
    for row in rows.iter() {
        let tally = tallies.entry(&row.provider).or_default();
        tally.verdicts[position(&Verdict::ALL, &row.verdict)] += 1;
        for (_, severity) in &row.findings {
            tally.findings[position(&SEVERITIES, severity)] += 1;
        }
        let Some(deadline) = row.deadline() else { continue };
        tally.soonest = Some(tally.soonest.map_or(deadline, |known| known.min(deadline)));
        for (count, (_, horizon)) in tally.within.iter_mut().zip(HORIZONS) {
            *count += i64::from(deadline <= now.plus(horizon));
        }
    }
    if tallies.is_empty() {
        // The series are there before there are tokens, so that an alert can say that there are none.
        tallies.insert(&meta, Tally::default());
    }
    help(out, "tokenwatch_tokens", "How many tokens, by verdict.");
    for (provider, tally) in &tallies {
        for (verdict, count) in Verdict::ALL.iter().zip(tally.verdicts) {
            let labels = format!("provider=\"{}\",verdict=\"{}\"", provider.as_str(), verdict.as_str());
            plain(out, "tokenwatch_tokens", &labels, count);
        }
    }
    help(out, "tokenwatch_findings", "How many findings about tokens are open, by severity.");
    for (provider, tally) in &tallies {
        for (severity, count) in SEVERITIES.iter().zip(tally.findings) {
            let labels = format!("provider=\"{}\",severity=\"{}\"", provider.as_str(), severity.as_str());
            plain(out, "tokenwatch_findings", &labels, count);
        }
    }
    help(out, "tokenwatch_tokens_expiring", "How many tokens end within that time, those already ended included.");
    for (provider, tally) in &tallies {
        for ((name, _), count) in HORIZONS.iter().zip(tally.within) {
            let labels = format!("provider=\"{}\",within=\"{name}\"", provider.as_str());
            plain(out, "tokenwatch_tokens_expiring", &labels, count);
        }
    }
    help(
        out,
        "tokenwatch_soonest_expiry_timestamp_seconds",
        "The nearest deadline of all, those already passed included.",
    );
    for (provider, tally) in &tallies {
        if let Some(soonest) = tally.soonest {
            let labels = format!("provider=\"{}\"", provider.as_str());
            plain(out, "tokenwatch_soonest_expiry_timestamp_seconds", &labels, soonest.unix());
        }
    }
}

fn position<T: PartialEq>(all: &[T], item: &T) -> usize {
    all.iter().position(|known| known == item).unwrap_or_default()
}

/// Names of tokens, apps and receivers are slugs, and every other label value comes from a closed set, so nothing needs escaping; the
/// token's kind is reduced to `[a-z0-9_]` where it enters.
fn info(out: &mut Vec<u8>, row: &Row) {
    open(out, "tokenwatch_token_info", row);
    for part in ["\",provider=\"", row.provider.as_str(), "\",app=\"", row.app.as_ref().map_or("", |app| app.as_str())]
    {
        out.extend_from_slice(part.as_bytes());
    }
    for part in ["\",kind=\"", row.kind.as_str(), "\"} 1\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// A token that nobody is told of has one series too, with an empty name: whoever selects all receivers by a join still sees it.
fn receivers(out: &mut Vec<u8>, row: &Row) {
    let mut one = |receiver: &str| {
        open(out, RECEIVER, row);
        for part in ["\",receiver=\"", receiver, "\"} 1\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    };
    if row.receivers.is_empty() {
        one("");
    }
    for receiver in row.receivers.iter() {
        one(receiver.as_str());
    }
}

/// The words were made fit for labels where the row was made.
fn number_info(out: &mut Vec<u8>, row: &Row) {
    let Some(known) = &row.number else { return };
    open(out, NUMBER, row);
    for (name, value) in [
        ("phone_number_id", &*known.id),
        ("status", &*known.status),
        ("quality", &*known.quality),
        ("mode", &*known.mode),
        ("sending", known.sending.map_or("unknown", Sending::as_str)),
        ("webhooks", known.subscription.map_or("unknown", Subscription::as_str)),
    ] {
        for part in ["\",", name, "=\"", value] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.extend_from_slice(b"\"} 1\n");
}

fn expiry(out: &mut Vec<u8>, name: &str, row: &Row, expiry: Expiry) {
    match expiry {
        Expiry::Unknown => {}
        Expiry::Never => {
            open(out, name, row);
            out.extend_from_slice(b"\"} +Inf\n");
        }
        Expiry::At(at) => moment(out, name, row, Some(at)),
    }
}

fn moment(out: &mut Vec<u8>, name: &str, row: &Row, at: Option<Timestamp>) {
    value(out, name, row, at.map(Timestamp::unix));
}

fn value(out: &mut Vec<u8>, name: &str, row: &Row, value: Option<i64>) {
    if let Some(value) = value {
        open(out, name, row);
        out.extend_from_slice(b"\"} ");
        number(out, value);
    }
}

fn verdicts(out: &mut Vec<u8>, row: &Row) {
    for verdict in Verdict::ALL {
        open(out, "tokenwatch_token_verdict", row);
        out.extend_from_slice(b"\",verdict=\"");
        out.extend_from_slice(verdict.as_str().as_bytes());
        out.extend_from_slice(if verdict == row.verdict { b"\"} 1\n" } else { b"\"} 0\n" });
    }
}

fn findings(out: &mut Vec<u8>, row: &Row) {
    for (reason, severity) in &row.findings {
        open(out, FINDING, row);
        for part in ["\",finding=\"", reason.as_str(), "\",severity=\"", severity.as_str(), "\"} 1\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// A fault of an app carries the label `app` instead of `token` (contract §10.5).
fn app_findings(out: &mut Vec<u8>, table: &Table) {
    for app in table.apps().iter() {
        for finding in &app.findings {
            let (reason, severity) = (finding.reason.as_str(), finding.severity.as_str());
            let labels = format!("app=\"{}\",finding=\"{reason}\",severity=\"{severity}\"", app.name);
            plain(out, FINDING, &labels, 1);
        }
    }
}

fn open(out: &mut Vec<u8>, name: &str, row: &Row) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"{token=\"");
    out.extend_from_slice(row.id.as_str().as_bytes());
}

fn plain(out: &mut Vec<u8>, name: &str, labels: &str, value: i64) {
    out.extend_from_slice(name.as_bytes());
    if !labels.is_empty() {
        out.push(b'{');
        out.extend_from_slice(labels.as_bytes());
        out.push(b'}');
    }
    out.push(b' ');
    number(out, value);
}

fn number(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(b'\n');
}

fn help(out: &mut Vec<u8>, name: &str, text: &str) {
    let mut lines = String::with_capacity(2 * name.len() + text.len() + 24);
    // Writing to a string cannot fail.
    let _ = write!(lines, "# HELP {name} {text}\n# TYPE {name} gauge\n");
    out.extend_from_slice(lines.as_bytes());
}

const FINDING: &str = "tokenwatch_token_finding";
const NUMBER: &str = "tokenwatch_whatsapp_number_info";
const RECEIVER: &str = "tokenwatch_token_receiver_info";
const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];
const HORIZONS: [(&str, Span); 6] = [
    ("1d", Span::days(1)),
    ("3d", Span::days(3)),
    ("7d", Span::days(7)),
    ("14d", Span::days(14)),
    ("21d", Span::days(21)),
    ("60d", Span::days(60)),
];
/// Up to this many tokens every one has series of its own (contract §4).
const AUTO_LIMIT: usize = 5_000;
/// One chunk of the answer.
const CHUNK: usize = 64 * 1024;
/// The last row of a chunk may run over its end by this much without a new allocation.
const SLACK: usize = 2 * 1024;
/// The commit this was built from, where the build knew it.
const REVISION: &str = match option_env!("TOKENWATCH_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
