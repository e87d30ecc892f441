//! 360dialog, after §2.4 of the reference: the health of a number as a check of its key, with every odd refusal that is
//! documented, and the hub's partner API, where a new key ends the old ones at once.
//!
//! One page stands for the cloud host and the hub, since their paths differ. It never sends a message, never changes a
//! webhook, never says that a key expires, and does not serve the retired on-premise host.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::spelling::{ALPHANUMERIC, drawn};
use super::{Asked, Page, Said};

/// The partner with its channels.
pub struct Dialog360 {
    /// The partner's id; it ends in `PA`.
    pub partner: String,
    /// The partner's key for the hub; `None` once it was revoked.
    pub partner_key: Option<String>,
    /// User name and password of the hub's older way.
    pub user: (String, String),
    /// The hub still takes bearer tokens, which are being phased out.
    pub bearer_accepted: bool,
    /// The partner's channels: one a phone number.
    pub channels: Vec<Channel>,
    /// How the cloud host spells a refusal.
    pub envelope: Envelope,
    /// The code inside a 401's `meta`; the documented sample has 404 there.
    pub unauthorized_code: u16,
    /// The cloud host says this to everybody, whatever the key.
    pub trouble: Option<Trouble>,
    /// The hub says this status to everybody.
    pub hub_broken: Option<u16>,
    /// What a new key that the API makes does to the old ones.
    pub old_keys: OldKeys,
    /// `GET /v1/configs/webhook` is served; the documents do not show it.
    pub webhook_readable: bool,
    /// `GET /multi_webhook` answers 409.
    pub multi_webhook_conflict: bool,
    bearers: BTreeMap<String, i64>,
    /// Every secret that ever existed, to notice one in an address.
    issued: Vec<String>,
    seed: String,
    made: u64,
}

/// One phone number.
#[derive(Clone, PartialEq, Debug)]
pub struct Channel {
    /// Its id in the hub.
    pub id: String,
    /// The client has shared it with the partner.
    pub shared: bool,
    /// Its living keys.
    pub keys: Vec<Key>,
    /// Its number, as a field beside the health.
    pub display_phone_number: String,
    /// Whether it can send.
    pub health: Health,
    /// The cloud host says this to this channel, once the key was found good.
    pub trouble: Option<Trouble>,
    app: String,
}

/// A key of a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// The key: 26 letters and digits, `AK` at the end.
    pub secret: String,
}

/// The health of a number: of the whole, and of each part.
#[derive(Clone, PartialEq, Debug)]
pub struct Health {
    /// `AVAILABLE`, `LIMITED` or `BLOCKED` [U].
    pub can_send_message: String,
    /// The number, its WABA, the business and the app.
    pub entities: Vec<Entity>,
}

/// One part of a number's health.
#[derive(Clone, PartialEq, Debug)]
pub struct Entity {
    /// `PHONE_NUMBER`, `WABA`, `BUSINESS` or `APP`.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// `AVAILABLE`, `LIMITED` or `BLOCKED` [U].
    pub can_send_message: String,
    /// The same for calls; absent where `None`.
    pub can_receive_call_sip: Option<String>,
    /// Code, description and solution of each trouble [U]; absent where there is none.
    pub errors: Vec<(u32, String, String)>,
}

/// The fate of a number's old keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OldKeys {
    /// They end at once: documented for the hub's button, assumed for the API.
    Killed,
    /// They live on, as nothing says that they do not.
    Kept,
}

/// How the cloud host spells a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Envelope {
    /// `{"error":"…"}`, of the newer documents.
    Error,
    /// `{"meta":{"success","http_code","developer_message"}}`, of the old gateway.
    MetaSnake,
    /// `{"meta":{"success","httpCode","developerMessage"}}`, of the old gateway's documented sample.
    MetaCamel,
}

/// What the cloud host may say beside its answer. None of it means that the key is dead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// 400: the API is disabled.
    ApiDisabled,
    /// 400: one request in so many seconds.
    RateLimited(u32),
    /// 400: messaging is stopped, since invoices are not paid.
    Unpaid,
    /// 403: the path is blocked.
    PathBlocked,
    /// 403 of Meta, code 368 and its like.
    Integrity(u32),
    /// 429, in JSON.
    TooMany,
    /// 429, in plain text.
    TooManyPlain,
    /// 500.
    Internal,
    /// 502: the service behind is not available.
    Unavailable,
    /// An error of Meta that is passed through, with its status and its code.
    Meta(u16, u32),
    /// Some status with a body that is no JSON.
    Odd(u16),
}

