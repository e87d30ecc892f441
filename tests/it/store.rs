//! The contract of the store, sentence by sentence, as a suite that any store can be held against; and what the SQLite store adds to it:
//! the file's mode, its format, and a crash at every point of a commit.
//!
//! A new store needs one [`Kind`] and one line with `hold!`. Nothing here depends on time or chance: the random statuses come from a fixed
//! seed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tempfile::TempDir;
use tokenwatch::domain::alert::{
    AlertKey, Damped, Ending, Incident, Notice, NoticeFacts, NotifyReason, RenewalNote, Subject, incident_key,
};
use tokenwatch::domain::answer::{Answer, Signed, Silence};
use tokenwatch::domain::finding::{Detail, Reason, Severity, Stage};
use tokenwatch::domain::inspection::{
    AppFault, Basis, Cause, CheckError, Expiry, Grant, Inspection, TokenKind, Unreachable, Validity,
};
use tokenwatch::domain::ledger::{Entry, Ledger};
use tokenwatch::domain::number::{Entity, Number, NumberStatus, Obstacle, Sending, Subscription};
use tokenwatch::domain::renewal::{Ended, Kept, Mark, Origin, Outcome, Phase, RenewalStatus, Run};
use tokenwatch::domain::route::{ChannelKind, Route};
use tokenwatch::domain::status::{AppStatus, Dated, Facts, Generation, TokenStatus};
use tokenwatch::domain::summary::Summary;
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::domain::token::{AppName, Fingerprint, ProviderName, ReceiverName, TokenId};
use tokenwatch::domain::verdict::Verdict;
use tokenwatch::domain::watcher::WatcherStatus;
use tokenwatch::ports::{
    AnswerRecord, Change, DeliveryRecord, History, IncidentRecord, JournalChange, Journaled, Lane, LaneSummary,
    OutboxRow, OutboxSummary, Sealed, Settlement, SlotStatus, Store, StoreError,
};
use tokenwatch::secret::{FingerprintKey, Secret};
use tokenwatch::store::Sqlite;
use zeroize::Zeroizing;

/// One kind of store: how it is opened, and how it is made to fail.
struct Kind {
    open: fn(&Path) -> Result<Arc<dyn Store>, StoreError>,
    /// From now on a commit of a notice whose key contains this word fails. Called while nobody has the store open.
    sabotage: fn(&Path, &str),
    /// Makes the status of that subject unreadable. Called while nobody has the store open.
    damage: fn(&Path, &Subject),
}

const SQLITE: Kind = Kind {
    open: |path| Sqlite::open(path).map(|store| Arc::new(store) as Arc<dyn Store>),
    sabotage: |path, word| {
        let connection = rusqlite::Connection::open(path).expect("the file opens");
        let trigger = format!(
            "CREATE TRIGGER sabotage BEFORE INSERT ON outbox WHEN NEW.alert_key LIKE '%{word}%'
             BEGIN SELECT RAISE(ROLLBACK, 'no space for {word}'); END"
        );
        connection.execute_batch(&trigger).expect("a trigger");
    },
    damage: |path, subject| {
        let connection = rusqlite::Connection::open(path).expect("the file opens");
        let sql = "UPDATE slots SET status = '{\"token\":{\"generation\":1' WHERE subject = ?1";
        assert_eq!(connection.execute(sql, [subject.to_string()]).expect("an update"), 1);
    },
};

/// A place for one store, and the store while it is open.
struct Shelf {
    kind: &'static Kind,
    folder: TempDir,
    store: Option<Arc<dyn Store>>,
}

impl Shelf {
    fn new(kind: &'static Kind) -> Self {
        let mut shelf = Self { kind, folder: tempfile::tempdir().expect("a temporary folder"), store: None };
        shelf.reopen();
        shelf
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    /// The store closed, as by a restart, and opened again.
    fn reopen(&mut self) {
        self.close();
        self.store = Some((self.kind.open)(&self.path()).expect("the store opens"));
    }

    fn close(&mut self) {
        self.store = None;
    }

    fn store(&self) -> &dyn Store {
        self.store.as_deref().expect("the store is open")
    }

    async fn lane(&self, lane: &Lane) -> Vec<OutboxRow> {
        self.store().pending(lane.clone(), usize::MAX).await.expect("the outbox can be read")
    }

    async fn lanes(&self) -> Vec<Lane> {
        let lanes = self.store().lanes(Timestamp::from_unix(0)).await.expect("the outbox can be read");
        lanes.into_iter().map(|summary| summary.lane).collect()
    }

    /// What waits in all lanes.
    async fn pending(&self) -> Vec<Waiting> {
        let mut rows = Vec::new();
        for lane in self.lanes().await {
            rows.extend(self.lane(&lane).await.into_iter().map(|row| Waiting { lane: lane.clone(), row }));
        }
        rows.sort_by_key(|waiting| waiting.id);
        rows
    }

    /// What waits, as `receiver by route: key`, lane by lane.
    async fn waiting(&self) -> Vec<String> {
        let mut words = Vec::new();
        for lane in self.lanes().await {
            let by = lane.route.map_or("-", Route::as_str);
            let rows = self.lane(&lane).await;
            words.extend(rows.iter().map(|row| format!("{} by {by}: {}", lane.receiver, row.notice.key)));
        }
        words
    }

    async fn assign(&self, rows: &[i64], lanes: &[Lane]) {
        self.store().assign(rows.to_vec(), lanes.to_vec(), Timestamp::from_unix(30)).await.expect("assigned");
    }

    async fn seal(&self, rows: &[i64], message: &str) {
        self.store().seal(rows.to_vec(), Arc::from(message)).await.expect("sealed");
    }

    async fn settle(&self, rows: &[i64], delivery: Settlement) {
        self.store().settle(rows.to_vec(), delivery).await.expect("settled");
    }

    async fn firing(&self, lane: &Lane) -> Vec<String> {
        let open = self.store().firing(lane.clone()).await.expect("what is open");
        open.iter().map(|notice| notice.key.to_string()).collect()
    }

    async fn history(&self, subject: &Subject, limit: usize) -> History {
        self.store().history(subject.clone(), limit).await.expect("the history")
    }

    async fn run_of(&self, name: &str) -> Option<Journaled> {
        let token = TokenId::parse(name).expect("a name");
        self.store().run_of(token).await.expect("the journal can be read")
    }

    async fn runs(&self) -> Vec<Journaled> {
        self.store().runs().await.expect("the journal can be read")
    }

    async fn note(&self, name: &str, journal: JournalChange) {
        self.commit(vec![Change { journal, ..change(name, 1) }]).await;
    }

    async fn prune(&self, before: i64) {
        self.store().prune(Timestamp::from_unix(before)).await.expect("pruned");
    }

    async fn keys(&self) -> Vec<String> {
        self.pending().await.iter().map(|row| row.notice.key.to_string()).collect()
    }

    async fn load(&self, subject: &Subject) -> Option<SlotStatus> {
        let found = self.store().load(vec![subject.clone()]).await.expect("the status can be read");
        assert!(found.len() <= 1);
        found.into_iter().next().map(|(found, status)| {
            assert_eq!(found, *subject);
            status
        })
    }

    async fn commit(&self, changes: Vec<Change>) {
        self.store().commit(changes).await.expect("a commit");
    }
}

/// A row and the lane that it waits in.
#[derive(Clone, PartialEq, Debug)]
struct Waiting {
    lane: Lane,
    row: OutboxRow,
}

impl std::ops::Deref for Waiting {
    type Target = OutboxRow;

    fn deref(&self) -> &OutboxRow {
        &self.row
    }
}

/// What a history should hold: incidents by their keys, answers, renewals.
type Past = (BTreeMap<String, IncidentRecord>, Vec<AnswerRecord>, Vec<Ended>);

/// Names every sentence of the contract once, for each kind of store.
macro_rules! hold {
    ($name:ident, $kind:expr; $($sentence:ident)*) => {
        mod $name {
            $(
                #[tokio::test]
                async fn $sentence() {
                    super::contract::$sentence(&$kind).await;
                }
            )*
        }
    };
}

hold! { sqlite, super::SQLITE;
    a_status_and_its_notices_are_stored_together_or_not_at_all
    a_commit_replaces_and_never_merges
    a_key_is_told_once_even_after_delivery
    each_receiver_gets_a_row
    rows_come_in_the_order_of_their_commits
    a_sealed_row_keeps_its_message_over_restarts
    what_did_not_leave_is_untied
    what_may_wait_is_left_out
    a_settled_row_is_gone_for_good
    a_failed_row_keeps_what_went_wrong
    lanes_are_counted
    a_notice_known_by_any_way_is_not_put_in_again
    rows_move_to_their_lanes_and_to_none_twice
    a_row_with_nobody_to_go_to_stays
    messages_are_counted_and_not_their_rows
    what_is_firing_is_the_last_word_on_what_is_open
    the_history_is_of_one_subject_and_newest_first
    the_last_entry_of_an_incident_counts
    beginnings_and_ends_are_counted
    what_is_past_is_forgotten_and_what_is_open_is_not
    the_outbox_is_counted
    nothing_undelivered_is_forgotten
    only_slots_that_nobody_looked_at_are_forgotten
    the_fingerprint_key_never_changes
    a_second_process_is_refused_and_harms_nobody
    a_failure_is_an_error_and_the_store_stays_usable
    a_run_is_where_it_was_until_it_ends
    a_run_begins_and_ends_with_its_status_or_not_at_all
    what_is_sealed_outlives_a_run_that_was_set_aside
    the_slot_of_a_run_is_not_forgotten
    a_record_that_cannot_be_read_is_an_error_of_its_own
    a_commit_that_nobody_waits_for_is_whole
    many_at_once_do_not_mix
    whatever_is_stored_comes_back_the_same
}

mod contract {
    use super::*;

    /// Sentence 1.
    pub async fn a_status_and_its_notices_are_stored_together_or_not_at_all(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        shelf.close();
        (kind.sabotage)(&shelf.path(), "boom");
        shelf.reopen();
        let good = Change { notices: vec![notice("a", "k1", 10)], ..change("a", 1) };
        let bad = Change { notices: vec![notice("b", "k2", 11), notice("b", "boom", 11)], ..change("b", 2) };
        let after = change("c", 3);
        let refused = shelf.store().commit(vec![good.clone(), bad, after]).await;
        assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
        for restarted in [false, true] {
            for name in ["a", "b", "c"] {
                assert_eq!(shelf.load(&token(name)).await, None, "{name}, restarted: {restarted}");
            }
            assert_eq!(shelf.keys().await, [""; 0]);
            shelf.reopen();
        }
        shelf.commit(vec![good.clone()]).await;
        shelf.reopen();
        assert_eq!(shelf.load(&token("a")).await, Some(good.status));
        assert_eq!(shelf.keys().await, ["k1"]);
    }

    pub async fn a_commit_replaces_and_never_merges(kind: &'static Kind) {
        let shelf = Shelf::new(kind);
        let full = Change { status: SlotStatus::Token(Box::new(full_status())), ..change("a", 1) };
        let app = Change { subject: app("a"), status: SlotStatus::App(full_app()), ..change("a", 1) };
        shelf.commit(vec![full, app.clone()]).await;
        let bare = change("a", 5);
        shelf.commit(vec![change("a", 4), bare.clone()]).await;
        assert_eq!(shelf.load(&token("a")).await, Some(bare.status), "the last one of a batch counts");
        assert_eq!(shelf.load(&app.subject).await, Some(app.status), "an app of the same name is another subject");
        assert_eq!(shelf.load(&token("b")).await, None);
        let subjects = shelf.store().subjects().await.expect("the subjects");
        assert_eq!(subjects.len(), 2);
        assert!(subjects.contains(&token("a")) && subjects.contains(&app.subject));
        let asked = vec![token("b"), token("a"), app.subject, token("c")];
        assert_eq!(shelf.store().load(asked).await.expect("statuses").len(), 2, "who has no status is left out");
        shelf.commit(vec![]).await;
    }

