//! The configuration that `init` writes, as text: what was found, what was learned about it, and placeholders for the rest.
//!
//! It reads and writes no file and asks nobody. No secret may come into it, and nothing from outside may leave the comment or the quotes that
//! it stands in.

use super::check::CheckedToken;
use super::env_file::{APP_NAME, Found, FoundToken, Half, quote};
use crate::advice::{kind_in_words, plain};
use crate::domain::inspection::{Expiry, Grant, Inspection, TokenKind, Validity};
use crate::domain::time::{Span, Timestamp, relative};
use crate::redact::redact;
use crate::settings::value::{self, is_id};
use crate::zone::Zone;

/// A configuration that is not written yet.
pub struct Draft {
    /// The text.
    pub text: String,
    /// Lines that hold a placeholder, counted from one, and what belongs there.
    pub edits: Vec<(usize, &'static str)>,
    /// What a person should know before it is put to work.
    pub warnings: Vec<String>,
}

/// How people are reached and the application is restarted, as far as it is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wishes {
    /// Who is on call.
    pub email: Option<String>,
    /// The sender of the mails.
    pub from: Option<String>,
    /// The relay that takes them.
    pub relay: Option<String>,
    /// The application's unit.
    pub unit: Option<String>,
}

/// What one check taught about a token.
#[derive(Debug)]
pub struct Learned {
    /// What the provider said.
    pub facts: Option<Inspection>,
    /// Why it said nothing.
    pub failure: Option<String>,
}

impl Learned {
    /// What that check taught.
    pub fn of(checked: &CheckedToken) -> Self {
        let status = &checked.step.status;
        Self { facts: status.current_facts().cloned(), failure: status.last_error.as_ref().map(ToString::to_string) }
    }
}

impl Draft {
    /// The configuration for what an env file holds; `learned` is about its tokens, in their order.
    pub fn of(found: &Found, learned: &[Learned], wishes: &Wishes, now: Timestamp) -> Self {
        let draft = Self { text: String::new(), edits: Vec::new(), warnings: Vec::new() };
        let mut pen = Pen { draft, found, learned, wishes, now };
        pen.head();
        pen.daemon();
        pen.people();
        pen.app();
        for (token, learned) in found.tokens.iter().zip(learned) {
            pen.token(token, learned);
        }
        pen.draft
    }
}

/// Writes one.
struct Pen<'a> {
    draft: Draft,
    found: &'a Found,
    learned: &'a [Learned],
    wishes: &'a Wishes,
    now: Timestamp,
}

/// What becomes of a token if nobody does anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outlook {
    /// It does not work any more.
    Dead,
    /// It lives for hours.
    Short,
    /// It lives and dies with a person's login.
    Page,
    /// It is the app itself.
    App,
    /// It has no end.
    Endless,
    /// It ends, and can be renewed before.
    Ends,
    /// Nobody told.
    Untold,
}

