//! What a person does about what was found: steps in words, and the exact command to run next.
//!
//! Every command that is named here exists, and is run by a test.

use std::path::{Path, PathBuf};

use super::guide::{Bad, Found, Wrong};
use crate::advice::{self, Links, in_shell, pages, plain, provider_in_words};
use crate::domain::alert::Notice;
use crate::domain::token::TokenId;
use crate::hygiene::{Exposed, Place, Privacy, Readers, Tracking};
use crate::settings::Token;
use crate::settings::delivery::Restart;
use crate::settings::value::SecretRef;

/// How this program is called from where the reader sits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commands {
    /// `tokenwatch`, or with the configuration that was named.
    program: String,
    /// The env file that was looked at without any configuration.
    env_file: Option<PathBuf>,
}

impl Commands {
    /// Commands over a configuration; named, when it is not in its usual place.
    pub fn over(config: Option<&Path>) -> Self {
        let program =
            config.map_or_else(|| "tokenwatch".to_owned(), |path| format!("tokenwatch --config {}", in_shell(path)));
        Self { program, env_file: None }
    }

    /// Commands over an env file, without a configuration.
    pub fn over_env_file(file: &Path) -> Self {
        Self { program: "tokenwatch".to_owned(), env_file: Some(file.to_owned()) }
    }

    /// Walks the guide for that token again.
    pub fn doctor(&self, name: &TokenId) -> String {
        format!("{} doctor {name}{}", self.program, self.suffix())
    }

    /// Walks the whole guide again.
    pub fn doctor_for_all(&self) -> String {
        format!("{} doctor{}", self.program, self.suffix())
    }

    /// Why an application is not asked about which nothing is known.
    pub(super) fn no_probe(&self) -> String {
        match &self.env_file {
            Some(file) => format!(
                "an env file does not say how it is asked; a configuration can (`tokenwatch init --env-file {}` makes one)",
                in_shell(file)
            ),
            None => "no health check is configured: add [tokens.probe], or a confirm to [tokens.renew]".to_owned(),
        }
    }

    fn suffix(&self) -> String {
        self.env_file.as_ref().map(|file| format!(" --env-file {}", in_shell(file))).unwrap_or_default()
    }
}

/// One token, for whoever words a remedy.
pub(super) struct Case<'a> {
    /// Its name.
    pub name: &'a TokenId,
    /// Its configuration.
    pub token: &'a Token,
    /// How this program is called.
    pub commands: &'a Commands,
    /// What is known beside.
    pub links: Links<'a>,
}

impl Case<'_> {
    /// The provider, as people write it.
    pub(super) fn provider(&self) -> &str {
        provider_in_words(&self.token.spec.provider)
    }

    /// Whether that is Meta, whose guide the doctor walks in full.
    pub(super) fn is_of_meta(&self) -> bool {
        self.token.spec.provider.is_meta()
    }

    /// The command that puts a new token in place, or looks whether a person has.
    pub(super) fn replace(&self) -> String {
        if self.token.replace.is_some() {
            format!("{} replace {}", self.commands.program, self.name)
        } else {
            self.commands.doctor(self.name)
        }
    }

    /// The command that renews the token, where that may be done.
    pub(super) fn renew(&self) -> String {
        if self.token.renew.is_some() {
            format!("{} renew {}", self.commands.program, self.name)
        } else {
            self.replace()
        }
    }

    /// How a new token is had where nothing more is known.
    pub(super) fn new_token(&self) -> String {
        format!(
            "Meta refuses the token itself: generate a new one for a system user: {}, and put it in place of the old one ({}).",
            pages::system_users(&self.links),
            plain(&self.token.secret.to_string())
        )
    }

    /// The secret cannot be read.
    pub(super) fn unreadable(&self, problem: &str) -> Wrong {
        let next = match &self.token.secret {
            SecretRef::File(path) | SecretRef::EnvFile { path, .. } => format!("namei -l {}", in_shell(path)),
            SecretRef::Env(_) | SecretRef::Credential(_) | SecretRef::Nowhere => self.commands.doctor(self.name),
        };
        let place = plain(&self.token.secret.to_string());
        let step = match &self.token.secret {
            SecretRef::File(_) | SecretRef::EnvFile { .. } => format!(
                "See that {place} is there and can be read by the user that asks; the command below shows each folder on the way with its rights."
            ),
            SecretRef::Nowhere => "There is no secret to be read: please report this.".to_owned(),
            SecretRef::Env(_) => {
                format!("Set {place} where this command runs; the daemon sees only what its own unit sets.")
            }
            SecretRef::Credential(name) => format!(
                "A credential is there within the unit only: run this within it, or see that the unit has LoadCredential={}:….",
                plain(name)
            ),
        };
        Wrong { bad: Bad::Unknown, saw: plain(problem), remedy: vec![step], next }
    }

    /// The application does not answer as it should.
    pub(super) fn application(&self, saw: &str) -> Wrong {
        let unit = match self.token.replace.as_ref().and_then(|delivery| delivery.restart.as_ref()) {
            Some(Restart::Systemd { unit, .. }) => Some(unit),
            Some(Restart::Run(_)) | None => None,
        };
        let (step, next) = match unit {
            Some(unit) => (
                format!("See why in its log (journalctl -u {unit}), and restart it when it runs with an old token (systemctl restart {unit})."),
                format!("systemctl status {unit}"),
            ),
            None => (
                "See why in its log, and restart it when it runs with an old token: most applications read their env file once.".to_owned(),
                self.commands.doctor(self.name),
            ),
        };
        Wrong { bad: Bad::Critical, saw: plain(saw), remedy: vec![step], next }
    }
}

