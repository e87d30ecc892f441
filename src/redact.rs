//! Takes secrets out of text that comes from outside, before it is kept, logged or mailed.
//!
//! Meta echoes whole tokens in "Malformed access token …" and HTTP clients print URLs (reference §6.3, §11), so every such text goes
//! through here at the edge, once. It must never let a text through unread because it looks harmless.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// `text` without anything that is, or looks like, a secret: the given secrets first, then known shapes, then the values of parameters
/// that carry secrets; cut to a readable length, on one line.
pub fn redact(text: &str, secrets: &[&Secret]) -> String {
    let mut clean: Cow<'_, str> = Cow::Borrowed(beginning(text));
    for secret in secrets.iter().filter(|secret| secret.expose().len() >= SHORTEST_SECRET) {
        for form in forms(secret.expose()) {
            if clean.contains(&*form) {
                clean = Cow::Owned(clean.replace(&*form, STARS));
            }
        }
    }
    one_line(&without_shapes(&clean))
}

/// The forms in which a secret travels: as it is, percent-encoded in addresses and forms, and in base64 (reference §6 of the providers).
fn forms(secret: &str) -> Vec<Zeroizing<String>> {
    let mut forms = vec![Zeroizing::new(secret.to_owned())];
    let encoded = [
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        utf8_percent_encode(secret, UNRESERVED).to_string(),
        STANDARD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ];
    for form in encoded.map(Zeroizing::new) {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

/// Whether a text holds what looks like a secret. The whole of it is looked at, however long it is.
pub fn holds_a_secret(text: &str) -> bool {
    without_shapes(text) != with_bars(text)
}

fn without_shapes(text: &str) -> String {
    words(&families(&with_bars(&parameters(text))))
}

/// `ID%7CSECRET` is an app token in a url.
fn with_bars(text: &str) -> String {
    text.replace("%7C", "|").replace("%7c", "|")
}

/// Hides the value of `access_token=…`, `"client_secret":"…"`, `Bearer …` and their like.
fn parameters(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(end) = next_carrier(&lower, at) {
        out.push_str(&text[at..end]);
        let tail = &text[end..];
        let separators = tail.len() - tail.trim_start_matches(['=', ':', '"', '\'', ' ', '%']).len();
        let value_and_rest = &tail[separators..];
        let length = value_and_rest.find(ends_value).unwrap_or(value_and_rest.len());
        out.push_str(&tail[..separators]);
        let is_secret = separators > 0 && length >= SHORTEST_SECRET;
        out.push_str(if is_secret { STARS } else { &value_and_rest[..length] });
        at = end + separators + length;
    }
    out.push_str(&text[at..]);
    out
}

/// The end of the first name of a secret at or after `at`; of several that begin there the longest.
fn next_carrier(lower: &str, at: usize) -> Option<usize> {
    CARRIERS
        .iter()
        .filter_map(|name| lower[at..].find(name).map(|found| (at + found, at + found + name.len())))
        .min_by_key(|(start, end)| (*start, std::cmp::Reverse(*end)))
        .map(|(_, end)| end)
}

/// As much of a text as can matter. It is cut between words, so that no half of a token is left whose shape nobody knows.
fn beginning(text: &str) -> &str {
    if text.len() <= LONGEST_INPUT {
        return text;
    }
    let cut = (0..=LONGEST_INPUT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let whole = text[..cut].rfind(char::is_whitespace).unwrap_or(0);
    &text[..whole]
}

/// Hides what begins as tokens of some provider do, dots and all.
fn families(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_family_char) {
        out.push_str(&rest[..start]);
        let tail = &rest[start..];
        let end = tail.find(|c| !is_family_char(c)).unwrap_or(tail.len());
        let word = &tail[..end];
        out.push_str(if is_of_a_family(word) { STARS } else { word });
        rest = &tail[end..];
    }
    out.push_str(rest);
    out
}

fn is_of_a_family(word: &str) -> bool {
    let begins = |part: &str| {
        FAMILIES.iter().any(|(prefix, least)| part.len() >= prefix.len() + least && part.starts_with(prefix))
    };
    let is = |part: &str| begins(part) || is_old_vault(part) || is_of_360dialog(part);
    WEBHOOKS.iter().any(|address| word.contains(address))
        || word.split('/').any(|part| is(part.trim_end_matches(['.', '-'])))
}

/// `s.` and 24 letters and digits: Vault's tokens of old, OpenBao's of today.
fn is_old_vault(word: &str) -> bool {
    let tail = ["s.", "b.", "r."].iter().find_map(|prefix| word.strip_prefix(prefix));
    tail.is_some_and(|tail| tail.len() >= 24 && tail.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// 24 letters and digits and `AK`, as every sample ends.
fn is_of_360dialog(word: &str) -> bool {
    word.len() == 26 && word.ends_with("AK") && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Hides words of a token's shape.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word_char) {
        out.push_str(&rest[..start]);
        let tail = &rest[start..];
        let end = tail.find(|c| !is_word_char(c)).unwrap_or(tail.len());
        let word = &tail[..end];
        out.push_str(if looks_secret(word) { STARS } else { word });
        rest = &tail[end..];
    }
    out.push_str(rest);
    out
}

/// The shapes of reference §11: Facebook, old Facebook, Instagram and Threads tokens; app tokens (`ID|SECRET`, also percent-encoded);
/// and any bare 32- or 64-digit hexadecimal word, which is what app secrets and proofs look like.
fn looks_secret(word: &str) -> bool {
    let prefixed = ["EAA", "CAA", "IGAA", "IGQV", "TH"].iter().any(|prefix| word.starts_with(prefix));
    let app_token = word.split_once('|').is_some_and(|(_, tail)| tail.len() >= 20);
    let hex = matches!(word.len(), 32 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mixed = word.split(['_', '-', '|']).any(is_mixed);
    (prefixed && word.len() >= 20) || app_token || hex || mixed || word.len() >= LONGEST_WORD
}

/// Capitals, small letters and digits in one long run: passwords and tokens of shapes that nobody told us of.
fn is_mixed(run: &str) -> bool {
    let any = |is: fn(&u8) -> bool| run.as_bytes().iter().any(is);
    run.len() >= SHORTEST_MIXED && any(u8::is_ascii_digit) && any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase)
}

fn one_line(text: &str) -> String {
    let mut line: String =
        text.chars().map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c }).take(LONGEST_TEXT).collect();
    if text.chars().nth(LONGEST_TEXT).is_some() {
        line.push('…');
    }
    line.trim().to_owned()
}

/// Marks that turn or hide text: line separators, direction overrides, zero widths.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn is_family_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '|')
}

