//! The Meta client against the strict simulator, over real HTTP: every outcome of the reference's matrix, every code of its table, every way
//! in which a transport can fail.
//!
//! The expectations are written from the reference (§2, §6, §7), not from the client. After every question all that was said about it is
//! searched for the secrets that went into it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokenwatch::clock::Lens;
use tokenwatch::domain::inspection::{
    AppFault, Cause, CheckError, Expiry, Inspection, TokenKind, Unreachable, Validity,
};
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::outgoing::LARGEST_BODY;
use tokenwatch::ports::{Answer, Clock, Credentials, Parameters, Provider, Question};
use tokenwatch::provider::meta::Meta;
use tokenwatch::settings;
use tokenwatch::sim::{
    App, AppEvent, Event, ExpiredWording, FaultKind, GranularScope, GranularScopes, LONG_LIFE, Lifetime, OtherFamily,
    Undecodable, UnknownApp, World,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::desk::{
    ADA, APP, Desk, MACHINE, NOW, OTHER_APP, PAGE, SCOPES, SECRET, STRANGER, at, listen, plain_settings, secret,
};
use crate::support::process::refusing;

/// 90 days: what the world grants at issue.
const WINDOW: i64 = 7_776_000;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Caller {
    /// The app of the tokens, with proof.
    App,
    /// The same without a proof.
    WithoutProof,
    /// The app's id with another secret.
    WrongSecret,
    /// An id that nobody has.
    Nobody,
    /// No app: the token itself.
    Token,
}

impl Desk {
    async fn ask(&self, token: &str, caller: Caller) -> Answer {
        ask(&self.meta, token, caller).await
    }

    async fn facts(&self, token: &str) -> Result<Inspection, CheckError> {
        self.ask(token, Caller::App).await.facts
    }

    /// The answer to a question that is answered with this body.
    async fn told(&self, status: u16, body: &str, caller: Caller) -> Answer {
        self.told_with(status, &[], body, caller).await
    }

    async fn told_with(&self, status: u16, headers: &[(&str, &str)], body: &str, caller: Caller) -> Answer {
        let token = self.long_user(NOW);
        self.strike_with(status, headers, body);
        self.ask(&token, caller).await
    }
}

/// Asks, and searches everything that came of it for the secrets that went in.
async fn ask(meta: &Meta, token: &str, caller: Caller) -> Answer {
    let wrong = "ffffffffffffffffffffffffffffffff";
    let token_secret = secret(token);
    let app_secret = secret(if caller == Caller::WrongSecret { wrong } else { SECRET });
    let id = if caller == Caller::Nobody { "999" } else { APP };
    let proof = caller != Caller::WithoutProof;
    let app = (caller != Caller::Token).then_some(Credentials { id, secret: &app_secret, proof });
    let answer = meta.inspect(&Question { token: &token_secret, app, parameters: Parameters::NONE }).await;
    let mut said = format!("{answer:?} {meta:?} ");
    match &answer.facts {
        Ok(facts) => said.push_str(facts.message.as_deref().unwrap_or_default()),
        Err(error) => said.push_str(&error.to_string()),
    }
    for hidden in [token, SECRET, wrong] {
        assert!(hidden.len() < 8 || !said.contains(hidden), "a secret was told: {said}");
        // A cut secret is a secret still.
        assert!(hidden.len() < 24 || !said.contains(&hidden[..16]), "half a secret was told: {said}");
    }
    answer
}

fn kind(error: &CheckError) -> (&'static str, Option<AppFault>) {
    match error {
        CheckError::App(fault, _) => (error.reason(), Some(*fault)),
        other => (other.reason(), None),
    }
}

fn failure(answer: &Answer) -> &CheckError {
    answer.facts.as_ref().expect_err("a failure")
}

// ---- the outcome matrix (§2.2) --------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn living_tokens_bring_the_facts_of_their_kind() {
    let desk = Desk::new().await;
    let long = desk.long_user(NOW);
    let hour = (NOW / 3_600 + 2) * 3_600;
    let (short, setup, page, never, sixty) = desk.world(|world| {
        (
            world.issue_short_user(ADA, &[], NOW),
            world.issue_api_setup(ADA, &SCOPES, NOW),
            world.issue_page(&long, PAGE, NOW).expect("Ada manages the page"),
            world.issue_system_user(MACHINE, &SCOPES, Lifetime::Never, NOW),
            world.issue_system_user(MACHINE, &SCOPES, Lifetime::SixtyDays, NOW),
        )
    });
    let issued = Some(Timestamp::from_unix(NOW));
    for (token, kind, expires, data_access, issued_at, user) in [
        (&short, TokenKind::User, at(hour), at(NOW + WINDOW), None, ADA),
        (&setup, TokenKind::User, at(hour + 21 * 3_600), at(NOW + WINDOW), None, ADA),
        (&long, TokenKind::User, at(NOW + LONG_LIFE), at(NOW + WINDOW), issued, ADA),
        (&page, TokenKind::Page, Expiry::Never, at(NOW + WINDOW), issued, ADA),
        (&never, TokenKind::SystemUser, Expiry::Never, Expiry::Never, issued, MACHINE),
        (&sixty, TokenKind::SystemUser, at(NOW + LONG_LIFE), Expiry::Never, issued, MACHINE),
    ] {
        let facts = desk.facts(token).await.expect("facts");
        assert_eq!(facts.validity, Validity::Valid);
        assert_eq!((&facts.kind, facts.expires, facts.data_access), (&kind, expires, data_access));
        assert_eq!((facts.issued_at, facts.user_id.as_deref()), (issued_at, Some(user)));
        assert_eq!((facts.app_id.as_deref(), facts.message), (Some(APP), None));
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_keeps_its_date_in_every_wording() {
    for wording in [ExpiredWording::WithCurrentTime, ExpiredWording::WithoutCurrentTime, ExpiredWording::UnixTimes] {
        let desk = Desk::new().await;
        let token = desk.long_user(NOW);
        desk.world(|world| {
            world.switches.expired_wording = wording;
            world.set_expiry(&token, Some(1_639_227_600));
        });
        let facts = desk.facts(&token).await.expect("facts");
        assert_eq!((facts.validity, facts.expires), (Validity::Expired, at(1_639_227_600)));
        assert!(facts.message.expect("its words").contains("Session has expired"));
        // A probe has only the message to read the date from.
        let facts = desk.ask(&token, Caller::Token).await.facts.expect("facts");
        assert_eq!((facts.validity, facts.expires), (Validity::Expired, at(1_639_227_600)), "{wording:?}");
    }
}

const EVENTS: [(Event, Cause); 7] = [
    (Event::PasswordChanged, Cause::PasswordChanged),
    (Event::LoggedOut, Cause::LoggedOut),
    (Event::Deauthorized, Cause::AppRemoved),
    (Event::Checkpoint, Cause::Checkpointed),
    (Event::Unconfirmed, Cause::Unconfirmed),
    (Event::LostPageRole, Cause::RoleLost),
    (Event::Inactive90Days, Cause::Inactive),
];

#[tokio::test(start_paused = true)]
async fn every_user_event_is_a_cause_of_its_own() {
    for (event, cause) in EVENTS {
        let desk = Desk::new().await;
        let long = desk.long_user(NOW);
        let page = desk.world(|world| {
            let page = world.issue_page(&long, PAGE, NOW).expect("Ada manages the page");
            world.user_event(ADA, event, NOW);
            page
        });
        // The loss of a role on a page ends page tokens only.
        let tokens = if event == Event::LostPageRole { vec![&page] } else { vec![&page, &long] };
        for token in tokens {
            let facts = desk.facts(token).await.expect("facts");
            assert_eq!(facts.validity, Validity::Revoked(cause), "{event:?}");
            assert_eq!(facts.app_id.as_deref(), Some(APP), "the facts stay");
            assert!(facts.message.is_some());
            let probed = desk.ask(token, Caller::Token).await.facts.expect("facts");
            assert_eq!(probed.validity, Validity::Revoked(cause), "{event:?}");
        }
        let later = desk.world(|world| world.issue_long_user(ADA, &[], NOW));
        assert_eq!(desk.facts(&later).await.expect("facts").validity, Validity::Valid);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_unreadable_and_never_echoed() {
    let desk = Desk::new().await;
    let long = desk.long_user(NOW);
    let (instagram, threads) = desk.world(|world| {
        (world.issue_other_family(OtherFamily::Instagram), world.issue_other_family(OtherFamily::Threads))
    });
    let short_paste = &long[..long.len() - 7];
    let quoted = format!("\"{long}\"");
    for wording in [Undecodable::CouldNotBeDecrypted, Undecodable::CannotParse] {
        desk.world(|world| world.switches.undecodable = wording);
        for token in [short_paste, &quoted, &instagram, &threads, "not a token at all", "übergroß", "a&b=c#d%41"] {
            let facts = desk.facts(token).await.expect("an authoritative answer");
            assert_eq!((facts.validity, facts.expires), (Validity::Unreadable, Expiry::Unknown), "{token}");
            assert_eq!(facts.app_id, None);
            let probed = desk.ask(token, Caller::Token).await.facts.expect("an authoritative answer");
            assert_eq!(probed.validity, Validity::Unreadable, "{token}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_another_app_is_a_finding_of_that_token() {
    let desk = Desk::new().await;
    let foreign = desk.world(|world| world.issue_long_user(STRANGER, &[], NOW));
    let error = desk.facts(&foreign).await.expect_err("a refusal");
    assert_eq!(kind(&error), ("foreign_token", None));
    // An answer that names another owner is one too, whatever its status.
    let told = json!({"data": {"app_id": OTHER_APP, "is_valid": true, "expires_at": 0}}).to_string();
    assert_eq!(kind(failure(&desk.told(200, &told, Caller::App).await)), ("foreign_token", None));
    // Where nobody but the token asks, no app can be compared.
    assert_eq!(desk.ask(&foreign, Caller::Token).await.facts.expect("facts").validity, Validity::Valid);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_caller_never_says_anything_about_the_token() {
    type Change = Box<dyn FnOnce(&mut World)>;
    let reset = || AppEvent::SecretReset { secret: "abcdefabcdefabcdefabcdefabcdefab".to_owned() };
    let with_app = |change: fn(&mut App)| move |world: &mut World| change(world.app_mut(APP).expect("the app"));
    let event = |event: AppEvent| move |world: &mut World| world.app_event(APP, event, NOW);
    let unknown = |wording: UnknownApp| move |world: &mut World| world.switches.unknown_app = wording;
    let rows: Vec<(&str, Caller, Change, AppFault)> = vec![
        ("wrong secret", Caller::WrongSecret, Box::new(|_| {}), AppFault::WrongSecret),
        ("secret reset", Caller::App, Box::new(event(reset())), AppFault::WrongSecret),
        ("deleted", Caller::App, Box::new(event(AppEvent::Deleted)), AppFault::Deleted),
        ("blocked", Caller::App, Box::new(event(AppEvent::Blocked)), AppFault::Blocked),
        ("native", Caller::App, Box::new(with_app(|app| app.native = true)), AppFault::NotPrivileged),
        (
            "proof required and not sent",
            Caller::WithoutProof,
            Box::new(with_app(|app| app.require_app_secret = true)),
            AppFault::NotPrivileged,
        ),
        ("unknown 101", Caller::Nobody, Box::new(unknown(UnknownApp::InvalidId101)), AppFault::UnknownApp),
        ("unknown 190", Caller::Nobody, Box::new(unknown(UnknownApp::InvalidId190)), AppFault::UnknownApp),
        ("system error 101", Caller::Nobody, Box::new(unknown(UnknownApp::SystemError101)), AppFault::UnknownApp),
        ("system error 190", Caller::Nobody, Box::new(unknown(UnknownApp::SystemError190)), AppFault::UnknownApp),
    ];
    for (name, caller, change, fault) in rows {
        let desk = Desk::new().await;
        let token = desk.long_user(NOW);
        desk.world(change);
        let answer = desk.ask(&token, caller).await;
        assert_eq!(kind(failure(&answer)), ("app_fault", Some(fault)), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_proof_opens_an_app_that_requires_one_and_harms_no_other() {
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    for (required, caller) in [(false, Caller::App), (false, Caller::WithoutProof), (true, Caller::App)] {
        desk.world(|world| world.app_mut(APP).expect("the app").require_app_secret = required);
        assert_eq!(
            desk.ask(&token, caller).await.facts.expect("facts").validity,
            Validity::Valid,
            "{required} {caller:?}"
        );
    }
    // A proof that is wrong says that the secret is.
    let answer = desk.told(
        400,
        r#"{"error":{"code":100,"message":"Invalid appsecret_proof provided in the API argument"}}"#,
        Caller::App,
    );
    assert_eq!(kind(failure(&answer.await)), ("app_fault", Some(AppFault::WrongSecret)));
}

#[tokio::test(start_paused = true)]
async fn a_blocked_app_that_is_freed_is_believed_at_once() {
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    desk.world(|world| world.app_event(APP, AppEvent::Blocked, NOW));
    assert_eq!(kind(failure(&desk.ask(&token, Caller::App).await)).1, Some(AppFault::Blocked));
    desk.world(|world| world.app_event(APP, AppEvent::Unblocked, NOW));
    assert_eq!(desk.facts(&token).await.expect("facts").validity, Validity::Valid);
}

#[tokio::test(start_paused = true)]
async fn without_an_app_secret_a_token_is_probed_with_itself() {
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    let facts = desk.ask(&token, Caller::Token).await.facts.expect("facts");
    assert_eq!((facts.validity, facts.expires, facts.data_access), (Validity::Valid, Expiry::Unknown, Expiry::Unknown));
    assert_eq!((facts.user_id.as_deref(), facts.kind, facts.grants), (Some(ADA), TokenKind::Unknown, None));
    assert_eq!(desk.sim.requests().into_iter().collect::<Vec<_>>(), [("/me".to_owned(), 1)]);
    // A window that closed refuses the use of a token that debug_token still calls valid.
    desk.world(|world| world.set_data_access(&token, Some(NOW - 1)));
    let facts = desk.ask(&token, Caller::Token).await.facts.expect("facts");
    assert_eq!(facts.validity, Validity::Revoked(Cause::Inactive));
    assert_eq!(desk.facts(&token).await.expect("facts").validity, Validity::Valid);
}

#[tokio::test(start_paused = true)]
async fn a_probe_tells_the_apps_fault_from_the_tokens() {
    for (name, change, fault) in [
        (
            "deleted",
            (|world: &mut World| world.app_event(APP, AppEvent::Deleted, NOW)) as fn(&mut World),
            AppFault::Deleted,
        ),
        ("blocked", |world| world.app_event(APP, AppEvent::Blocked, NOW), AppFault::Blocked),
        (
            "proof required",
            |world| world.app_mut(APP).expect("the app").require_app_secret = true,
            AppFault::NotPrivileged,
        ),
    ] {
        let desk = Desk::new().await;
        let token = desk.long_user(NOW);
        desk.world(change);
        assert_eq!(kind(failure(&desk.ask(&token, Caller::Token).await)), ("app_fault", Some(fault)), "{name}");
    }
    // A native app ignores its own app token, not the tokens of its users.
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    desk.world(|world| world.app_mut(APP).expect("the app").native = true);
    assert_eq!(desk.ask(&token, Caller::Token).await.facts.expect("facts").validity, Validity::Valid);
    for (body, reason) in
        [("{}", "garbled"), (r#"{"data":[]}"#, "garbled"), (r#"{"id":null}"#, "garbled"), ("null", "garbled")]
    {
        assert_eq!(failure(&desk.told(200, body, Caller::Token).await).reason(), reason, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn permissions_are_read_in_every_form() {
    let desk = Desk::new().await;
    let token = desk.world(|world| world.issue_system_user(MACHINE, &SCOPES, Lifetime::Never, NOW));
    let whole = |facts: Inspection| {
        let grants = facts.grants.expect("permissions");
        let text = |grant: &tokenwatch::domain::inspection::Grant| match &grant.targets {
            None => format!("{}=*", grant.scope),
            Some(ids) => format!("{}={}", grant.scope, ids.join("+")),
        };
        let mut words: Vec<String> = grants.iter().map(text).collect();
        words.sort();
        words.join(" ")
    };
    let [management, messaging] = SCOPES;
    let everything = format!("{management}=* {messaging}=*");
    for (granular, expected) in [
        (GranularScopes::Absent, everything.clone()),
        (GranularScopes::Null, everything.clone()),
        (GranularScopes::Listed(vec![]), everything.clone()),
        (GranularScopes::Listed(vec![GranularScope::all(management), GranularScope::all(messaging)]), everything),
        (
            GranularScopes::Listed(vec![GranularScope::of(management, &["102290000000001", "2"])]),
            format!("{management}=102290000000001+2 {messaging}=*"),
        ),
        (GranularScopes::Listed(vec![GranularScope::of(messaging, &[])]), format!("{management}=* {messaging}=")),
    ] {
        for numbers in [false, true] {
            desk.world(|world| {
                world.switches.ids_as_numbers = numbers;
                world.set_granular_scopes(&token, granular.clone());
            });
            assert_eq!(whole(desk.facts(&token).await.expect("facts")), expected, "{granular:?} {numbers}");
        }
    }
}

// ---- lenient decoding (§2.1) ----------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn decoding_is_lenient_where_the_field_was() {
    let desk = Desk::new().await;
    let numbers = json!({"data": {"app_id": 634_900_000_000_001_u64, "type": "USER", "user_id": 10001, "profile_id": 30001,
        "expires_at": "1777552496", "issued_at": 1_772_368_496.0, "data_access_expires_at": null, "is_valid": "true",
        "scopes": null, "granular_scopes": {"not": "a list"}, "metadata": {"sso": 1}, "unheard_of": [1, {"a": 2}]}});
    let facts = desk.told(200, &numbers.to_string(), Caller::App).await.facts.expect("facts");
    assert_eq!((facts.validity, facts.expires), (Validity::Valid, at(1_777_552_496)));
    assert_eq!((facts.app_id.as_deref(), facts.user_id.as_deref()), (Some(APP), Some(ADA)));
    assert_eq!((facts.issued_at, facts.data_access), (Some(Timestamp::from_unix(NOW)), Expiry::Unknown));
    assert_eq!(facts.grants, None);

    for (data, validity, expires) in [
        (json!({"is_valid": true}), Validity::Valid, Expiry::Unknown),
        (json!({"is_valid": true, "expires_at": 0}), Validity::Valid, Expiry::Never),
        (json!({"is_valid": true, "expires_at": null}), Validity::Valid, Expiry::Unknown),
        (json!({"is_valid": true, "expires_at": "soon"}), Validity::Valid, Expiry::Unknown),
        (json!({"is_valid": true, "expires_at": 1e300}), Validity::Valid, at(i64::MAX)),
        (
            json!({"is_valid": true, "scopes": [], "granular_scopes": [null, 3, {"scope": 4}]}),
            Validity::Valid,
            Expiry::Unknown,
        ),
        (json!({"is_valid": false}), Validity::Revoked(Cause::Unstated), Expiry::Unknown),
        (json!({"is_valid": false, "expires_at": NOW - 1}), Validity::Expired, at(NOW - 1)),
        (json!({"is_valid": false, "expires_at": NOW + 1}), Validity::Revoked(Cause::Unstated), at(NOW + 1)),
        (json!({"error": {"code": 190, "subcode": 460}}), Validity::Revoked(Cause::PasswordChanged), Expiry::Unknown),
        (
            json!({"error": {"code": "190", "error_subcode": "463"}, "is_valid": false}),
            Validity::Expired,
            Expiry::Unknown,
        ),
    ] {
        let body = json!({"data": data}).to_string();
        let facts = desk.told(200, &body, Caller::App).await.facts.unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!((facts.validity, facts.expires), (validity, expires), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_facts_is_no_verdict() {
    let desk = Desk::new().await;
    desk.strike(FaultKind::EmptyData);
    let token = desk.long_user(NOW);
    assert_eq!(desk.facts(&token).await.expect_err("no facts").reason(), "garbled");
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "true",
        "\"data\"",
        r#"{"data":[]}"#,
        r#"{"data":null}"#,
        r#"{"data":{}}"#,
        r#"{"data":"EAAB"}"#,
        r#"{"data":{"is_valid":null}}"#,
        r#"{"data":{"is_valid":"perhaps"}}"#,
        r#"{"data":{"expires_at":0}}"#,
        r#"[{"is_valid":true}]"#,
        "access_token=x&expires=5184000",
        "\u{feff}{}",
    ] {
        let answer = desk.told(200, body, Caller::App).await;
        assert_eq!(failure(&answer).reason(), "garbled", "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hostile_kind_cannot_break_a_label() {
    let desk = Desk::new().await;
    for (wire, shown) in [
        ("SYSTEM_USER", "system_user"),
        ("App", "app"),
        ("WEIRD", "weird"),
        ("a\"} 1\ntokenwatch_x{b=\"", "a1tokenwatch_xb"),
        ("<script>", "script"),
        ("", "unknown"),
        ("ключ", "unknown"),
        (&"x".repeat(5_000), &"x".repeat(32)),
    ] {
        let body = json!({"data": {"is_valid": true, "type": wire}}).to_string();
        let facts = desk.told(200, &body, Caller::App).await.facts.expect("facts");
        assert_eq!(facts.kind.as_str(), shown);
    }
}

// ---- errors (§6) ----------------------------------------------------------------------------------------------------------------------

/// What a row of the code table means in one of the three places where an error can stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Means {
    /// The facts of a token in this state.
    Fact(Validity),
    /// No answer, for this reason.
    Failure(&'static str),
    /// A fault of the app.
    App(AppFault),
}

use Means::{App as AppAtFault, Fact, Failure};

const REVOKED: fn(Cause) -> Means = |cause| Fact(Validity::Revoked(cause));
const UNREADABLE: Means = Fact(Validity::Unreadable);
const WRONG: Means = AppAtFault(AppFault::WrongSecret);
const REFUSED: Means = Failure("refused");
const THROTTLED: Means = Failure("throttled");
const UNAVAILABLE: Means = Failure("unavailable");

/// §6.2, row by row: code, subcode, message; what it means as the answer to the app's question, and to the token's own.
fn code_table() -> Vec<(i64, Option<i64>, &'static str, Means, Means)> {
    let mut rows = vec![
        (190, None, "Invalid OAuth access token.", WRONG, UNREADABLE),
        (190, None, "Invalid OAuth access token signature.", WRONG, UNREADABLE),
        (190, None, "Invalid OAuth 2.0 Access Token", WRONG, UNREADABLE),
        (190, Some(458), "", WRONG, REVOKED(Cause::AppRemoved)),
        (190, Some(459), "", WRONG, REVOKED(Cause::Checkpointed)),
        (190, Some(460), "", WRONG, REVOKED(Cause::PasswordChanged)),
        (190, Some(463), "", WRONG, Fact(Validity::Expired)),
        (190, Some(464), "", WRONG, REVOKED(Cause::Unconfirmed)),
        (190, Some(467), "", WRONG, REVOKED(Cause::LoggedOut)),
        (190, Some(492), "", WRONG, REVOKED(Cause::RoleLost)),
        (190, Some(493), "", WRONG, REVOKED(Cause::Inactive)),
        (190, Some(490), "a subcode of tomorrow", WRONG, REVOKED(Cause::Unstated)),
        (102, None, "Session key invalid or no longer valid", WRONG, UNREADABLE),
        (102, Some(463), "", WRONG, Fact(Validity::Expired)),
        (102, Some(460), "", WRONG, REVOKED(Cause::PasswordChanged)),
        (104, None, "An access token is required to request this resource.", REFUSED, REFUSED),
        (
            101,
            None,
            "Error validating application. Invalid application ID.",
            AppAtFault(AppFault::UnknownApp),
            AppAtFault(AppFault::UnknownApp),
        ),
        (1, None, "Error validating client secret.", WRONG, WRONG),
        (1, None, "An unknown error has occurred.", UNAVAILABLE, UNAVAILABLE),
        (2, None, "Service temporarily unavailable", UNAVAILABLE, UNAVAILABLE),
        (3, None, "Capability missing", REFUSED, REFUSED),
        (4, Some(2_446_079), "Application request limit reached", THROTTLED, THROTTLED),
        (4, Some(1_504_022), "", THROTTLED, THROTTLED),
        (17, Some(2_446_079), "User request limit reached", THROTTLED, THROTTLED),
        (32, None, "(#32) Page request limit reached", THROTTLED, THROTTLED),
        (341, None, "Application limit reached", THROTTLED, THROTTLED),
        (613, Some(1_996), "Calls to this api have exceeded the rate limit.", THROTTLED, THROTTLED),
        (10, None, "Permission denied", REFUSED, REFUSED),
        (200, None, "API access blocked.", AppAtFault(AppFault::Blocked), AppAtFault(AppFault::Blocked)),
        (200, None, "Requires whatsapp_business_management permission", REFUSED, REFUSED),
        (299, Some(1_349_174), "", REFUSED, REFUSED),
        (100, Some(33), "Unsupported get request. Object with ID '1' does not exist", REFUSED, REFUSED),
        (100, None, "(#100) The parameter input_token is required", REFUSED, REFUSED),
        (33, None, "This object does not exist", REFUSED, REFUSED),
        (803, None, "Some of the aliases you requested do not exist", REFUSED, REFUSED),
        (368, Some(1_390_008), "Temporarily blocked for policies violations", REFUSED, REFUSED),
        (452, None, "Session key invalid", REFUSED, REVOKED(Cause::Unstated)),
        (2_500, None, "Unknown path components: /x", REFUSED, REFUSED),
        (0, None, "AuthException", REFUSED, UNREADABLE),
        (131_000, None, "Something went wrong", UNAVAILABLE, UNAVAILABLE),
        (131_016, None, "Service unavailable", UNAVAILABLE, UNAVAILABLE),
        (133_004, None, "Server temporarily unavailable", UNAVAILABLE, UNAVAILABLE),
        (131_057, None, "Account in maintenance mode", UNAVAILABLE, UNAVAILABLE),
    ];
    rows.extend((80_000..=80_014).map(|code| (code, None, "There have been too many calls", THROTTLED, THROTTLED)));
    rows.extend([130_429, 131_056, 131_048, 133_016].map(|code| (code, None, "limit hit", THROTTLED, THROTTLED)));
    let steady = [131_005, 131_030, 131_031, 131_042, 131_047, 132_001, 132_015, 132_016, 133_010, 999_999, -1];
    rows.extend(steady.map(|code| (code, None, "no use retrying", REFUSED, REFUSED)));
    rows
}

fn assert_means(answer: &Answer, means: Means, row: &str) {
    let seen = match &answer.facts {
        Ok(facts) => Fact(facts.validity),
        Err(CheckError::App(fault, _)) => AppAtFault(*fault),
        Err(error) => Failure(error.reason()),
    };
    assert_eq!(seen, means, "{row}");
}

#[tokio::test(start_paused = true)]
async fn every_code_of_the_table_has_its_meaning_for_whoever_asked() {
    let desk = Desk::new().await;
    for (code, subcode, message, to_the_app, to_the_token) in code_table() {
        let mut error = json!({"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "A1"});
        if let Some(subcode) = subcode {
            error["error_subcode"] = json!(subcode);
        }
        let body = json!({ "error": error }).to_string();
        // The status of 190 differs between Meta's hosts, so it must not matter.
        for status in [400, 401, 500] {
            let row = format!("{code}/{subcode:?} {message:?} with {status}");
            let answer = desk.told(status, &body, Caller::App).await;
            assert_means(&answer, to_the_app, &row);
            let label = answer.telemetry.error_codes.first().cloned().expect("the code is counted");
            assert!(label == code.to_string() || label == "other", "{label}");
            assert_means(&desk.told(status, &body, Caller::Token).await, to_the_token, &row);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_inside_data_is_about_the_token() {
    let desk = Desk::new().await;
    for (code, subcode, message, _, to_the_token) in code_table() {
        let mut error = json!({"message": message, "code": code});
        if let Some(subcode) = subcode {
            error["subcode"] = json!(subcode);
        }
        let body = json!({"data": {"app_id": APP, "is_valid": false, "scopes": [], "error": error}}).to_string();
        let answer = desk.told(200, &body, Caller::App).await;
        let facts = answer.facts.unwrap_or_else(|error| panic!("{code}: {error}"));
        // "Not valid" is an answer; a code that says nothing of the token leaves only the cause open.
        let expected = if let Fact(validity) = to_the_token { validity } else { Validity::Revoked(Cause::Unstated) };
        assert_eq!(facts.validity, expected, "{code}/{subcode:?} {message:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_tell_the_cause_where_the_subcode_was_dropped() {
    let desk = Desk::new().await;
    let prefix = "Error validating access token: ";
    for (message, validity) in [
        ("Session has expired on Tuesday, 05-Apr-16 23:00:00 PDT.", Validity::Expired),
        ("Session has expired at unix time 1459922400. The current unix time is 1459922401.", Validity::Expired),
        (
            "The session has been invalidated because the user changed their password or Facebook has changed the session for security reasons.",
            Validity::Revoked(Cause::PasswordChanged),
        ),
        ("The session is invalid because the user logged out.", Validity::Revoked(Cause::LoggedOut)),
        (
            "This may be because the user logged out or may be due to a system error.",
            Validity::Revoked(Cause::LoggedOut),
        ),
        ("The user has not authorized application 634900000000001.", Validity::Revoked(Cause::AppRemoved)),
        ("User 10001 has not authorized application 634900000000001.", Validity::Revoked(Cause::AppRemoved)),
    ] {
        let body =
            json!({"data": {"is_valid": false, "error": {"code": 190, "message": format!("{prefix}{message}")}}});
        let facts = desk.told(200, &body.to_string(), Caller::App).await.facts.expect("facts");
        assert_eq!(facts.validity, validity, "{message}");
        if validity == Validity::Expired {
            assert_eq!(facts.expires, at(1_459_922_400), "{message}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn error_objects_come_in_many_shapes() {
    let desk = Desk::new().await;
    for (status, body, means) in [
        // WhatsApp's error_data is an object or text.
        (
            400,
            r#"{"error":{"code":2,"message":"m","error_data":{"messaging_product":"whatsapp","details":"d"}}}"#,
            UNAVAILABLE,
        ),
        (400, r#"{"error":{"code":2,"message":"m","error_data":"{\"details\":\"d\"}"}}"#, UNAVAILABLE),
        // Flat, and that of the Instagram login.
        (400, r#"{"code":4,"message":"Application request limit reached"}"#, THROTTLED),
        (400, r#"{"error_type":"OAuthException","code":2,"error_message":"m"}"#, UNAVAILABLE),
        // Only what is guaranteed, and less than that.
        (400, r#"{"error":{"code":4}}"#, THROTTLED),
        (400, r#"{"error":{"code":"4","message":7}}"#, THROTTLED),
        (400, r#"{"error":{"message":"API access blocked."}}"#, AppAtFault(AppFault::Blocked)),
        (400, r#"{"error":{}}"#, REFUSED),
        (503, r#"{"error":{}}"#, UNAVAILABLE),
        (429, r#"{"error":{"message":null}}"#, THROTTLED),
        // A batch's error has no code at all.
        (400, r#"{"error":{"message":"Too many requests in batch message","type":"GraphBatchException"}}"#, REFUSED),
        (400, r#"{"error":{"code":4242,"message":"new","is_transient":true}}"#, UNAVAILABLE),
        (400, r#"{"error":{"code":4242,"message":"new","is_transient":"true"}}"#, UNAVAILABLE),
        (500, r#"{"error":{"code":4242,"message":"new","is_transient":false}}"#, REFUSED),
        // An error with status 200 is an error.
        (200, r#"{"error":{"code":2,"message":"m"}}"#, UNAVAILABLE),
        // Both names of the subcode at once.
        (400, r#"{"error":{"code":2,"message":"m","error_subcode":463,"subcode":463}}"#, UNAVAILABLE),
        // OAuth's own form, in which the error is a word.
        (503, r#"{"error":"temporarily_unavailable","error_description":"later"}"#, UNAVAILABLE),
        // JSON with a status and without an error.
        (503, r#"{"data":{"is_valid":true}}"#, UNAVAILABLE),
        (429, "{}", THROTTLED),
        (404, r#"{"message":"no code"}"#, REFUSED),
        (302, "{}", REFUSED),
    ] {
        assert_means(&desk.told(status, body, Caller::App).await, means, body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_echoed_by_the_provider_is_never_told() {
    let desk = Desk::new().await;
    for caller in [Caller::App, Caller::Token] {
        let token = desk.long_user(NOW);
        desk.strike(FaultKind::MalformedEcho);
        let answer = desk.ask(&token, caller).await;
        match answer.facts {
            // The caller's token was malformed, and the caller is the app …
            Err(error) => assert_eq!((kind(&error), caller), (("app_fault", Some(AppFault::WrongSecret)), Caller::App)),
            // … or the token itself.
            Ok(facts) => assert_eq!((facts.validity, caller), (Validity::Unreadable, Caller::Token)),
        }
    }
    // In every other text of the provider, too; in odd places, twice, and next to the app's own token.
    for message in [
        "{t}",
        "x {t} y {t}",
        "(#100) Bad parameter: input_token={t}&access_token={a}|{s}",
        "\"{t}\"",
        "\u{200b}{t}\u{200b}",
    ] {
        let token = desk.long_user(NOW);
        let message = message.replace("{t}", &token).replace("{a}", APP).replace("{s}", SECRET);
        for body in [
            json!({"error": {"code": 2, "message": message}}),
            json!({"error": {"code": 10, "message": message}}),
            json!({"error": {"code": 190, "message": message}}),
            json!({"data": {"is_valid": false, "error": {"code": 190, "message": message}}}),
            json!({"data": {"is_valid": true, "type": message, "app_id": APP}}),
        ] {
            desk.strike(FaultKind::Raw { status: 200, headers: vec![], body: body.to_string().into_bytes() });
            // `ask` searches what was told.
            desk.ask(&token, Caller::App).await;
        }
    }
}

// ---- headers (§1, §7) -----------------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn budgets_are_read_from_the_headers() {
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    assert_eq!(desk.ask(&token, Caller::App).await.telemetry.usage, []);
    desk.world(|world| world.app_mut(APP).expect("the app").calls_per_hour = Some(4));
    for (call, used) in [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)] {
        let answer = desk.ask(&token, Caller::App).await;
        assert!(answer.facts.is_ok(), "call {call}");
        let count = answer.telemetry.usage.iter().find(|(name, _)| *name == "call_count").expect("the count").1;
        assert!((count - used).abs() < 1e-9, "call {call}: {count}");
    }
    let over = desk.ask(&token, Caller::App).await;
    // No time was named, so it is five minutes.
    assert_eq!(failure(&over), &CheckError::Throttled(Timestamp::from_unix(NOW + 300)));
    assert_eq!(over.telemetry.error_codes, ["4"]);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_names_its_time() {
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    for as_429 in [false, true] {
        desk.world(|world| world.switches.throttled_as_429 = as_429);
        desk.strike(FaultKind::Throttled { id: "102290000000001".to_owned(), minutes: 17 });
        let answer = desk.ask(&token, Caller::App).await;
        assert_eq!(failure(&answer), &CheckError::Throttled(Timestamp::from_unix(NOW + 17 * 60)));
        assert!(
            answer.telemetry.usage.contains(&("whatsapp_business_management", 1.0)),
            "{:?}",
            answer.telemetry.usage
        );
    }
    let body = r#"{"error":{"code":4,"message":"m"}}"#;
    let business = r#"{"1":[{"type":"whatsapp","estimated_time_to_regain_access":3}],"2":[{"type":"pages","estimated_time_to_regain_access":9}]}"#;
    for (headers, seconds) in [
        (vec![], 300),
        (vec![("x-business-use-case-usage", business)], 540),
        (vec![("x-ad-account-usage", r#"{"acc_id_util_pct":9.67,"reset_time_duration":100}"#)], 100),
        (vec![("Retry-After", "30")], 30),
        (vec![("Retry-After", "30"), ("x-ad-account-usage", r#"{"reset_time_duration":100}"#)], 100),
        (vec![("x-business-use-case-usage", r#"{"1":[{"estimated_time_to_regain_access":0}]}"#)], 300),
        // Hostile numbers neither blind us for ever nor send us back in time.
        (vec![("Retry-After", "99999999999")], 86_400),
        (vec![("Retry-After", "-5")], 300),
        (
            vec![("x-business-use-case-usage", r#"{"1":[{"estimated_time_to_regain_access":9223372036854775807}]}"#)],
            86_400,
        ),
        (vec![("x-business-use-case-usage", "{broken")], 300),
        (vec![("x-app-usage", "[[[[")], 300),
    ] {
        let answer = desk.told_with(400, &headers, body, Caller::App).await;
        assert_eq!(failure(&answer), &CheckError::Throttled(Timestamp::from_unix(NOW + seconds)), "{headers:?}");
    }
    // A throttle without a Graph error is one all the same.
    let answer = desk.told_with(429, &[("Retry-After", "60")], "<html>slow down</html>", Caller::App).await;
    assert_eq!(failure(&answer), &CheckError::Throttled(Timestamp::from_unix(NOW + 60)));
}

#[tokio::test(start_paused = true)]
async fn the_providers_clock_and_version_are_compared_with_ours() {
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    let plain = desk.ask(&token, Caller::App).await.telemetry;
    assert_eq!((plain.clock_offset, plain.other_version, plain.error_codes), (Some(Span::ZERO), None, Vec::new()));
    for skew in [-3_600, -1, 40, 86_400] {
        desk.strike(FaultKind::ClockSkew { seconds: skew });
        let seen = desk.ask(&token, Caller::App).await.telemetry.clock_offset;
        assert_eq!(seen, Some(Span::seconds(-skew)), "our clock minus theirs");
    }
    for date in ["yesterday", "", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let answer = desk.told_with(200, &[("Date", date)], r#"{"data":{"is_valid":true}}"#, Caller::App).await;
        assert!(answer.facts.is_ok(), "{date}");
    }
    // An expired version runs silently as the oldest living one.
    let old = settings::Graph { version: "v18.0".to_owned(), ..desk.settings.clone() };
    let meta = Meta::new(&old, desk.clock.clone()).expect("a client");
    let answer = ask(&meta, &token, Caller::App).await;
    assert_eq!(answer.telemetry.other_version.as_deref(), Some("v19.0"));
    // One that never was is an unknown path, which is no verdict.
    let never = settings::Graph { version: "v99.0".to_owned(), ..desk.settings.clone() };
    let meta = Meta::new(&never, desk.clock.clone()).expect("a client");
    assert_eq!(failure(&ask(&meta, &token, Caller::App).await).reason(), "refused");
}

#[tokio::test(start_paused = true)]
async fn a_base_url_may_have_a_path() {
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    for base in ["", "/", "//"] {
        let base_url =
            format!("{}{base}", desk.settings.base_url.as_str().trim_end_matches('/')).parse().expect("a url");
        let meta =
            Meta::new(&settings::Graph { base_url, ..desk.settings.clone() }, desk.clock.clone()).expect("a client");
        assert!(ask(&meta, &token, Caller::App).await.facts.is_ok(), "{base:?}");
    }
    let base_url = desk.settings.base_url.join("/gateway").expect("a url");
    let meta = Meta::new(&settings::Graph { base_url, ..desk.settings.clone() }, desk.clock.clone()).expect("a client");
    ask(&meta, &token, Caller::App).await.facts.expect_err("the simulator has no gateway");
    assert_eq!(desk.sim.requests().get("/gateway/v25.0/debug_token"), Some(&1));
}

// ---- transport ------------------------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn every_transport_fault_is_told_apart() {
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    for (kind, reason) in [
        (FaultKind::Hang, "timeout"),
        (FaultKind::Reset, "interrupted"),
        (FaultKind::Empty500, "unavailable"),
        (FaultKind::Html503, "unavailable"),
        (FaultKind::TruncatedJson { after: 0 }, "garbled"),
        (FaultKind::TruncatedJson { after: 9 }, "garbled"),
        (FaultKind::CutOff { after: 0 }, "interrupted"),
        (FaultKind::CutOff { after: 9 }, "interrupted"),
        (FaultKind::Drip { bytes_per_second: 1 }, "timeout"),
        (FaultKind::HugeBody { bytes: LARGEST_BODY + 1 }, "garbled"),
        (FaultKind::HugeBody { bytes: 16 * 1024 * 1024 }, "garbled"),
        (FaultKind::NonUtf8, "garbled"),
        (FaultKind::GzipBomb { expanded: 8 * 1024 * 1024 }, "garbled"),
        (FaultKind::GzipBomb { expanded: 64 * 1024 * 1024 }, "garbled"),
        (FaultKind::Transient, "unavailable"),
    ] {
        for caller in [Caller::App, Caller::Token] {
            desk.strike(kind.clone());
            let before = desk.clock.now();
            let answer = desk.ask(&token, caller).await;
            let error = failure(&answer);
            assert_eq!(error.reason(), reason, "{kind:?}: {error}");
            let text = error.to_string();
            assert!(text.len() > 12 && text.len() < 500 && !text.contains('\n') && !text.contains("http://"), "{text}");
            assert!(!text.ends_with(": "), "{text:?} ends before it says anything");
            let took = desk.clock.now().since(before);
            assert!(took <= Span::seconds(10), "{kind:?} took {took}");
            // The next question is a fresh one.
            assert_eq!(desk.facts(&token).await.expect("facts").validity, Validity::Valid, "after {kind:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_within_the_time_limit_counts() {
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    desk.strike(FaultKind::Drip { bytes_per_second: 200 });
    assert_eq!(desk.facts(&token).await.expect("facts").validity, Validity::Valid);
}

#[tokio::test(start_paused = true)]
async fn the_content_type_does_not_matter_and_the_body_does() {
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    for name in ["text/javascript; charset=UTF-8", "text/html", "application/octet-stream", "nonsense"] {
        desk.strike(FaultKind::ContentType(name.to_owned()));
        assert_eq!(desk.facts(&token).await.expect("facts").validity, Validity::Valid, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_followed() {
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    let (elsewhere, listener) = listen().await;
    for location in [format!("http://{elsewhere}/steal"), "/v25.0/debug_token".to_owned(), String::new()] {
        desk.strike(FaultKind::Redirect { location });
        let answer = desk.ask(&token, Caller::App).await;
        assert_eq!(failure(&answer).reason(), "garbled");
        assert!(failure(&answer).to_string().contains("redirect"), "{}", failure(&answer));
    }
    let visitor = tokio::time::timeout(Duration::from_secs(60), listener.accept()).await;
    assert!(visitor.is_err(), "the token was carried to another host");
    assert_eq!(desk.sim.requests().values().sum::<u64>(), 3, "nor to the same one");
}

#[tokio::test(start_paused = true)]
async fn nobody_listening_is_no_connection() {
    let (_nobody, address) = refusing();
    let clock = Arc::new(Lens::new(Timestamp::from_unix(NOW), 1));
    let meta = Meta::new(&plain_settings(address), clock).expect("a client");
    let answer = ask(&meta, "EAABnobodyhears", Caller::App).await;
    assert!(matches!(failure(&answer), CheckError::Unreachable(Unreachable::Connect, _)), "{answer:?}");
}

/// A server that says the same bytes to everyone and then waits for the end.
async fn parrot(words: &'static [u8]) -> (std::net::SocketAddr, JoinSet<()>) {
    let (address, listener) = listen().await;
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(words).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, server)
}

#[tokio::test(start_paused = true)]
async fn what_does_not_speak_http_is_told_as_such() {
    let clock = Arc::new(Lens::new(Timestamp::from_unix(NOW), 1));
    for words in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"220 mail.example.com ESMTP\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"HTTP/1.1 200 OK\r\nContent-Length: minus one\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}",
        b"HTTP/1.1 999999 \r\n\r\n",
        b"",
    ] {
        let (address, _server) = parrot(words).await;
        let meta = Meta::new(&plain_settings(address), clock.clone()).expect("a client");
        let answer = ask(&meta, "EAABnobodyunderstands", Caller::App).await;
        let error = failure(&answer);
        assert!(matches!(error, CheckError::Unreachable(Unreachable::Interrupted, _)), "{words:?}: {error:?}");
    }
}

/// Sends headers or a body without end, and returns how much the client took of it.
async fn flood(head: &'static [u8], more: &'static str) -> (std::net::SocketAddr, JoinSet<usize>) {
    let (address, listener) = listen().await;
    let more = more.repeat(65_536 / more.len());
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = [0; 4_096];
        let _ = stream.read(&mut request).await;
        pour(&mut stream, head, more.as_bytes()).await
    });
    (address, server)
}

async fn pour(stream: &mut TcpStream, head: &[u8], more: &[u8]) -> usize {
    let mut sent = 0;
    if stream.write_all(head).await.is_err() {
        return sent;
    }
    while sent < 256 * 1024 * 1024 && stream.write_all(more).await.is_ok() {
        sent += more.len();
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_is_cut_off() {
    const LINE: &str = "X-Flood: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";
    let clock = Arc::new(Lens::new(Timestamp::from_unix(NOW), 1));
    for (head, more, reason) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"[..], " ", "garbled"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "{", "garbled"),
        (b"HTTP/1.1 200 OK\r\n", LINE, "interrupted"),
    ] {
        let (address, mut server) = flood(head, more).await;
        let meta = Meta::new(&plain_settings(address), clock.clone()).expect("a client");
        let answer = ask(&meta, "EAABdrowned", Caller::App).await;
        assert_eq!(failure(&answer).reason(), reason, "{:?}", failure(&answer));
        drop(meta);
        // What the client did not take waits in the kernel's buffers, which are a few MiB.
        let taken = server.join_next().await.expect("one server").expect("no panic");
        assert!(taken < 32 * 1024 * 1024, "the client took {taken} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn json_nested_without_end_is_refused() {
    let desk = Desk::new().await;
    for body in [r#"{"data":"#.repeat(20_000), format!(r#"{{"data":{{"x":{}"#, "[".repeat(100_000))] {
        assert_eq!(failure(&desk.told(200, &body, Caller::App).await).reason(), "garbled");
    }
}

#[tokio::test(start_paused = true)]
async fn without_tls_there_is_no_question() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, AUTHORITY).expect("the authority is written");
    let clock = Arc::new(Lens::new(Timestamp::from_unix(NOW), 1));
    let (address, _server) =
        parrot(b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"data\":{\"is_valid\":true}}\n").await;
    let base_url: url::Url = format!("https://{address}").parse().expect("a url");
    let secured = settings::Graph { base_url, ca_file: Some(ca_file.clone()), ..plain_settings(address) };
    let meta = Meta::new(&secured, clock.clone()).expect("a client");
    let answer = ask(&meta, "EAABsecured", Caller::App).await;
    assert!(matches!(failure(&answer), CheckError::Unreachable(Unreachable::Tls, _)), "{:?}", failure(&answer));

    for (content, says) in [("", "holds no certificate"), ("-----BEGIN CERTIFICATE-----\nAAAA\n", "ca.pem")] {
        std::fs::write(&ca_file, content).expect("the authority is written");
        let problem = Meta::new(&secured, clock.clone()).map(drop).expect_err("no trust").to_string();
        assert!(problem.contains(says), "{problem}");
    }
    std::fs::remove_file(&ca_file).expect("removed");
    let problem = Meta::new(&secured, clock).map(drop).expect_err("no trust").to_string();
    assert!(problem.contains("ca.pem"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn many_questions_at_once_do_not_mix() {
    let desk = Arc::new(Desk::new().await);
    let mut asking = JoinSet::new();
    for n in 0..200_i64 {
        let token = desk.world(|world| {
            let token = world.issue_long_user(ADA, &[], NOW);
            world.set_expiry(&token, Some(NOW + 1_000 + n));
            token
        });
        let desk = Arc::clone(&desk);
        asking.spawn(async move { (n, desk.facts(&token).await.expect("facts").expires) });
    }
    while let Some(answer) = asking.join_next().await {
        let (n, expires) = answer.expect("no panic");
        assert_eq!(expires, at(NOW + 1_000 + n));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_the_seconds_that_it_took() {
    let desk = Desk::new().await;
    let token = desk.long_user(NOW);
    let seconds = desk.ask(&token, Caller::App).await.telemetry.seconds;
    assert!((0.0..60.0).contains(&seconds), "{seconds}");
    let body: Value = json!({"data": {"is_valid": true}});
    assert!(desk.told(200, &body.to_string(), Caller::App).await.telemetry.seconds > 0.0);
}

/// An authority that signed nothing.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBiTCCAS+gAwIBAgIUNYxVPySIAGsWcwYjt3ULVcjPeogwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOVGVzdCBhdXRob3JpdHkwIBcNMjYxMTIyMjMyOTA3WhgPMjEy
NjEwMjkyMzI5MDdaMBkxFzAVBgNVBAMMDlRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAE2CGzto9xzUoqme7ZUem+yAClGCTST+6Q4LfcwZY8
o/rWgGtM8hTP7a4VgXjCPRAkcloFLREj7Ov7PIkjmRnOyKNTMFEwHQYDVR0OBBYE
FKQe+Xh6wro/ftt8z7XiKC9MGUnQMB8GA1UdIwQYMBaAFKQe+Xh6wro/ftt8z7Xi
KC9MGUnQMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhALHTowYC
6bbCP467ylsKLIb5nrqPEEqPuXgQNlFRkoeHAiBFcLX3uQE0Fl7YJ/C84kzqMhxZ
CYiszAZ7YqX+QM935g==
-----END CERTIFICATE-----
";
