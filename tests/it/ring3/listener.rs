//! The listener as strangers meet it: TLS with files that change under it, users, client certificates, and clients that are slow, large, wrong
//! or ten thousand.
//!
//! The certificates are OpenSSL's, the scrape is a real Prometheus', and the web configuration files are held against the real promtool.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::time::Instant;

use crate::support::authority::Authority;
use crate::support::process::{Daemon, PATIENCE, Stage, TOKENWATCH, free_port, get, program, wait_for, wait_until};
use crate::support::prometheus::Prometheus;

/// Every kind of page, and one that is not there.
const PAGES: [&str; 9] = [
    "/",
    "/metrics",
    "/tokens/helpdesk",
    "/api/v1/tokens",
    "/api/v1/tokens/helpdesk",
    "/api/v1/status",
    "/healthz",
    "/readyz",
    "/nowhere",
];
const PASSWORD: &str = "correct-horse:battery staple";
const WRONG: &str = "wrong-horse-wrong-staple";

#[test]
fn pages_are_for_users_over_tls_and_prometheus_is_one() {
    let authority = Authority::new();
    let mut stage = Stage::new();
    stage.environment.insert("RUST_LOG".to_owned(), "trace".to_owned());
    let token = stage.issue_healthy();
    stage.write_env(&[("TOKEN", &token)]);
    put(&stage, &authority.issue("server", LOCALHOST));
    let users = format!("basic_auth_users:\n  alice: {}\n  prometheus: {}\n", hash(PASSWORD, 5), hash("scrape", 7));
    let web = stage.write("web.yml", &(TLS.to_owned() + &users));
    promtool_accepts(&web);
    configure(&stage, "open_probes = false\n");
    assert_eq!(stage.run(&["config", "check"]).code, 0);
    let daemon = stage.start();

    let alice = Visitor::trusting(&authority).named("alice", PASSWORD);
    wait_until("the first pass", PATIENCE, || alice.ask(stage.port, "/readyz").is_ok_and(|(status, _)| status == 200));
    for page in PAGES {
        let (status, _) = alice.ask(stage.port, page).expect("an answer");
        assert_eq!(status, if page == "/nowhere" { 404 } else { 200 }, "{page}");
        let (status, body) = Visitor::trusting(&authority).ask(stage.port, page).expect("an answer");
        assert_eq!((status, body.as_str()), (401, "a user and a password are needed\n"), "{page} without a user");
    }
    for (user, password) in [("alice", WRONG), ("alice", ""), ("eve", PASSWORD), ("prometheus", PASSWORD), ("", "")] {
        let visitor = Visitor::trusting(&authority).named(user, password);
        let (status, _) = visitor.ask(stage.port, "/metrics").expect("an answer");
        assert_eq!(status, 401, "{user:?} with {password:?}");
    }
    // Who trusts another authority does not get through, and who speaks in the clear is told so.
    let stranger = Visitor::trusting(&Authority::new()).ask(stage.port, "/metrics").expect_err("it is not trusted");
    assert!(stranger.contains("InvalidCertificate"), "{stranger}");
    let (status, body) = get(stage.port, "/healthz").expect("an answer");
    assert_eq!((status, body.as_str()), (400, "this address speaks HTTPS; write https:// for http://\n"));

    // What was refused is counted: five logins, an authority that was not trusted, and HTTP on the port of HTTPS.
    let metrics = || alice.ask(stage.port, "/metrics").expect("an answer").1;
    for (series, value) in [
        ("tokenwatch_listener_refused_logins_total{reason=\"wrong\"}", "5"),
        ("tokenwatch_listener_closed_total{reason=\"tls\"}", "2"),
        ("tokenwatch_listener_closed_total{reason=\"displaced\"}", "0"),
    ] {
        wait_until(series, PATIENCE, || metrics().contains(&format!("{series} {value}\n")));
    }

    // A real Prometheus, with a user of its own. Its first login comes after some wrong ones.
    let prometheus = Prometheus::start(&format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: tokenwatch\n  scheme: https\n  \
         tls_config: {{ca_file: {}}}\n  basic_auth: {{username: prometheus, password: scrape}}\n  \
         static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
        authority.file().display(),
        stage.port
    ));
    assert!(
        !prometheus.wait_query("tokenwatch_token_verdict{token=\"helpdesk\", verdict=\"healthy\"} == 1").is_empty()
    );

    // Who goes on guessing is not even listened to; who was right before is not kept out by that.
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(Visitor::trusting(&authority).named("alice", WRONG).ask(stage.port, "/").expect("an answer").0);
    }
    assert_eq!(answers.last(), Some(&429), "{answers:?}");
    assert_eq!(alice.ask(stage.port, "/").expect("an answer").0, 200);

    let pages: String = PAGES.iter().map(|page| alice.ask(stage.port, page).expect("an answer").1).collect();
    assert_eq!(daemon.stop(), 0);
    let log = stage.log();
    assert!(log.contains("a login at the listener was wrong"), "nobody hears of guesses");
    assert!(log.contains("DEBUG"), "the log is not at its most talkative");
    for (place, text) in [("the log", log.into_bytes()), ("a page", pages.into_bytes()), ("the state", state(&stage))] {
        for user in ["alice", "eve", "prometheus"] {
            for secret in [PASSWORD, WRONG, "scrape"] {
                let sent = STANDARD.encode(format!("{user}:{secret}"));
                assert!(!holds(&text, sent.as_bytes()), "{place} holds a login");
            }
        }
        // One of the passwords is an ordinary word.
        for secret in [PASSWORD, WRONG, "$2b$", "$2y$"] {
            assert!(!holds(&text, secret.as_bytes()), "{place} holds {secret}");
        }
    }
}

