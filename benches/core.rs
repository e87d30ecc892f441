//! One decision: what `step` costs for a healthy answer, for a rung that is crossed, and for a check that failed.
//!
//! Statuses and answers are made beforehand and results are dropped afterwards, so that only the decision is on the clock.

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod common;

use std::hint::black_box;
use std::sync::Arc;

use common::{aim, least, median, number, plain, timed, title};
use tokenwatch::domain::inspection::{CheckError, CheckOutcome, Expiry, Grant, Inspection, TokenKind, Validity};
use tokenwatch::domain::status::TokenStatus;
use tokenwatch::domain::step::{Observation, step};
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::domain::token::{
    AppName, Fingerprint, Policy, ProviderName, ReceiverName, Required, Rhythm, TokenId, TokenSpec,
};

const NOW: Timestamp = Timestamp::from_unix(1_772_368_496);
/// As many as the daemon commits at once.
const BATCH: usize = 500;
const RUNS: usize = 401;
const AIM: f64 = 1_000.0;

fn main() {
    title(
        "one decision",
        "processor time of `step`, per decision; the least and the median of 401 batches of 500 statuses made beforehand",
    );
    let (spec, fresh) = (spec(), TokenStatus::new(NOW));
    let deadline = NOW.plus(Span::days(60));
    let healthy = Observation::Checked(answer(Ok(inspection(deadline))));
    let failed = Observation::Checked(answer(Err(CheckError::Unavailable("HTTP 503 without a Graph error".into()))));
    let known = step(&spec, fresh.clone(), healthy.clone(), NOW).status;
    let quarter = NOW.plus(Span::minutes(15));
    let (before, crossed) = (deadline.minus(Span::days(8)), deadline.minus(Span::days(7)));
    let warned = step(&spec, known.clone(), healthy.clone(), before).status;
    let told = step(&spec, warned.clone(), healthy.clone(), crossed);
    assert_eq!((warned.ledger.incidents.len(), told.notices.len()), (1, 1), "a rung is crossed and told");

    let decide = |what: &str, status: &TokenStatus, observation: &Observation, now: Timestamp| {
        let figures: Vec<f64> = (0..RUNS).map(|_| nanoseconds(&spec, status, observation, now)).collect();
        aim(what, least(&figures), AIM, "ns");
        plain("  the median", format!("{:.2} ns", median(figures)));
    };
    decide("a healthy answer, nothing new", &known, &healthy, quarter);
    decide("the first answer of a slot", &fresh, &healthy, NOW);
    decide("a healthy answer while an incident is open", &warned, &healthy, before.plus(Span::minutes(15)));
    decide("a rung is crossed, a notice is made", &warned, &healthy, crossed);
    decide("a check that failed", &known, &failed, quarter);
}

fn nanoseconds(spec: &TokenSpec, status: &TokenStatus, observation: &Observation, now: Timestamp) -> f64 {
    let inputs: Vec<_> = (0..BATCH).map(|_| (status.clone(), observation.clone())).collect();
    let mut steps = Vec::with_capacity(BATCH);
    let (time, ()) = timed(|| {
        for (status, observation) in inputs {
            steps.push(step(black_box(spec), status, observation, black_box(now)));
        }
    });
    black_box(steps);
    time * 1e9 / number(BATCH)
}

fn spec() -> TokenSpec {
    TokenSpec {
        id: TokenId::parse("helpdesk-whatsapp").expect("a name"),
        provider: ProviderName::meta(),
        app: Some(AppName::parse("helpdesk").expect("a name")),
        receivers: Arc::from([ReceiverName::parse("default").expect("a name")]),
        policy: Arc::new(Policy::default()),
        required: Arc::new(Required {
            scopes: vec!["whatsapp_business_messaging".into()],
            targets: Vec::new(),
            ..Required::default()
        }),
        rhythm: Rhythm::Every(Span::minutes(15)),
        renew: None,
        expires: None,
    }
}

fn answer(answer: Result<Inspection, CheckError>) -> CheckOutcome {
    CheckOutcome { fingerprint: Some(Fingerprint([7; 16])), answer, beside: None }
}

fn inspection(deadline: Timestamp) -> Inspection {
    let grant = |scope: &str| Grant { scope: scope.into(), targets: None };
    Inspection {
        kind: TokenKind::SystemUser,
        app_id: Some("634900000000001".into()),
        user_id: Some("104160000000001".into()),
        issued_at: Some(NOW),
        expires: Expiry::At(deadline),
        data_access: Expiry::At(NOW.plus(Span::days(90))),
        grants: Some(vec![grant("whatsapp_business_management"), grant("whatsapp_business_messaging")]),
        ..Inspection::bare(Validity::Valid)
    }
}
