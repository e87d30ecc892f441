//! Renewal as the core decides it: tables for every refusal and objection, the moments of runs, the incidents, and random lives beside a naive
//! model that was written from the promises.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use tokenwatch::domain::alert::{Notice, NotifyReason};
use tokenwatch::domain::finding::Reason::{self, RenewalFailed, RenewalOverdue, RenewalWithoutGain};
use tokenwatch::domain::finding::Severity::{self, Critical, Info, Warning};
use tokenwatch::domain::finding::{Detail, Thread};
use tokenwatch::domain::inspection::{
    AppFault, Cause, CheckError, CheckOutcome, Expiry, Grant, Inspection, TokenKind, Validity,
};
use tokenwatch::domain::proof::{self, Objection};
use tokenwatch::domain::renewal::{
    self, Bell, DEFAULT_FLOOR, Ended, Kept, Mark, Method, Origin, Outcome, Refusal, RenewPolicy, Report, When,
};
use tokenwatch::domain::step::{Observation, Step};
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::domain::token::{AppName, Fingerprint, Lead, Policy, Required, Rhythm, TokenId, TokenSpec, TypedEnd};

use super::fates::seconds;
use super::lives::config;
use super::{DAY, HOUR, MINUTE, SCOPE, START, Slot, Word, answer, at, checked, failed, spec, valid_until, words};

const QUIET: [Word; 0] = [];

/// What may go wrong with a wish, in the order in which it is told: the first reason wins.
#[test]
fn of_several_reasons_against_a_renewal_the_first_is_told() {
    type Spoil = fn(&mut Slot);
    let order: [(Refusal, Spoil); 10] = [
        (Refusal::NotConfigured, |slot| slot.spec.renew = None),
        (Refusal::UnderWay, |slot| slot.status.renewal.run = Some(mark(1))),
        (Refusal::NoApp, |slot| slot.spec.app = None),
        (Refusal::Source("gone".into()), |slot| slot.status.source_fault = Some("gone".into())),
        (Refusal::Foreign, |slot| slot.status.foreign = Some("theirs".into())),
        (Refusal::App("the app is blocked by its provider".into()), |slot| {
            slot.status.last_error = Some(CheckError::App(AppFault::Blocked, "".into()));
        }),
        (Refusal::NotVerified, |slot| slot.status.generation.number += 1),
        (Refusal::Kind("app".into()), |slot| known(slot).kind = TokenKind::App),
        (Refusal::Expired, |slot| known(slot).validity = Validity::Expired),
        (Refusal::TooSoon(at(DAY + 60)), |slot| slot.status.renewal.last = Some(ended(DAY, Outcome::Failed))),
    ];
    for (n, (expected, _)) in order.iter().enumerate() {
        let mut slot = renewable(Lead::Before(Span::days(20)));
        slot.see(0, checked(1, user(60 * DAY)));
        for (_, spoil) in &order[n..] {
            spoil(&mut slot);
        }
        assert_eq!(may(&slot, DAY), Err(expected.clone()));
        assert!(expected.to_string().starts_with(|c: char| c.is_ascii_lowercase()), "{expected}");
    }
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.see(0, checked(1, user(60 * DAY)));
    assert_eq!(may(&slot, DAY), Ok(Method::Exchange));
}

#[test]
fn what_is_known_of_a_token_decides_whether_and_how_it_is_renewed() {
    type Change = fn(&mut Slot);
    let table: [(Result<Method, Refusal>, Change); 19] = [
        (Ok(Method::Refresh), |slot| known(slot).kind = TokenKind::SystemUser),
        (Err(Refusal::NoUserToken), |slot| known(slot).kind = TokenKind::Page),
        (Ok(Method::Reread), page),
        (Ok(Method::Reread), |slot| {
            page(slot);
            known(slot).expires = Expiry::Never;
        }),
        (Ok(Method::Reread), |slot| {
            page(slot);
            known(slot).validity = Validity::Revoked(Cause::RoleLost);
        }),
        (Err(Refusal::Kind("unknown".into())), |slot| known(slot).kind = TokenKind::Unknown),
        (Err(Refusal::Kind("robot".into())), |slot| known(slot).kind = TokenKind::Other("robot".into())),
        (Err(Refusal::NeverExpires), |slot| known(slot).expires = Expiry::Never),
        (Err(Refusal::UnknownExpiry), |slot| known(slot).expires = Expiry::Unknown),
        (Err(Refusal::Expired), |slot| known(slot).expires = Expiry::At(at(DAY))),
        (Ok(Method::Exchange), |slot| known(slot).expires = Expiry::At(at(DAY + 1))),
        (Err(Refusal::Dead), |slot| known(slot).validity = Validity::Revoked(Cause::LoggedOut)),
        (Err(Refusal::Dead), |slot| known(slot).validity = Validity::Unreadable),
        (Err(Refusal::NotVerified), |slot| slot.status.facts = None),
        (Err(Refusal::Throttled(at(DAY + 1))), |slot| {
            slot.status.last_error = Some(CheckError::Throttled(at(DAY + 1)));
        }),
        (Ok(Method::Exchange), |slot| slot.status.last_error = Some(CheckError::Throttled(at(DAY)))),
        (Ok(Method::Exchange), |slot| slot.status.last_error = Some(CheckError::Unavailable("503".into()))),
        (Ok(Method::Exchange), |slot| slot.status.renewal.last = Some(ended(DAY - 60, Outcome::Failed))),
        (Err(Refusal::TooSoon(at(DAY + 1))), |slot| {
            slot.status.renewal.last = Some(ended(DAY - 59, Outcome::Renewed));
        }),
    ];
    for (expected, change) in table {
        let mut slot = renewable(Lead::Before(Span::days(20)));
        slot.see(0, checked(1, user(60 * DAY)));
        change(&mut slot);
        assert_eq!(may(&slot, DAY), expected, "{:?}", slot.status.facts);
        let seen = known(&mut slot).clone();
        let last_look = renewal::method(&slot.spec, &seen, at(DAY));
        match expected {
            Err(Refusal::NotVerified | Refusal::Throttled(_) | Refusal::TooSoon(_)) => {}
            expected => assert_eq!(last_look, expected, "the last look agrees"),
        }
    }
}

#[test]
fn a_pause_that_the_provider_asked_for_holds_renewals_back() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.see(0, checked(1, user(60 * DAY)));
    let due = due(&slot);
    slot.see(due - 60, failed(1, CheckError::Throttled(at(due + HOUR))));
    slot.see(due + HOUR, Observation::Deferred(at(due + 2 * HOUR)));
    assert_eq!(may(&slot, due + 2 * HOUR - 1), Err(Refusal::Throttled(at(due + 2 * HOUR))), "the longer pause counts");
    assert!(slot.see(due + 2 * HOUR, checked(1, user(60 * DAY))).run.is_some());
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.see(0, checked(1, user(60 * DAY)));
    slot.see(due - 60, failed(1, CheckError::Unavailable("503".into())));
    assert!(slot.see(due, Observation::Deferred(at(due + HOUR))).run.is_none(), "it asked everyone to stay away");
    assert!(slot.see(due, Observation::Queued(at(due + HOUR))).run.is_none(), "others are before it");
    assert!(slot.see(due + HOUR, failed(1, CheckError::Unavailable("503".into()))).run.is_some());
}

