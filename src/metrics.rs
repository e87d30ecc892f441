//! Counters and histograms of what the daemon did. Gauges about tokens are not here: they are read off the board at each scrape.
//!
//! The registry is a value, not a global, so that two daemons in one process (tests, the demo) count apart. No label is ever made of
//! anything that comes from outside.

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::domain::inspection::CheckError;
use crate::domain::renewal::Outcome;
use crate::domain::route::ChannelKind;
use crate::domain::token::ProviderName;
use crate::ports::Telemetry;

/// Everything that is counted.
#[derive(Debug)]
pub struct Counters {
    registry: Registry,
    checks: IntCounterVec,
    check_failures: IntCounterVec,
    check_duration: HistogramVec,
    provider_errors: IntCounterVec,
    usage: GaugeVec,
    clock_offset: IntGaugeVec,
    notices: IntCounterVec,
    notice_failures: IntCounterVec,
    heartbeats: IntCounterVec,
    renewals: IntCounterVec,
    connections: IntGaugeVec,
    closed: IntCounterVec,
    refused_logins: IntCounterVec,
}

/// Why the listener ended a connection, where the client did not. One that waited too long for nothing in particular is no trouble and not among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// The client took too long: over a handshake, over a head, or to take an answer.
    Slow,
    /// It made room for another.
    Displaced,
    /// It was turned away at once, for all that were there were being served.
    Full,
    /// TLS failed, or was not spoken, or the client's certificate was not accepted.
    Tls,
}

impl Closed {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Slow, Self::Displaced, Self::Full, Self::Tls];

    /// The label of its counter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Displaced => "displaced",
            Self::Full => "full",
            Self::Tls => "tls",
        }
    }
}

/// Why somebody who named a user was not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No such user, or another password.
    Wrong,
    /// Wrong too often from that address.
    TooOften,
    /// Too many logins at once.
    Busy,
}

impl Refused {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Wrong, Self::TooOften, Self::Busy];

    /// The label of its counter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::TooOften => "too_often",
            Self::Busy => "busy",
        }
    }
}

impl Default for Counters {
    /// All counters at zero; those with closed label sets exist from the start, so that a rate can be taken from the first event on.
    fn default() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            kept(&registry, IntCounterVec::new(Opts::new(name, help), labels).expect("the names and labels are valid"))
        };
        let checks = counter("tokenwatch_checks_total", "Checks that were tried.", &["provider"]);
        let check_failures = counter(
            "tokenwatch_check_failures_total",
            "Checks without an authoritative answer, by reason.",
            &["provider", "reason"],
        );
        let provider_errors = counter(
            "tokenwatch_provider_errors_total",
            "Error codes that the provider's API answered with.",
            &["provider", "code"],
        );
        let notices = counter("tokenwatch_notices_total", "Notices delivered.", &["channel"]);
        let notice_failures = counter(
            "tokenwatch_notice_failures_total",
            "Attempts to deliver that failed, refusals included.",
            &["channel"],
        );
        let duration = HistogramOpts::new("tokenwatch_check_duration_seconds", "Time from question to answer.")
            .buckets(vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
        let check_duration =
            kept(&registry, HistogramVec::new(duration, &["provider"]).expect("the names and labels are valid"));
        let usage = Opts::new(
            "tokenwatch_provider_usage_ratio",
            "Share of an API budget that is used, 0 to 1, as the provider reports it.",
        );
        let usage =
            kept(&registry, GaugeVec::new(usage, &["app", "resource"]).expect("the names and labels are valid"));
        let offset = Opts::new("tokenwatch_clock_offset_seconds", "Our clock minus the provider's.");
        let clock_offset =
            kept(&registry, IntGaugeVec::new(offset, &["provider"]).expect("the names and labels are valid"));
        for channel in ChannelKind::ALL.map(ChannelKind::as_str) {
            notices.with_label_values(&[channel]);
            notice_failures.with_label_values(&[channel]);
        }
        let heartbeats = counter(
            "tokenwatch_heartbeats_total",
            "Signs of life to the outbound dead man's switch: heard, or not given.",
            &["outcome"],
        );
        for outcome in HEARTBEATS {
            heartbeats.with_label_values(&[outcome]);
        }
        let renewals =
            counter("tokenwatch_renewals_total", "Renewals and replacements that ended, by outcome.", &["outcome"]);
        for outcome in Outcome::ALL {
            renewals.with_label_values(&[outcome.as_str()]);
        }
        let connections =
            Opts::new("tokenwatch_listener_connections", "Connections that are open, by what is served there.");
        let connections =
            kept(&registry, IntGaugeVec::new(connections, &["serves"]).expect("the names and labels are valid"));
        let closed = counter(
            "tokenwatch_listener_closed_total",
            "Connections that the listener ended before their time, by reason.",
            &["reason"],
        );
        for reason in Closed::ALL {
            closed.with_label_values(&[reason.as_str()]);
        }
        let refused_logins =
            counter("tokenwatch_listener_refused_logins_total", "Logins that were refused, by reason.", &["reason"]);
        for reason in Refused::ALL {
            refused_logins.with_label_values(&[reason.as_str()]);
        }
        Self {
            registry,
            checks,
            check_failures,
            check_duration,
            provider_errors,
            usage,
            clock_offset,
            notices,
            notice_failures,
            heartbeats,
            renewals,
            connections,
            closed,
            refused_logins,
        }
    }
}

