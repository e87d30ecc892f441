//! Twilio, after §2.1 of the reference: the account check, API keys of the three kinds, WhatsApp senders, the two-slot
//! rotation of the auth token, keys made and deleted by `iam`, OAuth app tokens, and the one error object.
//!
//! One page stands for all of Twilio's hosts, since no two of them share a path. It never sends a message, never takes
//! a secret from the address, never tells the secret of a key again, and knows one account only.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::spelling::{ALPHANUMERIC, HEXADECIMAL, URL_SAFE, drawn, rfc_3339, written};
use super::{Asked, Page, Said};

/// The account, its tokens, its keys and its senders.
pub struct Twilio {
    /// The account's SID: `AC` and 32 digits.
    pub account: String,
    /// The account's name.
    pub friendly_name: String,
    /// The SID of the account that owns this one; its own where it is a main account.
    pub owner_account: String,
    /// `Trial` or `Full`.
    pub account_type: &'static str,
    /// Whether the account works.
    pub status: AccountStatus,
    /// What a suspended or closed account answers.
    pub blocked: Blocked,
    /// The auth token of the first slot; it also stands in the account's JSON.
    pub primary: String,
    /// The auth token of the second slot.
    pub secondary: Option<String>,
    /// The API keys that exist, by SID.
    pub keys: BTreeMap<String, Key>,
    /// The OAuth apps, by client id.
    pub apps: BTreeMap<String, App>,
    /// The WhatsApp senders, in the order of the list.
    pub senders: Vec<Sender>,
    /// The text beside code 20003; it has varied, only the code counts.
    pub message: String,
    /// Every request gets 429 with this number of concurrent requests.
    pub throttled: Option<u32>,
    /// Every request gets this status of a broken server.
    pub broken: Option<u16>,
    /// For so many seconds after a promotion the new token gets 403, as some products do until it has propagated (about
    /// 60).
    pub propagation: i64,
    /// A second secondary token replaces the first instead of being refused.
    pub replaces_secondary: bool,
    /// The secondary token may promote itself.
    pub promotes_itself: bool,
    /// A Main key may call `/v1/AuthTokens`.
    pub main_key_rotates: bool,
    /// Where the senders' addresses begin.
    pub messaging_url: String,
    /// Tokens for the SDKs, with their ends; none of them opens the REST API.
    sdk_tokens: BTreeMap<String, i64>,
    promoted_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
    /// Every secret that ever existed, to notice one in an address.
    issued: Vec<String>,
    seed: String,
    made: u64,
}

/// The account's `status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountStatus {
    /// It works.
    Active,
    /// Twilio has stopped it.
    Suspended,
    /// It is closed for good.
    Closed,
}

/// What an account that is suspended or closed answers; all three are documented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocked {
    /// 200 with the status, from the account's own address; 401 from every other.
    Told,
    /// 401 with code 20003, as if the token were wrong.
    Unauthorized,
    /// 403.
    Forbidden,
}

/// The kind of an API key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyKind {
    /// Everything; made in the console only.
    Main,
    /// Everything but accounts and keys.
    Standard,
    /// What its policy lists.
    Restricted(Vec<String>),
}

/// An API key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Its kind.
    pub kind: KeyKind,
    /// Its secret, told once.
    pub secret: String,
    /// Its name.
    pub friendly_name: String,
    /// It belongs to another Twilio Region, so this one does not know it.
    pub elsewhere: bool,
    created_at: i64,
}

/// An OAuth app with the tokens that it has got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct App {
    /// The client secret.
    pub secret: String,
    /// The seconds that a token lives, between a minute and thirty days.
    pub lifetime: i64,
    /// Its access tokens with their ends; a new one does not kill an old one.
    pub tokens: BTreeMap<String, i64>,
    former: Option<(String, i64)>,
}

/// A WhatsApp sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sender {
    /// `XE` and 32 digits.
    pub sid: String,
    /// `ONLINE`, `OFFLINE`, … or anything that a later version of the service may say.
    pub status: String,
    /// `whatsapp:+…`.
    pub address: String,
    /// The WhatsApp Business account.
    pub waba_id: String,
    /// `HIGH`, …
    pub quality_rating: Option<String>,
    /// `10K Customers/24hr`, …
    pub messaging_limit: Option<String>,
    /// Code, message and address of each reason; `null` where there is none.
    pub offline_reasons: Option<Vec<(String, String, String)>>,
}

