//! What many notices are called together, and what they have in common: people who see one cause act once.

use std::collections::BTreeMap;

use super::{headline, provider_in_words, reason_in_words};
use crate::domain::alert::{Notice, NotifyReason, Subject};
use crate::domain::digest::Bundle;
use crate::domain::finding::Detail;
use crate::domain::token::TokenId;
use crate::settings::Settings;

/// Something that most of the open notices share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shared {
    /// In a few words, for a subject line: `app helpdesk`.
    pub short: String,
    /// How many notices share it.
    pub count: usize,
    /// Of how many.
    pub of: usize,
}

impl Shared {
    /// `All 500 share the app helpdesk: look there first.`
    pub fn sentence(&self) -> String {
        let who =
            if self.count == self.of { format!("All {}", self.of) } else { format!("{} of {}", self.count, self.of) };
        format!("{who} have one thing in common: {}. Look there first, one cause may explain them all.", self.short)
    }
}

/// What most of the open notices share, the most telling first: the file that the secrets stand in, the app, the cause, the provider.
pub fn shared(notices: &[Notice], settings: &Settings) -> Vec<Shared> {
    let open: Vec<&Notice> = notices.iter().filter(|notice| notice.why != NotifyReason::Resolved).collect();
    if open.len() < FEWEST {
        return Vec::new();
    }
    let file = |notice: &Notice| {
        let path = settings.token(token_of(notice)?)?.secret.path()?;
        Some(format!("the file {}", path.display()))
    };
    let app = |notice: &Notice| notice.app.as_ref().map(|app| format!("the app {app}"));
    let cause = |notice: &Notice| match &notice.detail {
        Detail::Cause(cause) => Some(format!("the cause: {}", cause.in_words())),
        Detail::Text(text) if !text.is_empty() => Some(format!("the failure: {}", super::plain(text))),
        _ => Some(format!("the finding: {}", reason_in_words(notice.reason))),
    };
    let provider = |notice: &Notice| Some(format!("the provider {}", provider_in_words(&notice.provider)));
    let mut found: Vec<Shared> =
        [most(&open, file), most(&open, app), most(&open, cause)].into_iter().flatten().collect();
    if found.is_empty() {
        found.extend(most(&open, provider));
    }
    found
}

/// What is named first: how many, what they share, and the most urgent of them.
pub fn title(bundle: &Bundle, shared: &[Shared]) -> String {
    let Some(lead) = bundle.lead() else { return String::new() };
    let headline = headline(lead);
    let others = bundle.notices.len() - 1;
    if others == 0 {
        return headline;
    }
    let crowd = crowd(bundle);
    if crowd.is_empty() {
        return format!("{headline}, and {others} more");
    }
    // A file or an app is worth its room in a subject line; a cause is in the headline already.
    let shared =
        shared.first().filter(|shared| ["the file", "the app"].iter().any(|start| shared.short.starts_with(start)));
    let shared = shared.map(|shared| format!(" of {}", shared.short)).unwrap_or_default();
    format!("{crowd}{shared}: {headline}, and {others} more")
}

fn distinct(bundle: &Bundle, wanted: impl Fn(&Notice) -> bool) -> usize {
    let mut names: Vec<&str> =
        bundle.notices.iter().filter(|notice| wanted(notice)).map(|notice| notice.subject.name()).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// `3 apps and 40 tokens`; empty when all notices are about one subject.
fn crowd(bundle: &Bundle) -> String {
    let words = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    let tokens = distinct(bundle, |notice| matches!(notice.subject, Subject::Token(_)));
    let apps = distinct(bundle, |notice| matches!(notice.subject, Subject::App(_)));
    let watcher = distinct(bundle, |notice| matches!(notice.subject, Subject::Watcher));
    if tokens + apps + watcher == 1 {
        return String::new();
    }
    let mut parts = Vec::new();
    parts.extend((watcher > 0).then(|| "tokenwatch itself".to_owned()));
    parts.extend((apps > 0).then(|| words(apps, "app")));
    parts.extend((tokens > 0).then(|| words(tokens, "token")));
    match parts.pop() {
        Some(last) if parts.is_empty() => last,
        Some(last) => format!("{} and {last}", parts.join(", ")),
        None => String::new(),
    }
}

fn token_of(notice: &Notice) -> Option<&TokenId> {
    match &notice.subject {
        Subject::Token(id) => Some(id),
        Subject::App(_) | Subject::Watcher => None,
    }
}

/// The value that at least four of five have.
fn most(open: &[&Notice], value: impl Fn(&Notice) -> Option<String>) -> Option<Shared> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for short in open.iter().filter_map(|notice| value(notice)) {
        *counts.entry(short).or_default() += 1;
    }
    let (short, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count * 5 >= open.len() * 4).then_some(Shared { short, count, of: open.len() })
}

/// Two of a kind may be chance.
const FEWEST: usize = 3;
