//! A naive reference model: what people must have been told, computed from the whole history of a slot.
//!
//! It was written from the promises in `docs/alerts.md` (the numbers below are theirs), borrows words from the core and none of its
//! decisions, and takes no short cuts: `relive` goes through all that was ever seen, from the first look on.

use tokenwatch::domain::alert::NotifyReason::{self, Escalated, First, Repeated, Resolved};
use tokenwatch::domain::finding::{
    Reason::{self, *},
    Severity::{self, Critical, Info, Warning},
};
use tokenwatch::domain::token::{Lead, Policy};
use tokenwatch::domain::verdict::Verdict;

use super::DAY;

/// One look at a slot: when, by our own clock, and what was seen. Times are seconds after the start.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Moment {
    pub at: i64,
    pub seen: Seen,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Seen {
    /// The provider answered about this secret.
    Answer(u32, Says),
    /// The secret was read, and there was no answer about it.
    Trouble(u32, Trouble),
    /// The secret could not be read.
    NoSecret,
    /// The look was put off: the provider wants a pause until then.
    PutOff(i64),
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Trouble {
    Line,
    Pause(i64),
    App,
    Foreign,
}

/// What the provider says of a secret. What it leaves out is `Untold` or `None`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Says {
    pub state: State,
    pub issued: Option<i64>,
    pub ends: Ends,
    pub window: Ends,
    pub poor: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum State {
    Works,
    RanOut,
    Revoked,
    /// Meta's 493, the end of data access seen from the other side.
    Inactive,
    Gibberish,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Ends {
    Never,
    At(i64),
    Untold,
}

/// Something that is wrong at one moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Truth {
    pub reason: Reason,
    pub severity: Severity,
    /// Larger is nearer to the end, or farther into the trouble.
    pub depth: i64,
    pub deadline: Option<i64>,
}

/// Something that people are told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Told {
    pub at: i64,
    pub why: NotifyReason,
    pub reason: Reason,
    pub severity: Severity,
    pub deadline: Option<i64>,
}

/// What one look amounts to.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    pub generation: u32,
    pub truths: Vec<Truth>,
    pub verdict: Verdict,
    pub told: Vec<Told>,
}

impl Page {
    pub fn truth(&self, story: Story) -> Option<Truth> {
        self.truths.iter().copied().find(|truth| story_of(truth.reason) == story)
    }

    pub fn dead(&self) -> bool {
        self.truths.iter().any(|truth| matches!(truth.reason, Expired | DataAccessExpired | Revoked | Unreadable))
    }
}

/// Goes through the whole history and says, look by look, what was true and what had to be told.
pub fn relive(policy: &Policy, history: &[Moment]) -> Vec<Page> {
    let mut memory = Memory::default();
    let mut tales: [Vec<Tale>; STORIES.len()] = Default::default();
    let mut pages = Vec::with_capacity(history.len());
    for moment in history {
        let withdrawn_before = memory.says_ran_out();
        memory.take_in(policy, moment);
        let truths = memory.truths(policy, moment.at);
        let verdict = memory.verdict(policy, moment.at, &truths);
        let mut page = Page { generation: memory.generation, truths, verdict, told: Vec::new() };
        // 10: the same secret was called expired, is not any more, and its date has not come.
        let ended = page.truths.iter().any(|truth| truth.reason == Expired);
        let withdrawn = withdrawn_before == Some(memory.generation) && memory.says_ran_out().is_none() && !ended;
        for (story, tales) in STORIES.into_iter().zip(&mut tales) {
            tell(policy, &memory, tales, &mut page, moment.at, story, withdrawn && story == Story::End);
        }
        pages.push(page);
    }
    pages
}

/// Findings that are told as one incident while it lasts (9, and the contract's 493).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Story {
    End,
    Window,
    Killed,
    Nonsense,
    NoDate,
    Poor,
    Foreign,
    Blind,
    NoSecret,
}

const STORIES: [Story; 9] = [
    Story::End,
    Story::Window,
    Story::Killed,
    Story::Nonsense,
    Story::NoDate,
    Story::Poor,
    Story::Foreign,
    Story::Blind,
    Story::NoSecret,
];

