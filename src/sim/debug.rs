//! `GET /debug_token`: what the platform says about a token (§2).
//! Must never refuse for the fate of the input token: a dead one is HTTP 200, only a bad caller or an app that does
//! not match is an error.

use serde_json::{Map, Value, json};

use super::answers::GraphError;
use super::respond::{Call, Caller, Holder, Undecoded, undecodable};
use super::token::{Token, TokenKind};
use super::world::{App, World};

impl World {
    pub(super) fn debug_token(&mut self, call: &mut Call<'_>) -> Result<Value, GraphError> {
        let caller = self.identify(call)?;
        let request = call.request;
        let input = request.param("input_token").ok_or_else(|| GraphError::missing("input_token"))?;
        if !self.may_inspect(&caller) {
            return Err(GraphError::not_privileged());
        }
        let data = match self.decode(input) {
            Ok(subject) if subject.app != caller.app => return Err(GraphError::foreign_app()),
            Ok(subject) => self.report(&subject, call.now)?,
            Err(Undecoded::Garbage) => dead(&undecodable(self.switches.undecodable)),
            Err(Undecoded::Refused(error)) => dead(&error),
        };
        Ok(json!({ "data": data }))
    }

    /// An app token, or the token of somebody with a role on the app: a page's token has no role (§2, §2.3).
    fn may_inspect(&self, caller: &Caller) -> bool {
        match &caller.holder {
            Holder::App => true,
            Holder::IgnoredApp => false,
            Holder::Token(token) => {
                let user = self.users.get(&token.user);
                token.is_user() && user.is_some_and(|user| user.developer)
            }
        }
    }

    fn report(&self, subject: &Caller, now: i64) -> Result<Value, GraphError> {
        let app = self.living_app(&subject.app)?;
        Ok(match &subject.holder {
            Holder::App | Holder::IgnoredApp => self.report_app_token(app),
            Holder::Token(token) => self.report_token(token, app, now),
        })
    }

    /// The shape for app tokens is unsourced (§2.1, tag U): no dates, as they have none.
    fn report_app_token(&self, app: &App) -> Value {
        json!({
            "app_id": self.wire_id(&app.id),
            "type": "APP",
            "application": app.name,
            "is_valid": true,
            "scopes": [],
        })
    }

    fn report_token(&self, token: &Token, app: &App, now: i64) -> Value {
        let mut data = Map::new();
        let mut put = |field: &str, value: Value| data.insert(field.to_owned(), value);
        put("app_id", self.wire_id(&app.id));
        put("type", json!(token.type_name()));
        put("application", json!(app.name));
        put("data_access_expires_at", json!(token.data_access_expires_at.unwrap_or(0)));
        put("expires_at", json!(token.expires_at.unwrap_or(0)));
        if token.is_long_lived() {
            put("issued_at", json!(token.issued_at));
        }
        put("scopes", json!(token.scopes));
        if let Some(granular) = token.granular_scopes.to_wire(|id| self.wire_id(id)) {
            put("granular_scopes", granular);
        }
        put("user_id", self.wire_id(&token.user));
        if let TokenKind::Page { page, .. } = &token.kind {
            put("profile_id", self.wire_id(page));
        }
        let defect = token.defect(&self.switches, now);
        put("is_valid", json!(defect.is_none()));
        if let Some(error) = defect {
            put("error", error.inside_data());
        }
        Value::Object(data)
    }

    fn wire_id(&self, id: &str) -> Value {
        match id.parse::<u64>() {
            Ok(number) if self.switches.ids_as_numbers => json!(number),
            _ => json!(id),
        }
    }
}

/// A token that could not be decoded: these three fields and nothing else (§2.2).
fn dead(error: &GraphError) -> Value {
    json!({"error": error.inside_data(), "is_valid": false, "scopes": []})
}

#[cfg(test)]
mod tests {
    use super::super::answers::Request;
    use super::super::fixture::{
        ADA, APP, BOB, MACHINE, NOW, OTHER_APP, PAGE, SCOPES, SECRET, STRANGER, app_token, debug, error, fields, get,
        system_token, world,
    };
    use super::super::respond::appsecret_proof;
    use super::super::switches::{Undecodable, UnknownApp};
    use super::super::token::{Event, GranularScope, GranularScopes, LONG_LIFE, Lifetime, Targets};
    use super::super::world::{AppEvent, AppState, OtherFamily};
    use serde_json::json;

    const NOT_PRIVILEGED: &str =
        "(#100) You must provide an app access token, or a user access token that is an owner or developer of the app";
    const FOREIGN: &str = "(#100) The App_id in the input_token did not match the Viewing App";