impl Counters {
    /// Takes in that this provider will be asked: its counters exist from now on, at zero, with the codes that it may answer with.
    pub fn expect(&self, provider: &ProviderName, error_codes: &[&str]) {
        let provider = provider.as_str();
        self.checks.with_label_values(&[provider]);
        self.check_duration.with_label_values(&[provider]);
        for reason in CheckError::REASONS {
            self.check_failures.with_label_values(&[provider, reason]);
        }
        for code in error_codes.iter().chain(&["other"]) {
            self.provider_errors.with_label_values(&[provider, *code]);
        }
    }

    /// Adds the figures of this process: memory, CPU, file descriptors, start time. Only a daemon has any use for them.
    #[must_use]
    pub fn with_process(self) -> Self {
        let process = prometheus::process_collector::ProcessCollector::for_self();
        self.registry.register(Box::new(process)).expect("registered once");
        self
    }

    /// Counts one check.
    pub fn checked(&self, provider: &ProviderName, app: &str, telemetry: &Telemetry, error: Option<&CheckError>) {
        self.asked(provider, app, telemetry);
        let provider = provider.as_str();
        self.checks.with_label_values(&[provider]).inc();
        self.check_duration.with_label_values(&[provider]).observe(telemetry.seconds);
        if let Some(error) = error {
            self.check_failures.with_label_values(&[provider, error.reason()]).inc();
        }
        if let Some(offset) = telemetry.clock_offset {
            self.clock_offset.with_label_values(&[provider]).set(offset.as_seconds());
        }
    }

    /// Takes in what a question beside a check showed: error codes and budgets.
    pub fn asked(&self, provider: &ProviderName, app: &str, telemetry: &Telemetry) {
        for code in &telemetry.error_codes {
            self.provider_errors.with_label_values(&[provider.as_str(), code]).inc();
        }
        for (resource, ratio) in &telemetry.usage {
            self.usage.with_label_values(&[app, resource]).set(*ratio);
        }
    }

    /// Forgets what providers said of our clock and of budgets: after a reload some are asked no more, and what they said would stay for ever.
    pub fn forget(&self) {
        self.clock_offset.reset();
        self.usage.reset();
    }

    /// Counts one renewal or replacement that ended.
    pub fn renewed(&self, outcome: Outcome) {
        self.renewals.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts one sign of life, or its lack.
    pub fn heartbeat(&self, heard: bool) {
        self.heartbeats.with_label_values(&[HEARTBEATS[usize::from(!heard)]]).inc();
    }

    /// Counts delivered notices.
    pub fn delivered(&self, channel: &str, notices: u64) {
        self.notices.with_label_values(&[channel]).inc_by(notices);
    }

    /// Counts failures on the way.
    pub fn failed(&self, channel: &str, failures: u64) {
        self.notice_failures.with_label_values(&[channel]).inc_by(failures);
    }

    /// Takes in how many connections are open where that is served (`pages`, `probes`).
    pub fn connected(&self, serves: &'static str, connections: usize) {
        let connections = i64::try_from(connections).unwrap_or(i64::MAX);
        self.connections.with_label_values(&[serves]).set(connections);
    }

    /// Counts a connection that the listener ended.
    pub fn closed(&self, why: Closed) {
        self.closed.with_label_values(&[why.as_str()]).inc();
    }

    /// Counts a login that was refused.
    pub fn refused_login(&self, why: Refused) {
        self.refused_logins.with_label_values(&[why.as_str()]).inc();
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 * 1024);
        // Writing to memory cannot fail, and the families are well formed by construction.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }
}

/// What becomes of a sign of life.
const HEARTBEATS: [&str; 2] = ["heard", "failed"];

fn kept<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("every name is registered once");
    collector
}