impl Dialog360 {
    /// A partner without channels, its key alive.
    pub fn new(seed: &str) -> Self {
        let mut page = Self {
            partner: String::new(),
            partner_key: None,
            user: ("partner@example.com".to_owned(), String::new()),
            bearer_accepted: true,
            channels: Vec::new(),
            envelope: Envelope::Error,
            unauthorized_code: 404,
            trouble: None,
            hub_broken: None,
            old_keys: OldKeys::Killed,
            webhook_readable: true,
            multi_webhook_conflict: false,
            bearers: BTreeMap::new(),
            issued: vec![WEBHOOK_SECRET.to_owned()],
            seed: seed.to_owned(),
            made: 0,
        };
        page.partner = format!("{}PA", page.letters(8));
        // Not sourced: the shape of a partner's key.
        page.partner_key = Some(page.secret("", 40, ""));
        page.user.1 = page.secret("", 20, "");
        page
    }

    /// A new phone number, healthy and shared with the partner: the channel's id and its first key.
    pub fn add_channel(&mut self) -> (String, String) {
        // Not sourced: the shape of a channel's id.
        let id = format!("{}CH", self.letters(8));
        let waba = format!("{}WA", self.letters(8));
        let number = self.channels.len();
        let entity = |kind, id: String| Entity {
            kind,
            id,
            can_send_message: AVAILABLE.to_owned(),
            can_receive_call_sip: None,
            errors: Vec::new(),
        };
        let mut phone = entity("PHONE_NUMBER", format!("1000000000{number:05}"));
        phone.can_receive_call_sip = Some(AVAILABLE.to_owned());
        let entities = vec![
            phone,
            entity("WABA", waba),
            entity("BUSINESS", "300000000000003".to_owned()),
            entity("APP", "400000000000004".to_owned()),
        ];
        let app = format!("{}", 500_000 + number);
        self.channels.push(Channel {
            id: id.clone(),
            shared: true,
            keys: Vec::new(),
            display_phone_number: format!("+49 30 5550{number:04}"),
            health: Health { can_send_message: AVAILABLE.to_owned(), entities },
            trouble: None,
            app,
        });
        let key = self.add_key(number);
        (id, key.secret)
    }

    /// A channel that exists.
    pub fn channel_mut(&mut self, id: &str) -> &mut Channel {
        self.channels.iter_mut().find(|channel| channel.id == id).expect("the channel exists")
    }

    /// The button of the hub: every key of the number is revoked, and the new one is shown once.
    pub fn generate_in_hub(&mut self, channel: &str) -> String {
        let at = self.channels.iter().position(|known| known.id == channel).expect("the channel exists");
        self.channels[at].keys.clear();
        self.add_key(at).secret
    }

    /// Every key of the number is revoked, and none made.
    pub fn revoke_keys(&mut self, channel: &str) {
        self.channel_mut(channel).keys.clear();
    }

    /// The partner's key for the hub is replaced; the old one is dead.
    pub fn replace_partner_key(&mut self) -> String {
        let key = self.secret("", 40, "");
        self.partner_key = Some(key.clone());
        key
    }

    /// The number is `AVAILABLE`, `LIMITED`, `BLOCKED` or something new, as a whole and in one of its parts; the key
    /// stays good.
    pub fn set_health(&mut self, channel: &str, entity_type: &str, can_send: &str) {
        let health = &mut self.channel_mut(channel).health;
        can_send.clone_into(&mut health.can_send_message);
        let entity = health.entities.iter_mut().find(|entity| entity.kind == entity_type);
        let entity = entity.expect("it is one of the four");
        can_send.clone_into(&mut entity.can_send_message);
        entity.errors.clear();
        if can_send != AVAILABLE {
            // [U] The members are Meta's.
            entity.errors.push((141_010, "Messaging is restricted".to_owned(), "See the account's status".to_owned()));
        }
    }

    /// Every secret that this page has ever given out, dead ones too; none may stand in a log.
    pub fn secrets(&self) -> &[String] {
        &self.issued
    }
}

