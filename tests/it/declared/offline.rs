//! What is known without asking a provider: the certificate that a real server shows, the claims of a token, the date that a person wrote.

use std::path::Path;
use std::process::Command;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokenwatch::clock::System;
use tokenwatch::domain::inspection::{Basis, Cause, Expiry, Validity};
use tokenwatch::domain::status::TokenStatus;
use tokenwatch::domain::step::{Observation, step};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::support::process::{program, quoted, refusing};

const DAY: i64 = 86_400;

/// A configuration at work at that moment, with these variables in its environment.
fn at_work(config: &str, variables: &[(&str, &str)], now: i64) -> Wiring {
    let settings =
        settings::from_text(config, "test.toml", &[]).unwrap_or_else(|faults| unreachable!("{faults}")).settings;
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let clock: Arc<dyn Clock> = Arc::new(Still(Timestamp::from_unix(now)));
    Wiring::new(settings, &Reader::new(Sources::new(variables)), &clock).expect("the adapters are made")
}

async fn check(wiring: &Wiring) -> Result<Inspection, CheckError> {
    let token = &wiring.settings.tokens[0];
    wiring.check(token, &FingerprintKey::new([7; 32]), Wanted::EVERYTHING).await.outcome.answer
}

/// What is known after that check.
async fn known(wiring: &Wiring, now: i64) -> Inspection {
    let (token, now) = (&wiring.settings.tokens[0], Timestamp::from_unix(now));
    let outcome = wiring.check(token, &FingerprintKey::new([7; 32]), Wanted::EVERYTHING).await.outcome;
    let step = step(&token.spec, TokenStatus::new(now), Observation::Checked(outcome), now);
    step.status.current_facts().expect("facts").clone()
}

/// An authority, and a certificate of a server that it signed; made by openssl, today.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let made = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        made.request("Test authority", "ca.key", &["-x509", "-days", "3650", "-out", "ca.pem"]);
        std::fs::write(made.folder.path().join("names"), "subjectAltName=DNS:shop.example.com\n").expect("a file");
        made.request("shop.example.com", "shop.key", &["-out", "shop.csr"]);
        made.sign("shop", "ca", "90", "names");
        made
    }

    fn request(&self, name: &str, key: &str, rest: &[&str]) {
        let subject = format!("/CN={name}");
        let curve = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        self.openssl(&[&curve[..], &["-subj", &subject, "-keyout", key], rest].concat());
    }

    fn sign(&self, name: &str, by: &str, days: &str, extensions: &str) {
        let [request, certificate] = ["csr", "pem"].map(|kind| format!("{name}.{kind}"));
        let [authority, key] = ["pem", "key"].map(|kind| format!("{by}.{kind}"));
        let what = ["x509", "-req", "-in", &request, "-days", days, "-extfile", extensions, "-out", &certificate];
        self.openssl(&[&what[..], &["-CA", &authority, "-CAkey", &key, "-CAcreateserial"]].concat());
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new(program(&["openssl"])).args(arguments).current_dir(self.folder.path()).output();
        let output = output.expect("openssl runs");
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// A server that shows these certificates and hangs up.
    async fn serve(&self, chain: &[&str]) -> (std::net::SocketAddr, JoinSet<()>) {
        let read = |name: &&str| CertificateDer::from_pem_file(self.path(name)).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.path("shop.key")).expect("a key");
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the default versions")
            .with_no_client_auth()
            .with_single_cert(chain.iter().map(read).collect(), key)
            .expect("a certificate and its key");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever only looks hangs up as soon as the handshake is over.
                let _ = acceptor.accept(stream).await;
            }
        });
        (address, serving)
    }
}

fn shop(address: std::net::SocketAddr, ca_file: Option<&Path>, name: &str) -> String {
    let trust = ca_file.map(|path| format!("[provider.x509]\nca_file = {}\n", quoted(path))).unwrap_or_default();
    format!(
        "{trust}[[tokens]]\nname = \"shop\"\nprovider = \"x509\"\n[tokens.parameters]\naddress = \"{address}\"\nserver_name = {name:?}\n"
    )
}

