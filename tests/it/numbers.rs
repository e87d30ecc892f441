//! WhatsApp's part of the client against the strict simulator: every answer of the reference, §9, and every one that no reference knows.

use serde_json::json;
use tokenwatch::domain::inspection::{AppFault, CheckError};
use tokenwatch::domain::number::{Entity, Number, NumberError, Sending, Subscription};
use tokenwatch::ports::{Credentials, Heard, Message, Parameters, Provider as _, Question, Unsent};
use tokenwatch::sim::{
    AppEvent, CanSend, Event, FaultKind, GranularScope, GranularScopes, Health, Lifetime, PhoneNumber, TemplateState,
    Waba,
};

use super::support::desk::{APP, Desk, MACHINE, NOW, OTHER_APP, SCOPES, SECRET, secret};

const WABA: &str = "102290000000001";
const BUSINESS: &str = "2729063490586005";
const NUMBER: &str = "521803094347148";
const PERSON: &str = "+15550001111";

/// A desk with a WhatsApp account, and a token that may use it.
async fn desk() -> (Desk, String) {
    let desk = Desk::new().await;
    let token = desk.world(|world| {
        world.add_waba(Waba::new(WABA, "Tea House", BUSINESS, &[MACHINE]));
        world.add_phone_number(PhoneNumber::new(WABA, NUMBER, "+1 555-000-2222", "Tea House"));
        world.issue_system_user(MACHINE, &SCOPES, Lifetime::Never, NOW)
    });
    (desk, token)
}

/// Asks about the number, and searches what came of it for the secrets that went in.
async fn number(desk: &Desk, token: &str) -> Heard<Number> {
    let (token_secret, app_secret) = (secret(token), secret(SECRET));
    let app = Some(Credentials { id: APP, secret: &app_secret, proof: true });
    let heard = desk.meta.number(&Question { token: &token_secret, app, parameters: Parameters::NONE }, NUMBER).await;
    let said = format!("{heard:?}");
    for hidden in [token, SECRET] {
        assert!(hidden.len() < 24 || !said.contains(&hidden[..16]), "a secret was told: {said}");
    }
    heard
}

async fn told(desk: &Desk, token: &str, status: u16, body: &str) -> Result<Number, NumberError> {
    desk.strike_with(status, &[], body);
    number(desk, token).await.said
}

