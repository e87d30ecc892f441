//! What happened to a subject, in words.

use super::Moment;
use crate::advice;
use crate::domain::answer::Answer;
use crate::domain::renewal::Origin;
use crate::domain::time::{Timestamp, relative};
use crate::domain::token::ReceiverName;
use crate::ports::{AnswerRecord, DeliveryRecord, History, IncidentRecord};
use crate::zone::Zone;

/// A past without what is still open.
pub(super) fn over(history: &History) -> History {
    let incidents = history.incidents.iter().filter(|record| record.ended.is_some()).cloned().collect();
    History { incidents, ..history.clone() }
}

/// One thing that happened.
#[derive(Debug)]
pub struct Entry {
    /// When.
    pub when: Moment,
    /// How bad; empty where that means nothing.
    pub severity: &'static str,
    /// What.
    pub title: String,
    /// The rest.
    pub words: Vec<String>,
}

/// What happened to a subject, the newest first.
#[derive(Debug)]
pub struct Past {
    /// What it is called, and what happened.
    pub parts: Vec<(&'static str, Vec<Entry>)>,
}

impl Past {
    /// The past in words.
    pub fn new(history: &History, zone: &Zone, now: Timestamp) -> Self {
        let ago = |at: Timestamp| format!("{} ({})", zone.long(at), relative(at, now));
        let incidents = history.incidents.iter().map(|record| incident_entry(record, zone, now)).collect();
        let answers = history.answers.iter().map(|AnswerRecord { at, answer }| {
            let what = match answer {
                Answer::Acknowledge(_) => "acknowledged".to_owned(),
                Answer::Unsilence(_) => "ended the silence".to_owned(),
                Answer::Silence { lasts, even_critical: false, .. } => format!("silenced for {lasts}"),
                Answer::Silence { lasts, even_critical: true, .. } => format!("silenced for {lasts}, even critical"),
            };
            let signed = answer.signed();
            Entry {
                when: Moment::new(*at, zone, now),
                severity: "",
                title: format!("{} {what}", advice::plain(&signed.by)),
                words: signed.why.as_deref().map(advice::plain).into_iter().collect(),
            }
        });
        let deliveries = history.deliveries.iter().map(|delivery| {
            let DeliveryRecord { notice, lane, .. } = delivery;
            let went = match (&delivery.delivered, &delivery.failure) {
                (Some((at, channel)), _) if channel == "rerouted" => format!("handed on, {}", ago(*at)),
                (Some((at, channel)), _) if channel == "none" => format!("there was nobody to reach, {}", ago(*at)),
                (Some((at, channel)), _) => format!("delivered by {channel}, {}", ago(*at)),
                (None, Some(failure)) => {
                    format!("waiting; tried {} times: {}", delivery.attempts, advice::plain(failure))
                }
                (None, None) => "waiting".to_owned(),
            };
            Entry {
                when: Moment::new(notice.at, zone, now),
                severity: notice.severity.as_str(),
                title: format!("{} ({})", notice.reason.as_str(), notice.why.as_str()),
                words: vec![lane.to_string(), went],
            }
        });
        let renewals = history.renewals.iter().map(|ended| {
            let by = match &ended.origin {
                Origin::Schedule => "it was due".to_owned(),
                Origin::Asked(by) => format!("asked for by {}", advice::plain(by)),
                Origin::Replaced(by) => format!("replaced by {}", advice::plain(by)),
            };
            Entry {
                when: Moment::new(ended.at, zone, now),
                severity: "",
                title: ended.outcome.as_str().replace('_', " "),
                words: vec![by, advice::plain(&ended.text)],
            }
        });
        let mut parts = vec![
            ("What happened", incidents),
            ("What was answered", answers.collect()),
            ("Who was told", deliveries.collect()),
            ("Renewals and replacements", renewals.collect::<Vec<_>>()),
        ];
        parts.retain(|(_, entries): &(_, Vec<Entry>)| !entries.is_empty());
        Self { parts }
    }
}

/// An incident, open or over.
pub(super) fn incident_entry(record: &IncidentRecord, zone: &Zone, now: Timestamp) -> Entry {
    let IncidentRecord { incident, ended } = record;
    let mut words = vec![match ended {
        Some((at, ending)) => format!("{}, {} ({})", ending.as_str(), zone.long(*at), relative(*at, now)),
        None => format!("open, worst so far: {}", incident.severity.as_str()),
    }];
    words.push(match incident.told_at {
        Some(at) => {
            let receivers: Vec<&str> = incident.told.iter().map(ReceiverName::as_str).collect();
            format!("last notice {} ({}), for {}", zone.long(at), relative(at, now), receivers.join(", "))
        }
        None => "no notice, by a silence".to_owned(),
    });
    words.extend(incident.acknowledged.as_ref().map(|signed| {
        let why = signed.why.as_deref().map(|why| format!(": {}", advice::plain(why))).unwrap_or_default();
        format!("acknowledged by {}, {}{why}", advice::plain(&signed.by), zone.long(signed.at))
    }));
    words.extend(incident.damped.as_ref().map(|_| "it comes and goes, so little of it is told".to_owned()));
    Entry {
        when: Moment::new(incident.opened_at, zone, now),
        severity: incident.severity.as_str(),
        title: format!("{}: {}", incident.reason.as_str(), advice::reason_in_words(incident.reason)),
        words,
    }
}
