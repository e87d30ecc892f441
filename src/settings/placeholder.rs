//! Values that were copied from an example and never filled in: addresses in domains that belong to nobody.

use super::layers::{Node, Value};

/// Domains that are for examples only and reach nobody (RFC 2606 §2 and §3), with whatever stands before them.
const RESERVED: [&str; 5] = ["example.com", "example.org", "example.net", "example", "invalid"];

/// Where people and machines are to be reached: a slip here is noticed only when it matters.
const PARTS: [&str; 3] = ["heartbeat", "receivers", "smtp"];

/// The keys whose values still name such a domain, in the order of the tree.
pub fn unfilled(tree: &Node) -> Vec<String> {
    let mut found = Vec::new();
    for part in PARTS {
        if let Some(node) = tree.get(part) {
            walk(node, part, &mut found);
        }
    }
    found
}

fn walk(node: &Node, path: &str, found: &mut Vec<String>) {
    match &node.value {
        Value::Text(text) if is_reserved(text) => found.push(path.to_owned()),
        Value::List(_) => node.each_item(|index, item| walk(item, &format!("{path}[{index}]"), found)),
        Value::Table(table) => {
            for (name, child) in table {
                walk(child, &super::check::join(path, name), found);
            }
        }
        _ => {}
    }
}

/// Whether the host of an address or a url lies in a reserved domain.
fn is_reserved(text: &str) -> bool {
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default().trim_end_matches('>');
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let is_address = text.contains('@') || text.contains("://");
    is_address && RESERVED.iter().any(|domain| host == *domain || host.ends_with(&format!(".{domain}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::from_text;

    #[test]
    fn what_an_example_left_behind_is_named_by_its_key() {
        let tree = from_text(
            r#"
            [smtp]
            from = "Token Watch <tokenwatch@Example.COM>"
            relays = [{ url = "smtps://alerts@mail.corp.de:465" }, { url = "smtp://mail.example.org:587?tls=required" }]
            [receivers.default]
            email = ["a@corp.de", "b@sub.example.net"]
            webhook = { url = "https://hooks.invalid/x?at=example.com" }
            [receivers.other]
            email = ["c@example.com.de", "d@myexample.com"]
            webhook = { url = "https://corp.de/example.com" }
            [heartbeat]
            url = "https://hc.example./ping"
            [daemon]
            external_url = "https://tokenwatch.example.com/"
            "#,
            "test",
            &[],
        );
        let tree = tree.unwrap_or_else(|faults| unreachable!("{faults}")).tree;
        assert_eq!(
            unfilled(&tree),
            [
                "heartbeat.url",
                "receivers.default.email[1]",
                "receivers.default.webhook.url",
                "smtp.from",
                "smtp.relays[1].url"
            ]
        );
    }
}
