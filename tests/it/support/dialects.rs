//! Env files in every dialect, and the programs that really read them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use tokenwatch::settings::delivery::Dialect;

use super::process::program;

/// An env file, a new value for the key `T`, and the file as it must be then; none where it must be refused.
#[derive(Debug)]
pub struct Case {
    /// Who reads it.
    pub dialect: Dialect,
    /// The file.
    pub before: &'static str,
    /// The new value.
    pub new: &'static str,
    /// The file afterwards.
    pub after: Option<&'static str>,
}

const fn case(dialect: Dialect, before: &'static str, new: &'static str, after: &'static str) -> Case {
    Case { dialect, before, new, after: Some(after) }
}

const fn refused(dialect: Dialect, before: &'static str, new: &'static str) -> Case {
    Case { dialect, before, new, after: None }
}

/// Files that people write.
pub const CASES: &[Case] = &[
    // What all read alike.
    case(Dialect::Any, "A=1\nT=old\nB=2\n", "new", "A=1\nT=new\nB=2\n"),
    case(Dialect::Any, "T=old", "EAAB0z_-.:/@%+,=", "T=EAAB0z_-.:/@%+,="),
    case(
        Dialect::Any,
        "# T=no\n\n#T=no\nT=old\nTT=1\nT_T=2\nXT=3\n",
        "new",
        "# T=no\n\n#T=no\nT=new\nTT=1\nT_T=2\nXT=3\n",
    ),
    case(Dialect::Any, "T=first\nA=1\nT=old\nB=2\n", "new", "T=first\nA=1\nT=new\nB=2\n"),
    case(Dialect::Any, "A=1\nT=\nB=2\n", "new", "A=1\nT=new\nB=2\n"),
    case(Dialect::Any, "T=old\nA=1\n", "", "T=\nA=1\n"),
    case(Dialect::Any, "A=1\r\nT=old\r\nB=2\r\n", "new", "A=1\r\nT=new\r\nB=2\r\n"),
    case(Dialect::Any, "A=x=y\nT=a=b==\n", "c=d==", "A=x=y\nT=c=d==\n"),
    case(Dialect::Any, "export T=old\nexport A=1\n", "new", "export T=new\nexport A=1\n"),
    case(Dialect::Any, "T=\"old\" # note\nA='1'\n", "new", "T=\"new\" # note\nA='1'\n"),
    case(Dialect::Any, "T='old'\nA=1\n", "a$b#c d\\e", "T='a$b#c d\\e'\nA=1\n"),
    case(Dialect::Any, "T=\"\"\nA=1\n", "new", "T=new\nA=1\n"),
    case(Dialect::Any, "A=\"one\nT=no\ntwo\"\nT=old\n", "new", "A=\"one\nT=no\ntwo\"\nT=new\n"),
    case(Dialect::Any, "T=old\nA='one\nT=no\n'\n", "new", "T=new\nA='one\nT=no\n'\n"),
    case(Dialect::Any, "\u{feff}A=1\nT=old\n", "new", "\u{feff}A=1\nT=new\n"),
    case(Dialect::Any, "  T = old # note\n  A = 1\n", "new", "  T = new # note\n  A = 1\n"),
    case(Dialect::Any, "T=\"ünïcode\"\nA=é\n", "schlüssel", "T=\"schlüssel\"\nA=é\n"),
    refused(Dialect::Any, "T=old\n", "a b"),
    refused(Dialect::Any, "T=old\n", "a#b"),
    refused(Dialect::Any, "T=old\n", "a$b"),
    refused(Dialect::Any, "T=old\n", "a'b"),
    refused(Dialect::Any, "T=old\n", "a|b"),
    refused(Dialect::Any, "T=old\n", "a\nb"),
    refused(Dialect::Any, "T=\"old\"\n", "a$b`c'd"),
    // Node.
    case(Dialect::Dotenv, "T=old # note\nA=1\n", "a#b", "T=\"a#b\" # note\nA=1\n"),
    case(Dialect::Dotenv, "T=old\nA=1\n", "say \"hi\"", "T=say \"hi\"\nA=1\n"),
    case(Dialect::Dotenv, "T=`old`\nA=1\n", "it's \"so\" #1", "T=`it's \"so\" #1`\nA=1\n"),
    case(Dialect::Dotenv, "T='old'\nA=\"x\\ny\"\n", "a\\nb", "T='a\\nb'\nA=\"x\\ny\"\n"),
    case(Dialect::Dotenv, "A=\"one\nT=no\ntwo\"\nT=old\n", "a\nb", "A=\"one\nT=no\ntwo\"\nT=\"a\nb\"\n"),
    case(Dialect::Dotenv, "T=$old\nA=1\n", "$new", "T=$new\nA=1\n"),
    refused(Dialect::Dotenv, "T=old\nT: older\n", "new"),
    refused(Dialect::Dotenv, "T=old\n", "#'\"`"),
    // Python.
    case(Dialect::Python, "T=old#1 # note\nA=1\n", "new#2", "T=new#2 # note\nA=1\n"),
    case(Dialect::Python, "T=\"old\"\nA=1\n", "a\"b\\c", "T=\"a\\\"b\\\\c\"\nA=1\n"),
    case(Dialect::Python, "export T='old'\nA=1\n", "it's", "export T=it's\nA=1\n"),
    case(Dialect::Python, "T=old\nA=1\n", "a #b", "T=\"a #b\"\nA=1\n"),
    case(Dialect::Python, "'T'=x\nT=old\nA=1\n", "$b", "'T'=x\nT=$b\nA=1\n"),
    refused(Dialect::Python, "T='old'\n", "a${HOME}"),
    // Ruby.
    case(Dialect::Ruby, "T=old # note\nA=1\n", "a#b", "T=\"a#b\" # note\nA=1\n"),
    case(Dialect::Ruby, "T=\"old\"\nA=1\n", "a$b", "T=\"a\\$b\"\nA=1\n"),
    case(Dialect::Ruby, "T='old'\nA=1\n", "$(false)", "T='$(false)'\nA=1\n"),
    refused(Dialect::Ruby, "T=old\n", "a\nb"),
    // systemd.
    case(Dialect::Systemd, "; note\nT=old\nA=1\n", "a#b", "; note\nT=a#b\nA=1\n"),
    case(Dialect::Systemd, "T=\"old\"\nA=1\n", "a\"b\\c$d`e", "T=\"a\\\"b\\\\c\\$d\\`e\"\nA=1\n"),
    case(Dialect::Systemd, "A=one\\\nT=no\nT=old\n", "new", "A=one\\\nT=no\nT=new\n"),
    case(Dialect::Systemd, "T = old \nA=1\n", "it's", "T = it's \nA=1\n"),
    case(Dialect::Systemd, "T=old\nA='x\nT=no'\n", "a b", "T=a b\nA='x\nT=no'\n"),
    refused(Dialect::Systemd, "export T=old\n", "new"),
    refused(Dialect::Systemd, "T='ol'd\nA=1\n", "new"),
    refused(Dialect::Systemd, "T=\"old\nA=1\n", "new"),
    refused(Dialect::Systemd, "A=one\\\nT=old\n", "new"),
    // Docker.
    case(Dialect::Docker, "A='1'\nT=old\nB=2 # no note\n", "a b#c$d'e\"", "A='1'\nT=a b#c$d'e\"\nB=2 # no note\n"),
    case(Dialect::Docker, "T=\"old\"\nA=1\n", "new", "T=new\nA=1\n"),
    case(Dialect::Docker, "\u{feff}T=old\r\nA=1", "new", "\u{feff}T=new\r\nA=1"),
    refused(Dialect::Docker, "T=old\n", "a\nb"),
    refused(Dialect::Docker, "T=old # note\n", "new"),
    refused(Dialect::Docker, "export T=old\n", "new"),
    // A shell.
    case(Dialect::Shell, "T=old # note\nexport A=1 B='2 3'\n", "a#b", "T=a#b # note\nexport A=1 B='2 3'\n"),
    case(Dialect::Shell, "T=\"old\"\nA=$T\n", "a\"b\\c$d`e", "T=\"a\\\"b\\\\c\\$d\\`e\"\nA=$T\n"),
    case(Dialect::Shell, "A=one\\\nT=no\nT=old\n", "a|b;c&d", "A=one\\\nT=no\nT=\"a|b;c&d\"\n"),
    case(Dialect::Shell, "T='old'\nA=1\n", "it's", "T=\"it's\"\nA=1\n"),
    case(Dialect::Shell, "T=old\nA=1\n", "~/x", "T=\"~/x\"\nA=1\n"),
    refused(Dialect::Shell, "T = old\n", "new"),
    refused(Dialect::Shell, "T=old\r\n", "new"),
    refused(Dialect::Shell, "if true; then\nT=old\nfi\n", "new"),
    refused(Dialect::Shell, "T=old\nunset T\n", "new"),
];

