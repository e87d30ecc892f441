//! What is known now, as everyone may see it: the projection of committed state that metrics, pages and the control socket read.
//!
//! Rows are written by the watch loop after a commit, and by nobody else. It holds no secret and no history, and it is small: one row
//! is about 170 bytes, so that a hundred thousand tokens stay cheap.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crate::domain::finding::{Finding, Reason, Severity};
use crate::domain::inspection::{Expiry, Inspection, TokenKind};
use crate::domain::ledger::Ledger;
use crate::domain::number::{Number, NumberStatus, Sending, Subscription};
use crate::domain::renewal::{self, Outcome, Report};
use crate::domain::status::TokenStatus;
use crate::domain::step::Step;
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::{AppName, ProviderName, ReceiverName, TokenId, TokenSpec};
use crate::domain::verdict::{self, Judgement, Verdict};

/// One token.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Its name.
    pub id: TokenId,
    /// Who issued it.
    pub provider: ProviderName,
    /// Its app.
    pub app: Option<AppName>,
    /// Who is told of it.
    pub receivers: Arc<[ReceiverName]>,
    /// What sort of token it is.
    pub kind: TokenKind,
    /// The one word.
    pub verdict: Verdict,
    /// What is wrong with it.
    pub findings: Box<[(Reason, Severity)]>,
    /// When it ends; stays while checks fail.
    pub expires: Expiry,
    /// When data access ends.
    pub data_access: Expiry,
    /// When it was issued.
    pub issued_at: Option<Timestamp>,
    /// The lifetime that shares of it are measured against; none where it has no end, or had ended before it was first seen.
    pub lifetime: Option<Span>,
    /// The last attempt.
    pub last_check: Option<Timestamp>,
    /// The last authoritative answer.
    pub last_answer: Option<Timestamp>,
    /// When it is looked at next.
    pub next_check: Timestamp,
    /// When it is renewed next.
    pub renewal: Option<Timestamp>,
    /// How people answered, where they did.
    pub answered: Option<Box<Answered>>,
    /// The WhatsApp number that it sends from.
    pub number: Option<Box<NumberRow>>,
}

/// A WhatsApp number. The words are Meta's, in lower case and fit for labels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumberRow {
    /// Its id.
    pub id: Box<str>,
    /// Its status.
    pub status: Box<str>,
    /// Its quality.
    pub quality: Box<str>,
    /// `live` or `sandbox`.
    pub mode: Box<str>,
    /// Whether it can send.
    pub sending: Option<Sending>,
    /// Who gets what arrives.
    pub subscription: Option<Subscription>,
    /// When WhatsApp last told of it.
    pub answered: Option<Timestamp>,
}

impl NumberRow {
    fn of(status: &NumberStatus) -> Self {
        let number = status.number.as_ref();
        let word = |value: Option<&Box<str>>| label(value.map_or("unknown", |value| value));
        Self {
            id: label(&status.id),
            status: word(number.and_then(|number| number.status.as_ref())),
            quality: word(number.and_then(|number| number.quality.as_ref())),
            mode: word(number.and_then(|number| number.mode.as_ref())),
            sending: number.and_then(Number::can_send),
            subscription: status.subscription,
            answered: status.answered,
        }
    }
}

/// A word from outside, or an id that somebody typed, as the value of a label: nothing that could break it or grow without bound.
fn label(word: &str) -> Box<str> {
    let fit = word.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(LONGEST_LABEL);
    fit.collect::<String>().to_ascii_lowercase().into()
}

/// How people answered what was told of a subject.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// All that is as bad as the worst of what is open or found was acknowledged.
    pub acknowledged: bool,
    /// A silence holds until then.
    pub silenced_until: Option<Timestamp>,
}

impl Answered {
    /// The answers in a ledger to what was found; `None` where there are none.
    fn of(ledger: &Ledger, found: &[(Reason, Severity)]) -> Option<Box<Self>> {
        let acknowledged = ledger.is_known(found);
        let silenced_until = ledger.silence.as_ref().map(|silence| silence.until);
        (acknowledged || silenced_until.is_some()).then(|| Box::new(Self { acknowledged, silenced_until }))
    }
}

