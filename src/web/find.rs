//! What somebody looks for: the words and choices of a page's address, and the tokens that they leave, the most urgent first.
//!
//! An address comes from anybody, so nothing in it can fail or grow: what is too long is cut, what is not known is not chosen. A hundred thousand
//! tokens are looked through in one pass; only those of one page are put in order.

use std::cmp::Reverse;

use url::form_urlencoded;

use crate::board::Row;
use crate::domain::time::Timestamp;
use crate::domain::verdict::Verdict;

/// The words and choices of an address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// A part of a name, of a provider or of an app; in small letters.
    pub words: String,
    /// Only this verdict.
    pub verdict: Option<Verdict>,
    /// Only this provider.
    pub provider: String,
    /// Only this app.
    pub app: String,
    /// Only what this receiver is told of.
    pub receiver: String,
    /// Only this token.
    pub token: String,
    /// Only what has something wrong.
    pub open: bool,
    /// Which page, from 1.
    pub page: usize,
}

impl Wanted {
    /// What an address asks for.
    pub fn parse(query: Option<&str>) -> Self {
        let query: String = query.unwrap_or_default().chars().take(LONGEST_QUERY).collect();
        let mut wanted = Self { page: 1, ..Self::default() };
        for (key, value) in form_urlencoded::parse(query.as_bytes()).take(MOST_PAIRS) {
            let value = crate::advice::plain(&value);
            let name = || value.to_lowercase().chars().take(LONGEST_WORDS).collect::<String>();
            match &*key {
                "q" => wanted.words = name(),
                "verdict" => wanted.verdict = Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == value),
                "provider" => wanted.provider = name(),
                "app" => wanted.app = name(),
                "receiver" => wanted.receiver = name(),
                "token" => wanted.token = name(),
                "open" => wanted.open = value == "1",
                "page" => wanted.page = value.parse().unwrap_or(1).max(1),
                _ => {}
            }
        }
        wanted
    }

    /// Whether anything is left out.
    pub fn narrows(&self) -> bool {
        *self != Self { page: self.page, ..Self::default() }
    }

    /// The address of another page of the same; empty where it is the first of all.
    pub fn address(&self, page: usize) -> String {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        for (key, value) in [
            ("q", self.words.as_str()),
            ("verdict", self.verdict.map_or("", Verdict::as_str)),
            ("provider", &self.provider),
            ("app", &self.app),
            ("receiver", &self.receiver),
            ("token", &self.token),
            ("open", if self.open { "1" } else { "" }),
        ] {
            if !value.is_empty() {
                pairs.append_pair(key, value);
            }
        }
        if page > 1 {
            pairs.append_pair("page", &page.to_string());
        }
        let pairs = pairs.finish();
        if pairs.is_empty() { String::new() } else { format!("?{pairs}") }
    }

    /// Whether it wants that token.
    pub fn takes(&self, row: &Row) -> bool {
        let app = row.app.as_ref().map_or("", |app| app.as_str());
        let has = |text: &str| text.contains(&self.words);
        (!self.open || row.severity().is_some())
            && self.verdict.is_none_or(|verdict| row.verdict == verdict)
            && (self.token.is_empty() || row.id.as_str() == self.token)
            && (self.provider.is_empty() || row.provider.as_str() == self.provider)
            && (self.app.is_empty() || app == self.app)
            && (self.words.is_empty() || has(row.id.as_str()) || has(row.provider.as_str()) || has(app))
            && (self.receiver.is_empty() || row.receivers.iter().any(|name| name.as_str() == self.receiver))
    }
}

/// What is found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// How many in all.
    pub count: usize,
    /// The page that is shown; an address may ask for one that is not there.
    pub page: usize,
    /// How many pages there are, at least one.
    pub pages: usize,
    /// The places of the page's rows, in order.
    pub places: Vec<usize>,
}

/// The rows of one page, the most urgent first: by what is wrong, then by the date.
pub fn find(rows: &[Row], wanted: &Wanted, size: usize) -> Found {
    let urgency =
        |place: usize, row: &Row| (Reverse(row.severity()), row.deadline().map_or(i64::MAX, Timestamp::unix), place);
    let taken = rows.iter().enumerate().filter(|(_, row)| wanted.takes(row));
    let mut keys: Vec<_> = taken.map(|(place, row)| urgency(place, row)).collect();
    let count = keys.len();
    let pages = count.div_ceil(size).max(1);
    let page = wanted.page.min(pages);
    let places = slice(&mut keys, (page - 1) * size, size).iter().map(|(_, _, place)| *place).collect();
    Found { count, page, pages, places }
}

