//! WhatsApp Business Accounts, their numbers and their health, as a test describes them (§9).
//! Must never judge access or know of a request.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// A WhatsApp Business Account.
#[derive(Debug, Clone)]
pub struct Waba {
    /// Account id.
    pub id: String,
    /// Display name.
    pub name: String,
    /// The business that owns it.
    pub business: String,
    /// Users, system users among them, with access to it.
    pub assigned_users: BTreeSet<String>,
    /// Apps that get its webhooks.
    pub subscribed_apps: BTreeSet<String>,
    /// `PENDING APPROVED REJECTED LIMIT_REACHED`.
    pub account_review_status: String,
    /// `verified`, `not_verified`, …
    pub business_verification_status: String,
    /// Open string.
    pub status: String,
    /// Its own health.
    pub health: Health,
    /// The health of its business.
    pub business_health: Health,
    /// Management calls an app may make in a rolling hour (200, or 5000 with a registered number, §7); none =
    /// unlimited and no usage header.
    pub calls_per_hour: Option<u32>,
    /// Message templates by name and language.
    pub templates: BTreeMap<(String, String), TemplateState>,
}

impl Waba {
    /// An approved account with `hello_world` in `en_US`, open to these users.
    pub fn new(id: &str, name: &str, business: &str, assigned_users: &[&str]) -> Self {
        let hello = ("hello_world".to_owned(), "en_US".to_owned());
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            business: business.to_owned(),
            assigned_users: assigned_users.iter().map(|user| (*user).to_owned()).collect(),
            subscribed_apps: BTreeSet::new(),
            account_review_status: "APPROVED".to_owned(),
            business_verification_status: "verified".to_owned(),
            status: "ACTIVE".to_owned(),
            health: Health::available(),
            business_health: Health::available(),
            calls_per_hour: None,
            templates: BTreeMap::from([(hello, TemplateState::Approved)]),
        }
    }
}

/// Whether a template may be sent (§6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateState {
    /// Yes.
    Approved,
    /// 132015.
    Paused,
    /// 132016.
    Disabled,
    /// 200 with `held_for_quality_assessment`: taken, and perhaps never delivered.
    Held,
}

/// A business phone number (§9.1); the texts are open, as the field's are.
#[derive(Debug, Clone)]
pub struct PhoneNumber {
    /// Phone number id.
    pub id: String,
    /// The account it belongs to.
    pub waba: String,
    /// As people write it.
    pub display_phone_number: String,
    /// Business name shown.
    pub verified_name: String,
    /// `GREEN YELLOW RED NA UNKNOWN`.
    pub quality_rating: String,
    /// `VERIFIED`, `NOT_VERIFIED`, …
    pub code_verification_status: String,
    /// `CLOUD_API`, …
    pub platform_type: String,
    /// `LIVE` or `SANDBOX`, the latter for test numbers.
    pub account_mode: String,
    /// `CONNECTED` can send; `DELETED` answers code 33.
    pub status: String,
    /// `APPROVED`, …
    pub name_status: String,
    /// `TIER_250`, …
    pub messaging_limit_tier: String,
    /// `level` of `throughput`.
    pub throughput: String,
    /// Its own health.
    pub health: Health,
    /// Registered for the Cloud API; else sending answers 133010.
    pub registered: bool,
    /// Whom a `SANDBOX` number may write to; others answer 131030.
    pub allowed_recipients: BTreeSet<String>,
    /// Who wrote within 24 hours and may get free text; others answer 131047.
    pub open_conversations: BTreeSet<String>,
}

