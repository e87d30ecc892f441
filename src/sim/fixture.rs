//! The small world the tests of this folder start from.
//! Must never be compiled into the product.

use serde_json::Value;

use super::answers::Request;
use super::token::Lifetime;
use super::waba::{PhoneNumber, Waba};
use super::world::{App, Page, User, World};

/// 2026-03-01 12:34:56 UTC.
pub(super) const NOW: i64 = 1_772_368_496;
pub(super) const APP: &str = "634900000000001";
pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(super) const OTHER_APP: &str = "634900000000002";
pub(super) const ADA: &str = "10001";
pub(super) const BOB: &str = "10002";
pub(super) const MACHINE: &str = "104160000000001";
pub(super) const STRANGER: &str = "20001";
pub(super) const PAGE: &str = "30001";
pub(super) const WABA: &str = "102290000000001";
pub(super) const NUMBER: &str = "521803094347148";
pub(super) const SCOPES: [&str; 2] = ["whatsapp_business_management", "whatsapp_business_messaging"];

/// Two apps; Ada manages a page, Bob is a developer, a system user holds the WhatsApp account, a stranger belongs to
/// the other app.
pub(super) fn world() -> World {
    let mut world = World::new();
    world.add_app(App::new(APP, "Demo", SECRET));
    world.add_app(App::new(OTHER_APP, "Other", "ffffffffffffffffffffffffffffffff"));
    world.add_user(User::new(APP, ADA, "Ada"));
    world.add_user(User::new(APP, BOB, "Bob").developer());
    world.add_user(User::new(APP, MACHINE, "Machine"));
    world.add_user(User::new(OTHER_APP, STRANGER, "Stranger").developer());
    world.add_page(Page::new(PAGE, "Tea House", &[ADA]));
    world.add_waba(Waba::new(WABA, "Tea House", "900100", &[MACHINE]));
    world.add_phone_number(PhoneNumber::new(WABA, NUMBER, "+1 555-000-1111", "Tea House"));
    world
}

pub(super) fn app_token() -> String {
    format!("{APP}|{SECRET}")
}

pub(super) fn system_token(world: &mut World) -> String {
    world.issue_system_user(MACHINE, &SCOPES, Lifetime::Never, NOW)
}

/// Status and body of a GET.
pub(super) fn get(world: &mut World, target: &str, now: i64) -> (u16, Value) {
    let reply = world.respond(&Request::get(target), now);
    (reply.status, reply.json())
}

/// Status and body of a debug_token of `input`, asked by the app.
pub(super) fn debug(world: &mut World, input: &str, now: i64) -> (u16, Value) {
    let caller = app_token();
    get(world, &format!("/v25.0/debug_token?input_token={input}&access_token={caller}"), now)
}

/// Status, code, subcode and message of an error reply.
pub(super) fn error(answer: &(u16, Value)) -> (u16, i64, Option<i64>, String) {
    let error = &answer.1["error"];
    (
        answer.0,
        error["code"].as_i64().unwrap_or_default(),
        error["error_subcode"].as_i64(),
        error["message"].as_str().unwrap_or_default().to_owned(),
    )
}

/// The field names of an object, sorted.
pub(super) fn fields(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> =
        value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default();
    names.sort_unstable();
    names
}
