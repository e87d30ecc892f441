//! Sinks that are fields of secrets in a real OpenBao, which speaks as Vault does.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};
use tokenwatch::domain::time::Span;
use tokenwatch::renewal::sink::{Held, Put, SinkError, Swap, held, put};
use tokenwatch::secret::Secret;
use tokenwatch::settings::delivery::{Sink, Vault, VaultLogin};
use tokenwatch::settings::source::Sources;
use tokenwatch::settings::value::SecretRef;
use zeroize::Zeroizing;

use crate::support::openbao::{OpenBao, ROOT};
use crate::support::process::free_port;
use crate::support::server::Server;

const OLD: &str = "EAAB-old-4f7c19d2e8-before";
const NEW: &str = "EAAB-new-a1'b2\"c3\\d4-after\u{1f511}";

#[tokio::test]
async fn one_field_is_replaced_and_the_others_stay() {
    let server = OpenBao::shared();
    let path = "teams/a b/ü%2Fx?y#z";
    let written = "teams/a%20b/%C3%BC%252Fx%3Fy%23z";
    let others = json!({ "n": 12_345_678_901_i64, "f": 0.1, "deep": { "list": [1, null, { "a": "\u{0}\"" }] }, "text": "\u{1f511}" });
    let mut fields = others.clone();
    fields["token"] = OLD.into();
    server.write(written, &fields);
    let place = server.sink(path);
    assert_eq!(shown(held(&place, &sources()).await), Ok(Some(OLD.to_owned())));
    assert_eq!(swap(&place, Some(OLD), Some(NEW)).await, Ok(Put::Written));
    fields["token"] = NEW.into();
    assert_eq!(server.fields(written), (fields.clone(), 2));
    assert_eq!(swap(&place, Some(OLD), Some(NEW)).await, Ok(Put::AlreadyThere));
    assert_eq!(server.fields(written).1, 2, "what stands there is not written again");
    assert_eq!(swap(&place, Some(NEW), Some(OLD)).await, Ok(Put::Written));
    // Somebody else changed it.
    fields["token"] = "theirs".into();
    server.write(written, &fields);
    let conflict = swap(&place, Some(OLD), Some(NEW)).await;
    assert!(matches!(&conflict, Err(SinkError::Conflict(text)) if text.contains("neither")), "{conflict:?}");
    let conflict = swap(&place, None, Some(NEW)).await;
    assert!(matches!(conflict, Err(SinkError::Conflict(_))), "{conflict:?}");
    assert_eq!(server.fields(written), (fields, 4));
    // Whatever it was.
    let to = Held::Secret(secret(NEW));
    assert_eq!(put(&place, Swap { from: &Held::Unknown, to: &to }, &sources()).await, Ok(Put::Written));
    assert_eq!(swap(&place, Some(NEW), None).await, Ok(Put::Written));
    assert_eq!(server.fields(written), (others, 6));
    assert_eq!(swap(&place, Some(NEW), None).await, Ok(Put::AlreadyThere));
    assert_eq!(shown(held(&place, &sources()).await), Ok(None));
}

#[tokio::test]
async fn where_nothing_was_a_secret_begins_and_can_be_taken_back() {
    let server = OpenBao::shared();
    let place = server.sink("begun/here");
    assert_eq!(shown(held(&place, &sources()).await), Ok(None));
    let conflict = swap(&place, Some(OLD), Some(NEW)).await;
    assert!(matches!(conflict, Err(SinkError::Conflict(_))), "{conflict:?}");
    assert_eq!(swap(&place, None, Some(NEW)).await, Ok(Put::Written));
    assert_eq!(server.fields("begun/here"), (json!({ "token": NEW }), 1));
    assert_eq!(swap(&place, Some(NEW), None).await, Ok(Put::Written));
    assert_eq!(server.fields("begun/here"), (json!({}), 2));
    assert_eq!(shown(held(&place, &sources()).await), Ok(None));
    // A version that was deleted, or destroyed, holds nothing and is followed by the next.
    server.ask("DELETE", "secret/data/begun/here", &Value::Null);
    assert_eq!(shown(held(&place, &sources()).await), Ok(None));
    assert_eq!(swap(&place, None, Some(OLD)).await, Ok(Put::Written));
    assert_eq!(server.fields("begun/here"), (json!({ "token": OLD }), 3));
    server.ask("PUT", "secret/destroy/begun/here", &json!({ "versions": [3] }));
    assert_eq!(swap(&place, None, Some(NEW)).await, Ok(Put::Written));
    assert_eq!(server.fields("begun/here"), (json!({ "token": NEW }), 4));
}