// promise 63
#[tokio::test]
async fn the_end_of_a_certificate_is_read_whether_it_is_trusted_or_not() {
    let made = Certificates::new();
    let (address, _server) = made.serve(&["shop.pem"]).await;
    let today = System.now().unix();
    let ca = made.path("ca.pem");
    let trusted = shop(address, Some(&ca), "shop.example.com");
    let facts = check(&at_work(&trusted, &[], today)).await.expect("facts");
    let end = facts.expires.date().expect("an end").unix();
    assert_eq!((facts.validity, facts.kind.as_str(), facts.basis), (Validity::Valid, "certificate", Basis::Told));
    assert!((end - today - 90 * DAY).abs() < 2 * 3_600, "{end}");
    assert!(facts.issued_at.is_some_and(|at| (at.unix() - today).abs() < 2 * 3_600));
    // Another day: it has ended.
    let facts = check(&at_work(&trusted, &[], today + 91 * DAY)).await.expect("facts");
    assert_eq!((facts.validity, facts.expires.date().map(Timestamp::unix)), (Validity::Expired, Some(end)));
    for (config, why) in [
        (shop(address, Some(&ca), "other.example.com"), "not valid for name"),
        (shop(address, None, "shop.example.com"), "UnknownIssuer"),
    ] {
        let facts = check(&at_work(&config, &[], today)).await.expect("facts");
        assert_eq!(facts.validity, Validity::Revoked(Cause::Untrusted), "{why}");
        assert_eq!(facts.expires.date().map(Timestamp::unix), Some(end), "the date is known all the same");
        assert!(facts.message.as_deref().is_some_and(|words| words.contains(why)), "{why}: {:?}", facts.message);
    }
}

#[tokio::test]
async fn a_chain_ends_with_the_first_of_its_certificates_but_a_root_in_it_does_not_count() {
    let made = Certificates::new();
    // A second authority, signed by the first, that ends in thirty days, and a certificate of it that would live for ninety.
    std::fs::write(made.path("authority"), "basicConstraints=critical,CA:TRUE\n").expect("a file");
    made.request("Middle", "mid.key", &["-out", "mid.csr"]);
    made.sign("mid", "ca", "30", "authority");
    made.sign("shop", "mid", "90", "names");
    let today = System.now().unix();
    let ca = made.path("ca.pem");
    for (chain, days) in [(&["shop.pem", "mid.pem"][..], 30), (&["shop.pem", "mid.pem", "ca.pem"], 30)] {
        let (address, _server) = made.serve(chain).await;
        let facts = check(&at_work(&shop(address, Some(&ca), "shop.example.com"), &[], today)).await.expect("facts");
        let end = facts.expires.date().expect("an end").unix();
        assert!((end - today - days * DAY).abs() < 2 * 3_600, "{chain:?}");
        assert_eq!(facts.validity, Validity::Valid);
    }
    // An intermediate that is not sent is a fault of the server, and most clients cannot make up for it.
    let (address, _server) = made.serve(&["shop.pem"]).await;
    let facts = check(&at_work(&shop(address, Some(&ca), "shop.example.com"), &[], today)).await.expect("facts");
    assert_eq!(facts.validity, Validity::Revoked(Cause::Untrusted));
}

#[test]
fn an_address_is_a_host_and_a_port_and_nothing_else() {
    let fault = |address: &str| {
        let text =
            format!("[[tokens]]\nname = \"shop\"\nprovider = \"x509\"\n[tokens.parameters]\naddress = \"{address}\"\n");
        settings::from_text(&text, "test", &[]).err().map(|faults| faults.to_string())
    };
    for address in ["shop.example.com:443", "127.0.0.1:8443", "[2001:db8::1]:443", "xn--mller-kva.example:443"] {
        assert_eq!(fault(address), None, "{address}");
    }
    for address in [
        "https://shop.example.com:443",
        "shop.example.com",
        "shop.example.com:0",
        "shop.example.com:443/",
        "user@shop.example.com:443",
        "2001:db8::1:443",
        "[shop.example.com]:443",
        ":443",
    ] {
        let fault = fault(address).unwrap_or_default();
        assert!(fault.contains("address must be host:port, as shop.example.com:443"), "{address}: {fault}");
    }
    let fault = fault("müller.example:443").unwrap_or_default();
    assert!(fault.contains("must be written in ASCII: xn--mller-kva.example:443"), "{fault}");
}

#[tokio::test]
async fn who_shows_no_certificate_tells_nothing() {
    let made = Certificates::new();
    let ca = made.path("ca.pem");
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("bound");
    let config = shop(address, Some(&ca), "shop.example.com")
        .replace("[provider.x509]\n", "[provider.x509]\ntimeout = \"1s\"\n");
    assert_eq!(check(&at_work(&config, &[], NOW)).await.expect_err("silence").reason(), "timeout");
    let (_nobody, nobody) = refusing();
    let config = config.replace(&address.to_string(), &nobody.to_string());
    assert_eq!(check(&at_work(&config, &[], NOW)).await.expect_err("nobody").reason(), "connect");
    let page = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = page.local_addr().expect("bound");
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut stream, _)) = page.accept().await {
            use tokio::io::AsyncWriteExt as _;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let config = shop(address, Some(&ca), "shop.example.com");
    let failure = check(&at_work(&config, &[], NOW)).await.expect_err("no TLS");
    assert_eq!((failure.reason(), failure.to_string()), ("tls", format!("TLS failed: {address} speaks no TLS")));
}

