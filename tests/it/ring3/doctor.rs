//! The whole troubleshooting guide, run by the real binary: every fate of the reference (§2.2, §6, §9) must lead to the right first remedy, every
//! command that is named must exist, and every address must be made of the token's own ids.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tokenwatch::sim::{
    App, AppEvent, Event, Fault, FaultKind, GranularScope, GranularScopes, Health, Lifetime, Match, OtherFamily, Page,
    PhoneNumber, TemplateState, User, Waba, World,
};

use crate::support::exim::Exim;
use crate::support::hook::{Hook, Mood};
use crate::support::house::{APP, SECRET};
use crate::support::process::{ADA, Said, Stage, TOKENWATCH, quoted, unix_now};

const WABA: &str = "102290000000001";
const BUSINESS: &str = "2729063490586005";
const NUMBER: &str = "521803094347148";
const MACHINE: &str = "104160000000001";
const PAGE: &str = "30001";
const SCOPES: [&str; 2] = ["whatsapp_business_messaging", "whatsapp_business_management"];
const DAY: i64 = 86_400;

/// Somebody who needs the doctor: a system user's token that sends from a WhatsApp number, all of it in order.
struct Patient {
    stage: Stage,
    token: String,
    /// What stands in the env file.
    written: String,
    app_id: String,
    app_secret: String,
    whatsapp: String,
    more: String,
    relay: String,
    meta: String,
    arguments: Vec<String>,
}

impl Patient {
    fn new() -> Self {
        let mut stage = Stage::new();
        stage.environment.insert("PATH".to_owned(), search_path());
        let token = stage.sim().with_world(|world| {
            world.add_user(User::new(APP, MACHINE, "Machine"));
            world.add_page(Page::new(PAGE, "Tea House", &[ADA]));
            let mut account = Waba::new(WABA, "Tea House", BUSINESS, &[MACHINE, ADA]);
            account.subscribed_apps.insert(APP.to_owned());
            world.add_waba(account);
            world.add_phone_number(PhoneNumber::new(WABA, NUMBER, "+1 650-253-0000", "Tea House"));
            world.issue_system_user(MACHINE, &SCOPES, Lifetime::Never, unix_now())
        });
        Self {
            written: token.clone(),
            token,
            app_id: APP.to_owned(),
            app_secret: SECRET.to_owned(),
            whatsapp: format!("phone_number_id = {NUMBER:?}\nbusiness_account_id = {WABA:?}\n"),
            more: String::new(),
            relay: String::new(),
            meta: String::new(),
            arguments: Vec::new(),
            stage,
        }
    }

    fn world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        self.stage.sim().with_world(act)
    }

    /// Another token in its place.
    fn takes(&mut self, token: String) {
        self.written.clone_from(&token);
        self.token = token;
    }

    fn fault(&self, path: &str, kind: FaultKind) {
        let when = if path.is_empty() { Match::Any } else { Match::PathPrefix(path.to_owned()) };
        self.world(|world| world.faults.add(Fault::always(when, kind)));
    }

    /// Meta answers every question about that path so.
    fn answers(&self, path: &str, status: u16, body: &str) {
        self.fault(path, FaultKind::Raw { status, headers: Vec::new(), body: body.as_bytes().to_vec() });
    }

    fn account(&self, act: impl FnOnce(&mut Waba)) {
        self.world(|world| act(world.waba_mut(WABA).expect("the account")));
    }

    fn number(&self, act: impl FnOnce(&mut PhoneNumber)) {
        self.world(|world| act(world.phone_number_mut(NUMBER).expect("the number")));
    }

    fn argument(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    }

    /// Writes what the doctor reads.
    fn admit(&self) {
        let env = self.stage.path("config.env");
        if !env.exists() {
            self.stage.write("config.env", &format!("META_APP_SECRET={}\nWA={}\n", self.app_secret, self.written));
            fs::set_permissions(&env, Permissions::from_mode(0o600)).expect("the owner may");
        }
        let whatsapp = format!("[tokens.whatsapp]\n{}", self.whatsapp);
        let token = self.stage.token("wa", "WA")
            + "scopes = [\"whatsapp_business_messaging\", \"whatsapp_business_management\"]\n";
        let text = self.stage.config(&self.relay, &(token + &whatsapp + &self.more));
        let text = text.replace(&format!("id = \"{APP}\""), &format!("id = {:?}", self.app_id));
        self.stage.configure(&text.replace("[provider.meta]\n", &format!("[provider.meta]\n{}", self.meta)));
    }

    fn examine(&self) -> Said {
        self.admit();
        let mut arguments = vec!["doctor", "--json"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let said = self.stage.run(&arguments);
        for secret in [&self.token, &self.written, &self.app_secret] {
            for part in secret.as_bytes().windows(16) {
                let part = String::from_utf8_lossy(part);
                assert!(
                    !said.out.contains(&*part) && !said.err.contains(&*part),
                    "a part of a secret was told: {said:?}"
                );
            }
        }
        said
    }
}

