//! The exchange with Meta against the strict simulator, over real HTTP: every row of the reference about exchange, refresh, page tokens and
//! revocation (§3.2 to §3.6), every switch of the simulator that bears on them, and every way in which an answer can be lost.
//!
//! The expectations are written from the reference. After every request all that was said about it is searched for every secret that was in
//! play, whole or in part.

use std::sync::Arc;

use serde_json::json;
use tokenwatch::clock::Lens;
use tokenwatch::domain::inspection::{Cause, CheckError, Expiry, Inspection, TokenKind, Unreachable, Validity};
use tokenwatch::domain::renewal::Method;
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::ports::{
    Clock, Credentials, Exchange, ExchangeError, Exchanged, Farewell, Parameters, Provider, Question,
};
use tokenwatch::provider::meta::Meta;
use tokenwatch::secret::Secret;
use tokenwatch::settings;
use tokenwatch::sim::{
    AppEvent, Event, ExpiredWording, ExpiresIn, Fault, FaultKind, LONG_LIFE, Lifetime, Match, Reexchange, UnknownApp,
    World,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::support::desk::{
    ADA, APP, BOB, Desk, MACHINE, NOW, PAGE, SCOPES, SECRET, STRANGER, at, listen, plain_settings, secret,
};
use crate::support::process::refusing;

const DAY: i64 = 86_400;
const WRONG: &str = "ffeeddccbbaa99887766554433221100";
/// A token of then is so old that an exchange gains something.
const LONG_AGO: i64 = NOW - 30 * DAY;
/// What the documented answer says for 60 days (§3.2).
const STATED: Option<Span> = Some(Span::seconds(5_183_944));
/// So much of a secret is one.
const WINDOW: usize = 12;

/// The exchanges that Meta knows.
const OF_META: [Method; 3] = [Method::Exchange, Method::Refresh, Method::Reread];

/// How the app names itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Caller {
    /// With proof.
    App,
    /// Without a proof.
    WithoutProof,
    /// With another secret.
    WrongSecret,
    /// With an id that nobody has.
    Nobody,
    /// Without an id.
    Nameless,
}

impl Desk {
    /// The answer to an exchange that is answered so.
    async fn answered(&self, status: u16, headers: &[(&str, &str)], body: &str) -> Exchanged {
        let token = self.long_user(LONG_AGO);
        self.strike_with(status, headers, body);
        self.exchange(Method::Exchange, &token, Caller::App).await
    }

    async fn exchange(&self, method: Method, token: &str, caller: Caller) -> Exchanged {
        exchange(&self.meta, method, token, caller, None).await
    }

    async fn reread(&self, user_token: &str, page: &str, caller: Caller) -> Exchanged {
        exchange(&self.meta, Method::Reread, user_token, caller, Some(page)).await
    }

    async fn revoke(&self, token: &str, caller: Caller) -> Result<(), CheckError> {
        let (held, app_secret) = (secret(token), secret(caller.secret()));
        let done = {
            let app = Some(caller.credentials(&app_secret));
            self.meta.revoke(&Farewell { token: &held, stays: None, app, parameters: Parameters::NONE }).await
        };
        let said = done.as_ref().map_or_else(ToString::to_string, |()| String::new());
        keeps_quiet(&format!("{done:?} {said}"), &[token, SECRET, WRONG, &caller.app_token()]);
        done
    }

    /// What debug_token says of it.
    async fn inspected(&self, token: &str) -> Inspection {
        let (held, app_secret) = (secret(token), secret(SECRET));
        let app = Some(Caller::App.credentials(&app_secret));
        self.meta.inspect(&Question { token: &held, app, parameters: Parameters::NONE }).await.facts.expect("facts")
    }
}

impl Caller {
    fn secret(self) -> &'static str {
        if self == Self::WrongSecret { WRONG } else { SECRET }
    }

    fn id(self) -> &'static str {
        match self {
            Self::Nobody => "999",
            Self::Nameless => "",
            Self::App | Self::WithoutProof | Self::WrongSecret => APP,
        }
    }

    fn credentials(self, secret: &Secret) -> Credentials<'_> {
        Credentials { id: self.id(), secret, proof: self != Self::WithoutProof }
    }

    fn app_token(self) -> String {
        format!("{}|{}", self.id(), self.secret())
    }
}

