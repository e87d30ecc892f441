//! The promises of `docs/alerts.md`, one by one, each on the smallest life that shows it. The number of the promise stands above each
//! test; so it does above those of the other rings, and `docs::promises` sees to it that none is left out.

use tokenwatch::domain::alert::NotifyReason::{Escalated, First, Reminded, Repeated, Resolved};
use tokenwatch::domain::alert::{Ending, Incident, Subject};
use tokenwatch::domain::answer::{Answer, Refused};
use tokenwatch::domain::digest::{Bundle, FOLD_WINDOW, send_at};
use tokenwatch::domain::finding::Reason::{
    AppFault as Foreign, Blind, DataAccessExpired, DataAccessExpiring, Expired, Expiring, ExpiryUnknown, Revoked,
    ScopeMissing, SourceUnreadable, Unreadable,
};
use tokenwatch::domain::finding::Severity::{Critical, Info, Warning};
use tokenwatch::domain::finding::{Reason, Severity};
use tokenwatch::domain::inspection::{AppFault, CheckError, Expiry, Inspection, Validity};
use tokenwatch::domain::ledger::{Entry, Ledger};
use tokenwatch::domain::status::TokenStatus;
use tokenwatch::domain::step::{Observation, retire};
use tokenwatch::domain::time::Span;
use tokenwatch::domain::token::{Ladder, Lead, Policy, ProviderName, ReceiverName, TypedEnd};
use tokenwatch::domain::verdict::Verdict;

use super::{
    DAY, HOUR, MINUTE, Slot, Word, answer, at, checked, days, failed, no_secret, revoked, signed, unreachable,
    valid_until,
};

/// A slot with the default policy, and with nothing to disturb the ladder.
fn quiet() -> Slot {
    Slot::new(Policy { repeat: Span::ZERO, ..Policy::default() })
}

const SILENCE: [Word; 0] = [];

fn know() -> Observation {
    Observation::Answered(Answer::Acknowledge(signed()))
}

fn hush(seconds: i64) -> Observation {
    Observation::Answered(Answer::Silence { signed: signed(), lasts: Span::seconds(seconds), even_critical: false })
}

fn hush_all(seconds: i64) -> Observation {
    Observation::Answered(Answer::Silence { signed: signed(), lasts: Span::seconds(seconds), even_critical: true })
}

fn speak() -> Observation {
    Observation::Answered(Answer::Unsilence(signed()))
}

/// A working token with a missing permission: a warning that comes and goes as we like.
fn poor() -> Observation {
    checked(1, Inspection { grants: Some(Vec::new()), ..valid_until(600 * DAY) })
}

fn rich() -> Observation {
    checked(1, valid_until(600 * DAY))
}

/// A slot whose permission went missing three times since the start, each for a minute, and is there now: the next time is damped.
fn fickle() -> Slot {
    let mut slot = quiet();
    for turn in 0..3 {
        assert_eq!(slot.tells(turn * 120, poor()), [(First, ScopeMissing, Warning)]);
        assert_eq!(slot.tells(turn * 120 + 60, rich()), [(Resolved, ScopeMissing, Warning)]);
    }
    slot
}

// promises 1, 2, 7
#[test]
fn every_rung_is_told_in_the_second_it_is_crossed() {
    let mut slot = quiet();
    let end = 60 * DAY;
    assert_eq!(slot.tells(0, checked(1, valid_until(end))), SILENCE);
    let rungs = [
        (21, First, Info),
        (14, Escalated, Warning),
        (7, Escalated, Warning),
        (3, Escalated, Critical),
        (1, Escalated, Critical),
    ];
    for (rung, why, severity) in rungs {
        let crossing = end - rung * DAY;
        assert_eq!(slot.tells(crossing - 1, checked(1, valid_until(end))), SILENCE, "a second before {rung} d");
        assert_eq!(slot.tells(crossing, checked(1, valid_until(end))), [(why, Expiring, severity)], "at {rung} d");
        assert_eq!(slot.tells(crossing + 1, checked(1, valid_until(end))), SILENCE, "a second after {rung} d");
    }
    assert_eq!(slot.tells(end, checked(1, valid_until(end))), [(Escalated, Expired, Critical)]);
}

// promise 1
#[test]
fn a_look_is_due_at_the_very_second_of_a_rung() {
    let mut slot = quiet();
    let end = 60 * DAY;
    for rung in [21, 14, 7, 3, 1, 0] {
        let crossing = end - rung * DAY;
        assert_eq!(slot.see(crossing - 5, checked(1, valid_until(end))).wake, at(crossing), "{rung} d");
    }
}

// promise 2
#[test]
fn the_only_rung_is_info_and_of_two_the_second_is_critical() {
    let mut slot = Slot::new(Policy { ladder: days(&[10]), ..Policy::default() });
    assert_eq!(slot.tells(51 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Info)]);
    let mut slot = Slot::new(Policy { ladder: days(&[10, 5]), ..Policy::default() });
    assert_eq!(slot.tells(51 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Info)]);
    assert_eq!(slot.tells(55 * DAY, checked(1, valid_until(60 * DAY))), [(Escalated, Expiring, Critical)]);
}

// promise 3
#[test]
fn the_last_three_days_of_a_long_life_are_critical() {
    let mut slot = Slot::new(Policy { ladder: days(&[7]), ..Policy::default() });
    let end = 60 * DAY;
    assert_eq!(slot.tells(end - 7 * DAY, checked(1, valid_until(end))), [(First, Expiring, Info)]);
    let step = slot.see(end - 3 * DAY - 1, checked(1, valid_until(end)));
    assert!(step.notices.is_empty());
    assert_eq!(step.wake, at(end - 3 * DAY));
    assert_eq!(slot.tells(end - 3 * DAY, checked(1, valid_until(end))), [(Escalated, Expiring, Critical)]);
}

// promise 3
#[test]
fn a_life_of_seven_days_is_not_long() {
    let mut slot = Slot::new(Policy { ladder: days(&[7, 2]), ..Policy::default() });
    assert_eq!(slot.tells(4 * DAY, checked(1, valid_until(7 * DAY))), [(First, Expiring, Info)]);
    let mut slot = Slot::new(Policy { ladder: days(&[7, 2]), ..Policy::default() });
    assert_eq!(slot.tells(4 * DAY + 1, checked(1, valid_until(7 * DAY + 1))), [(First, Expiring, Critical)]);
}

// promises 4, 5
#[test]
fn rungs_longer_than_the_lifetime_are_skipped() {
    let mut slot = quiet();
    assert_eq!(slot.tells(0, checked(1, valid_until(10 * DAY))), SILENCE);
    assert_eq!(slot.tells(3 * DAY, checked(1, valid_until(10 * DAY))), [(First, Expiring, Info)]);
}

// promise 4
#[test]
fn without_a_date_of_issue_the_lifetime_counts_from_first_seen() {
    let seen = || checked(1, answer(Validity::Valid, Expiry::At(at(12 * DAY))));
    let mut slot = quiet();
    assert_eq!(slot.tells(2 * DAY, seen()), SILENCE, "ten days from first seen: the rungs are 7, 3 and 1");
    assert_eq!(slot.tells(5 * DAY - 1, seen()), SILENCE);
    assert_eq!(slot.tells(5 * DAY, seen()), [(First, Expiring, Info)]);
}

// promises 4, 14
#[test]
fn an_answer_that_leaves_a_date_out_erases_none() {
    let mut slot = quiet();
    assert_eq!(slot.tells(55 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Warning)]);
    let terse = || checked(1, answer(Validity::Valid, Expiry::Unknown));
    // Counted from first seen this would be a short life, with quite another ladder.
    assert_eq!(slot.tells(57 * DAY, terse()), [(Escalated, Expiring, Critical)]);
    assert_eq!(slot.tells(58 * DAY + 12 * HOUR, terse()), SILENCE);
    assert_eq!(slot.tells(59 * DAY, terse()), [(Escalated, Expiring, Critical)]);
    assert_eq!(slot.tells(60 * DAY, terse()), [(Escalated, Expired, Critical)]);
}

// promise 14
#[test]
fn an_end_that_is_told_in_seconds_left_is_one_end_at_every_check() {
    let mut slot = quiet();
    assert_eq!(slot.tells(55 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Warning)]);
    for (n, shift) in [1, -1, 59, -59].into_iter().enumerate() {
        let seconds = 55 * DAY + HOUR * (1 + i64::try_from(n).unwrap());
        assert_eq!(slot.tells(seconds, checked(1, valid_until(60 * DAY + shift))), SILENCE, "{shift}");
    }
    assert_eq!(slot.tells(60 * DAY - 1, checked(1, valid_until(60 * DAY + 59))), [(Escalated, Expiring, Critical)]);
    // From the date that was told first, however far the small steps lead.
    let moved = slot.see(60 * DAY - 1, checked(1, valid_until(60 * DAY + 60))).notices;
    assert!(moved.iter().any(|notice| notice.deadline == Some(at(60 * DAY + 60))), "{moved:?}");
}