/// A program that reads env files, as it is installed here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Real {
    /// The package dotenv.
    Dotenv,
    /// The parser of `node --env-file`.
    Node,
    /// python-dotenv.
    Python,
    /// The gem dotenv in the version of Debian. The registry of gems is not asked, so versions from 2.8 on, which read quotes over several
    /// lines, are known by their source alone.
    Ruby,
    /// The library that systemd reads `EnvironmentFile=` with.
    Systemd,
    /// docker's client, talking to a server that notes what it is sent.
    Docker,
    /// bash.
    Bash,
    /// dash.
    Dash,
}

/// The keys and values that a program reads; none where it takes no such file.
pub type Values = Option<BTreeMap<String, String>>;

impl Real {
    /// Every program.
    pub const ALL: [Self; 8] =
        [Self::Dotenv, Self::Node, Self::Python, Self::Ruby, Self::Systemd, Self::Docker, Self::Bash, Self::Dash];

    /// The programs of a dialect.
    pub fn of(dialect: Dialect) -> Vec<Self> {
        match dialect {
            Dialect::Any => Self::ALL.to_vec(),
            Dialect::Dotenv => vec![Self::Dotenv, Self::Node],
            Dialect::Python => vec![Self::Python],
            Dialect::Ruby => vec![Self::Ruby],
            Dialect::Systemd => vec![Self::Systemd],
            Dialect::Docker => vec![Self::Docker],
            Dialect::Shell => vec![Self::Bash, Self::Dash],
        }
    }

