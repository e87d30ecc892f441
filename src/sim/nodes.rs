//! Reading nodes: `/me`, users, pages, apps, and the accounts edge that hands out page tokens (§3.6, §10).
//! Must never show a node to a token that has no tie to it: it answers as if the node did not exist.

use serde_json::{Map, Value, json};

use super::answers::GraphError;
use super::respond::{Call, Caller, Holder};
use super::token::{BASE64URL, TokenKind, stretch};
use super::world::World;

/// Items on one page of an edge unless `limit` says otherwise (§9.2).
const DEFAULT_LIMIT: usize = 25;

impl World {
    pub(super) fn node(&mut self, call: &mut Call<'_>, id: &str) -> Result<Value, GraphError> {
        if self.is_whatsapp_node(id) {
            return self.whatsapp_node(call, id);
        }
        let caller = self.authenticate(call)?;
        let fields = call.request.param("fields");
        if id == "me" {
            return self.own_node(&caller, fields);
        }
        let own_user = matches!(&caller.holder, Holder::Token(token) if token.user == id);
        if self.pages.contains_key(id) {
            self.page_node(&caller, id, call)
        } else if own_user || caller.app == id {
            select(fields, &["id", "name"], "User", |field| match field {
                "id" => Some(json!(id)),
                "name" => Some(json!(self.name_of(id))),
                _ => None,
            })
        } else {
            Err(GraphError::no_such_object(&call.request.method, id))
        }
    }

    pub(super) fn accounts(&mut self, call: &mut Call<'_>, id: &str) -> Result<Value, GraphError> {
        let caller = self.authenticate(call)?;
        let Holder::Token(token) = &caller.holder else {
            return Err(GraphError::no_such_object(&call.request.method, id));
        };
        if !token.is_user() {
            return Err(GraphError::no_such_field("accounts", "Page"));
        }
        if id != "me" && id != token.user {
            return Err(GraphError::no_such_object(&call.request.method, id));
        }
        let managed = self.pages.values().filter(|page| page.managers.contains(&token.user));
        let pages: Vec<String> = managed.map(|page| page.id.clone()).collect();
        let fields = call.request.param("fields");
        let mut items = Vec::new();
        for page in &pages {
            let page_token = self.issue_page(&caller.credential, page, call.now);
            let default = ["access_token", "category", "category_list", "name", "id", "tasks"];
            let item = select(fields, &default, "Page", |field| match field {
                "access_token" => page_token.as_ref().map(|token| json!(token)),
                "category_list" => Some(json!([{"id": "2201", "name": "Product/service"}])),
                "tasks" => Some(json!(["ADVERTISE", "ANALYZE", "CREATE_CONTENT", "MANAGE", "MESSAGING", "MODERATE"])),
                _ => self.page_field(page, field),
            })?;
            items.push((page.clone(), item));
        }
        paged(call, &caller, items)
    }

    fn own_node(&self, caller: &Caller, fields: Option<&str>) -> Result<Value, GraphError> {
        let (id, node) = match &caller.holder {
            // A true pair of id and secret answers as the app itself (§10).
            Holder::App | Holder::IgnoredApp => (&caller.app, "Application"),
            Holder::Token(token) => match &token.kind {
                TokenKind::Page { page, .. } => (page, "Page"),
                _ => (&token.user, "User"),
            },
        };
        select(fields, &["id", "name"], node, |field| match field {
            "id" => Some(json!(id)),
            "name" => Some(json!(self.name_of(id))),
            _ => None,
        })
    }

    fn page_node(&mut self, caller: &Caller, page: &str, call: &Call<'_>) -> Result<Value, GraphError> {
        let hidden = || GraphError::no_such_object(&call.request.method, page);
        let Holder::Token(token) = &caller.holder else {
            return Err(hidden());
        };
        let page_token = match &token.kind {
            TokenKind::Page { page: own, .. } => (own == page).then(|| caller.credential.clone()),
            _ => self.issue_page(&caller.credential, page, call.now),
        };
        let page_token = page_token.ok_or_else(hidden)?;
        select(call.request.param("fields"), &["name", "id"], "Page", |field| match field {
            "access_token" => Some(json!(page_token)),
            _ => self.page_field(page, field),
        })
    }

    fn page_field(&self, page: &str, field: &str) -> Option<Value> {
        match field {
            "id" => Some(json!(page)),
            "name" => Some(json!(self.name_of(page))),
            "category" => Some(json!("Product/service")),
            _ => None,
        }
    }

    fn name_of(&self, id: &str) -> &str {
        let page = || self.pages.get(id).map(|page| page.name.as_str());
        let app = || self.apps.get(id).map(|app| app.name.as_str());
        let user = self.users.get(id).map(|user| user.name.as_str());
        user.or_else(page).or_else(app).unwrap_or_default()
    }
}