// promise 64
#[test]
fn a_typed_end_is_passed_over_once_it_has_passed_and_the_token_works() {
    let typed = |slot: &mut Slot, days: i64, alone| slot.spec.expires = Some(TypedEnd { at: at(days * DAY), alone });
    let untold = || checked(1, Inspection { expires: Expiry::Unknown, ..valid_until(0) });
    let mut slot = quiet();
    typed(&mut slot, 60, false);
    assert_eq!(slot.tells(55 * DAY, untold()), [(First, Expiring, Warning)]);
    // Somebody corrects it, and back.
    typed(&mut slot, 90, false);
    assert!(slot.see(55 * DAY + HOUR, untold()).judgement.find(Expiring).is_none());
    typed(&mut slot, 60, false);
    assert!(slot.see(55 * DAY + 2 * HOUR, untold()).judgement.find(Expiring).is_some());
    let after = slot.see(60 * DAY + 1, untold());
    assert!(after.judgement.find(Expired).is_none() && after.judgement.find(Expiring).is_none(), "{:?}", after.notices);
    // Where nobody else knows the token, the date is all there is.
    let mut slot = quiet();
    typed(&mut slot, 60, true);
    assert_eq!(slot.tells(55 * DAY, untold()), [(First, Expiring, Warning)]);
    assert_eq!(slot.tells(60 * DAY, untold()), [(Escalated, Expired, Critical)]);
    // What the provider itself told stands against what somebody typed, even where it is not told again.
    let mut slot = quiet();
    typed(&mut slot, 90, false);
    assert_eq!(slot.tells(55 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Warning)]);
    assert_eq!(slot.tells(56 * DAY, untold()), SILENCE);
    assert_eq!(slot.tells(60 * DAY, untold()), [(Escalated, Expired, Critical)]);
}

// promise 6
#[test]
fn a_token_of_an_hour_has_a_ladder_of_its_own() {
    let mut slot = quiet();
    let seen = || checked(1, valid_until(HOUR));
    assert_eq!(slot.tells(HOUR - 1189, seen()), SILENCE);
    assert_eq!(slot.tells(HOUR - 1188, seen()), [(First, Expiring, Info)]);
    assert_eq!(slot.tells(HOUR - 360, seen()), [(Escalated, Expiring, Critical)]);
    assert_eq!(slot.tells(HOUR - 108, seen()), [(Escalated, Expiring, Critical)]);
    assert_eq!(slot.tells(HOUR, seen()), [(Escalated, Expired, Critical)]);
}

// promise 4
#[test]
fn a_renewal_shortens_no_window_of_data_access() {
    let mut slot = quiet();
    let seen = |issued: i64, end: i64| Inspection {
        issued_at: Some(at(issued)),
        data_access: Expiry::At(at(90 * DAY)),
        ..valid_until(end)
    };
    assert_eq!(slot.tells(70 * DAY, checked(1, seen(50 * DAY, 110 * DAY))), [(First, DataAccessExpiring, Info)]);
    assert_eq!(slot.tells(76 * DAY, checked(1, seen(50 * DAY, 110 * DAY))), [(Escalated, DataAccessExpiring, Warning)]);
    // Another token, issued ten days before the window closes, begins anew, and nobody hears that access is there again.
    assert_eq!(slot.tells(80 * DAY, checked(2, seen(80 * DAY, 140 * DAY))), [(First, DataAccessExpiring, Warning)]);
    assert_eq!(slot.tells(83 * DAY, checked(2, seen(80 * DAY, 140 * DAY))), [(Escalated, DataAccessExpiring, Warning)]);
}

// promise 6
#[test]
fn a_ladder_never_ends_up_empty() {
    let mut slot = Slot::new(Policy { ladder: days(&[30]), repeat: Span::ZERO, ..Policy::default() });
    let seen = || checked(1, valid_until(20 * DAY));
    assert_eq!(slot.tells(20 * DAY - 20 * DAY * 33 / 100 - 1, seen()), SILENCE);
    assert_eq!(slot.tells(20 * DAY - 20 * DAY * 33 / 100, seen()), [(First, Expiring, Info)]);
}

// promise 8
#[test]
fn after_an_outage_only_the_most_urgent_rung_is_told() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    assert_eq!(slot.tells(54 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Warning)]);
    assert_eq!(slot.tells(59 * DAY + HOUR, checked(1, valid_until(60 * DAY))), [(Escalated, Expiring, Critical)]);
}

// promise 9
#[test]
fn the_end_is_told_even_if_every_rung_was_slept_through() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    assert_eq!(slot.tells(90 * DAY, unreachable(1))[..1], [(First, Expired, Critical)]);
    let mut never_seen = quiet();
    assert_eq!(never_seen.tells(90 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expired, Critical)]);
}

// promises 9, 34
#[test]
fn expired_continues_the_incident_of_the_ladder() {
    let mut slot = quiet();
    let first = slot.see(59 * DAY, checked(1, valid_until(60 * DAY))).notices;
    let second = slot.see(60 * DAY, checked(1, valid_until(60 * DAY))).notices;
    assert_eq!(second.len(), 1, "no RESOLVED in between");
    assert_eq!(first[0].key.incident(), second[0].key.incident());
}

// promise 10
#[test]
fn an_expiry_that_the_provider_takes_back_is_resolved_and_starts_anew() {
    let expired = || checked(1, answer(Validity::Expired, Expiry::Unknown));
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    assert_eq!(slot.tells(DAY, expired()), [(First, Expired, Critical)]);
    assert_eq!(slot.tells(2 * DAY, checked(1, valid_until(60 * DAY))), [(Resolved, Expired, Critical)]);
    assert_eq!(slot.tells(39 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Info)]);

    let mut near = quiet();
    near.see(0, checked(1, valid_until(60 * DAY)));
    assert_eq!(near.tells(50 * DAY, expired()), [(First, Expired, Critical)]);
    assert_eq!(
        near.tells(50 * DAY + 60, checked(1, valid_until(60 * DAY))),
        [(Resolved, Expired, Critical), (First, Expiring, Warning)],
        "it stands on a rung"
    );
    near.see(59 * DAY, checked(1, valid_until(60 * DAY)));
    assert_eq!(near.tells(60 * DAY, checked(1, valid_until(60 * DAY))), [(Escalated, Expired, Critical)]);
}

// promise 10
#[test]
fn an_expiry_without_any_known_date_can_be_taken_back_too() {
    let mut slot = quiet();
    assert_eq!(slot.tells(0, checked(1, answer(Validity::Expired, Expiry::Unknown))), [(First, Expired, Critical)]);
    assert_eq!(
        slot.tells(60, checked(1, answer(Validity::Valid, Expiry::Never))),
        [(Resolved, Expired, Critical)],
        "it never expires"
    );
}

// promise 10
#[test]
fn two_servers_that_disagree_about_a_passed_date_do_not_restart_the_ladder() {
    let mut slot = quiet();
    slot.see(59 * DAY, checked(1, valid_until(60 * DAY)));
    let expired = || checked(1, answer(Validity::Expired, Expiry::Unknown));
    assert_eq!(slot.tells(60 * DAY, expired()), [(Escalated, Expired, Critical)]);
    assert_eq!(slot.tells(60 * DAY + 1, checked(1, valid_until(60 * DAY))), SILENCE, "by the clock it is over");
    assert_eq!(slot.tells(60 * DAY + 2, expired()), SILENCE);
}

// promises 11, 26
#[test]
fn a_new_date_starts_anew() {
    let mut slot = quiet();
    assert_eq!(slot.tells(59 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Critical)]);
    assert_eq!(slot.tells(59 * DAY + 1, checked(1, valid_until(120 * DAY))), [(Resolved, Expiring, Critical)]);
    assert_eq!(slot.tells(99 * DAY, checked(1, valid_until(120 * DAY))), [(First, Expiring, Info)]);
}

// promise 12
#[test]
fn a_new_secret_starts_anew_even_with_the_same_date() {
    let mut slot = quiet();
    assert_eq!(slot.tells(50 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Warning)]);
    assert_eq!(slot.tells(51 * DAY, checked(2, valid_until(60 * DAY))), [(First, Expiring, Warning)]);
    assert_eq!(slot.tells(51 * DAY + 1, checked(2, valid_until(60 * DAY))), SILENCE);
}

