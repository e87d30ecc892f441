//! A naive reference model: what people must have been told, computed from the whole history of a slot.
//!
//! It was written from the promises in `docs/alerts.md` (the numbers below are theirs), borrows words from the core and none of its
//! decisions, and takes no short cuts: `relive` goes through all that was ever seen, from the first look on.

use tokenwatch::domain::alert::NotifyReason::{self, Escalated, First, Reminded, Repeated, Resolved};
use tokenwatch::domain::finding::{
    Reason::{self, *},
    Severity::{self, Critical, Info, Warning},
};
use tokenwatch::domain::token::{Lead, Policy};
use tokenwatch::domain::verdict::Verdict;

use super::{DAY, HOUR, MINUTE};

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
    /// Nothing was seen: somebody answered what was told.
    Said(Reply),
}

/// What people say back.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Reply {
    Acknowledge,
    Silence { lasts: i64, even_critical: bool },
    Unsilence,
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
    /// The end of a token, or the last rung before it: what no silence hides (38).
    pub last_call: bool,
}

/// Something that people are told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Told {
    pub at: i64,
    pub why: NotifyReason,
    pub reason: Reason,
    pub severity: Severity,
    pub deadline: Option<i64>,
    /// It says that it comes and goes (41).
    pub damped: bool,
    /// It says who knows of it (36).
    pub acknowledged: bool,
}

/// What one look amounts to.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    pub generation: u32,
    pub truths: Vec<Truth>,
    pub verdict: Verdict,
    pub told: Vec<Told>,
    /// The silence that holds, if one does.
    pub silence: Option<Silence>,
    /// Whether the answer that was given was taken.
    pub taken: bool,
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
    let mut silence: Option<Silence> = None;
    let mut chronicles: [Chronicle; STORIES.len()] = Default::default();
    let mut pages = Vec::with_capacity(history.len());
    for moment in history {
        let now = moment.at;
        let withdrawn_before = memory.says_ran_out();
        memory.take_in(policy, moment);
        silence = silence.map(|silence| silence.by_the_clock(now)).filter(|silence| now < silence.until());
        for chronicle in &mut chronicles {
            chronicle.draw_back(now);
        }
        let mut taken = false;
        match moment.seen {
            Seen::Said(Reply::Acknowledge) => {
                // 36: every incident that is open at that moment.
                for tale in chronicles.iter_mut().filter_map(Chronicle::open) {
                    tale.acknowledged = true;
                    taken = true;
                }
            }
            Seen::Said(Reply::Silence { lasts, even_critical }) => {
                taken = (MINUTE..=90 * DAY).contains(&lasts);
                if taken {
                    silence = Some(Silence { from: now, lasts, even_critical, reminded: false });
                }
            }
            Seen::Said(Reply::Unsilence) => taken = silence.take().is_some(),
            Seen::Answer(..) | Seen::Trouble(..) | Seen::NoSecret | Seen::PutOff(_) => {}
        }
        let truths = memory.truths(policy, now);
        let verdict = memory.verdict(policy, now, &truths);
        let mut page = Page { generation: memory.generation, truths, verdict, told: Vec::new(), silence, taken };
        // 10: the same secret was called expired, is not any more, and its date has not come.
        let ended = page.truths.iter().any(|truth| truth.reason == Expired);
        let withdrawn = withdrawn_before == Some(memory.generation) && memory.says_ran_out().is_none() && !ended;
        for (story, chronicle) in STORIES.into_iter().zip(&mut chronicles) {
            let withdrawn = withdrawn && story == Story::End;
            chronicle.note(&page, now, story, withdrawn);
            tell(policy, &memory, chronicle, &mut page, now, story, withdrawn);
        }
        if let Some(silence) = &mut silence
            && !silence.reminded
            && now >= silence.reminds(policy)
        {
            // 40: once for each silence, whether or not anything is open.
            silence.reminded = true;
            for (story, chronicle) in STORIES.into_iter().zip(&mut chronicles) {
                let truth = page.truth(story);
                page.told.extend(chronicle.open().map(|tale| tale.reminder(truth, now)));
            }
        }
        pages.push(page);
    }
    pages
}

/// A time in which people are not told, for so long from then.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Silence {
    from: i64,
    lasts: i64,
    even_critical: bool,
    reminded: bool,
}

impl Silence {
    pub fn until(self) -> i64 {
        self.from + self.lasts
    }

    /// 40: one rung before it ends, at least ten seconds.
    pub fn reminds(self, policy: &Policy) -> i64 {
        self.until() - rungs(policy, self.lasts).last().expect("a ladder is never empty").max(&10)
    }

    /// 38: whether it may keep people from hearing of that for the first time.
    pub fn hides(self, truth: Truth) -> bool {
        self.even_critical || !truth.last_call
    }

