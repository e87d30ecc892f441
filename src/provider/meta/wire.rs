//! The Graph API's JSON, decoded leniently: ids as text or number, every field optional, unknown fields ignored (reference §2.1, §6.1).
//!
//! It holds shapes only; what they mean is decided in `classify`.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::provider::values::{as_integer, as_text};
use crate::secret::Secret;

/// An answer of any endpoint.
#[derive(Debug, Default, Deserialize)]
pub struct Envelope {
    /// The facts; once seen as an empty array.
    #[serde(default)]
    pub data: Option<Value>,
    /// A refusal.
    #[serde(default, deserialize_with = "refusal")]
    pub error: Option<GraphError>,
    /// Some errors come without a wrapper.
    #[serde(default, deserialize_with = "integer")]
    pub code: Option<i64>,
    /// The text of such an error.
    #[serde(default, deserialize_with = "text")]
    pub message: Option<String>,
    /// The id, in answers about a node.
    #[serde(default, deserialize_with = "text")]
    pub id: Option<String>,
    /// The token, in answers that give one.
    #[serde(default, deserialize_with = "secret")]
    pub access_token: Option<Secret>,
    /// How many seconds it lives.
    #[serde(default, deserialize_with = "integer")]
    pub expires_in: Option<i64>,
    /// Whether it was done; a text in the documentation (reference §3.4).
    #[serde(default, deserialize_with = "flag")]
    pub success: Option<bool>,
}

impl Envelope {
    /// The answer in these bytes. Only an object is one: a derived reader would take the items of a list for its fields.
    pub fn read(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        value.is_object().then(|| serde_json::from_value(value).ok())?
    }

    /// The token that an answer of old gives as a query string: `access_token=…&expires=…` (reference §1).
    pub fn read_query(body: &[u8]) -> Option<Self> {
        body.starts_with(b"access_token=").then(|| {
            let mut envelope = Self::default();
            for (name, value) in url::form_urlencoded::parse(body) {
                match &*name {
                    "access_token" => envelope.access_token = Some(Secret::new(Zeroizing::new(value.into_owned()))),
                    "expires" => envelope.expires_in = value.trim().parse().ok(),
                    _ => {}
                }
            }
            envelope
        })
    }

    /// The refusal, in whichever of its shapes it came.
    pub fn refusal(&mut self) -> Option<GraphError> {
        if let Some(error) = self.error.take() {
            return Some(error);
        }
        let code = self.code?;
        Some(GraphError { code: Some(code), message: self.message.take().unwrap_or_default(), ..GraphError::default() })
    }
}

/// The error object. Inside `data` the subcode has another name.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
pub struct GraphError {
    /// The code.
    #[serde(default, deserialize_with = "integer")]
    pub code: Option<i64>,
    /// What narrows the code down.
    #[serde(default, deserialize_with = "integer")]
    pub error_subcode: Option<i64>,
    /// The same by its other name.
    #[serde(default, deserialize_with = "integer")]
    pub subcode: Option<i64>,
    /// The text. It may echo the token.
    #[serde(default, deserialize_with = "text_or_empty")]
    pub message: String,
    /// What WhatsApp adds: `{messaging_product, details}`, or the same as text.
    #[serde(default)]
    pub error_data: Option<Value>,
    /// Whether the provider thinks that it will pass.
    #[serde(default, deserialize_with = "flag")]
    pub is_transient: Option<bool>,
}

impl GraphError {
    /// The message with WhatsApp's details, which say more (reference §6.1).
    pub fn in_full(&self) -> String {
        let data = match &self.error_data {
            // Some answers have it as JSON within a text.
            Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
            Some(data) => data.clone(),
            None => Value::Null,
        };
        match data.get("details").and_then(as_text).filter(|details| !self.message.contains(details)) {
            Some(details) => format!("{}: {details}", self.message),
            None => self.message.clone(),
        }
    }
}

