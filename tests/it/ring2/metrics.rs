//! A strict reader of Prometheus' text format (version 0.0.4), and what `/metrics` must say.
//!
//! The reader refuses what a lenient scraper lets pass: a family that is told in two places, a series that is told twice, a family without
//! its HELP and TYPE, a label that is not escaped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokenwatch::board::{AppRow, Reload, Row, Table};
use tokenwatch::domain::finding::{Reason, Severity};
use tokenwatch::domain::inspection::{AppFault, Expiry, TokenKind};
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::domain::token::{AppName, ProviderName, ReceiverName, TokenId};
use tokenwatch::domain::verdict::{Verdict, app_finding};
use tokenwatch::metrics::Counters;
use tokenwatch::ports::{OutboxSummary, Telemetry};
use tokenwatch::settings::PerToken;
use tokenwatch::web::exposition::{Exposition, Scene};

use super::super::support::house::START;
use super::{DAY, findings, inhabited, put_never, put_until, seconds, until};

/// All series of one scrape.
#[derive(Debug, Default)]
pub struct Scrape {
    /// Type of each family.
    pub families: BTreeMap<String, String>,
    series: BTreeMap<(String, Vec<(String, String)>), f64>,
}

impl Scrape {
    /// The value of one series; the labels may come in any order, and all must be given.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut labels: Vec<(String, String)> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        labels.sort();
        self.series.get(&(name.to_owned(), labels)).copied()
    }

    /// The value of a series about one token.
    pub fn of(&self, name: &str, token: &str) -> Option<f64> {
        self.value(name, &[("token", token)])
    }

    /// The sum over all series of that name.
    pub fn total(&self, name: &str) -> f64 {
        self.series.iter().filter(|((known, _), _)| known == name).map(|(_, value)| value).sum()
    }

    /// How many series have that name.
    pub fn count(&self, name: &str) -> usize {
        self.series.keys().filter(|(known, _)| known == name).count()
    }

    /// The values of one label over all series of that name.
    pub fn label(&self, name: &str, label: &str) -> BTreeSet<&str> {
        let of = self.series.keys().filter(|(known, _)| known == name);
        of.flat_map(|(_, labels)| labels).filter(|(known, _)| known == label).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether any series speaks of that token.
    pub fn mentions(&self, token: &str) -> bool {
        self.series.keys().any(|(_, labels)| labels.iter().any(|(name, value)| name == "token" && value == token))
    }
}

/// Reads a scrape; panics with the line that breaks the format.
pub fn parse(text: &str) -> Scrape {
    assert!(text.ends_with('\n'), "the last line has its end");
    let mut scrape = Scrape::default();
    let mut helped = BTreeSet::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and words");
            assert!(is_name(name) && !help.trim().is_empty(), "{line}");
            assert!(helped.insert(name.to_owned()), "HELP twice: {line}");
            current = None;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(helped.contains(name), "TYPE before HELP: {line}");
            assert!(scrape.families.insert(name.to_owned(), kind.to_owned()).is_none(), "TYPE twice: {line}");
            current = Some(name.to_owned());
        } else {
            let (name, labels, value) = sample(line);
            let family = current.as_deref().unwrap_or_else(|| unreachable!("no family: {line}"));
            let kind = scrape.families.get(family).map(String::as_str).unwrap_or_default();
            let belongs = match name.strip_prefix(family) {
                Some("") => kind != "histogram",
                Some("_bucket" | "_sum" | "_count") => kind == "histogram",
                _ => false,
            };
            assert!(belongs, "not of the family {family}: {line}");
            assert!(kind != "counter" || (family.ends_with("_total") && value >= 0.0), "no counter: {line}");
            assert!(scrape.series.insert((name, labels), value).is_none(), "told twice: {line}");
        }
    }
    assert_eq!(helped, scrape.families.keys().cloned().collect());
    scrape
}

fn is_name(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `name{a="b",c="d"} 1`.
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| unreachable!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, quoted) = rest.split_once("=\"").unwrap_or_else(|| unreachable!("a label: {line}"));
            assert!(is_name(label), "{line}");
            let (value, after) = unquoted(quoted, line);
            labels.push((label.to_owned(), value));
            rest = after;
            match rest.split_at(1) {
                (",", more) => rest = more,
                ("}", more) => {
                    rest = more;
                    break;
                }
                _ => unreachable!("after a label: {line}"),
            }
        }
    }
    labels.sort();
    assert!(labels.windows(2).all(|pair| pair[0].0 != pair[1].0), "a label twice: {line}");
    let value = rest.strip_prefix(' ').unwrap_or_else(|| unreachable!("one space: {line}"));
    let value = match value {
        "+Inf" => f64::INFINITY,
        number => number.parse().unwrap_or_else(|_| unreachable!("a number: {line}")),
    };
    (name.to_owned(), labels, value)
}

