//! Microsoft Entra: the login of an app by its secret, and the secrets of an app as Microsoft Graph shows and changes
//! them, after reference §3.5 (Entra app secret). Both hosts are one page: their paths do not meet.
//!
//! It never shows `secretText` after the answer that made it, never changes secrets by `PATCH`, and never takes an
//! app for another by its name. Of the login and of Graph's errors the reference tells nothing beyond what is marked
//! otherwise.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::spelling::{ALPHANUMERIC, HEXADECIMAL, drawn, written};
use super::{Asked, Page, Said};

/// A tenant: its login and its Graph.
pub struct Entra {
    /// The tenant's id, or its domain.
    pub tenant: String,
    /// Apps by their app id, which is their client id.
    pub apps: BTreeMap<String, App>,
    /// Bearer tokens of the login: which app has it, and when it ends.
    pub bearers: BTreeMap<String, (String, i64)>,
    /// What stands behind the seconds of an instant: 7 digits in the documented samples; empty for none.
    pub fraction: String,
    /// Seconds until a new secret can log in; the reference says minutes [U].
    pub propagation: i64,
    /// Seconds that a bearer token lasts.
    pub bearer_lifetime: i64,
    /// When the minute of reads of `keyCredentials` began, and how many there were.
    pub certificate_reads: (i64, u32),
    /// Said by the login to every request while it is set.
    pub login_trouble: Option<Said>,
    /// Said by Graph to every request while it is set.
    pub graph_trouble: Option<Said>,
    made: u32,
}

/// An app registration.
#[derive(Clone, Debug)]
pub struct App {
    /// The object id, which is not the app id.
    pub object_id: String,
    /// The name.
    pub display_name: String,
    /// Its secrets.
    pub passwords: Vec<Password>,
    /// Its certificates.
    pub certificates: Vec<Certificate>,
    /// What it may do at Graph.
    pub permissions: BTreeSet<Permission>,
    /// App ids of its owners.
    pub owners: BTreeSet<String>,
}

/// A secret of an app.
#[derive(Clone, Debug)]
pub struct Password {
    /// Its id, a GUID.
    pub key_id: String,
    /// The name.
    pub display_name: Option<String>,
    /// The secret itself.
    pub secret: String,
    /// When it begins.
    pub start: i64,
    /// When it ends.
    pub end: i64,
    /// From when it can log in.
    pub usable_from: i64,
}

/// A certificate of an app.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Its id, a GUID.
    pub key_id: String,
    /// The name.
    pub display_name: String,
    /// When it begins.
    pub start: i64,
    /// When it ends.
    pub end: i64,
}

/// A permission at Graph.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Permission {
    /// `Application.Read.All`, which reading needs [U]. Not sourced: whether the others read too; here they do not.
    Read,
    /// `Application.ReadWrite.OwnedBy`: changes secrets of apps that it owns.
    WriteOwned,
    /// `Application.ReadWrite.All`: changes secrets of every app.
    WriteAll,
}

impl Entra {
    /// A tenant, [`TENANT`], without apps.
    pub fn new() -> Self {
        Self {
            tenant: TENANT.to_owned(),
            apps: BTreeMap::new(),
            bearers: BTreeMap::new(),
            fraction: "1234567".to_owned(),
            propagation: 0,
            bearer_lifetime: 3599,
            certificate_reads: (0, 0),
            login_trouble: None,
            graph_trouble: None,
            made: 0,
        }
    }

    /// A new app that may read and, its own owner, change its own secrets; its app id.
    pub fn app(&mut self, seed: &str) -> String {
        let app_id = guid(&format!("app {seed}"));
        let app = App {
            object_id: guid(&format!("object {seed}")),
            display_name: format!("sample {seed}"),
            passwords: Vec::new(),
            certificates: Vec::new(),
            permissions: BTreeSet::from([Permission::Read, Permission::WriteOwned]),
            owners: BTreeSet::from([app_id.clone()]),
        };
        self.apps.insert(app_id.clone(), app);
        app_id
    }

    /// A new secret of an app: its key id and the secret itself.
    pub fn secret(&mut self, app_id: &str, start: i64, end: i64) -> (String, String) {
        let password = self.password(start, end);
        let made = (password.key_id.clone(), password.secret.clone());
        self.apps.get_mut(app_id).expect("an app of this page").passwords.push(password);
        made
    }

