//! Adapters to the services that issue tokens. Each turns a wire format into the facts of the core, and keeps the rest to itself.

pub mod declared;
mod health;
pub mod http;
pub mod meta;
mod values;

use std::sync::Arc;

use crate::outgoing::ClientError;
use crate::ports::{Clock, Provider, Providers};
use crate::settings::{self, Settings};

/// Whoever is asked under this configuration: one for each provider that a token comes from.
///
/// # Errors
/// When no HTTP client can be made.
pub fn all(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Providers, ClientError> {
    let one = |provider: &settings::Provider| -> Result<Arc<dyn Provider>, ClientError> {
        let clock = Arc::clone(clock);
        Ok(match provider {
            settings::Provider::Meta(graph) => Arc::new(meta::Meta::new(graph, clock)?),
            settings::Provider::Instagram(graph) => {
                Arc::new(meta::LongLived::new(meta::Family::Instagram, graph, clock)?)
            }
            settings::Provider::Threads(graph) => Arc::new(meta::LongLived::new(meta::Family::Threads, graph, clock)?),
            settings::Provider::Declared(declared) => Arc::new(declared::DeclaredProvider::new(declared, clock)?),
        })
    };
    settings.providers.iter().map(|(name, provider)| Ok((name.clone(), one(provider)?))).collect()
}
