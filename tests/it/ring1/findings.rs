//! A table for every reason: when `judge` finds it, when not, and the second at which that changes.

use std::sync::Arc;

use tokenwatch::board::Row;
use tokenwatch::domain::finding::Severity::{self, Critical, Info, Warning};
use tokenwatch::domain::finding::{Detail, Reason, Stage};
use tokenwatch::domain::inspection::{
    AppFault, Cause, CheckError, Expiry, Grant, Inspection, TokenKind, Unreachable, Validity,
};
use tokenwatch::domain::number::{Entity, Number, NumberStatus, Obstacle, Sending, Subscription};
use tokenwatch::domain::status::{Facts, Generation, TokenStatus};
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::domain::token::{Fingerprint, Policy, Required, TokenSpec};
use tokenwatch::domain::verdict::{Case, Judgement, Verdict, judge};

use super::{DAY, HOUR, MINUTE, SCOPE, answer, at, days, spec, valid_until};

/// A slot with one secret, first seen at the start, about which that is known.
fn knowing(facts: Inspection) -> TokenStatus {
    let mut status = TokenStatus::new(at(0));
    status.generation = Generation { number: 1, fingerprint: Some(Fingerprint([1; 16])), since: at(0) };
    status.last_answer = Some(at(0));
    status.facts = Some(Facts::new(1, facts, None, at(0)));
    status
}

fn judged(spec: &TokenSpec, status: &TokenStatus, seconds: i64) -> Judgement {
    judge(Case { spec, status, now: at(seconds) })
}

/// One row: the token, the second, and how bad the finding is, if it is one.
fn check(reason: Reason, rows: &[(&str, &TokenStatus, i64, Option<Severity>)]) {
    let spec = strict();
    for (what, status, second, severity) in rows {
        let found = judged(&spec, status, *second);
        assert_eq!(found.find(reason).map(|finding| finding.severity), *severity, "{reason:?}: {what}");
    }
}

fn strict() -> TokenSpec {
    let required = Required { scopes: vec![SCOPE.into()], targets: vec!["waba-1".into()], ..Required::default() };
    TokenSpec { required: Arc::new(required), ..spec("slot", Policy::default(), HOUR) }
}

fn granted(grants: &[(&str, Option<&[&str]>)]) -> Inspection {
    let grants = grants.iter().map(|(scope, targets)| Grant {
        scope: (*scope).into(),
        targets: targets.map(|list| list.iter().map(|target| (*target).into()).collect()),
    });
    Inspection { grants: Some(grants.collect()), ..answer(Validity::Valid, Expiry::Never) }
}

fn window(seconds: i64, validity: Validity) -> Inspection {
    let facts = answer(validity, Expiry::Never);
    Inspection { data_access: Expiry::At(at(seconds)), issued_at: Some(at(0)), ..facts }
}

#[test]
fn expiring() {
    let sixty = knowing(valid_until(60 * DAY));
    let rung = |days: i64| (60 - days) * DAY;
    check(
        Reason::Expiring,
        &[
            ("a second before the first rung", &sixty, rung(21) - 1, None),
            ("the first rung", &sixty, rung(21), Some(Info)),
            ("a second before the second", &sixty, rung(14) - 1, Some(Info)),
            ("the second", &sixty, rung(14), Some(Warning)),
            ("the third", &sixty, rung(7), Some(Warning)),
            ("a second before the fourth", &sixty, rung(3) - 1, Some(Warning)),
            ("the fourth", &sixty, rung(3), Some(Critical)),
            ("the fifth", &sixty, rung(1), Some(Critical)),
            ("a second before the end", &sixty, rung(0) - 1, Some(Critical)),
            ("the end is another finding", &sixty, rung(0), None),
            ("never", &knowing(answer(Validity::Valid, Expiry::Never)), rung(1), None),
            ("unknown", &knowing(answer(Validity::Valid, Expiry::Unknown)), rung(1), None),
            ("revoked", &knowing(Inspection { validity: revoked(), ..valid_until(60 * DAY) }), rung(1), None),
        ],
    );
}

