//! Restarts by a real systemd, rights by a real polkit, and the shipped unit in its real sandbox.

use std::fs;
use std::path::Path;

use tokenwatch::domain::time::Span;
use tokenwatch::hygiene::{Exposed, Place, exposed_units};
use tokenwatch::renewal::systemd;
use tokenwatch::secret::Secret;
use zeroize::Zeroizing;

use crate::support::nspawn::Machine;
use crate::support::process::{PATIENCE, wait_for, write_program};

/// One machine for all: booting takes longer than any of it.
#[tokio::test]
async fn units_are_restarted_and_nothing_else_is_allowed() {
    let machine = Machine::boot();
    install(&machine);
    restarts(&machine).await;
    rights(&machine);
    the_unit(&machine);
    exposed(&machine).await;
}

/// The files of the package.
pub(super) fn install_package(machine: &Machine) {
    for file in ["sysusers.d/tokenwatch.conf", "tmpfiles.d/tokenwatch.conf", "system/tokenwatch.service"] {
        machine.write(&format!("/usr/lib/{}", package_path(file)), &shipped(file));
    }
    machine.done(&["systemd-sysusers"]);
    machine.done(&["systemd-tmpfiles", "--create", "tokenwatch.conf"]);
}

/// The package, a configuration, and units to restart.
fn install(machine: &Machine) {
    install_package(machine);
    machine.write("/etc/tokenwatch/tokenwatch.toml", CONFIGURATION);
    machine.done(&["chgrp", "tokenwatch", "/etc/tokenwatch/tokenwatch.toml"]);
    machine.write("/srv/app/.env", "TOKEN=first\n");
    machine.write("/home/app/token", "second\n");
    machine.write("/srv/other/.env", "TOKEN=other\n");
    for folder in ["/srv/app", "/home/app", "/srv/other"] {
        machine.done(&["chgrp", "tokenwatch", folder]);
        machine.done(&["chmod", "775", folder]);
    }
    for (name, service) in UNITS {
        machine.write(&format!("/etc/systemd/system/{name}"), service);
    }
    machine.done(&["systemctl", "daemon-reload"]);
    machine.done(&["systemctl", "mask", "--quiet", "masked.service"]);
    machine.done(&["systemctl", "start", "good.service", "other.service"]);
}

async fn restarts(machine: &Machine) {
    let bus = machine.bus();
    let restart = |unit: &'static str, within: i64| systemd::restart(Some(&bus), unit, Span::seconds(within));
    let (before, other) = (machine.show("good.service", "InvocationID"), machine.show("other.service", "InvocationID"));
    let (good, fresh, slow, once, target) = tokio::join!(
        restart("good.service", 20),
        restart("fresh.service", 20),
        restart("slow.service", 20),
        restart("once.service", 20),
        restart("some.target", 20),
    );
    assert_eq!((good, fresh, slow, once, target), (Ok(()), Ok(()), Ok(()), Ok(()), Ok(())));
    assert_ne!(machine.show("good.service", "InvocationID"), before);
    assert_eq!(machine.show("other.service", "InvocationID"), other, "only the one that was named");
    for unit in ["good.service", "fresh.service", "slow.service", "some.target"] {
        assert_eq!(machine.run(&["systemctl", "is-active", unit]).out.trim(), "active", "{unit}");
    }

    let (fails, missing, dies, again, never, masked, unknown) = tokio::join!(
        restart("fails.service", 20),
        restart("missing.service", 20),
        restart("dies.service", 20),
        restart("again.service", 20),
        restart("never.service", 1),
        restart("masked.service", 20),
        restart("nosuch.service", 20),
    );
    for (outcome, words) in [
        (fails, &["it is failed", "result exit-code", "exit status 3", "journalctl -u fails.service"][..]),
        (missing, &["exit status 203"]),
        (dies, &["it ended at once", "exit status 4"]),
        (again, &["it ended at once", "journalctl -u again.service"]),
        (never, &["it takes too long: it is activating (start)"]),
        (masked, &["it is masked", "systemctl unmask masked.service"]),
        (unknown, &["systemd knows no unit nosuch.service"]),
    ] {
        let error = outcome.expect_err("it does not run");
        for word in words {
            assert!(error.contains(word), "{word} is not in: {error}");
        }
    }
}

