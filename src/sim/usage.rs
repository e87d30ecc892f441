//! Rate limits: calls in a rolling hour against a budget, and the headers that tell of them (§7).
//! Must never count calls that have no budget: those are unlimited.

use std::collections::{BTreeMap, VecDeque};

use serde_json::json;

use super::answers::{GraphError, pair};
use super::switches::Switches;

const HOUR: i64 = 3600;
const MINUTE: i64 = 60;

/// The calls of the last hour, by budget.
#[derive(Debug, Default)]
pub(super) struct Usage {
    apps: BTreeMap<String, Window>,
    /// By app and WABA: the limit is per app per account.
    wabas: BTreeMap<(String, String), Window>,
}

/// A usage header, and the refusal when the budget is spent.
pub(super) struct Spent {
    pub header: Option<(String, String)>,
    pub refusal: Option<GraphError>,
}

impl Usage {
    /// A call with an app token.
    pub fn spend_app(&mut self, app: &str, budget: u32, switches: &Switches, now: i64) -> Spent {
        let window = self.apps.entry(app.to_owned()).or_default();
        let (percent, over, _) = window.record(budget, now);
        let value = json!({"call_count": percent, "total_time": percent / 2, "total_cputime": percent / 2});
        Spent {
            header: (percent > 0).then(|| pair("x-app-usage", &value.to_string())),
            refusal: over.then(|| throttled(GraphError::new(4, "(#4) Application request limit reached"), switches)),
        }
    }

    /// A call to a management endpoint of a WABA.
    pub fn spend_waba(&mut self, app: &str, waba: &str, budget: u32, switches: &Switches, now: i64) -> Spent {
        let key = (app.to_owned(), waba.to_owned());
        let (percent, over, minutes) = self.wabas.entry(key).or_default().record(budget, now);
        Spent {
            header: (percent > 0).then(|| business_header(waba, percent, minutes)),
            refusal: over.then(|| too_many_whatsapp_calls(switches)),
        }
    }
}

/// The header of a business use case; the time to regain access is in minutes (§7).
pub(super) fn business_header(id: &str, percent: u32, minutes: i64) -> (String, String) {
    let entry = json!({
        "type": "whatsapp_business_management",
        "call_count": percent,
        "total_cputime": percent / 2,
        "total_time": percent / 2,
        "estimated_time_to_regain_access": minutes,
    });
    let value = json!({ id: [entry] }).to_string();
    pair("x-business-use-case-usage", &value)
}

pub(super) fn too_many_whatsapp_calls(switches: &Switches) -> GraphError {
    let code = if switches.throttled_as_80007 { 80007 } else { 80008 };
    let message = format!(
        "(#{code}) There have been too many calls to this WhatsApp Business account. Wait a bit and try again."
    );
    throttled(GraphError::new(code, message), switches)
}

fn throttled(error: GraphError, switches: &Switches) -> GraphError {
    error.status(if switches.throttled_as_429 { 429 } else { 400 })
}

#[derive(Debug, Default)]
struct Window {
    calls: VecDeque<i64>,
}

impl Window {
    /// Counts a call, refused ones too: more calls lengthen the block (§7). Gives the percentage used, whether this
    /// call is over the budget, and the minutes until the next one would not be.
    fn record(&mut self, budget: u32, now: i64) -> (u32, bool, i64) {
        self.calls.retain(|at| (now - HOUR + 1..=now).contains(at));
        self.calls.push_back(now);
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        let over = self.calls.len() > budget;
        let percent = (self.calls.len() * 100).checked_div(budget).map_or(100, |percent| percent.min(100));
        // Access is back when as many calls have left the hour as stand above the budget, and one more.
        let must_leave = self.calls.len().saturating_sub(budget);
        let back_at = self.calls.get(must_leave).or(self.calls.back());
        let minutes = match back_at {
            Some(at) if over => (at + HOUR - now + MINUTE - 1) / MINUTE,
            _ => 0,
        };
        (u32::try_from(percent).unwrap_or(100), over, minutes)
    }
}

#[cfg(test)]
mod tests {
    use super::Window;

    #[test]
    fn a_spent_budget_comes_back_with_the_hour() {
        let mut window = Window::default();
        for call in 1..=4_i64 {
            let (percent, over, minutes) = window.record(4, call * 600);
            assert_eq!((i64::from(percent), over, minutes), (call * 25, false, 0));
        }
        // Five calls at 600 … 3000: two must leave before a sixth fits, the second at 1200 + 3600.
        assert_eq!(window.record(4, 3000), (100, true, 30));
        assert_eq!(window.record(4, 4800), (100, false, 0));
        assert_eq!(window.record(4, 20_000), (25, false, 0));
    }

    #[test]
    fn a_clock_set_back_forgets_the_future() {
        let mut window = Window::default();
        window.record(1, 10_000);
        assert_eq!(window.record(1, 5000), (100, false, 0));
    }
}