/// Asks, and searches everything that came of it for every secret that was in play.
async fn exchange(meta: &Meta, method: Method, token: &str, caller: Caller, page: Option<&str>) -> Exchanged {
    let (held, app_secret) = (secret(token), secret(caller.secret()));
    let app = Some(caller.credentials(&app_secret));
    let request = Exchange { method, token: &held, app, page, parameters: Parameters::NONE };
    let asked = format!("{request:?}");
    let exchanged = meta.exchange(request).await;
    let said = format!("{asked} {} {meta:?}", said(&exchanged));
    let new = exchanged.given.as_ref().map_or("", |given| given.secret.expose());
    keeps_quiet(&said, &[token, new, SECRET, WRONG, &caller.app_token()]);
    exchanged
}

/// Everything that is said of an exchange.
fn said(exchanged: &Exchanged) -> String {
    let error = exchanged.given.as_ref().map_or_else(ToString::to_string, |_| String::new());
    format!("{exchanged:?} {error}")
}

/// No twelve signs of a secret in a row are said. The app's id is none, though it stands in its token.
fn keeps_quiet(said: &str, secrets: &[&str]) {
    for secret in secrets {
        for window in secret.as_bytes().windows(WINDOW) {
            let window = String::from_utf8_lossy(window);
            assert!(APP.contains(&*window) || !said.contains(&*window), "a part of a secret was told: {said}");
        }
    }
}

fn token_of(exchanged: &Exchanged) -> String {
    exchanged.given.as_ref().expect("a token").secret.expose().to_owned()
}

/// How an exchange ended, as one word, and whether it may have been carried out.
fn ending(exchanged: &Exchanged) -> (String, bool) {
    match &exchanged.given {
        Ok(_) => ("given".to_owned(), true),
        Err(ExchangeError::Dead(validity, _)) => (format!("{validity:?}"), false),
        Err(ExchangeError::Unanswered { error, may_be_done }) => (word(error), *may_be_done),
    }
}

fn word(error: &CheckError) -> String {
    match error {
        CheckError::App(fault, _) => fault.as_str().to_owned(),
        other => other.reason().to_owned(),
    }
}

