//! The WhatsApp endpoints: numbers, accounts, webhook subscriptions, and sending a test message (§9).
//! Must never let a scope alone open an account: the user must also be assigned to it (§10).

use serde_json::{Value, json};

use super::answers::GraphError;
use super::nodes::{paged, select};
use super::respond::{Call, Caller, Holder};
use super::token::{ALPHANUMERIC, Token, stretch};
use super::usage::Spent;
use super::waba::{CanSend, Health, PhoneNumber, SentMessage, TemplateState};
use super::world::World;

const MANAGEMENT: &str = "whatsapp_business_management";
const MESSAGING: &str = "whatsapp_business_messaging";

/// Endpoints.
impl World {
    pub(super) fn is_whatsapp_node(&self, id: &str) -> bool {
        self.numbers.contains_key(id) || self.wabas.contains_key(id)
    }

    pub(super) fn whatsapp_node(&mut self, call: &mut Call<'_>, id: &str) -> Result<Value, GraphError> {
        let caller = self.authenticate_whatsapp(call)?;
        let fields = call.request.param("fields");
        if let Some(number) = self.numbers.get(id) {
            self.may_read(&caller, &number.waba, id, call)?;
            deleted(number)?;
            let default = ["verified_name", "display_phone_number", "quality_rating", "id"];
            return select(fields, &default, "WhatsAppBusinessPhoneNumber", |field| match field {
                "health_status" => Some(self.health_status(&caller, &number.waba, Some(number))),
                _ => number.field(field),
            });
        }
        self.may_read(&caller, id, id, call)?;
        self.spend_waba_call(call, &caller, id)?;
        select(fields, &["id", "name"], "WhatsAppBusinessAccount", |field| self.waba_field(&caller, id, field))
    }

    pub(super) fn phone_numbers(&mut self, call: &mut Call<'_>, waba: &str) -> Result<Value, GraphError> {
        let caller = self.managed_waba(call, waba)?;
        let fields = call.request.param("fields");
        let default = ["verified_name", "display_phone_number", "quality_rating", "id"];
        let own = self.numbers.values().filter(|number| number.waba == waba);
        let mut items = Vec::new();
        for number in own {
            let item = select(fields, &default, "WhatsAppBusinessPhoneNumber", |field| number.field(field))?;
            items.push((number.id.clone(), item));
        }
        paged(call, &caller, items)
    }

    pub(super) fn subscribed_apps(&mut self, call: &mut Call<'_>, id: &str) -> Result<Value, GraphError> {
        let caller = self.managed_waba(call, id)?;
        let Some(waba) = self.wabas.get_mut(id) else {
            return Err(GraphError::no_such_object(&call.request.method, id));
        };
        match call.request.method.as_str() {
            "POST" => {
                waba.subscribed_apps.insert(caller.app);
                return Ok(json!({"success": true}));
            }
            "DELETE" => {
                waba.subscribed_apps.remove(&caller.app);
                return Ok(json!({"success": true}));
            }
            _ => {}
        }
        let subscribed = waba.subscribed_apps.iter().filter_map(|id| self.apps.get(id));
        let data: Vec<Value> = subscribed
            .map(|app| {
                let link = format!("https://www.facebook.com/games/?app_id={}", app.id);
                json!({"whatsapp_business_api_data": {"id": app.id, "name": app.name, "link": link}})
            })
            .collect();
        Ok(json!({ "data": data }))
    }

    pub(super) fn send_message(&mut self, call: &mut Call<'_>, id: &str) -> Result<Value, GraphError> {
        let caller = self.authenticate_whatsapp(call)?;
        let Some(number) = self.numbers.get(id) else {
            return Err(GraphError::no_such_object(&call.request.method, id));
        };
        deleted(number)?;
        self.may_send(&caller, &number.waba)?;
        let message = Message::parse(call.request.json.as_ref().unwrap_or(&Value::Null))?;
        let held = self.accepts(number, &message)? == Some(TemplateState::Held);
        let serial = self.sent.len() + 1;
        let wamid = format!("wamid.{}", stretch(&format!("{id} {serial}"), ALPHANUMERIC, 44));
        let mut accepted = json!({"id": wamid});
        if matches!(message.content, Content::Template { .. }) {
            accepted["message_status"] = json!(if held { "held_for_quality_assessment" } else { "accepted" });
        }
        let answer = json!({
            "messaging_product": "whatsapp",
            "contacts": [{"input": message.to, "wa_id": message.to.trim_start_matches('+')}],
            "messages": [accepted],
        });
        if !held {
            self.sent.push(SentMessage {
                from: id.to_owned(),
                to: message.to.to_owned(),
                kind: message.content.kind().to_owned(),
                id: wamid,
            });
        }
        Ok(answer)
    }
}