#[test]
fn every_rung_is_a_higher_stage_and_names_the_next_second() {
    let status = knowing(valid_until(60 * DAY));
    let spec = strict();
    let mut before = None;
    let rungs = [21, 14, 7, 3, 1, 0];
    for pair in rungs.windows(2) {
        let found = judged(&spec, &status, (60 - pair[0]) * DAY);
        let finding = found.find(Reason::Expiring).expect("on the ladder");
        assert!(Some(finding.stage) > before, "{} d", pair[0]);
        assert!(finding.stage < Stage::ENDED);
        assert_eq!(finding.next, Some(at((60 - pair[1]) * DAY)));
        assert_eq!(finding.deadline, Some(at(60 * DAY)));
        assert_eq!(found.next, finding.next);
        before = Some(finding.stage);
    }
    assert_eq!(judged(&spec, &status, 0).next, Some(at(39 * DAY)), "before the ladder it is the first rung");
    assert_eq!(judged(&spec, &status, 60 * DAY).next, None, "after the end the clock changes nothing");
}

#[test]
fn the_last_three_days_of_a_long_life_are_critical_from_that_second_on() {
    let policy = Policy { ladder: days(&[10, 8, 6, 2, 1]), ..Policy::default() };
    let spec = spec("slot", policy, HOUR);
    for (life, left, expected) in [
        (60 * DAY, 3 * DAY + 1, Warning),
        (60 * DAY, 3 * DAY, Critical),
        // Of a life of seven days the rungs of 6, 2 and 1 days are left: info, critical, critical.
        (7 * DAY, 3 * DAY, Info),
        (7 * DAY, 2 * DAY + 1, Info),
        (7 * DAY, 2 * DAY, Critical),
        // One second more is a long life.
        (7 * DAY + 1, 3 * DAY + 1, Info),
        (7 * DAY + 1, 3 * DAY, Critical),
    ] {
        let found = judged(&spec, &knowing(valid_until(life)), life - left);
        assert_eq!(found.find(Reason::Expiring).map(|finding| finding.severity), Some(expected), "{life} {left}");
    }
    let found = judged(&spec, &knowing(valid_until(60 * DAY)), 55 * DAY);
    assert_eq!(found.next, Some(at(57 * DAY)), "no rung stands there, but the severity changes");
}

#[test]
fn short_lives_have_rungs_at_shares_of_the_lifetime() {
    let spec = strict();
    for life in [MINUTE, HOUR, DAY, 7 * DAY - 1] {
        let status = knowing(valid_until(life));
        let severity = |left: i64| judged(&spec, &status, life - left).find(Reason::Expiring).map(|f| f.severity);
        let [third, tenth, last] = [33, 10, 3].map(|percent| life * percent / 100);
        let rows = [(third + 1, None), (third, Some(Info)), (tenth + 1, Some(Info)), (tenth, Some(Critical))];
        for (left, expected) in rows.into_iter().chain([(last, Some(Critical)), (1, Some(Critical))]) {
            assert_eq!(severity(left), expected, "{left} s left of {life}");
        }
    }
}

#[test]
fn expired() {
    let sixty = knowing(valid_until(60 * DAY));
    let said = knowing(answer(Validity::Expired, Expiry::Unknown));
    let said_early = knowing(Inspection { validity: Validity::Expired, ..valid_until(60 * DAY) });
    check(
        Reason::Expired,
        &[
            ("a second before", &sixty, 60 * DAY - 1, None),
            ("the very second", &sixty, 60 * DAY, Some(Critical)),
            ("long after", &sixty, 600 * DAY, Some(Critical)),
            ("the provider says so", &said, 1, Some(Critical)),
            ("the provider says so before the date", &said_early, 1, Some(Critical)),
            ("never", &knowing(answer(Validity::Valid, Expiry::Never)), 600 * DAY, None),
        ],
    );
    let found = judged(&strict(), &sixty, 60 * DAY);
    assert_eq!(found.verdict, Verdict::Expired);
    assert_eq!(found.find(Reason::Expired).map(|finding| finding.stage), Some(Stage::ENDED));
}

// promises 16, 63
#[test]
fn revoked_by_every_cause() {
    for cause in Cause::ALL {
        let status = knowing(answer(Validity::Revoked(cause), Expiry::At(at(60 * DAY))));
        let found = judged(&strict(), &status, 1);
        assert_eq!(found.verdict, Verdict::Invalid, "{cause:?}");
        let finding = found.find(Reason::Revoked).expect("revoked");
        assert_eq!((finding.severity, &finding.detail), (Critical, &Detail::Cause(cause)));
        assert_eq!(found.findings.len(), 1, "nothing else is worth saying of a dead token");
    }
    check(Reason::Revoked, &[("valid", &knowing(valid_until(60 * DAY)), 1, None)]);
}