pub fn story_of(reason: Reason) -> Story {
    match reason {
        Expiring | Expired => Story::End,
        DataAccessExpiring | DataAccessExpired => Story::Window,
        Revoked => Story::Killed,
        Unreadable => Story::Nonsense,
        ExpiryUnknown => Story::NoDate,
        ScopeMissing | TargetMissing => Story::Poor,
        AppFault => Story::Foreign,
        Blind => Story::Blind,
        SourceUnreadable => Story::NoSecret,
    }
}

/// All that was ever told in one incident.
struct Tale {
    generation: u32,
    deadline: Option<i64>,
    /// What was told, with how deep in trouble the token was.
    told: Vec<(Told, i64)>,
    /// The time that repeats count from: the last notice, drawn back with the clock (30).
    quiet_since: i64,
    over: bool,
}

/// What the looks so far add up to.
#[derive(Default)]
struct Memory {
    secret: Option<u32>,
    generation: u32,
    first_seen: i64,
    /// What is known of this generation: each field as it was last stated in a believed answer (14).
    known: Option<Says>,
    /// Bad answers in a row about this generation (15).
    bad_row: u32,
    last_answer: Option<i64>,
    failing_since: Option<i64>,
    /// How the trouble since the last answer is told; a look put off never renames it (18).
    trouble: Option<ToldAs>,
    source_gone: bool,
    foreign: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum ToldAs {
    Blindness,
    Another,
}

impl Memory {
    fn take_in(&mut self, policy: &Policy, moment: &Moment) {
        let now = moment.at;
        // 30: nothing is remembered from the future.
        self.first_seen = self.first_seen.min(now);
        self.last_answer = self.last_answer.map(|at| at.min(now));
        self.failing_since = self.failing_since.map(|at| at.min(now));
        if let Seen::Answer(secret, _) | Seen::Trouble(secret, _) = moment.seen {
            self.source_gone = false;
            if self.secret != Some(secret) {
                self.secret = Some(secret);
                self.generation += 1;
                self.first_seen = now;
                self.known = None;
                self.bad_row = 0;
            }
        }
        match moment.seen {
            Seen::Answer(_, says) => {
                self.last_answer = Some(now);
                self.failing_since = None;
                self.trouble = None;
                let bad = matches!(says.state, State::Revoked | State::Inactive | State::Gibberish);
                self.bad_row = if bad { self.bad_row + 1 } else { 0 };
                if !bad || self.bad_row >= policy.confirm_invalid.max(1) {
                    self.foreign = false;
                    self.known = Some(says.on_top_of(self.known));
                }
            }
            Seen::Trouble(_, trouble) => {
                let named = matches!(trouble, Trouble::App | Trouble::Foreign);
                self.fail(now, if named { ToldAs::Another } else { ToldAs::Blindness });
                self.foreign |= trouble == Trouble::Foreign;
            }
            Seen::NoSecret => {
                self.fail(now, ToldAs::Another);
                self.source_gone = true;
            }
            Seen::PutOff(_) => {
                self.fail(now, self.trouble.unwrap_or(ToldAs::Blindness));
            }
        }
    }

    fn fail(&mut self, now: i64, told_as: ToldAs) {
        self.failing_since = self.failing_since.or(Some(now));
        self.trouble = Some(told_as);
    }

    fn says_ran_out(&self) -> Option<u32> {
        self.known.filter(|says| says.state == State::RanOut).map(|_| self.generation)
    }