/// Up to the closing quote; the only escapes are `\\`, `\"` and `\n`.
fn unquoted<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, c @ ('"' | '\\'))) => c,
                _ => unreachable!("an unknown escape: {line}"),
            }),
            c => value.push(c),
        }
    }
    unreachable!("no closing quote: {line}")
}

#[test]
fn the_reader_itself_is_strict() {
    let good = "# HELP a words\n# TYPE a gauge\na{x=\"\\\\ \\\" \\n\",y=\"\"} +Inf\na{x=\"1\"} -2.5\n";
    assert_eq!(parse(good).value("a", &[("y", ""), ("x", "\\ \" \n")]), Some(f64::INFINITY));
    for bad in [
        "a 1\n",
        "# HELP a words\n# TYPE a gauge\na 1",
        "# HELP a words\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a words\n# TYPE a gauge\na{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 1\n",
        "# HELP a words\n# TYPE a gauge\n# HELP b words\n# TYPE b gauge\na 1\n",
        "# HELP a words\n# HELP a words\n# TYPE a gauge\n",
        "# HELP a words\na 1\n",
        "# TYPE a gauge\na 1\n",
        "# HELP a words\n# TYPE a gauge\na{x=\"1\"b} 1\n",
        "# HELP a words\n# TYPE a gauge\na{x=\"\\q\"} 1\n",
        "# HELP a words\n# TYPE a gauge\na{x=\"} 1\n",
        "# HELP a words\n# TYPE a gauge\na one\n",
        "# HELP a words\n# TYPE a counter\na 1\n",
        "# HELP a words\n# TYPE a gauge\nab 1\n",
    ] {
        let read = std::panic::catch_unwind(|| parse(bad));
        assert!(read.is_err(), "{bad}");
    }
}

/// What the contract names.
const FAMILIES: [&str; 30] = [
    "tokenwatch_token_info",
    "tokenwatch_token_receiver_info",
    "tokenwatch_token_expiry_timestamp_seconds",
    "tokenwatch_token_data_access_expiry_timestamp_seconds",
    "tokenwatch_token_issued_timestamp_seconds",
    "tokenwatch_token_lifetime_seconds",
    "tokenwatch_token_verdict",
    "tokenwatch_token_finding",
    "tokenwatch_token_last_check_timestamp_seconds",
    "tokenwatch_token_last_answer_timestamp_seconds",
    "tokenwatch_tokens",
    "tokenwatch_findings",
    "tokenwatch_tokens_expiring",
    "tokenwatch_soonest_expiry_timestamp_seconds",
    "tokenwatch_checks_total",
    "tokenwatch_check_failures_total",
    "tokenwatch_check_duration_seconds",
    "tokenwatch_provider_errors_total",
    "tokenwatch_clock_offset_seconds",
    "tokenwatch_notices_total",
    "tokenwatch_notice_failures_total",
    "tokenwatch_outbox_pending",
    "tokenwatch_last_notice_timestamp_seconds",
    "tokenwatch_last_pass_timestamp_seconds",
    "tokenwatch_config_last_reload_successful",
    "tokenwatch_config_last_reload_success_timestamp_seconds",
    "tokenwatch_build_info",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
];

