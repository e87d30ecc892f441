//! What the manual says of each command beyond its options: how it works, how it ends, an example, where to read on.

use crate::cli::Exit;

/// The words about one command.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// Paragraphs after the description that `--help` has, too.
    pub about: &'static [&'static str],
    /// How it ends, beside what every command may end with.
    pub ends: &'static [(Exit, &'static str)],
    /// Command lines, each with what it is for.
    pub examples: &'static [(&'static str, &'static str)],
    /// Other pages, with their section.
    pub see: &'static [(&'static str, &'static str)],
}

/// The words about the command of that page; empty where there are none, which a test does not allow.
pub fn of(page: &str) -> Words {
    let nothing = Words { about: &[], ends: &[], examples: &[], see: &[] };
    ALL.iter().find(|(name, _)| *name == page).map_or(nothing, |(_, words)| *words)
}

const DONE: (Exit, &str) = (Exit::Fine, "It is done.");
const PRINTED: (Exit, &str) = (Exit::Fine, "It is printed.");
const DECLINED: (Exit, &str) = (Exit::Warning, "The daemon declined; it says why.");
const NEEDS_THE_DAEMON: &str = "It asks the running daemon over its control socket. Whoever uses it must be root, the user tokenwatch, or in the group tokenwatch.";

/// Every page of section 1.
pub const ALL: &[(&str, Words)] = &[
    (
        "tokenwatch",
        Words {
            about: &[
                "It asks the provider of each token whether the token works and when it ends, tells people by mail, webhook, Alertmanager or \
                 WhatsApp well before the end and when anything is wrong, exports metrics for Prometheus, and, where it is allowed to, renews the \
                 token, puts it where the application reads it, restarts the application and proves that it works, or puts everything back.",
                "Secrets are never arguments and stand in no configuration: that names where they are.",
            ],
            ends: &[
                (Exit::Fine, "All fine."),
                (Exit::Warning, "`check`, `doctor`: a warning. Elsewhere: it was declined, and why is printed."),
                (Exit::Critical, "`check`, `doctor`: something is critical. `test-alert`: it did not arrive."),
                (Exit::Unknown, "`check`, `doctor`: it could not be told."),
            ],
            examples: &[
                (
                    "tokenwatch check --env-file /srv/itsm/backend/config.env",
                    "The tokens of one application, without any configuration:",
                ),
                (
                    "tokenwatch init --env-file /srv/itsm/backend/config.env\nsystemctl enable --now tokenwatch",
                    "A configuration for them, and the daemon:",
                ),
                ("tokenwatch doctor", "What is wrong first, and what to do about it:"),
            ],
            see: &[("tokenwatch-run", "1"), ("tokenwatch-doctor", "1"), ("systemctl", "1")],
        },
    ),
    (
        "tokenwatch-run",
        Words {
            about: &[
                "It stays in the foreground and logs to standard error: text on a terminal, JSON under systemd. It tells systemd when it is ready and \
                 feeds its watchdog by real progress. Status page, metrics and probes are on 127.0.0.1:9847 unless the configuration says \
                 otherwise.",
                "Everything that can fail at the start fails before it is ready. After that no fault of a provider, of a relay or of the state ends it.",
            ],
            ends: &[(Exit::Fine, "It was told to stop, and did so in order.")],
            examples: &[(
                "tokenwatch --config /srv/try/tokenwatch.toml run",
                "In the foreground, with a configuration of its own:",
            )],
            see: &[("tokenwatch-status", "1"), ("tokenwatch-config-sandbox", "1"), ("systemd.service", "5")],
        },
    ),
    (
        "tokenwatch-check",
        Words {
            about: &[
                "It keeps nothing and tells nobody: what it saw is judged at once, without waiting for a second answer. The daemon need not run.",
                "With `--env-file` it needs no configuration: it knows the usual names of tokens, app id and app secret.",
            ],
            ends: &[
                (Exit::Fine, "All tokens are fine."),
                (
                    Exit::Warning,
                    "A warning: a rung was crossed, a scope is missing. Or there is no token of that name.",
                ),
                (Exit::Critical, "A token ends within days, has expired or is invalid."),
                (
                    Exit::Unknown,
                    "It could not be told: the provider, the app or the place of the secret did not answer.",
                ),
            ],
            examples: &[
                ("tokenwatch check", "All tokens of the configuration:"),
                ("tokenwatch check helpdesk-whatsapp --json", "One of them, for a program:"),
                ("tokenwatch check --prometheus", "For the textfile collector of Prometheus' node exporter:"),
            ],
            see: &[("tokenwatch-doctor", "1"), ("tokenwatch-explain", "1")],
        },
    ),
    (
        "tokenwatch-init",
        Words {
            about: &[
                "What it cannot know is marked with `# EDIT:` in the file and named at the end. The configuration is accepted as it stands.",
            ],
            ends: &[
                DONE,
                (Exit::Warning, "There is a file already, or the folder is not there; nothing was written."),
                (Exit::Unknown, "The env file cannot be read, or names no token."),
            ],
            examples: &[
                (
                    "tokenwatch init --env-file /srv/itsm/backend/config.env --email oncall@example.com",
                    "From an application's file:",
                ),
                ("tokenwatch init --env-file /srv/itsm/backend/config.env --output -", "The same, only printed:"),
            ],
            see: &[("tokenwatch-config-check", "1")],
        },
    ),
    (
        "tokenwatch-doctor",
        Words {
            about: &[
                "It sends nothing to anybody and changes nothing, unless an option asks for it. The daemon need not run.",
            ],
            ends: &[
                (Exit::Fine, "Everything is in order."),
                (Exit::Warning, "Something deserves attention, or there is no token of that name."),
                (Exit::Critical, "Something does not work."),
                (Exit::Unknown, "Something could not be told."),
            ],
            examples: &[
                ("tokenwatch doctor helpdesk-whatsapp", "One token and everything around it:"),
                (
                    "tokenwatch doctor helpdesk-whatsapp --send-to +919812345678",
                    "The same, with a real message to a phone:",
                ),
            ],
            see: &[("tokenwatch-check", "1"), ("tokenwatch-test-alert", "1")],
        },
    ),
    (
        "tokenwatch-explain",
        Words {
            about: &[
                "The running daemon is asked; where none is reachable, one check is made now, which has no memory.",
            ],
            ends: &[PRINTED, (Exit::Warning, "There is no token of that name.")],
            examples: &[("tokenwatch explain helpdesk-whatsapp", "Why on-call was woken:")],
            see: &[("tokenwatch-forecast", "1"), ("tokenwatch-status", "1")],
        },
    ),
    (
        "tokenwatch-status",
        Words {
            about: &[NEEDS_THE_DAEMON],
            ends: &[
                PRINTED,
                (Exit::Warning, "Nothing is watched by that name."),
                (Exit::TryAgain, "No daemon is reached; with `--health` also: it does not get on with its work."),
            ],
            examples: &[
                ("tokenwatch status", "All tokens:"),
                ("tokenwatch status helpdesk-whatsapp", "One, with its incidents, who was told and who answered:"),
            ],
            see: &[("tokenwatch-explain", "1"), ("tokenwatch-ack", "1")],
        },
    ),
    (
        "tokenwatch-forecast",
        Words {
            about: &[
                "The configuration and what is known are run under simulated time. It says what it assumes and what it leaves out.",
            ],
            ends: &[PRINTED],
            examples: &[("tokenwatch forecast --days 90", "The messages and renewals of three months:")],
            see: &[("tokenwatch-explain", "1")],
        },
    ),
    (
        "tokenwatch-ack",
        Words {
            about: &[NEEDS_THE_DAEMON, "An acknowledgement ends with its incident."],
            ends: &[DONE, DECLINED],
            examples: &[("tokenwatch ack helpdesk-whatsapp --why on-it", "You know, and say so:")],
            see: &[("tokenwatch-silence", "1"), ("tokenwatch-status", "1")],
        },
    ),
    (
        "tokenwatch-silence",
        Words {
            about: &[NEEDS_THE_DAEMON],
            ends: &[DONE, DECLINED],
            examples: &[("tokenwatch silence helpdesk-whatsapp --for 4h --why maintenance", "During a change:")],
            see: &[("tokenwatch-unsilence", "1"), ("tokenwatch-ack", "1")],
        },
    ),
    (
        "tokenwatch-unsilence",
        Words {
            about: &[NEEDS_THE_DAEMON],
            ends: &[DONE, DECLINED],
            examples: &[("tokenwatch unsilence helpdesk-whatsapp", "The change is over early:")],
            see: &[("tokenwatch-silence", "1")],
        },
    ),
    (
        "tokenwatch-renew",
        Words {
            about: &["The running daemon does it; where none runs, this process does, with the same journal."],
            ends: &[
                (Exit::Fine, "It is renewed, or `--dry-run` says that it would be."),
                (Exit::Warning, "It was refused, failed or was rolled back; what is in place and why is printed."),
            ],
            examples: &[
                ("tokenwatch renew helpdesk-whatsapp --dry-run", "What would happen:"),
                ("tokenwatch renew helpdesk-whatsapp", "Now:"),
            ],
            see: &[("tokenwatch-replace", "1"), ("tokenwatch-config-sandbox", "1")],
        },
    ),
    (
        "tokenwatch-replace",
        Words {
            about: &[
                "The running daemon does it; where none runs, this process does, with the same journal. Nothing is shown while you type.",
            ],
            ends: &[
                (Exit::Fine, "It is in place and confirmed."),
                (Exit::Warning, "It was refused, failed or was rolled back; what is in place and why is printed."),
            ],
            examples: &[
                ("tokenwatch replace helpdesk-whatsapp", "At a prompt:"),
                ("tokenwatch replace helpdesk-whatsapp < /run/user/1000/new-token", "From a file:"),
            ],
            see: &[("tokenwatch-renew", "1")],
        },
    ),
    (
        "tokenwatch-test-alert",
        Words {
            about: &[NEEDS_THE_DAEMON],
            ends: &[
                (Exit::Fine, "Every channel took it."),
                (Exit::Warning, "Nobody is told of that severity, or the daemon declined."),
                (Exit::Critical, "It did not arrive; the next try follows by itself."),
            ],
            examples: &[(
                "tokenwatch test-alert default --severity critical",
                "Including those who are added when it is critical:",
            )],
            see: &[("tokenwatch-doctor", "1")],
        },
    ),
    (
        "tokenwatch-state",
        Words {
            about: &[
                "A running daemon holds its state for itself, so it is asked over its control socket; without one the file is opened.",
            ],
            ends: &[],
            examples: &[("tokenwatch state verify", "Whether all of it can be read:")],
            see: &[("tokenwatch-run", "1")],
        },
    ),
    (
        "tokenwatch-state-backup",
        Words {
            about: &[
                "The key that opens what is sealed in the journal is not in the copy. To restore one, stop the daemon and put it in the place of the \
                 state, without the files `-wal` and `-shm` of the old one.",
            ],
            ends: &[
                (Exit::Fine, "The backup is there, and whole."),
                (Exit::Warning, "There is such a file already, or there is no state."),
                (Exit::Critical, "The copy is not whole, so the state is not; nothing was written."),
                (Exit::TryAgain, "It cannot be written, or the state is in use and its daemon is not reached."),
                (Exit::BadConfiguration, "A newer tokenwatch wrote the state; back it up with that one."),
            ],
            examples: &[("tokenwatch state backup /srv/backup/tokenwatch.db", "While the daemon runs, or without it:")],
            see: &[("tokenwatch-state-verify", "1")],
        },
    ),
    (
        "tokenwatch-state-verify",
        Words {
            about: &["Nothing is changed, and a running daemon goes on in between."],
            ends: &[
                (Exit::Fine, "It is whole."),
                (Exit::Warning, "There is no such file, or it is no state of tokenwatch."),
                (Exit::Critical, "It is not whole; each fault is printed."),
                (Exit::TryAgain, "It is in use, and its daemon is not reached."),
                (Exit::BadConfiguration, "A newer tokenwatch wrote it; `run` would refuse it."),
            ],
            examples: &[
                ("tokenwatch state verify", "The state of the daemon, running or not:"),
                ("tokenwatch state verify /srv/backup/tokenwatch.db", "A backup:"),
            ],
            see: &[("tokenwatch-state-backup", "1")],
        },
    ),
    (
        "tokenwatch-config",
        Words {
            about: &[],
            ends: &[],
            examples: &[("tokenwatch config check", "Before a reload:")],
            see: &[("tokenwatch-init", "1")],
        },
    ),
    (
        "tokenwatch-config-check",
        Words {
            about: &["No secret is read and nobody is asked."],
            ends: &[(Exit::Fine, "It is accepted; warnings are printed.")],
            examples: &[(
                "tokenwatch --config /srv/try/tokenwatch.toml config check",
                "A file that is not in force yet:",
            )],
            see: &[("tokenwatch-config-show", "1")],
        },
    ),
    (
        "tokenwatch-config-show",
        Words {
            about: &[],
            ends: &[PRINTED],
            examples: &[("tokenwatch config show", "What is in force, and where each value came from:")],
            see: &[("tokenwatch-config-check", "1")],
        },
    ),
    (
        "tokenwatch-config-diff",
        Words {
            about: &[
                NEEDS_THE_DAEMON,
                "The daemon reads the files itself, with its own environment and rights, so it sees what a reload would see.",
            ],
            ends: &[
                (Exit::Fine, "It is printed, also where nothing would change."),
                (Exit::BadConfiguration, "A reload would be refused; all faults are printed."),
            ],
            examples: &[(
                "tokenwatch config diff\nsystemctl reload tokenwatch",
                "What a reload would change, and the reload:",
            )],
            see: &[("tokenwatch-config-check", "1")],
        },
    ),
    (
        "tokenwatch-config-schema",
        Words {
            about: &[],
            ends: &[PRINTED],
            examples: &[("tokenwatch config schema > tokenwatch.schema.json", "For an editor:")],
            see: &[("tokenwatch-config-reference", "1")],
        },
    ),
    (
        "tokenwatch-config-reference",
        Words {
            about: &[],
            ends: &[PRINTED],
            examples: &[("tokenwatch config reference", "Every key of this version:")],
            see: &[("tokenwatch-config-schema", "1")],
        },
    ),
    (
        "tokenwatch-config-sandbox",
        Words {
            about: &["What it prints allows nothing more than this configuration needs. It changes nothing itself."],
            ends: &[PRINTED],
            examples: &[("tokenwatch config sandbox", "The drop-in of the unit and the rule of polkit:")],
            see: &[("tokenwatch-renew", "1"), ("systemd.exec", "5")],
        },
    ),
    (
        "tokenwatch-demo",
        Words {
            about: &["Nothing outside a temporary folder is touched, and nobody but this machine is asked anything."],
            ends: &[(Exit::Fine, "The story is told.")],
            examples: &[("tokenwatch demo --forever", "With the pages kept up until you interrupt it:")],
            see: &[],
        },
    ),
    (
        "tokenwatch-completions",
        Words {
            about: &[],
            ends: &[PRINTED],
            examples: &[(
                "tokenwatch completions bash > ~/.local/share/bash-completion/completions/tokenwatch",
                "For your own shell:",
            )],
            see: &[("tokenwatch-man", "1")],
        },
    ),
    (
        "tokenwatch-man",
        Words {
            about: &["Pages are named as `man` names them, or by the words of the command."],
            ends: &[DONE, (Exit::TryAgain, "The folder cannot be written.")],
            examples: &[
                ("tokenwatch man config check | man -l -", "Read a page that is not installed:"),
                ("tokenwatch man --to /usr/local/share/man", "Install them all:"),
            ],
            see: &[("man", "1")],
        },
    ),
];

