//! The page of one token: what to do now, why this verdict, what is open and what happened.

use askama::Template;

use super::line::Line;
use super::past::{Entry, Past, incident_entry, over};
use super::{FINE, Truth, UNKNOWN};
use crate::advice::{self, Links, Piece, pieces};
use crate::board::Row;
use crate::domain::alert::{Notice, Subject};
use crate::domain::status::TokenStatus;
use crate::domain::time::Timestamp;
use crate::domain::token::TokenSpec;
use crate::domain::verdict::Verdict;
use crate::explain::Explanation;
use crate::ports::{History, IncidentRecord};
use crate::settings::Settings;
use crate::web::json::SilenceJson;
use crate::zone::Zone;

/// A token.
#[derive(Template)]
#[template(path = "token.html")]
pub struct TokenPage {
    /// It in one line of a list.
    pub line: Line,
    /// What it means that a rule finds nothing: that nothing is wrong, or, of a token that is not verified, nothing.
    pub no_finding: &'static str,
    /// Why this verdict.
    pub explanation: Explanation,
    /// What to do about what is wrong.
    pub remedies: Vec<Remedy>,
    /// What is open, and who knows.
    pub open: Vec<Entry>,
    /// Who is not told, until when and why.
    pub silence: Option<String>,
    /// Pages elsewhere.
    pub elsewhere: Vec<(&'static str, String)>,
    /// Commands that are of use.
    pub commands: Vec<(&'static str, String)>,
    /// What happened to it.
    pub past: Past,
    /// How old this is.
    pub truth: Truth,
}

/// What to do about one finding.
#[derive(Debug)]
pub struct Remedy {
    /// The finding, in one line.
    pub headline: String,
    /// How bad.
    pub severity: &'static str,
    /// What happens, and what breaks.
    pub words: Vec<String>,
    /// What to do, in order.
    pub steps: Vec<Vec<Piece>>,
    /// How to answer.
    pub answer: Vec<Piece>,
}

impl Remedy {
    fn new(notice: &Notice, links: &Links<'_>, zone: &Zone) -> Self {
        let answer = advice::acknowledgement(notice, links).unwrap_or_default();
        Self {
            headline: advice::headline(notice),
            severity: notice.severity.as_str(),
            words: vec![advice::what_happens(notice, zone), advice::what_breaks(notice, links)],
            steps: advice::steps(notice, links).iter().map(|step| pieces(step)).collect(),
            answer: pieces(&answer),
        }
    }
}

/// What a token's page is made of.
#[derive(Debug)]
pub struct Known<'a> {
    /// What everyone may see.
    pub row: &'a Row,
    /// What is wanted.
    pub spec: &'a TokenSpec,
    /// What was observed.
    pub status: &'a TokenStatus,
    /// What is wrong, as mails would say it; the worst first.
    pub notices: &'a [Notice],
    /// Its past.
    pub history: &'a History,
}

impl TokenPage {
    /// The page of a token.
    pub fn new(known: &Known<'_>, explanation: Explanation, settings: &Settings, truth: Truth, now: Timestamp) -> Self {
        let zone = &settings.daemon.zone;
        let subject = Subject::Token(known.spec.id.clone());
        let links = Links::of(settings, &subject);
        let open = known.status.ledger.incidents.iter().map(|incident| {
            let record = IncidentRecord { incident: incident.clone(), ended: None };
            incident_entry(&record, zone, now)
        });
        let silence = known.status.ledger.silence.as_ref().filter(|silence| silence.holds(now));
        let silence = silence.map(|silence| SilenceJson::of(silence).in_words(zone, now));
        let name = &known.spec.id;
        let mut commands = vec![
            ("Look again now", format!("tokenwatch check {name}")),
            ("The whole guide", format!("tokenwatch doctor {name}")),
        ];
        if known.spec.renew.is_some() {
            commands.push(("What a renewal would do", format!("tokenwatch renew {name} --dry-run")));
        }
        if links.replaceable {
            commands.push(("Put a new one in place", format!("tokenwatch replace {name}")));
        }
        Self {
            line: Line::new(known.row, Some((known.spec, known.status)), zone, now),
            no_finding: if known.row.verdict == Verdict::Unverified { UNKNOWN } else { FINE },
            explanation,
            remedies: known.notices.iter().map(|notice| Remedy::new(notice, &links, zone)).collect(),
            open: open.collect(),
            silence,
            elsewhere: advice::pages::of_token(&known.spec.provider, &known.row.kind, &links),
            commands,
            past: Past::new(&over(known.history), zone, now),
            truth,
        }
    }
}