#[test]
fn probes_stay_open_when_asked_so_and_say_no_more_than_yes_or_no() {
    let stage = Stage::new();
    let token = stage.issue_healthy();
    stage.write_env(&[("TOKEN", &token)]);
    stage.write("web.yml", &format!("basic_auth_users:\n  alice: {}\n", hash(PASSWORD, 4)));
    configure(&stage, "open_probes = true\n");
    let daemon = stage.start();
    wait_until("readiness", PATIENCE, || daemon.get("/readyz").is_some_and(|(status, _)| status == 200));
    assert_eq!(daemon.get("/readyz"), Some((200, "ok\n".to_owned())));
    assert_eq!(daemon.get("/healthz"), Some((200, "ok\n".to_owned())));
    let alice = Visitor::in_the_clear().named("alice", PASSWORD);
    let (_, whole) = alice.ask(stage.port, "/readyz").expect("an answer");
    assert!(whole.contains("first pass: done"), "{whole}");
    for page in PAGES.into_iter().filter(|page| !page.ends_with('z')) {
        assert_eq!(daemon.get(page).map(|(status, _)| status), Some(401), "{page}");
    }
    // The command on the machine needs no user.
    assert_eq!(stage.run(&["status"]).code, 0);
    // Users that are taken away are out at the next request of a connection that stands.
    let mut line = alice.line(stage.port).expect("a connection");
    assert_eq!(line.ask("/").expect("an answer").0, 200);
    stage.write("web.yml", &format!("basic_auth_users:\n  bob: {}\n", hash(PASSWORD, 4)));
    wait_until("the new users", PATIENCE, || {
        Visitor::in_the_clear().named("bob", PASSWORD).ask(stage.port, "/").is_ok_and(|(status, _)| status == 200)
    });
    assert_eq!(line.ask("/").expect("an answer").0, 401);
    // A file that is half edited does not open the door to everybody; a reload does.
    stage.write("web.yml", "http_server_config: {http2: false}\n");
    wait_until("a refusal", PATIENCE, || stage.log().contains("basic_auth_users is gone, so everybody could read"));
    assert_eq!(daemon.get("/").map(|(status, _)| status), Some(401));
    daemon.hup();
    wait_until("everybody to be let in", PATIENCE, || daemon.get("/").is_some_and(|(status, _)| status == 200));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_certificate_is_replaced_under_connections_that_stand() {
    let authority = Authority::new();
    let stage = Stage::new();
    let token = stage.issue_healthy();
    stage.write_env(&[("TOKEN", &token)]);
    let first = authority.issue("first", LOCALHOST);
    let second = authority.issue("second", LOCALHOST);
    put(&stage, &first);
    stage.write("web.yml", TLS);
    configure(&stage, "");
    let daemon = stage.start();
    let visitor = Visitor::trusting(&authority);
    let readiness =
        || visitor.ask(stage.port, "/readyz").ok().filter(|(status, _)| *status == 200).map(|(_, body)| body);
    wait_for("readiness", PATIENCE, readiness);
    let shown = || visitor.line(stage.port).expect("a connection").certificate();
    let [first_shown, second_shown] =
        [&first, &second].map(|(path, _)| CertificateDer::from_pem_file(path).expect("PEM"));
    assert_eq!(shown(), first_shown);
    let mut old = visitor.line(stage.port).expect("a connection");
    assert_eq!(old.ask("/healthz").expect("an answer").0, 200);

    put(&stage, &second);
    wait_until("the new certificate", PATIENCE, || shown() == second_shown);
    assert_eq!(old.ask("/healthz").expect("the old connection lives").0, 200);
    assert_eq!(old.certificate(), first_shown);

    // What cannot be used, or would let in more than before, is told with its place and changes nothing; what was meant is then put right.
    for (name, text, told) in [
        ("server.pem", "no certificate\n".to_owned(), "server.pem: holds no certificate"),
        ("server.pem", fs::read_to_string(&first.0).expect("a file"), "server.pem: does not belong to the key in"),
        ("web.yml", TLS.replace("key_file", "keyfile"), "web.yml: tls_server_config.keyfile is not known"),
        ("web.yml", "http_server_config: {http2: false}\n".to_owned(), "web.yml: tls_server_config is gone"),
    ] {
        let right = fs::read_to_string(stage.path(name)).expect("a file");
        stage.write(name, &text);
        let detail = || readiness().filter(|body| body.contains("listener: new files are refused"));
        let detail = wait_for(told, PATIENCE, detail);
        assert!(detail.contains(told), "{detail}");
        assert_eq!(shown(), second_shown, "with {told}");
        assert!(stage.log().contains(told), "the log does not say {told}");
        if told.contains("tls_server_config is gone") {
            // A reload would mean it.
            stage.write(name, &right);
            wait_until("calm", PATIENCE, || readiness().is_some_and(|body| !body.contains("listener:")));
            continue;
        }
        // Asked to reload, it refuses all of the new configuration.
        daemon.hup();
        let refused = "tokenwatch_config_last_reload_successful 0";
        let metrics = || visitor.ask(stage.port, "/metrics").is_ok_and(|(_, body)| body.contains(refused));
        wait_until("a refused reload", PATIENCE, metrics);
        assert_eq!(stage.run(&["config", "check"]).code, 78);
        stage.write(name, &right);
        wait_until("calm", PATIENCE, || readiness().is_some_and(|body| !body.contains("listener:")));
        daemon.hup();
        wait_until("a reload", PATIENCE, || !metrics());
    }
    assert_eq!(old.ask("/healthz").expect("the old connection lives").0, 200);
    let mended = "the listener's files are again as they are in force";
    assert_eq!(
        stage.log().matches(mended).count(),
        4,
        "once for each that was refused, and for none that was taken: {}",
        stage.log()
    );
    assert_eq!(daemon.stop(), 0);
    // At the start there is no old one to keep.
    stage.write("server.key", "gone\n");
    let said = stage.run(&["run"]);
    assert_eq!(said.code, 78, "{}", said.err);
    assert!(said.err.contains("server.key: holds no private key; it must be PEM"), "{}", said.err);
    fs::remove_file(stage.path("web.yml")).expect("it is there");
    let said = stage.run(&["config", "check"]);
    assert!(
        said.code == 78 && said.err.contains("web.yml: (daemon.web_config) cannot be read: No such file"),
        "{}",
        said.err
    );
}

/// What a reload changes in whom the listener lets in is told before and after it, and loudest where it is more than before.
#[test]
fn a_reload_says_whom_it_lets_in() {
    let authority = Authority::new();
    let stage = Stage::new();
    let token = stage.issue_healthy();
    stage.write_env(&[("TOKEN", &token)]);
    put(&stage, &authority.issue("server", LOCALHOST));
    let (alice, bob) = (hash(PASSWORD, 4), hash("another", 4));
    stage.write("web.yml", &format!("{TLS}basic_auth_users:\n  alice: {alice}\n  bob: {bob}\n"));
    configure(&stage, "open_probes = true\n");
    let daemon = stage.start();
    let visitor = Visitor::trusting(&authority);
    wait_until("readiness", PATIENCE, || visitor.ask(stage.port, "/readyz").is_ok_and(|(status, _)| status == 200));
    let said = stage.run(&["config", "diff"]);
    assert_eq!((said.code, said.out.as_str()), (0, "nothing changed\n"), "{said:?}");
    let reloads = [
        (TLS.to_owned(), "[web_config] changed: basic_auth_users alice, bob → unset", "basic_auth_users is gone"),
        (
            format!("basic_auth_users:\n  alice: {alice}\n"),
            "[web_config] changed: tls_server_config set → unset; basic_auth_users unset → alice",
            "tls_server_config is gone",
        ),
        (
            format!("basic_auth_users:\n  alice: {bob}\n"),
            "[web_config] changed: basic_auth_users alice (what is hidden of it differs)",
            "",
        ),
    ];
    for (before, (text, change, opens)) in reloads.into_iter().enumerate() {
        stage.write("web.yml", &text);
        let said = stage.run(&["config", "diff"]);
        let told = said.out.contains(change) && said.out.ends_with("0 added, 1 changed, 0 removed\n");
        // By itself a file takes effect, too; what was not meant to wait may be in force before it was asked about.
        assert!(told || (opens.is_empty() && said.out == "nothing changed\n"), "{change}: {said:?}");
        assert!(!said.out.contains(&alice) && !said.out.contains(&bob), "{}", said.out);
        daemon.hup();
        wait_until("the reload", PATIENCE, || stage.log().matches("reloaded: ").count() > before);
        let loud = format!("the listener lets in more than before: {opens}");
        assert!(opens.is_empty() || stage.log().contains(&loud), "{loud}: {}", stage.log());
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn clients_show_a_certificate_where_one_is_asked_for() {
    let (authority, others) = (Authority::new(), Authority::new());
    let stage = Stage::new();
    let token = stage.issue_healthy();
    stage.write_env(&[("TOKEN", &token)]);
    put(&stage, &authority.issue("server", LOCALHOST));
    let client = format!(
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {}\n  client_allowed_sans: [prometheus.example.com]\n",
        authority.file().display()
    );
    stage.write("web.yml", &(TLS.to_owned() + &client));
    let probes = free_port();
    configure(&stage, "open_probes = true\n");
    let said = stage.run(&["config", "check"]);
    assert_eq!(said.code, 78, "{}", said.out);
    assert!(said.err.contains("daemon.probe_listen = "), "{}", said.err);
    configure(&stage, &format!("probe_listen = \"127.0.0.1:{probes}\"\n"));
    let daemon = stage.start();
    wait_until("readiness", PATIENCE, || get(probes, "/readyz") == Some((200, "ok\n".to_owned())));
    assert_eq!(get(probes, "/healthz"), Some((200, "ok\n".to_owned())));
    for page in PAGES.into_iter().filter(|page| !page.ends_with('z')) {
        assert_eq!(get(probes, page).map(|(status, _)| status), Some(404), "{page} is at the address of the probes");
    }

    let named = |visitor: Visitor, (certificate, key): (PathBuf, PathBuf)| visitor.showing(&certificate, &key);
    let prometheus = named(Visitor::trusting(&authority), authority.issue("prometheus", "DNS:prometheus.example.com"));
    assert_eq!(prometheus.ask(stage.port, "/metrics").expect("it is let in").0, 200);
    let without = Visitor::trusting(&authority).ask(stage.port, "/metrics").expect_err("it shows none");
    assert!(without.contains("CertificateRequired"), "{without}");
    let forged = named(Visitor::trusting(&authority), others.issue("prometheus", "DNS:prometheus.example.com"));
    let forged = forged.ask(stage.port, "/metrics").expect_err("it is another authority's");
    assert!(
        forged.contains("UnknownCA") || forged.contains("DecryptError") || forged.contains("BadCertificate"),
        "{forged}"
    );
    let other = named(Visitor::trusting(&authority), authority.issue("other", "DNS:other.example.com,IP:192.0.2.1"));
    let lets_in = || other.ask(stage.port, "/metrics").is_ok();
    assert!(!lets_in(), "a name that is not in client_allowed_sans is let in");
    // What is half edited lets in nobody else, whatever is missing; a reload means it.
    for (from, to, told) in [
        ("  client_allowed_sans: [prometheus.example.com]\n", "", "tls_server_config.client_allowed_sans is gone"),
        (&*client, "", "tls_server_config.client_auth_type no longer asks clients"),
    ] {
        stage.write("web.yml", &(TLS.to_owned() + &client.replace(from, to)));
        wait_until(told, PATIENCE, || stage.log().contains(told));
        assert!(!lets_in(), "{told}");
    }
    daemon.hup();
    wait_until("everybody", PATIENCE, lets_in);
    assert_eq!(Visitor::trusting(&authority).ask(stage.port, "/metrics").expect("it shows none").0, 200);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn clients_that_are_slow_large_or_wrong_are_cut_off() {
    let stage = Stage::new();
    let token = stage.issue_healthy();
    stage.write_env(&[("TOKEN", &token)]);
    let text = stage.config("", &stage.token("helpdesk", "TOKEN"));
    stage.configure(&text.replace("[daemon]\n", "[daemon]\nclient_timeout = \"2s\"\n"));
    let daemon = stage.start_ready();

    // Byte by byte: what counts is the head, and not the byte.
    let mut drip = connect(stage.port).expect("a connection");
    let began = Instant::now();
    for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'a')) {
        if drip.write_all(&[*byte]).is_err() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "a client that drips is kept");
        let _ = drip.set_read_timeout(Some(Duration::from_millis(50)));
        if !matches!(drip.read(&mut [0; 64]), Err(error) if is_timeout(&error)) {
            break;
        }
    }
    assert!(began.elapsed() >= Duration::from_secs(2), "it was cut off after {:?}", began.elapsed());
    // One that says nothing at all.
    let mut silent = connect(stage.port).expect("a connection");
    assert_eq!(silent.read(&mut [0; 64]).expect("it is closed"), 0);
    // One that asks and asks and takes no answer.
    let mut deaf = connect(stage.port).expect("a connection");
    deaf.set_write_timeout(Some(PATIENCE)).expect("a socket");
    let many = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let closed = (0..10_000).find_map(|_| deaf.write_all(many.as_bytes()).err()).expect("it is closed");
    assert!(!is_timeout(&closed), "a client that takes no answers is kept: {closed}");

    for (request, expected) in [
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "a".repeat(64 * 1024)), "HTTP/1.1 431 "),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: a\r\n".repeat(500)), "HTTP/1.1 431 "),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100 * 1024)), "HTTP/1.1 431 "),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n".to_owned(), "HTTP/1.1 413 "),
        ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_owned(), "HTTP/1.1 413 "),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(), "HTTP/1.1 405 "),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
    ] {
        let mut stream = connect(stage.port).expect("a connection");
        // What is refused early is not taken in to its end.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = vec![0; expected.len()];
        let read = stream.read_exact(&mut answer);
        let start: String = request.chars().take(40).collect();
        assert!(
            read.is_ok() && answer == expected.as_bytes(),
            "{start:?}: {read:?} {:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(daemon.get("/healthz"), Some((200, "ok\n".to_owned())));
    assert_eq!(daemon.stop(), 0);
}

/// Those who never get through their handshake are let go in time, and keep nobody else from an answer.
#[test]
fn handshakes_have_a_limit_and_wrong_ones_disturb_nobody() {
    let authority = Authority::new();
    let stage = Stage::new();
    let token = stage.issue_healthy();
    stage.write_env(&[("TOKEN", &token)]);
    put(&stage, &authority.issue("server", LOCALHOST));
    stage.write("web.yml", TLS);
    let probes = free_port();
    configure(&stage, &format!("probe_listen = \"127.0.0.1:{probes}\"\nclient_timeout = \"2s\"\n"));
    let daemon = stage.start();
    wait_until("readiness", PATIENCE, || get(probes, "/readyz") == Some((200, "ok\n".to_owned())));
    let visitor = Visitor::trusting(&authority);
    let probe = || {
        assert_eq!(get(probes, "/healthz"), Some((200, "ok\n".to_owned())));
        assert_eq!(visitor.ask(stage.port, "/healthz").expect("an answer").0, 200);
    };
    let begin = |bytes: &[u8]| {
        let mut stream = connect(stage.port).expect("a connection");
        stream.write_all(bytes).expect("it is taken");
        stream
    };
    // Nothing, a record that does not go on, and the beginning of a greeting: each owes the rest.
    let began = Instant::now();
    let waiting = [begin(b""), begin(b"\x16\x03\x01\x02\x00"), begin(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")];
    // Garbage in the shape of a record is refused at once.
    for bytes in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x15\x03\x01\x00\x02\x02\x28", b"\x17\x03\x03\x00\x01x"] {
        assert!(ends(begin(bytes)), "{bytes:?}");
        probe();
    }
    for stream in waiting {
        assert!(ends(stream));
        probe();
    }
    assert!(began.elapsed() >= Duration::from_secs(2), "they were given {:?}", began.elapsed());
    let metrics = visitor.ask(stage.port, "/metrics").expect("an answer").1;
    for (reason, least) in [("slow", 3), ("tls", 3), ("displaced", 0), ("full", 0)] {
        let series = format!("tokenwatch_listener_closed_total{{reason=\"{reason}\"}} ");
        let counted = metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u32>().ok());
        // A visitor of ours that had to wait for its turn on this machine may have been slow, too.
        assert!(counted.is_some_and(|counted| counted >= least), "{series}{counted:?}");
    }
    assert_eq!(daemon.stop(), 0);
}

/// Whether the other side closes, whatever it says before.
fn ends(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => true,
        Err(error) => !is_timeout(&error),
    }
}

