//! tokenwatch.toml(5): the same table of keys that docs/configuration.md is made of, and the rules around it in short.

use roff::{Roff, bold, italic, roman};

use super::{Page, head, paragraphs, section, see_also, term, verbatim};
use crate::settings::show::{Entry, entries};

/// The page.
pub fn page() -> Page {
    let mut roff = Roff::new();
    head(&mut roff, NAME, '5', "configuration of tokenwatch");
    section(&mut roff, "SYNOPSIS");
    roff.text([italic("/etc/tokenwatch/tokenwatch.toml")]);
    roff.control("br", []);
    roff.text([italic("/etc/tokenwatch/conf.d/*.toml")]);
    section(&mut roff, "DESCRIPTION");
    paragraphs(&mut roff, DESCRIPTION);
    roff.control("SS", ["Values"]);
    paragraphs(&mut roff, VALUES);
    roff.control("SS", ["Secrets"]);
    paragraphs(&mut roff, SECRETS);
    for (form, meaning) in SECRET_FORMS {
        term(&mut roff, form, meaning);
    }
    section(&mut roff, "KEYS");
    keys(&mut roff);
    section(&mut roff, "EXAMPLES");
    paragraphs(&mut roff, &["One token of WhatsApp, renewed three weeks before its end, and mail to one address:"]);
    verbatim(&mut roff, EXAMPLE);
    section(&mut roff, "FILES");
    for (path, meaning) in FILES {
        term(&mut roff, path, meaning);
    }
    see_also(
        &mut roff,
        &[
            ("tokenwatch", "1"),
            ("tokenwatch-init", "1"),
            ("tokenwatch-config", "1"),
            ("systemd.exec", "5"),
            ("systemd-creds", "1"),
        ],
    );
    Page::new(NAME, '5', &roff.render())
}

/// The keys by table, in the order of the schema; what a table holds stands together even where other tables stand between.
fn keys(roff: &mut Roff) {
    let entries = entries();
    let (tables, keys): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| entry.holds.is_none());
    for table in tables {
        let inside: Vec<&&Entry> = keys.iter().filter(|key| parent(&key.path) == table.path).collect();
        if inside.is_empty() {
            continue;
        }
        roff.control("SS", [heading(&table.path).as_str()]);
        roff.text([roman(table.doc.as_str())]);
        for key in inside {
            let name = key.path.rsplit('.').next().unwrap_or_default();
            let holds = key.holds.as_deref().unwrap_or_default();
            roff.control("TP", []);
            roff.text([bold(name), roman(" = "), italic(holds)]);
            let default = match (key.default, key.required) {
                ("", true) => " Required.".to_owned(),
                ("", false) => String::new(),
                (default, _) => format!(" Default: {default}."),
            };
            roff.text([roman(format!("{}{default}", key.doc))]);
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// The table's path as its heading in TOML: `[[tokens]]`, `[tokens.renew]`, `[[smtp.relays]]`.
fn heading(path: &str) -> String {
    match path.strip_suffix("[]") {
        Some(list) => format!("[[{}]]", list.replace("[]", "")),
        None => format!("[{}]", path.replace("[]", "")),
    }
}

const NAME: &str = "tokenwatch.toml";

const DESCRIPTION: &[&str] = &[
    "One file in TOML. Another is named with `--config` or in `TOKENWATCH_CONFIG`. Files in `conf.d` beside it are merged in the order of their \
     names: tables are merged, lists of tables are joined, everything else is replaced.",
    "Then the environment: `TOKENWATCH__SMTP__FROM` sets `from` in `[smtp]`. An entry of a list or a named table is meant by its name, in \
     capitals with _ for any other character, or by its index.",
    "Unknown keys, duplicate names and impossible values are refused together, each with its file and a suggestion. `tokenwatch config check` \
     accepts exactly what `tokenwatch run` accepts. SIGHUP reads everything again; with any fault the old configuration stays in force.",
];

const VALUES: &[&str] = &[
    "Durations are written 90s, 15m, 6h, 21d, 2w, or as a sum such as 1h30m. A share of a lifetime is written \"33%\". Cron expressions have \
     six fields, seconds first, in the zone of `timezone`. Names are made of a-z, 0-9, dots, - and _, begin with a letter or a digit, and have \
     63 characters at most. In what follows, NAME is a name that you choose.",
];

const SECRETS: &[&str] = &[
    "A secret is never written here: a key that wants a secret reference says where the secret stands. It is read again at each check, so a \
     changed file needs no restart.",
];

const SECRET_FORMS: &[(&str, &str)] = &[
    ("{ env = \"NAME\" }", "A variable of the daemon's environment, as it was at the start."),
    ("{ file = \"/path\" }", "A file that holds nothing else."),
    ("{ credential = \"name\" }", "A credential of systemd: LoadCredential=name:/path in the unit."),
    ("{ env_file = \"/path\", key = \"NAME\" }", "One line of a file of KEY=value lines, as applications read them."),
];

const EXAMPLE: &str = include_str!("example.toml");

const FILES: &[(&str, &str)] = &[
    ("/etc/tokenwatch/tokenwatch.toml", "The configuration. `tokenwatch init` writes one."),
    ("/etc/tokenwatch/conf.d/*.toml", "Parts that are laid over it."),
    ("/var/lib/tokenwatch/tokenwatch.db", "The state, where the unit keeps it."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_on_the_page() {
        let text = page().text;
        for entry in entries() {
            let name = entry.path.rsplit('.').next().unwrap_or_default().trim_end_matches("[]");
            if entry.holds.is_some() {
                assert!(text.contains(&format!("\\fB{name}\\fR = ")), "{}", entry.path);
                assert!(text.contains(&heading(parent(&entry.path))), "{}", entry.path);
            }
        }
    }

    #[test]
    fn a_heading_is_written_as_in_the_file() {
        assert_eq!(heading("daemon"), "[daemon]");
        assert_eq!(heading("tokens[]"), "[[tokens]]");
        assert_eq!(heading("tokens[].renew.publish[]"), "[[tokens.renew.publish]]");
        assert_eq!(heading("receivers.NAME.webhook"), "[receivers.NAME.webhook]");
    }
}