#[test]
fn what_an_exchange_gave_is_the_same_in_everything_but_its_end() {
    type Change = fn(&mut Inspection, &mut Inspection);
    let table: [(Result<(), Objection>, Change); 29] = [
        (Ok(()), |_, _| {}),
        (Ok(()), |_, new| new.expires = Expiry::At(at(60 * DAY + 60))),
        (Err(Objection::NoGain), |_, new| new.expires = Expiry::At(at(60 * DAY + 59))),
        (Err(Objection::NoGain), |old, new| new.expires = old.expires),
        (Err(Objection::NoGain), |_, new| new.expires = Expiry::At(at(DAY))),
        (Err(Objection::NoGain), |old, new| (old.expires, new.expires) = (Expiry::Never, Expiry::At(at(60 * DAY)))),
        (Err(Objection::NoGain), |old, new| (old.expires, new.expires) = (Expiry::Never, Expiry::Never)),
        (Ok(()), |_, new| new.expires = Expiry::Never),
        (Ok(()), |old, _| old.expires = Expiry::Unknown),
        (Err(Objection::UnknownEnd), |_, new| new.expires = Expiry::Unknown),
        (Err(Objection::NotValid(Validity::Expired)), |_, new| new.validity = Validity::Expired),
        (Err(Objection::NotValid(Validity::Unreadable)), |_, new| new.validity = Validity::Unreadable),
        (Err(Objection::OtherApp), |_, new| new.app_id = Some("other".into())),
        (Err(Objection::OtherUser), |_, new| new.user_id = Some("other".into())),
        (Err(Objection::OtherPage), |_, new| new.profile_id = Some("other".into())),
        (Ok(()), |_, new| (new.app_id, new.user_id, new.profile_id) = (None, None, None)),
        (Err(Objection::OtherKind(TokenKind::User, TokenKind::SystemUser)), |_, new| new.kind = TokenKind::SystemUser),
        (Ok(()), |old, _| old.kind = TokenKind::Unknown),
        (Ok(()), |_, new| new.kind = TokenKind::Unknown),
        (Err(Objection::Missing(vec![SCOPE.into()])), |_, new| new.grants = Some(Vec::new())),
        (Ok(()), |_, new| new.grants = None),
        (Ok(()), |old, _| old.grants = None),
        (Ok(()), |_, new| new.grants = Some(vec![grant(SCOPE, None), grant("more", None)])),
        (Err(Objection::NotCovered(vec![SCOPE.into()])), |_, new| {
            new.grants = Some(vec![grant(SCOPE, Some(&["1"]))]);
        }),
        (Err(Objection::NotCovered(vec!["2".into()])), |old, new| {
            old.grants = Some(vec![grant(SCOPE, Some(&["1", "2"]))]);
            new.grants = Some(vec![grant(SCOPE, Some(&["1", "3"]))]);
        }),
        (Ok(()), |old, _| old.grants = Some(vec![grant(SCOPE, Some(&["1"]))])),
        // A page token without an end, read again; and one that had died.
        (Ok(()), |old, new| {
            (old.kind, new.kind) = (TokenKind::Page, TokenKind::Page);
            (old.expires, new.expires) = (Expiry::Never, Expiry::Never);
        }),
        (Ok(()), |old, new| {
            (old.kind, new.kind, old.validity) =
                (TokenKind::Page, TokenKind::Page, Validity::Revoked(Cause::LoggedOut));
            new.expires = old.expires;
        }),
        (Err(Objection::NoGain), |old, new| {
            (old.kind, new.kind) = (TokenKind::Page, TokenKind::Page);
            (old.expires, new.expires) = (Expiry::Never, Expiry::At(at(60 * DAY)));
        }),
    ];
    for (n, (expected, change)) in table.into_iter().enumerate() {
        let (mut old, mut new) = (full(60 * DAY), full(100 * DAY));
        change(&mut old, &mut new);
        assert_eq!(proof::of_exchange(Some(&old), &new, None), expected, "row {n}");
    }
    assert_eq!(proof::of_exchange(None, &full(DAY), None), Ok(()), "of what is not known nothing is missed");
}

#[test]
fn what_a_person_brings_is_named_all_at_once_and_what_is_hard_alone() {
    type Change = fn(&mut Inspection, &mut Inspection);
    let required = Required { scopes: vec![SCOPE.into()], targets: vec!["7".into()], ..Required::default() };
    let kinds = |old, new| Objection::OtherKind(old, new);
    let table: [(Vec<Objection>, Change); 21] = [
        (vec![], |_, _| {}),
        (vec![], |_, new| new.expires = Expiry::At(at(60 * DAY))),
        (vec![Objection::NoGain], |_, new| new.expires = Expiry::At(at(60 * DAY - 1))),
        (vec![Objection::NoGain], |old, _| old.expires = Expiry::Never),
        (vec![], |old, new| (old.expires, new.expires) = (Expiry::Never, Expiry::Never)),
        (vec![], |old, new| (old.expires, new.expires) = (Expiry::Unknown, Expiry::At(at(10 * DAY)))),
        (vec![], |old, new| {
            (old.validity, old.expires) = (Validity::Revoked(Cause::LoggedOut), Expiry::Never);
            new.expires = Expiry::At(at(10 * DAY));
        }),
        (vec![Objection::Short(Span::seconds(2 * DAY - 1))], |_, new| new.expires = Expiry::At(at(2 * DAY - 1))),
        (vec![Objection::NoGain], |_, new| new.expires = Expiry::At(at(2 * DAY))),
        (vec![Objection::UnknownEnd], |_, new| new.expires = Expiry::Unknown),
        (vec![Objection::OtherPage], |_, new| new.profile_id = Some("other".into())),
        (vec![], |_, new| new.user_id = Some("other".into())),
        (vec![], |_, new| new.kind = TokenKind::SystemUser),
        (vec![kinds(TokenKind::SystemUser, TokenKind::User)], |old, _| old.kind = TokenKind::SystemUser),
        (vec![kinds(TokenKind::User, TokenKind::App)], |_, new| new.kind = TokenKind::App),
        (vec![], |_, new| new.kind = TokenKind::Unknown),
        (vec![Objection::NotCovered(vec!["7".into()])], |_, new| new.grants = Some(vec![grant(SCOPE, Some(&["8"]))])),
        (
            vec![
                Objection::Missing(vec![SCOPE.into()]),
                Objection::NotCovered(vec!["7".into()]),
                Objection::UnknownEnd,
            ],
            |_, new| (new.grants, new.expires) = (Some(Vec::new()), Expiry::Unknown),
        ),
        (vec![Objection::OtherApp], |_, new| {
            (new.app_id, new.grants, new.expires) = (Some("other".into()), Some(Vec::new()), Expiry::Unknown);
        }),
        (vec![Objection::NotValid(Validity::Unreadable)], |_, new| {
            (new.validity, new.app_id) = (Validity::Unreadable, Some("other".into()));
        }),
        (vec![Objection::NotValid(Validity::Expired)], |_, new| new.validity = Validity::Expired),
    ];
    for (n, (expected, change)) in table.into_iter().enumerate() {
        let (mut old, mut new) = (full(60 * DAY), full(100 * DAY));
        change(&mut old, &mut new);
        let objections = proof::of_replacement(&required, Some(&old), &new, at(0));
        assert_eq!(objections, expected, "row {n}");
        for objection in &objections {
            let hard = matches!(objection, Objection::NotValid(_) | Objection::OtherApp);
            assert_eq!(objection.is_hard(), hard, "{objection}");
            assert!(!hard || objections.len() == 1, "what is hard stands alone");
        }
    }
    assert_eq!(proof::of_replacement(&required, None, &full(100 * DAY), at(0)), vec![]);
}

#[test]
fn a_gain_is_a_later_end_and_never_an_end_of_what_has_none() {
    let date = |n| Expiry::At(at(n));
    for (old, new, gains) in [
        (date(0), date(60), true),
        (date(0), date(59), false),
        (date(0), date(0), false),
        (date(60), date(0), false),
        (date(0), Expiry::Never, true),
        (date(0), Expiry::Unknown, false),
        (Expiry::Unknown, date(0), true),
        (Expiry::Unknown, Expiry::Never, true),
        (Expiry::Unknown, Expiry::Unknown, false),
        (Expiry::Never, date(60 * DAY), false),
        (Expiry::Never, Expiry::Never, false),
        (Expiry::Never, Expiry::Unknown, false),
    ] {
        assert_eq!(renewal::gains(old, new), gains, "{old:?} {new:?}");
    }
}

#[test]
fn a_renewal_is_due_by_its_lead_a_little_earlier_and_never_later() {
    for (lead, lasts, asked, spread) in [
        (Lead::Before(Span::days(20)), 60 * DAY, 40 * DAY, 12 * HOUR),
        (Lead::Before(Span::days(2)), 60 * DAY, 58 * DAY, 2 * DAY / 10),
        (Lead::Share(5_000), 60 * DAY, 30 * DAY, 12 * HOUR),
        (Lead::Share(2_500), 4 * HOUR, 3 * HOUR, HOUR / 10),
    ] {
        let mut early = BTreeSet::new();
        for n in 0..1_000 {
            let mut slot = renewable(lead);
            slot.spec.id = TokenId::parse(&format!("token-{n}")).expect("a good name");
            slot.see(0, checked(1, user(lasts)));
            let by = asked - due(&slot);
            assert!((0..spread).contains(&by), "{by} of {spread} earlier");
            assert_eq!(due(&slot), asked - by, "it is stable");
            early.insert(by * 10 / spread);
        }
        assert_eq!(early.len(), 10, "they are spread over all of it");
    }
}

#[test]
fn what_has_no_end_to_come_is_never_due_by_a_lead() {
    let never = Inspection { kind: TokenKind::User, ..answer(Validity::Valid, Expiry::Never) };
    let unknown = Inspection { expires: Expiry::Unknown, ..never.clone() };
    let dead = Inspection { validity: Validity::Expired, ..user(60 * DAY) };
    let app = Inspection { kind: TokenKind::App, ..user(60 * DAY) };
    let bell = || When::OnBell(Bell::new("daily", |after| Some(daily(after))));
    for seen in [&never, &unknown, &dead, &app] {
        for when in [When::Before(Lead::Before(Span::days(20))), bell()] {
            let mut slot = renewed_when(when);
            slot.see(0, checked(1, seen.clone()));
            assert_eq!(renewal::due(&slot.spec, &slot.status), None, "{seen:?}");
            assert!(slot.see(50 * DAY, checked(1, seen.clone())).run.is_none());
        }
    }
    let mut slot = renewed_when(bell());
    page(&mut slot);
    slot.see(0, checked(1, Inspection { kind: TokenKind::Page, ..never }));
    assert!(renewal::due(&slot.spec, &slot.status).is_some(), "a page without an end is read again with the bell");
}