impl Twilio {
    /// An active main account with one auth token and nothing else.
    pub fn new(seed: &str, now: i64) -> Self {
        let mut page = Self {
            account: String::new(),
            friendly_name: "Example account".to_owned(),
            owner_account: String::new(),
            account_type: "Full",
            status: AccountStatus::Active,
            blocked: Blocked::Told,
            primary: String::new(),
            secondary: None,
            keys: BTreeMap::new(),
            apps: BTreeMap::new(),
            senders: Vec::new(),
            message: "Authenticate".to_owned(),
            throttled: None,
            broken: None,
            propagation: 0,
            replaces_secondary: false,
            promotes_itself: true,
            main_key_rotates: false,
            messaging_url: "https://messaging.twilio.com".to_owned(),
            sdk_tokens: BTreeMap::new(),
            promoted_at: None,
            created_at: now,
            updated_at: now,
            issued: Vec::new(),
            seed: seed.to_owned(),
            made: 0,
        };
        page.account = page.sid("AC");
        page.owner_account = page.account.clone();
        page.primary = page.auth_token();
        page
    }

    /// The auth token is replaced in the console: both slots are gone at once, and the new primary token comes back.
    pub fn replace_auth_token(&mut self, now: i64) -> String {
        self.primary = self.auth_token();
        self.secondary = None;
        self.promoted_at = Some(now);
        self.primary.clone()
    }

    /// A secondary token made by somebody else, in the console.
    pub fn add_secondary(&mut self) -> String {
        let token = self.auth_token();
        self.secondary = Some(token.clone());
        token
    }

    /// A new API key: its SID and its secret. A Main key comes from the console only.
    pub fn add_key(&mut self, kind: KeyKind, friendly_name: &str, now: i64) -> (String, String) {
        let sid = self.sid("SK");
        // [U] The secret's shape is background knowledge.
        let secret = self.secret(ALPHANUMERIC, 32);
        let key = Key {
            kind,
            secret: secret.clone(),
            friendly_name: friendly_name.to_owned(),
            elsewhere: false,
            created_at: now,
        };
        self.keys.insert(sid.clone(), key);
        (sid, secret)
    }

    /// A new Restricted key with these permissions.
    pub fn add_restricted_key(&mut self, permissions: &[&str], now: i64) -> (String, String) {
        let permissions = permissions.iter().map(|&permission| permission.to_owned()).collect();
        self.add_key(KeyKind::Restricted(permissions), "restricted", now)
    }

    /// A key is deleted in the console.
    pub fn delete_key(&mut self, sid: &str) {
        self.keys.remove(sid).expect("the key exists");
    }

    /// A new OAuth app, its tokens living so many seconds: client id and client secret.
    pub fn add_app(&mut self, lifetime: i64) -> (String, String) {
        let client = self.sid("OQ");
        let secret = self.secret(URL_SAFE, 64);
        self.apps
            .insert(client.clone(), App { secret: secret.clone(), lifetime, tokens: BTreeMap::new(), former: None });
        (client, secret)
    }

    /// An app's secret is replaced; the old one lives for the grace period. None at all ends the old secret and every
    /// access token at once.
    pub fn replace_app_secret(&mut self, client: &str, grace: i64, now: i64) -> String {
        let secret = self.secret(URL_SAFE, 64);
        let app = self.apps.get_mut(client).expect("the app exists");
        let old = std::mem::replace(&mut app.secret, secret.clone());
        if grace == 0 {
            app.former = None;
            app.tokens.clear();
        } else {
            app.former = Some((old, now + grace));
        }
        secret
    }

    /// A token for one of the SDKs: a JWT of a day at most, whose end is told by code 20104.
    pub fn sdk_token(&mut self, lifetime: i64, now: i64) -> String {
        assert!(lifetime <= DAY, "an SDK token lives a day at most");
        let token = format!("eyJhbGciOiJIUzI1NiJ9.{}.{}", self.secret(URL_SAFE, 40), self.secret(URL_SAFE, 43));
        self.sdk_tokens.insert(token.clone(), now + lifetime);
        token
    }