fn ends_value(c: char) -> bool {
    c.is_whitespace() || matches!(c, '&' | '"' | '\'' | ',' | ';' | ')' | '}' | '>')
}

const STARS: &str = "***";
/// Names of parameters whose values are secrets (reference §11), longest first where one contains another.
const CARRIERS: [&str; 25] = [
    "x-shopify-access-token",
    "secondary_auth_token",
    "fb_exchange_token",
    "x-vault-token",
    "private-token",
    "refresh_token",
    "client_token",
    "d360-api-key",
    "secrettext",
    "access_key",
    "auth_token",
    "set-cookie",
    "accesskey",
    "x-api-key",
    "api_key",
    "appsecret_proof",
    "client_secret",
    "access_token",
    "revoke_token",
    "input_token",
    "app_secret",
    "password",
    "bearer",
    "secret=",
    "code=",
];
/// How tokens begin, and how many characters follow at least (reference §6 of the providers).
const FAMILIES: [(&str, usize); 50] = [
    ("glpat-", 8),
    ("gldt-", 8),
    ("glrt-", 8),
    ("glrtr-", 8),
    ("glptt-", 8),
    ("gloas-", 8),
    ("glcbt-", 8),
    ("glft-", 8),
    ("glimt-", 8),
    ("glagent-", 8),
    ("glwt-", 8),
    ("glsoat-", 8),
    ("glffct-", 8),
    ("ghp_", 16),
    ("gho_", 16),
    ("ghu_", 16),
    ("ghs_", 16),
    ("ghr_", 16),
    ("github_pat_", 16),
    ("xoxb-", 8),
    ("xoxp-", 8),
    ("xoxe-", 8),
    ("xoxe.xox", 8),
    ("xoxa-", 8),
    ("xoxr-", 8),
    ("xapp-", 8),
    ("hvs.", 8),
    ("hvb.", 8),
    ("hvr.", 8),
    ("cfut_", 16),
    ("cfat_", 16),
    ("cfk_", 16),
    ("npm_", 16),
    ("pypi-", 16),
    ("dckr_pat_", 8),
    ("dckr_oat_", 8),
    ("shpat_", 8),
    ("shpca_", 8),
    ("shppa_", 8),
    ("shpss_", 8),
    ("shprt_", 8),
    ("pat-na", 16),
    ("pat-eu", 16),
    ("bk_", 16),
    ("bird_live_", 8),
    ("bird_test_", 8),
    ("live_", 16),
    ("test_", 16),
    ("ya29.", 16),
    ("eyJ", 12),
];
/// Whoever knows such an address may write to it.
const WEBHOOKS: [&str; 3] = ["hooks.slack.com/services/", "hooks.slack.com/workflows/", "hooks.slack.com/triggers/"];
/// Unreserved characters of RFC 3986, which need no escape.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Shorter values are words, not secrets.
const SHORTEST_SECRET: usize = 8;
/// Names that people make up, such as `OAuthException2`, are shorter.
const SHORTEST_MIXED: usize = 20;
/// No word of a human sentence is this long.
const LONGEST_WORD: usize = 48;
/// Nothing behind this is read: it could not be kept anyway.
const LONGEST_INPUT: usize = 4_096;
/// Enough for any message; provider texts are not trusted to be short.
const LONGEST_TEXT: usize = 400;