/// Variables that every command reads.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("TOKENWATCH_CONFIG", "The configuration file, unless `--config` names it."),
    (
        "TOKENWATCH__SECTION__KEY",
        "Any scalar of the configuration, such as TOKENWATCH__SMTP__FROM; see `tokenwatch.toml`(5).",
    ),
    ("RUST_LOG", "What is logged: error, warn, info, debug or trace. The daemon logs info, other commands errors."),
    ("NO_COLOR", "When set, nothing is coloured; without it, only what goes to a terminal is."),
    (
        "STATE_DIRECTORY, XDG_STATE_HOME, HOME",
        "Where the state is kept when the configuration does not say: the first that is set. systemd sets the first.",
    ),
    ("RUNTIME_DIRECTORY", "Where the control socket is; without it, beside the state."),
    ("CREDENTIALS_DIRECTORY", "Where systemd puts credentials."),
    ("NOTIFY_SOCKET, WATCHDOG_USEC", "How systemd is told that the daemon is ready and makes progress."),
    (
        "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY",
        "The proxy for requests over HTTP, in capitals or small letters. Loopback is never asked over a proxy, mail and databases do not use one.",
    ),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "The authorities that are trusted instead of the system's, where no `ca_file` names others.",
    ),
];

/// Files of the whole.
pub const FILES: &[(&str, &str)] = &[
    ("/etc/tokenwatch/tokenwatch.toml", "The configuration, see `tokenwatch.toml`(5)."),
    ("/etc/tokenwatch/conf.d/*.toml", "Parts that are laid over it, in the order of their names."),
    (
        "/var/lib/tokenwatch/tokenwatch.db",
        "The state: statuses, incidents, messages that wait. No secret stands in it in the clear.",
    ),
    (
        "/var/lib/tokenwatch/renewal.key",
        "The key that seals the secrets of a renewal under way, unless it is a credential.",
    ),
    ("/run/tokenwatch/control.sock", "The control socket, mode 0660."),
];

/// What the daemon does when it is signalled.
pub const SIGNALS: &[(&str, &str)] = &[
    ("SIGHUP", "Read the configuration again; with any fault in it, the old one stays in force."),
    (
        "SIGTERM, SIGINT",
        "Stop in order: finish what is under way, within the time of `grace`. A second one stops at once.",
    ),
];