#[tokio::test(start_paused = true)]
async fn a_scrape_of_the_running_daemon_tells_what_is_true() {
    let mut house = inhabited().await;
    put_never(&house, "never");
    put_until(&house, "soon", 2 * DAY);
    let dead = put_never(&house, "dead");
    super::world(&house, |world, now| world.revoke(&dead, now));
    let config = house.config(&["never", "soon", "dead", "lost"].map(|name| house.slot(name)).concat());
    house.start(&config).await;
    until(&house, 3_600).await;
    let scrape = parse(&house.get("/metrics").await.1);
    for family in FAMILIES {
        assert!(scrape.families.contains_key(family), "{family} is missing");
    }
    let info = |token, kind| {
        let labels = [("token", token), ("provider", "meta"), ("app", "helpdesk"), ("kind", kind)];
        scrape.value("tokenwatch_token_info", &labels)
    };
    assert_eq!((info("never", "system_user"), info("lost", "unknown")), (Some(1.0), Some(1.0)));
    let expiry = |token| scrape.of("tokenwatch_token_expiry_timestamp_seconds", token);
    let expected = |moment: i64| Some(f64::from(i32::try_from(START + moment).expect("before 2038")));
    assert_eq!((expiry("never"), expiry("soon"), expiry("lost")), (Some(f64::INFINITY), expected(2 * DAY), None));
    assert_eq!(scrape.of("tokenwatch_token_issued_timestamp_seconds", "soon"), expected(0));
    let lifetime = |token| scrape.of("tokenwatch_token_lifetime_seconds", token);
    assert_eq!((lifetime("soon"), lifetime("never"), lifetime("lost")), (Some(2.0 * 86_400.0), None, None));
    for (token, verdict, finding) in [
        ("never", "healthy", None),
        ("soon", "healthy", None),
        ("dead", "invalid", Some(("revoked", "critical"))),
        ("lost", "unverified", Some(("source_unreadable", "critical"))),
    ] {
        for known in Verdict::ALL.map(Verdict::as_str) {
            let value = scrape.value("tokenwatch_token_verdict", &[("token", token), ("verdict", known)]);
            assert_eq!(value, Some(if known == verdict { 1.0 } else { 0.0 }), "{token} {known}");
        }
        let open: Vec<&str> = findings(&house, token);
        assert_eq!(open, finding.iter().map(|(code, _)| *code).collect::<Vec<_>>());
        if let Some((code, severity)) = finding {
            let labels = [("token", token), ("finding", code), ("severity", severity)];
            assert_eq!(scrape.value("tokenwatch_token_finding", &labels), Some(1.0));
        }
    }
    assert_eq!(scrape.count("tokenwatch_token_finding"), 2);
    let findings = |severity| scrape.value("tokenwatch_findings", &[("provider", "meta"), ("severity", severity)]);
    assert_eq!(["info", "warning", "critical"].map(findings), [0.0, 0.0, 2.0].map(Some));
    let receiver = [("token", "soon"), ("receiver", "default")];
    assert_eq!(scrape.value("tokenwatch_token_receiver_info", &receiver), Some(1.0));
    assert_eq!(scrape.count("tokenwatch_token_receiver_info"), 4);
    let within = |days| scrape.value("tokenwatch_tokens_expiring", &[("provider", "meta"), ("within", days)]);
    assert_eq!(["1d", "3d", "7d", "14d", "21d", "60d"].map(within), [0.0, 1.0, 1.0, 1.0, 1.0, 1.0].map(Some));
    assert_eq!(scrape.value("tokenwatch_soonest_expiry_timestamp_seconds", &[("provider", "meta")]), expected(2 * DAY));
    let tokens = |verdict| scrape.value("tokenwatch_tokens", &[("provider", "meta"), ("verdict", verdict)]);
    assert_eq!((tokens("healthy"), tokens("invalid"), tokens("unverified")), (Some(2.0), Some(1.0), Some(1.0)));
    // What can be counted exists from the start, at zero.
    assert_eq!(scrape.label("tokenwatch_check_failures_total", "reason").len(), 11);
    assert!(scrape.label("tokenwatch_provider_errors_total", "code").contains("other"));
    let checks = scrape.total("tokenwatch_checks_total");
    assert!((checks - scrape.total("tokenwatch_check_duration_seconds_count")).abs() < 0.5);
    let asked: u64 = house.sim.requests().values().sum();
    let unread = scrape.value("tokenwatch_check_failures_total", &[("provider", "meta"), ("reason", "source")]);
    assert!((checks - unread.expect("counted") - f64::from(u32::try_from(asked).expect("few"))).abs() < 0.5);
    assert_eq!(scrape.value("tokenwatch_outbox_pending", &[]), Some(0.0));
    assert_eq!(scrape.value("tokenwatch_clock_offset_seconds", &[("provider", "meta")]), Some(0.0));
    assert_eq!(scrape.value("tokenwatch_config_last_reload_successful", &[]), Some(1.0));
    assert_eq!(scrape.count("tokenwatch_build_info"), 1);
    let mails = f64::from(u32::try_from(seconds(&house).len()).expect("few"));
    assert!(mails >= 1.0 && scrape.total("tokenwatch_notices_total") >= mails);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_date_stays_while_checks_fail_and_after_it_has_passed() {
    use tokenwatch::sim::{Fault, FaultKind, Match};
    let mut house = inhabited().await;
    put_until(&house, "t", 2 * DAY);
    house.start(&house.config(&house.slot("t"))).await;
    until(&house, DAY).await;
    house.sim.with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::Empty500)));
    until(&house, 3 * DAY).await;
    let scrape = parse(&house.get("/metrics").await.1);
    let end = f64::from(i32::try_from(START + 2 * DAY).expect("before 2038"));
    assert_eq!(scrape.of("tokenwatch_token_expiry_timestamp_seconds", "t"), Some(end));
    assert_eq!(scrape.value("tokenwatch_token_verdict", &[("token", "t"), ("verdict", "expired")]), Some(1.0));
    let tried = scrape.of("tokenwatch_token_last_check_timestamp_seconds", "t").expect("tried");
    let answered = scrape.of("tokenwatch_token_last_answer_timestamp_seconds", "t").expect("answered");
    assert!(tried > end && answered < end);
    assert_eq!(scrape.value("tokenwatch_soonest_expiry_timestamp_seconds", &[("provider", "meta")]), Some(end));
    house.stop().await;
}

