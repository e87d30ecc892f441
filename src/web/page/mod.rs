//! The status page: a list by urgency, and a page for each token, for each app and for the watcher. Server-rendered, no scripts, nothing from elsewhere.
//!
//! Everything that came from outside is only ever text: the templates escape it, and the content-security policy allows nothing else. What the
//! pages say of a finding is what a mail about it would say.

mod line;
mod list;
mod past;
mod token;

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use crate::domain::finding::Severity;
use crate::domain::time::{Timestamp, relative};
use crate::ports::History;
use crate::web::json::StandingJson;
use crate::zone::Zone;
pub use line::Line;
pub use list::{Census, PAGE, Scene, StatusPage};
use past::Past;
pub use token::{Known, TokenPage};

/// The looks of every page; it stands in each, so that a page that was saved keeps its looks.
pub const STYLE: &str = include_str!("../../../templates/style.css");

/// What the content-security policy says of [`STYLE`]: this text and no other.
pub static STYLE_HASH: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::digest(STYLE.as_bytes());
    format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest))
});

/// A sign for a browser's tab.
pub const ICON: &str = include_str!("../../../templates/icon.svg");

/// A moment, for people and for programs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// As `<time>` wants it; absent for years that it cannot write.
    pub iso: Option<String>,
    /// In the configured zone.
    pub date: String,
    /// Counted from now.
    pub ago: String,
}

impl Moment {
    fn new(at: Timestamp, zone: &Zone, now: Timestamp) -> Self {
        let iso = Some(at.to_string()).filter(|text| text.len() == "2025-07-15T08:00:00Z".len());
        Self { iso, date: zone.long(at), ago: relative(at, now) }
    }
}

/// How old the truth of a page is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Truth {
    /// When the page was made.
    pub as_of: Moment,
    /// When nothing that was due was left to do.
    pub last_pass: Option<Moment>,
    /// What is not true any more because the daemon stands still.
    pub stale: Option<String>,
}

impl Truth {
    /// How old it is now; `silent` says that the watch loop has not been seen for too long.
    pub fn new(last_pass: Option<Timestamp>, silent: Option<String>, zone: &Zone, now: Timestamp) -> Self {
        Self {
            as_of: Moment::new(now, zone, now),
            last_pass: last_pass.map(|at| Moment::new(at, zone, now)),
            stale: silent,
        }
    }
}

/// How an app or the watcher stands.
#[derive(Debug)]
pub struct Standing {
    /// What to call it.
    pub name: String,
    /// Where its page is.
    pub page: String,
    /// How bad.
    pub severity: &'static str,
    /// Whether somebody knows of the worst of it.
    pub known: bool,
    /// What is wrong, open, acknowledged and silenced: how bad, which a silence is not, and the words.
    pub lines: Vec<(String, String)>,
    /// Where its tokens are listed.
    pub tokens: Option<String>,
}

impl Standing {
    fn new(standing: &StandingJson, zone: &Zone, now: Timestamp) -> Self {
        let subject = &standing.subject;
        let (name, tokens) = match subject.split_once('/') {
            Some(("app", name)) => (format!("App {name}"), Some(format!("/?app={name}"))),
            Some((_, name)) => (name.to_owned(), None),
            None => (subject.clone(), None),
        };
        let severity = standing.severity().map_or(FINE, Severity::as_str);
        Self {
            name,
            page: format!("/subjects/{subject}"),
            severity,
            known: standing.known,
            lines: standing.in_words(zone, now),
            tokens,
        }
    }
}

/// An app, the watcher itself, or what people answered about a token.
#[derive(Template)]
#[template(path = "subject.html")]
pub struct SubjectPage {
    /// How it stands.
    pub standing: Standing,
    /// What happened to it.
    pub past: Past,
    /// How old this is.
    pub truth: Truth,
}

impl SubjectPage {
    /// The page of a subject.
    pub fn new(standing: &StandingJson, history: &History, truth: Truth, zone: &Zone, now: Timestamp) -> Self {
        Self { standing: Standing::new(standing, zone, now), past: Past::new(history, zone, now), truth }
    }
}

/// Something went wrong, or is not there.
#[derive(Template)]
#[template(path = "fault.html")]
pub struct FaultPage {
    /// The number of the answer.
    pub code: u16,
    /// What it means.
    pub title: &'static str,
    /// What is wrong, in words.
    pub words: String,
}

/// Nothing is wrong.
const FINE: &str = "fine";
/// Nobody could tell whether something is: that is not the same.
const UNKNOWN: &str = "unknown";

/// The word beside the sign of a severity.
pub fn in_words(severity: impl AsRef<str>) -> &'static str {
    match severity.as_ref() {
        "critical" => "Critical",
        "warning" => "Warning",
        "info" => "Notice",
        UNKNOWN => "Not known",
        _ => "In order",
    }
}

/// The sign of a severity: each has a shape of its own, because not everybody sees colours.
pub fn shape(severity: impl AsRef<str>) -> &'static str {
    match severity.as_ref() {
        "critical" => r#"<path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z"/><path class="on" d="M8 4v5M8 11v1"/>"#,
        "warning" => r#"<path d="M8 1l7.5 14H.5z"/><path class="on" d="M8 6v4M8 12v1"/>"#,
        "info" => r#"<circle cx="8" cy="8" r="7"/><path class="on" d="M8 7v5M8 4v1"/>"#,
        UNKNOWN => {
            r#"<circle cx="8" cy="8" r="7"/><path class="on" d="M5.8 6.2a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .7-1 1.5M8 11.2v1"/>"#
        }
        _ => r#"<circle cx="8" cy="8" r="7"/><path class="on" d="M4.5 8.5l2.5 2.5 4.5-5"/>"#,
    }
}