#[tokio::test]
async fn what_somebody_writes_between_reading_and_writing_is_kept() {
    let server = OpenBao::shared();
    // Their hand comes in before each of our first writes.
    let raced = |path: &'static str, times: usize, theirs: fn(usize) -> Value| {
        server.write(path, &json!({ "token": OLD }));
        let (count, own) = (AtomicUsize::new(0), Arc::clone(&server));
        let way = between(server.plain, move || {
            let n = count.fetch_add(1, Ordering::Relaxed);
            if n < times {
                own.write(path, &theirs(n));
            }
        });
        let sink = with(server.vault(path), |vault| {
            vault.url = format!("http://127.0.0.1:{}", way.port).parse().expect("a url");
        });
        (way, sink)
    };
    let (_way, sink) = raced("raced/once", 2, |n| json!({ "token": OLD, "other": n }));
    assert_eq!(swap(&sink, Some(OLD), Some(NEW)).await, Ok(Put::Written));
    assert_eq!(server.fields("raced/once"), (json!({ "token": NEW, "other": 1 }), 4));
    let (_way, sink) = raced("raced/always", 99, |n| json!({ "token": OLD, "other": n }));
    let lost = swap(&sink, Some(OLD), Some(NEW)).await;
    assert!(matches!(&lost, Err(SinkError::Failed(text)) if text.contains("3 times")), "{lost:?}");
    assert_eq!(server.fields("raced/always"), (json!({ "token": OLD, "other": 2 }), 4));
    let (_way, sink) = raced("raced/ours", 1, |_| json!({ "token": "theirs" }));
    let conflict = swap(&sink, Some(OLD), Some(NEW)).await;
    assert!(matches!(conflict, Err(SinkError::Conflict(_))), "{conflict:?}");
    let (_way, sink) = raced("raced/same", 1, |_| json!({ "token": NEW }));
    assert_eq!(swap(&sink, Some(OLD), Some(NEW)).await, Ok(Put::AlreadyThere));
}

/// The policy is the one that the documentation names: three capabilities on one path, and nothing else.
#[tokio::test]
async fn an_approle_with_the_least_policy_is_enough_and_leaves_no_token_behind() {
    let server = OpenBao::shared();
    server.ask("POST", "sys/auth/approle", &json!({ "type": "approle" }));
    let role = |name: &'static str, capabilities: &str| {
        let policy = format!("path \"secret/data/roles/wa\" {{ capabilities = [{capabilities}] }}");
        server.ask("PUT", &format!("sys/policies/acl/{name}"), &json!({ "policy": policy }));
        let terms = json!({ "token_policies": [name], "token_ttl": "5m" });
        server.ask("POST", &format!("auth/approle/role/{name}"), &terms);
        let id = server.ask("GET", &format!("auth/approle/role/{name}/role-id"), &Value::Null);
        let secret_id = server.ask("POST", &format!("auth/approle/role/{name}/secret-id"), &Value::Null);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        (text(&id["data"]["role_id"]), text(&secret_id["data"]["secret_id"]))
    };
    let by = |(role_id, secret_id): (String, String)| {
        let login = VaultLogin::AppRole { role_id: role_id.into(), secret_id: SecretRef::Env("SECRET_ID".into()) };
        let sources = Sources::new([("SECRET_ID".to_owned(), secret_id)]);
        (with(server.vault("roles/wa"), |vault| vault.login = login), sources)
    };
    let (sink, sources) = by(role("least", "\"create\", \"read\", \"update\""));
    assert_eq!(shown(held(&sink, &sources).await), Ok(None));
    for (from, to) in [(None, Some(OLD)), (Some(OLD), Some(NEW)), (Some(NEW), None), (None, Some(OLD))] {
        assert_eq!(swap_by(&sink, from, to, &sources).await, Ok(Put::Written));
    }
    assert_eq!(server.fields("roles/wa"), (json!({ "token": OLD }), 4));
    let tokens = server.ask("LIST", "auth/token/accessors", &Value::Null);
    for accessor in tokens["data"]["keys"].as_array().expect("accessors") {
        let body = json!({ "accessor": accessor });
        let (_, token) = server.ask_with("POST", "auth/token/lookup-accessor", &[("X-Vault-Token", ROOT)], &body);
        assert_ne!(token["data"]["meta"]["role_name"], "least", "a token was left behind");
    }
    // With less it says what is missing.
    for (name, capabilities, words) in [
        ("blind", "\"create\", \"update\"", "\"read\" on secret/data/roles/wa"),
        ("tied", "\"read\"", "\"update\" on secret/data/roles/wa"),
    ] {
        let (sink, sources) = by(role(name, capabilities));
        let error = refused(swap_by(&sink, Some(OLD), Some(NEW), &sources).await);
        assert!(error.contains(words), "{error}");
    }
    let (_, secret_id) = role("wrong", "\"read\"");
    let (sink, sources) = by(("no-such-role".to_owned(), secret_id.clone()));
    let error = refused(swap_by(&sink, Some(OLD), Some(NEW), &sources).await);
    assert!(error.contains("role_id and secret_id") && !error.contains(&secret_id), "{error}");
    assert_eq!(server.fields("roles/wa"), (json!({ "token": OLD }), 4));
}