    /// A new certificate of an app: its key id.
    pub fn certificate(&mut self, app_id: &str, start: i64, end: i64) -> String {
        let app = self.apps.get_mut(app_id).expect("an app of this page");
        let key_id = guid(&format!("certificate {} {}", app.object_id, app.certificates.len()));
        let display_name = "CN=sample".to_owned();
        app.certificates.push(Certificate { key_id: key_id.clone(), display_name, start, end });
        key_id
    }

    /// Removes a secret of an app, as a person does.
    pub fn remove(&mut self, app_id: &str, key_id: &str) {
        let app = self.apps.get_mut(app_id).expect("an app of this page");
        app.passwords.retain(|password| password.key_id != key_id);
    }

    /// Takes a permission from an app.
    pub fn withdraw(&mut self, app_id: &str, permission: Permission) {
        self.apps.get_mut(app_id).expect("an app of this page").permissions.remove(&permission);
    }

    /// Graph's answer to a caller that asks too often.
    pub fn throttled(retry_after: u32) -> Said {
        graph_error(429, "TooManyRequests", "Too many requests").with("retry-after", retry_after)
    }

    /// Graph's answer when it is not well.
    pub fn server_error() -> Said {
        graph_error(503, "ServiceUnavailable", "The service is unavailable")
    }

    fn login(&mut self, asked: &Asked, now: i64) -> Said {
        let Some(grant_type) = asked.form("grant_type") else {
            return login_error(400, "invalid_request", "AADSTS900144: The request body must contain 'grant_type'.");
        };
        if grant_type != "client_credentials" {
            return login_error(400, "unsupported_grant_type", "AADSTS70003: The grant type is not supported.");
        }
        if asked.form("scope").as_deref() != Some(GRAPH_SCOPE) {
            return login_error(400, "invalid_scope", "AADSTS1002012: The scope is not valid.");
        }
        let app_id = asked.form("client_id").unwrap_or_default();
        let Some(app) = self.apps.get(&app_id) else {
            return login_error(400, "unauthorized_client", "AADSTS700016: The application was not found.");
        };
        let secret = asked.form("client_secret").unwrap_or_default();
        let known = app.passwords.iter().find(|password| password.secret == secret && now >= password.usable_from);
        match known {
            None => login_error(401, "invalid_client", "AADSTS7000215: Invalid client secret provided."),
            Some(password) if now >= password.end => {
                login_error(401, "invalid_client", "AADSTS7000222: The provided client secret keys are expired.")
            }
            Some(_) => {
                let bearer =
                    format!("eyJ{}.eyJ{}.{}", drawn("head", ALPHANUMERIC, 30), drawn("claims", ALPHANUMERIC, 90), {
                        drawn(&format!("bearer {app_id} {}", self.bearers.len()), ALPHANUMERIC, 86)
                    });
                self.bearers.insert(bearer.clone(), (app_id, now + self.bearer_lifetime));
                let lifetime = self.bearer_lifetime;
                Said::json(
                    200,
                    json!({
                        "token_type": "Bearer",
                        "expires_in": lifetime,
                        "ext_expires_in": lifetime,
                        "access_token": bearer,
                    }),
                )
            }
        }
    }

    fn graph(&mut self, asked: &Asked, rest: &str, now: i64) -> Said {
        let caller = asked.bearer().and_then(|bearer| self.bearers.get(bearer));
        let Some((caller, _)) = caller.filter(|(_, end)| now < *end).cloned() else {
            return graph_error(401, "InvalidAuthenticationToken", "Access token is missing, invalid or expired.");
        };
        let (app_id, action) = self.target(rest);
        match (asked.method.as_str(), action) {
            ("GET", "") => self.read(asked, &caller, app_id, now),
            ("POST", "addPassword") => self.add_password(asked, &caller, app_id, now),
            ("POST", "removePassword") => self.remove_password(asked, &caller, app_id),
            ("PATCH", "") => graph_error(400, "Request_BadRequest", "passwordCredentials cannot be updated."),
            (_, "" | "addPassword" | "removePassword") => {
                graph_error(405, "Request_BadRequest", "Specified HTTP method is not allowed.")
            }
            _ => graph_error(400, "BadRequest", "Resource not found for the segment."),
        }
    }