/// The parts.
impl Pen<'_> {
    fn head(&mut self) {
        let (now, file) = (Zone::UTC.long(self.now), self.found.file.display().to_string());
        self.remark(&format!("tokenwatch: written by `tokenwatch init` on {now}, from {file}."));
        self.remark(
            "Every key is described in docs/configuration.md; `tokenwatch config check` names all faults at once. No secret stands here, only \
             the place of each: it is read again at every check.",
        );
    }

    fn daemon(&mut self) {
        self.blank();
        self.line("[daemon]");
        self.noted("listen   = \"127.0.0.1:9847\"", "status page and /metrics");
        self.noted("timezone = \"UTC\"", "for dates in mails and for cron expressions");
        self.line("# state  = \"sqlite:///var/lib/tokenwatch/tokenwatch.db\"");
        self.remark("Without that line the state is kept in $STATE_DIRECTORY, as the unit has it, else in the XDG state folder.");
        self.blank();
        self.line("[schedule]");
        self.noted("check  = \"15m\"", "each token once in this period");
        self.noted("digest = \"0 0 9 * * Mon\"", "the summary, which proves the way to people; \"\" turns it off");
        self.blank();
        self.line("[policy]");
        self.noted("alert_before = [\"21d\", \"14d\", \"7d\", \"3d\", \"1d\"]", "the ladder to an end");
    }

    fn people(&mut self) {
        let wishes = self.wishes;
        self.blank();
        self.line("[smtp]");
        self.filled("from   = ", wishes.from.as_deref(), "", FROM);
        let with_user = wishes.relay.as_deref().filter(|url| value::relay_url(url).is_ok_and(|url| url.user.is_some()));
        if let Some(url) = with_user {
            let line =
                format!("relays = [{{ url = {}, password = {{ credential = \"smtp-password\" }} }}]", quote(url));
            self.placeholder(&line, PASSWORD);
        } else {
            self.filled("relays = [{ url = ", wishes.relay.as_deref(), " }]", RELAY);
        }
        self.blank();
        self.line("[receivers.default]");
        self.filled("email = [", wishes.email.as_deref(), "]", EMAIL);
        self.line("# escalate = { from = \"critical\", email = [\"lead@example.com\"] }");
        self.blank();
        self.noted("# [heartbeat]", "somebody who calls you when tokenwatch falls silent");
        self.line("# url = \"https://hc.example.com/ping/uuid\"");
    }

    fn app(&mut self) {
        self.blank();
        let found = self.found;
        if let Some(app) = &found.app {
            self.noted(&format!("[apps.{APP_NAME}]"), "the Meta app that the tokens belong to");
            if is_id(&app.id) {
                self.line(&format!("id     = {}", quote(&app.id)));
            } else {
                self.placeholder("id     = \"000000000000000\"", APP_ID);
                self.warn(format!("what stands at {} is no app id: an id is a number", app.id_key));
            }
            self.line(&format!("secret = {}", found.place(app.secret_key)));
            return;
        }
        let why = found.shortcoming().unwrap_or_default();
        self.warn(why.to_owned());
        self.remark(&format!(
            "{}. The id stands in the app's dashboard, under App settings, Basic; with it here, and with `app = \"{APP_NAME}\"` at each token, ends \
             and permissions are watched as well.",
            capitalised(why)
        ));
        let (id, secret_key) = match &found.half {
            Some(Half::Id(id)) if is_id(id) => (id.as_str(), "META_APP_SECRET"),
            Some(Half::Secret(key)) => ("634900000000001", *key),
            Some(Half::Id(_)) | None => ("634900000000001", "META_APP_SECRET"),
        };
        self.line(&format!("# [apps.{APP_NAME}]"));
        self.line(&format!("# id     = {}", quote(id)));
        self.line(&format!("# secret = {}", found.place(secret_key)));
    }

    fn token(&mut self, token: &FoundToken, learned: &Learned) {
        let facts = learned.facts.as_ref();
        let grants = facts.and_then(|facts| facts.grants.as_deref());
        let works = facts.is_some_and(|facts| facts.validity == Validity::Valid);
        self.blank();
        match facts {
            Some(facts) => self.facts(token, facts),
            None => {
                let why =
                    learned.failure.as_deref().map_or_else(|| "nobody answered".to_owned(), |why| self.clean(why));
                self.warn(format!("nothing could be learned about {}: {why}", token.name));
                self.remark(&format!(
                    "{}: nothing could be learned about it when this was written: {why}. Put that right; then `tokenwatch check {}` tells.",
                    token.key, token.name
                ));
            }
        }
        self.line("[[tokens]]");
        self.line(&format!("name   = {}", quote(&token.name)));
        let off = if self.found.app.is_some() { "" } else { "# " };
        self.line(&format!("{off}app    = {}", quote(APP_NAME)));
        self.line(&format!("secret = {}", self.found.place(token.key)));
        self.scopes(token, grants, works);
        self.line("# runbook = \"https://wiki.example.com/whatsapp-token\"");
        if token.is_for_whatsapp() || is_granted(grants) {
            self.whatsapp(token, grants);
        }
        self.renewal(token, facts);
    }
}

