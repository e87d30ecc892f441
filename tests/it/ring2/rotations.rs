//! Tokens of providers other than Meta, through the whole daemon: what ends the old secret at once, what is lost on the way, what only a refresh
//! tells.

use std::path::{Path, PathBuf};

use tokenwatch::domain::renewal::Origin;
use tokenwatch::domain::time::Span;
use tokenwatch::domain::token::TokenId;
use tokenwatch::ports::Clock as _;

use super::{DAY, HOUR, House, inhabited, until};
use crate::pages::gitlab::{GitLab, Kind};
use crate::pages::instagram::{Instagram, Life, Renewed};
use crate::pages::oauth2::{CLIENT_ID, CLIENT_SECRET, INTROSPECTION, OAuth2, TOKEN};
use crate::pages::tickets::Tickets;
use crate::pages::twilio::Twilio;
use crate::pages::{Page, Said, Site};
use crate::support::desk::secret;
use crate::support::house::START;
use crate::support::process::{quoted, refusing};

/// A house, and a provider next door.
async fn next_door<P: Page>(page: P) -> (House, Site<P>) {
    let house = inhabited().await;
    let clock = house.clock.clone();
    let site = Site::serve(page, move || clock.now().unix()).await;
    (house, site)
}

/// Where a secret stands.
fn file(house: &House, name: &str) -> std::path::PathBuf {
    house.folder.path().join(name)
}

/// The same, as TOML writes it.
fn place(house: &House, name: &str) -> String {
    quoted(&file(house, name))
}

fn put(house: &House, name: &str, secret: &str) {
    std::fs::write(file(house, name), secret).expect("the secret is written");
}

fn held(house: &House, name: &str) -> String {
    std::fs::read_to_string(file(house, name)).expect("the secret is read")
}

/// Every subject so far about that token.
fn told(house: &House, name: &str) -> Vec<String> {
    house.subjects().into_iter().filter(|subject| subject.contains(name)).collect()
}

fn gitlab(house: &House, site: &Site<GitLab>) -> String {
    house.config(&format!(
        "[provider.gitlab]\nbase_url = \"{}\"\n[[tokens]]\nname = \"ci\"\nprovider = \"gitlab\"\nsecret = {{ file = {} }}\n\
         check = \"1h\"\nparameters.lifetime = \"3d\"\n[tokens.renew]\nbefore = \"1d\"\n",
        site.url(),
        place(house, "ci.token")
    ))
}

/// A token of GitLab that ends three days after the story began, and is renewed a day before.
async fn three_days() -> (House, Site<GitLab>, String) {
    let (house, site) = next_door(GitLab::new()).await;
    let token = site.page().make(Kind::Personal, &["api"], Some("2026-01-04"), START - DAY);
    put(&house, "ci.token", &token);
    (house, site, token)
}