/// Access.
impl World {
    /// WhatsApp answers a dead token with 401 where core Graph says 400 (§6.1).
    fn authenticate_whatsapp(&mut self, call: &mut Call<'_>) -> Result<Caller, GraphError> {
        let as_400 = self.switches.whatsapp_auth_as_400;
        self.authenticate(call).map_err(|error| match error.code {
            190 if !as_400 => error.status(401),
            _ => error,
        })
    }

    fn managed_waba(&mut self, call: &mut Call<'_>, waba: &str) -> Result<Caller, GraphError> {
        let caller = self.authenticate_whatsapp(call)?;
        self.may_read(&caller, waba, waba, call)?;
        self.spend_waba_call(call, &caller, waba)?;
        Ok(caller)
    }

    /// An account that is not shared with the token looks as if it did not exist (§9.1); a missing scope is named.
    fn may_read(&self, caller: &Caller, waba: &str, id: &str, call: &Call<'_>) -> Result<(), GraphError> {
        let hidden = || GraphError::no_such_object(&call.request.method, id);
        let Holder::Token(token) = &caller.holder else {
            return Err(hidden());
        };
        if !self.is_assigned(token, waba) {
            return Err(hidden());
        }
        if !token.has_scope(MANAGEMENT) {
            return Err(no_permission());
        }
        if token.covers(MANAGEMENT, waba) { Ok(()) } else { Err(hidden()) }
    }

    /// On use the same lack is code 200: the user has no access to the asset (§2.3, §10).
    fn may_send(&self, caller: &Caller, waba: &str) -> Result<(), GraphError> {
        let Holder::Token(token) = &caller.holder else {
            return Err(no_permission());
        };
        if !token.has_scope(MESSAGING) {
            Err(no_permission())
        } else if self.is_assigned(token, waba) && token.covers(MESSAGING, waba) {
            Ok(())
        } else {
            let message = "(#200) You do not have the necessary permissions to send messages on behalf of this WhatsApp Business Account";
            Err(GraphError::new(200, message).status(403))
        }
    }

    fn is_assigned(&self, token: &Token, waba: &str) -> bool {
        let waba = self.wabas.get(waba);
        waba.is_some_and(|waba| waba.assigned_users.contains(&token.user))
    }

    fn spend_waba_call(&mut self, call: &mut Call<'_>, caller: &Caller, waba: &str) -> Result<(), GraphError> {
        let budget = self.wabas.get(waba).and_then(|waba| waba.calls_per_hour);
        let Some(budget) = budget else { return Ok(()) };
        let Spent { header, refusal } = self.usage.spend_waba(&caller.app, waba, budget, &self.switches, call.now);
        call.usage.extend(header);
        refusal.map_or(Ok(()), Err)
    }
}

/// Content.
impl World {
    fn waba_field(&self, caller: &Caller, id: &str, field: &str) -> Option<Value> {
        let waba = self.wabas.get(id)?;
        Some(match field {
            "id" => json!(waba.id),
            "name" => json!(waba.name),
            "status" => json!(waba.status),
            "account_review_status" => json!(waba.account_review_status),
            "business_verification_status" => json!(waba.business_verification_status),
            "health_status" => self.health_status(caller, id, None),
            _ => return None,
        })
    }

    /// WABA, BUSINESS and APP always, the number when it is asked; the worst of them is the whole (§9.3).
    fn health_status(&self, caller: &Caller, waba: &str, number: Option<&PhoneNumber>) -> Value {
        let mut parts: Vec<(&str, &str, &Health)> = Vec::new();
        if let Some(number) = number {
            parts.push(("PHONE_NUMBER", &number.id, &number.health));
        }
        if let Some(waba) = self.wabas.get(waba) {
            parts.push(("WABA", &waba.id, &waba.health));
            parts.push(("BUSINESS", &waba.business, &waba.business_health));
        }
        if let Some(app) = self.apps.get(&caller.app) {
            parts.push(("APP", &app.id, &app.health));
        }
        let worst = parts.iter().map(|(_, _, health)| health.can_send).max();
        let entities: Vec<Value> = parts.iter().map(|(kind, id, health)| health.entity(kind, id)).collect();
        json!({
            "can_send_message": worst.unwrap_or(CanSend::Available).wire(),
            "entities": entities,
        })
    }

