//! What `config sandbox` prints is what a configuration needs: each is started in the shipped unit without it, where it does not do what it must,
//! and with it, where it does.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use rusqlite::Connection;
use tokenwatch::sim::Sim;

use super::systemd::install_package;
use crate::support::authority::Authority;
use crate::support::house::{APP, SECRET};
use crate::support::nspawn::Machine;
use crate::support::process::{ADA, Backstage, unix_now};

/// A configuration, and how it is seen that the sandbox was too narrow.
struct Case {
    name: &'static str,
    /// What stands in `[daemon]` beside the rest.
    daemon: &'static str,
    /// Where the secret of the token stands.
    secret: &'static str,
    /// What comes after it.
    rest: &'static str,
    /// The status without what is printed.
    without: &'static str,
    /// Lines that are printed.
    printed: &'static [&'static str],
}

#[test]
fn what_is_printed_is_needed_and_enough() {
    let machine = Machine::boot();
    install_package(&machine);
    let graph = machine.in_its_network(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    let base_url = format!("http://{}", graph.local_addr().expect("bound"));
    let stage = Backstage::on(graph);
    let (token, another) = (issue(&stage.sim), issue(&stage.sim));
    let authority = fs::read_to_string(Authority::new().file()).expect("a certificate");
    for folder in ["/tmp/app", "/var/tmp/web", "/srv/state", "/srv/data"] {
        machine.done(&["mkdir", "-p", folder]);
        machine.done(&["chown", "tokenwatch:", folder]);
    }
    machine.write("/tmp/app/token", &token);
    machine.write("/tmp/direct", &token);
    machine.write("/srv/token", &token);
    machine.write("/srv/another", &another);
    machine.write("/srv/secret", SECRET);
    machine.write("/tmp/app/ca.pem", &authority);
    machine.write("/var/tmp/web/web.yml", &format!("basic_auth_users:\n  ops: $2b$10${}\n", "a".repeat(53)));
    machine.write("/etc/tokenwatch/environment", &format!("A_TOKEN={token}\n"));
    machine.write("/etc/tokenwatch/credentials/a-token", &token);
    for place in ["/etc/tokenwatch/environment", "/etc/tokenwatch/credentials"] {
        machine.done(&["chmod", "-R", "go=", place]);
    }
    for case in CASES {
        let Case { name, daemon, secret, rest, without, printed } = case;
        let text = format!(
            "[daemon]\n{daemon}\n[provider.meta]\nbase_url = \"{base_url}\"\n[receivers.default]\n\
             [apps.helpdesk]\nid = \"{APP}\"\nsecret = {{ file = \"/srv/secret\" }}\n\
             [[tokens]]\nname = \"a\"\napp = \"helpdesk\"\nsecret = {{ {secret} }}\n{rest}"
        );
        machine.write(CONFIGURATION, &text);
        machine.done(&["chgrp", "tokenwatch", CONFIGURATION]);
        machine.run(&["systemctl", "stop", "tokenwatch"]);
        machine.run(&["systemctl", "reset-failed", "tokenwatch"]);
        machine.done(&["rm", "-f", "/var/lib/tokenwatch/tokenwatch.db"]);
        machine.as_shipped();
        machine.run(&["systemctl", "start", "--no-block", "tokenwatch"]);
        machine.wait_status(without);
        machine.run(&["systemctl", "stop", "tokenwatch"]);
        machine.run(&["systemctl", "reset-failed", "tokenwatch"]);

        let drop_in = machine.done(&["tokenwatch", "config", "sandbox"]);
        for line in *printed {
            assert!(drop_in.lines().any(|found| found == *line), "{name}: {line} is not in\n{drop_in}");
        }
        machine.drop_in("sandbox.conf", &drop_in);
        let started = machine.run(&["systemctl", "start", "tokenwatch"]);
        assert_eq!(started.code, 0, "{name}: {}{}", started.err, machine.journal("info"));
        machine.wait_status("watching 1 token, nearest deadline in ");
    }
    databases(&machine, &base_url);
    limits_and_another_place(&machine, &base_url);
}

/// A database that is written to: by a person who hands over a token, through the daemon.
fn databases(machine: &Machine, base_url: &str) {
    // SQLite follows links itself, and the way into the machine is one that only the kernel can follow; so it is copied in and out.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (here, there) = (folder.path().join("app.db"), machine.path("/srv/data/app.db"));
    let open = || Connection::open(&here).expect("a database");
    open().execute_batch("CREATE TABLE t (token TEXT); INSERT INTO t VALUES ('old')").expect("a table");
    fs::copy(&here, &there).expect("a copy");
    machine.done(&["chown", "-R", "tokenwatch:", "/srv/data"]);
    let text = format!(
        "[daemon]\n[provider.meta]\nbase_url = \"{base_url}\"\n[receivers.default]\n\
         [apps.helpdesk]\nid = \"{APP}\"\nsecret = {{ file = \"/srv/secret\" }}\n\
         [[tokens]]\nname = \"a\"\napp = \"helpdesk\"\nsecret = {{ file = \"/srv/data/token\" }}\n[tokens.replace]\n\
         publish = [{{ file = \"/srv/data/token\" }}, {{ file = \"/var/tmp/sink/token\" }}, \
         {{ sql = \"sqlite:///srv/data/app.db\", update = \"UPDATE t SET token = $1 WHERE rowid = 1\" }}]\n"
    );
    machine.done(&["cp", "/srv/token", "/srv/data/token"]);
    machine.done(&["mkdir", "/var/tmp/sink"]);
    machine.done(&["cp", "/srv/token", "/var/tmp/sink/token"]);
    machine.done(&["chown", "-R", "tokenwatch:", "/srv/data/token", "/var/tmp/sink"]);
    machine.write(CONFIGURATION, &text);
    let hand_over = || machine.run(&["sh", "-c", "tokenwatch replace a --anyway </srv/another"]);
    let stored = || {
        fs::copy(&there, &here).expect("a copy");
        open().query_row("SELECT token FROM t", [], |row| row.get::<_, String>(0)).expect("a row")
    };
    machine.as_shipped();
    machine.done(&["systemctl", "restart", "tokenwatch"]);
    let refused = hand_over();
    assert_ne!(refused.code, 0, "{}", refused.out);
    assert_eq!(stored(), "old");
    let drop_in = machine.done(&["tokenwatch", "config", "sandbox"]);
    for line in ["ReadWritePaths=/srv/data\n", "BindPaths=/var/tmp/sink\n"] {
        assert!(drop_in.contains(line), "{drop_in}");
    }
    machine.drop_in("sandbox.conf", &drop_in);
    machine.done(&["systemctl", "restart", "tokenwatch"]);
    let taken = hand_over();
    assert_eq!(taken.code, 0, "{}{}", taken.out, taken.err);
    let another = fs::read_to_string(machine.path("/srv/another")).expect("a file");
    let there = fs::read_to_string(machine.path("/var/tmp/sink/token")).expect("a file");
    assert_eq!(
        (stored(), there.trim_end()),
        (another.clone(), another.as_str()),
        "a place below /var/tmp is the real one"
    );
}

/// Numbers that go together, and a configuration that stands elsewhere.
fn limits_and_another_place(machine: &Machine, base_url: &str) {
    let text = format!(
        "[daemon]\nmax_connections = 70000\ngrace = \"20s\"\n[provider.meta]\nbase_url = \"{base_url}\"\n[receivers.default]\n\
         [apps.helpdesk]\nid = \"{APP}\"\nsecret = {{ file = \"/srv/secret\" }}\n\
         [[tokens]]\nname = \"elsewhere\"\napp = \"helpdesk\"\nsecret = {{ file = \"/srv/token\" }}\n"
    );
    machine.write("/srv/my tokens/tokenwatch.toml", &text);
    let drop_in = machine.done(&["tokenwatch", "config", "sandbox", "--config", "/srv/my tokens/tokenwatch.toml"]);
    // As the Debian package has it: without a configuration in the usual place the unit neither starts nor fails.
    let condition = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/debian/configured.conf");
    machine.copy(&condition, "/etc/systemd/system/tokenwatch.service.d/configured.conf");
    machine.done(&["rm", CONFIGURATION]);
    machine.drop_in("sandbox.conf", &drop_in);
    machine.done(&["systemctl", "restart", "tokenwatch"]);
    machine.wait_status("(elsewhere)");
    let limits = ["LimitNOFILE", "TimeoutStopUSec"].map(|property| machine.show("tokenwatch", property));
    assert_eq!(limits, ["70256", "1min 10s"], "{drop_in}");
}

fn issue(sim: &Sim) -> String {
    sim.with_world(|world| world.issue_long_user(ADA, &[], unix_now()))
}

const CONFIGURATION: &str = "/etc/tokenwatch/tokenwatch.toml";
const UNREADABLE: &str = "watching 1 token, 1 critical: a (source_unreadable)";
const CASES: &[Case] = &[
    Case {
        name: "a port of the system's",
        daemon: "listen = \"127.0.0.1:443\"",
        secret: "file = \"/srv/token\"",
        rest: "",
        without: "cannot run: cannot listen on 127.0.0.1:443: Permission denied",
        printed: &[
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
            "PrivateUsers=no",
        ],
    },
    Case {
        name: "a secret below /tmp",
        daemon: "",
        secret: "file = \"/tmp/app/token\"",
        rest: "",
        without: UNREADABLE,
        printed: &["BindReadOnlyPaths=/tmp/app"],
    },
    Case {
        name: "a secret in /tmp itself",
        daemon: "",
        secret: "file = \"/tmp/direct\"",
        rest: "",
        without: UNREADABLE,
        printed: &["BindReadOnlyPaths=/tmp"],
    },
    Case {
        name: "an authority below /tmp",
        daemon: "",
        secret: "file = \"/srv/token\"",
        rest: "[receivers.other.webhook]\nurl = \"https://hooks.example.com/x\"\nca_file = \"/tmp/app/ca.pem\"\n",
        without: "cannot run: ",
        printed: &["BindReadOnlyPaths=/tmp/app"],
    },
    Case {
        name: "users below /var/tmp",
        daemon: "web_config = \"/var/tmp/web/web.yml\"",
        secret: "file = \"/srv/token\"",
        rest: "",
        without: "cannot run: the listener's files are refused: /var/tmp/web/web.yml",
        printed: &["BindReadOnlyPaths=/var/tmp/web"],
    },
    Case {
        name: "a state elsewhere",
        daemon: "state = \"sqlite:///srv/state/tokenwatch.db\"",
        secret: "file = \"/srv/token\"",
        rest: "",
        without: "cannot run: ",
        printed: &["ReadWritePaths=/srv/state"],
    },
    Case {
        name: "a variable",
        daemon: "",
        secret: "env = \"A_TOKEN\"",
        rest: "",
        without: UNREADABLE,
        printed: &["EnvironmentFile=/etc/tokenwatch/environment"],
    },
    Case {
        name: "a credential",
        daemon: "",
        secret: "credential = \"a-token\"",
        rest: "",
        without: UNREADABLE,
        printed: &["LoadCredential=a-token:/etc/tokenwatch/credentials/a-token"],
    },
];