/// Room for connections is made where the system gives it, and it is said where it does not.
#[test]
fn room_is_made_for_connections() {
    let stage = Stage::new();
    let token = stage.issue_healthy();
    stage.write_env(&[("TOKEN", &token)]);
    let text = stage.config("", &stage.token("helpdesk", "TOKEN"));
    stage.configure(&text.replace("[daemon]\n", "[daemon]\nmax_connections = 1000\n"));
    let said = "so many connections cannot be kept open";
    for (limits, soft) in [("256:4096", "1256"), ("256:600", "600")] {
        let mut command = Command::new(program(&["prlimit"]));
        let daemon = stage.start_as(command.arg(format!("--nofile={limits}")).args([TOKENWATCH, "run"]));
        daemon.wait_ready();
        let found = fs::read_to_string(format!("/proc/{}/limits", daemon.id())).expect("a process of ours");
        let line = found.lines().find(|line| line.starts_with("Max open files")).expect("its limit");
        assert_eq!(line.split_whitespace().nth(3), Some(soft), "{line}");
        assert_eq!(stage.log().contains(said), limits == "256:600", "{limits}: {}", stage.log());
        assert_eq!(daemon.stop(), 0);
    }
}

/// Ten thousand who hold on and say nothing, or half a sentence; first where there is room for a few hundred, then where there is room for all.
#[test]
fn ten_thousand_clients_keep_no_probe_from_its_answer() {
    let many = 10_000;
    raise_limit(many);
    let stage = Stage::new();
    let token = stage.issue_healthy();
    stage.write_env(&[("TOKEN", &token)]);
    let probes = free_port();
    let text = stage.config("", &stage.token("helpdesk", "TOKEN"));
    let with =
        |more: &str| text.replace("[daemon]\n", &format!("[daemon]\nprobe_listen = \"127.0.0.1:{probes}\"\n{more}"));
    for (more, kept) in [("", 512), ("max_connections = 12000\n", many)] {
        stage.configure(&with(more));
        let daemon = stage.start_ready();
        let mut crowd = Vec::new();
        let mut slowest = Duration::ZERO;
        for number in 0..many {
            let mut stream = wait_for("a connection", PATIENCE, || connect(stage.port).ok());
            if number % 2 == 0 {
                // One that was closed already was told so.
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nX-Half: ");
            }
            crowd.push(stream);
            if number % 500 == 499 {
                slowest = slowest.max(probes_answer(&daemon, probes));
            }
        }
        slowest = slowest.max(probes_answer(&daemon, probes));
        // The health check of the image waits that long.
        assert!(slowest < Duration::from_secs(5), "a probe took {slowest:?}");
        assert!(daemon.page("/metrics").contains("tokenwatch_build_info"));
        let open = open_sockets(&daemon);
        let seen = format!(
            "of {many} connections {open} sockets are open, {} KiB resident, slowest probe {slowest:?}",
            resident(&daemon)
        );
        say(&seen);
        assert!(open <= kept + 64, "{open} sockets are open where {kept} connections may be");
        assert!(open >= kept.min(many) * 9 / 10, "only {open} sockets of {kept} are open");
        let counted = |series: &str| daemon.metric(&format!("tokenwatch_listener_{series}")).expect("a series");
        wait_until("as many connections to be told as are open", PATIENCE, || {
            (counted("connections{serves=\"pages\"}") - float(open_sockets(&daemon))).abs() < 64.0
        });
        let displaced = counted("closed_total{reason=\"displaced\"}");
        assert_eq!(displaced > 0.0, kept < many, "{displaced} made room");
        drop(crowd);
        wait_until("the crowd to be gone", PATIENCE, || open_sockets(&daemon) < 64);
        assert_eq!(daemon.stop(), 0);
    }
    let told = stage.log().matches("the listener is full").count();
    assert_eq!(told, 1, "one line for a full listener, and none where there was room");
}

