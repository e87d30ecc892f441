//! `init`: from an env file, or from a few answers, to a commented configuration that `config check` accepts and `run` can start with.
//!
//! It never writes over anything, never leaves half a file, and never writes a secret. A token that could not be checked is no reason not to write:
//! what could not be learned stands in the file, with the reason.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, ErrorKind, IsTerminal as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, Gid};

use super::check::Pass;
use super::draft::{Draft, Learned, Wishes};
use super::env_file::Found;
use super::{Context, Exit, io, new_file};
use crate::advice::in_shell;
use crate::daemon::lifecycle::variable;
use crate::settings::{self, value};
use crate::store::sync_folder;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The application's env file, where the token stands. Without it, you are asked.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Where the configuration is written, `-` for standard output [default: the path of --config].
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// The mail address of whoever is on call.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The sender of the mails.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// The mail relay: smtp://user@host:587 or smtps://user@host:465. Its password is named in the file, not here.
    #[arg(long, value_name = "URL")]
    relay: Option<String>,
    /// The systemd unit that is restarted when the token is renewed.
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
}

/// Runs the command.
pub async fn run(context: &Context, arguments: &Arguments) -> Exit {
    match write(context, arguments).await {
        Ok(exit) | Err(exit) => exit,
    }
}

async fn write(context: &Context, arguments: &Arguments) -> Result<Exit, Exit> {
    let Arguments { env_file, output, .. } = arguments;
    let output = Output::new(output.as_deref().unwrap_or(&context.config));
    let wishes = arguments.wishes()?;
    // Before anybody is asked anything.
    output.is_free()?;
    let (found, wishes) = match env_file {
        Some(file) => (Found::read(file)?, wishes),
        None if std::io::stdin().is_terminal() => {
            let home = variable(&context.environment, "HOME").map(PathBuf::from);
            Questions { answers: std::io::stdin().lock(), screen: std::io::stderr(), home }.ask(wishes)?
        }
        None => {
            let why = "name the env file that holds the token with --env-file FILE; there is no terminal to ask for it";
            return Err(super::fail(Exit::Usage, why));
        }
    };
    if found.file.to_str().is_none() {
        return Err(super::fail(Exit::Usage, "the path of the env file is not UTF-8, so no configuration can name it"));
    }
    let pass = Pass::new(found.settings(context)?, context)?;
    let learned: Vec<Learned> = pass.check(&[]).await?.iter().map(Learned::of).collect();
    let draft = Draft::of(&found, &learned, &wishes, pass.now());
    let loaded = settings::from_text(&draft.text, &output.name(), &[]);
    let refused =
        |faults| format!("this is a fault of tokenwatch, and nothing was written; please report it:\n{faults}");
    loaded.map_err(|faults| super::fail(Exit::Internal, refused(faults)))?;
    match &output {
        Output::Screen => match io::print(&draft.text) {
            Exit::Fine => {}
            broken => return Err(broken),
        },
        Output::File(path) => put(path, &draft.text)?,
    }
    last_words(context, &output, &found, &draft);
    Ok(Exit::Fine)
}

impl Arguments {
    /// What is wished for on the command line. What is wrong there may hold a password, so it is not repeated as clap would.
    fn wishes(&self) -> Result<Wishes, Exit> {
        let read = |name: &str, value: &Option<String>, read: fn(&str) -> Result<String, String>| {
            let refused = |why| super::fail(Exit::Usage, format_args!("{name}: {why}"));
            value.as_deref().map(read).transpose().map_err(refused)
        };
        Ok(Wishes {
            email: read("--email", &self.email, email)?,
            from: read("--from", &self.from, email)?,
            relay: read("--relay", &self.relay, relay)?,
            unit: read("--unit", &self.unit, unit)?,
        })
    }
}

/// What is left to do, for the person at the terminal.
fn last_words(context: &Context, output: &Output, found: &Found, draft: &Draft) {
    let config = match output {
        Output::Screen => context.config.clone(),
        Output::File(path) => path.clone(),
    };
    let (shown, env_file) = (in_shell(&config), in_shell(&found.file));
    let mut text = String::new();
    for warning in &draft.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    if !found.others.is_empty() {
        text.push_str(&format!(
            "not in it, for only Meta's tokens are known by their keys: {}; docs/providers.md says how other tokens are watched\n",
            found.others.join(", ")
        ));
    }
    match output {
        Output::Screen => {
            text.push_str(&format!("nothing was written; save what was printed, as {shown} for example\n"));
        }
        Output::File(path) => {
            text.push_str(&format!("written: {}\n", path.display()));
            // Drop-ins and the environment have a say in what `run` sees.
            if let Err(faults) = settings::load(path, &context.environment) {
                text.push_str(&format!("warning: with what stands beside it, it is refused:\n{faults}\n"));
            }
        }
    }
    if !draft.edits.is_empty() {
        text.push_str("to edit, each marked with \"# EDIT:\":\n");
    }
    for (line, what) in &draft.edits {
        text.push_str(&format!("  line {line}: {what}\n"));
    }
    text.push_str(&format!(
        "the user that runs tokenwatch (`tokenwatch`, with the unit that comes with it) must be able to read both, and to enter their folders:\n  \
         setfacl -m u:tokenwatch:r {shown} {env_file}\n\
         then:\n  tokenwatch --config {shown} config check\n  tokenwatch --config {shown} doctor\n  tokenwatch --config {shown} run\n"
    ));
    say(&text);
}

