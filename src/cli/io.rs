//! Printing: tables, colour only on a terminal, and a closed pipe that is nobody's fault.

use std::io::{IsTerminal as _, Write as _};

use super::Exit;

/// Prints text; a reader that went away early (`| head`) is fine.
pub fn print(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Exit::Internal,
        _ => Exit::Fine,
    }
}

/// Prints a value as JSON.
pub fn print_json(value: &impl serde::Serialize) -> Exit {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&(text + "\n")),
        Err(error) => super::fail(Exit::Internal, error),
    }
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub struct Paint(bool);

impl Paint {
    /// Colours where standard output is a terminal and `NO_COLOR` is not set (no-color.org).
    pub fn new(environment: &[(String, String)]) -> Self {
        let forbidden = environment.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
        Self(!forbidden && std::io::stdout().is_terminal())
    }

    /// The text in the colour of a severity or verdict.
    pub fn by_word(self, text: &str, word: &str) -> String {
        let code = match word {
            "critical" | "expired" | "invalid" => "31;1",
            "warning" | "expiring" | "unverified" => "33",
            "healthy" => "32",
            _ => return text.to_owned(),
        };
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// The text, set back.
    pub fn soft(self, text: &str) -> String {
        if self.0 { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// `1 notice`, `2 notices`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Rows in aligned columns; the last column is not padded. Each cell may be painted after it was measured.
pub fn table(rows: &[Vec<String>], paint: impl Fn(usize, usize, &str) -> String) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (y, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (x, cell) in row.iter().enumerate() {
            line.push_str(&paint(y, x, cell));
            if x + 1 < row.len() {
                let gap = widths.get(x).copied().unwrap_or(0) - cell.chars().count() + 2;
                line.extend(std::iter::repeat_n(' ', gap));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
