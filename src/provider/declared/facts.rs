//! Reads the facts out of a document: moments in the formats that providers use, words in lists and texts, the entry of a list that counts.
//!
//! What stands there in another form than described is "not known", never a guess. Whatever is read is cut to what a label or a page can hold.

use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::answer::{Document, at, scalar};
use super::rehearsal::Rehearsal;
use super::request::{Filling, Papers};
use crate::domain::inspection::{Expiry, Grant, Inspection, TokenKind, Validity};
use crate::domain::time::{Span, Timestamp};
use crate::provider::values::{label, word};
use crate::settings::description::{self, Ends, Format, Place, Read, Select, Words};

/// A document whose facts are read.
pub(super) struct Facts<'a> {
    pub(super) document: &'a Document,
    pub(super) papers: &'a Papers<'a>,
    pub(super) now: Timestamp,
}

/// What was read; the kind only where the answer told it.
pub(super) struct Found {
    pub(super) inspection: Inspection,
    pub(super) kind: Option<TokenKind>,
}

impl Facts<'_> {
    pub(super) fn read(&self, wanted: &description::Facts, rehearsal: &mut Rehearsal) -> Found {
        let entry = self.entry(wanted.select.as_ref());
        if wanted.select.is_some() {
            rehearsal.fact("entry", if entry.is_some() { "found" } else { "not in the list" });
        }
        let expires = match &wanted.expires {
            Ends::Unknown => Expiry::Unknown,
            Ends::Never => Expiry::Never,
            Ends::Read(read) => self.ends(read, entry),
        };
        let issued_at = wanted.issued.as_ref().and_then(|read| self.ends(read, entry).date());
        let words = |words: &Option<Words>| words.as_ref().map(|words| self.words(words, entry)).unwrap_or_default();
        let first = |wanted: &Option<Words>| words(wanted).into_iter().next().map(|text| word(&text));
        let kind = words(&wanted.kind).into_iter().next().map(|text| TokenKind::parse(&label(&text)));
        // Where nothing stands nothing is said, which is not to say that it may do nothing.
        let said = wanted.scopes.as_ref().filter(|scopes| self.stands(&scopes.place, entry));
        let scopes = said.map(|scopes| self.words(scopes, entry));
        let grants = scopes.map(|scopes| {
            scopes.iter().take(MOST_SCOPES).map(|scope| Grant { scope: word(scope), targets: None }).collect()
        });
        let inspection = Inspection {
            issued_at,
            expires,
            user_id: first(&wanted.user),
            app_id: first(&wanted.app),
            grants,
            ..Inspection::bare(Validity::Valid)
        };
        rehearsal.facts(&inspection, kind.as_ref());
        Found { inspection, kind }
    }

    /// The entry of a list in which everything stands that must.
    fn selected(&self, select: &Select) -> Option<&Value> {
        let filling = Filling { papers: self.papers, now: self.now };
        let list = self.document.at(&select.list)?.as_array()?;
        let wanted: Vec<(&description::Pointer, String)> = select
            .matching
            .iter()
            .map(|(pointer, template)| filling.open(template).map(|text| (pointer, text)))
            .collect::<Option<_>>()?;
        let fits = |entry: &&Value| {
            wanted
                .iter()
                .all(|(pointer, wanted)| at(entry, pointer).and_then(scalar).is_some_and(|text| text == *wanted))
        };
        list.iter().find(fits)
    }

    /// What is read: of a list the entry that counts, else the whole document.
    pub(super) fn entry<'d>(&'d self, select: Option<&Select>) -> Option<&'d Value> {
        match select {
            Some(select) => self.selected(select),
            None => self.document.json.as_ref(),
        }
    }

    pub(super) fn ends(&self, read: &Read, entry: Option<&Value>) -> Expiry {
        let found = self.texts(&read.place, entry).into_iter().next().filter(|text| !text.is_empty() && text != "0");
        let Some(text) = found else {
            let elsewhere = read.or.as_ref().map_or(Expiry::Unknown, |other| self.ends(other, entry));
            let begins = |prefix: &str| self.papers.token.begins_with(prefix);
            let meant = read.missing_for.is_empty() || read.missing_for.iter().any(|prefix| begins(prefix));
            // Whatever is said of another token's entry says nothing of this one.
            let never = read.missing_is_never && meant && entry.is_some();
            return elsewhere.or(if never { Expiry::Never } else { Expiry::Unknown });
        };
        read.formats.iter().find_map(|format| moment(format, &text, self.now)).map_or(Expiry::Unknown, Expiry::At)
    }

    fn words(&self, words: &Words, entry: Option<&Value>) -> Vec<String> {
        let texts = self.texts(&words.place, entry);
        match &words.split {
            None => texts,
            Some(split) => texts
                .iter()
                .flat_map(|text| text.split(&**split))
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
                .collect(),
        }
    }

    fn stands(&self, place: &Place, entry: Option<&Value>) -> bool {
        match place {
            Place::Header(name) => self.document.header(name).is_some(),
            Place::Json(pointer) => entry.and_then(|entry| at(entry, pointer)).is_some(),
        }
    }

    fn texts(&self, place: &Place, entry: Option<&Value>) -> Vec<String> {
        match place {
            Place::Header(name) => self.document.header(name).map(str::to_owned).into_iter().collect(),
            Place::Json(pointer) => match entry.and_then(|entry| at(entry, pointer)) {
                Some(Value::Array(items)) => items.iter().filter_map(scalar).collect(),
                Some(value) => scalar(value).into_iter().collect(),
                None => Vec::new(),
            },
        }
    }
}