    /// Has it read each of these files.
    pub fn read(self, texts: &[String]) -> Vec<Values> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files: Vec<PathBuf> = (0..texts.len()).map(|n| folder.path().join(format!("{n}.env"))).collect();
        for (file, text) in files.iter().zip(texts) {
            fs::write(file, text).expect("a file is written");
        }
        let node = || Command::new(tool("node/node"));
        match self {
            Self::Dotenv => all(node().args(["-e", DOTENV]).env("NODE_PATH", tool("node/node_modules")), &files),
            Self::Node => all(node().args(["-e", NODE]), &files),
            Self::Python => all(Command::new(tool("python/bin/python")).args(["-c", PYTHON]), &files),
            Self::Ruby => all(Command::new(program(&["ruby"])).args(["-e", RUBY]), &files),
            Self::Systemd => all(Command::new(tool("python/bin/python")).args(["-c", SYSTEMD]), &files),
            Self::Docker => docker(folder.path(), &files),
            Self::Bash => files.iter().map(|file| shell("bash", file)).collect(),
            Self::Dash => files.iter().map(|file| shell("dash", file)).collect(),
        }
    }
}

/// Runs a program that prints a line of JSON for each of the files.
fn all(command: &mut Command, files: &[PathBuf]) -> Vec<Values> {
    let list = files.iter().map(|file| format!("{}\n", file.display())).collect::<String>();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("a pipe").write_all(list.as_bytes()).expect("it listens");
    let output = child.wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "run tests/tools.sh, which installs what is read with: {words}");
    let lines: Vec<Values> =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), files.len(), "{words}");
    lines
}