#[test]
fn after_a_bell_runs_begin_within_minutes_and_once_for_each_ring() {
    let mut slot = renewed_when(When::OnBell(Bell::new("daily", |after| Some(daily(after)))));
    slot.see(HOUR, checked(1, user(60 * DAY)));
    let first = due(&slot);
    assert!((DAY..DAY + 10 * MINUTE).contains(&first), "{first}");
    assert!(slot.see(first - 1, checked(1, user(60 * DAY))).run.is_none());
    assert_eq!(begins(&mut slot, first, user(60 * DAY)), 1);
    ends(&mut slot, first + 30, 1, Outcome::Renewed, Some((2, user(61 * DAY))));
    assert_eq!(due(&slot), first + DAY);
    // What failed is tried again, and the ring counts until it is answered.
    slot.see(first + DAY, checked(2, user(61 * DAY)));
    ends(&mut slot, first + DAY + 30, 2, Outcome::Failed, None);
    assert_eq!(due(&slot), first + DAY);
    let mut spread = BTreeSet::new();
    for n in 0..1_000 {
        slot.spec.id = TokenId::parse(&format!("token-{n}")).expect("a good name");
        spread.insert((due(&slot) - 2 * DAY) / 60);
    }
    assert_eq!(spread, (0..10).collect());
}

/// A lead that is longer than what the provider gives would renew the token at every look.
#[test]
fn what_was_renewed_is_left_in_peace() {
    for lead in [Lead::Before(Span::days(70)), Lead::Before(Span::days(60)), Lead::Share(9_990)] {
        let mut slot = renewable(lead);
        let runs = works_for(&mut slot, 400 * DAY, |now| now + 60 * DAY, true);
        assert!((10..20).contains(&runs), "{runs} runs in 400 days");
    }
    // A secret that stays the same while its end moves does not age by that.
    let mut slot = renewable(Lead::Share(3_300));
    let runs = works_for(&mut slot, 400 * DAY, |now| now + 60 * DAY, false);
    assert!((9..=11).contains(&runs), "{runs} runs in 400 days");
    // What gains minutes only is not asked for them again and again.
    let mut slot = renewable(Lead::Before(Span::days(20)));
    let runs = works_for(&mut slot, 59 * DAY, |now| 60 * DAY + now / 1_000, true);
    assert!((2..20).contains(&runs), "{runs} runs");
}

#[test]
fn a_short_lived_token_is_exchanged_at_once() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    assert!(slot.see(0, checked(1, user(HOUR))).run.is_some());
}

#[test]
fn retries_keep_to_the_floor_and_to_the_time_that_is_left() {
    let outcomes = [Outcome::Failed, Outcome::Refused, Outcome::RolledBack, Outcome::WithoutGain];
    for floor in [MINUTE, 10 * MINUTE, 6 * HOUR] {
        for left in [1, 59, 61, 2 * MINUTE, HOUR, DAY, 3 * DAY, 20 * DAY, 50 * DAY] {
            for (name, outcome, failures) in ["a", "b", "helpdesk", "whatsapp"].into_iter().flat_map(|name| {
                outcomes.into_iter().flat_map(move |outcome| (1..20).map(move |failures| (name, outcome, failures)))
            }) {
                let mut slot = with_floor(floor);
                slot.spec.id = TokenId::parse(name).expect("a good name");
                slot.see(0, checked(1, user(60 * DAY)));
                let now = at(60 * DAY - left);
                let wait = renewal::retry_at(&slot.spec, &slot.status, outcome, failures, now).since(now).as_seconds();
                assert!(wait >= floor, "{wait} s, faster than {floor}");
                assert!(wait < left || left <= floor, "{wait} s of {left} s left");
                assert!(wait <= (left / 8).min(DAY).max(floor + floor / 4), "{wait} s: too long, of {left} s");
                if outcome == Outcome::WithoutGain || failures > 12 {
                    assert!(wait >= (left / 8).min(DAY) * 4 / 5 - 4, "{wait} s: it will not change its mind so soon");
                }
                if outcome != Outcome::WithoutGain && failures < 4 && left > 20 * DAY {
                    assert!(wait <= (floor << (failures - 1)) * 5 / 4, "{wait} s: the first tries come soon");
                }
            }
        }
    }
}

#[test]
fn retries_come_ever_later_and_two_tokens_do_not_stay_together() {
    let wait = |name: &str, outcome, failures, left: i64| {
        let mut slot = renewable(Lead::Before(Span::days(20)));
        slot.spec.id = TokenId::parse(name).expect("a good name");
        slot.see(0, checked(1, user(60 * DAY)));
        let now = at(60 * DAY - left);
        renewal::retry_at(&slot.spec, &slot.status, outcome, failures, now).since(now).as_seconds()
    };
    let waits: Vec<i64> = (1..=14).map(|n| wait("a", Outcome::Failed, n, 20 * DAY)).collect();
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]) && waits[0] < waits[6], "{waits:?}");
    for (outcome, failures, left) in [
        (Outcome::Failed, 1, 20 * DAY),
        (Outcome::Failed, 1, 5 * MINUTE),
        (Outcome::RolledBack, 4, 20 * DAY),
        (Outcome::Failed, 14, 20 * DAY),
        (Outcome::WithoutGain, 1, 20 * DAY),
    ] {
        let waits: BTreeSet<i64> = (0..100).map(|n| wait(&format!("token-{n}"), outcome, failures, left)).collect();
        assert!(waits.len() > 10, "{outcome:?}: {waits:?}");
    }
}

// promises 55, 57
#[test]
fn overdue_is_told_after_its_grace_and_says_why() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.spec.app = None;
    slot.see(0, checked(1, user(60 * DAY)));
    let due = due(&slot);
    let grace = DAY;
    let before = slot.see(due, checked(1, user(60 * DAY)));
    assert!(before.run.is_none() && before.judgement.find(RenewalOverdue).is_none());
    assert!(slot.see(due + grace - 300, checked(1, user(60 * DAY))).wake <= at(due + grace));
    assert_eq!(of_renewal(&slot.see(due + grace - 1, checked(1, user(60 * DAY)))), QUIET);
    let told = slot.see(due + grace, checked(1, user(60 * DAY)));
    assert_eq!(of_renewal(&told), [(NotifyReason::First, RenewalOverdue, Warning)]);
    let finding = told.judgement.find(RenewalOverdue).expect("it is overdue");
    assert_eq!(finding.detail, Detail::Text(Refusal::NoApp.to_string().into()));
    let late = slot.see(57 * DAY, checked(1, user(60 * DAY)));
    assert!(of_renewal(&late).contains(&(NotifyReason::Escalated, RenewalOverdue, Critical)));
    // A run that begins is no success: the word comes with the end of the run, and only there.
    slot.spec.app = Some(app());
    let begun = slot.see(57 * DAY + 60, checked(1, user(60 * DAY)));
    assert!(begun.run.is_some());
    assert_eq!(begun.judgement.find(RenewalOverdue), None, "it is given its time");
    assert_eq!(of_renewal(&begun), QUIET);
    let done = ends(&mut slot, 57 * DAY + 120, 1, Outcome::Renewed, Some((2, user(117 * DAY))));
    assert_eq!(of_renewal(&done), [(NotifyReason::Resolved, RenewalOverdue, Critical)]);
    assert!(!heard_renewed(&done));
}

// promise 55
#[test]
fn a_secret_that_came_late_is_not_overdue_at_once() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.see(0, checked(1, user(60 * DAY)));
    slot.see(DAY, Observation::Asked(Origin::Replaced("ada".into())));
    let done = ends(&mut slot, DAY + 60, 1, Outcome::Renewed, Some((2, user(10 * DAY))));
    assert_eq!(of_renewal(&done), QUIET);
    let next = renewal::next_run(&slot.spec, &done.status);
    assert_eq!(next, Some(at(DAY + 120)), "it is within its lead, and renewed as soon as the floor allows");
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.spec.app = None;
    assert_eq!(of_renewal(&slot.see(0, checked(1, user(10 * DAY)))), QUIET);
    assert_eq!(of_renewal(&slot.see(2 * DAY, checked(1, user(10 * DAY)))).len(), 1);
}

// promises 54, 57
#[test]
fn a_failure_warns_turns_critical_as_time_runs_out_and_ends_with_a_success() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.see(0, checked(1, user(60 * DAY)));
    let due = due(&slot);
    let number = begins(&mut slot, due, user(60 * DAY));
    let failed = ends(&mut slot, due + 30, number, Outcome::Failed, None);
    assert_eq!(of_renewal(&failed), [(NotifyReason::First, RenewalFailed, Warning)]);
    assert_eq!(failed.judgement.find(RenewalFailed).map(|finding| &finding.detail), Some(&Detail::Text("why".into())));
    let next = renewal::next_run(&slot.spec, &failed.status).expect("another try");
    assert!((due + 90..=due + 105).contains(&seconds(next)), "it is tried again soon");
    slot.spec.renew = Some(Arc::new(RenewPolicy { floor: Span::days(30), ..policy_of(&slot) }));
    assert_eq!(of_renewal(&slot.see(57 * DAY - 1, checked(1, user(60 * DAY)))), QUIET);
    let late = slot.see(57 * DAY, checked(1, user(60 * DAY)));
    assert!(of_renewal(&late).contains(&(NotifyReason::Escalated, RenewalFailed, Critical)));
    slot.spec.renew = Some(Arc::new(RenewPolicy { floor: DEFAULT_FLOOR, ..policy_of(&slot) }));
    let number = begins(&mut slot, 57 * DAY + 60, user(60 * DAY));
    let done = ends(&mut slot, 57 * DAY + 120, number, Outcome::Renewed, Some((2, user(117 * DAY))));
    assert_eq!(of_renewal(&done), [(NotifyReason::Resolved, RenewalFailed, Critical)]);
    assert!(!heard_renewed(&done), "one word is enough");
}