impl PhoneNumber {
    /// A registered, connected, healthy number of an account.
    pub fn new(waba: &str, id: &str, display_phone_number: &str, verified_name: &str) -> Self {
        Self {
            id: id.to_owned(),
            waba: waba.to_owned(),
            display_phone_number: display_phone_number.to_owned(),
            verified_name: verified_name.to_owned(),
            quality_rating: "GREEN".to_owned(),
            code_verification_status: "VERIFIED".to_owned(),
            platform_type: "CLOUD_API".to_owned(),
            account_mode: "LIVE".to_owned(),
            status: "CONNECTED".to_owned(),
            name_status: "APPROVED".to_owned(),
            messaging_limit_tier: "TIER_1K".to_owned(),
            throughput: "STANDARD".to_owned(),
            health: Health::available(),
            registered: true,
            allowed_recipients: BTreeSet::new(),
            open_conversations: BTreeSet::new(),
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "id" => json!(self.id),
            "display_phone_number" => json!(self.display_phone_number),
            "verified_name" => json!(self.verified_name),
            "quality_rating" => json!(self.quality_rating),
            "code_verification_status" => json!(self.code_verification_status),
            "platform_type" => json!(self.platform_type),
            "account_mode" => json!(self.account_mode),
            "status" => json!(self.status),
            "name_status" => json!(self.name_status),
            "messaging_limit_tier" | "whatsapp_business_manager_messaging_limit" => {
                json!(self.messaging_limit_tier)
            }
            "throughput" => json!({"level": self.throughput}),
            "is_official_business_account" => json!(false),
            _ => return None,
        })
    }
}

/// The health of one entity (§9.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// `can_send_message`.
    pub can_send: CanSend,
    /// `additional_info`, usually with LIMITED.
    pub additional_info: Vec<String>,
    /// `errors`, usually with BLOCKED.
    pub errors: Vec<HealthError>,
    /// `can_receive_call_sip`; it has no part in the overall state.
    pub sip: Option<CanSend>,
}

impl Health {
    /// Nothing in the way.
    pub fn available() -> Self {
        Self { can_send: CanSend::Available, additional_info: Vec::new(), errors: Vec::new(), sip: None }
    }

    /// Limited, with a word of why.
    pub fn limited(info: &str) -> Self {
        Self { can_send: CanSend::Limited, additional_info: vec![info.to_owned()], ..Self::available() }
    }

    /// Blocked by an error, such as 141006 (payment) or 141014 (banned).
    pub fn blocked(code: i64, description: &str, possible_solution: &str) -> Self {
        Self {
            can_send: CanSend::Blocked,
            errors: vec![HealthError {
                code,
                description: description.to_owned(),
                possible_solution: possible_solution.to_owned(),
            }],
            ..Self::available()
        }
    }

    pub(super) fn entity(&self, entity_type: &str, id: &str) -> Value {
        let mut entity = json!({
            "entity_type": entity_type,
            "id": id,
            "can_send_message": self.can_send.wire(),
        });
        if !self.additional_info.is_empty() {
            entity["additional_info"] = json!(self.additional_info);
        }
        if !self.errors.is_empty() {
            let errors = self.errors.iter().map(HealthError::wire);
            entity["errors"] = errors.collect();
        }
        if let Some(sip) = self.sip {
            entity["can_receive_call_sip"] = json!(sip.wire());
        }
        entity
    }
}

/// From best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CanSend {
    /// `AVAILABLE`
    Available,
    /// `LIMITED`
    Limited,
    /// `BLOCKED`
    Blocked,
}

impl CanSend {
    pub(super) fn wire(self) -> &'static str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Limited => "LIMITED",
            Self::Blocked => "BLOCKED",
        }
    }
}

/// One error of a blocked entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthError {
    /// `error_code`.
    pub code: i64,
    /// `error_description`.
    pub description: String,
    /// `possible_solution`.
    pub possible_solution: String,
}

impl HealthError {
    fn wire(&self) -> Value {
        json!({
            "error_code": self.code,
            "error_description": self.description,
            "possible_solution": self.possible_solution,
        })
    }
}

/// A message the platform accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentMessage {
    /// Sending phone number id.
    pub from: String,
    /// Recipient.
    pub to: String,
    /// `text` or `template`.
    pub kind: String,
    /// `wamid.…`
    pub id: String,
}
