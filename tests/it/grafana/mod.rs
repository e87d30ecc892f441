//! The Grafana dashboard: generated here, held against Grafana's own types, and asked question by question of a real Prometheus that scraped a
//! real daemon.

mod build;
mod dashboard;
mod promql;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use serde_json::Value;
use tokenwatch::sim::{Fault, FaultKind, Lifetime, Match, PhoneNumber, User, Waba};

use crate::support::hook::{Hook, Mood};
use crate::support::house::APP;
use crate::support::process::{Daemon, PATIENCE, Stage, quoted, unix_now, wait_for, wait_until};
use crate::support::prometheus::{Prometheus, Sample};
use crate::support::relay::{Manner, Relay};

#[test]
#[expect(clippy::disallowed_methods, reason = "`make dashboard` says so by the environment")]
fn the_file_is_what_is_generated() {
    let (path, text) = (root().join(DASHBOARD), dashboard::text());
    if std::env::var_os("TOKENWATCH_WRITE_DASHBOARD").is_some() {
        fs::write(&path, &text).expect("the dashboard is written");
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert!(known == text, "{DASHBOARD} is not what the code says; run `make dashboard`");
}

#[test]
fn every_panel_has_its_place_and_its_words() {
    let dashboard = dashboard::dashboard();
    assert!(dashboard.get("id").is_none(), "an id belongs to one Grafana");
    let mut cells = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let mut titles = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = text(&panel["title"]);
        assert!(titles.insert(title.clone()), "two panels are called {title}");
        assert!(ids.insert(panel["id"].as_u64()), "{title}: the id is taken");
        let side = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(x < 24 && cells.insert((x, y)), "{title} lies over another at {x}, {y}");
            }
        }
        if panel["type"] != "row" {
            assert!(text(&panel["description"]).len() > 30, "{title} does not say what to do");
            assert!(
                !text(&panel["fieldConfig"]["defaults"]["noValue"]).is_empty(),
                "{title} says nothing without data"
            );
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    for question in questions(&dashboard) {
        assert!(
            question.expression.contains("$instance"),
            "{}: {} is not narrowed",
            question.title,
            question.expression
        );
    }
}

/// A graph asks for hundreds of moments, so it must not ask for each token; and no table grows with their number.
#[test]
fn a_hundred_thousand_tokens_cost_little() {
    for panel in panels(&dashboard::dashboard()) {
        for question in questions_of(panel) {
            let (title, expression) = (&question.title, &question.expression);
            let each = metrics(expression).into_iter().find(|name| name.starts_with("tokenwatch_token_"));
            assert!(panel["type"] != "timeseries" || each.is_none(), "{title} asks for {each:?} over time");
            let cut = ["topk(", "bottomk(", "sum(", "max(", "min("].iter().any(|cut| expression.contains(cut));
            assert!(each.is_none() || cut, "{title} grows with the tokens: {expression}");
            if panel["type"] == "table" {
                assert!(expression.contains("topk(") || expression.contains("bottomk("), "{title}: {expression}");
            }
        }
    }
}

