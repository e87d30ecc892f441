//! Every key of a provider's description, described once, as those of the configuration are in `schema`.

use crate::domain::inspection::Cause;
use crate::settings::schema::{Key, Kind, key};

/// What may stand in `[providers.NAME]`.
pub const PROVIDER: &[Key] = &[
    key("title", Kind::Text, "Its name as people write it.").required(),
    key("base_url", Kind::ProviderUrl, "Where it answers; addresses that begin with `/` are below it."),
    key("manage", Kind::HttpUrl, "The page where a person makes and ends its tokens; mails point there."),
    key("steps", Kind::List(&Kind::Text), "What a person does to get a new token, step by step.").or("[]"),
    key("kind", Kind::Text, "What sort of token it is, as the label `kind`, where the answer does not say."),
    key("prefixes", Kind::List(&Kind::Text), "How its tokens begin: tells a token of another family.").or("[]"),
    key("offline", Kind::Word(&["jwt", "certificate", "typed"]), OFFLINE_DOC),
    key(
        "parameters",
        Kind::Named(PARAMETER),
        "What else is needed, by name; a token gives the values in `tokens.parameters`.",
    ),
    key("login", Kind::Table(LOGIN), "A request made before each other one, whose answer holds `{login}`."),
    key("check", Kind::Table(REQUEST), "The request that tells of a token."),
    key("answers", Kind::Items(ANSWER), "What its answers mean; the first that fits counts."),
    key("code", Kind::Texts, "Where the answer's error code stands: a JSON pointer, or several."),
    key("message", Kind::Texts, "Where the answer's words stand: a JSON pointer, or several."),
    key("facts", Kind::Table(FACTS), "Where the facts stand in an answer that means `valid`."),
    key("limits", Kind::Table(LIMITS), "The headers that tell of the rate limit."),
    key("number", Kind::Table(NUMBER), "The WhatsApp number behind a token."),
    key("rotate", Kind::Table(ROTATE), "How it gives another secret."),
    key("revoke", Kind::Table(REQUEST), "The request that ends a token, for `renew.revoke_old`."),
];

const OFFLINE_DOC: &str = "Instead of a check over HTTP: `jwt` reads the claim `exp` of the token itself, `certificate` looks at the \
                           certificate of a server, `typed` believes `tokens.expires`.";

const PARAMETER: &[Key] = &[
    key("doc", Kind::Text, "What it is.").required(),
    key("is", Kind::Word(FORMS), "What may stand there.").or("\"text\""),
    key("begins", Kind::Text, "How every value begins."),
    key("default", Kind::Text, "What counts where nothing is given."),
    key("optional", Kind::Bool, OPTIONAL_DOC).or("false"),
];

/// What may stand in a parameter.
const FORMS: &[&str] = &["text", "url", "path", "duration", "secret", "address"];
const OPTIONAL_DOC: &str = "Whether it may be left out; whatever line of the query, the headers or the body it fills \
                            is then left out as well.";

/// A request. Texts may hold `{secret}`, `{app.id}`, `{app.secret}`, `{login}` and the names of parameters in braces.
const REQUEST: &[Key] = &[
    key("method", Kind::Word(METHODS), "The method.").or("\"GET\""),
    key("url", Kind::Text, URL_DOC).required(),
    key("query", Kind::Map, "The query. No secret may stand in it."),
    key("headers", Kind::Map, "The headers."),
    key("basic", Kind::Table(BASIC), "Basic authentication (RFC 7617)."),
    key("form", Kind::Map, "The body, as a form."),
    key("json", Kind::Tree, "The body, as JSON."),
];

const URL_DOC: &str = "The address, or the part of it below `base_url`. No secret may stand in it.";
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];

const BASIC: &[Key] =
    &[key("user", Kind::Text, "The user.").required(), key("password", Kind::Text, "The password.").required()];

