//! Commands of the operator's, really run: what they are given, what is taken from them, and how they end. And confirmations, really asked for.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokenwatch::domain::time::Span;
use tokenwatch::renewal::sink::{self, Held, Put, SinkError, Swap};
use tokenwatch::renewal::{command, confirm, restart};
use tokenwatch::secret::Secret;
use tokenwatch::settings::Graph;
use tokenwatch::settings::delivery::{Command, Confirm, Question, Restart};
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use crate::support::hook::{Hook, Mood};
use crate::support::process::{PATIENCE, free_port, wait_until};
use crate::support::server::Server;

#[tokio::test]
async fn it_is_given_the_secret_and_little_else() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("got");
    let sent = secret(TOKEN);
    let said = command::run(&shell("cat >$GOT; pwd", 10), Some(&sent), &[("GOT", &text(&file))], &[]).await;
    assert_eq!(said.as_deref(), Ok("/"));
    assert_eq!(fs::read_to_string(&file).expect("a file"), TOKEN, "no line feed, no more, no less");

    let said = command::run(&argv(&["env"], 10), None, &[("EXTRA", "1")], &[]).await.expect("it runs");
    let mut names: Vec<&str> = said.split_whitespace().filter_map(|word| Some(word.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["EXTRA", "LANG", "PATH"], "{said}");

    assert_eq!(command::run(&argv(&["cat"], 10), None, &[], &[]).await.as_deref(), Ok(""), "/dev/null");
    let literal = command::run(&argv(&["echo", "$HOME; `id` *"], 10), None, &[], &[]).await;
    assert_eq!(literal.as_deref(), Ok("$HOME; `id` *"), "there is no shell");
}

#[tokio::test]
async fn each_end_has_its_words() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plain = folder.path().join("plain");
    fs::write(&plain, "x").expect("a file");
    for (command, words) in [
        (argv(&["no-such-program"], 10), "there is no no-such-program in PATH (/"),
        (argv(&["/nonexistent/program"], 10), "/nonexistent/program is not there"),
        (argv(&[&text(&plain)], 10), "may not be executed"),
        (argv(&["/bin/sh", "-c", "echo out; echo why >&2; exit 3"], 10), "it ended with exit status 3: why"),
        (argv(&["/bin/sh", "-c", "echo out; exit 4"], 10), "it ended with exit status 4: out"),
        (argv(&["false"], 10), "it ended with exit status 1"),
        (argv(&["/bin/sh", "-c", "kill -9 $$"], 10), "it was killed by signal 9"),
        (argv(&["/bin/sh", "-c", "echo busy; exec sleep 100"], 1), "it took longer than 1 second and was killed: busy"),
    ] {
        let error = command::run(&command, None, &[], &[]).await.expect_err("it fails");
        assert!(error.contains(words), "{command:?}: {error}");
    }
}

#[tokio::test]
async fn what_is_printed_is_bounded_and_redacted() {
    let sent = secret(TOKEN);
    let old = secret("the old one, of no known shape");
    let script = "cat; printf ' \\033[31mred\\a the old one, of no known shape'; exit 3";
    let error = command::run(&argv(&["/bin/sh", "-c", script], 10), Some(&sent), &[], &[&old]).await;
    assert_eq!(error.expect_err("it fails"), "it ended with exit status 3: ***  [31mred  ***");

    let script = "yes 0123456789 | head -c 3000000; echo; echo; echo the end; yes err | head -c 300000 >&2";
    let said = command::run(&argv(&["/bin/sh", "-c", script], 20), None, &[], &[]).await.expect("it is not stopped");
    assert!(said.ends_with("the end") && said.len() <= 400, "{said}");
}

#[tokio::test]
async fn a_command_may_leave_the_secret_unread() {
    let large = secret(&"x".repeat(500_000));
    assert_eq!(command::run(&argv(&["true"], 10), Some(&large), &[], &[]).await.as_deref(), Ok(""));
    let closed = argv(&["/bin/sh", "-c", "exec <&-; sleep 0.2; echo fine"], 10);
    assert_eq!(command::run(&closed, Some(&large), &[], &[]).await.as_deref(), Ok("fine"));
}