    /// Sentence 2.
    pub async fn a_key_is_told_once_even_after_delivery(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let first = Notice { severity: Severity::Info, ..notice("a", "k", 10) };
        let again = Notice { severity: Severity::Critical, at: Timestamp::from_unix(99), ..first.clone() };
        let tell = |notices: Vec<Notice>| vec![Change { notices, ..change("a", 1) }];
        shelf.commit(tell(vec![first.clone(), again.clone()])).await;
        shelf.commit(tell(vec![again.clone()])).await;
        let rows = shelf.pending().await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].notice, first, "what was told first stays as it was");
        for message in ["sealed", "delivered", "restarted"] {
            match message {
                "sealed" => shelf.store().seal(vec![rows[0].id], Arc::from("<m@x>")).await.expect("sealed"),
                "delivered" => shelf.store().settle(vec![rows[0].id], by_mail(20)).await.expect("settled"),
                _ => shelf.reopen(),
            }
            shelf.commit(tell(vec![again.clone()])).await;
            assert!(shelf.pending().await.len() <= 1, "{message}");
        }
        assert_eq!(shelf.keys().await, [""; 0]);
    }

    pub async fn each_receiver_gets_a_row(kind: &'static Kind) {
        let shelf = Shelf::new(kind);
        let told = |names: &[&str]| Notice { receivers: receivers(names), ..notice("a", "k", 10) };
        shelf.commit(vec![Change { notices: vec![told(&["default", "lead"])], ..change("a", 1) }]).await;
        // Somebody added later is told, and nobody twice.
        shelf.commit(vec![Change { notices: vec![told(&["audit", "default"])], ..change("a", 2) }]).await;
        // A notice for nobody waits for nobody.
        let nobody = Notice { receivers: receivers(&[]), ..notice("a", "k2", 10) };
        shelf.commit(vec![Change { notices: vec![nobody], ..change("a", 3) }]).await;
        let rows = shelf.pending().await;
        let names: Vec<&str> = rows.iter().map(|row| row.lane.receiver.as_str()).collect();
        assert_eq!(names, ["default", "lead", "audit"]);
        shelf.store().settle(vec![rows[0].id], by_mail(20)).await.expect("settled");
        assert_eq!(shelf.pending().await.len(), 2, "one delivery is one receiver's");
    }

    /// Sentence 3.
    pub async fn rows_come_in_the_order_of_their_commits(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let mut expected = Vec::new();
        for batch in 0..20_i64 {
            let changes = (0..5_i64).map(|n| {
                // Neither names nor times follow the order of the commits.
                let key = format!("k{}-{n}", 99 - batch);
                expected.push(key.clone());
                Change { notices: vec![notice("a", &key, 1_000 - batch)], ..change(&format!("t{n}"), batch) }
            });
            shelf.commit(changes.collect()).await;
        }
        shelf.reopen();
        assert_eq!(shelf.keys().await, expected);
        let rows = shelf.pending().await;
        assert!(rows.windows(2).all(|pair| pair[0].id < pair[1].id), "numbers count up");
        for limit in [0, 1, 7] {
            let some = shelf.store().pending(unrouted("default"), limit).await.expect("rows");
            assert!(some.iter().eq(rows[..limit].iter().map(|waiting| &waiting.row)), "the oldest come first");
        }
        // A number is never given twice, so a settled row cannot be mistaken for a new one.
        let last = rows.last().expect("rows").id;
        shelf.store().settle(rows.iter().map(|row| row.id).collect(), by_mail(1)).await.expect("settled");
        shelf.store().prune(Timestamp::from_unix(i64::MAX)).await.expect("pruned");
        shelf.reopen();
        shelf.commit(vec![Change { notices: vec![notice("a", "new", 5)], ..change("a", 1) }]).await;
        assert!(shelf.pending().await[0].id > last);
    }

    /// Sentence 4.
    pub async fn a_sealed_row_keeps_its_message_over_restarts(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let notices = ["k1", "k2", "k3"].map(|key| notice("a", key, 10)).to_vec();
        shelf.commit(vec![Change { notices, ..change("a", 1) }]).await;
        let ids: Vec<i64> = shelf.pending().await.iter().map(|row| row.id).collect();
        shelf.store().seal(ids[..2].to_vec(), Arc::from("<first@x>")).await.expect("sealed");
        let messages = |rows: Vec<Waiting>| rows.into_iter().map(|waiting| waiting.row.message).collect::<Vec<_>>();
        let sealed = [Some(Arc::from("<first@x>")), Some(Arc::from("<first@x>")), None];
        for _ in 0..3 {
            assert_eq!(messages(shelf.pending().await), sealed);
            shelf.reopen();
        }
        // Neither another message nor other news unties it.
        shelf.store().seal(ids.clone(), Arc::from("<second@x>")).await.expect("sealed");
        shelf.commit(vec![Change { notices: vec![notice("a", "k1", 10)], ..change("a", 2) }]).await;
        shelf.store().prune(Timestamp::from_unix(i64::MAX)).await.expect("pruned");
        let [first, second, _] = sealed;
        assert_eq!(messages(shelf.pending().await), [first, second, Some(Arc::from("<second@x>"))]);
    }

    pub async fn what_did_not_leave_is_untied(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let notices = ["k1", "k2"].map(|key| notice("a", key, 10)).to_vec();
        shelf.commit(vec![Change { notices, ..change("a", 1) }]).await;
        let before = shelf.pending().await;
        let ids: Vec<i64> = before.iter().map(|row| row.id).collect();
        shelf.store().seal(ids.clone(), Arc::from("<m@x>")).await.expect("sealed");
        shelf
            .store()
            .failed(ids.clone(), "connection refused".to_owned(), true, Timestamp::from_unix(15))
            .await
            .expect("noted");
        shelf.reopen();
        let failure = Some("connection refused".to_owned());
        let expected = before.into_iter().map(|Waiting { lane, row }| {
            let row = OutboxRow { failure: failure.clone(), ..row };
            Waiting { lane, row }
        });
        assert_eq!(shelf.pending().await, expected.collect::<Vec<_>>());
        // It can be tied to another message now, in other company.
        shelf.store().seal(ids[..1].to_vec(), Arc::from("<n@x>")).await.expect("sealed");
        assert_eq!(shelf.pending().await[0].message.as_deref(), Some("<n@x>"));
        assert_eq!(shelf.pending().await[1].message, None);
    }

    /// Sentence 5.
    pub async fn a_settled_row_is_gone_for_good(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let notices = ["k1", "k2", "k3"].map(|key| notice("a", key, 10)).to_vec();
        shelf.commit(vec![Change { notices, ..change("a", 1) }]).await;
        let ids: Vec<i64> = shelf.pending().await.iter().map(|row| row.id).collect();
        shelf.store().settle(vec![ids[0], ids[2]], by_mail(20)).await.expect("settled");
        assert_eq!(shelf.keys().await, ["k2"]);
        // What is said about a delivered row later does not bring it back.
        shelf.store().failed(vec![ids[0]], "too late".to_owned(), true, Timestamp::from_unix(15)).await.expect("noted");
        shelf.store().seal(vec![ids[0]], Arc::from("<m@x>")).await.expect("sealed");
        shelf.store().settle(vec![ids[0], 4_711], by_mail(21)).await.expect("settled twice, and one that is not there");
        shelf.assign(&[ids[0]], &[by("default", Route::Preferred)]).await;
        shelf.store().settle(vec![], by_mail(21)).await.expect("nothing");
        shelf.reopen();
        assert_eq!(shelf.keys().await, ["k2"]);
        let told = shelf.store().outbox().await.expect("counts").last;
        assert_eq!(told, [(ChannelKind::Mail, Timestamp::from_unix(20))], "the first settlement stands");
    }

    /// Sentence 4.
    pub async fn a_failed_row_keeps_what_went_wrong(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let notices = ["k1", "k2", "k3"].map(|key| notice("a", key, 10)).to_vec();
        shelf.commit(vec![Change { notices, ..change("a", 1) }]).await;
        let ids: Vec<i64> = shelf.pending().await.iter().map(|row| row.id).collect();
        shelf.seal(&ids[..2], "<m@x>").await;
        shelf.store().failed(vec![ids[0]], "refused".to_owned(), true, Timestamp::from_unix(15)).await.expect("noted");
        shelf.store().failed(vec![ids[1]], "cut off".to_owned(), false, Timestamp::from_unix(15)).await.expect("noted");
        for _ in 0..2 {
            let rows = shelf.pending().await;
            let found: Vec<_> = rows.iter().map(|row| (row.message.as_deref(), row.failure.as_deref())).collect();
            // What may have left stays tied to its message.
            assert_eq!(found, [(None, Some("refused")), (Some("<m@x>"), Some("cut off")), (None, None)]);
            shelf.reopen();
        }
        shelf.seal(&ids[..1], "<n@x>").await;
        assert_eq!(shelf.pending().await[0].failure.as_deref(), Some("refused"), "another try does not hide the last");
        shelf
            .store()
            .failed(vec![ids[0]], "refused again".to_owned(), false, Timestamp::from_unix(15))
            .await
            .expect("noted");
        assert_eq!(shelf.pending().await[0].failure.as_deref(), Some("refused again"));
        shelf.settle(&ids[..1], by_mail(20)).await;
        assert_eq!(shelf.keys().await, ["k2", "k3"]);
    }

    pub async fn what_may_wait_is_left_out(kind: &'static Kind) {
        let shelf = Shelf::new(kind);
        let of = |key: &str, severity| Notice { severity, ..notice("a", key, 10) };
        let test = Notice { reason: Reason::Test, ..of("test", Severity::Info) };
        let (info, warning, critical) = (Severity::Info, Severity::Warning, Severity::Critical);
        let notices = vec![of("k1", info), of("k2", critical), of("k3", warning), of("k4", info), test];
        shelf.commit(vec![Change { notices, ..change("a", 1) }]).await;
        let ids: Vec<i64> = shelf.pending().await.iter().map(|row| row.id).collect();
        shelf.seal(&ids[3..4], "<m@x>").await;
        for (from, limit, expected) in [
            (critical, 10, vec!["k2", "k4", "test"]),
            (warning, 10, vec!["k2", "k3", "k4", "test"]),
            (info, 10, vec!["k1", "k2", "k3", "k4", "test"]),
            (critical, 2, vec!["k2", "k4"]),
        ] {
            let rows = shelf.store().urgent(unrouted("default"), from, limit).await.expect("rows");
            let keys: Vec<&str> = rows.iter().map(|row| row.notice.key.as_str()).collect();
            assert_eq!(keys, expected, "from {from:?}");
        }
        assert_eq!(shelf.store().urgent(unrouted("b"), info, 10).await.expect("rows"), []);
    }

    /// Sentence 7.
    pub async fn lanes_are_counted(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let lanes = async |shelf: &Shelf, late: i64| {
            let mut lanes = shelf.store().lanes(Timestamp::from_unix(late)).await.expect("lanes");
            lanes.sort_by(|a, b| a.lane.cmp(&b.lane));
            lanes
        };
        assert_eq!(lanes(&shelf, 0).await, []);
        let made = [("k1", 30), ("k2", 10), ("k3", 20), ("k4", 40)];
        let notices =
            made.map(|(key, at)| Notice { receivers: receivers(&["a", "b"]), ..notice("a", key, at) }).to_vec();
        shelf.commit(vec![Change { notices, ..change("a", 1) }]).await;
        let summary = |lane: Lane, waiting, late, tried: Option<(i64, &str)>| LaneSummary {
            lane,
            waiting,
            late,
            tried: tried.map(|(at, text)| (Timestamp::from_unix(at), text.to_owned())),
        };
        // What is as old as that is not late yet.
        assert_eq!(lanes(&shelf, 30).await, [summary(unrouted("a"), 4, 2, None), summary(unrouted("b"), 4, 2, None)]);
        let ids: Vec<i64> = shelf.lane(&unrouted("a")).await.iter().map(|row| row.id).collect();
        let (mail, hook) = (by("a", Route::By(ChannelKind::Mail)), by("a", Route::By(ChannelKind::Webhook)));
        shelf.assign(&ids, &[mail.clone(), hook.clone()]).await;
        let rows: Vec<i64> = shelf.lane(&mail).await.iter().map(|row| row.id).collect();
        // Of those that were tried in vain the oldest counts, since its first try, with what its last one met.
        let tries = [(3, "last", 60), (1, "early", 61), (0, "gone", 62), (2, "later", 63), (1, "first", 64)];
        for (row, text, at) in tries {
            shelf.seal(&rows[row..=row], "<m@x>").await;
            let at = Timestamp::from_unix(at);
            shelf.store().failed(vec![rows[row]], text.to_owned(), row == 3, at).await.expect("noted");
        }
        shelf.settle(&rows[..1], by_mail(50)).await;
        for _ in 0..2 {
            let expected = [
                summary(mail.clone(), 3, 3, Some((61, "first"))),
                summary(hook.clone(), 4, 4, None),
                summary(unrouted("b"), 4, 4, None),
            ];
            let mut expected = expected.to_vec();
            expected.sort_by(|a, b| a.lane.cmp(&b.lane));
            assert_eq!(lanes(&shelf, i64::MAX).await, expected);
            shelf.reopen();
        }
        shelf.settle(&rows, by_mail(50)).await;
        assert_eq!(lanes(&shelf, 0).await.len(), 2, "a lane with nothing in it is none");
    }

    /// Sentence 2.
    pub async fn a_notice_known_by_any_way_is_not_put_in_again(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let first = notice("a", "k", 10);
        let tell = || vec![Change { notices: vec![first.clone()], ..change("a", 1) }];
        for route in Route::ALL {
            let mut known = Shelf::new(kind);
            known.commit(tell()).await;
            let id = known.pending().await[0].id;
            known.assign(&[id], &[by("default", route)]).await;
            known.commit(tell()).await;
            assert_eq!(known.waiting().await, [format!("default by {}: k", route.as_str())]);
            known.settle(&[id], by_mail(20)).await;
            known.reopen();
            known.commit(tell()).await;
            assert_eq!(known.waiting().await, [""; 0], "{route:?}");
        }
        // One way that has it is enough, and one receiver's ways are nobody else's.
        shelf.commit(tell()).await;
        let id = shelf.pending().await[0].id;
        shelf.assign(&[id], &[by("default", Route::Preferred), by("default", Route::By(ChannelKind::Mail))]).await;
        shelf.settle(&[id], by_mail(20)).await;
        shelf.reopen();
        let both = Notice { receivers: receivers(&["default", "lead"]), ..first.clone() };
        shelf.commit(vec![Change { notices: vec![both], ..change("a", 1) }]).await;
        assert_eq!(shelf.waiting().await, ["default by mail: k", "lead by -: k"]);
    }

    /// Sentence 6.
    pub async fn rows_move_to_their_lanes_and_to_none_twice(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let (mail, hook) = (by("heir", Route::By(ChannelKind::Mail)), by("heir", Route::By(ChannelKind::Webhook)));
        let to = |key: &str, names: &[&str]| Notice { receivers: receivers(names), ..notice("a", key, 10) };
        let notices = vec![to("k0", &["heir"]), to("k2", &["heir"]), to("k4", &["heir"])];
        shelf.commit(vec![Change { notices, ..change("a", 1) }]).await;
        let ids = async |shelf: &Shelf, lane: &Lane| -> Vec<i64> {
            shelf.lane(lane).await.iter().map(|row| row.id).collect()
        };
        // The heir has one of them already, another waits there, and one is on its way to the one who is gone.
        let own = ids(&shelf, &unrouted("heir")).await;
        shelf.assign(&own, std::slice::from_ref(&mail)).await;
        shelf.settle(&own[2..], by_mail(20)).await;
        let notices = ["k1", "k2", "k3", "k4"].map(|key| to(key, &["gone"])).to_vec();
        shelf.commit(vec![Change { notices, ..change("a", 2) }]).await;
        let gone = ids(&shelf, &unrouted("gone")).await;
        shelf.seal(&gone[..1], "<m@x>").await;
        shelf
            .store()
            .failed(vec![gone[0]], "cut off".to_owned(), false, Timestamp::from_unix(15))
            .await
            .expect("noted");
        for _ in 0..2 {
            // Once more, to lanes that have them, with a lane that is named twice.
            shelf.assign(&gone, &[mail.clone(), hook.clone(), hook.clone()]).await;
            assert_eq!(
                shelf.waiting().await,
                [
                    "heir by mail: k0",
                    "heir by mail: k2",
                    "heir by mail: k1",
                    "heir by mail: k3",
                    "heir by webhook: k1",
                    "heir by webhook: k2",
                    "heir by webhook: k3",
                    "heir by webhook: k4",
                ]
            );
            shelf.reopen();
        }
        // It is a letter of its own: how the other way failed is not this one's.
        for lane in [&mail, &hook] {
            let rows = shelf.lane(lane).await;
            let moved = rows.iter().find(|row| row.notice.key.as_str() == "k1").expect("a row");
            assert_eq!((moved.message.as_deref(), moved.failure.as_deref()), (None, None), "{lane}");
            assert_eq!(moved.notice, to("k1", &["gone"]));
        }
        // A row whose own lane is one of them stays in it, as it is, and goes to the others as well.
        let rows = shelf.lane(&mail).await;
        shelf.seal(&[rows[0].id], "<n@x>").await;
        let other = by("other", Route::Preferred);
        shelf.assign(&[rows[0].id], &[other.clone(), mail.clone()]).await;
        assert_eq!(shelf.lane(&other).await[0].notice, rows[0].notice);
        assert_eq!(shelf.lane(&mail).await[0].message.as_deref(), Some("<n@x>"));
        assert_eq!(shelf.lane(&mail).await.len(), rows.len());
        // What is handed on is no delivery.
        let last = shelf.store().outbox().await.expect("counts").last;
        assert_eq!(last, [(ChannelKind::Mail, Timestamp::from_unix(20))]);
        let sent = shelf.store().messages(unrouted("gone"), Timestamp::from_unix(0)).await.expect("messages");
        assert_eq!(sent, []);
    }

    /// Sentence 5.
    pub async fn a_row_with_nobody_to_go_to_stays(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let notices = ["k1", "k2"].map(|key| notice("a", key, 10)).to_vec();
        shelf.commit(vec![Change { notices, ..change("a", 1) }]).await;
        let before = shelf.pending().await;
        let ids: Vec<i64> = before.iter().map(|row| row.id).collect();
        shelf.assign(&ids, &[]).await;
        shelf.assign(&ids, &[unrouted("default")]).await;
        shelf.assign(&[], &[by("default", Route::Preferred)]).await;
        shelf.assign(&[4_711], &[by("default", Route::Preferred)]).await;
        shelf.reopen();
        assert_eq!(shelf.pending().await, before);
    }

    /// Sentence 7.
    pub async fn messages_are_counted_and_not_their_rows(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let keys: Vec<String> = (0..9).map(|n| format!("k{n}")).collect();
        let notices = keys.iter().map(|key| notice("a", key, 10)).collect();
        shelf.commit(vec![Change { notices, ..change("a", 1) }]).await;
        let ids: Vec<i64> = shelf.pending().await.iter().map(|row| row.id).collect();
        let (mail, hook) =
            (by("default", Route::By(ChannelKind::Mail)), by("default", Route::By(ChannelKind::Webhook)));
        shelf.assign(&ids[..7], std::slice::from_ref(&mail)).await;
        shelf.assign(&ids[7..], std::slice::from_ref(&hook)).await;
        for (rows, message, at, channel) in [
            (0..1, "<before@x>", 20, "mail"),
            (1..3, "<second@x>", 40, "mail"),
            (3..5, "<first@x>", 30, "mail"),
            // There was nobody to reach, so nothing left.
            (5..6, "<nobody@x>", 35, "none"),
            (7..8, "<other@x>", 33, "webhook"),
        ] {
            shelf.seal(&ids[rows.clone()], message).await;
            shelf.settle(&ids[rows], Settlement { at: Timestamp::from_unix(at), channel }).await;
        }
        // One that is about to leave has not left.
        shelf.seal(&ids[6..7], "<later@x>").await;
        shelf.reopen();
        for (lane, since, expected) in [
            (&mail, 0, vec![20, 30, 40]),
            (&mail, 20, vec![30, 40]),
            (&mail, 40, vec![]),
            (&hook, 0, vec![33]),
            (&unrouted("default"), 0, vec![]),
            (&by("other", Route::By(ChannelKind::Mail)), 0, vec![]),
        ] {
            let found = shelf.store().messages(lane.clone(), Timestamp::from_unix(since)).await.expect("messages");
            assert_eq!(found.into_iter().map(Timestamp::unix).collect::<Vec<_>>(), expected, "{lane} since {since}");
        }
    }

    /// Sentence 8.
    pub async fn what_is_firing_is_the_last_word_on_what_is_open(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let lane = by("default", Route::By(ChannelKind::Alertmanager));
        let subject = token("a");
        let (open, over) = (incident(Reason::Revoked, 1), incident(Reason::Blind, 2));
        let silent = incident(Reason::ScopeMissing, 3);
        let keyed = |incident: &Incident, tail: &str| format!("{}/{tail}", incident_key(&subject, incident));
        let keys = [keyed(&open, "r1/warning"), keyed(&open, "r2/critical"), keyed(&over, "r1/warning")];
        let entries = [&open, &over, &silent].map(|incident| Entry::Incident(incident.clone(), None)).to_vec();
        let notices = keys.iter().map(|key| notice("a", key, 10)).collect();
        shelf.commit(vec![Change { notices, entries, ..change("a", 1) }]).await;
        let ids: Vec<i64> = shelf.pending().await.iter().map(|row| row.id).collect();
        assert_eq!(shelf.firing(&lane).await, [""; 0], "nothing went that way yet");
        shelf.assign(&ids, &[by("default", Route::By(ChannelKind::Mail)), lane.clone()]).await;
        let both = |keys: [&String; 2]| {
            let mut keys = keys.map(String::clone).to_vec();
            keys.sort();
            keys
        };
        assert_eq!(shelf.firing(&lane).await, both([&keys[1], &keys[2]]), "on its way is told, too");
        let rows = shelf.lane(&lane).await;
        shelf.settle(&[rows[0].id, rows[2].id], Settlement { channel: "alertmanager", ..by_mail(20) }).await;
        // What reached nobody was not told.
        shelf.settle(&[rows[1].id], Settlement { channel: "none", ..by_mail(20) }).await;
        assert_eq!(shelf.firing(&lane).await, both([&keys[0], &keys[2]]));
        let ended = Entry::Incident(over.clone(), Some((Timestamp::from_unix(30), Ending::Resolved)));
        let notices = vec![notice("a", &keyed(&over, "closed/resolved"), 30)];
        shelf.commit(vec![Change { notices, entries: vec![ended], ..change("a", 2) }]).await;
        for _ in 0..2 {
            assert_eq!(shelf.firing(&lane).await, [keys[0].clone()]);
            assert_eq!(shelf.firing(&by("lead", Route::By(ChannelKind::Alertmanager))).await, [""; 0]);
            // However long ago it was told: what is open is not forgotten.
            shelf.prune(i64::MAX).await;
            shelf.reopen();
        }
        let ended = Entry::Incident(open, Some((Timestamp::from_unix(40), Ending::Superseded)));
        shelf.commit(vec![Change { entries: vec![ended], ..change("a", 3) }]).await;
        assert_eq!(shelf.firing(&lane).await, [""; 0]);
        shelf.prune(i64::MAX).await;
        assert_eq!(
            shelf.history(&subject, 10).await.deliveries.len(),
            4,
            "the rest waits: three mails, and the last word"
        );
    }

    /// Sentence 9.
    pub async fn the_history_is_of_one_subject_and_newest_first(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        // Some of these names begin like others, and sort on either side of the slash.
        let subjects: Vec<Subject> =
            ["a", "a.b", "a-b", "a0", "a_"].map(token).into_iter().chain([app("a"), Subject::Watcher]).collect();
        let dated = |number: u32| Incident {
            opened_at: Timestamp::from_unix(100 + i64::from(number)),
            ..answered(Reason::Revoked, number)
        };
        let ending = |number: u32| match number {
            1 => Some((Timestamp::from_unix(200), Ending::Resolved)),
            2 => Some((Timestamp::from_unix(150), Ending::Superseded)),
            _ => None,
        };
        let answer = |number: u32| {
            let signed = Signed { at: Timestamp::from_unix(100 + i64::from(number)), ..signed() };
            match number {
                1 => Answer::Acknowledge(signed),
                2 => Answer::Silence { signed, lasts: Span::hours(3), even_critical: true },
                _ => Answer::Unsilence(signed),
            }
        };
        // Their dates do not follow the order of the commits.
        let renewed = |number: u32| Ended { at: Timestamp::from_unix(300 - i64::from(number)), ..ended_run(number) };
        let told = |subject: &Subject, number: u32| Notice {
            subject: subject.clone(),
            ..notice("a", &format!("{}/r1/critical", incident_key(subject, &dated(number))), i64::from(number))
        };
        for number in [1, 2, 3] {
            let changes = subjects.iter().map(|subject| Change {
                subject: subject.clone(),
                notices: vec![told(subject, number)],
                entries: vec![
                    Entry::Incident(dated(number), ending(number)),
                    Entry::Answer(answer(number)),
                    Entry::Renewal(renewed(number)),
                ],
                ..change("a", 1)
            });
            shelf.commit(changes.collect()).await;
        }
        let mail = by("default", Route::By(ChannelKind::Mail));
        let rows = shelf.pending().await;
        for row in &rows {
            let message = format!("<{}@x>", row.id);
            match row.notice.at.unix() {
                1 => shelf.settle(&[row.id], Settlement { channel: "none", ..by_mail(20) }).await,
                2 => {
                    shelf.assign(&[row.id], std::slice::from_ref(&mail)).await;
                    shelf.seal(&[row.id], &message).await;
                    shelf
                        .store()
                        .failed(vec![row.id], "cut off".to_owned(), false, Timestamp::from_unix(15))
                        .await
                        .expect("noted");
                    shelf.seal(&[row.id], &message).await;
                    shelf.settle(&[row.id], by_mail(20)).await;
                }
                _ => {}
            }
        }
        let delivery = |subject: &Subject, number: u32| {
            let at = Timestamp::from_unix(20);
            let way = DeliveryRecord {
                notice: told(subject, number),
                lane: unrouted("default"),
                delivered: None,
                attempts: 0,
                failure: None,
            };
            match number {
                1 => DeliveryRecord { delivered: Some((at, "none".to_owned())), ..way },
                2 => DeliveryRecord {
                    lane: mail.clone(),
                    delivered: Some((at, "mail".to_owned())),
                    attempts: 2,
                    failure: Some("cut off".to_owned()),
                    ..way
                },
                _ => way,
            }
        };
        for limit in [usize::MAX, 3, 2, 0] {
            for subject in &subjects {
                let of = || [3, 2, 1].into_iter().take(limit);
                let expected = History {
                    incidents: of().map(|n| IncidentRecord { incident: dated(n), ended: ending(n) }).collect(),
                    answers: of().map(|n| AnswerRecord { at: answer(n).signed().at, answer: answer(n) }).collect(),
                    deliveries: of().map(|n| delivery(subject, n)).collect(),
                    renewals: of().map(renewed).collect(),
                };
                assert_eq!(shelf.history(subject, limit).await, expected, "{limit} of {subject}");
            }
            shelf.reopen();
        }
        assert_eq!(shelf.history(&token("b"), 10).await, History::default());
    }

    /// Sentence 9.
    pub async fn the_last_entry_of_an_incident_counts(kind: &'static Kind) {
        let shelf = Shelf::new(kind);
        let first = incident(Reason::Revoked, 1);
        let worse = Incident { severity: Severity::Critical, ..answered(Reason::Revoked, 1) };
        let ended = Some((Timestamp::from_unix(50), Ending::Resolved));
        let record = |incident: &Incident, ended| IncidentRecord { incident: incident.clone(), ended };
        for (entries, expected) in [
            (vec![Entry::Incident(first.clone(), None)], record(&first, None)),
            (vec![Entry::Incident(worse.clone(), None)], record(&worse, None)),
            (vec![Entry::Incident(first.clone(), None), Entry::Incident(worse.clone(), ended)], record(&worse, ended)),
        ] {
            shelf.commit(vec![Change { entries, ..change("a", 1) }]).await;
            assert_eq!(shelf.history(&token("a"), 10).await.incidents, [expected]);
        }
        // Another of the same number, after a slot of the same name was forgotten, is another.
        let again = Incident { opened_at: Timestamp::from_unix(99), ..first };
        shelf.commit(vec![Change { entries: vec![Entry::Incident(again.clone(), None)], ..change("a", 2) }]).await;
        assert_eq!(shelf.history(&token("a"), 10).await.incidents, [record(&again, None), record(&worse, ended)]);
    }

    /// Sentence 9.
    pub async fn beginnings_and_ends_are_counted(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let entry = |number: u32, began: i64, ended: Option<i64>| {
            let incident = Incident { opened_at: Timestamp::from_unix(began), ..incident(Reason::Blind, number) };
            Entry::Incident(incident, ended.map(|at| (Timestamp::from_unix(at), Ending::Resolved)))
        };
        let entries = vec![entry(1, 10, Some(20)), entry(2, 20, Some(40)), entry(3, 30, None)];
        shelf
            .commit(vec![
                Change { entries, ..change("a", 1) },
                Change { entries: vec![entry(1, 35, None)], ..change("b", 1) },
            ])
            .await;
        shelf.reopen();
        for (since, expected) in [(0, (4, 2)), (10, (3, 2)), (20, (2, 1)), (30, (1, 1)), (35, (0, 1)), (40, (0, 0))] {
            let found = shelf.store().activity(Timestamp::from_unix(since)).await.expect("counts");
            assert_eq!(found, expected, "since {since}");
        }
    }

    /// Sentence 10.
    pub async fn what_is_past_is_forgotten_and_what_is_open_is_not(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let (open, old, new) =
            (incident(Reason::Revoked, 1), incident(Reason::Blind, 2), incident(Reason::AppFault, 3));
        let ended = |incident: &Incident, at| {
            Entry::Incident(incident.clone(), Some((Timestamp::from_unix(at), Ending::Resolved)))
        };
        let answer = |at| Answer::Acknowledge(Signed { at: Timestamp::from_unix(at), ..signed() });
        let entries = vec![
            Entry::Incident(open.clone(), None),
            ended(&old, 99),
            ended(&new, 100),
            Entry::Answer(answer(99)),
            Entry::Answer(answer(100)),
            Entry::Renewal(Ended { at: Timestamp::from_unix(99), ..ended_run(1) }),
            Entry::Renewal(Ended { at: Timestamp::from_unix(100), ..ended_run(2) }),
        ];
        let keyed = |incident: &Incident, tail: &str| format!("{}/{tail}", incident_key(&token("a"), incident));
        let keys = [
            keyed(&open, "r1/warning"),
            keyed(&open, "r2/critical"),
            keyed(&old, "r1/warning"),
            keyed(&new, "r1/warning"),
            keyed(&open, "r2/critical.1"),
        ];
        let notices = keys.iter().map(|key| notice("a", key, 5)).collect();
        shelf.commit(vec![Change { entries, notices, ..change("a", 50) }]).await;
        let rows = shelf.pending().await;
        for (row, at) in rows.iter().zip([98, 99, 99, 100]) {
            shelf.settle(&[row.id], by_mail(at)).await;
        }
        shelf.prune(100).await;
        shelf.reopen();
        let left = shelf.history(&token("a"), 10).await;
        let numbers: Vec<u32> = left.incidents.iter().map(|record| record.incident.number).collect();
        assert_eq!(numbers, [3, 1], "the ended one is forgotten by its end, the open one is not");
        assert_eq!(left.answers.iter().map(|record| record.at.unix()).collect::<Vec<_>>(), [100]);
        assert_eq!(left.renewals.iter().map(|ended| ended.at.unix()).collect::<Vec<_>>(), [100]);
        let told: Vec<_> = left.deliveries.iter().map(|delivery| delivery.notice.key.to_string()).collect();
        assert_eq!(told, [keys[4].clone(), keys[3].clone()], "what waits is not forgotten");
        // A slot with something open is not forgotten: nobody else could ever end it.
        assert!(shelf.load(&token("a")).await.is_some());
        shelf.commit(vec![Change { entries: vec![ended(&open, 101)], ..change("a", 50) }]).await;
        shelf.prune(102).await;
        assert_eq!(shelf.load(&token("a")).await, None);
        assert_eq!(shelf.keys().await, [keys[4].clone()]);
        assert_eq!(shelf.history(&token("a"), 10).await.incidents, []);
    }

    pub async fn the_outbox_is_counted(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        assert_eq!(shelf.store().outbox().await.expect("counts"), OutboxSummary::default());
        let notices = [("k1", 30), ("k2", 10), ("k3", 20)].map(|(key, at)| notice("a", key, at)).to_vec();
        shelf.commit(vec![Change { notices, ..change("a", 1) }]).await;
        let ids: Vec<i64> = shelf.pending().await.iter().map(|row| row.id).collect();
        let moment = |unix| Some(Timestamp::from_unix(unix));
        let mails = |at: Option<i64>| at.map(|at| (ChannelKind::Mail, Timestamp::from_unix(at))).into_iter().collect();
        let expect = |pending, oldest, mail| OutboxSummary { pending, oldest, last: mails(mail) };
        assert_eq!(shelf.store().outbox().await.expect("counts"), expect(3, moment(10), None));
        shelf.store().settle(vec![ids[1]], by_mail(50)).await.expect("settled");
        assert_eq!(shelf.store().outbox().await.expect("counts"), expect(2, moment(20), Some(50)));
        // What went nowhere, because nobody is to be reached, is no mail.
        let nowhere = Settlement { at: Timestamp::from_unix(70), channel: "none" };
        shelf.store().settle(vec![ids[0]], nowhere).await.expect("settled");
        shelf.reopen();
        assert_eq!(shelf.store().outbox().await.expect("counts"), expect(1, moment(20), Some(50)));
        // Each channel has its own last delivery, and the latest counts.
        let notices = ["k4", "k5", "k6"].map(|key| notice("a", key, 90)).to_vec();
        shelf.commit(vec![Change { notices, ..change("a", 2) }]).await;
        let more: Vec<i64> = shelf.pending().await.iter().map(|row| row.id).collect();
        for (id, at, channel) in [(more[1], 61, "webhook"), (more[2], 60, "webhook"), (more[3], 63, "whatsapp")] {
            shelf.settle(&[id], Settlement { at: Timestamp::from_unix(at), channel }).await;
        }
        let last = shelf.store().outbox().await.expect("counts").last;
        let expected = [(ChannelKind::Mail, 50), (ChannelKind::Webhook, 61), (ChannelKind::WhatsApp, 63)]
            .map(|(kind, at)| (kind, Timestamp::from_unix(at)));
        assert_eq!(last, expected);
    }

    /// Sentence 10.
    pub async fn nothing_undelivered_is_forgotten(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let notices = ["sealed", "open", "old", "new"].map(|key| notice("a", key, i64::from(i32::MIN))).to_vec();
        shelf.commit(vec![Change { notices: notices.clone(), ..change("a", 1) }]).await;
        let ids: Vec<i64> = shelf.pending().await.iter().map(|row| row.id).collect();
        shelf.store().seal(vec![ids[0]], Arc::from("<m@x>")).await.expect("sealed");
        shelf.store().failed(vec![ids[1]], "refused".to_owned(), true, Timestamp::from_unix(15)).await.expect("noted");
        shelf.store().settle(vec![ids[2]], by_mail(100)).await.expect("settled");
        shelf.store().settle(vec![ids[3]], by_mail(200)).await.expect("settled");
        shelf.store().prune(Timestamp::from_unix(200)).await.expect("pruned");
        assert_eq!(shelf.keys().await, ["sealed", "open"]);
        // The delivery that is not old enough is remembered still, and with it that its key was told.
        shelf.reopen();
        shelf.commit(vec![Change { notices, ..change("a", 2) }]).await;
        assert_eq!(shelf.keys().await, ["sealed", "open", "old"]);
        shelf.store().prune(Timestamp::from_unix(i64::MAX)).await.expect("pruned");
        assert_eq!(shelf.keys().await, ["sealed", "open", "old"]);
    }

    pub async fn only_slots_that_nobody_looked_at_are_forgotten(kind: &'static Kind) {
        let shelf = Shelf::new(kind);
        let never = Change { status: slot(TokenStatus::new(Timestamp::from_unix(0))), ..change("never", 0) };
        let app = Change { subject: app("a"), status: SlotStatus::App(full_app()), ..change("a", 1) };
        let notices = vec![notice("old", "k", 5)];
        shelf.commit(vec![Change { notices, ..change("old", 99) }, change("new", 100), never, app.clone()]).await;
        shelf.store().prune(Timestamp::from_unix(100)).await.expect("pruned");
        assert_eq!(shelf.load(&token("old")).await, None);
        for kept in [token("new"), token("never"), app.subject] {
            assert!(shelf.load(&kept).await.is_some(), "{kept}");
        }
        assert_eq!(shelf.keys().await, ["k"], "a slot may go, what is to be told about it may not");
    }

    /// Without a steady key every restart would look like a new secret in every slot.
    pub async fn the_fingerprint_key_never_changes(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let secret = Secret::new(Zeroizing::new("EAABsomething".to_owned()));
        let (one, other) = tokio::join!(shelf.store().fingerprint_key(), shelf.store().fingerprint_key());
        let first = one.expect("a key").fingerprint(&secret);
        assert_eq!(other.expect("a key").fingerprint(&secret), first, "two who ask at once get one key");
        for _ in 0..3 {
            shelf.reopen();
            shelf.store().prune(Timestamp::from_unix(i64::MAX)).await.expect("pruned");
            assert_eq!(shelf.store().fingerprint_key().await.expect("a key").fingerprint(&secret), first);
        }
        let another = Shelf::new(kind);
        let theirs = another.store().fingerprint_key().await.expect("a key").fingerprint(&secret);
        assert_ne!(theirs, first, "a fingerprint is worth nothing elsewhere");
    }

    /// Sentence 11.
    pub async fn a_second_process_is_refused_and_harms_nobody(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        shelf.commit(vec![Change { notices: vec![notice("a", "k", 10)], ..change("a", 1) }]).await;
        // A store that was only opened, not even read, must hold its place, too.
        shelf.reopen();
        let refused = (kind.open)(&shelf.path()).map(drop).expect_err("the first holds it");
        assert!(matches!(refused, StoreError::InUse(_)), "{refused:?}");
        let text = refused.to_string();
        assert!(text.contains("state.db") && text.contains("in use"), "{text}");
        shelf.commit(vec![change("b", 2)]).await;
        assert_eq!(shelf.keys().await, ["k"]);
        shelf.close();
        drop((kind.open)(&shelf.path()).expect("free again"));
    }

    /// Sentence 13.
    pub async fn a_failure_is_an_error_and_the_store_stays_usable(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        shelf.close();
        (kind.sabotage)(&shelf.path(), "boom");
        shelf.reopen();
        for n in 0..5_i64 {
            let bad = Change { notices: vec![notice("a", &format!("boom{n}"), n)], ..change("a", n) };
            let refused = shelf.store().commit(vec![bad]).await.expect_err("sabotaged");
            let text = refused.to_string();
            assert!(text.contains("no space for boom"), "the system's words are kept: {text}");
            let good = Change { notices: vec![notice("a", &format!("k{n}"), n)], ..change("a", 100 + n) };
            shelf.commit(vec![good.clone()]).await;
            assert_eq!(shelf.load(&token("a")).await, Some(good.status));
            assert_eq!(shelf.pending().await.len(), usize::try_from(n + 1).expect("small"));
            shelf.store().outbox().await.expect("counts");
            shelf.store().fingerprint_key().await.expect("a key");
        }
        let missing = shelf.folder.path().join("no/such/folder/state.db");
        let refused = (kind.open)(&missing).map(drop).expect_err("no folder");
        assert!(matches!(&refused, StoreError::Open { path, .. } if path.contains("no/such/folder")), "{refused}");
        let folder = (kind.open)(shelf.folder.path()).map(drop).expect_err("a folder is no file");
        assert!(matches!(folder, StoreError::Open { .. }), "{folder}");
    }

    /// Sentence 14.
    pub async fn a_run_is_where_it_was_until_it_ends(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        assert_eq!((shelf.runs().await, shelf.run_of("a").await), (vec![], None));
        let begun = journaled("a", 1, Phase::Ordered, &[]);
        shelf.note("a", JournalChange::Begin(begun.clone())).await;
        shelf.note("b", JournalChange::Begin(journaled("b", 7, Phase::Ordered, &[("new", b"theirs")]))).await;
        assert_eq!(shelf.run_of("a").await, Some(begun));
        let phases = [
            (Phase::Exchanging, &[][..]),
            (Phase::Exchanged, &[("new", &b"\x00\xff sealed"[..])]),
            (Phase::Publishing, &[("new", b"sealed"), ("sink 0", b"what was there"), ("sink 1", b"")]),
            // What is sealed is replaced: what is not named any more is gone.
            (Phase::Published, &[("new", b"sealed")]),
            (Phase::RollingBack("the application \"did not\" come up".into()), &[("sink 0", b"")]),
            (Phase::Revoking, &[]),
        ];
        for (phase, sealed) in phases {
            let entry = journaled("a", 1, phase, sealed);
            shelf.store().journal(entry.clone()).await.expect("noted");
            for _ in 0..2 {
                assert_eq!(shelf.run_of("a").await.as_ref(), Some(&entry));
                assert_eq!(shelf.runs().await.len(), 2);
                assert!(shelf.runs().await.contains(&entry));
                shelf.reopen();
            }
            shelf.note("a", JournalChange::None).await;
            assert_eq!(shelf.run_of("a").await, Some(entry), "another status changes nothing");
        }
        // The journal goes on with a status, too.
        let entry = journaled("a", 1, Phase::Confirmed, &[]);
        shelf.note("a", JournalChange::Go(entry.clone())).await;
        assert_eq!(shelf.run_of("a").await.as_ref(), Some(&entry));
        shelf.store().end_run(entry.run.token.clone(), 2).await.expect("nothing to end");
        assert_eq!(shelf.run_of("a").await.as_ref(), Some(&entry), "another run is left alone");
        shelf.store().end_run(entry.run.token.clone(), 1).await.expect("ended");
        assert_eq!(shelf.run_of("a").await, None);
        // Of a run that was thought to be over the next one has what it is given in the end, and not what it was begun with.
        let mut stale = journaled("a", 1, Phase::Exchanging, &[("used", b"what it asks with")]);
        shelf.note("a", JournalChange::Begin(stale.clone())).await;
        let mut next = journaled("a", 2, Phase::Ordered, &[("brought", b"by a person")]);
        shelf.note("a", JournalChange::Begin(next.clone())).await;
        stale = journaled("a", 1, Phase::Exchanged, &[("new", b"what only it has")]);
        (stale.run.only_copy, stale.run.given_end) = (true, Some(Timestamp::from_unix(90)));
        for _ in 0..2 {
            let late = shelf.store().journal(stale.clone()).await;
            assert!(matches!(late, Err(StoreError::Overtaken(_))), "{late:?}");
        }
        (next.run.only_copy, next.run.given_end) = (true, stale.run.given_end);
        next.sealed.extend(stale.sealed);
        assert_eq!(shelf.run_of("a").await, Some(next));
        shelf.note("a", JournalChange::End).await;
        shelf.note("a", JournalChange::Go(entry)).await;
        shelf.note("a", JournalChange::End).await;
        shelf.note("c", JournalChange::End).await;
        shelf.reopen();
        assert_eq!(shelf.run_of("a").await, None);
        let left: Vec<u32> = shelf.runs().await.iter().map(|entry| entry.run.number).collect();
        assert_eq!(left, [7], "one token's end is not another's");
    }

    /// Sentences 1 and 14.
    pub async fn a_run_begins_and_ends_with_its_status_or_not_at_all(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let other = journaled("b", 1, Phase::Exchanged, &[("new", b"sealed")]);
        shelf.note("b", JournalChange::Begin(other.clone())).await;
        shelf.close();
        (kind.sabotage)(&shelf.path(), "boom");
        shelf.reopen();
        let begin = JournalChange::Begin(journaled("a", 1, Phase::Ordered, &[]));
        let lost = vec![
            Change { journal: begin, ..change("a", 2) },
            Change { journal: JournalChange::End, entries: vec![Entry::Renewal(ended_run(1))], ..change("b", 2) },
            Change { notices: vec![notice("c", "boom", 2)], ..change("c", 2) },
        ];
        shelf.store().commit(lost).await.expect_err("sabotaged");
        for _ in 0..2 {
            assert_eq!((shelf.run_of("a").await, shelf.load(&token("a")).await), (None, None));
            assert_eq!(shelf.run_of("b").await.as_ref(), Some(&other));
            assert_eq!(shelf.history(&token("b"), 9).await.renewals, []);
            shelf.reopen();
        }
    }

    /// Sentence 14.
    pub async fn what_is_sealed_outlives_a_run_that_was_set_aside(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let aside = journaled("a", 1, Phase::SetAside, &[("new", b"kept")]);
        shelf.note("a", JournalChange::Begin(journaled("a", 1, Phase::Ordered, &[]))).await;
        shelf.note("a", JournalChange::Go(aside.clone())).await;
        shelf.reopen();
        assert_eq!(shelf.runs().await, [], "nobody has to go on with it");
        assert_eq!(shelf.run_of("a").await, Some(aside.clone()));
        shelf.note("a", JournalChange::Begin(journaled("a", 2, Phase::Ordered, &[]))).await;
        shelf.reopen();
        let again = journaled("a", 2, Phase::Ordered, &[("new", b"kept")]);
        assert_eq!(shelf.run_of("a").await, Some(again.clone()));
        assert_eq!(shelf.runs().await, [again]);
        // It lies beside what one brings of its own, and is forgotten by one that goes on without.
        shelf.note("a", JournalChange::Go(aside)).await;
        let own = journaled("a", 3, Phase::Exchanged, &[("brought", b"another")]);
        shelf.note("a", JournalChange::Begin(own)).await;
        let both = journaled("a", 3, Phase::Exchanged, &[("brought", b"another"), ("new", b"kept")]);
        assert_eq!(shelf.run_of("a").await, Some(both));
        let without = journaled("a", 3, Phase::Exchanging, &[]);
        shelf.note("a", JournalChange::Go(without.clone())).await;
        assert_eq!(shelf.run_of("a").await, Some(without));
    }

    /// Sentence 10.
    pub async fn the_slot_of_a_run_is_not_forgotten(kind: &'static Kind) {
        let shelf = Shelf::new(kind);
        for (name, phase) in [("under-way", Phase::Published), ("aside", Phase::SetAside)] {
            shelf.note(name, JournalChange::Begin(journaled(name, 1, phase, &[("new", b"sealed")]))).await;
        }
        shelf.note("none", JournalChange::None).await;
        shelf.prune(i64::MAX).await;
        for name in ["under-way", "aside"] {
            assert!(shelf.load(&token(name)).await.is_some() && shelf.run_of(name).await.is_some(), "{name}");
        }
        assert_eq!(shelf.load(&token("none")).await, None);
        for name in ["under-way", "aside"] {
            shelf.note(name, JournalChange::End).await;
            shelf.prune(i64::MAX).await;
            assert_eq!(shelf.load(&token(name)).await, None);
        }
    }

    pub async fn a_record_that_cannot_be_read_is_an_error_of_its_own(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        shelf.commit(vec![change("a", 1), change("b", 2)]).await;
        shelf.close();
        (kind.damage)(&shelf.path(), &token("a"));
        shelf.reopen();
        let refused = shelf.store().load(vec![token("b"), token("a")]).await.expect_err("damaged");
        assert!(refused.to_string().contains("cannot be read"), "{refused}");
        assert!(shelf.load(&token("b")).await.is_some(), "the others are not affected");
        shelf.commit(vec![change("a", 3)]).await;
        assert!(shelf.load(&token("a")).await.is_some(), "a new status heals it");
    }

    pub async fn a_commit_that_nobody_waits_for_is_whole(kind: &'static Kind) {
        let shelf = Shelf::new(kind);
        for n in 0..20_i64 {
            let key = format!("k{n}");
            let lost = Change { notices: vec![notice("a", &key, n)], ..change(&format!("t{n}"), n) };
            // The future is dropped after its first poll, as when a task is aborted. Whether and when it is carried out is open.
            let commit = shelf.store().commit(vec![lost.clone()]);
            let _ = tokio::time::timeout(std::time::Duration::ZERO, commit).await;
            if shelf.keys().await.contains(&key) {
                assert_eq!(shelf.load(&lost.subject).await, Some(lost.status), "told, and not known");
            } else if shelf.load(&lost.subject).await.is_some() {
                assert!(shelf.keys().await.contains(&key), "known, and not told");
            }
        }
        shelf.commit(vec![change("a", 1)]).await;
    }

    pub async fn many_at_once_do_not_mix(kind: &'static Kind) {
        let shelf = Arc::new(Shelf::new(kind));
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..20_i64 {
            let shelf = Arc::clone(&shelf);
            tasks.spawn(async move {
                let name = format!("t{n}");
                for m in 0..5_i64 {
                    let key = format!("{name}/{m}");
                    let own = Change { notices: vec![notice(&name, &key, m)], ..change(&name, m) };
                    shelf.commit(vec![own.clone(), change("shared", m)]).await;
                    assert_eq!(shelf.load(&token(&name)).await, Some(own.status));
                    let mine = shelf.pending().await.into_iter().find(|row| row.notice.key.as_str() == key);
                    shelf.store().settle(vec![mine.expect("my row").id], by_mail(m)).await.expect("settled");
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("no panic");
        }
        assert_eq!(shelf.store().subjects().await.expect("subjects").len(), 21);
        assert_eq!(shelf.store().outbox().await.expect("counts").pending, 0);
    }

    /// Over a restart, and for every field that there is.
    pub async fn whatever_is_stored_comes_back_the_same(kind: &'static Kind) {
        let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, random);
        let batch = (vec(token_changes(), 1..12), vec(other_changes(), 0..4));
        let mut draw = || batch.new_tree(&mut runner).expect("the generator works").current();
        let batches = (0..28).map(|_| draw()).map(|(tokens, apps)| tokens.into_iter().chain(apps).collect::<Vec<_>>());
        let batches: Vec<Vec<Change>> = batches.collect();
        let mut shelf = Shelf::new(kind);
        let mut statuses = BTreeMap::new();
        let mut told: Vec<(ReceiverName, Notice)> = Vec::new();
        let mut past: BTreeMap<Subject, Past> = BTreeMap::new();
        let mut runs: BTreeMap<String, Journaled> = BTreeMap::new();
        for changes in batches {
            for change in &changes {
                statuses.insert(change.subject.clone(), change.status.clone());
                let (incidents, answers, renewals) = past.entry(change.subject.clone()).or_default();
                for entry in &change.entries {
                    match entry {
                        Entry::Incident(seen, ended) => {
                            let record = IncidentRecord { incident: seen.clone(), ended: *ended };
                            incidents.insert(incident_key(&change.subject, seen), record);
                        }
                        Entry::Answer(answer) => {
                            answers.insert(0, AnswerRecord { at: answer.signed().at, answer: answer.clone() });
                        }
                        Entry::Renewal(ended) => renewals.insert(0, ended.clone()),
                    }
                }
                let key = change.subject.to_string();
                match &change.journal {
                    JournalChange::None => {}
                    JournalChange::Begin(entry) => {
                        let mut sealed = runs.get(&key).map(|known| known.sealed.clone()).unwrap_or_default();
                        sealed.extend(entry.sealed.clone());
                        runs.insert(key, Journaled { run: entry.run.clone(), sealed });
                    }
                    JournalChange::Go(entry) => drop(runs.insert(key, entry.clone())),
                    JournalChange::End => drop(runs.remove(&key)),
                }
                for notice in &change.notices {
                    for receiver in notice.receivers.iter() {
                        if !told.iter().any(|(known, other)| known == receiver && other.key == notice.key) {
                            told.push((receiver.clone(), notice.clone()));
                        }
                    }
                }
            }
            shelf.commit(changes).await;
        }
        shelf.reopen();
        for (subject, status) in &statuses {
            assert_eq!(shelf.load(subject).await.as_ref(), Some(status), "{subject}");
        }
        assert_eq!(shelf.store().subjects().await.expect("subjects").len(), statuses.len());
        let rows = shelf.pending().await;
        let back: Vec<_> = rows.into_iter().map(|waiting| (waiting.lane.receiver, waiting.row.notice)).collect();
        assert!(back.len() > 100, "the generator makes too little: {}", back.len());
        assert_eq!(back, told);
        for (subject, entry) in &runs {
            assert_eq!(shelf.run_of(entry.run.token.as_str()).await.as_ref(), Some(entry), "{subject}");
        }
        let under_way: Vec<_> = runs.values().filter(|entry| entry.run.phase != Phase::SetAside).cloned().collect();
        assert!(under_way.len() > 20 && under_way.len() < runs.len(), "the generator makes too little: {}", runs.len());
        let mut back = shelf.runs().await;
        back.sort_by_key(|entry| Subject::Token(entry.run.token.clone()).to_string());
        assert_eq!(back, under_way);
        let mut seen = (0, 0, 0);
        for (subject, (incidents, answers, renewals)) in past {
            let back = shelf.history(&subject, usize::MAX).await;
            assert!(back.incidents.windows(2).all(|pair| pair[0].incident.opened_at >= pair[1].incident.opened_at));
            let keyed = back.incidents.into_iter().map(|record| (incident_key(&subject, &record.incident), record));
            assert_eq!(keyed.collect::<BTreeMap<_, _>>(), incidents, "{subject}");
            assert_eq!(back.answers, answers, "{subject}");
            assert_eq!(back.renewals, renewals, "{subject}");
            seen = (seen.0 + incidents.len(), seen.1 + answers.len(), seen.2 + renewals.len());
        }
        assert!(seen.0 > 100 && seen.1 > 100 && seen.2 > 100, "the generator makes too little: {seen:?}");
    }
}

// ---- what the SQLite file adds --------------------------------------------------------------------------------------------------------

/// Fingerprints and names are nobody else's business.
#[tokio::test]
async fn the_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let shelf = Shelf::new(&SQLITE);
    shelf.commit(vec![change("a", 1)]).await;
    let files: Vec<_> =
        fs::read_dir(shelf.folder.path()).expect("the folder").map(|entry| entry.expect("an entry")).collect();
    assert!(files.len() >= 2, "the file and its log");
    for file in files {
        let mode = file.metadata().expect("a mode").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", file.path());
    }
}