/// The very steps that a mail about this has; the command to confirm with stands by itself.
pub(super) fn by_notice(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let mut steps = advice::cure(notice, links);
    steps.extend(advice::runbook(links));
    steps
}

/// What was seen of the file of a secret.
pub(super) struct Look {
    /// Who can read it, or why that cannot be told.
    pub privacy: Result<Privacy, String>,
    /// What git has of it.
    pub tracking: Tracking,
}

/// Who can read the file of a secret, and whether git has it.
pub(super) fn file(path: &Path, look: &Look, replace: &str) -> Found {
    let tracking = &look.tracking;
    let privacy = match &look.privacy {
        Ok(privacy) => privacy,
        Err(problem) => return Found::NotTried(format!("cannot be looked at: {}", plain(problem))),
    };
    let (real, mode) = (&privacy.file, privacy.mode);
    let readers = match &privacy.readers {
        Readers::Owner => format!("mode {mode:04o}, only {} can read it", privacy.owner),
        Readers::Group(group) => format!("mode {mode:04o}, {} and the group {group} can read it", privacy.owner),
        Readers::Everybody => format!("mode {mode:04o}: everybody on this machine can read it"),
    };
    let folder = real.parent().unwrap_or(Path::new("/"));
    let name = real.file_name().map(PathBuf::from).unwrap_or_default();
    // What others have already is worse than what they could take.
    let mut faults: Vec<(String, Vec<String>, String)> = Vec::new();
    if *tracking == Tracking::Tracked {
        let next = format!("git -C {} rm --cached -- {}", in_shell(folder), in_shell(&name));
        let steps = vec![
            format!("Take it out of the index and leave the file: `{next}`; then name it in .gitignore and commit."),
            format!("Whoever has the repository has the token: issue a new one (`{replace}`)."),
        ];
        faults.push(("git tracks it".to_owned(), steps, next));
    }
    if let Some(open) = &privacy.changeable {
        let next = format!("chmod o-w {}", in_shell(open));
        let step = format!(
            "Take the right to write from everybody: `{next}`. Until then anybody can put another secret there."
        );
        faults.push((format!("everybody can change {}", open.display()), vec![step], next));
    }
    if privacy.readers == Readers::Everybody {
        let next = format!("chmod o= {}", in_shell(real));
        let step = format!("Close it: `{next}`. Whoever must read it belongs in its group ({}).", privacy.group);
        let known = "If others use this machine, issue a new token: the old one may be known.".to_owned();
        faults.push((readers.clone(), vec![step, known], next));
    }
    if *tracking == Tracking::InHistory {
        let step = "A commit still holds it: whoever has the repository has what stood in it then. If that was this token, issue a new one.";
        faults.push((
            "git no longer tracks it, but its history has it".to_owned(),
            vec![step.to_owned()],
            replace.to_owned(),
        ));
    }
    if *tracking == Tracking::NotIgnored {
        let next = format!("printf '%s\\n' {} >> {}", in_shell(&name), in_shell(&folder.join(".gitignore")));
        let step = format!("The next commit of everything would take it: `{next}`.");
        faults.push(("git does not ignore it".to_owned(), vec![step], next));
    }
    let Some((_, _, next)) = faults.first().cloned() else {
        return Found::Right(match tracking {
            Tracking::Unknown(why) => format!("{readers}; what git has of it cannot be told: {}", plain(why)),
            Tracking::Ignored => format!("{readers}; git ignores it"),
            Tracking::NoRepository | Tracking::NotIgnored | Tracking::InHistory | Tracking::Tracked => {
                format!("{readers}; in no git repository")
            }
        });
    };
    let saw = faults.iter().map(|(saw, _, _)| saw.as_str()).collect::<Vec<_>>().join("; ");
    let remedy = faults.into_iter().flat_map(|(_, steps, _)| steps).collect();
    Found::Wrong(Wrong { bad: Bad::Warning, saw: format!("{}: {saw}", path.display()), remedy, next })
}

/// Who shows the secret to everybody.
pub(super) fn exposed(by: &[&Exposed], replace: &str) -> Found {
    let Some(worst) = by.first() else {
        return Found::Right("not visible in any unit's settings or on a command line".to_owned());
    };
    let names: Vec<String> =
        by.iter().map(|exposed| format!("the {} of {}", exposed.place, plain(&exposed.by))).collect();
    let pid = worst.by.strip_prefix("process ").and_then(|rest| rest.split(' ').next());
    let next = match (worst.place, pid) {
        (Place::CommandLine, Some(pid)) => format!("ps -o pid,ppid,user,comm -p {}", in_shell(Path::new(pid))),
        (Place::Environment | Place::CommandLine, _) => format!("systemctl cat {}", in_shell(Path::new(&worst.by))),
    };
    let steps = vec![
        "Take it out of there: every user of this machine can read it (systemctl show and the list of processes tell everybody). Give it in a \
         private file (EnvironmentFile=) or as a credential (LoadCredential=)."
            .to_owned(),
        format!("Then issue a new token: the old one may be known (`{replace}`)."),
    ];
    Found::Wrong(Wrong {
        bad: Bad::Warning,
        saw: format!("it is shown in {}", names.join(" and ")),
        remedy: steps,
        next,
    })
}
