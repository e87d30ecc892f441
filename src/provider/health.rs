//! A `health_status` of WhatsApp (reference §9.3), as Meta tells it, and as those repeat it who stand between Meta and us.

use serde_json::Value;

use super::values::{as_integer, as_text, short, word};
use crate::domain::number::{Entity, Obstacle, Sending};

/// What it says.
pub struct Health {
    /// Whether messages can be sent.
    pub sending: Option<Sending>,
    /// What is in the way.
    pub obstacles: Vec<Obstacle>,
    /// The account that the number belongs to.
    pub account: Option<Box<str>>,
    /// The business that the account belongs to.
    pub business: Option<Box<str>>,
}

/// Reads it; `clean` takes secrets out of its texts.
pub fn health(node: &Value, clean: &dyn Fn(&str) -> Box<str>) -> Health {
    let entities: Vec<&Value> = items(node, "entities").take(MOST_ENTITIES).collect();
    let worst = entities.iter().filter_map(|entity| sending(entity)).max();
    let id_of = |kind: &str| {
        let found = entities.iter().find(|entity| text(entity, "entity_type").as_deref() == Some(kind))?;
        text(found, "id").map(|id| word(&id))
    };
    Health {
        sending: sending(node).or(worst),
        obstacles: entities.iter().flat_map(|entity| obstacles(entity, clean)).take(MOST_OBSTACLES).collect(),
        account: id_of(ACCOUNT),
        business: id_of(BUSINESS),
    }
}

/// What an entity has in the way: its errors, or, without any, what it says beside.
fn obstacles(entity: &Value, clean: &dyn Fn(&str) -> Box<str>) -> Vec<Obstacle> {
    let Some(sending @ (Sending::Limited | Sending::Blocked)) = sending(entity) else { return Vec::new() };
    let bare = Obstacle {
        entity: kind(&text(entity, "entity_type").unwrap_or_default()),
        id: text(entity, "id").map(|id| word(&id)).unwrap_or_default(),
        sending,
        code: None,
        description: Box::default(),
        solution: Box::default(),
    };
    let said = |error: &Value, name: &str| short(&clean(&text(error, name).unwrap_or_default()));
    let errors: Vec<Obstacle> = items(entity, "errors")
        .map(|error| Obstacle {
            code: error.get("error_code").and_then(as_integer),
            description: said(error, "error_description"),
            solution: said(error, "possible_solution"),
            ..bare.clone()
        })
        .collect();
    if errors.is_empty() {
        let info: Vec<String> = items(entity, "additional_info").filter_map(as_text).collect();
        return vec![Obstacle { description: short(&clean(&info.join("; "))), ..bare }];
    }
    errors
}

fn sending(node: &Value) -> Option<Sending> {
    Sending::parse(&text(node, "can_send_message")?)
}

fn kind(word: &str) -> Entity {
    match word {
        "PHONE_NUMBER" => Entity::Number,
        ACCOUNT => Entity::Account,
        BUSINESS => Entity::Business,
        "APP" => Entity::App,
        _ => Entity::Other,
    }
}

fn text(node: &Value, name: &str) -> Option<String> {
    node.get(name).and_then(as_text)
}

fn items<'v>(node: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    node.get(name).and_then(Value::as_array).into_iter().flatten()
}

const ACCOUNT: &str = "WABA";
const BUSINESS: &str = "BUSINESS";
/// There are four kinds.
const MOST_ENTITIES: usize = 10;
const MOST_OBSTACLES: usize = 10;
