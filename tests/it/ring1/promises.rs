//! The promises of `docs/alerts.md`, one by one, each on the smallest life that shows it. The number of the promise stands above it.

use tokenwatch::domain::alert::NotifyReason::{Escalated, First, Repeated, Resolved};
use tokenwatch::domain::alert::Subject;
use tokenwatch::domain::digest::{Bundle, FOLD_WINDOW, send_at};
use tokenwatch::domain::finding::Reason::{
    AppFault as Foreign, Blind, DataAccessExpired, DataAccessExpiring, Expired, Expiring, ExpiryUnknown, Revoked,
    ScopeMissing, SourceUnreadable, Unreadable,
};
use tokenwatch::domain::finding::Severity::{Critical, Info, Warning};
use tokenwatch::domain::inspection::{AppFault, CheckError, Expiry, Inspection, Validity};
use tokenwatch::domain::status::TokenStatus;
use tokenwatch::domain::step::{Observation, retire};
use tokenwatch::domain::time::Span;
use tokenwatch::domain::token::{Ladder, Lead, Policy};
use tokenwatch::domain::verdict::Verdict;

use super::{
    DAY, HOUR, MINUTE, Slot, Word, answer, at, checked, days, failed, no_secret, revoked, unreachable, valid_until,
};

/// A slot with the default policy, and with nothing to disturb the ladder.
fn quiet() -> Slot {
    Slot::new(Policy { repeat: Span::ZERO, ..Policy::default() })
}

const SILENCE: [Word; 0] = [];

// 1, 2
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

// 1
#[test]
fn a_look_is_due_at_the_very_second_of_a_rung() {
    let mut slot = quiet();
    let end = 60 * DAY;
    for rung in [21, 14, 7, 3, 1, 0] {
        let crossing = end - rung * DAY;
        assert_eq!(slot.see(crossing - 5, checked(1, valid_until(end))).wake, at(crossing), "{rung} d");
    }
}

// 2
#[test]
fn the_only_rung_is_info_and_of_two_the_second_is_critical() {
    let mut slot = Slot::new(Policy { ladder: days(&[10]), ..Policy::default() });
    assert_eq!(slot.tells(51 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Info)]);
    let mut slot = Slot::new(Policy { ladder: days(&[10, 5]), ..Policy::default() });
    assert_eq!(slot.tells(51 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Info)]);
    assert_eq!(slot.tells(55 * DAY, checked(1, valid_until(60 * DAY))), [(Escalated, Expiring, Critical)]);
}

// 3
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

// 3
#[test]
fn a_life_of_seven_days_is_not_long() {
    let mut slot = Slot::new(Policy { ladder: days(&[7, 2]), ..Policy::default() });
    assert_eq!(slot.tells(4 * DAY, checked(1, valid_until(7 * DAY))), [(First, Expiring, Info)]);
    let mut slot = Slot::new(Policy { ladder: days(&[7, 2]), ..Policy::default() });
    assert_eq!(slot.tells(4 * DAY + 1, checked(1, valid_until(7 * DAY + 1))), [(First, Expiring, Critical)]);
}

// 4, 5
#[test]
fn rungs_longer_than_the_lifetime_are_skipped() {
    let mut slot = quiet();
    assert_eq!(slot.tells(0, checked(1, valid_until(10 * DAY))), SILENCE);
    assert_eq!(slot.tells(3 * DAY, checked(1, valid_until(10 * DAY))), [(First, Expiring, Info)]);
}

// 4
#[test]
fn without_a_date_of_issue_the_lifetime_counts_from_first_seen() {
    let seen = || checked(1, answer(Validity::Valid, Expiry::At(at(12 * DAY))));
    let mut slot = quiet();
    assert_eq!(slot.tells(2 * DAY, seen()), SILENCE, "ten days from first seen: the rungs are 7, 3 and 1");
    assert_eq!(slot.tells(5 * DAY - 1, seen()), SILENCE);
    assert_eq!(slot.tells(5 * DAY, seen()), [(First, Expiring, Info)]);
}

// 4, 14
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

// 6
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

// 6
#[test]
fn a_ladder_never_ends_up_empty() {
    let mut slot = Slot::new(Policy { ladder: days(&[30]), repeat: Span::ZERO, ..Policy::default() });
    let seen = || checked(1, valid_until(20 * DAY));
    assert_eq!(slot.tells(20 * DAY - 20 * DAY * 33 / 100 - 1, seen()), SILENCE);
    assert_eq!(slot.tells(20 * DAY - 20 * DAY * 33 / 100, seen()), [(First, Expiring, Info)]);
}

// 8
#[test]
fn after_an_outage_only_the_most_urgent_rung_is_told() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    assert_eq!(slot.tells(54 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Warning)]);
    assert_eq!(slot.tells(59 * DAY + HOUR, checked(1, valid_until(60 * DAY))), [(Escalated, Expiring, Critical)]);
}

