//! The questions of the dashboard, in PromQL, put together from few parts.
//!
//! What is about single tokens is narrowed by a join with `tokenwatch_token_info` and `tokenwatch_token_receiver_info`, so that every panel obeys
//! every filter; it is asked for one moment only and cut to a fixed number of rows. What runs over time is made of aggregates, so a
//! hundred thousand tokens cost a graph no more than one.

/// Tokens that a table shows at most.
pub const ROWS: usize = 100;
/// Tokens that the timeline shows at most.
pub const BARS: usize = 12;
/// Tokens that the list to choose from shows at most, twice.
const NAMES: usize = 500;
/// A date that never comes, as days left: what `+Inf` becomes, so that a panel can name it.
pub const NEVER: i32 = 36_500;
/// An end that nobody knows, as days left.
pub const UNKNOWN: i32 = 36_501;
/// A date that never comes, in milliseconds: the year 10000.
pub const NEVER_MS: i64 = 253_402_300_800_000;

/// Selects what the watchers that were chosen say.
const WATCHER: &str = r#"instance=~"$instance""#;
/// Selects tokens by name.
const NAMED: &str = r#"instance=~"$instance",token=~"$token""#;
/// Selects aggregates of providers.
const PROVIDED: &str = r#"instance=~"$instance",provider=~"$provider""#;

/// A series of the watchers that were chosen.
pub fn own(metric: &str) -> String {
    format!("{metric}{{{WATCHER}}}")
}

/// An aggregate of the providers that were chosen.
pub fn provided(metric: &str) -> String {
    format!("{metric}{{{PROVIDED}}}")
}

/// The increase of what is counted by this label, over some time.
pub fn increase(by: &str, counter: &str, over: &str) -> String {
    format!("sum by ({by}) (increase({counter}[{over}]))")
}

/// How often a second this happens, by this label.
pub fn rate(by: &str, counter: &str) -> String {
    format!("sum by ({by}) (rate({counter}[$__rate_interval]))")
}

/// Seconds since the moment that this tells; of several watchers, the worst.
pub fn age(moment: &str) -> String {
    format!("max(time() - {})", own(moment))
}

/// A series of single tokens, without the filters that need a join.
pub fn named(metric: &str) -> String {
    format!("{metric}{{{NAMED}}}")
}

/// The tokens that all filters leave, as `tokenwatch_token_info`.
fn chosen() -> String {
    among(NAMED)
}

fn among(names: &str) -> String {
    format!(
        "(tokenwatch_token_info{{{names},provider=~\"$provider\",app=~\"$app\"}} \
         and on (instance, token) tokenwatch_token_receiver_info{{{names},receiver=~\"$receiver\"}})"
    )
}

/// The tokens to choose from: those that end first, then others. What is not among so many can still be typed.
pub fn names() -> String {
    let (chosen, expiry) = (among(WATCHER), own("tokenwatch_token_expiry_timestamp_seconds"));
    format!(
        "bottomk({NAMES}, {expiry} and on (instance, token) {chosen}) or on (instance, token) topk({NAMES}, {chosen})"
    )
}

/// A series of each token that the filters leave, with its provider and its app.
pub fn of_tokens(series: &str) -> String {
    format!("{series} * on (instance, token) group_left (provider, app) {}", chosen())
}

/// The same by the name of the metric.
pub fn of_each(metric: &str) -> String {
    of_tokens(&named(metric))
}

/// The open findings about tokens; `more` narrows them further.
fn about_tokens(more: &str) -> String {
    of_tokens(&format!("tokenwatch_token_finding{{{WATCHER},token!=\"\",token=~\"$token\"{more}}}"))
}

/// The open findings about apps, which belong to no token.
fn about_apps(more: &str) -> String {
    format!("tokenwatch_token_finding{{{WATCHER},token=\"\",app=~\"$app\"{more}}}")
}

/// Nothing, where the watcher says that it is there; absent where it is not, so that silence is never shown as health.
fn nothing() -> String {
    format!("0 * sum by (instance) ({})", own("tokenwatch_tokens"))
}

/// How many findings of this severity are open. Where the tokens of a watcher have no series of their own, its aggregate speaks.
pub fn findings(severity: &str) -> String {
    let more = format!(",severity=\"{severity}\"");
    let sum = |findings: &str| format!("sum by (instance) ({findings})");
    format!(
        "sum({} or ({} unless on (instance) {}) or {nothing}) + sum({} or {nothing})",
        sum(&about_tokens(&more)),
        sum(&format!("tokenwatch_findings{{{PROVIDED}{more}}}")),
        own("tokenwatch_token_info"),
        sum(&about_apps(&more)),
        nothing = nothing(),
    )
}

/// How many tokens have this series.
pub fn count_of(metric: &str) -> String {
    format!("sum(count by (instance) ({}) or {})", of_each(metric), nothing())
}

/// 3, 2 or 1 for each open finding: critical, warning, info.
pub fn weighed_findings() -> String {
    format!("topk({ROWS}, {})", weighed(&format!("({} or {})", about_tokens(""), about_apps(""))))
}

fn weighed(findings: &str) -> String {
    let weight = |severity: &str, weight: i64| {
        format!("label_replace(vector({weight}), \"severity\", \"{severity}\", \"\", \"\")")
    };
    let weights = [weight("critical", 3), weight("warning", 2), weight("info", 1)].join(" or ");
    format!("{findings} * on (severity) group_left () ({weights})")
}