    /// The app that a path names, and what is to be done with it.
    fn target<'a>(&self, rest: &'a str) -> (Option<String>, &'a str) {
        if let Some(app_id) = rest.strip_prefix("(appId='").and_then(|rest| rest.strip_suffix("')")) {
            return (self.apps.contains_key(app_id).then(|| app_id.to_owned()), "");
        }
        // Not sourced: the actions at an app that is named by its app id; they are not taken.
        let Some(rest) = rest.strip_prefix('/') else { return (None, "unknown") };
        let (object_id, action) = rest.split_once('/').unwrap_or((rest, ""));
        let known = self.apps.iter().find(|(_, app)| app.object_id == object_id);
        (known.map(|(app_id, _)| app_id.clone()), action)
    }

    fn read(&mut self, asked: &Asked, caller: &str, app_id: Option<String>, now: i64) -> Said {
        if asked.query.iter().any(|(name, _)| name != "$select") {
            return graph_error(400, "BadRequest", "$select alone is known.");
        }
        if !self.may(caller, Permission::Read) {
            return denied();
        }
        let wanted: Option<Vec<&str>> = asked.query("$select").map(|names| names.split(',').collect());
        if wanted.as_ref().is_some_and(|names| names.contains(&"keyCredentials")) {
            if now >= self.certificate_reads.0 + 60 {
                self.certificate_reads = (now, 0);
            }
            self.certificate_reads.1 += 1;
            if self.certificate_reads.1 > 150 {
                let left = self.certificate_reads.0 + 60 - now;
                return Self::throttled(u32::try_from(left).expect("at most a minute"));
            }
        }
        let Some(app_id) = app_id else { return not_found() };
        let app = &self.apps[&app_id];
        let passwords: Vec<Value> = app.passwords.iter().map(|password| self.shown(password, false)).collect();
        let certificate = |certificate: &Certificate| {
            json!({
                "keyId": certificate.key_id,
                "displayName": certificate.display_name,
                "startDateTime": self.instant(certificate.start),
                "endDateTime": self.instant(certificate.end),
                // Not sourced, but for the end.
                "type": "AsymmetricX509Cert",
                "usage": "Verify",
                "key": null,
            })
        };
        let certificates: Vec<Value> = app.certificates.iter().map(certificate).collect();
        let mut body = json!({
            "id": app.object_id,
            "appId": app_id,
            "displayName": app.display_name,
            "passwordCredentials": passwords,
            "keyCredentials": certificates,
        });
        if let Some(names) = wanted {
            if names.iter().any(|name| body.get(name).is_none()) {
                return graph_error(400, "BadRequest", "Could not find a property that is selected.");
            }
            body.as_object_mut().expect("an object").retain(|name, _| names.contains(&name.as_str()));
        }
        body["@odata.context"] = json!("https://graph.microsoft.com/v1.0/$metadata#applications/$entity");
        Said::json(200, body)
    }

    fn add_password(&mut self, asked: &Asked, caller: &str, app_id: Option<String>, now: i64) -> Said {
        let Some(app_id) = app_id else { return not_found() };
        if !self.may_change(caller, &app_id) {
            return denied();
        }
        let Some(body) = asked.json().filter(|body| body["passwordCredential"].is_object()) else {
            return graph_error(400, "Request_BadRequest", "passwordCredential is missing.");
        };
        let wanted = &body["passwordCredential"];
        let end = match &wanted["endDateTime"] {
            Value::Null => now + DEFAULT_LIFETIME,
            value => match value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
                Some(end) => end.as_second(),
                None => return graph_error(400, "Request_BadRequest", "endDateTime is no instant."),
            },
        };
        let mut password = self.password(now, end);
        password.display_name = wanted["displayName"].as_str().map(str::to_owned);
        password.usable_from = now + self.propagation;
        let mut body = self.shown(&password, true);
        self.apps.get_mut(&app_id).expect("just found").passwords.push(password);
        body["@odata.context"] = json!("https://graph.microsoft.com/v1.0/$metadata#microsoft.graph.passwordCredential");
        Said::json(200, body)
    }

    fn remove_password(&mut self, asked: &Asked, caller: &str, app_id: Option<String>) -> Said {
        let Some(app_id) = app_id else { return not_found() };
        if !self.may_change(caller, &app_id) {
            return denied();
        }
        let key_id = asked.json().and_then(|body| body["keyId"].as_str().map(str::to_owned));
        let passwords = &mut self.apps.get_mut(&app_id).expect("just found").passwords;
        match passwords.iter().position(|password| Some(&password.key_id) == key_id.as_ref()) {
            Some(place) => {
                passwords.remove(place);
                // The status is [U].
                Said::text(204, "")
            }
            None => graph_error(400, "Request_BadRequest", "No password credential found with keyId."),
        }
    }

    fn password(&mut self, start: i64, end: i64) -> Password {
        self.made += 1;
        let seed = self.made;
        // Not sourced: the shape, but for its 16 to 64 characters.
        let secret = format!(
            "{}8Q~{}",
            drawn(&format!("hint {seed}"), ALPHANUMERIC, 3),
            drawn(&format!("secret {seed}"), ALPHANUMERIC, 34)
        );
        Password { key_id: guid(&format!("key {seed}")), display_name: None, secret, start, end, usable_from: start }
    }

    /// A secret as Graph writes it, with the secret itself only in the answer that made it.
    fn shown(&self, password: &Password, with_secret: bool) -> Value {
        json!({
            "customKeyIdentifier": null,
            "displayName": password.display_name,
            "endDateTime": self.instant(password.end),
            "hint": &password.secret[..3],
            "keyId": password.key_id,
            "secretText": with_secret.then_some(&password.secret),
            "startDateTime": self.instant(password.start),
        })
    }

    fn may(&self, caller: &str, permission: Permission) -> bool {
        self.apps.get(caller).is_some_and(|app| app.permissions.contains(&permission))
    }

    fn may_change(&self, caller: &str, app_id: &str) -> bool {
        let owned = self.apps[app_id].owners.contains(caller);
        self.may(caller, Permission::WriteAll) || (owned && self.may(caller, Permission::WriteOwned))
    }

    /// ISO 8601, always UTC.
    fn instant(&self, seconds: i64) -> String {
        let point = if self.fraction.is_empty() { "" } else { "." };
        format!("{}{point}{}Z", written(seconds, "%Y-%m-%dT%H:%M:%S"), self.fraction)
    }
}

