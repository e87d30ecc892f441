//! Faults of apps: one incident of the app, whoever many tokens it has (promise 21 of `docs/alerts.md`).

use std::sync::Arc;

use tokenwatch::domain::alert::NotifyReason::{First, Repeated, Resolved};
use tokenwatch::domain::answer::Answer;
use tokenwatch::domain::finding::Reason;
use tokenwatch::domain::finding::Severity::Critical;
use tokenwatch::domain::inspection::{AppFault, CheckError};
use tokenwatch::domain::status::{AppStatus, TokenStatus};
use tokenwatch::domain::step::{AppObservation, AppReport, Observation, step, step_app};
use tokenwatch::domain::time::Span;
use tokenwatch::domain::token::{AppName, AppSpec, Policy, ProviderName, ReceiverName, TokenSpec};

use super::{DAY, HOUR, MINUTE, Word, at, checked, failed, signed, spec, valid_until, words};

/// An app, its tokens, and what is told of any of them.
struct House {
    app: AppSpec,
    status: AppStatus,
    tokens: Vec<(TokenSpec, TokenStatus)>,
}

impl House {
    fn new(tokens: usize) -> Self {
        let name = AppName::parse("helpdesk").expect("a good name");
        let oncall = ReceiverName::parse("oncall").expect("a good name");
        let app = AppSpec {
            name: name.clone(),
            provider: ProviderName::meta(),
            receivers: Arc::from([oncall]),
            policy: Arc::new(Policy::default()),
        };
        let token = |n: usize| {
            let spec = TokenSpec { app: Some(name.clone()), ..spec(&format!("token-{n}"), Policy::default(), HOUR) };
            (spec, TokenStatus::new(at(0)))
        };
        Self { app, status: AppStatus::default(), tokens: (0..tokens).map(token).collect() }
    }

    /// Every token is looked at once, a second after the other; what is told of the tokens, and what of the app.
    fn round(&mut self, from: i64, seen: impl Fn(usize) -> Observation) -> (Vec<Word>, Vec<Word>) {
        let (mut of_tokens, mut of_app) = (Vec::new(), Vec::new());
        for (n, (spec, status)) in self.tokens.iter_mut().enumerate() {
            let now = at(from + i64::try_from(n).expect("a small number"));
            let step = step(spec, status.clone(), seen(n), now);
            *status = step.status;
            of_tokens.extend(words(&step.notices));
            if let Some(report) = step.app {
                let step = step_app(&self.app, self.status.clone(), AppObservation::Reported(report), now);
                self.status = step.status;
                of_app.extend(words(&step.notices));
            }
        }
        (of_tokens, of_app)
    }
}

fn blocked(_: usize) -> Observation {
    failed(1, CheckError::App(AppFault::Blocked, "API access blocked".into()))
}

fn fine(_: usize) -> Observation {
    checked(1, valid_until(600 * DAY))
}

const SILENCE: [Word; 0] = [];
const TOLD: [Word; 1] = [(First, Reason::AppFault, Critical)];

// promises 21, 29
#[test]
fn five_hundred_tokens_of_one_app_fail_and_people_are_told_once() {
    let mut house = House::new(500);
    assert_eq!(house.round(0, fine), (vec![], vec![]));
    assert_eq!(house.round(HOUR, blocked), (vec![], TOLD.to_vec()));
    for hour in 2..25 {
        assert_eq!(house.round(hour * HOUR, blocked), (vec![], vec![]), "hour {hour}");
    }
    // A day after it was told it repeats; a token that was blind meanwhile has no notice of its own.
    assert_eq!(house.round(25 * HOUR + MINUTE, blocked), (vec![], vec![(Repeated, Reason::AppFault, Critical)]));
    assert_eq!(house.status.ledger.incidents.len(), 1);
    assert_eq!(house.round(26 * HOUR, fine), (vec![], vec![(Resolved, Reason::AppFault, Critical)]));
    assert!(house.status.ledger.incidents.is_empty());
}

// promise 21
#[test]
fn a_single_report_is_not_believed() {
    let mut house = House::new(3);
    let (_, of_app) = house.round(0, |n| if n == 1 { blocked(n) } else { fine(n) });
    assert_eq!(of_app, SILENCE);
    let (_, of_app) = house.round(HOUR, |n| if n < 2 { blocked(n) } else { fine(n) });
    assert_eq!(of_app, [TOLD[0], (Resolved, Reason::AppFault, Critical)]);
}

