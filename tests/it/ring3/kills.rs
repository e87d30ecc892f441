//! A hundred times SIGKILL, at moments that hurt, while tokens expire, are revoked, disappear and are replaced: nothing is lost, and
//! nothing is told under two names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokenwatch::sim::{App, AppEvent, User};

use crate::support::exim::{Exim, Letter};
use crate::support::process::{PATIENCE, Stage, quoted, unix_now, wait_until};
use tokio::time::Instant;

#[test]
fn a_hundred_kills_lose_no_notice_and_rename_none() {
    let exim = Exim::start("swordfish");
    let wire = Wire::to(exim.port);
    let mut story = Story::begin(&exim.relay_at(wire.port));
    let mut random = Random(0x7074_6f6b_656e_7731);
    let mut struck = 0;
    for round in 0..KILLS {
        let (opened, arrived) = (wire.opened(), exim.count());
        let daemon = story.stage.start();
        // Most of the moments that matter lie between the first word to the relay and the commit after its answer.
        match round % 3 {
            0 => pause(random.up_to(300)),
            1 => {
                watch(|| wire.opened() > opened);
                pause(random.up_to(250));
            }
            _ => {
                watch(|| exim.count() > arrived);
                pause(random.up_to(40) - 1);
            }
        }
        struck += usize::from(wire.open() > 0);
        daemon.kill9();
        story.go_on(round, &exim.mails());
    }
    let mails = exim.mails();
    let ids: BTreeSet<String> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    let twice = mails.len() - ids.len();

    let daemon = story.stage.start_ready();
    wait_until("the story's end", PATIENCE, || {
        story.go_on(KILLS, &exim.mails());
        story.is_told() && unix_now() > story.last_end + 1
    });
    wait_until("every expected notice", PATIENCE, || story.missing(&exim.mails()).is_empty());
    wait_until("an empty outbox", PATIENCE, || daemon.metric("tokenwatch_outbox_pending") == Some(0.0));
    assert_eq!(daemon.stop(), 0);
    judge(&story, &exim.mails());
    assert!(struck >= KILLS / 10, "only {struck} kills struck while a mail was on its way: the test has lost its aim");
    assert!(twice > 0, "no kill struck between the relay's answer and the commit: the test has lost its aim");
}

