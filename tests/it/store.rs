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
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tempfile::TempDir;
use tokenwatch::domain::alert::{AlertKey, Incident, Notice, NoticeFacts, NotifyReason, Subject};
use tokenwatch::domain::finding::{Detail, Reason, Severity, Stage};
use tokenwatch::domain::inspection::{
    AppFault, Cause, CheckError, Expiry, Grant, Inspection, TokenKind, Unreachable, Validity,
};
use tokenwatch::domain::status::{AppStatus, Facts, Generation, TokenStatus};
use tokenwatch::domain::time::Timestamp;
use tokenwatch::domain::token::{AppName, Fingerprint, ProviderKind, ReceiverName, TokenId};
use tokenwatch::ports::{Change, OutboxRow, OutboxSummary, Settlement, SlotStatus, Store, StoreError};
use tokenwatch::secret::Secret;
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

    async fn pending(&self) -> Vec<OutboxRow> {
        self.store().pending(usize::MAX).await.expect("the outbox can be read")
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
    a_settled_row_is_gone_for_good
    what_waits_for_somebody_who_is_gone_goes_to_others_and_to_nobody_twice
    the_outbox_is_counted
    nothing_undelivered_is_forgotten
    only_slots_that_nobody_looked_at_are_forgotten
    the_fingerprint_key_never_changes
    a_second_process_is_refused_and_harms_nobody
    a_failure_is_an_error_and_the_store_stays_usable
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
        let app = Change { subject: app("a"), status: SlotStatus::App(full_app()), notices: vec![] };
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
        let names: Vec<&str> = rows.iter().map(|row| row.receiver.as_str()).collect();
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
            let some = shelf.store().pending(limit).await.expect("rows");
            assert_eq!(some, rows[..limit], "the oldest come first");
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
        let messages = |rows: Vec<OutboxRow>| rows.into_iter().map(|row| row.message).collect::<Vec<_>>();
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
        shelf.store().reopen(ids.clone(), "connection refused".to_owned()).await.expect("reopened");
        shelf.reopen();
        assert_eq!(shelf.pending().await, before);
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
        shelf.store().reopen(vec![ids[0]], "too late".to_owned()).await.expect("reopened");
        shelf.store().seal(vec![ids[0]], Arc::from("<m@x>")).await.expect("sealed");
        shelf.store().settle(vec![ids[0], 4_711], by_mail(21)).await.expect("settled twice, and one that is not there");
        shelf.store().settle(vec![], by_mail(21)).await.expect("nothing");
        shelf.reopen();
        assert_eq!(shelf.keys().await, ["k2"]);
    }

    pub async fn what_waits_for_somebody_who_is_gone_goes_to_others_and_to_nobody_twice(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let to = |key: &str, names: &[&str]| Notice { receivers: receivers(names), ..notice("a", key, 10) };
        let notices =
            vec![to("k1", &["gone"]), to("k2", &["gone", "heir"]), to("k3", &["gone", "heir"]), to("k4", &["gone"])];
        shelf.commit(vec![Change { notices, ..change("a", 1) }]).await;
        let rows = async |shelf: &Shelf| -> Vec<(String, String)> {
            let pending = shelf.pending().await.into_iter();
            pending.map(|row| (row.receiver.to_string(), row.notice.key.to_string())).collect()
        };
        let ids = async |shelf: &Shelf, name: &str| -> Vec<i64> {
            let pending = shelf.pending().await.into_iter();
            pending.filter(|row| row.receiver.as_str() == name).map(|row| row.id).collect()
        };
        let gone = ids(&shelf, "gone").await;
        // The heir has one of them already, and another is on its way to the one who is gone.
        let told = ids(&shelf, "heir").await[0];
        shelf.store().settle(vec![told], by_mail(20)).await.expect("settled");
        shelf.store().seal(vec![gone[0]], Arc::from("<m@x>")).await.expect("sealed");
        let heirs = |names: &[&str]| receivers(names).to_vec();
        // Where nobody is left, nothing is dropped.
        let at = Timestamp::from_unix(30);
        shelf.store().reroute(gone.clone(), Vec::new(), at).await.expect("rerouted");
        shelf.store().reroute(gone.clone(), heirs(&["gone"]), at).await.expect("rerouted");
        assert_eq!(ids(&shelf, "gone").await, gone);
        shelf.store().reroute(gone[..3].to_vec(), heirs(&["heir", "other"]), at).await.expect("rerouted");
        for _ in 0..2 {
            let mut waiting = rows(&shelf).await;
            waiting.sort();
            let expected =
                [("gone", "k4"), ("heir", "k1"), ("heir", "k3"), ("other", "k1"), ("other", "k2"), ("other", "k3")];
            assert_eq!(waiting, expected.map(|(name, key)| (name.to_owned(), key.to_owned())));
            shelf.reopen();
        }
        let moved = shelf.pending().await.into_iter().find(|row| row.receiver.as_str() == "other").expect("a row");
        assert_eq!((moved.message, moved.notice.at), (None, Timestamp::from_unix(10)), "it is a letter of its own");
        // A delivery to nobody is no delivery by mail, and what was handed on is not told to the one who comes back.
        assert_eq!(shelf.store().outbox().await.expect("counts").last_mail, Some(Timestamp::from_unix(20)));
        shelf.commit(vec![Change { notices: vec![to("k1", &["gone"])], ..change("a", 2) }]).await;
        assert_eq!(ids(&shelf, "gone").await, gone[3..]);
    }

    pub async fn the_outbox_is_counted(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        assert_eq!(shelf.store().outbox().await.expect("counts"), OutboxSummary::default());
        let notices = [("k1", 30), ("k2", 10), ("k3", 20)].map(|(key, at)| notice("a", key, at)).to_vec();
        shelf.commit(vec![Change { notices, ..change("a", 1) }]).await;
        let ids: Vec<i64> = shelf.pending().await.iter().map(|row| row.id).collect();
        let moment = |unix| Some(Timestamp::from_unix(unix));
        let expect = |pending, oldest, last_mail| OutboxSummary { pending, oldest, last_mail };
        assert_eq!(shelf.store().outbox().await.expect("counts"), expect(3, moment(10), None));
        shelf.store().settle(vec![ids[1]], by_mail(50)).await.expect("settled");
        assert_eq!(shelf.store().outbox().await.expect("counts"), expect(2, moment(20), moment(50)));
        // What went nowhere, because nobody is to be reached, is no mail.
        let nowhere = Settlement { at: Timestamp::from_unix(70), channel: "none" };
        shelf.store().settle(vec![ids[0]], nowhere).await.expect("settled");
        shelf.reopen();
        assert_eq!(shelf.store().outbox().await.expect("counts"), expect(1, moment(20), moment(50)));
    }

    pub async fn nothing_undelivered_is_forgotten(kind: &'static Kind) {
        let mut shelf = Shelf::new(kind);
        let notices = ["sealed", "open", "old", "new"].map(|key| notice("a", key, i64::from(i32::MIN))).to_vec();
        shelf.commit(vec![Change { notices: notices.clone(), ..change("a", 1) }]).await;
        let ids: Vec<i64> = shelf.pending().await.iter().map(|row| row.id).collect();
        shelf.store().seal(vec![ids[0]], Arc::from("<m@x>")).await.expect("sealed");
        shelf.store().reopen(vec![ids[1]], "refused".to_owned()).await.expect("reopened");
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
        let app = Change { subject: app("a"), status: SlotStatus::App(full_app()), notices: vec![] };
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

    /// Sentence 6.
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

    /// Sentence 8.
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
        let batch = (vec(token_changes(), 1..12), vec(app_changes(), 0..4));
        let mut draw = || batch.new_tree(&mut runner).expect("the generator works").current();
        let batches = (0..24).map(|_| draw()).map(|(tokens, apps)| tokens.into_iter().chain(apps).collect::<Vec<_>>());
        let batches: Vec<Vec<Change>> = batches.collect();
        let mut shelf = Shelf::new(kind);
        let mut statuses = BTreeMap::new();
        let mut told: Vec<(ReceiverName, Notice)> = Vec::new();
        for changes in batches {
            for change in &changes {
                statuses.insert(change.subject.clone(), change.status.clone());
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
        let back: Vec<_> = rows.into_iter().map(|row| (row.receiver, row.notice)).collect();
        assert!(back.len() > 100, "the generator makes too little: {}", back.len());
        assert_eq!(back, told);
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
        let told = store.pending(usize::MAX).await.expect("rows").len();
        let known = store.subjects().await.expect("subjects").len();
        match (known, told) {
            (1, 1) => without += 1,
            (31, 31) => with += 1,
            other => panic!("cut at {cut} of {whole}: {other:?}"),
        }
    }
    assert!(with >= 1 && without >= 30, "{with} with, {without} without");
}

/// What is stored today must be readable for ever: these are records as the first release wrote them.
#[tokio::test]
async fn records_of_the_first_release_are_still_read() {
    let mut shelf = Shelf::new(&SQLITE);
    shelf.close();
    {
        let raw = rusqlite::Connection::open(shelf.path()).expect("the file opens");
        let slot = "INSERT INTO slots (subject, status, seen_at) VALUES (?1, ?2, 1)";
        raw.execute(slot, ["token/a", TOKEN_RECORD]).expect("a token");
        raw.execute(slot, ["app/a", APP_RECORD]).expect("an app");
        let row = "INSERT INTO outbox (alert_key, receiver, notice, made_at) VALUES ('k', 'default', ?1, 1)";
        raw.execute(row, [NOTICE_RECORD]).expect("a notice");
    }
    shelf.reopen();
    assert_eq!(shelf.load(&token("a")).await, Some(slot(full_status())));
    assert_eq!(shelf.load(&app("a")).await, Some(SlotStatus::App(full_app())));
    assert_eq!(shelf.pending().await[0].notice, full_notice());

    // And what is written today is the same text, so that an older release of the same schema can read it, too.
    let change = Change { subject: token("b"), status: slot(full_status()), notices: vec![] };
    let app = Change { subject: app("b"), status: SlotStatus::App(full_app()), notices: vec![full_notice()] };
    shelf.commit(vec![change, app]).await;
    shelf.close();
    let raw = rusqlite::Connection::open(shelf.path()).expect("the file opens");
    let text = |sql: &str| raw.query_row(sql, [], |row| row.get::<_, String>(0)).expect("a record");
    assert_eq!(text("SELECT status FROM slots WHERE subject = 'token/b'"), TOKEN_RECORD);
    assert_eq!(text("SELECT status FROM slots WHERE subject = 'app/b'"), APP_RECORD);
    assert_eq!(text("SELECT notice FROM outbox WHERE alert_key <> 'k'"), NOTICE_RECORD);
}

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

/// A token that was last looked at then, with nothing to tell.
fn change(name: &str, checked: i64) -> Change {
    let at = Timestamp::from_unix(checked);
    let status = TokenStatus { last_check: Some(at), ..TokenStatus::new(at) };
    Change { subject: token(name), status: slot(status), notices: Vec::new() }
}

fn notice(name: &str, key: &str, at: i64) -> Notice {
    Notice {
        key: AlertKey::from_stored(key),
        subject: token(name),
        provider: ProviderKind::Meta,
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
        receivers: receivers(&["default"]),
    }
}

fn incident(reason: Reason, number: u32) -> Incident {
    Incident {
        thread: reason.thread(),
        number,
        generation: 3,
        opened_at: Timestamp::from_unix(11),
        reason,
        severity: Severity::Critical,
        stage: Stage(-86_400),
        deadline: Some(Timestamp::from_unix(12)),
        told_at: Timestamp::from_unix(13),
        repeats: 2,
        told: receivers(&["default", "others"]),
    }
}

/// A status with something in every field.
fn full_status() -> TokenStatus {
    let inspection = Inspection {
        validity: Validity::Revoked(Cause::PasswordChanged),
        kind: TokenKind::SystemUser,
        app_id: Some("634900000000001".into()),
        user_id: Some("10001".into()),
        issued_at: Some(Timestamp::from_unix(5)),
        expires: Expiry::At(Timestamp::from_unix(6)),
        data_access: Expiry::Never,
        grants: Some(vec![
            Grant { scope: "public_profile".into(), targets: None },
            Grant { scope: "whatsapp_business_management".into(), targets: Some(vec!["1".into()]) },
        ]),
        message: Some("changed their \"password\"".into()),
    };
    TokenStatus {
        generation: Generation {
            number: 3,
            fingerprint: Some(Fingerprint(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f_u128.to_be_bytes())),
            since: Timestamp::from_unix(1),
        },
        facts: Some(Facts { generation: 2, inspection }),
        last_check: Some(Timestamp::from_unix(2)),
        last_answer: Some(Timestamp::from_unix(3)),
        invalid_streak: 4,
        failures: 5,
        failing_since: Some(Timestamp::from_unix(4)),
        last_error: Some(CheckError::App(AppFault::Blocked, "API access blocked.".into())),
        source_fault: Some("/srv/config.env: has no key T".into()),
        foreign: Some("it belongs to app 2".into()),
        incidents: vec![incident(Reason::Revoked, 7)],
        incident_count: 7,
        next_check: Timestamp::from_unix(9),
    }
}

fn full_app() -> AppStatus {
    AppStatus {
        fault: Some((AppFault::WrongSecret, "Invalid OAuth access token signature.".into())),
        streak: 2,
        incidents: vec![incident(Reason::AppFault, 1)],
        incident_count: 1,
    }
}

fn full_notice() -> Notice {
    Notice {
        key: AlertKey::from_stored("token/a/revoked.7.g3.11/r1/critical.2"),
        subject: token("a"),
        provider: ProviderKind::Meta,
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
            last_answer: Some(Timestamp::from_unix(27)),
            message: Some("its words".into()),
        },
        receivers: receivers(&["default", "lead"]),
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

fn facts() -> impl Strategy<Value = Facts> {
    let ids = (option::of(text()), option::of(text()), option::of(text()));
    let dates = (option::of(moment()), expiry(), expiry());
    (any::<u32>(), validity(), token_kind(), ids, dates, grants()).prop_map(
        |(generation, validity, kind, (app_id, user_id, message), (issued_at, expires, data_access), grants)| Facts {
            generation,
            inspection: Inspection {
                validity,
                kind,
                app_id,
                user_id,
                issued_at,
                expires,
                data_access,
                grants,
                message,
            },
        },
    )
}

fn incidents() -> impl Strategy<Value = Vec<Incident>> {
    let numbers = (any::<u32>(), any::<u32>(), any::<u32>(), any::<i64>());
    let dates = (moment(), option::of(moment()), moment());
    let incident = (select(Reason::ALL.to_vec()), select(Severity::ALL.to_vec()), numbers, dates).prop_map(
        |(reason, severity, (number, generation, repeats, stage), (opened_at, deadline, told_at))| Incident {
            thread: reason.thread(),
            number,
            generation,
            opened_at,
            reason,
            severity,
            stage: Stage(stage),
            deadline,
            told_at,
            repeats,
            told: receivers(if number % 2 == 0 { &[] } else { &["default"] }),
        },
    );
    vec(incident, 0..4)
}

fn token_status() -> impl Strategy<Value = TokenStatus> {
    let generation = (any::<u32>(), option::of(any::<[u8; 16]>()), moment());
    let dates = (option::of(moment()), option::of(moment()), option::of(moment()), moment());
    let counts = (any::<u32>(), any::<u32>(), any::<u32>());
    let faults = (option::of(check_error()), option::of(text()), option::of(text()));
    (generation, option::of(facts()), dates, counts, faults, incidents()).prop_map(
        |((number, fingerprint, since), facts, dates, counts, (last_error, source_fault, foreign), incidents)| {
            TokenStatus {
                generation: Generation { number, fingerprint: fingerprint.map(Fingerprint), since },
                facts,
                last_check: dates.0,
                last_answer: dates.1,
                failing_since: dates.2,
                next_check: dates.3,
                invalid_streak: counts.0,
                failures: counts.1,
                incident_count: counts.2,
                last_error,
                source_fault,
                foreign,
                incidents,
            }
        },
    )
}

fn app_status() -> impl Strategy<Value = AppStatus> {
    (option::of((app_fault(), text())), any::<u32>(), incidents(), any::<u32>())
        .prop_map(|(fault, streak, incidents, incident_count)| AppStatus { fault, streak, incidents, incident_count })
}

fn detail() -> impl Strategy<Value = Detail> {
    prop_oneof![
        Just(Detail::None),
        select(Cause::ALL.to_vec()).prop_map(Detail::Cause),
        vec(text(), 0..4).prop_map(Detail::Missing),
        (app_fault(), text()).prop_map(|(fault, text)| Detail::App(fault, text)),
        text().prop_map(Detail::Text),
    ]
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![name().prop_map(|name| token(&name)), name().prop_map(|name| app(&name))]
}

fn notices() -> impl Strategy<Value = Vec<Notice>> {
    let codes = (select(NotifyReason::ALL.to_vec()), select(Reason::ALL.to_vec()), select(Severity::ALL.to_vec()));
    let dates = (option::of(moment()), moment(), moment(), option::of(moment()));
    let facts = (token_kind(), option::of(moment()), expiry(), option::of(moment()), option::of(text())).prop_map(
        |(kind, issued_at, expires, last_answer, message)| NoticeFacts {
            kind,
            issued_at,
            expires,
            last_answer,
            message,
        },
    );
    let told = proptest::collection::btree_set(name(), 0..4);
    let notice = (text(), subject(), option::of(name()), codes, detail(), dates, facts, told).prop_map(
        |(key, subject, app, (why, reason, severity), detail, (deadline, since, at, next), facts, told)| Notice {
            key: AlertKey::from_stored(&key),
            subject,
            provider: ProviderKind::Meta,
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
            receivers: told.iter().map(|name| ReceiverName::parse(name).expect("a name")).collect(),
        },
    );
    vec(notice, 0..4)
}

fn token_changes() -> impl Strategy<Value = Change> {
    (name(), token_status(), notices()).prop_map(|(name, status, notices)| Change {
        subject: token(&name),
        status: slot(status),
        notices,
    })
}

fn app_changes() -> impl Strategy<Value = Change> {
    (name(), app_status(), notices()).prop_map(|(name, status, notices)| Change {
        subject: app(&name),
        status: SlotStatus::App(status),
        notices,
    })
}