    fn truths(&self, policy: &Policy, now: i64) -> Vec<Truth> {
        let mut truths = Vec::new();
        let plain = |reason, severity| Truth { reason, severity, depth: 0, deadline: None };
        if self.source_gone {
            truths.push(plain(SourceUnreadable, Critical)); // 19
        }
        if self.foreign {
            truths.push(plain(AppFault, Critical)); // 20
        }
        if self.trouble == Some(ToldAs::Blindness)
            && let Some(since) = self.blind_since(policy)
        {
            // 17
            let patience = policy.blind_after.as_seconds();
            if now - since >= 4 * patience {
                truths.push(Truth { depth: 2, ..plain(Blind, Critical) });
            } else if now - since >= patience {
                truths.push(Truth { depth: 1, ..plain(Blind, Warning) });
            }
        }
        let Some(known) = self.known else { return truths };
        let end = match known.ends {
            Ends::At(end) => Some(end),
            Ends::Never | Ends::Untold => None,
        };
        let window = match known.window {
            Ends::At(window) => Some(window),
            Ends::Never | Ends::Untold => None,
        };
        match known.state {
            State::RanOut => truths.push(Truth { depth: END, deadline: end, ..plain(Expired, Critical) }),
            State::Gibberish => truths.push(plain(Unreadable, Critical)),
            State::Inactive if window.is_some_and(|window| window <= now) => {
                truths.push(Truth { depth: END, deadline: window, ..plain(DataAccessExpired, Critical) });
            }
            State::Revoked | State::Inactive => truths.push(plain(Revoked, Critical)),
            State::Works => {
                truths.extend(end.and_then(|end| self.climb(policy, now, end, Expiring, Expired)));
                truths.extend(window.and_then(|at| self.climb(policy, now, at, DataAccessExpiring, DataAccessExpired)));
                if known.ends == Ends::Untold {
                    truths.push(plain(ExpiryUnknown, Info)); // 22
                }
                if known.poor == Some(true) {
                    truths.push(plain(ScopeMissing, Warning));
                }
            }
        }
        truths
    }

    fn blind_since(&self, policy: &Policy) -> Option<i64> {
        let failing = self.failing_since?;
        let fresh = |answered: &i64| failing - answered < policy.blind_after.as_seconds();
        Some(self.last_answer.filter(fresh).unwrap_or(failing))
    }

    /// 1 to 9: the rung that `now` stands on.
    fn climb(&self, policy: &Policy, now: i64, deadline: i64, near: Reason, past: Reason) -> Option<Truth> {
        if now >= deadline {
            return Some(Truth { reason: past, severity: Critical, depth: END, deadline: Some(deadline) });
        }
        let born = self.known.and_then(|known| known.issued).unwrap_or(self.first_seen);
        let lifetime = deadline - born;
        let rungs = rungs(policy, lifetime);
        let place = rungs.iter().rposition(|rung| deadline - now <= *rung)?;
        let severity = match () {
            () if lifetime > 7 * DAY && deadline - now <= 3 * DAY => Critical,
            () if place == 0 => Info,
            () if place + 2 >= rungs.len() => Critical,
            () => Warning,
        };
        Some(Truth { reason: near, severity, depth: -rungs[place], deadline: Some(deadline) })
    }