/// The rows whose dates come next, renewals among them; those that have none ahead stand last.
pub fn nearest(rows: &[Row], wanted: &Wanted, most: usize, now: Timestamp) -> Found {
    let renewal = |row: &Row| row.renewal.filter(|at| *at > now);
    let date = |row: &Row| row.next_end(now).into_iter().chain(renewal(row)).min().map_or(i64::MAX, Timestamp::unix);
    let taken = rows.iter().enumerate().filter(|(_, row)| wanted.takes(row));
    let mut keys: Vec<_> = taken.map(|(place, row)| (date(row), place)).collect();
    let count = keys.len();
    let places = slice(&mut keys, 0, most).iter().map(|(_, place)| *place).collect();
    Found { count, page: 1, pages: 1, places }
}

/// The elements that would stand there if all were sorted: two partitions and a short sort, where a sort of all would cost five times as much.
fn slice<T: Ord>(keys: &mut [T], from: usize, size: usize) -> &[T] {
    if from > 0 && from < keys.len() {
        keys.select_nth_unstable(from);
    }
    let rest = keys.get_mut(from..).unwrap_or_default();
    if size < rest.len() {
        rest.select_nth_unstable(size);
    }
    let end = size.min(rest.len());
    let page = rest.get_mut(..end).unwrap_or_default();
    page.sort_unstable();
    page
}

/// Letters of an address that are read.
const LONGEST_QUERY: usize = 2_000;
/// Choices of an address that are read.
const MOST_PAIRS: usize = 20;
/// As long as the longest name.
const LONGEST_WORDS: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::inspection::{Cause, Expiry, Inspection, Validity};
    use crate::domain::status::{Facts, TokenStatus};
    use crate::domain::time::Span;
    use crate::domain::verdict::{Case, judge};

    #[test]
    fn a_slice_is_that_of_a_sorted_list() {
        let all: Vec<u64> = (0..997).map(|n| n * 7_919 % 1_009).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        for from in [0, 1, 50, 500, 950, 996, 997, 5_000] {
            for size in [1, 50, 997, 5_000] {
                let end = (from + size).min(sorted.len());
                let expected = sorted.get(from..end).unwrap_or_default();
                assert_eq!(slice(&mut all.clone(), from, size), expected, "{from} {size}");
            }
        }
        assert_eq!(slice::<u64>(&mut [], 0, 50), &[] as &[u64]);
    }

    #[test]
    fn what_is_past_or_dead_takes_nobodys_place() {
        let text = ["gone", "killed", "later", "sooner", "never"]
            .map(|name| format!("[[tokens]]\nname = \"{name}\"\nsecret = {{ env = \"T\" }}\n"));
        let settings = crate::settings::from_text(&format!("[receivers.default]\n{}", text.concat()), "test", &[]);
        let settings = settings.expect("a configuration").settings;
        let now = Timestamp::from_unix(1_752_566_400);
        let at = |days| Expiry::At(now.plus(Span::days(days)));
        let seen = [
            (Validity::Valid, at(-400)),
            (Validity::Revoked(Cause::Unstated), at(1)),
            (Validity::Valid, at(9)),
            (Validity::Valid, at(3)),
            (Validity::Valid, Expiry::Never),
        ];
        let rows = settings.tokens.iter().zip(seen).map(|(token, (validity, expires))| {
            let inspection = Inspection { expires, ..Inspection::bare(validity) };
            let status = TokenStatus {
                invalid_streak: 9,
                facts: Some(Facts::new(0, inspection, None, now)),
                ..TokenStatus::new(now)
            };
            Row::new(&token.spec, &status, &judge(Case { spec: &token.spec, status: &status, now }))
        });
        let rows: Vec<Row> = rows.collect();
        let found = nearest(&rows, &Wanted::default(), 2, now);
        assert_eq!((found.count, found.places), (5, vec![3, 2]));
    }

    #[test]
    fn an_address_can_hold_anything() {
        let wanted = Wanted::parse(Some(
            "q=Help%20DESK&verdict=expiring&provider=meta&app=a&receiver=ops&open=1&page=3&x=1&=&&%ff%fe=%00",
        ));
        let again = Wanted::parse(Some(wanted.address(3).trim_start_matches('?')));
        assert_eq!(wanted, again);
        assert_eq!((wanted.words.as_str(), wanted.verdict, wanted.page), ("help desk", Some(Verdict::Expiring), 3));
        for query in [
            "page=0",
            "page=-1",
            "page=99999999999999999999999",
            "verdict=%3Cscript%3E",
            &"q=&".repeat(5_000),
            "%",
            "q=%e2%80%ae",
        ] {
            let wanted = Wanted::parse(Some(query));
            assert_eq!((wanted.page, wanted.narrows()), (1, false), "{query}");
        }
        let long = Wanted::parse(Some(&format!("q={}", "ß".repeat(400))));
        assert_eq!(long.words.chars().count(), LONGEST_WORDS);
        assert_eq!(
            (Wanted::parse(None).address(1), Wanted::parse(None).address(2)),
            (String::new(), "?page=2".to_owned())
        );
    }
}