/// What the printed rule allows, it allows; the rest it does not. Before it is there nothing is allowed.
fn rights(machine: &Machine) {
    let manager = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
    let ask = |verb: &str, unit: &str| {
        let words = ["runuser", "-u", "tokenwatch", "--", "busctl", "call"].into_iter().chain(manager);
        machine.run(&words.chain([verb, "ss", unit, "replace"]).collect::<Vec<_>>())
    };
    let refused = ask("RestartUnit", "good.service");
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("authentication required") || refused.err.contains("ccess denied"), "{}", refused.err);

    let printed = machine.done(&["tokenwatch", "config", "sandbox"]);
    let (drop_in, rule) = printed.split_once("// /etc/polkit-1").expect("two files");
    machine.write("/etc/systemd/system/tokenwatch.service.d/sandbox.conf", drop_in);
    machine.write("/etc/polkit-1/rules.d/50-tokenwatch.rules", &format!("// /etc/polkit-1{rule}"));
    let before = machine.show("good.service", "InvocationID");
    wait_for("polkit to read the rule", PATIENCE, || (ask("RestartUnit", "good.service").code == 0).then_some(()));
    wait_for("the unit to be restarted", PATIENCE, || {
        (machine.show("good.service", "InvocationID") != before).then_some(())
    });
    for (verb, unit) in [
        ("RestartUnit", "other.service"),
        ("StopUnit", "good.service"),
        ("StartUnit", "good.service"),
        ("ReloadUnit", "good.service"),
    ] {
        let refused = ask(verb, unit);
        assert_ne!(refused.code, 0, "{verb} {unit}");
        assert!(
            refused.err.contains("authentication required") || refused.err.contains("ccess denied"),
            "{}",
            refused.err
        );
    }
    assert_eq!(machine.run(&["systemctl", "is-active", "good.service"]).out.trim(), "active");
}

/// The daemon runs in its sandbox with what was printed for it, and whatever runs there can do what a renewal does and no more.
fn the_unit(machine: &Machine) {
    machine.done(&["systemctl", "daemon-reload"]);
    let started = machine.run(&["systemctl", "start", "tokenwatch.service"]);
    let journal = || machine.run(&["journalctl", "--no-pager", "-u", "tokenwatch", "-u", "probe"]).out;
    assert_eq!(started.code, 0, "{}{}", started.err, journal());
    assert_eq!(machine.run(&["systemctl", "is-active", "tokenwatch.service"]).out.trim(), "active");
    let exposure = machine.run(&["systemd-analyze", "security", "--threshold=30", "--no-pager", "tokenwatch.service"]);
    assert_eq!(exposure.code, 0, "more exposed than 3.0: {}", exposure.out);

    // The same sandbox around another program.
    let unit = shipped("system/tokenwatch.service");
    let probe = unit
        .replace("ExecStart=/usr/bin/tokenwatch run", "ExecStart=/bin/sh -e /usr/lib/probe")
        .replace("Type=notify", "Type=oneshot");
    let probe = probe.replace("Restart=on-failure", "Restart=no").replace("WatchdogSec=60", "");
    assert_ne!(probe, unit);
    machine.write("/etc/systemd/system/probe.service", &probe);
    machine.done(&["cp", "-r", "/etc/systemd/system/tokenwatch.service.d", "/etc/systemd/system/probe.service.d"]);
    machine.write("/usr/lib/probe", PROBE);
    machine.done(&["systemctl", "daemon-reload"]);
    let before = machine.show("good.service", "InvocationID");
    let probed = machine.run(&["systemctl", "start", "probe.service"]);
    assert_eq!(probed.code, 0, "{}{}", probed.err, journal());
    wait_for("the unit to be restarted", PATIENCE, || {
        (machine.show("good.service", "InvocationID") != before).then_some(())
    });
    let owners = machine.done(&["stat", "--format=%U:%a", "/srv/app/.env", "/home/app/token"]);
    assert_eq!(owners, "root:640\nroot:640\n");
}

