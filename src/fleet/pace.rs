//! How long nodes wait before they come back to etcd, so that all nodes of a fleet do not come at once. Pure: sizes in,
//! times out.

use std::time::Duration;

/// The shortest window, and the one that is never exceeded.
const WINDOW: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// The longest first window, however large the fleet is said to be: what nodes tell of themselves is not trusted further.
const FIRST: Duration = Duration::from_secs(10);

/// Nodes that are assumed before they could be counted.
pub const UNCOUNTED: u64 = 200;

/// Nodes that compare their rows in a second. A comparison reads a list of all keys.
pub const COMPARISONS: u64 = 100;

/// Nodes that connect in a second.
pub const CONNECTIONS: u64 = 1000;

/// The window at a random point of which a node acts: as long as a fleet of `nodes` needs at `per_second`, and twice as long
/// with each try before it.
pub fn window(nodes: u64, per_second: u64, tries: u32) -> Duration {
    let first = Duration::from_millis(nodes.saturating_mul(1000) / per_second.max(1));
    let first = first.clamp(WINDOW.0, FIRST);
    first.saturating_mul(2u32.saturating_pow(tries)).min(WINDOW.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_with_the_fleet_and_with_tries_and_has_bounds() {
        let seconds = |nodes, per_second, tries| window(nodes, per_second, tries).as_secs_f64();
        assert_eq!(seconds(1000, COMPARISONS, 0), 10.0);
        assert_eq!(seconds(UNCOUNTED, COMPARISONS, 0), 2.0);
        assert_eq!(seconds(3, COMPARISONS, 0), 0.2, "a small fleet hardly waits");
        assert_eq!(seconds(1000, CONNECTIONS, 0), 1.0);
        for nodes in [0, 1, 20, 1000, 10_000, 1_000_000, u64::MAX] {
            for per_second in [0, 1, COMPARISONS, CONNECTIONS] {
                let windows: Vec<Duration> = (0..70).map(|tries| window(nodes, per_second, tries)).collect();
                assert!(windows[0] >= WINDOW.0 && windows[0] <= FIRST, "{nodes}");
                assert!(windows.is_sorted(), "{nodes}");
                assert_eq!(windows[10], WINDOW.1, "it has grown to the longest");
                assert!(windows.iter().all(|window| *window <= WINDOW.1));
            }
        }
    }

    #[test]
    fn a_thousand_nodes_after_a_restart_come_in_small_numbers() {
        // Evenly spread rolls stand for random ones: at no time do more come in 100 ms than etcd takes.
        let arrivals = |window: Duration| {
            let mut slots = vec![0u32; 400];
            for node in 0..1000 {
                let at = window.mul_f64(f64::from(node) / 1000.0);
                slots[(at.as_millis() / 100) as usize] += 1;
            }
            slots.into_iter().max().unwrap_or(0)
        };
        assert!(arrivals(window(1000, COMPARISONS, 0)) <= 10);
        assert!(arrivals(window(1000, CONNECTIONS, 0)) <= 100);
        assert!(arrivals(window(1000, CONNECTIONS, 5)) <= 4, "after some failed tries");
    }
}