#[tokio::test]
async fn one_that_takes_too_long_dies_with_its_children() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("pids");
    let script =
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ >>$PIDS; sleep 100; sleep 100' & echo $$ >>$PIDS; wait; wait";
    let begun = Instant::now();
    let error = command::run(&shell(script, 1), None, &[("PIDS", &text(&file))], &[]).await;
    let error = error.expect_err("it takes too long");
    assert!(error.contains("took longer than 1 second"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let pids = fs::read_to_string(&file).expect("process ids");
    assert_eq!(pids.lines().count(), 2, "{pids}");
    wait_until("both to be gone", PATIENCE, || pids.lines().all(|pid| !lives(pid)));
}

#[tokio::test]
async fn one_that_nobody_waits_for_dies_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("pids");
    let command = shell("sh -c 'echo $$ >>$PIDS; sleep 100' & echo $$ >>$PIDS; wait", 100);
    let path = text(&file);
    let variables = [("PIDS", path.as_str())];
    let started = async {
        while fs::read_to_string(&file).map_or(0, |text| text.lines().count()) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        said = command::run(&command, None, &variables, &[]) => panic!("it ended: {said:?}"),
        started = timeout(PATIENCE, started) => started.expect("it starts"),
    }
    let pids = fs::read_to_string(&file).expect("process ids");
    wait_until("both to be gone", PATIENCE, || pids.lines().all(|pid| !lives(pid)));
}

#[tokio::test]
async fn what_it_leaves_in_the_background_lives_on() {
    let begun = Instant::now();
    let said = command::run(&argv(&["/bin/sh", "-c", "sleep 100 & echo $!"], 30), None, &[], &[]).await;
    let pid = said.expect("it ends at once");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(lives(&pid), "{pid}");
    let killed = std::process::Command::new("/bin/sh").args(["-c", &format!("kill -9 {pid}")]).status();
    assert!(killed.is_ok_and(|status| status.success()));
}

#[tokio::test]
async fn a_sink_and_a_restart_may_be_commands() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("sink");
    let (old, new) = (Held::Unknown, Held::Secret(secret(TOKEN)));
    let take = argv(&["dd", &format!("of={}", text(&file)), "status=none"], 10);
    assert_eq!(sink::run::put(&take, Swap { from: &old, to: &new }).await, Ok(Put::Written));
    assert_eq!(fs::read_to_string(&file).expect("a file"), TOKEN);
    for nothing in [Held::Nothing, Held::Unknown] {
        let refused = sink::run::put(&take, Swap { from: &new, to: &nothing }).await;
        assert!(matches!(refused, Err(SinkError::Refused(_))), "{refused:?}");
    }
    let failed = sink::run::put(&argv(&["/bin/sh", "-c", "cat >&2; exit 1"], 10), Swap { from: &old, to: &new }).await;
    assert_eq!(failed, Err(SinkError::Failed("it ended with exit status 1: ***".to_owned())));

    assert_eq!(restart::restart(&Restart::Run(argv(&["true"], 10)), &[]).await, Ok(()));
    let error = restart::restart(&Restart::Run(argv(&["false"], 10)), &[]).await;
    assert_eq!(error, Err("it ended with exit status 1".to_owned()));
}