fn shell(name: &str, file: &Path) -> Values {
    let mut command = Command::new(program(&[name]));
    let command = command.env_clear().args(["-c", "set -a; . \"$0\" && exec /usr/bin/env -0"]).arg(file);
    let output = command.stdin(Stdio::null()).output().expect("the shell runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    let own = ["PWD", "OLDPWD", "SHLVL", "_", "PATH"];
    let pairs = pairs.filter(|(key, _)| !own.contains(key)).map(|(key, value)| (key.to_owned(), value.to_owned()));
    output.status.success().then(|| pairs.collect())
}

/// The client sends what it read to its server, when a container is to be made.
fn docker(folder: &Path, files: &[PathBuf]) -> Vec<Values> {
    let socket = folder.join("docker.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let read = |file: &PathBuf| {
        let listener = listener.try_clone().expect("a second handle");
        let server = thread::spawn(move || created(&listener));
        let mut command = Command::new(program(&["docker"]));
        let command = command.env("HOME", folder).arg("--host").arg(format!("unix://{}", socket.display()));
        let output = command.args(["create", "--env-file"]).arg(file).arg("image").output().expect("docker runs");
        if !output.status.success() {
            // The client refused the file and asks for nothing: whoever comes now and says nothing ends the wait.
            drop(UnixStream::connect(&socket));
        }
        let body = server.join().expect("the server ends");
        let list = body.as_ref().map(|body| body["Env"].as_array().cloned().unwrap_or_default());
        assert_eq!(output.status.success(), list.is_some(), "{}", String::from_utf8_lossy(&output.stderr));
        let list = list?;
        let pairs = list.iter().filter_map(|pair| pair.as_str()?.split_once('='));
        Some(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    };
    files.iter().map(read).collect()
}

/// Answers as docker's server does until a container was made, or somebody came who says nothing.
fn created(listener: &UnixListener) -> Option<serde_json::Value> {
    loop {
        let (stream, _) = listener.accept().expect("a client");
        let mut reader = BufReader::new(stream);
        let mut silent = true;
        loop {
            let (mut first, mut length, mut line) = (String::new(), 0, String::new());
            reader.read_line(&mut first).expect("a request");
            if first.is_empty() {
                break;
            }
            silent = false;
            while reader.read_line(&mut line).expect("a header") > 2 {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let create = first.contains("/containers/create");
            let answer = if create { "{\"Id\":\"x\",\"Warnings\":[]}" } else { "" };
            let status = if create { "201 Created" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n");
            let whole = format!("{head}Content-Length: {}\r\n\r\n{answer}", answer.len());
            reader.get_mut().write_all(whole.as_bytes()).expect("the client reads");
            if create {
                return Some(serde_json::from_slice(&body).expect("JSON"));
            }
        }
        if silent {
            return None;
        }
    }
}

/// What `tests/tools.sh` installed under that name.
pub fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(name);
    assert!(path.exists(), "{} is missing; run tests/tools.sh, which installs it", path.display());
    path
}

const DOTENV: &str = "
const fs = require('fs'), dotenv = require('dotenv');
for (const file of fs.readFileSync(0, 'utf8').trim().split('\\n'))
  console.log(JSON.stringify(dotenv.parse(fs.readFileSync(file))));
";
const NODE: &str = "
const fs = require('fs'), util = require('util');
for (const file of fs.readFileSync(0, 'utf8').trim().split('\\n'))
  console.log(JSON.stringify(util.parseEnv(fs.readFileSync(file, 'utf8'))));
";
const PYTHON: &str = "
import sys, json, dotenv
for file in sys.stdin.read().split():
    print(json.dumps({k: v for k, v in dotenv.dotenv_values(file).items() if v is not None}))
";
const RUBY: &str = "
require 'dotenv'
require 'json'
$stdin.each_line do |file|
  begin
    puts Dotenv::Environment.new(file.chomp, false).to_h.to_json
  rescue Dotenv::FormatError
    puts 'null'
  end
end
";
/// What the service manager calls for each `EnvironmentFile=`; it leaves out what is no name of a variable.
const SYSTEMD: &str = "
import ctypes, glob, json, re, sys
library = ctypes.CDLL(glob.glob('/usr/lib/*/systemd/libsystemd-shared-*.so')[0])
for file in sys.stdin.read().split():
    pairs = ctypes.POINTER(ctypes.c_char_p)()
    if library.load_env_file(None, file.encode(), ctypes.byref(pairs)) < 0:
        print('null')
        continue
    values, n = {}, 0
    while pairs and pairs[n] is not None:
        key, value = pairs[n].decode().split('=', 1)
        n += 1
        if re.fullmatch('[A-Za-z_][A-Za-z0-9_]*', key):
            values[key] = value
    print(json.dumps(values))
";