#[test]
fn a_look_is_due_when_a_try_is() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.spec.rhythm = Rhythm::Every(Span::days(1));
    slot.see(0, checked(1, user(60 * DAY)));
    let due_at = due(&slot);
    assert!(slot.see(due_at - 5, checked(1, user(60 * DAY))).wake <= at(due_at));
    let number = begins(&mut slot, due_at, user(60 * DAY));
    ends(&mut slot, due_at + 30, number, Outcome::Failed, None);
    let next = slot.status.renewal.next_try.expect("another try");
    let look = slot.see(due_at + 40, checked(1, user(60 * DAY)));
    assert_eq!(look.wake, next);
    // A page that is read again stays as it is, and what failed before is forgotten all the same.
    let mut slot = renewed_when(When::OnBell(Bell::new("daily", |after| Some(daily(after)))));
    page(&mut slot);
    let owned = || Inspection { kind: TokenKind::Page, ..answer(Validity::Valid, Expiry::Never) };
    slot.see(0, checked(1, owned()));
    slot.see(60, Observation::Asked(Origin::Asked("ada".into())));
    ends(&mut slot, 90, 1, Outcome::Failed, None);
    assert!(slot.status.renewal.next_try.is_some());
    slot.see(200, Observation::Asked(Origin::Asked("ada".into())));
    let number = slot.status.renewal.count;
    ends(&mut slot, 230, number, Outcome::Renewed, Some((1, owned())));
    assert_eq!((slot.status.renewal.next_try, slot.status.renewal.failures), (None, 0));
}

// promise 54
#[test]
fn the_time_that_is_left_decides_when_a_failure_is_critical() {
    for (lead, lasts, critical) in [
        (20 * DAY, 60 * DAY, 3 * DAY),
        (2 * DAY, 60 * DAY, 2 * DAY),
        (8 * DAY, 60 * DAY, 3 * DAY),
        (2 * HOUR, 5 * HOUR, HOUR / 2),
    ] {
        let mut slot = renewable(Lead::Before(Span::seconds(lead)));
        slot.see(0, checked(1, user(lasts)));
        let due = due(&slot);
        begins(&mut slot, due, user(lasts));
        ends(&mut slot, due + 1, 1, Outcome::Failed, None);
        let share = (lasts - due) / 4;
        let critical = if lasts > 7 * DAY { critical } else { critical.max(share) };
        slot.spec.renew = Some(Arc::new(RenewPolicy { floor: Span::days(30), ..policy_of(&slot) }));
        let severity = |slot: &mut Slot, seconds| {
            let step = slot.see(seconds, checked(1, user(lasts)));
            step.judgement.find(RenewalFailed).map(|finding| finding.severity)
        };
        if critical < lead {
            assert_eq!(severity(&mut slot, lasts - critical - 1), Some(Warning));
        }
        assert_eq!(severity(&mut slot, lasts - critical + 1), Some(Critical));
    }
}

// promise 54
#[test]
fn a_stuck_run_is_critical_at_once() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.see(0, checked(1, user(60 * DAY)));
    let due = due(&slot);
    begins(&mut slot, due, user(60 * DAY));
    assert_eq!(of_renewal(&slot.see(due + 5, Observation::Stuck(7, Some("late".into())))), QUIET, "of another run");
    let stuck = slot.see(due + 10, Observation::Stuck(1, Some("the file cannot be written".into())));
    assert_eq!(of_renewal(&stuck), [(NotifyReason::First, RenewalFailed, Critical)]);
    let back = ends(&mut slot, due + HOUR, 1, Outcome::RolledBack, None);
    assert_eq!(of_renewal(&back), QUIET, "it goes on, and is no worse");
    assert!(back.judgement.find(RenewalFailed).is_some());
}

// promise 54
#[test]
fn a_success_without_gain_is_told_as_that() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.see(0, checked(1, user(60 * DAY)));
    let due = due(&slot);
    begins(&mut slot, due, user(60 * DAY));
    let vain = ends(&mut slot, due + 30, 1, Outcome::WithoutGain, None);
    assert_eq!(of_renewal(&vain), [(NotifyReason::First, RenewalWithoutGain, Warning)]);
    // The end moves after all, and nobody knows why.
    let moved = slot.see(due + HOUR, checked(1, user(100 * DAY)));
    assert_eq!(of_renewal(&moved), [(NotifyReason::Resolved, RenewalWithoutGain, Warning)]);
    assert_eq!(renewal::next_run(&slot.spec, &slot.status), renewal::due(&slot.spec, &slot.status));
}

// promise 58
#[test]
fn a_new_secret_by_hand_ends_the_incident_and_the_death_of_the_token_takes_its_place() {
    let vain = || {
        let mut slot = renewable(Lead::Before(Span::days(20)));
        slot.see(0, checked(1, user(60 * DAY)));
        let due = due(&slot);
        begins(&mut slot, due, user(60 * DAY));
        ends(&mut slot, due + 30, 1, Outcome::Failed, None);
        slot
    };
    let mut slot = vain();
    let step = slot.see(41 * DAY, checked(2, user(100 * DAY)));
    assert_eq!(of_renewal(&step), [(NotifyReason::Resolved, RenewalFailed, Warning)]);
    assert_eq!((slot.status.renewal.failures, slot.status.renewal.next_try), (0, None));
    // Another one in the slot that is due at once: what failed was about the old one.
    let mut slot = vain();
    let step = slot.see(41 * DAY, checked(2, user(50 * DAY)));
    assert!(step.run.is_some());
    assert_eq!(of_renewal(&step), [(NotifyReason::Resolved, RenewalFailed, Warning)]);
    let mut slot = vain();
    let step = slot.see(60 * DAY, failed(1, CheckError::Unavailable("503".into())));
    assert!(step.run.is_none() && slot.status.ledger.of(Thread::Renewal).is_none());
    assert!(
        words(&step.notices)
            .iter()
            .all(|(why, reason, _)| { *why != NotifyReason::Resolved && reason.thread() != Thread::Renewal })
    );
}

// promise 58
#[test]
fn a_bad_secret_by_hand_neither_ends_an_incident_nor_begins_one() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.see(0, checked(1, user(60 * DAY)));
    slot.see(DAY, Observation::Asked(Origin::Replaced("ada".into())));
    assert_eq!(of_renewal(&ends(&mut slot, DAY + 1, 1, Outcome::Refused, None)), QUIET);
    let due = due(&slot);
    begins(&mut slot, due, user(60 * DAY));
    assert_eq!(of_renewal(&ends(&mut slot, due + 30, 2, Outcome::Failed, None)).len(), 1);
    let next = slot.status.renewal.next_try;
    slot.see(due + 40, Observation::Asked(Origin::Replaced("ada".into())));
    let refused = ends(&mut slot, due + 41, 3, Outcome::Refused, None);
    assert_eq!(of_renewal(&refused), QUIET);
    assert!(refused.judgement.find(RenewalFailed).is_some(), "it is still not renewed");
    assert_eq!((slot.status.renewal.next_try, slot.status.renewal.failures), (next, 1), "and is tried as before");
    slot.see(due + 50, Observation::Asked(Origin::Replaced("ada".into())));
    assert!(ends(&mut slot, due + 51, 4, Outcome::RolledBack, None).judgement.find(RenewalFailed).is_some());
}

// promise 56
#[test]
fn before_it_is_committed_a_new_secret_changes_nothing() {
    for (secret, what) in [(2, "another secret"), (1, "the same with a later end")] {
        let mut slot = renewable(Lead::Before(Span::days(20)));
        slot.see(0, checked(1, user(60 * DAY)));
        slot.spec.app = None;
        slot.see(58 * DAY, checked(1, user(60 * DAY)));
        slot.spec.app = Some(app());
        begins(&mut slot, 58 * DAY + 60, user(60 * DAY));
        let open: Vec<_> = slot.status.ledger.incidents.iter().map(|incident| incident.thread).collect();
        assert_eq!(open, [Thread::Expiry, Thread::Renewal]);
        let look = slot.see(58 * DAY + 70, checked(secret, user(118 * DAY)));
        assert_eq!(words(&look.notices), QUIET, "{what}");
        assert!(look.wake > at(58 * DAY + 70 + 30), "it is looked at no more often than any token");
        assert_eq!(slot.status.ledger.incidents.len(), 2, "{what}");
        let done = ends(&mut slot, 58 * DAY + 90, 1, Outcome::Renewed, Some((secret, user(118 * DAY))));
        let resolved = words(&done.notices).iter().filter(|(why, ..)| *why == NotifyReason::Resolved).count();
        assert_eq!((resolved, done.notices.len()), (2, 2), "{what}");
        assert!(slot.status.ledger.incidents.is_empty());
    }
    // A run that hangs hides no death, and no life either.
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.see(0, checked(1, user(60 * DAY)));
    begins(&mut slot, 59 * DAY, user(60 * DAY));
    let look = slot.see(60 * DAY, checked(1, user(118 * DAY)));
    assert_eq!(look.judgement.find(Reason::Expired), None);
}