fn float(count: usize) -> f64 {
    u32::try_from(count).expect("a number").into()
}

/// All four are there, on both addresses; how long the slowest took.
fn probes_answer(daemon: &Daemon, probes: u16) -> Duration {
    let mut slowest = Duration::ZERO;
    for probe in ["/healthz", "/readyz"] {
        for answered in [&|| get(probes, probe) as Option<(u16, String)>, &|| daemon.get(probe)] as [&dyn Fn() -> _; 2]
        {
            let began = Instant::now();
            let (status, body) = answered().expect("a probe is answered at the first try");
            assert_eq!(status, 200, "{probe}: {body}");
            slowest = slowest.max(began.elapsed());
        }
    }
    slowest
}

/// Lets this process, and those that it starts, hold so many connections.
fn raise_limit(connections: usize) {
    let wanted = u64::try_from(connections).expect("a number") + 2_000;
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    assert!(raised.is_ok(), "{wanted} files cannot be open at once, for the limit is {:?}: ulimit -n", limit.maximum);
}

/// What was measured, for whoever reads the output of the test.
#[expect(clippy::print_stderr, reason = "a measurement is worth nothing that nobody sees")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn open_sockets(daemon: &Daemon) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.id())).expect("a process of ours");
    let is_socket =
        |entry: &fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
    open.filter_map(Result::ok).filter(is_socket).count()
}

