//! Basic authentication (RFC 7617) against bcrypt hashes.
//!
//! A check is slow on purpose, so it runs off the loop, one at a time, with a short queue; what was right is remembered under a key that dies
//! with the process. An unknown user takes as long as a wrong password, and whoever is wrong too often is turned away before anything is
//! computed. No user name and no password is ever logged: people type the one into the field of the other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::warn;
use zeroize::Zeroizing;

use crate::secret::hmac_sha256;
use crate::settings::web_file::PasswordHash;

/// Who may read.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users {
    known: Arc<BTreeMap<String, PasswordHash>>,
}

impl Users {
    /// These.
    pub fn new(known: BTreeMap<String, PasswordHash>) -> Self {
        Self { known: Arc::new(known) }
    }

    /// Their names, in order.
    pub fn names(&self) -> Vec<&str> {
        self.known.keys().map(String::as_str).collect()
    }

    /// Whether nobody is named, so that everybody may read.
    pub fn is_everybody(&self) -> bool {
        self.known.is_empty()
    }

    /// As much work as the slowest of the hashes: what every wrong password takes.
    fn most_cost(&self) -> u32 {
        self.known.values().map(PasswordHash::cost).max().unwrap_or_default()
    }
}

/// What became of a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Login {
    /// One of the users.
    Welcome,
    /// No user, a wrong one, or a wrong password.
    Stranger,
    /// Wrong too often from there; worth another try after this time.
    TooOften(Duration),
    /// So many logins are being checked that one more would wait too long.
    Busy,
}

/// What is remembered of logins.
pub struct Logins {
    key: Zeroizing<[u8; 32]>,
    right: Mutex<HashSet<[u8; 32]>>,
    wrong: Mutex<HashMap<IpAddr, Allowance>>,
    queue: Arc<Semaphore>,
    work: Arc<Semaphore>,
}

/// How many wrong logins are left to an address: some at once, then one each few seconds.
#[derive(Clone, Copy)]
struct Allowance {
    /// When all of them are left again.
    whole_at: Instant,
    told: bool,
}

