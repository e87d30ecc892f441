//! The life of a token as a bar: from its beginning to its end, with now, the rungs and the next renewal between them.
//!
//! What the bar shows it also says in words, for whoever cannot see it.

use crate::board::Row;
use crate::domain::inspection::Expiry;
use crate::domain::status::TokenStatus;
use crate::domain::time::{Span, Timestamp, relative};
use crate::domain::token::TokenSpec;
use crate::domain::verdict;
use crate::zone::Zone;

/// A bar of a thousand parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lifetime {
    /// `life`, `never` or `unknown`.
    pub shape: &'static str,
    /// How bad, for the colour of what has passed.
    pub severity: &'static str,
    /// Where now is.
    pub now: i64,
    /// Where people are told, the first rung first.
    pub rungs: Vec<i64>,
    /// Where the next renewal is.
    pub renewal: Option<i64>,
    /// All of it in words.
    pub words: String,
    /// What stands below it, left and right.
    pub ends: Option<(String, String)>,
}

impl Lifetime {
    /// The bar of a token; without its status, which the store may not tell, it has no rungs.
    pub fn new(row: &Row, known: Option<(&TokenSpec, &TokenStatus)>, zone: &Zone, now: Timestamp) -> Self {
        let severity = row.severity().map_or("fine", |severity| severity.as_str());
        let bare = |shape, words: &str| Self {
            shape,
            severity,
            now: 0,
            rungs: Vec::new(),
            renewal: None,
            words: words.to_owned(),
            ends: None,
        };
        let end = match row.expires {
            Expiry::Never => return bare("never", "It never ends, says its provider."),
            Expiry::Unknown => return bare("unknown", "Its end is not known."),
            Expiry::At(end) => end,
        };
        let inspection = known.and_then(|(_, status)| Some((status, &status.facts.as_ref()?.inspection)));
        let lifetime = inspection.map(|(status, seen)| verdict::lifetime(status, seen, end));
        let lifetime = lifetime.or_else(|| row.issued_at.map(|issued| end.since(issued)));
        let Some(lifetime) = lifetime.filter(|lifetime| *lifetime > Span::ZERO) else {
            return bare("unknown", &format!("It ends {}; when it began is not known.", relative(end, now)));
        };
        let begin = end.minus(lifetime);
        let part = |at: Timestamp| {
            let passed = i128::from(at.since(begin).as_seconds()) * 1_000 / i128::from(lifetime.as_seconds());
            i64::try_from(passed.clamp(0, 1_000)).unwrap_or(0)
        };
        let rungs = known.map(|(spec, _)| spec.policy.ladder.rungs(lifetime)).unwrap_or_default();
        let renewal = row.renewal.filter(|at| *at > now && *at < end);
        let issued = row.issued_at == Some(begin);
        let mut words = format!(
            "{} {}, ends {} ({}); {} percent of its life has passed.",
            if issued { "Issued" } else { "First seen or renewed" },
            zone.date(begin),
            zone.date(end),
            relative(end, now),
            part(now) / 10,
        );
        if !rungs.is_empty() {
            let list: Vec<String> = rungs.iter().map(ToString::to_string).collect();
            words.push_str(&format!(" Warnings {} before.", list.join(", ")));
        }
        if let Some(at) = renewal {
            words.push_str(&format!(" The next renewal: {}.", zone.date(at)));
        }
        Self {
            shape: "life",
            severity,
            now: part(now),
            rungs: rungs.iter().map(|rung| part(end.minus(*rung))).collect(),
            renewal: renewal.map(part),
            words,
            ends: Some((zone.date(begin), zone.date(end))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Row;
    use crate::domain::inspection::{Inspection, Validity};
    use crate::domain::status::{Facts, Generation};
    use crate::domain::verdict::{Case, judge};

    const NOW: Timestamp = Timestamp::from_unix(1_752_566_400);

    fn bar(expires: Expiry, issued: Option<Timestamp>) -> Lifetime {
        let settings = crate::settings::from_text(
            "[receivers.default]\n[[tokens]]\nname = \"t\"\nsecret = { env = \"T\" }\n",
            "test",
            &[],
        );
        let spec = settings.expect("a configuration").settings.tokens.remove(0).spec;
        let inspection = Inspection { expires, issued_at: issued, ..Inspection::bare(Validity::Valid) };
        let status = TokenStatus {
            generation: Generation { number: 1, fingerprint: None, since: NOW.minus(Span::days(10)) },
            facts: Some(Facts::new(1, inspection, None, NOW)),
            ..TokenStatus::new(NOW)
        };
        let row = Row::new(&spec, &status, &judge(Case { spec: &spec, status: &status, now: NOW }));
        Lifetime::new(&row, Some((&spec, &status)), &Zone::UTC, NOW)
    }

    #[test]
    fn a_life_has_its_parts_in_order() {
        let life = bar(Expiry::At(NOW.plus(Span::days(30))), Some(NOW.minus(Span::days(30))));
        assert_eq!((life.shape, life.now), ("life", 500));
        assert_eq!(life.rungs, [650, 766, 883, 950, 983]);
        assert!(
            life.words.starts_with("Issued 2025-06-15, ends 2025-08-14 (in 30 days); 50 percent"),
            "{}",
            life.words
        );
        let seen = bar(Expiry::At(NOW.plus(Span::days(30))), None);
        assert!(seen.words.starts_with("First seen or renewed 2025-07-05"), "{}", seen.words);
        let over = bar(Expiry::At(NOW.minus(Span::days(1))), Some(NOW.minus(Span::days(60))));
        assert_eq!(over.now, 1_000);
    }

    #[test]
    fn what_is_not_known_is_said() {
        for (expires, shape) in [
            (Expiry::Never, "never"),
            (Expiry::Unknown, "unknown"),
            (Expiry::At(Timestamp::from_unix(i64::MIN)), "unknown"),
            (Expiry::At(Timestamp::from_unix(i64::MAX)), "life"),
        ] {
            let bar = bar(expires, None);
            assert_eq!(bar.shape, shape, "{expires:?}");
            assert!(!bar.words.is_empty() && (0..=1_000).contains(&bar.now));
        }
    }
}