#[tokio::test(start_paused = true)]
async fn one_call_tells_about_all_four() {
    let (desk, token) = desk().await;
    let well = number(&desk, &token).await.said.expect("a number");
    assert_eq!((&*well.id, well.sending, well.in_the_way().len()), (NUMBER, Some(Sending::Available), 0));
    assert_eq!((well.display.as_deref(), well.name.as_deref()), (Some("+1 555-000-2222"), Some("Tea House")));
    let words = [&well.status, &well.quality, &well.mode].map(|word| word.as_deref().unwrap_or_default().to_owned());
    assert_eq!(words, ["CONNECTED", "GREEN", "LIVE"]);
    assert_eq!((well.account.as_deref(), well.business.as_deref()), (Some(WABA), Some(BUSINESS)));

    desk.world(|world| {
        world.phone_number_mut(NUMBER).expect("it").health = Health::limited("The display name is not approved.");
        let account = world.waba_mut(WABA).expect("it");
        account.health = Health::blocked(141_006, "A payment error.", "Pay.");
        account.business_health = Health::blocked(141_010, "Not verified.", "Verify.");
        world.app_mut(APP).expect("it").health.sip = Some(CanSend::Blocked);
    });
    let ill = number(&desk, &token).await.said.expect("a number");
    assert_eq!(ill.can_send(), Some(Sending::Blocked));
    let seen: Vec<_> = ill
        .in_the_way()
        .iter()
        .map(|it| (it.entity, it.sending, it.code, it.description.to_string(), it.solution.to_string()))
        .collect();
    let entry =
        |entity, sending, code, what: &str, then: &str| (entity, sending, code, what.to_owned(), then.to_owned());
    assert_eq!(
        seen,
        [
            entry(Entity::Account, Sending::Blocked, Some(141_006), "A payment error.", "Pay."),
            entry(Entity::Business, Sending::Blocked, Some(141_010), "Not verified.", "Verify."),
            entry(Entity::Number, Sending::Limited, None, "The display name is not approved.", ""),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_apart() {
    let kind = |said: &Result<Number, NumberError>| match said {
        Ok(_) => "known",
        Err(NumberError::Missing(_)) => "missing",
        Err(NumberError::Forbidden(_)) => "forbidden",
        Err(NumberError::Token(_)) => "token",
        Err(NumberError::Unanswered(error)) => error.reason(),
    };
    let (desk, token) = desk().await;
    let narrow = desk.world(|world| {
        let narrow = world.issue_system_user(MACHINE, &SCOPES, Lifetime::Never, NOW);
        let only = |scope: &str| GranularScope::of(scope, &["1"]);
        world.set_granular_scopes(&narrow, GranularScopes::Listed(SCOPES.iter().map(|scope| only(scope)).collect()));
        narrow
    });
    let sender = desk.world(|world| world.issue_system_user(MACHINE, &SCOPES[1..], Lifetime::Never, NOW));
    assert_eq!(kind(&number(&desk, &narrow).await.said), "missing", "the account is not shared with it");
    assert_eq!(kind(&number(&desk, &sender).await.said), "forbidden", "it may only send");
    let answers = [
        (400, r#"{"error":{"code":100,"error_subcode":33,"message":"Unsupported get request."}}"#, "missing"),
        (404, r#"{"error":{"code":803,"message":"(#803) no such"}}"#, "missing"),
        (400, r#"{"error":{"code":33,"message":"deleted"}}"#, "missing"),
        (403, r#"{"error":{"code":10,"message":"(#10) permission"}}"#, "forbidden"),
        (403, r#"{"error":{"code":200,"message":"(#200) permission"}}"#, "forbidden"),
        (403, r#"{"error":{"code":131005,"message":"(#131005) Access denied"}}"#, "forbidden"),
        (401, r#"{"error":{"code":190,"message":"Invalid OAuth access token."}}"#, "token"),
        (401, r#"{"error":{"code":0,"message":"AuthException"}}"#, "token"),
        (400, r#"{"error":{"code":200,"message":"API access blocked."}}"#, "app_fault"),
        (
            400,
            r#"{"error":{"code":100,"message":"Invalid appsecret_proof provided in the API argument"}}"#,
            "app_fault",
        ),
        (400, r#"{"error":{"code":80008,"message":"too many calls"}}"#, "throttled"),
        (400, r#"{"error":{"code":100,"message":"(#100) Tried accessing nonexisting field"}}"#, "refused"),
        (500, r#"{"error":{"code":2,"message":"Service temporarily unavailable"}}"#, "unavailable"),
        (500, "", "unavailable"),
        (503, "<html>", "unavailable"),
        (200, "<html>", "garbled"),
        (200, "[]", "garbled"),
        (200, "{}", "garbled"),
        (200, r#"{"id":null}"#, "garbled"),
        (302, r#"{"id":"1"}"#, "refused"),
    ];
    for (status, body, expected) in answers {
        let said = told(&desk, &token, status, body).await;
        assert_eq!(kind(&said), expected, "{status} {body}: {said:?}");
        let code = body.split("\"code\":").nth(1).is_some();
        desk.strike_with(status, &[], body);
        assert_eq!(!number(&desk, &token).await.telemetry.error_codes.is_empty(), code, "{body} is counted");
    }
    desk.strike(FaultKind::Reset);
    assert_eq!(kind(&number(&desk, &token).await.said), "interrupted");
    // Meta echoes what it was sent.
    let echo = json!({"error": {"code": 190, "message": format!("Malformed access token {token}")}}).to_string();
    assert_eq!(kind(&told(&desk, &token, 401, &echo).await), "token");
    desk.world(|world| world.user_event(MACHINE, Event::PasswordChanged, NOW));
    assert_eq!(kind(&number(&desk, &token).await.said), "token");
    desk.world(|world| world.app_event(APP, AppEvent::Blocked, NOW));
    let blocked = number(&desk, &token).await.said;
    assert!(matches!(blocked, Err(NumberError::Unanswered(CheckError::App(AppFault::Blocked, _)))), "{blocked:?}");
}

/// Every shape that is not as documented is read as far as it can be, and nothing in it grows or breaks a line.
#[tokio::test(start_paused = true)]
async fn odd_answers_are_read_as_far_as_they_go() {
    let (desk, token) = desk().await;
    for (health, sending, obstacles) in [
        (json!(null), Some(Sending::Available), 0),
        (json!([]), Some(Sending::Available), 0),
        (json!("BLOCKED"), Some(Sending::Available), 0),
        (json!({"can_send_message": "blocked"}), Some(Sending::Blocked), 1),
        (json!({"can_send_message": "SOMETIMES", "entities": "none"}), Some(Sending::Available), 0),
        (json!({"entities": [{"entity_type": "FLOW", "can_send_message": "LIMITED"}]}), Some(Sending::Limited), 1),
        (
            json!({"entities": [{"entity_type": 7, "id": 9, "can_send_message": "BLOCKED", "errors": {}}]}),
            Some(Sending::Blocked),
            1,
        ),
        (
            json!({"can_send_message": "BLOCKED", "entities": vec![json!({"entity_type": "WABA", "can_send_message": "BLOCKED",
                "errors": [{"error_code": "141006", "error_description": "x\u{7}\n".repeat(300), "possible_solution": null}]}); 50]}),
            Some(Sending::Blocked),
            10,
        ),
    ] {
        let body = json!({"id": 521_803_094_347_148_u64, "status": "CONNECTED", "quality_rating": ["x"], "health_status": health});
        let seen = told(&desk, &token, 200, &body.to_string()).await.expect("a number");
        let in_the_way = seen.in_the_way();
        assert_eq!((seen.can_send(), in_the_way.len(), &*seen.id), (sending, obstacles, NUMBER), "{health}");
        for obstacle in in_the_way {
            let text = format!("{}{}", obstacle.description, obstacle.solution);
            assert!(text.chars().count() <= 600 && !text.contains(char::is_control), "{text}");
        }
    }
    let gone = json!({"id": "1", "status": "DISCONNECTED"}).to_string();
    let gone = told(&desk, &token, 200, &gone).await.expect("a number");
    assert_eq!(gone.can_send(), Some(Sending::Blocked), "only CONNECTED can send");
    assert!(gone.in_the_way()[0].description.contains("DISCONNECTED"));
    let bare = told(&desk, &token, 200, r#"{"id":"1"}"#).await.expect("a number");
    assert_eq!(bare.can_send(), None);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_and_the_numbers_of_an_account() {
    use Subscription::{Nobody, Others, Ours, Somebody};
    let (desk, token) = desk().await;
    let token_secret = secret(&token);
    let question = Question { token: &token_secret, app: None, parameters: Parameters::NONE };
    let mut seen = Vec::new();
    for apps in [&[][..], &[OTHER_APP], &[OTHER_APP, APP]] {
        let apps = apps.iter().map(|app| (*app).to_owned()).collect();
        desk.world(|world| world.waba_mut(WABA).expect("it").subscribed_apps = apps);
        for ours in [Some(APP), None] {
            seen.push(desk.meta.subscription(&question, WABA, ours).await.said.expect("an answer"));
        }
    }
    assert_eq!(seen, [Nobody, Nobody, Others, Somebody, Ours, Somebody], "with our app's id, and without");
    let listed = desk.meta.numbers_of(&question, WABA).await.said.expect("a list");
    assert_eq!((&*listed[0].id, &*listed[0].display), (NUMBER, "+1 555-000-2222"));
    for strange in ["1/../me", "?fields=x", "", "..", "102290000000001/phone_numbers"] {
        let said = desk.meta.subscription(&question, strange, None).await.said;
        assert!(said.is_err(), "{strange:?}: {said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_accepted_or_refused_by_code() {
    let (desk, token) = desk().await;
    let (token_secret, app_secret) = (secret(&token), secret(SECRET));
    let app = || Some(Credentials { id: APP, secret: &app_secret, proof: true });
    let question = Question { token: &token_secret, app: app(), parameters: Parameters::NONE };
    let message = Message { from: NUMBER, to: PERSON, template: "hello_world", language: "en_US" };
    let sent = desk.meta.send(&question, &message).await.expect("accepted");
    assert!(sent.id.starts_with("wamid.") && sent.status.as_deref() == Some("accepted"), "{sent:?}");
    assert_eq!(desk.world(|world| world.sent_messages().len()), 1);
    let code = |unsent: &Unsent| unsent.code;
    let none = desk.meta.send(&question, &Message { template: "nonesuch", ..message }).await.expect_err("refused");
    assert_eq!(code(&none), Some(132_001));
    desk.world(|world| {
        let key = ("hello_world".to_owned(), "en_US".to_owned());
        world.waba_mut(WABA).expect("it").templates.insert(key, TemplateState::Held);
    });
    let held = desk.meta.send(&question, &message).await.expect("taken");
    assert_eq!(held.status.as_deref(), Some("held_for_quality_assessment"), "acceptance is not delivery");
    desk.world(|world| world.phone_number_mut(NUMBER).expect("it").account_mode = "SANDBOX".to_owned());
    let stranger = desk.meta.send(&question, &message).await.expect_err("refused");
    assert_eq!(code(&stranger), Some(131_030));
    // Meta's words may name the person, and the token.
    let body = json!({"error": {"code": 131_026, "message": format!("(#131026) {PERSON} 15550001111"),
        "error_data": json!({"details": format!("not reachable {token}")}).to_string()}});
    desk.strike_with(400, &[], &body.to_string());
    let unsent = desk.meta.send(&question, &message).await.expect_err("refused");
    assert!(unsent.words.contains("not reachable") && !unsent.words.contains("5550001111"), "{}", unsent.words);
    assert!(!unsent.words.contains(&token[..16]), "{}", unsent.words);
    for (status, body) in [
        (200, "{}"),
        (200, r#"{"messages":[{"id":""}]}"#),
        (500, r#"{"messages":[{"id":"wamid.1"}]}"#),
        (502, "<html>"),
    ] {
        desk.strike_with(status, &[], body);
        let unsent = desk.meta.send(&question, &message).await.expect_err("nothing says that it was taken");
        assert!(matches!(unsent.why, NumberError::Unanswered(_)), "{body}: {unsent:?}");
    }
}