impl Logins {
    /// Nobody came yet.
    pub fn new() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).expect("the system gives random bytes");
        Self {
            key,
            right: Mutex::default(),
            wrong: Mutex::default(),
            queue: Arc::new(Semaphore::new(LONGEST_QUEUE)),
            work: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Judges the `Authorization` of a request.
    pub async fn judge(&self, users: &Users, header: Option<&HeaderValue>, from: IpAddr) -> Login {
        let Some((name, password)) = header.and_then(credentials) else { return Login::Stranger };
        let hash = std::str::from_utf8(&name).ok().and_then(|name| users.known.get(name)).cloned();
        let mark = hash.as_ref().map(|hash| self.mark(&name, hash, &password));
        if mark.is_some_and(|mark| lock(&self.right).contains(&mark)) {
            return Login::Welcome;
        }
        let place = network(from);
        if let Some(wait) = self.wait(place) {
            return Login::TooOften(wait);
        }
        // What is checked is paid for, even where the client does not wait for the answer.
        let Ok(queued) = Arc::clone(&self.queue).try_acquire_owned() else { return Login::Busy };
        self.charge(place);
        let Ok(working) = Arc::clone(&self.work).acquire_owned().await else { return Login::Busy };
        let most_cost = users.most_cost();
        let checked = spawn_blocking(move || {
            let _held = (queued, working);
            is_right(&password, hash.as_ref(), most_cost)
        });
        match (checked.await, mark) {
            (Ok(true), Some(mark)) => {
                self.forgive(place);
                let mut right = lock(&self.right);
                // Old hashes leave marks that nobody asks for again.
                if right.len() >= MOST_REMEMBERED {
                    right.clear();
                }
                right.insert(mark);
                Login::Welcome
            }
            _ => {
                self.tell(from, place);
                Login::Stranger
            }
        }
    }

    /// What a right password is remembered by. The hash is part of it, so another one ends it.
    fn mark(&self, name: &[u8], hash: &PasswordHash, password: &[u8]) -> [u8; 32] {
        let mut message = Zeroizing::new(Vec::with_capacity(name.len() + password.len() + 80));
        for part in [name, hash.text().as_bytes(), password] {
            message.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            message.extend_from_slice(part);
        }
        hmac_sha256(&*self.key, &message)
    }

    /// How long that address has to wait, where it was wrong too often.
    fn wait(&self, place: IpAddr) -> Option<Duration> {
        let whole_at = lock(&self.wrong).get(&place)?.whole_at;
        let owed = whole_at.saturating_duration_since(Instant::now());
        owed.checked_sub(ONE_WRONG * (WRONG_AT_ONCE - 1)).filter(|wait| !wait.is_zero())
    }

    /// Counts one that may be wrong before it is checked: many at once must not all get through.
    fn charge(&self, place: IpAddr) {
        let now = Instant::now();
        let mut wrong = lock(&self.wrong);
        if wrong.len() >= MOST_PLACES && !wrong.contains_key(&place) {
            wrong.retain(|_, allowance| allowance.whole_at > now);
            // Whoever sends from so many addresses owns the place of one of them.
            if wrong.len() >= MOST_PLACES
                && let Some(least) = wrong.iter().min_by_key(|(_, left)| left.whole_at).map(|(place, _)| *place)
            {
                wrong.remove(&least);
            }
        }
        let allowance = wrong.entry(place).or_insert(Allowance { whole_at: now, told: false });
        if allowance.whole_at <= now {
            *allowance = Allowance { whole_at: now, told: false };
        }
        allowance.whole_at += ONE_WRONG;
    }

    fn forgive(&self, place: IpAddr) {
        if let Some(allowance) = lock(&self.wrong).get_mut(&place) {
            allowance.whole_at -= ONE_WRONG;
        }
    }

    /// One line until all is forgotten, however many come.
    fn tell(&self, from: IpAddr, place: IpAddr) {
        if let Some(allowance) = lock(&self.wrong).get_mut(&place)
            && !std::mem::replace(&mut allowance.told, true)
        {
            warn!(client = %from, "a login at the listener was wrong; more from there are not logged for a while");
        }
    }
}

/// Whether the password is right. Where it is not, the work is that of the slowest hash, for every user and for none: a hash of cost c and one more
/// of each cost from c to just below C take together as long as one of cost C.
fn is_right(password: &[u8], hash: Option<&PasswordHash>, most_cost: u32) -> bool {
    let Some(hash) = hash else {
        decoy(password, most_cost);
        return false;
    };
    if bcrypt::verify(password, hash.text()).unwrap_or(false) {
        return true;
    }
    for cost in hash.cost()..most_cost {
        decoy(password, cost);
    }
    false
}

fn decoy(password: &[u8], cost: u32) {
    let _ = std::hint::black_box(bcrypt::hash_with_salt_bytes(password, cost, [0; 16]));
}

/// Bytes that leave no trace.
type Wiped = Zeroizing<Vec<u8>>;

/// User and password of `Basic …`; nothing of anything else.
fn credentials(header: &HeaderValue) -> Option<(Wiped, Wiped)> {
    let (scheme, rest) = header.as_bytes().split_at_checked(SCHEME.len())?;
    let encoded = rest.trim_ascii();
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (name, password) = (&decoded[..colon], &decoded[colon + 1..]);
    Some((Zeroizing::new(name.to_vec()), Zeroizing::new(password.to_vec())))
}