/// The parts of a token.
impl Pen<'_> {
    fn facts(&mut self, token: &FoundToken, facts: &Inspection) {
        self.remark(&format!("{}, as it was when this was written:", token.key));
        let state = match facts.validity {
            Validity::Valid => "it works".to_owned(),
            Validity::Expired => "it has expired".to_owned(),
            Validity::Revoked(cause) => format!("it was revoked: {}", cause.in_words()),
            Validity::Unreadable => "it is no token that Meta can read".to_owned(),
        };
        if facts.validity != Validity::Valid {
            self.warn(format!("{}: {state}", token.name));
        }
        let mut rows = vec![("state", state)];
        rows.extend(facts.message.as_deref().map(|message| ("Meta says", self.clean(message))));
        rows.push(("kind", self.clean(kind_in_words(&facts.kind))));
        rows.extend(facts.app_id.as_deref().map(|id| ("app", self.clean(id))));
        rows.extend(facts.profile_id.as_deref().map(|id| ("page", self.clean(id))));
        rows.extend(facts.issued_at.map(|at| ("issued", Zone::UTC.long(at))));
        rows.push(("ends", self.end(facts.expires)));
        rows.push(("data access", self.end(facts.data_access)));
        rows.push((
            "permissions",
            facts.grants.as_deref().map_or_else(|| "not told".to_owned(), |all| self.granted(all)),
        ));
        for (name, text) in rows {
            self.wrapped(&format!("#   {name:<11}  "), &format!("#   {:11}  ", ""), &text);
        }
    }

    fn scopes(&mut self, token: &FoundToken, grants: Option<&[Grant]>, works: bool) {
        let granted = |start: &str| -> Vec<String> {
            let names = grants.unwrap_or_default().iter().map(|grant| &*grant.scope);
            names.filter(|name| name.starts_with(start) && self.is_scope(name)).map(quote).take(MOST).collect()
        };
        let (whatsapp, all) = (granted(WHATSAPP), granted(""));
        if !whatsapp.is_empty() {
            self.remark("Granted when this was written; the loss of one is told:");
            self.line(&format!("scopes = [{}]", whatsapp.join(", ")));
        } else if token.is_for_whatsapp() {
            if works && grants.is_some() {
                self.warn(format!("{} has no whatsapp_* permission, without which no message can be sent", token.name));
                self.remark("It has no whatsapp_* permission, without which no message can be sent. Without the # that is told:");
            }
            self.line("# scopes = [\"whatsapp_business_messaging\", \"whatsapp_business_management\"]");
        } else if !all.is_empty() {
            self.remark("Without the # in front, the loss of a permission is told:");
            self.line(&format!("# scopes = [{}]", all.join(", ")));
        }
    }

    fn whatsapp(&mut self, token: &FoundToken, grants: Option<&[Grant]>) {
        let (known, found) = (accounts(grants), self.found);
        self.line("[tokens.whatsapp]");
        match found.number.as_deref().filter(|id| is_id(id)) {
            Some(number) => self.line(&format!("phone_number_id     = {}", quote(number))),
            None => self.line("# phone_number_id     = \"521803094347148\""),
        }
        let line = |id: &str| format!("business_account_id = {}", quote(id));
        match (found.account.as_deref().filter(|id| is_id(id)), known.as_slice()) {
            (Some(account), known) => {
                self.line(&line(account));
                if !known.is_empty() && !known.contains(&account) {
                    let listed = listed(known);
                    self.warn(format!("{} does not cover the account {account}; it covers {listed}", token.name));
                    self.remark(&format!("The token does not cover this account; it covers {listed}."));
                }
            }
            (None, [only]) => self.noted(&line(only), "the only account that the token covers"),
            (None, []) => self.line("# business_account_id = \"102290000000001\""),
            (None, several) => {
                self.remark("The token covers several accounts. Take the # away from the one that it is there for:");
                for id in several.iter().take(MOST) {
                    self.line(&format!("# {}", line(id)));
                }
                self.warn(format!(
                    "{} covers several WhatsApp Business Accounts ({}); choose one in the file",
                    token.name,
                    listed(several)
                ));
            }
        }
    }

    fn renewal(&mut self, token: &FoundToken, facts: Option<&Inspection>) {
        let (name, key) = (&token.name, token.key);
        let file = self.found.file.display().to_string();
        self.blank();
        match facts.map_or(Outlook::Untold, |facts| outlook(facts, self.now)) {
            Outlook::Dead => {
                let renewable = facts.is_some_and(can_be_renewed);
                let table = if renewable { "renew" } else { "replace" };
                if facts.is_some_and(Inspection::was_short_lived) {
                    self.remark(MACHINE);
                }
                self.remark(&format!(
                    "It does not work, and a dead token cannot be exchanged: fetch a new one and put it at {key} in {file}, then \
                     `tokenwatch check {name}`. With [tokens.{table}] below, `tokenwatch replace {name}` puts it there and restarts the application."
                ));
                if renewable { self.renew(token, facts) } else { self.replace(token) }
            }
            Outlook::Short => {
                self.warn(format!("{name} lives for hours only: production needs the token of a system user"));
                self.remark("WARNING: this token dies within hours.");
                self.remark(MACHINE);
                self.remark(&format!("Put that one at {key} in {file}, then `tokenwatch check {name}`."));
            }
            Outlook::Page => {
                self.remark(
                    "A page token lives and dies with the login of the person it was made from, and is read again with that person's token. Watch \
                     that one, too, as another [[tokens]], and name it here:",
                );
                self.line("# [tokens.renew]");
                let is_user =
                    |learned: &Learned| learned.facts.as_ref().is_some_and(|facts| facts.kind == TokenKind::User);
                let mut others = self.found.tokens.iter().zip(self.learned);
                let user = others.find(|(_, learned)| is_user(learned));
                let user = user.map_or("the-name-of-that-one", |(other, _)| &other.name);
                self.line(&format!("# user_token = {}", quote(user)));
                self.noted("# cron       = \"0 0 3 1 * *\"", "monthly; it has no end that one could be before");
            }
            Outlook::App => self.remark("It is the app's own token: it lives as long as the app's secret, and is never exchanged."),
            Outlook::Endless => self.remark(
                "It never ends, so it is never exchanged: an exchange could only give it an end. It needs no [tokens.renew]; that it is revoked, \
                 or loses a permission, is told all the same.",
            ),
            Outlook::Ends | Outlook::Untold => {
                self.remark(&format!(
                    "Renewal is off until the # is taken away here. `tokenwatch config sandbox` prints what the unit must be allowed for it, and \
                     `tokenwatch renew {name} --dry-run` what would be done; see docs/renewal.md. The dialect is that of the program that reads the \
                     file, such as \"dotenv\" or \"systemd\"."
                ));
                self.renew(token, facts);
            }
        }
    }

    fn renew(&mut self, token: &FoundToken, facts: Option<&Inspection>) {
        let before = if facts.is_some_and(is_brief) { "\"33%\"" } else { "\"20d\"" };
        let place = self.found.place(token.key);
        let place = place.trim_end_matches(" }");
        self.line("# [tokens.renew]");
        self.noted(&format!("# before  = {before}"), "or \"33%\" of the lifetime, or cron = \"0 0 3 1 * *\" (monthly)");
        self.line(&format!("# publish = [{place}, dialect = \"any\" }}]"));
        self.delivery(token);
    }

    fn replace(&mut self, token: &FoundToken) {
        self.line("# [tokens.replace]");
        self.delivery(token);
    }

    /// How the application is made to read a new token, and how it is seen that it does.
    fn delivery(&mut self, token: &FoundToken) {
        let unit = self.wishes.unit.as_deref().unwrap_or("your-app.service");
        self.line(&format!("# restart = {{ systemd = {} }}", quote(unit)));
        let number = self.found.number.as_deref().filter(|id| is_id(id) && token.is_for_whatsapp());
        let how = number.map_or("http = \"http://localhost:5000/api/health\", within = \"60s\"", |_| "whatsapp = true");
        self.line(&format!("# confirm = {{ {how} }}"));
    }
}