#[test]
fn unreadable() {
    let nonsense = knowing(Inspection { message: Some("Malformed".into()), ..Inspection::bare(Validity::Unreadable) });
    check(
        Reason::Unreadable,
        &[
            ("nonsense", &nonsense, 1, Some(Critical)),
            ("valid", &knowing(valid_until(60 * DAY)), 1, None),
            ("expired", &knowing(answer(Validity::Expired, Expiry::Unknown)), 1, None),
        ],
    );
    let found = judged(&strict(), &nonsense, 1);
    assert_eq!(found.find(Reason::Unreadable).map(|finding| &finding.detail), Some(&Detail::Text("Malformed".into())));
    assert_eq!(found.verdict, Verdict::Invalid);
}

#[test]
fn data_access_expiring() {
    let open = knowing(window(90 * DAY, Validity::Valid));
    check(
        Reason::DataAccessExpiring,
        &[
            ("a second before the first rung", &open, 69 * DAY - 1, None),
            ("the first rung", &open, 69 * DAY, Some(Info)),
            ("the second", &open, 76 * DAY, Some(Warning)),
            ("three days before", &open, 87 * DAY, Some(Critical)),
            ("the end is another finding", &open, 90 * DAY, None),
            ("of an expired token", &knowing(window(90 * DAY, Validity::Expired)), 89 * DAY, None),
            ("of a revoked one", &knowing(window(90 * DAY, revoked())), 89 * DAY, None),
        ],
    );
    assert_eq!(judged(&strict(), &open, 69 * DAY).verdict, Verdict::Expiring);
}

// promise 16
#[test]
fn data_access_expired() {
    let inactive = Validity::Revoked(Cause::Inactive);
    check(
        Reason::DataAccessExpired,
        &[
            ("a second before", &knowing(window(90 * DAY, Validity::Valid)), 90 * DAY - 1, None),
            ("the very second", &knowing(window(90 * DAY, Validity::Valid)), 90 * DAY, Some(Critical)),
            ("inactive, window passed", &knowing(window(90 * DAY, inactive)), 90 * DAY, Some(Critical)),
            ("inactive, window open", &knowing(window(90 * DAY, inactive)), 90 * DAY - 1, None),
            ("revoked otherwise", &knowing(window(90 * DAY, revoked())), 91 * DAY, None),
        ],
    );
    // The window and the 493 are one fact: it is never both.
    let found = judged(&strict(), &knowing(window(90 * DAY, inactive)), 90 * DAY);
    assert_eq!((found.verdict, found.findings.len()), (Verdict::Expired, 1));
    let found = judged(&strict(), &knowing(window(90 * DAY, inactive)), 90 * DAY - 1);
    assert!(found.find(Reason::Revoked).is_some());
}

// promise 22
#[test]
fn expiry_unknown() {
    check(
        Reason::ExpiryUnknown,
        &[
            ("no date", &knowing(answer(Validity::Valid, Expiry::Unknown)), 1, Some(Info)),
            ("never", &knowing(answer(Validity::Valid, Expiry::Never)), 1, None),
            ("a date", &knowing(valid_until(60 * DAY)), 1, None),
            ("expired", &knowing(answer(Validity::Expired, Expiry::Unknown)), 1, None),
            ("never looked at", &TokenStatus::new(at(0)), 1, None),
        ],
    );
    let found = judged(&spec("slot", Policy::default(), HOUR), &knowing(answer(Validity::Valid, Expiry::Unknown)), 1);
    assert_eq!(found.verdict, Verdict::Healthy, "it works");
}

// promises 22, 63
#[test]
fn scope_missing() {
    let other = granted(&[("pages_show_list", None)]);
    let silent = Inspection { grants: None, ..granted(&[]) };
    let dead = Inspection { validity: revoked(), ..granted(&[]) };
    check(
        Reason::ScopeMissing,
        &[
            ("granted", &knowing(granted(&[(SCOPE, None)])), 1, None),
            ("another is granted", &knowing(other), 1, Some(Warning)),
            ("nothing is granted", &knowing(granted(&[])), 1, Some(Warning)),
            ("the provider does not say", &knowing(silent), 1, None),
            ("dead", &knowing(dead), 1, None),
        ],
    );
    let found = judged(&strict(), &knowing(granted(&[])), 1);
    let detail = found.find(Reason::ScopeMissing).map(|finding| finding.detail.clone());
    assert_eq!(detail, Some(Detail::Missing(vec![SCOPE.into()])));
}