impl Row {
    /// The row of a slot that has not been looked at yet.
    pub fn new(spec: &TokenSpec, status: &TokenStatus, judgement: &Judgement) -> Self {
        let facts = status.facts.as_ref().map(|facts| &facts.inspection);
        let findings: Box<[_]> = judgement.findings.iter().map(|finding| (finding.reason, finding.severity)).collect();
        Self {
            id: spec.id.clone(),
            provider: spec.provider.clone(),
            app: spec.app.clone(),
            receivers: Arc::clone(&spec.receivers),
            kind: facts.map_or(TokenKind::Unknown, |facts| facts.kind.clone()),
            verdict: judgement.verdict,
            answered: Answered::of(&status.ledger, &findings),
            findings,
            expires: facts.map_or(Expiry::Unknown, |facts| facts.expires),
            data_access: facts.map_or(Expiry::Unknown, |facts| facts.data_access),
            issued_at: facts.and_then(|facts| facts.issued_at),
            lifetime: facts.and_then(|facts| lifetime(status, facts)),
            last_check: status.last_check,
            last_answer: status.last_answer,
            next_check: status.next_check,
            renewal: renewal::next_run(spec, status).or_else(|| renewal::due(spec, status)),
            number: status.number.as_deref().map(|number| Box::new(NumberRow::of(number))),
        }
    }

    /// The row that follows from a committed step.
    pub fn of(spec: &TokenSpec, step: &Step) -> Self {
        Self::new(spec, &step.status, &step.judgement)
    }

    /// The nearest of its deadlines.
    pub fn deadline(&self) -> Option<Timestamp> {
        match (self.expires.date(), self.data_access.date()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The nearest of its deadlines that lies ahead. To a token that is dead already no date matters any more.
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let dead = matches!(self.verdict, Verdict::Expired | Verdict::Invalid);
        let dates = [self.expires.date(), self.data_access.date()].into_iter().flatten();
        dates.filter(|at| !dead && *at > now).min()
    }

    /// The worst of what is wrong.
    pub fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(|(_, severity)| *severity).max()
    }
}

fn lifetime(status: &TokenStatus, facts: &Inspection) -> Option<Span> {
    let end = facts.expires.date()?;
    Some(verdict::lifetime(status, facts, end)).filter(|lifetime| *lifetime > Span::ZERO)
}

/// One app that has something wrong.
#[derive(Clone, PartialEq, Debug)]
pub struct AppRow {
    /// Its name.
    pub name: AppName,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// The rows of one configuration. A reload makes a new table, so whoever reads an old one sees it unchanged in shape to the end.
#[derive(Debug, Default)]
pub struct Table {
    rows: RwLock<Vec<Row>>,
    apps: RwLock<Vec<AppRow>>,
}

impl Table {
    /// A table of these rows, in this order.
    pub const fn new(rows: Vec<Row>) -> Self {
        Self { rows: RwLock::new(rows), apps: RwLock::new(Vec::new()) }
    }

    /// All rows, for a short look.
    pub fn rows(&self) -> RwLockReadGuard<'_, Vec<Row>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The apps at fault.
    pub fn apps(&self) -> RwLockReadGuard<'_, Vec<AppRow>> {
        self.apps.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts new rows in place, by index. A row of another configuration than the table's has no place in it.
    pub fn publish(&self, updates: Vec<(usize, Row)>) {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for (index, row) in updates {
            if let Some(place) = rows.get_mut(index).filter(|place| place.id == row.id) {
                *place = row;
            }
        }
    }

    /// Puts an app's findings in place; none means that it is fine.
    pub fn publish_app(&self, name: &AppName, findings: Vec<Finding>) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.retain(|row| row.name != *name);
        if !findings.is_empty() {
            apps.push(AppRow { name: name.clone(), findings });
            apps.sort_by(|a, b| a.name.cmp(&b.name));
        }
    }
}

/// The table in force, and the signs of life of the parts that keep it true.
#[derive(Debug, Default)]
pub struct Board {
    table: RwLock<Arc<Table>>,
    /// Signs of life.
    pub vitals: Vitals,
    /// Renewals and replacements under way, and those that ended last.
    pub runs: Runs,
}

impl Board {
    /// The table in force.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another table in force.
    pub fn replace(&self, table: Arc<Table>) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
    }
}