/// Lines and words.
impl Pen<'_> {
    fn line(&mut self, line: &str) {
        self.draft.text.push_str(line);
        self.draft.text.push('\n');
    }

    fn blank(&mut self) {
        self.line("");
    }

    /// A line with a remark behind it.
    fn noted(&mut self, line: &str, note: &str) {
        self.line(&format!("{line:<COLUMN$} # {note}"));
    }

    /// A line that somebody must complete.
    fn placeholder(&mut self, line: &str, what: &'static str) {
        self.noted(line, &format!("EDIT: {what}"));
        self.draft.edits.push((self.draft.text.lines().count(), what));
    }

    /// A line with a value, or with a placeholder where there is none.
    fn filled(&mut self, before: &str, value: Option<&str>, after: &str, (example, what): (&str, &'static str)) {
        let line = |value: &str| format!("{before}{}{after}", quote(value));
        match value {
            Some(value) => self.line(&line(value)),
            None => self.placeholder(&line(example), what),
        }
    }

    /// A comment of its own.
    fn remark(&mut self, text: &str) {
        self.wrapped("# ", "# ", text);
    }

    /// A comment over as many lines as it needs. What a comment may not hold is taken out here, for every one.
    fn wrapped(&mut self, first: &str, other: &str, text: &str) {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut line = first.to_owned();
        let mut is_empty = true;
        for word in unbroken(&text) {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(line.trim_end());
                other.clone_into(&mut line);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(&word);
            is_empty = false;
        }
        self.line(line.trim_end());
    }

    fn warn(&mut self, text: String) {
        self.draft.warnings.push(text);
    }

    /// A text from outside, fit for a comment.
    fn clean(&self, text: &str) -> String {
        let text = plain(&redact(text, &[]));
        if self.found.gives_away(&text) { HIDDEN.to_owned() } else { text }
    }

    /// Whether a permission is named like any that Meta has, and is none in disguise.
    fn is_scope(&self, name: &str) -> bool {
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        !name.is_empty() && name.chars().all(fine) && self.clean(name) == name
    }

    fn end(&self, end: Expiry) -> String {
        match end {
            Expiry::Never => "never".to_owned(),
            Expiry::At(at) => format!("{} ({})", Zone::UTC.long(at), relative(at, self.now)),
            Expiry::Unknown => "not told".to_owned(),
        }
    }

    fn granted(&self, grants: &[Grant]) -> String {
        let one = |grant: &Grant| {
            let scope = self.clean(&grant.scope);
            let ids: Vec<&str> = grant.targets.iter().flatten().map(|id| &**id).filter(|id| is_id(id)).collect();
            if ids.is_empty() { scope } else { format!("{scope} (for {})", listed(&ids)) }
        };
        let all: Vec<String> = grants.iter().take(MOST).map(one).collect();
        match (all.len(), grants.len() - all.len()) {
            (0, _) => "none".to_owned(),
            (_, 0) => all.join(", "),
            (_, more) => format!("{}, and {more} more", all.join(", ")),
        }
    }
}

