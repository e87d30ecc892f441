//! The status page and the calendar over a hundred thousand tokens, asked for over HTTP as a browser does.
//!
//! The state file holds every status, and the listener runs on one thread as the daemon's does: what a page costs there, the watch loop waits for.

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use common::{aim, forget_peak, kib, median, number, plain, timed, title};
use tokenwatch::board::{Board, Row, Table};
use tokenwatch::clock::Lens;
use tokenwatch::domain::alert::Subject;
use tokenwatch::domain::inspection::{Expiry, Inspection, TokenKind, Validity};
use tokenwatch::domain::status::{Facts, Generation, TokenStatus};
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::domain::verdict::{Case, judge};
use tokenwatch::metrics::Counters;
use tokenwatch::ports::{Change, JournalChange, SlotStatus, Store};
use tokenwatch::requests::Requests;
use tokenwatch::settings::{self, Settings};
use tokenwatch::store::Sqlite;
use tokenwatch::web::{self, Web};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const NOW: Timestamp = Timestamp::from_unix(1_772_368_496);
const TOKENS: usize = 100_000;
const BATCH: usize = 500;
const RUNS: usize = 15;

fn main() {
    title(
        "pages over 100,000 tokens",
        "processor time of one answer, its reader included (median of 15), its size, and how far the first one raises the high-water mark of resident memory",
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&folder.path().join("state.db")).expect("a store"));
    let settings = settings();
    let rows = runtime.block_on(fill(&store, &settings));
    let board = Arc::new(Board::default());
    board.replace(Arc::new(Table::new(rows)));
    board.vitals.beat(NOW);
    board.vitals.pass_done(NOW);
    let (_sender, receiver) = tokio::sync::watch::channel(Arc::new(settings));
    let clock = runtime.block_on(async { Arc::new(Lens::new(NOW, 1)) });
    let web = Web {
        board,
        counters: Arc::new(Counters::default()),
        store,
        clock,
        settings: receiver,
        requests: Requests::new().0,
        preview: None,
    };
    let mut server = JoinSet::new();
    let address = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        server.spawn(async move { axum::serve(listener, web::router(web)).await });
        address
    });
    for (what, path, limit, size) in [
        ("the first page", "/", 40.0, 200.0),
        ("page 1,000", "/?page=1000", 40.0, 200.0),
        ("a search by a part of a name", "/?q=99999", 40.0, 200.0),
        ("what a receiver is told of, with findings", "/?receiver=night&open=1", 40.0, 200.0),
        ("a token", "/tokens/customer-050000-whatsapp", 40.0, 200.0),
        ("the calendar", "/calendar.ics", 500.0, 8_000.0),
        ("the calendar of one token", "/calendar.ics?token=customer-050000-whatsapp", 40.0, 200.0),
    ] {
        let ask = || runtime.block_on(ask(address, path));
        // The first answer of its kind: what it takes stays with the allocator, and a later one would show nothing.
        forget_peak();
        let before = kib("self", "VmRSS");
        let bytes = ask();
        let extra = (kib("self", "VmHWM") - before) / 1_024.0;
        let times = (0..RUNS).map(|_| timed(ask).0 * 1e3).collect();
        aim(&format!("{what}, an answer"), median(times), limit, "ms");
        aim("  its size", number(bytes) / 1e3, size, "kB");
        plain("  memory that the first one adds", format!("{extra:.2} MiB"));
    }
}

/// Asks once; the size of the answer.
async fn ask(address: SocketAddr, path: &str) -> usize {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\nAccept: text/html\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it listens");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.0 200"), "{path}: {}", String::from_utf8_lossy(&answer));
    answer.len()
}

fn settings() -> Settings {
    let mut text = "[receivers.default]\n[receivers.night]\n[apps.helpdesk]\nid = \"634900000000001\"\n".to_owned();
    for index in 0..TOKENS {
        let receiver = if index % 10 == 0 { "night" } else { "default" };
        text.push_str(&format!(
            "[[tokens]]\nname = \"customer-{index:06}-whatsapp\"\napp = \"helpdesk\"\nreceivers = [\"{receiver}\"]\nsecret = {{ env = \"T\" }}\n"
        ));
    }
    settings::from_text(&text, "bench", &[]).expect("a configuration").settings
}

/// Puts every status into the state; what everyone may see of them.
async fn fill(store: &Arc<dyn Store>, settings: &Settings) -> Vec<Row> {
    let mut rows = Vec::with_capacity(TOKENS);
    for (number, group) in settings.tokens.chunks(BATCH).enumerate() {
        let mut changes = Vec::with_capacity(BATCH);
        for (place, token) in group.iter().enumerate() {
            let spec = &token.spec;
            let index = i64::try_from(number * BATCH + place).expect("a count of this world");
            // Within three months one after the other, so that about a quarter has a finding.
            let end = NOW.plus(Span::minutes(index % 129_600 + 1));
            let inspection = Inspection {
                kind: TokenKind::SystemUser,
                issued_at: Some(end.minus(Span::days(60))),
                expires: Expiry::At(end),
                data_access: Expiry::At(end.plus(Span::days(30))),
                ..Inspection::bare(Validity::Valid)
            };
            let status = TokenStatus {
                generation: Generation { number: 1, fingerprint: None, since: NOW },
                facts: Some(Facts::new(1, inspection, None, NOW)),
                last_check: Some(NOW),
                last_answer: Some(NOW),
                ..TokenStatus::new(NOW)
            };
            rows.push(Row::new(spec, &status, &judge(Case { spec, status: &status, now: NOW })));
            changes.push(Change {
                subject: Subject::Token(spec.id.clone()),
                status: SlotStatus::Token(Box::new(status)),
                notices: Vec::new(),
                entries: Vec::new(),
                journal: JournalChange::None,
            });
        }
        store.commit(changes).await.expect("committed");
    }
    rows
}