// 9
#[test]
fn the_end_is_told_even_if_every_rung_was_slept_through() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    assert_eq!(slot.tells(90 * DAY, unreachable(1))[..1], [(First, Expired, Critical)]);
    let mut never_seen = quiet();
    assert_eq!(never_seen.tells(90 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expired, Critical)]);
}

// 9, 34
#[test]
fn expired_continues_the_incident_of_the_ladder() {
    let mut slot = quiet();
    let first = slot.see(59 * DAY, checked(1, valid_until(60 * DAY))).notices;
    let second = slot.see(60 * DAY, checked(1, valid_until(60 * DAY))).notices;
    assert_eq!(second.len(), 1, "no RESOLVED in between");
    assert_eq!(first[0].key.incident(), second[0].key.incident());
}

// 10
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

// 10
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

// 10
#[test]
fn two_servers_that_disagree_about_a_passed_date_do_not_restart_the_ladder() {
    let mut slot = quiet();
    slot.see(59 * DAY, checked(1, valid_until(60 * DAY)));
    let expired = || checked(1, answer(Validity::Expired, Expiry::Unknown));
    assert_eq!(slot.tells(60 * DAY, expired()), [(Escalated, Expired, Critical)]);
    assert_eq!(slot.tells(60 * DAY + 1, checked(1, valid_until(60 * DAY))), SILENCE, "by the clock it is over");
    assert_eq!(slot.tells(60 * DAY + 2, expired()), SILENCE);
}

// 11, 26
#[test]
fn a_new_date_starts_anew() {
    let mut slot = quiet();
    assert_eq!(slot.tells(59 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Critical)]);
    assert_eq!(slot.tells(59 * DAY + 1, checked(1, valid_until(120 * DAY))), [(Resolved, Expiring, Critical)]);
    assert_eq!(slot.tells(99 * DAY, checked(1, valid_until(120 * DAY))), [(First, Expiring, Info)]);
}

// 12
#[test]
fn a_new_secret_starts_anew_even_with_the_same_date() {
    let mut slot = quiet();
    assert_eq!(slot.tells(50 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Warning)]);
    assert_eq!(slot.tells(51 * DAY, checked(2, valid_until(60 * DAY))), [(First, Expiring, Warning)]);
    assert_eq!(slot.tells(51 * DAY + 1, checked(2, valid_until(60 * DAY))), SILENCE);
}

// 13
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

// 13, 23
#[test]
fn what_is_resolved_was_as_bad_as_the_worst_that_was_told() {
    let mut slot = Slot::new(Policy { ladder: days(&[20, 10]), ..Policy::default() });
    assert_eq!(slot.tells(50 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Critical)]);
    slot.spec.policy = Policy { ladder: days(&[20, 14, 9, 7, 3, 1]), ..Policy::default() }.into();
    assert_eq!(slot.tells(51 * DAY, checked(1, valid_until(60 * DAY))), [(Escalated, Expiring, Warning)]);
    assert_eq!(slot.tells(51 * DAY + 1, checked(2, valid_until(600 * DAY))), [(Resolved, Expiring, Critical)]);
}

// 14
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

// 15
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

// 15
#[test]
fn failed_checks_neither_count_nor_break_the_row() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    assert_eq!(slot.tells(HOUR, checked(1, revoked())), SILENCE);
    assert_eq!(slot.tells(HOUR + 10, unreachable(1)), SILENCE);
    assert_eq!(slot.tells(HOUR + 20, checked(1, revoked())), [(First, Revoked, Critical)]);
}

// 15, 24
#[test]
fn a_new_secret_breaks_the_row() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    assert_eq!(slot.tells(HOUR, checked(1, revoked())), SILENCE);
    assert_eq!(slot.tells(HOUR + 10, checked(2, revoked())), SILENCE);
    assert_eq!(slot.tells(HOUR + 20, checked(2, revoked())), [(First, Revoked, Critical)]);
}

// 16, 25, 27
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

// 17
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

// 17
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

// 17
#[test]
fn an_answer_that_nobody_asked_for_is_not_missing() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    // The daemon was stopped for two days, or the schedule is a weekly bell: the first failure is no blindness yet.
    assert_eq!(slot.tells(2 * DAY, unreachable(1)), SILENCE);
    assert_eq!(slot.tells(2 * DAY + 6 * HOUR - 1, unreachable(1)), SILENCE);
    assert_eq!(slot.tells(2 * DAY + 6 * HOUR, unreachable(1)), [(First, Blind, Warning)]);
}

// 18
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

// 18
#[test]
fn an_open_blind_incident_waits_for_an_answer() {
    let mut slot = Slot::new(Policy::default());
    slot.see(0, checked(1, valid_until(60 * DAY)));
    slot.see(HOUR, unreachable(1));
    assert_eq!(slot.tells(2 * DAY, unreachable(1)), [(First, Blind, Critical)]);
    assert_eq!(slot.tells(9 * DAY, failed(1, CheckError::App(AppFault::Blocked, "".into()))), SILENCE);
    assert_eq!(slot.tells(9 * DAY + 1, checked(1, valid_until(60 * DAY))), [(Resolved, Blind, Critical)]);
}