// promise 57
#[test]
fn a_success_is_told_with_one_word() {
    let mut slot = renewable(Lead::Before(Span::days(30)));
    slot.see(0, checked(1, user(60 * DAY)));
    let due = due(&slot);
    begins(&mut slot, due, user(60 * DAY));
    let done = ends(&mut slot, due + 30, 1, Outcome::Renewed, Some((2, user(90 * DAY))));
    assert_eq!(words(&done.notices), [(NotifyReason::First, Reason::Renewed, Info)]);
    assert!(done.run.is_none());
}

#[test]
fn a_clock_that_moves_back_loses_no_try_repeats_none_and_ends_nothing() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.see(0, checked(1, user(60 * DAY)));
    let due = due(&slot);
    begins(&mut slot, due + HOUR, user(60 * DAY));
    ends(&mut slot, due + HOUR + 30, 1, Outcome::Failed, None);
    let wait = slot.status.renewal.next_try.expect("a next try").since(at(due + HOUR + 30)).as_seconds();
    let now = due + 60;
    assert!(slot.see(now, checked(1, user(60 * DAY))).run.is_none(), "it was tried a moment ago");
    assert!(slot.see(now + wait - 1, checked(1, user(60 * DAY))).run.is_none());
    assert!(slot.see(now + wait, checked(1, user(60 * DAY))).run.is_some());
    // An incident that began later than now is not over by that.
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.spec.app = None;
    slot.see(0, checked(1, user(60 * DAY)));
    assert_eq!(of_renewal(&slot.see(due + 2 * DAY, checked(1, user(60 * DAY)))).len(), 1);
    for seconds in [due + DAY, due + HOUR, due - DAY, due + 2 * DAY, due + 3 * DAY] {
        assert_eq!(of_renewal(&slot.see(seconds, checked(1, user(60 * DAY)))), QUIET, "{seconds}");
        assert!(slot.status.ledger.of(Thread::Renewal).is_some());
    }
    // A success there ends it all the same.
    let mut slot = slot;
    slot.spec.app = Some(app());
    begins(&mut slot, due + HOUR, user(60 * DAY));
    let done = ends(&mut slot, due + HOUR + 60, 1, Outcome::Renewed, Some((1, user(99 * DAY))));
    assert_eq!(of_renewal(&done).len(), 1);
    assert!(!heard_renewed(&done) && slot.status.ledger.of(Thread::Renewal).is_none());
}

#[test]
fn one_run_at_a_time() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.see(0, checked(1, user(60 * DAY)));
    let due = due(&slot);
    assert!(slot.see(DAY, Observation::Asked(Origin::Asked("ada".into()))).run.is_some(), "asked for before it is due");
    for origin in [Origin::Asked("ada".into()), Origin::Replaced("ada".into())] {
        let step = slot.see(DAY + 1, Observation::Asked(origin));
        assert_eq!((step.run, step.declined), (None, Some(Refusal::UnderWay)));
    }
    assert!(slot.see(due, checked(1, user(60 * DAY))).run.is_none());
    ends(&mut slot, due + 1, 2, Outcome::Failed, None);
    assert!(slot.status.renewal.run.is_some(), "another run ended");
    ends(&mut slot, due + 2, 1, Outcome::Failed, None);
    let soon = slot.see(due + 3, Observation::Asked(Origin::Asked("ada".into())));
    assert_eq!(soon.declined, Some(Refusal::TooSoon(at(due + 62))));
    assert!(slot.see(due + 3, Observation::Asked(Origin::Replaced("ada".into()))).run.is_some());
}

fn app() -> AppName {
    AppName::parse("helpdesk").expect("a good name")
}

fn renewed_when(when: When) -> Slot {
    let mut slot = Slot::new(Policy { repeat: Span::ZERO, ..Policy::default() });
    slot.spec.app = Some(app());
    slot.spec.renew = Some(Arc::new(RenewPolicy { when, floor: DEFAULT_FLOOR, user_token: None, rotation: None }));
    slot
}

fn renewable(lead: Lead) -> Slot {
    renewed_when(When::Before(lead))
}

fn with_floor(floor: i64) -> Slot {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.spec.renew = Some(Arc::new(RenewPolicy { floor: Span::seconds(floor), ..policy_of(&slot) }));
    slot
}

fn policy_of(slot: &Slot) -> RenewPolicy {
    slot.spec.renew.as_deref().expect("a policy").clone()
}

fn page(slot: &mut Slot) {
    let user_token = Some(TokenId::parse("owner").expect("a good name"));
    slot.spec.renew = Some(Arc::new(RenewPolicy { user_token, ..policy_of(slot) }));
    if slot.status.facts.is_some() {
        known(slot).kind = TokenKind::Page;
    }
}

fn user(end: i64) -> Inspection {
    Inspection { kind: TokenKind::User, ..valid_until(end) }
}

/// A token of which everything is known.
fn full(end: i64) -> Inspection {
    Inspection {
        app_id: Some("app".into()),
        user_id: Some("user".into()),
        profile_id: Some("page".into()),
        ..user(end)
    }
}

fn grant(scope: &str, targets: Option<&[&str]>) -> Grant {
    Grant { scope: scope.into(), targets: targets.map(|list| list.iter().map(|target| Box::from(*target)).collect()) }
}

fn known(slot: &mut Slot) -> &mut Inspection {
    let unknown = || tokenwatch::domain::status::Facts::new(0, user(60 * DAY), None, at(0));
    &mut slot.status.facts.get_or_insert_with(unknown).inspection
}

fn may(slot: &Slot, seconds: i64) -> Result<Method, Refusal> {
    renewal::may_renew(&slot.spec, &slot.status, at(seconds))
}

#[test]
fn what_a_run_left_behind_is_known_to_the_next_one() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    let first = begins(&mut slot, 45 * DAY, user(60 * DAY));
    let ends = Some(at(90 * DAY));
    let left = Report {
        number: first,
        outcome: Outcome::Failed,
        text: "why".into(),
        proved: None,
        error: None,
        kept: Some(Kept { ends }),
    };
    slot.see(45 * DAY + 1, Observation::Ended(left));
    let next = slot.see(46 * DAY, checked(1, user(60 * DAY))).run.expect("it begins");
    assert_eq!((next.only_copy, next.given_end), (true, ends));
    slot.see(46 * DAY + 1, report(next.number, Outcome::Renewed, Some((2, user(90 * DAY)))));
    assert_eq!(slot.status.renewal.kept, None);
}

#[test]
fn what_somebody_typed_is_not_about_a_secret_that_a_run_gave() {
    let mut slot = renewable(Lead::Before(Span::days(20)));
    slot.spec.expires = Some(TypedEnd { at: at(60 * DAY), alone: false });
    let untold = || answer(Validity::Valid, Expiry::Unknown);
    let full = || Inspection { kind: TokenKind::User, ..untold() };
    assert_eq!(begins(&mut slot, 0, full()), 0);
    let first = begins(&mut slot, 45 * DAY, full());
    let known = |step: &Step| step.status.current_facts().map(|facts| facts.expires);
    let renewed = ends(&mut slot, 45 * DAY + 1, first, Outcome::Renewed, Some((2, untold())));
    assert_eq!(known(&renewed), Some(Expiry::Unknown));
    // A run that came to nothing gave nothing, and what was given before it stays given.
    slot.see(46 * DAY, Observation::Asked(Origin::Replaced("ada".into())));
    let failed = ends(&mut slot, 46 * DAY + 1, first + 1, Outcome::RolledBack, None);
    assert_eq!(known(&failed), Some(Expiry::Unknown));
    assert_eq!(known(&slot.see(47 * DAY, checked(2, untold()))), Some(Expiry::Unknown));
    // A secret that a person brings is the one that the date was typed for.
    assert_eq!(known(&slot.see(48 * DAY, checked(3, untold()))), Some(Expiry::At(at(60 * DAY))));
}

fn due(slot: &Slot) -> i64 {
    seconds(renewal::due(&slot.spec, &slot.status).expect("it is due some day"))
}

/// The next midnight.
fn daily(after: Timestamp) -> Timestamp {
    at((seconds(after).div_euclid(DAY) + 1) * DAY)
}

fn mark(number: u32) -> Mark {
    Mark { number, since: START, origin: Origin::Schedule, stuck: None }
}

fn ended(seconds: i64, outcome: Outcome) -> Ended {
    Ended { at: at(seconds), outcome, text: "why".into(), origin: Origin::Schedule, generation: 1 }
}

/// A look at the first secret by which a run begins; its number, 0 when none does.
fn begins(slot: &mut Slot, seconds: i64, seen: Inspection) -> u32 {
    slot.see(seconds, checked(1, seen)).run.map_or(0, |run| run.number)
}

fn ends(slot: &mut Slot, seconds: i64, number: u32, outcome: Outcome, proved: Option<(u8, Inspection)>) -> Step {
    slot.see(seconds, report(number, outcome, proved))
}