fn rotations(site: &Site<GitLab>) -> usize {
    site.calls().iter().filter(|call| call.method == "POST").count()
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_dies_with_its_rotation_is_put_in_place_and_nobody_is_woken() {
    let (mut house, site, first) = three_days().await;
    house.start(&gitlab(&house, &site)).await;
    until(&house, 50 * HOUR).await;
    let second = held(&house, "ci.token");
    assert_ne!(second, first);
    assert_eq!(site.page().alive(house.clock.now().unix()), [second.as_str()], "the old one died with the answer");
    until(&house, 8 * DAY).await;
    let alive = site.page().alive(house.clock.now().unix());
    assert_eq!((alive.len(), &alive[0]), (1, &held(&house, "ci.token")), "three days each, renewed in time");
    let told = told(&house, "ci");
    assert!(!told.iter().any(|subject| subject.contains("CRITICAL") || subject.contains("expired")), "{told:?}");
    assert!(told.iter().any(|subject| subject.starts_with("RESOLVED ci was renewed")), "{told:?}");
    house.stop().await;
}

// promise 65
#[tokio::test(start_paused = true)]
async fn what_exists_nowhere_else_waits_sealed_until_it_can_be_written_also_over_a_crash() {
    let (mut house, site, first) = three_days().await;
    let folder = house.folder.path().join("locked");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("ci.token"), &first).expect("the secret is written");
    let config = gitlab(&house, &site).replace("ci.token", "locked/ci.token");
    house.start(&config).await;
    until(&house, 46 * HOUR - HOUR).await;
    let gone = house.folder.path().join("elsewhere");
    std::fs::rename(&folder, &gone).expect("the folder goes away");
    std::fs::write(&folder, "no folder").expect("a file in its place");
    until(&house, 49 * HOUR).await;
    assert_eq!(rotations(&site), 0, "what cannot be read is not rotated");
    std::fs::remove_file(&folder).expect("it goes");
    std::fs::rename(&gone, &folder).expect("the folder comes back");
    let locked = ReadOnly::new(&folder);
    until(&house, 52 * HOUR).await;
    assert_eq!(std::fs::read_to_string(folder.join("ci.token")).expect("it is read"), first);
    assert!(told(&house, "ci").iter().any(|subject| subject.starts_with("CRITICAL")), "{:?}", house.subjects());
    house.kill().await;
    house.start(&config).await;
    house.pass(Span::hours(1)).await;
    drop(locked);
    house.pass(Span::hours(1)).await;
    let now = std::fs::read_to_string(folder.join("ci.token")).expect("it is read");
    assert_eq!(
        (rotations(&site), site.page().alive(house.clock.now().unix())),
        (1, vec![now]),
        "asked for once, and kept"
    );
    house.stop().await;
}

// promise 65
#[tokio::test(start_paused = true)]
async fn what_exists_nowhere_else_is_kept_while_its_token_is_gone_from_the_configuration() {
    let (mut house, site, first) = three_days().await;
    let here = gitlab(&house, &site);
    let blocked = format!(
        "{here}publish = [{{ file = {} }}, {{ file = {} }}]\n",
        place(&house, "no-such-folder/copy"),
        place(&house, "ci.token")
    );
    let nothing = house.config(
        "[[tokens]]\nname = \"badge\"\nprovider = \"manual\"\nexpires = \"2040-01-01\"\nsecret = { env = \"PATH\" }\n",
    );
    house.start(&blocked).await;
    until(&house, 50 * HOUR).await;
    assert_eq!(
        (rotations(&site), held(&house, "ci.token")),
        (1, first.clone()),
        "the places are written in their order"
    );
    let subjects = told(&house, "ci");
    assert!(subjects.iter().any(|subject| subject.starts_with("CRITICAL")), "{subjects:?}");
    house.reload(&nothing);
    house.pass(Span::hours(2)).await;
    assert_eq!(held(&house, "ci.token"), first);
    // Nobody but the journal knows the living one, also after a crash.
    house.kill().await;
    house.start(&nothing).await;
    house.pass(Span::hours(1)).await;
    house.reload(&here);
    house.pass(Span::hours(2)).await;
    let alive = site.page().alive(house.clock.now().unix());
    assert_eq!((rotations(&site), alive), (1, vec![held(&house, "ci.token")]), "{:?}", house.subjects());
    house.stop().await;
}