// promise 13
#[test]
fn a_changed_ladder_loses_no_rung() {
    let mut slot = Slot::new(Policy { ladder: days(&[60, 50, 40, 21, 14, 7, 3, 1]), ..Policy::default() });
    let seen = || checked(1, valid_until(100 * DAY));
    assert_eq!(slot.tells(80 * DAY, seen()), [(First, Expiring, Warning)], "20 d left: the fourth of eight rungs");
    slot.spec.policy = Policy { ladder: days(&[14, 10, 7, 3, 1]), ..Policy::default() }.into();
    assert_eq!(slot.tells(81 * DAY, seen()), SILENCE);
    for rung in [14, 10, 7, 3, 1] {
        let told = slot.tells((100 - rung) * DAY, seen());
        assert!(told.iter().any(|(why, reason, _)| (*why, *reason) == (Escalated, Expiring)), "{rung} d: {told:?}");
    }
}

// promises 13, 23
#[test]
fn what_is_resolved_was_as_bad_as_the_worst_that_was_told() {
    let mut slot = Slot::new(Policy { ladder: days(&[20, 10]), ..Policy::default() });
    assert_eq!(slot.tells(50 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Critical)]);
    slot.spec.policy = Policy { ladder: days(&[20, 14, 9, 7, 3, 1]), ..Policy::default() }.into();
    assert_eq!(slot.tells(51 * DAY, checked(1, valid_until(60 * DAY))), [(Escalated, Expiring, Warning)]);
    assert_eq!(slot.tells(51 * DAY + 1, checked(2, valid_until(600 * DAY))), [(Resolved, Expiring, Critical)]);
}

// promise 14
#[test]
fn doubt_never_hides_a_known_date() {
    let errors = [
        CheckError::Garbled("?".into()),
        CheckError::Unavailable("trouble".into()),
        CheckError::Throttled(at(39 * DAY + HOUR)),
        CheckError::App(AppFault::WrongSecret, "".into()),
        CheckError::ForeignToken("other".into()),
        CheckError::Refused("no".into()),
    ];
    let seen = errors.into_iter().map(|error| failed(1, error));
    for doubt in seen.chain([unreachable(1), no_secret(), Observation::Deferred(at(61 * DAY))]) {
        let mut slot = quiet();
        slot.see(0, checked(1, valid_until(60 * DAY)));
        let near = slot.see(59 * DAY, doubt.clone());
        assert_eq!(near.judgement.verdict, Verdict::Expiring, "{doubt:?}");
        assert!(near.notices.iter().any(|notice| notice.reason == Expiring), "{doubt:?}");
        let past = slot.see(60 * DAY, doubt.clone());
        assert_eq!(past.judgement.verdict, Verdict::Expired, "{doubt:?}");
        assert!(past.notices.iter().any(|notice| notice.reason == Expired), "{doubt:?}");
    }
}

// promise 15
#[test]
fn a_single_false_invalid_makes_no_notice() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    let step = slot.see(DAY, checked(1, revoked()));
    assert!(step.notices.is_empty());
    assert!(step.wake <= at(DAY + 10), "asked again within seconds");
    assert_eq!(step.judgement.verdict, Verdict::Healthy);
    assert_eq!(slot.tells(DAY + 10, checked(1, valid_until(60 * DAY))), SILENCE);
    assert_eq!(slot.tells(2 * DAY, checked(1, revoked())), SILENCE, "the good answer broke the row");
}

// promise 15
#[test]
fn failed_checks_neither_count_nor_break_the_row() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    assert_eq!(slot.tells(HOUR, checked(1, revoked())), SILENCE);
    assert_eq!(slot.tells(HOUR + 10, unreachable(1)), SILENCE);
    assert_eq!(slot.tells(HOUR + 20, checked(1, revoked())), [(First, Revoked, Critical)]);
}

// promises 15, 24
#[test]
fn a_new_secret_breaks_the_row() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    assert_eq!(slot.tells(HOUR, checked(1, revoked())), SILENCE);
    assert_eq!(slot.tells(HOUR + 10, checked(2, revoked())), SILENCE);
    assert_eq!(slot.tells(HOUR + 20, checked(2, revoked())), [(First, Revoked, Critical)]);
}

// promises 16, 25, 27
#[test]
fn proof_of_death_takes_the_place_of_a_date() {
    let mut slot = Slot::new(Policy { confirm_invalid: 1, repeat: Span::ZERO, ..Policy::default() });
    assert_eq!(slot.tells(40 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Info)]);
    assert_eq!(slot.tells(41 * DAY, checked(1, revoked())), [(First, Revoked, Critical)], "no RESOLVED for the ladder");
    assert_eq!(slot.tells(50 * DAY, checked(1, revoked())), SILENCE, "a rung of a dead token");
    assert_eq!(
        slot.tells(51 * DAY, checked(1, valid_until(60 * DAY))),
        [(Resolved, Revoked, Critical), (First, Expiring, Warning)],
        "alive again: what was replaced is told anew"
    );
}

// promise 17
#[test]
fn blind_is_a_warning_then_critical() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    slot.see(15 * MINUTE, unreachable(1));
    assert_eq!(slot.tells(6 * HOUR - 1, unreachable(1)), SILENCE);
    assert_eq!(slot.tells(6 * HOUR, unreachable(1)), [(First, Blind, Warning)]);
    assert_eq!(slot.tells(DAY - 1, unreachable(1)), SILENCE);
    assert_eq!(slot.tells(DAY, unreachable(1)), [(Escalated, Blind, Critical)]);
    assert_eq!(slot.tells(DAY + 1, checked(1, valid_until(60 * DAY))), [(Resolved, Blind, Critical)]);
}

// promise 1
#[test]
fn a_rung_is_told_while_the_token_waits_for_its_turn() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    let turn = at(39 * DAY + 5 * HOUR);
    let step = slot.see(39 * DAY, Observation::Queued(turn));
    assert_eq!(super::words(&step.notices), [(First, Expiring, Info)]);
    assert_eq!((step.status.next_check, step.wake), (turn, turn), "and then it is asked");
    assert_eq!((step.status.failing_since, &step.status.last_error), (None, &None), "nobody kept us away");
}

// promise 17
#[test]
fn a_check_put_off_again_and_again_is_blind_too() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    let mut told = Vec::new();
    for hour in 1..=24 {
        told.extend(slot.tells(hour * HOUR, Observation::Deferred(at((hour + 1) * HOUR))));
    }
    assert_eq!(told, [(First, Blind, Warning), (Escalated, Blind, Critical)]);
    let mut never = quiet();
    never.see(0, Observation::Deferred(at(HOUR)));
    assert_eq!(never.tells(6 * HOUR, Observation::Deferred(at(7 * HOUR))), [(First, Blind, Warning)]);
}

// promise 17
#[test]
fn an_answer_that_nobody_asked_for_is_not_missing() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    // The daemon was stopped for two days, or the schedule is a weekly bell: the first failure is no blindness yet.
    assert_eq!(slot.tells(2 * DAY, unreachable(1)), SILENCE);
    assert_eq!(slot.tells(2 * DAY + 6 * HOUR - 1, unreachable(1)), SILENCE);
    assert_eq!(slot.tells(2 * DAY + 6 * HOUR, unreachable(1)), [(First, Blind, Warning)]);
}

// promise 18
#[test]
fn blindness_that_has_another_name_is_told_as_that() {
    for (seen, told) in [
        (failed(1, CheckError::App(AppFault::Blocked, "".into())), vec![]),
        (no_secret(), vec![(First, SourceUnreadable, Critical)]),
        (failed(1, CheckError::ForeignToken("other".into())), vec![(First, Foreign, Critical)]),
    ] {
        let mut slot = quiet();
        slot.see(0, checked(1, valid_until(60 * DAY)));
        assert_eq!(slot.tells(HOUR, seen.clone()), told);
        assert_eq!(slot.tells(3 * DAY, seen), SILENCE);
    }
}

// promise 18
#[test]
fn an_open_blind_incident_waits_for_an_answer() {
    let mut slot = Slot::new(Policy::default());
    slot.see(0, checked(1, valid_until(60 * DAY)));
    slot.see(HOUR, unreachable(1));
    assert_eq!(slot.tells(2 * DAY, unreachable(1)), [(First, Blind, Critical)]);
    assert_eq!(slot.tells(9 * DAY, failed(1, CheckError::App(AppFault::Blocked, "".into()))), SILENCE);
    assert_eq!(slot.tells(9 * DAY + 1, checked(1, valid_until(60 * DAY))), [(Resolved, Blind, Critical)]);
}