/// What must come first: the step, the exit code, words of the first remedy, and the command to run next.
type First = (&'static str, i32, &'static str, &'static str);

/// What befalls the patient, and what must come first; none where nothing is wrong.
struct Fate {
    name: &'static str,
    befalls: fn(&mut Patient),
    first: Option<First>,
}

const fn fate(
    name: &'static str,
    befalls: fn(&mut Patient),
    step: &'static str,
    code: i32,
    words: &'static str,
    next: &'static str,
) -> Fate {
    Fate { name, befalls, first: Some((step, code, words, next)) }
}

const fn fine(name: &'static str, befalls: fn(&mut Patient)) -> Fate {
    Fate { name, befalls, first: None }
}

fn user_event(patient: &mut Patient, event: Event) {
    let token = patient.world(|world| world.issue_long_user(ADA, &SCOPES, unix_now()));
    patient.takes(token);
    patient.world(|world| world.user_event(ADA, event, unix_now()));
}

fn machine(patient: &mut Patient, life: Lifetime, issued: i64) -> String {
    let token = patient.world(|world| world.issue_system_user(MACHINE, &SCOPES, life, unix_now() + issued));
    patient.takes(token.clone());
    token
}

const REPLACE: &str = "[tokens.replace]\nrestart = { run = [\"true\"] }\n";
const RENEW: &str = "[tokens.renew]\nbefore = \"20d\"\n";

/// §2.2: what `debug_token` answers.
const TOKENS: &[Fate] = &[
    fine("a system user's token that never ends", |_| {}),
    fine("a system user's token with 60 days", |patient| drop(machine(patient, Lifetime::SixtyDays, 0))),
    fine("a person's long-lived token", |patient| {
        let token = patient.world(|world| world.issue_long_user(ADA, &SCOPES, unix_now()));
        patient.takes(token);
    }),
    fate(
        "a short-lived token of the dashboard",
        |patient| {
            let token = patient.world(|world| world.issue_api_setup(ADA, &SCOPES, unix_now()));
            patient.takes(token);
        },
        "kind",
        1,
        "Generate a token for a system user",
        "doctor wa",
    ),
    fate(
        "an expired token",
        |patient| {
            machine(patient, Lifetime::SixtyDays, -61 * DAY);
            patient.more.push_str(REPLACE);
        },
        "token",
        2,
        "choose the system user, press \"Generate token\"",
        "replace wa",
    ),
    fate(
        "a token near its end",
        |patient| drop(machine(patient, Lifetime::SixtyDays, -50 * DAY)),
        "deadline",
        1,
        "Generate token",
        "doctor wa",
    ),
    fate(
        "a token near its end that may be renewed",
        |patient| {
            machine(patient, Lifetime::SixtyDays, -58 * DAY);
            patient.more.push_str(RENEW);
        },
        "deadline",
        2,
        "Generate token",
        "renew wa",
    ),
    fate(
        "a changed password",
        |patient| user_event(patient, Event::PasswordChanged),
        "token",
        2,
        "whether they changed the password",
        "doctor wa",
    ),
    fate(
        "a logout",
        |patient| user_event(patient, Event::LoggedOut),
        "token",
        2,
        "withdrew the token on purpose",
        "doctor wa",
    ),
    fate(
        "a removed app",
        |patient| user_event(patient, Event::Deauthorized),
        "token",
        2,
        "why the app was removed",
        "doctor wa",
    ),
    fate(
        "a checkpoint",
        |patient| user_event(patient, Event::Checkpoint),
        "token",
        2,
        "clears the checkpoint",
        "doctor wa",
    ),
    fate(
        "an unconfirmed account",
        |patient| user_event(patient, Event::Unconfirmed),
        "token",
        2,
        "confirms the account",
        "doctor wa",
    ),
    fate(
        "a lost role on the page",
        |patient| {
            let token = patient.world(|world| {
                let parent = world.issue_long_user(ADA, &SCOPES, unix_now());
                world.issue_page(&parent, PAGE, unix_now()).expect("a page token")
            });
            patient.takes(token);
            patient.world(|world| world.user_event(ADA, Event::LostPageRole, unix_now()));
        },
        "token",
        2,
        "the role on the page back",
        "doctor wa",
    ),
    fate(
        "ninety days without use",
        |patient| {
            let token = patient.world(|world| world.issue_long_user(ADA, &SCOPES, unix_now() - 30 * DAY));
            patient.takes(token.clone());
            patient.world(|world| world.set_data_access(&token, Some(unix_now() - DAY)));
        },
        "data_access",
        2,
        "log in to the application again",
        "doctor wa",
    ),
    fate(
        "data access that ends soon",
        |patient| {
            let token = patient.world(|world| world.issue_long_user(ADA, &SCOPES, unix_now() - 30 * DAY));
            patient.takes(token.clone());
            patient.world(|world| world.set_data_access(&token, Some(unix_now() + 2 * DAY)));
        },
        "data_access",
        2,
        "log in to the application again",
        "doctor wa",
    ),
    fate("a damaged token", |patient| patient.written.truncate(60), "token", 2, "is it whole?", "doctor wa"),
    fate(
        "a token of Instagram",
        |patient| {
            let token = patient.world(|world| world.issue_other_family(OtherFamily::Instagram));
            patient.takes(token);
        },
        "token",
        2,
        "a token of Instagram Login, and does not belong here",
        "doctor wa",
    ),
    fate(
        "a token of Threads",
        |patient| {
            let token = patient.world(|world| world.issue_other_family(OtherFamily::Threads));
            patient.takes(token);
        },
        "token",
        2,
        "a token of Threads, and does not belong here",
        "doctor wa",
    ),
    fate(
        "the app's secret in the token's place",
        |patient| SECRET.clone_into(&mut patient.written),
        "token",
        2,
        "This is an app secret",
        "doctor wa",
    ),
    fate(
        "a token of another app",
        |patient| {
            let token = patient.world(|world| {
                world.add_app(App::new("634900000000002", "Other", "00000000000000000000000000000000"));
                world.add_user(User::new("634900000000002", "20001", "Stranger"));
                world.issue_long_user("20001", &[], unix_now())
            });
            patient.takes(token);
        },
        "token",
        3,
        "it shows the app that the token belongs to",
        "doctor wa",
    ),
    fate(
        "an app that is native",
        |patient| patient.world(|world| world.app_mut(APP).expect("it").native = true),
        "app",
        3,
        "\"Native or desktop app\" must be off",
        "doctor",
    ),
    fate(
        "a wrong app secret",
        |patient| "ffffffffffffffffffffffffffffffff".clone_into(&mut patient.app_secret),
        "app",
        3,
        "show the app secret",
        "doctor",
    ),
    fate(
        "an unknown app id",
        |patient| "999".clone_into(&mut patient.app_id),
        "app",
        3,
        "Compare the id in [apps.helpdesk] (999)",
        "doctor",
    ),
    fate(
        "a deleted app",
        |patient| patient.world(|world| world.app_event(APP, AppEvent::Deleted, unix_now())),
        "app",
        3,
        "whether the app is really gone",
        "doctor",
    ),
    fate(
        "a blocked app",
        |patient| patient.world(|world| world.app_event(APP, AppEvent::Blocked, unix_now())),
        "app",
        3,
        "An administrator of the app opens",
        "doctor",
    ),
    fate(
        "no caller",
        |patient| {
            patient.answers(
                "/debug_token",
                400,
                r#"{"error":{"code":104,"message":"An access token is required to request this resource."}}"#,
            );
        },
        "token",
        3,
        "Read Meta's words",
        "doctor wa",
    ),
    fate(
        "a throttled app",
        |patient| {
            patient.answers(
                "/debug_token",
                400,
                r#"{"error":{"code":4,"message":"Application request limit reached"}}"#,
            );
        },
        "token",
        3,
        "Meta asks to stay away",
        "doctor wa",
    ),
    fate(
        "trouble at Meta",
        |patient| {
            patient.answers("/debug_token", 500, r#"{"error":{"code":2,"message":"Service temporarily unavailable"}}"#);
        },
        "token",
        3,
        "Meta is in trouble",
        "doctor wa",
    ),
    fate(
        "an outage page",
        |patient| patient.fault("", FaultKind::Html503),
        "token",
        3,
        "Meta is in trouble",
        "doctor wa",
    ),
    fate(
        "a reset connection",
        |patient| patient.fault("", FaultKind::Reset),
        "token",
        3,
        "whether this host reaches",
        "doctor wa",
    ),
    fate(
        "a proxy's page",
        |patient| patient.answers("", 200, "<html>login</html>"),
        "token",
        3,
        "answers in its place",
        "doctor wa",
    ),
    fate(
        "an empty list",
        |patient| patient.answers("/debug_token", 200, r#"{"data":[]}"#),
        "token",
        3,
        "answers in its place",
        "doctor wa",
    ),
    fate(
        "a permission that is not granted",
        |patient| {
            let token = patient.token.clone();
            patient.world(|world| world.set_granular_scopes(&token, GranularScopes::Absent));
            patient.world(|world| world.set_scopes(&token, &SCOPES[1..]));
        },
        "scopes",
        1,
        "See that the app has whatsapp_business_messaging",
        "doctor wa",
    ),
    fate(
        "an account that is not covered",
        |patient| {
            let token = patient.token.clone();
            let only = |scope: &&str| GranularScope::of(scope, &["777"]);
            patient.world(|world| {
                world.set_granular_scopes(&token, GranularScopes::Listed(SCOPES.iter().map(only).collect()))
            });
        },
        "account",
        1,
        "Is the account id right?",
        "doctor wa",
    ),
];

/// §9: the number, the account, and a message.
const NUMBERS: &[Fate] = &[
    fate(
        "a wrong phone number id",
        |patient| patient.whatsapp = format!("phone_number_id = \"16502530000\"\nbusiness_account_id = {WABA:?}\n"),
        "number",
        1,
        "It is the phone number's id, not the number itself",
        "doctor wa",
    ),
    fate(
        "a deleted number",
        |patient| patient.number(|number| "DELETED".clone_into(&mut number.status)),
        "number",
        1,
        "Is the id right?",
        "doctor wa",
    ),
    fate(
        "an account that is not shared",
        |patient| patient.account(|account| account.assigned_users.clear()),
        "account",
        1,
        "assign the account to the token's user",
        "doctor wa",
    ),
    fate(
        "access denied",
        |patient| {
            patient.answers(
                &format!("/{NUMBER}"),
                403,
                r#"{"error":{"code":131005,"message":"(#131005) Access denied"}}"#,
            );
        },
        "number",
        1,
        "Assign the account to the token's user",
        "doctor wa",
    ),
    fate(
        "WhatsApp refuses the token",
        |patient| patient.answers(&format!("/{NUMBER}"), 401, r#"{"error":{"code":0,"message":"AuthException"}}"#),
        "number",
        2,
        "generate a new one for a system user",
        "doctor wa",
    ),
    fate(
        "WhatsApp is in trouble",
        |patient| patient.answers(&format!("/{NUMBER}"), 503, "<html>"),
        "number",
        3,
        "Meta is in trouble",
        "doctor wa",
    ),
    fate(
        "a number of another account",
        |patient| {
            patient.world(|world| world.add_waba(Waba::new("102290000000002", "Other", BUSINESS, &[MACHINE])));
            patient.whatsapp = format!("phone_number_id = {NUMBER:?}\nbusiness_account_id = \"102290000000002\"\n");
        },
        "account",
        1,
        "Compare both ids",
        "doctor wa",
    ),
    fate(
        "a number that is not connected",
        |patient| patient.number(|number| "PENDING".clone_into(&mut number.status)),
        "number",
        1,
        "Only a number whose status is CONNECTED",
        "doctor wa",
    ),
    fate(
        "low quality",
        |patient| patient.number(|number| "RED".clone_into(&mut number.quality_rating)),
        "number",
        1,
        "Its quality is low",
        "doctor wa",
    ),
    fine("a test number", |patient| patient.number(|number| "SANDBOX".clone_into(&mut number.account_mode))),
    fine("a block of calls only", |patient| {
        patient.number(|number| number.health.sip = Some(tokenwatch::sim::CanSend::Blocked));
    }),
    fate(
        "a payment that is missing",
        |patient| patient.account(|account| account.health = Health::blocked(141_006, "Payment.", "Pay.")),
        "health",
        2,
        "Put the payment method right",
        "doctor wa",
    ),
    fate(
        "a business that is not verified",
        |patient| {
            patient.account(|account| account.business_health = Health::blocked(141_010, "Not verified.", "Verify."));
        },
        "health",
        2,
        "Have the business verified",
        "doctor wa",
    ),
    fate(
        "a banned account",
        |patient| patient.account(|account| account.health = Health::blocked(141_014, "Banned.", "")),
        "health",
        2,
        "ask for a review",
        "doctor wa",
    ),
    fate(
        "a template that is not approved",
        |patient| patient.account(|account| account.health = Health::blocked(141_002, "Template.", "")),
        "health",
        2,
        "The template is not approved",
        "doctor wa",
    ),
    fate(
        "an app that may not send",
        |patient| patient.world(|world| world.app_mut(APP).expect("it").health = Health::blocked(1, "App.", "")),
        "health",
        2,
        "An administrator of the app opens",
        "doctor wa",
    ),
    fate(
        "a limited number",
        |patient| patient.number(|number| number.health = Health::limited("Name not approved.")),
        "health",
        1,
        "Look at the number in the WhatsApp manager",
        "doctor wa",
    ),
    fate(
        "webhooks that are wanted",
        |patient| {
            patient.account(|account| account.subscribed_apps.clear());
            patient.whatsapp.push_str("webhooks = true\n");
        },
        "webhooks",
        1,
        "Subscribe the app to the account again",
        "doctor wa",
    ),
    fine("webhooks that nobody wants", |patient| patient.account(|account| account.subscribed_apps.clear())),
    fate(
        "a typed number without its country code",
        |patient| patient.whatsapp.push_str("phone_number = \"+6502530000\"\n"),
        "phone",
        1,
        "Correct whatsapp.phone_number",
        "doctor wa",
    ),
    fate(
        "a typed number that is another one",
        |patient| patient.whatsapp.push_str("phone_number = \"+919812345678\"\n"),
        "phone",
        1,
        "Correct whatsapp.phone_number",
        "doctor wa",
    ),
];

/// Two things at once, and what the configuration says about secrets that only the unit has.
const BOTH: &[Fate] = &[
    fate(
        "a file that everybody can read, and git tracks",
        |patient| {
            patient.admit();
            fs::set_permissions(patient.stage.folder.path(), Permissions::from_mode(0o755)).expect("the owner may");
            fs::set_permissions(patient.stage.path("config.env"), Permissions::from_mode(0o644))
                .expect("the owner may");
            git(patient, &["init", "-q"]);
            git(patient, &["add", "config.env"]);
        },
        "file",
        1,
        "Take it out of the index",
        "git -C ",
    ),
    fine("a relay whose password is a credential", |patient| {
        patient
            .relay
            .push_str("{ url = \"smtp://me@127.0.0.1:9?tls=none\", password = { credential = \"smtp-password\" } }");
    }),
    fate(
        "a dead token and a confirmation that asks WhatsApp",
        |patient| {
            patient.more.push_str("[tokens.renew]\nbefore = \"20d\"\nconfirm = { whatsapp = true }\n");
            patient.world(|world| world.user_event(MACHINE, Event::LoggedOut, unix_now()));
        },
        "token",
        2,
        "withdrew the token on purpose",
        "replace wa",
    ),
    fate(
        "trouble at Meta and a confirmation that asks WhatsApp",
        |patient| {
            patient.more.push_str("[tokens.renew]\nbefore = \"20d\"\nconfirm = { whatsapp = true }\n");
            patient.fault("", FaultKind::Html503);
        },
        "token",
        3,
        "Meta is in trouble",
        "doctor wa",
    ),
    fate(
        "a dead token and a message to be sent",
        |patient| {
            sends(patient);
            patient.world(|world| world.user_event(MACHINE, Event::LoggedOut, unix_now()));
        },
        "token",
        2,
        "withdrew the token on purpose",
        "doctor wa",
    ),
    fate(
        "an account id that nobody has",
        |patient| "business_account_id = \"777\"\n".clone_into(&mut patient.whatsapp),
        "account",
        1,
        "Compare the id with",
        "doctor wa",
    ),
    fate(
        "a refusal without a subcode",
        |patient| {
            let words = format!(
                "Unsupported get request. Object with ID '{NUMBER}' does not exist, cannot be loaded due to missing permissions"
            );
            patient.answers(&format!("/{NUMBER}"), 400, &format!(r#"{{"error":{{"code":100,"message":"{words}"}}}}"#));
        },
        "number",
        1,
        "It is the phone number's id",
        "doctor wa",
    ),
    fate(
        "a number and an account that are swapped",
        |patient| patient.whatsapp = format!("phone_number_id = {WABA:?}\nbusiness_account_id = {NUMBER:?}\n"),
        "account",
        1,
        "Compare the id with",
        "doctor wa",
    ),
    fine("a test number of Meta's that somebody typed", |patient| {
        patient.number(|number| "+1 555-000-1111".clone_into(&mut number.display_phone_number));
        patient.whatsapp.push_str("phone_number = \"+15550001111\"\n");
    }),
];

fn sends(patient: &mut Patient) {
    patient.argument(&["--send-to", "+919812345678"]);
}

/// Meta refuses the test message with that code.
fn refused(patient: &mut Patient, code: i64) {
    sends(patient);
    patient.answers(
        &format!("/{NUMBER}/messages"),
        400,
        &format!(r#"{{"error":{{"code":{code},"message":"(#{code}) +919812345678 is not reached"}}}}"#),
    );
}

/// §6.2 and §9.4: what becomes of a test message.
const MESSAGES: &[Fate] = &[
    fine("a message that is accepted", sends),
    fate(
        "131030",
        |patient| {
            sends(patient);
            patient.number(|number| "SANDBOX".clone_into(&mut number.account_mode));
        },
        "message",
        1,
        "may write only to the recipients on its list",
        "doctor wa",
    ),
    fate(
        "132001",
        |patient| {
            sends(patient);
            patient.argument(&["--template", "nonesuch"]);
        },
        "message",
        1,
        "There is no approved template nonesuch",
        "doctor wa",
    ),
    fate(
        "133010",
        |patient| {
            sends(patient);
            patient.number(|number| number.registered = false);
        },
        "message",
        2,
        "not registered with the Cloud API",
        "doctor wa",
    ),
    fate(
        "a paused template",
        |patient| {
            sends(patient);
            template(patient, TemplateState::Paused);
        },
        "message",
        1,
        "paused for low quality",
        "doctor wa",
    ),
    fate(
        "a disabled template",
        |patient| {
            sends(patient);
            template(patient, TemplateState::Disabled);
        },
        "message",
        1,
        "disabled for low quality",
        "doctor wa",
    ),
    fate(
        "a message that is held",
        |patient| {
            sends(patient);
            template(patient, TemplateState::Held);
        },
        "message",
        1,
        "Look at the template hello_world",
        "doctor wa",
    ),
    fate("131047", |patient| refused(patient, 131_047), "message", 1, "has not written for 24 hours", "doctor wa"),
    fate("131026", |patient| refused(patient, 131_026), "message", 1, "cannot be reached over WhatsApp", "doctor wa"),
    fate("132000", |patient| refused(patient, 132_000), "message", 1, "wants parameters", "doctor wa"),
    fate("131031", |patient| refused(patient, 131_031), "message", 2, "The account is locked", "doctor wa"),
    fate("131042", |patient| refused(patient, 131_042), "message", 2, "Put the payment method right", "doctor wa"),
    fate("368", |patient| refused(patient, 368), "message", 2, "for a breach of policy", "doctor wa"),
    fate("33", |patient| refused(patient, 33), "message", 2, "The number was deleted", "doctor wa"),
    fate("190", |patient| refused(patient, 190), "message", 2, "Meta refuses the token itself", "doctor wa"),
    fate("10", |patient| refused(patient, 10), "message", 2, "needs whatsapp_business_messaging", "doctor wa"),
    fate("130429", |patient| refused(patient, 130_429), "message", 3, "A limit of messages is reached", "doctor wa"),
    fate("131056", |patient| refused(patient, 131_056), "message", 3, "A limit of messages is reached", "doctor wa"),
    fate("131000", |patient| refused(patient, 131_000), "message", 3, "The trouble is at Meta", "doctor wa"),
    fate("131057", |patient| refused(patient, 131_057), "message", 3, "The trouble is at Meta", "doctor wa"),
    fate(
        "a lost answer",
        |patient| {
            sends(patient);
            patient.fault(&format!("/{NUMBER}/messages"), FaultKind::Reset);
        },
        "message",
        3,
        "only the answer was lost",
        "doctor wa",
    ),
];

fn template(patient: &Patient, state: TemplateState) {
    patient.account(|account| account.templates.extend([(("hello_world".to_owned(), "en_US".to_owned()), state)]));
}

fn git(patient: &Patient, arguments: &[&str]) {
    let folder = patient.stage.folder.path();
    let done = Command::new("git").args(arguments).current_dir(folder).env("HOME", folder).output().expect("git runs");
    assert!(done.status.success(), "{arguments:?}: {done:?}");
}

/// What stands on this machine.
const HOSTS: &[Fate] = &[
    fate(
        "a secret that is not there",
        |patient| {
            patient.stage.write("config.env", &format!("META_APP_SECRET={SECRET}\n"));
            fs::set_permissions(patient.stage.path("config.env"), Permissions::from_mode(0o600))
                .expect("the owner may");
        },
        "secret",
        3,
        "shows each folder on the way",
        "namei -l",
    ),
    fate(
        "an app's secret that is not there",
        |patient| {
            patient.stage.write("config.env", &format!("WA={}\n", patient.written));
            fs::set_permissions(patient.stage.path("config.env"), Permissions::from_mode(0o600))
                .expect("the owner may");
        },
        "app",
        3,
        "META_APP_SECRET",
        "doctor",
    ),
    fate(
        "a file that everybody can read",
        |patient| {
            patient.admit();
            fs::set_permissions(patient.stage.folder.path(), Permissions::from_mode(0o755)).expect("the owner may");
            fs::set_permissions(patient.stage.path("config.env"), Permissions::from_mode(0o644))
                .expect("the owner may");
        },
        "file",
        1,
        "Close it: `chmod o= ",
        "chmod o= ",
    ),
    fate(
        "a file that everybody can change",
        |patient| {
            patient.admit();
            fs::set_permissions(patient.stage.folder.path(), Permissions::from_mode(0o755)).expect("the owner may");
            fs::set_permissions(patient.stage.path("config.env"), Permissions::from_mode(0o602))
                .expect("the owner may");
        },
        "file",
        1,
        "Take the right to write from everybody",
        "chmod o-w ",
    ),
    fate(
        "a file that git tracks",
        |patient| {
            patient.admit();
            git(patient, &["init", "-q"]);
            git(patient, &["add", "config.env"]);
        },
        "file",
        1,
        "Take it out of the index",
        "git -C ",
    ),
    fate(
        "a file that git does not ignore",
        |patient| git(patient, &["init", "-q"]),
        "file",
        1,
        "The next commit of everything would take it",
        "printf ",
    ),
    fine("a file that git ignores", |patient| {
        git(patient, &["init", "-q"]);
        patient.stage.write(".gitignore", "config.env\n");
    }),
    fate(
        "an API version that has ended",
        |patient| patient.meta.push_str("version = \"v18.0\"\n"),
        "version",
        1,
        "Set version = ",
        "doctor",
    ),
    fate(
        "a relay that is not there",
        |patient| patient.relay.push_str("{ url = \"smtp://127.0.0.1:9?tls=none\" }"),
        "relay",
        2,
        "can be reached from here",
        "doctor",
    ),
    fate(
        "an application that is broken",
        |patient| patient.more.push_str("[tokens.probe]\nhttp = \"http://127.0.0.1:9/health\"\n"),
        "application",
        2,
        "See why in its log",
        "doctor wa",
    ),
    fine("an application that may not be asked unasked", |patient| {
        patient.more.push_str("[tokens.probe]\nhttp = \"http://127.0.0.1:9/send\"\nmethod = \"POST\"\njson = '{}'\n");
    }),
    fate(
        "an application that is asked all the same",
        |patient| {
            patient
                .more
                .push_str("[tokens.probe]\nhttp = \"http://127.0.0.1:9/send\"\nmethod = \"POST\"\njson = '{}'\n");
            patient.argument(&["--try-application"]);
        },
        "application",
        2,
        "See why in its log",
        "doctor wa",
    ),
];

/// Every fate in one table: the first remedy, the exit code, the commands and the addresses.
#[test]
fn every_fate_leads_to_the_right_first_remedy() {
    let mut commands = BTreeSet::new();
    let mut failures = Vec::new();
    for fate in TOKENS.iter().chain(NUMBERS).chain(MESSAGES).chain(HOSTS).chain(BOTH) {
        let mut patient = Patient::new();
        (fate.befalls)(&mut patient);
        let said = patient.examine();
        let report: Value =
            serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{}: {error}: {said:?}", fate.name));
        let first = &report["first"];
        let seen = first["remedy"][0].as_str().map(|remedy| {
            let (step, next) = (first["step"].as_str().unwrap_or_default(), first["next"].as_str().unwrap_or_default());
            (step.to_owned(), said.code, remedy.to_owned(), next.to_owned())
        });
        let lines = report["lines"].as_array().cloned().unwrap_or_default();
        let told = |step: &str, status: &str| lines.iter().any(|line| line["step"] == step && line["status"] == status);
        let is_sent = !patient.arguments.iter().any(|argument| argument == "--send-to") || told("message", "right");
        let right = match (&seen, fate.first) {
            (None, None) => said.code == 0 && is_sent,
            (Some((step, code, remedy, next)), Some((wanted, exit, words, command))) => {
                step == wanted && *code == exit && remedy.contains(words) && next.contains(command)
            }
            _ => false,
        };
        if !right {
            failures.push(format!("{}: {seen:?}, not {:?}", fate.name, fate.first));
        }
        for line in report["lines"].as_array().into_iter().flatten() {
            let texts: Vec<&str> = line["remedy"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let named = texts.iter().flat_map(|text| text.split('`').skip(1).step_by(2)).map(str::to_owned);
            let mut all: Vec<String> = named.chain(line["next"].as_str().map(str::to_owned)).collect();
            for command in &all {
                if let Some(wrong) = not_a_command(&patient, command) {
                    failures.push(format!("{}: {wrong}", fate.name));
                }
            }
            let folder = patient.stage.folder.path().display().to_string();
            commands.extend(all.drain(..).map(|command| shape(&command, &folder)));
            for text in texts {
                if let Some(wrong) = foreign_address(text) {
                    failures.push(format!("{}: {wrong} in {text}", fate.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} fates:\n{}", failures.len(), failures.join("\n"));
    for expected in [
        "tokenwatch doctor",
        "tokenwatch doctor wa",
        "tokenwatch replace wa",
        "tokenwatch renew wa",
        "chmod",
        "git",
        "namei",
        "printf",
    ] {
        assert!(
            commands.iter().any(|command| command.starts_with(expected)),
            "{expected} is never named: {commands:#?}"
        );
    }
}

/// Where this machine has its programs.
#[expect(clippy::disallowed_methods, reason = "a test has no other way to know where git is")]
fn search_path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

/// A command without what differs from stage to stage.
fn shape(command: &str, folder: &str) -> String {
    let command = command.replace(folder, "FOLDER");
    command.replace(" --config FOLDER/tokenwatch.toml", "")
}

/// Runs a command as a person would, in a shell, with a token to hand over on standard input. Whether it does any good is not asked here; that it
/// exists and is understood is.
fn not_a_command(patient: &Patient, command: &str) -> Option<String> {
    // These look at a whole machine, which a test has not, ask for a process that is gone, or wait until a limit is over.
    if ["systemctl ", "timedatectl", "journalctl ", "ps ", "sleep "].iter().any(|tool| command.starts_with(tool)) {
        return None;
    }
    let bin = Path::new(TOKENWATCH).parent().expect("a folder").display().to_string();
    let path = format!("{bin}:{}", search_path());
    let mut shell = Command::new("sh");
    let shell = patient.stage.dress(shell.args(["-c", command])).env("PATH", path);
    let child = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let output = child.expect("a shell").wait_with_output().expect("it ends");
    let understood = !matches!(output.status.code(), None | Some(64 | 126 | 127));
    // Without a token to take, `replace` ends as wrongly used, but it is understood.
    let wants_input =
        command.contains(" replace ") && String::from_utf8_lossy(&output.stderr).contains("no new token came");
    (!understood && !wants_input).then(|| format!("{command:?} is no command: {output:?}"))
}

/// An address whose shape has an id in it, without that of this patient.
fn foreign_address(text: &str) -> Option<String> {
    let addresses = text.split_whitespace().filter_map(|word| word.find("https://").map(|at| &word[at..]));
    for address in addresses.map(|address| address.trim_end_matches(['.', ',', ';', ':', ')'])) {
        let needs: &[&str] = match address {
            _ if address.starts_with("https://developers.facebook.com/apps/") => &[APP, "apps/999/"],
            _ if address.contains("/billing_hub/") || address.contains("/wa/manage/") => {
                &[WABA, NUMBER, "102290000000002", BUSINESS]
            }
            _ => continue,
        };
        let is_list = address == "https://developers.facebook.com/apps/";
        if !is_list && !needs.iter().any(|id| address.contains(id)) {
            return Some(address.to_owned());
        }
    }
    None
}

/// Whoever is woken reads this. One failing step hides no other, and an app at fault does not keep the token from being asked.
#[test]
fn the_table_for_a_tired_person() {
    let mut patient = Patient::new();
    "ffffffffffffffffffffffffffffffff".clone_into(&mut patient.app_secret);
    patient.account(|account| account.health = Health::blocked(141_006, "A payment error.", "Pay."));
    patient.admit();
    let said = patient.stage.run(&["doctor"]);
    assert_eq!(said.code, 2, "{said:?}");
    for line in [
        "app helpdesk",
        "✖ app          the app secret does not match the app id",
        "wa\n  ✔ secret       read from WA in ",
        "✔ token        it works (asked with the token itself; its app cannot ask)",
        "✔ number       +1 650-253-0000, Tea House, status CONNECTED, quality GREEN, mode LIVE",
        "✖ health       the WhatsApp Business Account 102290000000001 is blocked, error 141006: A payment error.; Pay.",
        "→ Put the payment method right: https://business.facebook.com/billing_hub/payment_settings?business_id=2729063490586005&waba_id=102290000000001",
        "– application  no health check is configured",
        "First: wa, health: ",
        "Run next: tokenwatch",
    ] {
        assert!(said.out.contains(line), "{line}\n{}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'), "no colour where there is no terminal");
    let dead = patient.stage.run(&["doctor", "--json", "nobody"]);
    assert_eq!(dead.code, 1);
    assert!(dead.err.contains("no token is called nobody"), "{dead:?}");
}

#[test]
fn an_env_file_without_any_configuration() {
    let patient = Patient::new();
    let env = patient.stage.write(
        "app.env",
        &format!(
            "META_APP_ID={APP}\nMETA_APP_SECRET={SECRET}\nWHATSAPP_ACCESS_TOKEN=\"{}\"\nWHATSAPP_PHONE_NUMBER_ID={NUMBER}\n\
             WHATSAPP_BUSINESS_ACCOUNT_ID={WABA}\n",
            patient.token
        ),
    );
    fs::set_permissions(&env, Permissions::from_mode(0o600)).expect("the owner may");
    let mut stage = patient.stage;
    stage.environment.remove("TOKENWATCH_CONFIG");
    stage.environment.insert("TOKENWATCH__PROVIDER__META__BASE_URL".to_owned(), stage.base_url());
    let file = env.display().to_string();
    let said = stage.run(&["doctor", "--env-file", &file]);
    assert_eq!(said.code, 0, "{said:?}");
    for line in ["whatsapp-access-token\n", "✔ number", "✔ health", "✔ webhooks", "– relay", "Nothing is wrong"]
    {
        assert!(said.out.contains(line), "{line}\n{}", said.out);
    }
    stage.sim().with_world(|world| world.user_event(MACHINE, Event::PasswordChanged, unix_now()));
    let said = stage.run(&["doctor", "--env-file", &file]);
    assert_eq!(said.code, 2, "{said:?}");
    let next = format!("Run next: tokenwatch doctor whatsapp-access-token --env-file {}\n", env.display());
    assert!(said.out.ends_with(&next), "{}", said.out);
    assert_eq!(stage.run(&["doctor", "--env-file", "/nowhere/x.env"]).code, 3);
}

/// A date is watched as well as a token: where there is no secret, nothing is said about one.
#[test]
fn what_has_no_secret_has_its_date() {
    let stage = Stage::new();
    let tokens = "[[tokens]]\nname = \"badge\"\nprovider = \"manual\"\nexpires = \"2199-01-01\"\n";
    stage.configure(&stage.config("{ url = \"smtp://127.0.0.1:1?tls=none\" }", tokens));
    let said = stage.run(&["doctor", "badge"]).out;
    let line = |name: &str| said.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(line("secret").contains("– secret") && line("secret").contains("there is none"), "{said}");
    assert!(line("deadline").contains("✔ deadline") && line("deadline").contains("2199, 00:00 UTC"), "{said}");
    assert!(!said.contains("exposure"), "{said}");
}

/// A message is sent once, by one token, to a number that can exist, and only when somebody asks for it.
#[test]
fn nothing_reaches_a_person_unasked() {
    let mut patient = Patient::new();
    patient.more = patient.stage.token("other", "WA") + "[tokens.whatsapp]\nphone_number_id = \"1\"\n";
    patient.admit();
    let sent = |patient: &Patient| patient.world(|world| world.sent_messages().len());
    assert_eq!(patient.stage.run(&["doctor", "wa"]).code, 0);
    for (arguments, words) in [
        (&["doctor", "wa", "--send-to", "919812345678"][..], "did you mean +919812345678?"),
        (&["doctor", "wa", "--send-to", "+91 98123"], "too few or too many digits"),
        (&["doctor", "--send-to", "+919812345678"], "name the one token to send with: wa, other"),
    ] {
        let said = patient.stage.run(arguments);
        assert_eq!(said.code, 64, "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
    }
    assert_eq!(sent(&patient), 0);
    let said = patient.stage.run(&["doctor", "wa", "--send-to", "+91 98123 45678"]);
    assert_eq!((said.code, sent(&patient)), (0, 1), "{said:?}");
    assert!(said.out.contains("accepted is not delivered"), "{}", said.out);
}

/// The app's secret is looked after as the tokens are.
#[test]
fn an_apps_secret_that_everybody_can_see() {
    let mut patient = Patient::new();
    "abcdef0123456789abcdef0123456789".clone_into(&mut patient.app_secret);
    patient.world(|world| world.add_app(App::new(APP, "Help desk", "abcdef0123456789abcdef0123456789")));
    patient.admit();
    assert_eq!(patient.stage.run(&["doctor"]).code, 0);
    let open = patient.stage.write("app.secret", &patient.app_secret);
    fs::set_permissions(patient.stage.folder.path(), Permissions::from_mode(0o755)).expect("the owner may");
    fs::set_permissions(&open, Permissions::from_mode(0o644)).expect("the owner may");
    let config = fs::read_to_string(patient.stage.path("tokenwatch.toml")).expect("the configuration");
    let place = format!("{{ env_file = {}, key = \"META_APP_SECRET\" }}", quoted(&patient.stage.path("config.env")));
    patient.stage.configure(&config.replace(&place, &format!("{{ file = {} }}", quoted(&open))));
    let script = "while :; do sleep 0.1; done # ";
    let mut shower = Command::new("sh").args(["-c", script, "app", &patient.app_secret]).spawn().expect("a shell");
    let said = patient.stage.run(&["doctor"]);
    shower.kill().and_then(|()| shower.wait()).expect("it ends");
    assert_eq!(said.code, 1, "{said:?}");
    let app = said.out.split("\nwa\n").next().unwrap_or_default();
    assert!(app.contains("✖ file") && app.contains("everybody on this machine can read it"), "{app}");
    assert!(app.contains("✖ exposure     it is shown in the command line of process"), "{app}");
}

/// What stands in the place of an id may be a secret: it is not repeated, and not sent anywhere.
#[test]
fn a_secret_in_the_place_of_an_id() {
    let patient = Patient::new();
    let env = patient.stage.write(
        "app.env",
        &format!(
            "META_APP_ID={SECRET}\nMETA_APP_SECRET={APP}\nWHATSAPP_ACCESS_TOKEN={token}\nWHATSAPP_PHONE_NUMBER_ID={token}\nWABA_ID={token}\n",
            token = patient.token
        ),
    );
    let mut stage = patient.stage;
    stage.environment.insert("TOKENWATCH__PROVIDER__META__BASE_URL".to_owned(), stage.base_url());
    for command in ["doctor", "check"] {
        let said = stage.run(&[command, "--env-file", &env.display().to_string()]);
        for hidden in [&patient.token[..16], &SECRET[..16]] {
            assert!(!said.out.contains(hidden) && !said.err.contains(hidden), "{said:?}");
        }
        assert!(said.err.contains("META_APP_ID is not an id"), "{said:?}");
    }
    let asked = stage.sim().requests();
    assert!(asked.keys().all(|path| !path.contains("EAA") && !path.contains(&SECRET[..16])), "{asked:?}");
    stage.configure(&stage.config(
        "",
        &(stage.token("wa", "WA") + &format!("[tokens.whatsapp]\nphone_number_id = {:?}\n", patient.token)),
    ));
    let said = stage.run(&["config", "check"]);
    assert_eq!(said.code, 78, "{said:?}");
    assert!(said.err.contains("phone_number_id is no id") && !said.err.contains(&patient.token[..16]), "{said:?}");
}

/// Whoever asks on lengthens the pause: of an app that is throttled no other token is asked about.
#[test]
fn a_throttled_app_is_left_alone() {
    let mut patient = Patient::new();
    for n in 0..60 {
        patient.more.push_str(&patient.stage.token(&format!("t{n}"), "WA"));
    }
    patient.answers("/debug_token", 400, r#"{"error":{"code":4,"message":"Application request limit reached"}}"#);
    let said = patient.examine();
    assert_eq!(said.code, 3, "{said:?}");
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    let next = report["first"]["next"].as_str().unwrap_or_default();
    assert!(next.starts_with("sleep ") && next.contains(" && tokenwatch"), "{next}");
    let asked = patient
        .stage
        .sim()
        .requests()
        .iter()
        .filter(|(path, _)| path.contains("debug_token"))
        .map(|(_, n)| n)
        .sum::<u64>();
    // As many as may be under way at once; the others are not asked about.
    assert!(asked <= 40, "{asked}");
}

/// What was not asked is not told as asked, nor as not configured; and an answer about one token says nothing of another's budget.
#[test]
fn what_was_not_heard_is_not_claimed() {
    let mut patient = Patient::new();
    let env = quoted(&patient.stage.path("config.env"));
    patient.more.push_str(&format!(
        "[[tokens]]\nname = \"alone\"\nprovider = \"meta\"\nsecret = {{ env_file = {env}, key = \"WA\" }}\n"
    ));
    patient.fault("/v25.0/me", FaultKind::Html503);
    patient.fault(&format!("/{NUMBER}"), FaultKind::Html503);
    let said = patient.examine();
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    let line = |name: &str, step: &str| {
        let lines = report["lines"].as_array().expect("lines");
        let found = lines.iter().find(|line| line["name"].as_str().unwrap_or("host") == name && line["step"] == step);
        found.map(|line| (line["status"].as_str().unwrap_or_default(), line["saw"].as_str().unwrap_or_default()))
    };
    assert_eq!(line("wa", "token").map(|(status, _)| status), Some("right"), "{said:?}");
    assert_eq!(line("wa", "number").map(|(status, _)| status), Some("wrong"), "{said:?}");
    let webhooks = ("not_tried", "it was not asked, as WhatsApp did not answer about the number");
    assert_eq!(line("wa", "webhooks"), Some(webhooks));
    assert_eq!(line("alone", "token").map(|(status, _)| status), Some("wrong"), "{said:?}");
    assert_eq!(line("host", "budget"), Some(("not_tried", "there was no answer")));
}

/// What an unshared machine would tell to everybody: a secret on a command line.
#[test]
fn a_secret_on_a_command_line() {
    let mut patient = Patient::new();
    // The simulator gives the same tokens in the same order: this one must be no other test's.
    for _ in 0..50 {
        machine(&mut patient, Lifetime::SixtyDays, 0);
    }
    patient.admit();
    let script = "while :; do sleep 0.1; done # ";
    let mut shower = Command::new("sh").args(["-c", script, "app", &patient.token]).spawn().expect("a shell");
    let said = patient.examine();
    shower.kill().and_then(|()| shower.wait()).expect("it ends");
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((report["first"]["step"].as_str(), said.code), (Some("exposure"), 1), "{said:?}");
    let next = report["first"]["next"].as_str().unwrap_or_default();
    assert_eq!(next, format!("ps -o pid,ppid,user,comm -p {}", shower.id()));
}

/// A real mail server: everything up to the message is tried and nothing is sent, unless it is asked for.
#[test]
fn a_relay_is_tried_without_a_mail() {
    let exim = Exim::start("swordfish");
    let mut patient = Patient::new();
    patient.relay = exim.relay();
    patient.admit();
    let said = patient.stage.run(&["doctor"]);
    assert_eq!(said.code, 0, "{said:?}\n{}", exim.log());
    let port = exim.relay().split("127.0.0.1:").nth(1).and_then(|rest| rest.split('?').next()).map(str::to_owned);
    let taken = format!(
        "✔ relay        127.0.0.1:{} takes mail for the one address; nothing was sent",
        port.unwrap_or_default()
    );
    assert!(said.out.contains(&taken), "{}", said.out);
    assert_eq!(exim.count(), 0, "{}", exim.log());

    let said = patient.stage.run(&["doctor", "--send-mail"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("a test mail to default was taken for 1 of 1 addresses"), "{}", said.out);
    let letter = exim.wait_mail("the test mail", |letter| letter.subject().contains("a test"));
    assert_eq!(letter.header("Auto-Submitted"), "auto-generated");

    patient.stage.write("wrong", "sardine\n");
    let wrong = quoted(&patient.stage.path("wrong"));
    let of_exim =
        exim.relay().split("password = ").nth(1).and_then(|rest| rest.split("}, ca_file").next()).map(str::to_owned);
    patient.relay = exim.relay().replace(&of_exim.unwrap_or_default(), &format!("{{ file = {wrong} "));
    let report = patient.examine();
    let report: Value = serde_json::from_str(&report.out).expect("JSON");
    let first = &report["first"];
    assert_eq!(first["step"], "relay", "{first}");
    let remedy = first["remedy"][0].as_str().unwrap_or_default();
    assert!(remedy.contains("Put the right password there") && !first.to_string().contains("sardine"), "{first}");
}

/// The way from a test ticket to WhatsApp: the application is asked as a customer would, and must take the ticket.
#[test]
fn the_application_takes_a_test_ticket() {
    let desk = Hook::start();
    let mut patient = Patient::new();
    let ticket = r#"{"ticketId":"TEST-1","phone":"+15550001111","message":"test"}"#;
    patient.more = format!(
        "[tokens.probe]\nhttp = {:?}\nmethod = \"POST\"\njson = '{ticket}'\nstatus = 200\n",
        desk.url("/api/whatsapp/send")
    );
    patient.admit();
    let said = patient.stage.run(&["doctor"]);
    assert_eq!((said.code, desk.calls().len()), (0, 0), "a ticket reaches a person: {said:?}");
    assert!(said.out.contains("may reach a person; --try-application asks it"), "{}", said.out);

    let said = patient.stage.run(&["doctor", "--try-application"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("/api/whatsapp/send answers with status 200"), "{}", said.out);
    let calls = desk.calls();
    assert_eq!((calls.len(), calls[0].line.as_str()), (1, "POST /api/whatsapp/send"));
    assert_eq!(calls[0].json(), serde_json::from_str::<Value>(ticket).expect("JSON"));
    assert_eq!(calls[0].header("content-type"), "application/json");

    // The token is fine and the application is not: that is what comes first.
    desk.set(Mood::Answer(502));
    let said = patient.stage.run(&["doctor", "--try-application"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.out.contains("First: wa, application: POST ") && said.out.contains("answers with status 502, not 200"),
        "{}",
        said.out
    );
}

/// As many tokens as an agency has: each is walked, all at once, and only what is wrong is shown.
#[test]
fn two_hundred_tokens() {
    let mut patient = Patient::new();
    let mut lines = format!("META_APP_SECRET={SECRET}\nWA={}\n", patient.token);
    for n in 0..200 {
        let token = patient.world(|world| world.issue_system_user(MACHINE, &SCOPES, Lifetime::Never, unix_now()));
        lines.push_str(&format!("T{n}={token}\n"));
        patient.more.push_str(&patient.stage.token(&format!("t{n}"), &format!("T{n}")));
        if n == 117 {
            patient.world(|world| world.revoke(&token, unix_now()));
        }
    }
    patient.stage.write("config.env", &lines);
    fs::set_permissions(patient.stage.path("config.env"), Permissions::from_mode(0o600)).expect("the owner may");
    patient.admit();
    let said = patient.stage.run(&["doctor"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.out.contains("\n✔ t116\nt117\n  ✖ token        revoked: "), "{}", said.out);
    assert!(said.out.contains("First: t117, token: ") && said.out.lines().count() < 250, "{}", said.out);
}