// ---- the exposition alone -------------------------------------------------------------------------------------------------------------

fn row(n: usize, verdict: Verdict, findings: &[(Reason, Severity)]) -> Row {
    Row {
        id: TokenId::parse(&format!("t{n}")).expect("a name"),
        provider: ProviderName::meta(),
        app: None,
        receivers: Arc::from([ReceiverName::parse("default").expect("a name")]),
        kind: TokenKind::User,
        verdict,
        findings: findings.into(),
        expires: Expiry::At(Timestamp::from_unix(START + DAY * i64::try_from(n % 90).unwrap_or_default())),
        data_access: Expiry::Never,
        issued_at: None,
        lifetime: Some(Span::days(60)),
        last_check: Some(Timestamp::from_unix(START)),
        last_answer: Some(Timestamp::from_unix(START)),
        next_check: Timestamp::from_unix(START + 900),
        renewal: None,
        answered: None,
        number: None,
    }
}

/// Every tenth token has a finding.
fn table(rows: usize) -> Arc<Table> {
    let urgent = [(Reason::Expiring, Severity::Info)];
    let rows = (0..rows).map(|n| match n % 10 {
        0 => row(n, Verdict::Expiring, &urgent),
        _ => row(n, Verdict::Healthy, &[]),
    });
    Arc::new(Table::new(rows.collect()))
}

fn scene(per_token: PerToken) -> Scene {
    let counters = Counters::default();
    counters.expect(&ProviderName::meta(), &["4", "190"]);
    let telemetry = Telemetry { usage: vec![("call_count", 0.25)], ..Telemetry::default() };
    counters.checked(&ProviderName::meta(), "helpdesk", &telemetry, None);
    Scene {
        now: Timestamp::from_unix(START),
        counters: counters.render(),
        outbox: Some(OutboxSummary { pending: 3, oldest: Some(Timestamp::from_unix(START)), last: Vec::new() }),
        last_pass: None,
        reload: Some(Reload { successful: false, success_at: Timestamp::from_unix(START) }),
        watcher: Vec::new(),
        per_token,
    }
}

fn expose(table: &Arc<Table>, per_token: PerToken) -> Scrape {
    let chunks: Vec<u8> = Exposition::new(Arc::clone(table), &scene(per_token)).flatten().collect();
    parse(std::str::from_utf8(&chunks).expect("UTF-8"))
}

#[test]
fn per_token_series_are_all_the_urgent_or_none() {
    const EXPIRY: &str = "tokenwatch_token_expiry_timestamp_seconds";
    for (rows, per_token, shown) in [
        (5_000, PerToken::Auto, 5_000),
        (5_001, PerToken::Auto, 501),
        (5_001, PerToken::All, 5_001),
        (5_001, PerToken::None, 0),
        (10, PerToken::None, 0),
        (0, PerToken::Auto, 0),
        (0, PerToken::All, 0),
    ] {
        let scrape = expose(&table(rows), per_token);
        assert_eq!(scrape.count(EXPIRY), shown, "{rows} {per_token:?}");
        assert_eq!(scrape.count("tokenwatch_token_verdict"), 5 * shown);
        // What is told of all of them is told always.
        let all = f64::from(u32::try_from(rows).expect("few"));
        assert!((scrape.total("tokenwatch_tokens") - all).abs() < 0.5, "{rows} {per_token:?}");
        assert_eq!(scrape.count("tokenwatch_tokens_expiring"), 6);
        assert_eq!(scrape.count("tokenwatch_token_receiver_info"), shown);
        let urgent = f64::from(u32::try_from(rows.div_ceil(10)).expect("few"));
        assert!((scrape.total("tokenwatch_findings") - urgent).abs() < 0.5, "{rows} {per_token:?}");
        assert_eq!(scrape.value("tokenwatch_outbox_pending", &[]), Some(3.0));
        assert_eq!(scrape.value("tokenwatch_config_last_reload_successful", &[]), Some(0.0));
        assert_eq!(scrape.count("tokenwatch_last_pass_timestamp_seconds"), 0, "unknown is absent");
        let usage = [("app", "helpdesk"), ("resource", "call_count")];
        assert_eq!(scrape.value("tokenwatch_provider_usage_ratio", &usage), Some(0.25));
    }
}