/// Renewals and replacements, step by step, for whoever waits for one. The journal holds the truth; this is what may be shown of it.
#[derive(Debug, Default)]
pub struct Runs(Mutex<BTreeMap<TokenId, Progress>>);

/// How far a run has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Which run of the token.
    pub number: u32,
    /// What was done, in words.
    pub steps: Vec<String>,
    /// How it ended.
    pub ended: Option<(Outcome, Box<str>)>,
}

impl Runs {
    /// A run begins, or goes on after it was cut off.
    pub fn begins(&self, id: &TokenId, number: u32) {
        let mut runs = lock(&self.0);
        // Of those that ended only so many are kept.
        if runs.len() >= MOST_RUNS
            && let Some(over) = runs.iter().find(|(_, run)| run.ended.is_some()).map(|(id, _)| id.clone())
        {
            runs.remove(&over);
        }
        let run = runs.entry(id.clone()).or_default();
        if run.number != number {
            *run = Progress { number, ..Progress::default() };
        }
    }

    /// A step was made.
    pub fn goes_on(&self, id: &TokenId, number: u32, step: String) {
        if let Some(run) = lock(&self.0).get_mut(id).filter(|run| run.number == number && run.steps.len() < MOST_STEPS)
        {
            run.steps.push(step);
        }
    }

    /// A run ended.
    pub fn ends(&self, id: &TokenId, report: &Report) {
        if let Some(run) = lock(&self.0).get_mut(id).filter(|run| run.number == report.number) {
            run.ended = Some((report.outcome, report.text.clone()));
        }
    }

    /// How far the token's run has come.
    pub fn of(&self, id: &TokenId) -> Option<Progress> {
        lock(&self.0).get(id).cloned()
    }
}

const LONGEST_LABEL: usize = 32;
/// Runs that are shown at most.
const MOST_RUNS: usize = 1_000;
/// Steps of one run that are shown at most.
const MOST_STEPS: usize = 100;

/// Signs of life. Each is written by one part and read by many.
#[derive(Debug)]
pub struct Vitals {
    beat: AtomicI64,
    last_pass: AtomicI64,
    first_pass_done: AtomicBool,
    in_flight: AtomicUsize,
    clock_offset: AtomicI64,
    reload: Mutex<Reload>,
    troubles: Mutex<Troubles>,
    findings: Mutex<Vec<Finding>>,
    served_version: Mutex<Option<String>>,
}

/// The last attempt to reload the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reload {
    /// Whether it worked.
    pub successful: bool,
    /// The last one that did.
    pub success_at: Timestamp,
}

/// What is wrong with the watcher itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Troubles {
    /// The store's last failure by the part that met it, until that part gets through again.
    pub store: BTreeMap<&'static str, String>,
    /// The last failure by way (`mail to oncall`), until something gets through that way.
    pub ways: BTreeMap<String, String>,
    /// Why the listener's certificate or users are not those of its files.
    pub listener: Option<String>,
    /// That the configuration in force is not the one that is written; the log says why.
    pub configuration: Option<&'static str>,
}

impl Troubles {
    /// All but those of the store, a line each.
    pub fn beside_the_store(&self) -> impl Iterator<Item = String> {
        let ways = self.ways.iter().map(|(way, text)| format!("{way}: {text}"));
        let listener = self.listener.iter().map(|text| format!("listener: {text}"));
        let refused = self.configuration.iter().map(|text| format!("configuration: {text}; the log says why"));
        ways.chain(listener).chain(refused)
    }
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            beat: AtomicI64::new(i64::MIN),
            last_pass: AtomicI64::new(i64::MIN),
            first_pass_done: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            reload: Mutex::new(Reload { successful: true, success_at: Timestamp::from_unix(0) }),
            clock_offset: AtomicI64::new(i64::MIN),
            troubles: Mutex::default(),
            findings: Mutex::default(),
            served_version: Mutex::default(),
        }
    }
}

impl Vitals {
    /// The watch loop went round.
    pub fn beat(&self, now: Timestamp) {
        self.beat.store(now.unix(), Ordering::Relaxed);
    }

    /// When the watch loop last went round.
    pub fn last_beat(&self) -> Option<Timestamp> {
        moment(&self.beat)
    }