/// The address, or of IPv6 the network that one customer has.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SCHEME: &[u8] = b"Basic ";
/// One core is left to the watch.
const AT_ONCE: usize = 1;
/// At a tenth of a second each, whoever comes last waits for less than two.
const LONGEST_QUEUE: usize = 16;
const MOST_REMEMBERED: usize = 1_024;
const MOST_PLACES: usize = 1_024;
/// A person who mistypes is not kept waiting.
const WRONG_AT_ONCE: u32 = 10;
const ONE_WRONG: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn users(named: &[(&str, &str, u32)]) -> Users {
        let hash = |password: &str, cost| {
            bcrypt::hash(password, cost).map_err(drop).and_then(|text| PasswordHash::parse(&text).map_err(drop))
        };
        Users::new(
            named
                .iter()
                .map(|(name, password, cost)| ((*name).to_owned(), hash(password, *cost).expect("a hash")))
                .collect(),
        )
    }

    fn basic(user: &str, password: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("bAsIc {}", STANDARD.encode(format!("{user}:{password}")))).expect("a header")
    }

    #[tokio::test]
    async fn a_user_with_the_right_password_is_welcome() {
        let (logins, users) = (Logins::new(), users(&[("alice", "s3cret: with a colon ", 4), ("bob", "other", 5)]));
        for (header, expected) in [
            (Some(basic("alice", "s3cret: with a colon ")), Login::Welcome),
            (Some(basic("alice", "s3cret: with a colon ")), Login::Welcome),
            (Some(basic("bob", "other")), Login::Welcome),
            (Some(basic("bob", "s3cret: with a colon ")), Login::Stranger),
            (Some(basic("alice", "")), Login::Stranger),
            (Some(basic("eve", "other")), Login::Stranger),
            (Some(HeaderValue::from_static("Bearer abc")), Login::Stranger),
            (Some(HeaderValue::from_static("Basic ***")), Login::Stranger),
            (None, Login::Stranger),
        ] {
            assert_eq!(logins.judge(&users, header.as_ref(), HERE).await, expected);
        }
    }

    #[tokio::test]
    async fn another_hash_ends_what_was_remembered() {
        let logins = Logins::new();
        let right = basic("alice", "old");
        assert_eq!(logins.judge(&users(&[("alice", "old", 4)]), Some(&right), HERE).await, Login::Welcome);
        assert_eq!(logins.judge(&users(&[("alice", "new", 4)]), Some(&right), HERE).await, Login::Stranger);
        assert_eq!(logins.judge(&users(&[("bob", "old", 4)]), Some(&right), HERE).await, Login::Stranger);
    }

    #[tokio::test]
    async fn who_guesses_is_turned_away_and_others_are_not() {
        let (logins, users) = (Logins::new(), users(&[("alice", "right", 4)]));
        assert_eq!(logins.judge(&users, Some(&basic("alice", "right")), HERE).await, Login::Welcome);
        let mut refused = 0;
        for guess in 0..40 {
            match logins.judge(&users, Some(&basic("alice", &guess.to_string())), HERE).await {
                Login::TooOften(wait) => {
                    assert!(wait <= ONE_WRONG, "{wait:?}");
                    refused += 1;
                }
                other => assert_eq!(other, Login::Stranger),
            }
        }
        // The machine may be slow enough that one or two more were allowed meanwhile.
        assert!(refused >= 25, "only {refused} guesses were turned away");
        assert_eq!(
            logins.judge(&users, Some(&basic("alice", "right")), HERE).await,
            Login::Welcome,
            "it is remembered"
        );
        let elsewhere = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(logins.judge(&users, Some(&basic("alice", "right")), elsewhere).await, Login::Welcome);
    }

    #[test]
    fn one_customer_of_the_new_protocol_is_one_place() {
        let (a, b): (IpAddr, IpAddr) =
            ("2001:db8:1:2:3::1".parse().expect("an address"), "2001:db8:1:2::9".parse().expect("an address"));
        assert_eq!(network(a), network(b));
        assert_eq!(network("::ffff:192.0.2.1".parse().expect("an address")), IpAddr::from([192, 0, 2, 1]));
    }
}