// promise 19
#[test]
fn a_secret_that_cannot_be_read_is_told_at_once_and_ends_when_it_can() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    assert_eq!(slot.tells(HOUR, no_secret()), [(First, SourceUnreadable, Critical)]);
    assert_eq!(slot.tells(2 * HOUR, no_secret()), SILENCE);
    assert_eq!(slot.tells(3 * HOUR, unreachable(1)), [(Resolved, SourceUnreadable, Critical)]);
}

// promise 20
#[test]
fn a_token_of_another_app_ends_with_a_believed_answer_only() {
    let foreign = || failed(1, CheckError::ForeignToken("other".into()));
    let mut slot = quiet();
    assert_eq!(slot.tells(0, foreign()), [(First, Foreign, Critical)]);
    assert_eq!(slot.tells(10, unreachable(2)), SILENCE, "a new secret is not yet a good one");
    assert_eq!(slot.tells(20, checked(2, revoked())), SILENCE, "one bad answer is not believed, so nothing ends");
    assert_eq!(slot.tells(30, checked(2, revoked())), [(First, Revoked, Critical)], "replaced: the token is dead");
    let mut slot = quiet();
    slot.see(0, foreign());
    assert_eq!(slot.tells(10, checked(2, valid_until(60 * DAY))), [(Resolved, Foreign, Critical)]);
}

// promise 22
#[test]
fn permissions_are_judged_on_a_working_token_that_says_what_it_may() {
    let poor = || Inspection { grants: Some(Vec::new()), ..valid_until(60 * DAY) };
    let mut slot = quiet();
    assert_eq!(slot.tells(0, checked(1, Inspection { grants: None, ..valid_until(60 * DAY) })), SILENCE);
    assert_eq!(slot.tells(1, checked(1, poor())), [(First, ScopeMissing, Warning)]);
    assert_eq!(slot.tells(9 * DAY, checked(1, poor())), SILENCE, "a warning does not repeat");
    assert_eq!(slot.tells(10 * DAY, checked(1, valid_until(60 * DAY))), [(Resolved, ScopeMissing, Warning)]);
    let mut slot = quiet();
    assert_eq!(slot.tells(0, checked(1, answer(Validity::Valid, Expiry::Unknown))), [(First, ExpiryUnknown, Info)]);
}

// promises 23, 24
#[test]
fn nothing_ends_while_a_new_secret_is_unverified() {
    let mut slot = Slot::new(Policy::default());
    assert_eq!(slot.tells(59 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Critical)]);
    assert_eq!(slot.tells(59 * DAY + 1, unreachable(2)), SILENCE);
    assert_eq!(slot.tells(59 * DAY + 2, checked(2, revoked())), SILENCE, "not believed yet");
    assert_eq!(slot.tells(60 * DAY + 3, unreachable(2)), SILENCE, "neither repeated nor escalated");
    assert_eq!(slot.tells(60 * DAY + 4, checked(2, valid_until(120 * DAY))), [(Resolved, Expiring, Critical)]);
    assert_eq!(slot.tells(60 * DAY + 5, checked(2, valid_until(120 * DAY))), SILENCE, "once");
}

// promise 24
#[test]
fn a_new_secret_with_a_long_life_resolves_what_the_old_one_had() {
    for (first, told) in [
        (checked(1, valid_until(HOUR)), (First, Expired, Critical)),
        (checked(1, Inspection { grants: Some(Vec::new()), ..valid_until(60 * DAY) }), (First, ScopeMissing, Warning)),
        (checked(1, answer(Validity::Valid, Expiry::Unknown)), (First, ExpiryUnknown, Info)),
        (checked(1, revoked()), (First, Revoked, Critical)),
        (checked(1, Inspection::bare(Validity::Unreadable)), (First, Unreadable, Critical)),
    ] {
        let mut slot = Slot::new(Policy { confirm_invalid: 1, repeat: Span::ZERO, ..Policy::default() });
        assert_eq!(slot.tells(DAY, first), [told]);
        let (_, reason, severity) = told;
        assert_eq!(slot.tells(2 * DAY, checked(2, valid_until(60 * DAY))), [(Resolved, reason, severity)]);
    }
}

// promise 26
#[test]
fn a_later_date_on_its_own_ladder_resolves_the_old_incident_and_opens_a_new_one() {
    for secret in [1, 2] {
        let mut slot = quiet();
        assert_eq!(slot.tells(59 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Critical)]);
        assert_eq!(slot.tells(60 * DAY, checked(1, valid_until(60 * DAY))), [(Escalated, Expired, Critical)]);
        assert_eq!(
            slot.tells(60 * DAY + 1, checked(secret, valid_until(80 * DAY))),
            [(Resolved, Expired, Critical), (First, Expiring, Info)],
            "secret {secret}"
        );
    }
}

// promise 26
#[test]
fn an_earlier_date_replaces_the_old_incident() {
    let mut slot = quiet();
    assert_eq!(slot.tells(40 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Info)]);
    assert_eq!(slot.tells(40 * DAY + 1, checked(1, valid_until(42 * DAY))), [(First, Expiring, Critical)]);
}

// promise 26
#[test]
fn the_same_fault_of_a_new_secret_is_told_without_a_resolved() {
    let poor = |end| Inspection { grants: Some(Vec::new()), ..valid_until(end) };
    let mut slot = quiet();
    assert_eq!(slot.tells(0, checked(1, poor(60 * DAY))), [(First, ScopeMissing, Warning)]);
    assert_eq!(slot.tells(1, checked(2, poor(60 * DAY))), [(First, ScopeMissing, Warning)]);
}

// promises 28, 33
#[test]
fn a_slot_removed_and_added_again_is_told_again_under_other_keys() {
    let mut slot = quiet();
    slot.spec.provider = ProviderName::parse("gitlab").expect("a name");
    let first = slot.see(59 * DAY, checked(1, valid_until(60 * DAY))).notices;
    let subject = Subject::Token(slot.spec.id.clone());
    let incidents = std::mem::take(&mut slot.status.ledger.incidents);
    let farewell = retire(&subject, incidents, at(59 * DAY + HOUR));
    assert_eq!(super::words(&farewell.notices), [(Resolved, Expiring, Critical)]);
    assert_eq!(farewell.notices[0].provider, first[0].provider, "Alertmanager knows the alert by it");
    slot.status = TokenStatus::new(at(59 * DAY + 2 * HOUR));
    let again = slot.see(59 * DAY + 2 * HOUR, checked(1, valid_until(60 * DAY))).notices;
    assert_eq!(super::words(&again), [(First, Expiring, Critical)]);
    assert_ne!(again[0].key, first[0].key, "the outbox would take it for a notice that was delivered already");
}

// promise 29
#[test]
fn critical_incidents_repeat_and_others_do_not() {
    let mut slot = Slot::new(Policy::default());
    let seen = || checked(1, valid_until(60 * DAY));
    assert_eq!(slot.tells(53 * DAY, seen()), [(First, Expiring, Warning)]);
    assert_eq!(slot.tells(56 * DAY, seen()), SILENCE);
    assert_eq!(slot.tells(57 * DAY, seen()), [(Escalated, Expiring, Critical)]);
    assert_eq!(slot.tells(58 * DAY - 1, seen()), SILENCE);
    assert_eq!(slot.tells(58 * DAY, seen()), [(Repeated, Expiring, Critical)]);
    assert_eq!(slot.tells(59 * DAY, seen()), [(Escalated, Expiring, Critical)]);
    assert_eq!(slot.tells(60 * DAY, seen()), [(Escalated, Expired, Critical)]);
    assert_eq!(slot.tells(61 * DAY, seen()), [(Repeated, Expired, Critical)]);
}

// promise 30
#[test]
fn a_clock_moved_back_resends_nothing_and_ends_nothing() {
    let mut slot = quiet();
    let seen = || checked(1, valid_until(60 * DAY));
    for day in [39, 46, 53, 57, 59] {
        assert_eq!(slot.tells(day * DAY, seen()).len(), 1);
    }
    for day in [58, 50, 30, 0, 45, 57, 59] {
        assert_eq!(slot.tells(day * DAY, seen()), SILENCE, "day {day}");
    }
    assert_eq!(slot.tells(60 * DAY, seen()), [(Escalated, Expired, Critical)]);
    assert_eq!(slot.tells(60 * DAY - 1, seen()), SILENCE);
    assert_eq!(slot.tells(60 * DAY, seen()), SILENCE);
}

