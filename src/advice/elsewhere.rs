//! What to do about a token that is not Meta's: where a new one is made and how, as its provider's description says.
//!
//! Instagram and Threads stand here as well: their tokens are fetched through the application's own login, and none of Meta's dashboards of tokens
//! knows them.

use super::{LONGEST_LIST, Links, lower_first, missing, plain, provider_in_words, put_in_place};
use crate::domain::alert::Notice;
use crate::domain::finding::{Detail, Reason};
use crate::domain::inspection::{AppFault, Basis, Cause};

/// What puts it right, in order.
pub(super) fn cure(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let provider = provider_in_words(&notice.provider);
    match notice.reason {
        Reason::Revoked => {
            let mut steps: Vec<String> = before_a_new_token(notice, provider).into_iter().collect();
            steps.extend(new_token(notice, links));
            steps
        }
        Reason::Unreadable => {
            let place = links.secret.map_or_else(|| "where it stands".to_owned(), |place| plain(&place.to_string()));
            let mut steps = vec![
                format!(
                    "Look at the secret ({place}): is it whole, and is it one of {provider}? A paste often loses its end, or gains quotes or a line break."
                ),
                "If it is whole, replace it:".to_owned(),
            ];
            steps.extend(new_token(notice, links));
            steps
        }
        Reason::ExpiryUnknown => vec![
            format!(
                "{provider} tells nobody when this token ends. If you know the date, write it into the configuration: expires = \"2027-01-31\"."
            ),
            "Its validity is watched all the same, and its end will be told when it comes.".to_owned(),
        ],
        Reason::ScopeMissing => {
            let mut steps = vec![format!(
                "See what the token may do at {provider}{}. It lacks: {}. Permissions are often fixed when a token is made, so it may have to be replaced:",
                at(links),
                missing(notice, LONGEST_LIST)
            )];
            steps.extend(new_token(notice, links));
            steps
                .push("If the permission is not needed at all, take it out of scopes in the configuration.".to_owned());
            steps
        }
        Reason::NumberBlocked | Reason::NumberLimited => vec![
            "Read the reasons above: they are the provider's own words.".to_owned(),
            format!("Look at the sender at {provider}{}; the token itself is well.", at(links)),
        ],
        Reason::AppFault => app(notice, provider, links),
        _ => new_token(notice, links),
    }
}

/// How a new token is had and put in place.
pub(super) fn new_token(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let provider = provider_in_words(&notice.provider);
    let mut steps: Vec<String> = links.steps.iter().map(|step| plain(step)).collect();
    if steps.is_empty() {
        steps.push(format!("Make a new token at {provider}{}.", at(links)));
    }
    if notice.facts.basis == Basis::Typed {
        steps.push(
            "Write its end into the configuration (expires = …), for nobody else tells it, and reload tokenwatch."
                .to_owned(),
        );
    }
    if links.secret.is_some_and(crate::settings::value::SecretRef::is_somewhere) {
        steps.push(put_in_place(notice, links));
    }
    steps
}

fn at(links: &Links<'_>) -> String {
    links.manage.map(|page| format!(" ({page})")).unwrap_or_default()
}

fn before_a_new_token(notice: &Notice, provider: &str) -> Option<String> {
    let Detail::Cause(cause) = notice.detail else { return None };
    match cause {
        Cause::AccountSuspended => {
            Some(format!("Have the account at {provider} opened again: while it is suspended no new token works."))
        }
        Cause::AccountClosed => Some(format!("See whether the account at {provider} is really gone; a token needs another one then.")),
        Cause::Disabled => Some("Ask who switched it off, and why; it may be switched on again instead.".to_owned()),
        Cause::Untrusted => Some(
            "Read the reason above: a certificate for another name, of an unknown authority, or without its intermediates is replaced or completed on the server."
                .to_owned(),
        ),
        Cause::AppRemoved
        | Cause::Checkpointed
        | Cause::PasswordChanged
        | Cause::Unconfirmed
        | Cause::LoggedOut
        | Cause::RoleLost
        | Cause::Inactive
        | Cause::Unstated => Some(
            "Ask whether somebody withdrew or replaced the token on purpose; if so, the new one may be in place elsewhere already.".to_owned(),
        ),
    }
}

fn app(notice: &Notice, provider: &str, links: &Links<'_>) -> Vec<String> {
    let name = notice.app.as_ref().map_or(notice.subject.name(), |app| app.as_str());
    let place = links.secret.map_or_else(|| "in the configuration".to_owned(), |place| plain(&place.to_string()));
    match notice.detail {
        Detail::App(AppFault::SecretUnreadable, _) => super::source(links),
        Detail::App(..) => vec![
            format!(
                "Compare the id in [apps.{name}] and its secret ({place}) with what {provider} shows{}.",
                at(links)
            ),
            "If the secret was replaced there, put the new one in its place.".to_owned(),
        ],
        _ => vec![
            format!(
                "The token belongs to another app than [apps.{name}]: name the right one in the token's app = …, or replace the token."
            ),
            lower_first(&put_in_place(notice, links)),
        ],
    }
}