    /// A new WhatsApp sender in this status; its SID.
    pub fn add_sender(&mut self, status: &str) -> String {
        let sid = self.sid("XE");
        let online = status.starts_with("ONLINE");
        self.senders.push(Sender {
            sid: sid.clone(),
            status: status.to_owned(),
            address: format!("whatsapp:+1500555{:04}", self.senders.len()),
            waba_id: "10000000000001".to_owned(),
            // Not sourced: whether a sender that is not online has a rating; here it has none.
            quality_rating: online.then(|| "HIGH".to_owned()),
            messaging_limit: online.then(|| "10K Customers/24hr".to_owned()),
            offline_reasons: None,
        });
        sid
    }

    /// A sender that exists.
    pub fn sender_mut(&mut self, sid: &str) -> &mut Sender {
        self.senders.iter_mut().find(|sender| sender.sid == sid).expect("the sender exists")
    }

    /// Every secret that this page has ever given out, dead ones too; none may stand in a log.
    pub fn secrets(&self) -> &[String] {
        &self.issued
    }
}

impl Page for Twilio {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        asked.insist_on_clean_url(&self.issued, &[]);
        // Not sourced: the header on other answers than 429, and the body of a server error.
        if let Some(status) = self.broken {
            return Said::text(status, "upstream connect error");
        }
        if let Some(load) = self.throttled {
            return error(429, 20429, "Too Many Requests").with("Twilio-Concurrent-Requests", load);
        }
        self.routed(asked, now).with("Twilio-Concurrent-Requests", 1)
    }
}