// promise 30
#[test]
fn repeats_count_from_the_step_back_and_come_only_while_critical() {
    let mut slot = Slot::new(Policy::default());
    let seen = || checked(1, valid_until(60 * DAY));
    assert_eq!(slot.tells(58 * DAY, seen()), [(First, Expiring, Critical)]);
    assert_eq!(slot.tells(57 * DAY + HOUR, seen()), SILENCE);
    assert_eq!(slot.tells(58 * DAY, seen()), SILENCE);
    assert_eq!(slot.tells(58 * DAY + HOUR, seen()), [(Repeated, Expiring, Critical)]);
    // Back to where the token stood on a warning rung: it is not repeated as the warning that it is now.
    assert_eq!(slot.tells(50 * DAY, seen()), SILENCE);
    let step = slot.see(52 * DAY, seen());
    assert!(step.notices.is_empty());
    assert!(step.wake > at(52 * DAY + 1), "and no look is due for it every second");
}

// promise 30
#[test]
fn a_repeat_by_a_clock_moved_back_forgets_no_rung() {
    let mut slot = Slot::new(Policy::default());
    let seen = || checked(1, valid_until(60 * DAY));
    assert_eq!(slot.tells(59 * DAY, seen()), [(First, Expiring, Critical)], "the last rung");
    assert_eq!(slot.tells(57 * DAY, seen()), SILENCE, "back to the last but one, which is critical as well");
    assert_eq!(slot.tells(58 * DAY, seen()), [(Repeated, Expiring, Critical)]);
    assert_eq!(slot.tells(59 * DAY - 1, seen()), SILENCE);
    assert_eq!(slot.tells(59 * DAY, seen()), [(Repeated, Expiring, Critical)], "not the last rung again");
}

// promise 30
#[test]
fn a_lifetime_is_not_measured_from_a_clock_that_ran_ahead() {
    let seen = || checked(1, answer(Validity::Valid, Expiry::At(at(60 * DAY))));
    let mut slot = quiet();
    assert_eq!(slot.tells(59 * DAY, seen()), SILENCE, "a lifetime of one day, as far as we can know");
    slot.see(0, seen());
    assert_eq!(slot.tells(39 * DAY, seen()), [(First, Expiring, Info)], "a lifetime of sixty days, as it turned out");
}

// promise 30
#[test]
fn blindness_is_not_measured_from_a_clock_that_ran_ahead() {
    let mut slot = quiet();
    slot.see(30 * DAY, checked(1, valid_until(600 * DAY)));
    slot.see(0, unreachable(1));
    assert_eq!(slot.tells(6 * HOUR, unreachable(1)), [(First, Blind, Warning)]);
}

// promise 31
#[test]
fn a_status_without_news_is_silent() {
    let mut slot = quiet();
    slot.see(50 * DAY, checked(1, valid_until(60 * DAY)));
    let before = slot.status.clone();
    for second in 1..100 {
        assert_eq!(slot.tells(50 * DAY + second, checked(1, valid_until(60 * DAY))), SILENCE);
    }
    assert_eq!(slot.status.ledger.incidents, before.ledger.incidents);
}

// promises 1, 26
#[test]
fn the_window_of_data_access_has_a_ladder_of_its_own() {
    let seen = |window: i64| {
        let answer = Inspection { data_access: Expiry::At(at(window)), ..valid_until(60 * DAY) };
        checked(1, Inspection { expires: Expiry::Never, ..answer })
    };
    let mut slot = quiet();
    assert_eq!(slot.tells(69 * DAY, seen(90 * DAY)), [(First, DataAccessExpiring, Info)]);
    assert_eq!(slot.tells(90 * DAY, seen(90 * DAY)), [(Escalated, DataAccessExpired, Critical)]);
    assert_eq!(slot.tells(91 * DAY, seen(180 * DAY)), [(Resolved, DataAccessExpired, Critical)]);
}

// promise 2
#[test]
fn shares_of_a_lifetime_make_a_ladder() {
    let ladder = Ladder::new(vec![Lead::Share(3_300), Lead::Share(1_000), Lead::Share(500)]).expect("three rungs");
    let mut slot = Slot::new(Policy { ladder, repeat: Span::ZERO, ..Policy::default() });
    let seen = || checked(1, valid_until(100 * DAY));
    assert_eq!(slot.tells(67 * DAY - 1, seen()), SILENCE);
    assert_eq!(slot.tells(67 * DAY, seen()), [(First, Expiring, Info)]);
    assert_eq!(slot.tells(90 * DAY, seen()), [(Escalated, Expiring, Critical)]);
}

// promise 35
#[test]
fn notices_are_folded_and_led_by_the_most_urgent() {
    let mut slot = quiet();
    let info = slot.see(39 * DAY, checked(1, valid_until(60 * DAY))).notices.remove(0);
    let critical = slot.see(59 * DAY, checked(1, valid_until(60 * DAY))).notices.remove(0);
    let resolved = slot.see(59 * DAY + 1, checked(2, valid_until(120 * DAY))).notices.remove(0);
    let receiver = slot.spec.receivers[0].clone();
    let all = vec![resolved.clone(), info.clone(), critical.clone()];
    let bundle = Bundle::new(receiver.clone(), all).expect("three notices");
    assert_eq!(bundle.notices, [critical.clone(), info.clone(), resolved.clone()]);
    assert_eq!(bundle.severity(), Some(Critical));
    assert_eq!(Bundle::new(receiver, vec![resolved]).expect("one notice").severity(), None, "all is well");
    assert_eq!(send_at([&critical].into_iter(), false), Some(critical.at));
    assert_eq!(send_at([&critical].into_iter(), true), Some(critical.at.plus(FOLD_WINDOW)));
    assert_eq!(send_at([&info].into_iter(), false), Some(info.at.plus(FOLD_WINDOW)));
    assert_eq!(send_at([&critical, &info].into_iter(), false), Some(info.at.plus(FOLD_WINDOW)), "the oldest decides");
}

// promise 36
#[test]
fn what_is_acknowledged_is_not_repeated_and_still_escalates() {
    let mut slot = Slot::new(Policy::default());
    let seen = || checked(1, valid_until(60 * DAY));
    assert_eq!(slot.see(50 * DAY, know()).refused, Some(Refused::NothingOpen));
    assert_eq!(slot.tells(57 * DAY, seen()), [(First, Expiring, Critical)]);
    let step = slot.see(57 * DAY + HOUR, know());
    assert_eq!((step.refused, step.notices.len()), (None, 0));
    assert!(
        matches!(step.entries[..], [Entry::Answer(Answer::Acknowledge(_)), Entry::Incident(_, None)]),
        "{:?}",
        step.entries
    );
    assert_eq!(slot.tells(58 * DAY + HOUR, seen()), SILENCE, "not repeated");
    let nearer = slot.see(59 * DAY, seen()).notices;
    assert_eq!(super::words(&nearer), [(Escalated, Expiring, Critical)]);
    let known = nearer[0].acknowledged.as_ref().expect("who knows of it");
    assert_eq!((known.at, &known.by, &known.why), (at(57 * DAY + HOUR), &signed().by, &signed().why));
    slot.see(59 * DAY + 1, know());
    let end = slot.see(60 * DAY, seen()).notices;
    assert_eq!(super::words(&end), [(Escalated, Expired, Critical)]);
    assert_eq!(end[0].acknowledged.as_ref().map(|known| known.at), Some(at(57 * DAY + HOUR)), "the first one stands");
    let over = slot.see(60 * DAY + 1, checked(2, valid_until(120 * DAY))).notices;
    assert_eq!(super::words(&over), [(Resolved, Expired, Critical)]);
    assert!(over[0].acknowledged.is_some());
    let next = slot.see(118 * DAY, checked(2, valid_until(120 * DAY))).notices;
    assert!(next[0].acknowledged.is_none(), "it ended with its incident");
}

// promise 36
/// What the page and the status call "known" is what is as bad as the worst: open, or found and not told yet.
#[test]
fn a_subject_is_known_of_when_all_that_is_worst_is() {
    type Row = (&'static [(Reason, Severity, bool)], &'static [(Reason, Severity)], bool);
    let mut slot = Slot::new(Policy::default());
    slot.see(59 * DAY, checked(1, valid_until(60 * DAY)));
    let incident = slot.status.ledger.incidents[0].clone();
    let rows: [Row; 8] = [
        (&[], &[], false),
        (&[(Expiring, Critical, true)], &[(Expiring, Critical)], true),
        (&[(Expiring, Critical, false)], &[(Expiring, Critical)], false),
        (&[(Expiring, Critical, true), (Blind, Warning, false)], &[(Expiring, Critical), (Blind, Warning)], true),
        (&[(Expiring, Critical, true), (SourceUnreadable, Critical, false)], &[(Expiring, Critical)], false),
        (&[(Blind, Warning, true)], &[(Blind, Warning), (Revoked, Critical)], false),
        (&[(Blind, Warning, true)], &[(Blind, Critical)], true),
        (&[(Expiring, Critical, true)], &[], true),
    ];
    for (open, found, known) in rows {
        let of = |(reason, severity, acknowledged): &(Reason, Severity, bool)| Incident {
            reason: *reason,
            severity: *severity,
            acknowledged: acknowledged.then(signed),
            ..incident.clone()
        };
        let ledger = Ledger { incidents: open.iter().map(of).collect(), ..Ledger::default() };
        assert_eq!(ledger.is_known(found), known, "{open:?} {found:?}");
    }
}