fn report(number: u32, outcome: Outcome, proved: Option<(u8, Inspection)>) -> Observation {
    let proved = proved.map(|(secret, seen)| (Fingerprint([secret; 16]), seen));
    Observation::Ended(Report { number, outcome, text: "why".into(), proved, error: None, kept: None })
}

fn of_renewal(step: &Step) -> Vec<Word> {
    words(&step.notices).into_iter().filter(|(_, reason, _)| reason.thread() == Thread::Renewal).collect()
}

fn heard_renewed(step: &Step) -> bool {
    step.notices.iter().any(|notice| notice.reason == Reason::Renewed)
}

/// Lives with a provider that always gives another token: how many runs there were until then.
fn works_for(slot: &mut Slot, until: i64, gives: fn(i64) -> i64, another: bool) -> usize {
    let (mut now, mut runs, mut secret, mut end, mut issued) = (0, 0, 1, 60 * DAY, 0);
    while now < until {
        let seen = Inspection { issued_at: Some(at(issued)), ..user(end) };
        let step = slot.see(now, checked(secret, seen));
        assert!(step.judgement.find(Reason::Expired).is_none(), "it died");
        let mut wake = seconds(step.wake);
        if let Some(run) = step.run {
            runs += 1;
            end = gives(now);
            if another {
                (secret, issued) = (secret % 250 + 1, now);
            }
            let seen = Inspection { issued_at: Some(at(issued)), ..user(end) };
            wake = seconds(ends(slot, now + 5, run.number, Outcome::Renewed, Some((secret, seen))).wake);
        }
        // Nothing more happens before the next hour: looks are not at stake here.
        now = wake.max(now + HOUR);
    }
    runs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3 * CASES, max_shrink_iters: 400, ..config() })]

    // promises 54 to 56
    /// All that may befall a token that is renewed, beside the naive model: when runs begin, what is open, what is said, when it is looked at.
    #[test]
    fn renewals_keep_their_promises(fate in fates()) {
        World::new(&fate).live()?;
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, max_shrink_iters: 400, ..config() })]

    /// Whoever is renewed by a provider that works never dies, and needs no more runs than it must.
    #[test]
    fn what_can_be_renewed_never_dies(
        lead in 5 * DAY..55 * DAY,
        period in select(vec![2 * HOUR, 6 * HOUR, DAY]),
        stops in prop::collection::vec((0_i64..30 * DAY, 1_i64..2 * DAY), 0..12),
        takes in 1_i64..6 * HOUR,
    ) {
        let mut now = 0;
        let script = stops.iter().flat_map(|(gap, lasts)| {
            now += gap;
            [(now, Event::Stop(*lasts)), (now + 1, Event::Takes(takes))]
        });
        let fate = Fate { lead, period, lasts: 60 * DAY, script: script.collect(), horizon: 300 * DAY };
        let mut world = World::new(&fate);
        world.live()?;
        prop_assert!(!world.died, "it died");
        let most = 300 * DAY / (60 * DAY - lead - 12 * HOUR).max(DAY) + 1;
        prop_assert!(i64::from(world.runs) <= most, "{} runs, {} at most", world.runs, most);
        prop_assert!(i64::from(world.runs) >= 300 * DAY / (64 * DAY - lead) - 1, "{} runs", world.runs);
    }
}

/// A random life that never comes upon something proves nothing about it.
#[test]
fn random_renewals_come_upon_everything() {
    use proptest::strategy::{Strategy as _, ValueTree as _};
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let mut seen = BTreeSet::new();
    for _ in 0..2 * CASES {
        let fate = fates().new_tree(&mut runner).expect("a fate").current();
        let mut world = World::new(&fate);
        world.live().unwrap_or_else(|fault| panic!("{fault}: {fate:?}"));
        seen.extend(world.came_upon);
    }
    for what in [
        "overdue",
        "failed",
        "without gain",
        "stuck",
        "critical",
        "resolved",
        "renewed",
        "replaced",
        "by hand",
        "declined",
        "died",
        "rolled back",
        "in the slot, not confirmed",
        "clock back during a wait",
        "the same string",
    ] {
        assert!(seen.contains(what), "{what} never comes up: {seen:?}");
    }
}

/// What befalls a token that is renewed, in true time.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// From now on runs end so.
    Mood(Outcome),
    /// From now on an exchange gives the same string with a later end, or another.
    Same(bool),
    /// From now on a run takes so long.
    Takes(i64),
    /// From now on runs get stuck half-way, and are taken back.
    Sticks(bool),
    /// Somebody puts another secret into the slot; `None` never expires.
    ByHand(Option<i64>),
    /// Somebody asks for a run.
    Ask,
    /// Somebody brings a secret that lasts so long, or a bad one.
    Replace(Option<i64>),
    /// The provider asks to stay away for so long.
    Away(i64),
    /// Our clock jumps.
    Clock(i64),
    /// The daemon is stopped for so long.
    Stop(i64),
    Look,
}

#[derive(Clone, Debug)]
struct Fate {
    lead: i64,
    period: i64,
    lasts: i64,
    script: Vec<(i64, Event)>,
    horizon: i64,
}

fn fates() -> impl Strategy<Value = Fate> {
    let life = || 10 * DAY..90 * DAY;
    let event = prop_oneof![
        6 => select(Outcome::ALL.to_vec()).prop_map(Event::Mood),
        4 => Just(Event::Mood(Outcome::Renewed)),
        2 => any::<bool>().prop_map(Event::Same),
        3 => prop_oneof![1_i64..MINUTE, MINUTE..12 * HOUR].prop_map(Event::Takes),
        2 => any::<bool>().prop_map(Event::Sticks),
        2 => prop::option::weighted(0.9, life()).prop_map(Event::ByHand),
        3 => Just(Event::Ask),
        3 => prop::option::weighted(0.7, life()).prop_map(Event::Replace),
        2 => (1..4 * DAY).prop_map(Event::Away),
        3 => prop_oneof![-MINUTE..MINUTE, -2 * HOUR..2 * HOUR, -10 * DAY..10 * DAY].prop_map(Event::Clock),
        2 => (1..9 * DAY).prop_map(Event::Stop),
        3 => Just(Event::Look),
    ];
    let gap = prop_oneof![1 => 1..HOUR, 2 => HOUR..2 * DAY, 3 => DAY..20 * DAY];
    let script = prop::collection::vec((gap, event), 0..24);
    let lead = prop_oneof![4 => 5 * DAY..30 * DAY, 1 => 30 * DAY..100 * DAY];
    (lead, select(vec![2 * HOUR, 6 * HOUR, DAY]), life(), script).prop_map(|(lead, period, lasts, script)| {
        let mut now = 0;
        let timed = script.into_iter().map(|(gap, event)| {
            now += gap;
            (now, event)
        });
        Fate { lead, period, lasts, script: timed.collect(), horizon: 150 * DAY }
    })
}

/// A secret at the provider, in true time.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Made {
    secret: u32,
    issued: i64,
    end: Option<i64>,
}

/// A run that the world carries out.
#[derive(Clone, Copy)]
struct UnderWay {
    number: u32,
    since: i64,
    /// When it began, by our clock.
    shown: i64,
    half: Option<i64>,
    end: i64,
    before: Made,
    brings: Option<Made>,
    outcome: Outcome,
    sticks: bool,
    replaces: bool,
}

/// What the model knows, by our clock.
struct World<'a> {
    fate: &'a Fate,
    slot: Slot,
    now: i64,
    ahead: i64,
    due: i64,
    in_slot: Made,
    run: Option<UnderWay>,
    mood: Outcome,
    same: bool,
    takes: i64,
    sticks: bool,
    away_until: i64,
    count: u32,
    model: Model,
    runs: u32,
    looks: usize,
    died: bool,
    came_upon: BTreeSet<&'static str>,
}

#[derive(Default)]
struct Model {
    known: Option<Made>,
    /// The provider said so.
    ran_out: bool,
    /// When the secret was first seen.
    since: i64,
    /// When the last run or replacement ended.
    tried: Option<i64>,
    /// No earlier, and no later, than so long after it is it tried again.
    wait: Option<(i64, i64)>,
    failures: u32,
    vain: Option<Reason>,
    stuck: bool,
    /// When a run gave what is in the slot.
    given: Option<i64>,
    succeeded: Option<i64>,
    /// Its end moved away by other means while an incident was open.
    moved: bool,
    /// The incident, as bad as it was told.
    open: Option<Severity>,
}

impl<'a> World<'a> {
    fn new(fate: &'a Fate) -> Self {
        let mut slot = renewable(Lead::Before(Span::seconds(fate.lead)));
        slot.spec = TokenSpec {
            renew: slot.spec.renew.clone(),
            app: Some(app()),
            ..spec("life", Policy::default(), fate.period)
        };
        Self {
            fate,
            slot,
            now: 0,
            ahead: 0,
            due: 0,
            in_slot: Made { secret: 1, issued: 0, end: Some(fate.lasts) },
            run: None,
            mood: Outcome::Renewed,
            same: false,
            takes: 30,
            sticks: false,
            away_until: 0,
            count: 1,
            model: Model::default(),
            runs: 0,
            looks: 0,
            died: false,
            came_upon: BTreeSet::new(),
        }
    }