fn resident(daemon: &Daemon) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("a process of ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").to_owned()
}

/// One who visits: whom they trust, and what they say of themselves.
struct Visitor {
    tls: Option<ClientConfig>,
    roots: RootCertStore,
    login: Option<String>,
}

/// A connection that is kept.
struct Line {
    stream: Wire,
    login: Option<String>,
}

enum Wire {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Visitor {
    fn in_the_clear() -> Self {
        Self { tls: None, roots: RootCertStore::empty(), login: None }
    }

    fn trusting(authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.file()).expect("PEM")).expect("an authority");
        Self { tls: Some(client(&roots).with_no_client_auth()), roots, login: None }
    }

    fn named(self, user: &str, password: &str) -> Self {
        Self { login: Some(STANDARD.encode(format!("{user}:{password}"))), ..self }
    }

    fn showing(self, certificate: &Path, key: &Path) -> Self {
        let chain = vec![CertificateDer::from_pem_file(certificate).expect("PEM")];
        let key = PrivateKeyDer::from_pem_file(key).expect("PEM");
        let tls = client(&self.roots).with_client_auth_cert(chain, key).expect("a certificate and its key");
        Self { tls: Some(tls), ..self }
    }

    fn line(&self, port: u16) -> io::Result<Line> {
        let mut stream = connect(port)?;
        let stream = match &self.tls {
            None => Wire::Clear(stream),
            Some(tls) => {
                let name = ServerName::try_from("localhost").expect("a name");
                let mut connection = ClientConnection::new(Arc::new(tls.clone()), name).map_err(io::Error::other)?;
                connection.complete_io(&mut stream)?;
                Wire::Tls(Box::new(StreamOwned::new(connection, stream)))
            }
        };
        Ok(Line { stream, login: self.login.clone() })
    }

    fn ask(&self, port: u16, path: &str) -> Result<(u16, String), String> {
        self.line(port).and_then(|mut line| line.ask(path)).map_err(|error| format!("{error:?}"))
    }
}