    #[test]
    fn living_tokens_show_the_fields_of_their_kind() {
        let mut world = world();
        let short = world.issue_short_user(ADA, &["public_profile"], NOW);
        let long = world.issue_long_user(ADA, &["public_profile"], NOW);
        let page = world.issue_page(&long, PAGE, NOW).unwrap_or_default();
        let setup = world.issue_api_setup(ADA, &SCOPES, NOW);
        let never = world.issue_system_user(MACHINE, &SCOPES, Lifetime::Never, NOW);
        let sixty = world.issue_system_user(MACHINE, &SCOPES, Lifetime::SixtyDays, NOW);
        let window = NOW + 7_776_000;
        let hour = (NOW / 3600 + 2) * 3600;
        let day = (NOW / 3600 + 23) * 3600;
        for (token, kind, expires_at, data_access, issued, profile) in [
            (&short, "USER", hour, window, false, false),
            (&setup, "USER", day, window, false, false),
            (&long, "USER", NOW + LONG_LIFE, window, true, false),
            (&page, "PAGE", 0, window, true, true),
            (&never, "SYSTEM_USER", 0, 0, true, false),
            (&sixty, "SYSTEM_USER", NOW + LONG_LIFE, 0, true, false),
        ] {
            let (status, answer) = debug(&mut world, token, NOW);
            let data = &answer["data"];
            assert_eq!((status, &data["is_valid"]), (200, &json!(true)));
            assert_eq!(data["type"], kind);
            assert_eq!(data["app_id"], APP);
            assert_eq!(data["application"], "Demo");
            assert_eq!(data["expires_at"], expires_at, "{kind}");
            assert_eq!(data["data_access_expires_at"], data_access);
            assert_eq!(data.get("issued_at").is_some(), issued);
            assert_eq!(data.get("profile_id").is_some(), profile);
            assert!(data.get("error").is_none());
        }
    }

    #[test]
    fn dead_tokens_are_answered_200_with_their_fields() {
        for (event, subcode) in [
            (Event::PasswordChanged, 460),
            (Event::LoggedOut, 467),
            (Event::Deauthorized, 458),
            (Event::Checkpoint, 459),
            (Event::Unconfirmed, 464),
            (Event::LostPageRole, 492),
            (Event::Inactive90Days, 493),
        ] {
            let mut world = world();
            let long = world.issue_long_user(ADA, &["public_profile"], NOW);
            let page = world.issue_page(&long, PAGE, NOW).unwrap_or_default();
            world.user_event(ADA, event, NOW + 1);
            let (status, answer) = debug(&mut world, &page, NOW + 2);
            let data = &answer["data"];
            assert_eq!((status, &data["is_valid"]), (200, &json!(false)));
            assert_eq!(fields(&data["error"]), ["code", "message", "subcode"]);
            assert_eq!(data["error"]["subcode"], subcode);
            assert_eq!((&data["app_id"], &data["user_id"]), (&json!(APP), &json!(ADA)));
            assert_eq!(data["scopes"], json!(["public_profile"]));

            let parent_lives = debug(&mut world, &long, NOW + 2).1["data"]["is_valid"] == true;
            assert_eq!(parent_lives, event == Event::LostPageRole);
            let again = world.issue_long_user(ADA, &[], NOW + 3);
            assert_eq!(debug(&mut world, &again, NOW + 4).1["data"]["is_valid"], true);
        }
    }

    #[test]
    fn an_expired_token_keeps_its_past_date() {
        let mut world = world();
        let token = world.issue_long_user(ADA, &["public_profile"], NOW);
        let page = world.issue_page(&token, PAGE, NOW).unwrap_or_default();
        world.set_expiry(&token, Some(1_639_227_600));
        let (status, answer) = debug(&mut world, &token, 1_639_246_410);
        let data = &answer["data"];
        assert_eq!((status, &data["is_valid"]), (200, &json!(false)));
        assert_eq!(data["expires_at"], 1_639_227_600);
        assert_eq!(
            data["error"],
            json!({"code": 190, "subcode": 463, "message": "Error validating access token: Session has expired on Saturday, 11-Dec-21 05:00:00 PST. The current time is Saturday, 11-Dec-21 10:13:30 PST."})
        );
        let (_, page) = debug(&mut world, &page, NOW);
        assert_eq!(page["data"]["is_valid"], true, "a page outlives its parent's expiry");
    }