/// Where the configuration goes.
enum Output {
    /// To standard output.
    Screen,
    /// Into a file of this absolute path.
    File(PathBuf),
}

impl Output {
    fn new(path: &Path) -> Self {
        if path == Path::new("-") {
            return Self::Screen;
        }
        Self::File(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
    }

    fn name(&self) -> String {
        match self {
            Self::Screen => "standard output".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Whether there is room for it: nothing stands there, and the folder is there.
    fn is_free(&self) -> Result<(), Exit> {
        let Self::File(path) = self else { return Ok(()) };
        // A link that leads nowhere is something, too.
        if fs::symlink_metadata(path).is_ok() {
            return Err(taken(path));
        }
        let folder = folder_of(path);
        match fs::metadata(folder) {
            Ok(found) if found.is_dir() => {
                let entered = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK);
                entered.map_err(|error| failed(path, &error.into()))
            }
            Ok(_) => {
                Err(super::fail(Exit::Warning, format_args!("{} is no folder; nothing was written", folder.display())))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let shown = in_shell(folder);
                let why = format!("there is no folder {}; make it with: mkdir -p {shown}", folder.display());
                Err(super::fail(Exit::Warning, why))
            }
            Err(error) => {
                let why = format!("the folder {} cannot be used: {error}; nothing was written", folder.display());
                Err(super::fail(Exit::Warning, why))
            }
        }
    }
}

/// Puts the text into a file that is there as a whole or not at all, and only where nothing is yet.
fn put(path: &Path, text: &str) -> Result<(), Exit> {
    let folder = folder_of(path);
    let temporary = Temporary::create(path, text).map_err(|error| failed(path, &error))?;
    new_file::give_name(&temporary.0, path).map_err(|error| failed(path, &error))?;
    if let Err(error) = sync_folder(path) {
        say(&format!("warning: the file may not outlive a crash: {}: {error}\n", folder.display()));
    }
    Ok(())
}

/// A whole file beside the place where it belongs; it goes with this value.
struct Temporary(PathBuf);

impl Temporary {
    fn create(path: &Path, text: &str) -> std::io::Result<Self> {
        let place = new_file::beside(path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&place).map_err(|error| {
            // What is in the way here is not the configuration.
            if error.kind() == ErrorKind::AlreadyExists {
                std::io::Error::other(format!("{} is in the way", place.display()))
            } else {
                error
            }
        })?;
        let temporary = Self(place);
        file.write_all(text.as_bytes())?;
        // Whoever may read the folder of the configuration should be able to read it; where the system refuses, the last words say what to do.
        if let Ok(folder) = fs::metadata(folder_of(path)) {
            let _ = rustix::fs::fchown(&file, None, Some(Gid::from_raw(folder.gid())));
        }
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
        file.sync_all()?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Where it was moved there is nothing to remove.
        let _ = fs::remove_file(&self.0);
    }
}

/// A conversation: what is asked on the screen, line by line.
struct Questions<R, W> {
    answers: R,
    screen: W,
    home: Option<PathBuf>,
}

impl<R: BufRead, W: Write> Questions<R, W> {
    /// Asks for the env file, and for each wish that is not known yet.
    fn ask(mut self, wishes: Wishes) -> Result<(Found, Wishes), Exit> {
        let found = loop {
            let answer = self.answer("the application's env file, where the token stands: ")?;
            if answer.is_empty() {
                continue;
            }
            // What is wrong with it was printed.
            if let Ok(found) = Found::read(&self.path(&answer)) {
                break found;
            }
        };
        let wishes = Wishes {
            email: self.wish(wishes.email, "mail address of whoever is on call (empty: later): ", email)?,
            from: self.wish(wishes.from, "sender of the mails (empty: later): ", email)?,
            relay: self.wish(wishes.relay, "mail relay, such as smtp://user@host:587 (empty: later): ", relay)?,
            unit: self.wish(wishes.unit, "systemd unit to restart after a renewal (empty: none): ", unit)?,
        };
        Ok((found, wishes))
    }

    fn wish(
        &mut self,
        known: Option<String>,
        question: &str,
        read: fn(&str) -> Result<String, String>,
    ) -> Result<Option<String>, Exit> {
        if known.is_some() {
            return Ok(known);
        }
        loop {
            let answer = self.answer(question)?;
            if answer.is_empty() {
                return Ok(None);
            }
            match read(&answer) {
                Ok(value) => return Ok(Some(value)),
                Err(why) => drop(writeln!(self.screen, "{why}")),
            }
        }
    }

    fn answer(&mut self, question: &str) -> Result<String, Exit> {
        let asked = write!(self.screen, "{question}").and_then(|()| self.screen.flush());
        let mut line = String::new();
        match asked.and_then(|()| self.answers.read_line(&mut line)) {
            Ok(0) => Err(super::fail(Exit::Usage, "there is no answer; nothing was written")),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(error) => {
                Err(super::fail(Exit::Usage, format_args!("the answer cannot be read: {error}; nothing was written")))
            }
        }
    }

    /// No shell has seen the answer, so a `~` is still in it.
    fn path(&self, answer: &str) -> PathBuf {
        match (answer.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(answer),
        }
    }
}

fn email(text: &str) -> Result<String, String> {
    value::email(text).map(|()| text.to_owned()).map_err(of_the_answer)
}

fn relay(text: &str) -> Result<String, String> {
    value::relay_url(text).map(|_| text.to_owned()).map_err(of_the_answer)
}

/// A fault as it is said to whoever just typed: what is not repeated needs a subject.
fn of_the_answer(fault: String) -> String {
    if fault.starts_with("is ") { format!("that {fault}") } else { fault }
}

fn unit(text: &str) -> Result<String, String> {
    value::unit(text).map(|()| text.to_owned())
}

fn taken(path: &Path) -> Exit {
    let why = "is there already and is left as it is; write elsewhere with --output PATH, or print with --output -";
    super::fail(Exit::Warning, format_args!("{} {why}", path.display()))
}

fn failed(path: &Path, error: &std::io::Error) -> Exit {
    let path_shown = path.display();
    match error.kind() {
        ErrorKind::AlreadyExists => taken(path),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            let why = "write it as a user who may, or elsewhere with --output PATH; nothing was written";
            super::fail(Exit::Warning, format_args!("{path_shown} cannot be written: {error}; {why}"))
        }
        _ => super::fail(Exit::TryAgain, format_args!("{path_shown} cannot be written: {error}; nothing was written")),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn say(text: &str) {
    // Where standard error is closed there is nobody left to tell.
    let _ = write!(std::io::stderr(), "{text}");
}

/// The daemon's group reads it; it names places of secrets, which are not everybody's business.
const MODE: u32 = 0o640;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(answers: &str, known: Wishes) -> (Result<Wishes, Exit>, String) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("app.env"), "WHATSAPP_TOKEN=EAAtoken\n").expect("a file is written");
        let mut screen = Vec::new();
        let home = Some(folder.path().to_owned());
        let questions = Questions { answers: answers.as_bytes(), screen: &mut screen, home };
        let wishes = questions.ask(known).map(|(_, wishes)| wishes);
        (wishes, String::from_utf8(screen).expect("text"))
    }

