//! The claims of a JSON Web Token (RFC 7519), read without asking anybody. No signature is verified: whoever made the token may have written
//! anything into it, so what is read is called a claim.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use zeroize::Zeroizing;

use super::facts::LATEST;
use crate::domain::inspection::{Basis, Expiry, Grant, Inspection, TokenKind, Validity};
use crate::domain::time::Timestamp;
use crate::provider::values::word;
use crate::secret::Secret;

/// What the token says of itself.
pub(super) fn inspect(token: &Secret, now: Timestamp) -> Inspection {
    match claims(token) {
        Ok(claims) => of_claims(&claims, now),
        Err(why) => Inspection {
            kind: TokenKind::parse(KIND),
            message: Some(why.into()),
            ..Inspection::bare(Validity::Unreadable)
        },
    }
}

fn claims(token: &Secret) -> Result<Value, &'static str> {
    let text = token.expose();
    let parts: Vec<&str> = text.split('.').collect();
    let payload = match parts.as_slice() {
        [_, payload, _] => *payload,
        [_, _, _, _, _] => return Err("it is encrypted (five parts, RFC 7516), so its claims cannot be read here"),
        _ => return Err("it is no JSON Web Token: those have three parts with dots between them"),
    };
    if payload.len() > LARGEST {
        return Err("it is larger than any JSON Web Token in use");
    }
    let plain = URL_SAFE_NO_PAD.decode(payload).map_err(|_| "its second part is not base64url (RFC 7515)")?;
    let claims: Value =
        serde_json::from_slice(&Zeroizing::new(plain)).map_err(|_| "its second part holds no JSON document")?;
    if claims.is_object() { Ok(claims) } else { Err("its second part holds no claims") }
}

fn of_claims(claims: &Value, now: Timestamp) -> Inspection {
    let moment = |name: &str| {
        let number = claims.get(name).and_then(|value| value.as_i64().or_else(|| value.as_f64().map(whole)))?;
        (1..=LATEST).contains(&number).then(|| Timestamp::from_unix(number))
    };
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(word);
    let expires = moment("exp").map_or(Expiry::Unknown, Expiry::At);
    let ended = expires.date().is_some_and(|at| at <= now);
    let scopes = claims.get("scope").and_then(Value::as_str);
    Inspection {
        kind: TokenKind::parse(KIND),
        expires,
        basis: if expires == Expiry::Unknown { Basis::Told } else { Basis::Claimed },
        issued_at: moment("iat"),
        user_id: text("sub"),
        app_id: text("client_id").or_else(|| text("azp")),
        grants: scopes
            .map(|scopes| scopes.split_whitespace().map(|scope| Grant { scope: word(scope), targets: None }).collect()),
        ..Inspection::bare(if ended { Validity::Expired } else { Validity::Valid })
    }
}

/// A NumericDate may have a fraction (RFC 7519, section 2); the whole seconds count.
#[expect(clippy::cast_possible_truncation, reason = "out of range it is cut to a number that is out of range as well")]
fn whole(number: f64) -> i64 {
    number as i64
}

const KIND: &str = "jwt";
/// Header fields of 8 KiB are the usual limit.
const LARGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> Secret {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        Secret::new(Zeroizing::new(format!("{}.{}.c2ln", part("{\"alg\":\"none\"}"), part(payload))))
    }

    #[test]
    fn claims_are_read_and_called_claims() {
        use crate::domain::inspection::Basis;
        let now = Timestamp::from_unix(1_000);
        let seen = inspect(&token(r#"{"exp":2000.7,"iat":500,"sub":"ada","scope":"read write"}"#), now);
        assert_eq!(
            (seen.validity, seen.expires, seen.basis),
            (Validity::Valid, Expiry::At(Timestamp::from_unix(2_000)), Basis::Claimed)
        );
        assert_eq!((seen.issued_at, seen.user_id.as_deref()), (Some(Timestamp::from_unix(500)), Some("ada")));
        assert_eq!(seen.grants.map(|grants| grants.len()), Some(2));
        let past = inspect(&token(r#"{"exp":1000}"#), now);
        assert_eq!((past.validity, past.expires), (Validity::Expired, Expiry::At(now)));
        let open = inspect(&token("{}"), now);
        assert_eq!((open.validity, open.expires, open.basis), (Validity::Valid, Expiry::Unknown, Basis::Told));
        for nonsense in [r#"{"exp":"soon"}"#, r#"{"exp":-1}"#, r#"{"exp":1e300}"#, r#"{"exp":null}"#] {
            assert_eq!(inspect(&token(nonsense), now).expires, Expiry::Unknown, "{nonsense}");
        }
    }

    #[test]
    fn what_is_no_token_is_unreadable_and_said_in_words() {
        let now = Timestamp::from_unix(1_000);
        for (text, says) in [
            ("not a token", "three parts"),
            ("a.b", "three parts"),
            ("a.b.c.d.e", "encrypted"),
            ("a.*.c", "base64url"),
            ("a.YWJj.c", "no JSON"),
            ("a.W10.c", "no claims"),
        ] {
            let seen = inspect(&Secret::new(Zeroizing::new(text.to_owned())), now);
            assert_eq!(seen.validity, Validity::Unreadable, "{text}");
            assert!(seen.message.as_deref().is_some_and(|words| words.contains(says)), "{text}: {:?}", seen.message);
        }
    }
}