impl Page for Dialog360 {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        asked.insist_on_clean_url(&self.issued, &[]);
        let done = match asked.path.strip_prefix("/api/v2/") {
            Some(rest) => self.hub(asked, rest, now),
            None => self.cloud(asked),
        };
        done.unwrap_or_else(|refusal| refusal)
    }
}

/// `waba-v2.360dialog.io`.
impl Dialog360 {
    fn cloud(&self, asked: &Asked) -> Result<Said, Said> {
        let partner = asked.header("x-api-key").is_some() || asked.bearer().is_some();
        assert!(!partner, "a secret of the hub was sent to the cloud host");
        let known = ["/health_status", "/v1/configs/webhook", "/multi_webhook"];
        if !known.contains(&asked.path.as_str()) || (asked.path == known[1] && !self.webhook_readable) {
            return Err(self.refusal(404, "Not found"));
        }
        if let Some(trouble) = &self.trouble {
            return Err(self.troubled(trouble));
        }
        let given = asked.header("d360-api-key").unwrap_or_default();
        let channel = self.channels.iter().find(|channel| channel.keys.iter().any(|key| key.secret == given));
        let channel = channel.ok_or_else(|| self.refusal(401, "Invalid api_key or token expired"))?;
        // Not sourced: whether the key is looked at before or after such trouble; so there is one for each order.
        if let Some(trouble) = &channel.trouble {
            return Err(self.troubled(trouble));
        }
        // Changing a webhook is documented and never ours to do, so it is not served. Not sourced: the status.
        if asked.method != "GET" {
            return Err(self.refusal(405, "Method not allowed"));
        }
        let health = asked.path == known[0];
        // Not sourced: what happens to anything beyond the documented request; a strict page refuses it.
        if !asked.body.is_empty() || asked.query.iter().any(|(name, _)| !health || name != "fields") {
            return Err(self.refusal(400, "Unknown parameter"));
        }
        if health {
            return health_of(asked, channel);
        }
        let webhook = json!({
            "url": "https://hooks.example.com/whatsapp",
            "headers": { "Authorization": format!("Bearer {WEBHOOK_SECRET}") },
        });
        if asked.path == known[1] {
            return Ok(Said::json(200, webhook));
        }
        if self.multi_webhook_conflict {
            return Err(self.refusal(409, "Conflict"));
        }
        // Not sourced: the body; only that it can hold the secrets of headers.
        Ok(Said::json(200, json!({ "webhooks": [webhook] })))
    }

    fn troubled(&self, trouble: &Trouble) -> Said {
        match trouble {
            // Not sourced: the wording of these beside the rate limit's and that of 502.
            Trouble::ApiDisabled => self.refusal(400, "API is disabled"),
            Trouble::RateLimited(seconds) => {
                self.refusal(400, &format!("exceeded the limit of 1 request every {seconds} seconds"))
            }
            Trouble::Unpaid => self.refusal(400, "Messaging is stopped because of unpaid invoices"),
            Trouble::PathBlocked => self.refusal(403, "Path is blocked"),
            // Not sourced: that it comes in the same form as other errors of Meta.
            Trouble::Integrity(code) => passed_through(403, *code),
            // No header that tells a rate is documented. Not sourced: the body, here and in the next.
            Trouble::TooMany => self.refusal(429, "Too many requests"),
            Trouble::TooManyPlain => Said::text(429, "Too Many Requests"),
            Trouble::Internal => self.refusal(500, "Internal error"),
            Trouble::Unavailable => self.refusal(502, "WhatsApp for Business API not available"),
            Trouble::Meta(status, code) => passed_through(*status, *code),
            Trouble::Odd(status) => {
                Said { kind: "text/html", ..Said::text(*status, "<html><body>Bad gateway</body></html>") }
            }
        }
    }

    fn refusal(&self, status: u16, message: &str) -> Said {
        let code = if status == 401 { self.unauthorized_code } else { status };
        Said::json(
            status,
            match self.envelope {
                // Not sourced: the text in this form.
                Envelope::Error => json!({ "error": message }),
                Envelope::MetaSnake => {
                    json!({ "meta": { "success": false, "http_code": code, "developer_message": message } })
                }
                Envelope::MetaCamel => {
                    json!({ "meta": { "success": false, "httpCode": code, "developerMessage": message } })
                }
            },
        )
    }
}