/// What a unit's settings hold, anybody sees: while it runs, and while it is loaded.
async fn exposed(machine: &Machine) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let systemctl = folder.path().join("systemctl");
    write_program(&systemctl, &format!("#!/bin/sh\nexec {} systemctl \"$@\"\n", machine.inside()));
    let secrets = ["correct-horse-battery", "with \"quotes\" and $dollars"];
    let secrets = secrets.map(|text| Secret::new(Zeroizing::new(text.to_owned())));
    let look = async || exposed_units(&systemctl.display().to_string(), &[&secrets[0], &secrets[1]]).await;
    assert_eq!(look().await, Ok(Vec::new()));

    for (name, service) in LEAKS {
        machine.write(&format!("/etc/systemd/system/{name}"), service);
    }
    machine.write("/etc/private.env", "TOKEN=correct-horse-battery\n");
    machine.done(&["systemctl", "daemon-reload"]);
    machine.done(&["systemctl", "start", "variable.service", "argument.service", "file.service"]);
    let found = |secret, by: &str, place| Exposed { secret, by: by.to_owned(), place };
    let expected = vec![
        found(0, "argument.service", Place::CommandLine),
        found(0, "variable.service", Place::Environment),
        found(1, "variable.service", Place::Environment),
    ];
    assert_eq!(look().await, Ok(expected), "a file that the unit names stays private");
    let seen = machine.done(&["runuser", "-u", "nobody", "--", "systemctl", "show", "variable.service"]);
    assert!(seen.contains("correct-horse-battery"), "anybody sees it");
}

fn shipped(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(file);
    fs::read_to_string(path).expect("a file of the package")
}

/// Where a package puts it, below `/usr/lib`.
fn package_path(file: &str) -> String {
    if file.starts_with("system/") { format!("systemd/{file}") } else { file.to_owned() }
}

const CONFIGURATION: &str = r#"
[daemon]
listen = "127.0.0.1:9847"
[provider.meta]
base_url = "http://127.0.0.1:9"
[receivers.default]
[apps.helpdesk]
id = "1"
secret = { env_file = "/srv/app/.env", key = "TOKEN" }
[[tokens]]
name = "first"
app = "helpdesk"
secret = { env_file = "/srv/app/.env", key = "TOKEN" }
[tokens.renew]
before = "20d"
publish = [{ env_file = "/srv/app/.env", key = "TOKEN" }, { file = "/home/app/token" }]
[tokens.renew.restart]
systemd = "good.service"
"#;

/// What a renewal does, by hand: a file is replaced by one that keeps its owner, and the unit is restarted.
const PROBE: &str = r#"
for file in /srv/app/.env /home/app/token; do
    echo new >$file.new
    chown root:root $file.new
    chmod 640 $file.new
    mv $file.new $file
done
[ "$(id -un)" = tokenwatch ]
restart() { busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager RestartUnit ss $1 replace; }
restart good.service
for place in /srv/other /usr/lib /home/app/..; do
    if touch $place/x; then echo "$place can be written to"; exit 1; fi
done
if restart other.service; then echo "any unit can be restarted"; exit 1; fi
"#;

const LEAKS: [(&str, &str); 3] = [
    (
        "variable.service",
        "[Service]\nExecStart=/bin/sleep infinity\n\
         Environment=A=1 TOKEN=correct-horse-battery 'ODD=with \\\"quotes\\\" and $dollars'\n",
    ),
    (
        "argument.service",
        "[Service]\nExecStartPre=/bin/sh -c '\\n\\ntrue'\nExecStart=/bin/sh -c 'sleep infinity; :' correct-horse-battery\n",
    ),
    ("file.service", "[Service]\nExecStart=/bin/sleep infinity\nEnvironmentFile=/etc/private.env\n"),
];

const UNITS: [(&str, &str); 11] = [
    ("good.service", "[Service]\nExecStart=/bin/sleep infinity\n"),
    ("other.service", "[Service]\nExecStart=/bin/sleep infinity\n"),
    ("fresh.service", "[Service]\nExecStart=/bin/sleep infinity\n"),
    (
        "slow.service",
        "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'sleep 2; systemd-notify --ready; sleep infinity'\n",
    ),
    ("once.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
    ("some.target", "[Unit]\nDescription=A target\n"),
    ("fails.service", "[Service]\nType=notify\nExecStart=/bin/sh -c 'exit 3'\n"),
    ("missing.service", "[Service]\nType=exec\nExecStart=/nonexistent/program\n"),
    ("dies.service", "[Service]\nExecStart=/bin/sh -c 'sleep 0.3; exit 4'\n"),
    ("again.service", "[Service]\nRestart=always\nExecStart=/bin/sh -c 'sleep 0.3; exit 4'\n"),
    ("never.service", "[Service]\nType=notify\nExecStart=/bin/sleep infinity\n"),
];
