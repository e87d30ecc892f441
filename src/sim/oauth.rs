//! `/oauth/access_token` and `/oauth/revoke`: exchange, refresh, app tokens, revocation (§3).
//! Must never touch the input token of an exchange that gives a new string: the old one lives to its own end.

use serde_json::{Map, Value, json};

use super::answers::GraphError;
use super::respond::{Call, Holder, Undecoded, unknown_app, unparsable};
use super::switches::{ExpiresIn, Reexchange, UnknownApp};
use super::token::{LONG_LIFE, Token, TokenKind};
use super::world::{App, World};

/// The documented answer states 5183944 for 60 days (§3.2, D3): the age of the token when the answer is written.
const ANSWER_LAG: i64 = 56;

impl World {
    pub(super) fn access_token(&mut self, call: &mut Call<'_>) -> Result<Value, GraphError> {
        let app = self.client(call)?.clone();
        match call.request.param("grant_type") {
            Some("fb_exchange_token") => self.exchange(call, &app),
            Some("client_credentials") => Ok(json!({"access_token": app.returned_token(), "token_type": "bearer"})),
            Some(other) => Err(GraphError::new(100, format!("(#100) Unsupported grant_type: {other}"))),
            None => Err(GraphError::missing("grant_type")),
        }
    }

    pub(super) fn oauth_revoke(&mut self, call: &mut Call<'_>) -> Result<Value, GraphError> {
        let app = self.client(call)?.id.clone();
        let caller = self.authenticate(call)?;
        let request = call.request;
        let string = request.param("revoke_token").ok_or_else(|| GraphError::missing("revoke_token"))?;
        let subject = self.input_token(string, &app)?;
        if caller.app != app {
            return Err(GraphError::foreign_app());
        }
        if let Some(error) = subject.defect(&self.switches, call.now) {
            return Err(error);
        }
        self.revoke(string, call.now);
        Ok(if self.switches.revoke_says_true { json!({"success": true}) } else { json!({"success": "true"}) })
    }

    /// The app that proves itself with id and secret (§3.5). A wrong secret is code 1, which elsewhere means "retry".
    fn client(&self, call: &Call<'_>) -> Result<&App, GraphError> {
        let request = call.request;
        let id = request.param("client_id").ok_or_else(|| GraphError::new(101, "Missing client_id parameter."))?;
        if !self.apps.contains_key(id) {
            return Err(unknown_app(UnknownApp::InvalidId101));
        }
        let app = self.living_app(id)?;
        if request.param("client_secret") == Some(&app.secret) {
            return Ok(app);
        }
        let error = GraphError::new(1, "Error validating client secret.");
        Err(if self.switches.wrong_secret_subcode { error.subcode(33) } else { error })
    }

    /// The token an endpoint works on. The wording for another app's token is unknown (§3.5, tag U).
    fn input_token(&self, string: &str, app: &str) -> Result<Token, GraphError> {
        let invalid = || GraphError::new(190, "Invalid OAuth access token.");
        let subject = self.decode(string).map_err(|undecoded| match undecoded {
            Undecoded::Garbage => unparsable(string),
            Undecoded::Refused(error) => error,
        })?;
        match subject.holder {
            Holder::Token(token) if subject.app == app => Ok(token),
            Holder::Token(_) | Holder::App | Holder::IgnoredApp => Err(invalid()),
        }
    }

    fn exchange(&mut self, call: &Call<'_>, app: &App) -> Result<Value, GraphError> {
        let request = call.request;
        let string = request.param("fb_exchange_token").ok_or_else(|| GraphError::missing("fb_exchange_token"))?;
        let input = self.input_token(string, &app.id)?;
        if let Some(error) = input.defect(&self.switches, call.now) {
            return Err(error);
        }
        match input.kind {
            TokenKind::ShortUser | TokenKind::ApiSetup => Ok(self.give(self.lengthened(input, call.now), call.now)),
            TokenKind::LongUser => Ok(self.reexchange(string, input, call.now)),
            TokenKind::SystemUser => self.refresh_system_user(call, input),
            // Nothing to gain: it has no date of its own, or only its parent's.
            TokenKind::Page { .. } => Ok(self.answer(string, &input, call.now)),
        }
    }

    fn reexchange(&mut self, string: &str, input: Token, now: i64) -> Value {
        match self.switches.reexchange {
            Reexchange::Unchanged => self.answer(string, &input, now),
            Reexchange::Extends => {
                let token = self.lengthened(input, now);
                if self.switches.same_string {
                    let answer = self.answer(string, &token, now);
                    self.tokens.insert(string.to_owned(), token);
                    answer
                } else {
                    self.give(token, now)
                }
            }
        }
    }

