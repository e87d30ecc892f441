//! The bells: cron expressions that say "now". They own no work.
//!
//! tokio-cron-scheduler wakes twice a second, fires nothing under paused time and may overlap its own jobs, so a job here does nothing
//! but ring a [`Notify`], and without a cron expression in the configuration the library is not started at all.

use std::sync::Arc;

use chrono::TimeZone as _;
use tokio::sync::{Notify, watch};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::wiring::Wiring;
use crate::domain::time::Timestamp;
use crate::settings::Settings;
use crate::settings::value::{Plan, cron_schedule};

/// Rings when the configuration's cron expression says so, until told to stop.
pub async fn run(mut wiring: watch::Receiver<Arc<Wiring>>, bell: Arc<Notify>, stop: CancellationToken) {
    loop {
        let settings = Arc::clone(&wiring.borrow_and_update().settings);
        let mut scheduler = match &settings.schedule.check {
            Plan::Every(_) => None,
            Plan::Cron(expression) => match hang(expression, settings.daemon.zone.name(), &bell).await {
                Ok(scheduler) => Some(scheduler),
                Err(error) => {
                    warn!(%error, "the cron expression rings no bell; checks happen only after failures");
                    None
                }
            },
        };
        let end = tokio::select! {
            () = stop.cancelled() => true,
            changed = wiring.changed() => changed.is_err(),
        };
        if let Some(scheduler) = &mut scheduler
            && let Err(error) = scheduler.shutdown().await
        {
            warn!(%error, "the old bell may ring once more");
        }
        if end {
            return;
        }
    }
}

/// When the configuration's bell should last have rung; `None` where there is no bell.
pub fn last_ring(settings: &Settings, now: Timestamp) -> Option<Timestamp> {
    let Plan::Cron(expression) = &settings.schedule.check else { return None };
    previous(expression, settings, now)
}

/// When the summary was last due; `None` where there is none.
pub fn last_digest(settings: &Settings, now: Timestamp) -> Option<Timestamp> {
    previous(settings.schedule.digest.as_deref()?, settings, now)
}

/// When the summary is due next; `None` where there is none.
pub fn next_digest(settings: &Settings, now: Timestamp) -> Option<Timestamp> {
    let (zone, cron) = parsed(settings.schedule.digest.as_deref()?, settings)?;
    let here = zone.timestamp_opt(now.unix(), 0).single()?;
    Some(Timestamp::from_unix(cron.find_next_occurrence(&here, false).ok()?.timestamp()))
}

fn previous(expression: &str, settings: &Settings, now: Timestamp) -> Option<Timestamp> {
    let (zone, cron) = parsed(expression, settings)?;
    let here = zone.timestamp_opt(now.unix(), 0).single()?;
    Some(Timestamp::from_unix(cron.find_previous_occurrence(&here, true).ok()?.timestamp()))
}

fn parsed(expression: &str, settings: &Settings) -> Option<(chrono_tz::Tz, croner::Cron)> {
    let zone = settings.daemon.zone.name().parse().unwrap_or(chrono_tz::UTC);
    Some((zone, cron_schedule(expression).ok()?))
}

/// Hangs up one bell. The offset of the zone is the one in force now; it is renewed by a reload.
async fn hang(expression: &str, zone: &str, bell: &Arc<Notify>) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let bell = Arc::clone(bell);
    let ring = move |_, _| {
        let bell = Arc::clone(&bell);
        Box::pin(async move { bell.notify_one() }) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
    };
    let zone: chrono_tz::Tz = zone.parse().unwrap_or(chrono_tz::UTC);
    scheduler.add(Job::new_async_tz(expression, zone, ring)?).await?;
    scheduler.start().await?;
    info!(expression, zone = zone.name(), "checks follow the bell");
    Ok(scheduler)
}