/// A token is taken out of the configuration and put back while its rotation is on its way: the run of the token that came back waits its turn,
/// and has what the one before it was given.
// promise 65
#[tokio::test(start_paused = true)]
async fn what_is_given_to_a_run_that_was_thought_to_be_over_goes_to_the_next_one() {
    let (mut house, site, first) = three_days().await;
    let slowly = gitlab(&house, &site);
    let quickly = slowly.replace("check = \"1h\"", "check = \"1s\"");
    let nothing = house.config("");
    house.start(&slowly).await;
    until(&house, 47 * HOUR).await;
    let (arrived, go) = site.hold_next("POST");
    arrived.await.expect("it is rotated");
    house.reload(&nothing);
    house.pass(Span::seconds(1)).await;
    house.reload(&quickly);
    house.pass(Span::seconds(3)).await;
    assert_eq!(runs(&house), 2, "the next one has begun");
    go.send(()).expect("it is awaited");
    house.pass(Span::minutes(5)).await;
    let living = held(&house, "ci.token");
    assert_ne!(living, first);
    assert_eq!((rotations(&site), site.page().alive(house.clock.now().unix())), (1, vec![living]));
    let told = told(&house, "ci");
    assert!(!told.iter().any(|subject| subject.contains("CRITICAL")), "{told:?}");
    house.stop().await;
}

/// The number of the run in the journal, as the file of the state says.
fn runs(house: &House) -> i64 {
    super::reloads::column(house, "SELECT cast(run ->> 'number' AS text) FROM runs")
        .first()
        .map_or(0, |number| number.parse().expect("a number"))
}

/// The token is written to these places, in this order, and the token's own place is the last.
fn published(house: &House, site: &Site<GitLab>, copies: &[&str]) -> String {
    let places = copies.iter().chain(&["ci.token"]).map(|name| format!("{{ file = {} }}", place(house, name)));
    format!("{}publish = [{}]\n", gitlab(house, site), places.collect::<Vec<_>>().join(", "))
}

