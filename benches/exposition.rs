//! A scrape: the text of `/metrics` for a thousand and a hundred thousand tokens, against a copy of the same bytes in memory.
//!
//! All tokens have series of their own, and the counters are rendered anew each time, as for a real scrape.

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod common;

use std::hint::black_box;
use std::sync::Arc;

use common::{aim, forget_peak, kib, median, number, plain, timed, title};
use tokenwatch::board::{Reload, Row, Table};
use tokenwatch::domain::finding::{Reason, Severity};
use tokenwatch::domain::inspection::{Expiry, TokenKind};
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::domain::token::{AppName, ProviderName, ReceiverName, TokenId};
use tokenwatch::domain::verdict::Verdict;
use tokenwatch::metrics::Counters;
use tokenwatch::ports::OutboxSummary;
use tokenwatch::provider::meta::KNOWN_CODES;
use tokenwatch::settings::PerToken;
use tokenwatch::web::exposition::{Exposition, Scene};

const NOW: Timestamp = Timestamp::from_unix(1_772_368_496);

fn main() {
    title(
        "a scrape",
        "processor time of one scrape over that of a memcpy of its bytes in the same run (medians, taken in turn), \
         and how far the high-water mark of resident memory rises meanwhile",
    );
    let counters = Counters::default();
    counters.expect(&ProviderName::meta(), &KNOWN_CODES.map(|(_, label)| label));
    for (tokens, runs, limit) in [(1_000, 301, 8.0), (100_000, 15, 2.0)] {
        let table = Arc::new(Table::new((0..tokens).map(row).collect()));
        let text: Vec<u8> = scrape(&table, &counters).flatten().collect();
        let mut copy = vec![0; text.len()];
        let (mut scrapes, mut copies, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            let (scraped, bytes) =
                timed(|| scrape(&table, &counters).map(|chunk| black_box(chunk).len()).sum::<usize>());
            assert_eq!(bytes / 1_000, text.len() / 1_000, "the same text");
            let (copied, ()) = timed(|| copy.copy_from_slice(black_box(&text)));
            black_box(&copy);
            scrapes.push(scraped * 1e3);
            copies.push(copied * 1e3);
            ratios.push(scraped / copied);
        }
        let megabytes = number(text.len()) / 1e6;
        drop((text, copy));
        forget_peak();
        let before = kib("self", "VmRSS");
        let bytes: usize = scrape(&table, &counters).map(|chunk| black_box(chunk).len()).sum();
        let extra = (kib("self", "VmHWM") - before) / 1_024.0;
        black_box(bytes);
        plain(&format!("{tokens} tokens, the text"), format!("{megabytes:.1} MB"));
        plain("  a scrape", format!("{:.3} ms", median(scrapes)));
        plain("  a memcpy of its bytes", format!("{:.3} ms", median(copies)));
        aim("  a scrape over a memcpy", median(ratios), limit, "x");
        aim("  memory while it is written", extra, 1.0, "MiB");
    }
}

fn scrape(table: &Arc<Table>, counters: &Counters) -> Exposition {
    let scene = Scene {
        now: NOW,
        counters: counters.render(),
        outbox: Some(OutboxSummary::default()),
        last_pass: Some(NOW),
        reload: Some(Reload { successful: true, success_at: NOW }),
        watcher: Vec::new(),
        per_token: PerToken::All,
    };
    Exposition::new(Arc::clone(table), &scene)
}

/// One token in fifty has something wrong.
fn row(index: i64) -> Row {
    let ill = index % 50 == 0;
    Row {
        id: TokenId::parse(&format!("customer-{index:06}-whatsapp")).expect("a name"),
        provider: ProviderName::meta(),
        app: Some(AppName::parse("helpdesk").expect("a name")),
        receivers: Arc::from([ReceiverName::parse("default").expect("a name")]),
        kind: TokenKind::SystemUser,
        verdict: if ill { Verdict::Expiring } else { Verdict::Healthy },
        findings: if ill { Box::new([(Reason::Expiring, Severity::Warning)]) } else { Box::default() },
        expires: Expiry::At(NOW.plus(Span::minutes(index + 1))),
        data_access: Expiry::At(NOW.plus(Span::days(90))),
        issued_at: Some(NOW.minus(Span::days(7))),
        lifetime: Some(Span::days(60)),
        last_check: Some(NOW),
        last_answer: Some(NOW),
        next_check: NOW.plus(Span::minutes(15)),
        renewal: None,
        answered: None,
        number: None,
    }
}
