//! Feeding the supervisor's watchdog: only when the [`SelfCheck`] found that all listening addresses answer.

use super::sd_notify::Supervisor;
use super::selfcheck::SelfCheck;
use std::sync::Arc;
use tokio::time::{MissedTickBehavior, interval};

/// Feeds the watchdog for the life of the process, if there is one: at half its interval.
pub async fn watch(supervisor: Supervisor, check: Arc<SelfCheck>) {
    let Some(limit) = supervisor.watchdog else { return };
    let mut ticks = interval(limit / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let silent = check.silent().await;
        match silent.is_empty() {
            true => supervisor.alive(),
            false => {
                let silent: Vec<String> = silent.iter().map(ToString::to_string).collect();
                tracing::error!(
                    silent = silent.join("; "),
                    "the server's own sockets do not answer: not notifying the watchdog"
                );
            }
        }
    }
}