/// Grafana's own types, as it publishes them, judge the dashboard, its questions and the options of each panel.
#[test]
fn grafanas_types_fit() {
    let tools = root().join("target/tools/grafana");
    let node = root().join("target/tools/node/node");
    let compiler = tools.join("node_modules/typescript/bin/tsc");
    assert!(
        compiler.exists() && node.exists(),
        "Grafana's types are not installed; run tests/tools.sh, which installs them"
    );
    let dashboard = dashboard::dashboard();
    let mut source = HEAD.to_owned();
    let mut declare = |name: &str, kind: &str, value: &Value| {
        source.push_str(&format!("export const {name}: Literal<{kind}> = {value};\n"));
    };
    declare("dashboard", "Dashboard", &dashboard);
    let drawn: Vec<&Value> = panels(&dashboard).filter(|panel| panel["type"] != "row").collect();
    for (at, panel) in drawn.iter().enumerate() {
        let module = text(&panel["type"]);
        declare(&format!("options{at}"), &format!("{module}.Options"), &panel["options"]);
        if ["timeseries", "table"].contains(&module.as_str()) {
            let custom = &panel["fieldConfig"]["defaults"]["custom"];
            declare(&format!("custom{at}"), &format!("{module}.FieldConfig"), custom);
        }
    }
    // The judge must be awake: each of these is wrong, and it is a fault if the compiler does not say so.
    for wrong in [
        r#"const a: Literal<Dashboard> = {"schemaVersion": 39, "titles": "x"};"#,
        r#"const b: Literal<Dashboard> = {"schemaVersion": "39"};"#,
        r#"const c: Literal<Dashboard> = {"schemaVersion": 39, "panels": [{"type": "stat", "titles": "x"}]};"#,
        r#"const d: Literal<timeseries.FieldConfig> = {"drawStyle": "curve"};"#,
        r#"const e: Literal<table.Options> = {"frameIndex": 0, "showHeader": "yes"};"#,
    ] {
        source.push_str(&format!("// @ts-expect-error\n{wrong}\n"));
    }
    let folder = tempfile::tempdir_in(&tools).expect("a folder beside the types");
    fs::write(folder.path().join("dashboard.ts"), source).expect("a file is written");
    let said = Command::new(node)
        .arg(compiler)
        .args(["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext"])
        .args(["--moduleResolution", "bundler", "dashboard.ts"])
        .current_dir(folder.path())
        .output()
        .expect("the compiler runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

#[test]
fn every_metric_is_shown_or_left_out_for_a_reason() {
    let dashboard = dashboard::dashboard();
    let docs = fs::read_to_string(root().join("docs/metrics.md")).expect("docs/metrics.md");
    let documented: BTreeSet<String> =
        docs.lines().filter(|line| line.starts_with("| `tokenwatch_")).flat_map(metrics).collect();
    assert!(documented.len() > 30, "the search found too little: {documented:?}");
    let asked = questions(&dashboard).into_iter().map(|question| question.expression);
    let shown: BTreeSet<String> = asked.chain(variables(&dashboard)).flat_map(|text| metrics(&text)).collect();
    let shown: BTreeSet<String> = shown.into_iter().map(|name| name.trim_end_matches("_bucket").to_owned()).collect();
    let unknown: Vec<_> = shown.difference(&documented).filter(|name| name.starts_with("tokenwatch_")).collect();
    assert!(unknown.is_empty(), "docs/metrics.md does not know {unknown:?}");
    let left_out: BTreeSet<String> = LEFT_OUT.iter().map(|(name, _)| (*name).to_owned()).collect();
    let missing: Vec<_> = documented.difference(&shown).filter(|name| !left_out.contains(*name)).collect();
    assert!(missing.is_empty(), "neither on the dashboard nor left out for a reason: {missing:?}");
    let needless: Vec<_> =
        left_out.iter().filter(|name| shown.contains(*name) || !documented.contains(*name)).collect();
    assert!(needless.is_empty(), "{needless:?} are no longer left out");
}

/// What stands in docs/metrics.md and not on the dashboard, and why.
const LEFT_OUT: [(&str, &str); 3] = [
    ("tokenwatch_token_issued_timestamp_seconds", "the lifetime bar of the token's page shows it better"),
    ("tokenwatch_token_lifetime_seconds", "the same bar shows it; the rules ask for it"),
    (
        "tokenwatch_token_last_check_timestamp_seconds",
        "a try that had no answer tells nobody anything; the answers are shown",
    ),
];

/// Grafana reads these from the paths that deploy/docker/compose.yml mounts.
#[test]
fn what_is_provisioned_fits_together() {
    let read = |path: &str| fs::read_to_string(root().join("deploy/grafana").join(path)).expect(path);
    let source = read("provisioning/datasources/tokenwatch.yml");
    assert!(source.contains("type: prometheus") && source.contains("uid: tokenwatch-prometheus"), "{source}");
    let boards = read("provisioning/dashboards/tokenwatch.yml");
    assert!(boards.contains("path: /var/lib/grafana/dashboards") && boards.contains("type: file"), "{boards}");
}

#[test]
fn every_question_has_an_answer() {
    let scene = Scene::new();
    let dashboard = dashboard::dashboard();
    let all = Choices::all(&scene);
    for variable in variables(&dashboard) {
        scene.offers(&all.put(&variable));
    }
    for panel in panels(&dashboard).filter(|panel| panel["type"] != "row") {
        let title = text(&panel["title"]);
        let mut labels: BTreeSet<String> = BTreeSet::new();
        for question in questions_of(panel) {
            let expression = all.put(&question.expression);
            let samples = scene.prometheus.wait_query(&expression);
            let named: BTreeSet<String> = samples.iter().flat_map(names).collect();
            for label in question.legend.split("{{").skip(1).filter_map(|part| part.split("}}").next()) {
                assert!(named.contains(label), "{title}: the legend names {label}, which {expression} does not have");
            }
            labels.extend(named);
        }
        let organized = panel["transformations"].as_array().and_then(|steps| steps.last());
        let columns = organized.and_then(|step| step["options"]["indexByName"].as_object());
        for field in columns.into_iter().flat_map(|columns| columns.keys()) {
            let known = field.starts_with("Value") || labels.contains(field);
            assert!(known, "{title}: a column is made of {field}, which no answer has: {labels:?}");
        }
    }
    scene.tells_the_truth(&all);
    scene.is_narrowed(&all);
    scene.tells_of_a_dead_watcher();
}

/// A daemon that has something to show in every panel, another one that has no series per token, and the Prometheus that scrapes both.
struct Scene {
    prometheus: Prometheus,
    stage: Stage,
    daemon: Daemon,
    bare: (Stage, Option<Daemon>),
    _servers: (Relay, Hook, Hook),
}

impl Scene {
    fn new() -> Self {
        let (relay, pager, pulse) = (Relay::start(Manner::Takes), Hook::start(), Hook::start());
        pager.set(Mood::Answer(500));
        let stage = Stage::new();
        let sender = stage.sim().with_world(|world| {
            world.app_mut(APP).expect("it was added").calls_per_hour = Some(5_000);
            world.add_user(User::new(APP, MACHINE, "Machine"));
            world.add_waba(Waba::new(WABA, "Tea House", "900100", &[MACHINE]));
            world.add_phone_number(PhoneNumber::new(WABA, NUMBER, "+1 555-000-1111", "Tea House"));
            let scopes = ["whatsapp_business_management", "whatsapp_business_messaging"];
            world.issue_system_user(MACHINE, &scopes, Lifetime::Never, unix_now())
        });
        let ends =
            [("ended", -DAY / 2), ("soon", 2 * DAY), ("warned", 10 * DAY), ("noted", 20 * DAY), ("shop", 58 * DAY)];
        // The token itself never ends, and tomorrow it reads nothing any more.
        let page = stage.issue(-89 * DAY, 60 * DAY);
        stage.sim().with_world(|world| {
            assert!(world.set_expiry(&page, None) && world.set_data_access(&page, Some(unix_now() + DAY)));
        });
        let secrets: Vec<(String, String)> =
            ends.iter().map(|(name, ends)| (name.to_uppercase(), stage.issue(ends - 60 * DAY, *ends))).collect();
        let mut lines: Vec<(&str, &str)> = secrets.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        lines.extend([
            ("MACHINE", sender.as_str()),
            ("CLAIM", CLAIM),
            ("FOREIGN", secrets[4].1.as_str()),
            ("PAGE", page.as_str()),
        ]);
        stage.write_env(&lines);
        let env = quoted(&stage.path("config.env"));
        let key = quoted(&stage.write("hook-key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        let tokens: String = ends.iter().map(|(name, _)| stage.token(name, &name.to_uppercase())).collect();
        let tokens = stage.token("page", "PAGE") + &tokens;
        let rest = format!(
            "webhook = {{ url = {:?}, secret = {{ file = {key} }} }}\n\
             [receivers.lead]\nemail = [\"lead@example.com\"]\n\
             [heartbeat]\nurl = {:?}\n\
             [apps.broken]\nid = \"634900000000009\"\nsecret = {{ env_file = {env}, key = \"CLAIM\" }}\n\
             {tokens}renew = {{ before = \"5d\", publish = [{{ env_file = {env}, key = \"SHOP\" }}] }}\n\
             {}[tokens.whatsapp]\nphone_number_id = {NUMBER:?}\n\
             [[tokens]]\nname = \"foreign\"\napp = \"broken\"\nsecret = {{ env_file = {env}, key = \"FOREIGN\" }}\n\
             [[tokens]]\nname = \"claim\"\nprovider = \"jwt\"\nsecret = {{ env_file = {env}, key = \"CLAIM\" }}\n\
             [[tokens]]\nname = \"paper\"\nprovider = \"manual\"\nexpires = \"{}\"\nreceivers = [\"lead\"]\n",
            pager.url("/in"),
            pulse.url("/ping"),
            stage.token("machine", "MACHINE"),
            &Timestamp::from_second(unix_now() + 200 * DAY).expect("a moment").to_string()[..10],
        );
        stage.configure(&stage.config(&relay.relay("none"), &rest));
        let bare = Stage::new();
        let dead = bare.issue(-60 * DAY, -DAY);
        bare.write_env(&[("DEAD", &dead)]);
        bare.configure(&bare.config("", &format!("[metrics]\nper_token = \"none\"\n{}", bare.token("dead", "DEAD"))));
        let (daemon, other) = (stage.start_ready(), bare.start_ready());
        let targets = format!("'127.0.0.1:{}', '127.0.0.1:{}'", stage.port, bare.port);
        let config = Prometheus::scraping(stage.port).replace(&format!("'127.0.0.1:{}'", stage.port), &targets);
        let prometheus = Prometheus::start(&config);
        let scene = Self { prometheus, stage, daemon, bare: (bare, Some(other)), _servers: (relay, pager, pulse) };
        scene.happens(&secrets[2].1);
        scene
    }

    /// What can only be seen as a change must happen after the first scrape.
    fn happens(&self, troubled: &str) {
        for (answer, arguments) in [
            ("ack", &["ack", "ended", "--why", "a new one is on its way"][..]),
            ("silence", &["silence", "noted", "--for", "1h", "--why", "we move"]),
        ] {
            let said = self.stage.run(arguments);
            assert_eq!(said.code, 0, "{answer}: {said:?}");
        }
        self.prometheus.wait_query(&format!("tokenwatch_build_info{{instance=\"127.0.0.1:{}\"}}", self.stage.port));
        let fault = Fault::times(3, Match::Token(troubled.to_owned()), FaultKind::Transient);
        self.stage.sim().with_world(|world| world.faults.add(fault));
        let said = self.stage.run(&["renew", "shop"]);
        assert_eq!(said.code, 0, "{said:?}");
        wait_until("a renewal", PATIENCE, || {
            self.daemon.metric("tokenwatch_renewals_total{outcome=\"renewed\"}") == Some(1.0)
        });
        wait_until("a mail", PATIENCE, || {
            self.daemon.metric("tokenwatch_notices_total{channel=\"mail\"}").is_some_and(|mails| mails > 0.0)
        });
        // What Prometheus knows is as old as its last scrape.
        self.prometheus.wait_query("tokenwatch_token_expiry_timestamp_seconds{token=\"shop\"} - time() > 59 * 86400");
    }

    /// A variable has something to choose from.
    fn offers(&self, query: &str) {
        if let Some(inside) = query.strip_prefix("query_result(") {
            let expression = inside.strip_suffix(')').expect("a bracket");
            let found = self.prometheus.wait_query(expression);
            assert!(found.iter().all(|sample| !sample.label("token").is_empty()), "{expression}: {found:?}");
        } else {
            let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (series, label) = inside.and_then(|inside| inside.rsplit_once(", ")).expect("a series and a label");
            let found = self.prometheus.wait_query(&format!("count by ({label}) ({series})"));
            assert!(found.iter().any(|sample| !sample.label(label).is_empty()), "{query}: {found:?}");
        }
    }

    fn tells_the_truth(&self, all: &Choices) {
        let asked = |expression: String| self.prometheus.query(&all.put(&expression));
        let next = asked(promql::ends_next());
        let days: BTreeMap<&str, f64> = next.iter().map(|sample| (sample.label("token"), sample.value)).collect();
        let near = |token: &str, expected: f64| {
            assert!((days[token] - expected).abs() < 0.01, "{token}: {} days left, not {expected}", days[token]);
        };
        near("ended", -0.5);
        near("soon", 2.0);
        near("page", 1.0);
        near("warned", 10.0);
        near("shop", 60.0);
        near("machine", f64::from(promql::NEVER));
        near("claim", f64::from(promql::UNKNOWN));
        let verdicts: BTreeMap<&str, &str> =
            next.iter().map(|sample| (sample.label("token"), sample.label("verdict"))).collect();
        assert_eq!((verdicts["ended"], verdicts["warned"], verdicts["machine"]), ("expired", "expiring", "healthy"));
        let moments = asked(promql::next_moment("tokenwatch_token_expiry_timestamp_seconds"));
        let of = |samples: &[Sample], token: &str| {
            samples.iter().find(|sample| sample.label("token") == token).map(|sample| sample.value)
        };
        let series = "tokenwatch_token_expiry_timestamp_seconds{token=\"soon\"}";
        assert_eq!(of(&moments, "soon"), self.daemon.metric(series).map(|seconds| 1_000.0 * seconds));
        assert_eq!(of(&moments, "machine"), Some(253_402_300_800_000.0));
        assert_eq!((of(&moments, "claim"), of(&moments, "page")), (None, Some(253_402_300_800_000.0)));
        let access = asked(promql::next_moment("tokenwatch_token_data_access_expiry_timestamp_seconds"));
        let series = "tokenwatch_token_data_access_expiry_timestamp_seconds{token=\"page\"}";
        assert_eq!(of(&access, "page"), self.daemon.metric(series).map(|seconds| 1_000.0 * seconds));
        let severities = asked(promql::next_severity());
        assert_eq!(
            ["ended", "warned", "noted", "shop"].map(|token| of(&severities, token)),
            [Some(3.0), Some(2.0), Some(1.0), None]
        );
        // The watcher without series per token has one dead token, which only its aggregates tell of.
        let page = self.daemon.page("/metrics");
        for (severity, beside) in [("critical", 1.0), ("warning", 0.0), ("info", 0.0)] {
            let word = format!("severity=\"{severity}\"");
            let open = |line: &&str| line.starts_with("tokenwatch_token_finding{") && line.contains(&word);
            let expected = beside + page.lines().filter(open).map(|_| 1.0).sum::<f64>();
            wait_until(&format!("{expected} findings that are {severity}"), PATIENCE, || {
                let found = asked(promql::findings(severity)).iter().map(|sample| sample.value).sum::<f64>();
                (found - expected).abs() < 0.5
            });
        }
        let bars = asked(promql::timeline("critical"));
        let order: Vec<&str> = bars.iter().map(|sample| sample.label("token")).collect();
        assert_eq!(order, ["ended", "page", "soon"]);
        assert_eq!(asked(promql::up()).iter().map(|sample| sample.value).collect::<Vec<_>>(), [1.0]);
        let renewals = asked(promql::next_renewals());
        assert!(of(&renewals, "shop").is_some_and(|seconds| (seconds / 86_400.0 - 55.0).abs() < 0.05), "{renewals:?}");
    }

    /// Each filter leaves what it names and nothing else.
    fn is_narrowed(&self, all: &Choices) {
        for (variable, value, expected) in [
            ("provider", "(manual)", &["paper"][..]),
            ("receiver", "(lead)", &["paper"]),
            (
                "receiver",
                "(default|lead)",
                &["claim", "ended", "foreign", "machine", "noted", "page", "paper", "shop", "soon", "warned"],
            ),
            ("app", "(helpdesk)", &["ended", "machine", "noted", "page", "shop", "soon", "warned"]),
            ("token", "(soon|warned)", &["soon", "warned"]),
        ] {
            let choices = all.but(variable, value);
            let found = self.prometheus.query(&choices.put(&promql::ends_next()));
            let tokens: BTreeSet<&str> = found.iter().map(|sample| sample.label("token")).collect();
            assert_eq!(tokens.into_iter().collect::<Vec<_>>(), expected, "{variable} {value}");
        }
        let counted = self
            .prometheus
            .query(&all.but("token", "(warned)").but("app", "(helpdesk)").put(&promql::findings("critical")));
        assert_eq!(
            counted.iter().map(|sample| sample.value).collect::<Vec<_>>(),
            [1.0],
            "only what has no series per token"
        );
    }

    /// A watcher that is gone is red, and none of its counts is a soothing zero.
    fn tells_of_a_dead_watcher(mut self) {
        let gone = Choices::all(&self).but("instance", &format!("(127\\\\.0\\\\.0\\\\.1:{})", self.bare.0.port));
        let critical = gone.put(&promql::findings("critical"));
        assert_eq!(self.prometheus.query(&critical).iter().map(|sample| sample.value).collect::<Vec<_>>(), [1.0]);
        self.bare.1.take().expect("it runs").kill9();
        wait_for("the word that it is down", PATIENCE, || {
            let up = self.prometheus.query(&gone.put(&promql::up()));
            (up.iter().map(|sample| sample.value).collect::<Vec<_>>() == [0.0]).then_some(())
        });
        wait_until("no count", PATIENCE, || self.prometheus.query(&critical).is_empty());
        assert_eq!(self.daemon.stop(), 0);
    }
}

/// What is chosen at the top of the dashboard, put in place as Grafana does.
struct Choices(BTreeMap<String, String>);

impl Choices {
    /// All of everything.
    fn all(scene: &Scene) -> Self {
        let dashboard = dashboard::dashboard();
        let mut values = BTreeMap::new();
        for variable in dashboard["templating"]["list"].as_array().expect("a list") {
            if let Some(all) = variable["allValue"].as_str() {
                values.insert(text(&variable["name"]), all.to_owned());
            }
        }
        // Where no value stands for all, Grafana writes down each, made fit for a regular expression within a string.
        let ports = [scene.stage.port, scene.bare.0.port].map(|port| format!("127\\\\.0\\\\.0\\\\.1:{port}"));
        values.insert("instance".to_owned(), format!("({})", ports.join("|")));
        for (name, value) in [("__rate_interval", "10s"), ("__interval", "5s"), ("__range", "5m")] {
            values.insert(name.to_owned(), value.to_owned());
        }
        Self(values)
    }

    fn but(&self, name: &str, value: &str) -> Self {
        let mut values = self.0.clone();
        values.insert(name.to_owned(), value.to_owned());
        Self(values)
    }

    /// The longest names first, for `$__range` must not end up in `$__rate_interval`.
    fn put(&self, expression: &str) -> String {
        let mut names: Vec<&String> = self.0.keys().collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let put =
            names.iter().fold(expression.to_owned(), |text, name| text.replace(&format!("${name}"), &self.0[*name]));
        assert!(!put.contains('$'), "something is not put in place: {put}");
        put
    }
}

/// What a panel asks.
struct Question {
    title: String,
    expression: String,
    legend: String,
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().expect("a list").iter()
}

fn questions_of(panel: &Value) -> Vec<Question> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    let question = |target: &Value| Question {
        title: text(&panel["title"]),
        expression: text(&target["expr"]),
        legend: target["legendFormat"].as_str().unwrap_or_default().to_owned(),
    };
    targets.map(question).collect()
}

fn questions(dashboard: &Value) -> Vec<Question> {
    panels(dashboard).flat_map(questions_of).collect()
}

/// What the variables ask.
fn variables(dashboard: &Value) -> Vec<String> {
    let list = dashboard["templating"]["list"].as_array().expect("a list").iter();
    list.filter(|variable| variable["type"] == "query").map(|variable| text(&variable["query"]["query"])).collect()
}

/// The names of metrics in a text.
fn metrics(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("tokenwatch_") || word.starts_with("process_")).map(str::to_owned).collect()
}

fn names(sample: &Sample) -> Vec<String> {
    sample.labels.as_object().into_iter().flat_map(|labels| labels.keys().cloned()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

const DASHBOARD: &str = "deploy/grafana/dashboards/tokenwatch.json";
const DAY: i64 = 86_400;
const MACHINE: &str = "104160000000001";
const WABA: &str = "102290000000001";
const NUMBER: &str = "521803094347148";
/// A JSON Web Token that does not say when it ends.
const CLAIM: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
/// Enums of the types are words in JSON.
const HEAD: &str = r#"
import type { Dashboard } from "@grafana/schema";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as bargauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
type Literal<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Literal<T[K]> } : T;
"#;