    /// 40: when the clock moves back before its beginning, it lasts its length from then on.
    fn by_the_clock(self, now: i64) -> Self {
        Self { from: self.from.min(now), ..self }
    }
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
        NumberBlocked | NumberLimited | WebhooksMissing => unreachable!("nothing is sent here"),
        // Renewals have a model of their own, in `renewals`.
        RenewalFailed | RenewalOverdue | RenewalWithoutGain | Renewed => unreachable!("nothing is renewed here"),
        Undeliverable | OutboxGrowing | ClockOff | StateNearlyFull | VersionRetiring | Digest | Test => {
            unreachable!("{reason:?} is not about a token")
        }
    }
}

/// All that ever happened in one story.
#[derive(Default)]
struct Chronicle {
    tales: Vec<Tale>,
    /// Every look: when (drawn back with the clock, 30); what was found, which is nothing or about a secret and a date (41); and whether the
    /// provider took back at that look that the token has expired (43).
    looks: Vec<(i64, Option<About>, bool)>,
}

/// Which secret (none, where it does not matter), and which date.
type About = (Option<u32>, Option<i64>);

/// All that was ever told in one incident.
#[expect(clippy::struct_excessive_bools, reason = "five plain facts; the promises know no states")]
struct Tale {
    began: i64,
    /// It began within a day; once a day ago it never is of late again, wherever the clock goes.
    of_late: bool,
    generation: u32,
    deadline: Option<i64>,
    /// As it was found when it began.
    first: Truth,
    /// What was told, with how deep in trouble the token was.
    told: Vec<(Told, i64)>,
    /// The time that repeats count from: the last notice, drawn back with the clock (30).
    quiet_since: i64,
    acknowledged: bool,
    /// It is one of those that come and go (41).
    damped: bool,
    /// While it was damped the provider took back that the token has expired, and that still holds (43).
    withdrawn: bool,
    over: bool,
}

impl Chronicle {
    fn open(&mut self) -> Option<&mut Tale> {
        self.tales.last_mut().filter(|tale| !tale.over)
    }

    /// 30: nothing is remembered from the future.
    fn draw_back(&mut self, now: i64) {
        // Each is at or before the last one: as long as the clock goes on there is nothing to draw back.
        for (at, ..) in self.looks.iter_mut().rev().take_while(|(at, ..)| *at > now) {
            *at = now;
        }
        // What was over before and began long ago does not matter any more.
        for tale in self.tales.iter_mut().rev().take_while(|tale| !tale.over || tale.of_late) {
            tale.began = tale.began.min(now);
            tale.of_late &= now - tale.began < DAY;
            tale.quiet_since = tale.quiet_since.min(now);
        }
    }

    fn note(&mut self, page: &Page, now: i64, story: Story, withdrawn: bool) {
        let secret = is_about_the_secret(story).then_some(page.generation);
        self.looks.push((now, page.truth(story).map(|truth| (secret, truth.deadline)), withdrawn));
        let ended = page.truths.iter().any(|truth| truth.reason == Expired);
        if let Some(tale) = self.open().filter(|tale| tale.damped) {
            tale.withdrawn = withdrawn || (tale.withdrawn && !ended);
        }
    }

    /// 41: three of them began within the last 24 hours.
    fn comes_and_goes(&self) -> bool {
        self.tales.iter().filter(|tale| tale.of_late).count() >= 3
    }

    /// 42: since when what is found has not changed. That an incident begins is a change, and so is that a word is taken back.
    fn unchanged_since(&self) -> i64 {
        let (mut since, last, _) = *self.looks.last().expect("a look at least");
        for (at, found, withdrawn) in self.looks.iter().rev() {
            if *found != last {
                break;
            }
            since = *at;
            if *withdrawn {
                break;
            }
        }
        since.max(self.tales.last().expect("an open incident").began)
    }
}

impl Tale {
    fn worst(&self) -> Option<Severity> {
        self.told.iter().map(|(told, _)| told.severity).max()
    }

    fn deepest(&self) -> Option<i64> {
        self.told.iter().map(|(_, depth)| *depth).max()
    }

    fn say(&self, at: i64, why: NotifyReason, truth: Truth) -> Told {
        let Truth { reason, severity, deadline, .. } = truth;
        Told { at, why, reason, severity, deadline, damped: self.damped, acknowledged: self.acknowledged }
    }