impl Page for Entra {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        let secrets = self.apps.values().flat_map(|app| &app.passwords).map(|password| &password.secret);
        asked.insist_on_clean_url(secrets.chain(self.bearers.keys()), &[]);
        let path = plain(&asked.path);
        if path.ends_with("/oauth2/v2.0/token") {
            if let Some(said) = &self.login_trouble {
                return said.clone();
            }
            return match asked.method.as_str() {
                "POST" if path == format!("/{}/oauth2/v2.0/token", self.tenant) => self.login(asked, now),
                "POST" => login_error(400, "invalid_request", "AADSTS90002: Tenant not found."),
                _ => Said::text(405, ""),
            };
        }
        if let Some(said) = &self.graph_trouble {
            return said.clone();
        }
        match path.strip_prefix("/v1.0/applications") {
            Some(rest) => self.graph(asked, rest, now),
            None => Said::text(404, ""),
        }
    }
}

/// An error of the login. Not sourced: the shape is [U], and all codes, texts and statuses are from memory.
fn login_error(status: u16, code: &str, description: &str) -> Said {
    Said::json(status, json!({ "error": code, "error_description": description }))
}

/// An error of Graph. Not sourced: shape, codes, texts and, but for 403 and 429, statuses.
fn graph_error(status: u16, code: &str, message: &str) -> Said {
    Said::json(status, json!({ "error": { "code": code, "message": message } }))
}

fn denied() -> Said {
    graph_error(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
}

fn not_found() -> Said {
    graph_error(404, "Request_ResourceNotFound", "The resource does not exist.")
}

/// A path without percent-encoding: quotes and brackets of `(appId='…')` may come either way.
fn plain(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).filter(|_| *first == b'%').and_then(|pair| std::str::from_utf8(pair).ok());
        if let Some(byte) = code.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn guid(seed: &str) -> String {
    let digits = drawn(seed, HEXADECIMAL, 32);
    format!("{}-{}-4{}-8{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..])
}

/// The tenant of a new page.
pub const TENANT: &str = "00000000-1111-4222-8333-444444444444";
/// The scope that the login asks for. Not sourced.
pub const GRAPH_SCOPE: &str = "https://graph.microsoft.com/.default";
/// Seconds that a secret lasts whose end was not asked for: 2 years. Not sourced: to the day.
pub const DEFAULT_LIFETIME: i64 = 730 * 86_400;
