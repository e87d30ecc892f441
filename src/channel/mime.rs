//! A [`Mail`] as the bytes that travel: RFC 5322 headers around MIME parts.
//!
//! Pure, and the same message always gives the same bytes: no clock, no random boundary, no generated Message-ID. All of it is ASCII,
//! so no relay needs 8BITMIME, and no header is written without having lost its line breaks.

use lettre::message::header::{self, ContentType, HeaderName, HeaderValue, Headers};
use lettre::message::{Body, Mailbox, Mailboxes, MultiPart, SinglePart};

use super::Mail;
use crate::advice;

/// The message, from and to these mailboxes.
///
/// The calendar stands beside the text, not as one of its alternatives: a program that understands calendars would else show the
/// event and hide the words.
pub fn encode(mail: &Mail, from: &Mailbox, to: &[Mailbox]) -> Vec<u8> {
    let mut head = Headers::new();
    head.set(header::From::from(Mailboxes::from(from.clone())));
    head.set(header::To::from(to.iter().cloned().collect::<Mailboxes>()));
    head.insert_raw(HeaderValue::new(HeaderName::new_from_ascii_str("Subject"), advice::plain(&mail.subject)));
    let mut out = head.to_string();
    push(&mut out, "Date", &date(mail));
    push(&mut out, "Message-ID", &mail.message_id);
    push_ids(&mut out, "In-Reply-To", &mail.in_reply_to);
    push_ids(&mut out, "References", &mail.references);
    for (name, value) in &mail.headers {
        push(&mut out, name, value);
    }
    out.push_str("MIME-Version: 1.0\r\n");
    let words = MultiPart::alternative()
        .boundary(INNER)
        .singlepart(part(ContentType::TEXT_PLAIN, mail.text.clone()))
        .singlepart(part(ContentType::TEXT_HTML, mail.html.clone()));
    let body = match &mail.calendar {
        None => words,
        Some(calendar) => {
            MultiPart::mixed().boundary(OUTER).multipart(words).singlepart(calendar_part(calendar.clone()))
        }
    };
    let mut bytes = out.into_bytes();
    bytes.extend_from_slice(&body.formatted());
    bytes
}

fn part(kind: ContentType, text: String) -> SinglePart {
    SinglePart::builder().header(kind).body(printable(text))
}

fn calendar_part(text: String) -> SinglePart {
    let kind = ContentType::parse("text/calendar; charset=utf-8; method=PUBLISH").expect("a valid media type");
    SinglePart::builder()
        .header(kind)
        .header(header::ContentDisposition::attachment("deadline.ics"))
        .body(printable(text))
}

/// Quoted-printable always: long lines and any language fit, and a person can still read the source.
fn printable(text: String) -> Body {
    Body::new_with_encoding(text, header::ContentTransferEncoding::QuotedPrintable)
        .expect("quoted-printable holds any text")
}

fn push(out: &mut String, name: &str, value: &str) {
    out.extend([name, ": ", &ascii(value), "\r\n"]);
}

/// One id per line: fifty of them on one line would break the limit of 998 octets.
fn push_ids(out: &mut String, name: &str, ids: &[String]) {
    if ids.is_empty() {
        return;
    }
    let ids: Vec<String> = ids.iter().map(|id| ascii(id)).collect();
    out.extend([name, ": ", &ids.join("\r\n "), "\r\n"]);
}

fn ascii(value: &str) -> String {
    value.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(LONGEST_VALUE).collect()
}

fn date(mail: &Mail) -> String {
    let at = jiff::Timestamp::from_second(mail.date.unix()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// `=_` cannot stand in quoted-printable text (RFC 2045 §6.7), so no part can contain a boundary.
const OUTER: &str = "=_tokenwatch_mixed";
const INNER: &str = "=_tokenwatch_words";
/// Below the line limit of RFC 5322 §2.1.1 with any of our names in front.
const LONGEST_VALUE: usize = 900;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn mail() -> Mail {
        Mail {
            message_id: "<a@example.com>".to_owned(),
            references: vec!["<b@example.com>".to_owned(), "<c@example.com>".to_owned()],
            in_reply_to: vec!["<c@example.com>".to_owned()],
            date: Timestamp::from_unix(1_752_566_400),
            subject: "[tokenwatch] é\r\nBcc: evil@example.com".to_owned(),
            headers: vec![("X-Tokenwatch-Token", "a".to_owned()), ("X-Tokenwatch-Token", "b\r\nX-Evil: 1".to_owned())],
            text: format!("é = 1\n.\n--=_tokenwatch_words--\n{}\n", "long ".repeat(300)),
            html: "<p>é</p>".to_owned(),
            calendar: Some("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n".to_owned()),
        }
    }

    fn encoded() -> String {
        let from: Mailbox = "Tokenwatch <t@example.com>".parse().expect("a mailbox");
        let to: Vec<Mailbox> =
            vec!["a@example.com".parse().expect("a mailbox"), "b@example.com".parse().expect("a mailbox")];
        String::from_utf8(encode(&mail(), &from, &to)).expect("all of it is ASCII")
    }

    #[test]
    fn the_bytes_are_fixed_and_plain() {
        let text = encoded();
        assert_eq!(text, encoded());
        assert!(text.is_ascii());
        assert!(text.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert_eq!(head.matches("Message-ID: ").count(), 1);
        assert!(head.contains("Date: Tue, 15 Jul 2025 08:00:00 +0000\r\n"));
        assert!(head.contains("From: Tokenwatch <t@example.com>\r\nTo: a@example.com, b@example.com\r\n"), "{head}");
        assert!(head.contains("References: <b@example.com>\r\n <c@example.com>\r\n"));
        assert_eq!(head.matches("X-Tokenwatch-Token: ").count(), 2);
        assert!(!head.contains("\r\nBcc") && !head.contains("\r\nX-Evil"), "{head}");
        assert_eq!(body.matches("--=_tokenwatch_words--").count(), 1, "text cannot close a part: {body}");
        assert!(body.contains("Content-Type: text/calendar; charset=utf-8; method=PUBLISH"), "{body}");
    }
}