fn pause(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// Waits for a moment to strike, for a while.
fn watch(mut come: impl FnMut() -> bool) {
    let end = Instant::now() + AIMING;
    while !come() && Instant::now() < end {
        pause(1);
    }
}

/// What the promises demand of the state file and of the mails that arrived.
fn judge(story: &Story, mails: &[Letter]) {
    let state = Connection::open(story.stage.state()).expect("the state file opens");
    let integrity: String = state.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    assert_eq!(integrity, "ok");
    let rows = outbox(&state);

    let mut arrived: BTreeMap<String, Vec<&Letter>> = BTreeMap::new();
    for mail in mails {
        arrived.entry(mail.header("Message-ID")).or_default().push(mail);
    }
    let sealed: BTreeSet<&str> = rows.iter().map(|row| row.message.as_str()).collect();
    for (id, copies) in &arrived {
        assert!(sealed.contains(id.as_str()), "{id} is of no notice: one was told under two ids\n{}", copies[0].raw);
        assert!(copies.iter().all(|copy| copy.subject() == copies[0].subject()), "{id} names two messages");
        let told = copies[0].headers("X-Tokenwatch-Notice").len();
        let held = rows.iter().filter(|row| row.message == *id).count();
        assert_eq!(told, held, "{id} tells other notices than the outbox says");
    }
    for row in &rows {
        assert!(row.delivered, "{} was never delivered", row.key);
        assert!(arrived.contains_key(&row.message), "{} never arrived, though the outbox says so", row.key);
    }
    let keys: BTreeSet<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    assert_eq!(keys.len(), rows.len(), "one notice, one row");

    for name in &story.expiring {
        let start = format!("token/{name}/expiry.");
        let own: Vec<&str> = rows.iter().map(|row| row.key.as_str()).filter(|key| key.starts_with(&start)).collect();
        let incidents: BTreeSet<&str> = own.iter().filter_map(|key| key.rsplitn(3, '/').nth(2)).collect();
        assert_eq!(incidents.len(), 1, "{name} has one deadline and so one incident: {own:?}");
        for rung in ["r33s/info", "r10s/critical", "end/critical"] {
            let told = own.iter().filter(|key| key.ends_with(rung)).count();
            assert_eq!(told, 1, "{name} told {rung} {told} times: {own:?}");
        }
    }
    let strangers: Vec<&&str> = keys.iter().filter(|key| key.starts_with("token/steady/")).collect();
    assert!(strangers.is_empty(), "nothing is wrong with it: {strangers:?}");
    for (subject, thread) in
        [("replaced", "expiry"), ("revoked", "revoked"), ("killed", "revoked"), ("missing", "source")]
    {
        let start = format!("token/{subject}/{thread}.");
        let own: Vec<&&str> = keys.iter().filter(|key| key.starts_with(&start)).collect();
        let resolved = own.iter().filter(|key| key.ends_with("/closed/resolved")).count();
        assert_eq!(resolved, 1, "one incident, one end: {own:?}");
    }
}

/// Fates that go on when their last turn has reached people, whatever the kills did to the time between.
struct Story {
    stage: Stage,
    secrets: BTreeMap<&'static str, String>,
    turns: Vec<Turn>,
    expiring: Vec<&'static str>,
    last_end: i64,
}

/// One turn: once this round is reached and that mail has arrived, something happens.
struct Turn {
    from: usize,
    after: Option<(&'static str, &'static str)>,
    act: fn(&mut Story),
}

impl Story {
    fn begin(relay: &str) -> Self {
        let stage = Stage::new();
        stage.sim().with_world(|world| {
            world.add_app(App::new(SECOND_APP, "Second", SECOND_SECRET));
            world.add_user(User::new(SECOND_APP, BOB, "Bob"));
        });
        let now = unix_now();
        let mut secrets = BTreeMap::new();
        let mut expiring = Vec::new();
        // A life of 100 seconds has its rungs 33, 10 and 3 seconds before its end.
        for (name, end) in ENDS {
            secrets.insert(name, stage.issue(end - 100, end));
            expiring.push(name);
        }
        secrets.insert("replaced", stage.issue(-4_000, 600));
        for name in ["revoked", "killed", "missing", "steady"] {
            secrets.insert(name, stage.issue_healthy());
        }
        let bobs = stage.sim().with_world(|world| world.issue_long_user(BOB, &[], now));
        secrets.insert("bobs", bobs);

        let mut rest = format!(
            "[apps.second]\nid = \"{SECOND_APP}\"\nsecret = {{ env_file = {}, key = \"SECOND_SECRET\" }}\n",
            quoted(&stage.path("config.env"))
        );
        let mut tokens = String::new();
        for name in secrets.keys() {
            // A receiver of its own for each: many small messages, so there are many moments to be killed in.
            rest.push_str(&format!("[receivers.{name}]\nemail = [\"{name}@example.com\"]\n"));
            let entry = stage.token(name, &key(name)) + &format!("receivers = [{name:?}]\n");
            tokens.push_str(&if *name == "bobs" { entry.replace("helpdesk", "second") } else { entry });
        }
        stage.configure(&stage.config(relay, &(rest + &tokens)));
        let turns = vec![
            Turn { from: 5, after: None, act: |story| story.revoke("revoked") },
            Turn { from: 8, after: Some(("replaced", "expiring")), act: |story| story.replace("replaced") },
            Turn { from: 20, after: Some(("revoked", "revoked")), act: |story| story.replace("revoked") },
            Turn { from: 25, after: None, act: |story| story.take_away("missing") },
            Turn { from: 30, after: Some(("missing", "source_unreadable")), act: |story| story.replace("missing") },
            Turn { from: 35, after: None, act: |story| story.app(AppEvent::Blocked) },
            Turn { from: 40, after: Some(("second", "app_fault")), act: |story| story.app(AppEvent::Unblocked) },
            Turn { from: 55, after: None, act: |story| story.revoke("killed") },
            Turn { from: 60, after: Some(("killed", "revoked")), act: |story| story.replace("killed") },
        ];
        let story = Self { stage, secrets, turns, expiring, last_end: now + 43 };
        story.write_secrets();
        story
    }

    fn go_on(&mut self, round: usize, mails: &[Letter]) {
        let has = |subject: &str, finding: &str| mails.iter().any(|mail| mail.tells(subject, finding, "first"));
        while let Some(turn) = self.turns.first()
            && turn.from <= round
            && turn.after.is_none_or(|(subject, finding)| has(subject, finding))
        {
            let act = turn.act;
            self.turns.remove(0);
            act(self);
        }
    }

    fn is_told(&self) -> bool {
        self.turns.is_empty()
    }

    /// The expected notices that have not arrived yet, in words.
    fn missing(&self, mails: &[Letter]) -> Vec<String> {
        let mut wanted: Vec<(&str, &str, &str)> = vec![
            ("replaced", "expiring", "resolved"),
            ("revoked", "revoked", "resolved"),
            ("killed", "revoked", "resolved"),
            ("missing", "source_unreadable", "resolved"),
            ("second", "app_fault", "resolved"),
        ];
        wanted.extend(self.expiring.iter().map(|name| (*name, "expired", "escalated")));
        let missing =
            wanted.iter().filter(|(subject, finding, why)| !mails.iter().any(|mail| mail.tells(subject, finding, why)));
        missing.map(|(subject, finding, why)| format!("{subject} {finding} {why}")).collect()
    }

    fn revoke(&mut self, name: &str) {
        let token = self.secrets[name].clone();
        assert!(self.stage.sim().with_world(|world| world.revoke(&token, unix_now())));
    }

    fn replace(&mut self, name: &'static str) {
        let token = self.stage.issue_healthy();
        self.secrets.insert(name, token);
        self.write_secrets();
    }

    fn take_away(&mut self, name: &str) {
        self.secrets.remove(name);
        self.write_secrets();
    }

    fn app(&mut self, event: AppEvent) {
        self.stage.sim().with_world(|world| world.app_event(SECOND_APP, event, unix_now()));
    }

    fn write_secrets(&self) {
        let mut lines = vec![("SECOND_SECRET".to_owned(), SECOND_SECRET)];
        lines.extend(self.secrets.iter().map(|(name, secret)| (key(name), secret.as_str())));
        let lines: Vec<(&str, &str)> = lines.iter().map(|(key, secret)| (key.as_str(), *secret)).collect();
        self.stage.write_env(&lines);
    }
}

fn key(name: &str) -> String {
    format!("TOKEN_{}", name.to_ascii_uppercase().replace('-', "_"))
}

struct Row {
    key: String,
    message: String,
    delivered: bool,
}

fn outbox(state: &Connection) -> Vec<Row> {
    let sql = "SELECT alert_key, coalesce(message, ''), delivered_at IS NOT NULL FROM outbox ORDER BY id";
    let mut statement = state.prepare(sql).expect("the outbox is there");
    let read = |row: &rusqlite::Row<'_>| Ok(Row { key: row.get(0)?, message: row.get(1)?, delivered: row.get(2)? });
    statement.query_map([], read).expect("rows").collect::<Result<_, _>>().expect("rows")
}

/// A plain wire to the mail server that tells when somebody speaks over it, and makes its answers travel for a while, as a relay's do. What
/// is said it neither knows nor changes.
struct Wire {
    port: u16,
    state: Arc<WireState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct WireState {
    opened: AtomicUsize,
    closed: AtomicUsize,
    cut: AtomicBool,
}

impl Wire {
    fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let state = Arc::new(WireState::default());
        let seen = Arc::clone(&state);
        let thread = thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if seen.cut.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { continue };
                seen.opened.fetch_add(1, Ordering::SeqCst);
                let seen = Arc::clone(&seen);
                thread::spawn(move || {
                    let back = near.try_clone().and_then(|near| far.try_clone().map(|far| (far, near)));
                    if let Ok((far, near)) = back {
                        thread::spawn(move || carry(far, near, DISTANCE));
                    }
                    carry(near, far, Duration::ZERO);
                    seen.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, state, thread: Some(thread) }
    }

    /// Conversations begun so far.
    fn opened(&self) -> usize {
        self.state.opened.load(Ordering::SeqCst)
    }

    /// Conversations under way.
    fn open(&self) -> usize {
        self.opened().saturating_sub(self.state.closed.load(Ordering::SeqCst))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.cut.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, so that it sees the cut.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, distance: Duration) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        thread::sleep(distance);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // A side that breaks off shows as an end on the other.
    let _ = to.shutdown(Shutdown::Write);
}

/// xorshift64: the same moments in every run.
struct Random(u64);

impl Random {
    fn up_to(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        1 + self.0 % most
    }
}

const KILLS: usize = 100;
/// Tokens of a hundred seconds, and when they end, in seconds from the start.
const ENDS: [(&str, i64); 8] = [
    ("ends-1", 21),
    ("ends-2", 24),
    ("ends-3", 27),
    ("ends-4", 30),
    ("ends-5", 33),
    ("ends-6", 36),
    ("ends-7", 39),
    ("ends-8", 42),
];
/// How long an answer of the relay is on its way.
const DISTANCE: Duration = Duration::from_millis(15);
/// How long a round waits for a mail to be on its way.
const AIMING: Duration = Duration::from_millis(700);
const SECOND_APP: &str = "634900000000002";
const SECOND_SECRET: &str = "fedcba9876543210fedcba9876543210";
const BOB: &str = "10002";