// promise 64
#[tokio::test]
async fn a_jwt_is_read_and_nobody_is_asked() {
    let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let token = |claims: &str| format!("{}.{}.c2lnbmF0dXJl", part("{\"alg\":\"RS256\"}"), part(claims));
    let config = "[[tokens]]\nname = \"jwt\"\nprovider = \"jwt\"\nsecret = { env = \"T\" }\n";
    let end = NOW + 10 * DAY;
    let alive = token(&format!("{{\"exp\":{end},\"iat\":{NOW},\"sub\":\"ada\"}}"));
    let facts = check(&at_work(config, &[("T", &alive)], NOW)).await.expect("facts");
    let expected = (Validity::Valid, Expiry::At(Timestamp::from_unix(end)), Basis::Claimed);
    assert_eq!((facts.validity, facts.expires, facts.basis), expected);
    assert_eq!(check(&at_work(config, &[("T", &alive)], end)).await.expect("facts").validity, Validity::Expired);
    let other = check(&at_work(config, &[("T", "not-a-token")], NOW)).await.expect("facts");
    assert_eq!(other.validity, Validity::Unreadable);
}

// promise 64
#[tokio::test]
async fn a_date_that_a_person_wrote_is_believed_where_nobody_else_knows() {
    let config = |rest: &str| format!("[[tokens]]\nname = \"badge\"\nprovider = \"manual\"\n{rest}");
    let facts = known(&at_work(&config("expires = \"2026-01-31\"\n"), &[], NOW), NOW).await;
    let end = Timestamp::from_unix(NOW + 30 * DAY);
    assert_eq!((facts.validity, facts.expires, facts.basis), (Validity::Valid, Expiry::At(end), Basis::Typed));
    // Of what has no API a date that has passed is an end; the core says so.
    let late = known(&at_work(&config("expires = \"2025-12-31T12:00:00+05:30\"\n"), &[], NOW), NOW).await;
    assert_eq!(late.expires, Expiry::At(Timestamp::from_unix(NOW - DAY + 23_400)));
    let missing = settings::from_text(&config(""), "test.toml", &[]).map(drop).expect_err("no date").to_string();
    assert!(missing.contains("tokens[badge].expires is missing"), "{missing}");
    // A secret is not needed, but noticed: another one is another generation.
    let with = config("expires = \"2026-01-31\"\nsecret = { env = \"T\" }\n");
    let generation = async |value: &str| {
        let wiring = at_work(&with, &[("T", value)], NOW);
        let token = &wiring.settings.tokens[0];
        wiring.check(token, &FingerprintKey::new([7; 32]), Wanted::NOTHING).await.outcome.fingerprint
    };
    assert_ne!(generation("one secret").await, generation("another one").await);
}

#[tokio::test]
async fn a_written_date_gives_way_to_a_provider_that_knows_better() {
    use crate::pages::messagebird::{KeyKind, Messagebird};
    let config = "[provider.messagebird]\nbase_url = \"{url}\"\n[[tokens]]\nname = \"sms\"\nprovider = \"messagebird\"\n\
                  secret = { env = \"T\" }\nexpires = \"2026-06-01\"\n";
    let mut bench = Bench::new(Messagebird::new("bird"), config).await;
    let key = bench.site.page().add_key(KeyKind::Live);
    bench.set("T", &key);
    // MessageBird says of itself that its keys never end.
    assert_eq!(bench.facts().await.expires, Expiry::Never);
}

#[test]
fn every_built_in_description_is_right_and_documented() {
    use tokenwatch::domain::token::ProviderName;
    use tokenwatch::settings::description::builtin;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_to_string(root.join("docs/providers.md")).expect("docs/providers.md");
    for (name, text) in builtin::ALL {
        let known = ProviderName::parse(name).expect("a name");
        let (description, faults) = builtin::parse(&known, text);
        assert!(faults.is_empty(), "{name}: {faults:?}");
        let description = description.expect("a description");
        assert_eq!(builtin::title(&known), Some(&*description.title), "its title stands on a line of its own");
        assert!(text.starts_with('#') && text.lines().all(|line| line.len() <= 200), "{name}");
    }
    for name in builtin::names() {
        assert!(docs.contains(&format!("| `{name}`")), "docs/providers.md does not tell of {name}");
    }
    let mut sorted: Vec<&str> = builtin::ALL.iter().map(|(name, _)| *name).collect();
    sorted.sort_unstable();
    assert_eq!(sorted, builtin::ALL.map(|(name, _)| name));
}
