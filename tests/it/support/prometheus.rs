//! A real Prometheus for one test: on a port of its own, with the configuration and the rule files that the test gives.
//!
//! Where it is missing the test fails and says what to do; it is never skipped. Prometheus learns its targets about five seconds after its
//! start, whatever the scrape interval is, so a test starts it once and early.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::process::{PATIENCE, free_port, get, program, wait_for, wait_until};

/// A Prometheus.
pub struct Prometheus {
    /// Where it listens, while it is open.
    pub port: u16,
    folder: TempDir,
    running: Option<Child>,
}

/// One sample of an instant query: its labels, and the value at the time of the query.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The labels, the metric's name as `__name__` among them.
    pub labels: Value,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// The value of a label; empty where it has none, as in Prometheus.
    pub fn label(&self, name: &str) -> &str {
        self.labels[name].as_str().unwrap_or_default()
    }
}

impl Prometheus {
    /// One that is not started yet. Files beside the configuration are named relative to it, so rule files may be written with
    /// [`Prometheus::write`] first.
    pub fn closed(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("prometheus.yml"), config).expect("a file is written");
        Self { port: free_port(), folder, running: None }
    }

    /// One that is up.
    pub fn start(config: &str) -> Self {
        let mut server = Self::closed(config);
        server.open();
        server
    }

    /// A configuration that scrapes one target each second, as the job `tokenwatch`.
    pub fn scraping(port: u16) -> String {
        format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             scrape_configs: [{{job_name: tokenwatch, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
        )
    }

    /// Writes a file beside the configuration.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("a file is written");
        path
    }

    /// Starts it, and waits until it is ready.
    pub fn open(&mut self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let log = fs::File::create(self.folder.path().join("log")).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        let mut command = Command::new(program(&["prometheus"]));
        command.arg(format!("--config.file={}", path("prometheus.yml")));
        command.arg(format!("--storage.tsdb.path={}", path("data")));
        command.arg(format!("--web.listen-address=127.0.0.1:{}", self.port));
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        self.running = Some(child.expect("Prometheus starts"));
        wait_until("Prometheus to be ready", PATIENCE, || {
            let ended = self.running.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "Prometheus ended at once: {}", self.log());
            get(self.port, "/-/ready").is_some_and(|(status, _)| status == 200)
        });
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Evaluates an expression now; one that Prometheus refuses ends the test with its words. A scalar is a sample without labels.
    pub fn query(&self, expression: &str) -> Vec<Sample> {
        let data = self.ask(&format!("/api/v1/query?query={}", encoded(expression)));
        if data["resultType"] == "scalar" {
            return vec![Sample { labels: Value::Null, value: number(&data["result"][1]) }];
        }
        assert_eq!(data["resultType"], "vector", "{expression} is no instant vector");
        data["result"].as_array().into_iter().flatten().map(sample).collect()
    }

    /// Waits until an expression has at least one sample.
    pub fn wait_query(&self, expression: &str) -> Vec<Sample> {
        wait_for(expression, PATIENCE, || Some(self.query(expression)).filter(|samples| !samples.is_empty()))
    }

    /// Its alerts, pending ones too, as it says itself.
    pub fn alerts(&self) -> Vec<Value> {
        self.ask("/api/v1/alerts")["alerts"].as_array().cloned().unwrap_or_default()
    }

    /// The names of the alerts that fire, in order, each once.
    pub fn firing(&self) -> Vec<String> {
        let firing = self.alerts().into_iter().filter(|alert| alert["state"] == "firing");
        let mut names: Vec<String> =
            firing.filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The `data` of an answer of its API.
    pub fn ask(&self, path: &str) -> Value {
        let (status, body) =
            wait_for("Prometheus' answer", PATIENCE, || get(self.port, path).filter(|(status, _)| *status != 503));
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        assert_eq!(answer["status"], "success", "{path}: {status} {body}");
        answer["data"].clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn sample(result: &Value) -> Sample {
    Sample { labels: result["metric"].clone(), value: number(&result["value"][1]) }
}

/// Prometheus writes numbers as text; Rust reads its `+Inf`, `-Inf` and `NaN` too.
fn number(text: &Value) -> f64 {
    text.as_str().and_then(|text| text.parse().ok()).expect("a sample is a number")
}

/// Percent-encodes all but letters and digits.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