    fn verdict(&self, policy: &Policy, now: i64, truths: &[Truth]) -> Verdict {
        let any = |reasons: &[Reason]| truths.iter().any(|truth| reasons.contains(&truth.reason));
        let blind = self.blind_since(policy).is_some_and(|since| now - since >= policy.blind_after.as_seconds());
        if any(&[Expired, DataAccessExpired]) {
            Verdict::Expired
        } else if any(&[Revoked, Unreadable]) {
            Verdict::Invalid
        } else if any(&[Expiring, DataAccessExpiring]) {
            Verdict::Expiring
        } else if self.known.is_none() || blind {
            Verdict::Unverified
        } else {
            Verdict::Healthy
        }
    }
}

impl Says {
    fn on_top_of(self, known: Option<Self>) -> Self {
        let Some(known) = known else { return self };
        let stated = |new: Ends, old: Ends| if new == Ends::Untold { old } else { new };
        Self {
            state: self.state,
            issued: self.issued.or(known.issued),
            ends: stated(self.ends, known.ends),
            window: stated(self.window, known.window),
            poor: self.poor.or(known.poor),
        }
    }
}

/// 2, 5 and 6: the distances of the rungs, farthest first.
fn rungs(policy: &Policy, lifetime: i64) -> Vec<i64> {
    let mut rungs = Vec::new();
    if lifetime >= 7 * DAY {
        for lead in policy.ladder.leads() {
            let rung = match lead {
                Lead::Before(span) => span.as_seconds(),
                Lead::Share(hundredths) => lifetime * i64::from(*hundredths) / 10_000,
            };
            if rung > 0 && rung <= lifetime {
                rungs.push(rung);
            }
        }
    }
    if rungs.is_empty() {
        rungs = [33, 10, 3].map(|percent| (lifetime * percent / 100).max(1)).to_vec();
    }
    rungs.sort_unstable();
    rungs.dedup();
    rungs.reverse();
    rungs
}

fn tell(
    policy: &Policy,
    memory: &Memory,
    tales: &mut Vec<Tale>,
    page: &mut Page,
    now: i64,
    story: Story,
    withdrawn: bool,
) {
    let truth = page.truth(story);
    let say = |why, truth: Truth| Told {
        at: now,
        why,
        reason: truth.reason,
        severity: truth.severity,
        deadline: truth.deadline,
    };
    let ladder = matches!(story, Story::End | Story::Window);
    let about_the_secret = !matches!(story, Story::Blind | Story::NoSecret | Story::Foreign);
    if let Some(tale) = tales.last_mut().filter(|tale| !tale.over) {
        tale.quiet_since = tale.quiet_since.min(now);
        let same_secret = !about_the_secret || tale.generation == memory.generation;
        if let Some(truth) = truth
            && same_secret
            && (!ladder || tale.deadline == truth.deadline)
            && !withdrawn
        {
            let deepest = tale.told.iter().map(|(_, depth)| *depth).max().expect("a tale begins with a notice");
            let worst = tale.told.iter().map(|(told, _)| told.severity).max().expect("a tale begins with a notice");
            let repeat = policy.repeat.as_seconds();
            let why = if truth.depth > deepest || truth.severity > worst {
                Escalated // 7, 8, 3
            } else if truth.severity == Critical && repeat > 0 && now - tale.quiet_since >= repeat {
                Repeated // 29, 30
            } else {
                return;
            };
            tale.quiet_since = now;
            tale.told.push((say(why, truth), truth.depth));
            page.told.push(say(why, truth));
            return;
        }
        let date = match (memory.known, story) {
            (Some(known), Story::Window) => known.window,
            (Some(known), _) => known.ends,
            (None, _) => Ends::Untold,
        };
        let date = match date {
            Ends::At(date) => Some(date),
            Ends::Never | Ends::Untold => None,
        };
        let fate = match story {
            Story::Blind if memory.failing_since.is_some() => Fate::Open, // 18
            Story::Blind | Story::NoSecret => Fate::Resolved,
            _ if page.dead() => Fate::Replaced, // 25
            Story::Foreign => Fate::Resolved,
            _ if memory.known.is_none() => Fate::Open, // 24
            // 26: the same again; better news only if the date moved away, or was taken back.
            _ if truth.is_some() => match (ladder, tale.deadline, date) {
                (true, None, _) => Fate::Resolved,
                (true, Some(old), Some(new)) if new > old => Fate::Resolved,
                _ if withdrawn => Fate::Resolved,
                _ => Fate::Replaced,
            },
            _ if ladder && same_secret && tale.deadline == date && !withdrawn => Fate::Open, // 30
            _ => Fate::Resolved,
        };
        if fate == Fate::Open {
            return;
        }
        tale.over = true;
        if fate == Fate::Resolved {
            let (last, _) = *tale.told.last().expect("a tale begins with a notice");
            let worst = tale.told.iter().map(|(told, _)| told.severity).max().expect("a tale begins with a notice");
            page.told.push(Told { at: now, why: Resolved, severity: worst, deadline: tale.deadline, ..last });
        }
    }
    if let Some(truth) = truth {
        let told = say(First, truth);
        page.told.push(told);
        tales.push(Tale {
            generation: memory.generation,
            deadline: truth.deadline,
            told: vec![(told, truth.depth)],
            quiet_since: now,
            over: false,
        });
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Open,
    Replaced,
    Resolved,
}

/// Beyond every rung.
const END: i64 = i64::MAX;