#[tokio::test]
async fn what_a_person_must_change_is_told_without_the_token() {
    let server = OpenBao::shared();
    server.ask("POST", "sys/mounts/first", &json!({ "type": "kv", "options": { "version": "1" } }));
    server.ask("POST", "first/data/here", &json!({ "token": OLD }));
    server.ask("POST", "sys/mounts/keys", &json!({ "type": "transit" }));
    server.write("odd", &json!({ "token": OLD, "number": 5 }));
    let vault = || server.vault("odd");
    let at = |url: &str| url.parse().expect("a url");
    let silent = Server::start(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let stranger = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let body = format!("<html>{NEW} {OLD}</html>");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _ = stream.write_all((head + &body).as_bytes());
    });
    let plain = |port: u16| at(&format!("http://127.0.0.1:{port}"));
    for (sink, failed, words) in [
        (with(vault(), |vault| vault.mount = "first".into()), false, "version 1"),
        (with(server.vault("here"), |vault| vault.mount = "first".into()), false, "version 1"),
        (with(vault(), |vault| vault.mount = "keys".into()), false, "no key-value engine"),
        (with(vault(), |vault| vault.mount = "nowhere".into()), false, "no key-value engine at nowhere"),
        (with(vault(), |vault| vault.path = "a/../odd".into()), false, "names with slashes"),
        (with(vault(), |vault| vault.path = "a//odd".into()), false, "names with slashes"),
        (with(vault(), |vault| vault.field = "number".into()), false, "holds no text"),
        (with(vault(), |vault| vault.namespace = Some("no/such".into())), false, ""),
        (with(vault(), |vault| vault.namespace = Some("a\nb".into())), false, "namespace"),
        (with(vault(), |vault| vault.login = by_token("WRONG")), false, "\"read\" on secret/data/odd"),
        (with(vault(), |vault| vault.login = by_token("NOPE")), false, "no variable NOPE"),
        (with(vault(), |vault| vault.login = by_token("LINES")), false, "no header"),
        (with(vault(), |vault| vault.ca_file = None), false, "TLS failed"),
        (with(vault(), |vault| vault.url = at(&format!("https://127.0.0.2:{}", server.port))), true, "no connection"),
        (with(vault(), |vault| vault.url = plain(free_port())), true, "no connection"),
        (with(vault(), |vault| vault.url = plain(silent.port)), true, "no answer in time"),
        (with(vault(), |vault| vault.url = plain(stranger.port)), true, "not Vault's"),
    ] {
        let sink = quick(sink);
        for done in [swap(&sink, Some(OLD), Some(NEW)).await.map(drop), held(&sink, &sources()).await.map(drop)] {
            let error = done.expect_err(words);
            assert_eq!(matches!(error, SinkError::Failed(_)), failed, "{words}: {error:?}");
            assert!(error.to_string().contains(words), "{words}: {error}");
            for part in ["4f7c19", "a1'b2", "c3", ROOT, "not-the-token"] {
                assert!(!error.to_string().contains(part), "{error}");
            }
        }
    }
    assert_eq!(server.fields("odd").1, 1);
    let first = server.ask("GET", "first/data/here", &Value::Null);
    assert_eq!(first["data"], json!({ "token": OLD }), "nothing is written to a version 1");
    let from = Held::Secret(secret(OLD));
    refused(put(&server.sink("odd"), Swap { from: &from, to: &Held::Unknown }, &sources()).await);
}