/// A phone number (reference §9.1).
#[derive(Debug, Default, Deserialize)]
pub struct NumberNode {
    /// Its id.
    #[serde(default, deserialize_with = "text")]
    pub id: Option<String>,
    /// As people write it.
    #[serde(default, deserialize_with = "text")]
    pub display_phone_number: Option<String>,
    /// The business name that is shown.
    #[serde(default, deserialize_with = "text")]
    pub verified_name: Option<String>,
    /// `CONNECTED` can send.
    #[serde(default, deserialize_with = "text")]
    pub status: Option<String>,
    /// `GREEN`, `YELLOW`, `RED`, `NA`.
    #[serde(default, deserialize_with = "text")]
    pub quality_rating: Option<String>,
    /// `LIVE`, `SANDBOX`.
    #[serde(default, deserialize_with = "text")]
    pub account_mode: Option<String>,
    /// What is in the way of messages.
    #[serde(default)]
    pub health_status: Value,
}

/// The `data` of debug_token.
#[derive(Debug, Default, Deserialize)]
pub struct DebugData {
    /// The app.
    #[serde(default, deserialize_with = "text")]
    pub app_id: Option<String>,
    /// `USER`, `PAGE`, `SYSTEM_USER`, `APP`.
    #[serde(default, rename = "type", deserialize_with = "text")]
    pub kind: Option<String>,
    /// Unix seconds; 0 is never.
    #[serde(default, deserialize_with = "integer")]
    pub expires_at: Option<i64>,
    /// Unix seconds; 0 is never.
    #[serde(default, deserialize_with = "integer")]
    pub data_access_expires_at: Option<i64>,
    /// Unix seconds.
    #[serde(default, deserialize_with = "integer")]
    pub issued_at: Option<i64>,
    /// Whether it works.
    #[serde(default, deserialize_with = "flag")]
    pub is_valid: Option<bool>,
    /// Permissions.
    #[serde(default, deserialize_with = "list")]
    pub scopes: Option<Vec<Value>>,
    /// Permissions with what they cover.
    #[serde(default, deserialize_with = "list")]
    pub granular_scopes: Option<Vec<Value>>,
    /// The user.
    #[serde(default, deserialize_with = "text")]
    pub user_id: Option<String>,
    /// The page, of a token that acts as one.
    #[serde(default, deserialize_with = "text")]
    pub profile_id: Option<String>,
    /// What any call would answer for this token.
    #[serde(default)]
    pub error: Option<GraphError>,
}

/// One of `granular_scopes`.
#[derive(Debug, Deserialize)]
pub struct GranularScope {
    /// The permission.
    pub scope: String,
    /// What it covers; missing means all.
    #[serde(default, deserialize_with = "list")]
    pub target_ids: Option<Vec<Value>>,
}

/// An error object; OAuth's own form has a word in its place.
fn refusal<'de, D: Deserializer<'de>>(from: D) -> Result<Option<GraphError>, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(match value {
        Value::Null => None,
        Value::Object(_) => Some(serde_json::from_value(value).unwrap_or_default()),
        other => Some(GraphError { message: as_text(&other).unwrap_or_default(), ..GraphError::default() }),
    })
}

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Value::deserialize(from).map(|value| as_text(&value))
}

/// A text goes from the reader into its wrapper without a copy that nobody wipes.
fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    Value::deserialize(from).map(|value| match value {
        Value::String(text) => Some(Secret::new(Zeroizing::new(text))),
        _ => None,
    })
}

fn text_or_empty<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Value::deserialize(from).map(|value| as_text(&value).unwrap_or_default())
}

fn integer<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    Value::deserialize(from).map(|value| as_integer(&value))
}

fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    Value::deserialize(from).map(|value| match value {
        Value::Bool(flag) => Some(flag),
        Value::String(text) => text.parse().ok(),
        _ => None,
    })
}

/// A part in a shape that nobody documents is as good as missing.
fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Value>>, D::Error> {
    Value::deserialize(from).map(|value| match value {
        Value::Array(items) => Some(items),
        _ => None,
    })
}
