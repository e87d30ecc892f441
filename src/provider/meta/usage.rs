//! What Meta's headers say about budgets, pauses and versions (reference §1 and §7).
//!
//! Headers are advisory and may be malformed; nothing in here fails.

use http::HeaderMap;
use serde_json::Value;

use crate::domain::time::{Span, Timestamp};
use crate::provider::http::retry_after;

/// Shares of budgets used, 0 to 1, by resource; of several objects for one resource the highest.
pub fn ratios(headers: &HeaderMap) -> Vec<(&'static str, f64)> {
    let mut ratios: Vec<(&'static str, f64)> = Vec::new();
    let mut note = |resource: &'static str, percent: f64| {
        let ratio = (percent / 100.0).clamp(0.0, MOST);
        match ratios.iter_mut().find(|(known, _)| *known == resource) {
            Some((_, highest)) => *highest = highest.max(ratio),
            None => ratios.push((resource, ratio)),
        }
    };
    if let Some(app) = json(headers, "x-app-usage") {
        for resource in COUNTS {
            if let Some(percent) = app.get(resource).and_then(Value::as_f64) {
                note(resource, percent);
            }
        }
    }
    for entry in business_entries(headers) {
        let resource = business_resource(&entry);
        for count in COUNTS {
            if let Some(percent) = entry.get(count).and_then(Value::as_f64) {
                note(resource, percent);
            }
        }
    }
    ratios
}

/// How long the provider asks us to stay away: minutes in the business header, seconds in the ad-account and Retry-After headers.
pub fn pause(headers: &HeaderMap, now: Timestamp) -> Option<Span> {
    let business = business_entries(headers)
        .into_iter()
        .filter_map(|entry| entry.get("estimated_time_to_regain_access").and_then(Value::as_i64))
        .map(Span::minutes);
    let ads = json(headers, "x-ad-account-usage")
        .and_then(|usage| usage.get("reset_time_duration").and_then(Value::as_i64))
        .map(Span::seconds);
    let retry = retry_after(headers, now);
    let asked = business.chain(ads).chain(retry).max()?;
    (asked > Span::ZERO).then(|| asked.min(LONGEST_PAUSE))
}

/// The version that really ran, when it is not the one asked for: an expired version runs silently as the oldest living one.
pub fn other_version(headers: &HeaderMap, asked: &str) -> Option<String> {
    let served = headers.get("facebook-api-version")?.to_str().ok()?.trim();
    (served != asked && served.len() <= 16).then(|| served.to_owned())
}

fn business_entries(headers: &HeaderMap) -> Vec<Value> {
    let Some(Value::Object(by_id)) = json(headers, "x-business-use-case-usage") else { return Vec::new() };
    by_id
        .into_iter()
        .flat_map(|(_, entries)| match entries {
            Value::Array(entries) => entries,
            _ => Vec::new(),
        })
        .collect()
}

/// The business use case as a label of a closed set.
fn business_resource(entry: &Value) -> &'static str {
    let kind = entry.get("type").and_then(Value::as_str).unwrap_or_default();
    USE_CASES.into_iter().find(|known| *known == kind).unwrap_or("other")
}

fn json(headers: &HeaderMap, name: &str) -> Option<Value> {
    serde_json::from_str(headers.get(name)?.to_str().ok()?).ok()
}

const COUNTS: [&str; 3] = ["call_count", "total_time", "total_cputime"];
const USE_CASES: [&str; 9] = [
    "whatsapp_business_management",
    "whatsapp",
    "ads_insights",
    "ads_management",
    "custom_audience",
    "instagram",
    "leadgen",
    "messenger",
    "pages",
];
/// A hostile header must not blind us for longer than a day.
const LONGEST_PAUSE: Span = Span::days(1);
/// Over-use is reported above 100%; anything beyond ten times is noise.
const MOST: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_752_566_390);

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
        headers
    }

    #[test]
    fn usage_headers_become_ratios_and_pauses() {
        let app = headers("x-app-usage", r#"{"call_count":28,"total_time":25,"total_cputime":5}"#);
        assert_eq!(ratios(&app), [("call_count", 0.28), ("total_time", 0.25), ("total_cputime", 0.05)]);
        let business = headers(
            "x-business-use-case-usage",
            r#"{"1":[{"type":"whatsapp","call_count":95,"total_time":1,"total_cputime":1,"estimated_time_to_regain_access":7},{"type":"new","call_count":1}]}"#,
        );
        assert_eq!(ratios(&business), [("whatsapp", 0.95), ("other", 0.01)]);
        assert_eq!(pause(&business, NOW), Some(Span::minutes(7)));
        assert_eq!(pause(&headers("retry-after", "30"), NOW), Some(Span::seconds(30)));
        assert_eq!(pause(&headers("retry-after", "999999999"), NOW), Some(Span::days(1)));
        for broken in ["", "{", "[]", "{\"1\":3}", "null", "{\"1\":[3]}"] {
            let broken = headers("x-business-use-case-usage", broken);
            assert_eq!((ratios(&broken).len(), pause(&broken, NOW)), (usize::from(!ratios(&broken).is_empty()), None));
        }
    }

    #[test]
    fn versions_are_compared() {
        let version = headers("facebook-api-version", "v22.0");
        assert_eq!(other_version(&version, "v18.0").as_deref(), Some("v22.0"));
        assert_eq!(other_version(&version, "v22.0"), None);
    }
}