// promise 36
#[test]
fn what_nobody_was_told_of_can_be_acknowledged() {
    let mut slot = Slot::new(Policy::default());
    slot.see(0, hush_all(DAY));
    assert_eq!(slot.tells(1, no_secret()), SILENCE);
    assert_eq!(slot.see(2, know()).refused, None);
    assert_eq!(slot.tells(DAY, no_secret()), [(First, SourceUnreadable, Critical)]);
    assert_eq!(slot.tells(9 * DAY, no_secret()), SILENCE, "and is not repeated");
}

// promise 36
#[test]
fn what_begins_after_an_acknowledgement_is_not_acknowledged() {
    let mut slot = Slot::new(Policy::default());
    assert_eq!(slot.tells(0, poor()), [(First, ScopeMissing, Warning)]);
    slot.see(1, know());
    let later = slot.see(2, no_secret()).notices;
    assert!(later[0].acknowledged.is_none());
}

// promises 37, 39
#[test]
fn what_a_silence_held_back_is_told_in_the_second_in_which_it_ends() {
    let mut slot = quiet();
    slot.see(0, rich());
    slot.see(10, hush(HOUR));
    let step = slot.see(20, poor());
    assert!(step.notices.is_empty());
    assert_eq!(step.status.ledger.incidents.len(), 1, "it is open all the same");
    let reminder = HOUR + 10 - HOUR * 3 / 100;
    assert_eq!(slot.see(reminder - 1, poor()).wake, at(reminder), "a look is due");
    assert_eq!(slot.tells(reminder, poor()), [(Reminded, ScopeMissing, Warning)]);
    assert_eq!(slot.see(HOUR + 9, poor()).wake, at(HOUR + 10), "a look is due");
    assert_eq!(slot.tells(HOUR + 10, poor()), [(First, ScopeMissing, Warning)]);
    assert_eq!(slot.status.ledger.silence, None);
}

// promises 37, 39
#[test]
fn a_silence_that_is_taken_away_ends_at_once() {
    let mut slot = quiet();
    slot.see(40 * DAY, checked(1, valid_until(60 * DAY)));
    slot.see(41 * DAY, hush(30 * DAY));
    assert_eq!(slot.tells(46 * DAY, checked(1, valid_until(60 * DAY))), SILENCE);
    assert_eq!(slot.tells(47 * DAY, speak()), [(Escalated, Expiring, Warning)], "of what got worse meanwhile");
    assert_eq!(slot.see(47 * DAY + 1, speak()).refused, Some(Refused::NotSilenced));
}

// promises 29, 39
#[test]
fn a_repeat_that_was_held_back_comes_when_the_silence_ends() {
    let mut slot = Slot::new(Policy::default());
    assert_eq!(slot.tells(0, no_secret()), [(First, SourceUnreadable, Critical)]);
    slot.see(HOUR, hush(2 * DAY));
    let step = slot.see(DAY, no_secret());
    assert!(step.notices.is_empty() && step.wake > at(DAY + 1), "and no look is due for it every second");
    assert_eq!(slot.tells(2 * DAY, no_secret()), [(Reminded, SourceUnreadable, Critical)]);
    assert_eq!(slot.tells(2 * DAY + HOUR, no_secret()), [(Repeated, SourceUnreadable, Critical)]);
}

// promises 23, 37, 39
#[test]
fn of_what_began_and_ended_within_a_silence_nobody_hears_but_history() {
    let mut slot = quiet();
    assert_eq!(slot.tells(0, poor()), [(First, ScopeMissing, Warning)]);
    slot.see(10, hush(DAY));
    assert_eq!(slot.tells(20, no_secret()), SILENCE);
    let step = slot.see(30, rich());
    assert_eq!(super::words(&step.notices), [(Resolved, ScopeMissing, Warning)], "RESOLVED of what was told is told");
    let ended = |entry: &&Entry| matches!(entry, Entry::Incident(_, Some((_, Ending::Resolved))));
    assert_eq!(step.entries.iter().filter(ended).count(), 2, "and both are kept");
}

// promise 37
#[test]
fn a_silence_lasts_a_minute_at_least_and_ninety_days_at_most() {
    for (seconds, refused) in [(59, true), (60, false), (90 * DAY, false), (90 * DAY + 1, true), (0, true), (-60, true)]
    {
        let mut slot = quiet();
        let step = slot.see(0, hush(seconds));
        assert_eq!(step.refused, refused.then_some(Refused::Length), "{seconds} s");
        assert_eq!(step.entries.is_empty(), refused, "{seconds} s");
        assert_eq!(slot.status.ledger.silence.is_some(), !refused, "{seconds} s");
    }
}

// promise 38
#[test]
fn a_silence_never_hides_the_end_of_a_token() {
    for (seen, told) in [
        (checked(1, valid_until(60 * DAY)), (First, Expired, Critical)),
        (checked(1, revoked()), (First, Revoked, Critical)),
        (checked(1, Inspection::bare(Validity::Unreadable)), (First, Unreadable, Critical)),
        (
            checked(1, Inspection { data_access: Expiry::At(at(DAY)), ..valid_until(600 * DAY) }),
            (First, DataAccessExpired, Critical),
        ),
        (checked(1, valid_until(60 * DAY + HOUR)), (First, Expiring, Critical)),
    ] {
        let policy = Policy { confirm_invalid: 1, ..Policy::default() };
        let mut slot = Slot::new(policy.clone());
        slot.see(60 * DAY - 1, hush(10 * DAY));
        assert_eq!(slot.tells(60 * DAY, seen.clone()), [told]);
        assert_eq!(slot.tells(60 * DAY + 30 * MINUTE, seen.clone()), SILENCE, "once");
        let mut slot = Slot::new(policy);
        slot.see(60 * DAY - 1, hush_all(10 * DAY));
        assert_eq!(slot.tells(60 * DAY, seen), SILENCE, "it was asked for by name");
    }
}

// promise 38
#[test]
fn a_silence_hides_every_rung_but_the_last() {
    let mut slot = Slot::new(Policy::default());
    let seen = || checked(1, valid_until(60 * DAY));
    slot.see(30 * DAY, hush(80 * DAY));
    for day in [39, 46, 53, 57] {
        assert_eq!(slot.tells(day * DAY, seen()), SILENCE, "day {day}");
    }
    assert_eq!(slot.tells(59 * DAY, seen()), [(First, Expiring, Critical)]);
    assert_eq!(slot.tells(60 * DAY, seen()), [(Escalated, Expired, Critical)]);
    assert_eq!(slot.tells(62 * DAY, seen()), SILENCE, "repeats are held back");
}

// promise 38
#[test]
fn a_critical_finding_that_is_no_end_is_held_back() {
    let mut slot = quiet();
    slot.see(0, hush(DAY));
    assert_eq!(slot.tells(1, no_secret()), SILENCE);
    assert_eq!(slot.tells(2, failed(1, CheckError::ForeignToken("other".into()))), SILENCE);
}

// promise 40
#[test]
fn a_silence_says_one_rung_before_it_ends_that_it_does() {
    // Ten days, so the rungs are 7, 3 and 1 days.
    let mut slot = Slot::new(Policy::default());
    assert_eq!(slot.tells(0, poor()), [(First, ScopeMissing, Warning)]);
    slot.see(HOUR, hush(10 * DAY));
    assert_eq!(slot.tells(2 * HOUR, no_secret()), SILENCE);
    let step = slot.see(9 * DAY + HOUR - 1, no_secret());
    assert!(step.notices.is_empty());
    assert_eq!(step.wake, at(9 * DAY + HOUR));
    let reminders = slot.see(9 * DAY + HOUR, no_secret()).notices;
    assert_eq!(
        super::words(&reminders),
        [(Reminded, ScopeMissing, Warning), (Reminded, SourceUnreadable, Critical)],
        "all that is open, told or not"
    );
    let silence = reminders[0].silence.as_ref().expect("which silence");
    assert_eq!((silence.until, reminders[0].next), (at(10 * DAY + HOUR), Some(at(10 * DAY + HOUR))));
    assert_eq!(reminders[1].receivers, slot.spec.receivers, "those hear of it who would have been told");
    assert_eq!(slot.tells(9 * DAY + HOUR + 1, no_secret()), SILENCE, "once");
}