const LOGIN: &[Key] = &[
    key("method", Kind::Word(METHODS), "The method.").or("\"POST\""),
    key("url", Kind::Text, URL_DOC).required(),
    key("query", Kind::Map, "The query. No secret may stand in it."),
    key("headers", Kind::Map, "The headers."),
    key("basic", Kind::Table(BASIC), "Basic authentication (RFC 7617)."),
    key("form", Kind::Map, "The body, as a form."),
    key("json", Kind::Tree, "The body, as JSON."),
    key("token", Kind::Text, "Where `{login}` stands in the answer: a JSON pointer.").required(),
    key("answers", Kind::Items(ANSWER), "What answers without it mean."),
];

const ANSWER: &[Key] = &[
    key("status", Kind::Statuses, "The status: 200, \"4xx\", or a list."),
    key("json", Kind::Map, CONDITIONS_DOC),
    key("header", Kind::Map, "The same of headers, by name."),
    key("body", Kind::Text, "The same of the whole body."),
    key("means", Kind::Word(MEANS), "What it means.").required(),
    key("cause", Kind::Word(&CAUSES), "With `revoked`: why.").or("\"unstated\""),
    key("fault", Kind::Word(FAULTS), "With `app_fault`: which.").or("\"wrong_secret\""),
    key(
        "words",
        Kind::Text,
        "What is said of it, instead of the answer's own words; with `forbidden` what the token may not do.",
    ),
];

const CONDITIONS_DOC: &str = "What must stand where: JSON pointers and values, or lists of values. `*` stands for any text, `{present}` \
                              for anything, `{absent}` for nothing or null.";

/// What an answer can mean.
pub const MEANS: &[&str] = &[
    "valid",
    "forbidden",
    "expired",
    "revoked",
    "unreadable",
    "throttled",
    "unavailable",
    "unknown",
    "app_fault",
    "foreign",
];

/// What can be wrong with an app.
pub const FAULTS: &[&str] = &["wrong_secret", "unknown_app", "deleted", "blocked", "not_privileged"];

/// Why a token can have been revoked.
static CAUSES: [&str; Cause::ALL.len()] = {
    let mut words = [""; Cause::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = Cause::ALL[at].as_str();
        at += 1;
    }
    words
};

const FACTS: &[Key] = &[
    key(
        "select",
        Kind::Table(SELECT),
        "Of a list in the answer, the entry that is this token's; pointers then count from there.",
    ),
    key("expires", Kind::Table(READ), "When it ends."),
    key("issued", Kind::Table(READ), "When it was issued."),
    key("scopes", Kind::Table(WORDS), "What it may do."),
    key("kind", Kind::Table(WORDS), "What sort of token it is."),
    key("user", Kind::Table(WORDS), "Whose it is; a new one must be of the same."),
    key("app", Kind::Table(WORDS), "The app that it belongs to."),
];

const SELECT: &[Key] = &[
    key("list", Kind::Text, "Where the list stands: a JSON pointer.").required(),
    key("where", Kind::Map, "What must stand where in the entry; texts may hold parameters in braces.").required(),
];

const READ: &[Key] = &[
    key("json", Kind::Text, "Where it stands: a JSON pointer."),
    key("header", Kind::Text, "The header that holds it."),
    key("format", Kind::Texts, FORMAT_DOC),
    key("missing", Kind::Word(&["unknown", "never"]), "What it means that nothing stands there, or null, or zero.")
        .or("\"unknown\""),
    key(
        "missing_for",
        Kind::List(&Kind::Text),
        "Of which tokens `missing` is true, by how they begin; of the others nothing is known.",
    ),
    key("or", Kind::Table(OTHER), "Where else it may stand, where nothing stands there."),
    key("always", Kind::Word(&["never"]), "Instead: the same for every token."),
];

const FORMAT_DOC: &str = "`unix`, `unix_ms`, `seconds` (from now), `rfc3339`, `rfc2822`, `date` (its first moment in UTC), or a layout such \
                          as `%Y-%m-%d %H:%M:%S %z`; of several the first that fits.";

/// The other place of a moment.
const OTHER: &[Key] = &[
    key("json", Kind::Text, "Where it stands: a JSON pointer."),
    key("header", Kind::Text, "The header that holds it."),
    key("format", Kind::Texts, FORMAT_DOC),
];