    /// A fresh 60 days; the data window runs on, since only the person's own activity renews it (§2.4).
    fn lengthened(&self, input: Token, now: i64) -> Token {
        let never = self.switches.expires_in == ExpiresIn::AbsentAndNever;
        Token { kind: TokenKind::LongUser, issued_at: now, expires_at: (!never).then_some(now + LONG_LIFE), ..input }
    }

    fn refresh_system_user(&mut self, call: &Call<'_>, input: Token) -> Result<Value, GraphError> {
        let sixty_days = call.request.param("set_token_expires_in_60_days") == Some("true");
        if !sixty_days && self.switches.system_tokens_must_expire {
            // The code of this refusal is not given (§3.4).
            return Err(GraphError::missing("set_token_expires_in_60_days"));
        }
        let token = Token { issued_at: call.now, expires_at: sixty_days.then_some(call.now + LONG_LIFE), ..input };
        Ok(self.give(token, call.now))
    }

    fn give(&mut self, token: Token, now: i64) -> Value {
        let string = self.keep(token.clone());
        self.answer(&string, &token, now)
    }

    fn answer(&self, string: &str, token: &Token, now: i64) -> Value {
        let mut answer = Map::new();
        answer.insert("access_token".to_owned(), json!(string));
        answer.insert("token_type".to_owned(), json!("bearer"));
        if self.switches.expires_in == ExpiresIn::Stated
            && let Some(at) = token.expires_at
        {
            let left = (at - now - ANSWER_LAG).max(0);
            answer.insert("expires_in".to_owned(), json!(left));
        }
        Value::Object(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{
        ADA, APP, MACHINE, NOW, SCOPES, SECRET, STRANGER, app_token, debug, error, get, system_token, world,
    };
    use super::super::token::{Event, Lifetime};
    use serde_json::{Value, json};

    use super::{ANSWER_LAG, ExpiresIn, LONG_LIFE, Reexchange, World};

    const LATER: i64 = NOW + 30 * 86_400;

    fn exchange(world: &mut World, token: &str, extra: &str, now: i64) -> (u16, Value) {
        let target = format!(
            "/v25.0/oauth/access_token?grant_type=fb_exchange_token&client_id={APP}&client_secret={SECRET}&fb_exchange_token={token}{extra}"
        );
        get(world, &target, now)
    }

    fn new_token(answer: &(u16, Value)) -> String {
        answer.1["access_token"].as_str().unwrap_or_default().to_owned()
    }

    fn expires_at(world: &World, token: &str) -> Option<i64> {
        world.token(token).and_then(|token| token.expires_at)
    }

    #[test]
    fn a_short_token_becomes_a_long_one_and_stays_valid() {
        let mut world = world();
        let short = world.issue_short_user(ADA, &["public_profile"], NOW);
        let answer = exchange(&mut world, &short, "", NOW + 60);
        let long = new_token(&answer);
        assert_eq!(answer.1["expires_in"], 5_183_944);
        assert_eq!(answer.1["token_type"], "bearer");
        assert_ne!(short, long);
        let (_, report) = debug(&mut world, &long, NOW + 60);
        assert_eq!(report["data"]["expires_at"], NOW + 60 + LONG_LIFE);
        assert_eq!(report["data"]["issued_at"], NOW + 60);
        assert_eq!(report["data"]["data_access_expires_at"], NOW + 7_776_000);
        assert_eq!(debug(&mut world, &short, NOW + 60).1["data"]["is_valid"], true);
    }

    #[test]
    fn a_reexchange_follows_its_switches() {
        for (reexchange, same_string, keeps_string, until) in [
            (Reexchange::Extends, false, false, LATER + LONG_LIFE),
            (Reexchange::Extends, true, true, LATER + LONG_LIFE),
            (Reexchange::Unchanged, false, true, NOW + LONG_LIFE),
        ] {
            let mut world = world();
            world.switches.reexchange = reexchange;
            world.switches.same_string = same_string;
            let long = world.issue_long_user(ADA, &[], NOW);
            let answer = exchange(&mut world, &long, "", LATER);
            let given = new_token(&answer);
            assert_eq!(given == long, keeps_string);
            assert_eq!(answer.1["expires_in"], until - LATER - ANSWER_LAG);
            assert_eq!(expires_at(&world, &given), Some(until));
            assert_eq!(debug(&mut world, &long, LATER).1["data"]["is_valid"], true);
        }
    }

    #[test]
    fn expires_in_may_be_absent() {
        for (switch, until) in [(ExpiresIn::Absent, Some(NOW + LONG_LIFE)), (ExpiresIn::AbsentAndNever, None)] {
            let mut world = world();
            world.switches.expires_in = switch;
            let short = world.issue_short_user(ADA, &[], NOW);
            let answer = exchange(&mut world, &short, "", NOW);
            assert!(answer.1.get("expires_in").is_none());
            assert_eq!(expires_at(&world, &new_token(&answer)), until);
        }
    }

    #[test]
    fn a_system_user_refresh_leaves_the_old_token_its_own_end() {
        let mut world = world();
        let old = world.issue_system_user(MACHINE, &SCOPES, Lifetime::SixtyDays, NOW);
        let answer = exchange(&mut world, &old, "&set_token_expires_in_60_days=true", LATER);
        let new = new_token(&answer);
        assert_ne!(old, new);
        assert_eq!(expires_at(&world, &new), Some(LATER + LONG_LIFE));
        assert_eq!(expires_at(&world, &old), Some(NOW + LONG_LIFE));

        let revoke =
            format!("/oauth/revoke?client_id={APP}&client_secret={SECRET}&revoke_token={old}&access_token={new}");
        assert_eq!(get(&mut world, &revoke, LATER), (200, json!({"success": "true"})));
        assert_eq!(debug(&mut world, &old, LATER).1["data"]["error"]["subcode"], 467);
        assert_eq!(debug(&mut world, &new, LATER).1["data"]["is_valid"], true);
        assert_eq!(error(&get(&mut world, &revoke, LATER)).2, Some(467), "only once");
    }

    #[test]
    fn some_businesses_must_use_expiring_tokens() {
        let mut world = world();
        let never = system_token(&mut world);
        let answer = exchange(&mut world, &never, "", NOW);
        assert_eq!((answer.0, expires_at(&world, &new_token(&answer))), (200, None));
        world.switches.system_tokens_must_expire = true;
        assert_eq!(exchange(&mut world, &never, "", NOW).0, 400);
        assert_eq!(exchange(&mut world, &never, "&set_token_expires_in_60_days=false", NOW).0, 400);
        assert_eq!(exchange(&mut world, &never, "&set_token_expires_in_60_days=true", NOW).0, 200);
    }

    #[test]
    fn failures_of_the_exchange_have_their_codes() {
        let mut world = world();
        let long = world.issue_long_user(ADA, &[], NOW);
        let foreign = world.issue_long_user(STRANGER, &[], NOW);
        let gone = world.issue_long_user(MACHINE, &[], NOW);
        world.user_event(MACHINE, Event::Deauthorized, NOW);
        let grant = "grant_type=fb_exchange_token";
        let client = format!("client_id={APP}&client_secret={SECRET}");
        for (query, code, subcode, message) in [
            (
                format!("{grant}&client_id={APP}&client_secret=x&fb_exchange_token={long}"),
                1,
                None,
                "Error validating client secret.",
            ),
            (
                format!("{grant}&client_id=9&client_secret=x&fb_exchange_token={long}"),
                101,
                None,
                "Error validating application. Invalid application ID.",
            ),
            (
                format!("{grant}&client_secret={SECRET}&fb_exchange_token={long}"),
                101,
                None,
                "Missing client_id parameter.",
            ),
            (
                format!("{grant}&{client}&fb_exchange_token={gone}"),
                190,
                Some(458),
                "Error validating access token: The user has not authorized application 634900000000001.",
            ),
            (
                format!("{grant}&{client}&fb_exchange_token=EAAx"),
                190,
                None,
                "Invalid OAuth access token - Cannot parse access token",
            ),
            (format!("{grant}&{client}&fb_exchange_token=a.b"), 190, None, "Malformed access token a.b"),
            (format!("{grant}&{client}&fb_exchange_token={foreign}"), 190, None, "Invalid OAuth access token."),
            (format!("{grant}&{client}"), 100, None, "(#100) The parameter fb_exchange_token is required"),
            (format!("{client}&fb_exchange_token={long}"), 100, None, "(#100) The parameter grant_type is required"),
            (format!("grant_type=x&{client}"), 100, None, "(#100) Unsupported grant_type: x"),
        ] {
            let answer = get(&mut world, &format!("/oauth/access_token?{query}"), NOW);
            assert_eq!(error(&answer), (400, code, subcode, message.to_owned()));
        }
        let late = exchange(&mut world, &long, "", NOW + LONG_LIFE);
        assert_eq!(error(&late).2, Some(463));
    }

    #[test]
    fn client_credentials_give_a_lasting_app_token() {
        let mut world = world();
        let target =
            format!("/oauth/access_token?grant_type=client_credentials&client_id={APP}&client_secret={SECRET}");
        let answer = get(&mut world, &target, NOW);
        let token = new_token(&answer);
        assert!(answer.1.get("expires_in").is_none());
        assert_ne!(token, app_token());
        assert_eq!(token.len(), APP.len() + 28);
        let me = get(&mut world, &format!("/me?access_token={token}"), NOW);
        assert_eq!(me, (200, json!({"id": APP, "name": "Demo"})));
    }
}