fn outlook(facts: &Inspection, now: Timestamp) -> Outlook {
    match (&facts.kind, facts.expires) {
        _ if facts.validity != Validity::Valid => Outlook::Dead,
        (TokenKind::App, _) => Outlook::App,
        (TokenKind::Page, _) => Outlook::Page,
        (_, Expiry::Never) => Outlook::Endless,
        (_, Expiry::At(at)) if at.since(facts.issued_at.unwrap_or(now)) <= Span::days(1) => Outlook::Short,
        (TokenKind::User | TokenKind::SystemUser, Expiry::At(_)) => Outlook::Ends,
        _ => Outlook::Untold,
    }
}

/// Whether a token like this one can be exchanged while it lives.
fn can_be_renewed(facts: &Inspection) -> bool {
    matches!(facts.kind, TokenKind::User | TokenKind::SystemUser)
        && facts.expires.date().is_some()
        && !facts.was_short_lived()
}

/// Whether its whole life is too short for the usual lead.
fn is_brief(facts: &Inspection) -> bool {
    facts.issued_at.zip(facts.expires.date()).is_some_and(|(issued, ends)| ends.since(issued) < Span::days(40))
}

fn is_granted(grants: Option<&[Grant]>) -> bool {
    grants.unwrap_or_default().iter().any(|grant| grant.scope.starts_with(WHATSAPP))
}