/// Every file in a folder with its content.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("the folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.file_name().expect("a name").into(), fs::read(&path).expect("a file")))
        .collect()
}

#[tokio::test]
async fn a_state_of_a_newer_version_is_refused_and_left_untouched() {
    let mut shelf = Shelf::new(&SQLITE);
    shelf.commit(vec![Change { notices: vec![notice("a", "k", 10)], ..change("a", 1) }]).await;
    shelf.close();
    let known: i64 = {
        let raw = rusqlite::Connection::open(shelf.path()).expect("the file opens");
        let known = raw.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
        raw.pragma_update(None, "user_version", known + 1).expect("a newer version");
        known
    };
    let before = snapshot(shelf.folder.path());
    for _ in 0..2 {
        let refused = Sqlite::open(&shelf.path()).map(drop).expect_err("newer");
        assert!(
            matches!(&refused, StoreError::Newer { found, known: mine, .. } if *found == known + 1 && *mine == known),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("newer tokenwatch") && refused.to_string().contains("untouched"));
        assert_eq!(snapshot(shelf.folder.path()), before);
    }
}

#[tokio::test]
async fn a_file_of_something_else_is_refused_and_left_untouched() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    fs::write(&path, "[daemon]\nlisten = \"127.0.0.1:9847\"\n".repeat(50)).expect("written");
    let before = snapshot(folder.path());
    let refused = Sqlite::open(&path).map(drop).expect_err("no state file");
    assert!(refused.to_string().contains("not a state file of tokenwatch"), "{refused}");
    assert_eq!(snapshot(folder.path()), before);
    // Another program's database is not ours to write tables into.
    fs::remove_file(&path).expect("removed");
    let foreign = rusqlite::Connection::open(&path).expect("a database");
    foreign.execute_batch("CREATE TABLE dashboards (id INTEGER PRIMARY KEY)").expect("a table");
    drop(foreign);
    let before = snapshot(folder.path());
    let refused = Sqlite::open(&path).map(drop).expect_err("no state file");
    assert!(refused.to_string().contains("not a state file of tokenwatch"), "{refused}");
    assert_eq!(snapshot(folder.path()), before);
    // An empty file is what a state begins as.
    fs::write(&path, "").expect("written");
    Sqlite::open(&path).expect("a new state");
}

