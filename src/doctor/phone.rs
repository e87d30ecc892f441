//! Whether a phone number that somebody typed is one, in E.164 form; and if not, what was probably meant.
//!
//! The numbering plans are those of the library, which follows Google's libphonenumber.

use phonenumber::metadata::{DATABASE, Descriptor};
use phonenumber::{Mode, PhoneNumber, country};

/// A number that can exist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Phone {
    /// `+919812345678`.
    pub e164: String,
}

/// Reads a number.
///
/// # Errors
/// What is wrong, with the likely mistake; it repeats the number, which is the reader's own.
pub fn parse(text: &str) -> Result<Phone, String> {
    let typed = text.trim();
    let digits: String = typed.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return Err(format!("{typed:?} is no phone number: it has no digits"));
    }
    if let Some(bad) = typed.chars().find(|c| !c.is_ascii_digit() && !SEPARATORS.contains(*c)) {
        return Err(format!("{typed:?} is no phone number: {bad:?} does not belong in one"));
    }
    let Some(rest) = typed.strip_prefix('+') else { return Err(without_plus(typed, &digits)) };
    if rest.contains("(0)") {
        let meant = typed.replace("(0)", "");
        return Err(format!("{typed:?} has a zero that is dialled within the country only{}", did_you_mean(&meant)));
    }
    let Some(number) = read(&format!("+{digits}")) else {
        return Err(format!("{typed:?} does not begin with a country code, such as +91 for India"));
    };
    let code = number.country().code();
    let national = digits.strip_prefix(&code.to_string()).unwrap_or_default();
    let e164 = number.format().mode(Mode::E164).to_string();
    if e164 != format!("+{digits}") {
        // The library takes the zero of the national form out.
        return Err(format!("{typed:?} has a zero that is dialled within the country only{}", did_you_mean(&e164)));
    }
    // The plan knows which numbers are given out, and not those that a provider makes up for tests; their length is right.
    if !number.is_valid() && !has_a_length_of(code, national.len()) {
        return Err(format!("{typed:?} has too few or too many digits for the country code +{code}"));
    }
    Ok(Phone { e164 })
}

/// The country code is the mistake that the guide warns of.
fn without_plus(typed: &str, digits: &str) -> String {
    if let Some(international) = digits.strip_prefix("00") {
        return format!(
            "{typed:?} is not in E.164 form: write + in place of 00{}",
            did_you_mean(&format!("+{international}"))
        );
    }
    if digits.starts_with('0') {
        return format!(
            "{typed:?} is not in E.164 form: leave the first 0 out and put + and the country code in front, such as +91 for India"
        );
    }
    let hint = if valid(&format!("+{digits}")).is_some() { did_you_mean(&format!("+{digits}")) } else { String::new() };
    format!("{typed:?} is not in E.164 form: it must begin with + and the country code{hint}")
}

/// `; did you mean +919812345678?`, where that is a number.
fn did_you_mean(meant: &str) -> String {
    valid(meant).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default()
}

/// Whether some phone, mobile or not, may have so many digits after the country code.
fn has_a_length_of(code: u16, length: usize) -> bool {
    let plans = DATABASE.by_code(&code).unwrap_or_default();
    let kinds = plans.iter().flat_map(|plan| [plan.descriptors().mobile(), plan.descriptors().fixed_line()]).flatten();
    kinds.flat_map(Descriptor::possible_length).any(|known| usize::from(*known) == length)
}

fn valid(text: &str) -> Option<String> {
    read(text).filter(PhoneNumber::is_valid).map(|number| number.format().mode(Mode::E164).to_string())
}

fn read(text: &str) -> Option<PhoneNumber> {
    phonenumber::parse(None::<country::Id>, text).ok()
}

const SEPARATORS: &str = " +-./()\u{a0}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_the_likely_mistakes() {
        for (typed, e164) in [
            ("+919812345678", "+919812345678"),
            ("+91 98123 45678", "+919812345678"),
            (" +1 (650) 253-0000 ", "+16502530000"),
            ("+49 171 1234567", "+491711234567"),
            ("+390612345678", "+390612345678"),
            // A test number of Meta's: nobody has it, and it is one.
            ("+15550001111", "+15550001111"),
        ] {
            let phone = parse(typed).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(phone.e164, e164, "{typed}");
        }
        for (typed, words) in [
            ("919812345678", "did you mean +919812345678?"),
            ("00919812345678", "did you mean +919812345678?"),
            ("09812345678", "leave the first 0 out"),
            ("9812345678", "must begin with + and the country code"),
            ("+4901711234567", "did you mean +491711234567?"),
            ("+49 (0) 171 1234567", "did you mean +491711234567?"),
            ("+9198123", "too few or too many digits"),
            ("+91981234567890123", "too few or too many digits"),
            ("+999123456789", "country code"),
            ("+", "no digits"),
            ("", "no digits"),
            ("+91981234567x", "'x' does not belong"),
            ("tel:+919812345678", "does not belong"),
            ("++", "no digits"),
        ] {
            let error = parse(typed).expect_err(typed);
            assert!(error.contains(words), "{typed}: {error}");
        }
    }
}