#[tokio::test(start_paused = true)]
async fn what_a_person_wrote_into_another_place_is_left_alone_and_the_living_secret_waits() {
    let (mut house, site, first) = three_days().await;
    let config = published(&house, &site, &["later/copy", "other.copy"]);
    put(&house, "other.copy", &first);
    house.start(&config).await;
    until(&house, 50 * HOUR).await;
    assert_eq!((rotations(&site), held(&house, "other.copy")), (1, first.clone()), "it waits for the first place");
    put(&house, "other.copy", "of somebody");
    std::fs::create_dir(file(&house, "later")).expect("the folder comes");
    house.pass(Span::hours(2)).await;
    let living = held(&house, "later/copy");
    assert_eq!(site.page().alive(house.clock.now().unix()), [living.as_str()]);
    assert_eq!((held(&house, "other.copy").as_str(), held(&house, "ci.token")), ("of somebody", first.clone()));
    let page = house.get("/api/v1/tokens/ci").await.1;
    assert!(page.contains("other.copy"), "it is said where: {page}");
    house.kill().await;
    house.start(&config).await;
    house.pass(Span::hours(1)).await;
    assert_eq!(held(&house, "later/copy"), living, "the dead one goes back nowhere");
    // Whoever wrote there takes it away again.
    put(&house, "other.copy", &first);
    house.pass(Span::hours(1)).await;
    assert_eq!((held(&house, "other.copy"), held(&house, "ci.token")), (living.clone(), living));
    assert_eq!(rotations(&site), 1);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_a_person_puts_in_its_place_ends_a_run_that_waits_for_another() {
    let (mut house, site, first) = three_days().await;
    house.start(&published(&house, &site, &["later/copy"])).await;
    until(&house, 50 * HOUR).await;
    assert_eq!((rotations(&site), held(&house, "ci.token")), (1, first), "it waits for the first place");
    let own = site.page().make(Kind::Personal, &["api"], Some("2026-02-01"), house.clock.now().unix());
    put(&house, "ci.token", &own);
    house.pass(Span::hours(2)).await;
    let page = house.get("/api/v1/tokens/ci").await.1;
    let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    let ended = page["history"]["renewals"][0]["text"].as_str().unwrap_or_default();
    assert!(ended.contains("changed by somebody"), "{page}");
    assert_eq!((page["verdict"].as_str(), held(&house, "ci.token")), (Some("healthy"), own), "and it is watched");
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_token_that_comes_back_is_overwritten_by_the_living_one() {
    let (mut house, site, first) = three_days().await;
    let (_nobody, nobody) = refusing();
    house
        .start(&format!("{}confirm = {{ http = \"http://{nobody}/\", within = \"1s\" }}\n", gitlab(&house, &site)))
        .await;
    until(&house, 50 * HOUR).await;
    let living = held(&house, "ci.token");
    assert_eq!(site.page().alive(house.clock.now().unix()), [living.as_str()], "it waits for the application");
    // Whatever looks after that file puts back what it knows.
    put(&house, "ci.token", &first);
    house.pass(Span::hours(1)).await;
    assert_eq!((rotations(&site), held(&house, "ci.token")), (1, living));
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_place_that_moves_while_a_run_waits_for_it_gets_the_living_secret_where_it_is_now() {
    let (mut house, site, _) = three_days().await;
    house.start(&published(&house, &site, &["later/copy"])).await;
    until(&house, 50 * HOUR).await;
    assert_eq!(rotations(&site), 1);
    house.reload(&published(&house, &site, &["here.copy"]));
    house.pass(Span::hours(1)).await;
    let now = held(&house, "ci.token");
    assert_eq!((site.page().alive(house.clock.now().unix()), rotations(&site)), (vec![now.clone()], 1));
    assert_eq!(held(&house, "here.copy"), now);
    let told = told(&house, "ci");
    assert!(told.last().is_some_and(|subject| subject.starts_with("RESOLVED")), "{told:?}");
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_that_is_not_known_everywhere_yet_is_kept_and_put_in_place_once_it_is() {
    let (mut house, site, first) = three_days().await;
    site.page().known_after = 10 * 60;
    house.start(&gitlab(&house, &site)).await;
    until(&house, DAY).await;
    while rotations(&site) == 0 {
        house.pass(Span::minutes(1)).await;
    }
    house.pass(Span::minutes(2)).await;
    assert_eq!(held(&house, "ci.token"), first, "what is called invalid is not put in place");
    // What it was told meanwhile is in the journal only.
    house.kill().await;
    house.start(&gitlab(&house, &site)).await;
    house.pass(Span::hours(3)).await;
    let now = held(&house, "ci.token");
    assert_eq!(
        (site.page().alive(house.clock.now().unix()), rotations(&site)),
        (vec![now], 1),
        "{:?}",
        house.subjects()
    );
    let told = told(&house, "ci");
    assert!(told.last().is_some_and(|subject| subject.starts_with("RESOLVED")), "{told:?}");
    house.stop().await;
}

/// A folder that cannot be written to, for as long as this lives. Rights mean nothing to root, so for root it is a mount that is read-only.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn new(folder: &Path) -> Self {
        if is_root() {
            let shown = folder.to_str().expect("a path");
            done("mount", &["--bind", shown, shown]);
            let locked = Self(folder.to_owned());
            done("mount", &["-o", "remount,bind,ro", shown]);
            return locked;
        }
        set_mode(folder, 0o500);
        Self(folder.to_owned())
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        if is_root() {
            // Who fails in it may still have a file open there, and a fault on the way out of another would end all tests.
            let status = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
            assert!(std::thread::panicking() || status.is_ok_and(|status| status.success()), "{}", self.0.display());
        } else {
            set_mode(&self.0, 0o700);
        }
    }
}

fn done(program: &str, arguments: &[&str]) {
    let status = std::process::Command::new(program).args(arguments).status().expect("it runs");
    assert!(status.success(), "{program} {arguments:?}");
}

fn set_mode(folder: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).expect("the rights change");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_was_never_carried_out_is_tried_again() {
    let (mut house, site, first) = three_days().await;
    house.start(&gitlab(&house, &site)).await;
    until(&house, DAY).await;
    // The request reaches something that breaks, and the provider never hears of it.
    site.refuse_next("POST", Said::text(502, "bad gateway"));
    until(&house, 60 * HOUR).await;
    let now = held(&house, "ci.token");
    assert_ne!(now, first, "the old one was looked at, and lived");
    assert_eq!(site.page().alive(house.clock.now().unix()), [now]);
    house.stop().await;
}

// promise 66
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_for_good_is_told_and_the_family_is_left_alone() {
    let (mut house, site, first) = three_days().await;
    house.start(&gitlab(&house, &site)).await;
    until(&house, DAY).await;
    site.lose_answer_to("POST", Said::text(504, "gateway time-out"));
    until(&house, 60 * HOUR).await;
    assert_eq!(rotations(&site), 1, "a second one with the old token would end the new one, too");
    assert_eq!(held(&house, "ci.token"), first);
    let told = told(&house, "ci");
    assert!(told.iter().any(|subject| subject.starts_with("CRITICAL ci")), "{told:?}");
    // The words are in the history and in the mail.
    let page = house.get("/api/v1/tokens/ci").await.1;
    assert!(page.contains("lost on the way"), "{page}");
    house.stop().await;
}

/// The configuration that docs/providers.md shows, as it stands there.
fn of_the_documents() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers.md");
    let text = std::fs::read_to_string(path).expect("docs/providers.md");
    let begin = text.find("[providers.tickets]").expect("the example");
    text[begin..].split_once("```").expect("its end").0.to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_described_in_the_documents_works_from_end_to_end() {
    let (mut house, site) = next_door(Tickets::default()).await;
    let first = site.page().make(30, START - DAY);
    house.write_env(&[("TICKETS_TOKEN", &first)]);
    let example = of_the_documents()
        .replace("https://tickets.example.com", &site.url())
        .replace("/srv/tickets/app.env", &house.env().display().to_string());
    house.start(&house.config(&format!("[schedule]\ncheck = \"6h\"\n{example}"))).await;
    until(&house, DAY).await;
    let metrics = house.get("/metrics").await.1;
    for line in [
        "tokenwatch_token_info{token=\"tickets\",provider=\"tickets\",app=\"\",kind=\"service_token\"} 1",
        "tokenwatch_token_verdict{token=\"tickets\",verdict=\"healthy\"} 1",
        "tokenwatch_provider_errors_total{code=\"token_expired\",provider=\"tickets\"} 0",
        "tokenwatch_provider_usage_ratio{app=\"\",resource=\"requests\"} 0.25",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    until(&house, 45 * DAY).await;
    let now = held_key(&house, "TICKETS_TOKEN");
    assert_ne!(now, first, "it was rotated in time");
    assert!(site.page().tokens[&first].ends <= house.clock.now().unix(), "the old one lived to its own end");
    assert!(!house.subjects().iter().any(|subject| subject.contains("CRITICAL")), "{:?}", house.subjects());
    // Somebody withdraws it: the mail says where a new one is had.
    site.page().tokens.get_mut(&now).expect("the token").revoked = true;
    house.pass(Span::days(1)).await;
    let subjects = told(&house, "tickets");
    assert!(subjects.iter().any(|subject| subject.starts_with("CRITICAL tickets")), "{subjects:?}");
    let mail = house.mails().pop().expect("a mail").text.replace("=\r\n", "");
    for words in ["the page of tokens, press", "TICKETS_TOKEN in"] {
        assert!(mail.contains(words), "{words}: {mail}");
    }
    house.stop().await;
}

/// What the env file holds under that key.
fn held_key(house: &House, key: &str) -> String {
    let text = std::fs::read_to_string(house.env()).expect("the env file");
    text.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).expect("the key").to_owned()
}

/// Wherever the process dies around a rotation: what is in the slot afterwards lives, or it is said that nobody has the new one; and nothing is ever
/// rotated twice with one token.
#[tokio::test(start_paused = true)]
async fn a_crash_around_a_rotation_loses_nothing_unsaid() {
    let mut lost = 0;
    for delay in 0..16 {
        let (mut house, site, first) = three_days().await;
        house.start(&gitlab(&house, &site)).await;
        until(&house, DAY).await;
        until(&house, due(&house).await - START - 2).await;
        while rotations(&site) == 0 && held(&house, "ci.token") == first {
            house.pass(Span::seconds(1)).await;
        }
        // So many turns of the runtime later the process is gone.
        for _ in 0..delay * delay * 2 {
            tokio::task::yield_now().await;
        }
        house.kill().await;
        house.start(&gitlab(&house, &site)).await;
        house.pass(Span::hours(6)).await;
        let now = held(&house, "ci.token");
        let alive = site.page().alive(house.clock.now().unix());
        if alive == [now.as_str()] {
            assert_eq!(rotations(&site), 1, "after {delay}");
        } else {
            lost += 1;
            let told = house.get("/api/v1/tokens/ci").await.1;
            assert!(told.contains("nobody has it"), "after {delay}: {told}");
            assert_eq!((rotations(&site), alive.len()), (1, 1), "after {delay}: the new one lives, wherever it is");
        }
        house.stop().await;
    }
    assert!(lost < 16, "the crashes all came at the same moment");
}

/// When the token is renewed next.
async fn due(house: &House) -> i64 {
    let metrics = house.get("/metrics").await.1;
    let line = "tokenwatch_token_renewal_timestamp_seconds{token=\"ci\"} ";
    metrics.lines().find_map(|text| text.strip_prefix(line)).expect("a renewal").parse().expect("a moment")
}

const SHOP: &str = "check = \"6h\"\n[tokens.renew]\nbefore = \"20d\"\n";

// promise 64
#[tokio::test(start_paused = true)]
async fn an_instagram_token_tells_its_end_only_when_it_is_renewed_and_that_is_kept() {
    let (mut house, site) = next_door(Instagram::new()).await;
    site.page().tokens.renewed = Renewed::NewString;
    let first = site.page().tokens.make("ada", Life::Long, START - DAY / 2);
    put(&house, "shop.token", &first);
    house
        .start(&house.config(&format!(
            "[provider.instagram]\nbase_url = \"{}\"\n[[tokens]]\nname = \"shop\"\nprovider = \"instagram\"\n\
             secret = {{ file = {} }}\n{SHOP}",
            site.url(),
            place(&house, "shop.token")
        )))
        .await;
    until(&house, 20 * HOUR).await;
    assert_eq!(held(&house, "shop.token"), first, "the provider renews nothing within the first day");
    until(&house, 2 * DAY).await;
    let second = held(&house, "shop.token");
    assert_ne!(second, first, "one renewal tells the end");
    let page = house.get("/api/v1/tokens/shop").await.1;
    let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    let end = page["expires_at"].as_i64().expect("an end");
    assert!((START + 60 * DAY..START + 62 * DAY).contains(&end), "{end}");
    until(&house, 30 * DAY).await;
    let metrics = house.get("/metrics").await.1;
    assert!(
        metrics.contains(&format!("tokenwatch_token_expiry_timestamp_seconds{{token=\"shop\"}} {end}")),
        "no check erases it"
    );
    assert_eq!(held(&house, "shop.token"), second, "once its end is known there is no hurry");
    until(&house, 50 * DAY).await;
    assert_ne!(held(&house, "shop.token"), second, "20 days before the end it is renewed again");
    let told = told(&house, "shop");
    assert!(!told.iter().any(|subject| subject.contains("CRITICAL") || subject.contains("WARNING")), "{told:?}");
    house.stop().await;
}

/// The secondary token is in use before it takes the place of the primary one, and the next rotation begins by deleting whatever is secondary.
#[tokio::test(start_paused = true)]
async fn a_promotion_that_fails_is_made_up_for_before_the_next_rotation() {
    const PROMOTE: &str = "/v1/AuthTokens/Promote";
    let (mut house, site) = next_door(Twilio::new("story", START - DAY)).await;
    let account = site.page().account.clone();
    let first = site.page().primary.clone();
    put(&house, "auth.token", &first);
    let url = site.url();
    let config = house.config(&format!(
        "[provider.twilio]\nbase_url = \"{url}\"\nparameters = {{ accounts_url = \"{url}\", messaging_url = \"{url}\" }}\n\
         [[tokens]]\nname = \"sms\"\nprovider = \"twilio\"\nsecret = {{ file = {} }}\n\
         parameters = {{ account = \"{account}\" }}\n[tokens.renew]\ncron = \"0 0 3 * * *\"\n",
        place(&house, "auth.token")
    ));
    site.refuse_next(PROMOTE, Said::text(500, "trouble"));
    house.start(&config).await;
    let promotions = || site.calls().iter().filter(|call| call.path == PROMOTE).count();
    while promotions() == 0 {
        house.pass(Span::minutes(1)).await;
    }
    house.kill().await;
    assert_ne!(held(&house, "auth.token"), first, "it is in use");
    house.start(&config).await;
    house.pass(Span::minutes(10)).await;
    assert_eq!(site.page().primary.clone(), held(&house, "auth.token"));
    assert_eq!(site.page().secondary.clone(), None);
    until(&house, 4 * DAY).await;
    assert_eq!(site.page().primary.clone(), held(&house, "auth.token"), "each day another");
    assert!(promotions() >= 4, "{}", promotions());
    let told = told(&house, "sms");
    assert!(!told.iter().any(|subject| subject.contains("revoked")), "{told:?}");
    house.stop().await;
}

fn oauth(house: &House, site: &Site<OAuth2>) -> String {
    house.config(&format!(
        "[apps.desk]\nprovider = \"oauth2\"\nid = {CLIENT_ID:?}\nsecret = {{ file = {} }}\n\
         [[tokens]]\nname = \"api\"\nprovider = \"oauth2\"\napp = \"desk\"\nsecret = {{ file = {} }}\ncheck = \"5m\"\n\
         [tokens.parameters]\nintrospection_endpoint = \"{}{INTROSPECTION}\"\ntoken_endpoint = \"{}{TOKEN}\"\n\
         refresh_token = {{ file = {} }}\n[tokens.renew]\nbefore = \"33%\"\n",
        place(house, "app.secret"),
        place(house, "access.token"),
        site.url(),
        site.url(),
        place(house, "refresh.token")
    ))
}

/// An access token that lives an hour, and its refresh token, which is used up by each refresh.
async fn granted() -> (House, Site<OAuth2>, String) {
    let (house, site) = next_door(OAuth2::new()).await;
    let (access, refresh) = site.page().grant(START);
    put(&house, "app.secret", CLIENT_SECRET);
    put(&house, "access.token", &access);
    put(&house, "refresh.token", &refresh);
    (house, site, refresh)
}

fn works(house: &House, site: &Site<OAuth2>) -> bool {
    let now = house.clock.now().unix();
    let page = site.page();
    page.is_active(&held(house, "access.token"), now) && page.refreshes(&held(house, "refresh.token"), now)
}

fn refreshes(site: &Site<OAuth2>) -> usize {
    site.calls().iter().filter(|call| call.path == TOKEN).count()
}

#[tokio::test(start_paused = true)]
async fn each_refresh_puts_both_tokens_in_place_for_days() {
    let (mut house, site, first) = granted().await;
    house.start(&oauth(&house, &site)).await;
    for day in 1..=3 {
        until(&house, day * DAY).await;
        assert!(works(&house, &site), "day {day}: {:?}", house.subjects());
    }
    assert_ne!(held(&house, "refresh.token"), first);
    assert!(refreshes(&site) >= 3 * 24, "an hour each");
    let told = told(&house, "api");
    assert!(!told.iter().any(|subject| subject.contains("CRITICAL")), "{told:?}");
    // The daemon was down while the access token ended: the refresh token brings it back.
    house.stop().await;
    house.pass(Span::hours(5)).await;
    assert!(!works(&house, &site));
    house.start(&oauth(&house, &site)).await;
    house.pass(Span::minutes(10)).await;
    assert!(works(&house, &site), "{:?}", house.subjects());
    house.stop().await;
}

// promise 66
#[tokio::test(start_paused = true)]
async fn a_refresh_token_whose_answer_was_lost_is_not_used_again_until_somebody_says_so() {
    let (mut house, site, _) = granted().await;
    house.start(&oauth(&house, &site)).await;
    until(&house, 2 * HOUR).await;
    let before = refreshes(&site);
    site.lose_answer_to(TOKEN, Said::text(504, "gateway time-out"));
    while refreshes(&site) == before {
        house.pass(Span::minutes(1)).await;
    }
    let lost = refreshes(&site);
    house.pass(Span::hours(12)).await;
    assert_eq!(refreshes(&site), lost, "a second use could end the grant");
    let subjects = told(&house, "api");
    assert!(subjects.iter().any(|subject| subject.starts_with("CRITICAL api")), "{subjects:?}");
    let page = house.get("/api/v1/tokens/api").await.1;
    assert!(page.contains("renew api --anyway"), "it says what to do: {page}");
    // Nor because of somebody's paste that was refused.
    let id = TokenId::parse("api").expect("a name");
    let wrong = secret("not-a-token-of-this-provider");
    house.requests().replace(id, Origin::Replaced("asha".into()), wrong, false).await.expect("it begins");
    house.pass(Span::hours(12)).await;
    assert_eq!(refreshes(&site), lost, "a refused replacement forgets nothing");
    // After a restart it is remembered.
    house.stop().await;
    house.start(&oauth(&house, &site)).await;
    house.pass(Span::hours(1)).await;
    assert_eq!(refreshes(&site), lost);
    // Somebody has the grant given anew.
    let (access, refresh) = site.page().grant(house.clock.now().unix());
    put(&house, "access.token", &access);
    put(&house, "refresh.token", &refresh);
    house.pass(Span::hours(3)).await;
    assert!(works(&house, &site), "{:?}", house.subjects());
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_grant_outlives_an_access_token_that_ended_before_it_could_be_put_in_place() {
    let (mut house, site, _) = granted().await;
    let places = [place(&house, "access.token"), place(&house, "later/copy")];
    let places = places.map(|place| format!("{{ file = {place} }}")).join(", ");
    house.start(&format!("{}publish = [{places}]\n", oauth(&house, &site))).await;
    let before = held(&house, "refresh.token");
    house.pass(Span::hours(3)).await;
    assert_eq!((refreshes(&site), held(&house, "refresh.token")), (1, before), "it waits for the second place");
    assert!(!works(&house, &site));
    std::fs::create_dir(house.folder.path().join("later")).expect("the folder comes");
    house.pass(Span::hours(1)).await;
    assert!(works(&house, &site), "{:?}", house.subjects());
    assert_eq!(held(&house, "later/copy"), held(&house, "access.token"));
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_knows_that_it_does_no_harm_may_insist() {
    let (mut house, site, _) = granted().await;
    house.start(&oauth(&house, &site)).await;
    until(&house, HOUR / 2).await;
    let before = refreshes(&site);
    site.refuse_next(TOKEN, Said::text(504, "gateway time-out"));
    while refreshes(&site) == before {
        house.pass(Span::minutes(1)).await;
    }
    house.pass(Span::hours(3)).await;
    assert!(!works(&house, &site));
    let id = TokenId::parse("api").expect("a name");
    house.requests().renew(id, Origin::Asked("asha".into()), true).await.expect("it begins");
    house.pass(Span::minutes(1)).await;
    assert!(works(&house, &site), "the provider had never heard of the lost one: {:?}", house.subjects());
    house.stop().await;
}