/// A power cut leaves some first part of the log: at every such point a commit is either there as a whole, or not at all; and what was
/// committed before it is always there.
#[tokio::test]
async fn a_crash_at_any_point_of_a_commit_leaves_all_or_nothing() {
    let shelf = Shelf::new(&SQLITE);
    let log = |folder: &Path| folder.join("state.db-wal");
    shelf.commit(vec![Change { notices: vec![notice("a", "before", 1)], ..change("a", 1) }]).await;
    let start = fs::metadata(log(shelf.folder.path())).expect("a log").len();
    let changes: Vec<Change> = (0..30)
        .map(|n| Change { notices: vec![notice("x", &format!("k{n}"), 2)], ..change(&format!("x{n}"), 2) })
        .collect();
    shelf.commit(changes).await;
    let files = snapshot(shelf.folder.path());
    let whole = fs::metadata(log(shelf.folder.path())).expect("a log").len();
    assert!(whole > start + 10_000, "the commit is larger than a page");
    let (mut with, mut without) = (0, 0);
    let step = usize::try_from((whole - start) / 37).expect("small").max(1);
    for cut in (start..=whole).step_by(step).chain([whole - 1, whole]) {
        let wreck = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in &files {
            fs::write(wreck.path().join(name), content).expect("copied");
        }
        let file = fs::OpenOptions::new().write(true).open(log(wreck.path())).expect("the log");
        file.set_len(cut).expect("cut");
        drop(file);
        let store = Sqlite::open(&wreck.path().join("state.db")).expect("a crash is no reason to refuse");
        let told = store.pending(unrouted("default"), usize::MAX).await.expect("rows").len();
        let known = store.subjects().await.expect("subjects").len();
        match (known, told) {
            (1, 1) => without += 1,
            (31, 31) => with += 1,
            other => panic!("cut at {cut} of {whole}: {other:?}"),
        }
    }
    assert!(with >= 1 && without >= 30, "{with} with, {without} without");
}