    /// How the template of an accepted message stands.
    fn accepts(&self, number: &PhoneNumber, message: &Message<'_>) -> Result<Option<TemplateState>, GraphError> {
        let waba = self.wabas.get(&number.waba);
        if !number.registered {
            return Err(failed(400, 133_010, "Account not registered"));
        }
        let healths = waba.iter().map(|waba| &waba.health);
        let blocked: Vec<&Health> =
            healths.chain([&number.health]).filter(|health| health.can_send == CanSend::Blocked).collect();
        let mut causes = blocked.iter().flat_map(|health| &health.errors);
        if causes.any(|error| error.code == 141_006) {
            return Err(failed(400, 131_042, "Business eligibility payment issue"));
        }
        if !blocked.is_empty() {
            return Err(failed(403, 131_031, "Business Account locked"));
        }
        if number.account_mode == "SANDBOX" && !number.allowed_recipients.contains(message.to) {
            return Err(failed(400, 131_030, "Recipient phone number not in allowed list"));
        }
        match message.content {
            Content::Text if !number.open_conversations.contains(message.to) => {
                Err(failed(400, 131_047, "Re-engagement message"))
            }
            Content::Text => Ok(None),
            Content::Template { name, language } => {
                let key = (name.to_owned(), language.to_owned());
                match waba.and_then(|waba| waba.templates.get(&key)) {
                    Some(state @ (TemplateState::Approved | TemplateState::Held)) => Ok(Some(*state)),
                    Some(TemplateState::Paused) => Err(failed(400, 132_015, "Template is Paused")),
                    Some(TemplateState::Disabled) => Err(failed(400, 132_016, "Template is Disabled")),
                    None => Err(failed(404, 132_001, "Template name does not exist in the translation")),
                }
            }
        }
    }
}

struct Message<'a> {
    to: &'a str,
    content: Content<'a>,
}

#[derive(Clone, Copy)]
enum Content<'a> {
    Text,
    Template { name: &'a str, language: &'a str },
}

impl Content<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Template { .. } => "template",
        }
    }
}

impl<'a> Message<'a> {
    fn parse(body: &'a Value) -> Result<Self, GraphError> {
        let text = |pointer: &str, name: &str| {
            let value = body.pointer(pointer).and_then(Value::as_str);
            value.filter(|value| !value.is_empty()).ok_or_else(|| GraphError::missing(name))
        };
        if text("/messaging_product", "messaging_product")? != "whatsapp" {
            return Err(GraphError::new(100, "(#100) Param messaging_product must be one of {WHATSAPP}"));
        }
        let to = text("/to", "to")?;
        let content = match body.get("type").and_then(Value::as_str) {
            None | Some("text") => {
                text("/text/body", "text['body']")?;
                Content::Text
            }
            Some("template") => Content::Template {
                name: text("/template/name", "template['name']")?,
                language: text("/template/language/code", "template['language']['code']")?,
            },
            Some(_) => {
                return Err(GraphError::new(100, "(#100) Param type must be one of {TEMPLATE, TEXT}"));
            }
        };
        Ok(Self { to, content })
    }
}

fn deleted(number: &PhoneNumber) -> Result<(), GraphError> {
    if number.status == "DELETED" {
        return Err(failed(400, 33, "The business phone number has been deleted."));
    }
    Ok(())
}

/// The status of codes 10 and 200 is not recorded; 403 as for their neighbour 131005 (§6.2).
fn no_permission() -> GraphError {
    GraphError::new(10, "(#10) Application does not have permission for this action").status(403)
}

/// WhatsApp's own form: the code in front of the message, details in `error_data` (§6.1).
fn failed(status: u16, code: i64, message: &str) -> GraphError {
    GraphError {
        error_data: Some(json!({"messaging_product": "whatsapp", "details": message})),
        ..GraphError::new(code, format!("(#{code}) {message}")).status(status)
    }
}