/// `hub.360dialog.io`.
impl Dialog360 {
    fn hub(&mut self, asked: &Asked, rest: &str, now: i64) -> Result<Said, Said> {
        assert!(asked.header("d360-api-key").is_none(), "the key of a number was sent to the hub");
        if let Some(status) = self.hub_broken {
            return Err(hub_refusal(status, "Internal error"));
        }
        if !asked.query.is_empty() {
            // Not sourced: what happens to anything beyond the documented request; a strict page refuses it.
            return Err(hub_refusal(400, "Unknown parameter"));
        }
        let parts: Vec<&str> = rest.split('/').collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("POST", ["token"]) => self.log_in(asked, now),
            ("GET", ["partners", partner, "channels", channel, "api_keys"]) => {
                let at = self.permitted(asked, partner, channel, now)?;
                no_body(asked)?;
                let channel = &self.channels[at];
                // Not sourced: that dead keys are not listed.
                let keys: Vec<Value> = channel.keys.iter().map(|key| issued(key, channel)).collect();
                Ok(Said::json(200, json!({ "api_keys": keys })))
            }
            ("POST", ["partners", partner, "channels", channel, "api_keys"]) => {
                let at = self.permitted(asked, partner, channel, now)?;
                let empty = asked.json().is_some_and(|body| body == json!({}));
                if !empty {
                    no_body(asked)?;
                }
                if self.old_keys == OldKeys::Killed {
                    self.channels[at].keys.clear();
                }
                let key = self.add_key(at);
                Ok(Said::json(201, issued(&key, &self.channels[at])))
            }
            ("DELETE", ["partners", partner, "channels", channel, "api_keys"]) => {
                let at = self.permitted(asked, partner, channel, now)?;
                no_body(asked)?;
                // Not sourced: the status and the body, and that it ends every key of the channel, as the path names
                // none.
                self.channels[at].keys.clear();
                Ok(Said::text(204, ""))
            }
            // Not sourced: the status of a wrong method.
            (_, ["token"] | ["partners", _, "channels", _, "api_keys"]) => Err(hub_refusal(405, "Method not allowed")),
            _ => Err(hub_refusal(404, "Not found")),
        }
    }

    fn log_in(&mut self, asked: &Asked, now: i64) -> Result<Said, Said> {
        let body = asked.json().ok_or_else(|| hub_refusal(400, "JSON is expected"))?;
        let given = |name: &str| body[name].as_str().unwrap_or_default();
        if !self.bearer_accepted || given("username") != self.user.0 || given("password") != self.user.1 {
            return Err(hub_refusal(401, "Invalid username or password"));
        }
        // Not sourced: the shapes and the lifetime.
        let access = self.secret("", 48, "");
        let refresh = self.secret("", 48, "");
        self.bearers.insert(access.clone(), now + BEARER_LIFETIME);
        Ok(Said::json(
            200,
            json!({
                "access_token": access, "refresh_token": refresh, "token_type": "Bearer",
                "expires_in": BEARER_LIFETIME,
            }),
        ))
    }

    /// Says which channel is meant, where the caller may touch it.
    fn permitted(&self, asked: &Asked, partner: &str, channel: &str, now: i64) -> Result<usize, Said> {
        let by_key = asked.header("x-api-key").is_some_and(|key| Some(key) == self.partner_key.as_deref());
        let bearer = asked.bearer().and_then(|token| self.bearers.get(token));
        let by_bearer = self.bearer_accepted && bearer.is_some_and(|end| now < *end);
        if !by_key && !by_bearer {
            // Not sourced: the message of a 401.
            return Err(hub_refusal(401, "Invalid api key or token"));
        }
        if partner != self.partner {
            return Err(hub_refusal(403, &format!("Permission denied for partner {partner}")));
        }
        // Not sourced: the answer for a channel that does not exist.
        let at = self.channels.iter().position(|known| known.id == channel);
        let at = at.ok_or_else(|| hub_refusal(404, "Channel not found"))?;
        if self.channels[at].shared {
            Ok(at)
        } else {
            Err(hub_refusal(403, &format!("Permission denied for partner {partner}")))
        }
    }

    fn add_key(&mut self, at: usize) -> Key {
        // Not sourced: the shape of a key's id.
        let id = format!("{}AK", self.letters(8));
        let key = Key { id, secret: self.secret("", 24, "AK") };
        self.channels[at].keys.push(key.clone());
        key
    }

    fn secret(&mut self, begin: &str, length: usize, end: &str) -> String {
        let secret = format!("{begin}{}{end}", self.letters(length));
        self.issued.push(secret.clone());
        secret
    }

    fn letters(&mut self, length: usize) -> String {
        self.made += 1;
        drawn(&format!("360dialog {} {}", self.seed, self.made), ALPHANUMERIC, length)
    }
}