const WORDS: &[Key] = &[
    key("json", Kind::Text, "Where it stands: a JSON pointer."),
    key("header", Kind::Text, "The header that holds it."),
    key("split", Kind::Text, "What stands between the words of a text."),
];

const LIMITS: &[Key] = &[
    key("limit", Kind::Text, "The header with the size of the budget."),
    key("remaining", Kind::Text, "The header with what is left of it."),
    key("reset", Kind::Text, "The header that says when it is full again."),
    key("reset_format", Kind::Word(&["unix", "seconds"]), "How it says that.").or("\"unix\""),
    key("structured", Kind::Bool, "Whether `RateLimit` and `RateLimit-Policy` are sent, as the IETF's draft has them.")
        .or("false"),
];

const NUMBER: &[Key] = &[
    key("by", Kind::Name, "The parameter that names the number; without it the number is the token's own."),
    key(
        "check",
        Kind::Table(REQUEST),
        "The request that tells of it; without it the answer of the token's check does.",
    ),
    key("select", Kind::Table(SELECT), "Of a list in the answer, the entry that is this number's."),
    key("sending", Kind::Text, "Where it stands whether it can send: a JSON pointer."),
    key("available", Kind::List(&Kind::Text), "What stands there when it can.").or("[]"),
    key("limited", Kind::List(&Kind::Text), "What stands there when it can send some.").or("[]"),
    key("blocked", Kind::List(&Kind::Text), "What stands there when it cannot; anything else is not judged.").or("[]"),
    key("quality", Kind::Text, "Where its quality stands: a JSON pointer."),
    key("display", Kind::Text, "Where the number itself stands: a JSON pointer."),
    key("account", Kind::Text, "Where its WhatsApp Business Account stands: a JSON pointer."),
    key("obstacles", Kind::Table(OBSTACLES), "What is in the way."),
    key("health", Kind::Text, "Instead of all that: where Meta's own `health_status` stands: a JSON pointer."),
];

const OBSTACLES: &[Key] = &[
    key("list", Kind::Text, "Where the list stands: a JSON pointer.").required(),
    key("code", Kind::Text, "Where its code stands in an entry."),
    key("words", Kind::Text, "Where its words stand in an entry."),
];

const ROTATE: &[Key] = &[
    key("method", Kind::Word(METHODS), "The method.").or("\"POST\""),
    key("url", Kind::Text, URL_DOC).required(),
    key("query", Kind::Map, "The query. No secret may stand in it."),
    key("headers", Kind::Map, "The headers."),
    key("basic", Kind::Table(BASIC), "Basic authentication (RFC 7617)."),
    key("form", Kind::Map, "The body, as a form."),
    key("json", Kind::Tree, "The body, as JSON."),
    key("prepare", Kind::Table(REQUEST), "A request before it; that there is nothing to do (404) is no failure."),
    key("answers", Kind::Items(ANSWER), "What answers without a new secret mean, before those of the check are tried."),
    key(
        "secret",
        Kind::Text,
        "Where the new secret stands: a JSON pointer. It is left out where the secret stays the same.",
    ),
    key("expires", Kind::Table(READ), "When it ends, where the answer says so and a check does not."),
    key("old", Kind::Word(&["lives", "dies", "same"]), OLD_DOC).required(),
    key(
        "replayable",
        Kind::Bool,
        "Whether the same request may be sent again when its answer was lost, whatever became of the first.",
    )
    .or("false"),
    key(
        "refresh_token",
        Kind::Text,
        "Where the next refresh token stands: a JSON pointer. The parameter `refresh_token` holds the present one.",
    ),
    key("youngest", Kind::Period, "How old a token must be before it is renewed."),
    key(
        "finish",
        Kind::Table(REQUEST),
        "A request once the new one is in place and confirmed, which ends the old one; `{new}` is the new one.",
    ),
];

const OLD_DOC: &str = "What becomes of the old secret: it `lives` on, it `dies` as soon as there is a new one, or there is none and the `same` \
                       secret lives longer.";