// promise 40
#[test]
fn a_reminder_says_how_things_stand_now() {
    let mut slot = Slot::new(Policy::default());
    let seen = || checked(1, valid_until(60 * DAY));
    slot.see(38 * DAY, hush_all(23 * DAY));
    assert_eq!(slot.tells(39 * DAY, seen()), SILENCE, "the first rung, an info");
    let reminder = slot.see(60 * DAY, seen()).notices;
    assert_eq!(super::words(&reminder), [(Reminded, Expired, Critical)]);
    assert_eq!(slot.tells(61 * DAY, seen()), [(First, Expired, Critical)]);
}

// promises 33, 40
#[test]
fn two_silences_that_end_in_the_same_second_remind_under_two_keys() {
    let mut slot = quiet();
    slot.see(0, poor());
    slot.see(10, hush(HOUR));
    let one = slot.see(HOUR - 60, poor()).notices;
    slot.see(HOUR - 50, hush(60));
    let other = slot.see(HOUR + 9, poor()).notices;
    assert_eq!((one[0].why, other[0].why), (Reminded, Reminded));
    assert_ne!(one[0].key, other[0].key);
    assert_eq!(one[0].key.incident(), other[0].key.incident(), "in one thread");
}

// promise 40
#[test]
fn a_new_silence_takes_the_place_of_the_old_one() {
    let mut slot = quiet();
    slot.see(0, hush(DAY));
    slot.see(10, hush(HOUR));
    assert_eq!(slot.tells(20, poor()), SILENCE);
    assert_eq!(slot.tells(HOUR + 10, poor()), [(First, ScopeMissing, Warning)]);
}

// promise 40
#[test]
fn a_silence_without_anything_open_ends_without_a_word() {
    let mut slot = quiet();
    slot.see(0, rich());
    slot.see(10, hush(HOUR));
    for second in [HOUR - 60, HOUR, HOUR + 10] {
        assert_eq!(slot.tells(second, rich()), SILENCE);
    }
}

// promises 30, 40
#[test]
fn a_silence_lasts_no_longer_when_the_clock_moves_back() {
    let mut slot = quiet();
    slot.see(30 * DAY, hush(DAY));
    assert_eq!(slot.tells(0, poor()), SILENCE);
    assert_eq!(slot.status.ledger.silence.as_ref().map(|silence| silence.until), Some(at(DAY)));
    slot.see(DAY - 1, poor());
    assert_eq!(slot.tells(DAY, poor()), [(First, ScopeMissing, Warning)]);
}

// promises 41, 42
#[test]
fn what_comes_and_goes_is_damped() {
    let mut slot = fickle();
    let fourth = slot.see(360, poor()).notices;
    assert_eq!(super::words(&fourth), [(First, ScopeMissing, Warning)]);
    assert_eq!(fourth[0].flaps, Some(4), "and says so");
    let mut now = 360;
    for _ in 0..100 {
        assert_eq!(slot.tells(now + HOUR - 1, rich()), SILENCE, "not resolved");
        assert_eq!(slot.tells(now + 2 * HOUR - 2, poor()), SILENCE, "nor begun anew");
        now += 2 * HOUR - 2;
    }
    slot.see(now + 60, rich());
    let step = slot.see(now + HOUR + 59, rich());
    assert!(step.notices.is_empty());
    assert_eq!(step.wake, at(now + HOUR + 60), "a look is due");
    let over = slot.see(now + HOUR + 60, rich()).notices;
    assert_eq!(super::words(&over), [(Resolved, ScopeMissing, Warning)], "calm for an hour");
    assert_eq!(slot.tells(now + HOUR + 61, poor()), [(First, ScopeMissing, Warning)]);
    assert_eq!(slot.see(now + HOUR + 62, poor()).status.ledger.incidents[0].damped, None, "long after the others");
}

// promise 41
#[test]
fn beginnings_count_for_a_day() {
    let mut slot = fickle();
    let fourth = slot.see(DAY, poor()).notices;
    assert_eq!((fourth[0].why, fourth[0].flaps), (First, None), "the first of the three was a day ago");
    let mut slot = fickle();
    assert_eq!(slot.see(DAY - 1, poor()).notices[0].flaps, Some(4));
}

// promises 30, 41
#[test]
fn beginnings_and_changes_are_not_remembered_from_a_clock_that_ran_ahead() {
    let ahead = 30 * DAY;
    let mut slot = quiet();
    for turn in 0..3 {
        slot.see(ahead + turn * 120, poor());
        slot.see(ahead + turn * 120 + 60, rich());
    }
    slot.see(0, rich());
    let mut calm = Slot { spec: slot.spec.clone(), status: slot.status.clone() };
    assert_eq!(slot.see(DAY - 1, poor()).notices[0].flaps, Some(4), "they count from the step back");
    assert_eq!(calm.see(DAY, poor()).notices[0].flaps, None, "for a day");

    let mut slot = fickle();
    assert_eq!(slot.tells(360, poor()), [(First, ScopeMissing, Warning)]);
    assert_eq!(slot.tells(420, rich()), SILENCE);
    assert_eq!(slot.tells(-ahead, rich()), SILENCE);
    assert_eq!(slot.tells(HOUR - ahead, rich()), [(Resolved, ScopeMissing, Warning)], "an hour from the step back");
}

// promise 41
#[test]
fn each_kind_is_counted_by_itself() {
    let mut slot = fickle();
    assert_eq!(slot.see(360, no_secret()).notices[0].flaps, None);
}

// promise 41
#[test]
fn very_many_beginnings_are_no_reason_to_forget_the_latest() {
    let mut slot = quiet();
    // Each secret is dead already, so each end is told (43).
    for n in 0..100_u8 {
        assert_eq!(slot.tells(i64::from(n), checked(n, valid_until(-1))), [(First, Expired, Critical)]);
    }
    for n in 0..4 {
        let told = slot.see(200 + n * 60, if n % 2 == 0 { no_secret() } else { checked(99, valid_until(-1)) }).notices;
        assert_eq!(told[0].reason, SourceUnreadable);
    }
    slot.see(500, no_secret());
    slot.see(510, checked(99, valid_until(-1)));
    assert!(slot.see(520, no_secret()).notices[0].flaps.is_some(), "the other kinds are counted, too");
    assert!(slot.see(DAY + 50, checked(100, valid_until(-1))).notices.iter().any(|notice| notice.flaps > Some(40)));
}

// promise 41
#[test]
fn of_what_comes_and_goes_only_what_is_worse_is_told_and_repeated() {
    let mut slot = Slot::new(Policy { ladder: days(&[20, 10, 5]), ..Policy::default() });
    let seen = |secret, day: i64| checked(secret, valid_until(day * DAY));
    let day = 45 * DAY;
    for secret in 1..=3 {
        assert_eq!(slot.tells(day + i64::from(secret), seen(secret, 60)), [(First, Expiring, Info)]);
    }
    let fourth = slot.see(day + 4, seen(4, 60)).notices;
    assert_eq!((fourth[0].why, fourth[0].flaps), (First, Some(4)));
    assert_eq!(slot.tells(day + 5, seen(5, 60)), SILENCE, "another secret");
    assert_eq!(slot.tells(day + 6, seen(5, 59)), SILENCE, "another date");
    let worse = slot.see(day + 7, seen(6, 54)).notices;
    assert_eq!(super::words(&worse), [(Escalated, Expiring, Critical)]);
    assert!(worse[0].flaps.is_some());
    assert_eq!(slot.tells(day + 8, seen(7, 60)), SILENCE);
    assert_eq!(slot.tells(day + 9, seen(8, 54)), SILENCE, "as bad, and no worse");
    for minute in 1..24 * 60 {
        let secret = if minute % 2 == 0 { 8 } else { 9 };
        assert_eq!(slot.tells(day + 7 + minute * 60, seen(secret, 54)), SILENCE);
    }
    assert_eq!(slot.tells(day + 7 + DAY, seen(8, 54)), [(Repeated, Expiring, Critical)], "as ever");
}

// promise 42
#[test]
fn what_is_calm_and_continues_goes_on_undamped() {
    let mut slot = fickle();
    slot.see(360, poor());
    slot.see(420, rich());
    slot.see(480, poor());
    slot.see(480 + HOUR - 1, poor());
    assert!(slot.status.ledger.incidents[0].damped.is_some());
    slot.see(480 + HOUR, poor());
    assert!(slot.status.ledger.incidents[0].damped.is_none());
    let over = slot.see(480 + HOUR + 1, rich()).notices;
    assert_eq!(super::words(&over), [(Resolved, ScopeMissing, Warning)], "as of any other");
}