    fn live(&mut self) -> Result<(), TestCaseError> {
        let mut script = self.fate.script.iter().peekable();
        loop {
            let event = script.peek().map_or(i64::MAX, |(at, _)| *at);
            let of_run = self.run.map_or(i64::MAX, |run| run.half.unwrap_or(run.end));
            self.now = self.due.min(event).min(of_run).max(self.now);
            if self.now > self.fate.horizon {
                break;
            }
            if event <= self.now {
                if let Some((_, event)) = script.next() {
                    self.befall(*event)?;
                }
            } else if of_run <= self.now {
                self.go_on()?;
            } else {
                self.look()?;
            }
        }
        // Beside the regular looks there are those for rungs and repeats, for tries, and for whatever befell it.
        let regular = usize::try_from(self.fate.horizon / self.fate.period).unwrap_or(usize::MAX);
        let most = regular + 12 * usize::try_from(self.runs).unwrap_or(usize::MAX) + 10 * self.fate.script.len() + 200;
        prop_assert!(self.looks <= most, "{} looks, {} at most", self.looks, most);
        Ok(())
    }

    fn shown(&self) -> i64 {
        self.now + self.ahead
    }

    fn made(&mut self, lasts: Option<i64>) -> Made {
        self.count += 1;
        Made { secret: self.count, issued: self.now, end: lasts.map(|lasts| self.now + lasts) }
    }

