//! Where people go: the provider's pages, built from the ids at hand. An address without its id leads to the page that lists them all.
//!
//! Only digits become part of an address: an id may come from outside. None of these addresses is documented as an interface (they are not in the
//! reference), so each is named once, here.

use super::Links;
use crate::domain::inspection::TokenKind;
use crate::domain::token::ProviderName;
use crate::settings::value::is_id;

/// A page of the app's dashboard: `dashboard/`, `settings/basic/`, `settings/advanced/`.
pub fn app(links: &Links<'_>, page: &str) -> String {
    match digits(links.app_id) {
        Some(id) => format!("{APPS}{id}/{page}"),
        None => APPS.to_owned(),
    }
}

/// The system users of the business.
pub fn system_users(links: &Links<'_>) -> String {
    of_business("https://business.facebook.com/settings/system-users", links)
}

/// The WhatsApp accounts of the business.
pub fn whatsapp_accounts(links: &Links<'_>) -> String {
    of_business("https://business.facebook.com/settings/whatsapp-business-accounts", links)
}

/// The verification of the business.
pub fn verification(links: &Links<'_>) -> String {
    of_business("https://business.facebook.com/settings/security", links)
}

/// What Meta holds against the business, and where to object.
pub fn support_home(links: &Links<'_>) -> String {
    match digits(links.business) {
        Some(id) => format!("https://business.facebook.com/business-support-home/{id}"),
        None => "https://business.facebook.com/business-support-home/".to_owned(),
    }
}

/// How the business pays.
pub fn payments(links: &Links<'_>) -> String {
    of_account("https://business.facebook.com/billing_hub/payment_settings", links)
}

/// The numbers of the WhatsApp account.
pub fn phone_numbers(links: &Links<'_>) -> String {
    of_account("https://business.facebook.com/wa/manage/phone-numbers/", links)
}

/// The message templates of the WhatsApp account.
pub fn templates(links: &Links<'_>) -> String {
    of_account("https://business.facebook.com/wa/manage/message-templates/", links)
}

/// The WhatsApp part of the app: its webhooks, its test number and who may be written to from that.
pub fn whatsapp_setup(links: &Links<'_>) -> String {
    app(links, "whatsapp-business/wa-dev-console/")
}

/// The pages that concern a token, each with what is there.
pub fn of_token(provider: &ProviderName, kind: &TokenKind, links: &Links<'_>) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if provider.is_meta() {
        all.push(("The app", app(links, "dashboard/")));
        all.push(match kind {
            TokenKind::User | TokenKind::Page => ("Where user tokens are made", EXPLORER.to_owned()),
            TokenKind::SystemUser | TokenKind::App | TokenKind::Other(_) | TokenKind::Unknown => {
                ("System users and their tokens", system_users(links))
            }
        });
        if links.whatsapp.is_some() {
            all.push(("Its WhatsApp numbers", phone_numbers(links)));
        }
        all.push(("Meta's state", STATUS.to_owned()));
    }
    all.extend(links.manage.map(|page| ("Where its tokens are made", page.to_owned())));
    all.extend(links.runbook.filter(|page| page.starts_with("http")).map(|page| ("Your runbook", page.to_owned())));
    all
}

fn of_business(page: &str, links: &Links<'_>) -> String {
    match digits(links.business) {
        Some(id) => format!("{page}?business_id={id}"),
        None => page.to_owned(),
    }
}

fn of_account(page: &str, links: &Links<'_>) -> String {
    let account = links.whatsapp.and_then(|whatsapp| whatsapp.business_account_id.as_deref());
    match (digits(links.business), digits(account)) {
        (Some(business), Some(account)) => format!("{page}?business_id={business}&waba_id={account}"),
        (None, Some(account)) => format!("{page}?waba_id={account}"),
        (Some(business), None) => format!("{page}?business_id={business}"),
        (None, None) => page.to_owned(),
    }
}

fn digits(id: Option<&str>) -> Option<&str> {
    id.filter(|id| is_id(id))
}

/// The list of apps.
pub const APPS: &str = "https://developers.facebook.com/apps/";
/// Shows what a token is.
pub const DEBUGGER: &str = "https://developers.facebook.com/tools/debug/accesstoken/";
/// Makes user tokens.
pub const EXPLORER: &str = "https://developers.facebook.com/tools/explorer/";
/// Where a person logs in.
pub const FACEBOOK: &str = "https://www.facebook.com/";
/// The pages of a business and who may do what on them.
pub const PAGES: &str = "https://business.facebook.com/settings/pages";
/// Whether Meta is well.
pub const STATUS: &str = "https://metastatus.com/";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::WhatsApp;

    #[test]
    fn every_address_is_made_of_the_ids_at_hand() {
        let number = WhatsApp { business_account_id: Some("102290000000001".to_owned()), ..WhatsApp::default() };
        let links = Links {
            app_id: Some("634900000000001"),
            business: Some("2729063490586005"),
            whatsapp: Some(&number),
            ..Links::default()
        };
        let all = |links: &Links<'_>| {
            [
                app(links, "dashboard/"),
                app(links, "settings/basic/"),
                whatsapp_setup(links),
                system_users(links),
                whatsapp_accounts(links),
                verification(links),
                support_home(links),
                payments(links),
                phone_numbers(links),
                templates(links),
            ]
        };
        let known = all(&links);
        for (address, id) in known.iter().zip([
            "634900000000001",
            "634900000000001",
            "634900000000001",
            "2729063490586005",
            "2729063490586005",
            "2729063490586005",
            "2729063490586005",
            "102290000000001",
            "102290000000001",
            "102290000000001",
        ]) {
            assert!(address.contains(id), "{address}");
        }
        let hostile = WhatsApp { business_account_id: Some("1&x=@evil".to_owned()), ..WhatsApp::default() };
        let evil =
            Links { app_id: Some("1/../x"), business: Some("1?x"), whatsapp: Some(&hostile), ..Links::default() };
        assert_eq!(all(&evil), all(&Links::default()), "only digits become part of an address");
        for address in known.iter().chain(&all(&Links::default())) {
            let url = url::Url::parse(address).expect("an address");
            assert!(url.scheme() == "https" && url.host_str().is_some_and(|host| host.ends_with(".facebook.com")));
        }
    }
}