// ---- what is given (§3.2 to §3.4, §3.6) -----------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn each_kind_of_token_is_exchanged_for_sixty_days() {
    let desk = Desk::new().await;
    let (short, setup, long, sixty, never) = desk.world(|world| {
        (
            world.issue_short_user(ADA, &[], NOW),
            world.issue_api_setup(ADA, &SCOPES, NOW),
            world.issue_long_user(ADA, &[], NOW - 30 * DAY),
            world.issue_system_user(MACHINE, &SCOPES, Lifetime::SixtyDays, NOW - 30 * DAY),
            world.issue_system_user(MACHINE, &SCOPES, Lifetime::Never, NOW - 30 * DAY),
        )
    });
    for (name, method, token, kind) in [
        ("short", Method::Exchange, &short, TokenKind::User),
        ("API setup", Method::Exchange, &setup, TokenKind::User),
        ("long", Method::Exchange, &long, TokenKind::User),
        ("system user", Method::Refresh, &sixty, TokenKind::SystemUser),
        ("system user without end", Method::Refresh, &never, TokenKind::SystemUser),
    ] {
        let before = desk.inspected(token).await;
        let exchanged = desk.exchange(method, token, Caller::App).await;
        let given = exchanged.given.as_ref().expect(name);
        assert_eq!(given.ends.map(|at| at.since(desk.clock.now())), STATED, "{name}");
        let new = token_of(&exchanged);
        assert_ne!(&new, token, "{name}");
        let facts = desk.inspected(&new).await;
        assert_eq!(
            (facts.validity, facts.expires, &facts.kind),
            (Validity::Valid, at(NOW + LONG_LIFE), &kind),
            "{name}"
        );
        assert_eq!((facts.app_id, facts.user_id), (before.app_id, before.user_id), "{name}");
        // The old one lives to its own end.
        let old = desk.inspected(token).await;
        assert_eq!((old.validity, old.expires), (Validity::Valid, before.expires), "{name}");
        let seen = exchanged.telemetry;
        assert_eq!(
            (seen.clock_offset, seen.error_codes, seen.other_version),
            (Some(Span::ZERO), Vec::new(), None),
            "{name}"
        );
        assert!(seen.seconds > 0.0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_exchange_brings_what_the_field_saw_it_bring() {
    for (reexchange, same_string, keeps_string, gains) in [
        (Reexchange::Extends, false, false, true),
        (Reexchange::Extends, true, true, true),
        (Reexchange::Unchanged, false, true, false),
    ] {
        let desk = Desk::new().await;
        desk.world(|world| {
            world.switches.reexchange = reexchange;
            world.switches.same_string = same_string;
        });
        let long = desk.long_user(LONG_AGO);
        let exchanged = desk.exchange(Method::Exchange, &long, Caller::App).await;
        let new = token_of(&exchanged);
        let end = if gains { NOW + LONG_LIFE } else { NOW - 30 * DAY + LONG_LIFE };
        assert_eq!(new == long, keeps_string, "{reexchange:?} {same_string}");
        assert_eq!(desk.inspected(&new).await.expires, at(end), "{reexchange:?} {same_string}");
        assert_eq!(
            exchanged.given.expect("a token").ends.map(|at| at.since(desk.clock.now())),
            Some(Span::seconds(end - NOW - 56))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_length_of_life_may_be_left_out() {
    for (switch, end) in [(ExpiresIn::Absent, at(NOW + LONG_LIFE)), (ExpiresIn::AbsentAndNever, Expiry::Never)] {
        let desk = Desk::new().await;
        desk.world(|world| world.switches.expires_in = switch);
        let exchanged = desk.exchange(Method::Exchange, &desk.long_user(LONG_AGO), Caller::App).await;
        assert_eq!(exchanged.given.as_ref().expect("a token").ends.map(|at| at.since(desk.clock.now())), None);
        assert_eq!(desk.inspected(&token_of(&exchanged)).await.expires, end, "{switch:?}");
    }
    let desk = Desk::new().await;
    desk.strike(FaultKind::MissingExpiresIn);
    assert_eq!(
        desk.exchange(Method::Exchange, &desk.long_user(LONG_AGO), Caller::App)
            .await
            .given
            .expect("a token")
            .ends
            .map(|at| at.since(desk.clock.now())),
        None
    );
}

#[tokio::test(start_paused = true)]
async fn where_tokens_of_system_users_must_expire_only_a_refresh_is_taken() {
    let desk = Desk::new().await;
    let token = desk.world(|world| world.issue_system_user(MACHINE, &SCOPES, Lifetime::SixtyDays, NOW - DAY));
    assert_eq!(
        desk.exchange(Method::Exchange, &token, Caller::App)
            .await
            .given
            .expect("a token")
            .ends
            .map(|at| at.since(desk.clock.now())),
        None,
        "no end"
    );
    desk.world(|world| world.switches.system_tokens_must_expire = true);
    assert_eq!(ending(&desk.exchange(Method::Exchange, &token, Caller::App).await), ("refused".to_owned(), false));
    assert_eq!(
        desk.exchange(Method::Refresh, &token, Caller::App)
            .await
            .given
            .expect("a token")
            .ends
            .map(|at| at.since(desk.clock.now())),
        STATED
    );
}

#[tokio::test(start_paused = true)]
async fn answers_are_read_leniently_and_never_believed_too_much() {
    let desk = Desk::new().await;
    let token = format!("EAAB{}ZD", "newToken7".repeat(20));
    let whole = |rest: &str| format!(r#"{{"access_token":"{token}","token_type":"bearer"{rest}}}"#);
    for (body, lasts) in [
        (whole(r#","expires_in":5183944"#), STATED),
        (whole(r#","expires_in":"5183944""#), STATED),
        (whole(r#","expires_in":5183944.7"#), STATED),
        (whole(""), None),
        (whole(r#","expires_in":0"#), None),
        (whole(r#","expires_in":-5"#), None),
        (whole(r#","expires_in":null"#), None),
        (whole(r#","expires_in":"soon""#), None),
        (whole(r#","expires_in":[1]"#), None),
        (whole(r#","expires_in":1e300"#), None),
        (whole(r#","expires_in":9223372036854775807"#), None),
        (whole(r#","error":null,"id":7,"unheard_of":{"a":[1]}"#), None),
        (format!(r#"{{"access_token":" {token}\n"}}"#), None),
        // The form before v2.3 (§1).
        (format!("access_token={token}&expires=5183944"), STATED),
        (format!("access_token={token}"), None),
        (format!("access_token={token}&expires=never"), None),
    ] {
        let exchanged = desk.answered(200, &[], &body).await;
        assert_eq!(token_of(&exchanged), token, "{body}");
        assert_eq!(exchanged.given.expect("a token").ends.map(|at| at.since(desk.clock.now())), lasts, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_whole_token_is_garbled_and_may_have_been_one() {
    let desk = Desk::new().await;
    let half = format!("EAAB{}", "lostToken7".repeat(20));
    for body in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "access_token=".to_owned(),
        "expires=5&access_token=x".to_owned(),
        r#"{"access_token":null}"#.to_owned(),
        r#"{"access_token":""}"#.to_owned(),
        r#"{"access_token":"  "}"#.to_owned(),
        r#"{"access_token":7}"#.to_owned(),
        r#"{"access_token":["EAAB"]}"#.to_owned(),
        r#"{"data":{"access_token":"EAAB"}}"#.to_owned(),
        format!(r#"["{half}"]"#),
        format!(r#"{{"access_token":"{half}""#),
        format!(r#"{{"access_token":"{half} {half}"}}"#),
        format!(r#"{{"access_token":"{half}\u0000"}}"#),
        format!(r#"{{"access_token":"{half}ü"}}"#),
        format!("<html>{half}</html>"),
    ] {
        let exchanged = desk.answered(200, &[], &body).await;
        assert_eq!(ending(&exchanged), ("garbled".to_owned(), true), "{body}");
        keeps_quiet(&said(&exchanged), &[&half]);
    }
}

// ---- page tokens (§3.6, §5) -----------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_page_token_is_read_again_with_its_user_token() {
    let desk = Desk::new().await;
    let user = desk.long_user(LONG_AGO);
    for (required, caller, expected) in [
        (false, Caller::App, "given"),
        (false, Caller::WithoutProof, "given"),
        (true, Caller::App, "given"),
        (true, Caller::WithoutProof, "not_privileged"),
        (true, Caller::WrongSecret, "wrong_secret"),
    ] {
        desk.world(|world| world.app_mut(APP).expect("the app").require_app_secret = required);
        let exchanged = desk.reread(&user, PAGE, caller).await;
        assert_eq!(ending(&exchanged).0, expected, "{required} {caller:?}");
        if expected == "given" {
            let facts = desk.inspected(&token_of(&exchanged)).await;
            assert_eq!(
                (facts.kind, facts.expires, facts.profile_id.as_deref()),
                (TokenKind::Page, Expiry::Never, Some(PAGE))
            );
            assert_eq!(exchanged.given.expect("a token").ends.map(|at| at.since(desk.clock.now())), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_cannot_be_read_is_refused_with_its_reason() {
    let desk = Desk::new().await;
    let (ada, bob, stranger) = desk.world(|world| {
        let mut long = |user| world.issue_long_user(user, &[], NOW);
        (long(ADA), long(BOB), long(STRANGER))
    });
    let dead = desk.world(|world| {
        let dead = world.issue_long_user(ADA, &[], NOW);
        world.revoke(&dead, NOW);
        dead
    });
    for (name, user, page, expected) in [
        ("unknown page", &ada, "424242", "refused".to_owned()),
        ("no role on it", &bob, PAGE, "refused".to_owned()),
        // The proof is made with a secret that is not that app's (§5).
        ("user token of another app", &stranger, PAGE, "wrong_secret".to_owned()),
        ("dead user token", &dead, PAGE, format!("{:?}", Validity::Revoked(Cause::LoggedOut))),
        ("unreadable user token", &"EAABnonsense7nonsense7".to_owned(), PAGE, format!("{:?}", Validity::Unreadable)),
    ] {
        assert_eq!(ending(&desk.reread(user, page, Caller::App).await), (expected, false), "{name}");
    }
    let before = desk.sim.requests();
    for page in ["", "me", "30001/accounts", "../me", "30001?x=1", "%33"] {
        assert_eq!(ending(&desk.reread(&ada, page, Caller::App).await), ("refused".to_owned(), false), "{page}");
    }
    let without = exchange(&desk.meta, Method::Reread, &ada, Caller::App, None).await;
    assert!(without.given.expect_err("no page").to_string().contains("which page"));
    let odd = exchange(&desk.meta, Method::Reread, "EAAB\nX-Evil: 1", Caller::App, Some(PAGE)).await;
    assert_eq!(ending(&odd), ("refused".to_owned(), false));
    assert_eq!(desk.sim.requests(), before, "nobody was asked");
    // A role that is lost takes the page out of sight.
    desk.world(|world| world.user_event(ADA, Event::LostPageRole, NOW));
    assert_eq!(ending(&desk.reread(&ada, PAGE, Caller::App).await), ("refused".to_owned(), false));
    // The answer about another page is not believed.
    let body = json!({"access_token": "EAABsomebodyElses", "id": "30002"}).to_string();
    desk.strike(FaultKind::Raw { status: 200, headers: vec![], body: body.into_bytes() });
    assert_eq!(ending(&desk.reread(&ada, PAGE, Caller::App).await), ("garbled".to_owned(), true));
}

#[tokio::test(start_paused = true)]
async fn the_user_token_stays_out_of_the_url() {
    let (address, listener) = listen().await;
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut head).await.expect("a request") > 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.expect("answered");
        String::from_utf8(head).expect("text")
    });
    let clock = Arc::new(Lens::new(Timestamp::from_unix(NOW), 1));
    let meta = Meta::new(&plain_settings(address), clock).expect("a client");
    let token = format!("EAAB{}ZD", "userToken7".repeat(18));
    exchange(&meta, Method::Reread, &token, Caller::App, Some(PAGE)).await;
    let head = server.join_next().await.expect("one request").expect("no panic");
    let (line, headers) = head.split_once("\r\n").expect("headers");
    assert!(line.starts_with("GET /v25.0/30001?fields=access_token&appsecret_proof="), "{line}");
    assert!(!line.contains(&token) && !line.contains(SECRET), "{line}");
    assert!(headers.contains(&format!("authorization: Bearer {token}\r\n")), "{headers}");
}

// ---- failures (§3.5, §6) --------------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn every_failure_of_the_exchange_is_told_apart() {
    type Change = fn(&mut World, &str);
    let rows: Vec<(&str, Caller, Change, &str)> = vec![
        ("wrong secret", Caller::WrongSecret, |_, _| {}, "wrong_secret"),
        ("with a subcode", Caller::WrongSecret, |world, _| world.switches.wrong_secret_subcode = true, "wrong_secret"),
        ("wrong id", Caller::Nobody, |_, _| {}, "unknown_app"),
        (
            "wrong id, 190",
            Caller::Nobody,
            |world, _| world.switches.unknown_app = UnknownApp::InvalidId190,
            "unknown_app",
        ),
        ("no id", Caller::Nameless, |_, _| {}, "unknown_app"),
        ("deleted app", Caller::App, |world, _| world.app_event(APP, AppEvent::Deleted, NOW), "deleted"),
        ("blocked app", Caller::App, |world, _| world.app_event(APP, AppEvent::Blocked, NOW), "blocked"),
        (
            "secret reset",
            Caller::App,
            |world, _| world.app_event(APP, AppEvent::SecretReset { secret: WRONG.to_owned() }, NOW),
            "wrong_secret",
        ),
        // An exchange needs no proof, and no app token that a native app would have ignored.
        (
            "proof required",
            Caller::WithoutProof,
            |world, _| world.app_mut(APP).expect("it").require_app_secret = true,
            "given",
        ),
        ("native app", Caller::App, |world, _| world.app_mut(APP).expect("it").native = true, "given"),
    ];
    for (name, caller, change, expected) in rows {
        for method in [Method::Exchange, Method::Refresh] {
            let desk = Desk::new().await;
            let token = desk.long_user(LONG_AGO);
            desk.world(|world| change(world, &token));
            let exchanged = desk.exchange(method, &token, caller).await;
            assert_eq!(ending(&exchanged), (expected.to_owned(), expected == "given"), "{name} {method:?}");
            assert_eq!(!exchanged.telemetry.error_codes.is_empty(), expected != "given", "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_token_is_told_with_its_cause() {
    for (event, cause) in [
        (Event::PasswordChanged, Cause::PasswordChanged),
        (Event::LoggedOut, Cause::LoggedOut),
        (Event::Deauthorized, Cause::AppRemoved),
        (Event::Checkpoint, Cause::Checkpointed),
        (Event::Unconfirmed, Cause::Unconfirmed),
        (Event::Inactive90Days, Cause::Inactive),
    ] {
        let desk = Desk::new().await;
        let token = desk.long_user(LONG_AGO);
        desk.world(|world| world.user_event(ADA, event, NOW));
        let exchanged = desk.exchange(Method::Exchange, &token, Caller::App).await;
        assert_eq!(ending(&exchanged).0, format!("{:?}", Validity::Revoked(cause)), "{event:?}");
        assert_eq!(exchanged.telemetry.error_codes, ["190"]);
    }
    for wording in [ExpiredWording::WithCurrentTime, ExpiredWording::WithoutCurrentTime, ExpiredWording::UnixTimes] {
        let desk = Desk::new().await;
        let token = desk.long_user(LONG_AGO);
        desk.world(|world| {
            world.switches.expired_wording = wording;
            world.set_expiry(&token, Some(NOW));
        });
        let error = desk.exchange(Method::Exchange, &token, Caller::App).await.given.expect_err("expired");
        let ExchangeError::Dead(Validity::Expired, text) = &error else { panic!("{error:?}") };
        assert!(text.contains("Session has expired"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_dead_and_what_is_bare_is_only_refused() {
    let desk = Desk::new().await;
    let foreign = desk.world(|world| world.issue_long_user(STRANGER, &[], NOW));
    let unreadable = format!("{:?}", Validity::Unreadable);
    for (name, token, expected) in [
        ("cut", "EAABcutShort7cutShort7".to_owned(), unreadable.as_str()),
        // Its words echo the token.
        ("malformed", format!("\"{foreign}\""), unreadable.as_str()),
        // The words for a token of another app are the same as for many another thing: the next inspection can tell.
        ("foreign", foreign.clone(), "refused"),
        ("an app token", format!("{APP}|{SECRET}"), "refused"),
        ("empty", String::new(), "refused"),
    ] {
        assert_eq!(
            ending(&desk.exchange(Method::Exchange, &token, Caller::App).await),
            (expected.to_owned(), false),
            "{name}"
        );
    }
    desk.strike(FaultKind::MalformedEcho);
    assert_eq!(
        ending(&desk.exchange(Method::Exchange, &desk.long_user(LONG_AGO), Caller::App).await),
        (unreadable, false)
    );
}

#[tokio::test(start_paused = true)]
async fn every_code_has_its_meaning_for_an_exchange() {
    let desk = Desk::new().await;
    let dead = |validity: Validity| format!("{validity:?}");
    let unstated = dead(Validity::Revoked(Cause::Unstated));
    let rows: Vec<(i64, Option<i64>, &str, String, bool)> = [
        (1, None, "Error validating client secret.", "wrong_secret", false),
        (1, Some(33), "Error validating client secret.", "wrong_secret", false),
        (100, None, "Error validating client secret", "wrong_secret", false),
        // Trouble on their side does not say how far they came.
        (1, None, "An unknown error has occurred.", "unavailable", true),
        (2, None, "Service temporarily unavailable", "unavailable", true),
        (101, None, "Error validating application. Invalid application ID.", "unknown_app", false),
        (101, None, "Missing client_id parameter.", "unknown_app", false),
        (190, None, "Error validating application. Application has been deleted.", "deleted", false),
        (200, None, "API access blocked.", "blocked", false),
        (100, None, "(#100) The App_id in the input_token did not match the Viewing App", "foreign_token", false),
        (100, None, "Invalid appsecret_proof provided in the API argument", "wrong_secret", false),
        (190, None, "Invalid OAuth access token.", "refused", false),
        (190, None, "Invalid OAuth access token signature.", "refused", false),
        (190, None, "", "refused", false),
        (102, None, "Session key invalid or no longer valid", "refused", false),
        (0, None, "AuthException", "refused", false),
        (190, Some(463), "", &dead(Validity::Expired), false),
        (102, Some(463), "", &dead(Validity::Expired), false),
        (190, Some(458), "", &dead(Validity::Revoked(Cause::AppRemoved)), false),
        (190, Some(460), "", &dead(Validity::Revoked(Cause::PasswordChanged)), false),
        (190, Some(467), "", &dead(Validity::Revoked(Cause::LoggedOut)), false),
        (190, Some(490), "a subcode of tomorrow", &unstated, false),
        (452, None, "Session key invalid", &unstated, false),
        (190, None, "Error validating access token: Session has expired on X.", &dead(Validity::Expired), false),
        (190, None, "The access token could not be decrypted", &dead(Validity::Unreadable), false),
        (190, None, "Invalid OAuth access token - Cannot parse access token", &dead(Validity::Unreadable), false),
        (4, Some(2_446_079), "Application request limit reached", "throttled", false),
        (17, None, "User request limit reached", "throttled", false),
        (613, Some(1_996), "", "throttled", false),
        (10, None, "Permission denied", "refused", false),
        (3_962, None, "unknown permission", "refused", false),
        (104, None, "An access token is required to request this resource.", "refused", false),
        (2_500, None, "Unknown path components: /x", "refused", false),
        (999_999, None, "something new", "refused", false),
    ]
    .map(|(code, subcode, message, means, done)| (code, subcode, message, means.to_owned(), done))
    .into();
    for (code, subcode, message, means, may_be_done) in rows {
        let mut error = json!({"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "A1"});
        if let Some(subcode) = subcode {
            error["error_subcode"] = json!(subcode);
        }
        for status in [200, 400, 401, 500] {
            let exchanged = desk.answered(status, &[], &json!({ "error": error }).to_string()).await;
            assert_eq!(
                ending(&exchanged),
                (means.clone(), may_be_done),
                "{code}/{subcode:?} {message:?} with {status}"
            );
            let label = exchanged.telemetry.error_codes.first().cloned().expect("the code is counted");
            assert!(label == code.to_string() || label == "other", "{label}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_beside_a_token_is_an_error_and_tells_neither() {
    let desk = Desk::new().await;
    let new = format!("EAAB{}ZD", "newToken7".repeat(20));
    for message in
        [format!("took {new} back"), format!("fb_exchange_token={new}"), format!("client_secret={SECRET}&x={SECRET}")]
    {
        let body = json!({"access_token": new, "expires_in": 5, "error": {"code": 2, "message": message}}).to_string();
        let exchanged = desk.answered(200, &[], &body).await;
        assert_eq!(ending(&exchanged), ("unavailable".to_owned(), true));
        keeps_quiet(&said(&exchanged), &[&new]);
    }
    // A token with a status that is no success is none.
    let body = json!({"access_token": new}).to_string();
    for (status, means) in [(500, "unavailable"), (429, "throttled"), (404, "refused"), (302, "refused")] {
        let exchanged = desk.answered(status, &[], &body).await;
        assert_eq!(ending(&exchanged), (means.to_owned(), true), "{status}");
        keeps_quiet(&said(&exchanged), &[&new]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_exchange_waits_as_long_as_it_is_told() {
    let desk = Desk::new().await;
    desk.strike(FaultKind::Throttled { id: "102290000000001".to_owned(), minutes: 17 });
    let exchanged = desk.exchange(Method::Exchange, &desk.long_user(LONG_AGO), Caller::App).await;
    let error = CheckError::Throttled(Timestamp::from_unix(NOW + 17 * 60));
    assert_eq!(exchanged.given.expect_err("throttled"), ExchangeError::Unanswered { error, may_be_done: false });
    assert_eq!(exchanged.telemetry.usage, [("whatsapp_business_management", 1.0)]);
    let limit = r#"{"error":{"code":4,"message":"Application request limit reached"}}"#;
    for (headers, seconds) in [(vec![], 300), (vec![("Retry-After", "90")], 90)] {
        let error = desk.answered(400, &headers, limit).await.given.expect_err("throttled");
        let ExchangeError::Unanswered { error: CheckError::Throttled(until), .. } = error else { panic!("{error}") };
        assert_eq!(until, Timestamp::from_unix(NOW + seconds));
    }
}

// ---- transport ------------------------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_lost_answer_may_have_been_a_token() {
    for (kind, reason) in [
        (FaultKind::Hang, "timeout"),
        (FaultKind::Reset, "interrupted"),
        (FaultKind::Empty500, "unavailable"),
        (FaultKind::Html503, "unavailable"),
        (FaultKind::TruncatedJson { after: 0 }, "garbled"),
        (FaultKind::TruncatedJson { after: 60 }, "garbled"),
        (FaultKind::CutOff { after: 60 }, "interrupted"),
        (FaultKind::Drip { bytes_per_second: 1 }, "timeout"),
        (FaultKind::HugeBody { bytes: 1024 * 1024 }, "garbled"),
        (FaultKind::NonUtf8, "garbled"),
        (FaultKind::EmptyData, "garbled"),
        (FaultKind::Redirect { location: "/v25.0/elsewhere".to_owned() }, "garbled"),
        (FaultKind::Transient, "unavailable"),
    ] {
        for method in OF_META {
            let desk = Desk::new().await;
            let token = desk.long_user(LONG_AGO);
            desk.world(|world| world.faults.add(Fault::times(1, Match::Any, kind.clone()).carried_out()));
            let exchanged = exchange(&desk.meta, method, &token, Caller::App, Some(PAGE)).await;
            assert_eq!(ending(&exchanged), (reason.to_owned(), true), "{kind:?} {method:?}");
            let text = exchanged.given.expect_err("lost").to_string();
            assert!(text.len() > 12 && text.len() < 500 && !text.contains('\n') && !text.contains("http://"), "{text}");
            assert_eq!(desk.sim.requests().values().sum::<u64>(), 1, "nothing is asked twice");
            // The next try is a fresh one.
            let next = exchange(&desk.meta, method, &token, Caller::App, Some(PAGE)).await;
            assert_eq!(ending(&next).0, "given", "after {kind:?} {method:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_never_left_was_never_done() {
    let clock = Arc::new(Lens::new(Timestamp::from_unix(NOW), 1));
    let (_nobody, address) = refusing();
    let meta = Meta::new(&plain_settings(address), clock.clone()).expect("a client");
    for method in OF_META {
        let exchanged = exchange(&meta, method, "EAABnobodyHearsOfIt", Caller::App, Some(PAGE)).await;
        let error = exchanged.given.expect_err("nobody listens");
        let ExchangeError::Unanswered { error: CheckError::Unreachable(how, _), may_be_done } = error else {
            panic!("{error}")
        };
        assert_eq!((how, may_be_done), (Unreachable::Connect, false));
    }
    // A server that speaks no TLS is told nothing.
    let (address, listener) = listen().await;
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 4_096];
            let _ = stream.read(&mut hello).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
        }
    });
    let base_url = format!("https://{address}").parse().expect("a url");
    let meta = Meta::new(&settings::Graph { base_url, ..plain_settings(address) }, clock).expect("a client");
    let exchanged = exchange(&meta, Method::Exchange, "EAABnobodyHearsOfIt", Caller::App, None).await;
    assert_eq!(ending(&exchanged), ("tls".to_owned(), false));
}

#[tokio::test(start_paused = true)]
async fn the_clock_and_the_version_are_compared_on_the_way() {
    let desk = Desk::new().await;
    desk.strike(FaultKind::ClockSkew { seconds: 40 });
    let seen = desk.exchange(Method::Exchange, &desk.long_user(LONG_AGO), Caller::App).await.telemetry;
    assert_eq!(seen.clock_offset, Some(Span::seconds(-40)));
    let old = settings::Graph { version: "v18.0".to_owned(), ..desk.settings.clone() };
    let meta = Meta::new(&old, desk.clock.clone()).expect("a client");
    let exchanged = exchange(&meta, Method::Exchange, &desk.long_user(LONG_AGO), Caller::App, None).await;
    assert_eq!(exchanged.telemetry.other_version.as_deref(), Some("v19.0"));
}

// ---- revocation (§3.4) ----------------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_revoked_token_is_dead_at_once_and_its_successor_is_not() {
    for says_true in [false, true] {
        let desk = Desk::new().await;
        desk.world(|world| {
            world.switches.revoke_says_true = says_true;
            world.app_mut(APP).expect("the app").require_app_secret = true;
        });
        let old = desk.world(|world| world.issue_system_user(MACHINE, &SCOPES, Lifetime::SixtyDays, NOW - 30 * DAY));
        let new = token_of(&desk.exchange(Method::Refresh, &old, Caller::App).await);
        desk.revoke(&old, Caller::App).await.expect("revoked");
        assert_eq!(desk.inspected(&old).await.validity, Validity::Revoked(Cause::LoggedOut));
        assert_eq!(desk.inspected(&new).await.validity, Validity::Valid);
        desk.revoke(&old, Caller::App).await.expect("what is dead counts as revoked");
    }
    let desk = Desk::new().await;
    let token = desk.long_user(LONG_AGO);
    desk.world(|world| world.set_expiry(&token, Some(NOW - 1)));
    desk.revoke(&token, Caller::App).await.expect("what has expired counts as revoked");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_fails_says_why() {
    let desk = Desk::new().await;
    let token = desk.long_user(LONG_AGO);
    let foreign = desk.world(|world| world.issue_long_user(STRANGER, &[], NOW));
    for (name, token, caller, expected) in [
        ("wrong secret", token.as_str(), Caller::WrongSecret, "wrong_secret"),
        ("wrong id", &token, Caller::Nobody, "unknown_app"),
        // What is unreadable here may be alive elsewhere, and so may what is foreign.
        ("unreadable", "EAABcutShort7cutShort7", Caller::App, "refused"),
        ("foreign", &foreign, Caller::App, "refused"),
    ] {
        assert_eq!(word(&desk.revoke(token, caller).await.expect_err(name)), expected, "{name}");
    }
    for (kind, expected) in [
        (FaultKind::Hang, "timeout"),
        (FaultKind::Reset, "interrupted"),
        (FaultKind::Empty500, "unavailable"),
        (FaultKind::Transient, "unavailable"),
        (FaultKind::Throttled { id: "1".to_owned(), minutes: 5 }, "throttled"),
        (FaultKind::MalformedEcho, "refused"),
    ] {
        desk.strike(kind.clone());
        assert_eq!(word(&desk.revoke(&token, Caller::App).await.expect_err("a fault")), expected, "{kind:?}");
    }
    for (status, body, expected) in [
        (200, r#"{"success":false}"#, "refused"),
        (200, r#"{"success":"false"}"#, "refused"),
        (200, r#"{"success":"perhaps"}"#, "garbled"),
        (200, "{}", "garbled"),
        (200, "true", "garbled"),
        (500, r#"{"success":true}"#, "unavailable"),
    ] {
        desk.strike(FaultKind::Raw { status, headers: vec![], body: body.as_bytes().to_vec() });
        assert_eq!(word(&desk.revoke(&token, Caller::App).await.expect_err(body)), expected, "{body}");
    }
    assert_eq!(desk.inspected(&token).await.validity, Validity::Valid, "nothing was revoked");
    // Where only the answer was lost, the next try finds it done.
    desk.strike(FaultKind::TruncatedJson { after: 5 });
    assert_eq!(word(&desk.revoke(&token, Caller::App).await.expect_err("half an answer")), "garbled");
    desk.revoke(&token, Caller::App).await.expect("it is dead");
}