#[cfg(test)]
mod tests {
    use super::super::answers::Request;
    use super::super::fixture::{
        ADA, APP, MACHINE, NOW, NUMBER, SCOPES, WABA, error, fields, get, system_token, world,
    };
    use super::super::token::{GranularScope, GranularScopes};
    use serde_json::{Value, json};

    use super::{Health, PhoneNumber, World};

    fn send(world: &mut World, token: &str, body: Value) -> (u16, Value) {
        let path = format!("/v25.0/{NUMBER}/messages");
        let request = Request::new("POST", &path).with_bearer(token).with_json(body);
        let reply = world.respond(&request, NOW);
        (reply.status, reply.json())
    }

    fn template(name: &str) -> Value {
        json!({"messaging_product": "whatsapp", "to": "15550001111", "type": "template",
            "template": {"name": name, "language": {"code": "en_US"}}})
    }

    fn text() -> Value {
        json!({"messaging_product": "whatsapp", "to": "15550001111", "type": "text", "text": {"body": "hi"}})
    }

    #[test]
    fn a_number_tells_its_state_and_health() {
        let mut world = world();
        let token = system_token(&mut world);
        let target = format!("/v25.0/{NUMBER}?access_token={token}");
        let (status, default) = get(&mut world, &target, NOW);
        assert_eq!(status, 200);
        assert_eq!(fields(&default), ["display_phone_number", "id", "quality_rating", "verified_name"]);

        if let Some(waba) = world.waba_mut(WABA) {
            waba.health = Health::blocked(141_006, "No payment method", "Add one");
        }
        if let Some(number) = world.phone_number_mut(NUMBER) {
            number.health = Health::limited("Display name not approved");
        }
        let asked = format!("{target}&fields=status,account_mode,health_status");
        let (_, answer) = get(&mut world, &asked, NOW);
        let health = &answer["health_status"];
        assert_eq!(answer["status"], "CONNECTED");
        assert_eq!(health["can_send_message"], "BLOCKED");
        let kinds: Vec<&Value> = (0..4).map(|at| &health["entities"][at]["entity_type"]).collect();
        assert_eq!(kinds, ["PHONE_NUMBER", "WABA", "BUSINESS", "APP"]);
        assert_eq!(health["entities"][1]["errors"][0]["error_code"], 141_006);
        let (_, answer) = get(&mut world, &format!("/{WABA}?access_token={token}&fields=health_status"), NOW);
        assert_eq!(answer["health_status"]["entities"][0]["entity_type"], "WABA");
    }

    #[test]
    fn access_needs_scope_target_and_assignment() {
        let mut world = world();
        let unassigned = world.issue_long_user(ADA, &SCOPES, NOW);
        let unscoped = world.issue_long_user(MACHINE, &["public_profile"], NOW);
        let elsewhere = system_token(&mut world);
        let others = SCOPES.map(|scope| GranularScope::of(scope, &["7"]));
        world.set_granular_scopes(&elsewhere, GranularScopes::Listed(others.to_vec()));
        let dead = system_token(&mut world);
        world.revoke(&dead, NOW);
        for (token, read, write) in [
            (unassigned, (400, 100, Some(33)), (403, 200, None)),
            (unscoped, (403, 10, None), (403, 10, None)),
            (elsewhere, (400, 100, Some(33)), (403, 200, None)),
            (dead, (401, 190, Some(467)), (401, 190, Some(467))),
        ] {
            for target in [NUMBER.to_owned(), WABA.to_owned(), format!("{WABA}/phone_numbers")] {
                let answer = get(&mut world, &format!("/{target}?access_token={token}"), NOW);
                let (status, code, subcode, _) = error(&answer);
                assert_eq!((status, code, subcode), read, "{target}");
            }
            let (status, code, subcode, _) = error(&send(&mut world, &token, template("hello_world")));
            assert_eq!((status, code, subcode), write);
        }
        world.switches.whatsapp_auth_as_400 = true;
        let answer = get(&mut world, &format!("/{WABA}?access_token=EAAx"), NOW);
        assert_eq!(answer.0, 400);
    }

