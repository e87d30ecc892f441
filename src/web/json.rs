//! The API's JSON: what the board knows, in names that stay.
//!
//! Times are unix seconds, as in the metrics. An end that is a promise of "never" is told apart from one that is unknown.

use serde::Serialize;

use crate::board::{Board, Row};
use crate::domain::inspection::Expiry;
use crate::domain::time::Timestamp;
use crate::explain::Explanation;
use crate::ports::OutboxSummary;
use crate::zone::Zone;

/// One token.
#[derive(Debug, Serialize)]
pub struct TokenJson {
    /// Its name.
    pub name: String,
    /// Who issued it.
    pub provider: &'static str,
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
}

/// One finding.
#[derive(Debug, Serialize)]
pub struct FindingJson {
    /// Its code.
    pub finding: &'static str,
    /// How bad.
    pub severity: &'static str,
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
}

/// The daemon as a whole.
#[derive(Debug, Serialize, serde::Deserialize)]
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
    /// What is wrong with the watcher itself.
    pub troubles: Vec<String>,
}

impl TokenJson {
    /// The JSON of a row.
    pub fn of(row: &Row) -> Self {
        Self {
            name: row.id.to_string(),
            provider: row.provider.as_str(),
            app: row.app.as_ref().map(ToString::to_string),
            kind: row.kind.as_str().to_owned(),
            verdict: row.verdict.as_str(),
            findings: row
                .findings
                .iter()
                .map(|(reason, severity)| FindingJson { finding: reason.as_str(), severity: severity.as_str() })
                .collect(),
            expires_at: row.expires.date().map(Timestamp::unix),
            never_expires: row.expires == Expiry::Never,
            data_access_expires_at: row.data_access.date().map(Timestamp::unix),
            issued_at: row.issued_at.map(Timestamp::unix),
            last_check: row.last_check.map(Timestamp::unix),
            last_answer: row.last_answer.map(Timestamp::unix),
            next_check: Some(row.next_check.unix()).filter(|at| *at != i64::MAX),
        }
    }
}

/// The state of the daemon.
pub fn status(board: &Board, outbox: Option<OutboxSummary>, zone: &Zone, now: Timestamp) -> StatusJson {
    let troubles = board.vitals.troubles();
    StatusJson {
        now: now.unix(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        timezone: zone.name().to_owned(),
        tokens: board.table().rows().len(),
        last_pass: board.vitals.last_pass().map(Timestamp::unix),
        outbox_pending: outbox.map(|outbox| outbox.pending),
        outbox_oldest: outbox.and_then(|outbox| outbox.oldest).map(Timestamp::unix),
        last_mail: outbox.and_then(|outbox| outbox.last_mail).map(Timestamp::unix),
        troubles: troubles
            .store
            .values()
            .map(|text| format!("store: {text}"))
            .chain(troubles.mail.iter().map(|(receiver, text)| format!("mail to {receiver}: {text}")))
            .collect(),
    }
}