/// The fields asked for, or the default ones; `id` always comes along.
pub(super) fn select(
    fields: Option<&str>,
    default: &[&str],
    node: &str,
    value: impl Fn(&str) -> Option<Value>,
) -> Result<Value, GraphError> {
    let asked: Vec<&str> = match fields {
        Some(fields) => fields.split(',').map(str::trim).filter(|f| !f.is_empty()).collect(),
        None => default.to_vec(),
    };
    let mut object = Map::new();
    for field in asked.into_iter().chain(["id"]) {
        let value = value(field).ok_or_else(|| GraphError::no_such_field(field, node))?;
        object.insert(field.to_owned(), value);
    }
    Ok(Value::Object(object))
}

/// One page of an edge, by `limit` (1 to 100) and `after`. The link to the next page holds the caller's token, as
/// Meta's does (§11).
pub(super) fn paged(call: &Call<'_>, caller: &Caller, items: Vec<(String, Value)>) -> Result<Value, GraphError> {
    let request = call.request;
    let limit = match request.param("limit").map(str::parse::<usize>) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit)) if (1..=100).contains(&limit) => limit,
        Some(_) => {
            return Err(GraphError::new(100, "(#100) Param limit must be between 1 and 100"));
        }
    };
    let after = request.param("after");
    let start = after.and_then(|after| items.iter().position(|(id, _)| cursor(id) == after));
    let rest = items.get(start.map_or(0, |at| at + 1)..).unwrap_or_default();
    let page = rest.get(..limit).unwrap_or(rest);
    let data: Vec<&Value> = page.iter().map(|(_, item)| item).collect();
    let (Some((first, _)), Some((last, _))) = (page.first(), page.last()) else {
        return Ok(json!({"data": data}));
    };
    let mut paging = json!({"cursors": {"before": cursor(first), "after": cursor(last)}});
    if rest.len() > limit {
        paging["next"] = json!(format!(
            "https://graph.facebook.com/{}{}?access_token={}&limit={limit}&after={}",
            call.version,
            request.unversioned_path(),
            caller.credential.replace('|', "%7C"),
            cursor(last),
        ));
    }
    Ok(json!({"data": data, "paging": paging}))
}

fn cursor(id: &str) -> String {
    stretch(&format!("cursor {id}"), BASE64URL, 24)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ADA, APP, BOB, NOW, PAGE, app_token, error, fields, get, world};
    use super::super::token::Event;
    use serde_json::json;

    #[test]
    fn me_is_whoever_holds_the_token() {
        let mut world = world();
        let long = world.issue_long_user(ADA, &[], NOW);
        let page = world.issue_page(&long, PAGE, NOW).unwrap_or_default();
        for (token, id, name) in [(long.clone(), ADA, "Ada"), (page, PAGE, "Tea House"), (app_token(), APP, "Demo")] {
            let me = get(&mut world, &format!("/v25.0/me?access_token={token}"), NOW);
            assert_eq!(me, (200, json!({"id": id, "name": name})));
        }
        let odd = format!("/me?access_token={long}&fields=shoe_size");
        assert_eq!(error(&get(&mut world, &odd, NOW)).1, 100);
        world.set_data_access(&long, Some(NOW));
        let lapsed = get(&mut world, &format!("/me?access_token={long}"), NOW);
        assert_eq!(error(&lapsed).2, Some(493));
    }

    #[test]
    fn accounts_hand_out_page_tokens() {
        let mut world = world();
        let long = world.issue_long_user(ADA, &[], NOW);
        let target = format!("/v25.0/me/accounts?access_token={long}");
        let (status, answer) = get(&mut world, &target, NOW);
        assert_eq!(status, 200);
        let item = &answer["data"][0];
        assert_eq!(fields(item), ["access_token", "category", "category_list", "id", "name", "tasks"]);
        assert_eq!(get(&mut world, &target, NOW + 9).1, answer, "the same token while it lives");
        let named = get(&mut world, &format!("/{PAGE}?fields=access_token&access_token={long}"), NOW);
        assert_eq!(named.1, json!({"access_token": item["access_token"], "id": PAGE}));
        let few = get(&mut world, &format!("{target}&fields=name"), NOW);
        assert_eq!(fields(&few.1["data"][0]), ["id", "name"]);

        world.user_event(ADA, Event::LostPageRole, NOW);
        assert_eq!(get(&mut world, &target, NOW).1, json!({"data": []}));
        let hidden = get(&mut world, &format!("/{PAGE}?access_token={long}"), NOW);
        assert_eq!((error(&hidden).1, error(&hidden).2), (100, Some(33)));
    }

    #[test]
    fn other_nodes_do_not_exist() {
        let mut world = world();
        let long = world.issue_long_user(ADA, &[], NOW);
        for id in [BOB, "424242"] {
            let answer = get(&mut world, &format!("/{id}?access_token={long}"), NOW);
            assert_eq!((error(&answer).1, error(&answer).2), (100, Some(33)));
            assert_eq!(answer.1["error"]["type"], "GraphMethodException");
        }
    }
}
