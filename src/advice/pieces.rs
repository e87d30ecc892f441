//! What a sentence of ours is made of, for whoever shows it where commands and addresses look like what they are.

/// A bit of one of our own sentences. Words from outside never become pieces, so they never become links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Words.
    Words(String),
    /// A command to type.
    Command(String),
    /// An address to go to.
    Link(String),
}

/// Finds the commands (between back-ticks) and the addresses in one of our sentences.
pub fn pieces(sentence: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (n, part) in sentence.split('`').enumerate() {
        if n % 2 == 1 {
            pieces.push(Piece::Command(part.to_owned()));
            continue;
        }
        let mut rest = part;
        while let Some(at) = rest.find("https://").or_else(|| rest.find("http://")) {
            let (before, tail) = rest.split_at(at);
            let end = tail.find(char::is_whitespace).unwrap_or(tail.len());
            let address = tail[..end].trim_end_matches(['.', ',', ';', ':', ')', '"']);
            pieces.push(Piece::Words(before.to_owned()));
            pieces.push(Piece::Link(address.to_owned()));
            rest = &tail[address.len()..];
        }
        pieces.push(Piece::Words(rest.to_owned()));
    }
    pieces.retain(|piece| !matches!(piece, Piece::Words(words) if words.is_empty()));
    pieces
}