    #[test]
    fn edges_list_and_page() {
        let mut world = world();
        for at in 0..30 {
            world.add_phone_number(PhoneNumber::new(WABA, &format!("7{at:02}"), "+1", "Tea"));
        }
        let token = system_token(&mut world);
        let target = format!("/v25.0/{WABA}/phone_numbers?access_token={token}");
        let (_, first) = get(&mut world, &target, NOW);
        assert_eq!(first["data"].as_array().map(Vec::len), Some(25));
        let next = first["paging"]["next"].as_str().unwrap_or_default();
        assert!(next.contains(&token));
        let next = next.trim_start_matches("https://graph.facebook.com");
        let (_, second) = get(&mut world, next, NOW);
        assert_eq!(second["data"].as_array().map(Vec::len), Some(6));
        assert!(second["paging"].get("next").is_none());
        assert_eq!(get(&mut world, &format!("{target}&limit=101"), NOW).0, 400);
    }

    #[test]
    fn webhooks_are_subscribed_by_app() {
        let mut world = world();
        let token = system_token(&mut world);
        let target = format!("/{WABA}/subscribed_apps?access_token={token}");
        assert_eq!(get(&mut world, &target, NOW).1, json!({"data": []}));
        let done = world.respond(&Request::new("POST", &target), NOW);
        assert_eq!(done.json(), json!({"success": true}));
        let listed = get(&mut world, &target, NOW).1;
        assert_eq!(listed["data"][0]["whatsapp_business_api_data"]["id"], APP);
        world.respond(&Request::new("DELETE", &target), NOW);
        assert_eq!(get(&mut world, &target, NOW).1, json!({"data": []}));
    }

    #[test]
    fn messages_are_accepted_or_fail_with_their_code() {
        let change = |act: fn(&mut World)| act;
        for (prepare, body, status, code) in [
            (change(|_| {}), template("hello_world"), 200, 0),
            (change(|_| {}), template("nonesuch"), 404, 132_001),
            (change(|_| {}), text(), 400, 131_047),
            (change(|_| {}), json!({}), 400, 100),
            (change(|world| on_number(world, |number| number.registered = false)), text(), 400, 133_010),
            (change(|world| on_number(world, |number| number.status = "DELETED".to_owned())), text(), 400, 33),
            (
                change(|world| on_number(world, |number| number.account_mode = "SANDBOX".to_owned())),
                text(),
                400,
                131_030,
            ),
            (
                change(|world| on_number(world, |number| number.health = Health::blocked(141_014, "", ""))),
                text(),
                403,
                131_031,
            ),
            (
                change(|world| on_number(world, |number| number.health = Health::blocked(141_006, "", ""))),
                text(),
                400,
                131_042,
            ),
        ] {
            let mut world = world();
            prepare(&mut world);
            let token = system_token(&mut world);
            let answer = send(&mut world, &token, body);
            assert_eq!((answer.0, error(&answer).1), (status, code));
            assert_eq!(world.sent_messages().len(), usize::from(code == 0));
            if code == 0 {
                assert_eq!(answer.1["messages"][0]["message_status"], "accepted");
            } else if code > 100 {
                assert!(answer.1["error"]["error_data"]["details"].is_string());
                assert!(error(&answer).3.starts_with(&format!("(#{code}) ")));
            }
        }
    }

    #[test]
    fn an_account_has_a_budget_of_its_own() {
        let mut world = world();
        if let Some(waba) = world.waba_mut(WABA) {
            waba.calls_per_hour = Some(1);
        }
        let token = system_token(&mut world);
        let target = format!("/{WABA}?access_token={token}");
        assert_eq!(get(&mut world, &target, NOW).0, 200);
        let reply = world.respond(&Request::get(&target), NOW + 60);
        assert_eq!(error(&(reply.status, reply.json())).1, 80_008);
        let usage = reply.header("x-business-use-case-usage").unwrap_or_default();
        assert!(usage.contains(&format!("{{\"{WABA}\":")), "{usage}");
        assert!(usage.contains("\"estimated_time_to_regain_access\":60"), "{usage}");
        world.switches.throttled_as_429 = true;
        world.switches.throttled_as_80007 = true;
        let answer = get(&mut world, &target, NOW + 60);
        assert_eq!((answer.0, error(&answer).1), (429, 80_007));
    }

    fn on_number(world: &mut World, act: fn(&mut PhoneNumber)) {
        world.phone_number_mut(NUMBER).into_iter().for_each(act);
    }
}