/// The files are copied at the moment at which it says so, as a power cut would leave them.
#[tokio::test]
async fn what_the_journal_has_noted_is_durable() {
    let shelf = Shelf::new(&SQLITE);
    for number in 1..=20 {
        let entry = journaled("a", number, Phase::Exchanged, &[("new", &number.to_be_bytes())]);
        shelf.store().journal(entry.clone()).await.expect("noted");
        let wreck = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in snapshot(shelf.folder.path()) {
            fs::write(wreck.path().join(name), content).expect("copied");
        }
        let store = Sqlite::open(&wreck.path().join("state.db")).expect("a crash is no reason to refuse");
        assert_eq!(store.runs().await.expect("runs"), [entry]);
    }
}

/// A bound on what is kept, so that a flood does not fill the disk: it too spares what waits and what is open.
#[tokio::test]
async fn where_there_are_too_many_the_oldest_go() {
    let mut shelf = Shelf::new(&SQLITE);
    let (open, over) = (incident(Reason::Revoked, 1), incident(Reason::Blind, 2));
    let keys = [&open, &open, &over, &over]
        .iter()
        .enumerate()
        .map(|(n, incident)| format!("{}/r{n}/warning", incident_key(&token("a"), incident)))
        .collect::<Vec<_>>();
    let ended = Some((Timestamp::from_unix(20), Ending::Resolved));
    let entries = vec![
        Entry::Incident(open, None),
        Entry::Incident(over, ended),
        Entry::Answer(Answer::Acknowledge(signed())),
        Entry::Answer(Answer::Unsilence(signed())),
        Entry::Renewal(ended_run(1)),
        Entry::Renewal(ended_run(2)),
    ];
    let notices = keys.iter().map(|key| notice("a", key, 10)).collect();
    shelf.commit(vec![Change { notices, entries, ..change("a", 1) }]).await;
    let ids: Vec<i64> = shelf.pending().await.iter().map(|row| row.id).collect();
    shelf.settle(&ids[..3], by_mail(20)).await;
    shelf.prune(0).await;
    assert_eq!(shelf.history(&token("a"), 10).await.deliveries.len(), 4, "there are few");
    shelf.close();
    {
        let raw = rusqlite::Connection::open(shelf.path()).expect("the file opens");
        raw.execute_batch(
            "UPDATE answers SET id = 1000001 WHERE id = 2;
             UPDATE renewals SET id = 1000001 WHERE id = 2;
             INSERT INTO incidents (rowid, key, subject, began_at, record) VALUES (2000000, 'x', 'token/x', 1, '');
             INSERT INTO outbox (id, alert_key, incident, receiver, notice, made_at) VALUES (2000000, 'x', 'x', 'x', '', 1);",
        )
        .expect("many of them");
    }
    shelf.reopen();
    shelf.prune(0).await;
    let left = shelf.history(&token("a"), 10).await;
    let told: Vec<_> = left.deliveries.iter().map(|delivery| delivery.notice.key.to_string()).collect();
    assert_eq!(told, [keys[3].clone(), keys[1].clone()], "what waits, and the last word on what is open");
    assert_eq!(left.incidents.iter().map(|record| record.incident.number).collect::<Vec<_>>(), [1]);
    assert_eq!(left.answers.len(), 1);
    assert!(matches!(left.answers[0].answer, Answer::Unsilence(_)));
    assert_eq!(left.renewals, [ended_run(2)]);
}

/// What is stored today must be readable for ever: these are records as the first release wrote them.
#[tokio::test]
async fn records_of_the_first_release_are_still_read() {
    let mut shelf = Shelf::new(&SQLITE);
    shelf.close();
    old_records(&shelf.path());
    shelf.reopen();
    assert_eq!(shelf.load(&token("a")).await, Some(slot(full_status())));
    assert_eq!(shelf.load(&app("a")).await, Some(SlotStatus::App(full_app())));
    assert_eq!(shelf.pending().await[0].notice, full_notice());

    // And who uses nothing that came later writes the same text.
    let change = Change { status: slot(full_status()), ..change("b", 1) };
    let app = Change {
        subject: app("b"),
        status: SlotStatus::App(full_app()),
        notices: vec![full_notice()],
        entries: vec![],
        journal: JournalChange::None,
    };
    shelf.commit(vec![change, app]).await;
    shelf.close();
    let text = |sql: &str| raw_text(&shelf.path(), sql);
    assert_eq!(text("SELECT status FROM slots WHERE subject = 'token/b'"), TOKEN_RECORD);
    assert_eq!(text("SELECT status FROM slots WHERE subject = 'app/b'"), APP_RECORD);
    assert_eq!(text("SELECT notice FROM outbox WHERE alert_key <> 'k'"), NOTICE_RECORD);
}

/// A number came later than the first release; a status without one is written as it always was.
#[tokio::test]
async fn numbers_are_kept() {
    let mut shelf = Shelf::new(&SQLITE);
    let known = TokenStatus { number: Some(Box::new(full_number())), ..full_status() };
    let number = full_number().number.expect("a number");
    let mut told = full_notice();
    (told.reason, told.detail) = (Reason::NumberBlocked, Detail::Obstacles(number.in_the_way().into()));
    shelf.commit(vec![Change { status: slot(known.clone()), notices: vec![told.clone()], ..change("n", 1) }]).await;
    shelf.reopen();
    assert_eq!(shelf.load(&token("n")).await, Some(slot(known)));
    assert_eq!(shelf.pending().await[0].notice, told);
}

/// The records of today, letter by letter: an edit that changes them needs a migration.
#[tokio::test]
async fn records_are_written_as_they_always_were() {
    let mut shelf = Shelf::new(&SQLITE);
    let seen = answered(Reason::Revoked, 7);
    let ended = Some((Timestamp::from_unix(51), Ending::Superseded));
    let quiet = Answer::Silence { signed: signed(), lasts: Span::hours(3), even_critical: true };
    let unsigned = Signed { why: None, ..signed() };
    let entries = vec![
        Entry::Incident(seen.clone(), ended),
        Entry::Answer(Answer::Acknowledge(signed())),
        Entry::Answer(quiet.clone()),
        Entry::Answer(Answer::Unsilence(unsigned.clone())),
    ];
    let status = TokenStatus { ledger: ledger(Reason::Revoked, 7), ..TokenStatus::new(Timestamp::from_unix(9)) };
    let app_status = AppStatus { ledger: ledger(Reason::AppFault, 1), ..AppStatus::default() };
    let watcher = WatcherStatus {
        ledger: ledger(Reason::Undeliverable, 2),
        clock_off: 3,
        clock_offset: Some(Span::seconds(-61)),
        last_digest: Some(Timestamp::from_unix(52)),
    };
    let told = Notice {
        subject: Subject::Watcher,
        detail: Detail::Summary(Box::new(summary())),
        acknowledged: Some(signed()),
        silence: Some(silence()),
        flaps: Some(4),
        receivers: receivers(&["default"]),
        ..notice("a", "k/r1/info", 53)
    };
    let changes = vec![
        Change { status: slot(status.clone()), entries, ..change("a", 1) },
        Change { subject: app("a"), status: SlotStatus::App(app_status.clone()), ..change("a", 1) },
        Change {
            subject: Subject::Watcher,
            status: SlotStatus::Watcher(watcher.clone()),
            notices: vec![told.clone()],
            entries: vec![],
            journal: JournalChange::None,
        },
    ];
    shelf.commit(changes).await;
    shelf.reopen();
    assert_eq!(shelf.load(&token("a")).await, Some(slot(status)));
    assert_eq!(shelf.load(&app("a")).await, Some(SlotStatus::App(app_status)));
    assert_eq!(shelf.load(&Subject::Watcher).await, Some(SlotStatus::Watcher(watcher)));
    assert_eq!(shelf.pending().await[0].notice, told);
    let past = shelf.history(&token("a"), 10).await;
    assert_eq!(past.incidents, [IncidentRecord { incident: seen, ended }]);
    let answers: Vec<Answer> = past.answers.into_iter().map(|record| record.answer).collect();
    assert_eq!(answers, [Answer::Unsilence(unsigned), quiet, Answer::Acknowledge(signed())]);
    shelf.close();
    for (sql, record) in [
        ("SELECT status FROM slots WHERE subject = 'token/a'", ANSWERED_TOKEN_RECORD),
        ("SELECT status FROM slots WHERE subject = 'app/a'", ANSWERED_APP_RECORD),
        ("SELECT status FROM slots WHERE subject = 'watcher/tokenwatch'", WATCHER_RECORD),
        ("SELECT notice FROM outbox", SUMMARY_RECORD),
        ("SELECT incident FROM outbox", "k"),
        ("SELECT key FROM incidents", "token/a/revoked.7.g3.11"),
        ("SELECT record FROM incidents", INCIDENT_RECORD),
        ("SELECT record FROM answers WHERE id = 1", ACKNOWLEDGED_RECORD),
        ("SELECT record FROM answers WHERE id = 2", SILENCED_RECORD),
        ("SELECT record FROM answers WHERE id = 3", UNSILENCED_RECORD),
    ] {
        assert_eq!(raw_text(&shelf.path(), sql), record, "{sql}");
    }
}