// promise 42
#[test]
fn what_is_calm_and_does_not_continue_ends_by_the_rules() {
    let mut slot = fickle();
    slot.see(360, poor());
    // Another secret that lacks the same permission.
    let other = || checked(2, Inspection { grants: Some(Vec::new()), ..valid_until(600 * DAY) });
    assert_eq!(slot.tells(420, other()), SILENCE);
    assert_eq!(slot.tells(420 + HOUR, other()), [(First, ScopeMissing, Warning)], "replaced, without a RESOLVED");
}

// promise 43
#[test]
fn the_end_of_another_secret_is_no_part_of_it() {
    let mut slot = Slot::new(Policy { confirm_invalid: 1, repeat: Span::ZERO, ..Policy::default() });
    for secret in 1..=3 {
        assert_eq!(slot.tells(i64::from(secret) * 60, checked(secret, revoked())), [(First, Revoked, Critical)]);
    }
    for secret in 4..=6 {
        let told = slot.see(i64::from(secret) * 60, checked(secret, revoked())).notices;
        assert_eq!(super::words(&told), [(First, Revoked, Critical)], "each end is told");
        assert_eq!(told[0].flaps, Some(u32::from(secret)), "and damped");
    }
    assert_eq!(slot.tells(420, checked(6, valid_until(600 * DAY))), SILENCE);
    assert_eq!(slot.tells(480, checked(6, revoked())), SILENCE, "the same secret comes and goes");
}

// promise 43
#[test]
fn a_word_taken_back_waits_for_the_calm() {
    let expired = || checked(1, answer(Validity::Expired, Expiry::Unknown));
    let fine = || checked(1, valid_until(600 * DAY));
    let wrong = |slot: &mut Slot| {
        slot.see(0, fine());
        for turn in 0..3 {
            assert_eq!(slot.tells(turn * 120 + 60, expired()), [(First, Expired, Critical)]);
            assert_eq!(slot.tells(turn * 120 + 120, fine()), [(Resolved, Expired, Critical)]);
        }
        assert_eq!(slot.tells(600, expired()), [(First, Expired, Critical)]);
        assert_eq!(slot.tells(660, fine()), SILENCE);
    };
    let mut slot = quiet();
    wrong(&mut slot);
    assert_eq!(slot.tells(660 + HOUR - 1, fine()), SILENCE);
    assert_eq!(slot.tells(660 + HOUR, fine()), [(Resolved, Expired, Critical)]);
    // Said again, it is expired, and the incident goes on.
    let mut slot = quiet();
    wrong(&mut slot);
    assert_eq!(slot.tells(720, expired()), SILENCE);
    assert_eq!(slot.tells(720 + HOUR, expired()), SILENCE);
    assert!(slot.status.ledger.incidents.iter().all(|incident| incident.damped.is_none()));
    assert_eq!(slot.tells(720 + HOUR + 1, fine()), [(Resolved, Expired, Critical)], "undamped");
}

// promise 43
#[test]
fn the_end_of_another_date_is_told_even_when_a_word_is_taken_back_with_it() {
    let mut slot = quiet();
    let says =
        |validity, end| checked(1, Inspection { issued_at: Some(at(0)), ..answer(validity, Expiry::At(at(end))) });
    slot.see(0, says(Validity::Valid, 600 * DAY));
    for turn in 0..3 {
        slot.see(turn * 120 + 60, says(Validity::Expired, 600 * DAY));
        slot.see(turn * 120 + 120, says(Validity::Valid, 600 * DAY));
    }
    assert_eq!(slot.tells(600, says(Validity::Expired, 600 * DAY)), [(First, Expired, Critical)]);
    let told = slot.see(660, says(Validity::Valid, 660 + 10)).notices;
    assert!(super::words(&told).contains(&(First, Expiring, Critical)), "{told:?}");
}

// promises 42, 43
#[test]
fn a_word_taken_back_is_a_change_even_where_the_date_stays() {
    let day = 50 * DAY;
    let fine = || checked(1, valid_until(60 * DAY));
    let expired = || checked(1, Inspection { validity: Validity::Expired, ..valid_until(60 * DAY) });
    let mut slot = quiet();
    assert_eq!(slot.tells(day, fine()), [(First, Expiring, Warning)]);
    let anew = [(Resolved, Expired, Critical), (First, Expiring, Warning)];
    for turn in 1..=3 {
        assert_eq!(slot.tells(day + turn * 120 - 60, expired()), [(Escalated, Expired, Critical)]);
        assert_eq!(slot.tells(day + turn * 120, fine()), anew);
    }
    assert_eq!(slot.tells(day + 420, expired()), [(Escalated, Expired, Critical)], "worse than all that was told");
    assert_eq!(slot.tells(day + 1_800, fine()), SILENCE);
    assert_eq!(slot.tells(day + 1_799 + HOUR, fine()), SILENCE);
    assert_eq!(slot.tells(day + 1_800 + HOUR, fine()), anew);
}

// promise 23
#[test]
fn whoever_was_told_hears_that_it_is_over() {
    let name = |name| ReceiverName::parse(name).expect("a good name");
    let mut slot = quiet();
    assert_eq!(slot.tells(53 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Warning)]);
    slot.spec.receivers = [name("boss")].into();
    let worse = slot.see(57 * DAY, checked(1, valid_until(60 * DAY))).notices;
    assert_eq!(worse[0].receivers[..], [name("boss")]);
    let over = slot.see(58 * DAY, checked(2, valid_until(600 * DAY))).notices;
    assert_eq!(over[0].receivers[..], [name("oncall"), name("boss")]);
}

// promise 39
#[test]
fn history_keeps_every_change_of_an_incident_and_nothing_else() {
    let mut slot = quiet();
    let seen = |secret, end: i64| checked(secret, valid_until(end * DAY));
    let mut kept = |second, seen| {
        let entries = slot.see(second, seen).entries;
        let incident = |entry| match entry {
            Entry::Incident(incident, ended) => Some((incident.number, incident.severity, ended.map(|(_, how)| how))),
            Entry::Answer(_) | Entry::Renewal(_) => None,
        };
        entries.into_iter().map(incident).collect::<Vec<_>>()
    };
    assert_eq!(kept(0, seen(1, 60)), []);
    assert_eq!(kept(53 * DAY, seen(1, 60)), [Some((1, Warning, None))]);
    assert_eq!(kept(54 * DAY, seen(1, 60)), []);
    assert_eq!(kept(57 * DAY, seen(1, 60)), [Some((1, Critical, None))]);
    assert_eq!(kept(57 * DAY + 1, know()), [None, Some((1, Critical, None))], "the answer, and who knows of it");
    assert_eq!(
        kept(57 * DAY + 2, seen(1, 59)),
        [Some((1, Critical, Some(Ending::Superseded))), Some((2, Critical, None))]
    );
    assert_eq!(kept(57 * DAY + 3, seen(1, 600)), [Some((2, Critical, Some(Ending::Resolved)))]);
}

// promise 33
#[test]
fn a_ledger_that_starts_afresh_goes_on_counting() {
    let mut slot = quiet();
    slot.see(0, poor());
    slot.see(1, hush(DAY));
    let fresh = slot.status.ledger.fresh();
    assert_eq!((fresh.count, fresh.incidents.len(), fresh.silence), (1, 0, None));
}

// promises 30, 39
#[test]
fn what_nobody_was_told_of_is_told_as_bad_as_it_is_when_the_silence_ends() {
    let seen = || checked(1, valid_until(60 * DAY));
    let mut slot = quiet();
    slot.see(57 * DAY - 1, hush(DAY));
    assert_eq!(slot.tells(57 * DAY, seen()), SILENCE, "critical, by a clock that ran ahead");
    slot.see(46 * DAY, seen());
    assert_eq!(slot.tells(46 * DAY + 1, speak()), [(First, Expiring, Warning)]);
    assert_eq!(slot.tells(57 * DAY, seen()), [(Escalated, Expiring, Critical)], "no rung is lost");
}

// promises 23, 28
#[test]
fn a_slot_taken_out_says_nothing_of_what_nobody_was_told_of() {
    let mut slot = quiet();
    assert_eq!(slot.tells(0, poor()), [(First, ScopeMissing, Warning)]);
    slot.see(1, hush(DAY));
    assert_eq!(slot.tells(2, no_secret()), SILENCE);
    let incidents = std::mem::take(&mut slot.status.ledger.incidents);
    let farewell = retire(&Subject::Token(slot.spec.id.clone()), incidents, at(3));
    assert_eq!(super::words(&farewell.notices), [(Resolved, ScopeMissing, Warning)]);
    assert_eq!(farewell.entries.len(), 2, "history keeps both");
}
