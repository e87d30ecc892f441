//! A full pass: ten thousand tokens at a provider 50 ms away, against a bare hyper loop that asks the same questions.
//!
//! Both run on one thread over one TLS connection with HTTP/2 where that is what was agreed; the provider is a process of its own, so only
//! the client's processor time is counted.

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::provider::{APP, Provider, SECRET, environment, serve_if_asked, token};
use common::{Stopwatch, aim, least, median, plain, title};
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokenwatch::clock::System;
use tokenwatch::daemon::wiring::{Wanted, Wiring};
use tokenwatch::daemon::{Daemon, Doors};
use tokenwatch::ports::Clock;
use tokenwatch::reader::Reader;
use tokenwatch::renewal::keyring::{KEY_FILE, Keyring};
use tokenwatch::secret::FingerprintKey;
use tokenwatch::settings;
use tokenwatch::settings::source::Sources;
use tokenwatch::store::Sqlite;
use tokenwatch::tls;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const TOKENS: usize = 10_000;
const AT_ONCE: usize = 500;
const RUNS: usize = 5;
const AIM: f64 = 1.5;
/// Seconds; a pass takes two.
const TOO_LONG: f64 = 120.0;

fn main() {
    serve_if_asked();
    title(
        "a full pass of 10,000 tokens, 50 ms away, 500 at once",
        "processor time of the client, five runs in turn; the provider runs in another process",
    );
    let provider = Provider::start(Duration::from_millis(50));
    let more = format!("[daemon]\nconcurrency = {AT_ONCE}\n");
    let by_file = House { config: provider.config(TOKENS) + &more, environment: Vec::new() };
    let by_environment =
        House { config: provider.config_by_environment(TOKENS) + &more, environment: environment(TOKENS) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut bare, mut checks, mut files, mut passes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        bare.push(runtime.block_on(ask_bare(&provider)));
        checks.push(runtime.block_on(ask_as_wired(&by_environment)));
        files.push(runtime.block_on(ask_as_wired(&by_file)));
        passes.push(runtime.block_on(pass_of_a_daemon(&provider, &by_file)));
    }
    plain("a bare hyper loop over HTTP/2", seconds(&bare));
    plain("`Wiring::check` of every token, secrets at hand", seconds(&checks));
    plain("the same, each secret in a file of its own", seconds(&files));
    plain("the daemon: files, decide, commit, publish", seconds(&passes));
    aim("the checks over the bare loop, medians", median(checks.clone()) / median(bare.clone()), AIM, "x");
    aim("the checks over the bare loop, least", least(&checks) / least(&bare), AIM, "x");
    plain("the daemon over the bare loop, medians", format!("{:.2} x", median(passes) / median(bare)));
}

/// A configuration and where its secrets are.
struct House {
    config: String,
    environment: Vec<(String, String)>,
}

fn seconds(figures: &[f64]) -> String {
    format!("{:.2} s", median(figures.to_vec()))
}

/// The same questions without anything around them: one connection, requests made of prepared URIs, bodies read and dropped.
async fn ask_bare(provider: &Provider) -> f64 {
    let proof = "0".repeat(64);
    let uris: Vec<hyper::Uri> = (0..TOKENS)
        .map(|index| {
            let query = format!("input_token={}&access_token={APP}%7C{SECRET}&appsecret_proof={proof}", token(index));
            format!("https://{}/v25.0/debug_token?{query}", provider.address).parse().expect("a uri")
        })
        .collect();
    let mut trust = tls::client_config(Some(&provider.ca_file())).expect("trust");
    trust.alpn_protocols = vec![b"h2".to_vec()];
    let watch = Stopwatch::start();
    let stream = TcpStream::connect(provider.address).await.expect("connected");
    stream.set_nodelay(true).expect("an option of every socket");
    let name = provider.address.ip().into();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(trust)).connect(name, stream).await.expect("a handshake");
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    let mut background = JoinSet::new();
    background.spawn(connection);
    let answered = stream::iter(uris)
        .map(|uri| {
            let mut sender = sender.clone();
            async move {
                let request = hyper::Request::get(uri)
                    .header("user-agent", "tokenwatch")
                    .header("accept", "*/*")
                    .body(Empty::<Bytes>::new())
                    .expect("a good request");
                sender.ready().await.expect("the connection lives");
                let response = sender.send_request(request).await.expect("an answer");
                response.into_body().collect().await.expect("a body").to_bytes().len()
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter(|bytes| std::future::ready(*bytes > 0))
        .count()
        .await;
    assert_eq!(answered, TOKENS, "every question has an answer");
    watch.cpu()
}

async fn ask_as_wired(house: &House) -> f64 {
    let clock: Arc<dyn Clock> = Arc::new(System);
    let wiring = wiring(house, &clock);
    let key = FingerprintKey::new([0; 32]);
    let watch = Stopwatch::start();
    let answered = stream::iter(&wiring.settings.tokens)
        .map(|token| wiring.check(token, &key, Wanted::NOTHING))
        .buffer_unordered(AT_ONCE)
        .filter(|checked| std::future::ready(checked.outcome.answer.is_ok()))
        .count()
        .await;
    assert_eq!(answered, TOKENS, "every question has an answer");
    watch.cpu()
}

/// From the start of the loop until every token was checked, decided, committed and shown.
async fn pass_of_a_daemon(provider: &Provider, house: &House) -> f64 {
    let clock: Arc<dyn Clock> = Arc::new(System);
    let state = tempfile::tempdir_in(provider.folder()).expect("a folder");
    let store = Arc::new(Sqlite::open(&state.path().join("state.db")).expect("a store"));
    let daemon =
        Daemon::new(Arc::clone(&clock), store, wiring(house, &clock), Keyring::new(None, state.path().join(KEY_FILE)));
    let (board, stop) = (daemon.board(), CancellationToken::new());
    let mut running = JoinSet::new();
    let watch = Stopwatch::start();
    running.spawn(daemon.run(Doors::default(), stop.clone(), CancellationToken::new()));
    let unanswered = || board.table().rows().iter().any(|row| row.last_answer.is_none());
    while !board.vitals.first_pass_done() || unanswered() {
        assert!(watch.wall() < TOO_LONG, "every question has an answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let used = watch.cpu();
    stop.cancel();
    while running.join_next().await.is_some() {}
    used
}

fn wiring(house: &House, clock: &Arc<dyn Clock>) -> Wiring {
    let loaded = settings::from_text(&house.config, "bench", &[]).expect("a good configuration");
    let sources = Sources::new(house.environment.iter().cloned());
    Wiring::new(loaded.settings, &Reader::new(sources), clock).expect("the wiring holds")
}