/// Takes out whatever could be a telephone number, in any of the ways to write one.
pub fn without_numbers(text: &str) -> String {
    let part = |c: char| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '.' | '(' | ')' | '/');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..start]);
        let tail = &rest[start..];
        let run = &tail[..tail.find(|c| !part(c)).unwrap_or(tail.len())];
        // What follows the last digit belongs to the sentence.
        let run = &run[..run.rfind(|c: char| c.is_ascii_digit()).map_or(run.len(), |last| last + 1)];
        let digits = run.bytes().filter(u8::is_ascii_digit).count();
        out.push_str(if digits < FEWEST_DIGITS { run } else { "(number)" });
        rest = &tail[run.len()..];
    }
    out.push_str(rest);
    out
}

/// Error codes have six digits, telephone numbers more.
const FEWEST_DIGITS: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_known_shape_survives() {
        let token = format!("EAAB{}ZD", "x9Y".repeat(60));
        let hex = "0123456789abcdef0123456789abcdef";
        for text in [
            format!("Malformed access token {token}"),
            format!("OAuth \"Facebook Platform\" \"invalid_token\" \"Malformed access token {token}\""),
            format!("error sending request for url (https://h/debug_token?input_token={token}&access_token=1|{hex})"),
            format!("client_secret%3D{hex}"),
            format!("{{\"access_token\": \"{token}\"}}"),
            format!("Authorization: Bearer {token}"),
            format!("634900000000001|{hex}"),
            format!("url?t=634900000000001%7C{hex}"),
            format!("proof {hex}{hex}"),
            "password: hunter2hunter2".to_owned(),
        ] {
            assert!(holds_a_secret(&text) && holds_a_secret(&format!("{}{text}", "word ".repeat(2_000))), "{text}");
            let clean = redact(&text, &[]);
            assert!(!clean.contains(&token) && !clean.contains(hex) && !clean.contains("hunter2"), "{clean}");
            assert!(clean.contains(STARS), "{clean}");
        }
    }

    #[test]
    fn the_shapes_of_every_provider_are_hidden() {
        for token in [
            "glpat-x9Yx9Yx9Yx9Yx9Yx9Yx9",
            "glpat-x9Yx9Yx9.01.0w1x2y3z4",
            "ghp_x9Yx9Yx9Yx9Yx9Yx9Yx9Yx9Yx9Yx9Yx9Yx9Y",
            "github_pat_11ABCDEFG0x9Yx9Yx9Yx9Y_x9Yx9Yx9Y",
            "xoxb-123456789012-abcdefghijkl",
            "xoxe.xoxb-1-Mi0yLTEyMzQ1Njc4OTAx",
            "xapp-1-A0123456789-1234567890123",
            "hvs.CAESIJabcdefgh",
            "s.abcdefghijklmnopqrstuvwx",
            "cfut_abcdefghijklmnopqrstuvwxyz",
            "dckr_pat_abcdefgh-ijkl",
            "shpat_0123456789abcdef",
            "pat-na1-00000000-0000-0000-0000-000000000000",
            "bk_eu1_abcdefghijklmnopqrst",
            "bird_live_abcdefghijkl",
            "abcdefghijklmnopqrstuvwxAK",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.c2ln",
            "https://hooks.slack.com/services/T000/B000/abcdefgh",
        ] {
            for text in [format!("the token {token} was refused"), format!("\"{token}\""), format!("key={token}.")] {
                let clean = redact(&text, &[]);
                let told = token.trim_start_matches("https://");
                assert!(!clean.contains(told) && clean.contains(STARS), "{clean}");
                assert!(holds_a_secret(&text), "{text}");
            }
        }
    }

    #[test]
    fn a_secret_is_hidden_in_every_form_that_it_travels_in() {
        let secret = Secret::new(Zeroizing::new("a+b/c=d e&f".to_owned()));
        for form in ["a+b/c=d e&f", "a%2Bb%2Fc%3Dd%20e%26f", "YStiL2M9ZCBlJmY=", "YStiL2M9ZCBlJmY"] {
            let clean = redact(&format!("I saw {form}!"), &[&secret]);
            assert!(clean.starts_with("I saw ***"), "{form}: {clean}");
        }
    }

    #[test]
    fn a_configured_secret_is_hidden_whatever_its_shape() {
        let secret = Secret::new(Zeroizing::new("correct horse battery".to_owned()));
        assert_eq!(redact("I saw correct horse battery!", &[&secret]), "I saw ***!");
    }

    #[test]
    fn plain_words_stay() {
        for text in [
            "Error validating access token: Session has expired on Tuesday, 15-Jul-25 01:00:00 PDT.",
            "(#100) The App_id in the input_token did not match the Viewing App",
            "Error validating client secret.",
            "connection refused (os error 111)",
        ] {
            assert_eq!(redact(text, &[]), text);
            assert!(!holds_a_secret(text), "{text}");
        }
        assert!(!holds_a_secret("two\nlines of 100%7C, and many more ".repeat(100).as_str()));
        assert_eq!(redact("two\r\nlines\u{0}", &[]), "two  lines");
        assert!(redact(&"word ".repeat(1_000), &[]).ends_with('…'));
        assert_eq!(redact(&"x".repeat(1_000_000), &[]), "");
        assert_eq!(redact(&"code=& ".repeat(50_000), &[]).chars().count(), LONGEST_TEXT + 1);
    }
}