/// Each receiver of a token is a series; that nobody is told of it is one as well.
#[test]
fn every_receiver_of_a_token_is_told() {
    let mut rows = vec![row(0, Verdict::Healthy, &[]), row(1, Verdict::Healthy, &[])];
    rows[0].receivers = ["default", "lead"].map(|name| ReceiverName::parse(name).expect("a name")).into();
    rows[1].receivers = Arc::from([]);
    let scrape = expose(&Arc::new(Table::new(rows)), PerToken::All);
    let told = |token, receiver| {
        scrape.value("tokenwatch_token_receiver_info", &[("token", token), ("receiver", receiver)]).is_some()
    };
    assert!(told("t0", "default") && told("t0", "lead") && told("t1", ""));
    assert_eq!(scrape.count("tokenwatch_token_receiver_info"), 3);
}

/// A fault of an app has no token, and must be told however few tokens are shown.
#[test]
fn an_apps_fault_is_told_without_a_token() {
    for per_token in [PerToken::All, PerToken::Auto, PerToken::None] {
        for rows in [0, 10, 5_001] {
            let table = table(rows);
            let name = AppName::parse("helpdesk").expect("a name");
            table.publish_app(&name, vec![app_finding(AppFault::Blocked, "API access blocked.")]);
            assert_eq!(table.apps().iter().map(|row: &AppRow| row.name.as_str()).collect::<Vec<_>>(), ["helpdesk"]);
            let labels = [("app", "helpdesk"), ("finding", "app_fault"), ("severity", "critical")];
            let scrape = expose(&table, per_token);
            assert_eq!(scrape.value("tokenwatch_token_finding", &labels), Some(1.0), "{per_token:?} {rows}");
        }
    }
}

/// The table may change between two chunks of one scrape; what is written must stay in the format.
#[test]
fn a_scrape_while_checks_come_in_is_well_formed() {
    let table = table(20_000);
    let mut text = Vec::new();
    for (n, chunk) in Exposition::new(Arc::clone(&table), &scene(PerToken::All)).enumerate() {
        assert!(chunk.len() < 72 * 1024, "a chunk of {} bytes", chunk.len());
        text.extend_from_slice(&chunk);
        let updates = (0..20_000).step_by(7 + n).map(|index| (index, row(index, Verdict::Expired, &[])));
        table.publish(updates.collect());
    }
    let scrape = parse(std::str::from_utf8(&text).expect("UTF-8"));
    assert_eq!(scrape.count("tokenwatch_token_verdict"), 100_000);
    assert_eq!(Span::days(1).as_seconds(), DAY);
}

/// What a provider said of our clock must not be said for ever when nobody asks it any more.
#[test]
fn what_providers_said_is_forgotten_and_what_was_counted_is_not() {
    let counters = Counters::default();
    let meta = ProviderName::meta();
    let telemetry =
        Telemetry { usage: vec![("call_count", 0.25)], clock_offset: Some(Span::seconds(600)), ..Telemetry::default() };
    let scrape = || parse(&String::from_utf8(counters.render()).expect("UTF-8"));
    let offset = |scrape: &Scrape| scrape.value("tokenwatch_clock_offset_seconds", &[("provider", "meta")]);
    counters.checked(&meta, "helpdesk", &telemetry, None);
    assert_eq!(offset(&scrape()), Some(600.0));
    counters.forget();
    let forgotten = scrape();
    assert_eq!((offset(&forgotten), forgotten.count("tokenwatch_provider_usage_ratio")), (None, 0));
    assert_eq!(forgotten.value("tokenwatch_checks_total", &[("provider", "meta")]), Some(1.0));
    counters.checked(&meta, "helpdesk", &telemetry, None);
    assert_eq!(offset(&scrape()), Some(600.0));
}