impl Line {
    /// One GET; the connection stays.
    fn ask(&mut self, path: &str) -> io::Result<(u16, String)> {
        let login = self.login.as_ref().map(|login| format!("Authorization: Basic {login}\r\n")).unwrap_or_default();
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{login}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        let head = loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
            if answer.ends_with(b"\r\n\r\n") {
                break String::from_utf8_lossy(&std::mem::take(&mut answer)).to_ascii_lowercase();
            }
        };
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        match head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
            Some(length) => answer.resize(length.parse().expect("a length"), 0),
            None => return self.chunks(&mut answer).map(|()| (status, String::from_utf8_lossy(&answer).into_owned())),
        }
        self.stream.read_exact(&mut answer)?;
        Ok((status, String::from_utf8_lossy(&answer).into_owned()))
    }

    fn chunks(&mut self, answer: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                let mut byte = [0];
                self.stream.read_exact(&mut byte)?;
                line.push(byte[0]);
            }
            let length = std::str::from_utf8(&line).ok().and_then(|line| usize::from_str_radix(line.trim(), 16).ok());
            let length = length.expect("the length of a chunk");
            let mut chunk = vec![0; length + 2];
            self.stream.read_exact(&mut chunk)?;
            answer.extend_from_slice(&chunk[..length]);
            if length == 0 {
                return Ok(());
            }
        }
    }

    /// What the server showed.
    fn certificate(&self) -> CertificateDer<'static> {
        match &self.stream {
            Wire::Clear(_) => unreachable!("nothing is shown in the clear"),
            Wire::Tls(stream) => {
                let shown = stream.conn.peer_certificates().and_then(|chain| chain.first());
                shown.expect("the handshake is over").clone().into_owned()
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn client(roots: &RootCertStore) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(roots.clone())
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(20))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A configuration with one token, the file `web.yml`, and more of `[daemon]`.
fn configure(stage: &Stage, daemon: &str) {
    let text = stage.config("", &stage.token("helpdesk", "TOKEN"));
    let web = stage.path("web.yml");
    stage.configure(&text.replace("[daemon]\n", &format!("[daemon]\nweb_config = \"{}\"\n{daemon}", web.display())));
}

/// Puts a certificate and its key where the web configuration file has them, one after the other, as tools do.
fn put(stage: &Stage, (certificate, key): &(PathBuf, PathBuf)) {
    for (name, from) in [("server.key", key), ("server.pem", certificate)] {
        stage.write(name, &fs::read_to_string(from).expect("a file"));
    }
}

fn promtool_accepts(web: &Path) {
    let checked =
        Command::new(program(&["promtool"])).args(["check", "web-config"]).arg(web).output().expect("promtool runs");
    let said = [checked.stdout, checked.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(checked.status.success(), "{said}");
}

/// As `htpasswd -B` writes it.
fn hash(password: &str, cost: u32) -> String {
    bcrypt::hash_with_result(password, cost).expect("a hash").format_for_version(bcrypt::Version::TwoY)
}

fn state(stage: &Stage) -> Vec<u8> {
    let files = fs::read_dir(stage.path("state")).expect("a folder").filter_map(Result::ok);
    files.filter_map(|file| fs::read(file.path()).ok()).flatten().collect()
}

fn holds(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|part| part == wanted)
}

const LOCALHOST: &str = "DNS:localhost,IP:127.0.0.1";
const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";