    #[test]
    fn every_answer_is_asked_for_until_it_can_be_used() {
        let answers = "\n~/nowhere.env\n  ~/app.env \nnobody\nsre@example.org\n\nsmtp://u:secret@mail\nsmtps://u@mail\nitsm\nitsm.service\n";
        let (wishes, screen) = asked(answers, Wishes::default());
        let text = |text: &str| Some(text.to_owned());
        let wanted = Wishes {
            email: text("sre@example.org"),
            from: None,
            relay: text("smtps://u@mail"),
            unit: text("itsm.service"),
        };
        assert_eq!(wishes, Ok(wanted));
        let times = |what: &str| screen.matches(what).count();
        assert_eq!(
            (times("env file"), times("on call"), times("sender"), times("mail relay"), times("systemd unit")),
            (3, 2, 1, 2, 2)
        );
        assert!(
            screen.contains("is no mail address") && screen.contains("itsm.service") && !screen.contains("secret"),
            "{screen}"
        );
    }

    #[test]
    fn what_is_known_is_not_asked_for() {
        let known = Wishes { email: Some("a@example.org".to_owned()), ..Wishes::default() };
        let (wishes, screen) = asked("~/app.env\n\n\n\n", known.clone());
        assert_eq!(wishes, Ok(known));
        assert!(!screen.contains("on call"), "{screen}");
    }

    #[test]
    fn no_answer_is_an_end() {
        for answers in ["", "~/app.env\n", "~/app.env\n\nnobody"] {
            assert_eq!(asked(answers, Wishes::default()).0, Err(Exit::Usage), "{answers:?}");
        }
    }

    #[test]
    fn what_comes_in_between_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("tokenwatch.toml");
        let first = Temporary::create(&path, "first").expect("a file beside it");
        new_file::give_name(&first.0, &path).expect("nothing is there yet");
        let second = Temporary::create(&path, "second").expect("a file beside it");
        assert_eq!(new_file::give_name(&second.0, &path).map_err(|error| error.kind()), Err(ErrorKind::AlreadyExists));
        drop((first, second));
        let names: Vec<_> =
            fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["tokenwatch.toml"]);
        assert_eq!(fs::read_to_string(&path).expect("a file"), "first");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o7777, 0o640);
    }
}