// promise 21
#[test]
fn trouble_of_the_network_or_of_one_token_says_nothing_about_the_app() {
    let mut house = House::new(2);
    assert_eq!(house.round(0, blocked).1, TOLD);
    assert_eq!(house.round(HOUR, |_| super::unreachable(1)).1, SILENCE);
    assert_eq!(house.round(2 * HOUR, |_| super::no_secret()).1, SILENCE);
    // The app may ask and is told that the token is not its own: its credentials are good.
    let foreign = |_| failed(1, CheckError::ForeignToken("another app".into()));
    assert_eq!(house.round(3 * HOUR, foreign).1, [(Resolved, Reason::AppFault, Critical)]);
}

// promise 21
#[test]
fn every_fault_of_an_app_has_a_name_and_an_app_whose_secret_is_gone_has_another() {
    for fault in AppFault::ALL {
        let mut house = House::new(2);
        let reason = if fault == AppFault::SecretUnreadable { Reason::SourceUnreadable } else { Reason::AppFault };
        let (of_tokens, of_app) = house.round(0, |_| failed(1, CheckError::App(fault, "".into())));
        assert_eq!((of_tokens, of_app), (vec![], vec![(First, reason, Critical)]), "{fault:?}");
    }
}

// promises 21, 29
#[test]
fn another_fault_replaces_the_first_without_a_resolved() {
    let house = House::new(0);
    let tell = |status: AppStatus, fault, second| {
        let report = AppObservation::Reported(AppReport::Fault(fault, "".into()));
        let step = step_app(&house.app, status, report, at(second));
        (words(&step.notices), step.status)
    };
    let (_, status) = tell(AppStatus::default(), AppFault::SecretUnreadable, 0);
    let (told, status) = tell(status, AppFault::SecretUnreadable, 1);
    assert_eq!(told, [(First, Reason::SourceUnreadable, Critical)]);
    let (told, status) = tell(status, AppFault::WrongSecret, 2);
    assert_eq!(told, TOLD);
    let (told, status) = tell(status, AppFault::Blocked, 3);
    assert_eq!(told, SILENCE, "a change of particulars");
    assert_eq!(status.ledger.incidents.len(), 1);
}

// promises 36 to 43
#[test]
fn an_app_is_answered_and_damped_like_a_token() {
    let house = House::new(0);
    let mut status = AppStatus::default();
    let mut see = |seen, second| {
        let step = step_app(&house.app, status.clone(), seen, at(second));
        status = step.status;
        words(&step.notices)
    };
    let bad = || AppObservation::Reported(AppReport::Fault(AppFault::Blocked, "".into()));
    let fine = || AppObservation::Reported(AppReport::Fine);
    let hush = Answer::Silence { signed: signed(), lasts: Span::hours(1), even_critical: false };
    assert_eq!(see(AppObservation::Answered(hush.clone()), 0), SILENCE);
    assert_eq!(see(bad(), 1), SILENCE);
    assert_eq!(see(bad(), 2), SILENCE, "believed, and held back: the end of a token is no part of it");
    assert_eq!(see(AppObservation::Answered(Answer::Unsilence(signed())), 3), TOLD, "at once");
    assert_eq!(see(AppObservation::Answered(Answer::Acknowledge(signed())), 4), SILENCE);
    assert_eq!(see(bad(), 9 * DAY), SILENCE, "not repeated");
    assert_eq!(see(AppObservation::Answered(hush), 9 * DAY + 1), SILENCE);
    assert_eq!(see(fine(), 9 * DAY + 2), [(Resolved, Reason::AppFault, Critical)], "RESOLVED is never held back");

    let mut told = Vec::new();
    for turn in 0..20 {
        let second = 20 * DAY + turn * 10 * MINUTE;
        told.extend([bad(), bad(), fine()].into_iter().zip(second..).flat_map(|(seen, second)| see(seen, second)));
    }
    assert_eq!(told.len(), 7, "three times, with their ends, and once for the rest: {told:?}");
    assert_eq!(see(fine(), 21 * DAY), [(Resolved, Reason::AppFault, Critical)], "calm");
}