/// The nearest deadline of each token: its end, or that of its data access where this is sooner. That access never ends says nothing of
/// an end that nobody knows.
fn deadline() -> String {
    let end = named("tokenwatch_token_expiry_timestamp_seconds");
    let access = named("tokenwatch_token_data_access_expiry_timestamp_seconds");
    format!("({end} <= {access} or {access} < +Inf or {end})")
}

/// Seconds that are left to each token whose nearest deadline is a date; one that was killed before it has none left.
fn dated() -> String {
    let killed = format!("tokenwatch_token_verdict{{{NAMED},verdict=\"invalid\"}} == 1");
    format!("({} < +Inf unless on (instance, token) {killed}) - time()", deadline())
}

/// Days left, the least first; with this severity, or with none where it is empty.
pub fn timeline(severity: &str) -> String {
    let days = of_tokens(&format!("(({}) / 86400)", dated()));
    let findings = format!("tokenwatch_token_finding{{{NAMED}");
    let of = |severity: &str| format!("on (instance, token) {findings},severity=\"{severity}\"}}");
    let worse: &[&str] = match severity {
        "critical" => &[],
        "warning" => &["critical"],
        "info" => &["critical", "warning"],
        _ => &["critical", "warning", "info"],
    };
    let mut expression = days;
    if !severity.is_empty() {
        expression = format!("{expression} and {}", of(severity));
    }
    for worse in worse {
        expression = format!("{expression} unless {}", of(worse));
    }
    // The sort keeps the order in the panel.
    format!("sort(bottomk({BARS}, {expression}))")
}

/// The tokens that end first, as days left: dates, then those that never end, then those of which nobody knows.
fn next() -> String {
    let days = format!("clamp_max(({} - time()) / 86400, {NEVER})", deadline());
    let unknown = format!("(0 * tokenwatch_token_info{{{NAMED}}} + {UNKNOWN})");
    let all = format!("({days} or on (instance, token) {unknown})");
    format!("bottomk({ROWS}, {all} * on (instance, token) group_left (provider, app, kind) {})", chosen())
}

/// The same with the verdict on each.
pub fn ends_next() -> String {
    format!("{} * on (instance, token) group_left (verdict) (tokenwatch_token_verdict{{{NAMED}}} == 1)", next())
}

/// A moment of the tokens that end first, in milliseconds.
pub fn next_moment(metric: &str) -> String {
    let moment = format!("clamp_max(1000 * {metric}{{{NAMED}}}, {NEVER_MS})");
    format!("{moment} and on (instance, token) {}", next())
}

/// The worst finding of the tokens that end first: 3, 2 or 1.
pub fn next_severity() -> String {
    let findings = weighed(&format!("tokenwatch_token_finding{{{NAMED}}}"));
    format!("max by (instance, token) ({findings}) and on (instance, token) {}", next())
}

/// The renewals that come next, as seconds from now; those that are late are below zero.
pub fn next_renewals() -> String {
    let due = format!("(tokenwatch_token_renewal_timestamp_seconds{{{NAMED}}} - time())");
    format!("bottomk({ROWS}, {})", of_tokens(&due))
}

/// The longest time that any token has been without an authoritative answer.
pub fn longest_silence() -> String {
    let since = format!("(time() - tokenwatch_token_last_answer_timestamp_seconds{{{NAMED}}})");
    format!("max({})", of_tokens(&since))
}

/// How long ago the last of all answers came.
pub fn newest_answer() -> String {
    format!("min(time() - tokenwatch_token_last_answer_timestamp_seconds{{{NAMED}}})")
}

/// 1 where every watcher that said something in the last days can be scraped, else 0.
pub fn up() -> String {
    let known = format!("max by (job, instance) (last_over_time({}[$__range]))", own("tokenwatch_build_info"));
    format!("min({} * on (job, instance) group_left () {known})", own("up"))
}

/// How long the oldest notice has been waiting; zero where none waits.
pub fn oldest_notice() -> String {
    let oldest = own("tokenwatch_outbox_oldest_timestamp_seconds");
    format!("max(time() - {oldest} or 0 * {})", own("tokenwatch_outbox_pending"))
}

/// How many tokens end within this time.
pub fn within(time: &str) -> String {
    format!("sum(tokenwatch_tokens_expiring{{{PROVIDED},within=\"{time}\"}})")
}

/// The share of the files that a watcher may have open that it has.
pub fn files() -> String {
    format!("{} / {}", own("process_open_fds"), own("process_max_fds"))
}

/// Days until the first token of a provider ends.
pub fn days_to_the_next_end() -> String {
    format!("min by (provider) ({} - time()) / 86400", provided("tokenwatch_soonest_expiry_timestamp_seconds"))
}

/// Checks without an answer in the time range, the commonest reason first.
pub fn failures() -> String {
    format!("sort_desc({})", increase("reason", &provided("tokenwatch_check_failures_total"), "$__range"))
}

/// A share of the checks takes at most so long.
pub fn quantile(share: &str) -> String {
    let buckets = provided("tokenwatch_check_duration_seconds_bucket");
    format!("histogram_quantile({share}, {})", rate("le", &buckets))
}