/// Reads a moment; `None` where it is not written so. Fractions of seconds are cut off.
pub(super) fn moment(format: &Format, text: &str, now: Timestamp) -> Option<Timestamp> {
    let whole = |text: &str| text.split('.').next().and_then(|whole| whole.parse::<i64>().ok());
    let at = match format {
        Format::Unix => Timestamp::from_unix(whole(text)?),
        Format::UnixMilliseconds => Timestamp::from_unix(whole(text)?.div_euclid(1_000)),
        Format::Seconds => now.plus(Span::seconds(whole(text)?)),
        Format::Rfc3339 => Timestamp::from_unix(text.parse::<jiff::Timestamp>().ok()?.as_second()),
        Format::Rfc2822 => Timestamp::from_unix(rfc2822::parse(text).ok()?.timestamp().as_second()),
        Format::Date => first_moment(text.parse().ok()?)?,
        Format::Layout(layout) => layout_moment(layout, text)?,
    };
    (EARLIEST..=LATEST).contains(&at.unix()).then_some(at)
}

fn layout_moment(layout: &str, text: &str) -> Option<Timestamp> {
    let parsed = strtime::parse(layout, text).ok()?;
    if let Ok(at) = parsed.to_timestamp() {
        return Some(Timestamp::from_unix(at.as_second()));
    }
    if let Ok(at) = parsed.to_datetime() {
        return Some(Timestamp::from_unix(at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second()));
    }
    first_moment(parsed.to_date().ok()?)
}

fn first_moment(date: jiff::civil::Date) -> Option<Timestamp> {
    Some(Timestamp::from_unix(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second()))
}

/// No token ended before there were any: nonsense is not a date.
const EARLIEST: i64 = 1;
/// The end of the year 9999, which is the last one that RFC 3339 can write.
pub(super) const LATEST: i64 = 253_402_300_799;
/// More permissions than any provider has.
const MOST_SCOPES: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_format() {
        let now = Timestamp::from_unix(1_000_000_000);
        let layout = |text: &str| Format::Layout(text.into());
        for (format, text, unix) in [
            (Format::Unix, "1785542400", Some(1_785_542_400)),
            (Format::Unix, "1785542400.9", Some(1_785_542_400)),
            (Format::UnixMilliseconds, "1785542400999", Some(1_785_542_400)),
            (Format::Seconds, "3600", Some(1_000_003_600)),
            (Format::Rfc3339, "2026-08-01T00:00:00Z", Some(1_785_542_400)),
            (Format::Rfc3339, "2026-08-01T02:00:00.466476215+02:00", Some(1_785_542_400)),
            (Format::Rfc3339, "2026-08-01T00:00:00.0000000Z", Some(1_785_542_400)),
            (Format::Rfc2822, "Sat, 01 Aug 2026 00:00:00 +0000", Some(1_785_542_400)),
            (Format::Date, "2026-08-01", Some(1_785_542_400)),
            (layout("%Y-%m-%d %H:%M:%S UTC"), "2026-08-01 00:00:00 UTC", Some(1_785_542_400)),
            (layout("%Y-%m-%d %H:%M:%S %z"), "2026-08-01 02:00:00 +0200", Some(1_785_542_400)),
            (layout("%d.%m.%Y"), "01.08.2026", Some(1_785_542_400)),
            (Format::Unix, "soon", None),
            (Format::Unix, "-5", None),
            (Format::Unix, "99999999999999999999", None),
            (Format::UnixMilliseconds, "999999999999999999", None),
            (Format::Rfc3339, "2026-08-01", None),
            (Format::Date, "2026-02-30", None),
            (Format::Seconds, "9223372036854775807", None),
            (layout("%Y"), "2026-08-01", None),
        ] {
            assert_eq!(moment(&format, text, now).map(Timestamp::unix), unix, "{format:?} {text}");
        }
    }
}
