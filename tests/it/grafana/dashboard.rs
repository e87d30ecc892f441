//! The dashboard of `deploy/grafana/dashboards/tokenwatch.json`: its rows in the order in which on-call asks.

use serde_json::{Value, json};

use super::build::{Kind, Panel, Step, Word, datasource, fixed, laid_out, mappings, thresholds};
use super::promql::{self, NEVER, NEVER_MS, UNKNOWN, age, increase, own, provided, rate};

/// The file's text.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&dashboard()).expect("it is JSON");
    text.push('\n');
    text
}

/// The dashboard.
pub fn dashboard() -> Value {
    json!({
        "uid": "tokenwatch",
        "title": "tokenwatch",
        "description": "Access tokens: what is wrong, what ends next, and whether the watcher itself is well.",
        "tags": ["tokenwatch", "tokens", "expiry"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "liveNow": false,
        "weekStart": "",
        "timezone": "browser",
        "time": {"from": "now-7d", "to": "now"},
        "timepicker": {},
        "refresh": "1m",
        "annotations": {"list": [{
            "builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": true, "hide": true,
            "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
        }]},
        "links": [{
            "title": "Status page", "type": "link", "url": "${base}/", "icon": "external link",
            "tooltip": "tokenwatch's own pages", "targetBlank": true, "asDropdown": false, "includeVars": false, "keepTime": false, "tags": [],
        }],
        "templating": {"list": variables()},
        "panels": laid_out(vec![
            ("Is anything wrong now?", wrong()),
            ("What ends next?", next()),
            ("Is the watcher healthy?", watcher()),
            ("What was renewed?", renewed()),
            ("How do the providers answer?", providers()),
            ("Clock, process and listener", process()),
        ]),
    })
}

fn variables() -> Value {
    let names = format!("query_result({})", promql::names());
    json!([
        {
            "type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "regex": "",
            "multi": false, "includeAll": false, "refresh": 1, "hide": 0, "options": [],
        },
        choice("instance", "Watcher", "label_values(tokenwatch_build_info, instance)", "", None),
        choice("provider", "Provider", "label_values(tokenwatch_tokens{instance=~\"$instance\"}, provider)", "", Some(".*")),
        choice(
            "app", "App",
            "label_values(tokenwatch_token_info{instance=~\"$instance\",provider=~\"$provider\"}, app)", "", Some(".*"),
        ),
        choice(
            "receiver", "Receiver",
            "label_values(tokenwatch_token_receiver_info{instance=~\"$instance\"}, receiver)", "", Some(".*"),
        ),
        choice("token", "Token", &names, r#"/token="([^"]+)"/"#, Some(".*")),
        {
            "type": "textbox", "name": "base", "label": "Status page", "query": BASE, "hide": 0,
            "description": "Where people reach tokenwatch's own pages; the links in the tables lead there.",
            "current": {"text": BASE, "value": BASE, "selected": false},
            "options": [{"text": BASE, "value": BASE, "selected": true}],
        },
    ])
}

/// A variable that Prometheus knows the values of; `all` is what stands for all of them, tokens without that label included.
fn choice(name: &str, label: &str, query: &str, regex: &str, all: Option<&str>) -> Value {
    let mut variable = json!({
        "type": "query", "name": name, "label": label, "datasource": datasource(),
        "query": {"query": query, "refId": format!("variable-{name}")}, "regex": regex, "sort": 1, "refresh": 2,
        "multi": true, "includeAll": true, "hide": 0, "skipUrlSync": false, "options": [],
        "current": {"text": ["All"], "value": ["$__all"], "selected": true},
    });
    if let Some(all) = all {
        variable["allValue"] = all.into();
    }
    variable
}

fn wrong() -> Vec<Panel> {
    let count = |title, severity, colour, description| {
        Panel::new(Kind::Stat, title, (3, 4), description)
            .ask(&promql::findings(severity), "")
            .unit("short", 0)
            .colours("green", &[(1.0, colour)])
            .or_else("no data")
    };
    let verdicts = Panel::new(
        Kind::Stat,
        "Tokens by verdict",
        (8, 4),
        "All tokens of the chosen providers; not narrowed by app, receiver or token, because it is an aggregate \
         that is there however many tokens there are. Expired and invalid ones are in the table below. Unverified: \
         nobody could tell, so look at the checks below.",
    )
    .ask(&format!("sum by (verdict) ({})", provided("tokenwatch_tokens")), "{{verdict}}")
    .unit("short", 0)
    .colours("text", &[])
    .named()
    .or_else("no data")
    .for_name("healthy", &[("thresholds", thresholds("text", &[(1.0, "green")]))])
    .for_name("expiring", &[("thresholds", thresholds("text", &[(1.0, "orange")]))])
    .for_name("unverified", &[("thresholds", thresholds("text", &[(1.0, "purple")]))])
    .for_names_like("^(expired|invalid)$", &[("thresholds", thresholds("text", &[(1.0, "red")]))]);
    let answered = Panel::new(
        Kind::Stat,
        "Somebody is on it",
        (4, 4),
        "Tokens of which somebody acknowledged what is open, and tokens whose notices are silenced for a time. A \
         silence that nobody remembers is lifted by tokenwatch unsilence NAME.",
    )
    .ask(&promql::count_of("tokenwatch_token_acknowledged"), "acknowledged")
    .ask(&promql::count_of("tokenwatch_token_silenced_until_timestamp_seconds"), "silenced")
    .unit("short", 0)
    .colours("text", &[(1.0, "blue")])
    .named()
    .or_else("no data");
    let open = Panel::new(
        Kind::Table,
        "Open findings",
        (24, 9),
        "The worst first, at most a hundred. The link leads to the token's page, which says why and what to do \
         now; tokenwatch explain NAME says the same. A row with an app and no token is a fault of the app, which \
         hits all its tokens.",
    )
    .ask(&promql::weighed_findings(), "")
    .columns(
        &[
            ("Value", "Severity"),
            ("token", "Token"),
            ("finding", "Finding"),
            ("provider", "Provider"),
            ("app", "App"),
            ("instance", "Watcher"),
        ],
        &["Time", "__name__", "job", "severity"],
    )
    .sorted("Severity", true)
    .or_else("Nothing is wrong")
    .for_name("Severity", &severity())
    .for_name("Token", &page_of_token())
    .for_name("App", &page_of_app())
    .for_name("Watcher", &[("custom.width", 200.into())]);
    vec![
        Panel::new(
            Kind::Stat,
            "tokenwatch",
            (3, 4),
            "Whether Prometheus reaches every tokenwatch that it knew in the time range. Red: nobody is watching. \
             Look at systemctl status tokenwatch, then at the journal. Without data: Prometheus does not scrape it \
             at all.",
        )
        .ask(&promql::up(), "")
        .unit("none", 0)
        .colours("red", &[(1.0, "green")])
        .words(&[("0", "down", "red"), ("1", "up", "green")])
        .or_else("never seen"),
        count(
            "Critical",
            "critical",
            "red",
            "Open critical findings. Red: something is broken already or will be within three days. Begin with the \
             first row below.",
        ),
        count(
            "Warning",
            "warning",
            "orange",
            "Open warnings. Orange: it must be dealt with before it becomes critical, which is a matter of days.",
        ),
        count("Info", "info", "blue", "Open findings that are good to know and wake nobody."),
        verdicts,
        answered,
        open,
    ]
}

fn next() -> Vec<Panel> {
    let timeline = Panel::new(
        Kind::Bars,
        "Timeline: days left",
        (9, 10),
        "The tokens that end first, or lose data access first, by severity and then by date; the colour is that of the worst open finding. \
         Those without an end, and those that were killed before it, are not here. Red: renew or replace it today; the token's page has the steps.",
    )
    .ask(&promql::timeline("critical"), "{{token}}")
    .ask(&promql::timeline("warning"), "{{token}}")
    .ask(&promql::timeline("info"), "{{token}}")
    .ask(&promql::timeline(""), "{{token}}")
    .unit("suffix: d", 1)
    .from(0)
    .to(60)
    .or_else("No token has a date")
    .for_question("A", &[("color", fixed("red"))])
    .for_question("B", &[("color", fixed("orange"))])
    .for_question("C", &[("color", fixed("blue"))])
    .for_question("D", &[("color", fixed("green"))]);
    let within = Panel::new(
        Kind::Bars,
        "How many end within …",
        (5, 10),
        "Cumulative, those that ended already included. An aggregate: narrowed by provider only. A step from one \
         bar to the next is work that is coming.",
    )
    .ask(&promql::within("1d"), "1 day")
    .ask(&promql::within("3d"), "3 days")
    .ask(&promql::within("7d"), "7 days")
    .ask(&promql::within("14d"), "14 days")
    .ask(&promql::within("21d"), "21 days")
    .ask(&promql::within("60d"), "60 days")
    .unit("short", 0)
    .from(0)
    .colours("green", &[(1.0, "blue")])
    .or_else("no data")
    .for_names_like("^[13] days?$", &[("thresholds", thresholds("green", &[(1.0, "red")]))])
    .for_names_like("^(7|14) days$", &[("thresholds", thresholds("green", &[(1.0, "orange")]))]);
    let soonest = Panel::new(
        Kind::Lines,
        "Days until the next end, by provider",
        (10, 10),
        "The nearest deadline of all tokens of a provider. It falls by one a day and jumps when a token is \
         renewed; a line that goes on falling below the dashed ones is a renewal that did not happen.",
    )
    .ask(&promql::days_to_the_next_end(), "{{provider}}")
    .unit("suffix: d", 0)
    .colours("red", &[(3.0, "orange"), (14.0, "green")])
    .with_limits()
    .or_else("No token has a date");
    let table = Panel::new(
        Kind::Table,
        "What ends next",
        (24, 10),
        "The hundred tokens that end first, or lose data access first, then those that never end, then those whose end nobody knows. The \
         colour is that of the worst open finding. The link leads to the token's page. Beyond 5,000 tokens only \
         those with an open finding are here (metrics.per_token).",
    )
    .ask(&promql::ends_next(), "")
    .ask(&promql::next_severity(), "")
    .ask(&promql::next_moment("tokenwatch_token_expiry_timestamp_seconds"), "")
    .ask(&promql::next_moment("tokenwatch_token_data_access_expiry_timestamp_seconds"), "")
    .ask(&promql::next_moment("tokenwatch_token_renewal_timestamp_seconds"), "")
    .columns(
        &[
            ("Value #B", "Severity"),
            ("token", "Token"),
            ("provider", "Provider"),
            ("app", "App"),
            ("kind", "Kind"),
            ("verdict", "Verdict"),
            ("Value #A", "Days left"),
            ("Value #C", "Ends"),
            ("Value #D", "Data access ends"),
            ("Value #E", "Renewal"),
            ("instance", "Watcher"),
        ],
        &["Time", "__name__", "job"],
    )
    .sorted("Days left", false)
    .or_else("No series per token")
    .for_name("Severity", &severity())
    .for_name("Token", &page_of_token())
    .for_name(
        "Days left",
        &[
            ("unit", "suffix: d".into()),
            ("decimals", 1.into()),
            ("mappings", mappings(&[(&NEVER.to_string(), "never", ""), (&UNKNOWN.to_string(), "unknown", "")])),
            ("custom.align", "right".into()),
            ("custom.width", 85.into()),
        ],
    )
    .for_names_like("^(Provider|App|Kind|Verdict)$", &[("custom.width", 100.into())])
    .for_names_like("^(Ends|Data access ends|Renewal)$", &date())
    .for_name(
        "Verdict",
        &[
            ("custom.cellOptions", json!({"type": "color-text"})),
            (
                "mappings",
                mappings(&[
                    ("healthy", "healthy", "green"),
                    ("expiring", "expiring", "orange"),
                    ("expired", "expired", "red"),
                    ("invalid", "invalid", "red"),
                    ("unverified", "unverified", "purple"),
                ]),
            ),
        ],
    )
    .for_name("Watcher", &[("custom.width", 130.into())]);
    vec![timeline, within, soonest, table]
}

fn watcher() -> Vec<Panel> {
    let since = |title, expression: &str, steps: &[Step], description| {
        Panel::new(Kind::Stat, title, (4, 4), description)
            .ask(expression, "")
            .unit("dtdurations", 0)
            .colours("green", steps)
            .or_else("no data")
    };
    vec![
        since(
            "Last pass",
            &age("tokenwatch_last_pass_timestamp_seconds"),
            &[(600.0, "orange"), (900.0, "red")],
            "How long ago nothing that was due was left to do; it moves at least every five minutes. Red: the loop \
             is stuck or cannot keep up. /healthz says which; restart the daemon, and report it.",
        ),
        since(
            "Last answer",
            &promql::newest_answer(),
            &[(3_600.0, "orange"), (21_600.0, "red")],
            "How long ago any provider last gave an authoritative answer. Red: nothing is known any more. Look at \
             the failures by reason beside this, at the network and at the providers' own status pages.",
        )
        .or_else("no series per token"),
        since(
            "Longest silence",
            &promql::longest_silence(),
            &[(21_600.0, "orange"), (86_400.0, "red")],
            "Of the chosen tokens, the one that has been without an authoritative answer for longest. Red: its end \
             may be passing unseen; it has the finding blind.",
        )
        .or_else("no series per token"),
        since(
            "Oldest notice that waits",
            &promql::oldest_notice(),
            &[(600.0, "orange"), (3_600.0, "red")],
            "How long the oldest undelivered notice has been waiting. Red: people are not told. /readyz says which \
             way fails; tokenwatch test-alert tries all of them.",
        ),
        Panel::new(
            Kind::Stat,
            "Notices that wait",
            (4, 4),
            "Undelivered notices in the outbox. None is ever dropped; look at the age beside this to see whether \
             they move.",
        )
        .ask(&format!("sum({})", own("tokenwatch_outbox_pending")), "")
        .unit("short", 0)
        .colours("green", &[(1.0, "text"), (100.0, "orange")])
        .or_else("no data"),
        Panel::new(
            Kind::Stat,
            "Last reload",
            (4, 4),
            "Whether the configuration was taken in at the last reload, and how long the one in force has been so. \
             Red: what is on disk is refused and the old one goes on; tokenwatch config check says why.",
        )
        .ask(&format!("min({})", own("tokenwatch_config_last_reload_successful")), "result")
        .ask(&age("tokenwatch_config_last_reload_success_timestamp_seconds"), "in force for")
        .unit("dtdurations", 0)
        .colours("text", &[])
        .named()
        .or_else("no data")
        .for_name(
            "result",
            &[("unit", "none".into()), ("mappings", mappings(&[("0", "refused", "red"), ("1", "worked", "green")]))],
        ),
        Panel::new(
            Kind::Stat,
            "What is wrong with the watcher itself",
            (12, 4),
            "undeliverable: notices fail on every way. outbox_growing: more come than leave. clock_off: our clock \
             is wrong, so every date is. state_nearly_full: the disk of the state. version_retiring: the API version \
             that is asked ends. Each is told to people as well; docs/runbook.md says what to do.",
        )
        .ask(&format!("max by (finding) ({})", own("tokenwatch_watcher_finding")), "{{finding}}")
        .unit("none", 0)
        .colours("green", &[(1.0, "red")])
        .words(&[("0", "fine", "green"), ("1", "wrong", "red")])
        .named()
        .or_else("no data"),
        Panel::new(
            Kind::Stat,
            "Last delivery, by channel",
            (12, 4),
            "How long ago a notice last got through; survives restarts. A channel that was never used is not here. \
             If nothing was due, long is good; the weekly summary keeps mail under a week.",
        )
        .ask(&format!("min by (channel) (time() - {})", own("tokenwatch_last_notice_timestamp_seconds")), "{{channel}}")
        .unit("dtdurations", 0)
        .colours("green", &[(691_200.0, "orange")])
        .named()
        .or_else("nothing delivered yet"),
        Panel::new(
            Kind::Lines,
            "Checks a minute",
            (8, 9),
            "Each token is checked once in its period. A line that falls to zero: the provider pauses us, or the \
             loop is stuck.",
        )
        .ask(&format!("60 * {}", rate("provider", &provided("tokenwatch_checks_total"))), "{{provider}}")
        .unit("short", 1)
        .from(0)
        .or_else("no data"),
        Panel::new(
            Kind::Bars,
            "Checks without an answer, by reason",
            (8, 9),
            "In the time range. throttled: slow down or ask for more budget. timeout, connect, tls, interrupted: \
             the way to the provider. garbled, unavailable: the provider. refused, app_fault, foreign_token: what \
             we asked with. source: the place of the secret.",
        )
        .ask(&promql::failures(), "{{reason}}")
        .unit("short", 0)
        .from(0)
        .colours("green", &[(1.0, "orange")])
        .or_else("no data"),
        Panel::new(
            Kind::Lines,
            "Notices and signs of life",
            (8, 9),
            "Delivered and failed, by channel; heartbeats that the dead man's switch heard or did not. Failures \
             beside deliveries on one channel: a relay is down and the next one took over. Failures alone: nobody \
             is told.",
        )
        .ask(&increase("channel", &own("tokenwatch_notices_total"), "$__rate_interval"), "{{channel}} delivered")
        .ask(&increase("channel", &own("tokenwatch_notice_failures_total"), "$__rate_interval"), "{{channel}} failed")
        .ask(&increase("outcome", &own("tokenwatch_heartbeats_total"), "$__rate_interval"), "heartbeat {{outcome}}")
        .named_beside()
        .unit("short", 0)
        .from(0)
        .or_else("no data")
        .for_names_like(".*failed", &[("color", fixed("red"))])
        .for_names_like(".*delivered", &[("color", fixed("green"))])
        .for_name("heartbeat heard", &[("color", fixed("blue"))]),
    ]
}

fn renewed() -> Vec<Panel> {
    let outcomes = Panel::new(
        Kind::Stat,
        "Renewals that ended, by outcome",
        (8, 9),
        "In the time range, replacements by people included. failed, rolled_back: something stands in the way; \
         the token's page has the steps of the run and what is in use now. without_gain: the provider gave no later \
         date. refused: asked for and not begun.",
    )
    .ask(&increase("outcome", &own("tokenwatch_renewals_total"), "$__range"), "{{outcome}}")
    .unit("short", 0)
    .colours("text", &[(0.5, "red")])
    .named()
    .or_else("no data")
    .for_name("renewed", &[("thresholds", thresholds("text", &[(0.5, "green")]))])
    .for_names_like("^(refused|without_gain)$", &[("thresholds", thresholds("text", &[(0.5, "orange")]))]);
    let due = Panel::new(
        Kind::Table,
        "Next renewals",
        (16, 9),
        "When tokenwatch renews by itself, or tries again. Tokens without [tokens.renew] are not here: a person \
         renews them. Red: it is late; tokenwatch renew NAME --dry-run says what stands in the way.",
    )
    .ask(&promql::next_renewals(), "")
    .columns(
        &[("token", "Token"), ("provider", "Provider"), ("app", "App"), ("Value", "In"), ("instance", "Watcher")],
        &["Time", "__name__", "job"],
    )
    .sorted("In", false)
    .or_else("None is planned")
    .for_name("Token", &page_of_token())
    .for_name(
        "In",
        &[
            ("unit", "dtdurations".into()),
            ("decimals", 1.into()),
            ("thresholds", thresholds("red", &[(-900.0, "text")])),
            ("custom.cellOptions", json!({"type": "color-text"})),
        ],
    );
    vec![outcomes, due]
}

fn providers() -> Vec<Panel> {
    let usage = Panel::new(
        Kind::Lines,
        "API budget used",
        (8, 8),
        "As the provider reports it, by app and resource. At 100% it stops answering, the application included \
         that shares the budget. Above the dashed lines: check less often (schedule.check), or find out who else \
         calls.",
    )
    .ask(
        "max by (app, resource) (tokenwatch_provider_usage_ratio{instance=~\"$instance\",app=~\"$app\"})",
        "{{app}} {{resource}}",
    )
    .unit("percentunit", 0)
    .from(0)
    .colours("green", &[(0.75, "orange"), (0.9, "red")])
    .with_limits()
    .or_else("No provider reports a budget");
    let durations = Panel::new(
        Kind::Lines,
        "How long a check takes",
        (8, 8),
        "Question to answer, all chosen providers. A 99th percentile at ten seconds is at the end of the scale, \
         and near the time-out.",
    )
    .ask(&promql::quantile("0.5"), "half")
    .ask(&promql::quantile("0.95"), "95%")
    .ask(&promql::quantile("0.99"), "99%")
    .unit("s", 2)
    .from(0)
    .or_else("no data");
    let failing = Panel::new(
        Kind::Lines,
        "Share of checks without an answer",
        (8, 8),
        "By provider. Some are nothing; a line at 100% for hours ends in the finding blind.",
    )
    .ask(
        &format!(
            "{} / {}",
            rate("provider", &provided("tokenwatch_check_failures_total")),
            rate("provider", &provided("tokenwatch_checks_total"))
        ),
        "{{provider}}",
    )
    .unit("percentunit", 0)
    .from(0)
    .to(1)
    .or_else("no data");
    let errors = Panel::new(
        Kind::Table,
        "Errors of the APIs, by code",
        (8, 8),
        "In the time range, those that came at all. The codes are the provider's own; for Meta 190 is a token that \
         does not work, 4 and 80007 are throttles, 10 and 200 are missing permissions.",
    )
    .ask(
        &format!(
            "topk({}, round({}) > 0)",
            promql::ROWS,
            increase("provider, code", &provided("tokenwatch_provider_errors_total"), "$__range")
        ),
        "",
    )
    .columns(&[("provider", "Provider"), ("code", "Code"), ("Value", "Errors")], &["Time"])
    .sorted("Errors", true)
    .or_else("No errors")
    .for_names_like("^(Provider|Code|Errors)$", &[("custom.minWidth", 80.into())]);
    let numbers = Panel::new(
        Kind::Table,
        "WhatsApp numbers",
        (16, 8),
        "What WhatsApp says of the numbers that the tokens send from. blocked: nothing is sent. limited: few \
         messages are. webhooks other than ours: what customers write arrives elsewhere. Answer: how long ago it \
         was told.",
    )
    .ask(&format!("topk({}, {})", promql::ROWS, promql::of_each("tokenwatch_whatsapp_number_info")), "")
    .ask(
        &format!(
            "time() - {} and on (instance, token) topk({}, {})",
            promql::named("tokenwatch_whatsapp_last_answer_timestamp_seconds"),
            promql::ROWS,
            promql::of_each("tokenwatch_whatsapp_number_info")
        ),
        "",
    )
    .columns(
        &[
            ("token", "Token"),
            ("phone_number_id", "Number"),
            ("sending", "Sending"),
            ("status", "Status"),
            ("quality", "Quality"),
            ("mode", "Mode"),
            ("webhooks", "Webhooks"),
            ("Value #B", "Answer"),
        ],
        &["Time", "__name__", "job", "instance", "app", "provider", "Value #A"],
    )
    .or_else("No number is watched")
    .for_name("Number", &[("custom.width", 145.into())])
    .for_names_like("^(Sending|Status|Quality|Mode|Webhooks|Answer)$", &[("custom.width", 100.into())])
    .for_name("Token", &page_of_token())
    .for_names_like(
        "^(Sending|Quality|Webhooks)$",
        &[
            ("custom.cellOptions", json!({"type": "color-text"})),
            (
                "mappings",
                mappings(&[
                    ("available", "available", "green"),
                    ("limited", "limited", "orange"),
                    ("blocked", "blocked", "red"),
                    ("green", "green", "green"),
                    ("yellow", "yellow", "orange"),
                    ("red", "red", "red"),
                    ("ours", "ours", "green"),
                    ("others", "others", "orange"),
                    ("nobody", "nobody", "orange"),
                    ("somebody", "somebody", "text"),
                    ("unknown", "unknown", "text"),
                ]),
            ),
        ],
    )
    .for_name("Answer", &[("unit", "dtdurations".into()), ("decimals", 0.into())]);
    vec![usage, durations, failing, errors, numbers]
}

fn process() -> Vec<Panel> {
    vec![
        Panel::new(
            Kind::Lines,
            "Our clock minus the provider's",
            (7, 8),
            "Every date is judged by our clock. Beyond a minute: let chrony or systemd-timesyncd run; all \
             providers alike means that it is ours.",
        )
        .ask(&format!("avg by (provider) ({})", provided("tokenwatch_clock_offset_seconds")), "{{provider}}")
        .unit("s", 0)
        .colours("red", &[(-60.0, "green"), (60.0, "red")])
        .with_limits()
        .or_else("no data"),
        Panel::new(
            Kind::Stat,
            "Version",
            (3, 8),
            "What runs, and how many of each. Two at once: an upgrade is under way, or one host was forgotten.",
        )
        .ask(&format!("count by (version, revision) ({})", own("tokenwatch_build_info")), "{{version}} {{revision}}")
        .unit("short", 0)
        .colours("text", &[])
        .name_only()
        .or_else("no data"),
        Panel::new(
            Kind::Stat,
            "Up since",
            (3, 8),
            "The youngest of the processes. Orange: it started within the last minutes; if nobody did that, look \
             at the journal.",
        )
        .ask(&format!("min(time() - {})", own("process_start_time_seconds")), "")
        .unit("dtdurations", 0)
        .colours("orange", &[(600.0, "green")])
        .or_else("no data"),
        Panel::new(
            Kind::Lines,
            "Open files",
            (4, 8),
            "Of those that it may have open. Above the dashed line: raise LimitNOFILE, and report what it was doing.",
        )
        .ask(&promql::files(), "{{instance}}")
        .unit("percentunit", 1)
        .from(0)
        .colours("green", &[(0.8, "red")])
        .with_limits()
        .or_else("no data"),
        Panel::new(
            Kind::Lines,
            "Memory and processor",
            (7, 8),
            "Resident memory, and processor seconds a second on the right. Memory grows with the number of tokens, \
             not with time; one that grows for weeks is a fault to report.",
        )
        .ask(&own("process_resident_memory_bytes"), "memory {{instance}}")
        .ask(&format!("rate({}[$__rate_interval])", own("process_cpu_seconds_total")), "processor {{instance}}")
        .unit("bytes", 0)
        .from(0)
        .or_else("no data")
        .for_question(
            "B",
            &[("unit", "percentunit".into()), ("decimals", 1.into()), ("custom.axisPlacement", "right".into())],
        ),
        Panel::new(
            Kind::Lines,
            "Connections to the listener",
            (12, 7),
            "Open connections. Near daemon.max_connections the idlest is closed for each new one.",
        )
        .ask(&own("tokenwatch_listener_connections"), "{{serves}} {{instance}}")
        .unit("short", 0)
        .from(0)
        .or_else("no data"),
        Panel::new(
            Kind::Lines,
            "What the listener refused",
            (12, 7),
            "Connections that it ended before their time, and logins that it refused. Displaced or full: \
             daemon.max_connections is too small, or somebody floods. Wrong: a password that somebody changed, or \
             guesses. TLS that fails without an end: a client trusts another authority.",
        )
        .ask(&increase("reason", &own("tokenwatch_listener_closed_total"), "$__rate_interval"), "{{reason}}")
        .ask(
            &increase("reason", &own("tokenwatch_listener_refused_logins_total"), "$__rate_interval"),
            "login {{reason}}",
        )
        .named_beside()
        .unit("short", 0)
        .from(0)
        .or_else("no data"),
    ]
}

/// How a severity looks in a table.
fn severity() -> Vec<(&'static str, Value)> {
    const WORDS: [Word<'static>; 4] =
        [("3", "critical", "red"), ("2", "warning", "orange"), ("1", "info", "blue"), ("null", "none", "transparent")];
    vec![
        ("mappings", mappings(&WORDS)),
        ("custom.cellOptions", json!({"type": "color-background", "mode": "basic"})),
        ("custom.align", "center".into()),
        ("custom.width", 80.into()),
    ]
}

/// The name of a token, which leads to its page.
fn page_of_token() -> Vec<(&'static str, Value)> {
    let link = json!({"title": "The token's page", "url": "${base}/tokens/${__value.raw}", "targetBlank": true});
    vec![("links", json!([link])), ("custom.minWidth", 150.into())]
}

/// The name of an app, which leads to its page.
fn page_of_app() -> Vec<(&'static str, Value)> {
    let link = json!({"title": "The app's page", "url": "${base}/subjects/app/${__value.raw}", "targetBlank": true});
    vec![("links", json!([link]))]
}

/// A moment in milliseconds.
fn date() -> Vec<(&'static str, Value)> {
    vec![
        ("unit", "dateTimeAsIso".into()),
        ("mappings", mappings(&[(&NEVER_MS.to_string(), "never", "")])),
        ("custom.width", 168.into()),
    ]
}

/// Grafana 11.0 knows it, and later ones bring it up to date themselves.
const SCHEMA: u32 = 39;
/// Where tokenwatch listens by default.
const BASE: &str = "http://localhost:9847";