#[tokio::test]
async fn a_namespace_is_a_place_of_its_own() {
    let server = OpenBao::shared();
    server.ask("PUT", "sys/namespaces/team", &Value::Null);
    let headers = [("X-Vault-Token", ROOT), ("X-Vault-Namespace", "team")];
    let engine = json!({ "type": "kv", "options": { "version": "2" } });
    assert_eq!(server.ask_with("POST", "sys/mounts/deep/er", &headers, &engine).0, 204);
    let sink = with(server.vault("wa"), |vault| {
        (vault.mount, vault.namespace) = ("deep/er".into(), Some("team".into()));
    });
    assert_eq!(swap(&sink, None, Some(NEW)).await, Ok(Put::Written));
    let (_, answer) = server.ask_with("GET", "deep/er/data/wa", &headers, &Value::Null);
    assert_eq!(answer["data"]["data"], json!({ "token": NEW }));
}

#[tokio::test]
async fn a_sealed_server_may_be_unsealed_another_time() {
    let server = OpenBao::start();
    server.write("wa", &json!({ "token": OLD }));
    let sink = server.sink("wa");
    server.ask("PUT", "sys/seal", &Value::Null);
    let sealed = swap(&sink, Some(OLD), Some(NEW)).await;
    assert!(
        matches!(&sealed, Err(SinkError::Failed(text)) if text.contains("503") && text.contains("sealed")),
        "{sealed:?}"
    );
}

/// A way to a server by plain HTTP/1.1, with a hand in it before each request that writes.
fn between(port: u16, hand: impl Fn() + Send + Sync + 'static) -> Server {
    Server::start(move |mut client| {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
        let (mut answers, mut back) = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
        let returning = thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let mut buffer = [0; 8_192];
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            // One request is under way at a time, and a small one comes in one piece.
            if buffer[..length].starts_with(b"POST ") {
                hand();
            }
            if server.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(std::net::Shutdown::Both);
        let _ = returning.join();
    })
}

impl OpenBao {
    fn vault(&self, path: &str) -> Vault {
        Vault {
            url: format!("https://127.0.0.1:{}", self.port).parse().expect("a url"),
            mount: "secret".into(),
            path: path.into(),
            field: "token".into(),
            login: by_token("ROOT"),
            namespace: None,
            ca_file: Some(self.ca_file()),
            within: Span::seconds(20),
        }
    }

    fn sink(&self, path: &str) -> Sink {
        Sink::Vault(self.vault(path))
    }
}

fn with(mut vault: Vault, change: impl FnOnce(&mut Vault)) -> Sink {
    change(&mut vault);
    Sink::Vault(vault)
}

/// The same with no time to wait, where its server never answers.
fn quick(sink: Sink) -> Sink {
    match sink {
        Sink::Vault(vault) if vault.url.scheme() == "http" => with(vault, |vault| vault.within = Span::seconds(1)),
        sink => sink,
    }
}

fn by_token(name: &str) -> VaultLogin {
    VaultLogin::Token(SecretRef::Env(name.into()))
}

fn secret(text: &str) -> Secret {
    Secret::new(Zeroizing::new(text.to_owned()))
}

fn sources() -> Sources {
    let variables = [("ROOT", ROOT), ("WRONG", "not-the-token"), ("LINES", "one\ntwo")];
    Sources::new(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

async fn swap(sink: &Sink, from: Option<&str>, to: Option<&str>) -> Result<Put, SinkError> {
    swap_by(sink, from, to, &sources()).await
}

async fn swap_by(sink: &Sink, from: Option<&str>, to: Option<&str>, sources: &Sources) -> Result<Put, SinkError> {
    let held = |text: Option<&str>| text.map_or(Held::Nothing, |text| Held::Secret(secret(text)));
    let (from, to) = (held(from), held(to));
    put(sink, Swap { from: &from, to: &to }, sources).await
}

/// What was found there, in words that can be compared.
fn shown(held: Result<Held, SinkError>) -> Result<Option<String>, SinkError> {
    held.map(|held| match held {
        Held::Secret(secret) => Some(secret.expose().to_owned()),
        Held::Nothing => None,
        Held::Unknown => unreachable!("a field can be looked into"),
    })
}

fn refused(done: Result<Put, SinkError>) -> String {
    match done {
        Err(SinkError::Refused(text)) => text,
        other => unreachable!("{other:?}"),
    }
}