/// The WhatsApp Business Accounts that a token names; a permission without targets covers all and names none.
fn accounts(grants: Option<&[Grant]>) -> Vec<&str> {
    let business = grants.unwrap_or_default().iter().filter(|grant| grant.scope.starts_with(WHATSAPP));
    let mut ids: Vec<&str> = Vec::new();
    for id in business.filter_map(|grant| grant.targets.as_ref()).flatten().map(|id| &**id).filter(|id| is_id(id)) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

fn listed(ids: &[&str]) -> String {
    let some = ids.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    if ids.len() > MOST { format!("{some} and {} more", ids.len() - MOST) } else { some }
}

/// The words of a text. A command, between two backticks, is one word: half of it on the next line could not be copied.
fn unbroken(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match words.last_mut().filter(|last| last.matches('`').count() % 2 == 1) {
            Some(command) => command.extend([" ", word]),
            None => words.push(word.to_owned()),
        }
    }
    words
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// What a secret is shown as.
const HIDDEN: &str = "***";
/// What the permissions begin with that a WhatsApp application needs.
const WHATSAPP: &str = "whatsapp_";
const FROM: (&str, &str) = ("tokenwatch@example.com", "the sender of the mails");
const RELAY: (&str, &str) =
    ("smtp://localhost:25?tls=none", "your mail relay, such as smtp://alerts@mail.example.com:587");
const EMAIL: (&str, &str) = ("oncall@example.com", "the address of whoever is on call");
const PASSWORD: &str =
    "where the relay's password stands, if not in that systemd credential (LoadCredential=smtp-password:FILE)";
const APP_ID: &str = "the app's id, a number, from the app's dashboard";
const MACHINE: &str = "It is one of those that the page \"API Setup\" of the app's dashboard, or a mere login, gives out, and that live for hours. \
                       Production needs the token of a system user: Business settings, System users, generate a token for this app with the \
                       permissions it needs.";
/// Where remarks begin.
const COLUMN: usize = 34;
/// How long a line of a comment may be.
const WIDTH: usize = 120;
/// More of anything helps nobody.
const MOST: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_stays_on_one_line() {
        let words = unbroken("then `tokenwatch check a b` tells, `or not");
        assert_eq!(words, ["then", "`tokenwatch check a b`", "tells,", "`or not"]);
    }

    #[test]
    fn what_becomes_of_a_token() {
        let now = Timestamp::from_unix(1_767_225_600);
        let facts = |kind, issued: Option<i64>, ends: Expiry| Inspection {
            kind,
            issued_at: issued.map(|days| now.plus(Span::days(days))),
            expires: ends,
            ..Inspection::bare(Validity::Valid)
        };
        let (day, soon) = (Expiry::At(now.plus(Span::hours(23))), Expiry::At(now.plus(Span::days(30))));
        for (facts, wanted) in [
            (facts(TokenKind::User, None, day), Outlook::Short),
            (facts(TokenKind::User, Some(-59), day), Outlook::Ends),
            (facts(TokenKind::User, Some(0), day), Outlook::Short),
            (facts(TokenKind::SystemUser, Some(-30), soon), Outlook::Ends),
            (facts(TokenKind::SystemUser, Some(-30), Expiry::Never), Outlook::Endless),
            (facts(TokenKind::Page, Some(-30), Expiry::Never), Outlook::Page),
            (facts(TokenKind::App, None, Expiry::Unknown), Outlook::App),
            (facts(TokenKind::Unknown, None, Expiry::Unknown), Outlook::Untold),
            (Inspection::bare(Validity::Unreadable), Outlook::Dead),
        ] {
            assert_eq!(outlook(&facts, now), wanted, "{facts:?}");
        }
        assert!(
            is_brief(&facts(TokenKind::User, Some(0), soon)) && !is_brief(&facts(TokenKind::User, Some(-30), soon))
        );
    }
}