    fn befall(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Mood(outcome) => self.mood = outcome,
            Event::Same(same) => self.same = same,
            Event::Takes(takes) => self.takes = takes,
            Event::Sticks(sticks) => self.sticks = sticks,
            Event::ByHand(lasts) => self.in_slot = self.made(lasts),
            Event::Away(lasts) => self.away_until = self.now + lasts,
            Event::Clock(by) => {
                let shown = self.due + self.ahead;
                self.ahead += by;
                self.due = (shown - self.ahead).clamp(self.now, self.now + self.fate.period);
                if by < 0 && self.model.wait.is_some() {
                    self.came_upon.insert("clock back during a wait");
                }
            }
            Event::Stop(lasts) => {
                self.due = self.due.max(self.now + lasts);
                if let Some(run) = &mut self.run {
                    run.end = run.end.max(self.now + lasts);
                    run.half = run.half.map(|half| half.max(self.now + lasts));
                }
            }
            Event::Look => self.look()?,
            Event::Ask => {
                self.draw_back();
                let must_not = self.must_not_begin(false);
                let step = self.step(Observation::Asked(Origin::Asked("ada".into())))?;
                prop_assert_eq!(step.run.is_some(), step.declined.is_none());
                if let Some(why) = must_not {
                    prop_assert!(step.declined.is_some(), "it was granted though {}", why);
                    self.came_upon.insert("declined");
                }
            }
            Event::Replace(lasts) => {
                let brings = lasts.map(|lasts| self.made(Some(lasts)));
                let under_way = self.run.is_some();
                let step = self.step(Observation::Asked(Origin::Replaced("ada".into())))?;
                prop_assert_eq!(step.run.is_some(), !under_way, "a person's secret waits for nothing but a run");
                if let Some(run) = self.run.as_mut().filter(|_| !under_way) {
                    run.brings = brings;
                    run.replaces = true;
                    run.outcome = if brings.is_some() { run.outcome } else { Outcome::Refused };
                    if run.outcome == Outcome::WithoutGain {
                        run.outcome = Outcome::Renewed;
                    }
                    run.sticks &= run.outcome == Outcome::RolledBack;
                }
            }
        }
        Ok(())
    }

    /// Nothing is remembered from a clock that ran ahead, as soon as anything is seen.
    fn draw_back(&mut self) {
        let shown = self.shown();
        self.model.since = self.model.since.min(shown);
        for moment in [&mut self.model.tried, &mut self.model.succeeded, &mut self.model.given] {
            *moment = moment.map(|at| at.min(shown));
        }
        if let Some(run) = &mut self.run {
            run.shown = run.shown.min(shown);
        }
    }

    /// A run comes to its half, at which the new secret is in the slot, or to its end.
    fn go_on(&mut self) -> Result<(), TestCaseError> {
        let Some(mut run) = self.run else { return Ok(()) };
        if run.half.take().is_some() {
            if let Some(new) = run.brings.filter(|_| matches!(run.outcome, Outcome::Renewed | Outcome::RolledBack)) {
                self.in_slot = new;
            }
            self.run = Some(run);
            if run.sticks {
                self.model.stuck = true;
                self.came_upon.insert("stuck");
                self.step(Observation::Stuck(run.number, Some("no way back".into())))?;
            }
            return Ok(());
        }
        self.draw_back();
        let shown = self.shown();
        self.run = None;
        self.model.stuck = false;
        let mut outcome = run.outcome;
        if outcome == Outcome::Renewed && !run.replaces && run.before.end.is_some_and(|end| end <= run.since) {
            outcome = Outcome::Failed;
        }
        let proved = run.brings.filter(|_| outcome == Outcome::Renewed);
        if outcome == Outcome::RolledBack {
            // What was prolonged stays so.
            self.in_slot = Made { end: self.in_slot.end, ..run.before };
            if run.brings.is_some_and(|new| new.secret != run.before.secret) {
                self.in_slot = run.before;
            }
            self.came_upon.insert("rolled back");
        }
        let left = self.model.known.and_then(|known| known.end).map_or(DAY, |end| end - shown);
        let model = &mut self.model;
        let nothing_came = run.replaces && matches!(outcome, Outcome::Refused | Outcome::Failed);
        if let Some(new) = proved {
            if run.brings.map(|new| new.secret) != model.known.map(|known| known.secret) {
                model.since = shown;
            }
            (model.known, model.ran_out) = (Some(new), false);
            (model.failures, model.wait, model.vain) = (0, None, None);
            (model.tried, model.succeeded) = (Some(shown), Some(shown));
            model.given = (!run.replaces).then_some(shown);
        } else if nothing_came {
            model.tried = model.tried.or(Some(shown));
        } else {
            model.vain = Some(if outcome == Outcome::WithoutGain { RenewalWithoutGain } else { RenewalFailed });
            model.tried = Some(shown);
            if !run.replaces {
                model.failures += 1;
                let longest = (left / 8).clamp(75, DAY);
                let soon = (MINUTE << (model.failures - 1).min(12)).min(DAY) * 5 / 4;
                let last = if outcome == Outcome::WithoutGain { longest } else { soon.min(longest) };
                model.wait = Some((MINUTE, last.max(75)));
            }
        }
        let proved_now = proved.map(|new| (fingerprint(new.secret), inspection(new)));
        let report =
            Report { number: run.number, outcome, text: "why".into(), proved: proved_now, error: None, kept: None };
        let step = self.step(Observation::Ended(report))?;
        prop_assert!(step.run.is_none(), "none begins in the moment in which one ended");
        let heard = step.notices.iter().filter(|notice| notice.reason == Reason::Renewed).count();
        let resolved = step.notices.iter().any(|notice| notice.why == NotifyReason::Resolved);
        let comes_and_goes = step.status.ledger.incidents.iter().any(|incident| incident.damped.is_some());
        match outcome {
            Outcome::Renewed if comes_and_goes => {}
            Outcome::Renewed => prop_assert_eq!(heard, usize::from(!resolved), "one word: {:?}", words(&step.notices)),
            _ => prop_assert_eq!(heard, 0),
        }
        if outcome == Outcome::Renewed {
            self.came_upon.insert(if run.replaces { "replaced" } else { "renewed" });
            if proved.is_some_and(|new| new.secret == run.before.secret) {
                self.came_upon.insert("the same string");
            }
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), TestCaseError> {
        self.looks += 1;
        self.draw_back();
        let (now, shown, seen) = (self.now, self.shown(), self.in_slot);
        let dead = seen.end.is_some_and(|end| end <= now);
        if now < self.away_until {
            let until = at(self.away_until + self.ahead);
            return self.see(seen.secret, Err(CheckError::Throttled(until)));
        }
        let model = &mut self.model;
        let same = model.known.map(|known| known.secret) == Some(seen.secret);
        let later = same && !dead && model.known.is_some_and(|known| gains(known.end, seen.end));
        let ahead = model.known.and_then(|known| known.end).is_some_and(|end| end > shown);
        if self.run.is_some() && (!same || later && ahead) {
            self.came_upon.insert("in the slot, not confirmed");
        } else {
            if !same {
                (model.since, model.given) = (shown, None);
                if model.known.is_some() {
                    self.came_upon.insert("by hand");
                }
            }
            if !same || later {
                (model.failures, model.wait, model.vain) = (0, None, None);
            }
            if !same {
                model.open = None;
            }
            model.moved |= later;
            (model.known, model.ran_out) = (Some(seen), dead);
        }
        let validity = if dead { Validity::Expired } else { Validity::Valid };
        self.see(seen.secret, Ok(Inspection { validity, ..inspection(seen) }))
    }

    fn see(&mut self, secret: u32, answer: Result<Inspection, CheckError>) -> Result<(), TestCaseError> {
        let outcome = CheckOutcome { fingerprint: Some(fingerprint(secret)), answer, beside: None };
        self.step(Observation::Checked(outcome)).map(drop)
    }

    /// One step of the core, and all that must hold after it.
    fn step(&mut self, observation: Observation) -> Result<Step, TestCaseError> {
        self.draw_back();
        let shown = self.shown();
        let ended = matches!(observation, Observation::Ended(_));
        let asked = matches!(observation, Observation::Asked(_));
        let checked = matches!(observation, Observation::Checked(_));
        let must_not = self.must_not_begin(true);
        let must = !ended && !asked && self.must_begin();
        let before: Vec<_> = self.slot.status.ledger.incidents.clone();
        let step = self.slot.see(shown, observation);
        self.due = seconds(step.wake) - self.ahead;
        prop_assert!(self.due > self.now, "a wake in the past would spin");
        prop_assert!(
            !checked || self.now < self.away_until || self.due <= self.now + self.fate.period + MINUTE,
            "nobody looks"
        );
        if let Some(run) = &step.run {
            prop_assert!(self.run.is_none(), "two runs at once");
            self.runs += 1;
            prop_assert_eq!(run.number, self.runs);
            if run.origin == Origin::Schedule {
                prop_assert!(must_not.is_none(), "a run began by itself though {}", must_not.unwrap_or_default());
            }
            let before = self.in_slot;
            let brings = if self.same {
                Made { end: before.end.map(|_| self.now + self.fate.lasts), ..before }
            } else {
                self.made(Some(self.fate.lasts))
            };
            // What lasts longer already gains nothing by it.
            let gained = brings.end.zip(before.end).is_some_and(|(new, old)| new - old >= 60);
            let outcome = if self.mood == Outcome::Renewed && !gained { Outcome::WithoutGain } else { self.mood };
            let sticks = self.sticks && outcome == Outcome::RolledBack;
            let (now, end) = (self.now, self.now + self.takes);
            self.run = Some(UnderWay {
                number: run.number,
                since: now,
                shown,
                half: Some(now + self.takes / 2),
                end,
                before,
                brings: Some(brings),
                outcome,
                sticks,
                replaces: false,
            });
        } else {
            prop_assert!(!must, "no run began, and it was due");
        }
        // After a pause the tokens come back within a minute of each other.
        if let Some(latest) = self.must_begin_at().filter(|at| *at > shown && self.looked_since_away()) {
            prop_assert!(seconds(step.wake) <= latest, "nobody looks when it must begin at {}", latest);
        }
        self.judge(&step, ended, &before)?;
        Ok(step)
    }

    /// The incident of the renewals after a look.
    fn judge(
        &mut self,
        step: &Step,
        ended: bool,
        before: &[tokenwatch::domain::alert::Incident],
    ) -> Result<(), TestCaseError> {
        let shown = self.shown();
        let found = self.finding(shown);
        let actual = step.judgement.findings.iter().find(|finding| finding.reason.thread() == Thread::Renewal);
        prop_assert_eq!(actual.map(|finding| (finding.reason, finding.severity)), found, "at {}", shown);
        if let Some((reason, severity)) = found {
            self.came_upon.insert(match reason {
                RenewalOverdue => "overdue",
                RenewalFailed => "failed",
                _ => "without gain",
            });
            if severity == Critical {
                self.came_upon.insert("critical");
            }
            self.model.open = self.model.open.max(Some(severity));
        }
        let dead = self.dead(shown);
        self.died |= dead && self.now >= self.in_slot.end.unwrap_or(i64::MAX);
        if dead {
            self.came_upon.insert("died");
        }
        let succeeded = ended && self.model.tried == self.model.succeeded && self.model.succeeded == Some(shown);
        let moved = self.model.moved && self.run.is_none();
        if found.is_none() && (dead && !self.unverified() || succeeded || moved) {
            self.model.open = None;
        }
        self.model.moved &= self.model.open.is_some();
        let of = |notice: &Notice| notice.reason.thread() == Thread::Renewal && notice.why == NotifyReason::Resolved;
        if step.notices.iter().any(of) {
            self.came_upon.insert("resolved");
            prop_assert!(self.run.is_none() || step.run.is_some(), "over before it was committed");
        }
        let incident = step.status.ledger.of(Thread::Renewal);
        let damped = |list: &[tokenwatch::domain::alert::Incident]| {
            list.iter().any(|incident| incident.thread == Thread::Renewal && incident.damped.is_some())
        };
        if damped(&step.status.ledger.incidents) || damped(before) {
            // What comes and goes is judged in `lives`.
            self.model.open = incident.map(|incident| incident.severity);
            return Ok(());
        }
        prop_assert_eq!(incident.map(|incident| incident.severity), self.model.open, "at {}", shown);
        Ok(())
    }

    /// By its date, or because the provider says so.
    fn dead(&self, shown: i64) -> bool {
        let end = self.model.known.and_then(|known| known.end);
        self.model.ran_out || end.is_some_and(|end| end <= shown)
    }

    /// Another secret is in the slot, and nothing is known of it yet.
    fn unverified(&self) -> bool {
        self.slot.status.current_facts().is_none()
    }

    fn finding(&self, shown: i64) -> Option<(Reason, Severity)> {
        if self.model.stuck {
            return Some((RenewalFailed, Critical));
        }
        let model = &self.model;
        let known = model.known.filter(|_| !self.unverified())?;
        if self.dead(shown) {
            return None;
        }
        let late = known.end.is_some_and(|end| end - shown <= 3 * DAY);
        let severity = if late { Critical } else { Warning };
        if let Some(reason) = model.vain {
            return Some((reason, if known.end.is_some() { severity } else { Warning }));
        }
        let due = seconds(renewal::due(&self.slot.spec, &self.slot.status)?);
        let began = self.run.map(|run| run.shown);
        let since = [began.unwrap_or(due), model.since, model.succeeded.unwrap_or(due)].into_iter().fold(due, i64::max);
        let grace = ((known.end? - due) / 10).clamp(2 * MINUTE, DAY);
        (shown >= since + grace).then_some((RenewalOverdue, severity))
    }

    /// Between which moments it is due, as far as the promise says.
    fn due(&self) -> Option<(i64, i64)> {
        let end = self.model.known?.end?;
        let latest = end - self.fate.lead;
        let earliest = latest - (self.fate.lead / 10).min(12 * HOUR);
        // What a run gave is kept for half of its life, where the lead is longer than that life.
        let half = self.model.given.map(|given| (given, given + (end - given) / 2));
        match half {
            Some((given, half)) if latest <= given => Some((half, half)),
            Some((given, half)) if earliest <= given => Some((earliest.min(half), latest.max(half))),
            _ => Some((earliest, latest)),
        }
    }

    fn must_not_begin(&self, by_itself: bool) -> Option<&'static str> {
        let (shown, model) = (self.shown(), &self.model);
        let end = model.known.map(|known| known.end);
        let waits = model.tried.is_some_and(|tried| shown < tried + MINUTE);
        let due = self.due().is_none_or(|(earliest, _)| shown < earliest);
        let too_soon = model.wait.zip(model.tried).is_some_and(|((least, _), tried)| shown < tried + least);
        match end {
            _ if self.run.is_some() => Some("one is under way"),
            None => Some("nothing is known"),
            Some(None) => Some("it never expires"),
            Some(Some(_)) if self.dead(shown) => Some("it has expired"),
            _ if waits => Some("the last try was a moment ago"),
            _ if self.now < self.away_until && self.slot.status.last_error.is_some() => {
                Some("the provider asked to stay away")
            }
            _ if by_itself && due => Some("it is not due"),
            _ if by_itself && too_soon => Some("it failed a moment ago"),
            _ => None,
        }
    }

    /// By when the next run begins, if nothing is in its way.
    fn must_begin_at(&self) -> Option<i64> {
        let model = &self.model;
        let (_, latest) = self.due().filter(|_| self.run.is_none() && !self.unverified() && !model.ran_out)?;
        let waited = model.tried.map(|tried| tried + model.wait.map_or(MINUTE, |(_, most)| most));
        Some(waited.map_or(latest, |waited| waited.max(latest))).filter(|at| !self.dead(*at))
    }

    fn must_begin(&self) -> bool {
        let shown = self.shown();
        let late = self.must_begin_at().is_some_and(|at| shown >= at);
        let seen = !self.unverified() && self.slot.status.last_check.is_some();
        late && seen && self.now >= self.away_until && self.must_not_begin(true).is_none() && self.looked_since_away()
    }

    /// The pause was over at the last look, or none was asked for.
    fn looked_since_away(&self) -> bool {
        match &self.slot.status.last_error {
            Some(CheckError::Throttled(until)) => seconds(*until) <= self.shown(),
            _ => true,
        }
    }
}

/// The provider's dates are what they are, whatever our clock shows.
fn inspection(made: Made) -> Inspection {
    let expires = made.end.map_or(Expiry::Never, |end| Expiry::At(at(end)));
    Inspection { kind: TokenKind::User, issued_at: Some(at(made.issued)), ..answer(Validity::Valid, expires) }
}

fn fingerprint(secret: u32) -> Fingerprint {
    let mut hash = [0; 16];
    hash[..4].copy_from_slice(&secret.to_be_bytes());
    Fingerprint(hash)
}

fn gains(old: Option<i64>, new: Option<i64>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => new - old >= 60,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

const CASES: u32 = 48;