    /// Nothing that was due is left to do.
    pub fn pass_done(&self, now: Timestamp) {
        self.last_pass.store(now.unix(), Ordering::Relaxed);
        self.first_pass_done.store(true, Ordering::Relaxed);
    }

    /// When nothing that was due was left to do.
    pub fn last_pass(&self) -> Option<Timestamp> {
        moment(&self.last_pass)
    }

    /// Whether every token was looked at once.
    pub fn first_pass_done(&self) -> bool {
        self.first_pass_done.load(Ordering::Relaxed)
    }

    /// How many checks are under way.
    pub fn set_in_flight(&self, checks: usize) {
        self.in_flight.store(checks, Ordering::Relaxed);
    }

    /// How many checks are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A reload was tried.
    pub fn reloaded(&self, successful: bool, now: Timestamp) {
        let mut reload = lock(&self.reload);
        reload.successful = successful;
        if successful {
            reload.success_at = now;
        }
    }

    /// The last reload.
    pub fn reload(&self) -> Reload {
        *lock(&self.reload)
    }

    /// What is wrong with the watcher itself.
    pub fn troubles(&self) -> Troubles {
        let configuration = (!self.reload().successful).then_some(REFUSED);
        Troubles { configuration, ..lock(&self.troubles).clone() }
    }

    /// Notes how that part fares with the store; true when that is news.
    pub fn store_is(&self, part: &'static str, trouble: Option<String>) -> bool {
        note(&mut lock(&self.troubles).store, part, trouble)
    }

    /// Notes how that way to people fares; true when that is news.
    pub fn way_is(&self, way: &str, trouble: Option<String>) -> bool {
        note(&mut lock(&self.troubles).ways, way.to_owned(), trouble)
    }

    /// Notes how the listener fares with its files.
    pub fn listener_is(&self, trouble: Option<String>) {
        lock(&self.troubles).listener = trouble;
    }

    /// Forgets the troubles of ways that are gone.
    pub fn keep_ways(&self, known: impl Fn(&str) -> bool) {
        lock(&self.troubles).ways.retain(|way, _| known(way));
    }

    /// What is wrong with the watcher itself, by the last look.
    pub fn set_findings(&self, findings: Vec<Finding>) {
        *lock(&self.findings) = findings;
    }

    /// What is wrong with the watcher itself, by the last look.
    pub fn findings(&self) -> Vec<Finding> {
        lock(&self.findings).clone()
    }

    /// The API version that runs in place of the one that is asked for; none where that one runs.
    pub fn set_served_version(&self, version: Option<String>) {
        *lock(&self.served_version) = version;
    }

    /// The API version that runs in place of the one that is asked for.
    pub fn served_version(&self) -> Option<String> {
        lock(&self.served_version).clone()
    }

    /// An answer of a provider showed how far our clock is off. The smallest offset counts: ours is wrong for all, a stranger's for that one.
    pub fn clock_is(&self, offset: Span) {
        let nearer = |known: i64| {
            let is_news = known == i64::MIN || offset.abs() < Span::seconds(known).abs();
            is_news.then_some(offset.as_seconds())
        };
        // That it stays as it was is no failure.
        let _ = self.clock_offset.fetch_update(Ordering::Relaxed, Ordering::Relaxed, nearer);
    }

    /// How far our clock was off by the best of the answers since this was last asked; `None` when there was none.
    pub fn take_clock_offset(&self) -> Option<Span> {
        match self.clock_offset.swap(i64::MIN, Ordering::Relaxed) {
            i64::MIN => None,
            seconds => Some(Span::seconds(seconds)),
        }
    }
}

/// Puts a trouble in place, or takes it away; true when that changes anything.
fn note<K: Ord>(troubles: &mut BTreeMap<K, String>, key: K, trouble: Option<String>) -> bool {
    match trouble {
        Some(text) => troubles.insert(key, text.clone()).as_ref() != Some(&text),
        None => troubles.remove(&key).is_some(),
    }
}

fn moment(cell: &AtomicI64) -> Option<Timestamp> {
    match cell.load(Ordering::Relaxed) {
        i64::MIN => None,
        seconds => Some(Timestamp::from_unix(seconds)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of a reload that failed.
const REFUSED: &str = "the new configuration was refused, the old one is in force";
