//! The order of servers, and the delay before the next one. Pure functions.

use std::time::Duration;

use super::health::{Rtt, ServerHealth};

/// Maximum number of tries of an exchange (L43).
const MAX_TRIES: usize = 6;
/// Groups of more servers than [`MAX_TRIES`] may try each once, up to here.
const MAX_TRIES_OF_MANY: usize = 16;
/// How long to wait for a server of unknown speed before another is queried too.
const WAIT_UNKNOWN: Duration = Duration::from_millis(376);
/// The minimum wait: below it the second query costs more than it saves.
const WAIT_LEAST: Duration = Duration::from_millis(60);
/// The maximum wait, for slow servers.
const WAIT_MOST: Duration = Duration::from_millis(800);
/// The minimum wait before the same server is queried again: it may be resolving.
const AGAIN_LEAST: Duration = Duration::from_millis(200);
/// With `fastest`, the frequency at which another server is queried first, to measure it.
const EXPLORE: f64 = 1.0 / 32.0;

/// The strategy of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum Strategy {
    /// In the configured order; the next one if a server fails or is slow.
    #[default]
    Failover,
    /// The fastest first, by smoothed round-trip time.
    Fastest,
    /// All at once; the first good answer counts.
    Parallel,
}

/// Data of one server for the order.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerView {
    /// Its availability.
    pub(super) standing: ServerHealth,
    /// Its reply time, if known.
    pub(super) rtt: Option<Rtt>,
    /// Not used because of a forwarding loop.
    pub(super) looping: bool,
}

/// The order of servers, as indices into `views`, without servers in a forwarding loop. `chance` in 0..1.
pub(super) fn order(strategy: Strategy, views: &[ServerView], chance: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..views.len()).filter(|&i| !views[i].looping).collect();
    let is_fastest = strategy == Strategy::Fastest;
    // A server without a measurement sorts first, so that it gets measured.
    let rtt = |i: usize| views[i].rtt.filter(|_| is_fastest).map(|rtt| rtt.srtt);
    order.sort_by_key(|&i| (views[i].standing, rtt(i)));
    let up = order.iter().filter(|&&i| views[i].standing == ServerHealth::Up).count();
    if is_fastest && chance < EXPLORE && up > 1 {
        let other = 1 + (chance / EXPLORE * (up - 1) as f64) as usize;
        order[..=other.min(up - 1)].rotate_right(1);
    }
    order
}

/// Number of tries of an exchange with this many servers.
pub(super) fn max_tries(servers: usize) -> usize {
    servers.clamp(MAX_TRIES, MAX_TRIES_OF_MANY)
}

/// How long a reply of this server is waited for before another server is asked as well: longer than usual.
pub(super) fn hedge_delay(rtt: Option<Rtt>) -> Duration {
    rtt.map_or(WAIT_UNKNOWN, |rtt| rtt.srtt + rtt.rttvar * 4).clamp(WAIT_LEAST, WAIT_MOST)
}

/// How long to wait before a server already asked is asked again; twice as long each time.
pub(super) fn retry_delay(rtt: Option<Rtt>, earlier_retries: u32) -> Duration {
    hedge_delay(rtt).max(AGAIN_LEAST) * 2u32.saturating_pow(earlier_retries.min(8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ServerHealth::{Down, Failing, Up};

    const MS: Duration = Duration::from_millis(1);

    fn view(standing: ServerHealth, srtt: Option<u32>) -> ServerView {
        let rtt = srtt.map(|ms| Rtt { srtt: ms * MS, rttvar: Duration::ZERO });
        ServerView { standing, rtt, looping: false }
    }

    #[test]
    fn failover_keeps_the_written_order_with_the_unhealthy_last() {
        let views = [view(Down, Some(1)), view(Up, Some(90)), view(Failing, Some(2)), view(Up, Some(5))];
        assert_eq!(order(Strategy::Failover, &views, 0.5), [1, 3, 2, 0]);
    }

    #[test]
    fn fastest_goes_by_time_and_measures_the_unknown_first() {
        let views = [view(Up, Some(90)), view(Up, Some(5)), view(Down, Some(1)), view(Up, None)];
        assert_eq!(order(Strategy::Fastest, &views, 0.5), [3, 1, 0, 2]);
    }

    #[test]
    fn fastest_explores_now_and_then_among_those_that_are_up() {
        let views = [view(Up, Some(1)), view(Up, Some(2)), view(Up, Some(3)), view(Down, Some(1))];
        assert_eq!(order(Strategy::Fastest, &views, 0.0), [1, 0, 2, 3]);
        assert_eq!(order(Strategy::Fastest, &views, EXPLORE * 0.9), [2, 0, 1, 3]);
        assert_eq!(order(Strategy::Fastest, &views, EXPLORE), [0, 1, 2, 3]);
    }

    #[test]
    fn a_looping_server_is_never_asked() {
        let views = [ServerView { looping: true, ..view(Up, None) }, view(Down, None)];
        assert_eq!(order(Strategy::Parallel, &views, 0.0), [1]);
        assert!(order(Strategy::Fastest, &views[..1], 0.0).is_empty());
    }

    #[test]
    fn the_hedge_waits_longer_than_usual_within_bounds() {
        let rtt = |srtt, rttvar| Some(Rtt { srtt: srtt * MS, rttvar: rttvar * MS });
        assert_eq!(hedge_delay(rtt(100, 20)), 180 * MS);
        assert_eq!(hedge_delay(rtt(1, 0)), WAIT_LEAST);
        assert_eq!(hedge_delay(rtt(3000, 900)), WAIT_MOST);
        assert_eq!(hedge_delay(None), WAIT_UNKNOWN);
    }

    #[test]
    fn retries_at_one_server_back_off() {
        let waits: Vec<_> = (0..4).map(|n| retry_delay(None, n).as_millis()).collect();
        assert_eq!(waits, [376, 752, 1504, 3008]);
    }
}