    /// 40: what is true now; if nothing is found at this moment, what was last told of it, as bad as it ever was.
    fn reminder(&self, truth: Option<Truth>, now: i64) -> Told {
        let last = self.told.last().map_or(self.first.reason, |(told, _)| told.reason);
        let severity = self.worst().unwrap_or(self.first.severity);
        self.say(
            now,
            Reminded,
            truth.unwrap_or(Truth { reason: last, severity, deadline: self.deadline, ..self.first }),
        )
    }
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
            Seen::Said(_) => {}
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
        let plain = |reason, severity| Truth { reason, severity, depth: 0, deadline: None, last_call: false };
        let end_of_it = |reason| Truth { last_call: true, ..plain(reason, Critical) };
        if self.source_gone {
            truths.push(plain(SourceUnreadable, Critical)); // 19
        }
        if self.foreign {
            truths.push(plain(AppFault, Critical)); // 20
        }
        if self.trouble == Some(ToldAs::Blindness)
            && let Some(since) = self.blind_since(policy)
        {
            // promise 17
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
            State::RanOut => truths.push(Truth { depth: END, deadline: end, ..end_of_it(Expired) }),
            State::Gibberish => truths.push(end_of_it(Unreadable)),
            State::Inactive if window.is_some_and(|window| window <= now) => {
                truths.push(Truth { depth: END, deadline: window, ..end_of_it(DataAccessExpired) });
            }
            State::Revoked | State::Inactive => truths.push(end_of_it(Revoked)),
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
            return Some(Truth {
                reason: past,
                severity: Critical,
                depth: END,
                deadline: Some(deadline),
                last_call: true,
            });
        }
        let born = self.known.and_then(|known| known.issued).unwrap_or(self.first_seen);
        // Access to data is given for 90 days, whatever is issued meanwhile.
        let lifetime = if near == DataAccessExpiring { (deadline - born).max(90 * DAY) } else { deadline - born };
        let rungs = rungs(policy, lifetime);
        let place = rungs.iter().rposition(|rung| deadline - now <= *rung)?;
        let severity = match () {
            () if lifetime > 7 * DAY && deadline - now <= 3 * DAY => Critical,
            () if place == 0 => Info,
            () if place + 2 >= rungs.len() => Critical,
            () => Warning,
        };
        let last_call = place + 1 == rungs.len();
        Some(Truth { reason: near, severity, depth: -rungs[place], deadline: Some(deadline), last_call })
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
    chronicle: &mut Chronicle,
    page: &mut Page,
    now: i64,
    story: Story,
    withdrawn: bool,
) {
    let truth = page.truth(story);
    let ladder = matches!(story, Story::End | Story::Window);
    let comes_and_goes = chronicle.comes_and_goes();
    let damped = chronicle.open().is_some_and(|tale| tale.damped);
    let calm = damped && now - chronicle.unchanged_since() >= HOUR;
    if let Some(tale) = chronicle.open() {
        let same_secret = !is_about_the_secret(story) || tale.generation == memory.generation;
        let same = |truth: Truth| same_secret && (!ladder || tale.deadline == truth.deadline);
        let withdrawn = withdrawn || tale.withdrawn;
        // 43: the end of another secret, or of another date.
        let end_of_another = truth.is_some_and(|truth| truth.last_call && !same(truth));
        if tale.damped && !calm && !end_of_another {
            // 41: whatever is found now.
            if let Some(truth) = truth {
                page.told.extend(hear(policy, page.silence, tale, truth, now));
            }
            return;
        }
        if let Some(truth) = truth.filter(|truth| same(*truth) && !withdrawn) {
            tale.damped = false; // 42
            page.told.extend(hear(policy, page.silence, tale, truth, now));
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
        // 23: only of what was told; and it is over, so nothing is said of its coming and going.
        if let (Fate::Resolved, Some((last, _)), Some(worst)) = (fate, tale.told.last(), tale.worst()) {
            let (deadline, acknowledged) = (tale.deadline, tale.acknowledged);
            let over = Told { at: now, why: Resolved, severity: worst, deadline, damped: false, acknowledged, ..*last };
            page.told.push(over);
        }
    }
    if let Some(truth) = truth {
        let mut tale = Tale {
            began: now,
            of_late: true,
            generation: memory.generation,
            deadline: truth.deadline,
            first: truth,
            told: Vec::new(),
            quiet_since: now,
            acknowledged: false,
            damped: comes_and_goes,
            withdrawn: false,
            over: false,
        };
        page.told.extend(hear(policy, page.silence, &mut tale, truth, now));
        chronicle.tales.push(tale);
    }
}

/// What is said of an open incident in which that is found.
fn hear(policy: &Policy, silence: Option<Silence>, tale: &mut Tale, truth: Truth, now: i64) -> Option<Told> {
    let repeat = policy.repeat.as_seconds();
    let worse = Some(truth.depth) > tale.deepest() || Some(truth.severity) > tale.worst();
    let why = if tale.told.is_empty() {
        First // 39
    } else if worse {
        Escalated // 7, 8, 3
    } else if truth.severity == Critical && repeat > 0 && !tale.acknowledged && now - tale.quiet_since >= repeat {
        Repeated // 29, 30, 36
    } else {
        return None;
    };
    // promises 37, 38
    if silence.is_some_and(|silence| why == Repeated || silence.hides(truth)) {
        return None;
    }
    let told = tale.say(now, why, truth);
    tale.quiet_since = now;
    tale.told.push((told, truth.depth));
    Some(told)
}

fn is_about_the_secret(story: Story) -> bool {
    !matches!(story, Story::Blind | Story::NoSecret | Story::Foreign)
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Open,
    Replaced,
    Resolved,
}

/// Beyond every rung.
const END: i64 = i64::MAX;