// promise 22
#[test]
fn target_missing() {
    let rows: [(&str, Inspection, Option<Severity>); 7] = [
        ("all targets", granted(&[(SCOPE, None)]), None),
        ("this target", granted(&[(SCOPE, Some(&["waba-0", "waba-1"]))]), None),
        ("another target", granted(&[(SCOPE, Some(&["waba-0"]))]), Some(Warning)),
        ("no target at all", granted(&[(SCOPE, Some(&[]))]), Some(Warning)),
        (
            "one permission covers it, the other does not",
            granted(&[(SCOPE, None), ("whatsapp_business_management", Some(&["waba-0"]))]),
            Some(Warning),
        ),
        ("permissions of other products have other targets", granted(&[(SCOPE, None), ("pages", Some(&["7"]))]), None),
        ("the provider does not say", Inspection { grants: None, ..granted(&[]) }, None),
    ];
    for (what, facts, severity) in rows {
        check(Reason::TargetMissing, &[(what, &knowing(facts), 1, severity)]);
    }
}

// promise 20
#[test]
fn app_fault_of_a_token() {
    let mut foreign = knowing(valid_until(600 * DAY));
    foreign.foreign = Some("another app".into());
    check(
        Reason::AppFault,
        &[("foreign", &foreign, 1, Some(Critical)), ("its own", &knowing(valid_until(60 * DAY)), 1, None)],
    );
}

// promise 19
#[test]
fn source_unreadable() {
    let mut gone = knowing(valid_until(600 * DAY));
    gone.source_fault = Some("permission denied".into());
    check(
        Reason::SourceUnreadable,
        &[("gone", &gone, 1, Some(Critical)), ("there", &knowing(valid_until(60 * DAY)), 1, None)],
    );
    assert_eq!(judged(&strict(), &gone, 598 * DAY).verdict, Verdict::Expiring, "doubt never hides a known date");
}

// promises 17, 18
#[test]
fn blind() {
    let failing = |answered: Option<i64>, since: i64, error: CheckError| {
        let mut status = knowing(valid_until(600 * DAY));
        status.last_answer = answered.map(at);
        status.failing_since = Some(at(since));
        status.failures = 1;
        status.last_error = Some(error);
        status
    };
    let line = || CheckError::Unreachable(Unreachable::Timeout, "slow".into());
    let answered = failing(Some(0), HOUR, line());
    let never = failing(None, HOUR, line());
    let stale = failing(Some(0), 6 * HOUR, line());
    check(
        Reason::Blind,
        &[
            ("a second before", &answered, 6 * HOUR - 1, None),
            ("the very second", &answered, 6 * HOUR, Some(Warning)),
            ("a second before four times", &answered, 24 * HOUR - 1, Some(Warning)),
            ("four times", &answered, 24 * HOUR, Some(Critical)),
            ("never answered, from the first failure", &never, 7 * HOUR - 1, None),
            ("never answered", &never, 7 * HOUR, Some(Warning)),
            ("nobody asked before", &stale, 12 * HOUR - 1, None),
            ("nobody asked before, and then long enough", &stale, 12 * HOUR, Some(Warning)),
            ("answers come", &knowing(valid_until(600 * DAY)), 90 * DAY, None),
            ("the app's fault", &failing(Some(0), HOUR, app_fault()), 90 * DAY, None),
            ("the source's fault", &failing(Some(0), HOUR, CheckError::Source("".into())), 90 * DAY, None),
            ("a foreign token", &failing(Some(0), HOUR, CheckError::ForeignToken("".into())), 90 * DAY, None),
        ],
    );
    let unexplained = [
        CheckError::Garbled("".into()),
        CheckError::Unavailable("".into()),
        CheckError::Throttled(at(0)),
        CheckError::Refused("".into()),
    ];
    for error in unexplained {
        check(Reason::Blind, &[("other trouble", &failing(Some(0), HOUR, error), DAY, Some(Critical))]);
    }
    let spec = strict();
    assert_eq!(judged(&spec, &answered, HOUR).next, Some(at(6 * HOUR)));
    assert_eq!(judged(&spec, &answered, 6 * HOUR).next, Some(at(24 * HOUR)));
    assert_eq!(judged(&spec, &answered, 6 * HOUR - 1).verdict, Verdict::Healthy);
    assert_eq!(judged(&spec, &answered, 6 * HOUR).verdict, Verdict::Unverified);
    assert_eq!(judged(&spec, &answered, 599 * DAY).verdict, Verdict::Expiring, "blind beside a date");
    assert_eq!(judged(&spec, &answered, 600 * DAY).verdict, Verdict::Expired, "blind beside a date that passed");
}