/// A state file as the first release left it: everything that could be in it is still there.
#[tokio::test]
async fn a_state_of_the_first_release_is_brought_up_to_date() {
    let mut shelf = Shelf::new(&SQLITE);
    shelf.close();
    for file in fs::read_dir(shelf.folder.path()).expect("the folder") {
        fs::remove_file(file.expect("an entry").path()).expect("removed");
    }
    // Odd keys were never written; they show that nothing depends on their form.
    let keys = [
        ("token/a/revoked.7.g3.11/r1/critical", "token/a/revoked.7.g3.11"),
        ("token/ä.b-c/expiry.1.g1.5/r3d/warning.2", "token/ä.b-c/expiry.1.g1.5"),
        ("app/a/app.1.g3.11/closed/resolved", "app/a/app.1.g3.11"),
        ("k", "k"),
        ("k/r1", "k/r1"),
        ("k/r1/info", "k"),
        ("a//b", "a"),
        ("a/b/", "a"),
        ("/a/b", ""),
        ("//", ""),
        ("", ""),
        ("aa/aa/aa/aa", "aa/aa"),
    ];
    {
        let raw = rusqlite::Connection::open(shelf.path()).expect("the file opens");
        raw.execute_batch(FIRST_SCHEMA).expect("the first schema");
        raw.pragma_update(None, "user_version", 1).expect("its number");
        raw.execute("INSERT INTO meta (name, value) VALUES ('fingerprint_key', ?1)", [[7_u8; 32]]).expect("a key");
        let row = "INSERT INTO outbox (alert_key, receiver, notice, made_at, message, attempts, failure, delivered_at, channel)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        for (name, message, attempts, failure, delivered, channel) in [
            ("delivered", Some("<1@x>"), 1, None, Some(90), Some("mail")),
            ("handed-on", None, 0, None, Some(91), Some("rerouted")),
            ("nobody", Some("<2@x>"), 1, None, Some(92), Some("none")),
            ("sealed", Some("<3@x>"), 2, Some("cut off"), None, None),
            ("open", None, 0, None, None, None),
            ("refused", None, 3, Some("refused"), None, None),
        ] {
            for (at, (key, _)) in (0_i64..).zip(&keys) {
                raw.execute(
                    row,
                    rusqlite::params![key, name, NOTICE_RECORD, at, message, attempts, failure, delivered, channel],
                )
                .expect("a row");
            }
        }
        // The newest of all was forgotten.
        raw.execute(
            row,
            rusqlite::params!["gone", "default", NOTICE_RECORD, 1, None::<&str>, 0, None::<&str>, 1, "mail"],
        )
        .expect("a row");
        assert_eq!(raw.execute("DELETE FROM outbox WHERE alert_key = 'gone'", []).expect("forgotten"), 1);
    }
    old_slots(&shelf.path());
    let dump = |path: &Path| -> Vec<Vec<rusqlite::types::Value>> {
        let raw = rusqlite::Connection::open(path).expect("the file opens");
        let columns = "id, alert_key, receiver, notice, made_at, message, attempts, failure, delivered_at, channel";
        let mut rows = raw.prepare(&format!("SELECT {columns} FROM outbox ORDER BY id")).expect("a statement");
        let rows = rows.query_map([], |row| (0..10).map(|column| row.get(column)).collect()).expect("rows");
        rows.collect::<Result<_, _>>().expect("rows")
    };
    let before = dump(&shelf.path());
    for _ in 0..2 {
        shelf.reopen();
        assert_eq!(shelf.load(&token("a")).await, Some(slot(full_status())));
        assert_eq!(shelf.load(&app("a")).await, Some(SlotStatus::App(full_app())));
        let mail = Route::By(ChannelKind::Mail);
        let sealed = shelf.lane(&by("sealed", mail)).await;
        assert_eq!(sealed.len(), keys.len());
        assert!(sealed.iter().all(|row| row.message.as_deref() == Some("<3@x>") && row.notice == full_notice()));
        assert_eq!(shelf.lane(&unrouted("open")).await.len(), keys.len());
        assert_eq!(shelf.lane(&unrouted("refused")).await.len(), keys.len());
        assert_eq!(shelf.lanes().await.len(), 3);
        let sent = shelf.store().messages(by("delivered", mail), Timestamp::from_unix(0)).await.expect("messages");
        assert_eq!(sent, [Timestamp::from_unix(90)]);
        // What is open began before there was a history, and is in it.
        for (subject, incident) in
            [(token("a"), full_status().ledger.incidents), (app("a"), full_app().ledger.incidents)]
        {
            let expected: Vec<_> =
                incident.into_iter().map(|incident| IncidentRecord { incident, ended: None }).collect();
            assert_eq!(shelf.history(&subject, 10).await.incidents, expected, "{subject}");
        }
        let lane = by("delivered", mail);
        assert_eq!(shelf.firing(&lane).await, vec![full_notice().key.to_string(); 2]);
        shelf.close();
        assert_eq!(dump(&shelf.path()), before);
        let raw = rusqlite::Connection::open(shelf.path()).expect("the file opens");
        for (key, incident) in keys {
            let sql = "SELECT DISTINCT incident FROM outbox WHERE alert_key = ?1";
            let found: String = raw.query_row(sql, [key], |row| row.get(0)).expect("one");
            assert_eq!(found, incident, "{key}");
            assert_eq!(AlertKey::from_stored(key).incident(), incident, "{key}");
        }
        let open: i64 = raw.query_row("SELECT count(*) FROM incidents", [], |row| row.get(0)).expect("a count");
        assert_eq!(open, 2, "a record that cannot be read has none");
    }
    shelf.reopen();
    let last = before.len() + 1;
    let entry = Entry::Incident(answered(Reason::Revoked, 7), Some((Timestamp::from_unix(60), Ending::Resolved)));
    let known = keys.map(|(key, _)| Notice { receivers: receivers(&["delivered", "sealed"]), ..notice("a", key, 1) });
    let notices = known.into_iter().chain([notice("a", "new", 1)]).collect();
    shelf.commit(vec![Change { notices, entries: vec![entry], ..change("a", 2) }]).await;
    let new = shelf.lane(&unrouted("default")).await;
    assert!(usize::try_from(new[0].id).expect("small") > last, "a number is never given twice");
    assert_eq!(shelf.lanes().await.len(), 4, "what was told is not told again");
    let past = shelf.history(&token("a"), 10).await.incidents;
    assert_eq!(past.len(), 1, "the incident goes on under its old key: {past:?}");
    assert!(past[0].ended.is_some());
}

/// A state file as the second release left it, before there were renewals.
#[tokio::test]
async fn a_state_of_the_second_release_is_brought_up_to_date() {
    let mut shelf = Shelf::new(&SQLITE);
    shelf.close();
    let today = schema(&shelf.path());
    for file in fs::read_dir(shelf.folder.path()).expect("the folder") {
        fs::remove_file(file.expect("an entry").path()).expect("removed");
    }
    let raw = rusqlite::Connection::open(shelf.path()).expect("the file opens");
    raw.execute_batch(SECOND_SCHEMA).expect("the second schema");
    raw.pragma_update(None, "user_version", 2).expect("its number");
    raw.execute("INSERT INTO meta (name, value) VALUES ('fingerprint_key', ?1)", [[7_u8; 32]]).expect("a key");
    raw.execute("INSERT INTO slots (subject, status, seen_at) VALUES ('token/a', ?1, 1)", [ANSWERED_TOKEN_RECORD])
        .expect("a token");
    let incident =
        "INSERT INTO incidents (key, subject, began_at, record) VALUES ('token/a/revoked.7.g3.11', 'token/a', 11, ?1)";
    raw.execute(incident, [INCIDENT_RECORD]).expect("an incident");
    raw.execute("INSERT INTO answers (subject, at, record) VALUES ('token/a', 31, ?1)", [ACKNOWLEDGED_RECORD])
        .expect("an answer");
    let row = "INSERT INTO outbox (id, alert_key, incident, receiver, route, notice, made_at)
               VALUES (41, 'token/a/revoked.7.g3.11/r1/critical.2', 'token/a/revoked.7.g3.11', 'default', 'mail', ?1, 23)";
    raw.execute(row, [NOTICE_RECORD]).expect("a notice");
    drop(raw);
    let key = FingerprintKey::new([7; 32]);
    let old = Secret::new(Zeroizing::new("EAABsomething".to_owned()));
    for _ in 0..2 {
        shelf.reopen();
        let known = TokenStatus { ledger: ledger(Reason::Revoked, 7), ..TokenStatus::new(Timestamp::from_unix(9)) };
        assert_eq!(shelf.load(&token("a")).await, Some(slot(known)));
        let theirs = shelf.store().fingerprint_key().await.expect("a key");
        assert_eq!(theirs.fingerprint(&old), key.fingerprint(&old));
        let past = shelf.history(&token("a"), 9).await;
        assert_eq!((past.incidents.len(), past.answers.len(), past.deliveries.len()), (1, 1, 1));
        assert_eq!(past.renewals, []);
        let waiting = shelf.lane(&by("default", Route::By(ChannelKind::Mail))).await;
        assert_eq!(waiting.iter().map(|row| (row.id, &row.notice)).collect::<Vec<_>>(), [(41, &full_notice())]);
        assert_eq!((shelf.runs().await, shelf.run_of("a").await), (vec![], None));
    }
    let entry = journaled("a", 1, Phase::Ordered, &[]);
    shelf.note("a", JournalChange::Begin(entry.clone())).await;
    assert_eq!(shelf.runs().await, [entry]);
    shelf.close();
    assert_eq!(schema(&shelf.path()), today, "an old file and a new one are alike");
}