impl Twilio {
    fn routed(&mut self, asked: &Asked, now: i64) -> Said {
        let Some(path) = asked.path.strip_prefix('/') else { return not_found(&asked.path) };
        let parts: Vec<&str> = path.split('/').collect();
        let done = match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["2010-04-01", "Accounts", name]) => match name.strip_suffix(".json") {
                Some(account) => self.show_account(asked, account, now),
                // Not sourced: without the ending the service speaks XML, which is not modelled.
                None => Err(not_found(&asked.path)),
            },
            ("GET", ["2010-04-01", "Accounts", account, "Messages.json"]) => self.list_messages(asked, account, now),
            ("GET", ["2010-04-01", "Accounts", account, "Keys.json"]) => {
                self.own_account(account).and_then(|()| self.list_keys(asked, Era::First, now))
            }
            ("POST", ["2010-04-01", "Accounts", account, "Keys.json"]) => {
                self.own_account(account).and_then(|()| self.create_key(asked, Era::First, now))
            }
            ("DELETE", ["2010-04-01", "Accounts", account, "Keys", name]) => match name.strip_suffix(".json") {
                Some(sid) => self.own_account(account).and_then(|()| self.remove_key(asked, sid, now)),
                None => Err(not_found(&asked.path)),
            },
            ("GET", ["v1", "Keys"]) => self.list_keys(asked, Era::Iam, now),
            ("POST", ["v1", "Keys"]) => self.create_key(asked, Era::Iam, now),
            ("DELETE", ["v1", "Keys", sid]) => self.remove_key(asked, sid, now),
            ("POST", ["v1", "AuthTokens", "Secondary"]) => self.create_secondary(asked, now),
            ("DELETE", ["v1", "AuthTokens", "Secondary"]) => self.delete_secondary(asked, now),
            ("POST", ["v1", "AuthTokens", "Promote"]) => self.promote(asked, now),
            ("GET", ["v2", "Channels", "Senders"]) => self.list_senders(asked, now),
            ("GET", ["v2", "Channels", "Senders", sid]) => self.show_sender(asked, sid, now),
            ("POST", ["v2", "token"]) => self.app_token(asked, now),
            (
                _,
                ["2010-04-01", "Accounts", _, "Messages.json" | "Keys.json"]
                | ["2010-04-01", "Accounts", _]
                | ["2010-04-01", "Accounts", _, "Keys", _]
                | ["v1", "Keys"]
                | ["v1", "Keys", _]
                | ["v1", "AuthTokens", "Secondary" | "Promote"]
                | ["v2", "Channels", "Senders"]
                | ["v2", "Channels", "Senders", _]
                | ["v2", "token"],
                // Not sourced: the status and the code of a wrong method.
            ) => Err(error(405, 20004, "Method not allowed")),
            // The path of the OAuth app's secret exists in the specification without an operation, so it is not served.
            _ => Err(not_found(&asked.path)),
        };
        done.unwrap_or_else(|refusal| refusal)
    }

    fn show_account(&self, asked: &Asked, account: &str, now: i64) -> Result<Said, Said> {
        plain(asked, &[])?;
        self.own_account(account)?;
        self.permitted(asked, Place::Account, now)?;
        let status = match self.status {
            AccountStatus::Active => "active",
            AccountStatus::Suspended => "suspended",
            AccountStatus::Closed => "closed",
        };
        let uri = format!("/2010-04-01/Accounts/{}.json", self.account);
        Ok(Said::json(
            200,
            json!({
                "sid": self.account,
                "status": status,
                "type": self.account_type,
                "friendly_name": self.friendly_name,
                "owner_account_sid": self.owner_account,
                "date_created": rfc_2822(self.created_at),
                "date_updated": rfc_2822(self.updated_at),
                // Not sourced: which token stands here during the overlap, and whether a key sees it too.
                "auth_token": self.primary,
                "subresource_uris": { "messages": format!("/2010-04-01/Accounts/{}/Messages.json", self.account) },
                "uri": uri,
            }),
        ))
    }

    /// [U] The list of messages as a probe is background knowledge, and so is its body.
    fn list_messages(&self, asked: &Asked, account: &str, now: i64) -> Result<Said, Said> {
        plain(asked, &["PageSize"])?;
        self.own_account(account)?;
        self.permitted(asked, Place::Messages, now)?;
        let size = page_size(asked)?;
        Ok(Said::json(200, json!({ "messages": [], "page": 0, "page_size": size, "next_page_uri": null })))
    }

    fn list_senders(&self, asked: &Asked, now: i64) -> Result<Said, Said> {
        plain(asked, &["Channel", "PageSize", "PageToken"])?;
        self.permitted(asked, Place::Senders, now)?;
        // Not sourced: the status and the code of a missing or unknown channel.
        if asked.query("Channel") != Some("whatsapp") {
            return Err(error(400, 20001, "Channel is required"));
        }
        let size = page_size(asked)?;
        let start = match asked.query("PageToken") {
            None => 0,
            Some(token) => token
                .strip_prefix("PT")
                .and_then(|index| index.parse().ok())
                .filter(|index| *index < self.senders.len())
                .ok_or_else(|| error(400, 20001, "PageToken is not known"))?,
        };
        let end = self.senders.len().min(start + size);
        let list = format!("{}/v2/Channels/Senders?Channel=whatsapp&PageSize={size}", self.messaging_url);
        let next = (end < self.senders.len()).then(|| format!("{list}&PageToken=PT{end}"));
        let senders: Vec<Value> = self.senders[start..end].iter().map(|sender| self.described(sender)).collect();
        // Not sourced: the members of `meta` beside the last two.
        let meta = json!({
            "page": start / size, "page_size": size, "first_page_url": list, "previous_page_url": null, "url": list,
            "next_page_url": next, "key": "senders",
        });
        Ok(Said::json(200, json!({ "senders": senders, "meta": meta })))
    }

    fn show_sender(&self, asked: &Asked, sid: &str, now: i64) -> Result<Said, Said> {
        plain(asked, &[])?;
        self.permitted(asked, Place::Senders, now)?;
        let found = self.senders.iter().find(|sender| sender.sid == sid);
        found.map(|sender| Said::json(200, self.described(sender))).ok_or_else(|| not_found(&asked.path))
    }

    fn described(&self, sender: &Sender) -> Value {
        let reasons = sender.offline_reasons.as_ref().map(|reasons| {
            let each = |(code, message, more): &(String, String, String)| {
                json!({ "code": code, "message": message, "more_info": more })
            };
            reasons.iter().map(each).collect::<Vec<_>>()
        });
        json!({
            "sid": sender.sid,
            "status": sender.status,
            "sender_id": sender.address,
            "configuration": { "waba_id": sender.waba_id },
            "properties": { "quality_rating": sender.quality_rating, "messaging_limit": sender.messaging_limit },
            "offline_reasons": reasons,
            "url": format!("{}/v2/Channels/Senders/{}", self.messaging_url, sender.sid),
        })
    }

    fn create_secondary(&mut self, asked: &Asked, now: i64) -> Result<Said, Said> {
        plain(asked, &[])?;
        let caller = self.permitted(asked, Place::AuthTokens, now)?;
        // The step is documented with the primary token alone.
        if caller == Caller::Secondary {
            return Err(self.unauthorized());
        }
        // Not sourced: the answer where there is a secondary token already.
        if self.secondary.is_some() && !self.replaces_secondary {
            return Err(error(409, 20409, "A secondary auth token exists"));
        }
        let token = self.add_secondary();
        Ok(Said::json(
            201,
            json!({
                "account_sid": self.account,
                "secondary_auth_token": token,
                "date_created": rfc_3339(now),
                "date_updated": rfc_3339(now),
                "url": "https://accounts.twilio.com/v1/AuthTokens/Secondary",
            }),
        ))
    }

    fn delete_secondary(&mut self, asked: &Asked, now: i64) -> Result<Said, Said> {
        plain(asked, &[])?;
        self.permitted(asked, Place::AuthTokens, now)?;
        // Not sourced: the answer where there is none, and whether the secondary token may delete itself; here it may.
        self.secondary.take().map(|_| Said::text(204, "")).ok_or_else(|| not_found(&asked.path))
    }

    fn promote(&mut self, asked: &Asked, now: i64) -> Result<Said, Said> {
        plain(asked, &[])?;
        let caller = self.permitted(asked, Place::AuthTokens, now)?;
        // [U] That the secondary token may promote itself is assumed.
        if caller == Caller::Secondary && !self.promotes_itself {
            return Err(self.unauthorized());
        }
        self.primary = self.secondary.take().ok_or_else(|| not_found(&asked.path))?;
        self.promoted_at = Some(now);
        self.updated_at = now;
        Ok(Said::json(
            200,
            json!({
                "account_sid": self.account,
                "auth_token": self.primary,
                "date_created": rfc_3339(now),
                "date_updated": rfc_3339(now),
                "url": "https://accounts.twilio.com/v1/AuthTokens/Promote",
            }),
        ))
    }

    fn list_keys(&self, asked: &Asked, era: Era, now: i64) -> Result<Said, Said> {
        plain(asked, if era == Era::Iam { &["AccountSid"] } else { &[] })?;
        self.permitted(asked, Place::Keys, now)?;
        if era == Era::Iam {
            self.named_account(asked.query("AccountSid"))?;
        }
        let keys: Vec<Value> = self
            .keys
            .iter()
            .map(|(sid, key)| {
                let mut entry = record(sid, key);
                if era == Era::Iam {
                    // Not sourced: what the flags say.
                    entry["flags"] = json!([]);
                }
                entry
            })
            .collect();
        // Not sourced: how the list is cut into pages; here it is one.
        Ok(Said::json(200, json!({ "keys": keys, "meta": { "next_page_url": null, "key": "keys" } })))
    }

    fn create_key(&mut self, asked: &Asked, era: Era, now: i64) -> Result<Said, Said> {
        if !asked.query.is_empty() {
            return Err(bad_request("a query is not known here"));
        }
        self.permitted(asked, Place::Keys, now)?;
        let known: &[&str] =
            if era == Era::Iam { &["AccountSid", "FriendlyName", "KeyType", "Policy"] } else { &["FriendlyName"] };
        let form = form(asked, known)?;
        if era == Era::Iam {
            self.named_account(form.get("AccountSid").map(String::as_str))?;
        }
        let name = form.get("FriendlyName").cloned().unwrap_or_default();
        if name.chars().count() > 64 {
            return Err(bad_request("FriendlyName is longer than 64 characters"));
        }
        let kind = match (form.get("KeyType").map(String::as_str), form.get("Policy")) {
            (None, None) => KeyKind::Standard,
            (Some("restricted"), Some(policy)) => KeyKind::Restricted(permissions(policy)?),
            // Not sourced: what happens to half of the pair, or to another kind.
            _ => return Err(bad_request("KeyType and Policy do not fit together")),
        };
        let (sid, secret) = self.add_key(kind, &name, now);
        let key = &self.keys[&sid];
        let mut body = record(&sid, key);
        body["secret"] = json!(secret);
        if era == Era::Iam {
            body["policy"] = match &key.kind {
                KeyKind::Restricted(allow) => json!({ "allow": allow }),
                // Not sourced: `null` or absent for a Standard key.
                KeyKind::Main | KeyKind::Standard => Value::Null,
            };
        }
        Ok(Said::json(201, body))
    }

    fn remove_key(&mut self, asked: &Asked, sid: &str, now: i64) -> Result<Said, Said> {
        plain(asked, &[])?;
        self.permitted(asked, Place::Keys, now)?;
        self.keys.remove(sid).map(|_| Said::text(204, "")).ok_or_else(|| not_found(&asked.path))
    }

    fn app_token(&mut self, asked: &Asked, now: i64) -> Result<Said, Said> {
        if !asked.query.is_empty() {
            return Err(bad_request("a query is not known here"));
        }
        let form = form(asked, &["client_id", "client_secret", "grant_type"])?;
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        // Not sourced: how this address refuses; here with the error object of the others.
        if field("grant_type") != "client_credentials" {
            return Err(bad_request("grant_type is not known"));
        }
        let known = self.apps.get(field("client_id")).is_some_and(|app| app.knows(field("client_secret"), now));
        if !known || self.status != AccountStatus::Active {
            return Err(self.unauthorized());
        }
        // Not sourced: the shape of the token.
        let token = self.secret(URL_SAFE, 64);
        let app = self.apps.get_mut(field("client_id")).expect("it was found above");
        app.tokens.insert(token.clone(), now + app.lifetime);
        Ok(Said::json(
            200,
            json!({
                "access_token": token, "token_type": "Bearer", "expires_in": app.lifetime, "id_token": null,
                "refresh_token": null,
            }),
        ))
    }

    /// Says who asks, where this one may ask for it.
    fn permitted(&self, asked: &Asked, place: Place, now: i64) -> Result<Caller, Said> {
        let caller = self.caller(asked, now)?;
        if self.status != AccountStatus::Active {
            match self.blocked {
                Blocked::Told if place == Place::Account => {}
                // Not sourced: what the other addresses say while the account's own tells its status.
                Blocked::Told | Blocked::Unauthorized => return Err(self.unauthorized()),
                Blocked::Forbidden => return Err(forbidden()),
            }
        }
        let propagated = self.promoted_at.is_none_or(|at| now >= at + self.propagation);
        if caller == Caller::Primary && !propagated {
            return Err(forbidden());
        }
        let Caller::Key(sid) = &caller else {
            // Not sourced: what an app may do beside reading; here nothing.
            let reads = asked.method == "GET";
            return if caller == Caller::App && !reads { Err(forbidden()) } else { Ok(caller) };
        };
        match (&self.keys[sid].kind, place) {
            (KeyKind::Main, Place::AuthTokens) if self.main_key_rotates => Ok(caller),
            // Not sourced: whether a key may rotate the auth token; the specification names the token alone.
            (_, Place::AuthTokens) | (KeyKind::Standard, Place::Account | Place::Keys) => Err(self.unauthorized()),
            (KeyKind::Main, _) | (KeyKind::Standard, Place::Messages | Place::Senders) => Ok(caller),
            (KeyKind::Restricted(allow), place) => {
                let needed = match place {
                    Place::Messages => READ_MESSAGES,
                    Place::Senders => READ_SENDERS,
                    // Not sourced: whether a policy can open these; here none does.
                    Place::Account | Place::Keys | Place::AuthTokens => return Err(forbidden()),
                };
                if allow.iter().any(|permission| permission == needed) { Ok(caller) } else { Err(forbidden()) }
            }
        }
    }

    fn caller(&self, asked: &Asked, now: i64) -> Result<Caller, Said> {
        if let Some(token) = asked.bearer() {
            if self.sdk_tokens.get(token).is_some_and(|end| now >= *end) {
                // Not sourced: the status beside this code.
                return Err(error(401, 20104, "Access Token expired or expiration date invalid"));
            }
            let end = self.apps.values().find_map(|app| app.tokens.get(token));
            return if end.is_some_and(|end| now < *end) { Ok(Caller::App) } else { Err(self.unauthorized()) };
        }
        let Some((user, password)) = asked.basic() else { return Err(self.unauthorized()) };
        if user == self.account && password == self.primary {
            return Ok(Caller::Primary);
        }
        if user == self.account && self.secondary.as_ref() == Some(&password) {
            return Ok(Caller::Secondary);
        }
        match self.keys.get(&user) {
            Some(key) if key.secret == password && !key.elsewhere => Ok(Caller::Key(user)),
            _ => Err(self.unauthorized()),
        }
    }

    /// Another account's SID in the path is one of the listed causes of 20003.
    fn own_account(&self, account: &str) -> Result<(), Said> {
        if account == self.account { Ok(()) } else { Err(self.unauthorized()) }
    }

    fn named_account(&self, account: Option<&str>) -> Result<(), Said> {
        match account {
            Some(account) if account == self.account => Ok(()),
            Some(_) => Err(self.unauthorized()),
            None => Err(bad_request("AccountSid is required")),
        }
    }

    fn unauthorized(&self) -> Said {
        error(401, 20003, &self.message)
    }

    fn sid(&mut self, prefix: &str) -> String {
        format!("{prefix}{}", self.letters(HEXADECIMAL, 32))
    }

    /// [U] 32 small hexadecimal digits.
    fn auth_token(&mut self) -> String {
        self.secret(HEXADECIMAL, 32)
    }

    fn secret(&mut self, alphabet: &[u8], length: usize) -> String {
        let secret = self.letters(alphabet, length);
        self.issued.push(secret.clone());
        secret
    }

    fn letters(&mut self, alphabet: &[u8], length: usize) -> String {
        self.made += 1;
        drawn(&format!("twilio {} {}", self.seed, self.made), alphabet, length)
    }
}