#[test]
fn a_secret_without_facts_of_its_own_is_unverified_whatever_the_one_before_was() {
    let mut status = knowing(valid_until(60 * DAY));
    status.generation.number = 2;
    let found = judged(&strict(), &status, 59 * DAY);
    assert_eq!((found.verdict, found.findings.len()), (Verdict::Unverified, 0));
    assert_eq!(judged(&strict(), &TokenStatus::new(at(0)), 0).verdict, Verdict::Unverified);
}

#[test]
fn hostile_dates_break_nothing() {
    let far = Timestamp::from_unix(i64::MAX);
    let past = Timestamp::from_unix(i64::MIN);
    for (issued, end, expected) in [
        (Some(at(0)), far, Verdict::Healthy),
        (Some(past), far, Verdict::Healthy),
        (Some(far), at(DAY), Verdict::Healthy),
        (None, past, Verdict::Expired),
        (Some(at(0)), at(0), Verdict::Expired),
    ] {
        let facts = Inspection { issued_at: issued, ..answer(Validity::Valid, Expiry::At(end)) };
        let spec = spec("slot", Policy::default(), HOUR);
        assert_eq!(judged(&spec, &knowing(facts), 1).verdict, expected, "{issued:?} {end:?}");
    }
}

#[test]
fn the_kind_of_a_token_changes_no_verdict() {
    let spec = strict();
    for kind in [TokenKind::User, TokenKind::Page, TokenKind::SystemUser, TokenKind::App, TokenKind::Other("x".into())]
    {
        let facts = Inspection { kind, ..valid_until(60 * DAY) };
        assert_eq!(judged(&spec, &knowing(facts), 59 * DAY).worst(), Some(Critical));
    }
    assert_eq!(spec.policy.blind_after, Span::hours(6), "the tables count on the default policy");
}

fn revoked() -> Validity {
    Validity::Revoked(Cause::PasswordChanged)
}

fn app_fault() -> CheckError {
    CheckError::App(AppFault::Blocked, "".into())
}

/// A token that works, and what is known of the number that it sends from.
fn sending_from(number: NumberStatus) -> TokenStatus {
    let mut status = knowing(answer(Validity::Valid, Expiry::Never));
    status.number = Some(Box::new(number));
    status
}

fn able_to(sending: Option<Sending>, status: Option<&str>) -> TokenStatus {
    let number = Number { id: "1".into(), sending, status: status.map(Into::into), ..Number::default() };
    sending_from(NumberStatus { number: Some(number), ..NumberStatus::default() })
}

// promise 59
#[test]
fn numbers_that_cannot_send() {
    use Sending::{Available, Blocked, Limited};
    for (sending, status, blocked, limited) in [
        (Some(Available), Some("CONNECTED"), None, None),
        (Some(Available), Some("FLAGGED"), None, None),
        (Some(Limited), Some("CONNECTED"), None, Some(Warning)),
        (Some(Blocked), Some("CONNECTED"), Some(Critical), None),
        (None, Some("CONNECTED"), None, None),
        (None, Some("DISCONNECTED"), Some(Critical), None),
        (None, None, None, None),
    ] {
        let (what, known) = (format!("{sending:?} {status:?}"), able_to(sending, status));
        check(Reason::NumberBlocked, &[(&what, &known, HOUR, blocked)]);
        check(Reason::NumberLimited, &[(&what, &known, HOUR, limited)]);
    }
    // It says nothing about the token.
    let found = judged(&strict(), &able_to(Some(Blocked), None), HOUR);
    assert_eq!(found.verdict, Verdict::Healthy);
    let finding = found.find(Reason::NumberBlocked).expect("blocked");
    assert!(finding.stage > judged(&strict(), &able_to(Some(Limited), None), HOUR).findings[0].stage);
}