    #[test]
    fn undecodable_tokens_show_three_fields_only() {
        let mut world = world();
        let real = world.issue_long_user(ADA, &[], NOW);
        let instagram = world.issue_other_family(OtherFamily::Instagram);
        let threads = world.issue_other_family(OtherFamily::Threads);
        for input in ["x", &real[..real.len() - 7], &instagram, &threads, "TH%7C1%7Cx"] {
            let (status, answer) = debug(&mut world, input, NOW);
            assert_eq!(status, 200);
            assert_eq!(
                answer,
                json!({"data": {"error": {"code": 190, "message": "The access token could not be decrypted"}, "is_valid": false, "scopes": []}})
            );
        }
        world.switches.undecodable = Undecodable::CannotParse;
        assert_eq!(
            debug(&mut world, "x", NOW).1["data"]["error"]["message"],
            "Invalid OAuth access token - Cannot parse access token"
        );
    }

    #[test]
    fn callers_are_judged_before_tokens() {
        let mut world = world();
        let input = world.issue_long_user(ADA, &[], NOW);
        let foreign = world.issue_long_user(STRANGER, &[], NOW);
        let developer = world.issue_long_user(BOB, &[], NOW);
        let dead = world.issue_long_user(BOB, &[], NOW);
        world.revoke(&dead, NOW);
        let page = world.issue_page(&input, PAGE, NOW).unwrap_or_default();
        let app = app_token();
        let returned = world.app_mut(APP).map(|app| app.returned_token()).unwrap_or_default();
        let wrong = format!("{APP}|ffffffffffffffffffffffffffffffff");
        let nobody = format!("999|{SECRET}");
        let logged_out = "Error validating access token: The session is invalid because the user logged out.";
        for (input, caller, status, code, subcode, message) in [
            (input.as_str(), app.as_str(), 200, 0, None, ""),
            (&input, &returned, 200, 0, None, ""),
            (&input, &developer, 200, 0, None, ""),
            (&developer, &developer, 200, 0, None, ""),
            (&input, &input, 400, 100, None, NOT_PRIVILEGED),
            (&input, &page, 400, 100, None, NOT_PRIVILEGED),
            (&foreign, &app, 400, 100, None, FOREIGN),
            (&foreign, &developer, 400, 100, None, FOREIGN),
            (&input, &foreign, 400, 100, None, FOREIGN),
            (&input, &dead, 400, 190, Some(467), logged_out),
            (&input, "", 400, 104, None, "An access token is required to request this resource."),
            (&input, &wrong, 400, 190, None, "Invalid OAuth access token signature."),
            (&input, &nobody, 400, 101, None, "Error validating application. Invalid application ID."),
            (&input, "EAAnonsense", 400, 190, None, "Invalid OAuth access token - Cannot parse access token"),
            (&input, "non sense", 400, 190, None, "Malformed access token non sense"),
            ("", &app, 400, 100, None, "(#100) The parameter input_token is required"),
        ] {
            let target = format!("/debug_token?input_token={input}&access_token={caller}");
            let answer = get(&mut world, &target.replace(' ', "%20"), NOW);
            assert_eq!(error(&answer), (status, code, subcode, message.to_owned()), "{target}");
        }
        let bearer = Request::get(&format!("/v25.0/debug_token?input_token={input}")).with_bearer(&app);
        assert_eq!(world.respond(&bearer, NOW).status, 200);
    }

    #[test]
    fn unknown_app_ids_have_two_codes_and_two_wordings() {
        for (wording, code, reason) in [
            (UnknownApp::InvalidId190, 190, "Invalid application ID."),
            (UnknownApp::SystemError101, 101, "Cannot get application info due to a system error."),
            (UnknownApp::SystemError190, 190, "Cannot get application info due to a system error."),
        ] {
            let mut world = world();
            world.switches.unknown_app = wording;
            let answer = get(&mut world, "/debug_token?input_token=x&access_token=9|9", NOW);
            let message = format!("Error validating application. {reason}");
            assert_eq!(error(&answer), (400, code, None, message));
        }
    }

    #[test]
    fn a_fault_of_the_app_is_a_fault_of_the_caller() {
        let deleted = "Error validating application. Application has been deleted.";
        for (event, code, message) in [
            (AppEvent::Deleted, 190, deleted),
            (AppEvent::Blocked, 200, "API access blocked."),
            (AppEvent::SecretReset { secret: "x".to_owned() }, 190, "Invalid OAuth access token signature."),
        ] {
            let mut world = world();
            let input = world.issue_long_user(ADA, &[], NOW);
            let developer = world.issue_long_user(BOB, &[], NOW);
            let reset = matches!(event, AppEvent::SecretReset { .. });
            world.app_event(APP, event, NOW);
            let answer = debug(&mut world, &input, NOW);
            assert_eq!(error(&answer), (400, code, None, message.to_owned()));
            let by_user = format!("/debug_token?input_token={input}&access_token={developer}");
            let subcode = error(&get(&mut world, &by_user, NOW)).2;
            assert_eq!(subcode, reset.then_some(460));
        }
        let mut world = world();
        world.app_event(APP, AppEvent::Blocked, NOW);
        world.app_event(APP, AppEvent::Unblocked, NOW);
        assert_eq!(world.app_mut(APP).map(|app| app.state), Some(AppState::Live));
    }