// 19
#[test]
fn a_secret_that_cannot_be_read_is_told_at_once_and_ends_when_it_can() {
    let mut slot = quiet();
    slot.see(0, checked(1, valid_until(60 * DAY)));
    assert_eq!(slot.tells(HOUR, no_secret()), [(First, SourceUnreadable, Critical)]);
    assert_eq!(slot.tells(2 * HOUR, no_secret()), SILENCE);
    assert_eq!(slot.tells(3 * HOUR, unreachable(1)), [(Resolved, SourceUnreadable, Critical)]);
}

// 20
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

// 22
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

// 23, 24
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

// 24
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

// 26
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

// 26
#[test]
fn an_earlier_date_replaces_the_old_incident() {
    let mut slot = quiet();
    assert_eq!(slot.tells(40 * DAY, checked(1, valid_until(60 * DAY))), [(First, Expiring, Info)]);
    assert_eq!(slot.tells(40 * DAY + 1, checked(1, valid_until(42 * DAY))), [(First, Expiring, Critical)]);
}

// 26
#[test]
fn the_same_fault_of_a_new_secret_is_told_without_a_resolved() {
    let poor = |end| Inspection { grants: Some(Vec::new()), ..valid_until(end) };
    let mut slot = quiet();
    assert_eq!(slot.tells(0, checked(1, poor(60 * DAY))), [(First, ScopeMissing, Warning)]);
    assert_eq!(slot.tells(1, checked(2, poor(60 * DAY))), [(First, ScopeMissing, Warning)]);
}

// 28, 33
#[test]
fn a_slot_removed_and_added_again_is_told_again_under_other_keys() {
    let mut slot = quiet();
    let first = slot.see(59 * DAY, checked(1, valid_until(60 * DAY))).notices;
    let subject = Subject::Token(slot.spec.id.clone());
    let incidents = std::mem::take(&mut slot.status.incidents);
    let farewell = retire(&subject, slot.spec.provider, incidents, at(59 * DAY + HOUR));
    assert_eq!(super::words(&farewell), [(Resolved, Expiring, Critical)]);
    slot.status = TokenStatus::new(at(59 * DAY + 2 * HOUR));
    let again = slot.see(59 * DAY + 2 * HOUR, checked(1, valid_until(60 * DAY))).notices;
    assert_eq!(super::words(&again), [(First, Expiring, Critical)]);
    assert_ne!(again[0].key, first[0].key, "the outbox would take it for a notice that was delivered already");
}

// 29
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

// 30
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

// 30
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

// 30
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

// 30
#[test]
fn a_lifetime_is_not_measured_from_a_clock_that_ran_ahead() {
    let seen = || checked(1, answer(Validity::Valid, Expiry::At(at(60 * DAY))));
    let mut slot = quiet();
    assert_eq!(slot.tells(59 * DAY, seen()), SILENCE, "a lifetime of one day, as far as we can know");
    slot.see(0, seen());
    assert_eq!(slot.tells(39 * DAY, seen()), [(First, Expiring, Info)], "a lifetime of sixty days, as it turned out");
}

// 30
#[test]
fn blindness_is_not_measured_from_a_clock_that_ran_ahead() {
    let mut slot = quiet();
    slot.see(30 * DAY, checked(1, valid_until(600 * DAY)));
    slot.see(0, unreachable(1));
    assert_eq!(slot.tells(6 * HOUR, unreachable(1)), [(First, Blind, Warning)]);
}

// 31
#[test]
fn a_status_without_news_is_silent() {
    let mut slot = quiet();
    slot.see(50 * DAY, checked(1, valid_until(60 * DAY)));
    let before = slot.status.clone();
    for second in 1..100 {
        assert_eq!(slot.tells(50 * DAY + second, checked(1, valid_until(60 * DAY))), SILENCE);
    }
    assert_eq!(slot.status.incidents, before.incidents);
}

// 1, 26
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

// 2
#[test]
fn shares_of_a_lifetime_make_a_ladder() {
    let ladder = Ladder::new(vec![Lead::Share(3_300), Lead::Share(1_000), Lead::Share(500)]).expect("three rungs");
    let mut slot = Slot::new(Policy { ladder, repeat: Span::ZERO, ..Policy::default() });
    let seen = || checked(1, valid_until(100 * DAY));
    assert_eq!(slot.tells(67 * DAY - 1, seen()), SILENCE);
    assert_eq!(slot.tells(67 * DAY, seen()), [(First, Expiring, Info)]);
    assert_eq!(slot.tells(90 * DAY, seen()), [(Escalated, Expiring, Critical)]);
}

// 35
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
