//! What headers tell of a rate limit: how much of it is used, and how long to stay away. Headers are advisory; nothing in here fails.

use http::HeaderMap;

use crate::domain::time::{Span, Timestamp};
use crate::provider::http::retry_after;
use crate::settings::description::Limits;

/// The share of the budget that is used, 0 to 1.
pub(super) fn usage(limits: &Limits, headers: &HeaderMap) -> Option<f64> {
    let number = |name: &Option<Box<str>>| header(headers, name.as_deref()?)?.parse::<f64>().ok();
    if let (Some(limit), Some(remaining)) = (number(&limits.limit), number(&limits.remaining)) {
        return (limit > 0.0).then(|| (1.0 - remaining / limit).clamp(0.0, 1.0));
    }
    if !limits.structured {
        return None;
    }
    let remaining = field(headers, "ratelimit", "r")?;
    let limit = field(headers, "ratelimit-policy", "q")?;
    (limit > 0.0).then(|| (1.0 - remaining / limit).clamp(0.0, 1.0))
}

/// How long to stay away after a refusal: as `Retry-After` says (RFC 9110, section 10.2.3), else until the budget is full again, else a minute.
pub(super) fn pause(limits: &Limits, headers: &HeaderMap, now: Timestamp) -> Span {
    let asked = retry_after(headers, now).or_else(|| reset(limits, headers, now)).filter(|pause| *pause > Span::ZERO);
    asked.unwrap_or(DEFAULT_PAUSE).min(LONGEST_PAUSE)
}

fn reset(limits: &Limits, headers: &HeaderMap, now: Timestamp) -> Option<Span> {
    if limits.structured
        && let Some(seconds) = field(headers, "ratelimit", "t")
    {
        // Headers of a day at most; what is cut off is less than a second.
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the clamp")]
        return Some(Span::seconds(seconds.clamp(0.0, 86_400.0) as i64));
    }
    let number: i64 = header(headers, limits.reset.as_deref()?)?.parse().ok()?;
    Some(if limits.reset_in_seconds { Span::seconds(number) } else { Timestamp::from_unix(number).since(now) })
}

/// A parameter of the first item of a structured header: `"default";r=50;t=30` (draft-ietf-httpapi-ratelimit-headers).
fn field(headers: &HeaderMap, name: &str, field: &str) -> Option<f64> {
    let item = header(headers, name)?.split(',').next()?;
    let mut parts = item.split(';').skip(1).filter_map(|part| part.trim().split_once('='));
    parts.find(|(known, _)| *known == field).and_then(|(_, value)| value.parse().ok())
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The label of the budget.
pub(super) const RESOURCE: &str = "requests";
const DEFAULT_PAUSE: Span = Span::minutes(1);
const LONGEST_PAUSE: Span = Span::hours(6);

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn budgets_and_pauses_are_read() {
        let now = Timestamp::from_unix(1_000);
        let named = Limits {
            limit: Some("x-limit".into()),
            remaining: Some("x-remaining".into()),
            reset: Some("x-reset".into()),
            ..Limits::default()
        };
        let structured = Limits { structured: true, ..Limits::default() };
        let half = headers(&[("x-limit", "100"), ("x-remaining", "50"), ("x-reset", "1300")]);
        assert_eq!(usage(&named, &half), Some(0.5));
        assert_eq!(pause(&named, &half, now), Span::seconds(300));
        assert_eq!(pause(&Limits { reset_in_seconds: true, ..named.clone() }, &half, now), Span::seconds(1_300));
        let late = headers(&[("retry-after", "7"), ("x-reset", "1300")]);
        assert_eq!(pause(&named, &late, now), Span::seconds(7));
        let dated = headers(&[("retry-after", "Thu, 01 Jan 1970 00:20:00 GMT")]);
        assert_eq!(pause(&named, &dated, now), Span::seconds(200));
        let draft =
            headers(&[("ratelimit", "\"default\";r=300;t=30"), ("ratelimit-policy", "\"default\";q=1200;w=300")]);
        assert_eq!((usage(&structured, &draft), pause(&structured, &draft, now)), (Some(0.75), Span::seconds(30)));
        for nonsense in [headers(&[]), headers(&[("x-limit", "0"), ("x-remaining", "0"), ("retry-after", "-4")])] {
            assert_eq!((usage(&named, &nonsense), pause(&named, &nonsense, now)), (None, DEFAULT_PAUSE));
        }
        assert_eq!(pause(&named, &headers(&[("retry-after", "99999999")]), now), LONGEST_PAUSE);
    }
}