fn health_of(asked: &Asked, channel: &Channel) -> Result<Said, Said> {
    let entities: Vec<Value> = channel.health.entities.iter().map(described).collect();
    let health = json!({ "can_send_message": channel.health.can_send_message, "entities": entities });
    let mut body = json!({ "health_status": health });
    for field in asked.query("fields").unwrap_or_default().split(',').filter(|field| !field.is_empty()) {
        match field {
            "display_phone_number" => body[field] = json!(channel.display_phone_number),
            "health_status" => {}
            // Not sourced: which other fields there are, and that one that is not known is refused so.
            _ => return Err(passed_through(400, 100)),
        }
    }
    Ok(Said::json(200, body))
}

fn described(entity: &Entity) -> Value {
    let mut body = json!({
        "entity_type": entity.kind, "id": entity.id, "can_send_message": entity.can_send_message,
    });
    if let Some(calls) = &entity.can_receive_call_sip {
        body["can_receive_call_sip"] = json!(calls);
    }
    if !entity.errors.is_empty() {
        // [U] The names of these members are Meta's.
        let errors = entity.errors.iter().map(|(code, description, solution)| {
            json!({ "error_code": code, "error_description": description, "possible_solution": solution })
        });
        body["errors"] = errors.collect();
    }
    body
}

/// A key as the hub tells it, here the whole secret also in the list.
fn issued(key: &Key, channel: &Channel) -> Value {
    json!({
        "id": key.id, "address": "https://waba-v2.360dialog.io", "api_key": key.secret, "app_id": channel.app,
    })
}

fn no_body(asked: &Asked) -> Result<(), Said> {
    if asked.body.is_empty() { Ok(()) } else { Err(hub_refusal(400, "Unknown body")) }
}

fn hub_refusal(status: u16, message: &str) -> Said {
    let meta = json!({ "success": false, "http_code": status, "developer_message": message, "details": [] });
    Said::json(status, json!({ "meta": meta }))
}

fn passed_through(status: u16, code: u32) -> Said {
    let error = json!({
        "message": "An error of Meta", "type": "OAuthException", "code": code, "fbtrace_id": "AbCdEfGhIjKlMnO",
    });
    Said::json(status, json!({ "detail": { "error": error } }))
}

/// A secret of the client's own that stands in the headers of a webhook.
pub const WEBHOOK_SECRET: &str = "sample-webhook-header-secret";

const AVAILABLE: &str = "AVAILABLE";
/// Not sourced: how long a bearer token of the hub lives.
const BEARER_LIFETIME: i64 = 86_400;

#[test]
fn a_new_key_ends_the_old_one_of_its_own_number_only() {
    let mut page = Dialog360::new("roll");
    let (channel, old) = page.add_channel();
    let (_, other) = page.add_channel();
    let health = |key: &str| Asked::new("GET", "/health_status").with_header("d360-api-key", key);
    let keys = format!("/api/v2/partners/{}/channels/{channel}/api_keys", page.partner);
    let partner = page.partner_key.clone().expect("it is alive");
    let roll = Asked::new("POST", &keys).with_header("x-api-key", &partner);
    assert_eq!(page.answer(&health(&old), 0).status, 200);
    let said = page.answer(&roll, 0);
    assert_eq!(said.status, 201);
    let new = page.channel_mut(&channel).keys[0].secret.clone();
    assert!(said.body.contains(&new) && new.len() == 26 && new.ends_with("AK"), "{}", said.body);
    page.envelope = Envelope::MetaCamel;
    let said = page.answer(&health(&old), 0);
    assert!(said.status == 401 && said.body.contains("\"httpCode\":404"), "{}", said.body);
    for key in [&new, &other] {
        assert_eq!(page.answer(&health(key), 0).status, 200);
    }
    page.channel_mut(&channel).shared = false;
    assert_eq!(page.answer(&roll, 0).status, 403);
}
