//! Tokens of Instagram Login and of Threads: hosts of their own, 60 days, refreshed without any secret (reference §4).
//!
//! Instagram has no `debug_token`: its tokens are probed with themselves, and when they end is learned from the answer to a refresh alone. Threads
//! has one, which tells an app about its tokens; and it answers plain faults of whoever asks with HTTP 500, so the code in the answer is read
//! before the status. What an error code means is the same as at Meta itself.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::HeaderMap;
use serde_json::Value;
use url::Url;

use super::wire::Envelope;
use super::{Meta, Reading, classify, exchange, is_app_message, known_by_its_beginning};
use crate::domain::inspection::{CheckError, Inspection, TokenKind, Validity};
use crate::graph::lacks_a_permission;
use crate::outgoing::{ClientError, Reply};
use crate::ports::{Answer, Clock, Exchange, ExchangeError, Exchanged, Provider, Question, Telemetry};
use crate::provider::http::{check_error, started};
use crate::provider::values::{as_text, word};
use crate::settings;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// graph.instagram.com.
    Instagram,
    /// graph.threads.net.
    Threads,
}

/// Instagram Login, or Threads.
#[derive(Debug)]
pub struct LongLived {
    graph: Meta,
    family: Family,
}

impl LongLived {
    /// A client for the API at the configured place.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(family: Family, settings: &settings::Graph, clock: Arc<dyn Clock>) -> Result<Self, ClientError> {
        Ok(Self { graph: Meta::new(settings, clock)?, family })
    }

    async fn ask(&self, question: &Question<'_>) -> Answer {
        let started = started();
        let mut telemetry = Telemetry::default();
        let debugs = self.family == Family::Threads && question.app.is_some();
        let url = if debugs { self.debug_url(question) } else { self.probe_url(question) };
        let facts = match self.graph.http.get(url).await {
            Ok(reply) => {
                self.note(&reply, &mut telemetry);
                let reading = Reading { reply: &reply, question, now: self.graph.clock.now() };
                let facts = if debugs { reading.facts(&mut telemetry) } else { self.probed(&reading, &mut telemetry) };
                facts.map(|facts| known_by_its_beginning(facts, question.token, self.prefix()))
            }
            Err(error) => Err(error),
        };
        telemetry.seconds = started.elapsed().as_secs_f64();
        Answer { facts, number: None, telemetry }
    }

    async fn refresh(&self, request: Exchange<'_>) -> Exchanged {
        let started = started();
        let mut telemetry = Telemetry::default();
        let given = match self.graph.http.ask(self.refresh_url(&request), HeaderMap::new()).await {
            Ok(reply) => {
                let given = exchange::answer(&self.graph, reply, request, &mut telemetry);
                telemetry.other_version = None;
                given
            }
            Err(failure) => {
                let may_be_done = failure.may_have_arrived;
                Err(ExchangeError::Unanswered { error: check_error(failure), may_be_done })
            }
        };
        telemetry.seconds = started.elapsed().as_secs_f64();
        Exchanged { given, telemetry }
    }

    /// The headers' news. The version that runs is told of Meta's own API only.
    fn note(&self, reply: &Reply, telemetry: &mut Telemetry) {
        self.graph.note(reply, self.graph.clock.now(), telemetry);
        telemetry.other_version = None;
    }

    /// The answer to a token that asked about itself.
    fn probed(&self, reading: &Reading<'_>, telemetry: &mut Telemetry) -> Result<Inspection, CheckError> {
        let Some(mut envelope) = Envelope::read(&reading.reply.body) else { return Err(reading.not_json()) };
        if let Some(error) = envelope.refusal() {
            telemetry.error_codes.push(error.code.map_or("other", classify::code_label).into());
            if error.code.is_some_and(lacks_a_permission) && !is_app_message(&error) {
                // Only a token that works is told what it may not do.
                return Ok(Inspection { lacking: Some(self.scope().into()), ..living() });
            }
            return match classify::token_fate(&error).filter(|_| !is_app_message(&error)) {
                Some(fate) => Ok(reading.dead(fate, &error, super::DebugData::default())),
                None => Err(reading.of(classify::refusal(&error, reading.reply.status), &error.message)),
            };
        }
        if reading.reply.status != 200 {
            let status = reading.reply.status;
            return Err(reading.of(classify::by_status(status), &format!("HTTP {status}")));
        }
        let answer: Value = serde_json::from_slice(&reading.reply.body).unwrap_or_default();
        // Whether the node comes alone or in a list is not documented (reference §4).
        let node = answer.pointer("/data/0").unwrap_or(&answer);
        let id = node.get("user_id").or_else(|| node.get("id")).and_then(as_text);
        id.map(|id| Inspection { user_id: Some(word(&id)), ..living() })
            .ok_or_else(|| CheckError::Garbled("the probe answered without an id".into()))
    }

    /// The permission that everything needs (reference §4).
    const fn scope(&self) -> &'static str {
        match self.family {
            Family::Instagram => "instagram_business_basic",
            Family::Threads => "threads_basic",
        }
    }

    /// How its own tokens begin (reference §11).
    const fn prefix(&self) -> &'static str {
        match self.family {
            Family::Instagram => "IG",
            Family::Threads => "TH",
        }
    }

    /// `GET /vNN.0/me?fields=…&access_token=…`.
    fn probe_url(&self, question: &Question<'_>) -> Url {
        let fields = match self.family {
            Family::Instagram => "user_id,username",
            Family::Threads => "id,username",
        };
        let mut url = self.graph.endpoint("me");
        url.query_pairs_mut().append_pair("fields", fields).append_pair("access_token", question.token.expose());
        url
    }

    /// `GET /v1.0/debug_token?access_token=TH|APP_ID|APP_SECRET&input_token=…`: the app's token in the form that needs no other request first.
    fn debug_url(&self, question: &Question<'_>) -> Url {
        let mut url = self.graph.endpoint("debug_token");
        if let Some(app) = &question.app {
            let caller = zeroize::Zeroizing::new(format!("TH|{}|{}", app.id, app.secret.expose()));
            let mut query = url.query_pairs_mut();
            query.append_pair("access_token", &caller).append_pair("input_token", question.token.expose());
        }
        url
    }

    /// `GET /refresh_access_token?grant_type=…&access_token=…`, unversioned.
    fn refresh_url(&self, request: &Exchange<'_>) -> Url {
        let grant = match self.family {
            Family::Instagram => "ig_refresh_token",
            Family::Threads => "th_refresh_token",
        };
        let mut url = self.graph.base_url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/refresh_access_token"));
        url.query_pairs_mut().append_pair("grant_type", grant).append_pair("access_token", request.token.expose());
        url
    }
}

/// A token that works, of which nothing else is known.
fn living() -> Inspection {
    Inspection { kind: TokenKind::User, ..Inspection::bare(Validity::Valid) }
}

impl Provider for LongLived {
    fn error_codes(&self) -> Vec<&str> {
        self.graph.error_codes()
    }

    fn inspect<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(self.ask(question))
    }

    fn exchange<'a>(&'a self, request: Exchange<'a>) -> BoxFuture<'a, Exchanged> {
        Box::pin(self.refresh(request))
    }
}