impl App {
    fn knows(&self, secret: &str, now: i64) -> bool {
        self.secret == secret || self.former.as_ref().is_some_and(|(old, end)| old == secret && now < *end)
    }
}

#[derive(PartialEq, Eq)]
enum Caller {
    Primary,
    Secondary,
    Key(String),
    App,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Account,
    Messages,
    Senders,
    Keys,
    AuthTokens,
}

/// The two addresses of keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Era {
    /// Below `/2010-04-01/Accounts`; it knows no Restricted keys.
    First,
    /// `/v1/Keys`.
    Iam,
}

/// Only these values of the query, and no body.
fn plain(asked: &Asked, known: &[&str]) -> Result<(), Said> {
    // Not sourced: that anything beyond the documented request is refused; a strict page does.
    if let Some((name, _)) = asked.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(bad_request(&format!("{name} is not known here")));
    }
    if asked.body.is_empty() { Ok(()) } else { Err(bad_request("a body is not known here")) }
}

fn form(asked: &Asked, known: &[&str]) -> Result<BTreeMap<String, String>, Said> {
    let values = asked.form_values().ok_or_else(|| bad_request("a form is expected"))?;
    let fields: BTreeMap<_, _> = values.into_iter().collect();
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(bad_request(&format!("{name} is not known here"))),
        None => Ok(fields),
    }
}