// promise 59
#[test]
fn the_worst_of_what_is_in_the_way_comes_first() {
    let obstacle = |entity, sending| Obstacle {
        entity,
        id: "2".into(),
        sending,
        code: None,
        description: "".into(),
        solution: "".into(),
    };
    let number = Number {
        sending: Some(Sending::Blocked),
        obstacles: vec![obstacle(Entity::Number, Sending::Limited), obstacle(Entity::Account, Sending::Blocked)],
        ..Number::default()
    };
    let status = sending_from(NumberStatus { number: Some(number), ..NumberStatus::default() });
    let found = judged(&strict(), &status, HOUR);
    let Some(Detail::Obstacles(obstacles)) = found.find(Reason::NumberBlocked).map(|finding| &finding.detail) else {
        panic!("{found:?}");
    };
    assert_eq!(obstacles.iter().map(|it| it.entity).collect::<Vec<_>>(), [Entity::Account, Entity::Number]);
}

// promise 60
#[test]
fn a_number_that_is_not_seen_is_a_missing_target() {
    let refused = NumberStatus { id: "5218".into(), refused: Some("no such".into()), ..NumberStatus::default() };
    let mut known = sending_from(refused);
    known.facts = Some(Facts::new(1, granted(&[("whatsapp_business_messaging", None), (SCOPE, None)]), None, at(0)));
    let found = judged(&strict(), &known, HOUR);
    let finding = found.find(Reason::TargetMissing).expect("missing");
    assert_eq!(finding.detail, Detail::Missing(vec!["phone number 5218".into()]));
}

// promise 61
#[test]
fn what_arrives_and_reaches_nobody() {
    use Subscription::{Nobody, Others, Ours};
    for (wanted, was_subscribed, now, expected) in [
        (None, false, Some(Nobody), None),
        (None, true, Some(Nobody), Some(Warning)),
        (None, true, Some(Others), Some(Warning)),
        (None, true, Some(Ours), None),
        (None, true, None, None),
        (Some(true), false, Some(Nobody), Some(Warning)),
        (Some(true), false, None, None),
        (Some(false), true, Some(Nobody), None),
    ] {
        let required = Required { webhooks: wanted, ..Required::default() };
        let spec = TokenSpec { required: Arc::new(required), ..spec("slot", Policy::default(), HOUR) };
        let status = sending_from(NumberStatus { subscription: now, was_subscribed, ..NumberStatus::default() });
        let found = judged(&spec, &status, HOUR).find(Reason::WebhooksMissing).map(|finding| finding.severity);
        assert_eq!(found, expected, "{wanted:?} {was_subscribed} {now:?}");
    }
}

// promise 4
/// Whoever reckons with shares of a lifetime from outside must reckon with ours: a life begins at the issue, at the first sight where that is not
/// told, and anew with a renewal that left the secret the same.
#[test]
fn a_row_shows_the_lifetime_that_its_shares_are_of() {
    let lifetime = |facts: Inspection, first_seen: i64, renewed: Option<i64>| {
        let (spec, mut status) = (strict(), knowing(facts));
        status.generation.since = at(first_seen);
        status.renewal.renewed_at = renewed.map(at);
        Row::new(&spec, &status, &judged(&spec, &status, first_seen)).lifetime.map(Span::as_seconds)
    };
    let told = || valid_until(60 * DAY);
    let untold = || Inspection { issued_at: None, ..told() };
    assert_eq!(lifetime(told(), 10 * DAY, None), Some(60 * DAY));
    assert_eq!(lifetime(untold(), 10 * DAY, None), Some(50 * DAY));
    assert_eq!(lifetime(told(), 10 * DAY, Some(59 * DAY)), Some(DAY), "renewed in place");
    assert_eq!(lifetime(untold(), 10 * DAY, Some(5 * DAY)), Some(50 * DAY), "the secret came after that renewal");
    assert_eq!(lifetime(untold(), 60 * DAY, None), None, "it had ended when it was first seen");
    for endless in [Expiry::Never, Expiry::Unknown] {
        assert_eq!(lifetime(Inspection { expires: endless, ..told() }, 0, None), None);
    }
}