    #[test]
    fn a_native_app_has_no_app_token() {
        let mut world = world();
        let input = world.issue_long_user(ADA, &[], NOW);
        if let Some(app) = world.app_mut(APP) {
            app.native = true;
        }
        let answer = debug(&mut world, &input, NOW);
        assert_eq!(error(&answer), (400, 100, None, NOT_PRIVILEGED.to_owned()));
        let me = get(&mut world, &format!("/me?access_token={}", app_token()), NOW);
        assert_eq!(error(&me).1, 104);
    }

    #[test]
    fn app_tokens_have_no_dates() {
        let mut world = world();
        let answer = debug(&mut world, &app_token(), NOW);
        assert_eq!(answer.0, 200);
        assert_eq!(fields(&answer.1["data"]), ["app_id", "application", "is_valid", "scopes", "type"]);
        let other = format!("{OTHER_APP}|ffffffffffffffffffffffffffffffff");
        assert_eq!(error(&debug(&mut world, &other, NOW)).3, FOREIGN);
        let (status, wrong) = debug(&mut world, &format!("{APP}|x"), NOW);
        assert_eq!((status, &wrong["data"]["is_valid"]), (200, &json!(false)));
    }

    #[test]
    fn granular_scopes_take_every_form() {
        let mut world = world();
        let token = system_token(&mut world);
        for (granular, wire) in [
            (GranularScopes::Null, json!(null)),
            (GranularScopes::Listed(vec![GranularScope::all("a")]), json!([{"scope": "a"}])),
            (
                GranularScopes::Listed(vec![
                    GranularScope::of("a", &["7"]),
                    GranularScope { scope: "b".to_owned(), targets: Targets::Null },
                ]),
                json!([{"scope": "a", "target_ids": ["7"]}, {"scope": "b", "target_ids": null}]),
            ),
        ] {
            world.set_granular_scopes(&token, granular);
            let (_, answer) = debug(&mut world, &token, NOW);
            assert_eq!(answer["data"].get("granular_scopes"), Some(&wire));
        }
        world.set_granular_scopes(&token, GranularScopes::Absent);
        assert!(debug(&mut world, &token, NOW).1["data"].get("granular_scopes").is_none());
    }

    #[test]
    fn ids_can_be_numbers() {
        let mut world = world();
        let token = system_token(&mut world);
        world.set_granular_scopes(&token, GranularScopes::Listed(vec![GranularScope::of("a", &["7"])]));
        world.switches.ids_as_numbers = true;
        let (_, answer) = debug(&mut world, &token, NOW);
        assert_eq!(answer["data"]["user_id"], 104_160_000_000_001_u64);
        assert_eq!(answer["data"]["granular_scopes"][0]["target_ids"], json!([7]));
    }

    #[test]
    fn proofs_are_judged_when_sent_and_wanted_when_required() {
        let missing = "API calls from the server require an appsecret_proof argument";
        let invalid = "Invalid appsecret_proof provided in the API argument";
        let caller = app_token();
        let classic = appsecret_proof(SECRET, &caller);
        let timed = |at: i64| {
            let proof = appsecret_proof(SECRET, &format!("{caller}|{at}"));
            format!("&appsecret_proof={proof}&appsecret_time={at}")
        };
        for (required, proof, message) in [
            (false, String::new(), ""),
            (true, String::new(), missing),
            (true, format!("&appsecret_proof={classic}"), ""),
            (false, format!("&appsecret_proof={classic}"), ""),
            (false, "&appsecret_proof=00".to_owned(), invalid),
            (true, timed(NOW - 300), ""),
            (true, timed(NOW + 300), ""),
            (true, timed(NOW - 301), invalid),
            (true, format!("&appsecret_proof={classic}&appsecret_time={NOW}"), invalid),
        ] {
            let mut world = world();
            let input = world.issue_long_user(ADA, &[], NOW);
            if let Some(app) = world.app_mut(APP) {
                app.require_app_secret = required;
            }
            let target = format!("/debug_token?input_token={input}&access_token={caller}{proof}");
            let answer = get(&mut world, &target, NOW);
            assert_eq!(error(&answer).3, message, "{proof}");
            if !message.is_empty() {
                assert_eq!(answer.1["error"]["type"], "GraphMethodException");
            }
        }
    }
}
