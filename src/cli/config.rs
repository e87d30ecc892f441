//! `config check | show | schema | reference | sandbox`; `diff` has a file of its own.

use clap::Subcommand;

use super::{Context, Exit, config_diff, io, sandbox};
use crate::daemon::wiring::Wiring;
use crate::reader::Reader;
use crate::settings::source::Sources;
use crate::settings::{placeholder, show};
use crate::web::gate::Policy;

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum What {
    /// Accepts exactly what `run` accepts, and names all faults at once.
    Check,
    /// Effective settings, each with its origin; secrets as ***.
    Show,
    /// What a reload would change in the running daemon: what is added, changed, removed, and what waits for a restart.
    Diff {
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// The JSON Schema of the configuration.
    Schema,
    /// The reference of every key, in Markdown.
    Reference,
    /// What this configuration needs from outside of the unit's sandbox, as files ready to be installed.
    Sandbox,
}

/// `1 token`, `2 tokens`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Runs the command.
pub async fn run(context: &Context, what: What) -> Exit {
    match what {
        What::Check | What::Show | What::Sandbox => {}
        What::Diff { json } => return config_diff::run(context, json).await,
        What::Schema => return io::print_json(&show::json_schema()),
        What::Reference => return io::print(&show::reference()),
    }
    let loaded = match context.load() {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    match what {
        What::Show => return io::print(&show::effective(&loaded.tree)),
        What::Sandbox => return io::print(&sandbox::render(&loaded.settings, &context.config)),
        What::Check | What::Diff { .. } | What::Schema | What::Reference => {}
    }
    let clock: std::sync::Arc<dyn crate::ports::Clock> = std::sync::Arc::new(crate::clock::System);
    let reader = Reader::new(Sources::new(context.environment.iter().cloned()));
    if let Err(faults) = Policy::of(&loaded.settings) {
        return super::fail(Exit::BadConfiguration, format_args!("the configuration is refused:\n{faults}"));
    }
    let counts = (loaded.settings.tokens.len(), loaded.settings.apps.len(), loaded.settings.receivers.len());
    if let Err(error) = Wiring::new(loaded.settings, &reader, &clock) {
        return super::fail(Exit::BadConfiguration, format_args!("the configuration is refused:\n{error}"));
    }
    let mut text = String::new();
    for warning in &loaded.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    let unfilled = placeholder::unfilled(&loaded.tree);
    if !unfilled.is_empty() {
        text.push_str(&format!("still to be filled in, for it reaches nobody: {}\n", unfilled.join(", ")));
    }
    let (tokens, apps, receivers) = counts;
    let counted = [count(tokens, "token"), count(apps, "app"), count(receivers, "receiver")];
    text.push_str(&format!("ok: {}\n", counted.join(", ")));
    io::print(&text)
}