fn page_size(asked: &Asked) -> Result<usize, Said> {
    let Some(text) = asked.query("PageSize") else { return Ok(20) };
    // Not sourced: what a size out of bounds does.
    text.parse().ok().filter(|size| (1..=1000).contains(size)).ok_or_else(|| bad_request("PageSize is out of bounds"))
}

fn permissions(policy: &str) -> Result<Vec<String>, Said> {
    let policy: Value = serde_json::from_str(policy).map_err(|_| bad_request("Policy is not JSON"))?;
    let allow: Option<Vec<String>> = policy["allow"]
        .as_array()
        .and_then(|list| list.iter().map(|permission| permission.as_str().map(str::to_owned)).collect());
    // Not sourced: how more than a hundred permissions are refused.
    allow.filter(|allow| allow.len() <= 100).ok_or_else(|| bad_request("Policy is not known"))
}

fn record(sid: &str, key: &Key) -> Value {
    json!({
        "sid": sid,
        "friendly_name": key.friendly_name,
        "date_created": rfc_2822(key.created_at),
        "date_updated": rfc_2822(key.created_at),
    })
}

/// Not sourced: the code beside 403.
fn forbidden() -> Said {
    error(403, 20403, "Forbidden")
}

fn not_found(path: &str) -> Said {
    error(404, 20404, &format!("The requested resource {path} was not found"))
}

