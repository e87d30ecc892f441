//! A hundred thousand results committed: in batches as the daemon commits them, and in one transaction.
//!
//! Every commit is durable (`synchronous=FULL`), so a figure from a real disk holds its syncs; one from memory shows the work alone.

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod common;

use std::path::Path;

use common::{Stopwatch, aim, plain, title};
use tokenwatch::domain::alert::Subject;
use tokenwatch::domain::inspection::{Expiry, Grant, Inspection, TokenKind, Validity};
use tokenwatch::domain::status::{Facts, Generation, TokenStatus};
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::domain::token::{Fingerprint, TokenId};
use tokenwatch::ports::{Change, JournalChange, SlotStatus, Store as _};
use tokenwatch::store::Sqlite;

const NOW: Timestamp = Timestamp::from_unix(1_772_368_496);
const RESULTS: usize = 100_000;
/// As in the watch loop.
const BATCH: usize = 500;

fn main() {
    title(
        "100,000 results committed",
        "time on the wall (and of the processor) of `Store::commit`, into a new file and then over what is there",
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for (place, folder) in [("disk", env!("CARGO_TARGET_TMPDIR")), ("memory", "/dev/shm")] {
        if Path::new(folder).is_dir() {
            runtime.block_on(measure(place, Path::new(folder)));
        }
    }
}

async fn measure(place: &str, folder: &Path) {
    for (size, how) in [(BATCH, "batches of 500"), (RESULTS, "one transaction")] {
        let folder = tempfile::tempdir_in(folder).expect("a folder");
        let store = Sqlite::open(&folder.path().join("state.db")).expect("a store");
        for (again, what) in [(0, "new"), (1, "known")] {
            let batches: Vec<Vec<Change>> = (0..RESULTS)
                .step_by(size)
                .map(|start| (start..start + size).map(|index| change(index, again)).collect())
                .collect();
            let watch = Stopwatch::start();
            for batch in batches {
                store.commit(batch).await.expect("committed");
            }
            let (took, busy) = (watch.wall(), watch.cpu());
            aim(&format!("{place}, {how}, {what} slots (cpu {busy:.2} s)"), took, 1.0, "s");
        }
        if size == BATCH {
            let watch = Stopwatch::start();
            for start in (0..RESULTS).step_by(BATCH) {
                let subjects = (start..start + BATCH).map(subject).collect();
                assert_eq!(store.load(subjects).await.expect("loaded").len(), BATCH, "all are there");
            }
            plain(&format!("{place}, {how}, loaded before that"), format!("{:.2} s", watch.wall()));
        }
    }
}

fn subject(index: usize) -> Subject {
    Subject::Token(TokenId::parse(&format!("customer-{index:06}-whatsapp")).expect("a name"))
}

/// What a healthy check of a system user's token leaves behind.
fn change(index: usize, again: i64) -> Change {
    let now = NOW.plus(Span::minutes(15 * again));
    let grant = |scope: &str| Grant { scope: scope.into(), targets: None };
    let inspection = Inspection {
        kind: TokenKind::SystemUser,
        app_id: Some("634900000000001".into()),
        user_id: Some("104160000000001".into()),
        issued_at: Some(NOW),
        expires: Expiry::At(NOW.plus(Span::days(60))),
        data_access: Expiry::At(NOW.plus(Span::days(90))),
        grants: Some(vec![grant("whatsapp_business_management"), grant("whatsapp_business_messaging")]),
        ..Inspection::bare(Validity::Valid)
    };
    let status = TokenStatus {
        generation: Generation { number: 1, fingerprint: Some(Fingerprint([7; 16])), since: NOW },
        facts: Some(Facts::new(1, inspection, None, NOW)),
        last_check: Some(now),
        last_answer: Some(now),
        next_check: now.plus(Span::minutes(15)),
        ..TokenStatus::new(now)
    };
    Change {
        subject: subject(index),
        status: SlotStatus::Token(Box::new(status)),
        notices: Vec::new(),
        entries: Vec::new(),
        journal: JournalChange::None,
    }
}