#[tokio::test]
async fn a_confirmation_is_asked_for_until_it_comes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let count = folder.path().join("count");
    let script = "echo >>$0; [ $(wc -l <$0) -ge 2 ] || { echo not yet; exit 1; }";
    let patient = Confirm::Run(Command {
        argv: ["/bin/sh", "-c", script, &text(&count)].map(str::to_owned).into(),
        within: Span::seconds(30),
    });
    assert_eq!(confirm::confirm(&patient, &secret(TOKEN), &meta(1)).await, Ok(()));
    let never = confirm::confirm(&Confirm::Run(argv(&["false"], 2)), &secret(TOKEN), &meta(1)).await;
    assert!(never.is_err_and(|text| text.starts_with("it ended with exit status 1")));

    let (server, asked) = answering(&["503 Service Unavailable", "204 No Content", "500 Internal Server Error"], "");
    let http = |status, within| Confirm::Http {
        url: url::Url::parse(&format!("http://127.0.0.1:{}/health", server.port)).expect("a url"),
        question: Question::Get,
        status,
        ca_file: None,
        within: Span::seconds(within),
    };
    assert_eq!(confirm::confirm(&http(None, 30), &secret(TOKEN), &meta(1)).await, Ok(()));
    assert_eq!(asked.lock().expect("a list").len(), 2);
    let error = confirm::confirm(&http(Some(204), 2), &secret(TOKEN), &meta(1)).await.expect_err("it never is");
    assert_eq!(error, "it answers with status 500, not 204 (the last answer within 2 seconds)");

    let silent = Server::start(|mut stream| _ = stream.read_to_end(&mut Vec::new()));
    let url = url::Url::parse(&format!("http://127.0.0.1:{}/", silent.port)).expect("a url");
    let begun = Instant::now();
    let hanging = Confirm::Http { url, question: Question::Get, status: None, ca_file: None, within: Span::seconds(2) };
    let error = confirm::confirm(&hanging, &secret(TOKEN), &meta(1)).await.expect_err("nobody answers");
    assert!(error.starts_with("no answer in time"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

/// Each POST may reach a person, so what was refused is not sent again at once, and nobody is cut off early.
#[tokio::test]
async fn a_post_is_sent_rarely_and_until_the_first_good_answer() {
    let hook = Hook::start();
    let asked = |question| Confirm::Http {
        url: url::Url::parse(&hook.url("/api/whatsapp/send?trace=1")).expect("a url"),
        question,
        status: Some(200),
        ca_file: None,
        within: Span::seconds(30),
    };
    hook.set(Mood::Answer(500));
    let confirm = asked(Question::Post { json: Some(BODY.into()) });
    let begun = Instant::now();
    let (secret, meta) = (secret(TOKEN), meta(1));
    let confirming = confirm::confirm(&confirm, &secret, &meta);
    let turn = async {
        while hook.calls().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        hook.set(Mood::Answer(200));
    };
    let (confirmed, ()) = tokio::join!(confirming, turn);
    assert_eq!(confirmed, Ok(()));
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    let calls = hook.calls();
    assert_eq!(calls.len(), 2);
    for call in &calls {
        assert_eq!((call.line.as_str(), call.body.as_str()), ("POST /api/whatsapp/send?trace=1", BODY));
        assert_eq!(call.header("content-type"), "application/json");
        assert!(call.headers.values().all(|value| !value.contains(TOKEN)), "{:?}", call.headers);
    }
    assert_eq!(confirm::confirm(&asked(Question::Post { json: None }), &secret, &meta).await, Ok(()));
    assert_eq!(confirm::confirm(&asked(Question::Get), &secret, &meta).await, Ok(()));
    for (call, method) in hook.calls()[2..].iter().zip(["POST", "GET"]) {
        assert_eq!((call.line.as_str(), call.body.as_str()), (&*format!("{method} /api/whatsapp/send?trace=1"), ""));
        assert_eq!(call.header("content-type"), "");
    }
}

#[tokio::test]
async fn who_asks_once_is_told_what_was_seen() {
    let hook = Hook::start();
    let port = hook.port;
    let asked = |port: u16, question, status| Confirm::Http {
        url: url::Url::parse(&format!("http://127.0.0.1:{port}/send?code=1")).expect("a url"),
        question,
        status,
        ca_file: None,
        within: Span::seconds(1),
    };
    let post = || Question::Post { json: Some(BODY.into()) };
    let (secret, meta) = (secret(TOKEN), meta(1));
    let once = async |confirm: Confirm| confirm::try_once(&confirm, Some(&secret), &meta).await;
    let said = |words: &str| words.replace("PORT", &port.to_string());
    let fine = once(asked(port, post(), Some(200))).await;
    assert_eq!(fine, Ok(said("POST http://127.0.0.1:PORT/send answers with status 200")));
    // What the application says of itself is nobody's business.
    hook.set(Mood::Quote(500));
    let wrong = once(asked(port, post(), Some(200))).await;
    assert_eq!(wrong, Err(said("POST http://127.0.0.1:PORT/send answers with status 500, not 200")));
    let wrong = once(asked(port, Question::Get, None)).await;
    assert_eq!(wrong, Err(said("http://127.0.0.1:PORT/send answers with status 500")));
    assert_eq!(hook.calls().len(), 3, "each was sent once");
    hook.set(Mood::Hang);
    let begun = Instant::now();
    for question in [post(), Question::Get] {
        let silent = once(asked(port, question, None)).await.expect_err("nobody answers");
        assert!(silent.contains("/send: no answer in time"), "{silent}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let refused = once(asked(free_port(), post(), None)).await.expect_err("nobody listens");
    assert!(refused.contains("/send: no connection"), "{refused}");

    assert_eq!(
        once(Confirm::Run(argv(&["true"], 10))).await,
        Ok("the command true ended with exit status 0".to_owned())
    );
    let told = once(Confirm::Run(argv(&["/bin/sh", "-c", &format!("echo {TOKEN}; exit 3")], 10))).await;
    assert_eq!(told, Err("the command /bin/sh ended with exit status 3: ***".to_owned()));
    let missing = once(Confirm::Run(argv(&["no-such-program"], 10))).await.expect_err("it is not there");
    assert!(missing.starts_with("the command no-such-program: there is no no-such-program in PATH"), "{missing}");

    let number = Confirm::WhatsApp { phone_number_id: "106540352242922".into(), within: Span::seconds(10) };
    let (server, asked) = answering(&["200 OK"], r#"{"id":"106540352242922"}"#);
    let known = confirm::try_once(&number, Some(&secret), &self::meta(server.port)).await;
    assert_eq!(known, Ok("the WhatsApp number 106540352242922 is known to Meta".to_owned()));
    let nobody = confirm::try_once(&number, None, &self::meta(server.port)).await;
    let words = "the WhatsApp number 106540352242922: nobody can ask about it without the token";
    assert_eq!(nobody, Err(words.to_owned()));
    assert_eq!(asked.lock().expect("a list").len(), 1);
}

#[tokio::test]
async fn whatsapp_tells_about_the_number_or_says_why_not() {
    let number =
        |within| Confirm::WhatsApp { phone_number_id: "106540352242922".into(), within: Span::seconds(within) };
    let (server, asked) =
        answering(&["500 Internal Server Error", "200 OK"], r#"{"id":"106540352242922","status":"CONNECTED"}"#);
    assert_eq!(confirm::confirm(&number(30), &secret(TOKEN), &meta(server.port)).await, Ok(()));
    let requests = asked.lock().expect("a list").clone();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        let (line, headers) = request.split_once("\r\n").expect("a request");
        assert_eq!(line, "GET /v23.0/106540352242922?fields=id%2Cverified_name%2Cstatus HTTP/1.1");
        assert!(headers.contains(&format!("authorization: Bearer {TOKEN}\r\n")), "{headers}");
    }

    let body = format!(r#"{{"error":{{"code":190,"message":"Malformed access token {TOKEN}"}}}}"#);
    let (server, asked) = answering(&["401 Unauthorized"], &body);
    let error = confirm::confirm(&number(60), &secret(TOKEN), &meta(server.port)).await.expect_err("it is dead");
    assert_eq!(error, "Meta refuses (code 190): Malformed access token ***");
    assert_eq!(asked.lock().expect("a list").len(), 1, "a dead token stays dead");
}

/// A server that gives these answers in turn, the last one for ever, and what it was asked.
fn answering(statuses: &[&str], body: &str) -> (Server, Arc<Mutex<Vec<String>>>) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (statuses, body, list) =
        (statuses.iter().map(|&status| status.to_owned()).collect::<Vec<_>>(), body.to_owned(), Arc::clone(&asked));
    let server = Server::start(move |mut stream: TcpStream| {
        let mut request = Vec::new();
        let mut chunk = [0; 1024];
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut chunk) {
                Ok(count @ 1..) => request.extend_from_slice(&chunk[..count]),
                _ => return,
            }
        }
        let turn = {
            let mut list = list.lock().expect("a list");
            list.push(String::from_utf8_lossy(&request).into_owned());
            list.len()
        };
        let status = &statuses[(turn - 1).min(statuses.len() - 1)];
        let body = if status.starts_with("204") { "" } else { &body };
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all((head + body).as_bytes());
    });
    (server, asked)
}

fn meta(port: u16) -> Graph {
    let base_url = url::Url::parse(&format!("http://127.0.0.1:{port}")).expect("a url");
    Graph { base_url, version: "v23.0".to_owned(), timeout: Span::seconds(5), ca_file: None }
}

/// A script.
fn shell(script: &str, within: i64) -> Command {
    argv(&["/bin/sh", "-c", script], within)
}

fn argv(words: &[&str], within: i64) -> Command {
    Command { argv: words.iter().map(|&word| word.to_owned()).collect(), within: Span::seconds(within) }
}

fn secret(text: &str) -> Secret {
    Secret::new(Zeroizing::new(text.to_owned()))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Whether a process runs; one that only waits to be reaped does not.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// What an application is asked to send.
const BODY: &str = r#"{"ticketId":"TEST","to":"+15550001111"}"#;
/// Of no shape that is known.
const TOKEN: &str = "correct-horse-battery";