/// Not sourced: the code of a bad request.
fn bad_request(message: &str) -> Said {
    error(400, 20001, message)
}

fn error(status: u16, code: u32, message: &str) -> Said {
    let more = format!("https://www.twilio.com/docs/errors/{code}");
    Said::json(status, json!({ "code": code, "message": message, "more_info": more, "status": status }))
}

fn rfc_2822(at: i64) -> String {
    written(at, "%a, %d %b %Y %H:%M:%S +0000")
}

/// The permission of a Restricted key to read messages.
pub const READ_MESSAGES: &str = "/twilio/messaging/messages/read";
/// The permission of a Restricted key to read senders. Not sourced: its name; only that a matching one is needed.
pub const READ_SENDERS: &str = "/twilio/messaging/senders/read";

const DAY: i64 = 86_400;

#[test]
fn both_slots_open_until_the_promotion_ends_the_old_one() {
    let mut page = Twilio::new("rotation", 0);
    let (account, old) = (page.account.clone(), page.primary.clone());
    let call = |method: &str, path: &str, password: &str| Asked::new(method, path).with_basic(&account, password);
    let check = format!("/2010-04-01/Accounts/{account}.json");
    assert_eq!(page.answer(&call("POST", "/v1/AuthTokens/Promote", &old), 0).status, 404, "there is no second slot");
    assert_eq!(page.answer(&call("POST", "/v1/AuthTokens/Secondary", &old), 0).status, 201);
    let new = page.secondary.clone().expect("it was just made");
    assert_eq!(page.answer(&call("POST", "/v1/AuthTokens/Secondary", &old), 0).status, 409);
    for token in [&old, &new] {
        assert_eq!(page.answer(&call("GET", &check, token), 0).status, 200, "both open");
    }
    assert_eq!(page.answer(&call("POST", "/v1/AuthTokens/Promote", &new), 0).status, 200);
    assert_eq!(page.answer(&call("GET", &check, &old), 0).status, 401, "the old one is dead");
    let said = page.answer(&call("GET", &check, &new), 0);
    assert!(said.status == 200 && said.body.contains(&new), "the account tells its own token");
    assert!(said.body.contains("Thu, 01 Jan 1970 00:00:00 +0000"), "{}", said.body);
}

#[test]
fn each_kind_of_key_opens_its_own_places() {
    let mut page = Twilio::new("kinds", 0);
    page.add_sender("ONLINE");
    let main = page.add_key(KeyKind::Main, "main", 0);
    let standard = page.add_key(KeyKind::Standard, "standard", 0);
    let reader = page.add_restricted_key(&[READ_SENDERS], 0);
    let stranger = page.add_restricted_key(&[READ_MESSAGES], 0);
    let account = format!("/2010-04-01/Accounts/{}.json", page.account);
    let senders = [("Channel", "whatsapp"), ("PageSize", "1")];
    for (key, on_account, on_senders) in
        [(main, 200, 200), (standard, 401, 200), (reader, 403, 200), (stranger, 403, 403)]
    {
        let asked = Asked::new("GET", &account).with_basic(&key.0, &key.1);
        assert_eq!(page.answer(&asked, 0).status, on_account);
        let asked = Asked::new("GET", "/v2/Channels/Senders").with_query(&senders).with_basic(&key.0, &key.1);
        assert_eq!(page.answer(&asked, 0).status, on_senders);
    }
}