/// The records of renewals, letter by letter: an edit that changes them needs a migration.
#[tokio::test]
async fn records_of_renewals_are_written_as_they_always_were() {
    let mut shelf = Shelf::new(&SQLITE);
    let mark = Mark {
        number: 2,
        since: Timestamp::from_unix(63),
        origin: Origin::Schedule,
        stuck: Some("the disk is full".into()),
    };
    let renewal = RenewalStatus {
        count: 2,
        run: Some(mark),
        last: Some(ended_run(3)),
        failures: 1,
        next_try: Some(Timestamp::from_unix(64)),
        renewed_at: Some(Timestamp::from_unix(65)),
        given_at: Some(Timestamp::from_unix(67)),
        kept: Some(Kept { ends: Some(Timestamp::from_unix(68)) }),
    };
    let status = TokenStatus { renewal, ..TokenStatus::new(Timestamp::from_unix(9)) };
    let note =
        RenewalNote { last: Some(ended_run(4)), next: Some(Timestamp::from_unix(66)), refusal: Some("no app".into()) };
    let told = NoticeFacts { renewal: Some(Box::new(note)), ..NoticeFacts::NONE };
    let told = Notice { facts: told, ..notice("a", "k/r1/info", 53) };
    let why = Phase::RollingBack("it did not answer".into());
    let mut entry = journaled("a", 2, why, &[("new", b"\x00\xff"), ("sink 0", b"")]);
    let page = Inspection { profile_id: Some("17".into()), ..full_status().facts.expect("facts").inspection };
    (entry.run.old, entry.run.proved) = (full_status().facts.map(|facts| facts.inspection), Some(page));
    let entries = vec![Entry::Renewal(ended_run(1))];
    let journal = JournalChange::Begin(entry.clone());
    let change =
        Change { status: slot(status.clone()), notices: vec![told.clone()], entries, journal, ..change("a", 1) };
    shelf.commit(vec![change]).await;
    shelf.reopen();
    assert_eq!(shelf.load(&token("a")).await, Some(slot(status)));
    assert_eq!(shelf.pending().await[0].notice, told);
    assert_eq!(shelf.history(&token("a"), 9).await.renewals, [ended_run(1)]);
    assert_eq!(shelf.run_of("a").await, Some(entry));
    shelf.close();
    for (sql, record) in [
        ("SELECT status FROM slots", RENEWING_TOKEN_RECORD),
        ("SELECT notice FROM outbox", RENEWAL_NOTICE_RECORD),
        ("SELECT record FROM renewals", RENEWAL_RECORD),
        ("SELECT run FROM runs", RUN_RECORD),
        ("SELECT sealed FROM runs", r#"{"new":"AP8=","sink 0":""}"#),
        ("SELECT subject FROM runs", "token/a"),
    ] {
        assert_eq!(raw_text(&shelf.path(), sql), record, "{sql}");
    }
}

/// Every table and index of a file, by name.
fn schema(path: &Path) -> Vec<String> {
    let raw = rusqlite::Connection::open(path).expect("the file opens");
    let mut rows =
        raw.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").expect("a statement");
    let rows = rows.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    rows.map(|sql| sql.expect("a text").replace('"', "").split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Puts records of the first release into a file.
fn old_records(path: &Path) {
    let raw = rusqlite::Connection::open(path).expect("the file opens");
    let row = "INSERT INTO outbox (alert_key, incident, receiver, notice, made_at) VALUES ('k', 'k', 'default', ?1, 1)";
    raw.execute(row, [NOTICE_RECORD]).expect("a notice");
    drop(raw);
    old_slots(path);
}

fn old_slots(path: &Path) {
    let raw = rusqlite::Connection::open(path).expect("the file opens");
    let slot = "INSERT INTO slots (subject, status, seen_at) VALUES (?1, ?2, 1)";
    raw.execute(slot, ["token/a", TOKEN_RECORD]).expect("a token");
    raw.execute(slot, ["app/a", APP_RECORD]).expect("an app");
    raw.execute(slot, ["token/damaged", "{\"token\":{\"incidents\":[{\"rea"]).expect("a damaged one");
    raw.execute(slot, ["token/strange", r#"{"token":{"incidents":[{"reason":"eclipsed"},{"reason":"revoked"},1]}}"#])
        .expect("a strange one");
}

/// The text that the statement finds.
fn raw_text(path: &Path, sql: &str) -> String {
    let raw = rusqlite::Connection::open(path).expect("the file opens");
    raw.query_row(sql, [], |row| row.get(0)).expect("a record")
}

/// The schema of the first release; never edited.
const FIRST_SCHEMA: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE slots (subject TEXT PRIMARY KEY, status TEXT NOT NULL, seen_at INTEGER) WITHOUT ROWID;
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        alert_key TEXT NOT NULL,
        receiver TEXT NOT NULL,
        notice TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        message TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        failure TEXT,
        delivered_at INTEGER,
        channel TEXT,
        UNIQUE (alert_key, receiver)
    );
    CREATE INDEX outbox_pending ON outbox (id) WHERE delivered_at IS NULL;
    CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;
";

/// The schema of the second release; never edited.
const SECOND_SCHEMA: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE slots (subject TEXT PRIMARY KEY, status TEXT NOT NULL, seen_at INTEGER) WITHOUT ROWID;
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        alert_key TEXT NOT NULL,
        incident TEXT NOT NULL,
        receiver TEXT NOT NULL,
        route TEXT NOT NULL DEFAULT '',
        notice TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        message TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        failure TEXT,
        delivered_at INTEGER,
        channel TEXT,
        tried_at INTEGER,
        UNIQUE (alert_key, receiver, route)
    );
    CREATE INDEX outbox_pending ON outbox (receiver, route, id) WHERE delivered_at IS NULL;
    CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;
    CREATE INDEX outbox_channel ON outbox (channel, delivered_at) WHERE delivered_at IS NOT NULL;
    CREATE INDEX outbox_incident ON outbox (incident, receiver, route, id);
    CREATE TABLE incidents (
        key TEXT PRIMARY KEY,
        subject TEXT NOT NULL,
        began_at INTEGER NOT NULL,
        ended_at INTEGER,
        record TEXT NOT NULL
    );
    CREATE INDEX incidents_open ON incidents (key) WHERE ended_at IS NULL;
    CREATE INDEX incidents_subject ON incidents (subject, began_at);
    CREATE INDEX incidents_began ON incidents (began_at);
    CREATE INDEX incidents_ended ON incidents (ended_at) WHERE ended_at IS NOT NULL;
    CREATE TABLE answers (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        subject TEXT NOT NULL,
        at INTEGER NOT NULL,
        record TEXT NOT NULL
    );
    CREATE INDEX answers_subject ON answers (subject, id);
";

const RENEWING_TOKEN_RECORD: &str = concat!(
    r#"{"token":{"generation":0,"since":9,"renewal":{"count":2,"run":{"number":2,"since":63,"#,
    r#""origin":{"how":"schedule"},"stuck":"the disk is full"},"last":{"at":61,"outcome":"rolled_back","#,
    r#""text":"run 3: it \"works\"","origin":{"how":"asked","by":"ada (uid 1000)"},"generation":3},"#,
    r#""failures":1,"next_try":64,"renewed_at":65,"given_at":67,"kept":true,"kept_ends":68},"next_check":9}}"#,
);
const RENEWAL_NOTICE_RECORD: &str = concat!(
    r#"{"key":"k/r1/info","subject":"token/a","provider":"meta","why":"first","reason":"expiring","#,
    r#""severity":"warning","since":53,"at":53,"kind":"unknown","expires":"unknown","#,
    r#""renewal":{"last":{"at":61,"outcome":"failed","text":"run 4: it \"works\"","#,
    r#""origin":{"how":"asked","by":"ada (uid 1000)"},"generation":4},"next":66,"refusal":"no app"},"#,
    r#""receivers":["default"]}"#,
);
const RENEWAL_RECORD: &str = concat!(
    r#"{"at":61,"outcome":"without_gain","text":"run 1: it \"works\"","#,
    r#""origin":{"how":"asked","by":"ada (uid 1000)"},"generation":1}"#,
);
const RUN_RECORD: &str = concat!(
    r#"{"token":"a","number":2,"origin":{"how":"replaced","by":"ada (uid 1000)"},"generation":3,"began_at":62,"#,
    r#""old":{"generation":3,"validity":"revoked:password_changed","kind":"system_user","#,
    r#""app_id":"634900000000001","user_id":"10001","issued_at":5,"expires":{"at":6},"data_access":"never","#,
    r#""grants":[{"scope":"public_profile"},{"scope":"whatsapp_business_management","targets":["1"]}],"#,
    r#""message":"changed their \"password\""},"proved":{"generation":3,"validity":"revoked:password_changed","#,
    r#""kind":"system_user","app_id":"634900000000001","user_id":"10001","profile_id":"17","issued_at":5,"#,
    r#""expires":{"at":6},"data_access":"never","grants":[{"scope":"public_profile"},"#,
    r#"{"scope":"whatsapp_business_management","targets":["1"]}],"message":"changed their \"password\""},"#,
    r#""only_copy":true,"anyway":true,"tried":2,"published":true,"#,
    r#""sinks":["T in /srv/config.env","the command publish"],"phase":"rolling_back","why":"it did not answer"}"#,
);
const TOKEN_RECORD: &str = concat!(
    r#"{"token":{"generation":3,"fingerprint":"000102030405060708090a0b0c0d0e0f","since":1,"#,
    r#""facts":{"generation":2,"validity":"revoked:password_changed","kind":"system_user","#,
    r#""app_id":"634900000000001","user_id":"10001","issued_at":5,"expires":{"at":6},"data_access":"never","#,
    r#""grants":[{"scope":"public_profile"},{"scope":"whatsapp_business_management","targets":["1"]}],"#,
    r#""message":"changed their \"password\""},"last_check":2,"last_answer":3,"invalid_streak":4,"failures":5,"#,
    r#""failing_since":4,"last_error":{"app":["blocked","API access blocked."]},"#,
    r#""source_fault":"/srv/config.env: has no key T","foreign":"it belongs to app 2","#,
    r#""incidents":[{"reason":"revoked","number":7,"generation":3,"opened_at":11,"severity":"critical","#,
    r#""stage":-86400,"deadline":12,"told_at":13,"repeats":2,"told":["default","others"]}],"incident_count":7,"next_check":9}}"#,
);
const APP_RECORD: &str = concat!(
    r#"{"app":{"fault":["wrong_secret","Invalid OAuth access token signature."],"streak":2,"#,
    r#""incidents":[{"reason":"app_fault","number":1,"generation":3,"opened_at":11,"severity":"critical","#,
    r#""stage":-86400,"deadline":12,"told_at":13,"repeats":2,"told":["default","others"]}],"incident_count":1}}"#,
);
const NOTICE_RECORD: &str = concat!(
    r#"{"key":"token/a/revoked.7.g3.11/r1/critical.2","subject":"token/a","provider":"meta","app":"helpdesk","#,
    r#""why":"repeated","reason":"scope_missing","severity":"warning","#,
    r#""detail":{"missing":["whatsapp_business_management"]},"deadline":21,"since":22,"at":23,"next":24,"#,
    r#""kind":"page","issued_at":25,"expires":{"at":26},"last_answer":27,"message":"its words","#,
    r#""receivers":["default","lead"]}"#,
);
const ANSWERED_TOKEN_RECORD: &str = concat!(
    r#"{"token":{"generation":0,"since":9,"incidents":[{"reason":"revoked","number":7,"generation":3,"#,
    r#""opened_at":11,"severity":"critical","stage":-86400,"deadline":12,"told_at":13,"repeats":2,"#,
    r#""told":["default","others"],"acknowledged":{"by":"ada (uid 1000)","at":31,"#,
    r#""why":"new token on \"Monday\""},"damped":{"changed_at":33,"seen":[3,34],"withdrawn":true}}],"#,
    r#""incident_count":7,"silence":{"signed":{"by":"ada (uid 1000)","at":31,"why":"new token on \"Monday\""},"#,
    r#""until":32,"even_critical":true,"reminded":true},"openings":[["revoked",11]],"next_check":9}}"#,
);
const ANSWERED_APP_RECORD: &str = concat!(
    r#"{"app":{"incidents":[{"reason":"app_fault","number":1,"generation":3,"opened_at":11,"#,
    r#""severity":"critical","stage":-86400,"deadline":12,"told_at":13,"repeats":2,"told":["default","others"],"#,
    r#""acknowledged":{"by":"ada (uid 1000)","at":31,"why":"new token on \"Monday\""},"damped":{"changed_at":33,"#,
    r#""seen":[3,34],"withdrawn":true}}],"incident_count":1,"silence":{"signed":{"by":"ada (uid 1000)","at":31,"#,
    r#""why":"new token on \"Monday\""},"until":32,"even_critical":true,"reminded":true},"openings":[["app","#,
    r#"11]]}}"#,
);
const WATCHER_RECORD: &str = concat!(
    r#"{"watcher":{"clock_off":3,"clock_offset":-61,"last_digest":52,"incidents":[{"reason":"undeliverable","number":2,"#,
    r#""generation":3,"opened_at":11,"severity":"critical","stage":-86400,"deadline":12,"told_at":13,"#,
    r#""repeats":2,"told":["default","others"],"acknowledged":{"by":"ada (uid 1000)","at":31,"#,
    r#""why":"new token on \"Monday\""},"damped":{"changed_at":33,"seen":[3,34],"withdrawn":true}}],"#,
    r#""incident_count":2,"silence":{"signed":{"by":"ada (uid 1000)","at":31,"why":"new token on \"Monday\""},"#,
    r#""until":32,"even_critical":true,"reminded":true},"openings":[["undeliverable",11]]}}"#,
);
const SUMMARY_RECORD: &str = concat!(
    r#"{"key":"k/r1/info","subject":"watcher/tokenwatch","provider":"meta","why":"first","reason":"expiring","#,
    r#""severity":"warning","detail":{"summary":{"verdicts":[["healthy",40]],"nearest":[["a.b","expiring",41]],"#,
    r#""open":[["app helpdesk","app_fault"]],"open_count":42,"opened":43,"ended":44,"since":45}},"since":53,"#,
    r#""at":53,"kind":"unknown","expires":"unknown","acknowledged":{"by":"ada (uid 1000)","at":31,"#,
    r#""why":"new token on \"Monday\""},"silence":{"signed":{"by":"ada (uid 1000)","at":31,"#,
    r#""why":"new token on \"Monday\""},"until":32,"even_critical":true,"reminded":true},"flaps":4,"#,
    r#""receivers":["default"]}"#,
);
const INCIDENT_RECORD: &str = concat!(
    r#"{"incident":{"reason":"revoked","number":7,"generation":3,"opened_at":11,"severity":"critical","#,
    r#""stage":-86400,"deadline":12,"told_at":13,"repeats":2,"told":["default","others"],"#,
    r#""acknowledged":{"by":"ada (uid 1000)","at":31,"why":"new token on \"Monday\""},"damped":{"changed_at":33,"#,
    r#""seen":[3,34],"withdrawn":true}},"ending":"superseded"}"#,
);
const ACKNOWLEDGED_RECORD: &str = r#"{"what":"ack","by":"ada (uid 1000)","why":"new token on \"Monday\""}"#;
const SILENCED_RECORD: &str = concat!(
    r#"{"what":"silence","by":"ada (uid 1000)","why":"new token on \"Monday\"","lasts":10800,"#,
    r#""even_critical":true}"#,
);
const UNSILENCED_RECORD: &str = r#"{"what":"unsilence","by":"ada (uid 1000)"}"#;

// ---- the things that are stored -------------------------------------------------------------------------------------------------------

fn token(name: &str) -> Subject {
    Subject::Token(TokenId::parse(name).expect("a name"))
}

fn app(name: &str) -> Subject {
    Subject::App(AppName::parse(name).expect("a name"))
}

fn receivers(names: &[&str]) -> Arc<[ReceiverName]> {
    names.iter().map(|name| ReceiverName::parse(name).expect("a name")).collect()
}

fn by_mail(at: i64) -> Settlement {
    Settlement { at: Timestamp::from_unix(at), channel: "mail" }
}

fn slot(status: TokenStatus) -> SlotStatus {
    SlotStatus::Token(Box::new(status))
}

fn by(receiver: &str, route: Route) -> Lane {
    Lane { route: Some(route), ..unrouted(receiver) }
}

fn unrouted(receiver: &str) -> Lane {
    Lane { receiver: ReceiverName::parse(receiver).expect("a name"), route: None }
}

/// A token that was last looked at then, with nothing to tell.
fn change(name: &str, checked: i64) -> Change {
    let at = Timestamp::from_unix(checked);
    let status = TokenStatus { last_check: Some(at), ..TokenStatus::new(at) };
    Change {
        subject: token(name),
        status: slot(status),
        notices: Vec::new(),
        entries: Vec::new(),
        journal: JournalChange::None,
    }
}

fn notice(name: &str, key: &str, at: i64) -> Notice {
    Notice {
        key: AlertKey::from_stored(key),
        subject: token(name),
        provider: ProviderName::meta(),
        app: None,
        why: NotifyReason::First,
        reason: Reason::Expiring,
        severity: Severity::Warning,
        detail: Detail::None,
        deadline: None,
        since: Timestamp::from_unix(at),
        at: Timestamp::from_unix(at),
        next: None,
        facts: NoticeFacts::NONE,
        acknowledged: None,
        silence: None,
        flaps: None,
        receivers: receivers(&["default"]),
    }
}

fn ended_run(number: u32) -> Ended {
    Ended {
        at: Timestamp::from_unix(61),
        outcome: Outcome::ALL[number as usize % Outcome::ALL.len()],
        text: format!("run {number}: it \"works\"").into(),
        origin: Origin::Asked("ada (uid 1000)".into()),
        generation: number,
    }
}

fn journaled(name: &str, number: u32, phase: Phase, sealed: &[(&str, &[u8])]) -> Journaled {
    let run = Run {
        token: TokenId::parse(name).expect("a name"),
        number,
        origin: Origin::Replaced("ada (uid 1000)".into()),
        generation: 3,
        began_at: Timestamp::from_unix(62),
        old: None,
        proved: None,
        given_end: None,
        only_copy: true,
        anyway: true,
        tried: 2,
        published: true,
        sinks: vec!["T in /srv/config.env".into(), "the command publish".into()],
        phase,
    };
    let sealed = sealed.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
    Journaled { run, sealed: sealed.collect::<Sealed>() }
}

fn incident(reason: Reason, number: u32) -> Incident {
    Incident {
        thread: reason.thread(),
        number,
        provider: ProviderName::meta(),
        generation: 3,
        opened_at: Timestamp::from_unix(11),
        reason,
        severity: Severity::Critical,
        stage: Stage(-86_400),
        deadline: Some(Timestamp::from_unix(12)),
        told_at: Some(Timestamp::from_unix(13)),
        repeats: 2,
        told: receivers(&["default", "others"]),
        acknowledged: None,
        damped: None,
    }
}

/// A status with something in every field that the first release knew.
fn full_status() -> TokenStatus {
    let inspection = Inspection {
        validity: Validity::Revoked(Cause::PasswordChanged),
        kind: TokenKind::SystemUser,
        app_id: Some("634900000000001".into()),
        user_id: Some("10001".into()),
        profile_id: None,
        issued_at: Some(Timestamp::from_unix(5)),
        expires: Expiry::At(Timestamp::from_unix(6)),
        basis: Basis::Told,
        data_access: Expiry::Never,
        grants: Some(vec![
            Grant { scope: "public_profile".into(), targets: None },
            Grant { scope: "whatsapp_business_management".into(), targets: Some(vec!["1".into()]) },
        ]),
        lacking: None,
        message: Some("changed their \"password\"".into()),
    };
    TokenStatus {
        generation: Generation {
            number: 3,
            fingerprint: Some(Fingerprint(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f_u128.to_be_bytes())),
            since: Timestamp::from_unix(1),
        },
        facts: Some(Facts { generation: 2, inspection, dated: Dated::UNKNOWN }),
        last_check: Some(Timestamp::from_unix(2)),
        last_answer: Some(Timestamp::from_unix(3)),
        invalid_streak: 4,
        failures: 5,
        failing_since: Some(Timestamp::from_unix(4)),
        last_error: Some(CheckError::App(AppFault::Blocked, "API access blocked.".into())),
        source_fault: Some("/srv/config.env: has no key T".into()),
        foreign: Some("it belongs to app 2".into()),
        ledger: Ledger { incidents: vec![incident(Reason::Revoked, 7)], count: 7, ..Ledger::default() },
        renewal: RenewalStatus::default(),
        number: None,
        next_check: Timestamp::from_unix(9),
    }
}

fn full_number() -> NumberStatus {
    let obstacle = |entity, sending, code| Obstacle {
        entity,
        id: "2".into(),
        sending,
        code,
        description: "There is an \"error\".".into(),
        solution: "Pay.".into(),
    };
    NumberStatus {
        id: "1".into(),
        subscribed_to: Some("2".into()),
        number: Some(Number {
            id: "1".into(),
            display: Some("+1 555-000-1111".into()),
            name: Some("Tea House".into()),
            status: Some("CONNECTED".into()),
            quality: Some("GREEN".into()),
            mode: Some("LIVE".into()),
            sending: Some(Sending::Blocked),
            obstacles: Entity::ALL
                .into_iter()
                .zip(Sending::ALL.into_iter().cycle())
                .map(|(entity, sending)| obstacle(entity, sending, Some(141_006)))
                .chain([obstacle(Entity::App, Sending::Limited, None)])
                .collect(),
            account: Some("2".into()),
            business: Some("3".into()),
        }),
        refused: Some("Unsupported get request.".into()),
        answered: Some(Timestamp::from_unix(8)),
        subscription: Some(Subscription::Others),
        was_subscribed: true,
    }
}

fn full_app() -> AppStatus {
    AppStatus {
        fault: Some((AppFault::WrongSecret, "Invalid OAuth access token signature.".into())),
        streak: 2,
        ledger: Ledger { incidents: vec![incident(Reason::AppFault, 1)], count: 1, ..Ledger::default() },
    }
}

fn full_notice() -> Notice {
    Notice {
        key: AlertKey::from_stored("token/a/revoked.7.g3.11/r1/critical.2"),
        subject: token("a"),
        provider: ProviderName::meta(),
        app: Some(AppName::parse("helpdesk").expect("a name")),
        why: NotifyReason::Repeated,
        reason: Reason::ScopeMissing,
        severity: Severity::Warning,
        detail: Detail::Missing(vec!["whatsapp_business_management".into()]),
        deadline: Some(Timestamp::from_unix(21)),
        since: Timestamp::from_unix(22),
        at: Timestamp::from_unix(23),
        next: Some(Timestamp::from_unix(24)),
        facts: NoticeFacts {
            kind: TokenKind::Page,
            issued_at: Some(Timestamp::from_unix(25)),
            expires: Expiry::At(Timestamp::from_unix(26)),
            basis: Basis::Told,
            last_answer: Some(Timestamp::from_unix(27)),
            message: Some("its words".into()),
            renewal: None,
        },
        acknowledged: None,
        silence: None,
        flaps: None,
        receivers: receivers(&["default", "lead"]),
    }
}

fn signed() -> Signed {
    Signed { by: "ada (uid 1000)".into(), at: Timestamp::from_unix(31), why: Some("new token on \"Monday\"".into()) }
}

fn silence() -> Silence {
    Silence { signed: signed(), until: Timestamp::from_unix(32), even_critical: true, reminded: true }
}

/// An incident with something in every field that came later.
fn answered(reason: Reason, number: u32) -> Incident {
    let damped = Damped {
        changed_at: Timestamp::from_unix(33),
        seen: Some((3, Some(Timestamp::from_unix(34)))),
        withdrawn: true,
    };
    Incident { acknowledged: Some(signed()), damped: Some(damped), ..incident(reason, number) }
}

fn ledger(reason: Reason, number: u32) -> Ledger {
    Ledger {
        incidents: vec![answered(reason, number)],
        count: number,
        silence: Some(silence()),
        openings: vec![(reason.thread(), Timestamp::from_unix(11))],
    }
}

fn summary() -> Summary {
    Summary {
        verdicts: vec![(Verdict::Healthy, 40)],
        nearest: vec![(TokenId::parse("a.b").expect("a name"), Reason::Expiring, Timestamp::from_unix(41))],
        open: vec![("app helpdesk".into(), Reason::AppFault)],
        open_count: 42,
        opened: 43,
        ended: 44,
        since: Some(Timestamp::from_unix(45)),
    }
}

// ---- random statuses and notices ------------------------------------------------------------------------------------------------------

fn moment() -> impl Strategy<Value = Timestamp> + Clone {
    prop_oneof![any::<i64>(), 1_700_000_000..1_900_000_000_i64, select(vec![i64::MIN, 0, i64::MAX])]
        .prop_map(Timestamp::from_unix)
}

/// Anything that a text may hold: quotes, line feeds, NUL, emoji.
fn text() -> impl Strategy<Value = Box<str>> + Clone {
    prop_oneof![any::<String>(), "[ -~]{0,40}", Just("\u{0}\"\\\n\u{1F511}".to_owned())].prop_map(Box::from)
}

fn name() -> impl Strategy<Value = String> + Clone {
    "[a-z0-9][a-z0-9._-]{0,62}"
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![Just(Expiry::Never), Just(Expiry::Unknown), moment().prop_map(Expiry::At)]
}

fn token_kind() -> impl Strategy<Value = TokenKind> {
    prop_oneof![
        select(vec![TokenKind::User, TokenKind::Page, TokenKind::SystemUser, TokenKind::App, TokenKind::Unknown]),
        "x[a-z0-9_]{0,31}".prop_map(|word| TokenKind::Other(word.into())),
    ]
}

fn validity() -> impl Strategy<Value = Validity> {
    let revoked = select(Cause::ALL.to_vec()).prop_map(Validity::Revoked);
    prop_oneof![select(vec![Validity::Valid, Validity::Expired, Validity::Unreadable]), revoked]
}

fn app_fault() -> impl Strategy<Value = AppFault> {
    select(AppFault::ALL.to_vec())
}

fn check_error() -> impl Strategy<Value = CheckError> {
    let how = select(vec![Unreachable::Timeout, Unreachable::Connect, Unreachable::Tls, Unreachable::Interrupted]);
    prop_oneof![
        (how, text()).prop_map(|(how, text)| CheckError::Unreachable(how, text)),
        text().prop_map(CheckError::Garbled),
        text().prop_map(CheckError::Unavailable),
        moment().prop_map(CheckError::Throttled),
        (app_fault(), text()).prop_map(|(fault, text)| CheckError::App(fault, text)),
        text().prop_map(CheckError::ForeignToken),
        text().prop_map(CheckError::Refused),
        text().prop_map(CheckError::Source),
    ]
}

fn grants() -> impl Strategy<Value = Option<Vec<Grant>>> {
    let grant = (text(), option::of(vec(text(), 0..3))).prop_map(|(scope, targets)| Grant { scope, targets });
    option::of(vec(grant, 0..4))
}

/// Boxed, like what else is large: the stack of a test is small.
fn inspections() -> BoxedStrategy<Inspection> {
    let ids = (option::of(text()), option::of(text()), option::of(text()));
    let words = (option::of(text()), option::of(text()));
    let dates = (option::of(moment()), expiry(), select(Basis::ALL.to_vec()), expiry());
    (validity(), token_kind(), ids, words, dates, grants())
        .prop_map(|(validity, kind, (app_id, user_id, profile_id), (lacking, message), dates, grants)| {
            let (issued_at, expires, basis, data_access) = dates;
            Inspection {
                validity,
                kind,
                app_id,
                user_id,
                profile_id,
                issued_at,
                expires,
                basis,
                data_access,
                grants,
                lacking,
                message,
            }
        })
        .boxed()
}

fn facts() -> impl Strategy<Value = Facts> {
    let dated = (moment(), option::of(moment()), option::of(moment()));
    let dated =
        dated.prop_map(|(since, end_before, data_access_before)| Dated { since, end_before, data_access_before });
    (any::<u32>(), inspections(), dated).prop_map(|(generation, inspection, dated)| Facts {
        generation,
        inspection,
        dated,
    })
}

fn origins() -> impl Strategy<Value = Origin> {
    prop_oneof![Just(Origin::Schedule), text().prop_map(Origin::Asked), text().prop_map(Origin::Replaced)]
}

fn endings() -> BoxedStrategy<Ended> {
    (moment(), select(Outcome::ALL.to_vec()), text(), origins(), any::<u32>())
        .prop_map(|(at, outcome, text, origin, generation)| Ended { at, outcome, text, origin, generation })
        .boxed()
}

fn renewal_status() -> BoxedStrategy<RenewalStatus> {
    let mark = (any::<u32>(), moment(), origins(), option::of(text()))
        .prop_map(|(number, since, origin, stuck)| Mark { number, since, origin, stuck });
    let known = (any::<u32>(), option::of(mark), option::of(endings()), any::<u32>());
    let kept = option::of(option::of(moment()).prop_map(|ends| Kept { ends }));
    // Without a moment it is taken from the last run, so it has one here.
    let some = (known, [(); 2].map(|()| option::of(moment())), moment(), kept).prop_map(
        |((count, run, last, failures), [next_try, renewed_at], given_at, kept)| RenewalStatus {
            count,
            run,
            last,
            failures,
            next_try,
            renewed_at,
            given_at: Some(given_at),
            kept,
        },
    );
    prop_oneof![Just(RenewalStatus::default()), some].boxed()
}

fn phases() -> impl Strategy<Value = Phase> {
    prop_oneof![
        1 => Just(Phase::SetAside),
        1 => text().prop_map(Phase::RollingBack),
        4 => select(vec![
            Phase::Ordered,
            Phase::Exchanging,
            Phase::Exchanged,
            Phase::Proved,
            Phase::Publishing,
            Phase::Published,
            Phase::Restarted,
            Phase::Confirmed,
            Phase::Revoking,
        ]),
    ]
}

fn journals(name: &str) -> BoxedStrategy<JournalChange> {
    let token = TokenId::parse(name).expect("a name");
    let numbers = (any::<u32>(), any::<u32>(), moment(), option::of(moment()));
    let facts = (option::of(inspections()), option::of(inspections()));
    let run = (numbers, origins(), facts, vec(text(), 0..3), phases()).prop_map(
        move |((number, generation, began_at, given_end), origin, (old, proved), sinks, phase)| Run {
            token: token.clone(),
            number,
            origin,
            generation,
            began_at,
            old,
            proved,
            given_end,
            only_copy: number % 7 == 0,
            anyway: number % 2 == 0,
            tried: number % 5,
            published: number % 3 == 0,
            sinks,
            phase,
        },
    );
    let sealed = proptest::collection::btree_map(any::<String>(), vec(any::<u8>(), 0..40), 0..3);
    (run, sealed, 0..5)
        .prop_map(|(run, sealed, change)| match change {
            0 => JournalChange::None,
            1 => JournalChange::End,
            2 => JournalChange::Go(Journaled { run, sealed }),
            _ => JournalChange::Begin(Journaled { run, sealed }),
        })
        .boxed()
}

fn signatures() -> impl Strategy<Value = Signed> {
    (text(), moment(), option::of(text())).prop_map(|(by, at, why)| Signed { by, at, why })
}

fn silences() -> impl Strategy<Value = Silence> {
    (signatures(), moment(), any::<bool>(), any::<bool>())
        .prop_map(|(signed, until, even_critical, reminded)| Silence { signed, until, even_critical, reminded })
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        signatures().prop_map(Answer::Acknowledge),
        signatures().prop_map(Answer::Unsilence),
        (signatures(), any::<i64>(), any::<bool>()).prop_map(|(signed, lasts, even_critical)| Answer::Silence {
            signed,
            lasts: Span::seconds(lasts),
            even_critical,
        }),
    ]
}

fn incidents() -> impl Strategy<Value = Incident> {
    let numbers = (any::<u32>(), any::<u32>(), any::<u32>(), any::<i64>());
    let dates = (moment(), option::of(moment()), option::of(moment()));
    let damped = (moment(), option::of((any::<u32>(), option::of(moment()))), any::<bool>())
        .prop_map(|(changed_at, seen, withdrawn)| Damped { changed_at, seen, withdrawn });
    let later = (option::of(signatures()), option::of(damped));
    (select(Reason::ALL.to_vec()), select(Severity::ALL.to_vec()), numbers, dates, later).prop_map(
        |(reason, severity, (number, generation, repeats, stage), (opened_at, deadline, told_at), later)| Incident {
            thread: reason.thread(),
            number,
            provider: if number % 3 == 0 {
                ProviderName::parse("gitlab").expect("a name")
            } else {
                ProviderName::meta()
            },
            generation,
            opened_at,
            reason,
            severity,
            stage: Stage(stage),
            deadline,
            told_at,
            repeats,
            told: receivers(if number % 2 == 0 { &[] } else { &["default"] }),
            acknowledged: later.0,
            damped: later.1,
        },
    )
}

fn ledgers() -> BoxedStrategy<Ledger> {
    let opening = (select(Reason::ALL.to_vec()), moment()).prop_map(|(reason, at)| (reason.thread(), at));
    (vec(incidents(), 0..4), any::<u32>(), option::of(silences()), vec(opening, 0..4))
        .prop_map(|(incidents, count, silence, openings)| Ledger { incidents, count, silence, openings })
        .boxed()
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let ending = option::of((moment(), select(Ending::ALL.to_vec())));
    let entry = prop_oneof![
        (incidents(), ending).prop_map(|(incident, ended)| Entry::Incident(incident, ended)),
        answers().prop_map(Entry::Answer),
        endings().prop_map(Entry::Renewal),
    ];
    vec(entry, 0..5)
}

fn token_status() -> BoxedStrategy<TokenStatus> {
    let generation = (any::<u32>(), option::of(any::<[u8; 16]>()), moment());
    let dates = (option::of(moment()), option::of(moment()), option::of(moment()), moment());
    let counts = (any::<u32>(), any::<u32>());
    let faults = (option::of(check_error()), option::of(text()), option::of(text()));
    (generation, option::of(facts()), dates, counts, faults, ledgers(), renewal_status())
        .prop_map(
            |(
                (number, fingerprint, since),
                facts,
                dates,
                counts,
                (last_error, source_fault, foreign),
                ledger,
                renewal,
            )| {
                TokenStatus {
                    generation: Generation { number, fingerprint: fingerprint.map(Fingerprint), since },
                    facts,
                    last_check: dates.0,
                    last_answer: dates.1,
                    failing_since: dates.2,
                    next_check: dates.3,
                    invalid_streak: counts.0,
                    failures: counts.1,
                    last_error,
                    source_fault,
                    foreign,
                    ledger,
                    renewal,
                    number: None,
                }
            },
        )
        .boxed()
}

fn app_status() -> impl Strategy<Value = AppStatus> {
    (option::of((app_fault(), text())), any::<u32>(), ledgers()).prop_map(|(fault, streak, ledger)| AppStatus {
        fault,
        streak,
        ledger,
    })
}

fn watcher_status() -> impl Strategy<Value = WatcherStatus> {
    let offset = option::of(any::<i32>().prop_map(|seconds| Span::seconds(seconds.into())));
    (ledgers(), any::<u32>(), offset, option::of(moment())).prop_map(
        |(ledger, clock_off, clock_offset, last_digest)| WatcherStatus { ledger, clock_off, clock_offset, last_digest },
    )
}

fn summaries() -> impl Strategy<Value = Summary> {
    let reason = || select(Reason::ALL.to_vec());
    let nearest = (name(), reason(), moment())
        .prop_map(|(name, reason, at)| (TokenId::parse(&name).expect("a name"), reason, at));
    let verdicts = vec((select(Verdict::ALL.to_vec()), any::<u64>()), 0..4);
    let counts = (any::<u64>(), any::<u64>(), any::<u64>());
    (verdicts, vec(nearest, 0..3), vec((text(), reason()), 0..3), counts, option::of(moment())).prop_map(
        |(verdicts, nearest, open, (open_count, opened, ended), since)| Summary {
            verdicts,
            nearest,
            open,
            open_count,
            opened,
            ended,
            since,
        },
    )
}

fn detail() -> impl Strategy<Value = Detail> {
    prop_oneof![
        Just(Detail::None),
        select(Cause::ALL.to_vec()).prop_map(Detail::Cause),
        vec(text(), 0..4).prop_map(Detail::Missing),
        (app_fault(), text()).prop_map(|(fault, text)| Detail::App(fault, text)),
        text().prop_map(Detail::Text),
        summaries().prop_map(|summary| Detail::Summary(Box::new(summary))),
    ]
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![name().prop_map(|name| token(&name)), name().prop_map(|name| app(&name)), Just(Subject::Watcher)]
}

fn notices() -> impl Strategy<Value = Vec<Notice>> {
    let codes = (select(NotifyReason::ALL.to_vec()), select(Reason::ALL.to_vec()), select(Severity::ALL.to_vec()));
    let dates = (option::of(moment()), moment(), moment(), option::of(moment()));
    let note = (option::of(endings()), option::of(moment()), option::of(text()))
        .prop_map(|(last, next, refusal)| Box::new(RenewalNote { last, next, refusal }));
    let end = (expiry(), select(Basis::ALL.to_vec()));
    let known = (token_kind(), option::of(moment()), end, option::of(moment()), option::of(text()));
    let facts = (known, option::of(note)).prop_map(|(known, renewal)| {
        let (kind, issued_at, (expires, basis), last_answer, message) = known;
        NoticeFacts { kind, issued_at, expires, basis, last_answer, message, renewal }
    });
    let told = proptest::collection::btree_set(name(), 0..4);
    let answers = (option::of(signatures()), option::of(silences()), option::of(any::<u32>()));
    let notice = (text(), subject(), option::of(name()), codes, detail(), dates, facts, told, answers).prop_map(
        |(key, subject, app, (why, reason, severity), detail, (deadline, since, at, next), facts, told, answers)| {
            Notice {
                key: AlertKey::from_stored(&key),
                subject,
                provider: ProviderName::meta(),
                app: app.map(|name| AppName::parse(&name).expect("a name")),
                why,
                reason,
                severity,
                detail,
                deadline,
                since,
                at,
                next,
                facts,
                acknowledged: answers.0,
                silence: answers.1,
                flaps: answers.2,
                receivers: told.iter().map(|name| ReceiverName::parse(name).expect("a name")).collect(),
            }
        },
    );
    vec(notice, 0..4)
}

fn token_changes() -> impl Strategy<Value = Change> {
    // Some names come again, so that journals go on.
    let name = prop_oneof![name(), select(vec!["a", "a.b", "b", "c"]).prop_map(str::to_owned)];
    let named = name.prop_flat_map(|name| (Just(token(&name)), journals(&name)));
    (named, token_status(), notices(), entries()).prop_map(|((subject, journal), status, notices, entries)| Change {
        subject,
        status: slot(status),
        notices,
        entries,
        journal,
    })
}

fn other_changes() -> impl Strategy<Value = Change> {
    let other = prop_oneof![
        (name(), app_status()).prop_map(|(name, status)| (app(&name), SlotStatus::App(status))),
        watcher_status().prop_map(|status| (Subject::Watcher, SlotStatus::Watcher(status))),
    ];
    (other, notices(), entries()).prop_map(|((subject, status), notices, entries)| Change {
        subject,
        status,
        notices,
        entries,
        journal: JournalChange::None,
    })
}
